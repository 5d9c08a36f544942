//! The one core type. See [`Engine`].

mod carry;
mod collect;
mod edge;
mod fixed;
mod follow;
mod live;
mod power;
mod reload;
mod request;
mod resumed;

pub use carry::TakenUp;
pub use fixed::load_all;
pub use power::{Objective, Role};

use crate::alike::Alike;
use crate::deadline::{DeadlineFor, Deadlines};
use crate::job::{Job, is_down, is_up};
use crate::names::Names;
use crate::queue::RunQueue;
use crate::unit::{Keep, Rules, State, Unit};
use crate::{Effect, Event, ExecId, JobId, Time, UnitId};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec,
    vec::Vec,
};
pub use edge::Edge;
use hence_ledger::{
    ActiveState, Cause, Certainty, DeadlineKind, Fact, FileIdentity, JobResult, Record, RecordId, SubState,
    record::Invocation,
};
use hence_unit::{
    Atom, Config, LoadState, UnitName,
    config::{EmergencyAction, TimerBase},
};

/// What the engine is told once.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The number of the first record; numbers rise by one.
    pub first_record: u64,
    /// Makes invocation ids differ from run to run.
    pub seed: [u8; 16],
    /// The moment that OnBootSec= counts from, in microseconds of the monotonic clock.
    pub boot_us: u64,
    /// What hence is to the machine.
    pub role: Role,
    /// CtrlAltDelBurstAction=
    pub ctrl_alt_del_burst: EmergencyAction,
}

