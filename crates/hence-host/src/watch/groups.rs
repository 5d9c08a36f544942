//! Who is in a unit's control group.

use super::Place;
use crate::process;
use hence_engine::observe::seen::Member;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Most processes of one unit that are described.
const MEMBERS: usize = 8192;
/// How deep control groups of a unit are looked into.
const DEPTH: usize = 8;

/// The processes of a unit and of what it has below, each with what we call it; but for those that are known:
/// of thousands that are left behind only the new ones are looked at.
pub fn members(place: &Place, cgroup: &str, known: &BTreeSet<u32>) -> Vec<(u32, Member)> {
    let mut pids = Vec::new();
    if let Some(folder) = place.group(cgroup) {
        collect(&folder, DEPTH, &mut pids);
    }
    pids.retain(|pid| !known.contains(pid));
    pids.into_iter().take(MEMBERS).filter_map(|pid| Some((pid, describe(place, pid)?))).collect()
}

fn collect(folder: &Path, depth: usize, pids: &mut Vec<u32>) {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    if depth > 0 && pids.len() < MEMBERS {
        for name in crate::subfolders(folder) {
            collect(&folder.join(name), depth - 1, pids);
        }
    }
}

/// A process as that machine has it.
fn describe(place: &Place, pid: u32) -> Option<Member> {
    let mut process = process::glance(pid)?;
    let us = 1_000_000 / u64::from(rustix::param::clock_ticks_per_second().max(1) as u32);
    let started_us = process.start_ticks.saturating_mul(us).saturating_sub(suspended_us());
    let invocation = process::invocation(pid);
    process.pid = place.pid_there(pid)?;
    Some(Member { process, started_us, invocation })
}

/// How long the machine was suspended: start times count that, CLOCK_MONOTONIC doesn't.
fn suspended_us() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let us = |id| {
        let t = clock_gettime(id);
        u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1000
    };
    us(ClockId::Boottime).saturating_sub(us(ClockId::Monotonic))
}
