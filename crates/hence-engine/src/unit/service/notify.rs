//! What a service says of itself, what it no longer says, and the deadlines of its states.

use super::Said;
use crate::deadline::{DeadlineFor, Deadlines};
use crate::event::Notification;
use crate::unit::{Rules, State};
use crate::{Engine, UnitId};
use alloc::vec;
use hence_ledger::{Cause, DeadlineKind, Fact, RecordId, SubState, UnitResult};
use hence_unit::config::{NotifyAccess, OomPolicy, ServiceType, TimeoutFailureMode};

impl Engine {
    /// A message by sd_notify(3), if its sender may speak for the service (NotifyAccess=).
    pub(crate) fn notified(&mut self, unit: UnitId, pid: u32, uid: u32, message: Notification) {
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        let (main, control) = self.known_processes(unit);
        let may = match self.service_config(unit).notify_access {
            NotifyAccess::None => false,
            NotifyAccess::Main => main == Some(pid),
            NotifyAccess::Exec => main == Some(pid) || control == Some(pid),
            NotifyAccess::All => true,
        };
        let sub = self.service_ref(unit).sub;
        if !may || crate::engine::is_resting(sub) {
            return;
        }
        if let Some(status) = &message.status {
            self.service_mut(unit).status_text = Some(status.clone());
        }
        if let Some(errno) = message.errno {
            self.service_mut(unit).status_errno = errno;
        }
        if let Some(us) = message.watchdog_us {
            self.service_mut(unit).watchdog_us = Some(us);
            self.restart_watchdog(unit);
        }
        if message.watchdog {
            self.restart_watchdog(unit);
        }
        if let Some(us) = message.extend_timeout_us {
            self.extend_timeout(unit, us);
        }
        let new_main = message.main_pid.filter(|&p| Some(p) != main && Some(p) != control && p > 1);
        if let Some(new) = new_main
            && (uid == 0 || !self.processes.contains_key(&new))
        {
            let record = self.units[unit.0 as usize].record;
            self.adopt_main(unit, new, record);
        }
        if let Some(keeping) = &message.keeping {
            self.keep_or_drop(unit, pid, keeping);
        }
        self.act_on_message(unit, pid, &message);
    }

    fn act_on_message(&mut self, unit: UnitId, pid: u32, message: &Notification) {
        let sub = self.service_ref(unit).sub;
        let own = self.units[unit.0 as usize].record;
        let said = |engine: &mut Engine, text: &str| -> RecordId {
            let fact = Fact::Notified { message: text.into(), pid };
            engine.record(Some(unit), vec![Cause { record: own, rule: None }], fact)
        };
        if message.watchdog_trigger {
            let record = said(self, "WATCHDOG=trigger");
            self.enter_signal(unit, SubState::StopWatchdog, UnitResult::Watchdog, Self::here(record));
        } else if message.stopping {
            self.service_mut(unit).said = Said::Stopping;
            if sub == SubState::Running {
                let record = said(self, "STOPPING=1");
                self.stop_by_notify(unit, Self::here(record));
            }
        } else if message.ready {
            let was = core::mem::replace(&mut self.service_mut(unit).said, Said::Ready);
            let kind = self.service_config(unit).service_type;
            let waits = matches!(kind, ServiceType::Notify | ServiceType::NotifyReload);
            if sub == SubState::Start && waits {
                let record = said(self, "READY=1");
                self.enter_start_post(unit, Self::here(record));
            } else if sub == SubState::Reload
                && was == Said::Reloading
                && self.service_ref(unit).control.is_none()
            {
                let record = said(self, "READY=1");
                self.enter_running(unit, UnitResult::Success, Self::here(record));
            }
        } else if message.reloading {
            let asked = self.service_ref(unit).reload_asked;
            // One from before it was asked is about another reload.
            if asked.is_some_and(|since_us| message.monotonic_us.is_none_or(|at_us| at_us < since_us)) {
                return;
            }
            let service = self.service_mut(unit);
            service.said = Said::Reloading;
            service.reload_asked = None;
            if asked.is_some() {
                said(self, "RELOADING=1");
            }
            if sub == SubState::Running {
                let record = said(self, "RELOADING=1");
                self.service_state(unit, SubState::Reload, Self::here(record));
                let timeout = self.service_config(unit).timeout_start;
                self.arm(unit, timeout);
            }
        }
    }

