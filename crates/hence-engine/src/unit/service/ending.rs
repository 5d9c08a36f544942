//! A service on its way down: stop, the signal states, stop-post, dead, and the restart after it.

use super::{MainProcess, Said};
use crate::job::is_down;
use crate::restart::shall_restart;
use crate::unit::{Rules, kill};
use crate::{Effect, Engine, KillScope, UnitId};
use alloc::{boxed::Box, vec};
use hence_ledger::{Cause, DeadlineKind, Fact, JobType, RestartReason, SubState, UnitResult};
use hence_unit::config::{ExecPhase, JobMode, KillMode, Restart, RestartMode};

impl Engine {
    /// ExecStop=, then signals.
    pub(super) fn enter_stop(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let service = self.service_mut(unit);
        service.worsen(result);
        service.control = None;
        if self.service_config(unit).commands(ExecPhase::Stop).is_empty() {
            return self.enter_signal(unit, SubState::StopSigterm, UnitResult::Success, cause);
        }
        let record = self.service_state(unit, SubState::Stop, cause);
        self.run_control(unit, ExecPhase::Stop, 0, Self::here(record));
    }

    /// STOPPING=1: the service goes down by itself; it is given its time.
    pub(super) fn stop_by_notify(&mut self, unit: UnitId, cause: Cause) {
        self.service_mut(unit).said = Said::Stopping;
        let timeout = self.service_config(unit).timeout_stop;
        self.service_state(unit, SubState::StopSigterm, cause);
        self.arm(unit, timeout);
    }

    /// A signal state. Where nobody is left to signal, it falls through to what comes after it.
    pub(super) fn enter_signal(&mut self, unit: UnitId, state: SubState, result: UnitResult, cause: Cause) {
        self.service_mut(unit).worsen(result);
        self.service_mut(unit).awaiting = None;
        let mut state = state;
        loop {
            let service = self.service_ref(unit);
            let known = (service.main_pid(), service.control_pid());
            let group_empty = service.group_empty;
            let config = self.service_config(unit);
            let (settings, restarting) = (config.kill, self.is_restarting(unit));
            if let Some(plan) = kill::plan(&settings, state, restarting && state == SubState::StopSigterm) {
                if known.0.is_some() || known.1.is_some() {
                    let scope = if plan.group { KillScope::Group } else { KillScope::Known };
                    let record = self.enter_signal_state(unit, state, cause);
                    self.service_mut(unit).count_others = plan.group;
                    let cause = self.kill_cause(unit, &plan, record);
                    self.send(unit, &plan, known, 0, scope, cause);
                    return;
                }
                if plan.group && !group_empty {
                    self.service_mut(unit).awaiting = Some(Box::new((state, cause)));
                    self.effect(Effect::Census { unit, expected: vec![] });
                    return;
                }
            }
            state = match state {
                SubState::StopWatchdog | SubState::StopSigterm if settings.send_sigkill => {
                    SubState::StopSigkill
                }
                SubState::StopWatchdog | SubState::StopSigterm | SubState::StopSigkill => {
                    return self.enter_stop_post(unit, UnitResult::Success, cause);
                }
                SubState::FinalWatchdog | SubState::FinalSigterm if settings.send_sigkill => {
                    SubState::FinalSigkill
                }
                _ => return self.enter_dead(unit, UnitResult::Success, true, cause),
            };
        }
    }

    fn enter_signal_state(&mut self, unit: UnitId, state: SubState, cause: Cause) -> hence_ledger::RecordId {
        let config = self.service_config(unit);
        let timeout = match state {
            SubState::StopWatchdog | SubState::FinalWatchdog => {
                config.timeout_abort.unwrap_or(config.timeout_stop)
            }
            _ => config.timeout_stop,
        };
        let record = self.service_state(unit, state, cause);
        self.arm(unit, timeout);
        record
    }

    /// The census that a signal state waited for is there: `others` are left to be signalled.
    pub(crate) fn kill_after_census(&mut self, unit: UnitId, awaited: (SubState, Cause), others: u32) {
        let (state, cause) = awaited;
        let settings = self.service_config(unit).kill;
        let restarting = self.is_restarting(unit) && state == SubState::StopSigterm;
        match kill::plan(&settings, state, restarting) {
            Some(plan) if others > 0 => {
                let record = self.enter_signal_state(unit, state, cause);
                self.service_mut(unit).count_others = false;
                let cause = self.kill_cause(unit, &plan, record);
                self.send(unit, &plan, (None, None), others, KillScope::Others, cause);
            }
            _ => {
                self.service_mut(unit).group_empty = true;
                self.enter_signal(unit, state, UnitResult::Success, cause);
            }
        }
    }

    pub(super) fn enter_stop_post(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let service = self.service_mut(unit);
        service.worsen(result);
        service.control = None;
        if self.service_config(unit).commands(ExecPhase::StopPost).is_empty() {
            return self.enter_signal(unit, SubState::FinalSigterm, UnitResult::Success, cause);
        }
        let record = self.service_state(unit, SubState::StopPost, cause);
        self.run_control(unit, ExecPhase::StopPost, 0, Self::here(record));
    }

