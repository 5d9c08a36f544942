//! Mount and swap units, systemd.mount(5) and systemd.swap(5): what a command attaches to the system and
//! another one detaches. Both run as control processes; what is attached is told by the kernel, and the unit
//! follows. One machine, and a table of what differs. A command that takes too long or isn't wanted any more
//! is ended as systemd.kill(5) says. Remounting (reload) is not done.

use super::{Rules, State, command_text, kill, status_of};
use crate::carry::{Section, Unread, Writer, carry_machine};
use crate::deadline::{Armed, DeadlineFor};
use crate::job::Performed;
use crate::{Effect, Engine, ExecId, KillScope, Role, Spawn, UnitId};
use alloc::{boxed::Box, collections::BTreeSet, vec, vec::Vec};
use hence_ledger::{
    Cause, DeadlineKind, Exit, ExitKind, Fact, JobResult, ProcessRole, RecordId, SpawnStep, SubState, Text,
    UnitResult, record::Invocation,
};
use hence_unit::{
    Kind, UnitName,
    config::{Command, ExecPhase},
};

/// What differs between the kinds.
#[derive(Debug)]
pub(crate) struct Traits {
    attaching: SubState,
    up: SubState,
    detaching: SubState,
    /// A command was sent KillSignal=, then FinalKillSignal=.
    ending: [SubState; 2],
    /// The word by which a successor is told that it is attached.
    carried: &'static str,
    /// Whether it is a container's business.
    in_containers: bool,
    /// A start that failed leaves it up where the kernel says that it is attached.
    stays_up: bool,
    /// A start that went well is none where the kernel says that nothing is attached.
    must_show: bool,
    /// What is known not to have changed it, where nothing is known that did.
    ruled_out: &'static str,
}

/// mount(8) and umount(8).
pub(crate) const MOUNT: Traits = Traits {
    attaching: SubState::Mounting,
    up: SubState::Mounted,
    detaching: SubState::Unmounting,
    ending: [SubState::UnmountingSigterm, SubState::UnmountingSigkill],
    carried: "mounted",
    in_containers: true,
    stays_up: false,
    must_show: true,
    ruled_out: "no unit's command mounted or unmounted it",
};

/// swapon(8) and swapoff(8). The machine's swap space is not a container's business.
pub(crate) const SWAP: Traits = Traits {
    attaching: SubState::SwapActivating,
    up: SubState::Active,
    detaching: SubState::SwapDeactivating,
    ending: [SubState::SwapDeactivatingSigterm, SubState::SwapDeactivatingSigkill],
    carried: "on",
    in_containers: false,
    stays_up: true,
    must_show: false,
    ruled_out: "a unit's command that switched it on or off",
};

impl Traits {
    /// Whether such a unit can be in this state.
    pub(crate) fn has(&self, sub: SubState) -> bool {
        let own = [self.attaching, self.up, self.detaching];
        matches!(sub, SubState::Dead | SubState::Failed) || own.contains(&sub) || self.ending.contains(&sub)
    }
}

/// The machine of a mount or a swap space.
#[derive(Clone, Debug)]
pub struct Attached {
    pub(crate) sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// The process that attaches or detaches it.
    control: Option<u32>,
    starting: Option<ExecId>,
    deadline: Option<Armed>,
    /// The kernel says that it is attached.
    there: bool,
    /// The command that is at work, or was, attaches it.
    attaches: bool,
    /// The record of the last signal that the process was sent.
    pub(crate) killed: Option<RecordId>,
    /// The invocation whose left-over processes the next census counts, and the record of its end.
    pub(crate) left_by: Option<Box<(Option<Invocation>, RecordId)>>,
    /// What the kernel had told of such units when the command began.
    told: u32,
}

impl Default for Attached {
    fn default() -> Self {
        Attached {
            sub: SubState::Dead,
            result: UnitResult::Success,
            control: None,
            starting: None,
            deadline: None,
            there: false,
            attaches: true,
            killed: None,
            left_by: None,
            told: 0,
        }
    }
}

carry_machine! { Attached { sub, result, control, deadline, attaches, killed, left_by } }

