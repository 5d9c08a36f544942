//! Which processes belong to a unit: groups, ancestry, kills, left-over processes.

use crate::rig::*;
use hence_engine::{Effect, Event, KillScope, UnitId};
use hence_ledger::{ExitKind, Tracking};
use hence_unit::config::Limit;
use std::{fs, path::Path, sync::Arc, thread, time::Duration};

const SETTLE: Duration = Duration::from_millis(5);

fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

fn group(rig: &Rig, name: &str) -> std::path::PathBuf {
    Path::new(&rig.host.tracking().cgroup).join("system.slice").join(name)
}

fn members(rig: &Rig, name: &str) -> Vec<u32> {
    let text = fs::read_to_string(group(rig, name).join("cgroup.procs")).unwrap_or_default();
    text.lines().map(|l| l.parse().unwrap()).collect()
}

pub fn born_in_its_group() {
    born(Rig::new());
}

pub fn joins_its_group() {
    let mut rig = Rig::new();
    rig.host.without_clone3();
    born(rig);
}

fn born(mut rig: Rig) {
    assert_eq!(rig.host.tracking().level, Tracking::Cgroup);
    for round in 0..20 {
        let config = Arc::new(service("a.service", &["/bin/sleep", "1000"]));
        let Event::Spawned { pid, start_ticks, .. } =
            rig.ask(Effect::Spawn(Box::new(spawn_of(round, &config))))
        else {
            panic!("not started")
        };
        // Where it has to join by itself it does so shortly after.
        for _ in 0..200 {
            if !members(&rig, "a.service").is_empty() {
                break;
            }
            thread::sleep(SETTLE);
        }
        assert_eq!(members(&rig, "a.service"), [pid]);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let ticks = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
        assert_eq!(ticks, start_ticks.to_string());
        rig.end(round);
        assert!(!group(&rig, "a.service").exists(), "the group is removed");
    }
    let root = rig.host.tracking().cgroup;
    rig.host.close();
    assert!(!Path::new(&root).exists(), "our root is removed");
}

/// A child, one that was left by its parent, and one in a session of its own with another name.
const TREE: &str = "trap '' TERM; sleep 1000 & (sleep 1001 & exit 0); \
                    setsid bash -c 'exec -a renamed sleep 1002' & \
                    (env -i setsid sleep 1003 &) ; while :; do sleep 1; done";

pub fn tree_is_killed() {
    let mut rig = Rig::new();
    let (unit, pid) = rig.start(service("tree.service", &["/bin/bash", "-c", TREE]));
    while members(&rig, "tree.service").len() < 5 {
        thread::sleep(SETTLE);
    }
    let known = rig.ask(Effect::Kill(kill_of(unit, KillScope::Known, Some(pid), libc::SIGTERM)));
    assert!(matches!(known, Event::Killed { others: 0, empty: false, .. }));
    let answer = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, Some(pid), libc::SIGTERM)));
    assert!(matches!(answer, Event::Killed { others: 4.., .. }), "{answer:?}");
    assert!(alive(pid), "it ignores SIGTERM");
    let answer = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, Some(pid), libc::SIGKILL)));
    assert!(matches!(answer, Event::Killed { empty: false, .. }));
    assert_eq!(rig.exited(pid).kind, ExitKind::Killed);
    rig.emptied(unit);
    assert!(members(&rig, "tree.service").is_empty());
    let again = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, None, libc::SIGKILL)));
    assert!(matches!(again, Event::Killed { others: 0, empty: true, .. }), "{again:?}");
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    rig.host.close();
}

fn storm(name: &str) -> hence_unit::Config {
    let mut config =
        service(name, &["/bin/bash", "-c", "f() { while :; do (f) & done 2>/dev/null; }; f; wait"]);
    part(&mut config).resources.tasks_max = Some(Limit::Absolute(60));
    config
}

pub fn fork_storm_is_killed() {
    let mut rig = Rig::new();
    if rig.host.tracking().limits.iter().any(|l| l.contains("TasksMax=")) {
        println!("skipped: no pids controller bounds the storm");
        return rig.host.close();
    }
    let (unit, pid) = rig.start(storm("storm.service"));
    while members(&rig, "storm.service").len() < 30 {
        thread::sleep(SETTLE);
    }
    let answer = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, Some(pid), libc::SIGKILL)));
    assert!(matches!(answer, Event::Killed { .. }));
    rig.emptied(unit);
    assert!(members(&rig, "storm.service").is_empty());
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    rig.host.close();
}

pub fn tasks_are_limited() {
    let mut rig = Rig::new();
    if rig.host.tracking().limits.iter().any(|l| l.contains("TasksMax=")) {
        println!("skipped: no pids controller");
        return rig.host.close();
    }
    let mut config =
        shell("few.service", "exec 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; wait");
    part(&mut config).resources.tasks_max = Some(Limit::Absolute(5));
    let (unit, _) = rig.start(config);
    thread::sleep(Duration::from_millis(300));
    let count = members(&rig, "few.service").len();
    assert!((1..=5).contains(&count), "{count} processes");
    rig.end(unit);
    rig.host.close();
}

