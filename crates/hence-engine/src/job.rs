//! Jobs: what they merge to, which waits for which, and how they run and end.
//!
//! A unit has at most one job. A job waits while a job of a unit that it is ordered with must go first,
//! and watches that one only: when it ends, the job looks for the next that is in its way. So the work
//! per finished job doesn't grow with the number of waiting ones.
//! systemd.unit(5), systemctl(1); measured rules: merge and collapse tables, "stop goes first".

use crate::carry::carry_words;
use crate::deadline::{Armed, DeadlineFor};
use crate::unit::State;
use crate::{Effect, Engine, JobId, UnitId};
use alloc::{vec, vec::Vec};
use hence_ledger::{ActiveState, Cause, Fact, JobResult, JobType, RecordId};
use hence_unit::{Atom, config::INFINITY};

/// Whether a job has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Something goes before it, or the unit isn't ready for it.
    Waiting,
    /// The unit is at it.
    Running,
}

impl JobState {
    /// systemd's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            JobState::Waiting => "waiting",
            JobState::Running => "running",
        }
    }
}

carry_words! { JobState { Waiting "waiting", Running "running" } }

/// A queued job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Of which unit.
    pub unit: UnitId,
    /// What it is to do.
    pub job_type: JobType,
    /// Whether it has begun.
    pub state: JobState,
    /// The record that says why it is there; merging makes a new one that has all causes.
    pub record: RecordId,
    /// Job mode ignore-dependencies: it waits for nobody and nobody for it.
    pub(crate) ignore_order: bool,
    /// Job mode replace-irreversibly: no later transaction may contradict it.
    pub(crate) irreversible: bool,
    /// In the run queue already.
    pub(crate) queued: bool,
    /// Jobs that found this one in their way.
    pub(crate) watchers: Vec<JobId>,
    /// Where among the unit's edges the last job in the way was found.
    pub(crate) resume_at: usize,
    /// JobTimeoutSec=
    pub(crate) timeout: Option<Armed>,
    /// JobRunningTimeoutSec=
    pub(crate) running_timeout: Option<Armed>,
    /// When it was queued, and when it began to run; both timeouts count from these.
    pub(crate) began_us: (u64, Option<u64>),
}

/// What a unit answers when a job calls into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Performed {
    /// It is at it; its state will end the job.
    Begun,
    /// Nothing to do: it is as the job wants it.
    Already,
    /// Not now: try again when its state changes.
    Later,
    /// The job ends with this result.
    End(JobResult),
}

/// The type that two jobs of one unit become, `None` where they contradict each other.
/// Commutative and associative; only types that a transaction holds (no try-..., no or-start).
pub(crate) fn merge(a: JobType, b: JobType) -> Option<JobType> {
    use JobType::*;
    match (a, b) {
        (a, b) if a == b => Some(a),
        (Nop, x) | (x, Nop) => Some(x),
        (Start, VerifyActive) | (VerifyActive, Start) => Some(Start),
        (Start, Reload) | (Reload, Start) => Some(ReloadOrStart),
        (Start, Restart) | (Restart, Start) => Some(Restart),
        (VerifyActive, Reload) | (Reload, VerifyActive) => Some(Reload),
        (VerifyActive, Restart) | (Restart, VerifyActive) => Some(Restart),
        (Reload, Restart) | (Restart, Reload) => Some(Restart),
        (ReloadOrStart, Restart) | (Restart, ReloadOrStart) => Some(Restart),
        (ReloadOrStart, Start | VerifyActive | Reload) | (Start | VerifyActive | Reload, ReloadOrStart) => {
            Some(ReloadOrStart)
        }
        _ => None,
    }
}

/// What a type means for a unit in this state; [`JobType::Nop`] where nothing is to be done.
pub(crate) fn collapse(job_type: JobType, state: ActiveState) -> JobType {
    use ActiveState::*;
    let up = matches!(state, Active | Reloading);
    match job_type {
        JobType::TryRestart if up || state == Activating => JobType::Restart,
        JobType::TryReload if up => JobType::Reload,
        JobType::TryRestart | JobType::TryReload => JobType::Nop,
        JobType::ReloadOrStart if up => JobType::Reload,
        JobType::ReloadOrStart => JobType::Start,
        other => other,
    }
}

/// Whether a unit in this state needs no such job.
pub(crate) fn is_redundant(job_type: JobType, state: ActiveState) -> bool {
    match job_type {
        JobType::Start | JobType::VerifyActive => is_up(state),
        JobType::Stop => is_down(state),
        JobType::Reload => state == ActiveState::Reloading,
        JobType::Nop => true,
        JobType::Restart | JobType::TryRestart | JobType::TryReload | JobType::ReloadOrStart => false,
    }
}

