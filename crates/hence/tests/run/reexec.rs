//! The program is executed anew while everything runs: systemctl(1), daemon-reexec. Not one process, socket,
//! job, deadline, message or line of output is lost, and nothing is started twice.

use crate::rig::*;
use hence_ledger::{ActiveState, Fact, JobResult, ProcessRole, Record, RecordId, SubState, Verb};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

fn property(site: &Site, unit: &str, name: &str) -> String {
    let output = asked(site, &["show", "-P", name, unit]);
    assert!(output.status.success(), "{}\n{}", said(&output), site.said());
    said(&output).trim().to_owned()
}

fn serving<'a>(site: &'a Site, more: &[&str]) -> Hence<'a> {
    let hence = site.start(&[&["--stay", "--quiet"], more].concat());
    site.until_serving();
    hence
}

fn reexecutions(site: &Site) -> Vec<Record> {
    let done = |r: &Record| matches!(r.fact, Fact::Reexecuted { .. });
    site.records_so_far().into_iter().filter(done).collect()
}

/// Asks for it, and waits until it is done.
fn reexecute(site: &Site) -> Record {
    let before = reexecutions(site).len();
    let output = asked(site, &["daemon-reexec"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{}", said(&output), site.said());
    let done = until("the new program", || reexecutions(site).into_iter().nth(before));
    let Fact::Reexecuted { unread, .. } = &done.fact else { unreachable!() };
    assert!(unread.is_empty(), "{unread:?}");
    done
}

/// Main processes that were started of a unit.
fn starts(site: &Site, unit: &str) -> usize {
    let main = |r: &&Record| matches!(r.fact, Fact::ProcessStarted { role: ProcessRole::Main, .. });
    site.records().iter().filter(|r| r.unit.as_deref() == Some(unit)).filter(main).count()
}

fn main_pid(site: &Site, unit: &str) -> String {
    until("a main process", || Some(property(site, unit, "MainPID")).filter(|pid| pid != "0"))
}

fn client(site: &Site, line: &[&str]) -> Child {
    systemctl(site, line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a client")
}

#[test]
fn ten_in_a_row_lose_no_line_and_restart_nothing() {
    for level in levels() {
        let site = Site::new("reexec", level);
        site.unit(
            "talks.service",
            "[Service]\n\
             ExecStart=/bin/sh -c 'i=0; while sleep 0.01 MARK; do i=$((i+1)); echo line $i; done'\n",
        );
        site.unit("still.service", "[Service]\nRestart=always\nExecStart=sleep 1000 MARK\n");
        let hence = serving(&site, &["--journal", "none"]);
        let pids = [main_pid(&site, "talks.service"), main_pid(&site, "still.service")];
        let invocation = property(&site, "still.service", "InvocationID");
        let since = property(&site, "still.service", "ActiveEnterTimestampMonotonic");
        let recorder = hence.recorder();
        let mut last: Option<RecordId> = None;
        for _ in 0..10 {
            let done = reexecute(&site);
            assert!(last < Some(done.id));
            last = Some(done.id);
            let records = site.records();
            let cause = records.iter().find(|r| r.id == done.causes[0].record).expect("its cause");
            let Fact::Request { verb: Verb::DaemonReexec, client, .. } = &cause.fact else {
                panic!("{cause:?}")
            };
            assert!(client.command.contains("daemon-reexec"), "{client:?}");
            std::thread::sleep(Duration::from_millis(30));
        }
        assert_eq!([main_pid(&site, "talks.service"), main_pid(&site, "still.service")], pids);
        assert_eq!(property(&site, "still.service", "InvocationID"), invocation);
        assert_eq!(property(&site, "still.service", "ActiveEnterTimestampMonotonic"), since);
        assert_eq!(property(&site, "still.service", "NRestarts"), "0");
        assert_eq!(hence.recorder(), recorder, "the recorder stays");
        assert_eq!((starts(&site, "talks.service"), starts(&site, "still.service")), (1, 1));
        // A child's end is seen with its status, and it is restarted as before.
        send(pids[1].parse().expect("a pid"), rustix::process::Signal::KILL);
        until("a restart", || (starts(&site, "still.service") == 2).then_some(()));
        assert_eq!(property(&site, "still.service", "NRestarts"), "1");
        let why = site.ask(&["why", "talks.service"]);
        let told = said(&why).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("asked for run"), "causes from before: {told}");
        assert!(asked(&site, &["stop", "talks.service"]).status.success());
        let log = site.folder.join("ledger/logs");
        let text = until("the log", || {
            let text = all_below(&log);
            (text.matches("line ").count() > 20).then_some(text)
        });
        let numbers: Vec<u64> = text
            .split("line ")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
            .collect();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "{level:?}");
        hence.interrupt();
    }
}

/// The text of all files below a folder.
fn all_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            text.push_str(&all_below(&entry.path()));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()));
        }
    }
    text
}

