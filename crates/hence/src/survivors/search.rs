//! The search for what is left of earlier runs: which living processes are theirs, and of which unit.
//!
//! /proc first: by cgroup, by the invocation id in the environment, by parents. The ledger is asked only for
//! those of which /proc does not tell the unit, the newest records first, and no further back than a record
//! about them can be. What a process was started for is never guessed.

use super::Survivors;
use super::mark::Mark;
use hence_engine::Process;
use hence_host::store::{OWN, Reader};
use hence_host::{InvocationMark, Stat};
use hence_ledger::{Fact, LeftOver, Record, record::Invocation};
use hence_unit::UnitName;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Looks at /proc until one finds nothing new: a process may fork while others are looked at.
const PASSES: usize = 8;
/// How long processes may take that are just executing a program; until they have, nothing tells of them.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    pub survivors: Survivors,
    /// Ours, though the ledger does not tell their unit.
    pub nameless: Vec<LeftOver>,
    nameless_ids: Vec<Invocation>,
}

impl Found {
    /// Whether it found no process.
    pub fn is_empty(&self) -> bool {
        self.survivors.is_empty() && self.nameless.is_empty()
    }

    /// The invocations that they are of.
    pub fn invocations(&self) -> Vec<Invocation> {
        let of = self.survivors.values().flatten().filter_map(|p| p.invocation);
        of.chain(self.nameless_ids.iter().copied()).collect()
    }
}

/// Whose a process is.
#[derive(Clone, Debug)]
struct Owner {
    unit: UnitName,
    invocation: Option<Invocation>,
}

/// A process of which the unit is not known.
#[derive(Debug)]
struct Open {
    stat: Stat,
    invocation: Option<Invocation>,
}

/// A process: its pid and start time.
type Key = (u32, u64);

struct Search<'a> {
    mark: &'a Mark,
    ledger: &'a Path,
    /// Those that are ours.
    owners: BTreeMap<Key, Owner>,
    /// Those that nothing tells the unit of.
    strangers: Vec<Open>,
    seen: HashSet<Key>,
    /// They are this process' own.
    children: bool,
}

/// Looks for processes of the runs that the mark names; `children`: also among those of this process.
pub fn search(mark: &Mark, ledger: &Path, children: bool) -> Found {
    if !mark.same_boot {
        return Found::default();
    }
    let (owners, strangers, seen) = Default::default();
    let mut search = Search { mark, ledger, owners, strangers, seen, children };
    let begun = Instant::now();
    let mut passes = 0;
    loop {
        let (new, unsure) = search.pass();
        passes += 1;
        if unsure && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        } else if !new || passes >= PASSES {
            return search.found();
        }
    }
}

