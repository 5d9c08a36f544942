//! Changes of a unit's properties: what they say that happened, and what led to it.

use super::evidence::{START_LIMIT, condition, is_start_limit};
use super::seen::{Change, Message};
use super::unit::{Unit, sub_state};
use super::{Observer, Wanted};
use crate::Time;
use crate::job::{is_down, is_up};
use alloc::{vec, vec::Vec};
use hence_ledger::{
    ActiveState, Cause, Certainty, DeadlineKind, Exit, ExitKind, Fact, JobType, ProcessRole, RecordId,
    RestartReason, SubState, Text, UnitResult,
};
use hence_unit::{DependencyKind as K, config::INFINITY};

/// A state, with what it was before.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub from_active: ActiveState,
    pub from: SubState,
    pub to_active: ActiveState,
    pub to: SubState,
    pub result: UnitResult,
    /// It was told, rather than concluded.
    pub told: bool,
}

impl Step {
    fn changes(&self) -> bool {
        (self.from_active, self.from) != (self.to_active, self.to)
    }

    pub fn fact(&self) -> Fact {
        Fact::StateChanged {
            from_active: self.from_active,
            from: self.from,
            to_active: self.to_active,
            to: self.to,
            result: self.result,
        }
    }

    fn was_down(&self) -> bool {
        is_down(self.from_active) || self.from == SubState::AutoRestart
    }

    /// Whether the unit goes down, or is on its way.
    pub fn goes_down(&self) -> bool {
        !self.was_down() && (self.is_down() || self.to_active == ActiveState::Deactivating)
    }

    fn is_down(&self) -> bool {
        is_down(self.to_active) || self.to == SubState::AutoRestart
    }
}

impl Unit {
    /// Takes what is told of the unit's state.
    pub(super) fn take(&mut self, name: &str, change: &Change) {
        self.active = change.active.unwrap_or(self.active);
        if let Some(sub) = change.sub.as_deref().and_then(|word| sub_state(name, word)) {
            self.sub = sub;
        }
        self.result = change.result.unwrap_or(self.result);
        self.invocation = change.invocation.filter(|id| id.0 != [0; 16]).or(self.invocation);
        self.main_pid = change.main_pid.unwrap_or(self.main_pid);
        self.control_pid = change.control_pid.unwrap_or(self.control_pid);
        self.restarts = change.restarts.unwrap_or(self.restarts);
        self.exit_at_us = change.main_exit.map_or(self.exit_at_us, |(_, at, _)| at.max(self.exit_at_us));
        self.began_us = change.began_us.filter(|at| *at != 0).unwrap_or(self.began_us);
        self.main_began_us = change.main_began_us.unwrap_or(self.main_began_us);
        self.state_at_us = change.state_at_us.unwrap_or(self.state_at_us);
        self.triggered_us = change.triggered_us.unwrap_or(self.triggered_us);
        self.accepted = change.accepted.unwrap_or(self.accepted);
        if let Some(cgroup) = change.cgroup.clone().filter(|c| !c.is_empty()) {
            self.cgroup = Some(cgroup);
        }
        if let Some(command) = change.command.clone() {
            self.command = Some(command);
        }
    }
}

impl Observer {
    /// Properties of a unit changed.
    pub(super) fn changed(&mut self, at: Time, name: &Text, change: &Change) {
        let unit = self.units.entry(name.clone()).or_insert_with(Unit::new);
        unit.forgotten_us = None;
        let (from_active, from) = (unit.active, unit.sub);
        let (main_before, exit_before) = (unit.main_pid, unit.exit_at_us);
        let before = unit.invocation;
        unit.take(name, change);
        let now =
            Step { from_active, from, to_active: unit.active, to: unit.sub, result: unit.result, told: true };
        let began = unit.main_pid != 0 && unit.main_pid != main_before;
        let pid = unit.main_pid;
        let exit = change.main_exit.filter(|(_, at_us, _)| *at_us > exit_before);
        // The end that is told is that of the run before, where the next has begun meanwhile.
        let after = unit.invocation;
        let started_anew =
            before != after && exit.is_some_and(|(ended, ..)| ended == main_before && ended != 0);
        if started_anew {
            unit.invocation = before;
        }
        let ended = exit.map(|(pid, at_us, exit)| self.main_exited(at, name, pid, at_us, exit, &now));
        if started_anew && let Some(unit) = self.units.get_mut(name) {
            unit.invocation = after;
        }
        if let Some(record) = ended.filter(|_| began && !now.changes() && is_up(now.to_active)) {
            self.bounced(at, name, &now, record, exit.is_some_and(|(.., exit)| is_good(exit)));
            return self.main_started(at, name, pid);
        }
        if began {
            self.main_started(at, name, pid);
        }
        if now.changes() {
            self.state_changed(at, name, now, ended);
        }
    }

