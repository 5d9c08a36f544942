//! The machine of a service: its data, and how jobs call into it. systemd.service(5).
//!
//! The ways through it stand in the files below: `starting` (up to running), `ending` (signals, dead,
//! restart), `exit` (processes), `notify` (messages, watchdog, deadlines). It sends no signal and starts
//! no process: it asks for that by effects.

mod ending;
mod exit;
mod keeping;
mod notify;
mod refused;
mod starting;

use super::{Rules, State, command_text, span_text};
use crate::carry::{Carry, Words, carry_fields, carry_machine, carry_words, put_word};
use crate::deadline::{Armed, DeadlineFor, Deadlines};
use crate::job::Performed;
use crate::{ConnectionId, Effect, Engine, ExecId, Kill, KillScope, Spawn, Time, UnitId};
use alloc::{boxed::Box, format, string::String, vec, vec::Vec};
use hence_ledger::{
    ActiveState, Cause, Exit, ExitKind, Fact, ProcessRole, RecordId, SignalReason, SubState, Text,
    UnitResult, record::Invocation,
};
use hence_unit::{
    Atom,
    config::{ExecPhase, NotifyAccess, RestartMode, ServiceConfig, ServiceType},
};

/// What is known of the main process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MainProcess {
    /// Not known: none yet, or a forking service that didn't say.
    #[default]
    Unknown,
    /// It runs.
    Alive(u32),
    /// It has ended.
    Ended,
}

/// A control process: one of the Exec...= commands beside the main one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlProcess {
    /// `None` until it has been started.
    pub pid: Option<u32>,
    /// Which list of commands.
    pub phase: ExecPhase,
    /// Which of the list.
    pub index: u16,
}

/// What the service last said of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// The machine of a service.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    pub(crate) reload_result: UnitResult,
    /// The main process.
    pub main: MainProcess,
    /// How the main process last ended.
    pub main_exit: Option<Exit>,
    /// ExecMainStartTimestamp
    pub main_started: Time,
    /// ExecMainExitTimestamp
    pub main_ended: Time,
    /// ExecMainPID
    pub last_main_pid: u32,
    /// The control process, from the moment its start is asked for.
    pub control: Option<ControlProcess>,
    /// Which ExecStart= command the main process is.
    main_index: u16,
    main_start: Option<ExecId>,
    control_start: Option<ExecId>,
    /// A signal state that waits to hear whether there is anybody to signal, and why it was entered.
    pub(crate) awaiting: Option<Box<(SubState, Cause)>>,
    /// The invocation whose left-over processes the next census counts, and the record of its end.
    pub(crate) left_by: Option<Box<(Option<Invocation>, RecordId)>>,
    deadline: Option<Armed>,
    watchdog: Option<Armed>,
    /// WATCHDOG_USEC= of the service itself.
    watchdog_us: Option<u64>,
    /// NRestarts
    pub restarts: u32,
    flush_restarts: bool,
    stop_requested: bool,
    pub(crate) will_restart: bool,
    pub(crate) start_limit_hit: bool,
    /// A process of this start was there, even if it did not become its program. Until then the service is
    /// down for others, as with systemd, which has no state for it.
    pub(crate) born: bool,
    /// Nobody is in the group, for sure.
    pub(crate) group_empty: bool,
    /// The next answer to a kill says how many others there were.
    pub(crate) count_others: bool,
    /// STATUS=
    pub status_text: Option<Text>,
    /// ERRNO=
    pub status_errno: i32,
    said: Said,
    /// The connection of an Accept=yes socket that this instance serves.
    pub(crate) connection: Option<Box<(UnitId, ConnectionId)>>,
    /// The last signal that hence sent to it in this invocation.
    pub(crate) signal_record: Option<RecordId>,
    /// The system call that the process was killed for whose end is told next.
    pub(crate) refused_call: Option<Text>,
    /// PIDFile= is awaited, or a guess, because of that record.
    pid_file_awaited: Option<RecordId>,
    /// The main process ended so; PIDFile= may name the next one.
    handing_over: Option<(Exit, Cause)>,
    /// Whether BusName= is owned; `None` where that isn't known, or where there is no bus.
    bus_name_owned: Option<bool>,
    /// When it was sent ReloadSignal=, until it says that it reloads.
    reload_asked: Option<u64>,
    /// NFileDescriptorStore
    pub kept: u32,
    /// It has been said that there is no room for more descriptors.
    kept_all: bool,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            sub: SubState::Dead,
            result: UnitResult::Success,
            reload_result: UnitResult::Success,
            main: MainProcess::Unknown,
            main_exit: None,
            main_started: Time::default(),
            main_ended: Time::default(),
            last_main_pid: 0,
            control: None,
            main_index: 0,
            main_start: None,
            control_start: None,
            awaiting: None,
            left_by: None,
            deadline: None,
            watchdog: None,
            watchdog_us: None,
            restarts: 0,
            flush_restarts: false,
            stop_requested: false,
            will_restart: false,
            start_limit_hit: false,
            born: false,
            group_empty: true,
            count_others: false,
            status_text: None,
            status_errno: 0,
            said: Said::Nothing,
            connection: None,
            signal_record: None,
            refused_call: None,
            pid_file_awaited: None,
            handing_over: None,
            bus_name_owned: None,
            reload_asked: None,
            kept: 0,
            kept_all: false,
        }
    }
}

