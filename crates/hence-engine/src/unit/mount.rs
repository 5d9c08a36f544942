//! Mount units: systemd.mount(5). mount(8) and umount(8) run as control processes; what is mounted is told by
//! the kernel, and the unit follows. Remounting (reload) is not done.

use super::{State, command_text};
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor};
use crate::job::Performed;
use crate::{Effect, Engine, ExecId, Kill, KillScope, Spawn, UnitId};
use alloc::{collections::BTreeSet, vec, vec::Vec};
use hence_ledger::{
    Cause, DeadlineKind, Exit, ExitKind, Fact, JobResult, ProcessRole, RecordId, SignalReason, SpawnStep,
    SubState, Text, UnitResult,
};
use hence_unit::{Kind, UnitName, config::ExecPhase, mount::MountConfig};

/// The machine of a mount.
#[derive(Clone, Debug)]
pub struct Mount {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// The process that mounts or unmounts.
    control: Option<u32>,
    starting: Option<ExecId>,
    deadline: Option<Armed>,
    /// The kernel says that something is mounted there.
    mounted: bool,
    /// The record of the signal that a process was sent for taking too long.
    killed: Option<RecordId>,
}

impl Default for Mount {
    fn default() -> Self {
        Mount {
            sub: SubState::Dead,
            result: UnitResult::Success,
            control: None,
            starting: None,
            deadline: None,
            mounted: false,
            killed: None,
        }
    }
}

carry_machine! { Mount { sub, result, control, deadline, mounted, killed } }

impl Mount {
    /// The process that mounts or unmounts.
    pub fn control_pid(&self) -> Option<u32> {
        self.control
    }

    /// Whether nothing is mounted there and no command is at work.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.mounted && self.control.is_none() && self.starting.is_none()
    }
}

impl Engine {
    fn mount(&mut self, unit: UnitId) -> Option<&mut Mount> {
        match &mut self.units[unit.0 as usize].state {
            State::Mount(m) => Some(m),
            _ => None,
        }
    }

    fn mount_config(&self, unit: UnitId) -> Option<&MountConfig> {
        match &self.units[unit.0 as usize].config.kind {
            Kind::Mount(mount) => Some(mount),
            _ => None,
        }
    }

    fn mount_state(&mut self, unit: UnitId, to: SubState, causes: Vec<Cause>) -> RecordId {
        let mut deadline = self.mount(unit).and_then(|m| m.deadline.take());
        self.deadlines.disarm(&mut deadline);
        let put = |state: &mut State| {
            if let State::Mount(m) = state {
                m.sub = to;
            }
        };
        self.set_state(unit, put, causes, false, false)
    }

    pub(crate) fn start_mount(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.units[unit.0 as usize].sub_state() {
            SubState::Mounting => return Performed::Begun,
            SubState::Unmounting => return Performed::Later,
            _ => {}
        }
        if self.mount_config(unit).is_none_or(|m| m.mount.is_empty()) {
            return Performed::End(JobResult::Failed);
        }
        if let Err(record) = self.test_start_limit(unit, cause) {
            self.mount_down(unit, UnitResult::StartLimitHit, Cause { record, rule: None });
            return Performed::End(JobResult::Failed);
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        if let Some(mount) = self.mount(unit) {
            mount.result = UnitResult::Success;
        }
        self.mount_runs(unit, SubState::Mounting, cause.clone());
        Performed::Begun
    }

    pub(crate) fn stop_mount(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.units[unit.0 as usize].sub_state() {
            SubState::Unmounting => return Performed::Begun,
            SubState::Mounting => return Performed::Later,
            _ => {}
        }
        if self.mount_config(unit).is_none_or(|m| m.unmount.is_empty()) {
            return Performed::End(JobResult::Failed);
        }
        self.mount_runs(unit, SubState::Unmounting, cause.clone());
        Performed::Begun
    }

    /// Runs the command of this state.
    fn mount_runs(&mut self, unit: UnitId, to: SubState, cause: Cause) {
        let record = self.mount_state(unit, to, vec![cause]);
        let (role, phase) = match to {
            SubState::Mounting => (ProcessRole::Start, ExecPhase::Start),
            _ => (ProcessRole::Stop, ExecPhase::Stop),
        };
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Mount(mount) = &config.kind else { return };
        let commands = if phase == ExecPhase::Start { &mount.mount } else { &mount.unmount };
        let Some(command) = commands.first() else { return };
        let fact = Fact::Starting { role, command: command_text(command) };
        self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        let exec = self.next_exec();
        self.starts.insert(exec, unit);
        let timeout = mount.timeout;
        self.effect(Effect::Spawn(alloc::boxed::Box::new(Spawn {
            exec,
            unit,
            role,
            phase,
            index: 0,
            invocation: self.units[unit.0 as usize].invocation.unwrap_or_default(),
            environment: Vec::new(),
            confirm: true,
            notify: false,
            sockets: Vec::new(),
            connection: None,
            first_of_invocation: true,
            config: config.clone(),
        })));
        let armed = self.deadlines.arm(self.now.monotonic_us, timeout, DeadlineFor::State(unit));
        if let Some(mount) = self.mount(unit) {
            mount.starting = Some(exec);
            mount.deadline = armed;
            mount.killed = None;
        }
    }

    pub(crate) fn mount_spawned(&mut self, unit: UnitId, pid: u32, start_ticks: u64) {
        let role = match self.units[unit.0 as usize].sub_state() {
            SubState::Mounting => ProcessRole::Start,
            _ => ProcessRole::Stop,
        };
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        self.record(Some(unit), vec![cause], Fact::ProcessStarted { pid, start_ticks, role });
        if let Some(mount) = self.mount(unit) {
            mount.starting = None;
            mount.control = Some(pid);
        }
    }

    pub(crate) fn mount_spawn_failed(&mut self, unit: UnitId, step: SpawnStep, errno: i32, subject: Text) {
        let role = match self.units[unit.0 as usize].sub_state() {
            SubState::Mounting => ProcessRole::Start,
            _ => ProcessRole::Stop,
        };
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![cause], Fact::SpawnFailed { role, step, errno, subject });
        if let Some(mount) = self.mount(unit) {
            mount.starting = None;
        }
        self.mount_command_over(unit, UnitResult::Resources, Cause { record, rule: None });
    }