#[test]
fn jobs_and_deadlines_go_on_where_they_were() {
    let site = Site::new("reexec-jobs", Level::Best);
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    site.unit(
        "slow@.service",
        "[Service]\nExecStartPre=/bin/sh -c 'while [ ! -e FOLDER/go ]; do sleep 0.02 MARK; done'\n\
         ExecStart=sleep 1000 MARK\n",
    );
    site.unit(
        "after@.service",
        "[Unit]\nAfter=slow@%i.service\nRequires=slow@%i.service\n[Service]\nExecStart=sleep 1000 MARK\n",
    );
    site.unit(
        "stubborn@.service",
        "[Service]\nTimeoutStopSec=8s\nExecStart=/bin/sh -c 'trap \"\" TERM; echo up > FOLDER/up; \
         while :; do sleep 0.01 MARK; done'\n",
    );
    site.unit("tick@.timer", "[Timer]\nOnActiveSec=8s\nAccuracySec=1us\nUnit=ticked@%i.service\n");
    site.unit(
        "ticked@.service",
        "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo tick >> FOLDER/ticks'\n",
    );
    let hence = serving(&site, &[]);
    assert!(asked(&site, &["start", "stubborn@a.service"]).status.success());
    site.written("up");
    assert!(asked(&site, &["start", "tick@a.timer"]).status.success());
    // Who waits is cut off, as by systemd; the jobs are not.
    let mut waiting = client(&site, &["start", "after@a.service"]);
    let mut stopping = client(&site, &["stop", "stubborn@a.service"]);
    let queued = site.recorded("the job", |r| match (&r.fact, r.unit.as_deref()) {
        (Fact::JobQueued { job, .. }, Some("after@a.service")) => Some(*job),
        _ => None,
    });
    until("a signal", || {
        let sent = |r: &Record| matches!(r.fact, Fact::SignalSent { .. });
        site.records().iter().any(sent).then_some(())
    });
    assert_eq!(property(&site, "slow@a.service", "SubState"), "start-pre");
    assert_eq!(property(&site, "stubborn@a.service", "SubState"), "stop-sigterm");
    let next = property(&site, "tick@a.timer", "NextElapseUSecMonotonic");
    for _ in 0..3 {
        reexecute(&site);
    }
    assert_eq!(property(&site, "slow@a.service", "SubState"), "start-pre");
    assert_eq!(property(&site, "stubborn@a.service", "SubState"), "stop-sigterm");
    assert_eq!(property(&site, "tick@a.timer", "NextElapseUSecMonotonic"), next);
    assert!(said(&asked(&site, &["list-jobs"])).contains(&queued.to_string()));
    assert!(!waiting.wait().expect("a wait").success(), "its connection was cut");
    std::fs::write(site.folder.join("go"), "").expect("a file");
    let _ = stopping.wait();
    let done = site.recorded("the end of the job", |r| match (&r.fact, r.unit.as_deref()) {
        (Fact::JobFinished { job, result, .. }, Some("after@a.service")) => Some((*job, *result)),
        _ => None,
    });
    assert_eq!(done, (queued, JobResult::Done));
    until("the end of what won't", || {
        (property(&site, "stubborn@a.service", "ActiveState") == "failed").then_some(())
    });
    let stopped = site.records();
    let of = |r: &&Record| r.unit.as_deref() == Some("stubborn@a.service");
    let signals: Vec<(u8, u64)> = stopped
        .iter()
        .filter(of)
        .filter_map(|r| match r.fact {
            Fact::SignalSent { signal, .. } => Some((signal, r.at.monotonic_us)),
            _ => None,
        })
        .collect();
    let at = |wanted: u8| signals.iter().find(|(signal, _)| *signal == wanted).map(|(_, at)| *at);
    let (Some(first), Some(second)) = (at(15), at(9)) else { panic!("{signals:?}") };
    let took = second - first;
    assert!((8_000_000..14_000_000).contains(&took), "the deadline is as it was: {took} us");
    until("a tick", || Some(site.read("ticks")).filter(|t| !t.is_empty()));
    assert_eq!(site.read("ticks"), "tick\n");
    hence.interrupt();
}

