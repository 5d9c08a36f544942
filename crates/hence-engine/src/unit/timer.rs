//! Timer units: systemd.timer(5). When a calendar's line is due is the host's to say, who knows the time
//! zones; it is waited for on the monotonic clock, and asked for anew when the wall clock jumps.

use super::{Rules, State};
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor, Deadlines};
use crate::job::{Performed, is_down};
use crate::{Effect, Engine, Time, UnitId};
use alloc::{format, vec};
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, Rule, SubState, UnitResult};
use hence_unit::{
    Atom, Kind,
    config::{JobMode, TimerBase, TimerCalendar, TimerElapse},
};

/// The machine of a timer.
#[derive(Clone, Debug)]
pub struct Timer {
    pub(crate) sub: SubState,
    pub(crate) result: UnitResult,
    /// When it is due, and the line that says so.
    due: Option<(Armed, Option<Rule>)>,
    /// When it last elapsed.
    pub last_trigger: Option<Time>,
    /// When it is due by the wall clock, in microseconds since 1970, where a calendar's line is next.
    due_realtime_us: Option<u64>,
    /// Why it is to wait, and whether its start is; until it is known when its calendar's lines are due.
    asks: Option<(Cause, bool)>,
}

impl Default for Timer {
    fn default() -> Self {
        Timer {
            sub: SubState::Dead,
            result: UnitResult::Success,
            due: None,
            last_trigger: None,
            due_realtime_us: None,
            asks: None,
        }
    }
}

carry_machine! { Timer { sub, result, due, last_trigger, due_realtime_us } }

impl Timer {
    /// When it is due, in microseconds of the monotonic clock.
    pub fn next_us(&self) -> Option<u64> {
        self.due.as_ref().map(|(armed, _)| armed.at_us())
    }

    /// When it is due by a calendar's line, in microseconds since 1970.
    pub fn next_realtime_us(&self) -> Option<u64> {
        self.due_realtime_us
    }

    pub(super) fn disarm(&mut self, deadlines: &mut Deadlines) {
        let mut armed = self.due.take().map(|(armed, _)| armed);
        deadlines.disarm(&mut armed);
    }
}

/// The rule of an On...Sec= line.
fn base_rule(line: &TimerElapse) -> Rule {
    let name = match line.base {
        TimerBase::Active => "OnActiveSec",
        TimerBase::Boot => "OnBootSec",
        TimerBase::Startup => "OnStartupSec",
        TimerBase::UnitActive => "OnUnitActiveSec",
        TimerBase::UnitInactive => "OnUnitInactiveSec",
    };
    let directive = format!("{name}={}", super::span_text(line.delay)).into();
    Rule { directive, file: Some(line.place.file.clone()), line: line.place.line }
}

