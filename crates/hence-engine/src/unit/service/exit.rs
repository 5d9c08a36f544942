//! What the starts and ends of its processes mean for a service.

use super::{ControlProcess, MainProcess};
use crate::job::is_down;
use crate::restart::result_of;
use crate::unit::{State, status_of};
use crate::{Effect, Engine, ExecId, UnitId};
use alloc::{boxed::Box, format, vec, vec::Vec};
use hence_ledger::{
    Cause, Exit, ExitKind, Fact, ProcessRole, RecordId, SpawnStep, SubState, Text, UnitResult,
};
use hence_unit::config::{ExecPhase, ExitType, NotifyAccess, ServiceType};

impl Engine {
    /// A process of the service was started.
    pub(crate) fn service_spawned(
        &mut self,
        unit: UnitId,
        exec: ExecId,
        (pid, start_ticks): (u32, u64),
        executed: bool,
    ) {
        let now = self.now;
        let service = self.service_mut(unit);
        service.born = true;
        let main = service.main_start == Some(exec);
        if main {
            service.main_start = None;
            service.main = MainProcess::Alive(pid);
            service.last_main_pid = pid;
            service.main_started = now;
        } else if service.control_start == Some(exec) {
            service.control_start = None;
            if let Some(control) = &mut service.control {
                control.pid = Some(pid);
            }
        }
        let role = self.role_of(unit, main);
        let cause = Self::here(self.units[unit.0 as usize].record);
        let fact = Fact::ProcessStarted { pid, start_ticks, role };
        let record = self.record(Some(unit), vec![cause], fact);
        if main && is_down(self.active_state(unit)) {
            // Stopped before this was known, and nothing was to be killed.
            let left_by = (self.units[unit.0 as usize].invocation, record);
            let service = self.service_mut(unit);
            service.group_empty = false;
            service.left_by.get_or_insert_with(|| Box::new(left_by));
            self.effect(Effect::Census { unit, expected: vec![] });
        }
        if !main || self.service_ref(unit).sub != SubState::Start {
            return;
        }
        match self.service_config(unit).service_type {
            ServiceType::Exec if !executed => {}
            ServiceType::Simple | ServiceType::Idle | ServiceType::Exec => {
                self.enter_start_post(unit, Self::here(record));
            }
            ServiceType::Dbus => {
                let name = self.service_config(unit).bus_name.clone().unwrap_or_default();
                self.effect(Effect::WatchName { unit, name });
            }
            ServiceType::Oneshot | ServiceType::Notify | ServiceType::NotifyReload | ServiceType::Forking => {
            }
        }
    }

    /// A process became its program: what Type=exec waits for.
    pub(crate) fn executed(&mut self, pid: u32) {
        let Some(&unit) = self.processes.get(&pid) else { return };
        let State::Service(service) = &self.units[unit.0 as usize].state else { return };
        let starts = service.sub == SubState::Start && service.main_pid() == Some(pid);
        if starts && self.service_config(unit).service_type == ServiceType::Exec {
            self.enter_start_post(unit, Self::here(self.units[unit.0 as usize].record));
        }
    }

    fn role_of(&self, unit: UnitId, main: bool) -> ProcessRole {
        match self.service_ref(unit).control {
            Some(control) if !main => role(control.phase),
            _ => ProcessRole::Main,
        }
    }

