//! A unit as the engine holds it: configuration, dependencies, job, and the state of its kind's machine.
//!
//! What each machine does is in the files below `unit/`, one per kind; a service's is split by phase.

mod attached;
mod automount;
mod carry;
mod command;
mod device;
mod kill;
mod left_over;
mod path;
mod refused;
mod sandbox;
mod scope;
mod service;
mod simple;
mod socket;
mod span;
mod spawned;
mod tested;
mod timer;

pub use attached::Attached;
pub use automount::Automount;
pub(crate) use command::command_text;
pub use device::Device;
pub use path::Path;
pub use scope::Scope;
pub use service::{ControlProcess, MainProcess, Service};
pub use socket::Socket;
pub(crate) use span::span_text;
pub use tested::Tested;
pub use timer::Timer;

use crate::engine::{Edge, is_resting};
use crate::job::{Performed, is_down};
use crate::restart::RateLimit;
use crate::{Checked, Effect, Engine, ExecId, Freezer, JobId, Refusal, Time, UnitId};
use alloc::{boxed::Box, collections::BTreeMap, format, sync::Arc, vec, vec::Vec};
use hence_ledger::{
    ActiveState, Cause, Exit, Fact, FileIdentity, JobResult, JobType, LeftOver, RecordId, Rule, SpawnStep,
    SubState, Text, UnitResult, record::Invocation,
};
use hence_unit::{Atom, Config, Dependency, DependencyKind, LoadState, Origin, UnitKind, UnitName};

/// One unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its number.
    pub id: UnitId,
    /// Its configuration.
    pub config: Arc<Config>,
    pub(crate) perpetual: bool,
    /// The state of its kind's machine.
    pub state: State,
    /// Its job.
    pub job: Option<JobId>,
    /// The record of its last state change.
    pub record: RecordId,
    /// Its current or last run.
    pub invocation: Option<Invocation>,
    /// Its dependencies, declared by it or by others.
    pub edges: Vec<Edge>,
    /// When it last changed between down, on its way and up.
    pub times: Box<Times>,
    /// What became of its conditions and asserts when they were last looked at.
    pub tested: Tested,
    /// Its processes that outlived their invocation, by pid and start time.
    pub left_over: BTreeMap<(u32, u64), LeftOver>,
    pub(crate) start_limit: RateLimit,
    /// Limits how often this unit is upheld, and what it makes others do without a job: see
    /// [`Engine::may_trigger`]. Of those that do either.
    limits: Option<Box<[RateLimit; 2]>>,
    /// The start of this unit was asked by OnFailure= or OnSuccess= of that one.
    pub(crate) monitored: Option<UnitId>,
    /// It went down, others were started for that, and nothing happened to it since.
    pub(crate) just_told: bool,
    /// Its files, as they were when it was loaded.
    pub(crate) files: Box<[FileIdentity]>,
    /// What the last start depended on beside them, as a fingerprint: recorded again only when it differs.
    inputs: u64,
    /// Its files were read again since the last record of what a start depends on.
    pub(crate) files_changed: bool,
    /// Whether its processes are suspended.
    pub freezer: Freezer,
    /// The record of the last request that its group answers: processes handed over, freezing.
    pub(crate) adopting: Option<RecordId>,
    /// Who was left behind at its last end could not be seen so far.
    pub(crate) uncounted: bool,
    /// Its files were read and no record says so yet.
    pub(crate) untold: bool,
    pub(crate) keep: Keep,
    /// What of its sandbox its last process was refused, and ends for.
    pub(crate) refused: Option<RecordId>,
}

/// Whether a unit is needed, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing happened to it since that was last looked at.
    Settled,
    /// It is to be looked at.
    Candidate,
    /// There is no unit in this slot.
    Vacant,
}

/// Moments of a unit, as systemd's properties of these names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// StateChangeTimestamp
    pub state_change: Time,
    /// InactiveExitTimestamp
    pub inactive_exit: Time,
    /// ActiveEnterTimestamp
    pub active_enter: Time,
    /// ActiveExitTimestamp
    pub active_exit: Time,
    /// InactiveEnterTimestamp
    pub inactive_enter: Time,
}