impl Attached {
    /// Writes what a successor needs.
    pub(crate) fn put(&self, traits: &Traits, out: &mut Writer) {
        self.put_fields(out);
        out.field(traits.carried, &self.there);
    }

    /// As it was written.
    pub(crate) fn taken(traits: &Traits, from: &Section<'_>) -> Result<Box<Attached>, Unread> {
        let mut taken = Box::<Attached>::default();
        taken.take_fields(from)?;
        taken.there = from.get(traits.carried)?.unwrap_or_default();
        Ok(taken)
    }

    /// The process that attaches or detaches it.
    pub fn control_pid(&self) -> Option<u32> {
        self.control
    }

    /// Whether it is not attached and no command is at work.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.there && self.control.is_none() && self.starting.is_none()
    }
}

/// The commands that attach it, those that detach it, and how long one may take.
fn commands(kind: &Kind) -> (&[Command], &[Command], u64) {
    match kind {
        Kind::Mount(mount) => (&mount.mount, &mount.unmount, mount.timeout),
        Kind::Swap(swap) => (&swap.swapon, &swap.swapoff, swap.timeout),
        _ => (&[], &[], 0),
    }
}

impl Engine {
    fn attached(&mut self, unit: UnitId) -> Option<&mut Attached> {
        match &mut self.units[unit.0 as usize].state {
            State::Mount(attached) | State::Swap(attached) => Some(attached),
            _ => None,
        }
    }

    fn attached_ref(&self, unit: UnitId) -> Option<&Attached> {
        match &self.units[unit.0 as usize].state {
            State::Mount(attached) | State::Swap(attached) => Some(attached),
            _ => None,
        }
    }

