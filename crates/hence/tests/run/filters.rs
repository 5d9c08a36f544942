//! Filters of system calls, attributes and credentials of processes, seen from inside of them. What they are
//! to be was recorded from the real systemd: `filters/record.py`.

use crate::rig::{Level, Site, root_for};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const PYTHON: &str = "/usr/bin/python3";
/// For all probes together.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether these tests can run here.
fn can(what: &str) -> bool {
    if !Path::new(PYTHON).exists() || !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: {what}: it takes {PYTHON} on x86-64");
        return false;
    }
    root_for(what)
}

/// What the probe wrote of each unit.
fn probed(site: &Site) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in site.read("said").lines() {
        let (unit, rest) = line.split_once(' ').expect("a unit's name");
        let of_unit = all.entry(unit.to_owned()).or_default();
        if let Some((key, value)) = rest.split_once(": ") {
            of_unit.insert(key.to_owned(), value.to_owned());
        }
    }
    all
}

/// Blocks of cases.txt: settings, and what is otherwise with them.
fn cases() -> Vec<(String, Vec<String>)> {
    let blocks = include_str!("filters/cases.txt").split("\n\n").skip(1);
    let case = |block: &str| {
        let (results, settings): (Vec<&str>, Vec<&str>) = block.lines().partition(|l| l.starts_with(' '));
        (settings.join("\n"), results.iter().map(|line| line.trim().to_owned()).collect())
    };
    blocks.map(case).collect()
}

