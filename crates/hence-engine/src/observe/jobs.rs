//! Jobs: which belong to one transaction, by which dependency one led to the other, how they ended.
//!
//! A transaction is not told as such (but for managers that say TRANSACTION_ID=): its jobs are queued at
//! once, the one that was asked for first, and each of the others follows from an earlier one by a
//! dependency.

use super::evidence::came_to_nothing;
use super::seen::{Change, Seen, What};
use super::{Job, Observer};
use crate::Time;
use crate::job::is_up;
use alloc::{collections::BTreeSet, vec, vec::Vec};
use hence_ledger::{ActiveState, Cause, Certainty, Fact, JobResult, JobType, RecordId, Rule, SubState, Text};
use hence_unit::{Atom, DependencyKind};

/// Jobs that are queued within this time may be of one transaction, in microseconds.
const TOGETHER_US: u64 = 40_000;
/// A change of state is told before the job that brought it by no more than this.
const BEFORE_US: u64 = 20_000;

/// A job that is looked at with those beside it.
struct New {
    id: u32,
    at: Time,
    unit: Text,
    job_type: JobType,
    /// Nobody said which type it has.
    guessed: bool,
    record: RecordId,
}

/// Whether a job of this type, by an edge of this kind to another unit, makes a job of that type there.
fn leads_to(parent: JobType, edge: DependencyKind, child: JobType) -> bool {
    use JobType as J;
    let starts = matches!(parent, J::Start | J::Restart);
    let is_start = matches!(child, J::Start | J::VerifyActive | J::Restart);
    let pulls = [Atom::PullInStart, Atom::PullInStartIgnored, Atom::PullInVerify];
    starts && is_start && pulls.iter().any(|atom| edge.has(*atom))
        || starts && child == J::Stop && (edge.has(Atom::PullInStop) || edge.has(Atom::PullInStopIgnored))
        || parent == J::Stop && child == J::Stop && edge.has(Atom::PropagateStop)
        || matches!(parent, J::Restart | J::TryRestart)
            && matches!(child, J::Restart | J::TryRestart)
            && edge.has(Atom::PropagateRestart)
        || matches!(parent, J::Reload) && child == J::Reload && edge.has(Atom::PropagateReload)
}

impl Observer {
    /// Where a change of state is told just before the job that brought it, the job is taken first.
    pub(super) fn jobs_before(&mut self, at: Time, name: &Text, change: &Change) {
        let Some(unit) = self.units.get(name) else { return };
        let changes = change.active.is_some_and(|a| a != unit.active);
        let ended = change.main_exit.is_some_and(|(_, at_us, _)| at_us > unit.exit_at_us);
        if !changes || ended || self.job_of(name).is_some() {
            return;
        }
        self.job_ahead(at, name);
    }

    /// Takes a job of this unit that is told just after this.
    pub(super) fn job_ahead(&mut self, at: Time, name: &Text) {
        let until = at.monotonic_us + BEFORE_US;
        let next = self
            .waiting
            .iter()
            .position(|s| s.at.monotonic_us <= until && matches!(&s.what, What::JobNew(_, of) if of == name));
        if let Some(found) = next.and_then(|at| self.waiting.remove(at))
            && let What::JobNew(job, unit) = found.what
        {
            self.jobs_new(found.at, job, unit);
        }
    }