    /// A process of the service could not be started. What never became its program counts as one that
    /// ended with systemd's exit status for that; what could not even be forked is `resources`.
    pub(crate) fn service_spawn_failed(
        &mut self,
        unit: UnitId,
        exec: ExecId,
        step: SpawnStep,
        errno: i32,
        subject: Text,
    ) {
        let service = self.service_mut(unit);
        let main = service.main_start == Some(exec);
        let of_role = self.role_of(unit, main);
        let cause = Self::here(self.units[unit.0 as usize].record);
        let fact = Fact::SpawnFailed { role: of_role, step, errno, subject };
        let record = self.record(Some(unit), vec![cause], fact);
        let service = self.service_mut(unit);
        if main {
            service.main_start = None;
        } else {
            service.control_start = None;
        }
        if let Some(status) = status_of(step) {
            self.service_mut(unit).born = true;
            let exit = Exit { kind: ExitKind::Exited, status };
            if main {
                self.main_exited(unit, exit, Self::here(record));
            } else {
                self.control_exited(unit, exit, Self::here(record));
            }
            return;
        }
        let phase = self.service_mut(unit).control.take().map(|c| c.phase);
        let (cause, failed) = (Self::here(record), UnitResult::Resources);
        match phase.filter(|_| !main) {
            // systemd leaves alone what earlier commands of these phases left running.
            Some(ExecPhase::Condition | ExecPhase::StartPre) => {
                self.enter_signal(unit, SubState::FinalSigterm, failed, cause);
            }
            Some(ExecPhase::Reload) => {
                self.service_mut(unit).reload_result = failed;
                self.enter_running(unit, UnitResult::Success, cause);
            }
            Some(ExecPhase::StartPost) => self.enter_stop(unit, failed, cause),
            Some(ExecPhase::StopPost) => self.enter_signal(unit, SubState::FinalSigterm, failed, cause),
            Some(ExecPhase::Stop | ExecPhase::Start) | None => {
                self.enter_signal(unit, SubState::StopSigterm, failed, cause);
            }
        }
    }

    /// A main or control process ended.
    pub(crate) fn service_exited(
        &mut self,
        unit: UnitId,
        pid: u32,
        exit: Option<Exit>,
        cpu_us: u64,
        peak_bytes: u64,
        spawn_error: Option<(SpawnStep, i32)>,
    ) {
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        let service = self.service_ref(unit);
        let main = service.main_pid() == Some(pid);
        if !main && service.control_pid() != Some(pid) {
            return;
        }
        let role = self.role_of(unit, main);
        // Where hence isn't the parent the status is lost: an end without one counts as clean.
        let known = exit.unwrap_or(Exit { kind: ExitKind::Exited, status: 0 });
        let mut causes: Vec<Cause> = Vec::new();
        if let Some(record) = self.service_ref(unit).signal_record {
            causes.push(Self::here(record));
        }
        let starting = matches!(
            self.service_ref(unit).sub,
            SubState::Condition | SubState::StartPre | SubState::Start | SubState::StartPost
        );
        if causes.is_empty() && starting && known == (Exit { kind: ExitKind::Exited, status: 0 }) {
            // What goes well on the way up is no reason of its own: whoever asked for the start is.
            causes.push(Self::here(self.units[unit.0 as usize].record));
        }
        if let Some((step, errno)) = spawn_error {
            let failed = Fact::SpawnFailed { role, step, errno, subject: self.subject_of(unit, main, step) };
            let before = self.before_failure(unit);
            let record = self.record(Some(unit), vec![before], failed);
            causes.push(Self::here(record));
        }
        let fact = Fact::ProcessExited { pid, role, exit: known, cpu_us, peak_bytes };
        let record = self.record(Some(unit), causes, fact);
        if exit.is_none() {
            self.only_inferred(record);
        }
        let cause = self.with_refusal(unit, known, Self::here(record));
        if main {
            self.main_exited(unit, known, cause);
        } else {
            self.control_exited(unit, known, cause);
        }
    }

    /// On what a step of starting a process failed.
    fn subject_of(&self, unit: UnitId, main: bool, step: SpawnStep) -> Text {
        let context = &self.service_config(unit).context;
        let named = match step {
            SpawnStep::Chdir => &context.working_directory,
            SpawnStep::User if context.user.is_some() => &context.user,
            SpawnStep::User => &context.group,
            SpawnStep::Filter | SpawnStep::Credentials | SpawnStep::Attributes => {
                return self.directives_of(unit, step).unwrap_or_else(|| self.command_of(unit, main));
            }
            _ => &None,
        };
        named.as_deref().map_or_else(|| self.command_of(unit, main), Text::from)
    }

    fn command_of(&self, unit: UnitId, main: bool) -> Text {
        let service = self.service_ref(unit);
        let (phase, index) = match service.control {
            Some(control) if !main => (control.phase, control.index),
            _ => (ExecPhase::Start, service.main_index),
        };
        let command = self.service_config(unit).commands(phase).get(index as usize);
        command.map(|c| Text::from(&*c.path)).unwrap_or_else(|| Text::from(""))
    }