#[test]
fn sockets_stay_open_with_who_waits_there() {
    let site = Site::new("reexec-sockets", Level::Best);
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    site.unit("wait.socket", "[Socket]\nListenStream=FOLDER/wait\n");
    site.unit(
        "wait.service",
        "[Service]\nExecStartPre=sleep 0.5 MARK\n\
         ExecStart=/bin/sh -c 'echo $LISTEN_FDS > FOLDER/fds; exec sleep 1000 MARK'\n",
    );
    site.unit("echo.socket", "[Socket]\nListenStream=FOLDER/echo\nAccept=yes\n");
    site.unit("echo@.service", "[Service]\nExecStart=cat\nStandardInput=socket\nStandardOutput=socket\n");
    let hence = serving(&site, &[]);
    until("sockets", || site.folder.join("wait").exists().then_some(()));
    let talk = |stream: &mut UnixStream, word: &str| {
        stream.write_all(word.as_bytes()).expect("a write");
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).expect("an echo");
        assert_eq!(heard, word.as_bytes());
    };
    let connect = |name: &str| {
        let stream = UnixStream::connect(site.folder.join(name)).expect("somebody listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream
    };
    let mut early = connect("echo");
    talk(&mut early, "one");
    reexecute(&site);
    talk(&mut early, "two");
    let mut late = connect("echo");
    talk(&mut late, "three");
    assert_eq!(property(&site, "echo.socket", "NConnections"), "2");
    assert_eq!(property(&site, "echo.socket", "NAccepted"), "2");
    drop((early, late));
    until("the end of both", || (property(&site, "echo.socket", "NConnections") == "0").then_some(()));
    // Its service is being started for this one, and gets the socket with it.
    let _waiting = connect("wait");
    until("a start", || (property(&site, "wait.service", "SubState") == "start-pre").then_some(()));
    reexecute(&site);
    assert_eq!(site.written("fds"), "1\n");
    assert_eq!(property(&site, "wait.socket", "SubState"), "running");
    reexecute(&site);
    assert!(asked(&site, &["stop", "wait.service"]).status.success());
    until("it listens again", || {
        matches!(property(&site, "wait.socket", "SubState").as_str(), "listening" | "running").then_some(())
    });
    hence.interrupt();
    assert!(UnixStream::connect(site.folder.join("wait")).is_err());
}

