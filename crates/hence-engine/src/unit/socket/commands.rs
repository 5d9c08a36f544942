//! The commands of a socket, ExecStartPre= to ExecStopPost=, and the signals that end them.
//! systemd.socket(5).
//!
//! What the sockets themselves do is not here, and no process is started or signalled: that is asked for by
//! effects. Beside its control process a socket has no process of its own; what commands leave running in
//! its group is ended as KillMode= says when the socket goes down.

use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor};
use crate::job::is_down;
use crate::restart::result_of;
use crate::unit::{ControlProcess, Rules, State, command_text, kill, span_text, status_of};
use crate::{Effect, Engine, ExecId, KillScope, Spawn, UnitId};
use alloc::{boxed::Box, vec, vec::Vec};
use hence_ledger::{
    Cause, DeadlineKind, Exit, ExitKind, Fact, ProcessRole, RecordId, SpawnStep, SubState, Text, UnitResult,
    record::Invocation,
};
use hence_unit::config::{ExecPhase, ExitStatusSet, SocketConfig};

/// What is known of a socket's processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commands {
    /// The control process, from the moment its start is asked for.
    pub control: Option<ControlProcess>,
    start: Option<ExecId>,
    deadline: Option<Armed>,
    /// A signal state that waits to hear whether there is anybody to signal, and why it was entered.
    pub awaiting: Option<(SubState, Cause)>,
    /// The invocation whose left-over processes the next census counts, and the record of its end.
    pub left_by: Option<(Option<Invocation>, RecordId)>,
    /// The last signal that hence sent in this invocation.
    pub signal_record: Option<RecordId>,
    /// The next answer to a kill says how many others there were.
    pub count_others: bool,
    /// There may be processes in the group.
    pub occupied: bool,
    /// Commands were started in this invocation.
    used: bool,
}

carry_machine! { Commands {
    control, deadline, awaiting, left_by, signal_record, count_others, occupied, used
} }

impl Commands {
    /// No control process runs, and none is being started.
    pub fn is_alone(&self) -> bool {
        self.control.is_none() && self.start.is_none()
    }

    /// The control process, if it runs.
    pub fn control_pid(&self) -> Option<u32> {
        self.control.and_then(|c| c.pid)
    }
}

fn here(record: RecordId) -> Cause {
    Cause { record, rule: None }
}

fn role(phase: ExecPhase) -> ProcessRole {
    match phase {
        ExecPhase::StartPre => ProcessRole::StartPre,
        ExecPhase::StartPost => ProcessRole::StartPost,
        ExecPhase::Stop => ProcessRole::StopPre,
        ExecPhase::StopPost => ProcessRole::StopPost,
        ExecPhase::Condition | ExecPhase::Start | ExecPhase::Reload => ProcessRole::Other,
    }
}

/// Whether a state is the one in which this phase's commands run.
fn runs_on(sub: SubState, phase: ExecPhase) -> bool {
    matches!(
        (sub, phase),
        (SubState::StartPre, ExecPhase::StartPre)
            | (SubState::StartPost, ExecPhase::StartPost)
            | (SubState::StopPre, ExecPhase::Stop)
            | (SubState::StopPost, ExecPhase::StopPost)
    )
}

impl Engine {
    pub(super) fn commands_mut(&mut self, unit: UnitId) -> &mut Commands {
        &mut self.socket(unit).expect("callers dispatch on the kind").commands
    }

    fn socket_settings(&self, unit: UnitId) -> &SocketConfig {
        self.units[unit.0 as usize].config.socket().expect("a socket has a socket's configuration")
    }

    fn has_commands(&self, unit: UnitId, phase: ExecPhase) -> bool {
        !self.socket_settings(unit).commands(phase).is_empty()
    }

    pub(super) fn socket_worsen(&mut self, unit: UnitId, result: UnitResult) {
        if let Some(socket) = self.socket(unit)
            && socket.result == UnitResult::Success
        {
            socket.result = result;
        }
    }

    /// The deadline of the state before ends with it.
    pub(super) fn socket_disarm(&mut self, unit: UnitId) {
        let mut old = self.commands_mut(unit).deadline.take();
        self.deadlines.disarm(&mut old);
    }

    /// Arms the deadline of the current state, TimeoutSec=.
    fn socket_arm(&mut self, unit: UnitId) {
        self.socket_disarm(unit);
        let after_us = self.socket_settings(unit).timeout;
        let armed = self.deadlines.arm(self.now.monotonic_us, after_us, DeadlineFor::State(unit));
        self.commands_mut(unit).deadline = armed;
    }

