//! What must hold at every moment, whatever happens. It changes nothing; what it finds is a defect of the
//! engine (or of the model of processes).
//!
//! What can be told from records is told from records alone: jobs, states, starts and their order are
//! followed here a second time and compared with the engine's own view.

use super::World;
use crate::engine::is_resting;
use crate::job::{JobState, is_down, is_up, waits_for};
use crate::{Effect, Engine, State, UnitId};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use hence_ledger::{ActiveState, Fact, JobType, Record, SubState, Verb};
use hence_unit::{Atom, config::KillMode};

/// What the records and effects so far amount to.
#[derive(Clone, Debug, Default)]
pub(super) struct Check {
    last_record: u64,
    /// Of each unit: its job, the job's type, and whether it stands outside the order.
    jobs: BTreeMap<UnitId, (u32, JobType, bool)>,
    /// The records that made or merged jobs, and those of the units that they are for.
    job_records: BTreeMap<u64, UnitId>,
    scheduled: BTreeSet<u64>,
    states: BTreeMap<UnitId, (ActiveState, SubState)>,
    starting: BTreeMap<UnitId, i64>,
    signals: BTreeMap<UnitId, i64>,
    starts: BTreeMap<UnitId, (u64, u32)>,
    finished: u32,
    /// Nothing may start any more.
    ending: bool,
    /// Units some of whose processes a signal didn't reach.
    pub unkilled: BTreeSet<UnitId>,
    /// What the system refused units and no record tells of yet.
    refusals: BTreeMap<UnitId, i64>,
}

impl Check {
    /// The system refuses a unit something: a record has to say so.
    pub fn refused(&mut self, unit: UnitId) {
        *self.refusals.entry(unit).or_default() += 1;
    }

    pub fn record(&mut self, record: &Record, engine: &Engine, found: &mut Vec<String>) {
        let id = record.id.0;
        let at = record.at.monotonic_us;
        let mut say = |text: String| found.push(format!("{at}: record {id}: {text}: {:?}", record.fact));
        if id <= self.last_record {
            say("numbers don't rise".into());
        }
        self.last_record = id;
        if record.causes.iter().any(|c| c.record.0 >= id || c.record.0 == 0) {
            say(format!("a cause is no earlier record: {:?}", record.causes));
        }
        let root =
            record.fact.is_root() || matches!(record.fact, Fact::Loaded { .. } | Fact::LeftOverGone { .. });
        if record.causes.is_empty() && !root {
            say("no cause".into());
        }
        let Some(unit) = record.unit.as_ref().and_then(|u| engine.find(u)) else {
            match &record.fact {
                Fact::Request { verb: Verb::ResetFailed, .. } => self.starts.clear(),
                Fact::Request { verb: Verb::Exit, .. } => self.ending = true,
                _ => {}
            }
            return;
        };
        match &record.fact {
            Fact::Request { verb: Verb::ResetFailed, .. } => drop(self.starts.remove(&unit)),
            Fact::JobQueued { job, job_type } => {
                if self.jobs.contains_key(&unit) {
                    say("the unit has a job already".into());
                }
                let free = engine.job(crate::JobId(*job)).is_none_or(|j| j.ignore_order);
                self.jobs.insert(unit, (*job, *job_type, free));
                self.job_records.insert(id, unit);
            }
            Fact::JobMerged { job, job_type } => {
                let free = engine.job(crate::JobId(*job)).is_none_or(|j| j.ignore_order);
                match self.jobs.insert(unit, (*job, *job_type, free)) {
                    Some((old, ..)) if old == *job => {}
                    _ => say("there is no such job".into()),
                }
                self.job_records.insert(id, unit);
            }
            Fact::JobFinished { job, .. } => match self.jobs.remove(&unit) {
                Some((old, ..)) if old == *job => {}
                _ => say("there is no such job".into()),
            },
            Fact::StateChanged { .. } => self.state_changed(unit, record, engine, &mut say),
            Fact::RestartScheduled { .. } => drop(self.scheduled.insert(id)),
            Fact::Starting { .. } => *self.starting.entry(unit).or_default() += 1,
            Fact::SignalSent { .. } => *self.signals.entry(unit).or_default() += 1,
            Fact::SpawnFailed { .. } | Fact::Failed { .. } => {
                if let Some(open) = self.refusals.get_mut(&unit).filter(|open| **open > 0) {
                    *open -= 1;
                }
            }
            Fact::LeftBehind { processes, .. } => {
                let kill = engine.unit(unit).config.kill();
                let all = matches!(kill.mode, KillMode::ControlGroup | KillMode::Mixed);
                let killed = !self.unkilled.contains(&unit);
                if all && killed && kill.send_sigkill && kill.final_signal == 9 {
                    say(format!("{} left behind despite KillMode={}", processes.len(), kill.mode.as_str()));
                }
            }
            _ => {}
        }
    }