    fn main_exited(&mut self, unit: UnitId, exit: Exit, cause: Cause) {
        let config = self.service_config(unit);
        let service = self.service_ref(unit);
        let runs = matches!(service.sub, SubState::Running | SubState::Reload) && service.awaiting.is_none();
        if let Some(path) = config.pid_file.clone().filter(|_| runs) {
            // A daemon that hands over to a new process says so in its file before it ends.
            let service = self.service_mut(unit);
            service.main = MainProcess::Ended;
            let record = cause.record;
            service.handing_over = Some((exit, cause));
            self.read_pid_file(unit, path, false, record);
            return;
        }
        self.main_ended(unit, exit, cause);
    }

    fn main_ended(&mut self, unit: UnitId, exit: Exit, cause: Cause) {
        let now = self.now;
        let config = self.service_config(unit);
        let oneshot = config.service_type == ServiceType::Oneshot;
        let mut result = result_of(exit, !oneshot, &config.success_exit_status);
        let index = self.service_ref(unit).main_index as usize;
        let commands = config.commands(ExecPhase::Start);
        if commands.get(index).is_some_and(|c| c.ignore_failure) {
            result = UnitResult::Success;
        }
        let next = (index + 1 < commands.len()) && oneshot && result == UnitResult::Success;
        let by_group = config.exit_type == ExitType::Cgroup;
        let service = self.service_mut(unit);
        service.main = MainProcess::Ended;
        service.main_exit = Some(exit);
        service.main_ended = now;
        service.worsen(result);
        if next && service.sub == SubState::Start {
            let timeout = self.service_config(unit).timeout_start;
            self.run_main(unit, index as u16 + 1, cause);
            self.arm(unit, timeout);
            return;
        }
        // ExitType=cgroup: the end of the main process means nothing while others are there.
        if by_group && !self.service_ref(unit).group_empty && self.service_ref(unit).sub == SubState::Running
        {
            self.effect(Effect::ReportEmpty(unit));
            return;
        }
        self.main_gone(unit, result, cause);
    }

    /// The main process is gone for good: what that means in each state.
    fn main_gone(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        use SubState::*;
        let control = self.service_ref(unit).control.is_some();
        if self.service_ref(unit).awaiting.is_some() {
            return;
        }
        match self.service_ref(unit).sub {
            StartPost | Reload if !control => self.enter_stop(unit, result, cause),
            StartPost | Reload | Stop => {}
            Start => self.main_gone_in_start(unit, result, cause),
            Running => self.enter_running(unit, result, cause),
            StopWatchdog | StopSigterm | StopSigkill if !control => {
                self.enter_stop_post(unit, result, cause);
            }
            StopPost if !control => self.enter_signal(unit, FinalSigterm, result, cause),
            FinalWatchdog | FinalSigterm | FinalSigkill if !control => self.after_final(unit, result, cause),
            StopWatchdog | StopSigterm | StopSigkill | StopPost | FinalWatchdog | FinalSigterm
            | FinalSigkill => {}
            Dead
            | Failed
            | Condition
            | StartPre
            | Exited
            | AutoRestart
            | Cleaning
            | Abandoned
            | Active
            | Listening
            | SocketRunning
            | StopPre
            | StopPreSigterm
            | StopPreSigkill
            | StartChown
            | Waiting
            | Elapsed
            | TriggerRunning
            | Mounting
            | Mounted
            | Unmounting
            | Plugged
            | UnmountingSigterm
            | UnmountingSigkill
            | SwapActivating
            | SwapDeactivating
            | SwapDeactivatingSigterm
            | SwapDeactivatingSigkill => {}
        }
    }

    fn main_gone_in_start(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let config = self.service_config(unit);
        let never = !config.remain_after_exit || config.notify_access == NotifyAccess::Main;
        match config.service_type {
            ServiceType::Oneshot if result == UnitResult::Success => self.enter_start_post(unit, cause),
            ServiceType::Oneshot => self.enter_signal(unit, SubState::StopSigterm, result, cause),
            ServiceType::Notify | ServiceType::NotifyReload => {
                if result != UnitResult::Success {
                    self.enter_signal(unit, SubState::StopSigterm, result, cause);
                } else if never {
                    self.enter_signal(unit, SubState::StopSigterm, UnitResult::Protocol, cause);
                } else {
                    // Others may say that it is ready, as long as there are any.
                    self.effect(Effect::ReportEmpty(unit));
                }
            }
            ServiceType::Simple
            | ServiceType::Exec
            | ServiceType::Forking
            | ServiceType::Dbus
            | ServiceType::Idle => self.enter_running(unit, result, cause),
        }
    }

