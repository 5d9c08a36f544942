//! Scopes: groups of processes that a client started and handed over. systemd.scope(5).
//!
//! A scope starts no process: it takes up those that came with its making, is up while one of them is
//! left, and signals them when it is stopped.

use super::{Rules, State, kill};
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor};
use crate::job::Performed;
use crate::{Adopted, Effect, Engine, KillScope, Refusal, UnitId};
use alloc::{boxed::Box, format, vec, vec::Vec};
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, ProcessRole, RecordId, SubState, Text, UnitResult};
use hence_unit::{
    Kind,
    config::{KillMode, ScopeConfig},
};

/// The machine of a scope.
#[derive(Debug)]
pub struct Scope {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// The processes that its start takes up.
    processes: Vec<u32>,
    /// Its start waits to hear which of them there are.
    taking_up: bool,
    deadline: Option<Armed>,
    /// The last signal that hence sent to it, or that its controller was asked.
    signal_record: Option<RecordId>,
    /// Controller=, as long as it is on the bus.
    controller: Option<Text>,
    /// The controller was asked to stop it, and no signal was sent so far.
    asked: bool,
}

impl Default for Scope {
    fn default() -> Self {
        Scope {
            sub: SubState::Dead,
            result: UnitResult::Success,
            processes: Vec::new(),
            taking_up: false,
            deadline: None,
            signal_record: None,
            controller: None,
            asked: false,
        }
    }
}

carry_machine! { Scope {
    sub, result, processes, taking_up, deadline, signal_record, controller, asked
} }

impl Scope {
    pub(crate) fn is_taking_up(&self) -> bool {
        self.taking_up
    }

    /// Who is asked to stop it, by a name on the bus.
    pub fn controller(&self) -> Option<&str> {
        self.controller.as_deref()
    }
}

impl Engine {
    fn scope(&mut self, unit: UnitId) -> Option<&mut Scope> {
        match &mut self.units[unit.0 as usize].state {
            State::Scope(scope) => Some(scope),
            _ => None,
        }
    }

    fn scope_config(&self, unit: UnitId) -> Box<ScopeConfig> {
        match &self.units[unit.0 as usize].config.kind {
            Kind::Scope(config) => config.clone(),
            _ => Box::default(),
        }
    }

    fn scope_state(&mut self, unit: UnitId, to: SubState, cause: Cause) -> RecordId {
        let mut deadline = self.scope(unit).and_then(|s| s.deadline.take());
        self.deadlines.disarm(&mut deadline);
        let put = |state: &mut State| {
            if let State::Scope(scope) = state {
                scope.sub = to;
            }
        };
        self.set_state(unit, put, vec![cause], false, false)
    }

    fn arm_scope(&mut self, unit: UnitId, after_us: u64) {
        let armed = self.deadlines.arm(self.now.monotonic_us, after_us, DeadlineFor::State(unit));
        if let Some(scope) = self.scope(unit) {
            scope.deadline = armed;
        }
    }

    /// The unit's lines are others now: what is armed counts from when the state began, by the new ones.
    pub(crate) fn rearm_scope(&mut self, unit: UnitId) {
        let config = self.scope_config(unit);
        let times = &self.units[unit.0 as usize].times;
        let (began, entered) = (times.state_change.monotonic_us, times.active_enter.monotonic_us);
        let Some(scope) = self.scope(unit) else { return };
        let (since, after_us) = match scope.sub {
            SubState::Running => (entered, config.runtime_max),
            SubState::StopSigterm | SubState::StopSigkill => (began, config.timeout_stop),
            _ => return,
        };
        let mut old = scope.deadline.take();
        self.deadlines.disarm(&mut old);
        let armed = self.deadlines.arm(since, after_us, DeadlineFor::State(unit));
        if let Some(scope) = self.scope(unit) {
            scope.deadline = armed;
        }
    }

    /// What a new scope takes up when it starts.
    pub(crate) fn scope_takes(&mut self, unit: UnitId, processes: Vec<u32>, controller: Option<Text>) {
        if let Some(scope) = self.scope(unit) {
            scope.processes = processes;
            scope.controller = controller;
        }
    }

    pub(crate) fn start_scope(&mut self, unit: UnitId) -> Performed {
        let Some(scope) = self.scope(unit) else { return Performed::End(JobResult::Failed) };
        if scope.taking_up {
            return Performed::Begun;
        }
        if matches!(scope.sub, SubState::StopSigterm | SubState::StopSigkill) {
            return Performed::Later;
        }
        let processes = core::mem::take(&mut scope.processes);
        if processes.is_empty() || scope.sub != SubState::Dead {
            // A scope can't be started anew: its processes were its client's.
            return Performed::End(JobResult::Failed);
        }
        scope.taking_up = true;
        scope.result = UnitResult::Success;
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        self.adopt(unit, None, "", processes);
        Performed::Begun
    }