    /// Jobs were queued: this one, and those that come at once with it.
    pub(super) fn jobs_new(&mut self, at: Time, job: u32, unit: Text) {
        if let Some(ended) = self.end_before(at, job, &unit) {
            self.waiting.push_front(Seen { at, what: What::JobNew(job, unit.clone()) });
            if let What::Changed(name, change) = ended.what {
                self.changed(ended.at, &name, &change);
            }
            return;
        }
        let until = at.monotonic_us + TOGETHER_US;
        let fresh = |seen: &Seen| match &seen.what {
            What::JobNew(job, unit) if seen.at.monotonic_us <= until => Some((seen.at, *job, unit.clone())),
            _ => None,
        };
        let mut near: Vec<New> = Vec::new();
        let all = [(at, job, unit)].into_iter().chain(self.waiting.iter().filter_map(fresh));
        for (at, id, unit) in all.collect::<Vec<_>>() {
            if !self.jobs.contains_key(&id) && near.iter().all(|n| n.id != id) {
                let told = self.store.type_of(id).map(|told| self.whole_type(&unit, told));
                let job_type = told.unwrap_or_else(|| self.likely_type(&unit, id, at));
                near.push(New { id, at, unit, job_type, guessed: told.is_none(), record: RecordId(0) });
            }
        }
        near.sort_by_key(|new| new.id);
        let taken = self.tied_to(&near, job);
        self.waiting.retain(|seen| !matches!(&seen.what, What::JobNew(id, _) if taken.contains(id)));
        let mut batch: Vec<New> = Vec::new();
        for mut new in near.into_iter().filter(|new| taken.contains(&new.id)) {
            let (causes, certainty) = self.causes_of_job(&batch, &new);
            let (id, at, job_type) = (new.id, new.at, new.job_type);
            let fact = Fact::JobQueued { job: id, job_type };
            new.record = self.record(at, Some(&new.unit), causes, certainty, fact);
            let (unit, record, at_us) = (new.unit.clone(), new.record, at.monotonic_us);
            self.jobs_of.entry(unit).or_default().push(id);
            self.jobs.insert(id, Job { job_type, record, at_us, over: None });
            batch.push(new);
        }
    }

    /// The end of a unit's process that is told only after the restart that follows from it was queued.
    fn end_before(&mut self, at: Time, job: u32, name: &Text) -> Option<Seen> {
        let unit = self.units.get(name)?;
        let waits = unit.sub == SubState::AutoRestart;
        if waits || self.jobs.contains_key(&job) || !self.store.scheduled(name, at.monotonic_us) {
            return None;
        }
        let until = at.monotonic_us + 5 * BEFORE_US;
        let found = self.waiting.iter().position(|seen| match &seen.what {
            What::Changed(of, change) => {
                let ended = change.main_exit.is_some_and(|(_, at_us, _)| at_us > unit.exit_at_us);
                of == name && ended && seen.at.monotonic_us <= until
            }
            _ => false,
        })?;
        self.waiting.remove(found)
    }

    /// The jobs that one led to, or that led to it, as far as dependencies tell: those that were only queued
    /// at the same time follow from what happened meanwhile.
    fn tied_to(&self, near: &[New], job: u32) -> BTreeSet<u32> {
        let mut taken = BTreeSet::from([job]);
        loop {
            let before = taken.len();
            for (nth, child) in near.iter().enumerate() {
                for parent in &near[..nth] {
                    let one = taken.contains(&parent.id) || taken.contains(&child.id);
                    let both = taken.contains(&parent.id) && taken.contains(&child.id);
                    if one && !both && self.leads(parent, child) {
                        taken.extend([parent.id, child.id]);
                    }
                }
            }
            if taken.len() == before {
                return taken;
            }
        }
    }

    fn leads(&self, parent: &New, child: &New) -> bool {
        let isolated = child.job_type == JobType::Stop
            && parent.job_type == JobType::Start
            && self.may_isolate(&parent.unit, parent.at);
        match self.store.together(parent.id, child.id) {
            Some(together) => together,
            None => isolated || self.edge(parent, child).is_some(),
        }
    }

    /// Of a restart that was asked about late only the second half was told: what is up is not started.
    fn whole_type(&self, unit: &str, told: JobType) -> JobType {
        let up = self.units.get(unit).is_some_and(|u| u.active == ActiveState::Active);
        if told == JobType::Start && up { JobType::Restart } else { told }
    }

