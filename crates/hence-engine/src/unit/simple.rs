//! Targets and slices: up when started, down when stopped. They have no processes.

use super::State;
use crate::job::Performed;
use crate::{Effect, Engine, UnitId};
use alloc::vec;
use hence_ledger::Cause;
use hence_unit::{Kind, config::ResourceConfig};

fn put(state: &mut State, to: bool) {
    if let State::Target { up } | State::Slice { up } = state {
        *up = to;
    }
}

impl Engine {
    pub(crate) fn start_simple(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        let config = &self.units[unit.0 as usize].config;
        if let Kind::Slice(resources) = &config.kind
            && **resources != ResourceConfig::default()
        {
            let config = config.clone();
            self.effect(Effect::Limits(unit, config));
        }
        let record = self.set_state(unit, |s| put(s, true), vec![cause.clone()], false, false);
        self.reached_built_in(unit, record);
        Performed::Begun
    }

    pub(crate) fn stop_simple(&mut self, unit: UnitId, cause: &Cause) -> Performed {
        self.set_state(unit, |s| put(s, false), vec![cause.clone()], false, false);
        if matches!(self.units[unit.0 as usize].state, State::Slice { .. }) {
            self.effect(Effect::Release { unit, keep_directories: true });
        }
        Performed::Begun
    }
}