    fn state_changed(
        &mut self,
        unit: UnitId,
        record: &Record,
        engine: &Engine,
        say: &mut impl FnMut(String),
    ) {
        let Fact::StateChanged { from_active, from, to_active, to, .. } = &record.fact else { return };
        let was = self.states.insert(unit, (*to_active, *to));
        if was.unwrap_or((ActiveState::Inactive, SubState::Dead)) != (*from_active, *from) {
            say(format!("the state before was {was:?}"));
        }
        let asked = record.causes.iter().any(|c| {
            self.job_records.get(&c.record.0) == Some(&unit) || self.scheduled.contains(&c.record.0)
        });
        if is_down(*from_active) && !is_down(*to_active) {
            // Devices come by themselves, and a unit whose folders are removed is not up.
            if !asked && !matches!(to, SubState::Plugged | SubState::Cleaning) {
                say("it comes up unasked".into());
            }
            if !matches!(to, SubState::AutoRestart | SubState::Cleaning) {
                self.began(unit, record, engine, say);
            }
        }
        let job = self.jobs.get(&unit).copied();
        let own = record.causes.iter().any(|c| self.job_records.get(&c.record.0) == Some(&unit));
        if let Some((_, job_type @ (JobType::Stop | JobType::Restart), free)) = job
            && own
            && !is_down(*from_active)
        {
            self.in_order(unit, job_type, free, engine, say);
        }
        // A restart whose unit is down, or comes up, is a start from now on.
        if (is_down(*to_active) || is_down(*from_active))
            && let Some((_, job_type @ JobType::Restart, _)) = self.jobs.get_mut(&unit)
        {
            *job_type = JobType::Start;
        }
    }

    /// A unit left the state of being down.
    fn began(&mut self, unit: UnitId, record: &Record, engine: &Engine, say: &mut impl FnMut(String)) {
        if let Some((_, job_type, free)) = self.jobs.get(&unit).copied() {
            if job_type == JobType::Stop {
                say("it comes up while its job is to stop it".into());
            }
            self.in_order(unit, JobType::Start, free, engine, say);
        }
        if self.ending && !engine.unit(unit).is_perpetual() {
            say("it comes up though hence is ending".into());
        }
        let config = &engine.unit(unit).config;
        let (interval, burst) = (config.start_limit_interval, config.start_limit_burst);
        let limited = config.service().is_some() || config.socket().is_some();
        if limited && interval > 0 && burst > 0 {
            let now = record.at.monotonic_us;
            let (begin, count) = self.starts.entry(unit).or_insert((now, 0));
            if now - *begin >= interval {
                (*begin, *count) = (now, 0);
            }
            *count += 1;
            // The unit's own interval may have begun with a start that was put off: part of two of them.
            if *count > 2 * burst {
                say(format!("start {count} in {interval} us, StartLimitBurst={burst}"));
            }
        }
    }

    /// A job begins: none that goes before it may be there.
    fn in_order(
        &self,
        unit: UnitId,
        mine: JobType,
        free: bool,
        engine: &Engine,
        say: &mut impl FnMut(String),
    ) {
        let u = engine.unit(unit);
        // Between a job's beginning and the answer to its conditions others may be queued.
        if free
            || (mine == JobType::Start && !(u.config.conditions.is_empty() && u.config.asserts.is_empty()))
        {
            return;
        }
        for edge in &u.edges {
            let after = edge.kind.has(Atom::After);
            if !after && !edge.kind.has(Atom::Before) {
                continue;
            }
            let Some(&(_, theirs, false)) = self.jobs.get(&edge.other) else { continue };
            // Whether a restart of a unit that is down is a start already can't be told from records.
            let down = self.states.get(&edge.other).is_none_or(|(a, _)| is_down(*a));
            if theirs == JobType::Restart && down {
                continue;
            }
            if waits_for(mine, theirs, after) {
                say(format!("its {mine} goes before the {theirs} of {}", engine.unit(edge.other).name()));
            }
        }
    }