/// The state of the machine of each kind.
#[derive(Clone, Debug)]
pub enum State {
    /// systemd.service(5)
    Service(Box<Service>),
    /// systemd.socket(5)
    Socket(Box<Socket>),
    /// systemd.target(5)
    Target {
        /// Whether it is up.
        up: bool,
    },
    /// systemd.slice(5)
    Slice {
        /// Whether it is up.
        up: bool,
    },
    /// systemd.mount(5)
    Mount(Box<Attached>),
    /// systemd.device(5): there is a node for it.
    Device(Device),
    /// systemd.swap(5)
    Swap(Box<Attached>),
    /// systemd.timer(5)
    Timer(Box<Timer>),
    /// systemd.path(5)
    Path(Box<Path>),
    /// systemd.scope(5)
    Scope(Box<Scope>),
    /// systemd.automount(5)
    Automount(Box<Automount>),
    /// A kind that is loaded and shown only.
    Other,
}

impl State {
    fn of(kind: UnitKind) -> State {
        match kind {
            UnitKind::Service => State::Service(Box::default()),
            UnitKind::Socket => State::Socket(Box::default()),
            UnitKind::Target => State::Target { up: false },
            UnitKind::Slice => State::Slice { up: false },
            UnitKind::Timer => State::Timer(Box::default()),
            UnitKind::Path => State::Path(Box::default()),
            UnitKind::Mount => State::Mount(Box::default()),
            UnitKind::Device => State::Device(Device::default()),
            UnitKind::Swap => State::Swap(Box::default()),
            UnitKind::Scope => State::Scope(Box::default()),
            UnitKind::Automount => State::Automount(Box::default()),
        }
    }

    /// SubState.
    pub fn sub(&self) -> SubState {
        let simple = |up: bool| if up { SubState::Active } else { SubState::Dead };
        match self {
            State::Service(s) => s.sub,
            State::Socket(s) => s.sub,
            State::Target { up } | State::Slice { up } => simple(*up),
            State::Timer(t) => t.sub,
            State::Path(p) => p.sub,
            State::Mount(a) | State::Swap(a) => a.sub,
            State::Device(device) if device.up => SubState::Plugged,
            State::Device(_) => SubState::Dead,
            State::Scope(s) => s.sub,
            State::Automount(a) => a.sub,
            State::Other => SubState::Dead,
        }
    }

    /// From failed to inactive.
    /// Forgets a failure, also one that a state which isn't failed remembers.
    pub(crate) fn reset_failed(&mut self) {
        let (sub, result) = match self {
            State::Service(s) => {
                s.reload_result = UnitResult::Success;
                (&mut s.sub, &mut s.result)
            }
            State::Socket(s) => (&mut s.sub, &mut s.result),
            State::Mount(a) | State::Swap(a) => (&mut a.sub, &mut a.result),
            State::Scope(s) => (&mut s.sub, &mut s.result),
            State::Automount(a) => (&mut a.sub, &mut a.result),
            State::Timer(t) => (&mut t.sub, &mut t.result),
            State::Path(p) => (&mut p.sub, &mut p.result),
            State::Target { .. } | State::Slice { .. } | State::Device(_) | State::Other => return,
        };
        *result = UnitResult::Success;
        if *sub == SubState::Failed {
            *sub = SubState::Dead;
        }
    }
}

/// ActiveState of a SubState. A service of Type=idle counts as up as soon as it begins.
fn active_of(sub: SubState, idle: bool) -> ActiveState {
    use SubState::*;
    match sub {
        Dead => ActiveState::Inactive,
        Failed => ActiveState::Failed,
        Condition | StartPre | Start | StartPost if idle => ActiveState::Active,
        Condition | StartPre | Start | StartPost | StartChown | AutoRestart | Mounting | SwapActivating => {
            ActiveState::Activating
        }
        Running | Exited | Abandoned | Active | Listening | SocketRunning | Waiting | Elapsed
        | TriggerRunning | Mounted | Plugged => ActiveState::Active,
        Reload => ActiveState::Reloading,
        Stop
        | StopWatchdog
        | StopSigterm
        | StopSigkill
        | StopPost
        | FinalWatchdog
        | FinalSigterm
        | FinalSigkill
        | StopPre
        | StopPreSigterm
        | StopPreSigkill
        | Unmounting
        | UnmountingSigterm
        | UnmountingSigkill
        | SwapDeactivating
        | SwapDeactivatingSigterm
        | SwapDeactivatingSigkill => ActiveState::Deactivating,
        Cleaning => ActiveState::Maintenance,
    }
}

