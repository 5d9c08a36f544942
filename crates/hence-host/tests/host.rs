//! The host with real processes. Each test runs in a process of its own, because a host takes over the
//! signals, children and limits of its process. Tests that need root or control groups say so and skip.

#[path = "host/rig.rs"]
mod rig;
#[path = "host/services.rs"]
mod services;
#[path = "host/tracking.rs"]
mod tracking;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// A test: its name, what it needs, what it does.
type Test = (&'static str, Needs, fn());

#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Root,
    Groups,
    /// Run as an ordinary user, by root.
    Ordinary,
}

const TESTS: &[Test] = &[
    ("born_in_its_group", Needs::Groups, tracking::born_in_its_group),
    ("joins_its_group", Needs::Groups, tracking::joins_its_group),
    ("tree_is_killed", Needs::Groups, tracking::tree_is_killed),
    ("fork_storm_is_killed", Needs::Groups, tracking::fork_storm_is_killed),
    ("tasks_are_limited", Needs::Groups, tracking::tasks_are_limited),
    ("left_over_in_group", Needs::Groups, tracking::left_over),
    ("left_over_by_ancestry", Needs::Nothing, tracking::left_over_by_ancestry),
    ("left_over_ordinary_user", Needs::Ordinary, tracking::left_over_by_ancestry),
    ("tree_is_killed_by_ancestry", Needs::Ordinary, tracking::tree_is_killed_by_ancestry),
    ("busy_group_is_removed_later", Needs::Groups, tracking::busy_group_is_removed_later),
    ("vanished_group", Needs::Groups, tracking::vanished_group),
    ("subgroups_count", Needs::Groups, tracking::subgroups_count),
    ("exec_failure_confirmed", Needs::Nothing, services::exec_failure_confirmed),
    ("exec_failure_unconfirmed", Needs::Nothing, services::exec_failure_unconfirmed),
    ("exec_failure_without_clone3", Needs::Nothing, services::exec_failure_without_clone3),
    ("many_failures_keep_apart", Needs::Nothing, services::many_failures_keep_apart),
    ("ends_are_told", Needs::Nothing, services::ends_are_told),
    ("child_is_clean", Needs::Nothing, services::child_is_clean),
    ("environment", Needs::Nothing, services::environment),
    ("inputs_are_found", Needs::Nothing, services::inputs_are_found),
    ("limits_and_nice", Needs::Nothing, services::limits_and_nice),
    ("streams_are_captured", Needs::Nothing, services::streams_are_captured),
    ("no_descriptors_left", Needs::Nothing, services::no_descriptors_left),
    ("notify", Needs::Nothing, services::notify),
    ("notify_by_path", Needs::Nothing, services::notify_by_path),
    ("socket_is_passed", Needs::Nothing, services::socket_is_passed),
    ("connection_is_accepted", Needs::Nothing, services::connection_is_accepted),
    ("ip_connection_is_accepted", Needs::Nothing, services::ip_connection_is_accepted),
    ("fifo_wakes", Needs::Nothing, services::fifo_wakes),
    ("executor_switches_user", Needs::Root, services::executor_switches_user),
    ("executor_failure_is_told", Needs::Root, services::executor_failure_is_told),
    ("pid_file", Needs::Nothing, services::pid_file),
    ("path_changes", Needs::Nothing, services::path_changes),
    ("foreign_descriptors", Needs::Nothing, services::foreign_descriptors),
    ("deadline_and_signal", Needs::Nothing, services::deadline_and_signal),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["executor", ..] => hence_host::executor_main(),
        ["helper", what] => services::helper(what),
        ["--one", name] => {
            let (.., test) = TESTS.iter().find(|(n, ..)| *n == name).expect("a test of this name");
            test();
            ExitCode::SUCCESS
        }
        _ => all(arguments.iter().find(|a| !a.starts_with('-')).map(String::as_str).unwrap_or("")),
    }
}

fn all(filter: &str) -> ExitCode {
    let root = rustix::process::geteuid().is_root();
    let groups = writable_groups();
    // What a failing test leaves behind comes to us, and is ended.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let (mut failed, mut skipped, mut passed) = (0, 0, 0);
    for (name, needs, _) in TESTS.iter().filter(|(n, ..)| n.contains(filter)) {
        let missing = match needs {
            Needs::Nothing => None,
            Needs::Root | Needs::Ordinary => (!root).then_some("not root"),
            Needs::Groups => groups.is_none().then_some("no writable cgroup v2 hierarchy"),
        };
        if let Some(why) = missing {
            println!("test {name} ... skipped: {why}");
            skipped += 1;
            continue;
        }
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        command.args(["--one", name]);
        if *needs == Needs::Ordinary {
            command.uid(65534).gid(65534);
        }
        let mut child = command.spawn().expect("a test's process");
        let status = child.wait().expect("its end");
        end_orphans();
        for hierarchy in groups.iter().chain(&[PathBuf::from("/sys/fs/cgroup/pids")]) {
            hence_host::sweep(&hierarchy.join(format!("hence-{}", child.id())));
        }
        println!("test {name} ... {}", if status.success() { "ok" } else { "FAILED" });
        if status.success() { passed += 1 } else { failed += 1 }
    }
    println!("\ntest result: {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Kills and reaps every child that is left, and theirs as they come to us.
fn end_orphans() {
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
    for _ in 0..1000 {
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|p| Pid::from_raw(p.parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if wait(WaitOptions::empty()).is_err() {
            return;
        }
    }
}

/// Our own group's folder, where groups can be made in it.
fn writable_groups() -> Option<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|l| l.strip_prefix("0::/"))?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?;
    let folder = Path::new(mount).join(path);
    let probe = folder.join(format!("hence-probe-{}", std::process::id()));
    std::fs::create_dir(&probe).ok()?;
    std::fs::remove_dir(&probe).ok()?;
    Some(folder)
}