    pub fn effect(&mut self, effect: &Effect, engine: &Engine, found: &mut Vec<String>) {
        let name = |unit: UnitId| engine.unit(unit).name();
        let state = |unit: UnitId| self.states.get(&unit).map(|s| s.1);
        match effect {
            Effect::Spawn(spawn) => {
                let count = self.starting.entry(spawn.unit).or_default();
                *count -= 1;
                if *count < 0 {
                    found.push(format!("a process of {} is started without a record", name(spawn.unit)));
                }
            }
            Effect::Kill(kill) => {
                let count = self.signals.entry(kill.unit).or_default();
                *count -= 1;
                if *count < 0 {
                    found.push(format!("{} is signalled without a record", name(kill.unit)));
                }
            }
            Effect::Forget { unit, name } => {
                if self.jobs.contains_key(unit) || state(*unit).is_some_and(|s| !is_resting(s)) {
                    found.push(format!("{name} is forgotten while it has a job or is up"));
                }
                self.states.remove(unit);
                self.starting.remove(unit);
                self.signals.remove(unit);
                self.starts.remove(unit);
                self.unkilled.remove(unit);
                self.refusals.remove(unit);
                self.job_records.retain(|_, of| of != unit);
            }
            Effect::OpenSockets(unit, _) if state(*unit).is_none() => {
                found.push(format!("the sockets of {} are opened without a record", name(*unit)));
            }
            Effect::Finished(_) => {
                self.finished += 1;
                if self.finished > 1 {
                    found.push("Finished comes more than once".into());
                }
            }
            _ => {}
        }
    }
}

/// What must hold when the engine waits for the next event.
pub(super) fn settled(world: &World) -> Vec<String> {
    let engine = &world.engine;
    let mut found = Vec::new();
    let now = world.now_us;
    let mut say = |text: String| found.push(format!("{now}: {text}"));
    for unit in engine.units() {
        let seen = world.check.states.get(&unit.id).copied();
        let seen = seen.unwrap_or((ActiveState::Inactive, SubState::Dead));
        if seen != (unit.active_state(), unit.sub_state()) && !unit.is_perpetual() {
            say(format!("{} is {} without a record", unit.name(), unit.sub_state()));
        }
        match (unit.job, world.check.jobs.get(&unit.id)) {
            (None, None) => {}
            (Some(id), Some((seen, ..))) if id.0 == *seen && engine.job(id).is_some() => {}
            (job, seen) => say(format!("{}: job {job:?}, by the records {seen:?}", unit.name())),
        }
    }
    for job in engine.jobs() {
        let unit = engine.unit(job.unit);
        if unit.job != Some(job.id) {
            say(format!("job {} of {} isn't the unit's", job.id.0, unit.name()));
        }
        if job.state == JobState::Waiting && !engine.run_queue.contains(job.id) {
            waits_rightly(engine, job, &mut say);
        }
    }
    for (unit, open) in &world.check.refusals {
        if *open > 0 {
            say(format!("{open} refusals of {} are on no record", engine.unit(*unit).name()));
        }
    }
    deaf(world, &mut say);
    processes(world, &mut say);
    dependencies(engine, &mut say);
    found
}

/// What waits for traffic or a path is heard of it.
fn deaf(world: &World, say: &mut impl FnMut(String)) {
    for unit in world.engine.units() {
        let heard = match (&unit.state, unit.sub_state()) {
            (State::Socket(_), SubState::Listening) => world.watched.contains(&unit.id),
            (State::Path(_), SubState::Waiting) => world.paths_watched.contains(&unit.id),
            _ => true,
        };
        if !heard {
            say(format!("{} waits for what nobody looks at", unit.name()));
        }
    }
}

/// Both ends of a dependency know of it, and neither is a unit that was forgotten.
fn dependencies(engine: &Engine, say: &mut impl FnMut(String)) {
    let known: BTreeSet<UnitId> = engine.units().map(|u| u.id).collect();
    for unit in engine.units() {
        for edge in &unit.edges {
            if !known.contains(&edge.other) {
                say(format!("{} depends on a unit that was forgotten", unit.name()));
                continue;
            }
            let other = engine.unit(edge.other);
            let back = |e: &crate::engine::Edge| e.other == unit.id && e.kind == edge.kind.inverse();
            if !other.edges.iter().any(|e| back(e) && e.own() != edge.own()) {
                say(format!("{} knows nothing of its dependency with {}", other.name(), unit.name()));
            }
        }
        if unit.monitored.is_some_and(|m| !known.contains(&m)) {
            say(format!("{} was started for a unit that was forgotten", unit.name()));
        }
    }
}

