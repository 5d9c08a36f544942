//! Timer units: systemd.timer(5), the monotonic expressions. OnCalendar= is the rows' "not yet".

use super::State;
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor, Deadlines};
use crate::job::{Performed, is_down};
use crate::{Engine, Time, UnitId};
use alloc::{format, vec};
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, Rule, SubState, UnitResult};
use hence_unit::{Atom, Kind, config::JobMode, config::TimerBase};

/// The machine of a timer.
#[derive(Debug)]
pub struct Timer {
    pub(crate) sub: SubState,
    pub(crate) result: UnitResult,
    /// When it is due, and the line that says so.
    due: Option<(Armed, Option<Rule>)>,
    /// When it last elapsed.
    pub last_trigger: Option<Time>,
}

impl Default for Timer {
    fn default() -> Self {
        Timer { sub: SubState::Dead, result: UnitResult::Success, due: None, last_trigger: None }
    }
}

carry_machine! { Timer { sub, result, due, last_trigger } }

impl Timer {
    /// When it is due, in microseconds of the monotonic clock.
    pub fn next_us(&self) -> Option<u64> {
        self.due.as_ref().map(|(armed, _)| armed.at_us())
    }

    pub(super) fn disarm(&mut self, deadlines: &mut Deadlines) {
        let mut armed = self.due.take().map(|(armed, _)| armed);
        deadlines.disarm(&mut armed);
    }
}

impl Engine {
    fn timer(&mut self, unit: UnitId) -> Option<&mut Timer> {
        match &mut self.units[unit.0 as usize].state {
            State::Timer(t) => Some(t),
            _ => None,
        }
    }

    fn timer_state(&mut self, unit: UnitId, to: SubState, cause: Cause) -> RecordId {
        let put = |state: &mut State| {
            if let State::Timer(t) = state {
                t.sub = to;
            }
        };
        self.set_state(unit, put, vec![cause], false, false)
    }

    /// It goes down with that result.
    fn timer_failed(&mut self, unit: UnitId, result: UnitResult, record: RecordId) {
        if let Some(timer) = self.timer(unit) {
            timer.result = result;
        }
        self.timer_state(unit, SubState::Failed, Cause { record, rule: None });
    }

    pub(crate) fn start_timer(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        if self.refuses_trigger(unit, cause) {
            return Performed::End(JobResult::Failed);
        }
        if let Err(record) = self.test_start_limit(unit, cause) {
            self.timer_failed(unit, UnitResult::StartLimitHit, record);
            return Performed::End(JobResult::Failed);
        }
        if let Some(timer) = self.timer(unit) {
            timer.result = UnitResult::Success;
            timer.last_trigger = None;
        }
        self.arm_timer(unit, cause.clone(), true);
        Performed::Begun
    }

    pub(crate) fn stop_timer(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        self.disarm_timer(unit);
        self.timer_state(unit, SubState::Dead, cause.clone());
        Performed::Begun
    }

    fn disarm_timer(&mut self, unit: UnitId) {
        let due = self.timer(unit).and_then(|t| t.due.take());
        let mut armed = due.map(|(armed, _)| armed);
        self.deadlines.disarm(&mut armed);
    }

