//! The records of a ledger, arranged for questions: by id, by unit, by process, by run.
//!
//! Order is the order of arrival, which is the order of what happened; ids are only names. It judges
//! nothing: what an event means and what caused it is `path`'s and `why`'s.

use crate::record::*;
use crate::word::*;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use hence_unit::Text;

/// A place in the order of records.
pub(crate) type At = usize;

/// What happened to a unit, as an operator would count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// It came up.
    Up,
    /// It went down after a failure.
    Failed,
    /// It went down without a failure.
    Down,
    /// A start of it came to nothing.
    NotStarted,
}

/// An event of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub at: At,
    pub kind: EventKind,
}

/// One invocation, as far as it is on record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    /// Its first record.
    pub first: At,
    /// Whether its beginning is on record.
    pub began: bool,
    /// When it went down.
    pub ended: Option<At>,
    /// It ended because somebody wanted it to: by a signal of ours rather than by itself.
    pub asked: bool,
    /// Its [`Fact::Inputs`], where it has one.
    pub inputs: Option<At>,
    /// What its processes wrote last.
    pub last_words: Option<At>,
    /// Its main process.
    pub main: Option<u32>,
    /// The kernel killed processes of it for lack of memory.
    pub oom: Option<At>,
}

/// What is known of a unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnitRecords {
    /// In order.
    pub events: Vec<Event>,
    /// Every [`Fact::StateChanged`], in order.
    pub states: Vec<At>,
    /// Every [`Fact::Inputs`], in order.
    pub inputs: Vec<At>,
    /// Every [`Fact::Tally`].
    pub tallies: Vec<At>,
    /// Invocations by their first record.
    pub runs: Vec<Run>,
    run_of: BTreeMap<[u8; 16], usize>,
}

impl UnitRecords {
    /// The run with this invocation id.
    pub(crate) fn run(&self, invocation: Option<Invocation>) -> Option<usize> {
        self.run_of.get(&invocation?.0).copied()
    }
}

/// A process that was left behind.
#[derive(Clone, Debug)]
pub(crate) struct Orphan {
    pub unit: Text,
    /// The [`Fact::LeftBehind`] that first named it.
    pub at: At,
    pub process: LeftOver,
    pub allowed: bool,
    /// Where it was gone.
    pub gone: Option<At>,
}

/// A ledger's records, arranged.
#[derive(Debug, Default)]
pub struct Index {
    pub(crate) records: Vec<Record>,
    pub(crate) units: BTreeMap<Text, UnitRecords>,
    pub(crate) gaps: Vec<At>,
    /// Every [`Fact::Away`].
    pub(crate) aways: Vec<At>,
    /// Every [`Fact::Deprived`].
    pub(crate) deprived: Vec<At>,
    /// The [`Fact::Basis`] of a record.
    pub(crate) basis: BTreeMap<At, At>,
    /// Runs of hence and whether the machine was booted (or all processes were gone) before.
    pub(crate) starts: Vec<(At, bool)>,
    pub(crate) orphans: BTreeMap<(u32, u64), Orphan>,
    /// Start, end and left-over records of a pid, in order.
    pub(crate) by_pid: BTreeMap<u32, Vec<At>>,
    by_id: BTreeMap<u64, At>,
    /// The latest digest of a version of a file, by path.
    digests: BTreeMap<Text, Vec<At>>,
    boot: Option<Invocation>,
    texts: BTreeSet<Text>,
}