    /// The unit's lines are others now: what is armed counts from when the state began, by the new ones.
    pub(crate) fn rearm_socket(&mut self, unit: UnitId) {
        let since = self.units[unit.0 as usize].times.state_change.monotonic_us;
        if self.commands_mut(unit).deadline.is_none() {
            return;
        }
        self.socket_disarm(unit);
        let after_us = self.socket_settings(unit).timeout;
        let armed = self.deadlines.arm(since, after_us, DeadlineFor::State(unit));
        self.commands_mut(unit).deadline = armed;
    }

    /// A new invocation knows of no processes yet.
    pub(super) fn forget_commands(&mut self, unit: UnitId) {
        self.socket_disarm(unit);
        let occupied = self.commands_mut(unit).occupied;
        *self.commands_mut(unit) = Commands { occupied, ..Commands::default() };
    }

    /// Starts a control process.
    fn socket_run(&mut self, unit: UnitId, phase: ExecPhase, index: u16, cause: Cause) {
        let config = self.units[unit.0 as usize].config.clone();
        let exec = self.next_exec();
        let Some(command) = config.socket().and_then(|s| s.commands(phase).get(index as usize)) else {
            return;
        };
        let fact = Fact::Starting { role: role(phase), command: command_text(command) };
        self.record(Some(unit), vec![cause], fact);
        self.starts.insert(exec, unit);
        let invocation = self.units[unit.0 as usize].invocation.unwrap_or_default();
        let commands = self.commands_mut(unit);
        let first_of_invocation = !commands.occupied;
        (commands.occupied, commands.used) = (true, true);
        // A signal to others before it has nothing to do with its end.
        commands.signal_record = None;
        commands.control = Some(ControlProcess { pid: None, phase, index });
        commands.start = Some(exec);
        let spawn = Spawn {
            exec,
            unit,
            role: role(phase),
            phase,
            index,
            invocation,
            environment: Vec::new(),
            confirm: true,
            notify: false,
            sockets: Vec::new(),
            connection: None,
            first_of_invocation,
            config: config.clone(),
        };
        self.effect(Effect::Spawn(Box::new(spawn)));
        self.socket_arm(unit);
    }

    /// Puts the socket into the state of a phase that has commands, and runs the first.
    fn socket_phase(&mut self, unit: UnitId, to: SubState, phase: ExecPhase, cause: Cause) {
        self.commands_mut(unit).control = None;
        let record = self.socket_state(unit, to, cause);
        self.socket_run(unit, phase, 0, here(record));
    }

    pub(super) fn enter_socket_start_pre(&mut self, unit: UnitId, cause: Cause) {
        if self.has_commands(unit, ExecPhase::StartPre) {
            self.socket_phase(unit, SubState::StartPre, ExecPhase::StartPre, cause);
        } else {
            self.open_sockets(unit, cause);
        }
    }

    pub(super) fn enter_socket_start_post(&mut self, unit: UnitId, cause: Cause) {
        if self.has_commands(unit, ExecPhase::StartPost) {
            self.socket_phase(unit, SubState::StartPost, ExecPhase::StartPost, cause);
        } else {
            self.socket_state(unit, SubState::Listening, cause);
        }
    }

    /// The way down of a socket that is open: ExecStopPre=, the sockets are closed, ExecStopPost=, signals.
    pub(in crate::unit) fn socket_down(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        self.socket_worsen(unit, result);
        if self.has_commands(unit, ExecPhase::Stop) {
            self.socket_phase(unit, SubState::StopPre, ExecPhase::Stop, cause);
        } else {
            self.enter_socket_stop_post(unit, UnitResult::Success, cause);
        }
    }

    fn enter_socket_stop_post(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        self.socket_worsen(unit, result);
        if self.has_commands(unit, ExecPhase::StopPost) {
            self.socket_phase(unit, SubState::StopPost, ExecPhase::StopPost, cause);
        } else {
            self.enter_socket_signal(unit, SubState::FinalSigterm, UnitResult::Success, cause);
        }
    }

