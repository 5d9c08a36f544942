//! Processes that outlive their unit: whatever they do to hide, each is on record or gone.

use crate::rig::{Level, Site, levels, start_ticks, until};
use hence_ledger::{Fact, LeftOver, Record};
use rustix::process::Signal;

/// A way to get out of sight: the script, and how many marked processes it leaves.
const WAYS: [(&str, &str, usize); 5] = [
    ("fork", "sleep 1000 MARK &", 1),
    ("double", "(sleep 1000 MARK & sleep 1000 MARK &) &", 2),
    ("session", "setsid sleep 1000 MARK &", 1),
    ("name", "bash -c \"printf harmless >/proc/self/comm; exec -a harmless sleep 1000 MARK\" &", 1),
    ("orphan", "(setsid sh -c \"(setsid sleep 1000 MARK &) ; exit 0\" &) &", 1),
];

fn service(site: &Site, script: &str, mode: &str) {
    let text = format!(
        "[Service]\nKillMode={mode}\nTimeoutStopSec=5\n\
         ExecStart=/bin/sh -c '{script} echo ready; exec sleep 2000'\n"
    );
    site.unit("leaky.service", &text);
}

fn named(site: &Site) -> Vec<(Record, LeftOver)> {
    site.left_behind().into_iter().filter(|(r, _)| r.unit.as_deref() == Some("leaky.service")).collect()
}

/// Starts the service and something that keeps hence running, and ends the service's main process.
fn ended_service<'a>(site: &'a Site, count: usize) -> (crate::rig::Hence<'a>, Vec<u32>) {
    let hence = site.start(&["--stay"]);
    site.logged("_SYSTEMD_UNIT=leaky.service");
    until("processes out of sight", || (site.marked().len() == count).then_some(()));
    // Those that leave their parents need a moment for it.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let hidden = site.marked();
    let main = site.recorded("a main process", |r| match r.fact {
        Fact::ProcessStarted { pid, .. } if r.unit.as_deref() == Some("leaky.service") => Some(pid),
        _ => None,
    });
    crate::rig::send(main, Signal::TERM);
    (hence, hidden)
}

#[test]
fn with_kill_mode_process_each_is_on_record() {
    for level in levels() {
        for (way, script, count) in WAYS {
            let site = Site::new(way, level);
            service(&site, script, "process");
            let (hence, hidden) = ended_service(&site, count);
            until("records of all of them", || (named(&site).len() >= count).then_some(()));
            let found = named(&site);
            for &pid in &hidden {
                let of = |(_, p): &&(Record, LeftOver)| p.pid == pid;
                let (record, process) = found.iter().find(of).unwrap_or_else(|| panic!("{way}: {found:?}"));
                assert_eq!(Some(process.start_ticks), start_ticks(pid), "{way} {level:?}");
                assert!(process.command.contains(&site.mark), "{way}: {}", process.command);
                assert!(process.bytes.is_some_and(|b| b > 4096), "{way}: {:?}", process.bytes);
                assert!(record.invocation.is_some(), "{way}");
                let rule = record.causes[0].rule.as_ref().expect("a rule");
                assert_eq!((&*rule.directive, rule.line), ("KillMode=process", 2), "{way}");
            }
            assert_eq!(found.len(), hidden.len(), "{way}: {found:?}");
            let leaks = site.json(&["leaks", "--json"]);
            assert_eq!(leaks.as_array().map(Vec::len), Some(count), "{way}: {leaks}");

            for &pid in &hidden {
                crate::rig::send(pid, Signal::KILL);
            }
            for (_, process) in &found {
                site.recorded(&format!("{way}: the end of {}", process.pid), |r| {
                    matches!(r.fact, Fact::LeftOverGone { pid, start_ticks, .. }
                        if pid == process.pid && start_ticks == process.start_ticks)
                    .then_some(())
                });
            }
            assert_eq!(site.json(&["leaks", "--json"]).as_array().map(Vec::len), Some(0), "{way}");
            hence.interrupt();
        }
    }
}