    /// Down. Decides whether it is started again; whoever is still in the group was left behind.
    pub(crate) fn enter_dead(&mut self, unit: UnitId, result: UnitResult, may_restart: bool, cause: Cause) {
        let stop_queued = self.is_to_stop(unit);
        let service = self.service_mut(unit);
        service.worsen(result);
        let may_restart = may_restart && !service.start_limit_hit;
        service.awaiting = None;
        let (result, main_exit) = (service.result, service.main_exit);
        let stop_requested = service.stop_requested;
        let to = match result {
            UnitResult::Success | UnitResult::ExecCondition => SubState::Dead,
            _ => SubState::Failed,
        };
        let policy = self.service_config(unit).restart;
        let (restart, reason) = match may_restart {
            true if stop_queued && !stop_requested => (false, RestartReason::StopQueued),
            true => shall_restart(self.service_config(unit), result, main_exit, stop_requested),
            false => (false, RestartReason::PolicyNo),
        };
        let ending = self.ending.is_some();
        let restart = restart && !ending;
        let was_up = !is_down(self.active_state(unit));
        let empty = self.service_ref(unit).group_empty;
        let invocation = self.units[unit.0 as usize].invocation;
        let direct = restart && self.restarts_directly(unit);
        self.service_mut(unit).will_restart = restart;
        // Directly: nobody sees it down.
        let dead = if direct { cause.record } else { self.service_state(unit, to, cause) };
        if self.service_ref(unit).main_pid().is_some() {
            // It goes on as one of those that are left behind (KillMode=none), and is nobody's main process.
            self.service_mut(unit).main = MainProcess::Unknown;
        }
        if was_up && !empty {
            self.service_mut(unit).left_by = Some(Box::new((invocation, dead)));
            self.effect(Effect::Census { unit, expected: vec![] });
        }
        if was_up
            && to == SubState::Failed
            && let Some(invocation) = invocation
        {
            self.effect(Effect::LastWords { unit, invocation, record: dead });
        }
        self.service_mut(unit).will_restart = false;
        if self.service_config(unit).fd_store_preserve == 0 {
            self.drop_all_descriptors(unit);
        }
        if restart {
            self.schedule_restart(unit, reason, dead);
        } else {
            self.service_mut(unit).flush_restarts = true;
            let unusual = !matches!(reason, RestartReason::PolicyNo | RestartReason::ManualStop);
            if policy != Restart::No && may_restart && unusual {
                let rule = match reason {
                    RestartReason::PreventExitStatus => {
                        self.units[unit.0 as usize].config.rule("RestartPreventExitStatus")
                    }
                    _ => None,
                };
                let cause = Cause { record: dead, rule };
                self.record(Some(unit), vec![cause], Fact::RestartRefused { reason });
            }
            self.release_if_down(unit);
        }
        self.service_mut(unit).stop_requested = false;
    }

    fn schedule_restart(&mut self, unit: UnitId, reason: RestartReason, dead: hence_ledger::RecordId) {
        let restarts = self.service_ref(unit).restarts;
        let (delay_us, grown) = crate::restart::delay(self.service_config(unit), restarts);
        let random_us = self.service_config(unit).restart_randomized_delay;
        let delay_us = delay_us.saturating_add(self.random_delay(unit, restarts.into(), random_us));
        let rule = match reason {
            RestartReason::ForceExitStatus => {
                self.units[unit.0 as usize].config.rule("RestartForceExitStatus")
            }
            _ => Some(self.restart_rule(unit)),
        };
        let fact = Fact::RestartScheduled { reason, delay_us, restarts };
        let record = self.record(Some(unit), vec![Cause { record: dead, rule }], fact);
        let by = self.units[unit.0 as usize].config.rule("RestartSteps").filter(|_| grown);
        let rule = by.unwrap_or_else(|| self.span_rule(unit, "RestartSec", delay_us));
        let cause = Cause { record, rule: Some(rule) };
        self.service_state(unit, SubState::AutoRestart, cause);
        self.arm(unit, delay_us);
    }

    /// RestartSec= is over: a restart job for the unit itself, which is what takes those along that
    /// require it.
    pub(super) fn restart_now(&mut self, unit: UnitId, after_us: u64) {
        if self.is_to_stop(unit) {
            return;
        }
        let own = Cause {
            record: self.units[unit.0 as usize].record,
            rule: Some(self.span_rule(unit, "RestartSec", after_us)),
        };
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::RestartDelay, after_us };
        let record = self.record(Some(unit), vec![own], fact);
        let cause = Cause { record, rule: Some(self.restart_rule(unit)) };
        // A restart would go on to those that require it.
        let job_type = if self.restarts_directly(unit) { JobType::Start } else { JobType::Restart };
        match self.add_job(job_type, unit, JobMode::Replace, vec![cause.clone()]) {
            Ok(_) => {
                let service = self.service_mut(unit);
                service.restarts = service.restarts.saturating_add(1);
                service.flush_restarts = false;
            }
            Err(refusal) => {
                let record = self.refused(Some(unit), vec![cause], &refusal);
                self.enter_dead(unit, UnitResult::Resources, false, Self::here(record));
            }
        }
    }

    /// RestartMode=direct
    fn restarts_directly(&self, unit: UnitId) -> bool {
        self.service_config(unit).restart_mode == RestartMode::Direct
    }

    /// The job of a service that waits to be restarted has ended some other way (cancelled, timed out): where
    /// RestartSec= is over, nothing else will start it.
    pub(crate) fn restart_given_up(&mut self, unit: UnitId, cause: Cause) {
        let service = self.service_ref(unit);
        if service.sub != SubState::AutoRestart || service.deadline.is_some() {
            return;
        }
        let failed = service.result != UnitResult::Success;
        self.service_state(unit, if failed { SubState::Failed } else { SubState::Dead }, cause);
        self.release_if_down(unit);
    }

    /// Whether stopping has to wait until the group is empty.
    pub(super) fn waits_for_group(&self, unit: UnitId) -> bool {
        matches!(self.service_config(unit).kill.mode, KillMode::ControlGroup | KillMode::Mixed)
    }
}
