//! What is measured of each unit while it runs: processes, threads, memory, descriptors, sockets, zombies,
//! and the files that grow. It looks from outside, at what /proc says, and keeps a bounded number of samples.

use super::fault::processes;
use crate::control::Control;
use hence_host::Stat;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Samples of a unit that are kept; when there are more, every second one goes.
const KEPT: usize = 4096;
/// Descriptors of one process that are looked at; more are counted.
const DESCRIPTORS: usize = 4096;
/// Files below a folder that are looked at.
const FILES: usize = 20_000;
/// Between two looks for zombies and files, at least: those cost more.
const DEAR_US: u64 = 400_000;

/// One look at a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    pub at_us: u64,
    pub processes: u64,
    pub threads: u64,
    /// Memory that is its own and swapped, in bytes.
    pub memory: u64,
    /// `None`: they may not be looked at.
    pub descriptors: Option<u64>,
    pub sockets: Option<u64>,
    /// Ended processes that their parent doesn't reap; `None`: not looked for this time.
    pub zombies: Option<u64>,
}

/// One look at a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Files {
    pub at_us: u64,
    pub bytes: u64,
    pub files: u64,
}

/// A folder that is watched.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    pub path: PathBuf,
    /// The unit whose it is.
    pub unit: Option<String>,
    /// What it is, for people.
    pub what: String,
    pub rows: Vec<Files>,
}

/// All measurements.
#[derive(Debug, Default)]
pub struct Measures {
    pub units: BTreeMap<String, Vec<Sample>>,
    pub folders: Vec<Folder>,
    /// The hence that runs them, where it doesn't know all processes of a unit: they are looked for then.
    pub hence: Option<u32>,
    /// One in so many samples is kept.
    every: u64,
    taken: u64,
    /// When one looked for zombies and files.
    dear_us: Option<u64>,
}

impl Measures {
    pub fn new(folders: Vec<Folder>) -> Measures {
        Measures { folders, every: 1, ..Measures::default() }
    }

    /// Looks at these units now.
    pub fn take(&mut self, control: &mut Control, units: &[String], root: &Path, now_us: u64) {
        self.taken += 1;
        if !self.taken.is_multiple_of(self.every) {
            return;
        }
        let dear = self.dear_us.is_none_or(|at| now_us >= at + DEAR_US);
        if dear {
            self.dear_us = Some(now_us);
        }
        let mut found: Vec<(&String, Vec<u32>)> = Vec::new();
        for unit in units {
            let pids = processes(control, unit).unwrap_or_default();
            if !pids.is_empty() {
                found.push((unit, pids.into_iter().map(|(pid, _)| pid).collect()));
            }
        }
        let stats: Vec<Stat> = match dear || self.hence.is_some() {
            true => hence_host::processes().into_iter().filter_map(hence_host::stat).collect(),
            false => Vec::new(),
        };
        if let Some(hence) = self.hence {
            add_relatives(&mut found, &stats, hence);
        }
        for (unit, pids) in found {
            let mut sample = look(&pids, now_us);
            if dear {
                let own: BTreeSet<u32> = pids.iter().copied().collect();
                let waiting =
                    stats.iter().filter(|s| s.zombie && (own.contains(&s.parent) || own.contains(&s.pid)));
                sample.zombies = Some(waiting.count() as u64);
            }
            let rows = self.units.entry(unit.clone()).or_default();
            rows.push(sample);
        }
        if dear {
            for folder in &mut self.folders {
                // As the units see it: they may have mounts of their own.
                let below = folder.path.strip_prefix("/").map(|path| root.join(path));
                folder.rows.push(size(&below.unwrap_or_else(|_| folder.path.clone()), now_us));
            }
        }
        self.thin();
    }

    fn thin(&mut self) {
        if self.units.values().all(|rows| rows.len() < KEPT) {
            return;
        }
        let half = |nth: &mut bool| {
            *nth = !*nth;
            *nth
        };
        for rows in self.units.values_mut() {
            let mut nth = false;
            // Dear looks are too few to lose one.
            rows.retain(|sample| half(&mut nth) || sample.zombies.is_some_and(|z| z > 0));
        }
        for folder in &mut self.folders {
            let mut nth = false;
            folder.rows.retain(|_| half(&mut nth));
        }
        self.every = self.every.saturating_mul(2);
    }
}

