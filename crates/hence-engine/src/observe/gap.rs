//! Times in which nothing or not all was seen: hence did not run, or had no connection to the manager. They
//! are records, and afterwards every unit is compared with what was known of it: what became of it meanwhile
//! is concluded from what the manager says of it and from the journal, and marked so.

use super::seen::{Change, Message};
use super::states::Step;
use super::unit::{Unit, sub_state};
use super::{Observer, Wanted};
use crate::Time;
use crate::job::{is_down, is_up};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};
use hence_ledger::{
    Absence, ActiveState, Cause, Certainty, Exit, ExitKind, Fact, Invocation, JobResult, JobType, LeftOver,
    ProcessRole, RecordId, RestartReason, Stamp, SubState, Text, UnitResult,
};

/// Lines of one unit that are kept from such a time, and units that they are kept of.
const LINES: usize = 32;
const UNITS: usize = 4096;
/// A line may be a little older than the moment when seeing ended.
const EARLY_US: u64 = 100_000;
/// Signals that end programs in order, whoever sends them.
const IN_ORDER: [i32; 4] = [1, 2, 13, 15];

/// What was known of a unit when hence last watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The unit.
    pub name: Text,
    /// ActiveState
    pub active: ActiveState,
    /// SubState
    pub sub: SubState,
    /// Its run.
    pub invocation: Option<Invocation>,
    /// Its main process; 0: none.
    pub main_pid: u32,
    /// The record of its last change of state; 0: none.
    pub record: u64,
    /// Processes that it had left behind: pid and start time.
    pub left_over: Vec<(u32, u64)>,
}

/// What an earlier run of hence left.
#[derive(Clone, Debug)]
pub struct Before {
    /// Until when it watched.
    pub until: Time,
    /// How it ended, and what is read instead of what it would have seen.
    pub how: Text,
    /// What it knew of units; nothing where the machine was booted since.
    pub units: Vec<Last>,
}

/// A time in which nothing was seen.
#[derive(Debug)]
pub(super) struct Gap {
    pub from: Time,
    record: Option<RecordId>,
    /// What the manager said in the journal then.
    lines: BTreeMap<Text, Vec<(Time, Message)>>,
    /// Units that are still there.
    told: BTreeSet<Text>,
    /// Jobs that were there when it was looked again.
    pub jobs: BTreeSet<u32>,
}

impl Gap {
    fn new(from: Time, record: Option<RecordId>) -> Gap {
        let (lines, told, jobs) = Default::default();
        Gap { from, record, lines, told, jobs }
    }
}

/// What became of a unit meanwhile, as far as anything says so.
struct Fate {
    name: Text,
    /// The record of the time in which it happened.
    away: RecordId,
    lines: Vec<(Time, Message)>,
    from: Time,
    at: Time,
}

fn quoted(line: &(Time, Message)) -> String {
    format!("systemd's journal line \"{}\"", line.1.text)
}

impl Fate {
    fn find(&self, wanted: impl Fn(&Message) -> bool) -> Option<&(Time, Message)> {
        self.lines.iter().rev().find(|(_, message)| wanted(message))
    }

    /// The line of a stop that was asked for: one that belongs to a restart by Restart= follows from how the
    /// process ended.
    fn asked_to_stop(&self) -> Option<&(Time, Message)> {
        let stop = self.lines.iter().rposition(|(_, m)| stops(m))?;
        let again = self.lines[..stop].iter().rposition(|(_, m)| m.restarts.is_some());
        let by_itself = again.is_some_and(|again| !self.lines[again..stop].iter().any(|(_, m)| starts(m)));
        (!by_itself).then(|| &self.lines[stop])
    }

    /// When something happened that the manager's clock says.
    fn moment(&self, us: u64) -> Time {
        let lag = self.at.monotonic_us.saturating_sub(us).min(self.at.realtime_us);
        Stamp { realtime_us: self.at.realtime_us - lag, monotonic_us: us }
    }

    fn is_inside(&self, us: u64) -> bool {
        us + EARLY_US >= self.from.monotonic_us && us <= self.at.monotonic_us
    }
}