fn waits_rightly(engine: &Engine, job: &crate::Job, say: &mut impl FnMut(String)) {
    let unit = engine.unit(job.unit);
    let mut blockers = Vec::new();
    for edge in unit.edges.iter().filter(|_| !job.ignore_order) {
        let after = edge.kind.has(Atom::After);
        if !after && !edge.kind.has(Atom::Before) {
            continue;
        }
        let other = engine.unit(edge.other).job.and_then(|id| engine.job(id));
        if let Some(other) = other.filter(|o| !o.ignore_order && waits_for(job.job_type, o.job_type, after)) {
            blockers.push(other);
        }
    }
    // What its unit has put off is looked at again when the unit's state changes.
    let put_off = match job.job_type {
        JobType::Start => !is_down(unit.active_state()) && !is_up(unit.active_state()),
        JobType::VerifyActive => unit.active_state() == ActiveState::Activating,
        JobType::Reload => unit.active_state() == ActiveState::Reloading,
        _ => false,
    };
    if put_off || engine.checking == Some(job.unit) || blockers.iter().any(|b| b.watchers.contains(&job.id)) {
        return;
    }
    let (name, sub, id) = (unit.name(), unit.sub_state(), job.id.0);
    if blockers.is_empty() {
        say(format!("the {} job {id} of {name} ({sub}) waits for nothing", job.job_type));
    } else {
        say(format!("job {id} of {name} ({sub}) waits and nobody will wake it"));
    }
}

/// Every process is somebody's: main or control, in the group of a unit that isn't down, or known to be
/// left behind.
fn processes(world: &World, say: &mut impl FnMut(String)) {
    let engine = &world.engine;
    for (pid, process) in &world.processes {
        if !engine.units().any(|u| u.id == process.unit) {
            say(format!("the unit of process {pid} was forgotten"));
            continue;
        }
        let unit = engine.unit(process.unit);
        let known = engine.unit_of_process(*pid).is_some();
        let resting = is_down(unit.active_state()) || unit.sub_state() == SubState::AutoRestart;
        // What can't be seen now is looked at again.
        if !known && resting && !unit.uncounted && !unit.left_over.keys().any(|(left, _)| left == pid) {
            say(format!("process {pid} of {} is nobody's", unit.name()));
        }
    }
    for pid in engine.units().flat_map(|u| <[_; 2]>::from(engine.known_processes(u.id))).flatten() {
        if engine.unit_of_process(pid).is_none() {
            say(format!("the end of process {pid} would go unnoticed"));
        }
    }
}

/// Nothing more will happen: nothing may be left that something would have to happen for.
pub(super) fn stuck(world: &World) -> Vec<String> {
    let engine = &world.engine;
    let mut found = Vec::new();
    for unit in engine.units() {
        let alive = !world.group(unit.id).is_empty();
        let sub = unit.sub_state();
        let steady = matches!(
            sub,
            SubState::Dead
                | SubState::Failed
                | SubState::Exited
                | SubState::Active
                | SubState::Listening
                | SubState::SocketRunning
                | SubState::Waiting
                | SubState::Elapsed
                | SubState::TriggerRunning
                | SubState::Plugged
        );
        if unit.uncounted {
            found.push(format!("who was left behind by {} is never looked at", unit.name()));
        }
        if !steady && !alive {
            found.push(format!("{} stays {sub} for ever, without a process", unit.name()));
        }
    }
    let runs = |id: &crate::JobId| {
        engine.job(*id).is_some_and(|j| {
            let alive = !world.group(j.unit).is_empty();
            alive && (j.state == JobState::Running || !is_down(engine.active_state(j.unit)))
        })
    };
    for job in engine.jobs() {
        // Follows who waits for whom; a job that ends up nowhere is stuck.
        let mut seen: BTreeSet<crate::JobId> = [job.id].into();
        let mut todo = [job.id].to_vec();
        while let Some(at) = todo.pop() {
            for other in engine.jobs().filter(|o| o.watchers.contains(&at)) {
                if seen.insert(other.id) {
                    todo.push(other.id);
                }
            }
        }
        if !seen.iter().any(runs) {
            let name = engine.unit(job.unit).name();
            found.push(format!("the {} job {} of {name} waits for ever", job.job_type, job.id.0));
        }
    }
    found
}

/// What must hold when hence was asked to end and nothing more will happen.
pub(super) fn after_end(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    if world.finished.is_none() {
        found.push(format!("{}: hence doesn't end", world.now_us));
    }
    for unit in world.engine.units() {
        if !is_down(unit.active_state()) && !unit.is_perpetual() {
            found.push(format!("{} is {} after the end", unit.name(), unit.sub_state()));
        }
    }
    found
}