    /// What a job most likely is, where nobody says: by what the unit was, and by what became of it.
    fn likely_type(&self, name: &Text, job: u32, at: Time) -> JobType {
        let Some(unit) = self.units.get(name) else { return JobType::Start };
        if unit.sub == SubState::AutoRestart {
            return JobType::Restart;
        }
        if !matches!(unit.active, ActiveState::Active | ActiveState::Reloading) {
            return JobType::Start;
        }
        let (mut active, mut run, mut over) = (unit.active, unit.invocation, false);
        for seen in &self.waiting {
            match &seen.what {
                What::JobRemoved(id, ..) if *id == job => {
                    over = true;
                    break;
                }
                What::Changed(of, change) if of == name => {
                    active = change.active.unwrap_or(active);
                    run = change.invocation.filter(|id| id.0 != [0; 16]).or(run);
                }
                _ => {}
            }
        }
        let asked = |job_type| self.store.asks(name, job_type, at.monotonic_us);
        let restarts = asked(JobType::Restart) && !asked(JobType::Stop);
        match () {
            () if over && run != unit.invocation => JobType::Restart,
            () if over && is_up(active) && active == unit.active => JobType::Reload,
            () if !over && restarts => JobType::Restart,
            () => JobType::Stop,
        }
    }

    fn causes_of_job(&mut self, batch: &[New], new: &New) -> (Vec<Cause>, Certainty) {
        let own = self.own_origin(&new.unit, new.job_type, new.at);
        let mut parents: Vec<(Cause, bool)> = Vec::new();
        for parent in batch {
            let told = self.store.together(parent.id, new.id);
            if told == Some(false) || parent.unit == new.unit {
                continue;
            }
            if let Some(rule) = self.edge(parent, new) {
                let cause = Cause { record: parent.record, rule: Some(rule) };
                parents.push((cause, told == Some(true)));
            }
        }
        if let Some((causes, certainty)) = own {
            // It was asked for by itself; what also leads here is told beside it.
            return (causes, certainty);
        }
        if !parents.is_empty() {
            let sure = parents.len() == 1 && parents[0].1;
            let certainty = if sure { Certainty::Observed } else { Certainty::Inferred };
            return (parents.into_iter().map(|(cause, _)| cause).collect(), certainty);
        }
        if let Some(anchor) = batch.first()
            && new.job_type == JobType::Stop
            && anchor.job_type == JobType::Start
            && self.may_isolate(&anchor.unit, anchor.at)
        {
            let name = &anchor.unit;
            let rule = Rule { directive: alloc::format!("isolate {name}").into(), file: None, line: 0 };
            return (vec![Cause { record: anchor.record, rule: Some(rule) }], Certainty::Inferred);
        }
        if let Some(cause) = self.origin_unseen(new.id) {
            return (vec![cause], Certainty::Inferred);
        }
        self.far_origin(&new.unit, new.job_type, new.at)
    }

    fn may_isolate(&self, unit: &str, at: Time) -> bool {
        let allowed = self.units.get(unit).and_then(|u| u.config.as_ref());
        allowed.is_some_and(|c| c.flags.allow_isolate) && self.store.isolates(unit, at.monotonic_us)
    }

    /// The rule by which one job led to another, where one can have.
    fn edge(&self, parent: &New, child: &New) -> Option<Rule> {
        let unit = self.units.get(&parent.unit)?;
        let types: &[JobType] = match (child.guessed, child.job_type) {
            // What was guessed from a state that had changed already may be the other half of a restart.
            (true, JobType::Stop | JobType::Start) => &[JobType::Stop, JobType::Start, JobType::Restart],
            _ => &[child.job_type],
        };
        let found = unit.edges.iter().find(|(kind, other)| {
            *other == child.unit && types.iter().any(|t| leads_to(parent.job_type, *kind, *t))
        });
        // Newer managers pass on the restart of a unit that starts again by itself.
        let passes = |(kind, other): &&(DependencyKind, Text)| {
            *other == child.unit
                && unit.scheduled.is_some()
                && kind.has(Atom::PropagateRestart)
                && matches!(child.job_type, JobType::Restart | JobType::TryRestart)
        };
        let (kind, other) = found.or_else(|| unit.edges.iter().find(passes))?;
        self.rule_of_edge(&parent.unit, *kind, other)
    }