    /// Has processes moved into a unit's group; `token`: of the request that is answered then.
    pub(crate) fn adopt(&mut self, unit: UnitId, token: Option<u64>, group: &str, processes: Vec<u32>) {
        let u = &self.units[unit.0 as usize];
        let invocation = u.invocation.unwrap_or_default();
        let config = u.config.clone();
        self.effect(Effect::Adopt { unit, config, invocation, token, group: group.into(), processes });
    }

    /// Processes were moved into a unit's group, or could not be.
    pub(crate) fn adopted(&mut self, unit: UnitId, token: Option<u64>, adopted: Adopted) {
        let u = &self.units[unit.0 as usize];
        let asked = match u.job {
            Some(job) if token.is_none() => self.jobs[&job].record,
            _ => u.adopting.unwrap_or(u.record),
        };
        let cause = Cause { record: asked, rule: None };
        let mut record = asked;
        let none = adopted.processes.is_empty();
        for process in &adopted.processes {
            let (pid, start_ticks) = (process.pid, process.start_ticks);
            let fact = Fact::ProcessStarted { pid, start_ticks, role: ProcessRole::Attached };
            record = self.record(Some(unit), vec![cause.clone()], fact);
        }
        let refusal = adopted.error.map(Refusal::Failed);
        if let Some(refusal) = refusal.as_ref().filter(|_| none || token.is_some()) {
            self.refused(Some(unit), vec![cause], refusal);
        }
        if let Some(token) = token {
            return self.effect(Effect::Reply { token, result: refusal.map_or(Ok(None), Err) });
        }
        let Some(scope) = self.scope(unit).filter(|scope| scope.taking_up) else { return };
        scope.taking_up = false;
        let cause = Cause { record, rule: None };
        if none {
            return self.scope_dead(unit, UnitResult::Resources, cause);
        }
        self.scope_state(unit, SubState::Running, cause);
        let longest = self.scope_config(unit).runtime_max;
        self.arm_scope(unit, longest);
        self.effect(Effect::ReportEmpty(unit));
        if let Some(name) = self.scope(unit).and_then(|scope| scope.controller.clone()) {
            self.effect(Effect::WatchName { unit, name: name.as_ref().into() });
        }
    }

    /// The name of a controller has this owner now. One that is gone is asked no more; where nobody could be
    /// asked, the processes are signalled.
    pub(crate) fn scope_controller(&mut self, unit: UnitId, name: &str, owned: Option<bool>) {
        let of_scope =
            |state: &State| matches!(state, State::Scope(scope) if scope.controller() == Some(name));
        if !self.units.get(unit.0 as usize).is_some_and(|u| of_scope(&u.state)) {
            return;
        }
        let record = self.units[unit.0 as usize].record;
        let Some(scope) = self.scope(unit) else { return };
        if owned == Some(false) {
            scope.controller = None;
        }
        let unheard = owned.is_none() && scope.asked && scope.sub == SubState::StopSigterm;
        if unheard {
            scope.asked = false;
            let config = self.scope_config(unit);
            match Self::scope_plan(&config, SubState::StopSigterm) {
                Some(plan) => self.scope_send(unit, &plan, record),
                None => self.scope_dead(unit, UnitResult::Success, Cause { record, rule: None }),
            }
        }
    }

    /// What a scope's processes are sent in this state. A scope has no main process: where only that one is
    /// signalled, nobody is.
    fn scope_plan(config: &ScopeConfig, to: SubState) -> Option<kill::Plan> {
        kill::plan(&config.kill, to, false).filter(|_| config.kill.mode == KillMode::ControlGroup)
    }

    fn scope_send(&mut self, unit: UnitId, plan: &kill::Plan, record: RecordId) {
        let cause = self.kill_cause(unit, plan, record);
        let sent = self.send(unit, plan, (None, None), 0, KillScope::Group, cause);
        if let Some(scope) = self.scope(unit) {
            scope.signal_record = Some(sent);
        }
    }

    pub(crate) fn stop_scope(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let sub = self.units[unit.0 as usize].sub_state();
        if matches!(sub, SubState::Running | SubState::Abandoned) {
            self.scope_signal(unit, SubState::StopSigterm, UnitResult::Success, cause.clone());
        }
        Performed::Begun
    }

    fn scope_signal(&mut self, unit: UnitId, to: SubState, result: UnitResult, cause: Cause) {
        if let Some(scope) = self.scope(unit)
            && scope.result == UnitResult::Success
        {
            scope.result = result;
        }
        let config = self.scope_config(unit);
        let controller = self.scope(unit).and_then(|scope| scope.controller.clone());
        if let Some(controller) = controller.filter(|_| to == SubState::StopSigterm) {
            return self.ask_controller(unit, controller, config.timeout_stop, cause);
        }
        let Some(plan) = Self::scope_plan(&config, to) else {
            return self.scope_dead(unit, UnitResult::Success, cause);
        };
        let record = self.scope_state(unit, to, cause);
        self.arm_scope(unit, config.timeout_stop);
        self.scope_send(unit, &plan, record);
    }