    /// EXTEND_TIMEOUT_USEC=: only ever lengthens what is armed.
    fn extend_timeout(&mut self, unit: UnitId, us: u64) {
        let Some(armed) = self.service_ref(unit).deadline else { return };
        if self.now.monotonic_us.saturating_add(us) > armed.at_us() {
            self.arm(unit, us);
        }
    }

    /// The service has shown life: WatchdogSec= begins anew.
    pub(super) fn restart_watchdog(&mut self, unit: UnitId) {
        let us = self.service_ref(unit).watchdog_us.unwrap_or(self.service_config(unit).watchdog);
        let mut old = self.service_mut(unit).watchdog.take();
        self.deadlines.disarm(&mut old);
        if us > 0 {
            let armed = self.deadlines.arm(self.now.monotonic_us, us, DeadlineFor::Watchdog(unit));
            self.service_mut(unit).watchdog = armed;
        }
    }

    /// The unit's lines are others now: it has as long as they say, from when it last showed life. A service
    /// that was started without a watchdog knows of none; one that set its own keeps that.
    pub(crate) fn rearm_watchdog(&mut self, unit: UnitId) {
        let us = self.service_config(unit).watchdog;
        let service = self.service_ref(unit);
        let Some(armed) = service.watchdog.filter(|_| service.watchdog_us.is_none()) else { return };
        let Some(since_us) = self.deadlines.since_us(armed) else { return };
        self.deadlines.disarm(&mut Some(armed));
        let anew = |deadlines: &mut Deadlines| deadlines.arm(since_us, us, DeadlineFor::Watchdog(unit));
        self.service_mut(unit).watchdog = if us > 0 { anew(&mut self.deadlines) } else { None };
    }