    /// The unit went down and came up again before anything of that could be told.
    fn bounced(&mut self, at: Time, name: &Text, now: &Step, ended: RecordId, well: bool) {
        let (to_active, to) = (ActiveState::Activating, SubState::AutoRestart);
        let result = if well { UnitResult::Success } else { UnitResult::ExitCode };
        let down = Step { to_active, to, result, told: false, ..*now };
        self.set(name, to_active, to);
        self.state_changed(at, name, down, Some(ended));
        self.job_ahead(at, name);
        self.set(name, now.to_active, now.to);
        let up = Step { from_active: to_active, from: to, told: false, ..*now };
        self.state_changed(at, name, up, None);
    }

    fn set(&mut self, name: &Text, active: ActiveState, sub: SubState) {
        if let Some(unit) = self.units.get_mut(name) {
            (unit.active, unit.sub) = (active, sub);
        }
    }

    fn main_started(&mut self, at: Time, name: &Text, pid: u32) {
        let job = self.last_job_of(name, at.monotonic_us).map(|job| job.record);
        let cause = job.or_else(|| self.units.get(name)?.record);
        let causes: Vec<Cause> = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        let role = ProcessRole::Main;
        let command = self.units.get(name).and_then(|u| u.command.as_ref()).map(|argv| argv.join(" "));
        let starting = Fact::Starting { role, command: command.unwrap_or_default().into() };
        let record = self.record(at, Some(name), causes, Certainty::Observed, starting);
        let started = Fact::ProcessStarted { pid, start_ticks: 0, role };
        self.record(at, Some(name), vec![Cause { record, rule: None }], Certainty::Observed, started);
    }

    fn state_changed(&mut self, at: Time, name: &Text, now: Step, ended: Option<RecordId>) {
        let restarts = now.to == SubState::AutoRestart;
        let scheduled = match restarts && now.was_down() {
            true => self.schedule(at, name, None),
            false => None,
        };
        let (causes, certainty) = match scheduled {
            Some(record) => (vec![Cause { record, rule: None }], Certainty::Observed),
            None => self.causes_of_state(at, name, &now, ended),
        };
        let fact = now.fact();
        let certainty = if now.told { certainty } else { Certainty::Inferred };
        let record = self.record(at, Some(name), causes, certainty, fact);
        let us = at.monotonic_us;
        let Some(unit) = self.units.get_mut(name) else { return };
        unit.record = Some(record);
        if now.is_down() && (!now.was_down() || unit.down.is_none()) {
            unit.down = Some((us, record));
        }
        if is_up(now.to_active) && !is_up(now.from_active) {
            unit.up = Some((us, record));
            unit.scheduled = None;
        }
        let badly = now.result != UnitResult::Success || now.to_active == ActiveState::Failed;
        if now.is_down()
            && !now.was_down()
            && badly
            && let Some(invocation) = unit.invocation
        {
            let unit = name.clone();
            self.wanted.push_back(Wanted::LastWords { unit, invocation, record });
        }
        if restarts && scheduled.is_none() {
            self.schedule(at, name, Some(record));
        }
    }

    /// The unit will be started again.
    fn schedule(&mut self, at: Time, name: &Text, cause: Option<RecordId>) -> Option<RecordId> {
        let unit = self.units.get(name)?;
        let record = cause.or(unit.record)?;
        let service = unit.config.as_ref().and_then(|c| c.service());
        let delay_us = service.map_or(100_000, |s| s.restart_delay);
        let reason = RestartReason::Policy;
        let fact = Fact::RestartScheduled { reason, delay_us, restarts: unit.restarts };
        let rule = service.and_then(|s| unit.rule_with("Restart", s.restart.as_str()));
        let causes = vec![Cause { record, rule: rule.filter(|rule| rule.line != 0) }];
        let scheduled = self.record(at, Some(name), causes, Certainty::Observed, fact);
        self.units.get_mut(name)?.scheduled = Some(scheduled);
        Some(scheduled)
    }