    /// Main and control are gone in a final state: dead, unless others of the group are still being ended.
    fn after_final(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let waits = self.waits_for_group(unit) && !self.service_ref(unit).group_empty;
        if waits {
            let state = self.service_ref(unit).sub;
            self.enter_signal(unit, state, result, cause);
        } else {
            self.enter_dead(unit, result, true, cause);
        }
    }

    fn control_exited(&mut self, unit: UnitId, exit: Exit, cause: Cause) {
        let Some(control) = self.service_mut(unit).control.take() else { return };
        let config = self.service_config(unit);
        let commands = config.commands(control.phase);
        let daemon = control.phase == ExecPhase::Start;
        let mut result = result_of(exit, daemon, &config.success_exit_status);
        if commands.get(control.index as usize).is_some_and(|c| c.ignore_failure) {
            result = UnitResult::Success;
        }
        let skip = control.phase == ExecPhase::Condition && exit.kind == ExitKind::Exited;
        if skip && result == UnitResult::ExitCode && exit.status < 255 {
            result = UnitResult::ExecCondition;
        }
        let next = (control.index as usize + 1 < commands.len()) && result == UnitResult::Success;
        if result == UnitResult::ExecCondition {
            self.units[unit.0 as usize].tested.condition = false;
        }
        if control.phase != ExecPhase::Reload {
            self.service_mut(unit).worsen(result);
        }
        if next
            && self.service_ref(unit).awaiting.is_none()
            && runs_on(self.service_ref(unit).sub, control.phase)
        {
            self.run_control(unit, control.phase, control.index + 1, cause);
            return;
        }
        self.control_gone(unit, control, result, cause);
    }

    fn control_gone(&mut self, unit: UnitId, control: ControlProcess, result: UnitResult, cause: Cause) {
        use SubState::*;
        let ok = result == UnitResult::Success;
        let main = self.service_ref(unit).main_pid().is_some();
        if self.service_ref(unit).awaiting.is_some() {
            return;
        }
        match self.service_ref(unit).sub {
            Condition if ok => self.enter_start_pre(unit, cause),
            StartPre if ok => self.enter_start(unit, cause),
            Condition | StartPre | StartPost if !ok => self.enter_signal(unit, StopSigterm, result, cause),
            Start if control.phase == ExecPhase::Start && !ok => {
                self.enter_signal(unit, StopSigterm, result, cause);
            }
            Start if control.phase == ExecPhase::Start => self.find_main(unit, cause),
            StartPost => self.start_post_done(unit, cause),
            Reload => {
                self.service_mut(unit).reload_result = result;
                self.enter_running(unit, UnitResult::Success, cause);
            }
            Stop => self.enter_signal(unit, StopSigterm, result, cause),
            StopWatchdog | StopSigterm | StopSigkill if !main => self.enter_stop_post(unit, result, cause),
            StopPost if !main => self.enter_signal(unit, FinalSigterm, result, cause),
            FinalWatchdog | FinalSigterm | FinalSigkill if !main => self.after_final(unit, result, cause),
            _ => {}
        }
    }

    /// The starter of a forking service has ended well: now who is the main process?
    fn find_main(&mut self, unit: UnitId, cause: Cause) {
        let config = self.service_config(unit);
        let has_post = !config.commands(ExecPhase::StartPost).is_empty();
        let guess = config.guess_main_pid;
        match config.pid_file.clone() {
            Some(path) => {
                let record = cause.record;
                if has_post {
                    // ExecStartPost= may be what writes it: then it is read again.
                    self.enter_start_post(unit, cause);
                }
                self.read_pid_file(unit, path, !has_post, record);
            }
            None if guess => {
                self.service_mut(unit).pid_file_awaited = Some(cause.record);
                self.effect(Effect::GuessMainPid(unit));
            }
            None => self.enter_start_post(unit, cause),
        }
    }

