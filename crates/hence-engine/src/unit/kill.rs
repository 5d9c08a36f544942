//! Signals to a unit's processes: which, to whom, and the record of it. systemd.kill(5).

use super::{Rules, State};
use crate::{Effect, Engine, Kill, KillScope, Refusal, UnitId};
use alloc::vec;
use hence_ledger::{Cause, Fact, JobType, RecordId, SignalReason, SubState};
use hence_unit::config::{KillConfig, KillMode};

const SIGKILL: u8 = 9;
const SIGCONT: u8 = 18;

/// What a signal state does to the group.
pub(crate) struct Plan {
    pub signal: u8,
    pub reason: SignalReason,
    /// The whole group, not only main and control.
    pub group: bool,
    pub then_continue: bool,
    pub hangup: bool,
}

/// What the signal states send, and to whom. `None`: KillMode=none sends nothing.
pub(crate) fn plan(kill: &KillConfig, state: SubState, restarting: bool) -> Option<Plan> {
    if kill.mode == KillMode::None {
        return None;
    }
    let (signal, reason) = match state {
        SubState::StopWatchdog | SubState::FinalWatchdog => (kill.watchdog_signal, SignalReason::Watchdog),
        SubState::StopSigkill
        | SubState::StopPreSigkill
        | SubState::FinalSigkill
        | SubState::UnmountingSigkill
        | SubState::SwapDeactivatingSigkill => (kill.final_signal, SignalReason::Final),
        _ if restarting => (kill.restart_signal.unwrap_or(kill.signal), SignalReason::Stop),
        _ => (kill.signal, SignalReason::Stop),
    };
    let last = reason == SignalReason::Final;
    let group = kill.mode == KillMode::ControlGroup || (kill.mode == KillMode::Mixed && last);
    let gentle = reason == SignalReason::Stop;
    Some(Plan {
        signal,
        reason,
        group,
        then_continue: !last && !matches!(signal, SIGKILL | SIGCONT),
        hangup: kill.send_sighup && gentle && !restarting,
    })
}

impl Engine {
    /// Records a signal and has it sent.
    pub(crate) fn send(
        &mut self,
        unit: UnitId,
        plan: &Plan,
        (main, control): (Option<u32>, Option<u32>),
        others: u32,
        scope: KillScope,
        cause: Cause,
    ) -> RecordId {
        let fact = Fact::SignalSent {
            signal: plan.signal,
            reason: plan.reason,
            main: main.is_some(),
            control: control.is_some(),
            others,
        };
        let record = self.record(Some(unit), vec![cause], fact);
        match &mut self.units[unit.0 as usize].state {
            State::Service(s) => s.signal_record = Some(record),
            State::Socket(s) => s.commands.signal_record = Some(record),
            State::Mount(a) | State::Swap(a) => a.killed = Some(record),
            _ => {}
        }
        self.effect(Effect::Kill(Kill {
            unit,
            scope,
            main,
            control,
            signal: plan.signal,
            then_continue: plan.then_continue,
            hangup: plan.hangup,
            reason: plan.reason,
            report_empty: plan.group,
        }));
        record
    }

    /// The signal states' rule: which line says that this signal is sent.
    pub(crate) fn kill_cause(&self, unit: UnitId, plan: &Plan, record: RecordId) -> Cause {
        let config = &self.units[unit.0 as usize].config;
        let directive = match plan.reason {
            SignalReason::Final => "FinalKillSignal",
            SignalReason::Watchdog => "WatchdogSignal",
            _ => "KillSignal",
        };
        Cause { record, rule: config.rule(directive) }
    }

    /// Whether the unit's job is a restart, so that RestartKillSignal= applies.
    pub(crate) fn is_restarting(&self, unit: UnitId) -> bool {
        let job = self.units[unit.0 as usize].job;
        job.is_some_and(|j| matches!(self.jobs[&j].job_type, JobType::Restart | JobType::TryRestart))
    }