    fn causes_of_state(
        &mut self,
        at: Time,
        name: &Text,
        now: &Step,
        ended: Option<RecordId>,
    ) -> (Vec<Cause>, Certainty) {
        let one = |record| vec![Cause { record, rule: None }];
        // The manager says so in the journal; its result says no less.
        if now.result == UnitResult::StartLimitHit && now.to_active == ActiveState::Failed {
            let refused = self.units.get(name).and_then(|u| u.refused);
            if refused.is_none_or(|(then, _)| then + 2_000_000 < at.monotonic_us) {
                let text = START_LIMIT.into();
                self.said(at, Message { unit: Some(name.clone()), text, ..Message::default() });
            }
            if let Some((_, record)) = self.units.get(name).and_then(|u| u.refused) {
                return (one(record), Certainty::Observed);
            }
        }
        if let Some(record) = ended {
            return (one(record), Certainty::Observed);
        }
        let job = self.last_job_of(name, at.monotonic_us).map(|j| (j.record, j.job_type, j.over.is_some()));
        let stops = |t: JobType| matches!(t, JobType::Stop | JobType::Restart | JobType::TryRestart);
        // A stop that was asked for explains every way down; a start explains only the way up.
        if now.goes_down() {
            if let Some((record, ..)) = job.filter(|(_, job_type, _)| stops(*job_type)) {
                return (one(record), Certainty::Observed);
            }
            if let Some(record) = self.ended_otherwise(at, name, now) {
                return (one(record), Certainty::Observed);
            }
            // That it was asked to start is no reason for it to fail.
            let process =
                matches!(now.result, UnitResult::ExitCode | UnitResult::Signal | UnitResult::CoreDump);
            if process && !self.sources.journal {
                let what = alloc::format!(
                    "{name} failed ({}): a process beside its main one ended so, which and how was not told",
                    now.result
                );
                let fact = Fact::Unknown { ruled_out: self.ruled_out(&what, at.monotonic_us).into() };
                let record = self.record(at, Some(name), Vec::new(), Certainty::Observed, fact);
                return (one(record), Certainty::Observed);
            }
        }
        if now.is_down()
            && let Some(unit) = self.units.get(name)
            && let Some(record) = unit.record
            && now.from_active == ActiveState::Deactivating
        {
            return (one(record), Certainty::Observed);
        }
        if let Some((record, ..)) = job {
            return (one(record), Certainty::Observed);
        }
        let triggers = matches!(name.rsplit('.').next(), Some("socket" | "timer" | "path"));
        if triggers && let Some(record) = self.of_triggered(name, at.monotonic_us) {
            return (one(record), Certainty::Inferred);
        }
        if name.ends_with(".device") {
            let there = is_up(now.to_active);
            let fact = Fact::Device { path: name.clone(), there };
            return (
                one(self.record(at, Some(name), Vec::new(), Certainty::Observed, fact)),
                Certainty::Observed,
            );
        }
        // A state that follows from the one before it.
        let before = self.units.get(name).and_then(|u| u.record);
        if let Some(record) = before.filter(|_| !now.was_down() && !now.goes_down() || !is_up(now.to_active))
        {
            return (one(record), Certainty::Inferred);
        }
        let what = alloc::format!("{name} became {} ({}) without a job", now.to_active, now.to);
        let fact = Fact::Unknown { ruled_out: self.ruled_out(&what, at.monotonic_us).into() };
        (one(self.record(at, Some(name), Vec::new(), Certainty::Observed, fact)), Certainty::Observed)
    }

    /// The last that happened to the unit that a socket, timer or path triggers.
    fn of_triggered(&self, name: &Text, at_us: u64) -> Option<RecordId> {
        let unit = self.units.get(name)?;
        let of = |other: &Text| {
            let job = self.last_job_of(other, at_us).map(|job| job.record);
            let state = self.units.get(other).and_then(|u| u.record);
            job.max(state)
        };
        unit.linked(&[K::Triggers]).filter_map(of).max()
    }

