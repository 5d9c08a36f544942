//! The system refuses a running hence what it asks for, by the kernel itself: system calls that fail
//! (strace's injection), no descriptors, a full disk, a control group that can't be read. Whatever fails:
//! hence goes on, ends in order, loses no process, and its ledger tells the truth.
//!
//! As root; what needs strace says so where it isn't there. `HENCE_FAULTS=all` tries every call with every
//! errno at every place, which takes long.

#[allow(dead_code, reason = "the rig is that of the runs, which need more of it")]
#[path = "../run/rig.rs"]
mod rig;
#[path = "../shared/roots.rs"]
mod roots;
mod world;

use rig::{root_for, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::process::Command;
use std::time::Duration;
use world::World;

/// A system call, the errno values that the kernel may give, and at which of its calls.
struct Injection {
    call: &'static str,
    errors: &'static [&'static str],
    when: &'static [&'static str],
}

const fn injection(
    call: &'static str,
    errors: &'static [&'static str],
    when: &'static [&'static str],
) -> Injection {
    Injection { call, errors, when }
}

/// What hence itself calls while it runs.
const OF_HENCE: [Injection; 24] = [
    injection("clone3,vfork,clone", &["EAGAIN", "ENOMEM"], &["1+3", "1", "2+2", "1..6"]),
    injection("openat", &["EMFILE", "ENFILE", "ENOMEM", "EACCES", "EINTR"], &["1+4", "3+5", "1", "2", "1+1"]),
    injection("read", &["EIO", "EINTR", "ENOMEM"], &["2+7", "1+3", "5"]),
    injection("write", &["EIO", "ENOSPC", "EINTR"], &["1+2", "1", "3"]),
    injection("pwrite64", &["EIO", "ENOSPC", "EINTR"], &["2+3", "1", "5..9"]),
    injection("epoll_ctl", &["ENOMEM", "ENOSPC"], &["1+2", "1", "2", "1+1"]),
    injection("timerfd_settime", &["ENOMEM"], &["1+2", "1+1"]),
    injection("inotify_add_watch", &["ENOSPC", "ENOMEM"], &["1+1", "1", "2+2"]),
    injection("pidfd_open", &["EMFILE", "ENOMEM"], &["1+1", "1"]),
    injection("mkdirat,mkdir", &["ENOSPC", "ENOMEM"], &["1+2", "1", "1+1"]),
    injection("unlinkat,rmdir", &["EBUSY", "EIO"], &["1+2", "1"]),
    injection("accept4", &["EMFILE", "ENOMEM", "ENOBUFS"], &["1+1", "1", "2"]),
    injection("kill", &["EPERM"], &["1+2", "1", "1..4"]),
    injection("pipe2", &["EMFILE", "ENFILE"], &["1+3", "1", "2"]),
    injection("memfd_create", &["EMFILE", "ENOMEM"], &["1+1"]),
    injection("sendmsg,sendto", &["ENOBUFS", "ENOMEM"], &["1+2", "1", "2"]),
    injection("recvmsg,recvfrom", &["ENOMEM", "EINTR"], &["1+3", "1", "2"]),
    injection("wait4,waitid", &["EINTR"], &["1+2", "1"]),
    injection("epoll_wait,epoll_pwait,epoll_pwait2", &["EINTR", "ENOMEM"], &["1+3", "1"]),
    injection("statx,newfstatat,fstat", &["ENOMEM", "EACCES"], &["1+3", "2+5"]),
    injection("getdents64", &["ENOMEM", "EIO"], &["1+1", "1"]),
    injection("dup,dup3,fcntl", &["EMFILE"], &["1+3", "1"]),
    injection("ioctl", &["ENOMEM"], &["1+2"]),
    injection("socket,bind,listen", &["EMFILE", "ENOMEM"], &["1", "2", "3"]),
];

