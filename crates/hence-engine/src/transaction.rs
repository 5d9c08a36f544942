//! Transactions: from "start a" to the set of jobs that this takes, checked as a whole and then installed.
//!
//! The steps and their order are systemd's: pull in dependencies, find what matters to the anchor, drop
//! what is redundant or unwanted, break cycles, merge, refuse what would be destructive, install.
//! systemctl(1), "--job-mode="; systemd.unit(5). Nothing is installed unless everything passes.

use crate::job::{collapse, is_down, is_redundant, is_up, merge, waits_for};
use crate::unit::State;
use crate::{Engine, JobId, Refusal, UnitId};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use hence_ledger::{ActiveState, Cause, Fact, JobResult, JobType, RecordId, Rule, Text};
use hence_unit::{Atom, LoadState, UnitKind, config::JobMode};

/// A job that may become one.
#[derive(Debug)]
struct Entry {
    unit: UnitId,
    job_type: JobType,
    number: JobId,
    matters: bool,
    ignore_order: bool,
    /// Who pulled it in.
    parents: Vec<Link>,
    /// Whom it pulled in, and whether it can't do without.
    children: Vec<(usize, bool)>,
    alive: bool,
    /// Fact `JobDropped`, if it is dropped for a reason that people want to know.
    extra_causes: Vec<Cause>,
}

#[derive(Clone, Debug)]
struct Link {
    parent: usize,
    matters: bool,
    conflicts: bool,
    rule: Option<Rule>,
}

/// One dependency to follow.
struct Pull {
    unit: UnitId,
    job_type: JobType,
    matters: bool,
    conflicts: bool,
    /// Its failure doesn't fail whoever pulls.
    ignore_errors: bool,
    rule: Option<Rule>,
}

/// Where following the dependencies of one entry stands.
struct Frame {
    entry: usize,
    pulls: Vec<Pull>,
    at: usize,
}

#[derive(Default)]
struct Transaction {
    entries: Vec<Entry>,
    by_unit: BTreeMap<UnitId, Vec<usize>>,
    anchor: usize,
    dropped: Vec<(UnitId, JobType, Text)>,
}

enum Failure {
    /// The job type doesn't apply: whoever pulled this in doesn't mind.
    NotApplicable(Refusal),
    Refused(Refusal),
}

impl Transaction {
    fn alive_of(&self, unit: UnitId) -> Vec<usize> {
        let list = self.by_unit.get(&unit).map_or(&[][..], |l| l.as_slice());
        list.iter().copied().filter(|&i| self.entries[i].alive).collect()
    }

    fn indices(&self) -> Vec<usize> {
        (0..self.entries.len()).filter(|&i| self.entries[i].alive).collect()
    }

    /// Deletes an entry and, with `upwards`, those that can't do without it.
    fn delete(&mut self, index: usize, upwards: bool) {
        let mut stack = vec![index];
        while let Some(i) = stack.pop() {
            if !self.entries[i].alive {
                continue;
            }
            self.entries[i].alive = false;
            for (child, _) in core::mem::take(&mut self.entries[i].children) {
                self.entries[child].parents.retain(|l| l.parent != i);
            }
            for link in core::mem::take(&mut self.entries[i].parents) {
                self.entries[link.parent].children.retain(|&(c, _)| c != i);
                if upwards && link.matters {
                    stack.push(link.parent);
                }
            }
        }
    }

    fn mark_what_matters(&mut self) {
        let mut stack = vec![self.anchor];
        while let Some(i) = stack.pop() {
            if core::mem::replace(&mut self.entries[i].matters, true) {
                continue;
            }
            stack.extend(self.entries[i].children.iter().filter(|&&(_, m)| m).map(|&(c, _)| c));
        }
    }

    fn collect_garbage(&mut self) {
        let mut stack = self.indices();
        while let Some(i) = stack.pop() {
            let entry = &self.entries[i];
            if !entry.alive || i == self.anchor || !entry.parents.is_empty() {
                continue;
            }
            let children: Vec<usize> = entry.children.iter().map(|&(c, _)| c).collect();
            self.delete(i, true);
            stack.extend(children);
        }
    }

