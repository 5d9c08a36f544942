//! Units of an earlier hence that was killed go on, where their processes do: they are up without having been
//! started. Who such a unit is, and by what evidence, is found out elsewhere.

use super::Engine;
use crate::event::Resumed;
use crate::unit::State;
use crate::{Effect, UnitId};
use alloc::{vec, vec::Vec};
use hence_ledger::{Cause, Certainty, Fact, LeftOver, RecordId, SubState};
use hence_unit::{LoadState, config::ServiceType};

/// Processes that one record names; a record has a longest length.
const TOLD_AT_ONCE: usize = 256;

impl Engine {
    /// Whether a unit of an earlier run may go on: it is known what it is, and it is down as far as this run
    /// knows.
    pub fn may_resume(&self, unit: UnitId) -> bool {
        let Some(u) = self.known_unit(unit) else { return false };
        let kind = matches!(u.state, State::Service(_) | State::Scope(_) | State::Socket(_));
        kind && u.config.load == LoadState::Loaded && u.sub_state() == SubState::Dead && u.job.is_none()
    }

    /// The record that was just made tells what was concluded, not seen.
    pub(crate) fn only_inferred(&mut self, record: RecordId) {
        if let Some(last) = self.records.back_mut().filter(|last| last.id == record) {
            last.certainty = Certainty::Inferred;
        }
    }

    /// All of them come up at once: what one needs may be another one.
    pub(super) fn resumed(&mut self, units: Vec<Resumed>) {
        let mut up = Vec::new();
        for resumed in units {
            let id = self.reference(&resumed.unit);
            if self.may_resume(id) {
                self.resume(id, resumed);
                up.push(id);
            }
        }
        for unit in up {
            let record = self.units[unit.0 as usize].record;
            self.trigger_notify(unit, record);
            self.unneeded.push((unit, None));
            self.steady.push((unit, record));
            self.may_go(unit);
        }
    }

    fn resume(&mut self, unit: UnitId, resumed: Resumed) {
        let Resumed {
            invocation, mut state, main, processes, started, up, records, evidence, observed, ..
        } = resumed;
        let run = match self.units[unit.0 as usize].state {
            // It was another one, which is not known.
            State::Socket(_) => self.next_invocation(),
            _ => invocation,
        };
        self.units[unit.0 as usize].invocation = Some(run);
        let earlier = records.into_iter().chain(self.started);
        let causes = |record: RecordId| Cause { record, rule: None };
        let causes: Vec<Cause> = earlier.map(causes).collect();
        let named: Vec<LeftOver> = processes.into_iter().take(TOLD_AT_ONCE).collect();
        let fact = Fact::TakenUp { main, processes: named, evidence };
        let record = self.record(Some(unit), causes, fact);
        if !observed {
            self.only_inferred(record);
        }
        let cause = vec![Cause { record, rule: None }];
        let at_once = |kind| matches!(kind, ServiceType::Simple | ServiceType::Exec | ServiceType::Idle);
        let config = self.units[unit.0 as usize].config.service();
        if !matches!(state, SubState::Abandoned | SubState::SocketRunning)
            && (state != SubState::Start || config.is_some_and(|s| at_once(s.service_type)))
        {
            // What its earlier hence was at beside it is over.
            state = SubState::Running;
        }
        match &mut self.units[unit.0 as usize].state {
            State::Service(service) => {
                service.resume(main, started);
                if let Some(pid) = main {
                    self.processes.insert(pid, unit);
                    self.effect(Effect::WatchProcess { unit, pid });
                }
                let to = |s: &mut State| {
                    if let State::Service(service) = s {
                        service.sub = state;
                    }
                };
                self.change_state(unit, to, cause);
                self.wait_for_resumed(unit);
            }
            State::Scope(_) => {
                let to = |s: &mut State| {
                    if let State::Scope(scope) = s {
                        scope.sub = state;
                    }
                };
                self.change_state(unit, to, cause);
                self.effect(Effect::ReportEmpty(unit));
            }
            State::Socket(_) => {
                let to = |s: &mut State| {
                    if let State::Socket(socket) = s {
                        socket.sub = state;
                    }
                };
                self.change_state(unit, to, cause);
            }
            _ => {}
        }
        let u = &mut self.units[unit.0 as usize];
        // It started, so all that was looked at then held.
        let tested = &mut u.tested;
        (tested.condition, tested.assert, tested.condition_at, tested.assert_at) =
            (true, true, started, started);
        let times = &mut u.times;
        times.inactive_exit = started;
        if matches!(state, SubState::Running | SubState::Abandoned | SubState::SocketRunning) {
            times.active_enter = up;
        }
    }
}