impl Unit {
    pub(crate) fn new(id: UnitId, config: Config) -> Unit {
        Unit::of(id, State::of(config.id().kind()), Arc::new(config), Keep::Settled)
    }

    /// What stands in a slot whose unit was forgotten.
    pub(crate) fn vacant(id: UnitId, config: Arc<Config>) -> Unit {
        Unit::of(id, State::Other, config, Keep::Vacant)
    }

    fn of(id: UnitId, state: State, config: Arc<Config>, keep: Keep) -> Unit {
        Unit {
            id,
            state,
            config,
            perpetual: false,
            job: None,
            record: RecordId(0),
            invocation: None,
            edges: Vec::new(),
            times: Box::default(),
            tested: Tested::default(),
            left_over: BTreeMap::new(),
            start_limit: RateLimit::default(),
            limits: None,
            monitored: None,
            just_told: false,
            files: Box::default(),
            inputs: 0,
            files_changed: true,
            freezer: Freezer::Running,
            adopting: None,
            uncounted: false,
            untold: false,
            keep,
            refused: None,
        }
    }

    pub(crate) fn set_config(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// Its name.
    pub fn name(&self) -> &UnitName {
        self.config.id()
    }

    /// Its files, as they were when it was loaded.
    pub fn files(&self) -> &[FileIdentity] {
        &self.files
    }

    /// What its files say, for the ledger.
    pub(crate) fn loaded_fact(&self) -> Fact {
        let config = &self.config;
        let note = config.unprotected().map(|names| {
            format!("{}: note: {names} is not applied here: the unit runs without", config.id()).into()
        });
        Fact::Loaded {
            load: config.load.as_str().into(),
            files: self.files.to_vec(),
            diagnostics: config.diagnostics.iter().map(|d| format!("{d}").into()).chain(note).collect(),
        }
    }

    /// SubState.
    pub fn sub_state(&self) -> SubState {
        self.state.sub()
    }

    /// ActiveState.
    pub fn active_state(&self) -> ActiveState {
        let idle =
            self.config.service().is_some_and(|s| s.service_type == hence_unit::config::ServiceType::Idle);
        active_of(self.state.sub(), idle)
    }

    /// Result=
    pub fn result(&self) -> UnitResult {
        match &self.state {
            State::Service(s) => s.result,
            State::Socket(s) => s.result,
            State::Path(p) => p.result,
            State::Timer(t) => t.result,
            State::Mount(a) | State::Swap(a) => a.result,
            State::Scope(s) => s.result,
            State::Automount(a) => a.result,
            _ => UnitResult::Success,
        }
    }

    /// The service's machine, where this is a service.
    pub fn service(&self) -> Option<&Service> {
        match &self.state {
            State::Service(s) => Some(s),
            _ => None,
        }
    }

    /// Whether it is up from the beginning and can't be stopped.
    pub(crate) fn is_perpetual(&self) -> bool {
        self.perpetual
    }

    /// Whether it stays when everything is stopped: the root slice, devices, and what was mounted by others
    /// than units.
    pub(crate) fn outlives_units(&self) -> bool {
        match self.state {
            State::Mount(_) => {
                self.config.sources.is_empty() || matches!(self.name().as_str(), "-.mount" | "usr.mount")
            }
            State::Device(_) => true,
            State::Swap(_) => self.config.sources.is_empty(),
            _ => self.is_perpetual(),
        }
    }

    /// Whether it keeps a foreground run from being over: targets and slices don't.
    pub(crate) fn keeps_running(&self) -> bool {
        !matches!(
            self.state,
            State::Target { .. }
                | State::Slice { .. }
                | State::Mount(_)
                | State::Device(_)
                | State::Swap(_)
                | State::Other
        )
    }

    /// Down only until RestartSec= is over.
    pub(crate) fn will_restart(&self) -> bool {
        match &self.state {
            State::Service(s) => s.sub == SubState::AutoRestart || s.will_restart,
            _ => false,
        }
    }

    /// At most 16 starts for the sake of Upholds= in ten seconds, as with systemd 252.
    pub(crate) fn uphold_limit(&mut self, now_us: u64) -> bool {
        self.limits.get_or_insert_default()[0].allows(now_us, 10_000_000, 16)
    }

    /// It may be started for the sake of Upholds= as often as at first.
    pub(crate) fn uphold_anew(&mut self) {
        if let Some(limits) = &mut self.limits {
            limits[0].reset();
        }
    }

    pub(crate) fn note_times(&mut self, now: Time, from: ActiveState, to: ActiveState) {
        let up = |s| matches!(s, ActiveState::Active | ActiveState::Reloading);
        self.times.state_change = now;
        if is_down(from) && !is_down(to) {
            self.times.inactive_exit = now;
        } else if !is_down(from) && is_down(to) {
            self.times.inactive_enter = now;
        }
        if !up(from) && up(to) {
            self.times.active_enter = now;
        } else if up(from) && !up(to) {
            self.times.active_exit = now;
        }
    }
}

/// The lines of a configuration as rules.
pub(crate) trait Rules {
    /// The line of a directive that is in effect, with its value; for a default, the directive alone.
    fn rule(&self, directive: &str) -> Option<Rule>;
    /// As [`Rules::rule`], written with this value: for directives whose default is the rule as well.
    fn rule_with(&self, directive: &str, value: &str) -> Rule;
}

impl Rules for Config {
    fn rule(&self, directive: &str) -> Option<Rule> {
        let setting =
            self.settings.iter().rev().find(|s| hence_unit::directive::name_of(s.row) == directive)?;
        let file = self.sources.get(setting.source as usize).map(|s| s.path.clone());
        let directive: Text = match &setting.value {
            Some(value) => format!("{directive}={value}").into(),
            None => format!("{directive}=").into(),
        };
        Some(Rule { directive, file, line: setting.line })
    }