    /// A signal state. Where nobody is left to signal, it falls through to what comes after it.
    pub(super) fn enter_socket_signal(
        &mut self,
        unit: UnitId,
        state: SubState,
        result: UnitResult,
        cause: Cause,
    ) {
        self.socket_worsen(unit, result);
        self.commands_mut(unit).awaiting = None;
        let mut state = state;
        loop {
            let settings = self.socket_settings(unit).kill;
            let commands = self.commands_mut(unit);
            let (control, occupied) = (commands.control_pid(), commands.occupied);
            if let Some(plan) = kill::plan(&settings, state, false) {
                if control.is_some() {
                    let scope = if plan.group { KillScope::Group } else { KillScope::Known };
                    let record = self.socket_state(unit, state, cause);
                    self.socket_arm(unit);
                    self.commands_mut(unit).count_others = plan.group;
                    let cause = self.kill_cause(unit, &plan, record);
                    self.send(unit, &plan, (None, control), 0, scope, cause);
                    return;
                }
                if plan.group && occupied {
                    self.commands_mut(unit).awaiting = Some((state, cause));
                    self.effect(Effect::Census { unit, expected: vec![] });
                    return;
                }
            }
            state = match state {
                SubState::StopPreSigterm if settings.send_sigkill => SubState::StopPreSigkill,
                SubState::StopPreSigterm | SubState::StopPreSigkill => {
                    return self.enter_socket_stop_post(unit, UnitResult::Success, cause);
                }
                SubState::FinalSigterm if settings.send_sigkill => SubState::FinalSigkill,
                _ => return self.socket_dead(unit, UnitResult::Success, cause),
            };
        }
    }

    /// The census that a signal state waited for is there: `others` are left to be signalled.
    pub(crate) fn socket_kill_after_census(&mut self, unit: UnitId, awaited: (SubState, Cause), others: u32) {
        let (state, cause) = awaited;
        let settings = self.socket_settings(unit).kill;
        match kill::plan(&settings, state, false) {
            Some(plan) if others > 0 => {
                let record = self.socket_state(unit, state, cause);
                self.socket_arm(unit);
                self.commands_mut(unit).count_others = false;
                let cause = self.kill_cause(unit, &plan, record);
                self.send(unit, &plan, (None, None), others, KillScope::Others, cause);
            }
            _ => {
                self.commands_mut(unit).occupied = false;
                self.enter_socket_signal(unit, state, UnitResult::Success, cause);
            }
        }
    }

    /// Down. Whoever is still in the group was left behind.
    pub(super) fn socket_dead(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        self.socket_worsen(unit, result);
        let failed = self.units[unit.0 as usize].result() != UnitResult::Success;
        let was_up = !is_down(self.active_state(unit));
        let invocation = self.units[unit.0 as usize].invocation;
        let commands = self.commands_mut(unit);
        (commands.awaiting, commands.control) = (None, None);
        let (occupied, used) = (commands.occupied, core::mem::take(&mut commands.used));
        let to = if failed { SubState::Failed } else { SubState::Dead };
        let record = self.socket_state(unit, to, cause);
        if was_up && occupied {
            self.commands_mut(unit).left_by = Some((invocation, record));
            self.effect(Effect::Census { unit, expected: vec![] });
        }
        if let Some(invocation) = invocation.filter(|_| failed && used) {
            self.effect(Effect::LastWords { unit, invocation, record });
        }
        let job = self.units[unit.0 as usize].job;
        let starts = job.is_some_and(|j| self.jobs[&j].job_type != hence_ledger::JobType::Stop);
        if used && !starts {
            self.release_socket(unit);
        }
    }

    fn release_socket(&mut self, unit: UnitId) {
        let preserve = self.socket_settings(unit).context.runtime_directory_preserve;
        self.effect(Effect::Release { unit, keep_directories: preserve == 2 });
    }

    /// A control process was started.
    pub(crate) fn socket_spawned(&mut self, unit: UnitId, exec: ExecId, pid: u32, start_ticks: u64) {
        let commands = self.commands_mut(unit);
        if commands.start != Some(exec) {
            return;
        }
        commands.start = None;
        let Some(control) = &mut commands.control else { return };
        control.pid = Some(pid);
        let fact = Fact::ProcessStarted { pid, start_ticks, role: role(control.phase) };
        let cause = here(self.units[unit.0 as usize].record);
        self.record(Some(unit), vec![cause], fact);
    }

