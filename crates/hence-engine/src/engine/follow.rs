//! What a unit's change of state means for the units that it is linked to, from the atoms of the dependencies
//! and nothing else. When it is asked is decided where states are set.

use super::Engine;
use crate::UnitId;
use crate::job::{is_down, is_up};
use crate::unit::Rules;
use alloc::{vec, vec::Vec};
use hence_ledger::{ActiveState, Cause, JobType, RecordId, Rule};
use hence_unit::{Atom, config::JobMode};

impl Engine {
    pub(super) fn retroactive(
        &mut self,
        unit: UnitId,
        atom: Atom,
        job_type: JobType,
        mode: JobMode,
        record: RecordId,
        wanted: impl Fn(&Engine, UnitId) -> bool,
    ) {
        for (other, rule) in self.linked(unit, atom) {
            if wanted(self, other) && self.may_trigger(unit, record) {
                let causes = vec![Cause { record, rule }];
                // A refusal here is what it is under systemd: nothing happens, and the ledger has it.
                if let Err(refusal) = self.add_job(job_type, other, mode, causes.clone()) {
                    self.refused(Some(other), causes, &refusal);
                }
            }
        }
    }

    pub(super) fn start_retroactively(&mut self, unit: UnitId, record: RecordId) {
        let start = |e: &Engine, other: UnitId| {
            let s = e.active_state(other);
            !e.is_linked(unit, Atom::After, other) && !is_up(s) && s != ActiveState::Activating
        };
        let stop = |e: &Engine, other: UnitId| {
            let s = e.active_state(other);
            !is_down(s) && s != ActiveState::Deactivating
        };
        self.retroactive(
            unit,
            Atom::RetroactiveStartReplace,
            JobType::Start,
            JobMode::Replace,
            record,
            start,
        );
        self.retroactive(unit, Atom::RetroactiveStartFail, JobType::Start, JobMode::Fail, record, start);
        self.retroactive(unit, Atom::RetroactiveStopOnStart, JobType::Stop, JobMode::Replace, record, stop);
    }

    pub(super) fn stop_retroactively(&mut self, unit: UnitId, record: RecordId) {
        let stop = |e: &Engine, other: UnitId| {
            let s = e.active_state(other);
            !is_down(s) && s != ActiveState::Deactivating
        };
        self.retroactive(unit, Atom::RetroactiveStopOnStop, JobType::Stop, JobMode::Replace, record, stop);
    }

    /// OnFailure= and OnSuccess=.
    pub(crate) fn start_on(&mut self, unit: UnitId, atom: Atom, record: RecordId) {
        let config = &self.units[unit.0 as usize].config;
        let mode =
            if atom == Atom::OnFailure { config.on_failure_job_mode } else { config.on_success_job_mode };
        if self.ending.is_some() {
            return;
        }
        for (other, rule) in self.linked(unit, atom) {
            if !self.may_trigger(unit, record) {
                return;
            }
            let causes = vec![Cause { record, rule }];
            let before = self.units[other.0 as usize].monitored.replace(unit);
            self.units[unit.0 as usize].just_told = true;
            if let Some(before) = before.filter(|&before| before != unit && !self.is_vacant(before)) {
                self.may_go(before);
            }
            if let Err(refusal) = self.add_job(JobType::Start, other, mode, causes.clone()) {
                self.refused(Some(other), causes, &refusal);
            }
        }
    }

    /// StopWhenUnneeded=: nothing that pins the unit is up or on its way. Because of that record, or else of
    /// the last one of the unit.
    pub(super) fn stop_if_unneeded(&mut self, unit: UnitId, because: Option<RecordId>) {
        let u = &self.units[unit.0 as usize];
        if !u.config.flags.stop_when_unneeded || u.job.is_some() || !is_up(u.active_state()) {
            return;
        }
        let pinned = u.edges.iter().filter(|e| e.kind.has(Atom::PinsStopWhenUnneeded)).any(|e| {
            let other = &self.units[e.other.0 as usize];
            other.job.is_some() || !is_down(other.active_state()) || other.will_restart()
        });
        if pinned {
            return;
        }
        let record = because.unwrap_or(u.record);
        let causes = vec![Cause { record, rule: u.config.rule("StopWhenUnneeded") }];
        if let Err(refusal) = self.add_job(JobType::Stop, unit, JobMode::Fail, causes.clone()) {
            self.refused(Some(unit), causes, &refusal);
        }
    }