/// All units and jobs, and what happens to them.
///
/// **How to drive it.** Call [`Engine::handle`] with what happened and when. Then take every record with
/// [`Engine::poll_record`] and store it; then take every effect with [`Engine::poll_effect`] and do it,
/// handing its answer back as an event before anything that happens later. When nothing is left, have it go
/// on with [`Engine::go_on`]; when it has nothing to do, wait for something to happen, at most until
/// [`Engine::deadline`].
///
/// **The model.** A *unit* is in one state of its kind's machine. A *job* asks a unit to change; a
/// transaction makes all the jobs that one request takes. A unit's state changes only in `set_state`,
/// which takes the cause. What a state change means for jobs and for other units is decided in
/// `state_changed`, from the atoms of the dependencies and from nothing else.
///
/// **Causes.** Every record names the records that led to it. A job's record is the cause of what its unit
/// does for it; a state change is the cause of what other units do about it. What comes from outside (a
/// request, the end of a process, a deadline, traffic) is a root.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) now: Time,
    pub(crate) units: Vec<Unit>,
    pub(crate) names: Names<UnitId>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) run_queue: RunQueue,
    /// The jobs of the queue are being run: all of them, before anything else.
    running_jobs: bool,
    /// The unit whose start waits for its conditions to be checked. Nothing else is begun meanwhile: they
    /// hold or not as of the turn of its job, and what follows from that is not overtaken by later jobs.
    pub(crate) checking: Option<UnitId>,
    pub(crate) deadlines: Deadlines,
    /// Main and control processes.
    pub(crate) processes: BTreeMap<u32, UnitId>,
    /// Starts that wait for their answer.
    pub(crate) starts: BTreeMap<ExecId, UnitId>,
    /// Units that may be unneeded, unbound or to be upheld: looked at before jobs are run.
    pub(crate) unneeded: Vec<(UnitId, Option<RecordId>)>,
    pub(crate) steady: Vec<(UnitId, RecordId)>,
    /// Units that a job is over of.
    pub(crate) after_job: Vec<(UnitId, RecordId)>,
    /// Accepted connections that wait for their instance to be loaded: (instance, socket, connection, cause).
    pub(crate) connections: Vec<(UnitId, UnitId, crate::ConnectionId, RecordId)>,
    /// Units that clients made, to be started when all that they need is loaded.
    made: Vec<live::Made>,
    /// Units whose files are being read.
    pub(crate) loading: Names<()>,
    /// Units that nobody may need any more: looked at by [`Engine::collect`].
    candidates: collect::Candidates,
    /// Slots without a unit that the host knows nothing of.
    free: BTreeSet<UnitId>,
    /// How often somebody outside said to need a unit.
    holds: BTreeMap<UnitId, u32>,
    /// What stands in a slot without a unit.
    vacant: Arc<Config>,
    /// All unit files are being read anew.
    reload: Option<reload::Reload>,
    /// The record that made hence end, once it is ending, and the exit status.
    pub(crate) ending: Option<(RecordId, u8)>,
    finished: bool,
    power: power::Power,
    /// What was mounted, and swapped to, when hence began has been told.
    pub(crate) mounts_known: bool,
    /// How often it was told what is mounted.
    pub(crate) mounts_told: u32,
    pub(crate) swaps_known: bool,
    /// The record of hence's own start.
    pub(crate) started: Option<RecordId>,
    /// Processes that may outlive units whose files don't say so.
    pub(crate) left_behind_allowed: Arc<hence_ledger::allow::AllowList>,
    /// The record that asked for the program to be executed anew, until that is done.
    reexecution: Option<RecordId>,
    /// Units that are neither inactive nor failed and that hence runs for.
    busy: usize,
    next_record: u64,
    next_job: u32,
    next_exec: u32,
    invocations: u64,
    /// What the units that were loaded last have alike.
    alike: Alike,
    records: VecDeque<Record>,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine that knows no unit yet.
    pub fn new(settings: Settings) -> Engine {
        let seed = settings.seed.as_chunks().0.iter().fold(0, |sum, part| sum ^ u64::from_le_bytes(*part));
        Engine {
            // 0 stands for "nothing yet" in a unit that hasn't changed its state.
            next_record: settings.first_record.max(1),
            settings,
            now: Time::default(),
            units: Vec::new(),
            names: Names::new(seed),
            jobs: BTreeMap::new(),
            run_queue: RunQueue::default(),
            running_jobs: false,
            checking: None,
            deadlines: Deadlines::default(),
            processes: BTreeMap::new(),
            starts: BTreeMap::new(),
            unneeded: Vec::new(),
            steady: Vec::new(),
            after_job: Vec::new(),
            connections: Vec::new(),
            made: Vec::new(),
            loading: Names::new(seed),
            candidates: collect::Candidates::default(),
            free: BTreeSet::new(),
            holds: BTreeMap::new(),
            vacant: Arc::new(Config::stub(UnitName::new("vacant.target").expect("a valid name"))),
            reload: None,
            ending: None,
            finished: false,
            power: power::Power::default(),
            mounts_known: false,
            mounts_told: 0,
            swaps_known: false,
            started: None,
            left_behind_allowed: Arc::default(),
            reexecution: None,
            busy: 0,
            next_job: 1,
            next_exec: 1,
            invocations: 0,
            alike: Alike::default(),
            records: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// The next record that is to be stored. Take all before the effects.
    pub fn poll_record(&mut self) -> Option<Record> {
        self.records.pop_front()
    }

    /// The next effect that is to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How many effects wait to be done.
    pub fn effect_count(&self) -> usize {
        self.effects.len()
    }

    /// The units that are to be read before anything else is done that the host is concerned with, in their
    /// order.
    pub fn next_loads(&self) -> Vec<UnitName> {
        let loads = self.effects.iter().map_while(|effect| match effect {
            Effect::Load(name) => Some(Some(name.clone())),
            Effect::UnitNew(_) => Some(None),
            _ => None,
        });
        loads.flatten().collect()
    }

    /// When to come back with [`Event::Deadline`], in microseconds of the monotonic clock.
    pub fn deadline(&self) -> Option<u64> {
        self.deadlines.next_us()
    }

    /// Whether nothing is up, queued or waited for: a foreground run has nothing left to do.
    pub fn is_idle(&self) -> bool {
        self.busy == 0 && self.jobs.is_empty() && self.deadlines.next_us().is_none()
    }

    /// All units, by their numbers.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|u| u.keep != Keep::Vacant)
    }

    /// How many units there are.
    pub fn unit_count(&self) -> usize {
        self.units().count()
    }

    /// A unit by its number, which must not have been forgotten meanwhile.
    pub fn unit(&self, id: UnitId) -> &Unit {
        &self.units[id.0 as usize]
    }

    /// A unit by its name or an alias.
    pub fn find(&self, name: &str) -> Option<UnitId> {
        self.names.get(name)
    }

    /// All jobs, by their numbers.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// A job by its number.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// The unit whose main or control process this is.
    pub fn unit_of_process(&self, pid: u32) -> Option<UnitId> {
        self.processes.get(&pid).copied()
    }

    /// Records a fact that hence itself is the author of (its start and end).
    pub fn note(&mut self, now: Time, causes: Vec<Cause>, fact: Fact) -> RecordId {
        self.now = now;
        let begins = matches!(fact, Fact::Started { .. });
        let record = self.record(None, causes, fact);
        if begins {
            self.started = Some(record);
        }
        record
    }

    /// The same of a fact that is about a unit, which need not be known.
    pub fn note_of(&mut self, now: Time, unit: &UnitName, causes: Vec<Cause>, fact: Fact) -> RecordId {
        self.now = now;
        let id = self.record(None, causes, fact);
        if let Some(record) = self.records.back_mut() {
            record.unit = Some(unit.text().clone());
        }
        id
    }

    /// Handles something that happened at `now`, with everything that follows from it at once.
    pub fn handle(&mut self, now: Time, event: Event) {
        self.now = now;
        if self.is_too_late(&event) {
            return;
        }
        match event {
            Event::Loaded { config, files } => self.loaded_by(*config, files, Vec::new()),
            Event::Referenced(name) => {
                self.reference(&name);
            }
            Event::Held(name) => self.hold(&name),
            Event::Released(name) => self.release(&name),
            Event::Forgotten(unit) => self.forgotten(unit),
            Event::ReloadBegun(client) => self.reload_begun(client),
            Event::Reread { unit, config, files } => self.reread(unit, config, files),
            Event::ReloadEnded => self.reload_ended(),
            Event::Request(request) => self.request(request),
            Event::Spawned { exec, pid, start_ticks, inputs, executed } => {
                self.spawned(exec, (pid, start_ticks), inputs, executed);
            }
            Event::Executed { pid } => self.executed(pid),
            Event::Deprived { pid, lost } => self.deprived(pid, lost),
            Event::Unenforced { unit, lost } => self.unenforced(unit, lost),
            Event::SpawnFailed { exec, step, errno, subject: s } => self.spawn_failed(exec, step, errno, s),
            Event::CallRefused { unit, call } => self.call_refused(unit, call),
            Event::Exited { pid, exit, cpu_us, peak_bytes, spawn_error } => {
                self.exited(pid, exit, cpu_us, peak_bytes, spawn_error);
            }
            Event::Killed { unit, others, empty } => self.killed(unit, others, empty),
            Event::Emptied(unit) => self.group_emptied(unit),
            Event::Adopted { unit, token, adopted } => self.adopted(unit, token, adopted),
            Event::Froze { unit, frozen, token } => self.froze(unit, frozen, token),
            Event::Cleaning { unit, cleaner } => self.cleaning(unit, cleaner),
            Event::Census { unit, processes, known, unread } => self.census(unit, processes, known, unread),
            Event::Failed { unit, operation, errno, subject } => self.failed(unit, operation, errno, subject),
            Event::Gone { unit, pid, start_ticks, exit } => self.left_over_gone(unit, pid, start_ticks, exit),
            Event::Checked { unit, outcome } => self.checked(unit, outcome),
            Event::Notify { unit, pid, uid, message } => self.notified(unit, pid, uid, message),
            Event::AutomountOpened { unit, result } => self.automount_opened(unit, result),
            Event::AutomountWanted { unit, path, who } => self.automount_wanted(unit, path, who),
            Event::AutomountIdle(unit) => self.automount_idle(unit),
            event @ (Event::DescriptorsKept { .. } | Event::DescriptorsDropped { .. }) => {
                self.descriptors_told(event);
            }
            Event::SocketsOpened { unit, result } => self.sockets_opened(unit, result),
            Event::Traffic { unit, listen, peer, connection } => {
                self.traffic(unit, listen, peer, connection);
            }
            Event::PidFile { unit, pid } => self.pid_file(unit, pid),
            Event::PathChanged { unit, path } => self.path_changed(unit, path),
            Event::OomKill { unit, kills } => self.oom_kill(unit, kills),
            Event::Survivors { unit, invocation, processes } => self.survivors(unit, invocation, processes),
            Event::Resumed(units) => self.resumed(units),
            Event::BusName { unit, name, owned } => self.bus_name(unit, &name, owned),
            Event::Deadline => {}
            Event::TimeUp { after_us } => self.time_up(after_us),
            Event::Signal { signal, pid, uid } => self.signal(signal, pid, uid),
            Event::Mounts(mounted) => self.mounts_changed(mounted),
            Event::Device { unit, there } => self.device_told(unit, there),
            Event::NextElapse { unit, stamp_us, next } => self.calendar_told(unit, stamp_us, next),
            Event::Swaps { on, aliases } => self.swaps_changed(on, aliases),
            Event::ClockJump { by_us } => self.clock_changed(Fact::ClockJump { by_us }),
            Event::TimeZoneChanged { zone } => self.clock_changed(Fact::TimeZoneChanged { zone }),
        }
        self.advance();
    }

    /// Takes the next step, once the effects of the one before have been done and their answers handled.
    /// Whether there is anything to be done now, records or effects.
    pub fn go_on(&mut self, now: Time) -> bool {
        self.now = now;
        self.advance();
        !self.effects.is_empty() || !self.records.is_empty()
    }

    fn advance(&mut self) {
        if self.reload.is_some() {
            return;
        }
        self.start_made();
        self.settle();
        self.finish_if_down();
    }

    fn elapse(&mut self, what: DeadlineFor, after_us: u64) {
        match what {
            DeadlineFor::State(unit) => self.state_deadline(unit, after_us),
            DeadlineFor::Watchdog(unit) => self.watchdog_deadline(unit, after_us),
            DeadlineFor::Job(id) => self.job_deadline(id, DeadlineKind::JobTimeout, after_us),
            DeadlineFor::RunningJob(id) => self.job_deadline(id, DeadlineKind::JobRunningTimeout, after_us),
        }
    }

    fn job_deadline(&mut self, id: JobId, deadline: DeadlineKind, after_us: u64) {
        let Some(job) = self.jobs.get(&id) else { return };
        let (unit, record) = (job.unit, job.record);
        let name = deadline.as_str();
        let rule = self.units[unit.0 as usize].config.rule(name);
        let causes = vec![Cause { record, rule }];
        let record = self.record(Some(unit), causes, Fact::DeadlineReached { deadline, after_us });
        self.finish_job(id, JobResult::Timeout, true, vec![Cause { record, rule: None }]);
        let action = self.units[unit.0 as usize].config.job_timeout_action;
        self.act_for(unit, "JobTimeoutAction", action, record);
    }

    /// Whether something is to be done, or an answer to it to be handled, before the next step: what has been
    /// begun is brought to where it rests, as it is in a manager that does all of it in one call.
    fn is_at_work(&self) -> bool {
        !self.effects.is_empty()
            || self.checking.is_some()
            || !self.loading.is_empty()
            || !self.starts.is_empty()
    }

    /// Runs what can run until nothing changes any more, or there is something to be done. First what follows
    /// from the units' states: who is upheld, bound, or needed by nobody, as what is about to be stopped does
    /// not elapse; then what has elapsed, which may replace a job that waits; then all jobs that are waiting.
    fn settle(&mut self) {
        while !self.is_at_work() {
            if self.running_jobs {
                match self.run_queue.pop() {
                    Some(id) => self.run_job(id),
                    None => self.running_jobs = false,
                }
            } else if let Some((unit, record)) = self.steady.pop() {
                self.hold_steady(unit, record);
            } else if let Some((unit, record)) = self.after_job.pop() {
                self.hold_after_job(unit, record);
            } else if let Some((unit, because)) = self.unneeded.pop() {
                self.stop_if_unneeded(unit, because);
            } else if let Some((what, after_us)) = self.deadlines.elapsed(self.now.monotonic_us) {
                self.elapse(what, after_us);
            } else if self.run_queue.is_empty() {
                break;
            } else {
                self.running_jobs = true;
            }
        }
    }

    /// Once hence is ending: says so when everything is down. Jobs may have been cancelled or have timed
    /// out meanwhile; what is still up then is stopped anew.
    fn finish_if_down(&mut self) {
        let Some((record, status)) = self.ending.filter(|_| !self.finished && self.jobs.is_empty()) else {
            return;
        };
        let mut states = self.units.iter().filter(|u| !u.outlives_units()).map(Unit::active_state);
        if states.any(|s| !is_down(s) && s != ActiveState::Deactivating) {
            self.stop_everything(&Cause { record, rule: None });
            self.settle();
        }
        let down = self.units.iter().all(|u| u.outlives_units() || is_down(u.active_state()));
        if down && self.jobs.is_empty() {
            self.finished = true;
            self.effect(Effect::Finished(status));
        }
    }

    /// Whether the end has been handed over.
    fn is_finished(&self) -> bool {
        self.finished
    }

    /// Gives back the room that a burst of work needed.
    pub fn shrink(&mut self) {
        for unit in &mut self.units {
            unit.edges.shrink_to_fit();
        }
        self.names.shrink();
        self.loading.shrink();
        // Made in one go, a map has no room to spare, and its parts lie together.
        self.processes = core::mem::take(&mut self.processes).into_iter().collect();
        self.starts = core::mem::take(&mut self.starts).into_iter().collect();
        self.records.shrink_to_fit();
        self.effects.shrink_to_fit();
        self.run_queue.shrink_to_fit();
        self.unneeded.shrink_to_fit();
        self.steady.shrink_to_fit();
        self.after_job.shrink_to_fit();
        self.drop_free_slots();
    }

    // ---- units and their dependencies

    /// The number of a unit, made known if it isn't: then its files are read.
    pub(crate) fn reference(&mut self, name: &UnitName) -> UnitId {
        if let Some(id) = self.names.get(name) {
            return id;
        }
        let id = self.make_known(name);
        self.loading.insert(name.clone(), ());
        self.effect(Effect::Load(name.clone()));
        id
    }

    /// A unit of which no more than the name is known.
    fn stub(&mut self, id: UnitId, name: &UnitName) -> Unit {
        let mut unit = Unit::new(id, self.alike.stub(name));
        // systemd.special(7): process 1 has the slice of all services from the beginning, too.
        let first = matches!(self.settings.role, Role::Machine | Role::Container);
        unit.perpetual = name.as_str() == "-.slice" || first && name.as_str() == "system.slice";
        unit
    }

    fn make_known(&mut self, name: &UnitName) -> UnitId {
        let id = match self.free.pop_first() {
            Some(id) => {
                self.units[id.0 as usize] = self.stub(id, name);
                id
            }
            None => {
                let id = UnitId(self.units.len() as u32);
                let unit = self.stub(id, name);
                self.units.push(unit);
                id
            }
        };
        self.names.insert(name.clone(), id);
        self.effect(Effect::UnitNew(id));
        self.may_go(id);
        id
    }

    fn loaded_by(&mut self, mut config: Config, files: Vec<FileIdentity>, causes: Vec<Cause>) {
        let id = match self.find(config.id()) {
            Some(id) => id,
            None => self.make_known(&config.id().clone()),
        };
        for alias in &config.aliases {
            match self.names.get(alias) {
                None => {
                    self.names.insert(alias.clone(), id);
                }
                // Known under its other name already: that name now stands for this unit.
                Some(other) if other != id && self.is_only_a_name(other) => {
                    self.move_edges(other, id);
                    self.names.insert(alias.clone(), id);
                    self.may_go(other);
                }
                Some(_) => {}
            }
        }
        let before = self.units[id.0 as usize].config.load;
        self.drop_own_edges(id);
        self.units[id.0 as usize].files_changed = true;
        self.units[id.0 as usize].files = files.into();
        self.units[id.0 as usize].untold = config.load != LoadState::NotFound || before != LoadState::Stub;
        self.units[id.0 as usize].edges.reserve(config.dependencies.len());
        for (index, dependency) in config.dependencies.iter_mut().enumerate() {
            let other = match self.names.kept(&dependency.other) {
                Some((name, other)) => {
                    // Thousands of units name the same few targets: they share the text.
                    dependency.other = name.clone();
                    other
                }
                None => self.reference(&dependency.other),
            };
            self.add_edge(id, dependency.kind, other, index as u16);
        }
        self.alike.share(&mut config);
        let config = Arc::new(config);
        self.units[id.0 as usize].set_config(config.clone());
        self.drop_void_edges(id);
        // Who had it made or changed is told of; other reading is only when it matters.
        if !causes.is_empty() && core::mem::take(&mut self.units[id.0 as usize].untold) {
            let fact = self.units[id.0 as usize].loaded_fact();
            self.record(Some(id), causes, fact);
        }
        if self.units[id.0 as usize].is_perpetual() && is_down(self.active_state(id)) {
            self.units[id.0 as usize].state = State::Slice { up: true };
        }
        self.follow_device(id);
        self.loading.remove(config.id());
        for alias in &config.aliases {
            self.loading.remove(alias);
        }
        // What an instance depends on is as unknown as itself at first: all of it is read before it starts.
        while self.loading.is_empty()
            && let Some((service, ..)) = self.connections.first().copied()
        {
            self.connection_loaded(service);
        }
        self.start_those_later();
    }

    // ---- records and effects

    /// Records a fact. Causes that are no earlier records are a mistake of the caller's.
    pub(crate) fn record(&mut self, unit: Option<UnitId>, causes: Vec<Cause>, fact: Fact) -> RecordId {
        if let Some(unit) = unit {
            self.tell_loaded(unit);
        }
        let id = RecordId(self.next_record);
        self.next_record += 1;
        let causes = without_nothing(causes);
        debug_assert!(causes.iter().all(|c| c.record < id), "{fact:?} is caused by a later record");
        let unit = unit.map(|u| &self.units[u.0 as usize]);
        self.records.push_back(Record {
            id,
            at: self.now,
            unit: unit.map(|u| u.name().text().clone()),
            invocation: unit.and_then(|u| u.invocation),
            causes,
            certainty: Certainty::Observed,
            fact,
        });
        id
    }

    /// Records what a unit's files say, before the first record that is about the unit or when it stays
    /// loaded: who only asks about units that nobody uses leaves no trace in the ledger.
    fn tell_loaded(&mut self, unit: UnitId) {
        let u = &mut self.units[unit.0 as usize];
        if !core::mem::take(&mut u.untold) {
            return;
        }
        let fact = u.loaded_fact();
        self.record(Some(unit), Vec::new(), fact);
    }

    /// Takes back the census that was asked for last.
    pub(crate) fn forgo_census(&mut self, unit: UnitId) {
        self.effects.pop_back_if(|effect| matches!(effect, Effect::Census { unit: of, .. } if *of == unit));
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    pub(crate) fn next_job(&mut self) -> JobId {
        let id = JobId(self.next_job);
        self.next_job = self.next_job.checked_add(1).unwrap_or(1);
        id
    }

    pub(crate) fn next_exec(&mut self) -> ExecId {
        let id = ExecId(self.next_exec);
        self.next_exec = self.next_exec.wrapping_add(1);
        id
    }

    /// A new invocation id: distinct, not secret.
    pub(crate) fn next_invocation(&mut self) -> Invocation {
        self.invocations += 1;
        crate::invocation::nth(&self.settings.seed, self.invocations)
    }

    // ---- states

    /// ActiveState of a unit.
    pub fn active_state(&self, unit: UnitId) -> ActiveState {
        self.units[unit.0 as usize].active_state()
    }

    /// The one door to a unit's state: records the change and lets jobs and other units see it.
    /// `will_restart`: the unit is down only on its way to being restarted. `reload_failed`: it is
    /// active again after a reload that failed.
    pub(crate) fn set_state(
        &mut self,
        unit: UnitId,
        state: impl FnOnce(&mut State),
        causes: Vec<Cause>,
        will_restart: bool,
        reload_failed: bool,
    ) -> RecordId {
        let before = self.units[unit.0 as usize].record;
        let Some((from, to)) = self.change_state(unit, state, causes) else { return before };
        let record = self.units[unit.0 as usize].record;
        self.units[unit.0 as usize].just_told = false;
        self.state_changed(unit, (from, to), will_restart, reload_failed, record);
        self.may_go(unit);
        record
    }

    /// Puts a unit into a state and records that, but lets nobody see it. From where to where, if it is
    /// another one.
    fn change_state(
        &mut self,
        unit: UnitId,
        state: impl FnOnce(&mut State),
        causes: Vec<Cause>,
    ) -> Option<(ActiveState, ActiveState)> {
        let u = &mut self.units[unit.0 as usize];
        let (from_active, from) = (u.active_state(), u.sub_state());
        state(&mut u.state);
        let (to_active, to, result) = (u.active_state(), u.sub_state(), u.result());
        if from == to && from_active == to_active {
            return None;
        }
        u.note_times(self.now, from_active, to_active);
        let busy = |s| !is_down(s);
        if !u.is_perpetual() && u.keeps_running() {
            self.busy = self.busy + usize::from(busy(to_active)) - usize::from(busy(from_active));
        }
        let fact = Fact::StateChanged { from_active, from, to_active, to, result };
        let record = self.record(Some(unit), causes, fact);
        self.units[unit.0 as usize].record = record;
        Some((from_active, to_active))
    }

    /// Whether a unit in that state has come no further than to try to start its first process.
    fn is_unborn(&self, unit: UnitId, state: ActiveState) -> bool {
        let service = self.units[unit.0 as usize].service();
        state == ActiveState::Activating && service.is_some_and(|s| !s.born)
    }

    /// What a state change means for the unit's job and for other units (systemd's unit_notify).
    fn state_changed(
        &mut self,
        unit: UnitId,
        (from, to): (ActiveState, ActiveState),
        will_restart: bool,
        reload_failed: bool,
        record: RecordId,
    ) {
        let coming_up = |s| is_up(s) || s == ActiveState::Activating;
        let going_down = |s| is_down(s) || s == ActiveState::Deactivating;
        let unexpected = self.job_sees_state(unit, to, reload_failed, record);
        if unexpected && is_down(from) && coming_up(to) {
            self.start_retroactively(unit, record);
        } else if unexpected && coming_up(from) && going_down(to) && !self.is_unborn(unit, from) {
            self.stop_retroactively(unit, record);
        }
        if to != from && to == ActiveState::Failed && !will_restart {
            self.start_on(unit, Atom::OnFailure, record);
        } else if to == ActiveState::Inactive && !is_down(from) && !will_restart {
            self.start_on(unit, Atom::OnSuccess, record);
        }
        self.trigger_notify(unit, record);
        if from == to {
            return;
        }
        if to == ActiveState::Failed && !will_restart {
            let action = self.units[unit.0 as usize].config.failure_action;
            self.act_for(unit, "FailureAction", action, record);
        } else if to == ActiveState::Inactive && !is_down(from) && !will_restart {
            let action = self.units[unit.0 as usize].config.success_action;
            self.act_for(unit, "SuccessAction", action, record);
        }
        self.unneeded.push((unit, None));
        // A failure that is forgotten takes nothing from those that need the unit.
        if !(is_down(from) && is_down(to)) {
            self.steady.push((unit, record));
        }
        if going_down(to) {
            for (other, _) in self.linked(unit, Atom::PullInStart) {
                self.unneeded.push((other, None));
            }
            for (other, _) in self.linked(unit, Atom::PullInStartIgnored) {
                self.unneeded.push((other, None));
            }
        }
    }

    /// Starts that a timer base counts from.
    pub(crate) fn base_us(&self, base: TimerBase) -> Option<u64> {
        match base {
            TimerBase::Boot => Some(0),
            TimerBase::Startup => Some(self.settings.boot_us),
            TimerBase::Active | TimerBase::UnitActive | TimerBase::UnitInactive => None,
        }
    }
}

/// Takes out what stands for a state that a unit was in from the start: no record led to it. Its rule goes
/// to a cause that has none.
fn without_nothing(mut causes: Vec<Cause>) -> Vec<Cause> {
    while let Some(at) = causes.iter().position(|c| c.record == RecordId(0)) {
        let rule = causes.remove(at).rule;
        if let Some(cause) = causes.iter_mut().find(|c| c.rule.is_none()) {
            cause.rule = rule;
        }
    }
    causes
}

/// Whether a state is one in which nothing of the unit is left to do.
pub(crate) fn is_resting(sub: SubState) -> bool {
    matches!(sub, SubState::Dead | SubState::Failed)
}