    fn rule_with(&self, directive: &str, value: &str) -> Rule {
        let text: Text = format!("{directive}={value}").into();
        match self.rule(directive) {
            Some(rule) => Rule { directive: text, ..rule },
            None => Rule { directive: text, file: None, line: 0 },
        }
    }
}

/// The line that makes one unit depend on another, as the unit that it stands in has it.
pub(crate) fn rule_of_dependency(config: &Config, dependency: &Dependency) -> Rule {
    let file = |position| Some(config.place(position).file);
    let line = |name: &str| -> Text { format!("{name}={}", dependency.other).into() };
    match &dependency.origin {
        Origin::Directive(position) => {
            Rule { directive: line(dependency.kind.name()), file: file(*position), line: position.line }
        }
        Origin::Folder(path) => {
            Rule { directive: line(dependency.kind.name()), file: Some(path.clone()), line: 0 }
        }
        Origin::Default => Rule {
            directive: format!("{} (default dependency)", line(dependency.kind.name())).into(),
            file: None,
            line: 0,
        },
        Origin::Implied(by) => Rule {
            directive: format!("{} (implied by {}=)", line(dependency.kind.name()), by.directive()).into(),
            file: by.position.and_then(file),
            line: by.position.map_or(0, |p| p.line),
        },
    }
}

impl Engine {
    /// Whether the unit can be reloaded.
    pub fn can_reload(&self, unit: UnitId) -> bool {
        let u = &self.units[unit.0 as usize];
        match u.config.service() {
            Some(s) => {
                let asks = s.service_type == hence_unit::config::ServiceType::NotifyReload;
                asks || !s.commands(hence_unit::config::ExecPhase::Reload).is_empty()
            }
            // Others have it done by those that they name: PropagatesReloadTo=.
            None => u.edges.iter().any(|edge| edge.kind == DependencyKind::PropagatesReloadTo),
        }
    }

    /// The unit takes up a start job.
    pub(crate) fn start_unit(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let state = self.active_state(unit);
        if crate::job::is_up(state) {
            return Performed::Already;
        }
        if state == ActiveState::Maintenance {
            return Performed::Later;
        }
        let config = self.units[unit.0 as usize].config.clone();
        if config.load != LoadState::Loaded {
            return Performed::End(JobResult::Invalid);
        }
        let conditions = !config.conditions.is_empty() || !config.asserts.is_empty();
        if state != ActiveState::Activating && conditions {
            self.checking = Some(unit);
            self.effect(Effect::Check(unit, config));
            return Performed::Begun;
        }
        if state != ActiveState::Activating {
            self.note_tested(unit, true, Some(true));
        }
        self.start_checked(unit, cause)
    }

