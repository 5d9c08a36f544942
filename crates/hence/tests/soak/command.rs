//! The command line: exit statuses, errors, ^C, what the ledger says of faults, and that nothing stays.

use super::Folder;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SLEEPER: (&str, &str) =
    ("x.service", "[Service]\nExecStart=/bin/sleep 900\nRestart=always\nRestartSec=100ms\n");

#[test]
fn misuse_ends_with_2_and_says_how_it_was_meant() {
    let folder = Folder::of("misuse", &[SLEEPER]);
    folder.write("no-baseline", "something else\n");
    let no_baseline = format!("{}/no-baseline", folder.path());
    for (arguments, status, told) in [
        (vec!["--kill", "main"], 2, "how often? End it with: every 30s"),
        (vec!["--restart", "x.socket every 1s"], 2, "not a service's name"),
        (vec!["--for", "never"], 2, "write it as 30s"),
        (vec!["--no-faults", "--kill", "main every 1s"], 2, "cannot be used with"),
        (vec!["--baseline", "/there/is/none"], 2, "/there/is/none"),
        (vec!["--baseline", &no_baseline], 2, "not a baseline"),
        (vec!["--html", "/there/is/none"], 2, "no such folder"),
        (vec!["--unit", "none.service", "--for", "1s"], 4, "no service of these units"),
    ] {
        let output = folder.soak(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(told), "{arguments:?}: {said}");
    }
    let empty = Folder::of("empty", &[]);
    let output = empty.soak(&["--for", "1s"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folder.remains(), Vec::<String>::new());
}

/// What can't run at all is no sound run.
#[test]
fn what_does_not_start_is_told() {
    let units = [
        ("a.service", "[Unit]\nRequires=missing.service\n[Service]\nExecStart=/bin/sleep 900\n"),
        ("b.service", "[Service]\nType=simple\n"),
        ("c.service", "[Service]\nExecStart=/there/is/none\n"),
        SLEEPER,
    ];
    let folder = Folder::of("start", &units);
    let (answer, status) = folder.json(&["--for", "3s", "--keep-going"]);
    assert_eq!(status, 1, "{answer:#}");
    let mut found: Vec<(&str, &str)> = Vec::new();
    for finding in answer["findings"].as_array().unwrap() {
        found.push((finding["kind"].as_str().unwrap(), finding["unit"].as_str().unwrap()));
    }
    found.sort_unstable();
    assert_eq!(found, [("start", "a.service"), ("start", "b.service"), ("start", "c.service")], "{answer:#}");
}

/// A fault is the root that `hence why` names, and no failure by itself; one that nobody asked for is.
#[test]
fn faults_are_told_from_failures() {
    let own = "[Service]\nExecStart=/bin/sh -c 'sleep 12; exit 7'\nRestart=always\nRestartSec=100ms\n";
    let folder = Folder::of("roots", &[SLEEPER, ("own.service", own)]);
    let ledger = format!("{}/ledger", folder.path());
    let arguments = ["--for", "16s", "--kill", "x main every 4s", "--ledger", &ledger, "--keep-going"];
    let (answer, status) = folder.json(&arguments);
    assert_eq!(status, 1, "{answer:#}");
    let kinds: Vec<&str> =
        answer["findings"].as_array().unwrap().iter().filter_map(|f| f["unit"].as_str()).collect();
    assert_eq!(kinds, ["own.service"], "{answer:#}");
    let killed = answer["units"]["x.service"]["failed"].as_array().unwrap();
    assert!(killed.len() >= 2, "{answer:#}");
    for failure in killed {
        assert_eq!(failure["by"], "fault", "{failure:#}");
        assert_eq!(failure["root"], "sends SIGKILL to the main process of x.service");
    }
    assert_eq!(answer["units"]["own.service"]["failed"][0]["by"], "itself");
    assert_eq!(
        (&answer["units"]["x.service"]["failures"], &answer["units"]["x.service"]["restarts"]),
        (&0.into(), &0.into())
    );
    // The whole path to it is on record.
    let ask = |arguments: &[&str]| -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hence"));
        let output = command.args(arguments).args(["--json", "--ledger", &ledger]).output();
        serde_json::from_slice(&output.expect("hence can be started").stdout).expect("JSON")
    };
    let history = ask(&["history", "x.service"]);
    let failed = history.as_array().unwrap().iter().find(|e| e["event"] == "failed").expect("a failure");
    let why = ask(&["why", "x.service", "--at", failed["at"].as_str().unwrap()]);
    let root = &why["roots"][0];
    let words = "hence-soak-fault sends SIGKILL to the main process of x.service";
    assert_eq!((root["kind"].as_str(), root["command"].as_str()), (Some("request"), Some(words)), "{why:#}");
}