#[test]
fn with_kill_mode_control_group_none_survives() {
    for level in levels() {
        for (way, script, count) in WAYS {
            let site = Site::new(way, level);
            service(&site, script, "control-group");
            let (hence, _) = ended_service(&site, count);
            until(&format!("{way} {level:?}: the end of all"), || site.marked().is_empty().then_some(()));
            assert_eq!(hence.interrupt(), 0, "{way} {level:?}: {}", site.said());
            assert!(named(&site).is_empty(), "{way} {level:?}: {:?}", named(&site));
        }
    }
}

/// With its environment gone, its session its own and its parent dead, nothing but a group tells the unit
/// of a process. By ancestry it is said to be nobody's, and it is not killed for a guess.
#[test]
fn one_that_clears_its_environment_too() {
    for level in levels() {
        let site = Site::new("cleared", level);
        service(&site, "(env -i setsid sh -c \"(setsid sleep 1000 MARK &) ; exit 0\" &) &", "control-group");
        let (hence, hidden) = ended_service(&site, 1);
        let ancestry = site
            .records()
            .iter()
            .any(|r| matches!(r.fact, Fact::Started { tracking: hence_ledger::Tracking::Ancestry, .. }));
        if !ancestry {
            until("its end", || site.marked().is_empty().then_some(()));
        } else {
            site.recorded("the service's end", |r| {
                (r.unit.as_deref() == Some("leaky.service")
                    && matches!(
                        r.fact,
                        Fact::StateChanged { to_active: hence_ledger::ActiveState::Inactive, .. }
                    ))
                .then_some(())
            });
            let out = site.read("out");
            assert!(out.contains("clears its environment") && out.contains("not signalled"), "{out}");
            assert_eq!(site.marked(), hidden, "documented: it stays");
        }
        hence.interrupt();
    }
}

/// A program that forks itself again and again, each process for a short time. It ends by itself after some
/// seconds, and does nothing where the limit that holds it is not in force.
const STORM: &str = "#!/bin/sh
[ -e FOLDER/limited ] && [ $(($(date +%s) - $(cat FOLDER/limited))) -lt 30 ] || exit 0
(\"$0\" MARK & \"$0\" MARK &) 2>/dev/null
sleep 0.02
exec \"$0\" MARK
";

fn storm(site: &Site, mode: &str) -> bool {
    let program = site.script("storm", STORM);
    site.unit(
        "leaky.service",
        &format!(
            "[Service]\nKillMode={mode}\nTasksMax=40\n\
        ExecStart=/bin/sh -c '{program} MARK & echo ready; exec sleep 2000'\n"
        ),
    );
    let hence = site.start(&["--stay", "--for", "1h"]);
    until("a first line", || Some(site.read("out")).filter(|o| o.contains("ledger")));
    let out = site.read("out");
    let enforced = out.contains("tracked by control groups") && !out.contains("TasksMax= is not enforced");
    if !enforced {
        hence.kill();
        eprintln!("skipped: a fork storm: TasksMax= can't be enforced here");
        return false;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    std::fs::write(site.path("limited"), format!("{}\n", now.as_secs())).expect("a file");
    until("a storm", || (site.marked().len() > 20).then_some(()));
    let main = site.recorded("a main process", |r| match r.fact {
        Fact::ProcessStarted { pid, .. } => Some(pid),
        _ => None,
    });
    crate::rig::send(main, Signal::TERM);
    if mode == "control-group" {
        until("the end of all", || site.marked().is_empty().then_some(()));
    } else {
        until("records of the storm", || (!named(site).is_empty()).then_some(()));
        assert!(!site.marked().is_empty());
    }
    site.kill_marked();
    hence.interrupt();
    true
}

#[test]
fn a_fork_storm() {
    for mode in ["control-group", "process"] {
        let site = Site::new("storm", Level::Best);
        if !storm(&site, mode) {
            return;
        }
        assert_eq!(site.marked(), [0; 0]);
        assert_eq!(named(&site).is_empty(), mode == "control-group", "{:?}", named(&site));
    }
}