    pub(crate) fn watchdog_deadline(&mut self, unit: UnitId, after_us: u64) {
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        self.service_mut(unit).watchdog = None;
        let rule = self.span_rule(unit, "WatchdogSec", after_us);
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: Some(rule) };
        let fact = Fact::DeadlineReached { deadline: DeadlineKind::Watchdog, after_us };
        let record = self.record(Some(unit), vec![cause], fact);
        self.enter_signal(unit, SubState::StopWatchdog, UnitResult::Watchdog, Self::here(record));
    }

    /// The deadline of the service's state; which directive set it, and what follows.
    pub(crate) fn service_deadline(&mut self, unit: UnitId, after_us: u64) {
        use SubState::*;
        self.service_mut(unit).deadline = None;
        let sub = self.service_ref(unit).sub;
        let (deadline, directive) = match sub {
            AutoRestart => return self.restart_now(unit, after_us),
            Condition | StartPre | Start | StartPost => (DeadlineKind::TimeoutStart, "TimeoutStartSec"),
            Running | Exited => (DeadlineKind::RuntimeMax, "RuntimeMaxSec"),
            Reload => (DeadlineKind::TimeoutReload, "TimeoutStartSec"),
            StopWatchdog | FinalWatchdog => (DeadlineKind::TimeoutAbort, "TimeoutAbortSec"),
            Cleaning => (DeadlineKind::TimeoutClean, "TimeoutCleanSec"),
            _ => (DeadlineKind::TimeoutStop, "TimeoutStopSec"),
        };
        let rule = self.span_rule(unit, directive, after_us);
        let own = Cause { record: self.units[unit.0 as usize].record, rule: Some(rule) };
        let record = self.record(Some(unit), vec![own], Fact::DeadlineReached { deadline, after_us });
        let cause = Self::here(record);
        self.service_mut(unit).awaiting = None;
        let config = self.service_config(unit);
        let (start_mode, stop_mode) = (config.timeout_start_failure_mode, config.timeout_stop_failure_mode);
        let sigkill = config.kill.send_sigkill;
        let timeout = UnitResult::Timeout;
        match sub {
            Condition | StartPre | Start | StartPost => self.time_out(unit, start_mode, false, cause),
            Stop => self.time_out(unit, stop_mode, false, cause),
            Running | Exited => self.enter_stop(unit, timeout, cause),
            Reload => {
                self.kill_control(unit, cause.clone());
                let service = self.service_mut(unit);
                service.reload_result = timeout;
                service.control = None;
                self.enter_running(unit, UnitResult::Success, cause);
            }
            Cleaning => self.cleaning_takes_too_long(unit, cause),
            StopSigterm if stop_mode == TimeoutFailureMode::Abort => {
                self.enter_signal(unit, StopWatchdog, timeout, cause);
            }
            StopSigterm | StopWatchdog if sigkill => self.enter_signal(unit, StopSigkill, timeout, cause),
            StopSigterm | StopWatchdog | StopSigkill => self.enter_stop_post(unit, timeout, cause),
            StopPost => self.time_out(unit, stop_mode, true, cause),
            FinalSigterm if stop_mode == TimeoutFailureMode::Abort => {
                self.enter_signal(unit, FinalWatchdog, timeout, cause);
            }
            FinalSigterm | FinalWatchdog if sigkill => self.enter_signal(unit, FinalSigkill, timeout, cause),
            FinalSigterm | FinalWatchdog => self.enter_dead(unit, timeout, false, cause),
            FinalSigkill => self.enter_dead(unit, timeout, true, cause),
            _ => {}
        }
    }

    /// TimeoutStartFailureMode= and TimeoutStopFailureMode=. `last`: ExecStopPost= is over.
    fn time_out(&mut self, unit: UnitId, mode: TimeoutFailureMode, last: bool, cause: Cause) {
        let sigkill = self.service_config(unit).kill.send_sigkill;
        let (term, abort, kill) = match last {
            true => (SubState::FinalSigterm, SubState::FinalWatchdog, SubState::FinalSigkill),
            false => (SubState::StopSigterm, SubState::StopWatchdog, SubState::StopSigkill),
        };
        let timeout = UnitResult::Timeout;
        match mode {
            TimeoutFailureMode::Terminate => self.enter_signal(unit, term, timeout, cause),
            TimeoutFailureMode::Abort => self.enter_signal(unit, abort, timeout, cause),
            TimeoutFailureMode::Kill if sigkill => self.enter_signal(unit, kill, timeout, cause),
            TimeoutFailureMode::Kill if last => self.enter_dead(unit, timeout, false, cause),
            TimeoutFailureMode::Kill => self.enter_stop_post(unit, timeout, cause),
        }
    }

    /// The kernel killed processes of the service for lack of memory; OOMPolicy=.
    pub(crate) fn oom_kill(&mut self, unit: UnitId, kills: u64) {
        let root = self.record(Some(unit), vec![], Fact::OomKill { kills });
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        let config = self.service_config(unit);
        let default = if config.resources.delegate { OomPolicy::Continue } else { OomPolicy::Stop };
        let policy = config.oom_policy.unwrap_or(default);
        let rule = self.units[unit.0 as usize].config.rule_with("OOMPolicy", policy.as_str());
        let cause = Cause { record: root, rule: Some(rule) };
        use SubState::*;
        let sub = self.service_ref(unit).sub;
        match (policy, sub) {
            (OomPolicy::Continue, _) => {}
            (OomPolicy::Kill, Condition | StartPre | Start | StartPost | Running | Reload) => {
                self.enter_signal(unit, StopSigkill, UnitResult::OomKill, cause);
            }
            (OomPolicy::Stop, Running | Exited) => self.enter_stop(unit, UnitResult::OomKill, cause),
            (OomPolicy::Stop, Condition | StartPre | Start | StartPost | Reload) => {
                self.enter_signal(unit, StopSigterm, UnitResult::OomKill, cause);
            }
            _ => self.service_mut(unit).worsen(UnitResult::OomKill),
        }
    }
}
