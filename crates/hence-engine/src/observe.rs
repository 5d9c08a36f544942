//! The other way to the same ledger: from what sources see of a manager that is another's, the records that
//! it would have written had it been hence, with their causes.
//!
//! Pure, as the engine: [`Observer::see`] takes what was seen, [`Observer::settle`] concludes once enough
//! time has passed for slower sources to have told their part, [`Observer::poll_record`] gives the records.
//! What was concluded rather than seen is marked as inferred; where nothing fits, the cause is unknown and
//! what was ruled out is said. Sources are read elsewhere.

mod evidence;
mod exits;
mod gap;
mod jobs;
mod left_over;
mod origin;
pub mod seen;
mod states;
#[cfg(test)]
mod tests;
mod unit;

use crate::Time;
use crate::job::is_down;
use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};
use evidence::Store;
pub use gap::{Before, Last};
use hence_ledger::allow::AllowList;
use hence_ledger::{
    Cause, Certainty, Fact, GapReason, Invocation, JobResult, JobType, Record, RecordId, Stream, Text,
    Tracking, Verb,
};
use seen::{Change, Seen, What};
use unit::Unit;
pub use unit::sub_state;

/// How long slower sources may take to tell their part, in microseconds: that something was written to the
/// journal is told a quarter of a second later, and longer on a busy machine.
pub const PATIENCE_US: u64 = 800_000;
/// Most of what was seen that waits to be concluded from; the rest is taken at once, without patience.
const WAITING_MAX: usize = 20_000;
/// Jobs that are over are remembered this long, for states that follow from them.
const JOB_MEMORY_US: u64 = 5_000_000;
/// What is too old is looked for no more often than this, in microseconds.
const SWEEP_US: u64 = 500_000;

/// What an observer begins with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The first record's number.
    pub first_record: u64,
    /// Version of hence.
    pub version: Text,
    /// Its pid.
    pub pid: u32,
    /// The kernel's boot id.
    pub boot: Invocation,
    /// Where the manager's control groups are.
    pub cgroup: Text,
    /// How hence was called.
    pub command: Text,
    /// The run before it did not end in order.
    pub after_crash: bool,
    /// Which sources there are.
    pub sources: Sources,
}

/// Which sources there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The manager's own signals.
    pub manager: bool,
    /// Calls of others to the manager on the system bus.
    pub bus_calls: bool,
    /// The journal.
    pub journal: bool,
    /// Control groups of units.
    pub cgroups: bool,
    /// The kernel's process connector.
    pub processes: bool,
    /// The kernel's tracepoints of signals and OOM kills.
    pub trace: bool,
}

impl Sources {
    /// Which there are and which not, in one line.
    pub fn line(&self) -> String {
        let rows = [
            (self.manager, "manager"),
            (self.bus_calls, "bus"),
            (self.journal, "journal"),
            (self.cgroups, "control groups"),
            (self.processes, "process connector"),
            (self.trace, "tracepoints"),
        ];
        let named = |wanted: bool| {
            let names: Vec<&str> = rows.iter().filter(|(there, _)| *there == wanted).map(|r| r.1).collect();
            if names.is_empty() { String::from("nothing") } else { names.join(", ") }
        };
        match rows.iter().all(|(there, _)| *there) {
            true => alloc::format!("sources: {}", named(true)),
            false => alloc::format!("sources: {}; without: {}", named(true), named(false)),
        }
    }

    /// What can't be known for lack of a source: one sentence for each.
    pub fn limits(&self) -> Vec<&'static str> {
        let rows = [
            (self.manager, "without the manager's signals nothing that happens to units is seen"),
            (self.bus_calls, "without the calls on the system bus, who asked there is not seen"),
            (self.journal, "without the journal, last words, control processes and refusals are not seen"),
            (self.cgroups, "without control groups, processes that are left behind are not seen"),
            (
                self.processes,
                "without the process connector, a client that is gone before it is looked for is not seen",
            ),
            (self.trace, "without tracepoints, who sent a signal is not seen"),
        ];
        rows.into_iter().filter(|(there, _)| !there).map(|(_, limit)| limit).collect()
    }
}

