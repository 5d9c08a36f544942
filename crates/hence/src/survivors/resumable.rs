//! Which units of a hence that was killed go on: those that the ledger's last word says to be up, and whose
//! processes are alive. Nothing is guessed: where the ledger does not say which the main process is, it is
//! not said here either.

use super::Survivors;
use hence_engine::{Process, Resumed};
use hence_host::store::{OWN, Reader};
use hence_ledger::{
    ActiveState, Fact, LeftOver, ProcessRole, Record, RecordId, Stamp, SubState, record::Invocation,
};
use hence_unit::{UnitKind, UnitName};
use std::collections::BTreeMap;
use std::path::Path;

/// A unit of which the ledger is asked.
struct Open {
    invocation: Invocation,
    processes: Vec<LeftOver>,
    /// The last state on record.
    state: Option<SubState>,
    up: Stamp,
    main: Option<u32>,
    started: Stamp,
    records: Vec<RecordId>,
    evidence: &'static str,
    /// The unit came up here: what is older is of another run, but for how it was taken up by this one.
    began: bool,
    /// Nothing older has anything to say of it.
    done: bool,
    /// It is left over.
    refused: bool,
}

/// Looks through the ledger, the newest records first, down to the one with this id.
pub fn find(ledger: &Path, from: u64, survivors: &Survivors) -> Vec<Resumed> {
    let mut open = BTreeMap::new();
    for ((unit, invocation), processes) in survivors {
        let Some(invocation) = *invocation else { continue };
        if !matches!(unit.kind(), UnitKind::Service | UnitKind::Scope) {
            continue;
        }
        let processes = processes.iter().map(|Process { process, .. }| process.clone()).collect();
        open.insert((unit.text().clone(), invocation), Open::new(invocation, processes));
    }
    if open.is_empty() {
        return Vec::new();
    }
    let Ok(reader) = Reader::open(ledger) else { return Vec::new() };
    for record in reader.newest_first().filter(|r| r.id.0 & OWN == 0) {
        if record.id.0 < from || open.values().all(|open| open.done || open.refused) {
            break;
        }
        let Some(unit) = &record.unit else { continue };
        let of_unit = open.iter_mut().filter(|((name, _), _)| name == unit).map(|(_, open)| open);
        of_unit.filter(|open| !open.done && !open.refused).for_each(|open| open.note(&record));
    }
    open.into_iter().filter_map(|((unit, _), open)| open.resumed(UnitName::new(&unit)?)).collect()
}

/// When a process was started, by its start time in clock ticks since boot.
fn started(start_ticks: u64) -> Stamp {
    let now = hence_host::Host::now();
    let per_second = hence_host::ticks(1_000_000).max(1);
    let age_us = hence_host::boot_ticks().saturating_sub(start_ticks).saturating_mul(1_000_000) / per_second;
    Stamp {
        realtime_us: now.realtime_us.saturating_sub(age_us),
        monotonic_us: now.monotonic_us.saturating_sub(age_us),
    }
}

impl Open {
    fn new(invocation: Invocation, processes: Vec<LeftOver>) -> Open {
        let first = processes.iter().map(|p| p.start_ticks).min().unwrap_or(0);
        Open {
            invocation,
            processes,
            state: None,
            up: Stamp::default(),
            main: None,
            started: started(first),
            records: Vec::new(),
            evidence: "the ledger says that it was up, and these are the processes of that run",
            began: false,
            done: false,
            refused: false,
        }
    }

    fn note(&mut self, record: &Record) {
        let ours = record.invocation == Some(self.invocation);
        if std::mem::take(&mut self.began) && !matches!(record.fact, Fact::TakenUp { .. }) {
            self.done = true;
            return;
        }
        match &record.fact {
            Fact::StateChanged { from_active, to_active, to, .. } => {
                if self.state.is_none() {
                    self.state = Some(*to);
                    self.records.push(record.id);
                    let runs = matches!(
                        to,
                        SubState::Running
                            | SubState::Reload
                            | SubState::Start
                            | SubState::StartPost
                            | SubState::Abandoned
                    );
                    self.refused = !runs || !ours;
                }
                let up = |state| matches!(state, ActiveState::Active | ActiveState::Reloading);
                if up(*to_active) && !up(*from_active) {
                    self.up = record.at;
                }
                self.began = matches!(from_active, ActiveState::Inactive | ActiveState::Failed);
            }
            Fact::ProcessStarted { pid, start_ticks, role: ProcessRole::Main } if ours => {
                let same = |p: &LeftOver| p.pid == *pid && p.start_ticks == *start_ticks;
                if self.main_is(*pid, record, same) {
                    self.started = record.at;
                }
                self.evidence = "the ledger names the main process, which started when it says";
            }
            // What that was by stands before it.
            Fact::TakenUp { main: Some(pid), processes, .. } if ours => {
                let ticks = processes.iter().find(|p| p.pid == *pid).map(|p| p.start_ticks);
                let same = |p: &LeftOver| p.pid == *pid && Some(p.start_ticks) == ticks;
                if self.main_is(*pid, record, same) {
                    (self.started, self.done) = (started(ticks.unwrap_or_default()), false);
                }
                self.evidence = "the ledger names the main process, which started when it says";
            }
            Fact::Notified { message, pid } if ours && message.starts_with("MAINPID=") => {
                if self.main_is(*pid, record, |p| p.pid == *pid) {
                    self.started = record.at;
                }
                self.evidence = "the ledger names the main process, and it is one of that run";
            }
            _ => {}
        }
    }

    /// What is on record of the main process. It may have ended: then the unit does not go on.
    fn main_is(&mut self, pid: u32, record: &Record, same: impl Fn(&LeftOver) -> bool) -> bool {
        let alive = self.processes.iter().any(same);
        self.records.push(record.id);
        self.main = Some(pid);
        (self.done, self.refused) = (true, !alive);
        alive
    }

    fn resumed(self, unit: UnitName) -> Option<Resumed> {
        let state = self.state.filter(|_| !self.refused)?;
        let scope = unit.kind() == UnitKind::Scope;
        // What was on its way without a main process can't be told from what it left.
        if self.main.is_none() && !scope && state == SubState::Start {
            return None;
        }
        let mut records = self.records;
        records.sort_unstable();
        Some(Resumed {
            unit,
            invocation: self.invocation,
            state,
            main: self.main,
            processes: self.processes,
            started: self.started,
            up: if self.up == Stamp::default() { self.started } else { self.up },
            records,
            evidence: self.evidence.into(),
            observed: self.main.is_some() || scope,
        })
    }
}