/// What its recorder calls.
const OF_RECORDER: [Injection; 7] = [
    injection("pwrite64", &["ENOSPC", "EIO"], &["1+2", "1", "2..9"]),
    injection("write", &["ENOSPC", "EIO"], &["1+2", "1"]),
    injection("openat", &["EMFILE", "ENOMEM"], &["1+2", "1", "1+1"]),
    injection("recvmsg,recvfrom", &["ENOMEM", "EINTR"], &["1+3", "1"]),
    injection("epoll_ctl,epoll_wait,ppoll,poll", &["ENOMEM", "EINTR"], &["1+3", "1"]),
    injection("fallocate,ftruncate,fsync,fdatasync", &["ENOSPC", "EIO"], &["1+1", "1"]),
    injection("read,readv,pread64", &["EIO", "EINTR"], &["1+3", "1"]),
];

fn everything() -> bool {
    std::env::var("HENCE_FAULTS").is_ok_and(|all| all == "all")
}

fn strace() -> bool {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|o| o.status.success());
    if !there {
        eprintln!("skipped: system calls that fail: strace isn't here");
    }
    there && root_for("system calls that fail")
}

/// Tries each injection, or all of each, on what `target` picks.
fn inject(all: &[Injection], target: impl Fn(&World<'_>) -> u32) {
    let mut failed = Vec::new();
    for injection in all {
        let (errors, when) = match everything() {
            true => (injection.errors, injection.when),
            false => (&injection.errors[..1], &injection.when[..1]),
        };
        for error in errors {
            for when in when {
                let words = format!("{}:error={error}:when={when}", injection.call);
                eprintln!("injected: {words}");
                let wrong = world::run("inject", |world| world.under_strace(target(world), &words));
                failed.extend(wrong.into_iter().map(|what| format!("{words}: {what}")));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn system_calls_of_hence_fail() {
    if strace() {
        inject(&OF_HENCE, |world| world.pid());
    }
}

#[test]
fn system_calls_of_the_recorder_fail() {
    if strace() {
        inject(&OF_RECORDER, |world| until("a recorder", || world.hence.recorder()));
    }
}

/// No descriptor is left: nothing new starts, what goes on is still seen, and hence doesn't go around in
/// circles about the connections that it can't take.
#[test]
fn no_descriptors() {
    if !root_for("limits of another process") {
        return;
    }
    let wrong = world::run("descriptors", |world| {
        let pid = Pid::from_raw(world.pid() as i32);
        let open = std::fs::read_dir(format!("/proc/{}/fd", world.pid())).expect("descriptors");
        let numbers = open.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u64>().ok());
        let most = numbers.max().expect("some") + 1;
        let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(most), maximum: Some(4096) });
        let before = before.expect("a limit");
        world.stir();
        let used = world.cpu_ticks();
        std::thread::sleep(Duration::from_secs(2));
        let spent = world.cpu_ticks() - used;
        let maximum = Some(4096);
        prlimit(pid, Resource::Nofile, Rlimit { current: before.current.min(maximum), maximum })
            .expect("a limit");
        (spent > 100).then(|| format!("{spent} ticks of CPU time in two seconds without descriptors"))
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The disk of the ledger is full for a while: nothing else suffers, and what was lost is counted.
#[test]
fn no_room_for_the_ledger() {
    if !root_for("a file system of its own") {
        return;
    }
    let wrong = world::run_on_small_disk("room", |world| {
        let filler = world.site.ledger().join("filler");
        let _ = std::fs::write(&filler, vec![1u8; 64 << 20]);
        world.stir();
        std::thread::sleep(Duration::from_millis(800));
        std::fs::remove_file(&filler).err().map(|e| format!("the filler stays: {e}"))
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Who is in a control group can't be read for a while, then it can: nobody is lost.
#[test]
fn an_unreadable_control_group() {
    if !root_for("mounts over files of control groups") {
        return;
    }
    let wrong = world::run("group", |world| {
        let Some(group) = world.group("leaves.service") else {
            eprintln!("skipped: an unreadable control group: there are none");
            return None;
        };
        // Reading it fails with EIO.
        let covers = ["cgroup.procs", "cgroup.events"].map(|file| world::Cover::new(&group.join(file)));
        world.ask(&["stop", "leaves.service", "--no-block"]);
        std::thread::sleep(Duration::from_millis(1500));
        drop(covers);
        let left = || (!world.site.left_behind().is_empty()).then_some(());
        until("who was left behind", left);
        None
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