/// What an observer would like to have looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The last lines of a run that ended badly; they are told by [`Observer::last_words`].
    LastWords {
        /// The unit.
        unit: Text,
        /// Its run.
        invocation: Invocation,
        /// The record of its end.
        record: RecordId,
    },
    /// The end of a process that was left behind.
    Watch {
        /// Which.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
    },
}

/// A job that was seen.
#[derive(Clone, Debug)]
struct Job {
    job_type: JobType,
    record: RecordId,
    at_us: u64,
    over: Option<(u64, JobResult)>,
}

/// Makes records of what is seen.
#[derive(Debug)]
pub struct Observer {
    next_record: u64,
    records: VecDeque<Record>,
    wanted: VecDeque<Wanted>,
    units: BTreeMap<Text, Unit>,
    jobs: BTreeMap<u32, Job>,
    /// The same by their units; some of these may be forgotten already.
    jobs_of: BTreeMap<Text, Vec<u32>>,
    /// When to forget next what is too old.
    sweep_us: u64,
    waiting: VecDeque<Seen>,
    store: Store,
    sources: Sources,
    started: RecordId,
    /// The manager reads its configuration again since this record.
    reloading: Option<RecordId>,
    /// What there was when the connection began has been told.
    attached: bool,
    /// Jobs that are queued now began before anybody looked.
    booting: bool,
    /// A time in which nothing was seen, until all units have been compared with what was known of them.
    gap: Option<gap::Gap>,
    /// Units are being told again.
    reattaching: bool,
    /// The journal was read up to the present.
    read_back: bool,
    /// Since when the message bus is away.
    bus_lost: Option<Time>,
    /// Processes that may outlive units whose files don't say so.
    left_behind_allowed: Arc<AllowList>,
    now: Time,
}

impl Observer {
    /// An observer that begins; the record of that is its first.
    pub fn new(settings: Settings, now: Time) -> Observer {
        let mut observer = Observer {
            next_record: settings.first_record,
            records: VecDeque::new(),
            wanted: VecDeque::new(),
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            jobs_of: BTreeMap::new(),
            sweep_us: 0,
            waiting: VecDeque::new(),
            store: Store::default(),
            sources: settings.sources,
            started: RecordId(settings.first_record),
            reloading: None,
            attached: false,
            booting: true,
            gap: None,
            reattaching: false,
            read_back: true,
            bus_lost: None,
            left_behind_allowed: Arc::default(),
            now,
        };
        let fact = Fact::Started {
            version: settings.version,
            pid: settings.pid,
            boot: settings.boot,
            tracking: Tracking::Cgroup,
            cgroup: settings.cgroup,
            command: settings.command,
            after_crash: settings.after_crash,
        };
        observer.started = observer.record(now, None, Vec::new(), Certainty::Observed, fact);
        observer
    }

    /// Processes that may outlive units whose files don't say so.
    pub fn allow_left_behind(&mut self, allowed: Arc<AllowList>) {
        self.left_behind_allowed = allowed;
    }

    /// The start limit of a unit: so many starts within so many microseconds.
    pub fn start_limit(&self, unit: &str) -> Option<(u32, u64)> {
        let config = self.units.get(unit)?.config.as_ref()?;
        Some((config.start_limit_burst, config.start_limit_interval))
    }