    /// What took a unit down that nobody stopped and whose main process did not end: a process beside it that
    /// failed, or something that took too long.
    fn ended_otherwise(&mut self, at: Time, name: &Text, now: &Step) -> Option<RecordId> {
        if matches!(now.result, UnitResult::Timeout | UnitResult::Watchdog) {
            return self.deadline_reached(at, name, now);
        }
        if let Some(control) = self.store.control(name, at.monotonic_us) {
            let role = super::exits::role(&control.command);
            let fact =
                Fact::ProcessExited { pid: control.pid, role, exit: control.exit, cpu_us: 0, peak_bytes: 0 };
            let rule = self.units.get(name).and_then(|u| u.rule(&control.command));
            let causes = self.units.get(name).and_then(|u| u.record).filter(|_| rule.is_some());
            let causes = causes.map(|record| Cause { record, rule }).into_iter().collect();
            return Some(self.record(at, Some(name), causes, Certainty::Observed, fact));
        }
        if self.store.oom(name, 0, at.monotonic_us) || now.result == UnitResult::OomKill {
            let fact = Fact::OomKill { kills: 1 };
            return Some(self.record(at, Some(name), Vec::new(), Certainty::Observed, fact));
        }
        None
    }

    /// Something took too long: which deadline that was is told by the state that it was reached in.
    pub(super) fn deadline_reached(&mut self, at: Time, name: &Text, now: &Step) -> Option<RecordId> {
        let text = self.store.timeout(name, at.monotonic_us).unwrap_or("");
        let unit = self.units.get(name)?;
        let service = unit.config.as_ref().and_then(|c| c.service());
        let (deadline, directive, after) = if now.result == UnitResult::Watchdog || text.contains("Watchdog")
        {
            (DeadlineKind::Watchdog, "WatchdogSec", service.map(|s| s.watchdog))
        } else if text.contains("runtime time limit") || text.contains("maximum runtime") {
            (DeadlineKind::RuntimeMax, "RuntimeMaxSec", service.map(|s| s.runtime_max))
        } else if now.from_active == ActiveState::Activating {
            (DeadlineKind::TimeoutStart, "TimeoutStartSec", service.map(|s| s.timeout_start))
        } else if now.from_active == ActiveState::Deactivating {
            (DeadlineKind::TimeoutStop, "TimeoutStopSec", service.map(|s| s.timeout_stop))
        } else {
            (DeadlineKind::RuntimeMax, "RuntimeMaxSec", service.map(|s| s.runtime_max))
        };
        let rule = unit.rule(directive);
        let rule =
            rule.or_else(|| directive.starts_with("Timeout").then(|| unit.rule("TimeoutSec")).flatten());
        let armed = unit.record.or(self.jobs_of(name).next().map(|(_, job)| job.record));
        let record = armed.unwrap_or(self.started);
        let after_us = after.filter(|after| *after != INFINITY).unwrap_or(0);
        let fact = Fact::DeadlineReached { deadline, after_us };
        Some(self.record(at, Some(name), vec![Cause { record, rule }], Certainty::Observed, fact))
    }

    /// The manager said why it does not start a unit.
    pub(super) fn said(&mut self, at: Time, message: Message) {
        let Some(name) = message.unit else { return };
        let job = self.last_job_of(&name, at.monotonic_us).map(|job| job.record);
        let Some(unit) = self.units.get(&name) else { return };
        let cause = job.or(unit.record);
        let (fact, rule) = if is_start_limit(&message.text) {
            let (burst, interval_us) = unit
                .config
                .as_ref()
                .map_or((5, 10_000_000), |c| (c.start_limit_burst, c.start_limit_interval));
            let rule = unit.rule("StartLimitBurst").or_else(|| unit.rule("StartLimitIntervalSec"));
            (Fact::StartLimitHit { burst, interval_us }, rule)
        } else if let Some((text, assert)) = condition(&message.text) {
            let directive = text.split('=').next().unwrap_or("").trim_start_matches('!');
            (Fact::ConditionFailed { condition: text.into(), assert }, unit.rule(directive))
        } else {
            return;
        };
        let causes = cause.map(|record| Cause { record, rule }).into_iter().collect();
        let record = self.record(at, Some(&name), causes, Certainty::Observed, fact);
        if let Some(unit) = self.units.get_mut(&name) {
            unit.refused = Some((at.monotonic_us, record));
            unit.record = Some(record);
        }
    }
}

fn is_good(exit: Exit) -> bool {
    exit == Exit { kind: ExitKind::Exited, status: 0 }
}
