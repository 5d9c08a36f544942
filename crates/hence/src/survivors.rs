//! What an earlier hence left running: how it ended, and which of its processes are alive.
//!
//! While hence runs, its ledger holds a file `running`: boot id, pid, cgroups. An orderly end removes it
//! unless processes were left behind. So a start that finds none has nothing to look for, and one that
//! does reads the ledger for what those processes are.

use hence_engine::Process;
use hence_host::store::Reader;
use hence_ledger::{Fact, LeftOver, Record, Text, record::Invocation};
use hence_unit::UnitName;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

/// Cgroups of earlier runs that are remembered, the newest.
const CGROUPS: usize = 64;

/// How the hence before this one ended.
#[derive(Debug, Default)]
pub struct Before {
    mark: Option<Mark>,
    known: Known,
}

#[derive(Debug)]
struct Mark {
    ended: bool,
    /// Where units of earlier runs may still have processes.
    cgroups: Vec<PathBuf>,
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Replaces the mark as a whole: a kill at any instant leaves the old one or the new one.
fn write_mark(ledger: &Path, text: &str) -> io::Result<()> {
    let new = ledger.join("running.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, ledger.join("running"))
}

/// The lines that name groups of earlier runs which still have processes; empty groups are removed.
fn cgroup_lines(cgroups: &[PathBuf]) -> String {
    let kept = cgroups.iter().filter(|c| !hence_host::remove_empty_groups(c));
    kept.map(|c| format!("cgroup={}\n", c.display())).collect()
}

/// Says that hence ended in order; `leaves`: with processes left behind.
pub fn mark_ended(ledger: &Path, leaves: bool) {
    let path = ledger.join("running");
    let cgroups = Mark::read(ledger).map_or(Vec::new(), |m| m.cgroups);
    let groups = cgroup_lines(&cgroups);
    if leaves || !groups.is_empty() {
        // Nothing is lost if this fails: the next start then looks more closely than it needs to.
        let _ = write_mark(ledger, &format!("boot={}\nended=yes\n{groups}", boot()));
    } else {
        let _ = std::fs::remove_file(path);
    }
}

impl Mark {
    fn read(ledger: &Path) -> Option<Mark> {
        let text = std::fs::read_to_string(ledger.join("running")).ok()?;
        let fields = || text.lines().filter_map(|l| l.split_once('='));
        let same_boot = fields().any(|(key, value)| key == "boot" && value == boot());
        let ended = fields().any(|(key, _)| key == "ended");
        let cgroups = fields().filter(|(key, value)| *key == "cgroup" && !value.is_empty());
        // Whatever ran before another boot is gone.
        let cgroups = cgroups.filter(|_| same_boot).map(|(_, value)| PathBuf::from(value));
        let mut cgroups: Vec<PathBuf> = cgroups.collect();
        cgroups.drain(..cgroups.len().saturating_sub(CGROUPS));
        Some(Mark { ended, cgroups })
    }
}

impl Before {
    /// Looks at the mark of the hence before, and where there is one, at what the ledger knows.
    pub fn read(ledger: &Path) -> Before {
        let mark = Mark::read(ledger);
        let known = if mark.is_some() { Known::read(ledger) } else { Known::default() };
        Before { mark, known }
    }

    /// Whether it was killed.
    pub fn crashed(&self) -> bool {
        self.mark.as_ref().is_some_and(|m| !m.ended) && !self.known.ended
    }

    /// Says that hence runs, with its units below this cgroup, before anything else of this run is on
    /// record. Where earlier runs had theirs stays known as long as there are processes.
    pub fn mark_running(&self, ledger: &Path, cgroup: &str) {
        let earlier = self.mark.as_ref().map_or("".into(), |m| cgroup_lines(&m.cgroups));
        let own = std::process::id();
        let text = format!("boot={}\npid={own}\n{earlier}cgroup={cgroup}\n", boot());
        if let Err(error) = write_mark(ledger, &text) {
            eprintln!("hence: {}: {error}; if hence is killed, the next one won't notice", ledger.display());
        }
    }

    /// What is alive of it, unit by unit.
    pub fn survivors(&self) -> BTreeMap<UnitName, Vec<Process>> {
        let mut found: BTreeMap<UnitName, Vec<Process>> = BTreeMap::new();
        let Some(mark) = &self.mark else { return found };
        let mut units: HashMap<u32, UnitName> = HashMap::new();
        let mut others: Vec<(u32, u32)> = Vec::new();
        let mut tell = |name: UnitName, pid: u32| {
            if let Some(process) = hence_host::describe(pid) {
                found
                    .entry(name)
                    .or_default()
                    .push(Process { process, invocation: hence_host::invocation_of(pid) });
            }
        };
        for pid in hence_host::processes() {
            let Some(stat) = hence_host::stat(pid) else { continue };
            if pid == std::process::id() || stat.zombie {
                continue;
            }
            let by_cgroup = || mark.cgroups.iter().find_map(|c| hence_host::unit_in(c, pid));
            let by_invocation = || {
                let invocation = hence_host::invocation_of(pid)?;
                self.known.units.get(&invocation.0).map(|unit| unit.to_string())
            };
            let by_start = || self.known.processes.get(&(pid, stat.start_ticks)).map(|unit| unit.to_string());
            let name = by_start().or_else(by_cgroup).or_else(by_invocation);
            match name.as_deref().and_then(UnitName::new) {
                Some(name) => {
                    units.insert(pid, name.clone());
                    tell(name, pid);
                }
                None => others.push((pid, stat.parent)),
            }
        }
        // A child of one of them is the same unit's, though it may have cleared its environment.
        loop {
            let before = others.len();
            others.retain(|(pid, parent)| match units.get(parent).cloned() {
                Some(name) => {
                    units.insert(*pid, name.clone());
                    tell(name, *pid);
                    false
                }
                None => true,
            });
            if others.len() == before {
                return found;
            }
        }
    }
}

/// What the ledger knows of processes.
#[derive(Debug, Default)]
struct Known {
    /// The last run on record says that it ended.
    ended: bool,
    units: HashMap<[u8; 16], Text>,
    processes: HashMap<(u32, u64), Text>,
}

impl Known {
    fn read(ledger: &Path) -> Known {
        let mut known = Known::default();
        let Ok(reader) = Reader::open(ledger) else { return known };
        for record in reader.records().flatten() {
            known.note(&record);
        }
        known
    }

    fn note(&mut self, record: &Record) {
        match &record.fact {
            Fact::Started { .. } => self.ended = false,
            Fact::Ended { .. } => self.ended = true,
            _ => {}
        }
        let Some(unit) = &record.unit else { return };
        match &record.fact {
            // The process may be there though hence was killed before it could say its pid.
            Fact::Starting { .. } => {
                if let Some(Invocation(id)) = record.invocation {
                    self.units.insert(id, unit.clone());
                }
            }
            Fact::ProcessStarted { pid, start_ticks, .. } => {
                self.processes.insert((*pid, *start_ticks), unit.clone());
            }
            Fact::LeftBehind { processes, .. } => {
                for LeftOver { pid, start_ticks, .. } in processes {
                    self.processes.insert((*pid, *start_ticks), unit.clone());
                }
            }
            Fact::ProcessExited { pid, .. } => self.processes.retain(|(p, _), _| p != pid),
            Fact::LeftOverGone { pid, start_ticks, .. } => drop(self.processes.remove(&(*pid, *start_ticks))),
            _ => {}
        }
    }
}