    /// Takes what was seen.
    pub fn see(&mut self, seen: Seen) {
        // What a unit's files say holds for whatever happened to it that waits to be concluded from.
        let seen = match seen.what {
            What::Known(portrait) => return self.known(seen.at, *portrait),
            what => Seen { what, ..seen },
        };
        match &seen.what {
            What::Attached => (self.attached, self.reattaching) = (true, false),
            What::Disconnected => return self.lost_manager(seen.at),
            What::Reconnected => return self.found_manager(seen.at),
            What::Bus(there) => return self.bus_is(seen.at, *there),
            What::JobNew(job, _) if self.reattaching => {
                let job = *job;
                if let Some(gap) = &mut self.gap {
                    gap.jobs.insert(job);
                }
            }
            What::Said(message) => self.keep_line(seen.at, message),
            _ => {}
        }
        if let Some(seen) = self.store.keep(seen, &self.units) {
            self.waiting.push_back(seen);
            while self.waiting.len() > WAITING_MAX {
                self.next();
            }
        }
    }

    /// Concludes what can be concluded by now.
    pub fn settle(&mut self, now: Time) {
        self.now = now;
        while self.waiting.front().is_some_and(|s| self.is_due(s, now.monotonic_us)) {
            self.next();
        }
        if now.monotonic_us >= self.sweep_us {
            self.sweep_us = now.monotonic_us + SWEEP_US;
            self.sweep(now);
        }
    }

    /// Forgets what is too old to explain anything.
    fn sweep(&mut self, now: Time) {
        self.store.forget(now.monotonic_us);
        let old = now.monotonic_us.saturating_sub(JOB_MEMORY_US);
        // What is told later than by the manager's signals may still be about them.
        self.units
            .retain(|_, unit| unit.forgotten_us.is_none_or(|at| at >= old) || !unit.left_over.is_empty());
        self.jobs.retain(|_, job| job.over.is_none_or(|(at, _)| at >= old));
        self.jobs_of.retain(|_, ids| {
            ids.retain(|id| self.jobs.contains_key(id));
            !ids.is_empty()
        });
    }

    /// Concludes everything, without waiting any longer: hence ends.
    pub fn finish(&mut self, now: Time, status: u8) {
        self.now = now;
        while !self.waiting.is_empty() {
            self.next();
        }
        self.record(now, None, vec![self.caused_by_start()], Certainty::Observed, Fact::Ended { status });
    }

    /// When to settle next, on CLOCK_MONOTONIC in microseconds.
    pub fn deadline(&self) -> Option<u64> {
        let front = self.waiting.front().filter(|_| self.read_back)?;
        Some(if waits(&front.what) { front.at.monotonic_us + PATIENCE_US } else { 0 })
    }

    /// The next record. Those that caused it came before.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// The next thing to be looked at.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// What a run wrote last.
    pub fn last_words(
        &mut self,
        unit: &Text,
        invocation: Invocation,
        cause: RecordId,
        stream: Stream,
        text: String,
    ) {
        let causes = vec![Cause { record: cause, rule: None }];
        let fact = Fact::LastWords { stream, text };
        let id = self.record(self.now, Some(unit), causes, Certainty::Observed, fact);
        if let Some(record) = self.records.back_mut().filter(|r| r.id == id) {
            record.invocation = Some(invocation);
        }
    }

    /// The control group of a unit.
    pub fn group(&self, unit: &str) -> Option<&Text> {
        self.units.get(unit)?.cgroup.as_ref()
    }

    /// The program and arguments that a unit's main process is started with.
    pub fn command(&self, unit: &str) -> Option<&[String]> {
        self.units.get(unit)?.command.as_deref()
    }

    /// Whether the unit is known.
    pub fn knows(&self, unit: &str) -> bool {
        self.units.contains_key(unit)
    }

    /// What is concluded from the journal has to wait until that was read.
    fn is_due(&self, seen: &Seen, now_us: u64) -> bool {
        self.read_back && (!waits(&seen.what) || seen.at.monotonic_us + PATIENCE_US <= now_us)
    }