fn ends(message: &Message) -> bool {
    message.exit.is_some() && message.text.contains("Main process")
}

fn stops(message: &Message) -> bool {
    matches!(message.job_type, Some(JobType::Stop | JobType::Restart | JobType::TryRestart))
        && message.job_result.is_some()
        && message.text.starts_with("Stopped")
}

fn starts(message: &Message) -> bool {
    matches!(message.job_type, Some(JobType::Start | JobType::Restart | JobType::TryRestart))
        && message.job_result == Some(JobResult::Done)
}

impl Observer {
    /// An earlier run of hence watched the same machine: what became of it since is told as far as it can be.
    pub fn goes_on(&mut self, now: Time, before: Before) {
        let (from, how) = (before.until, before.how);
        let fact = Fact::Away { what: Absence::Watch, from, to: now, how };
        let record = self.record(now, None, Vec::new(), Certainty::Observed, fact);
        for last in before.units {
            let mut unit = Unit::new();
            (unit.active, unit.sub, unit.invocation) = (last.active, last.sub, last.invocation);
            unit.main_pid = last.main_pid;
            unit.record = Some(RecordId(last.record)).filter(|id| id.0 != 0);
            for (pid, start_ticks) in last.left_over {
                let process = LeftOver { pid, start_ticks, command: Text::default(), bytes: None };
                unit.left_over.insert((pid, start_ticks), process);
                self.wanted.push_back(Wanted::Watch { pid, start_ticks });
            }
            self.units.insert(last.name, unit);
        }
        // Clocks of an earlier boot say nothing of this one.
        if from.monotonic_us <= now.monotonic_us && !self.units.is_empty() {
            self.gap = Some(Gap::new(from, Some(record)));
            self.reattaching = true;
            self.read_back = false;
        }
    }

    /// The journal was read up to the present.
    pub fn journal_was_read(&mut self) {
        self.read_back = true;
    }

