//! Who is in a unit's control group.

use super::Place;
use crate::process;
use hence_engine::observe::seen::Member;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Most processes of one unit that are described.
const MEMBERS: usize = 8192;
/// As many bytes as the list of a group's processes has, as a rule.
const BYTES: usize = 512;
/// How deep control groups of a unit are looked into.
const DEPTH: usize = 8;

/// The processes of a unit and of what it has below, each with what we call it, and how many were left out
/// because they began after `until_us`. Those that are known are passed over: of thousands that are left
/// behind only the new ones are looked at.
pub fn members(
    place: &Place,
    cgroup: &str,
    known: &BTreeSet<u32>,
    until_us: u64,
) -> (Vec<(u32, Member)>, usize) {
    let mut pids = Vec::new();
    if let Some(folder) = place.group(cgroup) {
        collect(&folder, DEPTH, &mut pids);
    }
    pids.retain(|pid| !known.contains(pid));
    let mut young = 0;
    let mut found = Vec::new();
    for pid in pids.into_iter().take(MEMBERS) {
        let Some(stat) = process::stat(pid) else { continue };
        let us = 1_000_000 / u64::from(rustix::param::clock_ticks_per_second().max(1) as u32);
        let started_us = stat.start_ticks.saturating_mul(us).saturating_sub(suspended_us());
        if started_us > until_us {
            young += 1;
        } else if let Some(member) = describe(place, &stat, started_us) {
            found.push((pid, member));
        }
    }
    (found, young)
}

fn collect(folder: &Path, depth: usize, pids: &mut Vec<u32>) {
    // The group of a unit that is down is gone as a rule, and what is below it with it.
    let Ok(file) = File::open(folder.join("cgroup.procs")) else { return };
    let mut text = Vec::with_capacity(BYTES);
    // Without asking for a size, which such a file doesn't have.
    let _ = file.take(u64::MAX).read_to_end(&mut text);
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    pids.extend(lines.filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    if depth > 0 && pids.len() < MEMBERS {
        for name in crate::subfolders(folder) {
            collect(&folder.join(name), depth - 1, pids);
        }
    }
}

/// A process as that machine has it.
fn describe(place: &Place, stat: &process::Stat, started_us: u64) -> Option<Member> {
    let mut process = process::glance(stat)?;
    let invocation = process::invocation(stat.pid);
    process.pid = place.pid_there(stat.pid)?;
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