    /// Folds entry `from` of the same unit into `into`.
    fn absorb(&mut self, into: usize, from: usize, job_type: JobType) {
        let parents = core::mem::take(&mut self.entries[from].parents);
        let children = core::mem::take(&mut self.entries[from].children);
        for link in &parents {
            for child in &mut self.entries[link.parent].children {
                if child.0 == from {
                    child.0 = into;
                }
            }
        }
        for &(child, _) in &children {
            for link in &mut self.entries[child].parents {
                if link.parent == from {
                    link.parent = into;
                }
            }
        }
        let (matters, ignore_order) = (self.entries[from].matters, self.entries[from].ignore_order);
        let extra = core::mem::take(&mut self.entries[from].extra_causes);
        self.entries[from].alive = false;
        let target = &mut self.entries[into];
        target.parents.extend(parents);
        target.children.extend(children);
        target.extra_causes.extend(extra);
        target.matters |= matters;
        target.ignore_order |= ignore_order;
        target.job_type = job_type;
    }
}

impl Engine {
    /// Queues a job with everything that it takes. `causes` are those of the anchor job.
    pub(crate) fn add_job(
        &mut self,
        job_type: JobType,
        unit: UnitId,
        mode: JobMode,
        causes: Vec<Cause>,
    ) -> Result<Option<JobId>, Refusal> {
        let name = self.units[unit.0 as usize].name().clone();
        if mode == JobMode::Isolate && job_type != JobType::Start {
            return Err(Refusal::JobTypeNotApplicable("Isolate is only valid for start.".into()));
        }
        if mode == JobMode::Isolate && !self.units[unit.0 as usize].config.flags.allow_isolate {
            return Err(Refusal::NoIsolation("Operation refused, unit may not be isolated.".into()));
        }
        if mode == JobMode::Triggering && job_type != JobType::Stop {
            let text = "--job-mode=triggering is only valid for stop.";
            return Err(Refusal::JobTypeNotApplicable(text.into()));
        }
        let job_type = collapse(job_type, self.active_state(unit));
        if job_type == JobType::Nop {
            // There is nothing to be done, but a unit that can't be used is refused all the same.
            return match self.check_load(unit, job_type) {
                Ok(()) => Ok(None),
                Err(Failure::NotApplicable(refusal) | Failure::Refused(refusal)) => Err(refusal),
            };
        }
        if self.ending.is_some() && job_type != JobType::Stop {
            return Err(Refusal::ShuttingDown("Operation refused, hence is ending.".into()));
        }
        let mut tr = Transaction::default();
        let ignore_order = mode == JobMode::IgnoreDependencies;
        let ignore_requirements = ignore_order || mode == JobMode::IgnoreRequirements;
        let anchor = match self.pull_in(&mut tr, unit, job_type, ignore_requirements, ignore_order) {
            Ok(anchor) => anchor,
            Err(Failure::NotApplicable(r) | Failure::Refused(r)) => return Err(r),
        };
        tr.anchor = anchor;
        tr.entries[anchor].extra_causes = causes;
        match mode {
            JobMode::Isolate => self.pull_in_isolate(&mut tr, unit),
            JobMode::Triggering => {
                for (other, rule) in self.linked(unit, Atom::TriggeredBy) {
                    self.pull_in_stop(&mut tr, other, anchor, rule);
                }
            }
            _ => {}
        }
        self.activate(&mut tr, mode, &name)?;
        let number = self.install(tr, mode);
        Ok(Some(number))
    }

    /// Stops every unit that is up, because of `cause`; what can't be stopped stays.
    pub(crate) fn stop_everything(&mut self, cause: &Cause) {
        let mut tr = Transaction::default();
        for i in 0..self.units.len() {
            let unit = UnitId(i as u32);
            let down = is_down(self.active_state(unit));
            let pending = self.units[i].job.is_some_and(|j| self.jobs[&j].job_type != JobType::Stop);
            if self.units[i].outlives_units() || (down && !pending) {
                continue;
            }
            let at = tr.entries.len();
            let number = self.next_job();
            tr.entries.push(Entry {
                unit,
                job_type: JobType::Stop,
                number,
                matters: true,
                ignore_order: false,
                parents: Vec::new(),
                children: Vec::new(),
                alive: true,
                extra_causes: vec![cause.clone()],
            });
            tr.by_unit.entry(unit).or_default().push(at);
        }
        // A cycle among stops is broken anywhere: everything must go down.
        for entry in &mut tr.entries {
            entry.matters = false;
        }
        tr.anchor = usize::MAX;
        for _ in 0..tr.entries.len() + 1 {
            match self.find_cycle(&tr) {
                Some((path, _)) => {
                    let at = tr.alive_of(path[0]).first().copied();
                    let Some(at) = at else { break };
                    tr.entries[at].ignore_order = true;
                }
                None => break,
            }
        }
        self.install(tr, JobMode::ReplaceIrreversibly);
    }

