//! What the system refuses of a unit beside starts: it is put on record, and the unit that can't do its work
//! without it goes down. Nothing is tried again here: what is transient, the host tries again by itself.

use super::State;
use crate::{Engine, UnitId};
use alloc::vec;
use hence_ledger::{Cause, Fact, Operation, SubState, Text, UnitResult};

impl Engine {
    /// The system refused something that the unit needs.
    pub(crate) fn failed(&mut self, unit: UnitId, operation: Operation, errno: i32, subject: Text) {
        let own = Cause { record: self.units[unit.0 as usize].record, rule: None };
        let record = self.record(Some(unit), vec![own], Fact::Failed { operation, errno, subject });
        let cause = Cause { record, rule: None };
        let sub = self.units[unit.0 as usize].sub_state();
        match (operation, &self.units[unit.0 as usize].state) {
            // Nobody would be started for what comes in.
            (Operation::Traffic, State::Socket(_)) if sub == SubState::Listening => {
                self.socket_down(unit, UnitResult::Resources, cause);
            }
            (Operation::Paths, State::Path(_)) if sub == SubState::Waiting => {
                self.path_failed(unit, UnitResult::Resources, cause);
            }
            // Its main process would never be known.
            (Operation::PidFile, State::Service(_)) => {
                self.pid_file_unseen(unit, cause);
            }
            _ => {}
        }
    }
}