    /// The conditions have been checked.
    pub(crate) fn checked(&mut self, unit: UnitId, outcome: Checked) {
        if self.checking.take_if(|checking| *checking == unit).is_none() {
            return;
        }
        // The start that asked may be gone.
        let Some(id) = self.units[unit.0 as usize].job else { return };
        let job = &self.jobs[&id];
        if job.job_type != JobType::Start || job.state != crate::JobState::Running {
            return;
        }
        let cause = Cause { record: job.record, rule: None };
        let (condition, assert) = match outcome {
            Checked::Holds => {
                self.note_tested(unit, true, Some(true));
                let performed = self.start_checked(unit, &cause);
                self.job_performed(id, performed);
                return;
            }
            Checked::ConditionFailed(text) => (text, false),
            Checked::AssertFailed(text) => (text, true),
        };
        self.note_tested(unit, assert, assert.then_some(false));
        let directive = condition.split('=').next().unwrap_or_default();
        let rule = self.units[unit.0 as usize].config.rule(directive);
        let cause = Cause { rule, ..cause };
        let record = self.record(Some(unit), vec![cause], Fact::ConditionFailed { condition, assert });
        let result = if assert { JobResult::Assert } else { JobResult::Done };
        self.finish_job(id, result, true, vec![Cause { record, rule: None }]);
    }

    fn start_checked(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        for (other, rule) in self.linked(unit, Atom::CannotBeActiveWithout) {
            if self.is_linked(unit, Atom::After, other) && !crate::job::is_up(self.active_state(other)) {
                let record = self.units[other.0 as usize].record;
                let causes = vec![Cause { record, rule }, cause.clone()];
                let id = self.units[unit.0 as usize].job;
                if let Some(id) = id {
                    self.finish_job(id, JobResult::Dependency, true, causes);
                }
                return Performed::Begun;
            }
        }
        match self.units[unit.0 as usize].state {
            State::Service(_) => self.start_service(unit, cause),
            State::Socket(_) => self.start_socket(unit, cause),
            State::Target { .. } | State::Slice { .. } => self.start_simple(unit, cause),
            State::Device(_) => self.start_device(unit),
            State::Mount(_) | State::Swap(_) => self.attach(unit, cause),
            State::Timer(_) => self.start_timer(unit, cause),
            State::Path(_) => self.start_path(unit, cause),
            State::Scope(_) => self.start_scope(unit),
            State::Automount(_) => self.start_automount(unit, cause),
            State::Other => Performed::End(JobResult::Unsupported),
        }
    }

    /// Whether the unit is about to be stopped: what it waits for starts nothing any more.
    pub(crate) fn is_to_stop(&self, unit: UnitId) -> bool {
        self.units[unit.0 as usize].job.is_some_and(|job| self.jobs[&job].job_type == JobType::Stop)
    }

    /// The unit takes up a stop job, or the stopping half of a restart.
    pub(crate) fn stop_unit(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        if is_down(self.active_state(unit)) {
            return Performed::Already;
        }
        self.thaw_to_stop(unit);
        match self.units[unit.0 as usize].state {
            State::Service(_) => self.stop_service(unit, cause),
            State::Socket(_) => self.stop_socket(unit, cause),
            State::Target { .. } | State::Slice { .. } => self.stop_simple(unit, cause),
            // It waits for its node to go.
            State::Device(_) => Performed::Begun,
            State::Mount(_) | State::Swap(_) => self.detach(unit, cause),
            State::Timer(_) => self.stop_timer(unit, cause),
            State::Path(_) => self.stop_path(unit, cause),
            State::Scope(_) => self.stop_scope(unit, cause),
            State::Automount(_) => self.stop_automount(unit, cause),
            State::Other => Performed::End(JobResult::Unsupported),
        }
    }

    /// The unit takes up a reload job.
    pub(crate) fn reload_unit(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        match self.active_state(unit) {
            ActiveState::Reloading => Performed::Later,
            ActiveState::Active if matches!(self.units[unit.0 as usize].state, State::Service(_)) => {
                self.reload_service(unit, cause)
            }
            ActiveState::Active if self.can_reload(unit) => Performed::End(JobResult::Done),
            ActiveState::Active => Performed::End(JobResult::Skipped),
            _ => Performed::End(JobResult::Invalid),
        }
    }