    /// Finds the next moment and waits for it. `fresh`: OnActiveSec= counts from now.
    fn arm_timer(&mut self, unit: UnitId, cause: Cause, fresh: bool) {
        self.disarm_timer(unit);
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Timer(timer) = &config.kind else { return };
        let triggered = self.linked(unit, Atom::Triggers).first().map(|(u, _)| *u);
        let now_us = self.now.monotonic_us;
        let last_us = self.timer(unit).and_then(|t| t.last_trigger).map(|t| t.monotonic_us);
        let mut best = None;
        for line in &timer.elapse {
            let base = match line.base {
                TimerBase::Boot | TimerBase::Startup => self.base_us(line.base),
                TimerBase::Active if fresh => Some(now_us),
                TimerBase::Active => Some(self.units[unit.0 as usize].times.inactive_exit.monotonic_us),
                TimerBase::UnitActive => triggered.and_then(|u| {
                    let times = &self.units[u.0 as usize].times;
                    let at = times.active_enter.monotonic_us.max(times.inactive_exit.monotonic_us);
                    (at > 0).then_some(at).or(last_us)
                }),
                TimerBase::UnitInactive => triggered.and_then(|u| {
                    let at = self.units[u.0 as usize].times.inactive_enter.monotonic_us;
                    (at > 0).then_some(at).or(last_us)
                }),
            };
            let Some(at) = base.and_then(|b| b.checked_add(line.delay)) else { continue };
            let once = matches!(line.base, TimerBase::Active | TimerBase::Boot | TimerBase::Startup);
            // What lies in the past has elapsed already; on activation it elapses at once.
            if once && at <= now_us && !(fresh && line.base == TimerBase::Active) {
                continue;
            }
            if best.as_ref().is_none_or(|(b, _)| at < *b) {
                best = Some((at, line));
            }
        }
        let Some((at, line)) = best else {
            // What its unit's times set off may elapse again at any time.
            let by_unit = |base| matches!(base, TimerBase::UnitActive | TimerBase::UnitInactive);
            let remains = timer.remain_after_elapse || timer.elapse.iter().any(|line| by_unit(line.base));
            let to = if remains { SubState::Elapsed } else { SubState::Dead };
            self.timer_state(unit, to, cause);
            return;
        };
        let name = match line.base {
            TimerBase::Active => "OnActiveSec",
            TimerBase::Boot => "OnBootSec",
            TimerBase::Startup => "OnStartupSec",
            TimerBase::UnitActive => "OnUnitActiveSec",
            TimerBase::UnitInactive => "OnUnitInactiveSec",
        };
        let rule = Rule {
            directive: format!("{name}={}", super::span_text(line.delay)).into(),
            file: Some(line.place.file.clone()),
            line: line.place.line,
        };
        let after = at.saturating_sub(now_us);
        let armed = self.deadlines.arm(now_us, after, DeadlineFor::State(unit));
        if let Some(t) = self.timer(unit) {
            t.due = armed.map(|a| (a, Some(rule)));
        }
        self.timer_state(unit, SubState::Waiting, cause);
    }

    /// Waits for what the lines say that were read anew.
    pub(crate) fn rearm_timer(&mut self, unit: UnitId, cause: Cause) {
        self.arm_timer(unit, cause, false);
    }

    pub(crate) fn timer_deadline(&mut self, unit: UnitId, after_us: u64) {
        let rule = self.timer(unit).and_then(|t| t.due.take()).and_then(|(_, rule)| rule);
        let now = self.now;
        if let Some(t) = self.timer(unit) {
            t.last_trigger = Some(now);
        }
        let own = Cause { record: self.units[unit.0 as usize].record, rule };
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us };
        let record = self.record(Some(unit), vec![own], fact);
        let Some((other, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else {
            self.timer_failed(unit, UnitResult::Resources, record);
            return;
        };
        let cause = Cause { record, rule };
        match self.add_job(JobType::Start, other, JobMode::Replace, vec![cause.clone()]) {
            Ok(_) => {
                self.timer_state(unit, SubState::TriggerRunning, cause);
            }
            Err(refusal) => {
                let record = self.refused(Some(other), vec![cause], &refusal);
                self.timer_failed(unit, UnitResult::Resources, record);
            }
        }
    }

    /// The unit that the timer triggers changed its state.
    pub(crate) fn timer_sees_unit(&mut self, unit: UnitId, other: UnitId, record: RecordId) {
        let Some(sub) = self.timer(unit).map(|t| t.sub) else { return };
        let state = self.active_state(other);
        match sub {
            SubState::Waiting | SubState::Elapsed => {
                self.arm_timer(unit, Cause { record, rule: None }, false);
            }
            SubState::TriggerRunning if is_down(state) && self.units[other.0 as usize].job.is_none() => {
                self.arm_timer(unit, Cause { record, rule: None }, false);
            }
            _ => {}
        }
    }
}
