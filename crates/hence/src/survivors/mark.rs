//! The file `running` in a ledger: what the next hence must know if this one is killed.
//!
//! It names runs, not processes: those are looked for in /proc. Lines of `key=value`; what a line says that
//! nobody knows is passed over.

use super::search::Found;
use hence_ledger::{RecordId, record::Invocation};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// Runs whose processes are remembered by cgroup and by invocation id, the newest.
const RUNS: usize = 64;

/// What the file says, as far as it holds for this boot.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    /// The last run ended in order, and left processes behind.
    pub ended: bool,
    /// Processes can only be left of this boot.
    pub same_boot: bool,
    /// Processes of these runs started then or later, in clock ticks since boot.
    pub since_ticks: u64,
    /// The first record of these runs.
    pub from: u64,
    /// Where units of these runs may still have processes.
    cgroups: Vec<PathBuf>,
    /// What the runs' invocation ids are known by.
    keys: Vec<u64>,
    /// Where services of these runs report to.
    pub reported_to: Vec<String>,
    needed: bool,
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Mark {
    /// The mark of a run that nothing was left before.
    pub fn new(RecordId(from): RecordId) -> Mark {
        let own = hence_host::stat(std::process::id());
        Mark { since_ticks: own.map_or(0, |s| s.start_ticks), from, same_boot: true, ..Mark::default() }
    }

    /// Reads it. `None`: the last hence ended in order and left nothing.
    pub fn read(ledger: &Path) -> Option<Mark> {
        let text = std::fs::read_to_string(ledger.join("running")).ok()?;
        let fields = || text.lines().filter_map(|l| l.split_once('='));
        let values = |wanted: &'static str| {
            fields().filter_map(move |(key, value)| (key == wanted && !value.is_empty()).then_some(value))
        };
        let boot = boot();
        let mut mark = Mark {
            ended: values("ended").next().is_some(),
            same_boot: values("boot").any(|b| b == boot),
            ..Mark::default()
        };
        // Whatever ran before another boot is gone.
        if mark.same_boot {
            mark.since_ticks = values("since").find_map(|v| v.parse().ok()).unwrap_or(0);
            mark.from = values("from").find_map(|v| v.parse().ok()).unwrap_or(0);
            mark.cgroups = values("cgroup").map(PathBuf::from).collect();
            mark.reported_to = values("notify").map(str::to_owned).collect();
            mark.keys = values("run").filter_map(|v| u64::from_str_radix(v, 16).ok()).collect();
            mark.bound();
        }
        Some(mark)
    }

    /// Replaces the file as a whole: a kill at any instant leaves the old one or the new one.
    pub fn write(&self, ledger: &Path) -> io::Result<()> {
        let mut text = format!("boot={}\npid={}\n", boot(), std::process::id());
        let _ = write!(text, "since={}\nfrom={}\n", self.since_ticks, self.from);
        for key in &self.keys {
            let _ = writeln!(text, "run={key:016x}");
        }
        for cgroup in &self.cgroups {
            let _ = writeln!(text, "cgroup={}", cgroup.display());
        }
        for address in &self.reported_to {
            let _ = writeln!(text, "notify={address}");
        }
        if self.ended {
            text.push_str("ended=yes\n");
        }
        let new = ledger.join("running.new");
        std::fs::write(&new, text)?;
        std::fs::rename(new, ledger.join("running"))
    }

    /// One more run.
    pub fn add(&mut self, cgroup: &str, key: u64) {
        if !cgroup.is_empty() {
            // The newest is the last.
            self.cgroups.retain(|known| known != Path::new(cgroup));
            self.cgroups.push(PathBuf::from(cgroup));
        }
        self.keys.push(key);
        self.ended = false;
        self.bound();
    }

    /// Services of this run report there.
    pub fn report_to(&mut self, address: &str) {
        if !address.contains('\n') {
            self.reported_to.retain(|known| known != address);
            self.reported_to.push(address.to_owned());
        }
    }

    /// The group of the newest run, if it is still there.
    pub fn newest_group(&self) -> Option<PathBuf> {
        self.cgroups.last().filter(|group| group.is_dir()).cloned()
    }

    fn bound(&mut self) {
        self.cgroups.drain(..self.cgroups.len().saturating_sub(RUNS));
        self.reported_to.drain(..self.reported_to.len().saturating_sub(RUNS));
        self.keys.drain(..self.keys.len().saturating_sub(RUNS));
    }

    /// Keeps what the processes that were found are known by. Empty groups are removed.
    pub fn keep(&mut self, found: &Found) {
        self.forget_empty_groups();
        let alive = found.invocations();
        self.keys.retain(|key| alive.iter().any(|id| hence_engine::invocation::is_of(*key, id)));
        self.needed = self.same_boot && (!found.is_empty() || self.has_groups());
    }

    /// Whether runs before this one still have processes.
    pub fn is_needed(&self) -> bool {
        self.needed
    }

    /// Removes groups of earlier runs that have no processes.
    pub fn forget_empty_groups(&mut self) {
        self.cgroups.retain(|c| !hence_host::remove_empty_groups(c));
    }

    /// Whether groups are left.
    pub fn has_groups(&self) -> bool {
        !self.cgroups.is_empty()
    }

    /// The unit of a process by its group.
    pub fn unit_of(&self, pid: u32) -> Option<String> {
        self.cgroups.iter().find_map(|c| hence_host::unit_in(c, pid))
    }

    /// Whether one of the runs made this invocation id.
    pub fn made(&self, id: &Invocation) -> bool {
        self.keys.iter().any(|key| hence_engine::invocation::is_of(*key, id))
    }
}