/// A service whose main process ends and leaves one behind, which then ends too.
fn leaves(rig: &mut Rig, script: &str) {
    let (unit, pid) = rig.start(shell("leaver.service", script));
    assert_eq!(rig.exited(pid).status, 0);
    let mut left = Vec::new();
    // The child may not have become its program yet.
    for _ in 0..200 {
        let Event::Census { processes, .. } =
            rig.ask(Effect::Census { unit: UnitId(unit), expected: vec![pid] })
        else {
            panic!("no census")
        };
        left = processes;
        if left.iter().any(|p| &*p.process.command == "sleep 1004") {
            break;
        }
        thread::sleep(SETTLE);
    }
    let [process] = &left[..] else { panic!("{left:?}") };
    let (left_pid, ticks) = (process.process.pid, process.process.start_ticks);
    assert_eq!(&*process.process.command, "sleep 1004");
    assert!(process.process.bytes.is_some_and(|b| b > 10_000), "{process:?}");
    assert!(process.invocation.is_some());
    let answer = rig.ask(Effect::Kill(kill_of(unit, KillScope::Others, None, 0)));
    assert!(matches!(answer, Event::Killed { empty: false, .. }));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(left_pid as i32).unwrap(),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    rig.until("end of the left-over process", |e| match e {
        Event::Gone { pid, start_ticks, .. } if *pid == left_pid && *start_ticks == ticks => Some(()),
        _ => None,
    });
    rig.emptied(unit);
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
}

const LEAVES: &str = "setsid sleep 1004 & exit 0";

pub fn left_over() {
    let mut rig = Rig::new();
    leaves(&mut rig, LEAVES);
    assert!(!group(&rig, "leaver.service").exists());
    rig.host.close();
}

pub fn left_over_by_ancestry() {
    let mut rig = Rig::by_ancestry();
    let report = rig.host.tracking();
    assert_eq!(report.level, Tracking::Ancestry);
    assert!(report.limits.iter().all(|l| l.ends_with('.')) && report.limits.len() >= 3);
    leaves(&mut rig, LEAVES);
}

pub fn tree_is_killed_by_ancestry() {
    assert!(!rustix::process::geteuid().is_root());
    let mut rig = Rig::by_ancestry();
    let (unit, pid) = rig.start(service("tree.service", &["/bin/bash", "-c", TREE]));
    let others = loop {
        let Event::Census { processes, .. } =
            rig.ask(Effect::Census { unit: UnitId(unit), expected: vec![pid] })
        else {
            panic!("no census")
        };
        let sleeping = processes.iter().filter(|p| p.process.command.contains(" 100")).count();
        if sleeping >= 3 {
            break processes;
        }
        thread::sleep(SETTLE);
    };
    // What cleared its environment, made a session and lost its parent is the documented limit.
    let escaped = rig.host.unattributed();
    assert!(escaped <= 1, "{escaped}");
    let answer = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, Some(pid), libc::SIGKILL)));
    assert!(matches!(answer, Event::Killed { others: 3.., empty: false, .. }), "{answer:?}");
    rig.exited(pid);
    rig.emptied(unit);
    for process in others {
        assert!(!alive(process.process.pid), "{process:?}");
    }
    // Ours to clean up: nothing tells whose it is.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|r| r.split(' ').nth(1)).map(str::to_owned);
        if parent == Some(std::process::id().to_string()) {
            let raw = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let _ = rustix::process::kill_process(raw, rustix::process::Signal::KILL);
        }
    }
}

pub fn busy_group_is_removed_later() {
    let mut rig = Rig::new();
    let (unit, pid) = rig.start(shell("busy.service", "sleep 1005 & exit 0"));
    rig.exited(pid);
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    assert!(group(&rig, "busy.service").exists(), "a process is in it");
    let [left] = members(&rig, "busy.service")[..] else { panic!("not one process") };
    let raw = rustix::process::Pid::from_raw(left as i32).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    for _ in 0..400 {
        let soon = hence_host::Host::now().monotonic_us + 5000;
        rig.wait(soon);
        if !group(&rig, "busy.service").exists() {
            return rig.host.close();
        }
    }
    panic!("the group is still there");
}

pub fn vanished_group() {
    let mut rig = Rig::new();
    let (unit, pid) = rig.start(service("gone.service", &["/bin/true"]));
    rig.exited(pid);
    for _ in 0..100 {
        if fs::remove_dir(group(&rig, "gone.service")).is_ok() {
            break;
        }
        thread::sleep(SETTLE);
    }
    assert!(!group(&rig, "gone.service").exists());
    let killed = rig.ask(Effect::Kill(kill_of(unit, KillScope::Group, None, libc::SIGKILL)));
    assert!(matches!(killed, Event::Killed { others: 0, empty: true, .. }));
    let census = rig.ask(Effect::Census { unit: UnitId(unit), expected: vec![] });
    assert!(matches!(census, Event::Census { processes, .. } if processes.is_empty()));
    let config = Arc::new(service("gone.service", &["/bin/true"]));
    let again = rig.ask(Effect::Spawn(Box::new(spawn_of(unit, &config))));
    let Event::Spawned { pid, .. } = again else { panic!("not started again: {again:?}") };
    rig.exited(pid);
    rig.tell(Effect::Release { unit: UnitId(unit), keep_directories: false });
    rig.host.close();
}

pub fn subgroups_count() {
    let mut rig = Rig::new();
    let (unit, pid) = rig.start(service("deep.service", &["/bin/sleep", "1006"]));
    let below = group(&rig, "deep.service").join("a/b");
    fs::create_dir_all(&below).unwrap();
    fs::write(below.join("cgroup.procs"), pid.to_string()).unwrap();
    let census = rig.ask(Effect::Census { unit: UnitId(unit), expected: vec![] });
    let Event::Census { processes, .. } = census else { panic!("no census") };
    assert_eq!(processes.len(), 1);
    rig.end(unit);
    assert!(!group(&rig, "deep.service").exists());
    rig.host.close();
}