    fn read_pid_file(&mut self, unit: UnitId, path: Box<str>, wait: bool, because: RecordId) {
        self.service_mut(unit).pid_file_awaited = Some(because);
        self.effect(Effect::ReadPidFile { unit, path, wait });
    }

    /// ExecStartPost= has ended well. From here on a service of any type runs only when PIDFile= says who it
    /// is.
    fn start_post_done(&mut self, unit: UnitId, cause: Cause) {
        match self.service_config(unit).pid_file.clone() {
            Some(path) => self.read_pid_file(unit, path, true, cause.record),
            None => self.enter_running(unit, UnitResult::Success, cause),
        }
    }

    /// PIDFile= can't be waited for, so that the main process will not be known.
    pub(in crate::unit) fn pid_file_unseen(&mut self, unit: UnitId, cause: Cause) {
        let service = self.service_mut(unit);
        if service.pid_file_awaited.is_none() {
            return;
        }
        if let Some((exit, ended)) = service.handing_over.take() {
            service.pid_file_awaited = None;
            return self.main_ended(unit, exit, ended);
        }
        if matches!(service.sub, SubState::Start | SubState::StartPost) && service.control.is_none() {
            service.pid_file_awaited = None;
            self.enter_signal(unit, SubState::StopSigterm, UnitResult::Resources, cause);
        }
    }

    /// The main process of a forking service, or that it isn't known.
    pub(crate) fn pid_file(&mut self, unit: UnitId, pid: Option<u32>) {
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        let has_file = self.service_config(unit).pid_file.is_some();
        let Some(because) = self.service_mut(unit).pid_file_awaited.take() else { return };
        if let Some((exit, cause)) = self.service_mut(unit).handing_over.take() {
            match pid.filter(|pid| *pid != self.service_ref(unit).last_main_pid) {
                Some(pid) => self.adopt_main(unit, pid, cause.record),
                None => self.main_ended(unit, exit, cause),
            }
            return;
        }
        let cause = Self::here(because);
        let post = self.service_ref(unit).sub == SubState::StartPost;
        let control = self.service_ref(unit).control.is_some();
        // A control process is never the main one.
        let pid = pid.filter(|p| self.service_ref(unit).control_pid() != Some(*p));
        match pid {
            Some(pid) if self.service_ref(unit).main_pid() == Some(pid) => {}
            Some(pid) => self.adopt_main(unit, pid, self.units[unit.0 as usize].record),
            None if post && control => return,
            // Without a file the group speaks for the service; with one, it is awaited further.
            None if has_file => {
                self.service_mut(unit).pid_file_awaited = Some(because);
                self.effect(Effect::ReportEmpty(unit));
                return;
            }
            None => {}
        }
        if self.service_ref(unit).sub == SubState::Start {
            self.enter_start_post(unit, cause);
        } else if post && !control {
            self.enter_running(unit, UnitResult::Success, cause);
        }
    }

    /// BusName= of a Type=dbus service was taken or given up: it is up while somebody has it. Without a bus
    /// it is up when its program runs.
    pub(crate) fn bus_name(&mut self, unit: UnitId, name: &str, owned: Option<bool>) {
        self.scope_controller(unit, name, owned);
        let known = self.units.get(unit.0 as usize).filter(|u| matches!(u.state, State::Service(_)));
        let waits = known.is_some_and(|_| {
            let config = self.service_config(unit);
            config.service_type == ServiceType::Dbus && config.bus_name.as_deref() == Some(name)
        });
        if !waits {
            return;
        }
        let service = self.service_mut(unit);
        let (sub, before) = (service.sub, service.bus_name_owned);
        service.bus_name_owned = owned;
        let cause = Self::here(self.units[unit.0 as usize].record);
        let name = Text::from(name);
        match (sub, owned) {
            (SubState::Start, None) if self.service_ref(unit).main_pid().is_some() => {
                self.enter_start_post(unit, cause);
            }
            (SubState::Start, Some(true)) if self.service_ref(unit).main_pid().is_some() => {
                let record = self.record(Some(unit), vec![cause], Fact::BusName { name, owned: true });
                self.enter_start_post(unit, Self::here(record));
            }
            (SubState::Running, Some(false)) if before != Some(false) => {
                let record = self.record(Some(unit), vec![cause], Fact::BusName { name, owned: false });
                self.enter_running(unit, UnitResult::Success, Self::here(record));
            }
            _ => {}
        }
    }

