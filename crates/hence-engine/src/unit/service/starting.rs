//! A service on its way up: condition, start-pre, start, start-post, running.

use super::{MainProcess, Said};
use crate::{Effect, Engine, UnitId};
use hence_ledger::{Cause, RecordId, SubState, UnitResult};
use hence_unit::config::{ExecPhase, ExitType, ServiceType};

impl Engine {
    pub(crate) fn here(record: RecordId) -> Cause {
        Cause { record, rule: None }
    }

    pub(super) fn enter_condition(&mut self, unit: UnitId, cause: Cause) {
        if self.service_config(unit).commands(ExecPhase::Condition).is_empty() {
            return self.enter_start_pre(unit, cause);
        }
        let record = self.service_state(unit, SubState::Condition, cause);
        self.run_control(unit, ExecPhase::Condition, 0, Self::here(record));
    }

    pub(super) fn enter_start_pre(&mut self, unit: UnitId, cause: Cause) {
        if self.service_config(unit).commands(ExecPhase::StartPre).is_empty() {
            return self.enter_start(unit, cause);
        }
        let record = self.service_state(unit, SubState::StartPre, cause);
        self.run_control(unit, ExecPhase::StartPre, 0, Self::here(record));
    }

    pub(super) fn enter_start(&mut self, unit: UnitId, cause: Cause) {
        let config = self.service_config(unit);
        let (service_type, timeout) = (config.service_type, config.timeout_start);
        let commands = config.commands(ExecPhase::Start).len();
        self.service_mut(unit).bus_name_owned = None;
        let record = self.service_state(unit, SubState::Start, cause);
        let cause = Self::here(record);
        match service_type {
            _ if commands == 0 => self.enter_start_post(unit, cause),
            ServiceType::Forking => self.run_control(unit, ExecPhase::Start, 0, cause),
            // No timeout: running applies RuntimeMaxSec=.
            ServiceType::Simple | ServiceType::Idle => self.run_main(unit, 0, cause),
            ServiceType::Exec
            | ServiceType::Oneshot
            | ServiceType::Dbus
            | ServiceType::Notify
            | ServiceType::NotifyReload => {
                self.run_main(unit, 0, cause);
                self.arm(unit, timeout);
            }
        }
    }

    pub(super) fn enter_start_post(&mut self, unit: UnitId, cause: Cause) {
        self.restart_watchdog(unit);
        if self.service_config(unit).commands(ExecPhase::StartPost).is_empty() {
            return self.enter_running(unit, UnitResult::Success, cause);
        }
        let record = self.service_state(unit, SubState::StartPost, cause);
        self.run_control(unit, ExecPhase::StartPost, 0, Self::here(record));
    }

    /// Running, or what follows from that it isn't.
    pub(super) fn enter_running(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let service = self.service_mut(unit);
        service.worsen(result);
        service.control = None;
        if service.result != UnitResult::Success {
            return self.enter_signal(unit, SubState::StopSigterm, UnitResult::Success, cause);
        }
        let said = service.said;
        let config = self.service_config(unit);
        let (remain, limit) = (config.remain_after_exit, config.runtime_max);
        if self.is_good(unit) {
            match said {
                Said::Reloading => {
                    self.service_state(unit, SubState::Reload, cause);
                    let timeout = self.service_config(unit).timeout_start;
                    self.arm(unit, timeout);
                }
                Said::Stopping => self.stop_by_notify(unit, cause),
                Said::Nothing | Said::Ready => {
                    self.service_state(unit, SubState::Running, cause);
                    self.arm(unit, limit);
                    // Without a main process only the group can say that it has ended.
                    if self.service_ref(unit).main_pid().is_none() {
                        self.effect(Effect::ReportEmpty(unit));
                    }
                }
            }
        } else if remain {
            self.service_state(unit, SubState::Exited, cause);
        } else {
            self.enter_stop(unit, UnitResult::Success, cause);
        }
    }

    /// A service that an earlier hence started is up, or still on its way there: what would be waited for
    /// is waited for.
    pub(crate) fn wait_for_resumed(&mut self, unit: UnitId) {
        let config = self.service_config(unit);
        let (start, limit, name) = (config.timeout_start, config.runtime_max, config.bus_name.clone());
        if self.service_ref(unit).sub == SubState::Start {
            self.service_mut(unit).said = Said::Nothing;
            self.arm(unit, start);
        } else {
            // Since when it ran before is on record; what is left of the time is not cut short for that.
            self.arm(unit, limit);
            self.restart_watchdog(unit);
        }
        if let Some(name) = name {
            self.effect(Effect::WatchName { unit, name });
        }
        if self.service_ref(unit).main_pid().is_none() {
            self.effect(Effect::ReportEmpty(unit));
        }
    }

    /// Whether what makes the service be up is there: its main process, else its group; and its name on the
    /// bus, if it is of Type=dbus.
    pub(super) fn is_good(&self, unit: UnitId) -> bool {
        let service = self.service_ref(unit);
        let group = !service.group_empty;
        if service.bus_name_owned == Some(false) {
            return false;
        }
        match service.main {
            MainProcess::Alive(_) => true,
            MainProcess::Ended => self.service_config(unit).exit_type == ExitType::Cgroup && group,
            MainProcess::Unknown => group,
        }
    }
}