    fn next(&mut self) {
        let Some(Seen { at, what }) = self.waiting.pop_front() else { return };
        match what {
            What::Forgotten(name) => self.forgotten(at, &name),
            What::Changed(name, change) => {
                self.jobs_before(at, &name, &change);
                self.changed(at, &name, &change);
            }
            What::JobNew(job, unit) => self.jobs_new(at, job, unit),
            What::JobRemoved(job, unit, result) => self.job_removed(at, job, &unit, result),
            What::Reloading(begins) => self.reloads(at, begins),
            What::Attached => {
                self.booting = false;
                self.close_gap(at);
            }
            What::Found(name, state, fresh) => self.found(at, &name, &state, fresh),
            What::Members(unit, members) => self.members(at, &unit, members),
            What::Gone { pid, start_ticks, exit } => self.gone(at, pid, start_ticks, exit),
            What::Inputs(unit, files) => self.inputs(at, &unit, files),
            What::Said(message) => self.said(at, *message),
            What::Lost { count } => {
                let lost = Fact::Gap { lost: count, reason: GapReason::RingFull };
                self.record(at, None, Vec::new(), Certainty::Observed, lost);
            }
            // Evidence is kept elsewhere.
            What::Known(_)
            | What::Disconnected
            | What::Reconnected
            | What::Bus(_)
            | What::JobIs(..)
            | What::Asked(_)
            | What::Passed { .. }
            | What::Signalled { .. }
            | What::OomKill { .. }
            | What::Ended { .. } => {}
        }
    }

    /// The manager forgets only what is down. One that came and went faster than it tells of changes is told
    /// of in no other way.
    fn forgotten(&mut self, at: Time, name: &Text) {
        let Some(unit) = self.units.get(name) else { return };
        if !is_down(unit.active) {
            let change = Change::down();
            if self.gap.is_some() {
                self.found(at, name, &change, false);
            } else {
                self.jobs_before(at, name, &change);
                self.changed(at, name, &change);
            }
        }
        if let Some(unit) = self.units.get_mut(name) {
            unit.forgotten_us = Some(at.monotonic_us);
        }
    }

    fn reloads(&mut self, at: Time, begins: bool) {
        if !begins {
            return;
        }
        let asked = self.store.asked_of_whole(Verb::DaemonReload, at.monotonic_us);
        let (certainty, fact) = match asked {
            Some(asked) => {
                let fact = Fact::Request { verb: asked.verb, mode: asked.mode, client: asked.client.clone() };
                (evidence::certainty(asked.evidence), fact)
            }
            None => {
                let ruled_out = "the manager read its configuration again; who asked for that was not seen";
                (Certainty::Observed, Fact::Unknown { ruled_out: ruled_out.into() })
            }
        };
        self.reloading = Some(self.record(at, None, Vec::new(), certainty, fact));
    }

    fn inputs(&mut self, at: Time, name: &Text, files: Vec<hence_ledger::FileIdentity>) {
        let Some(unit) = self.units.get_mut(name) else { return };
        // The files of the unit itself are a part of what its start depends on.
        let files: Vec<_> = unit.files.iter().cloned().chain(files).collect();
        if unit.inputs == files {
            return;
        }
        unit.inputs.clone_from(&files);
        let cause = unit.record;
        let causes = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        self.record(at, Some(name), causes, Certainty::Observed, Fact::Inputs { files });
    }

    fn caused_by_start(&self) -> Cause {
        Cause { record: self.started, rule: None }
    }

    fn record(
        &mut self,
        at: Time,
        unit: Option<&Text>,
        causes: Vec<Cause>,
        certainty: Certainty,
        fact: Fact,
    ) -> RecordId {
        let id = RecordId(self.next_record);
        self.next_record += 1;
        let invocation = unit.and_then(|name| self.units.get(name)).and_then(|u| u.invocation);
        let unit = unit.cloned();
        self.records.push_back(Record { id, at, unit, invocation, causes, certainty, fact });
        id
    }
}

/// Whether others may still have to say something about this.
fn waits(what: &What) -> bool {
    !matches!(what, What::Known(_) | What::Attached)
}