/// Active or reloading.
pub(crate) fn is_up(state: ActiveState) -> bool {
    matches!(state, ActiveState::Active | ActiveState::Reloading)
}

/// Inactive or failed.
pub(crate) fn is_down(state: ActiveState) -> bool {
    matches!(state, ActiveState::Inactive | ActiveState::Failed)
}

/// Whether `mine` waits for `other`, whose unit mine is ordered `after` (else before).
/// "Stop goes first; a restart is a stop until it has become a start."
pub(crate) fn waits_for(mine: JobType, other: JobType, after: bool) -> bool {
    let stops = |t| matches!(t, JobType::Stop | JobType::Restart);
    if mine == JobType::Nop || other == JobType::Nop {
        return false;
    }
    // After: the other waits for mine exactly if mine stops.
    if after { !stops(mine) } else { stops(other) }
}

impl Engine {
    /// Puts a job into the run queue, once.
    pub(crate) fn enqueue_job(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id)
            && !job.queued
        {
            job.queued = true;
            let unit = &self.units[job.unit.0 as usize];
            self.run_queue.push(id, unit.name(), &unit.config);
        }
    }

    /// Installs a job from a transaction, over the one that is there if need be. The record is written
    /// here, so that it can say whether the job is new or merged.
    pub(crate) fn install_job(
        &mut self,
        unit: UnitId,
        id: JobId,
        job_type: JobType,
        causes: Vec<Cause>,
        ignore_order: bool,
        irreversible: bool,
    ) -> RecordId {
        if let Some(old) = self.units[unit.0 as usize].job {
            let (old_type, old_record, running) = {
                let j = &self.jobs[&old];
                (j.job_type, j.record, j.state == JobState::Running)
            };
            match merge(old_type, job_type) {
                Some(merged) => {
                    return self.merge_job(
                        old,
                        old_record,
                        collapse(merged, self.active_state(unit)),
                        running && (job_type == JobType::Reload || merged != old_type),
                        causes,
                        (ignore_order, irreversible),
                    );
                }
                None => {
                    let cause = causes.first().cloned().into_iter().collect();
                    self.finish_job(old, JobResult::Canceled, false, cause);
                }
            }
        }
        let record = self.record(Some(unit), causes, Fact::JobQueued { job: id.0, job_type });
        let timeout = self.units[unit.0 as usize].config.job_timeout;
        let timeout = self.deadlines.arm(self.now.monotonic_us, timeout, DeadlineFor::Job(id));
        let job = Job {
            id,
            unit,
            job_type,
            state: JobState::Waiting,
            record,
            ignore_order,
            irreversible,
            queued: false,
            watchers: Vec::new(),
            resume_at: 0,
            timeout,
            running_timeout: None,
            began_us: (self.now.monotonic_us, None),
        };
        self.jobs.insert(id, job);
        self.units[unit.0 as usize].job = Some(id);
        self.effect(Effect::JobNew { job: id, unit });
        self.enqueue_job(id);
        record
    }

    /// The unit's lines are others now: its job has as long as they say, from when it was queued and when it
    /// began to run.
    pub(crate) fn rearm_job(&mut self, unit: UnitId) {
        let u = &self.units[unit.0 as usize];
        let (whole, running) = (u.config.job_timeout, u.config.job_running_timeout);
        let Some(job) = u.job.and_then(|id| self.jobs.get_mut(&id)) else { return };
        let (id, (queued_us, running_us)) = (job.id, job.began_us);
        let mut old = [job.timeout.take(), job.running_timeout.take()];
        old.iter_mut().for_each(|armed| self.deadlines.disarm(armed));
        job.timeout = self.deadlines.arm(queued_us, whole, DeadlineFor::Job(id));
        let running_us = running_us.filter(|_| job.state == JobState::Running);
        job.running_timeout =
            running_us.and_then(|since| self.deadlines.arm(since, running, DeadlineFor::RunningJob(id)));
    }

    fn merge_job(
        &mut self,
        id: JobId,
        old_record: RecordId,
        job_type: JobType,
        rerun: bool,
        mut causes: Vec<Cause>,
        (ignore_order, irreversible): (bool, bool),
    ) -> RecordId {
        let unit = self.jobs[&id].unit;
        causes.push(Cause { record: old_record, rule: None });
        let record = self.record(Some(unit), causes, Fact::JobMerged { job: id.0, job_type });
        let job = self.jobs.get_mut(&id).expect("install_job looked it up");
        let changed = job.job_type != job_type || (ignore_order && !job.ignore_order);
        job.record = record;
        job.job_type = job_type;
        job.ignore_order |= ignore_order;
        job.irreversible |= irreversible;
        if rerun {
            job.state = JobState::Waiting;
        }
        if changed {
            self.wake_watchers(id);
        }
        self.enqueue_job(id);
        record
    }

    fn wake_watchers(&mut self, id: JobId) {
        let watchers = self.jobs.get_mut(&id).map(|j| core::mem::take(&mut j.watchers));
        for watcher in watchers.into_iter().flatten() {
            self.enqueue_job(watcher);
        }
    }

    /// Finds a job that must go before this one.
    fn in_the_way(&mut self, id: JobId) -> Option<JobId> {
        let job = &self.jobs[&id];
        if job.ignore_order {
            return None;
        }
        let (mine, start) = (job.job_type, job.resume_at);
        let edges = &self.units[job.unit.0 as usize].edges;
        let count = edges.len();
        // Begins where the last one was found: the edges before it were clear then, and are looked at last.
        for step in 0..count {
            let at = (start + step) % count;
            let edge = &edges[at];
            let after = edge.kind.has(Atom::After);
            if !after && !edge.kind.has(Atom::Before) {
                continue;
            }
            let Some(other) = self.units[edge.other.0 as usize].job else { continue };
            let blocker = &self.jobs[&other];
            if !blocker.ignore_order && waits_for(mine, blocker.job_type, after) {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.resume_at = at;
                }
                return Some(other);
            }
        }
        None
    }

    /// Runs one job from the run queue, if nothing is in its way.
    pub(crate) fn run_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.queued = false;
        if job.state != JobState::Waiting {
            return;
        }
        if let Some(blocker) = self.in_the_way(id) {
            let watchers =
                &mut self.jobs.get_mut(&blocker).expect("in_the_way returns a queued job").watchers;
            if watchers.last() != Some(&id) {
                watchers.push(id);
            }
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Running;
        job.began_us.1 = Some(self.now.monotonic_us);
        let (unit, job_type, record) = (job.unit, job.job_type, job.record);
        let limit = self.units[unit.0 as usize].config.job_running_timeout;
        if limit != INFINITY {
            let armed = self.deadlines.arm(self.now.monotonic_us, limit, DeadlineFor::RunningJob(id));
            let job = self.jobs.get_mut(&id).expect("just looked up");
            let mut old = job.running_timeout.take();
            job.running_timeout = armed;
            self.deadlines.disarm(&mut old);
        }
        let cause = Cause { record, rule: None };
        let performed = match job_type {
            JobType::VerifyActive => match self.active_state(unit) {
                s if is_up(s) => Performed::Already,
                ActiveState::Activating => Performed::Later,
                _ => Performed::End(JobResult::Skipped),
            },
            JobType::Start => self.start_unit(unit, &cause),
            JobType::Stop | JobType::Restart => self.stop_unit(unit, &cause),
            JobType::Reload => self.reload_unit(unit, &cause),
            JobType::Nop | JobType::TryRestart | JobType::TryReload | JobType::ReloadOrStart => {
                Performed::Already
            }
        };
        self.job_performed(id, performed);
    }

    /// Acts on a unit's answer to a job.
    pub(crate) fn job_performed(&mut self, id: JobId, performed: Performed) {
        // The unit may have ended the job from within.
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let cause = vec![Cause { record: job.record, rule: None }];
        match performed {
            Performed::Begun => {}
            Performed::Later => job.state = JobState::Waiting,
            Performed::Already => self.finish_job(id, JobResult::Done, true, cause),
            Performed::End(result) => self.finish_job(id, result, true, cause),
        }
    }

    /// Ends a job. `recursive`: its failure fails the jobs that need it. A restart that is "done" has only
    /// stopped the unit: it becomes a start, with the same number.
    pub(crate) fn finish_job(&mut self, id: JobId, result: JobResult, recursive: bool, causes: Vec<Cause>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (unit, job_type) = (job.unit, job.job_type);
        if result == JobResult::Done && job_type == JobType::Restart {
            job.job_type = JobType::Start;
            job.state = JobState::Waiting;
            self.wake_watchers(id);
            self.enqueue_job(id);
            return;
        }
        let mut causes = causes;
        if causes.is_empty() {
            causes.push(Cause { record: job.record, rule: None });
        }
        let mut job = self.jobs.remove(&id).expect("looked up above");
        self.deadlines.disarm(&mut job.timeout);
        self.deadlines.disarm(&mut job.running_timeout);
        self.units[unit.0 as usize].job = None;
        let record = self.record(Some(unit), causes, Fact::JobFinished { job: id.0, job_type, result });
        self.effect(Effect::JobRemoved { job: id, unit, job_type, result });
        if recursive && result != JobResult::Done {
            match job_type {
                JobType::Start | JobType::VerifyActive => {
                    self.fail_dependents(unit, Atom::PropagateStartFailure, record);
                }
                JobType::Stop => self.fail_dependents(unit, Atom::PropagateStopFailure, record),
                _ => {}
            }
        }
        if recursive
            && result == JobResult::Done
            && job_type == JobType::Start
            && !is_up(self.active_state(unit))
        {
            self.fail_dependents(unit, Atom::PropagateInactiveStartAsFailure, record);
        }
        if matches!(result, JobResult::Timeout | JobResult::Dependency) {
            self.start_on(unit, Atom::OnFailure, record);
        }
        if recursive
            && result != JobResult::Done
            && matches!(self.units[unit.0 as usize].state, State::Service(_))
        {
            self.restart_given_up(unit, Cause { record, rule: None });
        }
        if matches!(self.units[unit.0 as usize].state, State::Service(_)) {
            self.let_descriptors_go(unit);
        }
        self.trigger_notify(unit, record);
        self.unneeded.push((unit, None));
        self.after_job.push((unit, record));
        self.may_go(unit);
        for watcher in job.watchers {
            self.enqueue_job(watcher);
        }
    }

    fn fail_dependents(&mut self, unit: UnitId, atom: Atom, record: RecordId) {
        for (other, rule) in self.linked(unit, atom) {
            let Some(job) = self.units[other.0 as usize].job else { continue };
            if matches!(self.jobs[&job].job_type, JobType::Start | JobType::VerifyActive)
                && !self.is_being_born(other)
            {
                let own = self.jobs[&job].record;
                let causes = vec![Cause { record, rule }, Cause { record: own, rule: None }];
                self.finish_job(job, JobResult::Dependency, true, causes);
            }
        }
    }

    /// A unit changed from one ActiveState to another: what that means for its job. Returns whether no
    /// job asked for it.
    pub(crate) fn job_sees_state(
        &mut self,
        unit: UnitId,
        to: ActiveState,
        reload_failed: bool,
        record: RecordId,
    ) -> bool {
        let Some(id) = self.units[unit.0 as usize].job else { return true };
        let job = &self.jobs[&id];
        let (job_type, running) = (job.job_type, job.state == JobState::Running);
        let cause = vec![Cause { record, rule: None }];
        let ended = |failed: bool| if failed { JobResult::Failed } else { JobResult::Done };
        let mut unexpected = false;
        match job_type {
            JobType::Start | JobType::VerifyActive => {
                if is_up(to) {
                    self.finish_job(id, JobResult::Done, true, cause);
                } else if running && to != ActiveState::Activating {
                    unexpected = true;
                    if is_down(to) {
                        self.finish_job(id, ended(to == ActiveState::Failed), true, cause);
                    }
                }
            }
            JobType::Reload | JobType::ReloadOrStart | JobType::TryReload => {
                if running && to == ActiveState::Active {
                    self.finish_job(id, ended(reload_failed), true, cause);
                } else if running && !matches!(to, ActiveState::Activating | ActiveState::Reloading) {
                    unexpected = true;
                    if is_down(to) {
                        self.finish_job(id, ended(to == ActiveState::Failed), true, cause);
                    }
                }
            }
            JobType::Stop | JobType::Restart | JobType::TryRestart => {
                if is_down(to) {
                    self.finish_job(id, JobResult::Done, true, cause);
                } else if running && to != ActiveState::Deactivating {
                    unexpected = true;
                    self.finish_job(id, JobResult::Failed, true, cause);
                }
            }
            JobType::Nop => {}
        }
        // A job that its unit put off may go now.
        if self.jobs.get(&id).is_some_and(|j| j.state == JobState::Waiting) {
            self.enqueue_job(id);
        }
        unexpected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MERGEABLE: [JobType; 5] =
        [JobType::Start, JobType::VerifyActive, JobType::Stop, JobType::Reload, JobType::Restart];

    #[test]
    fn merging_is_commutative_and_a_conflict_is_with_stop() {
        for a in MERGEABLE {
            for b in MERGEABLE {
                assert_eq!(merge(a, b), merge(b, a), "{a} {b}");
                let stop = (a == JobType::Stop) != (b == JobType::Stop);
                assert_eq!(merge(a, b).is_none(), stop, "{a} {b}");
            }
        }
    }

    #[test]
    fn stop_goes_first_whichever_way_the_order_points() {
        for after in [true, false] {
            assert!(waits_for(JobType::Start, JobType::Stop, after));
            assert!(!waits_for(JobType::Stop, JobType::Start, after));
        }
        assert!(waits_for(JobType::Start, JobType::Start, true));
        assert!(!waits_for(JobType::Start, JobType::Start, false));
        assert!(waits_for(JobType::Stop, JobType::Stop, false));
        assert!(!waits_for(JobType::Stop, JobType::Stop, true));
    }
}