impl Carry for MainProcess {
    fn put(&self, out: &mut String) {
        match self {
            MainProcess::Unknown => put_word(out, "unknown"),
            MainProcess::Ended => put_word(out, "ended"),
            MainProcess::Alive(pid) => pid.put(out),
        }
    }
    fn take(words: &mut Words<'_>) -> Option<MainProcess> {
        match words.word()? {
            "unknown" => Some(MainProcess::Unknown),
            "ended" => Some(MainProcess::Ended),
            pid => pid.parse().ok().map(MainProcess::Alive),
        }
    }
}
carry_fields! { ControlProcess { pid, phase, index } }
carry_words! { Said { Nothing "nothing", Ready "ready", Reloading "reloading", Stopping "stopping" } }
carry_machine! { Service {
    sub, result, reload_result, main, main_exit, main_started, main_ended, last_main_pid, control,
    main_index, awaiting, left_by, deadline, watchdog, watchdog_us, restarts, flush_restarts,
    stop_requested, will_restart, start_limit_hit, born, group_empty, count_others, status_text, status_errno,
    said, connection, signal_record, refused_call, pid_file_awaited, handing_over, bus_name_owned,
    reload_asked, kept, kept_all
} }

impl Service {
    /// The exit status of the last main process, where it ended by itself.
    pub(crate) fn exit_status(&self) -> Option<u8> {
        let exit = self.main_exit.filter(|e| e.kind == hence_ledger::ExitKind::Exited)?;
        u8::try_from(exit.status).ok()
    }

    /// The main process, if it runs.
    pub fn main_pid(&self) -> Option<u32> {
        match self.main {
            MainProcess::Alive(pid) => Some(pid),
            MainProcess::Unknown | MainProcess::Ended => None,
        }
    }

    /// The control process, if it runs.
    pub fn control_pid(&self) -> Option<u32> {
        self.control.and_then(|c| c.pid)
    }

    /// It has neither a main nor a control process, and none is being started.
    pub(crate) fn is_alone(&self) -> bool {
        let processes = self.main_pid().is_some() || self.control_pid().is_some();
        !processes && self.main_start.is_none() && self.control_start.is_none()
    }

    pub(super) fn disarm(&mut self, deadlines: &mut Deadlines) {
        deadlines.disarm(&mut self.deadline);
        deadlines.disarm(&mut self.watchdog);
    }