    pub(crate) fn mount_exited(
        &mut self,
        unit: UnitId,
        pid: u32,
        exit: Option<Exit>,
        cpu_us: u64,
        peak_bytes: u64,
    ) {
        let Some(mount) = self.mount(unit).filter(|m| m.control == Some(pid)) else { return };
        mount.control = None;
        let killed = mount.killed;
        let own = self.units[unit.0 as usize].record;
        let role = match self.units[unit.0 as usize].sub_state() {
            SubState::Mounting => ProcessRole::Start,
            _ => ProcessRole::Stop,
        };
        let exit = exit.unwrap_or(Exit { kind: ExitKind::Exited, status: 0 });
        // What goes well is no reason of its own: whoever asked for it is.
        let good = exit == Exit { kind: ExitKind::Exited, status: 0 };
        let cause = killed.or(good.then_some(own));
        let causes = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us, peak_bytes };
        let record = self.record(Some(unit), causes, fact);
        let result = match exit {
            _ if killed.is_some() => UnitResult::Timeout,
            Exit { kind: ExitKind::Exited, status: 0 } => UnitResult::Success,
            Exit { kind: ExitKind::Killed, .. } => UnitResult::Signal,
            Exit { kind: ExitKind::Dumped, .. } => UnitResult::CoreDump,
            _ => UnitResult::ExitCode,
        };
        self.mount_command_over(unit, result, Cause { record, rule: None });
    }

    /// mount(8) or umount(8) is over.
    fn mount_command_over(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let mounting = self.units[unit.0 as usize].sub_state() == SubState::Mounting;
        let good = result == UnitResult::Success;
        let Some(mount) = self.mount(unit) else { return };
        match (mounting, good) {
            (true, true) => {
                mount.mounted = true;
                self.mount_state(unit, SubState::Mounted, vec![cause]);
            }
            (false, true) => {
                mount.mounted = false;
                self.mount_down(unit, UnitResult::Success, cause);
            }
            // It is still there, whatever was asked for.
            (false, false) if mount.mounted => {
                mount.result = result;
                self.mount_state(unit, SubState::Mounted, vec![cause]);
            }
            // It was gone already.
            (false, false) => self.mount_down(unit, UnitResult::Success, cause),
            (true, false) => self.mount_down(unit, result, cause),
        }
    }

    fn mount_down(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let to = if result == UnitResult::Success { SubState::Dead } else { SubState::Failed };
        if let Some(mount) = self.mount(unit) {
            mount.result = result;
        }
        self.mount_state(unit, to, vec![cause]);
        self.effect(Effect::Release { unit, keep_directories: true });
    }

    pub(crate) fn mount_deadline(&mut self, unit: UnitId, after_us: u64) {
        let deadline = match self.units[unit.0 as usize].sub_state() {
            SubState::Mounting => DeadlineKind::TimeoutStart,
            SubState::Unmounting => DeadlineKind::TimeoutStop,
            _ => return,
        };
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![cause], Fact::DeadlineReached { deadline, after_us });
        let Some(mount) = self.mount(unit) else { return };
        mount.deadline = None;
        let Some(control) = mount.control else { return };
        const SIGKILL: u8 = 9;
        let reason = SignalReason::Final;
        let fact = Fact::SignalSent { signal: SIGKILL, reason, main: false, control: true, others: 0 };
        let record = self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        if let Some(mount) = self.mount(unit) {
            mount.killed = Some(record);
        }
        self.effect(Effect::Kill(Kill {
            unit,
            scope: KillScope::Known,
            main: None,
            control: Some(control),
            signal: SIGKILL,
            then_continue: false,
            hangup: false,
            reason: SignalReason::Final,
            report_empty: false,
        }));
    }

    /// What is mounted has changed, or is told for the first time.
    pub(crate) fn mounts_changed(&mut self, mounted: Vec<UnitName>) {
        let units: BTreeSet<UnitId> = mounted.iter().map(|name| self.reference(name)).collect();
        let first = self.started.filter(|_| !core::mem::replace(&mut self.mounts_known, true));
        let mut root = first;
        for index in 0..self.units.len() {
            let unit = UnitId(index as u32);
            let there = units.contains(&unit);
            let Some(mount) = self.mount(unit) else { continue };
            if mount.mounted == there {
                continue;
            }
            mount.mounted = there;
            let to = match (mount.sub, there) {
                (SubState::Dead | SubState::Failed, true) => SubState::Mounted,
                (SubState::Mounted, false) => SubState::Dead,
                // A command is at work, and its end says more; or one failed.
                _ => {
                    self.may_go(unit);
                    continue;
                }
            };
            mount.result = UnitResult::Success;
            let record = match root {
                Some(record) => record,
                None => {
                    let ruled_out = "no unit's command mounted or unmounted it".into();
                    self.record(None, Vec::new(), Fact::Unknown { ruled_out })
                }
            };
            root = Some(record);
            self.mount_state(unit, to, vec![Cause { record, rule: None }]);
        }
    }
}