    /// A cycle in the order of the jobs that are installed: the units of it and the cycle in words. Only new
    /// dependencies can make one.
    pub(crate) fn installed_cycle(&mut self) -> Option<(Vec<UnitId>, String)> {
        let mut tr = Transaction::default();
        for job in self.jobs.values() {
            tr.by_unit.entry(job.unit).or_default().push(tr.entries.len());
            tr.entries.push(Entry {
                unit: job.unit,
                job_type: job.job_type,
                number: job.id,
                matters: false,
                ignore_order: job.ignore_order,
                parents: Vec::new(),
                children: Vec::new(),
                alive: true,
                extra_causes: Vec::new(),
            });
        }
        self.find_cycle(&tr)
    }

    fn pull_in_stop(&mut self, tr: &mut Transaction, unit: UnitId, anchor: usize, rule: Option<Rule>) {
        if let Ok(entry) = self.pull_in(tr, unit, JobType::Stop, true, false) {
            tr.entries[entry].parents.push(Link { parent: anchor, matters: false, conflicts: false, rule });
            tr.entries[anchor].children.push((entry, false));
        }
    }

    /// Isolate: a stop for everything that runs and isn't wanted.
    fn pull_in_isolate(&mut self, tr: &mut Transaction, target: UnitId) {
        let anchor = tr.anchor;
        for i in 0..self.units.len() {
            let unit = UnitId(i as u32);
            let u = &self.units[i];
            let idle = is_down(self.active_state(unit)) && u.job.is_none();
            if idle || u.config.flags.ignore_on_isolate || u.is_perpetual() || tr.by_unit.contains_key(&unit)
            {
                continue;
            }
            let kept = self.linked(unit, Atom::TriggeredBy).iter().any(|(t, _)| tr.by_unit.contains_key(t));
            if kept {
                continue;
            }
            let name = self.units[target.0 as usize].name();
            let rule = Rule { directive: format!("isolate {name}").into(), file: None, line: 0 };
            self.pull_in_stop(tr, unit, anchor, Some(rule));
        }
    }

    fn check_load(&self, unit: UnitId, job_type: JobType) -> Result<(), Failure> {
        let u = &self.units[unit.0 as usize];
        let name = u.name();
        if job_type != JobType::Stop {
            let refusal = match u.config.load {
                LoadState::Loaded => None,
                LoadState::Stub | LoadState::NotFound => {
                    Some(Refusal::NoSuchUnit(format!("Unit {name} not found.").into()))
                }
                LoadState::Masked => Some(Refusal::UnitMasked(format!("Unit {name} is masked.").into())),
                LoadState::BadSetting => {
                    Some(Refusal::BadUnitSetting(format!("Unit {name} has a bad unit file setting.").into()))
                }
                LoadState::Error => Some(Refusal::LoadFailed(
                    format!("Unit {name} failed to load properly, its file can't be read.").into(),
                )),
            };
            if let Some(refusal) = refusal {
                return Err(Failure::Refused(refusal));
            }
        }
        let applicable = match job_type {
            JobType::Stop => !u.is_perpetual(),
            JobType::Restart | JobType::TryRestart
                if matches!(u.name().kind(), UnitKind::Scope | UnitKind::Device) =>
            {
                false
            }
            JobType::Restart | JobType::TryRestart => !u.is_perpetual(),
            // A mount can be asked to; where it isn't mounted the job is what fails.
            JobType::Reload if u.name().kind() == UnitKind::Mount && !is_up(u.active_state()) => true,
            JobType::Reload | JobType::TryReload | JobType::ReloadOrStart => self.can_reload(unit),
            JobType::Start | JobType::VerifyActive | JobType::Nop => true,
        };
        if applicable {
            return Ok(());
        }
        let text = format!("Job type {job_type} is not applicable for unit {name}.");
        Err(Failure::NotApplicable(Refusal::JobTypeNotApplicable(text.into())))
    }