fn look(pids: &[u32], at_us: u64) -> Sample {
    let mut sample = Sample { at_us, descriptors: Some(0), sockets: Some(0), ..Sample::default() };
    for pid in pids {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        if status.lines().any(|line| line.starts_with("State:") && line.contains('Z')) {
            continue;
        }
        sample.processes += 1;
        sample.threads += number("Threads");
        sample.memory += (number("RssAnon") + number("RssShmem") + number("VmSwap")) * 1024;
        match descriptors(*pid) {
            Some((all, sockets)) => {
                sample.descriptors = sample.descriptors.map(|n| n + all);
                sample.sockets = sample.sockets.map(|n| n + sockets);
            }
            None => (sample.descriptors, sample.sockets) = (None, None),
        }
    }
    sample
}

/// How many descriptors a process has, and how many of them are sockets.
fn descriptors(pid: u32) -> Option<(u64, u64)> {
    let (mut all, mut sockets) = (0, 0);
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        all += 1;
        let is_socket = || std::fs::read_link(entry.path()).is_ok_and(|to| to.starts_with("socket:"));
        // A path that begins with the word is one component.
        let named =
            || std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        if all <= DESCRIPTORS as u64 && (is_socket() || named()) {
            sockets += 1;
        }
    }
    Some((all, sockets))
}

/// Adds to the processes of each unit their descendants, and those that lost their parents and name the same
/// run in their environment.
fn add_relatives(units: &mut [(&String, Vec<u32>)], stats: &[Stat], hence: u32) {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for stat in stats {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let known: BTreeSet<u32> = units.iter().flat_map(|(_, pids)| pids.iter().copied()).collect();
    let orphans = children.get(&hence).into_iter().flatten().filter(|pid| !known.contains(pid));
    let orphans: Vec<_> = orphans.filter_map(|&pid| Some((pid, hence_host::invocation_of(pid)?))).collect();
    for (_, pids) in units {
        let runs: Vec<_> = pids.iter().filter_map(|&pid| hence_host::invocation_of(pid)).collect();
        pids.extend(orphans.iter().filter(|(_, run)| runs.contains(run)).map(|(pid, _)| *pid));
        let mut all: BTreeSet<u32> = pids.iter().copied().collect();
        let mut queue = std::mem::take(pids);
        while let Some(pid) = queue.pop() {
            queue.extend(children.get(&pid).into_iter().flatten().filter(|child| all.insert(**child)));
        }
        *pids = all.into_iter().collect();
    }
}

/// What the files below a folder take.
fn size(folder: &Path, at_us: u64) -> Files {
    use std::os::unix::fs::MetadataExt;
    let mut sum = Files { at_us, ..Files::default() };
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let Ok(about) = entry.metadata() else { continue };
            if seen > FILES {
                return sum;
            }
            if about.is_dir() {
                folders.push(entry.path());
            } else if about.is_file() && entry.file_name() != ".hence-soak-full" {
                sum.files += 1;
                sum.bytes += about.len().min(about.blocks() * 512);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let before = look(&[std::process::id()], 1);
        let _socket = std::os::unix::net::UnixStream::pair().unwrap();
        let _file = std::fs::File::open("/").unwrap();
        let memory: Vec<u8> = std::hint::black_box(vec![1; 8 << 20]);
        let after = look(&[std::process::id()], 2);
        assert_eq!(after.processes, 1);
        assert!(after.descriptors.unwrap() >= before.descriptors.unwrap() + 3, "{before:?} {after:?}");
        assert!(after.sockets.unwrap() >= before.sockets.unwrap() + 2, "{before:?} {after:?}");
        assert!(after.memory >= before.memory + (7 << 20), "{before:?} {after:?} {}", memory.len());
    }

    #[test]
    fn samples_are_bounded() {
        let mut measures = Measures::new(vec![Folder::default()]);
        for at_us in 0..3 * KEPT as u64 {
            measures.units.entry("a".into()).or_default().push(Sample { at_us, ..Sample::default() });
            measures.thin();
        }
        assert!(measures.units["a"].len() < KEPT && measures.every >= 4);
        assert_eq!(measures.units["a"][0].at_us, 0);
    }
}