#[test]
fn filters_refuse_what_those_of_systemd_refuse() {
    if !can("filters of system calls") {
        return;
    }
    let site = Site::new("filters", Level::Best);
    site.script("probe", include_str!("filters/probe.py"));
    fs::write(site.folder.join("said"), "").expect("a file");
    std::os::unix::fs::chown(site.folder.join("said"), Some(65534), None).expect("a chown");
    let cases = cases();
    assert!(cases.len() > 30, "{} cases", cases.len());
    let unit = |number: usize, settings: &str| {
        let command = format!("ExecStart={PYTHON} FOLDER/probe FOLDER/said c{number}");
        // One at a time: probes share a file.
        let after = if number == 0 { String::new() } else { format!("After=c{}.service\n", number - 1) };
        site.unit(
            &format!("c{number}.service"),
            &format!("[Unit]\n{after}[Service]\nType=oneshot\n{command}\n{settings}\n"),
        );
    };
    unit(0, "");
    cases.iter().enumerate().for_each(|(at, (settings, _))| unit(at + 1, settings));
    let hence = site.start(&[]);
    // Two thousand processes take a while on a busy machine; each unit's last line says that it is done.
    let last = format!("c{} end", cases.len());
    let begun = Instant::now();
    while !site.read("said").lines().any(|line| line == last) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
    }
    hence.ended();
    let all = probed(&site);
    let plain = &all["c0"];
    let mut wrong = Vec::new();
    for (at, (settings, expected)) in cases.iter().enumerate() {
        let Some(own) = all.get(&format!("c{}", at + 1)).filter(|own| own.len() == plain.len()) else {
            wrong.push(format!("{settings}: the probe did not come to its end"));
            continue;
        };
        let mut other: Vec<String> =
            own.iter().filter(|(k, v)| plain[*k] != **v).map(|(k, v)| format!("{k}: {v}")).collect();
        let mut expected = expected.clone();
        other.sort();
        expected.sort();
        if other != expected {
            wrong.push(format!("{settings}: {other:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), site.said());
}

#[test]
fn a_filter_without_rights_implies_no_new_privileges() {
    if !can("filters of a user's own") {
        return;
    }
    let site = Site::new("user-filters", Level::User);
    site.script("probe", include_str!("filters/probe.py"));
    let command = format!("ExecStart={PYTHON} FOLDER/probe FOLDER/said");
    site.unit("plain.service", &format!("[Service]\nType=oneshot\n{command} plain\n"));
    site.unit(
        "own.service",
        &format!(
            "[Unit]\nAfter=plain.service\n[Service]\nType=oneshot\n{command} own\nLockPersonality=yes\n"
        ),
    );
    assert_eq!(site.run(&[]), 0, "{}", site.said());
    let all = probed(&site);
    let of = |unit: &str, key: &str| all[unit][key].clone();
    assert_eq!((of("plain", "filters"), of("plain", "no new privileges")), ("0".into(), "0".into()));
    assert_eq!((of("own", "filters"), of("own", "no new privileges")), ("2".into(), "1".into()));
    assert_eq!(of("own", "personality 32 bits"), "EPERM");
}

#[test]
fn why_names_the_filter_that_killed() {
    if !can("why of a refused call") {
        return;
    }
    let site = Site::new("refused", Level::Best);
    let program = "import os; os.kill(os.getpid(), 0); os.sync()";
    site.unit(
        "bad.service",
        &format!("[Service]\nExecStart={PYTHON} -c '{program}'\nSystemCallFilter=~sync\n"),
    );
    site.run(&[]);
    let why = site.json(&["why", "bad.service", "--json"]);
    let text = why.to_string();
    assert!(text.contains("SystemCallFilter=") && text.contains("bad.service"), "{why}");
    assert!(text.contains("The kernel killed it"), "{why}");
    let page = String::from_utf8_lossy(&site.ask(&["why", "bad.service"]).stdout).into_owned();
    // Which call it was is known where the kernel's log can be read and tells of it in time.
    let readable = fs::read_link("/proc/self/ns/pid").is_ok_and(|l| l.as_os_str() == "pid:[4026531836]");
    if !page.contains("refuses sync") {
        eprintln!("not seen: the kernel's log (in the first pid namespace: {readable})");
    }
    assert!(page.contains("SYS"), "{page}");
    assert!(page.contains("SystemCallFilter="), "{page}");
}

#[test]
fn what_the_kernel_refuses_has_systemds_exit_status() {
    if !can("exit statuses of attributes") {
        return;
    }
    let site = Site::new("statuses", Level::Best);
    let cases = [
        ("NUMAPolicy=bind", 242),
        ("LoadCredential=x:/no/such/file", 243),
        ("LoadCredential=a:FOLDER/big\nLoadCredential=b:FOLDER/big", 243),
        ("ExecSearchPath=/no/such/folder\nExecStart=\nExecStart=true", 203),
    ];
    fs::write(site.folder.join("big"), vec![0; 700_000]).expect("a file");
    for (at, (settings, _)) in cases.iter().enumerate() {
        site.unit(&format!("c{at}.service"), &format!("[Service]\nExecStart=/bin/true\n{settings}\n"));
    }
    site.unit("last.service", "[Service]\nExecStart=/bin/true\n");
    site.run(&[]);
    for (at, (settings, status)) in cases.iter().enumerate() {
        let unit = format!("c{at}.service");
        let page = String::from_utf8_lossy(&site.ask(&["why", &unit]).stdout).into_owned();
        let exit = site.records().iter().rev().find_map(|record| match &record.fact {
            hence_ledger::Fact::ProcessExited { exit, .. } if record.unit.as_deref() == Some(&*unit) => {
                Some(exit.status)
            }
            _ => None,
        });
        // A program that isn't found is known before a process is made for it.
        assert!(exit == Some(*status) || (*status == 203 && exit.is_none()), "{settings}: {exit:?}\n{page}");
    }
}

#[test]
fn credentials_are_there_while_the_unit_is() {
    for level in crate::rig::levels() {
        let site = Site::new("credentials", level);
        fs::write(site.folder.join("secret"), "from a file\n").expect("a file");
        let show = "for f in \"$CREDENTIALS_DIRECTORY\"/*; do \
                    echo \"$${f##*/} $(stat -c %%a $$f) $(cat $$f)\"; \
                    done; stat -c %%a \"$CREDENTIALS_DIRECTORY\"; echo $CREDENTIALS_DIRECTORY; \
                    (: >\"$CREDENTIALS_DIRECTORY/new\") 2>/dev/null || echo read-only";
        site.unit(
            "c.service",
            &format!(
                "[Service]\nType=oneshot\nSetCredential=set:a\\x41\nSetCredential=default:other\n\
                 LoadCredential=loaded:FOLDER/secret\nLoadCredential=default:/no/such/file\n\
                 LoadCredential=absent\nExecStartPre=/bin/sh -c '{show}; echo' \n\
                 ExecStart=/bin/sh -c '({show}) >FOLDER/said'\nStandardOutput=file:FOLDER/before\n"
            ),
        );
        assert_eq!(site.run(&[]), 0, "{level:?} {}", site.said());
        let said = site.written("said");
        let lines: Vec<&str> = said.lines().collect();
        let root = level != Level::User;
        assert_eq!(lines[..3], ["default 400 other", "loaded 400 from a file", "set 400 aA"], "{level:?}");
        assert_eq!(lines[3], "500", "{level:?} {said}");
        assert_eq!(lines.get(5).copied(), Some("read-only"), "{level:?} {said}");
        let folder = Path::new(lines[4]);
        assert!(folder.ends_with("credentials/c.service"), "{said}");
        assert!(!folder.exists(), "{level:?}: {} is left", folder.display());
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert!(!mounts.contains(lines[4]), "{level:?}, as root: {root}");
        assert!(site.read("before").starts_with(&said), "the same before: {}", site.read("before"));
    }
}

#[test]
fn attributes_of_processes() {
    if !can("attributes of processes") {
        return;
    }
    let site = Site::new("attributes", Level::Best);
    let cases: [(&str, &str, &str); 9] = [
        ("Personality=x86", "cat /proc/self/personality; uname -m", "00000008\ni686\n"),
        ("TimerSlackNSec=7us", "cat /proc/self/timerslack_ns", "7000\n"),
        ("CoredumpFilter=default private-dax", "cat /proc/self/coredump_filter", "000000b3\n"),
        ("CoredumpFilter=all", "cat /proc/self/coredump_filter", "000001ff\n"),
        ("IgnoreSIGPIPE=no\nUser=nobody", "grep SigIgn /proc/self/status", "SigIgn:\t0000000000000000\n"),
        ("User=nobody", "grep SigIgn /proc/self/status", "SigIgn:\t0000000000001000\n"),
        ("ExecSearchPath=/no/such:/bin", "echo $PATH", "/no/such:/bin\n"),
        ("ExecSearchPath=/bin\nEnvironment=PATH=/usr/bin", "echo $PATH", "/usr/bin\n"),
        (
            "CPUSchedulingPolicy=batch\nCPUSchedulingResetOnFork=yes",
            "exec perl -e \"printf(qq(%%x\\n), syscall(145, 0))\"",
            "40000003\n",
        ),
    ];
    for (at, (settings, command, _)) in cases.iter().enumerate() {
        let output = format!("StandardOutput=file:FOLDER/said{at}");
        let exec = format!("ExecStart=/bin/sh -c '{}'", command.replace('$', "$$"));
        site.unit(
            &format!("c{at}.service"),
            &format!("[Service]\nType=oneshot\n{exec}\n{output}\n{settings}\n"),
        );
        fs::write(site.folder.join(format!("said{at}")), "").expect("a file");
        std::os::unix::fs::chown(site.folder.join(format!("said{at}")), Some(65534), None).expect("a chown");
    }
    site.run(&[]);
    for (at, (settings, _, expected)) in cases.iter().enumerate() {
        assert_eq!(site.read(&format!("said{at}")), *expected, "{settings}\n{}", site.said());
    }
}
