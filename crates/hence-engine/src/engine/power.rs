//! How hence ends and what becomes of the machine then: signals to process 1, FailureAction= and its kin,
//! requests to reboot or to power off. It does not do it: when all is said, the effect `Finished` hands over.

use super::Engine;
use crate::carry::{Carried, Unread, Writer, carry_words};
use crate::restart::RateLimit;
use crate::{Effect, Refusal, UnitId};
use alloc::{format, vec, vec::Vec};
use hence_ledger::{Cause, Fact, JobType, RecordId};
use hence_unit::{
    LoadState, UnitName,
    config::{EmergencyAction, JobMode},
};

/// What this hence is to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Somebody else's process: it ends by itself and leaves the machine alone.
    #[default]
    Foreground,
    /// Process 1 of a container or of namespaces: powering off is ending.
    Container,
    /// Process 1 of a machine.
    Machine,
    /// A user's own, for that user's units: it ends, and the machine is none of its business.
    User,
}

/// What becomes of the machine once hence has ended; systemd's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objective {
    /// Only hence ends.
    #[default]
    Exit,
    /// It is switched off.
    PowerOff,
    /// It starts anew.
    Reboot,
    /// It stops, switched on.
    Halt,
    /// Another kernel is executed.
    Kexec,
}

impl Objective {
    /// Every one.
    pub const ALL: [Objective; 5] =
        [Objective::Exit, Objective::PowerOff, Objective::Reboot, Objective::Halt, Objective::Kexec];

    /// systemd's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Objective::Exit => "exit",
            Objective::PowerOff => "poweroff",
            Objective::Reboot => "reboot",
            Objective::Halt => "halt",
            Objective::Kexec => "kexec",
        }
    }

    /// The target that leads there; systemd.special(7).
    pub const fn target(self) -> &'static str {
        match self {
            Objective::Exit => "exit.target",
            Objective::PowerOff => "poweroff.target",
            Objective::Reboot => "reboot.target",
            Objective::Halt => "halt.target",
            Objective::Kexec => "kexec.target",
        }
    }

    /// What a target of this name leads to.
    pub fn of_target(name: &str) -> Option<Objective> {
        Objective::ALL.into_iter().find(|o| o.target() == name)
    }
}

carry_words! { Objective {
    Exit "exit", PowerOff "poweroff", Reboot "reboot", Halt "halt", Kexec "kexec"
} }

/// What is known of the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Power {
    objective: Objective,
    /// The exit status that was asked for, for an end that names none.
    pub(super) exit_status: u8,
    /// Neither processes nor file systems are to be waited for.
    immediate: bool,
    /// What led to the end.
    cause: Option<Cause>,
    /// Units that a signal or an action asks for, until the files of all units are read.
    later: Vec<Later>,
    /// Ctrl-Alt-Del, pressed again and again.
    pressed: RateLimit,
    /// A signal asked for the end already.
    asked: bool,
}

/// A unit that is to be started as soon as its files are read.
#[derive(Clone, Debug)]
struct Later {
    unit: UnitId,
    mode: JobMode,
    cause: Cause,
    /// Where the unit can't be started: what is done instead.
    otherwise: Option<Objective>,
}

impl Power {
    /// Whether nothing of it waits for files to be read.
    pub(super) fn is_quiet(&self) -> bool {
        self.later.is_empty()
    }

    /// Writes what a successor needs.
    pub(super) fn put_fields(&self, out: &mut Writer) {
        out.section("power", "");
        out.field("objective", &self.objective);
        out.field("exit_status", &self.exit_status);
        out.field("immediate", &self.immediate);
        out.field("cause", &self.cause);
        out.field("pressed", &self.pressed);
        out.field("asked", &self.asked);
    }

