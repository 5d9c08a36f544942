//! Swap units: systemd.swap(5). swapon(8) and swapoff(8) run as control processes; what is swapped to is told
//! by the kernel, and the unit follows.

use super::{State, command_text};
use crate::carry::carry_machine;
use crate::deadline::{Armed, DeadlineFor};
use crate::job::Performed;
use crate::{Effect, Engine, ExecId, Kill, KillScope, Role, Spawn, UnitId};
use alloc::{boxed::Box, collections::BTreeSet, vec, vec::Vec};
use hence_ledger::{
    Cause, DeadlineKind, Exit, ExitKind, Fact, JobResult, ProcessRole, RecordId, SignalReason, SpawnStep,
    SubState, Text, UnitResult,
};
use hence_unit::{Kind, UnitName, config::ExecPhase, swap::SwapConfig};

/// The machine of a swap space.
#[derive(Clone, Debug)]
pub struct Swap {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// The process that switches it on or off.
    control: Option<u32>,
    starting: Option<ExecId>,
    deadline: Option<Armed>,
    /// The kernel says that it is in use.
    on: bool,
    /// The record of the signal that a process was sent for taking too long.
    killed: Option<RecordId>,
}

impl Default for Swap {
    fn default() -> Self {
        Swap {
            sub: SubState::Dead,
            result: UnitResult::Success,
            control: None,
            starting: None,
            deadline: None,
            on: false,
            killed: None,
        }
    }
}

carry_machine! { Swap { sub, result, control, deadline, on, killed } }

impl Swap {
    /// The process that switches it on or off.
    pub fn control_pid(&self) -> Option<u32> {
        self.control
    }

    /// Whether it is not in use and no command is at work.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.on && self.control.is_none() && self.starting.is_none()
    }
}

impl Engine {
    fn swap(&mut self, unit: UnitId) -> Option<&mut Swap> {
        match &mut self.units[unit.0 as usize].state {
            State::Swap(swap) => Some(swap),
            _ => None,
        }
    }

    fn swap_config(&self, unit: UnitId) -> Option<&SwapConfig> {
        match &self.units[unit.0 as usize].config.kind {
            Kind::Swap(swap) => Some(swap),
            _ => None,
        }
    }

    fn swap_state(&mut self, unit: UnitId, to: SubState, causes: Vec<Cause>) -> RecordId {
        let mut deadline = self.swap(unit).and_then(|s| s.deadline.take());
        self.deadlines.disarm(&mut deadline);
        let put = |state: &mut State| {
            if let State::Swap(swap) = state {
                swap.sub = to;
            }
        };
        self.set_state(unit, put, causes, false, false)
    }