/// The rule of an OnCalendar= line.
fn calendar_rule(line: &TimerCalendar) -> Rule {
    let directive = format!("OnCalendar={}", line.expression).into();
    Rule { directive, file: Some(line.place.file.clone()), line: line.place.line }
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
        if let Err(record) = self.test_start_limit(unit, cause) {
            self.timer_failed(unit, self.limited_result(unit), record);
            return Performed::End(JobResult::Failed);
        }
        if self.refuses_trigger(unit, cause) {
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
        let due = self.timer(unit).and_then(|t| {
            (t.due_realtime_us, t.asks) = (None, None);
            t.due.take()
        });
        let mut armed = due.map(|(armed, _)| armed);
        self.deadlines.disarm(&mut armed);
    }

    /// Finds the next moment and waits for it. `fresh`: OnActiveSec= counts from now.
    fn arm_timer(&mut self, unit: UnitId, cause: Cause, fresh: bool) {
        self.disarm_timer(unit);
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Timer(timer) = &config.kind else { return };
        if timer.on_timezone_change || !timer.calendar.is_empty() {
            self.effect(Effect::WatchTimeZone);
        }
        if timer.calendar.is_empty() {
            return self.wait_for_timer(unit, cause, fresh, None);
        }
        let up_us = self.units[unit.0 as usize].times.inactive_exit.realtime_us;
        let since_us = if fresh || up_us == 0 { self.now.realtime_us } else { up_us };
        let stamp = fresh && timer.persistent;
        let Some(t) = self.timer(unit) else { return };
        t.asks = Some((cause, fresh));
        let after_us = t.last_trigger.map_or(since_us, |t| t.realtime_us);
        self.effect(Effect::NextElapse { unit, config, after_us, stamp });
    }

    /// The host says when the calendar's lines are due.
    pub(crate) fn calendar_told(&mut self, unit: UnitId, stamp_us: Option<u64>, next: Option<(u64, u16)>) {
        let Some((cause, fresh)) = self.timer(unit).and_then(|t| t.asks.take()) else { return };
        let config = self.units[unit.0 as usize].config.clone();
        if let (Some(realtime_us), Some(t)) = (stamp_us, self.timer(unit)) {
            t.last_trigger = Some(Time { realtime_us, monotonic_us: 0 });
        } else if fresh && matches!(&config.kind, Kind::Timer(timer) if timer.persistent) {
            self.effect(Effect::Stamp { config, realtime_us: self.now.realtime_us });
        }
        self.wait_for_timer(unit, cause, fresh, next);
    }

    /// The wall clock jumped, or the time zone is another one: what waits for that elapses, and what waits
    /// for a time by the clock is asked for anew.
    pub(crate) fn clock_changed(&mut self, fact: Fact) {
        let zone = matches!(fact, Fact::TimeZoneChanged { .. });
        let record = self.record(None, vec![], fact);
        let waits =
            |unit: &&crate::Unit| matches!(&unit.state, State::Timer(t) if t.sub == SubState::Waiting);
        let waiting: alloc::vec::Vec<UnitId> = self.units().filter(waits).map(|unit| unit.id).collect();
        for unit in waiting {
            let config = self.units[unit.0 as usize].config.clone();
            let Kind::Timer(timer) = &config.kind else { continue };
            let (name, elapses) = match zone {
                true => ("OnTimezoneChange", timer.on_timezone_change),
                false => ("OnClockChange", timer.on_clock_change),
            };
            if elapses {
                self.disarm_timer(unit);
                let now = self.now;
                if let Some(t) = self.timer(unit) {
                    t.last_trigger = Some(now);
                }
                self.trigger(unit, Cause { record, rule: config.rule(name) });
            } else if !timer.calendar.is_empty() {
                self.arm_timer(unit, Cause { record, rule: None }, false);
            }
        }
    }

    /// How much later it elapses: RandomizedDelaySec=, by chance, but the same in the same run.
    pub(super) fn random_delay(&self, unit: UnitId, due_us: u64, most_us: u64) -> u64 {
        let name = self.units[unit.0 as usize].name().as_str().bytes();
        let text = self.settings.seed.into_iter().chain(name).chain(due_us.to_le_bytes());
        // FNV-1a.
        let hash = text.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        if most_us == 0 { 0 } else { (hash ^ hash >> 32) % most_us }
    }

    /// Waits for what is next: a line that counts from a moment, or the calendar's that is due.
    fn wait_for_timer(&mut self, unit: UnitId, cause: Cause, fresh: bool, next: Option<(u64, u16)>) {
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Timer(timer) = &config.kind else { return };
        let triggered = self.linked(unit, Atom::Triggers).first().map(|(u, _)| *u);
        let now_us = self.now.monotonic_us;
        let last = self.timer(unit).and_then(|t| t.last_trigger);
        let last_us = last.map(|t| t.monotonic_us).filter(|at| *at > 0);
        let mut best = None;
        for line in &timer.elapse {
            let base = match line.base {
                TimerBase::Boot | TimerBase::Startup => self.base_us(line.base),
                TimerBase::Active if fresh => Some(now_us),
                TimerBase::Active => Some(self.units[unit.0 as usize].times.inactive_exit.monotonic_us),
                // What it triggered may not have moved: a start limit, a condition. Then it counts from that.
                TimerBase::UnitActive => triggered.and_then(|u| {
                    let times = &self.units[u.0 as usize].times;
                    let at = times.active_enter.monotonic_us.max(times.inactive_exit.monotonic_us);
                    last_us.max((at > 0).then_some(at))
                }),
                TimerBase::UnitInactive => triggered.and_then(|u| {
                    let at = self.units[u.0 as usize].times.inactive_enter.monotonic_us;
                    last_us.max((at > 0).then_some(at))
                }),
            };
            let Some(at) = base.and_then(|b| b.checked_add(line.delay)) else { continue };
            let once = matches!(line.base, TimerBase::Active | TimerBase::Boot | TimerBase::Startup);
            // What lies in the past has elapsed already, where the timer has elapsed at all since it is up.
            let past = if fresh { at < now_us } else { at <= now_us };
            if once && past && last.is_some() {
                continue;
            }
            if best.as_ref().is_none_or(|(b, _)| at < *b) {
                best = Some((at, line));
            }
        }
        let by_line = best.map(|(at, line)| (at, base_rule(line)));
        let by_calendar = next.and_then(|(due_us, nth)| {
            let line = timer.calendar.get(usize::from(nth))?;
            // What should have been meanwhile is made up for now.
            let late_us = due_us.saturating_sub(self.now.realtime_us);
            Some((now_us.saturating_add(late_us), due_us, calendar_rule(line)))
        });
        let (at, due_realtime_us, rule) = match (by_line, by_calendar) {
            (Some((at, rule)), Some((due, ..))) if at <= due => (at, None, rule),
            (_, Some((at, due_us, rule))) => (at, Some(due_us), rule),
            (Some((at, rule)), None) => (at, None, rule),
            (None, None) if timer.on_clock_change || timer.on_timezone_change => {
                self.timer_state(unit, SubState::Waiting, cause);
                return;
            }
            (None, None) => {
                // What its unit's times set off may elapse again at any time.
                let by_unit = |base| matches!(base, TimerBase::UnitActive | TimerBase::UnitInactive);
                let remains = timer.remain_after_elapse || timer.elapse.iter().any(|line| by_unit(line.base));
                let to = if remains { SubState::Elapsed } else { SubState::Dead };
                self.timer_state(unit, to, cause);
                return;
            }
        };
        let delay_us = match timer.fixed_random_delay {
            Some(fixed) => fixed.checked_rem(timer.randomized_delay).unwrap_or(0),
            None => self.random_delay(unit, due_realtime_us.unwrap_or(at), timer.randomized_delay),
        };
        let after = at.saturating_sub(now_us).saturating_add(delay_us);
        let armed = self.deadlines.arm(now_us, after, DeadlineFor::State(unit));
        if let Some(t) = self.timer(unit) {
            t.due = armed.map(|a| (a, Some(rule)));
            t.due_realtime_us = due_realtime_us.map(|due_us| due_us.saturating_add(delay_us));
        }
        self.timer_state(unit, SubState::Waiting, cause);
    }

    /// Waits for what the lines say that were read anew.
    pub(crate) fn rearm_timer(&mut self, unit: UnitId, cause: Cause) {
        self.arm_timer(unit, cause, false);
    }

    pub(crate) fn timer_deadline(&mut self, unit: UnitId, after_us: u64) {
        let rule = self.timer(unit).and_then(|t| t.due.take()).and_then(|(_, rule)| rule);
        if self.is_to_stop(unit) {
            return;
        }
        let mut now = self.now;
        if let Some(t) = self.timer(unit) {
            // The clocks may differ by a little: what was due is not due once more.
            now.realtime_us = now.realtime_us.max(t.due_realtime_us.take().unwrap_or(0));
            t.last_trigger = Some(now);
        }
        let config = self.units[unit.0 as usize].config.clone();
        if matches!(&config.kind, Kind::Timer(timer) if timer.persistent && !timer.calendar.is_empty()) {
            self.effect(Effect::Stamp { config, realtime_us: now.realtime_us });
        }
        let own = Cause { record: self.units[unit.0 as usize].record, rule };
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::Timer, after_us };
        let record = self.record(Some(unit), vec![own], fact);
        self.trigger(unit, Cause { record, rule: None });
    }

    /// It elapses, for that reason: its unit is started.
    fn trigger(&mut self, unit: UnitId, why: Cause) {
        let record = why.record;
        let Some((other, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else {
            self.timer_failed(unit, UnitResult::Resources, record);
            return;
        };
        let cause = Cause { record, rule: why.rule.or(rule) };
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
