//! What the kernel refuses of a unit's sandbox: put on record, and named as the cause where the unit doesn't
//! start for it. Whether it starts without is the host's to know.

use crate::{UnitId, engine::Engine, event::Deprivation};
use alloc::vec;
use hence_ledger::{Cause, Fact};

impl Engine {
    /// The kernel refused a process a part of its sandbox.
    pub(crate) fn deprived(&mut self, pid: u32, lost: Deprivation) {
        let Some(&unit) = self.processes.get(&pid) else { return };
        let Deprivation { what, missing, errno, without } = lost;
        let own = Self::here(self.units[unit.0 as usize].record);
        let record = self.record(Some(unit), vec![own], Fact::Deprived { what, missing, errno, without });
        if !without {
            // Its end comes next.
            self.units[unit.0 as usize].refused = Some(record);
        }
    }

    /// The unit runs without one of its limits.
    pub(crate) fn unenforced(&mut self, unit: UnitId, lost: Deprivation) {
        let Deprivation { what, missing, errno, without } = lost;
        let own = Self::here(self.units[unit.0 as usize].record);
        self.record(Some(unit), vec![own], Fact::Deprived { what, missing, errno, without });
    }

    /// What led to a process not becoming its program: what it was refused, else what led to its start.
    pub(crate) fn before_failure(&mut self, unit: UnitId) -> Cause {
        let unit = &mut self.units[unit.0 as usize];
        Self::here(unit.refused.take().unwrap_or(unit.record))
    }
}