    /// A control process could not be started. What never became its program counts as one that ended with
    /// systemd's exit status for that; what could not even be forked is `resources`.
    pub(crate) fn socket_spawn_failed(
        &mut self,
        unit: UnitId,
        exec: ExecId,
        step: SpawnStep,
        errno: i32,
        subject: Text,
    ) {
        let commands = self.commands_mut(unit);
        if commands.start != Some(exec) {
            return;
        }
        commands.start = None;
        let Some(control) = commands.control else { return };
        let fact = Fact::SpawnFailed { role: role(control.phase), step, errno, subject };
        let cause = here(self.units[unit.0 as usize].record);
        let record = self.record(Some(unit), vec![cause], fact);
        if let Some(status) = status_of(step) {
            return self.socket_control_exited(unit, Exit { kind: ExitKind::Exited, status }, here(record));
        }
        let first = control.index == 0;
        self.commands_mut(unit).control = None;
        let (cause, failed) = (here(record), UnitResult::Resources);
        match control.phase {
            ExecPhase::StartPre if first => self.socket_dead(unit, failed, cause),
            ExecPhase::StartPost => self.socket_down(unit, failed, cause),
            ExecPhase::Stop if first => self.enter_socket_stop_post(unit, failed, cause),
            _ => self.enter_socket_signal(unit, SubState::FinalSigterm, failed, cause),
        }
    }