#[test]
fn messages_and_what_is_frozen() {
    if Command::new("systemd-notify").arg("--version").output().is_err() {
        return eprintln!("skipped: systemd-notify is missing");
    }
    let site = Site::new("reexec-notify", Level::Best);
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    site.unit(
        "ready@.service",
        "[Service]\nType=notify\nNotifyAccess=all\nWatchdogSec=20\n\
         ExecStart=/bin/sh -c 'sleep 0.6 MARK; i=0; while [ $i -lt 30 ]; do i=$((i+1)); \
         systemd-notify --status=$i; done; systemd-notify --ready; exec sleep 1000 MARK'\n",
    );
    let hence = serving(&site, &[]);
    let mut waiting = client(&site, &["start", "ready@a.service"]);
    until("a start", || (property(&site, "ready@a.service", "SubState") == "start").then_some(()));
    for _ in 0..12 {
        reexecute(&site);
    }
    let _ = waiting.wait();
    until("it is ready", || (property(&site, "ready@a.service", "ActiveState") == "active").then_some(()));
    assert_eq!(property(&site, "ready@a.service", "StatusText"), "30");
    if property(&site, "keep.service", "ControlGroup").is_empty() {
        eprintln!("skipped: freezing needs control groups");
    } else {
        assert!(asked(&site, &["freeze", "keep.service"]).status.success());
        reexecute(&site);
        assert_eq!(property(&site, "keep.service", "FreezerState"), "frozen");
        assert!(asked(&site, &["thaw", "keep.service"]).status.success());
        assert_eq!(property(&site, "keep.service", "FreezerState"), "running");
    }
    hence.interrupt();
}

#[test]
fn unit_files_are_read_anew_and_failures_are_remembered() {
    let site = Site::new("reexec-files", Level::Best);
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    site.unit(
        "bad.service",
        "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n[Service]\nExecStart=/bin/sh -c 'exit 3'\n",
    );
    let hence = serving(&site, &[]);
    until("a failure", || (property(&site, "bad.service", "ActiveState") == "failed").then_some(()));
    site.unit(
        "keep.service",
        "[Unit]\nDescription=another\n[Service]\nKillSignal=USR1\nExecStart=sleep 1000 MARK\n",
    );
    let done = reexecute(&site);
    assert_eq!(property(&site, "keep.service", "Description"), "another");
    site.recorded("what was read", |r| {
        let read = matches!(r.fact, Fact::Loaded { .. }) && r.unit.as_deref() == Some("keep.service");
        (read && r.causes.iter().any(|c| c.record == done.id)).then_some(())
    });
    assert_eq!(property(&site, "bad.service", "ExecMainStatus"), "3");
    assert_eq!(property(&site, "bad.service", "Result"), "exit-code");
    // One start is counted already: the one after the next is one too many.
    for _ in 0..2 {
        let _ = asked(&site, &["start", "bad.service"]);
        until("a failure", || (property(&site, "bad.service", "ActiveState") == "failed").then_some(()));
        reexecute(&site);
    }
    site.recorded("one start too many", |r| matches!(r.fact, Fact::StartLimitHit { .. }).then_some(()));
    assert!(asked(&site, &["stop", "keep.service"]).status.success());
    let sent = site.records().iter().any(|r| matches!(r.fact, Fact::SignalSent { signal: 10, .. }));
    assert!(sent, "the new line holds");
    hence.interrupt();
}

/// Puts a program in the place of another, by a process of its own: what this one has open for writing, its
/// other tests' children would have open too, and then it can't be executed.
fn put_program(from: &Path, to: &Path) {
    let line = "cp \"$1\" \"$2.new\" && chmod 755 \"$2.new\" && mv \"$2.new\" \"$2\"";
    let done = Command::new("sh").args(["-c", line, "sh"]).args([from, to]).status();
    assert!(done.is_ok_and(|status| status.success()));
}