#[test]
fn the_first_interrupt_gives_the_verdict_so_far() {
    let folder = Folder::of("interrupt", &[SLEEPER]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hence"))
        .args(["soak", &folder.units(), "--for", "1h", "--json"])
        .env("TMPDIR", folder.0.join("tmp"))
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("hence can be started");
    std::thread::sleep(Duration::from_secs(3));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let begun = Instant::now();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(15));
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(answer["ended_early"].as_str().unwrap().contains("it was ended after"), "{answer:#}");
    assert_eq!(folder.remains(), Vec::<String>::new());
}

#[test]
fn one_that_is_killed_leaves_no_process() {
    let folder = Folder::of("killed", &[SLEEPER]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hence"))
        .args(["soak", &folder.units(), "--for", "1h"])
        .env("TMPDIR", folder.0.join("tmp"))
        .process_group(0)
        .spawn()
        .expect("hence can be started");
    std::thread::sleep(Duration::from_secs(3));
    assert!(folder.remains().iter().any(|l| l.contains("sleep 900")), "{:?}", folder.remains());
    child.kill().unwrap();
    child.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while folder.remains().iter().any(|l| l.starts_with("process")) {
        assert!(Instant::now() < until, "{:?}", folder.remains());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A disk of the run's own is full now and then; the machine's is not touched.
#[test]
fn a_full_disk_is_what_breaks_a_service_that_does_not_bear_it() {
    let writes = "#!/usr/bin/perl\nmy $n = 0; while (1) { $n++; \
                  unlink glob(\"$ENV{TMPDIR}/spool.*\") unless $n % 9; \
                  open my $f, '>', \"$ENV{TMPDIR}/spool.$n\" or die \"spool: $!\\n\"; print $f 'x' x 20000; \
                  close $f or die \"spool: $!\\n\"; select undef, undef, undef, 0.05 }\n";
    let unit = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=FOLDER/writes\nRestart=always\n\
                RestartSec=300ms\n";
    let folder = Folder::of("disk", &[("x.service", unit)]);
    folder.write("writes", writes);
    let (answer, status) = folder.json(&["--for", "12s", "--full-disk", "for 1s every 4s", "--keep-going"]);
    assert_eq!(status, 1, "{answer:#}");
    let first = &answer["findings"][0];
    let limits = answer["limits"].to_string();
    if limits.contains("no disk can be bounded here") {
        assert!(limits.contains("EFBIG"), "{limits}");
        return;
    }
    assert_eq!(first["kind"], "fails-with", "{answer:#}");
    assert!(first["text"].as_str().unwrap().contains("fills the disk of TMPDIR for 1 s"), "{answer:#}");
    assert!(first["evidence"].to_string().contains("No space left on device"), "{answer:#}");
    assert_eq!(answer["findings"].as_array().map(Vec::len), Some(1), "{answer:#}");
}

/// The wall clock is the machine's: who may not set it is told so.
#[test]
fn a_clock_that_may_not_be_set_is_no_failure() {
    let folder = Folder::of("clock", &[SLEEPER]);
    let there = |name: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|p| p.join(name).exists()))
    };
    if !there("setpriv") {
        return eprintln!("skipped: setpriv is missing, and this test must not set the clock");
    }
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new("setpriv");
    if root {
        command.arg("--bounding-set=-sys_time");
    }
    let output = command
        .args(["--inh-caps=-sys_time", env!("CARGO_BIN_EXE_hence"), "soak", &folder.units(), "--for", "5s"])
        .args(["--clock-jump", "1h every 1s", "--json"])
        .env("TMPDIR", folder.0.join("tmp"))
        .output()
        .expect("setpriv can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("the wall clock can't be set here"), "{text}");
}

#[test]
fn junit_counts_what_it_holds() {
    let unit = "[Service]\nExecStart=/bin/sh -c 'echo \"<b> & \\x01\" >&2; exit 3'\n";
    let folder = Folder::of("junit", &[("x.service", unit), SLEEPER]);
    folder.write("units/x.service", unit);
    folder.write("units/y.service", SLEEPER.1);
    let file = format!("{}/junit.xml", folder.path());
    let output = folder.soak(&["--for", "3s", "--junit", &file, "--keep-going"]);
    assert_eq!(output.status.code(), Some(1));
    let text = std::fs::read_to_string(&file).unwrap();
    let head = text.lines().nth(1).unwrap();
    let number = |name: &str| -> usize {
        let value = head.split(&format!(" {name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        value.unwrap_or_else(|| panic!("{name} in {head}")).parse().unwrap()
    };
    assert_eq!(number("tests"), text.matches("<testcase ").count());
    assert_eq!(number("failures"), text.matches("<failure ").count());
    assert_eq!(number("skipped"), text.matches("<skipped ").count());
    assert!(number("failures") == 1 && text.contains("<testsuite name=\"y.service\""), "{text}");
    assert_eq!(text.matches('<').count(), text.matches('>').count(), "{text}");
    assert!(text.contains("&lt;b&gt; &amp;"), "{text}");
}