    /// The jobs of a unit that are remembered, the first ones first.
    pub(super) fn jobs_of(&self, unit: &str) -> impl Iterator<Item = (u32, &Job)> {
        let ids = self.jobs_of.get(unit).map_or(&[][..], |ids| ids);
        ids.iter().filter_map(|id| Some((*id, self.jobs.get(id)?)))
    }

    /// The job of a unit that is under way, or was until just now.
    pub(super) fn job_of(&self, unit: &str) -> Option<&Job> {
        self.jobs_of(unit).map(|(_, job)| job).filter(|job| job.over.is_none()).max_by_key(|job| job.record)
    }

    /// The last job of a unit, also one that is over.
    pub(super) fn last_job_of(&self, unit: &str, at_us: u64) -> Option<&Job> {
        let recent = |job: &&Job| job.over.is_none_or(|(over, _)| over + 200_000 >= at_us);
        self.jobs_of(unit).map(|(_, job)| job).filter(recent).max_by_key(|job| job.record)
    }

    /// A job is over.
    pub(super) fn job_removed(&mut self, at: Time, id: u32, unit: &Text, result: JobResult) {
        // It may have been a restart all the time.
        if !self.jobs.contains_key(&id) {
            self.jobs_new(at, id, unit.clone());
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.over = Some((at.monotonic_us, result));
        if !came_to_nothing(result) && result != JobResult::Canceled {
            return;
        }
        let (record, job_type) = (job.record, job.job_type);
        let mut causes = vec![Cause { record, rule: None }];
        let mut certainty = Certainty::Observed;
        match result {
            JobResult::Dependency => {
                let culprits = self.culprits(unit, at.monotonic_us);
                if !culprits.is_empty() {
                    (causes, certainty) = (culprits, Certainty::Inferred);
                }
            }
            JobResult::Failed | JobResult::Timeout => {
                // What became of the unit says more than that it was asked for.
                let state = self.units.get(unit).and_then(|u| u.record).filter(|r| *r > record);
                if let Some(record) = state {
                    causes = vec![Cause { record, rule: None }];
                }
            }
            JobResult::Canceled => {
                let by = self.jobs_of(unit).find(|(other, _)| *other > id).map(|(_, job)| job.record);
                causes.extend(by.map(|record| Cause { record, rule: None }));
            }
            _ => {}
        }
        let fact = Fact::JobFinished { job: id, job_type, result };
        let record = self.record(at, Some(unit), causes, certainty, fact);
        if let Some(unit) = self.units.get_mut(unit) {
            unit.refused = Some((at.monotonic_us, record));
        }
    }

    /// The jobs of required units that came to nothing just before.
    fn culprits(&self, name: &Text, at_us: u64) -> Vec<Cause> {
        use DependencyKind as K;
        let Some(unit) = self.units.get(name) else { return Vec::new() };
        let required = unit.edges.iter().filter(|(kind, _)| {
            matches!(kind, K::Requires | K::Requisite | K::BindsTo) || *kind == K::Conflicts
        });
        let recent = |at: u64| at + 1_000_000 >= at_us;
        required
            .filter_map(|(kind, other)| {
                let o = self.units.get(other)?;
                let failed = o.refused.filter(|(at, _)| recent(*at)).map(|(_, record)| record);
                // One that is not up is enough where it must be up already.
                let down = (*kind == K::Requisite).then_some(o.record).flatten();
                let record = failed.or(down)?;
                Some(Cause { record, rule: self.rule_of_edge(name, *kind, other) })
            })
            .collect()
    }
}