impl Index {
    /// Arranges these records. One that comes twice, as where storage overlaps, counts once.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Index {
        let mut index = Index::default();
        for record in records {
            index.add(record);
        }
        index
    }

    /// The names of the units that are on record.
    pub fn unit_names(&self) -> impl Iterator<Item = &Text> {
        self.units.keys()
    }

    /// The records, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The content of this version of a file, where it is on record: its SHA-256 and its package.
    pub fn content(&self, path: &str, version: &Version) -> (Option<[u8; 32]>, Option<Text>) {
        self.digest(path, version).unwrap_or_default()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record with this id.
    pub fn record(&self, id: RecordId) -> Option<&Record> {
        self.by_id.get(&id.0).map(|&at| &self.records[at])
    }

    pub(crate) fn place(&self, id: RecordId) -> Option<At> {
        self.by_id.get(&id.0).copied()
    }

    /// The digest of this version of a file: its SHA-256 and the package that owned it.
    pub(crate) fn digest(&self, path: &str, wanted: &Version) -> Option<(Option<[u8; 32]>, Option<Text>)> {
        self.digests.get(path)?.iter().rev().find_map(|&at| match &self.records[at].fact {
            Fact::Digest { version, sha256, package, .. } if version == wanted => {
                Some((*sha256, package.clone()))
            }
            _ => None,
        })
    }

    /// Microseconds from one record to a later one: by the monotonic clock within a boot, else by the wall.
    pub(crate) fn between(&self, earlier: At, later: At) -> u64 {
        let (a, b) = (self.records[earlier].at, self.records[later].at);
        let boots = |at: At| self.starts.iter().filter(|(start, boot)| *boot && *start <= at).count();
        if b.monotonic_us >= a.monotonic_us && (self.starts.len() < 2 || boots(earlier) == boots(later)) {
            b.monotonic_us - a.monotonic_us
        } else {
            b.realtime_us.saturating_sub(a.realtime_us)
        }
    }

    fn shared(&mut self, text: &mut Text) {
        match self.texts.get(text) {
            Some(known) => *text = known.clone(),
            None => {
                self.texts.insert(text.clone());
            }
        }
    }

    fn add(&mut self, mut record: Record) {
        let at = self.records.len();
        if self.by_id.contains_key(&record.id.0) {
            return;
        }
        if let Some(unit) = &mut record.unit {
            self.shared(unit);
        }
        for rule in record.causes.iter_mut().filter_map(|c| c.rule.as_mut()) {
            self.shared(&mut rule.directive);
            if let Some(file) = &mut rule.file {
                self.shared(file);
            }
        }
        self.arrange(at, &record);
        if let Some(unit) = record.unit.clone() {
            self.arrange_unit(at, &record, &unit);
        }
        // Known only from here on, so that a record that names itself finds nothing.
        self.by_id.insert(record.id.0, at);
        self.records.push(record);
    }

    fn arrange(&mut self, at: At, record: &Record) {
        match &record.fact {
            Fact::Started { boot, pid, .. } => {
                // A process 1 that begins has nothing left of the time before it: its end ends all.
                let anew = *pid == 1 || self.boot.is_some_and(|known| known != *boot);
                self.boot = Some(*boot);
                self.starts.push((at, anew));
                if anew {
                    for orphan in self.orphans.values_mut().filter(|o| o.gone.is_none()) {
                        orphan.gone = Some(at);
                    }
                }
            }
            Fact::Gap { .. } => self.gaps.push(at),
            Fact::Away { .. } => self.aways.push(at),
            Fact::Deprived { .. } => self.deprived.push(at),
            Fact::Basis { .. } => {
                let of = record.causes.first().and_then(|cause| self.place(cause.record));
                self.basis.extend(of.map(|of| (of, at)));
            }
            Fact::ProcessStarted { pid, .. } | Fact::ProcessExited { pid, .. } => {
                self.by_pid.entry(*pid).or_default().push(at);
            }
            Fact::LeftBehind { processes, allowed, .. } => {
                for process in processes {
                    self.by_pid.entry(process.pid).or_default().push(at);
                    let key = (process.pid, process.start_ticks);
                    let (process, allowed) = (process.clone(), *allowed);
                    if let Some(known) = self.orphans.get_mut(&key).filter(|o| o.gone.is_none()) {
                        known.process.bytes = process.bytes.or(known.process.bytes);
                    } else if let Some(unit) = record.unit.clone() {
                        self.orphans.insert(key, Orphan { unit, at, process, allowed, gone: None });
                    }
                }
            }
            Fact::LeftOverGone { pid, start_ticks, .. } => {
                self.by_pid.entry(*pid).or_default().push(at);
                if let Some(orphan) = self.orphans.get_mut(&(*pid, *start_ticks)) {
                    orphan.gone.get_or_insert(at);
                }
            }
            Fact::Digest { path, .. } => {
                let mut path = path.clone();
                self.shared(&mut path);
                self.digests.entry(path).or_default().push(at);
            }
            _ => {}
        }
    }

    fn arrange_unit(&mut self, at: At, record: &Record, name: &Text) {
        let exit_cause = record.causes.iter().filter_map(|c| self.record(c.record)).find_map(|cause| {
            matches!(cause.fact, Fact::ProcessExited { role: ProcessRole::Main, .. }).then_some(cause.id)
        });
        let by_signal = exit_cause.and_then(|id| self.record(id)).is_some_and(|exit| self.ordered_exit(exit));
        let mut causes = record.causes.iter().filter_map(|c| self.record(c.record));
        let taken_up = causes.any(|cause| matches!(cause.fact, Fact::TakenUp { .. }));
        // The recorder knows a process's run by the record of its end.
        let invocation = record.invocation.or_else(|| match record.fact {
            Fact::LastWords { .. } => self.record(record.causes.first()?.record)?.invocation,
            _ => None,
        });
        let unit = self.units.entry(name.clone()).or_default();
        let run = match invocation {
            Some(invocation) => Some(*unit.run_of.entry(invocation.0).or_insert_with(|| {
                unit.runs.push(Run { first: at, ..Run::default() });
                unit.runs.len() - 1
            })),
            None => None,
        };
        if let Some(kind) = event_kind(&record.fact) {
            // The failed state that follows a refused start is the same event.
            let same = kind == EventKind::NotStarted
                && unit.events.last().is_some_and(|last| {
                    last.kind == kind && record.causes.iter().any(|c| self.records[last.at].id == c.record)
                });
            // What was up all the time did not come up.
            let same = same || taken_up && unit.events.last().is_some_and(|last| last.kind == EventKind::Up);
            if !same {
                unit.events.push(Event { at, kind });
            }
            if let Some(run) = run.filter(|_| kind == EventKind::Up) {
                unit.runs[run].began = true;
            }
            if let Some(run) = run.map(|i| &mut unit.runs[i])
                && matches!(kind, EventKind::Down | EventKind::Failed)
            {
                run.ended = Some(at);
                run.asked = by_signal || (exit_cause.is_none() && kind == EventKind::Down);
            }
        }
        match &record.fact {
            Fact::StateChanged { .. } => unit.states.push(at),
            Fact::Inputs { .. } => {
                unit.inputs.push(at);
                if let Some(run) = run {
                    unit.runs[run].inputs = Some(at);
                }
            }
            Fact::Tally { .. } => unit.tallies.push(at),
            Fact::OomKill { .. } => {
                if let Some(run) = run {
                    unit.runs[run].oom = Some(at);
                }
            }
            Fact::Starting { .. } => {
                if let Some(run) = run {
                    unit.runs[run].began = true;
                }
            }
            Fact::ProcessStarted { pid, role: ProcessRole::Main, .. } => {
                if let Some(run) = run {
                    unit.runs[run].main = Some(*pid);
                }
            }
            Fact::LastWords { stream, .. } => {
                // What is said on stderr is worth more than what is said on stdout.
                if let Some(run) = run.map(|i| &mut unit.runs[i])
                    && (*stream == Stream::Stderr || run.last_words.is_none())
                {
                    run.last_words = Some(at);
                }
            }
            _ => {}
        }
    }

    /// Whether a signal of ours ended this process. A cause that is no longer there was one: an exit that
    /// is a root has none.
    pub(crate) fn ordered_exit(&self, exit: &Record) -> bool {
        exit.causes
            .iter()
            .any(|c| self.record(c.record).is_none_or(|cause| matches!(cause.fact, Fact::SignalSent { .. })))
    }
}