    /// Whether what it is to start isn't there, which refuses its own start.
    pub(crate) fn refuses_trigger(&mut self, unit: UnitId, cause: &Cause) -> bool {
        for (other, rule) in self.linked(unit, Atom::Triggers) {
            let other = &self.units[other.0 as usize];
            if other.config.load != LoadState::Loaded {
                let text = format!("Refusing to start, unit {} to trigger not loaded.", other.name());
                let causes = vec![Cause { rule, ..cause.clone() }];
                self.refused(Some(unit), causes, &Refusal::NoSuchUnit(text.into()));
                return true;
            }
        }
        false
    }

    /// Counts a start against StartLimitBurst=. On a hit, records it and returns the record.
    pub(crate) fn test_start_limit(&mut self, unit: UnitId, cause: &Cause) -> Result<(), RecordId> {
        let now_us = self.now.monotonic_us;
        let u = &mut self.units[unit.0 as usize];
        let (interval_us, burst) = (u.config.start_limit_interval, u.config.start_limit_burst);
        if u.start_limit.allows(now_us, interval_us, burst) {
            return Ok(());
        }
        let rule = u.config.rule("StartLimitBurst").or_else(|| u.config.rule("StartLimitIntervalSec"));
        let rule = rule.unwrap_or_else(|| u.config.rule_with("StartLimitBurst", &format!("{burst}")));
        let causes = vec![Cause { rule: Some(rule), ..cause.clone() }];
        let record = self.record(Some(unit), causes, Fact::StartLimitHit { burst, interval_us });
        let action = self.units[unit.0 as usize].config.start_limit_action;
        self.act_for(unit, "StartLimitAction", action, record);
        Err(record)
    }

    /// The result of a unit whose start limit was hit: one that failed before shows that failure still.
    pub(crate) fn limited_result(&self, unit: UnitId) -> UnitResult {
        match self.units[unit.0 as usize].result() {
            UnitResult::Success => UnitResult::StartLimitHit,
            before => before,
        }
    }

    /// Whether a change of this unit may queue jobs for others by itself (OnFailure=, OnSuccess=, and
    /// dependencies that act without a job). Units whose failures start each other, where the start limit
    /// makes every start fail at once, would do so for ever. The first refusal is recorded.
    pub(crate) fn may_trigger(&mut self, unit: UnitId, record: RecordId) -> bool {
        const BURST: u32 = 50;
        const INTERVAL_US: u64 = 10_000_000;
        let now_us = self.now.monotonic_us;
        let limit = &mut self.units[unit.0 as usize].limits.get_or_insert_default()[1];
        if limit.allows(now_us, INTERVAL_US, BURST) {
            return true;
        }
        if limit.is_news() {
            let name = self.units[unit.0 as usize].name();
            let message = format!("Unit {name} triggers other units too quickly, it is left at that.");
            let fact = Fact::Refused { error: "TriggerLimitHit".into(), message: message.into() };
            self.record(Some(unit), vec![Cause { record, rule: None }], fact);
        }
        false
    }

    /// A process could not be started.
    pub(crate) fn spawn_failed(&mut self, exec: ExecId, step: SpawnStep, errno: i32, subject: Text) {
        let Some(unit) = self.starts.remove(&exec) else { return };
        match self.units[unit.0 as usize].state {
            State::Socket(_) => self.socket_spawn_failed(unit, exec, step, errno, subject),
            State::Mount(_) | State::Swap(_) => self.command_spawn_failed(unit, step, errno, subject),
            _ => self.service_spawn_failed(unit, exec, step, errno, subject),
        }
    }

    /// A main or control process ended.
    pub(crate) fn exited(
        &mut self,
        pid: u32,
        exit: Option<Exit>,
        cpu_us: u64,
        peak_bytes: u64,
        spawn_error: Option<(SpawnStep, i32)>,
    ) {
        let Some(unit) = self.processes.remove(&pid) else { return };
        if self.units[unit.0 as usize].sub_state() == SubState::Cleaning {
            return self.cleaned(unit);
        }
        match self.units[unit.0 as usize].state {
            State::Socket(_) => self.socket_exited(unit, pid, exit, (cpu_us, peak_bytes), spawn_error),
            State::Mount(_) | State::Swap(_) => self.command_exited(unit, pid, exit, (cpu_us, peak_bytes)),
            _ => self.service_exited(unit, pid, exit, cpu_us, peak_bytes, spawn_error),
        }
    }