    /// Adds an entry and everything that it pulls in, depth first; returns the entry's index.
    fn pull_in(
        &mut self,
        tr: &mut Transaction,
        unit: UnitId,
        job_type: JobType,
        ignore_requirements: bool,
        ignore_order: bool,
    ) -> Result<usize, Failure> {
        let (anchor, new) = self.add_entry(tr, unit, job_type, ignore_order)?;
        if !new || ignore_requirements {
            return Ok(anchor);
        }
        let mut stack = vec![Frame { entry: anchor, pulls: self.pulls(unit, job_type), at: 0 }];
        while let Some(frame) = stack.last_mut() {
            let Some(pull) = frame.pulls.get(frame.at) else {
                stack.pop();
                continue;
            };
            frame.at += 1;
            let parent = frame.entry;
            match self.add_entry(tr, pull.unit, pull.job_type, ignore_order) {
                Ok((child, new)) => {
                    tr.entries[child].parents.push(Link {
                        parent,
                        matters: pull.matters,
                        conflicts: pull.conflicts,
                        rule: pull.rule.clone(),
                    });
                    tr.entries[parent].children.push((child, pull.matters));
                    if new {
                        let (unit, job_type) = (pull.unit, pull.job_type);
                        stack.push(Frame { entry: child, pulls: self.pulls(unit, job_type), at: 0 });
                    }
                }
                Err(Failure::NotApplicable(_)) => {}
                Err(Failure::Refused(_)) if pull.ignore_errors => {}
                Err(failure) => {
                    // Unwinds to the first link whose failure is ignored.
                    stack.pop();
                    loop {
                        let Some(frame) = stack.last() else { return Err(failure) };
                        let ignored = frame.pulls[frame.at - 1].ignore_errors;
                        if ignored {
                            break;
                        }
                        stack.pop();
                    }
                }
            }
        }
        Ok(anchor)
    }

    fn add_entry(
        &mut self,
        tr: &mut Transaction,
        unit: UnitId,
        job_type: JobType,
        ignore_order: bool,
    ) -> Result<(usize, bool), Failure> {
        self.check_load(unit, job_type)?;
        let number = self.next_job();
        let list = tr.by_unit.entry(unit).or_default();
        if let Some(&i) = list.iter().find(|&&i| tr.entries[i].job_type == job_type) {
            tr.entries[i].ignore_order |= ignore_order;
            return Ok((i, false));
        }
        let index = tr.entries.len();
        list.push(index);
        tr.entries.push(Entry {
            unit,
            job_type,
            number,
            matters: false,
            ignore_order,
            parents: Vec::new(),
            children: Vec::new(),
            alive: true,
            extra_causes: Vec::new(),
        });
        Ok((index, true))
    }

    /// What a job of this type pulls in, in systemd's order.
    fn pulls(&self, unit: UnitId, job_type: JobType) -> Vec<Pull> {
        let mut pulls = Vec::new();
        let mut add = |atom: Atom, job_type: JobType, matters, conflicts, ignore_errors| {
            for (other, rule) in self.linked(unit, atom) {
                let job_type = match job_type {
                    JobType::TryRestart | JobType::TryReload => collapse(job_type, self.active_state(other)),
                    t => t,
                };
                if job_type != JobType::Nop {
                    pulls.push(Pull { unit: other, job_type, matters, conflicts, ignore_errors, rule });
                }
            }
        };
        if matches!(job_type, JobType::Start | JobType::Restart) {
            add(Atom::PullInStart, JobType::Start, true, false, false);
            add(Atom::PullInStartIgnored, JobType::Start, false, false, true);
            add(Atom::PullInVerify, JobType::VerifyActive, true, false, false);
            add(Atom::PullInStop, JobType::Stop, true, true, false);
            add(Atom::PullInStopIgnored, JobType::Stop, false, false, true);
        }
        match job_type {
            JobType::Stop => add(Atom::PropagateStop, JobType::Stop, true, false, false),
            JobType::Restart => add(Atom::PropagateRestart, JobType::TryRestart, true, false, false),
            JobType::Reload => add(Atom::PropagateReload, JobType::TryReload, false, false, true),
            _ => {}
        }
        pulls
    }

