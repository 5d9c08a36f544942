//! How a run begins, ends and what it says: order, signals, --for, exit statuses, captured output.

use crate::rig::{Level, Site, levels, until};
use hence_ledger::{ActiveState, ExitKind, Fact, Record};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// The units that came up, or went down, in order.
fn order(records: &[Record], wanted: ActiveState) -> Vec<String> {
    let reached = |r: &Record| match &r.fact {
        Fact::StateChanged { to_active, .. } if *to_active == wanted => {
            r.unit.as_deref().filter(|u| u.ends_with(".service")).map(str::to_owned)
        }
        _ => None,
    };
    records.iter().filter_map(reached).collect()
}

fn chain(site: &Site) {
    site.unit("a.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    site.unit("b.service", "[Unit]\nAfter=a.service\n[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    site.unit("c.service", "[Unit]\nAfter=b.service\n[Service]\nExecStart=/bin/sleep 1000 MARK\n");
}

#[test]
fn a_signal_stops_everything_in_reverse_order() {
    for level in levels() {
        for signal in [Signal::INT, Signal::TERM] {
            let site = Site::new("order", level);
            chain(&site);
            let hence = site.start(&[]);
            until("three services", || (site.marked().len() == 3).then_some(()));
            site.recorded("c.service up", |r| {
                (r.unit.as_deref() == Some("c.service")
                    && matches!(r.fact, Fact::StateChanged { to_active: ActiveState::Active, .. }))
                .then_some(())
            });
            hence.signal(signal);
            assert_eq!(hence.ended().code(), Some(0), "{}", site.said());
            assert_eq!(site.marked(), [0; 0], "{level:?}");
            let records = site.records();
            assert_eq!(order(&records, ActiveState::Active), ["a.service", "b.service", "c.service"]);
            assert_eq!(order(&records, ActiveState::Inactive), ["c.service", "b.service", "a.service"]);
            assert!(records.iter().any(|r| matches!(r.fact, Fact::Ended { status: 0 })), "{records:?}");
            // Why each went down: the signal, and who sent it.
            let why = site.json(&["why", "a.service", "--json"]);
            assert_eq!(why["roots"][0]["kind"], "signal", "{why}");
            assert_eq!(why["roots"][0]["pid"], std::process::id(), "{why}");
            assert!(!site.ledger().join("running").exists(), "the mark of a run that ended is still there");
        }
    }
}

#[test]
fn the_groups_of_a_run_go_with_it() {
    let site = Site::new("groups", Level::Best);
    chain(&site);
    let hence = site.start(&[]);
    let pid = hence.pid();
    until("three services", || (site.marked().len() == 3).then_some(()));
    assert_eq!(hence.interrupt(), 0);
    assert!(crate::roots::cgroup_roots(pid).is_empty(), "{:?}", crate::roots::cgroup_roots(pid));
}

#[test]
fn a_second_interrupt_hurries() {
    let site = Site::new("hurry", Level::Best);
    site.unit(
        "deaf.service",
        "[Service]\nTimeoutStopSec=60\n\
         ExecStart=/bin/sh -c 'trap \"\" INT TERM; echo ready; while :; do sleep 0.2; done; : MARK'\n",
    );
    let hence = site.start(&[]);
    site.logged("MESSAGE=ready");
    let begun = Instant::now();
    hence.signal(Signal::INT);
    site.recorded("the stop", |r| matches!(r.fact, Fact::SignalSent { signal: 15, .. }).then_some(()));
    hence.signal(Signal::INT);
    let status = hence.ended();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(site.marked(), [0; 0]);
    assert!(status.code().is_some(), "{status}\n{}", site.said());
    let killed =
        |r: &Record| matches!(r.fact, Fact::ProcessExited { exit, .. } if exit.kind == ExitKind::Killed);
    assert!(site.records().iter().any(killed), "{:?}", site.records());
}

#[test]
fn a_run_has_its_time() {
    let site = Site::new("for", Level::Best);
    chain(&site);
    let begun = Instant::now();
    assert_eq!(site.run(&["--for", "700ms"]), 0, "{}", site.said());
    assert!((700..9000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_eq!(site.marked(), [0; 0]);
    let why = site.json(&["why", "b.service", "--json"]);
    assert_eq!(why["roots"][0]["kind"], "deadline", "{why}");
}

#[test]
fn oneshots_end_by_themselves() {
    for level in levels() {
        let site = Site::new("oneshot", level);
        site.unit(
            "first.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo first >>FOLDER/order'\n",
        );
        site.unit(
            "second.service",
            "[Unit]\nAfter=first.service\n[Service]\nType=oneshot\n\
             ExecStart=/bin/sh -c 'echo second >>FOLDER/order'\n",
        );
        assert_eq!(site.run(&[]), 0, "{level:?} {}", site.said());
        assert_eq!(site.read("order"), "first\nsecond\n");
    }
}

#[test]
fn a_failure_is_an_exit_status_and_its_last_words_are_kept() {
    for level in levels() {
        let site = Site::new("words", level);
        site.unit(
            "bad.service",
            "[Service]\nExecStart=/bin/sh -c 'echo to stdout; echo the disk is on fire >&2; exit 3'\n",
        );
        assert_eq!(site.run(&[]), 1, "{level:?} {}", site.said());
        assert!(site.read("out").contains("exited with status 3"), "{}", site.said());
        site.logged("MESSAGE=to stdout");
        site.logged("MESSAGE=the disk is on fire");
        let words = site.recorded("last words", |r| match &r.fact {
            Fact::LastWords { text, .. } if text.contains("fire") => Some(text.clone()),
            _ => None,
        });
        assert!(words.contains("the disk is on fire"), "{words}");
        let why = site.json(&["why", "bad.service", "--json"]);
        assert!(why.to_string().contains("the disk is on fire"), "{why}");
        assert_eq!(why["roots"][0]["kind"], "exit", "{why}");
    }
}

#[test]
fn a_recorder_that_is_killed_loses_nothing() {
    let site = Site::new("recorder", Level::Best);
    site.unit(
        "turn.service",
        "[Service]\nExecStart=/bin/sh -c 'echo a turn; sleep 0.01'\n\
         Restart=always\nRestartSec=10ms\nStartLimitBurst=100000\n[Unit]\nStartLimitIntervalSec=0\n",
    );
    site.unit("still.service", "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
    let hence = site.start(&[]);
    let mut killed = Vec::new();
    for _ in 0..4 {
        let recorder = until("a recorder", || hence.recorder().filter(|pid| !killed.contains(pid)));
        let before = site.records_so_far().len();
        until("more records", || (site.records_so_far().len() > before + 5).then_some(()));
        crate::rig::send(recorder, Signal::KILL);
        killed.push(recorder);
    }
    until("a last recorder", || hence.recorder().filter(|pid| !killed.contains(pid)));
    hence.interrupt();
    let records = site.records();
    let gap = records.iter().find(|r| matches!(r.fact, Fact::Gap { .. }));
    assert!(gap.is_none(), "{gap:?}");
    let started = |r: &&Record| matches!(r.fact, Fact::ProcessStarted { .. });
    let exited = |r: &&Record| matches!(r.fact, Fact::ProcessExited { .. });
    let (started, exited) = (records.iter().filter(started).count(), records.iter().filter(exited).count());
    assert_eq!(started, exited, "each process's start and end are on record");
    assert!(started > 10, "{started}");
    let verify = site.ask(&["verify"]);
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
}

/// How often a process went to sleep or was preempted, all threads.
fn switches(pid: u32) -> u64 {
    let mut sum = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let of = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
        sum += of("voluntary_ctxt_switches:").unwrap_or(0);
    }
    sum
}

#[test]
fn nothing_wakes_up_when_nothing_happens() {
    for level in levels() {
        let site = Site::new("idle", level);
        for number in 0..20 {
            site.unit(&format!("s{number}.service"), "[Service]\nExecStart=/bin/sleep 1000 MARK\n");
        }
        let hence = site.start(&[]);
        until("20 services", || (site.marked().len() == 20).then_some(()));
        let recorder = until("a recorder", || hence.recorder());
        let both = || (switches(hence.pid()), switches(recorder));
        // Digests and the first writes end some time after the start.
        let mut quiet = both();
        until("quiet", || {
            std::thread::sleep(Duration::from_millis(1500));
            let now = both();
            (std::mem::replace(&mut quiet, now) == now).then_some(())
        });
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(both(), quiet, "{level:?}: somebody woke up");
        hence.interrupt();
    }
}