    /// What was written.
    pub(super) fn taken(carried: &Carried<'_>) -> Result<Power, Unread> {
        let mut power = Power::default();
        let Some(from) = carried.one("power") else { return Ok(power) };
        power.objective = from.get("objective")?.unwrap_or_default();
        power.exit_status = from.get("exit_status")?.unwrap_or_default();
        power.immediate = from.get("immediate")?.unwrap_or_default();
        power.cause = from.get("cause")?.unwrap_or_default();
        power.pressed = from.get("pressed")?.unwrap_or_default();
        power.asked = from.get("asked")?.unwrap_or_default();
        Ok(power)
    }
}

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
const SIGWINCH: u8 = 28;
const SIGPWR: u8 = 30;
/// SIGRTMIN of programs, two above the kernel's.
const SIGRTMIN: u8 = 34;
/// Ctrl-Alt-Del so often in two seconds means at once; systemd-system.conf(5), CtrlAltDelBurstAction=.
const PRESSES: u32 = 7;
const PRESSES_US: u64 = 2_000_000;

impl Engine {
    /// What hence is to the machine.
    pub fn role(&self) -> Role {
        self.settings.role
    }

    /// What becomes of the machine after [`Effect::Finished`].
    pub fn objective(&self) -> Objective {
        self.power.objective
    }