    /// How many processes beside main and control got the signal: recorded where there were any.
    pub(crate) fn killed(&mut self, unit: UnitId, others: u32, empty: bool) {
        if matches!(self.units[unit.0 as usize].state, State::Socket(_)) {
            return self.socket_killed(unit, others, empty);
        }
        if matches!(self.units[unit.0 as usize].state, State::Scope(_)) {
            return self.scope_killed(unit, empty);
        }
        let State::Service(s) = &mut self.units[unit.0 as usize].state else { return };
        let alone = s.is_alone();
        s.group_empty = empty && alone;
        let signal = s.signal_record;
        if others > 0
            && let Some(record) = signal
            && s.count_others
        {
            s.count_others = false;
            let kill = self.units[unit.0 as usize].config.service().map(|s| s.kill).unwrap_or_default();
            let state = self.units[unit.0 as usize].sub_state();
            if let Some(plan) = plan(&kill, state, false) {
                let (signal, reason) = (plan.signal, plan.reason);
                let fact = Fact::SignalSent { signal, reason, main: false, control: false, others };
                let record = self.record(Some(unit), vec![Cause { record, rule: None }], fact);
                if let State::Service(s) = &mut self.units[unit.0 as usize].state {
                    s.signal_record = Some(record);
                }
            }
        }
        if empty && alone {
            self.emptied(unit);
        }
    }

    /// A client's `kill`.
    pub(crate) fn request_kill(
        &mut self,
        unit: UnitId,
        (main, control, others): (bool, bool, bool),
        signal: u8,
        cause: &Cause,
    ) -> Result<(), Refusal> {
        let state = &self.units[unit.0 as usize].state;
        let attached = matches!(state, State::Mount(_) | State::Swap(_));
        if !(attached || matches!(state, State::Service(_) | State::Socket(_) | State::Scope(_))) {
            return Err(Refusal::NotSupported("Operation not supported".into()));
        }
        let (main_pid, control_pid) = self.known_processes(unit);
        if main && !others && !control && main_pid.is_none() {
            return Err(Refusal::NoSuchProcess("No main process to kill".into()));
        }
        if control && !others && !main && control_pid.is_none() {
            return Err(Refusal::NoSuchProcess("No control process to kill".into()));
        }
        let known = (main_pid.filter(|_| main), control_pid.filter(|_| control));
        let plan =
            Plan { signal, reason: SignalReason::Request, group: false, then_continue: false, hangup: false };
        let scope = if others { KillScope::Group } else { KillScope::Known };
        self.send(unit, &plan, known, 0, scope, cause.clone());
        Ok(())
    }

    /// hence was asked to end a second time.
    pub(crate) fn kill_service_now(&mut self, unit: UnitId, record: RecordId) {
        let known = self.known_processes(unit);
        let plan = Plan {
            signal: SIGKILL,
            reason: SignalReason::Final,
            group: true,
            then_continue: false,
            hangup: false,
        };
        let scope = match self.units[unit.0 as usize].config.kill().mode {
            KillMode::Process | KillMode::None => KillScope::Known,
            KillMode::ControlGroup | KillMode::Mixed => KillScope::Group,
        };
        self.send(unit, &plan, known, 0, scope, Cause { record, rule: None });
    }

    /// SIGKILL for a control process that takes too long.
    pub(crate) fn kill_control(&mut self, unit: UnitId, cause: Cause) {
        let (_, control) = self.known_processes(unit);
        let plan = Plan {
            signal: SIGKILL,
            reason: SignalReason::ReloadTimeout,
            group: false,
            then_continue: false,
            hangup: false,
        };
        self.send(unit, &plan, (None, control), 0, KillScope::Known, cause);
    }
}

/// For tests: every plan of a configuration, in the order of the signal states.
#[cfg(test)]
pub(crate) fn plans(kill: &KillConfig) -> alloc::vec::Vec<Option<(u8, bool)>> {
    [SubState::StopSigterm, SubState::StopSigkill, SubState::FinalSigterm, SubState::FinalSigkill]
        .into_iter()
        .map(|s| plan(kill, s, false).map(|p| (p.signal, p.group)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_which_signal() {
        let of = |mode| plans(&KillConfig { mode, ..KillConfig::default() });
        let group = [Some((15, true)), Some((9, true)), Some((15, true)), Some((9, true))];
        assert_eq!(of(KillMode::ControlGroup), group);
        let mixed = [Some((15, false)), Some((9, true)), Some((15, false)), Some((9, true))];
        assert_eq!(of(KillMode::Mixed), mixed);
        let process = [Some((15, false)), Some((9, false)), Some((15, false)), Some((9, false))];
        assert_eq!(of(KillMode::Process), process);
        assert_eq!(of(KillMode::None), [None, None, None, None]);
    }
}