/// The program's file is replaced by one that can't be executed: nothing changes.
#[test]
fn what_can_not_be_executed_changes_nothing() {
    let site = Site::new("reexec-fails", Level::Best);
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    let program = site.folder.join("hence");
    put_program(Path::new(env!("CARGO_BIN_EXE_hence")), &program);
    let hence = site.start_program(&program, &["--stay", "--quiet"]);
    site.until_serving();
    let pid = main_pid(&site, "keep.service");
    let put = |text: &[u8]| {
        std::fs::write(site.folder.join("text"), text).expect("a file");
        put_program(&site.folder.join("text"), &program);
    };
    put(b"no program");
    let refused = asked(&site, &["daemon-reexec"]);
    assert!(
        !refused.status.success() && said(&refused).contains("can't be executed anew"),
        "{}",
        said(&refused)
    );
    let refusal = site.recorded("why not", |r| match &r.fact {
        Fact::Refused { message, .. } => Some((message.clone(), r.causes.clone())),
        _ => None,
    });
    assert!(refusal.0.contains("format") && refusal.1.len() == 1, "{refusal:?}");
    assert_eq!(main_pid(&site, "keep.service"), pid);
    assert!(asked(&site, &["restart", "keep.service"]).status.success());
    // One that can be executed and does not run doesn't either.
    put(b"#!/bin/sh\nexit 127\n");
    let refused = asked(&site, &["daemon-reexec"]);
    assert!(said(&refused).contains("can't say its version"), "{}", said(&refused));
    // The next version of the program takes over.
    put(&std::fs::read(env!("CARGO_BIN_EXE_hence")).expect("the program"));
    let pid = main_pid(&site, "keep.service");
    reexecute(&site);
    assert_eq!(main_pid(&site, "keep.service"), pid);
    let up = |r: &Record| {
        matches!(r.fact, Fact::StateChanged { to_active: ActiveState::Active, to: SubState::Running, .. })
    };
    assert_eq!(site.records().iter().filter(|r| up(r)).count(), 2);
    hence.interrupt();
}

/// A part of the state is damaged on its way: its unit is found by its processes; nothing ends, nothing is
/// started twice, and it is on record.
#[test]
fn damaged_state_ends_nothing() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("skipped: python3 is missing");
    }
    for (what, by) in [("[unit 'keep.service]", "[unit 'kept.service]"), ("[", "("), ("=", "#")] {
        let site = Site::new("reexec-damaged", Level::Best);
        site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
        site.unit("other.service", "[Service]\nExecStart=sleep 1000 MARK\n");
        let program = site.folder.join("hence");
        put_program(Path::new(env!("CARGO_BIN_EXE_hence")), &program);
        let hence = site.start_program(&program, &["--stay", "--quiet"]);
        site.until_serving();
        let pids = [main_pid(&site, "keep.service"), main_pid(&site, "other.service")];
        let text = format!(
            "#!/usr/bin/python3\nimport os, sys\n\
             if '--version' in sys.argv: sys.exit(0)\n\
             fd = next(int(a.split('=')[1]) for a in sys.argv if a.startswith('--deserialize='))\n\
             text = os.pread(fd, 1 << 24, 0)\n\
             os.pwrite(fd, text.replace({what:?}.encode(), {by:?}.encode()), 0)\n\
             os.execv({0:?}, [{0:?}] + sys.argv[1:])\n",
            env!("CARGO_BIN_EXE_hence")
        );
        std::fs::write(site.folder.join("text"), &text).expect("a file");
        put_program(&site.folder.join("text"), &program);
        let _ = asked(&site, &["daemon-reexec"]);
        let unread = until("the new program", || {
            reexecutions(&site).into_iter().find_map(|r| match r.fact {
                Fact::Reexecuted { unread, .. } => Some(unread),
                _ => None,
            })
        });
        assert!(!unread.is_empty(), "{what}");
        until("its socket", || asked(&site, &["is-active", "keep.service"]).status.success().then_some(()));
        let now = [main_pid(&site, "keep.service"), main_pid(&site, "other.service")];
        assert_eq!(now, pids, "{what}: {unread:?}\n{}", site.said());
        assert_eq!((starts(&site, "keep.service"), starts(&site, "other.service")), (1, 1));
        // Its end is seen as that of any child.
        send(pids[0].parse().expect("a pid"), rustix::process::Signal::KILL);
        until("its end", || (property(&site, "keep.service", "Result") == "signal").then_some(()));
        hence.interrupt();
    }
}