    /// A process becomes the main process of the service.
    pub(super) fn adopt_main(&mut self, unit: UnitId, pid: u32, record: RecordId) {
        if let Some(old) = self.service_ref(unit).main_pid() {
            self.processes.remove(&old);
        }
        let now = self.now;
        let service = self.service_mut(unit);
        service.main = MainProcess::Alive(pid);
        service.last_main_pid = pid;
        service.main_started = now;
        service.main_exit = None;
        self.processes.insert(pid, unit);
        self.effect(Effect::WatchProcess { unit, pid });
        let message = format!("MAINPID={pid}").into();
        self.record(Some(unit), vec![Self::here(record)], Fact::Notified { message, pid });
    }

    /// Nobody is left in the unit's group.
    pub(crate) fn emptied(&mut self, unit: UnitId) {
        use SubState::*;
        if matches!(self.units[unit.0 as usize].state, State::Socket(_)) {
            return self.socket_emptied(unit);
        }
        if !matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            return;
        }
        let service = self.service_mut(unit);
        if service.main_pid().is_some() || service.control_pid().is_some() {
            return;
        }
        if service.main_start.is_some() || service.control_start.is_some() {
            return;
        }
        service.group_empty = true;
        if let Some((state, cause)) = service.awaiting.take().map(|awaited| *awaited) {
            // That is what the census would say; where it hasn't begun it needn't.
            self.forgo_census(unit);
            return self.enter_signal(unit, state, UnitResult::Success, cause);
        }
        let sub = service.sub;
        let awaited = service.pid_file_awaited.is_some();
        let cause = Self::here(service.signal_record.unwrap_or(self.units[unit.0 as usize].record));
        match sub {
            // Who the main process is was asked without PIDFile=: the answer is on its way.
            Start if awaited && self.service_config(unit).pid_file.is_none() => {}
            Start | StartPost if awaited => {
                self.service_mut(unit).pid_file_awaited = None;
                self.enter_signal(unit, StopSigterm, UnitResult::Protocol, cause);
            }
            // Nobody is left who could say that it is ready.
            Start
                if matches!(
                    self.service_config(unit).service_type,
                    ServiceType::Notify | ServiceType::NotifyReload
                ) =>
            {
                self.enter_stop_post(unit, UnitResult::Protocol, cause);
            }
            Running => self.enter_running(unit, UnitResult::Success, cause),
            StopWatchdog | StopSigterm | StopSigkill => {
                self.enter_stop_post(unit, UnitResult::Success, cause);
            }
            FinalWatchdog | FinalSigterm | FinalSigkill => {
                self.enter_dead(unit, UnitResult::Success, true, cause);
            }
            Dead | Failed => self.release_if_down(unit),
            _ => {}
        }
    }
}

/// Whether a state is the one in which this phase's commands run.
fn runs_on(sub: SubState, phase: ExecPhase) -> bool {
    matches!(
        (sub, phase),
        (SubState::Condition, ExecPhase::Condition)
            | (SubState::StartPre, ExecPhase::StartPre)
            | (SubState::StartPost, ExecPhase::StartPost)
            | (SubState::Reload, ExecPhase::Reload)
            | (SubState::Stop, ExecPhase::Stop)
            | (SubState::StopPost, ExecPhase::StopPost)
    )
}

fn role(phase: ExecPhase) -> ProcessRole {
    match phase {
        ExecPhase::Condition => ProcessRole::Condition,
        ExecPhase::StartPre => ProcessRole::StartPre,
        ExecPhase::Start => ProcessRole::Start,
        ExecPhase::StartPost => ProcessRole::StartPost,
        ExecPhase::Reload => ProcessRole::Reload,
        ExecPhase::Stop => ProcessRole::Stop,
        ExecPhase::StopPost => ProcessRole::StopPost,
    }
}