    /// Whether everything is being stopped, or the end has been handed over.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some() || self.finished
    }

    /// Whether the end must not wait for anything: FailureAction=reboot-immediate and its kin.
    pub fn is_immediate(&self) -> bool {
        self.power.immediate
    }

    /// What led to the end, once there is one.
    pub fn end_cause(&self) -> Option<&Cause> {
        self.power.cause.as_ref()
    }

    pub(super) fn signal(&mut self, signal: u8, pid: u32, uid: u32) {
        let record = self.record(None, Vec::new(), Fact::ManagerSignal { signal, pid, uid });
        let cause = Cause { record, rule: None };
        if self.settings.role == Role::Foreground {
            if matches!(signal, SIGINT | SIGTERM) {
                self.end(record, 0);
            }
            return;
        }
        if self.settings.role == Role::User && self.signal_of_user(signal, &cause) {
            return;
        }
        let (isolate, forced) = (JobMode::Isolate, JobMode::ReplaceIrreversibly);
        let (unit, mode) = match signal {
            SIGTERM if self.settings.role == Role::Container => return self.asked_to_end(cause),
            SIGINT => return self.ctrl_alt_del(cause),
            SIGWINCH => ("kbrequest.target", JobMode::Replace),
            SIGPWR => ("sigpwr.target", JobMode::Replace),
            SIGRTMIN.. => match signal - SIGRTMIN {
                0 => ("default.target", isolate),
                1 => ("rescue.target", isolate),
                2 => ("emergency.target", isolate),
                3 => ("halt.target", forced),
                4 => ("poweroff.target", forced),
                5 => ("reboot.target", forced),
                6 => ("kexec.target", forced),
                13 => return self.finish_now(Objective::Halt, cause),
                14 => return self.finish_now(Objective::PowerOff, cause),
                15 => return self.finish_now(Objective::Reboot, cause),
                16 => return self.finish_now(Objective::Kexec, cause),
                25 => {
                    self.reexecution = Some(record);
                    return;
                }
                _ => return,
            },
            SIGTERM => {
                self.reexecution = Some(record);
                return;
            }
            // SIGHUP reads the unit files anew and SIGUSR2 tells the state: whoever drives the engine does.
            SIGHUP | 0.. => return,
        };
        if let Some(unit) = UnitName::new(unit) {
            self.start_later(&unit, mode, cause);
        }
    }

    /// What is another thing to a user's own than to process 1; systemd(1), "Signals". True: that is all.
    fn signal_of_user(&mut self, signal: u8, cause: &Cause) -> bool {
        match signal {
            SIGTERM | SIGINT => self.asked_to_end(cause.clone()),
            // Keys of the console, and the machine's end.
            SIGWINCH => {}
            SIGRTMIN.. if (3..=6).contains(&(signal - SIGRTMIN)) => {}
            SIGRTMIN.. if (13..=16).contains(&(signal - SIGRTMIN)) => {}
            SIGRTMIN.. if signal - SIGRTMIN == 24 => self.finish_now(Objective::Exit, cause.clone()),
            _ => return false,
        }
        true
    }

    /// A container is asked to end; asked again, it doesn't wait for services any longer.
    fn asked_to_end(&mut self, cause: Cause) {
        if core::mem::replace(&mut self.power.asked, true) {
            for i in 0..self.units.len() {
                self.hurry(UnitId(i as u32), cause.record);
            }
            return;
        }
        self.power_by_target(Objective::Exit, cause);
    }

    fn ctrl_alt_del(&mut self, cause: Cause) {
        let action = self.settings.ctrl_alt_del_burst;
        if action != EmergencyAction::None
            && !self.power.pressed.allows(self.now.monotonic_us, PRESSES_US, PRESSES)
        {
            return self.act(action, None, cause);
        }
        if let Some(unit) = UnitName::new("ctrl-alt-del.target") {
            self.start_later(&unit, JobMode::ReplaceIrreversibly, cause);
        }
    }

    /// Sets the exit status of an end that names none; `systemctl exit STATUS`.
    pub(super) fn set_exit_status(&mut self, status: u8) -> Result<(), Refusal> {
        self.power.exit_status = status;
        Ok(())
    }

    /// A client wants the end without units being stopped in order; systemctl(1), `--force`.
    pub(super) fn power_request(&mut self, objective: Objective, record: RecordId) -> Result<(), Refusal> {
        if self.settings.role == Role::Foreground {
            let what = objective.as_str();
            let text = format!("This hence runs in the foreground and does not {what} the machine.");
            return Err(Refusal::NotSupported(text.into()));
        }
        if self.settings.role == Role::User && objective != Objective::Exit {
            let what = objective.as_str();
            let text = format!("This hence runs a user's units and does not {what} the machine.");
            return Err(Refusal::NotSupported(text.into()));
        }
        self.finish_now(objective, Cause { record, rule: None });
        Ok(())
    }

    /// FailureAction=, SuccessAction=, StartLimitAction=, JobTimeoutAction=; systemd.unit(5).
    pub(crate) fn act(&mut self, action: EmergencyAction, exit_status: Option<u8>, cause: Cause) {
        use EmergencyAction as A;
        let objective = match action {
            A::None => return,
            A::Reboot | A::RebootForce | A::RebootImmediate => Objective::Reboot,
            A::Poweroff | A::PoweroffForce | A::PoweroffImmediate => Objective::PowerOff,
            A::Exit | A::ExitForce => Objective::Exit,
        };
        if let Some(status) = exit_status
            && objective == Objective::Exit
        {
            self.power.exit_status = status;
        }
        // Of what runs in the foreground all that can end is the run.
        if self.settings.role == Role::Foreground {
            if self.ending.is_none() {
                self.power.cause = Some(cause.clone());
                self.end(cause.record, self.power.exit_status);
            }
            return;
        }
        // systemd.unit(5): a user's units can end their own manager and nothing else.
        if self.settings.role == Role::User && objective != Objective::Exit {
            return;
        }
        // A machine can't be left: what ends it is powering off, as under systemd.
        let objective = match (objective, self.settings.role) {
            (Objective::Exit, Role::Machine) => Objective::PowerOff,
            (objective, _) => objective,
        };
        match action {
            A::None => {}
            A::Reboot | A::Poweroff | A::Exit => self.power_by_target(objective, cause),
            A::RebootForce | A::PoweroffForce | A::ExitForce => self.finish_now(objective, cause),
            A::RebootImmediate | A::PoweroffImmediate => {
                self.power.immediate = true;
                self.finish_now(objective, cause);
            }
        }
    }

    /// The action of a unit's own directive, with its line as the rule.
    pub(crate) fn act_for(
        &mut self,
        unit: UnitId,
        directive: &str,
        action: EmergencyAction,
        record: RecordId,
    ) {
        use crate::unit::Rules;
        if action == EmergencyAction::None || self.is_finished() {
            return;
        }
        let u = &self.units[unit.0 as usize];
        let status = match directive {
            "FailureAction" => u.config.failure_action_exit_status,
            "SuccessAction" => u.config.success_action_exit_status,
            _ => None,
        };
        let status = status.or_else(|| u.service().and_then(|s| s.exit_status()));
        let rule = u.config.rule(directive);
        self.act(action, status, Cause { record, rule });
    }

    fn power_by_target(&mut self, objective: Objective, cause: Cause) {
        let Some(unit) = UnitName::new(objective.target()) else { return };
        let unit = self.reference(&unit);
        let later = Later { unit, mode: JobMode::ReplaceIrreversibly, cause, otherwise: Some(objective) };
        self.power.later.push(later);
        self.start_those_later();
    }

    fn start_later(&mut self, name: &UnitName, mode: JobMode, cause: Cause) {
        // Bounded: who presses keys or sends signals faster than files are read is heard once for each.
        if self.power.later.len() >= 64 {
            return;
        }
        let unit = self.reference(name);
        let otherwise = match name.as_str() {
            "ctrl-alt-del.target" => Some(Objective::Reboot),
            name => Objective::of_target(name),
        };
        self.power.later.push(Later { unit, mode, cause, otherwise });
        self.start_those_later();
    }

    /// Whether this unit is to be started as soon as all files are read.
    pub(super) fn is_started_later(&self, unit: UnitId) -> bool {
        self.power.later.iter().any(|later| later.unit == unit)
    }

    /// Starts what waited for the files of units to be read.
    pub(super) fn start_those_later(&mut self) {
        while self.loading.is_empty() && !self.power.later.is_empty() {
            let Later { unit, mode, cause, otherwise } = self.power.later.remove(0);
            let unknown = self.units[unit.0 as usize].config.load != LoadState::Loaded;
            let refusal = match self.add_job(JobType::Start, unit, mode, vec![cause.clone()]) {
                Ok(_) if !unknown => continue,
                Ok(_) => None,
                Err(refusal) => Some(refusal),
            };
            let record = match refusal {
                Some(refusal) => self.refused(Some(unit), vec![cause.clone()], &refusal),
                None => cause.record,
            };
            // Units that are missing must not keep a machine from going down.
            if let Some(objective) = otherwise
                && self.ending.is_none()
                && !self.is_shutting_down()
            {
                self.end_for(objective, Cause { record, rule: None });
            }
        }
    }

    /// Whether the end has been queued: an irreversible job for one of its targets.
    fn is_shutting_down(&self) -> bool {
        let of = |o: Objective| self.find(o.target()).and_then(|u| self.units[u.0 as usize].job);
        Objective::ALL.into_iter().filter_map(of).any(|id| self.jobs[&id].irreversible)
    }

    /// Stops everything in order, for this.
    pub(crate) fn end_for(&mut self, objective: Objective, cause: Cause) {
        self.power.objective = objective;
        let record = cause.record;
        self.power.cause = Some(cause);
        let status = if objective == Objective::Exit { self.power.exit_status } else { 0 };
        self.end(record, status);
    }

    /// One of the targets that lead to the end is up, and there are no files that say how it goes on.
    pub(crate) fn reached_built_in(&mut self, unit: UnitId, record: RecordId) {
        let u = &self.units[unit.0 as usize];
        if self.settings.role == Role::Foreground || !u.config.sources.is_empty() || self.ending.is_some() {
            return;
        }
        if let Some(objective) = Objective::of_target(u.name()) {
            self.end_for(objective, Cause { record, rule: None });
        }
    }

    /// What is still up is not stopped in order any more.
    fn finish_now(&mut self, objective: Objective, cause: Cause) {
        if self.is_finished() {
            return;
        }
        self.power.objective = objective;
        self.power.cause = Some(cause);
        self.finished = true;
        let status = if objective == Objective::Exit { self.power.exit_status } else { 0 };
        self.effect(Effect::Finished(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Settings, load_all};
    use crate::{Event, Request, RequestKind, Time};
    use hence_ledger::{ActiveState, Client, Record, Verb};
    use hence_unit::Config;

    const NOW: Time = Time { realtime_us: 1, monotonic_us: 1 };

    fn engine(role: Role, units: &[&str]) -> Engine {
        let burst = EmergencyAction::RebootForce;
        let settings = Settings { role, ctrl_alt_del_burst: burst, ..Settings::default() };
        let mut engine = Engine::new(settings);
        let config = |name: &&str| {
            let mut config = Config::stub(UnitName::new(name).expect("a valid name"));
            config.load = LoadState::Loaded;
            config.flags.allow_isolate = true;
            config
        };
        load_all(&mut engine, NOW, units.iter().map(config).collect());
        engine
    }

    /// Handles, answers reads of files with "there is none", and tells whether the end was handed over.
    fn drive(engine: &mut Engine, event: Event) -> Option<u8> {
        engine.handle(NOW, event);
        let mut status = None;
        loop {
            let Some(effect) = engine.poll_effect() else {
                engine.go_on(NOW);
                if engine.effect_count() == 0 {
                    break;
                }
                continue;
            };
            match effect {
                Effect::Load(name) => {
                    let mut missing = Config::stub(name);
                    missing.load = LoadState::NotFound;
                    engine.handle(NOW, Event::Loaded { config: missing.into(), files: Vec::new() });
                }
                Effect::Finished(with) => status = Some(with),
                _ => {}
            }
        }
        status
    }

    fn signal(engine: &mut Engine, signal: u8) -> Option<u8> {
        drive(engine, Event::Signal { signal, pid: 7, uid: 0 })
    }

    fn ask(engine: &mut Engine, verb: Verb, kind: RequestKind) -> Option<u8> {
        let client = Client { pid: 7, uid: 0, command: "".into(), ..Client::default() };
        drive(engine, Event::Request(Request { token: 1, client, verb, kind }))
    }

    fn records(engine: &mut Engine) -> Vec<Record> {
        core::iter::from_fn(|| engine.poll_record()).collect()
    }

    fn state(engine: &Engine, name: &str) -> ActiveState {
        engine.active_state(engine.find(name).expect("a known unit"))
    }

    #[test]
    fn a_container_ends_by_a_signal_with_the_status_that_was_asked_for() {
        let mut e = engine(Role::Container, &["default.target"]);
        assert_eq!(signal(&mut e, SIGRTMIN), None);
        assert_eq!(state(&e, "default.target"), ActiveState::Active);
        assert_eq!(ask(&mut e, Verb::SetExitStatus, RequestKind::ExitStatus(7)), None);
        assert_eq!(signal(&mut e, SIGTERM), Some(7));
        assert_eq!((state(&e, "default.target"), e.objective()), (ActiveState::Inactive, Objective::Exit));
        let all = records(&mut e);
        let cause = e.end_cause().expect("an end has a cause").record;
        assert!(all.iter().any(|r| r.id == cause), "the cause of the end is on record");
    }

    #[test]
    fn targets_without_files_lead_to_the_end() {
        let targets =
            [(3, Objective::Halt), (4, Objective::PowerOff), (5, Objective::Reboot), (6, Objective::Kexec)];
        for (offset, objective) in targets {
            for known in [true, false] {
                let units: &[&str] = if known { &["a.target", objective.target()] } else { &["a.target"] };
                let mut e = engine(Role::Machine, units);
                assert_eq!(signal(&mut e, SIGRTMIN + offset), Some(0), "{objective:?} {known}");
                assert_eq!(e.objective(), objective);
                assert!(!e.is_immediate());
            }
        }
    }

    #[test]
    fn signals_of_a_machine() {
        let mut e = engine(Role::Machine, &["rescue.target", "kbrequest.target", "ctrl-alt-del.target"]);
        assert!(e.reexecution().is_none());
        assert_eq!(signal(&mut e, SIGTERM), None);
        assert!(e.reexecution().is_some(), "the program is to be executed anew");
        assert_eq!(signal(&mut e, SIGRTMIN + 1), None);
        assert_eq!(state(&e, "rescue.target"), ActiveState::Active);
        assert_eq!(signal(&mut e, SIGWINCH), None);
        assert_eq!(state(&e, "kbrequest.target"), ActiveState::Active);
        // Pressed too often, Ctrl-Alt-Del doesn't wait for units any more.
        let pressed: Vec<Option<u8>> = (0..8).map(|_| signal(&mut e, SIGINT)).collect();
        assert_eq!((pressed[6], pressed[7], e.objective()), (None, Some(0), Objective::Reboot));
        assert_eq!(signal(&mut engine(Role::Machine, &[]), SIGRTMIN + 14), Some(0));
    }

    #[test]
    fn a_foreground_run_does_not_touch_the_machine() {
        let mut e = engine(Role::Foreground, &["a.target"]);
        assert_eq!(ask(&mut e, Verb::Reboot, RequestKind::Power(Objective::Reboot)), None);
        let refused = records(&mut e).into_iter().any(|r| matches!(r.fact, Fact::Refused { .. }));
        assert!(refused && !e.is_ending());
        assert_eq!(signal(&mut e, SIGRTMIN + 5), None);
        assert_eq!(signal(&mut e, SIGINT), Some(0));
        let mut e = engine(Role::Machine, &["a.target"]);
        assert_eq!(ask(&mut e, Verb::Reboot, RequestKind::Power(Objective::Reboot)), Some(0));
        assert_eq!(e.objective(), Objective::Reboot);
    }

    #[test]
    fn a_users_own_ends_and_leaves_the_machine_alone() {
        for signal_to_end in [SIGTERM, SIGINT] {
            let mut e = engine(Role::User, &["a.target"]);
            assert_eq!(signal(&mut e, signal_to_end), Some(0));
            assert_eq!((e.objective(), state(&e, "a.target")), (Objective::Exit, ActiveState::Inactive));
        }
        let mut e = engine(Role::User, &["a.target", "kbrequest.target", "poweroff.target"]);
        for of_machine in [SIGWINCH, SIGRTMIN + 4, SIGRTMIN + 5, SIGRTMIN + 13, SIGRTMIN + 15] {
            assert_eq!(signal(&mut e, of_machine), None);
        }
        assert_eq!(ask(&mut e, Verb::Reboot, RequestKind::Power(Objective::Reboot)), None);
        assert!(records(&mut e).into_iter().any(|r| matches!(r.fact, Fact::Refused { .. })));
        let (unit, record) = (e.find("a.target").expect("a known unit"), RecordId(0));
        e.act_for(unit, "FailureAction", EmergencyAction::RebootImmediate, record);
        assert!(!e.is_ending());
        for up in ["kbrequest.target", "poweroff.target"] {
            assert_eq!(state(&e, up), ActiveState::Inactive);
        }
        assert_eq!((signal(&mut e, SIGRTMIN + 25), e.reexecution().is_some()), (None, true));
        assert_eq!((signal(&mut e, SIGRTMIN + 24), e.objective()), (Some(0), Objective::Exit));
        let mut e = engine(Role::User, &["a.target"]);
        assert_eq!(ask(&mut e, Verb::SetExitStatus, RequestKind::ExitStatus(5)), None);
        assert_eq!(ask(&mut e, Verb::Exit, RequestKind::Power(Objective::Exit)), Some(5));
    }

    #[test]
    fn immediate_means_without_waiting() {
        let mut e = engine(Role::Machine, &["a.target"]);
        let unit = e.find("a.target").expect("a known unit");
        let record = records(&mut e).last().map_or(RecordId(0), |r| r.id);
        e.act_for(unit, "FailureAction", EmergencyAction::PoweroffImmediate, record);
        assert!(e.is_immediate() && e.is_ending());
        assert_eq!(e.objective(), Objective::PowerOff);
        // A machine can't be left, only be switched off.
        let mut e = engine(Role::Machine, &["a.target"]);
        e.act_for(unit, "SuccessAction", EmergencyAction::ExitForce, record);
        assert_eq!((e.objective(), e.is_immediate()), (Objective::PowerOff, false));
        // Of a foreground run only the run ends, in order.
        let mut e = engine(Role::Foreground, &["a.target"]);
        e.act_for(unit, "FailureAction", EmergencyAction::RebootImmediate, record);
        assert!(e.is_ending() && !e.is_immediate());
        assert_eq!((drive(&mut e, Event::Deadline), e.objective()), (Some(0), Objective::Exit));
    }
}