    /// It runs since then, without having been started by this hence.
    pub(crate) fn resume(&mut self, main: Option<u32>, started: Time) {
        self.main = main.map_or(MainProcess::Unknown, MainProcess::Alive);
        self.last_main_pid = main.unwrap_or(0);
        self.main_started = started;
        self.group_empty = false;
        self.result = UnitResult::Success;
        self.said = Said::Ready;
    }

    fn worsen(&mut self, result: UnitResult) {
        if self.result == UnitResult::Success {
            self.result = result;
        }
    }
}

impl Engine {
    pub(crate) fn service_mut(&mut self, unit: UnitId) -> &mut Service {
        match &mut self.units[unit.0 as usize].state {
            State::Service(s) => s,
            _ => unreachable!("callers dispatch on the kind"),
        }
    }

    fn service_ref(&self, unit: UnitId) -> &Service {
        match &self.units[unit.0 as usize].state {
            State::Service(s) => s,
            _ => unreachable!("callers dispatch on the kind"),
        }
    }

    /// Puts a service into a state. Deadlines of the state before end with it.
    fn service_state(&mut self, unit: UnitId, to: SubState, cause: Cause) -> RecordId {
        let service = self.service_mut(unit);
        let mut deadline = service.deadline.take();
        service.pid_file_awaited = None;
        service.handing_over = None;
        service.reload_asked = None;
        let restart = service.will_restart;
        let reload_failed = service.sub == SubState::Reload && service.reload_result != UnitResult::Success;
        let mut watchdog = None;
        if !matches!(to, SubState::Start | SubState::StartPost | SubState::Running | SubState::Reload) {
            watchdog = service.watchdog.take();
        }
        self.deadlines.disarm(&mut deadline);
        self.deadlines.disarm(&mut watchdog);
        let put = |state: &mut State| {
            if let State::Service(s) = state {
                s.sub = to;
            }
        };
        self.set_state(unit, put, vec![cause], restart, reload_failed)
    }

    /// Arms the deadline of the current state.
    fn arm(&mut self, unit: UnitId, after_us: u64) {
        let mut old = self.service_mut(unit).deadline.take();
        self.deadlines.disarm(&mut old);
        let armed = self.deadlines.arm(self.now.monotonic_us, after_us, DeadlineFor::State(unit));
        self.service_mut(unit).deadline = armed;
    }

    /// Whether it is a simple service whose process is on its way: its start can fail only by that process.
    /// For systemd it is over at the fork.
    pub(crate) fn is_being_born(&self, unit: UnitId) -> bool {
        let State::Service(service) = &self.units[unit.0 as usize].state else { return false };
        service.sub == SubState::Start
            && matches!(self.service_config(unit).service_type, ServiceType::Simple | ServiceType::Idle)
    }

    /// The unit's lines are others now: what is armed counts from when the state began, by the new ones.
    pub(crate) fn rearm_service(&mut self, unit: UnitId) {
        use SubState::*;
        let config = self.service_config(unit);
        let times = &self.units[unit.0 as usize].times;
        let began = times.state_change.monotonic_us;
        let simple = matches!(config.service_type, ServiceType::Simple | ServiceType::Idle);
        let (since, after_us) = match self.service_ref(unit).sub {
            Start if simple => return,
            Condition | StartPre | Start | StartPost | Reload => (began, config.timeout_start),
            Running => (times.active_enter.monotonic_us, config.runtime_max),
            Stop | StopSigterm | StopSigkill | StopPost | FinalSigterm | FinalSigkill => {
                (began, config.timeout_stop)
            }
            StopWatchdog | FinalWatchdog => (began, config.timeout_abort.unwrap_or(config.timeout_stop)),
            AutoRestart => {
                let restarts = self.service_ref(unit).restarts;
                (began, crate::restart::delay(config, restarts).0)
            }
            Cleaning => (began, config.timeout_clean),
            _ => return,
        };
        let mut old = self.service_mut(unit).deadline.take();
        self.deadlines.disarm(&mut old);
        let armed = self.deadlines.arm(since, after_us, DeadlineFor::State(unit));
        self.service_mut(unit).deadline = armed;
    }