    /// The unit's state has a deadline, and it is reached.
    pub(crate) fn state_deadline(&mut self, unit: UnitId, after_us: u64) {
        match self.units[unit.0 as usize].state {
            State::Service(_) => self.service_deadline(unit, after_us),
            State::Timer(_) => self.timer_deadline(unit, after_us),
            State::Scope(_) => self.scope_deadline(unit, after_us),
            State::Socket(_) => self.socket_deadline(unit, after_us),
            State::Mount(_) | State::Swap(_) => self.command_deadline(unit, after_us),
            State::Automount(_) => self.automount_deadline(unit),
            State::Path(_) => {}
            State::Target { .. } | State::Slice { .. } | State::Device(_) | State::Other => {}
        }
    }

    /// Takes back every deadline of a unit that is to be forgotten.
    pub(crate) fn disarm_all(&mut self, unit: &mut Unit) {
        match &mut unit.state {
            State::Service(s) => s.disarm(&mut self.deadlines),
            State::Timer(t) => t.disarm(&mut self.deadlines),
            // What is down has none.
            State::Socket(_) | State::Path(_) | State::Mount(_) | State::Swap(_) => {}
            State::Scope(_) | State::Automount(_) => {}
            State::Target { .. } | State::Slice { .. } | State::Device(_) | State::Other => {}
        }
    }

    /// Another unit that this one triggers has changed its state or lost its job.
    pub(crate) fn trigger_notify(&mut self, unit: UnitId, record: RecordId) {
        let triggering: Vec<UnitId> = self.units[unit.0 as usize]
            .edges
            .iter()
            .filter(|e| e.kind.has(Atom::TriggeredBy))
            .map(|e| e.other)
            .collect();
        for other in triggering {
            match self.units[other.0 as usize].state {
                State::Socket(_) => self.socket_sees_service(other, unit, record),
                State::Timer(_) => self.timer_sees_unit(other, unit, record),
                State::Path(_) => self.path_sees_unit(other, unit, record),
                State::Automount(_) => self.automount_sees_mount(other, unit, record),
                _ => {}
            }
        }
        if matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            self.connection_service_changed(unit, record);
        }
    }

    /// hence was asked to end a second time: what is still up is killed now.
    pub(crate) fn hurry(&mut self, unit: UnitId, record: RecordId) {
        let has_processes = match &self.units[unit.0 as usize].state {
            State::Service(_) => !is_resting(self.units[unit.0 as usize].sub_state()),
            State::Socket(s) => s.control_pid().is_some(),
            _ => false,
        };
        if has_processes {
            self.kill_service_now(unit, record);
        }
        let up = !is_resting(self.units[unit.0 as usize].sub_state());
        if up && matches!(self.units[unit.0 as usize].state, State::Scope(_)) {
            self.kill_scope_now(unit, record);
        }
    }

    /// The last process of a unit's group is gone.
    pub(crate) fn group_emptied(&mut self, unit: UnitId) {
        match self.units[unit.0 as usize].state {
            State::Scope(_) => self.scope_emptied(unit),
            _ => self.emptied(unit),
        }
    }

    /// The processes that the unit runs by itself: the main and the control process.
    pub fn known_processes(&self, unit: UnitId) -> (Option<u32>, Option<u32>) {
        match &self.units[unit.0 as usize].state {
            State::Service(s) => (s.main_pid(), s.control_pid()),
            State::Socket(s) => (None, s.control_pid()),
            State::Mount(a) | State::Swap(a) => (None, a.control_pid()),
            _ => (None, None),
        }
    }
}

/// An exit status of a process that never became its program; systemd.exec(5), "Process Exit Codes".
pub(crate) fn status_of(step: SpawnStep) -> Option<i32> {
    match step {
        SpawnStep::Exec | SpawnStep::Executor => Some(203),
        SpawnStep::Chdir => Some(200),
        SpawnStep::Stdio => Some(209),
        SpawnStep::User => Some(217),
        SpawnStep::Limits => Some(205),
        SpawnStep::Directories => Some(233),
        SpawnStep::Scheduling => Some(214),
        SpawnStep::Cgroup => Some(219),
        SpawnStep::Sockets => Some(202),
        SpawnStep::Filter => Some(228),
        SpawnStep::Credentials => Some(243),
        SpawnStep::Attributes => Some(230),
        SpawnStep::Namespace => Some(226),
        SpawnStep::Network => Some(225),
        SpawnStep::Session => Some(224),
        SpawnStep::Fork | SpawnStep::Environment => None,
    }
}
