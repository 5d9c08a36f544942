//! What an earlier hence left running: how it ended, and which of its processes are alive.
//!
//! While hence runs, its ledger holds a file `running`: boot id, pid, cgroup. An orderly end removes it
//! unless processes were left behind. So a start that finds none has nothing to look for, and one that
//! does reads the ledger for what those processes are.

use hence_engine::{Event, Process};
use hence_host::store::Reader;
use hence_ledger::{Fact, LeftOver, Record, Text, record::Invocation};
use hence_unit::UnitName;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// How the hence before this one ended.
#[derive(Debug, Default)]
pub struct Before {
    mark: Option<Mark>,
}

#[derive(Debug)]
struct Mark {
    ended: bool,
    cgroup: Option<PathBuf>,
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Says that hence runs, with its units below this cgroup.
pub fn mark_running(ledger: &Path, cgroup: &str) {
    let text = format!("boot={}\npid={}\ncgroup={cgroup}\n", boot(), std::process::id());
    if let Err(error) = std::fs::write(ledger.join("running"), text) {
        eprintln!("hence: {}: {error}; if hence is killed, the next one won't notice", ledger.display());
    }
}

/// Says that hence ended in order; `leaves`: with processes left behind.
pub fn mark_ended(ledger: &Path, leaves: bool) {
    let path = ledger.join("running");
    if leaves {
        // Nothing is lost if this fails: the next start then looks more closely than it needs to.
        let _ = std::fs::write(path, format!("boot={}\nended=yes\n", boot()));
    } else {
        let _ = std::fs::remove_file(path);
    }
}

impl Before {
    /// Looks at the mark of the hence before.
    pub fn read(ledger: &Path) -> Before {
        let Ok(text) = std::fs::read_to_string(ledger.join("running")) else { return Before::default() };
        let field = |key: &str| {
            text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).filter(|v| !v.is_empty())
        };
        if field("boot") != Some(boot().as_str()) {
            // Another boot: whatever ran then is gone.
            return Before { mark: Some(Mark { ended: field("ended").is_some(), cgroup: None }) };
        }
        let cgroup = field("cgroup").map(PathBuf::from);
        Before { mark: Some(Mark { ended: field("ended").is_some(), cgroup }) }
    }

    /// Whether it was killed.
    pub fn crashed(&self) -> bool {
        self.mark.as_ref().is_some_and(|m| !m.ended)
    }

    /// What is alive of it, unit by unit; and which of the known left-over processes are gone.
    pub fn survivors(&self, ledger: &Path) -> Vec<Event> {
        let Some(mark) = &self.mark else { return Vec::new() };
        let known = Known::read(ledger);
        let mut found: BTreeMap<UnitName, Vec<Process>> = BTreeMap::new();
        for pid in hence_host::processes() {
            let Some(process) = hence_host::describe(pid) else { continue };
            if pid == std::process::id() {
                continue;
            }
            let by_cgroup = mark.cgroup.as_ref().and_then(|c| hence_host::unit_in(c, pid));
            let invocation = hence_host::invocation_of(pid);
            let by_invocation = invocation.and_then(|i| known.units.get(&i.0));
            let by_start = known.processes.get(&(process.pid, process.start_ticks));
            let name = by_cgroup
                .as_deref()
                .or(by_invocation.map(|t| &**t))
                .or(by_start.map(|t| &**t))
                .and_then(UnitName::new);
            if let Some(name) = name {
                found.entry(name).or_default().push(Process { process, invocation });
            }
        }
        found
            .into_iter()
            .map(|(unit, processes)| {
                let invocation = processes.first().and_then(|p| p.invocation);
                Event::Survivors { unit, invocation, processes }
            })
            .collect()
    }
}

/// What the ledger knows of processes.
#[derive(Default)]
struct Known {
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
        let Some(unit) = &record.unit else { return };
        match &record.fact {
            Fact::ProcessStarted { pid, start_ticks, .. } => {
                self.processes.insert((*pid, *start_ticks), unit.clone());
                if let Some(Invocation(id)) = record.invocation {
                    self.units.insert(id, unit.clone());
                }
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
