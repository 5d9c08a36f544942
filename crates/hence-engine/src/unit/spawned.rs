//! A process was started: whose it is, and which files its start depends on. What that means for the unit is
//! decided where its machine is.

use super::State;
use crate::alike::fingerprint;
use crate::{Engine, ExecId};
use alloc::{vec, vec::Vec};
use hence_ledger::{Cause, Fact, FileIdentity};

impl Engine {
    /// A process was started.
    pub(crate) fn spawned(
        &mut self,
        exec: ExecId,
        (pid, start_ticks): (u32, u64),
        inputs: Vec<FileIdentity>,
        executed: bool,
    ) {
        let Some(unit) = self.starts.remove(&exec) else { return };
        self.processes.insert(pid, unit);
        let u = &mut self.units[unit.0 as usize];
        let fingerprint = fingerprint(&inputs);
        if !inputs.is_empty() && (u.files_changed || u.inputs != fingerprint) {
            u.files_changed = false;
            u.inputs = fingerprint;
            let files = u.files.iter().cloned().chain(inputs).collect();
            let cause = Cause { record: u.record, rule: None };
            self.record(Some(unit), vec![cause], Fact::Inputs { files });
        }
        match self.units[unit.0 as usize].state {
            State::Socket(_) => self.socket_spawned(unit, exec, pid, start_ticks),
            State::Mount(_) | State::Swap(_) => self.command_spawned(unit, pid, start_ticks),
            _ => self.service_spawned(unit, exec, (pid, start_ticks), executed),
        }
    }
}
