//! hence is killed and started again: services whose main processes still run go on, with their process ids,
//! invocations, times and output. Nothing is started twice, and what can't go on is left over as before.

use crate::rig::*;
use hence_ledger::{Certainty, Fact, ProcessRole, Record};
use std::process::Command;

fn show(site: &Site, unit: &str) -> Vec<String> {
    let names = ["MainPID", "InvocationID", "ActiveState", "SubState", "NRestarts"];
    let line: Vec<&str> = ["show", unit].into_iter().chain(names.iter().flat_map(|n| ["-P", n])).collect();
    said(&asked(site, &line)).lines().map(str::to_owned).collect()
}

fn property(site: &Site, unit: &str, name: &str) -> String {
    said(&asked(site, &["show", "-P", name, unit])).trim().to_owned()
}

fn serving<'a>(site: &'a Site) -> Hence<'a> {
    let _ = std::fs::remove_file(site.folder.join("bus"));
    let hence = site.start(&["--quiet", "--stay"]);
    site.until_serving();
    hence
}

fn starts(site: &Site, unit: &str) -> usize {
    let main = |r: &&Record| {
        matches!(r.fact, Fact::ProcessStarted { role: ProcessRole::Main | ProcessRole::Start, .. })
    };
    site.records().iter().filter(|r| r.unit.as_deref() == Some(unit)).filter(main).count()
}

fn active(site: &Site, unit: &str) {
    until(unit, || (property(site, unit, "ActiveState") == "active").then_some(()));
}

#[test]
fn services_go_on() {
    for level in levels() {
        let site = Site::new("resumed", level);
        site.unit(
            "talks.service",
            "[Service]\n\
             ExecStart=/bin/sh -c 'i=0; while sleep 0.01 MARK; do i=$((i+1)); echo line $i; done'\n",
        );
        site.unit(
            "forks.service",
            "[Service]\nType=forking\nPIDFile=FOLDER/pid\n\
             ExecStart=/bin/sh -c 'sleep 1000 MARK & echo $! > FOLDER/pid'\n",
        );
        site.unit(
            "many.service",
            "[Service]\nRestart=always\nRestartSec=10ms\n\
             ExecStart=/bin/sh -c 'sleep 1000 MARK & sleep 1000 MARK & wait'\n",
        );
        let units = ["talks.service", "forks.service", "many.service"];
        let mut hence = serving(&site);
        units.iter().for_each(|unit| active(&site, unit));
        let before: Vec<_> = units.iter().map(|unit| show(&site, unit)).collect();
        assert!(before.iter().all(|unit| unit[0] != "0"), "{before:?}");
        let since = property(&site, "forks.service", "ActiveEnterTimestamp");
        let processes = |site: &Site| {
            let mut all = site.marked();
            all.retain(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains("1000")
            });
            all.sort_unstable();
            all
        };
        let alive = processes(&site);
        for _ in 0..3 {
            hence.kill();
            hence = serving(&site);
            units.iter().for_each(|unit| active(&site, unit));
            let now: Vec<_> = units.iter().map(|unit| show(&site, unit)).collect();
            assert_eq!(now, before, "{level:?}\n{}", site.said());
            assert_eq!(property(&site, "forks.service", "ActiveEnterTimestamp"), since);
            assert_eq!(processes(&site), alive);
        }
        assert!(site.left_behind().is_empty(), "{:?}", site.left_behind());
        units.iter().for_each(|unit| assert_eq!(starts(&site, unit), 1, "{unit}"));
        let taken = site.recorded("evidence", |r| match &r.fact {
            Fact::TakenUp { main: Some(pid), .. } if r.unit.as_deref() == Some("talks.service") => {
                Some((*pid, r.certainty, r.causes.len()))
            }
            _ => None,
        });
        assert_eq!((taken.0.to_string(), taken.1), (before[0][0].clone(), Certainty::Observed));
        assert!(taken.2 >= 2, "it names what was on record before, and the start of hence");
        let why = said(&site.ask(&["why", "talks.service"])).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(why.contains("asked for run"), "the cause is as it was: {why}");
        // The end of what is no child of this hence is seen, and what follows from it follows.
        send(before[2][0].parse().expect("a pid"), rustix::process::Signal::KILL);
        until("a restart", || (starts(&site, "many.service") == 2).then_some(()));
        let end = site.recorded("the end", |r| {
            let main = matches!(r.fact, Fact::ProcessExited { role: ProcessRole::Main, .. });
            (main && r.unit.as_deref() == Some("many.service")).then(|| r.clone())
        });
        // Where the kernel does not tell how it ended, that is said.
        let Fact::ProcessExited { exit, .. } = end.fact else { unreachable!() };
        let told = end.certainty == Certainty::Observed && exit.status == 9;
        assert!(told || end.certainty == Certainty::Inferred, "{end:?}");
        assert!(asked(&site, &["stop", "forks.service", "many.service"]).status.success());
        assert_eq!(processes(&site), Vec::<u32>::new());
        hence.interrupt();
        let log = site.ask(&["history"]);
        assert!(log.status.success());
        assert!(site.marked().is_empty());
    }
}