    fn traits(&self, unit: UnitId) -> &'static Traits {
        match self.units[unit.0 as usize].state {
            State::Swap(_) => &SWAP,
            _ => &MOUNT,
        }
    }

    fn attached_state(&mut self, unit: UnitId, to: SubState, causes: Vec<Cause>) -> RecordId {
        let mut deadline = self.attached(unit).and_then(|a| a.deadline.take());
        self.deadlines.disarm(&mut deadline);
        let put = |state: &mut State| {
            if let State::Mount(attached) | State::Swap(attached) = state {
                attached.sub = to;
            }
        };
        self.set_state(unit, put, causes, false, false)
    }

    pub(crate) fn attach(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let traits = self.traits(unit);
        let u = &self.units[unit.0 as usize];
        match u.sub_state() {
            sub if sub == traits.attaching => return Performed::Begun,
            sub if sub == traits.detaching || traits.ending.contains(&sub) => return Performed::Later,
            _ => {}
        }
        if self.settings.role == Role::Container && !traits.in_containers {
            return Performed::End(JobResult::Unsupported);
        }
        if commands(&u.config.kind).0.is_empty() {
            return Performed::End(JobResult::Failed);
        }
        if let Err(record) = self.test_start_limit(unit, cause) {
            let result = self.limited_result(unit);
            self.detached(unit, result, Cause { record, rule: None });
            return Performed::End(JobResult::Failed);
        }
        self.units[unit.0 as usize].invocation = Some(self.next_invocation());
        if let Some(attached) = self.attached(unit) {
            attached.result = UnitResult::Success;
        }
        self.run_command(unit, traits.attaching, cause.clone());
        Performed::Begun
    }

    pub(crate) fn detach(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let traits = self.traits(unit);
        let u = &self.units[unit.0 as usize];
        match u.sub_state() {
            sub if sub == traits.detaching || traits.ending.contains(&sub) => return Performed::Begun,
            sub if sub == traits.attaching => {
                self.end_command(unit, traits.ending[0], UnitResult::Success, cause.clone());
                return Performed::Begun;
            }
            _ => {}
        }
        if commands(&u.config.kind).1.is_empty() {
            return Performed::End(JobResult::Failed);
        }
        self.run_command(unit, traits.detaching, cause.clone());
        Performed::Begun
    }

    fn command_role(&self, unit: UnitId) -> ProcessRole {
        let sub = self.units[unit.0 as usize].sub_state();
        let traits = self.traits(unit);
        let stop = sub == traits.detaching
            || traits.ending.contains(&sub) && self.attached_ref(unit).is_some_and(|a| !a.attaches);
        if stop { ProcessRole::Stop } else { ProcessRole::Start }
    }

    /// Runs the command of this state.
    fn run_command(&mut self, unit: UnitId, to: SubState, cause: Cause) {
        let record = self.attached_state(unit, to, vec![cause]);
        let role = self.command_role(unit);
        let config = self.units[unit.0 as usize].config.clone();
        let (attach, detach, timeout) = commands(&config.kind);
        let (phase, all) = match role {
            ProcessRole::Start => (ExecPhase::Start, attach),
            _ => (ExecPhase::Stop, detach),
        };
        let Some(command) = all.first() else { return };
        let fact = Fact::Starting { role, command: command_text(command) };
        self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        let exec = self.next_exec();
        self.starts.insert(exec, unit);
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
            first_of_invocation: role == ProcessRole::Start,
            config: config.clone(),
        })));
        let armed = self.deadlines.arm(self.now.monotonic_us, timeout, DeadlineFor::State(unit));
        let told = self.mounts_told;
        if let Some(attached) = self.attached(unit) {
            attached.starting = Some(exec);
            attached.deadline = armed;
            attached.attaches = role == ProcessRole::Start;
            attached.told = told;
            (attached.killed, attached.left_by) = (None, None);
        }
    }

    /// The unit's lines are others now: a command that is at work has as long as the new ones say, from when
    /// it began.
    pub(crate) fn rearm_command(&mut self, unit: UnitId) {
        let u = &self.units[unit.0 as usize];
        let (began, (.., timeout)) = (u.times.state_change.monotonic_us, commands(&u.config.kind));
        let Some(mut old) = self.attached(unit).map(|attached| attached.deadline.take()) else { return };
        // None: nothing is at work, or it was killed for taking too long.
        if old.is_none() {
            return;
        }
        self.deadlines.disarm(&mut old);
        let armed = self.deadlines.arm(began, timeout, DeadlineFor::State(unit));
        if let Some(attached) = self.attached(unit) {
            attached.deadline = armed;
        }
    }

    pub(crate) fn command_spawned(&mut self, unit: UnitId, pid: u32, start_ticks: u64) {
        let role = self.command_role(unit);
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        self.record(Some(unit), vec![cause], Fact::ProcessStarted { pid, start_ticks, role });
        if let Some(attached) = self.attached(unit) {
            attached.starting = None;
            attached.control = Some(pid);
        }
    }

    pub(crate) fn command_spawn_failed(&mut self, unit: UnitId, step: SpawnStep, errno: i32, subject: Text) {
        let role = self.command_role(unit);
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![cause], Fact::SpawnFailed { role, step, errno, subject });
        if let Some(attached) = self.attached(unit) {
            attached.starting = None;
        }
        // What never became its program counts as one that ended with systemd's exit status for that.
        let result = if status_of(step).is_some() { UnitResult::ExitCode } else { UnitResult::Resources };
        self.command_over(unit, result, Cause { record, rule: None });
    }

    pub(crate) fn command_exited(
        &mut self,
        unit: UnitId,
        pid: u32,
        exit: Option<Exit>,
        (cpu_us, peak_bytes): (u64, u64),
    ) {
        let role = self.command_role(unit);
        let own = self.units[unit.0 as usize].record;
        let Some(attached) = self.attached(unit).filter(|a| a.control == Some(pid)) else { return };
        attached.control = None;
        let killed = attached.killed;
        let exit = exit.unwrap_or(Exit { kind: ExitKind::Exited, status: 0 });
        let good = exit == Exit { kind: ExitKind::Exited, status: 0 };
        // What goes well is no reason of its own: whoever asked for it is.
        let cause = killed.or(good.then_some(own));
        let causes = cause.map(|record| Cause { record, rule: None }).into_iter().collect();
        let fact = Fact::ProcessExited { pid, role, exit, cpu_us, peak_bytes };
        let record = self.record(Some(unit), causes, fact);
        let result = match exit {
            _ if good => UnitResult::Success,
            Exit { kind: ExitKind::Killed, .. } => UnitResult::Signal,
            Exit { kind: ExitKind::Dumped, .. } => UnitResult::CoreDump,
            _ => UnitResult::ExitCode,
        };
        self.command_over(unit, result, Cause { record, rule: None });
    }

    /// The command that attaches or detaches it is over.
    fn command_over(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let traits = self.traits(unit);
        let told = self.mounts_told;
        let sub = self.units[unit.0 as usize].sub_state();
        let good = result == UnitResult::Success;
        let Some(attached) = self.attached(unit) else { return };
        if sub == traits.attaching && good && !attached.there && traits.must_show && attached.told != told {
            // It was mounted where nobody else sees it.
            return self.settled(unit, false, UnitResult::Protocol, cause);
        }
        if good && !traits.ending.contains(&sub) {
            attached.there = sub == traits.attaching;
        }
        let up = attached.there && (good || sub != traits.attaching || traits.stays_up);
        // What is gone already can't be detached.
        let gone = sub == traits.detaching && result == UnitResult::ExitCode && !attached.there;
        self.settled(unit, up, if gone { UnitResult::Success } else { result }, cause);
    }

    /// No command is at work any more: up or down, with the first failure since the start.
    fn settled(&mut self, unit: UnitId, up: bool, result: UnitResult, cause: Cause) {
        let result = self.worsened(unit, result);
        if up {
            let traits = self.traits(unit);
            self.attached_state(unit, traits.up, vec![cause]);
        } else {
            self.detached(unit, result, cause);
        }
    }

    /// The result, which is that of the first failure.
    fn worsened(&mut self, unit: UnitId, result: UnitResult) -> UnitResult {
        let Some(attached) = self.attached(unit) else { return result };
        if attached.result == UnitResult::Success {
            attached.result = result;
        }
        attached.result
    }

    /// Sends the command that is at work the signals of systemd.kill(5). Where there is nobody to wait for,
    /// it falls through to what comes after it.
    fn end_command(&mut self, unit: UnitId, to: SubState, result: UnitResult, cause: Cause) {
        self.worsened(unit, result);
        let traits = self.traits(unit);
        let config = self.units[unit.0 as usize].config.clone();
        let settings = config.kill();
        let control = self.attached_ref(unit).and_then(|attached| attached.control);
        let mut to = to;
        loop {
            if let (Some(plan), Some(_)) = (kill::plan(&settings, to, false), control) {
                let record = self.attached_state(unit, to, vec![cause]);
                let (.., timeout) = commands(&config.kind);
                let armed = self.deadlines.arm(self.now.monotonic_us, timeout, DeadlineFor::State(unit));
                if let Some(attached) = self.attached(unit) {
                    attached.deadline = armed;
                }
                let scope = if plan.group { KillScope::Group } else { KillScope::Known };
                let cause = self.kill_cause(unit, &plan, record);
                self.send(unit, &plan, (None, control), 0, scope, cause);
                return;
            }
            if to == traits.ending[1] || !settings.send_sigkill {
                return self.given_up(unit, UnitResult::Success, cause);
            }
            to = traits.ending[1];
        }
    }

    /// The command goes on, and nobody waits for it any more.
    fn given_up(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let record = cause.record;
        let Some(attached) = self.attached(unit) else { return };
        attached.control = None;
        attached.killed.get_or_insert(record);
        let up = attached.there;
        self.settled(unit, up, result, cause);
    }

    fn detached(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        let to = if result == UnitResult::Success { SubState::Dead } else { SubState::Failed };
        if let Some(attached) = self.attached(unit) {
            attached.result = result;
        }
        let record = self.attached_state(unit, to, vec![cause]);
        let u = &self.units[unit.0 as usize];
        let preserve = u.config.context().map_or(0, |context| context.runtime_directory_preserve);
        let invocation = u.invocation;
        // Only of a command that was killed it is known that nobody was meant to stay.
        if let Some(attached) = self.attached(unit)
            && attached.killed.take().is_some()
        {
            attached.left_by = Some(Box::new((invocation, record)));
            self.effect(Effect::Census { unit, expected: vec![] });
        }
        self.effect(Effect::Release { unit, keep_directories: preserve == 2 });
    }

    pub(crate) fn command_deadline(&mut self, unit: UnitId, after_us: u64) {
        let traits = self.traits(unit);
        let sub = self.units[unit.0 as usize].sub_state();
        let deadline = match sub {
            sub if sub == traits.attaching => DeadlineKind::TimeoutStart,
            sub if sub == traits.detaching || traits.ending.contains(&sub) => DeadlineKind::TimeoutStop,
            _ => return,
        };
        let config = self.units[unit.0 as usize].config.clone();
        let cause = Cause { record: self.units[unit.0 as usize].record, rule: config.rule("TimeoutSec") };
        let record = self.record(Some(unit), vec![cause], Fact::DeadlineReached { deadline, after_us });
        let cause = Cause { record, rule: None };
        if let Some(attached) = self.attached(unit) {
            attached.deadline = None;
        }
        let [sigterm, sigkill] = traits.ending;
        match sub {
            sub if sub == sigkill || sub == sigterm && !config.kill().send_sigkill => {
                self.given_up(unit, UnitResult::Timeout, cause);
            }
            sub if sub == sigterm => self.end_command(unit, sigkill, UnitResult::Timeout, cause),
            _ => self.end_command(unit, sigterm, UnitResult::Timeout, cause),
        }
    }

    /// What is mounted there went together with the automount point.
    pub(crate) fn detached_with(&mut self, unit: UnitId, cause: Cause) {
        let traits = self.traits(unit);
        let Some(attached) = self.attached(unit).filter(|a| a.there && a.sub == traits.up) else { return };
        attached.there = false;
        self.detached(unit, UnitResult::Success, cause);
    }

    /// What is mounted has changed, or is told for the first time.
    pub(crate) fn mounts_changed(&mut self, mounted: Vec<UnitName>) {
        let there: BTreeSet<UnitId> = mounted.iter().map(|name| self.reference(name)).collect();
        self.mounts_told = self.mounts_told.wrapping_add(1);
        let first = self.started.filter(|_| !core::mem::replace(&mut self.mounts_known, true));
        self.attached_changed(&MOUNT, &there, first, |state| matches!(state, State::Mount(_)));
    }

    /// What is swapped to has changed, or is told for the first time. `aliases`: further names of these
    /// devices, which count only where there is such a unit.
    pub(crate) fn swaps_changed(&mut self, on: Vec<UnitName>, aliases: Vec<UnitName>) {
        let mut there: BTreeSet<UnitId> = on.iter().map(|name| self.reference(name)).collect();
        there.extend(aliases.iter().filter_map(|name| self.find(name.as_str())));
        let first = self.started.filter(|_| !core::mem::replace(&mut self.swaps_known, true));
        self.attached_changed(&SWAP, &there, first, |state| matches!(state, State::Swap(_)));
    }

    /// `first`: the record that what is found for the first time follows from.
    fn attached_changed(
        &mut self,
        traits: &Traits,
        attached_now: &BTreeSet<UnitId>,
        first: Option<RecordId>,
        is_of_kind: impl Fn(&State) -> bool,
    ) {
        let mut root = first;
        for index in 0..self.units.len() {
            let unit = UnitId(index as u32);
            let there = attached_now.contains(&unit);
            if !is_of_kind(&self.units[index].state) {
                continue;
            }
            let Some(attached) = self.attached(unit).filter(|a| a.there != there) else { continue };
            attached.there = there;
            let to = match (attached.sub, there) {
                (SubState::Dead | SubState::Failed, true) => traits.up,
                (sub, false) if sub == traits.up => SubState::Dead,
                // A command is at work, and its end says more; or one failed.
                _ => {
                    self.may_go(unit);
                    continue;
                }
            };
            attached.result = UnitResult::Success;
            let record = match root {
                Some(record) => record,
                None => {
                    let ruled_out = traits.ruled_out.into();
                    self.record(None, Vec::new(), Fact::Unknown { ruled_out })
                }
            };
            root = Some(record);
            self.attached_state(unit, to, vec![Cause { record, rule: None }]);
        }
    }
}