    pub(crate) fn start_swap(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.units[unit.0 as usize].sub_state() {
            SubState::SwapActivating => return Performed::Begun,
            SubState::SwapDeactivating => return Performed::Later,
            _ => {}
        }
        if self.settings.role == Role::Container {
            // The machine's swap space is not a container's business.
            return Performed::End(JobResult::Unsupported);
        }
        if self.swap_config(unit).is_none_or(|s| s.swapon.is_empty()) {
            return Performed::End(JobResult::Failed);
        }
        if let Err(record) = self.test_start_limit(unit, cause) {
            self.swap_down(unit, UnitResult::StartLimitHit, Cause { record, rule: None });
            return Performed::End(JobResult::Failed);
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        if let Some(swap) = self.swap(unit) {
            swap.result = UnitResult::Success;
        }
        self.swap_runs(unit, SubState::SwapActivating, cause.clone());
        Performed::Begun
    }

    pub(crate) fn stop_swap(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.units[unit.0 as usize].sub_state() {
            SubState::SwapDeactivating => return Performed::Begun,
            SubState::SwapActivating => return Performed::Later,
            _ => {}
        }
        if self.swap_config(unit).is_none_or(|s| s.swapoff.is_empty()) {
            return Performed::End(JobResult::Failed);
        }
        self.swap_runs(unit, SubState::SwapDeactivating, cause.clone());
        Performed::Begun
    }

    fn swap_role(&self, unit: UnitId) -> ProcessRole {
        match self.units[unit.0 as usize].sub_state() {
            SubState::SwapActivating => ProcessRole::Start,
            _ => ProcessRole::Stop,
        }
    }

    /// Runs the command of this state.
    fn swap_runs(&mut self, unit: UnitId, to: SubState, cause: Cause) {
        let record = self.swap_state(unit, to, vec![cause]);
        let role = self.swap_role(unit);
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Swap(swap) = &config.kind else { return };
        let (phase, commands) = match role {
            ProcessRole::Start => (ExecPhase::Start, &swap.swapon),
            _ => (ExecPhase::Stop, &swap.swapoff),
        };
        let Some(command) = commands.first() else { return };
        let fact = Fact::Starting { role, command: command_text(command) };
        self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        let exec = self.next_exec();
        self.starts.insert(exec, unit);
        let timeout = swap.timeout;
        self.effect(Effect::Spawn(Box::new(Spawn {
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
        if let Some(swap) = self.swap(unit) {
            swap.starting = Some(exec);
            swap.deadline = armed;
            swap.killed = None;
        }
    }

    pub(crate) fn swap_spawned(&mut self, unit: UnitId, pid: u32, start_ticks: u64) {
        let role = self.swap_role(unit);
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        self.record(Some(unit), vec![cause], Fact::ProcessStarted { pid, start_ticks, role });
        if let Some(swap) = self.swap(unit) {
            swap.starting = None;
            swap.control = Some(pid);
        }
    }

    pub(crate) fn swap_spawn_failed(&mut self, unit: UnitId, step: SpawnStep, errno: i32, subject: Text) {
        let role = self.swap_role(unit);
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![cause], Fact::SpawnFailed { role, step, errno, subject });
        if let Some(swap) = self.swap(unit) {
            swap.starting = None;
        }
        self.swap_command_over(unit, UnitResult::Resources, Cause { record, rule: None });
    }

    pub(crate) fn swap_exited(
        &mut self,
        unit: UnitId,
        pid: u32,
        exit: Option<Exit>,
        cpu_us: u64,
        peak_bytes: u64,
    ) {
        let role = self.swap_role(unit);
        let own = self.units[unit.0 as usize].record;
        let Some(swap) = self.swap(unit).filter(|s| s.control == Some(pid)) else { return };
        swap.control = None;
        let killed = swap.killed;
        let exit = exit.unwrap_or(Exit { kind: ExitKind::Exited, status: 0 });
        let good = exit == Exit { kind: ExitKind::Exited, status: 0 };
        // What goes well is no reason of its own: whoever asked for it is.
        let cause = killed.or(good.then_some(own));
        let causes = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us, peak_bytes };
        let record = self.record(Some(unit), causes, fact);
        let result = match exit {
            _ if killed.is_some() => UnitResult::Timeout,
            _ if good => UnitResult::Success,
            Exit { kind: ExitKind::Killed, .. } => UnitResult::Signal,
            Exit { kind: ExitKind::Dumped, .. } => UnitResult::CoreDump,
            _ => UnitResult::ExitCode,
        };
        self.swap_command_over(unit, result, Cause { record, rule: None });
    }

    /// swapon(8) or swapoff(8) is over.
    fn swap_command_over(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let activating = self.units[unit.0 as usize].sub_state() == SubState::SwapActivating;
        let good = result == UnitResult::Success;
        let Some(swap) = self.swap(unit) else { return };
        if good {
            swap.on = activating;
        }
        if swap.on {
            // Also where it could not be switched off.
            swap.result = result;
            self.swap_state(unit, SubState::Active, vec![cause]);
        } else {
            // One that was off already can't be switched off.
            let result = if activating { result } else { UnitResult::Success };
            self.swap_down(unit, result, cause);
        }
    }

    fn swap_down(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let to = if result == UnitResult::Success { SubState::Dead } else { SubState::Failed };
        if let Some(swap) = self.swap(unit) {
            swap.result = result;
        }
        self.swap_state(unit, to, vec![cause]);
        self.effect(Effect::Release { unit, keep_directories: true });
    }

    pub(crate) fn swap_deadline(&mut self, unit: UnitId, after_us: u64) {
        let deadline = match self.units[unit.0 as usize].sub_state() {
            SubState::SwapActivating => DeadlineKind::TimeoutStart,
            SubState::SwapDeactivating => DeadlineKind::TimeoutStop,
            _ => return,
        };
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![cause], Fact::DeadlineReached { deadline, after_us });
        let Some(swap) = self.swap(unit) else { return };
        swap.deadline = None;
        let Some(control) = swap.control else { return };
        const SIGKILL: u8 = 9;
        let reason = SignalReason::Final;
        let fact = Fact::SignalSent { signal: SIGKILL, reason, main: false, control: true, others: 0 };
        let record = self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        if let Some(swap) = self.swap(unit) {
            swap.killed = Some(record);
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

    /// What is swapped to has changed, or is told for the first time. `aliases`: further names of these
    /// devices, which count only where there is such a unit.
    pub(crate) fn swaps_changed(&mut self, on: Vec<UnitName>, aliases: Vec<UnitName>) {
        let mut units: BTreeSet<UnitId> = on.iter().map(|name| self.reference(name)).collect();
        units.extend(aliases.iter().filter_map(|name| self.find(name.as_str())));
        let first = self.started.filter(|_| !core::mem::replace(&mut self.swaps_known, true));
        let mut root = first;
        for index in 0..self.units.len() {
            let unit = UnitId(index as u32);
            let there = units.contains(&unit);
            let Some(swap) = self.swap(unit) else { continue };
            if swap.on == there {
                continue;
            }
            swap.on = there;
            let to = match (swap.sub, there) {
                (SubState::Dead | SubState::Failed, true) => SubState::Active,
                (SubState::Active, false) => SubState::Dead,
                // A command is at work, and its end says more.
                _ => {
                    self.may_go(unit);
                    continue;
                }
            };
            swap.result = UnitResult::Success;
            let record = match root {
                Some(record) => record,
                None => {
                    let ruled_out = "a unit's command that switched it on or off".into();
                    self.record(None, Vec::new(), Fact::Unknown { ruled_out })
                }
            };
            root = Some(record);
            self.swap_state(unit, to, vec![Cause { record, rule: None }]);
        }
    }
}