    /// All checks, none of which changes anything but the transaction.
    fn activate(&mut self, tr: &mut Transaction, mode: JobMode, name: &str) -> Result<(), Refusal> {
        tr.mark_what_matters();
        if mode == JobMode::Fail {
            self.minimize_impact(tr);
        }
        self.drop_redundant(tr);
        // A unit with two entries shows the order only one of them: merged, there may be a cycle after all.
        loop {
            self.break_cycles(tr, mode, name)?;
            self.merge_all(tr, mode)?;
            self.drop_redundant(tr);
            if self.find_cycle(tr).is_none() {
                break;
            }
        }
        self.check_destructive(tr, mode, name)
    }

    fn break_cycles(&self, tr: &mut Transaction, mode: JobMode, name: &str) -> Result<(), Refusal> {
        loop {
            if mode != JobMode::Isolate {
                tr.collect_garbage();
            }
            let Some((path, text)) = self.find_cycle(tr) else { return Ok(()) };
            let droppable = path.iter().find(|u| {
                let list = tr.alive_of(**u);
                !list.is_empty() && list.iter().all(|&i| !tr.entries[i].matters)
            });
            let Some(&unit) = droppable else {
                let message = format!(
                    "Transaction for {name}/start order is cyclic: {text}. See system logs for details."
                );
                return Err(Refusal::TransactionOrderIsCyclic(message.into()));
            };
            for i in tr.alive_of(unit) {
                tr.dropped.push((unit, tr.entries[i].job_type, format!("ordering cycle {text}").into()));
                tr.delete(i, true);
            }
        }
    }

    fn merge_all(&self, tr: &mut Transaction, mode: JobMode) -> Result<(), Refusal> {
        loop {
            match self.merge_entries(tr) {
                Ok(()) => return Ok(()),
                Err(Some(refusal)) => return Err(refusal),
                Err(None) if mode != JobMode::Isolate => tr.collect_garbage(),
                Err(None) => {}
            }
        }
    }

    fn minimize_impact(&self, tr: &mut Transaction) {
        loop {
            let unwanted = tr.indices().into_iter().find(|&i| {
                let e = &tr.entries[i];
                let state = self.active_state(e.unit);
                let stops = e.job_type == JobType::Stop
                    && (crate::job::is_up(state) || state == ActiveState::Activating);
                !e.matters && (stops || self.contradicts_installed(e.unit, e.job_type))
            });
            match unwanted {
                Some(i) => tr.delete(i, true),
                None => return,
            }
        }
    }

    fn contradicts_installed(&self, unit: UnitId, job_type: JobType) -> bool {
        let installed = self.units[unit.0 as usize].job;
        installed.is_some_and(|j| merge(self.jobs[&j].job_type, job_type).is_none())
    }

    fn drop_redundant(&self, tr: &mut Transaction) {
        let units: Vec<UnitId> = tr.by_unit.keys().copied().collect();
        for unit in units {
            let list = tr.alive_of(unit);
            let state = self.active_state(unit);
            let needed = list.iter().any(|&i| {
                let job_type = tr.entries[i].job_type;
                i == tr.anchor || !is_redundant(job_type, state) || self.contradicts_installed(unit, job_type)
            });
            if !needed {
                for i in list {
                    tr.delete(i, false);
                }
            }
        }
    }

    /// Looks for a cycle in the order that the jobs would run in: first with restarts as the stops that
    /// they are, then as the starts that they become, where systemd lets them wait for each other for ever.
    /// Returns the units of the cycle, from the one that closes it backwards, and the cycle in words.
    fn find_cycle(&self, tr: &Transaction) -> Option<(Vec<UnitId>, String)> {
        let restarts = tr.entries.iter().any(|e| e.alive && e.job_type == JobType::Restart)
            || self.jobs.values().any(|j| j.job_type == JobType::Restart);
        self.find_cycle_of(tr, false).or_else(|| if restarts { self.find_cycle_of(tr, true) } else { None })
    }