impl Search<'_> {
    /// Looks at every process that is not known yet. Whether some were found to be ours, and whether there
    /// are some that nothing can be said of just now.
    fn pass(&mut self) -> (bool, bool) {
        let own = std::process::id();
        let before = self.owners.len();
        let mut unsure = false;
        let mut open = Vec::new();
        for stat in hence_host::processes().into_iter().filter_map(hence_host::stat) {
            let key = (stat.pid, stat.start_ticks);
            // Nothing of theirs is older than they are.
            let early = stat.start_ticks < self.mark.since_ticks;
            let child = stat.parent == own && !self.children;
            if self.seen.contains(&key) || early || stat.zombie || stat.pid == own || child {
                continue;
            }
            let mark = hence_host::invocation_mark(stat.pid);
            let invocation = match mark {
                InvocationMark::Of(id) => Some(id).filter(|id| self.mark.made(id)),
                InvocationMark::None | InvocationMark::InExec => None,
            };
            match self.mark.unit_of(stat.pid).as_deref().and_then(UnitName::new) {
                // Process 1 and its recorder.
                Some(unit) if unit.as_str() == "init.scope" => {}
                Some(unit) => drop(self.owners.insert(key, Owner { unit, invocation })),
                None if mark == InvocationMark::InExec => {
                    unsure = true;
                    continue;
                }
                None => open.push(Open { stat, invocation }),
            }
            self.seen.insert(key);
        }
        self.children(&mut open);
        if !open.is_empty() {
            self.ask_ledger(&mut open);
        }
        open.append(&mut self.strangers);
        self.children(&mut open);
        self.strangers = open;
        (self.owners.len() > before, unsure)
    }

    /// A child of one of them is the same unit's, though it may have cleared its environment.
    fn children(&mut self, open: &mut Vec<Open>) {
        let mut parents: HashMap<u32, Owner> =
            self.owners.iter().map(|(&(pid, _), owner)| (pid, owner.clone())).collect();
        loop {
            let before = open.len();
            open.retain(|Open { stat, invocation }| {
                let Some(owner) = parents.get(&stat.parent) else { return true };
                let owner = Owner { unit: owner.unit.clone(), invocation: invocation.or(owner.invocation) };
                parents.insert(stat.pid, owner.clone());
                self.owners.insert((stat.pid, stat.start_ticks), owner);
                false
            });
            if open.len() == before {
                return;
            }
        }
    }

    /// Asks the ledger for what is open. It ends with the first record of the runs in question, when nothing
    /// is open, or when all that is left to say is older than the processes that it could be said of.
    fn ask_ledger(&mut self, open: &mut Vec<Open>) {
        let Ok(reader) = Reader::open(self.ledger) else { return };
        let mut wanted = Wanted::new(open);
        // Start times count suspended time too, the records' clock does not.
        let now = hence_host::Host::now();
        let ahead = hence_host::boot_ticks().saturating_sub(hence_host::ticks(now.monotonic_us)) + 1;
        for record in reader.newest_first().filter(|r| r.id.0 & OWN == 0) {
            let at_ticks = hence_host::ticks(record.at.monotonic_us).saturating_add(ahead);
            if record.id.0 < self.mark.from || wanted.is_done(at_ticks) {
                break;
            }
            wanted.note(&record);
        }
        open.retain(|Open { stat, invocation }| {
            let key = (stat.pid, stat.start_ticks);
            let named = wanted.named.get(&key).cloned();
            let invoked = || {
                let invocation = (*invocation)?;
                let unit = wanted.invoked.get(&invocation)?.clone();
                Some(Owner { unit, invocation: Some(invocation) })
            };
            let Some(owner) = named.or_else(invoked) else { return true };
            self.owners.insert(key, owner);
            false
        });
    }

    fn found(self) -> Found {
        let mut found = Found::default();
        // It may have ended meanwhile, and its pid be another's.
        let describe = |pid, ticks| hence_host::describe(pid).filter(|p| p.start_ticks == ticks);
        for ((pid, start_ticks), Owner { unit, invocation }) in self.owners {
            if let Some(process) = describe(pid, start_ticks) {
                let of_unit = found.survivors.entry((unit, invocation)).or_default();
                of_unit.push(Process { process, invocation });
            }
        }
        for Open { stat, invocation } in self.strangers {
            if let Some(id) = invocation
                && let Some(process) = describe(stat.pid, stat.start_ticks)
            {
                found.nameless.push(process);
                found.nameless_ids.push(id);
            }
        }
        found
    }
}

/// What the ledger is asked for, and what it said so far.
struct Wanted {
    ids: BTreeSet<Invocation>,
    processes: BTreeSet<Key>,
    /// The earliest start of a wanted process, in ticks.
    earliest: u64,
    invoked: BTreeMap<Invocation, UnitName>,
    named: HashMap<Key, Owner>,
}

impl Wanted {
    fn new(open: &[Open]) -> Wanted {
        let ids = open.iter().filter_map(|o| o.invocation).collect();
        // An id says enough of the others.
        let processes = open.iter().filter(|o| o.invocation.is_none());
        let processes = processes.map(|o| (o.stat.pid, o.stat.start_ticks)).collect();
        let (invoked, named) = Default::default();
        let mut wanted = Wanted { ids, processes, earliest: 0, invoked, named };
        wanted.look_again();
        wanted
    }

    fn look_again(&mut self) {
        self.earliest = self.processes.iter().map(|p| p.1).min().unwrap_or(u64::MAX);
    }

    /// Whether records of this time and before it have nothing more to say. The start of an invocation may
    /// be long before that of a process of it; what is said of a process by its pid comes after its start.
    fn is_done(&self, at_ticks: u64) -> bool {
        self.ids.is_empty() && at_ticks < self.earliest
    }

    fn note(&mut self, record: &Record) {
        let Some(unit) = &record.unit else { return };
        if let Some(id) = record.invocation.filter(|id| self.ids.contains(id))
            && let Some(unit) = UnitName::new(unit)
        {
            self.ids.remove(&id);
            self.invoked.insert(id, unit);
        }
        let before = self.named.len();
        match &record.fact {
            Fact::ProcessStarted { pid, start_ticks, .. } => self.name(record, (*pid, *start_ticks)),
            Fact::LeftBehind { processes, .. } | Fact::TakenUp { processes, .. } => {
                processes.iter().for_each(|p| self.name(record, (p.pid, p.start_ticks)));
            }
            _ => return,
        }
        if self.named.len() > before {
            self.look_again();
        }
    }

    fn name(&mut self, record: &Record, key: Key) {
        if self.processes.contains(&key)
            && let Some(unit) = record.unit.as_deref().and_then(UnitName::new)
        {
            self.processes.remove(&key);
            self.named.insert(key, Owner { unit, invocation: record.invocation });
        }
    }
}
