//! What became of a unit's conditions and asserts, as clients are shown it. What follows from them is decided
//! where the unit starts.

use crate::{Engine, Time, UnitId};

/// What became of a unit's conditions and asserts. A unit without any has them hold at each start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tested {
    /// ConditionResult
    pub condition: bool,
    /// AssertResult; asserts are looked at where the conditions hold.
    pub assert: bool,
    /// ConditionTimestamp
    pub condition_at: Time,
    /// AssertTimestamp
    pub assert_at: Time,
}

impl Engine {
    /// What came of the conditions, and of the asserts where these were looked at.
    pub(crate) fn note_tested(&mut self, unit: UnitId, condition: bool, assert: Option<bool>) {
        let now = self.now;
        let tested = &mut self.units[unit.0 as usize].tested;
        (tested.condition, tested.condition_at) = (condition, now);
        if let Some(assert) = assert {
            (tested.assert, tested.assert_at) = (assert, now);
        }
    }
}