/// Whether a unit in this state is down; waiting for a restart is.
pub(crate) fn is_down(active: ActiveState, sub: SubState) -> bool {
    matches!(active, ActiveState::Inactive | ActiveState::Failed | ActiveState::Maintenance)
        || sub == SubState::AutoRestart
}

/// What a fact means for its unit, as an operator would count it.
pub(crate) fn event_kind(fact: &Fact) -> Option<EventKind> {
    match *fact {
        Fact::StateChanged { from_active, from, to_active, to, result } => {
            let (was_down, down) = (is_down(from_active, from), is_down(to_active, to));
            match (was_down, down) {
                (false, true) if result == UnitResult::Success && to_active != ActiveState::Failed => {
                    Some(EventKind::Down)
                }
                (false, true) => Some(EventKind::Failed),
                (true, true) if from != SubState::Failed && to == SubState::Failed => {
                    Some(EventKind::NotStarted)
                }
                _ if to_active == ActiveState::Active
                    && !matches!(from_active, ActiveState::Active | ActiveState::Reloading)
                    && from_active != ActiveState::Deactivating =>
                {
                    Some(EventKind::Up)
                }
                _ => None,
            }
        }
        Fact::StartLimitHit { .. } | Fact::ConditionFailed { .. } => Some(EventKind::NotStarted),
        Fact::JobFinished { job_type, result, .. } => {
            let starts =
                !matches!(job_type, JobType::Stop | JobType::Reload | JobType::Nop | JobType::TryReload);
            let refused = matches!(
                result,
                JobResult::Dependency | JobResult::Assert | JobResult::Unsupported | JobResult::Once
            );
            (starts && refused).then_some(EventKind::NotStarted)
        }
        _ => None,
    }
}