    /// A control process ended.
    pub(crate) fn socket_exited(
        &mut self,
        unit: UnitId,
        pid: u32,
        exit: Option<Exit>,
        (cpu_us, peak_bytes): (u64, u64),
        spawn_error: Option<(SpawnStep, i32)>,
    ) {
        let commands = self.commands_mut(unit);
        let Some(control) = commands.control.filter(|c| c.pid == Some(pid)) else { return };
        let mut causes: Vec<Cause> = commands.signal_record.map(here).into_iter().collect();
        let role = role(control.phase);
        if let Some((step, errno)) = spawn_error {
            let command = self.socket_settings(unit).commands(control.phase).get(control.index as usize);
            let subject = command.map_or_else(|| Text::from(""), |c| Text::from(&*c.path));
            let before = self.before_failure(unit);
            let fact = Fact::SpawnFailed { role, step, errno, subject };
            causes.push(here(self.record(Some(unit), vec![before], fact)));
        }
        // Where hence isn't the parent the status is lost: an end without one counts as clean.
        let exit = exit.unwrap_or(Exit { kind: ExitKind::Exited, status: 0 });
        if causes.is_empty() && exit.kind == ExitKind::Exited && exit.status == 0 {
            // It did what it was started for: what led to its start led to what comes now.
            causes.push(here(self.units[unit.0 as usize].record));
        }
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us, peak_bytes };
        let record = self.record(Some(unit), causes, fact);
        self.socket_control_exited(unit, exit, here(record));
    }

    fn socket_control_exited(&mut self, unit: UnitId, exit: Exit, cause: Cause) {
        let Some(control) = self.commands_mut(unit).control.take() else { return };
        let commands = self.socket_settings(unit).commands(control.phase);
        let mut result = result_of(exit, false, &ExitStatusSet::default());
        if commands.get(control.index as usize).is_some_and(|c| c.ignore_failure) {
            result = UnitResult::Success;
        }
        let ok = result == UnitResult::Success;
        let next = control.index as usize + 1 < commands.len() && ok;
        self.socket_worsen(unit, result);
        if self.commands_mut(unit).awaiting.is_some() {
            return;
        }
        let sub = self.units[unit.0 as usize].sub_state();
        if next && runs_on(sub, control.phase) {
            return self.socket_run(unit, control.phase, control.index + 1, cause);
        }
        match sub {
            SubState::StartPre if ok => self.open_sockets(unit, cause),
            SubState::StartPre => self.enter_socket_signal(unit, SubState::FinalSigterm, result, cause),
            SubState::StartPost if ok => drop(self.socket_state(unit, SubState::Listening, cause)),
            SubState::StartPost => self.socket_down(unit, result, cause),
            SubState::StopPre | SubState::StopPreSigterm | SubState::StopPreSigkill => {
                self.enter_socket_stop_post(unit, result, cause);
            }
            SubState::StopPost => self.enter_socket_signal(unit, SubState::FinalSigterm, result, cause),
            SubState::FinalSigterm | SubState::FinalSigkill => self.socket_group_ends(unit, sub, cause),
            _ => {}
        }
    }

    /// The control process is gone in a final state: dead, unless others of the group are still being ended.
    fn socket_group_ends(&mut self, unit: UnitId, sub: SubState, cause: Cause) {
        let settings = self.socket_settings(unit).kill;
        // KillMode=mixed: the others are killed once the control process is gone.
        let mixed = settings.mode == hence_unit::config::KillMode::Mixed && settings.send_sigkill;
        let group = kill::plan(&settings, sub, false).is_some_and(|plan| plan.group);
        if (group || mixed && sub == SubState::FinalSigterm) && self.commands_mut(unit).occupied {
            self.enter_socket_signal(unit, sub, UnitResult::Success, cause);
        } else {
            self.socket_dead(unit, UnitResult::Success, cause);
        }
    }

    /// TimeoutSec= is over.
    pub(crate) fn socket_deadline(&mut self, unit: UnitId, after_us: u64) {
        use SubState::*;
        self.commands_mut(unit).deadline = None;
        let u = &self.units[unit.0 as usize];
        let sub = u.sub_state();
        let deadline = match sub {
            StartPre | StartChown | StartPost => DeadlineKind::TimeoutStart,
            _ => DeadlineKind::TimeoutStop,
        };
        let rule = u.config.rule_with("TimeoutSec", &span_text(after_us));
        let own = Cause { record: u.record, rule: Some(rule) };
        let record = self.record(Some(unit), vec![own], Fact::DeadlineReached { deadline, after_us });
        let cause = here(record);
        self.commands_mut(unit).awaiting = None;
        let sigkill = self.socket_settings(unit).kill.send_sigkill;
        let timeout = UnitResult::Timeout;
        match sub {
            StartPre | StopPost => self.enter_socket_signal(unit, FinalSigterm, timeout, cause),
            StartPost => self.socket_down(unit, timeout, cause),
            StopPre => self.enter_socket_signal(unit, StopPreSigterm, timeout, cause),
            StopPreSigterm if sigkill => self.enter_socket_signal(unit, StopPreSigkill, timeout, cause),
            StopPreSigterm | StopPreSigkill => self.enter_socket_stop_post(unit, timeout, cause),
            FinalSigterm if sigkill => self.enter_socket_signal(unit, FinalSigkill, timeout, cause),
            FinalSigterm | FinalSigkill => self.socket_dead(unit, timeout, cause),
            _ => {}
        }
    }

    /// How many processes beside the control process got the signal.
    pub(crate) fn socket_killed(&mut self, unit: UnitId, others: u32, empty: bool) {
        let sub = self.units[unit.0 as usize].sub_state();
        let settings = self.socket_settings(unit).kill;
        let commands = self.commands_mut(unit);
        let counts = core::mem::take(&mut commands.count_others) && others > 0;
        if let Some(record) = commands.signal_record.filter(|_| counts)
            && let Some(plan) = kill::plan(&settings, sub, false)
        {
            let (signal, reason) = (plan.signal, plan.reason);
            let fact = Fact::SignalSent { signal, reason, main: false, control: false, others };
            let record = self.record(Some(unit), vec![here(record)], fact);
            self.commands_mut(unit).signal_record = Some(record);
        }
        if empty {
            self.socket_emptied(unit);
        }
    }

    /// Nobody is left in the unit's group.
    pub(crate) fn socket_emptied(&mut self, unit: UnitId) {
        let own = self.units[unit.0 as usize].record;
        let sub = self.units[unit.0 as usize].sub_state();
        let commands = self.commands_mut(unit);
        if !commands.is_alone() {
            return;
        }
        commands.occupied = false;
        if let Some((state, cause)) = commands.awaiting.take() {
            // That is what the census would say; where it hasn't begun it needn't.
            self.forgo_census(unit);
            return self.enter_socket_signal(unit, state, UnitResult::Success, cause);
        }
        let cause = here(commands.signal_record.unwrap_or(own));
        match sub {
            SubState::StopPreSigterm | SubState::StopPreSigkill => {
                self.enter_socket_stop_post(unit, UnitResult::Success, cause);
            }
            SubState::FinalSigterm | SubState::FinalSigkill => {
                self.socket_dead(unit, UnitResult::Success, cause);
            }
            SubState::Dead | SubState::Failed => self.release_socket(unit),
            _ => {}
        }
    }

    /// What a census says of a socket's group: a kill may wait for it. Otherwise who left them, where the
    /// socket is down.
    pub(crate) fn socket_census(
        &mut self,
        unit: UnitId,
        others: u32,
        unread: bool,
    ) -> Option<(Option<Invocation>, RecordId)> {
        let State::Socket(socket) = &mut self.units[unit.0 as usize].state else { return None };
        let commands = &mut socket.commands;
        // A start that was asked for meanwhile isn't in the count.
        commands.occupied = others > 0 || !commands.is_alone();
        if let Some(awaited) = commands.awaiting.take() {
            self.socket_kill_after_census(unit, awaited, others);
            return None;
        }
        if unread { None } else { commands.left_by.take() }
    }
}
