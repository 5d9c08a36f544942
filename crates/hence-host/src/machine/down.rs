//! The end of process 1, when units are down: what still runs is ended, file systems are unmounted, the
//! machine is switched off. Each step has a limit in time, so that the end always comes.

use crate::{
    process, processes,
    sys::{
        machine::{Reboot, swap_off},
        signal,
    },
};
use std::{
    fs,
    time::{Duration, Instant},
};

/// How long processes have after SIGTERM; systemd's DefaultTimeoutStopSec= at most.
pub const TERM: Duration = Duration::from_secs(10);
/// How long the kernel has after SIGKILL.
const KILL: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);

/// What was done to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Killed {
    /// Processes that were there: pid and command line.
    pub processes: Vec<(u32, String)>,
    /// Those that SIGTERM did not end.
    pub stubborn: u32,
    /// Those that nothing ended.
    pub left: u32,
}

/// Every process but this one, those in `spared`, threads of the kernel, and what names itself with `@` in
/// front to outlive the end (root storage daemons).
fn others(spared: &[u32]) -> Vec<u32> {
    let own = std::process::id();
    let counts = |&pid: &u32| {
        if pid == own || spared.contains(&pid) {
            return false;
        }
        let Some(stat) = process::stat(pid) else { return false };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // Threads of the kernel have neither a command line nor another parent than these.
        let of_kernel = line.is_empty() && (pid == 2 || stat.parent == 2 || stat.parent == 0);
        !stat.zombie && !of_kernel && line.first() != Some(&b'@')
    };
    processes().into_iter().filter(counts).collect()
}

fn wait_for(spared: &[u32], limit: Duration) -> Vec<u32> {
    let until = Instant::now() + limit;
    loop {
        while signal::reap().is_some() {}
        let left = others(spared);
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        std::thread::sleep(STEP);
    }
}

/// Ends every other process: SIGTERM and SIGCONT, and after `grace` SIGKILL.
pub fn kill_all(spared: &[u32], grace: Duration) -> Killed {
    const TERM_SIGNAL: u8 = 15;
    const HANGUP: u8 = 1;
    const KILL_SIGNAL: u8 = 9;
    const CONTINUE: u8 = 18;
    let found = others(spared);
    let told = |pid: u32| (pid, crate::describe(pid).map_or(String::new(), |p| p.command.to_string()));
    let mut killed = Killed { processes: found.iter().map(|&pid| told(pid)).collect(), ..Killed::default() };
    for &pid in &found {
        // Gone meanwhile.
        let _ = signal::send(pid, TERM_SIGNAL);
        // Shells ignore SIGTERM.
        let _ = signal::send(pid, HANGUP);
        let _ = signal::send(pid, CONTINUE);
    }
    if found.is_empty() {
        return killed;
    }
    let mut left = wait_for(spared, grace);
    killed.stubborn = left.len() as u32;
    let until = Instant::now() + KILL;
    while !left.is_empty() && Instant::now() < until {
        for &pid in &left {
            let _ = signal::send(pid, KILL_SIGNAL);
        }
        left = wait_for(spared, Duration::from_millis(200));
    }
    killed.left = left.len() as u32;
    killed
}

/// Waits until a child of ours has ended; reaps whatever else ends.
pub fn wait_for_child(pid: u32, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        while signal::reap().is_some() {}
        if process::stat(pid).is_none() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// Stops swapping, unmounts what can be, makes the rest read-only, writes everything out. What stayed
/// writable is named.
pub fn release_file_systems() -> Vec<String> {
    rustix::fs::sync();
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for path in swaps.lines().skip(1).filter_map(|l| l.split_whitespace().next()) {
        let _ = swap_off(&crate::mountinfo::unescape(path));
    }
    // What is below what is mounted below: each round may free the next one's.
    for _ in 0..8 {
        let mut progress = false;
        for entry in crate::mountinfo::read().into_iter().rev().filter(|e| is_ours(&e.at)) {
            progress |= rustix::mount::unmount(&*entry.at, rustix::mount::UnmountFlags::empty()).is_ok();
        }
        if !progress {
            break;
        }
    }
    let mut writable = Vec::new();
    for entry in crate::mountinfo::read().into_iter().rev() {
        if entry.is_virtual() || entry.read_only() {
            continue;
        }
        let flags = rustix::mount::MountFlags::RDONLY;
        if let Err(e) = rustix::mount::mount_remount(&*entry.at, flags, c"") {
            writable.push(format!("{} stayed writable: {e}", entry.at));
        }
    }
    rustix::fs::sync();
    writable
}

/// The kernel's own and the root are left; the root is made read-only instead.
fn is_ours(at: &str) -> bool {
    let below = |folder: &str| at == folder || at.strip_prefix(folder).is_some_and(|r| r.starts_with('/'));
    at != "/" && !["/proc", "/sys", "/dev", "/run"].into_iter().any(below)
}

/// Ends the machine. Returns only where the kernel refuses.
pub fn end_machine(how: Reboot) -> std::io::Error {
    crate::sys::machine::reboot(how)
}