#[test]
fn what_can_not_go_on_is_left_over() {
    for level in levels() {
        let site = Site::new("resumed-not", level);
        site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
        site.unit("gone.service", "[Service]\nExecStart=sleep 1001 MARK\n");
        site.unit("main.service", "[Service]\nExecStart=/bin/sh -c 'sleep 1002 MARK & sleep 1003 MARK; :'\n");
        let hence = serving(&site);
        let units = ["keep.service", "gone.service", "main.service"];
        units.iter().for_each(|unit| active(&site, unit));
        until("its child", || (site.marked().len() == 5).then_some(()));
        let main: u32 = property(&site, "main.service", "MainPID").parse().expect("a pid");
        let kept = property(&site, "keep.service", "MainPID");
        hence.kill();
        send(main, rustix::process::Signal::KILL);
        until("its end", || start_ticks(main).is_none().then_some(()));
        std::fs::remove_file(site.units().join("gone.service")).expect("a file");
        let hence = serving(&site);
        active(&site, "main.service");
        assert_eq!(property(&site, "keep.service", "MainPID"), kept);
        let mut left: Vec<String> =
            site.left_behind().iter().filter_map(|(r, _)| r.unit.as_deref().map(str::to_owned)).collect();
        left.sort_unstable();
        left.dedup();
        assert_eq!(left, ["gone.service", "main.service"], "{level:?}");
        assert_eq!(starts(&site, "main.service"), 2);
        hence.interrupt();
    }
}

#[test]
fn messages_find_the_new_one() {
    if Command::new("systemd-notify").arg("--version").output().is_err() {
        return eprintln!("skipped: systemd-notify is missing");
    }
    let site = Site::new("resumed-notify", Level::Best);
    if !is_root() {
        return eprintln!("skipped: only root's services report to a socket in a folder here");
    }
    site.unit(
        "says.service",
        "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'systemd-notify --ready; \
         while sleep 0.05 MARK; do \
         [ ! -e FOLDER/word ] || systemd-notify --status=$(cat FOLDER/word); done'\n",
    );
    let mut hence = serving(&site);
    active(&site, "says.service");
    for word in ["one", "two", "three"] {
        hence.kill();
        hence = serving(&site);
        std::fs::write(site.folder.join("word"), word).expect("a file");
        until(word, || (property(&site, "says.service", "StatusText") == word).then_some(()));
    }
    assert_eq!(starts(&site, "says.service"), 1);
    hence.interrupt();
}

/// A socket that its service has open stays that very socket, with who waits there.
#[test]
fn sockets_that_a_service_has_are_taken_from_it() {
    let site = Site::new("resumed-sockets", Level::Best);
    if !is_root() {
        return eprintln!("skipped: only root may take descriptors from a process that is no child");
    }
    site.unit("web.socket", "[Socket]\nListenStream=FOLDER/web\n");
    site.unit("web.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    site.unit("keep.service", "[Service]\nExecStart=sleep 1000 MARK\n");
    let hence = serving(&site);
    until("a socket", || site.folder.join("web").exists().then_some(()));
    let connect = || std::os::unix::net::UnixStream::connect(site.folder.join("web")).expect("it listens");
    let _first = connect();
    active(&site, "web.service");
    let node = |site: &Site| {
        let about = std::fs::metadata(site.folder.join("web")).expect("a node");
        (std::os::unix::fs::MetadataExt::ino(&about), std::os::unix::fs::MetadataExt::dev(&about))
    };
    let before = node(&site);
    hence.kill();
    // Nobody but the service has it now.
    let _second = connect();
    let hence = serving(&site);
    active(&site, "web.socket");
    assert_eq!(property(&site, "web.socket", "SubState"), "running");
    assert_eq!(node(&site), before);
    assert_eq!(starts(&site, "web.service"), 1);
    site.recorded("evidence", |r| match &r.fact {
        Fact::TakenUp { evidence, .. } if r.unit.as_deref() == Some("web.socket") => {
            assert!(evidence.contains("has its sockets open"), "{evidence}");
            Some(())
        }
        _ => None,
    });
    // Both still wait there, so the service is started anew as soon as it has ended.
    assert!(asked(&site, &["kill", "-s", "KILL", "web.service"]).status.success());
    until("a start by traffic", || (starts(&site, "web.service") >= 2).then_some(()));
    hence.interrupt();
}
