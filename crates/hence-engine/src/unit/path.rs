//! Path units: systemd.path(5). Looking at the file system is the host's part.

use super::State;
use crate::carry::carry_machine;
use crate::job::{Performed, is_down};
use crate::restart::RateLimit;
use crate::{Effect, Engine, UnitId};
use alloc::vec;
use hence_ledger::{Cause, DeadlineKind, Fact, JobResult, JobType, RecordId, SubState, Text, UnitResult};
use hence_unit::{Atom, Kind, config::JobMode};

/// The machine of a path unit.
#[derive(Clone, Debug)]
pub struct Path {
    pub(crate) sub: SubState,
    pub(crate) result: UnitResult,
    limit: RateLimit,
}

impl Default for Path {
    fn default() -> Self {
        Path { sub: SubState::Dead, result: UnitResult::Success, limit: RateLimit::default() }
    }
}

carry_machine! { Path { sub, result, limit } }

impl Engine {
    fn path(&mut self, unit: UnitId) -> Option<&mut Path> {
        match &mut self.units[unit.0 as usize].state {
            State::Path(p) => Some(p),
            _ => None,
        }
    }

    fn path_state(&mut self, unit: UnitId, to: SubState, result: UnitResult, cause: Cause) {
        let put = |state: &mut State| {
            if let State::Path(p) = state {
                p.sub = to;
                p.result = result;
            }
        };
        let watch = (to == SubState::Waiting).then(|| self.units[unit.0 as usize].config.clone());
        self.set_state(unit, put, vec![cause], false, false);
        self.effect(Effect::WatchPaths { unit, config: watch });
    }

    pub(super) fn path_failed(&mut self, unit: UnitId, result: UnitResult, cause: Cause) {
        self.path_state(unit, SubState::Failed, result, cause);
    }

    pub(crate) fn start_path(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        if let Err(record) = self.test_start_limit(unit, cause) {
            let cause = Cause { record, rule: None };
            self.path_state(unit, SubState::Failed, self.limited_result(unit), cause);
            return Performed::End(JobResult::Failed);
        }
        if self.refuses_trigger(unit, cause) {
            return Performed::End(JobResult::Failed);
        }
        let runs =
            self.linked(unit, Atom::Triggers).first().is_some_and(|(u, _)| !is_down(self.active_state(*u)));
        // What runs already needs no looking.
        let to = if runs { SubState::TriggerRunning } else { SubState::Waiting };
        self.path_state(unit, to, UnitResult::Success, cause.clone());
        Performed::Begun
    }

    pub(crate) fn stop_path(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        self.path_state(unit, SubState::Dead, UnitResult::Success, cause.clone());
        Performed::Begun
    }

    pub(crate) fn path_changed(&mut self, unit: UnitId, path: Text) {
        let config = self.units[unit.0 as usize].config.clone();
        let Kind::Path(settings) = &config.kind else { return };
        let (now_us, stopping) = (self.now.monotonic_us, self.is_to_stop(unit));
        let Some(machine) = self.path(unit) else { return };
        if machine.sub != SubState::Waiting || stopping {
            return;
        }
        let allowed =
            machine.limit.allows(now_us, settings.trigger_limit_interval, settings.trigger_limit_burst);
        let root = self.record(Some(unit), vec![], Fact::Traffic { listen: path, peer: None });
        if !allowed {
            let fact = Fact::DeadlineReached {
                deadline: DeadlineKind::TriggerLimit,
                after_us: settings.trigger_limit_interval,
            };
            let record = self.record(Some(unit), vec![Cause { record: root, rule: None }], fact);
            let cause = Cause { record, rule: None };
            self.path_state(unit, SubState::Failed, UnitResult::TriggerLimitHit, cause);
            return;
        }
        let Some((other, rule)) = self.linked(unit, Atom::Triggers).first().cloned() else { return };
        let cause = Cause { record: root, rule };
        match self.add_job(JobType::Start, other, JobMode::Replace, vec![cause.clone()]) {
            Ok(_) => self.path_state(unit, SubState::TriggerRunning, UnitResult::Success, cause),
            Err(refusal) => {
                let record = self.refused(Some(other), vec![cause], &refusal);
                let cause = Cause { record, rule: None };
                self.path_state(unit, SubState::Failed, UnitResult::Resources, cause);
            }
        }
    }

    /// The unit that the path triggers changed its state.
    pub(crate) fn path_sees_unit(&mut self, unit: UnitId, other: UnitId, record: RecordId) {
        let Some(sub) = self.path(unit).map(|p| p.sub) else { return };
        let down = is_down(self.active_state(other)) && self.units[other.0 as usize].job.is_none();
        let cause = Cause { record, rule: None };
        if !matches!(sub, SubState::TriggerRunning | SubState::Waiting) {
            return;
        }
        // A service that failed before shows that failure still.
        let hit = match &self.units[other.0 as usize].state {
            State::Service(s) => s.sub == SubState::Failed && s.start_limit_hit,
            _ => self.units[other.0 as usize].result() == UnitResult::StartLimitHit,
        };
        if hit {
            self.path_state(unit, SubState::Failed, UnitResult::UnitStartLimitHit, cause);
        } else if sub == SubState::TriggerRunning && down {
            self.path_state(unit, SubState::Waiting, UnitResult::Success, cause);
        } else if sub == SubState::Waiting && !down && self.units[other.0 as usize].job.is_none() {
            // Somebody else started it.
            self.path_state(unit, SubState::TriggerRunning, UnitResult::Success, cause);
        }
    }
}