    /// BindsTo= of others on this unit, and Upholds=.
    pub(super) fn hold_steady(&mut self, unit: UnitId, record: RecordId) {
        let state = self.active_state(unit);
        if self.units[unit.0 as usize].job.is_none() && is_down(state) && self.ending.is_none() {
            for (other, rule) in self.linked_back(unit, Atom::CannotBeActiveWithout) {
                let up = self.active_state(other);
                let busy = self.units[other.0 as usize].job.is_some();
                let waits = self.is_linked(other, Atom::After, unit);
                if busy || !(is_up(up) || up == ActiveState::Activating && waits) {
                    continue;
                }
                if !self.may_trigger(unit, record) {
                    return;
                }
                let causes = vec![Cause { record, rule }];
                if let Err(refusal) = self.add_job(JobType::Stop, other, JobMode::Replace, causes.clone()) {
                    self.refused(Some(other), causes, &refusal);
                }
            }
            if self.uphold_again(unit, record) {
                return;
            }
        }
        if is_up(state) && self.stop_if_unbound(unit, record) {
            return;
        }
        if is_up(state) {
            for (other, rule) in self.linked(unit, Atom::StartSteadily) {
                let u = &self.units[other.0 as usize];
                if is_down(u.active_state()) && u.job.is_none() {
                    self.uphold(other, Cause { record, rule });
                }
            }
        }
    }

    /// A job of the unit is over, which need not have changed its state: what it was to bring about for the
    /// sake of others is tried again.
    pub(super) fn hold_after_job(&mut self, unit: UnitId, record: RecordId) {
        if is_up(self.active_state(unit)) {
            self.stop_if_unbound(unit, record);
        } else {
            self.uphold_again(unit, record);
        }
    }

    /// Stops a unit that is up where what it is bound to is not: that may have failed before it came up.
    fn stop_if_unbound(&mut self, unit: UnitId, record: RecordId) -> bool {
        if self.units[unit.0 as usize].job.is_some() || self.ending.is_some() {
            return false;
        }
        let gone = self.linked(unit, Atom::CannotBeActiveWithout).into_iter().find(|(other, _)| {
            let u = &self.units[other.0 as usize];
            is_down(u.active_state()) && u.job.is_none()
        });
        let Some((_, rule)) = gone.filter(|_| self.may_trigger(unit, record)) else { return false };
        let causes = vec![Cause { record, rule }];
        if let Err(refusal) = self.add_job(JobType::Stop, unit, JobMode::Replace, causes.clone()) {
            self.refused(Some(unit), causes, &refusal);
        }
        true
    }

    /// Starts a unit that is down where another one that is up upholds it; whether there is one.
    fn uphold_again(&mut self, unit: UnitId, record: RecordId) -> bool {
        let u = &self.units[unit.0 as usize];
        if u.job.is_some() || !is_down(u.active_state()) || u.will_restart() || self.ending.is_some() {
            return false;
        }
        let upholds = self.linked_back(unit, Atom::StartSteadily);
        let Some((_, rule)) = upholds.into_iter().find(|(other, _)| is_up(self.active_state(*other))) else {
            return false;
        };
        self.uphold(unit, Cause { record, rule });
        true
    }

    fn uphold(&mut self, unit: UnitId, cause: Cause) {
        if !self.units[unit.0 as usize].uphold_limit(self.now.monotonic_us) {
            return;
        }
        if let Err(refusal) = self.add_job(JobType::Start, unit, JobMode::Fail, vec![cause.clone()]) {
            self.refused(Some(unit), vec![cause], &refusal);
        }
    }

    /// The units that are linked to `unit` by an atom that *they* carry, with the rule.
    pub(super) fn linked_back(&self, unit: UnitId, atom: Atom) -> Vec<(UnitId, Option<Rule>)> {
        let edges = &self.units[unit.0 as usize].edges;
        let back = edges.iter().filter(|e| e.kind.inverse().has(atom));
        back.map(|e| (e.other, self.rule_of(unit, e))).collect()
    }
}