    fn service_config(&self, unit: UnitId) -> &ServiceConfig {
        self.units[unit.0 as usize].config.service().expect("a service has a service's configuration")
    }

    /// A start job reaches the service.
    pub(crate) fn start_service(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        use SubState::*;
        if matches!(self.service_ref(unit).sub, Condition | StartPre | Start | StartPost) {
            return Performed::Begun;
        }
        // On its way down. One that is being cleaned was put off before.
        let stopping = self.active_state(unit) == ActiveState::Deactivating;
        // As with systemd, a start that has to be put off counts, each time that it is tried.
        if let Err(record) = self.test_start_limit(unit, cause) {
            let service = self.service_mut(unit);
            service.start_limit_hit = true;
            if stopping {
                // Unlike systemd, which has it down at once and leaves its processes to themselves.
                service.worsen(UnitResult::StartLimitHit);
            } else {
                self.enter_dead(unit, UnitResult::StartLimitHit, false, Cause { record, rule: None });
                if self.service_ref(unit).sub == Dead {
                    // ExecCondition= kept it away before: that is its result still, and no failure.
                    return Performed::End(hence_ledger::JobResult::Done);
                }
            }
            return Performed::End(hence_ledger::JobResult::Failed);
        }
        if stopping {
            return Performed::Later;
        }
        match self.service_ref(unit).sub {
            // It is to go through its stop first, when RestartSec= is over, unless that is left out.
            AutoRestart
                if self.service_ref(unit).deadline.is_none()
                    && self.service_config(unit).restart_mode == RestartMode::Direct => {}
            AutoRestart => return Performed::Later,
            _ => {}
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        let service = self.service_mut(unit);
        service.result = UnitResult::Success;
        service.reload_result = UnitResult::Success;
        service.main = MainProcess::Unknown;
        service.main_exit = None;
        service.main_index = 0;
        service.stop_requested = false;
        service.start_limit_hit = false;
        service.born = false;
        service.status_text = None;
        service.status_errno = 0;
        service.said = Said::Nothing;
        service.signal_record = None;
        service.watchdog_us = None;
        service.pid_file_awaited = None;
        service.handing_over = None;
        if core::mem::take(&mut service.flush_restarts) {
            service.restarts = 0;
        }
        self.enter_condition(unit, cause.clone());
        Performed::Begun
    }

    /// A stop job, or the stopping half of a restart, reaches the service.
    pub(crate) fn stop_service(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        use SubState::*;
        let service = self.service_mut(unit);
        service.stop_requested = true;
        if service.awaiting.is_some() {
            return Performed::Begun;
        }
        match service.sub {
            Stop | StopWatchdog | StopSigterm | StopSigkill | StopPost | FinalWatchdog | FinalSigterm
            | FinalSigkill => {}
            AutoRestart => {
                self.service_state(unit, Dead, cause.clone());
                self.release_if_down(unit);
            }
            Condition | StartPre | Start | StartPost | Reload => {
                self.enter_signal(unit, StopSigterm, UnitResult::Success, cause.clone());
            }
            _ => self.enter_stop(unit, UnitResult::Success, cause.clone()),
        }
        Performed::Begun
    }

    /// A reload job reaches the service.
    pub(crate) fn reload_service(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        self.service_mut(unit).reload_result = UnitResult::Success;
        let commands = !self.service_config(unit).commands(ExecPhase::Reload).is_empty();
        let main = self.service_ref(unit).main_pid();
        let signals = self.service_config(unit).service_type == ServiceType::NotifyReload && main.is_some();
        if !commands && !signals {
            return Performed::Already;
        }
        let record = self.service_state(unit, SubState::Reload, cause.clone());
        if signals {
            self.signal_reload(unit, main, Cause { record, rule: None });
        }
        if commands {
            self.run_control(unit, ExecPhase::Reload, 0, cause.clone());
        } else {
            let timeout = self.service_config(unit).timeout_start;
            self.arm(unit, timeout);
        }
        Performed::Begun
    }

    /// Type=notify-reload: the main process is asked by ReloadSignal=, and says when it begins and is done.
    fn signal_reload(&mut self, unit: UnitId, main: Option<u32>, cause: Cause) {
        let signal = self.service_config(unit).reload_signal;
        let reason = SignalReason::Reload;
        let fact = Fact::SignalSent { signal, reason, main: true, control: false, others: 0 };
        self.record(Some(unit), vec![cause], fact);
        self.effect(Effect::Kill(Kill {
            unit,
            scope: KillScope::Known,
            main,
            control: None,
            signal,
            then_continue: false,
            hangup: false,
            reason,
            report_empty: false,
        }));
        let since_us = self.now.monotonic_us;
        let service = self.service_mut(unit);
        service.said = Said::Ready;
        service.reload_asked = Some(since_us);
    }

    /// Starts a control process; its deadline is that of the phase.
    fn run_control(&mut self, unit: UnitId, phase: ExecPhase, index: u16, cause: Cause) {
        let config = self.service_config(unit);
        let timeout = match phase {
            ExecPhase::Stop | ExecPhase::StopPost => config.timeout_stop,
            _ => config.timeout_start,
        };
        self.service_mut(unit).control = Some(ControlProcess { pid: None, phase, index });
        let role = match phase {
            ExecPhase::Condition => ProcessRole::Condition,
            ExecPhase::StartPre => ProcessRole::StartPre,
            ExecPhase::Start => ProcessRole::Start,
            ExecPhase::StartPost => ProcessRole::StartPost,
            ExecPhase::Reload => ProcessRole::Reload,
            ExecPhase::Stop => ProcessRole::Stop,
            ExecPhase::StopPost => ProcessRole::StopPost,
        };
        let exec = self.spawn(unit, role, phase, index, cause);
        self.service_mut(unit).control_start = Some(exec);
        self.arm(unit, timeout);
    }

    /// Starts the main process.
    fn run_main(&mut self, unit: UnitId, index: u16, cause: Cause) {
        self.service_mut(unit).main_index = index;
        let exec = self.spawn(unit, ProcessRole::Main, ExecPhase::Start, index, cause);
        self.service_mut(unit).main_start = Some(exec);
    }

    fn spawn(
        &mut self,
        unit: UnitId,
        role: ProcessRole,
        phase: ExecPhase,
        index: u16,
        cause: Cause,
    ) -> ExecId {
        let config = self.units[unit.0 as usize].config.clone();
        let exec = self.next_exec();
        let service = config.service().expect("a service has a service's configuration");
        let command = &service.commands(phase)[index as usize];
        let fact = Fact::Starting { role, command: command_text(command) };
        self.record(Some(unit), vec![cause], fact);
        self.starts.insert(exec, unit);
        let main = role == ProcessRole::Main;
        let starts = main || role == ProcessRole::Start;
        let first = self.service_ref(unit).group_empty;
        self.service_mut(unit).group_empty = false;
        let access = service.notify_access;
        let spawn = Spawn {
            exec,
            unit,
            role,
            phase,
            index,
            invocation: self.units[unit.0 as usize].invocation.unwrap_or_default(),
            environment: self.state_environment(unit, role),
            confirm: !main || !matches!(service.service_type, ServiceType::Simple | ServiceType::Idle),
            notify: match access {
                NotifyAccess::None => false,
                NotifyAccess::Main => starts,
                NotifyAccess::Exec | NotifyAccess::All => true,
            },
            sockets: if starts && self.service_ref(unit).connection.is_none() {
                self.linked(unit, Atom::TriggeredBy).into_iter().map(|(u, _)| u).collect()
            } else {
                Vec::new()
            },
            connection: self.service_ref(unit).connection.as_ref().map(|c| c.1).filter(|_| starts),
            first_of_invocation: first,
            config: config.clone(),
        };
        self.effect(Effect::Spawn(alloc::boxed::Box::new(spawn)));
        exec
    }

    /// What the state adds to a process' environment; systemd.exec(5), "Environment Variables Set".
    fn state_environment(&self, unit: UnitId, role: ProcessRole) -> Vec<(&'static str, String)> {
        let mut environment = Vec::new();
        let service = self.service_ref(unit);
        if role != ProcessRole::Main
            && let Some(pid) = service.main_pid()
        {
            environment.push(("MAINPID", format!("{pid}")));
        }
        if matches!(role, ProcessRole::Main | ProcessRole::Start) {
            let us = self.service_config(unit).watchdog;
            if us > 0 {
                environment.push(("WATCHDOG_USEC", format!("{us}")));
            }
        }
        if matches!(role, ProcessRole::Stop | ProcessRole::StopPost) {
            push_result(&mut environment, "", service);
        }
        let before_stop = !matches!(role, ProcessRole::Stop | ProcessRole::StopPost);
        if let Some(monitored) = self.units[unit.0 as usize].monitored.filter(|_| before_stop) {
            let other = &self.units[monitored.0 as usize];
            if let Some(s) = other.service() {
                push_result(&mut environment, "MONITOR_", s);
                if let Some(invocation) = other.invocation {
                    environment.push(("MONITOR_INVOCATION_ID", format!("{invocation}")));
                }
                environment.push(("MONITOR_UNIT", other.name().as_str().into()));
            }
        }
        environment
    }

    /// The unit's group can go if nobody is in it and nothing will start it again at once.
    fn release_if_down(&mut self, unit: UnitId) {
        let u = &self.units[unit.0 as usize];
        let restarting =
            u.will_restart() || u.job.is_some_and(|j| self.jobs[&j].job_type != hence_ledger::JobType::Stop);
        if restarting {
            return;
        }
        let preserve = u.config.service().map_or(0, |s| s.context.runtime_directory_preserve);
        self.let_descriptors_go(unit);
        self.effect(Effect::Release { unit, keep_directories: preserve == 2 });
    }

    /// Restart= as a rule, with its line.
    fn restart_rule(&self, unit: UnitId) -> hence_ledger::Rule {
        let config = &self.units[unit.0 as usize].config;
        config.rule_with("Restart", self.service_config(unit).restart.as_str())
    }

    /// A directive that holds a time span, as a rule.
    fn span_rule(&self, unit: UnitId, directive: &str, us: u64) -> hence_ledger::Rule {
        let config = &self.units[unit.0 as usize].config;
        let both =
            matches!(directive, "TimeoutStartSec" | "TimeoutStopSec") && config.rule(directive).is_none();
        let directive = if both && config.rule("TimeoutSec").is_some() { "TimeoutSec" } else { directive };
        config.rule_with(directive, &span_text(us))
    }
}

/// SERVICE_RESULT, EXIT_CODE and EXIT_STATUS, or their MONITOR_ form.
fn push_result(environment: &mut Vec<(&'static str, String)>, prefix: &str, service: &Service) {
    let monitor = !prefix.is_empty();
    let name = |plain: &'static str, monitored: &'static str| if monitor { monitored } else { plain };
    environment.push((name("SERVICE_RESULT", "MONITOR_SERVICE_RESULT"), service.result.as_str().into()));
    let Some(exit) = service.main_exit else { return };
    environment.push((name("EXIT_CODE", "MONITOR_EXIT_CODE"), exit.kind.as_str().into()));
    let status = match exit.kind {
        ExitKind::Exited => format!("{}", exit.status),
        ExitKind::Killed | ExitKind::Dumped => signal_name(exit.status),
    };
    environment.push((name("EXIT_STATUS", "MONITOR_EXIT_STATUS"), status));
}

/// A signal's name without SIG, as `kill -l` has it.
fn signal_name(number: i32) -> String {
    match u8::try_from(number).ok().and_then(hence_unit::value::signal_name) {
        Some(name) => name.into(),
        None if number >= 34 => format!("RTMIN+{}", number - 34),
        None => format!("{number}"),
    }
}