    /// Who made the scope knows better how its processes end; org.freedesktop.systemd1(5), "RequestStop".
    fn ask_controller(&mut self, unit: UnitId, controller: Text, timeout_us: u64, cause: Cause) {
        let record = self.scope_state(unit, SubState::StopSigterm, cause);
        self.arm_scope(unit, timeout_us);
        let cause = Cause { record, rule: None };
        let fact = Fact::StopAsked { controller: controller.clone() };
        let asked = self.record(Some(unit), vec![cause], fact);
        if let Some(scope) = self.scope(unit) {
            scope.signal_record = Some(asked);
            scope.asked = true;
        }
        self.effect(Effect::RequestStop { unit, controller: controller.as_ref().into() });
    }

    /// The answer to a signal of a scope: nobody may have been left to get it.
    pub(crate) fn scope_killed(&mut self, unit: UnitId, empty: bool) {
        if empty {
            self.scope_emptied(unit);
        }
    }

    /// The last process of a scope is gone.
    pub(crate) fn scope_emptied(&mut self, unit: UnitId) {
        let record = self.units[unit.0 as usize].record;
        let Some(scope) = self.scope(unit).filter(|scope| !scope.taking_up) else { return };
        let cause = Cause { record: scope.signal_record.unwrap_or(record), rule: None };
        match scope.sub {
            SubState::Dead | SubState::Failed => {
                self.effect(Effect::Release { unit, keep_directories: false });
            }
            _ => self.scope_dead(unit, UnitResult::Success, cause),
        }
    }

    fn scope_dead(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let Some(scope) = self.scope(unit) else { return };
        if scope.result == UnitResult::Success {
            scope.result = result;
        }
        let failed = scope.result != UnitResult::Success;
        scope.signal_record = None;
        let dead = self.scope_state(unit, if failed { SubState::Failed } else { SubState::Dead }, cause);
        // Whoever is still there was left behind; the census says who.
        self.units[unit.0 as usize].adopting = Some(dead);
        self.effect(Effect::Census { unit, expected: vec![] });
        self.effect(Effect::Release { unit, keep_directories: false });
    }

    pub(crate) fn scope_deadline(&mut self, unit: UnitId, after_us: u64) {
        let config = self.scope_config(unit);
        let sub = self.units[unit.0 as usize].sub_state();
        let (deadline, directive) = match sub {
            SubState::Running | SubState::Abandoned => (DeadlineKind::RuntimeMax, "RuntimeMaxSec"),
            _ => (DeadlineKind::TimeoutStop, "TimeoutStopSec"),
        };
        let u = &self.units[unit.0 as usize];
        let rule = u.config.rule_with(directive, &super::span_text(after_us));
        let causes = vec![Cause { record: u.record, rule: Some(rule) }];
        let record = self.record(Some(unit), causes, Fact::DeadlineReached { deadline, after_us });
        let cause = Cause { record, rule: None };
        match sub {
            SubState::Running | SubState::Abandoned => {
                self.scope_signal(unit, SubState::StopSigterm, UnitResult::Timeout, cause);
            }
            SubState::StopSigterm if config.kill.send_sigkill => {
                self.scope_signal(unit, SubState::StopSigkill, UnitResult::Timeout, cause);
            }
            SubState::StopSigterm | SubState::StopSigkill => {
                self.scope_dead(unit, UnitResult::Timeout, cause);
            }
            _ => {}
        }
    }

    /// A client leaves the scope to itself.
    pub(crate) fn abandon(&mut self, unit: UnitId, cause: &Cause) -> Result<(), Refusal> {
        let u = &self.units[unit.0 as usize];
        let name = u.name();
        match &u.state {
            State::Scope(scope) if scope.sub == SubState::Running => {
                let left = scope.deadline.map(Armed::at_us);
                self.scope_state(unit, SubState::Abandoned, cause.clone());
                // RuntimeMaxSec= counts from the start.
                if let Some(at_us) = left {
                    self.arm_scope(unit, at_us.saturating_sub(self.now.monotonic_us));
                }
                Ok(())
            }
            State::Scope(scope) if scope.sub == SubState::Abandoned => Ok(()),
            State::Scope(_) => {
                let text = format!("Scope {name} is not running, cannot abandon.");
                Err(Refusal::ScopeNotRunning(text.into()))
            }
            _ => Err(Refusal::NotSupported(format!("Unit {name} is not a scope.").into())),
        }
    }

    /// hence was asked to end a second time.
    pub(crate) fn kill_scope_now(&mut self, unit: UnitId, record: RecordId) {
        self.scope_signal(unit, SubState::StopSigkill, UnitResult::Success, Cause { record, rule: None });
    }
}