    /// What is known of units that are up, or have left processes behind.
    pub fn last_known(&self) -> impl Iterator<Item = Last> + '_ {
        let matters = |(_, unit): &(&Text, &Unit)| !is_down(unit.active) || !unit.left_over.is_empty();
        self.units.iter().filter(matters).map(|(name, unit)| Last {
            name: name.clone(),
            active: unit.active,
            sub: unit.sub,
            invocation: unit.invocation,
            main_pid: unit.main_pid,
            record: unit.record.map_or(0, |record| record.0),
            left_over: unit.left_over.keys().copied().collect(),
        })
    }

    /// The connection to the manager is lost.
    pub(super) fn lost_manager(&mut self, at: Time) {
        if self.gap.is_none() {
            self.gap = Some(Gap::new(at, None));
        }
        let how = Text::from("what happens to units is read from the journal until it is there again");
        let fact = Fact::Away { what: Absence::Manager, from: at, to: at, how };
        self.record(at, None, Vec::new(), Certainty::Observed, fact);
    }

    /// It is there again.
    pub(super) fn found_manager(&mut self, at: Time) {
        // One that comes for the first time was not lost.
        let Some(from) = self.gap.as_ref().map(|gap| gap.from) else { return };
        self.reattaching = true;
        let how = match self.store.reexec(from.monotonic_us, at.monotonic_us) {
            Some(client) => {
                format!("it executed itself anew, as {client} asked for; the journal was read instead")
            }
            None => String::from("it executed itself anew, or was gone; the journal was read instead"),
        };
        let fact = Fact::Away { what: Absence::Manager, from, to: at, how: how.as_str().into() };
        let record = self.record(at, None, Vec::new(), Certainty::Observed, fact);
        if let Some(gap) = &mut self.gap {
            gap.record = Some(record);
        }
    }

    /// The message bus went away, or is there again.
    pub(super) fn bus_is(&mut self, at: Time, there: bool) {
        let (from, how) = match (there, self.bus_lost) {
            (true, None) => return,
            (true, Some(from)) => (from, "who asked on it right before it was heard again is not on record"),
            (false, _) => (at, "the manager is heard on its private socket as before"),
        };
        self.bus_lost = (!there).then_some(at);
        let fact = Fact::Away { what: Absence::Bus, from, to: at, how: how.into() };
        self.record(at, None, Vec::new(), Certainty::Observed, fact);
    }

    /// Keeps what was said while nothing else was seen.
    pub(super) fn keep_line(&mut self, at: Time, message: &Message) {
        let Some(gap) = &mut self.gap else { return };
        let Some(unit) =
            message.unit.as_ref().filter(|_| at.monotonic_us + EARLY_US >= gap.from.monotonic_us)
        else {
            return;
        };
        if gap.lines.len() >= UNITS && !gap.lines.contains_key(unit) {
            return;
        }
        let lines = gap.lines.entry(unit.clone()).or_default();
        if lines.len() >= LINES {
            lines.remove(0);
        }
        lines.push((at, message.clone()));
    }

    pub(super) fn still_there(&mut self, name: &Text) {
        if let Some(gap) = &mut self.gap {
            gap.told.insert(name.clone());
        }
    }

    /// A job that was there when it was looked again was queued while nobody saw.
    pub(super) fn origin_unseen(&self, job: u32) -> Option<Cause> {
        let gap = self.gap.as_ref().filter(|gap| gap.jobs.contains(&job))?;
        Some(Cause { record: gap.record?, rule: None })
    }

    /// All that there is has been told: what isn't there any more is gone.
    pub(super) fn close_gap(&mut self, at: Time) {
        let Some(gap) = &mut self.gap else { return };
        let told = core::mem::take(&mut gap.told);
        let gone = |(name, unit): &(&Text, &Unit)| !told.contains(*name) && unit.forgotten_us.is_none();
        let gone: Vec<Text> = self.units.iter().filter(gone).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.found(at, &name, &Change::down(), false);
            if let Some(unit) = self.units.get_mut(&name) {
                unit.forgotten_us = Some(at.monotonic_us);
            }
        }
        let jobs = self.gap.take().map(|gap| gap.jobs).unwrap_or_default();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| job.over.is_none()) {
            if !jobs.contains(id) && job.at_us <= at.monotonic_us {
                job.over = Some((at.monotonic_us, JobResult::Done));
            }
        }
    }

    fn concluded(
        &mut self,
        at: Time,
        name: &Text,
        cause: RecordId,
        rule: Option<hence_ledger::Rule>,
        fact: Fact,
        basis: &str,
    ) -> RecordId {
        let causes = vec![Cause { record: cause, rule }];
        let record = self.record(at, Some(name), causes, Certainty::Inferred, fact);
        self.basis(at, name, record, basis);
        record
    }

    pub(super) fn basis(&mut self, at: Time, name: &Text, record: RecordId, basis: &str) {
        let causes = vec![Cause { record, rule: None }];
        let fact = Fact::Basis { text: basis.into() };
        self.record(at, Some(name), causes, Certainty::Observed, fact);
    }

    /// A unit as it is now, after a time in which nothing was seen of it.
    pub(super) fn found(&mut self, at: Time, name: &Text, state: &Change, fresh: bool) {
        let unit = self.units.entry(name.clone()).or_insert_with(Unit::new);
        let Some((gap, away)) =
            self.gap.as_mut().and_then(|gap| Some((gap.record?, gap)).map(|(r, g)| (g, r)))
        else {
            return unit.take(name, state);
        };
        let lines = gap.lines.remove(name).unwrap_or_default();
        let fate = Fate { name: name.clone(), away, lines, from: gap.from, at };
        let active = state.active.unwrap_or(unit.active);
        let sub = state.sub.as_deref().and_then(|word| sub_state(name, word)).unwrap_or(unit.sub);
        let rests = |active, sub| is_down(active) || sub == SubState::AutoRestart;
        let (was_down, is_down_now) = (rests(unit.active, unit.sub), rests(active, sub));
        let began = state.began_us.is_some_and(|us| us != 0 && fate.is_inside(us));
        let other = |new: Invocation| unit.invocation.is_some_and(|old| old != new && new.0 != [0; 16]);
        let anew =
            !is_down_now && (state.invocation.is_some_and(other) || began && unit.invocation.is_none());
        if fresh && (is_down_now || !began) || !anew && (active, sub) == (unit.active, unit.sub) {
            return unit.take(name, state);
        }
        let mut cause = away;
        if !was_down && (is_down_now || anew) {
            cause = self.went_down(&fate, state, (!anew).then_some((active, sub)));
        } else if is_down_now {
            cause = self.ended_unseen(&fate, state).unwrap_or(away);
            self.turned(&fate, cause, (active, sub), state);
        }
        if !is_down_now && (was_down || anew) {
            self.came_up(&fate, state, (active, sub), cause);
        } else if !is_down_now && !was_down && !anew {
            self.turned(&fate, away, (active, sub), state);
        }
        if let Some(unit) = self.units.get_mut(name) {
            unit.take(name, state);
        }
    }

    /// A main process that ended then, where somebody says so and no stop explains it.
    fn ended_unseen(&mut self, fate: &Fate, state: &Change) -> Option<RecordId> {
        let line = fate.find(ends);
        let known = state.main_exit.filter(|(_, us, _)| fate.is_inside(*us));
        let (pid, at, exit) = match (known, line) {
            (Some((pid, us, exit)), _) => (pid, fate.moment(us), exit),
            (None, Some((at, message))) => {
                (self.units.get(&fate.name).map_or(0, |u| u.main_pid), *at, message.exit?)
            }
            (None, None) => return None,
        };
        // By these it may have been stopped as well as killed: only a line of the journal tells them apart.
        let in_order = exit.kind == ExitKind::Killed && IN_ORDER.contains(&exit.status);
        if in_order && line.is_none() {
            return None;
        }
        let basis = line.map_or_else(
            || String::from("what the manager says of its last main process; its end was not seen"),
            |line| match exit.kind {
                ExitKind::Exited => quoted(line),
                _ => format!("{}; who sent the signal was not seen", quoted(line)),
            },
        );
        let fact = Fact::ProcessExited { pid, role: ProcessRole::Main, exit, cpu_us: 0, peak_bytes: 0 };
        let record = self.record(at, Some(&fate.name), Vec::new(), Certainty::Inferred, fact);
        self.basis(at, &fate.name, record, &basis);
        Some(record)
    }

    /// It went down meanwhile; `now`: and still is. The record of that.
    fn went_down(&mut self, fate: &Fate, state: &Change, now: Option<(ActiveState, SubState)>) -> RecordId {
        let name = &fate.name;
        let (mut cause, mut basis) = (fate.away, String::new());
        let mut at = now.and(state.state_at_us).filter(|us| fate.is_inside(*us)).map(|us| fate.moment(us));
        let mut exit = None;
        if let Some(line) = fate.asked_to_stop() {
            let (job, job_type) = (line.1.job.unwrap_or(0), line.1.job_type.unwrap_or(JobType::Stop));
            basis = format!("{}; who asked for that was not seen", quoted(line));
            at = at.or(Some(line.0));
            let fact = Fact::JobQueued { job, job_type };
            cause = self.concluded(line.0, name, fate.away, None, fact, &basis);
        } else if let Some(record) = self.ended_unseen(fate, state) {
            cause = record;
            exit = fate.find(ends).and_then(|(_, m)| m.exit).or(state.main_exit.map(|(.., exit)| exit));
            at = at.or(fate.find(ends).map(|line| line.0));
        }
        if let Some(line) = fate.find(|m| m.result.is_some()).filter(|_| basis.is_empty()) {
            basis = quoted(line);
        }
        if basis.is_empty() {
            basis = match now {
                Some((active, _)) => format!("its being {active} when it was looked again"),
                None => String::from("its running under another invocation when it was looked again"),
            };
        }
        let said = fate.find(|m| m.result.is_some()).and_then(|(_, m)| m.result);
        let bad = exit.is_some_and(|e: Exit| !(e.kind == ExitKind::Exited && e.status == 0));
        let result = match now {
            Some(_) => state.result.unwrap_or(UnitResult::Success),
            None => said.unwrap_or(if bad { UnitResult::ExitCode } else { UnitResult::Success }),
        };
        let again = fate.find(|m| m.restarts.is_some()).is_some();
        let (to_active, to) = now.unwrap_or(match (again, result) {
            (true, _) => (ActiveState::Activating, SubState::AutoRestart),
            (false, UnitResult::Success) => (ActiveState::Inactive, SubState::Dead),
            _ => (ActiveState::Failed, SubState::Failed),
        });
        let at = at.unwrap_or(fate.at);
        let record = self.step(at, fate, cause, (to_active, to, result), &basis);
        if let Some(unit) = self.units.get_mut(name) {
            unit.down = Some((at.monotonic_us, record));
        }
        record
    }

    /// A change of state that was not seen.
    fn step(
        &mut self,
        at: Time,
        fate: &Fate,
        cause: RecordId,
        (to_active, to, result): (ActiveState, SubState, UnitResult),
        basis: &str,
    ) -> RecordId {
        let (from_active, from) =
            self.units.get(&fate.name).map_or((ActiveState::Inactive, SubState::Dead), |u| (u.active, u.sub));
        let step = Step { from_active, from, to_active, to, result, told: false };
        let fact = step.fact();
        let record = self.concluded(at, &fate.name, cause, None, fact, basis);
        if let Some(unit) = self.units.get_mut(&fate.name) {
            (unit.active, unit.sub, unit.result, unit.record) = (to_active, to, result, Some(record));
        }
        record
    }

    /// Another state, without having been down or up meanwhile.
    fn turned(
        &mut self,
        fate: &Fate,
        cause: RecordId,
        (active, sub): (ActiveState, SubState),
        state: &Change,
    ) {
        let at = state.state_at_us.filter(|us| fate.is_inside(*us)).map_or(fate.at, |us| fate.moment(us));
        let result = state.result.unwrap_or(UnitResult::Success);
        let basis = format!("its being {active} when it was looked again");
        self.step(at, fate, cause, (active, sub, result), &basis);
    }

    /// It came up meanwhile; `cause`: what it went down by, or the time in which it happened.
    fn came_up(
        &mut self,
        fate: &Fate,
        state: &Change,
        (active, sub): (ActiveState, SubState),
        cause: RecordId,
    ) {
        let name = &fate.name;
        if let Some(unit) = self.units.get_mut(name) {
            unit.invocation = state.invocation.or(unit.invocation);
        }
        let at = state.began_us.or(state.state_at_us).filter(|us| fate.is_inside(*us));
        let at = at.map_or(fate.at, |us| fate.moment(us));
        let (mut by, mut basis) = (fate.away, String::from("its being up when it was looked again"));
        if let Some(line) = fate.find(|m| m.restarts.is_some()) {
            let unit = self.units.get(name);
            let service = unit.and_then(|u| u.config.as_ref()).and_then(|c| c.service());
            let rule = service.and_then(|s| unit?.rule_with("Restart", s.restart.as_str()));
            let delay_us = service.map_or(100_000, |s| s.restart_delay);
            let (reason, restarts) = (RestartReason::Policy, line.1.restarts.unwrap_or(0));
            let fact = Fact::RestartScheduled { reason, delay_us, restarts };
            basis = quoted(line);
            by = self.concluded(line.0, name, cause, rule.filter(|r| r.line != 0), fact, &basis);
        } else if let Some(line) = fate.find(starts) {
            basis = format!("{}; who asked for that was not seen", quoted(line));
            let (job, job_type) = (line.1.job.unwrap_or(0), line.1.job_type.unwrap_or(JobType::Start));
            by = self.concluded(line.0, name, fate.away, None, Fact::JobQueued { job, job_type }, &basis);
        }
        let record = self.step(at, fate, by, (active, sub, UnitResult::Success), &basis);
        let main = state.main_pid.filter(|pid| *pid != 0);
        if let Some(unit) = self.units.get_mut(name)
            && is_up(active)
        {
            unit.up = Some((at.monotonic_us, record));
        }
        if let Some(pid) = main {
            let fact = Fact::ProcessStarted { pid, start_ticks: 0, role: ProcessRole::Main };
            let basis = "its being the main process when it was looked again";
            self.concluded(at, name, record, None, fact, basis);
        }
    }
}