    fn find_cycle_of(&self, tr: &Transaction, restarted: bool) -> Option<(Vec<UnitId>, String)> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            OnPath,
            Clear,
        }
        let mut marks = vec![Mark::New; self.units.len()];
        let seen_as =
            |job_type| if restarted && job_type == JobType::Restart { JobType::Start } else { job_type };
        // The job of a unit as the order sees it: the transaction's, else an installed one.
        let job_of = |unit: UnitId| -> Option<(JobType, bool)> {
            if let Some(&i) = tr.by_unit.get(&unit).and_then(|l| l.iter().find(|&&i| tr.entries[i].alive)) {
                return Some((seen_as(tr.entries[i].job_type), tr.entries[i].ignore_order));
            }
            let job = self.jobs.get(&self.units[unit.0 as usize].job?)?;
            Some((seen_as(job.job_type), job.ignore_order))
        };
        for start in tr.indices() {
            let start = tr.entries[start].unit;
            if marks[start.0 as usize] != Mark::New {
                continue;
            }
            let mut path: Vec<(UnitId, usize)> = vec![(start, 0)];
            marks[start.0 as usize] = Mark::OnPath;
            while let Some((unit, at)) = path.last_mut() {
                let unit = *unit;
                let Some(edge) = self.units[unit.0 as usize].edges.get(*at) else {
                    marks[unit.0 as usize] = Mark::Clear;
                    path.pop();
                    continue;
                };
                *at += 1;
                let after = edge.kind.has(Atom::After);
                if !after && !edge.kind.has(Atom::Before) {
                    continue;
                }
                let (Some((mine, my_free)), Some((theirs, their_free))) = (job_of(unit), job_of(edge.other))
                else {
                    continue;
                };
                // Follows only edges on which this job really goes before the other.
                if my_free || their_free || waits_for(mine, theirs, after) {
                    continue;
                }
                match marks[edge.other.0 as usize] {
                    Mark::Clear => {}
                    Mark::New => {
                        marks[edge.other.0 as usize] = Mark::OnPath;
                        path.push((edge.other, 0));
                    }
                    Mark::OnPath => {
                        let from = path.iter().position(|(u, _)| *u == edge.other).unwrap_or(0);
                        let mut cycle: Vec<UnitId> = path[from..].iter().map(|(u, _)| *u).collect();
                        cycle.reverse();
                        let mut text = String::new();
                        for u in cycle.iter().rev() {
                            text.push_str(self.units[u.0 as usize].name());
                            text.push_str(" before ");
                        }
                        text.push_str(self.units[edge.other.0 as usize].name());
                        return Some((cycle, text));
                    }
                }
            }
        }
        None
    }

    /// Makes each unit's entries one. `Err(None)`: one was dropped, try again.
    fn merge_entries(&self, tr: &mut Transaction) -> Result<(), Option<Refusal>> {
        let units: Vec<UnitId> = tr.by_unit.keys().copied().collect();
        for &unit in &units {
            let list = tr.alive_of(unit);
            for (n, &j) in list.iter().enumerate() {
                for &k in &list[n + 1..] {
                    if merge(tr.entries[j].job_type, tr.entries[k].job_type).is_some() {
                        continue;
                    }
                    let Some(victim) = which_to_drop(tr, j, k) else {
                        let name = self.units[unit.0 as usize].name();
                        let text = format!(
                            "Transaction contains conflicting jobs '{}' and '{}' for {name}. \
                             Probably contradicting requirement dependencies configured.",
                            tr.entries[j].job_type, tr.entries[k].job_type
                        );
                        return Err(Some(Refusal::TransactionJobsConflicting(text.into())));
                    };
                    let dropped = &tr.entries[victim];
                    let reason = format!("conflicts with the {} job", tr.entries[j + k - victim].job_type);
                    tr.dropped.push((dropped.unit, dropped.job_type, reason.into()));
                    tr.delete(victim, true);
                    return Err(None);
                }
            }
        }
        for unit in units {
            let list = tr.alive_of(unit);
            let Some((&first, rest)) = list.split_first() else { continue };
            let into = list.iter().copied().find(|&i| i == tr.anchor).unwrap_or(first);
            for &i in rest.iter().chain([&first]) {
                if i == into {
                    continue;
                }
                let merged = merge(tr.entries[into].job_type, tr.entries[i].job_type)
                    .expect("conflicting entries were dropped above");
                tr.absorb(into, i, merged);
            }
            let state = self.active_state(unit);
            tr.entries[into].job_type = collapse(tr.entries[into].job_type, state);
        }
        Ok(())
    }

    fn check_destructive(&self, tr: &Transaction, mode: JobMode, name: &str) -> Result<(), Refusal> {
        for i in tr.indices() {
            let e = &tr.entries[i];
            let Some(job) = self.units[e.unit.0 as usize].job.map(|j| &self.jobs[&j]) else { continue };
            if (mode == JobMode::Fail || job.irreversible) && merge(job.job_type, e.job_type).is_none() {
                let unit = self.units[e.unit.0 as usize].name();
                let text = format!(
                    "Transaction for {name}/{} is destructive ({unit} has '{}' job queued, but '{}' is \
                     included in transaction).",
                    tr.entries[tr.anchor].job_type, job.job_type, e.job_type
                );
                return Err(Refusal::TransactionIsDestructive(text.into()));
            }
        }
        Ok(())
    }

    /// Installs what is left, each with everything that pulled it in as its causes.
    fn install(&mut self, tr: Transaction, mode: JobMode) -> JobId {
        let anchor_causes = tr.entries.get(tr.anchor).map(|e| e.extra_causes.clone()).unwrap_or_default();
        if matches!(mode, JobMode::Isolate | JobMode::Flush) {
            let outside: Vec<JobId> =
                self.jobs.values().filter(|j| tr.alive_of(j.unit).is_empty()).map(|j| j.id).collect();
            for id in outside {
                let unit = &self.units[self.jobs[&id].unit.0 as usize];
                if mode == JobMode::Isolate && unit.config.flags.ignore_on_isolate {
                    continue;
                }
                let unit = self.jobs[&id].unit;
                self.finish_job(id, JobResult::Canceled, false, anchor_causes.clone());
                if let (State::Service(_), Some(cause)) =
                    (&self.units[unit.0 as usize].state, anchor_causes.first())
                {
                    self.restart_given_up(unit, cause.clone());
                }
            }
        }
        for (unit, job_type, reason) in &tr.dropped {
            let fact = Fact::JobDropped { job_type: *job_type, reason: reason.clone() };
            self.record(Some(*unit), anchor_causes.clone(), fact);
        }
        let irreversible = mode == JobMode::ReplaceIrreversibly;
        // An entry may have been pulled in by one that comes later in the list (a cycle of requirements):
        // such a cause is left out, what it derives from is named by the other links.
        let mut records: Vec<Option<RecordId>> = vec![None; tr.entries.len()];
        let mut anchor_number = JobId(0);
        for i in 0..tr.entries.len() {
            let e = &tr.entries[i];
            if !e.alive {
                continue;
            }
            let mut causes = e.extra_causes.clone();
            for link in &e.parents {
                if let Some(record) = records[link.parent] {
                    causes.push(Cause { record, rule: link.rule.clone() });
                }
            }
            if causes.is_empty() {
                causes.clone_from(&anchor_causes);
            }
            let (unit, number, job_type, ignore_order) = (e.unit, e.number, e.job_type, e.ignore_order);
            let record = self.install_job(unit, number, job_type, causes, ignore_order, irreversible);
            records[i] = Some(record);
            if i == tr.anchor {
                anchor_number = self.units[unit.0 as usize].job.unwrap_or(number);
            }
        }
        anchor_number
    }

    /// Whether a unit's name may be started by itself at all: a template is not a unit.
    pub(crate) fn check_startable(&self, unit: UnitId, job_type: JobType) -> Result<(), Refusal> {
        let u = &self.units[unit.0 as usize];
        if u.name().is_template() {
            let text = format!("Unit name {} is missing the instance name.", u.name());
            return Err(Refusal::NoSuchUnit(text.into()));
        }
        match u.name().kind() {
            UnitKind::Scope => {
                let text = format!("Job type {job_type} is not applicable for unit {}.", u.name());
                Err(Refusal::JobTypeNotApplicable(text.into()))
            }
            _ => Ok(()),
        }
    }
}

/// Of two contradicting entries of a unit, the one that can go: the one that doesn't matter; if neither
/// does, the stop, unless it is there because another unit conflicts, then the start.
fn which_to_drop(tr: &Transaction, j: usize, k: usize) -> Option<usize> {
    let (a, b) = (&tr.entries[j], &tr.entries[k]);
    let conflicted = |e: &Entry| e.parents.iter().any(|l| l.conflicts);
    match (a.matters, b.matters) {
        (true, true) => None,
        (false, true) => Some(j),
        (true, false) => Some(k),
        (false, false) if a.job_type == JobType::Stop => Some(if conflicted(a) { k } else { j }),
        (false, false) if b.job_type == JobType::Stop => Some(if conflicted(b) { j } else { k }),
        (false, false) => Some(j),
    }
}
