//! The numbers that metrics show. Names of units are told apart only up to a bound; what comes after that
//! is counted together.

use crate::path::RootKind;
use crate::word::GapReason;
use alloc::collections::BTreeMap;
use hence_unit::Text;

/// Pairs of unit and cause that restarts are counted for; those of further ones are counted without their
/// unit.
pub const RESTART_SERIES: usize = 512;

/// Numbers since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Records that were taken.
    pub records: u64,
    /// Times that what took a unit down brought it up again, by unit and root cause; without a unit: those
    /// beyond the bound.
    pub restarts: BTreeMap<(Option<Text>, RootKind), u64>,
    /// Times that a unit went down without a failure, by root cause.
    pub stops: BTreeMap<RootKind, u64>,
    /// Times that a unit failed, by root cause.
    pub failures: BTreeMap<RootKind, u64>,
    /// Of both, those whose cause is not known.
    pub unattributed: u64,
    /// Starts that came to nothing.
    pub not_started: u64,
    /// Loops that were told of.
    pub loops: u64,
    /// Units whose left-over processes were told of.
    pub leaks: u64,
    /// Verdicts that nobody fetched in time.
    pub unheard: u64,
    /// Gaps by reason.
    pub gaps: BTreeMap<u8, u64>,
    /// Records that are missing in them, where that is known.
    pub lost: u64,
}

/// A loop that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopNow {
    /// The unit at its root.
    pub unit: Text,
    /// Its root cause.
    pub cause: RootKind,
    /// How often it went around.
    pub turns: u64,
    /// In which rhythm, where there is one.
    pub period_us: Option<u64>,
}

/// What a unit has left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftNow {
    /// Which unit.
    pub unit: Text,
    /// Whether that is intended.
    pub allowed: bool,
    /// How many processes.
    pub processes: u64,
    /// Their memory, as far as it could be read.
    pub bytes: u64,
}

impl Counts {
    pub(super) fn restart(&mut self, unit: &Text, cause: RootKind) {
        let key = (Some(unit.clone()), cause);
        let known = self.restarts.len() < RESTART_SERIES || self.restarts.contains_key(&key);
        *self.restarts.entry(if known { key } else { (None, cause) }).or_default() += 1;
    }

    pub(super) fn stop(&mut self, failed: bool, cause: RootKind) {
        *(if failed { &mut self.failures } else { &mut self.stops }).entry(cause).or_default() += 1;
        self.unattributed += u64::from(cause == RootKind::Unknown);
    }

    pub(super) fn gap(&mut self, reason: GapReason, lost: u64) {
        *self.gaps.entry(reason as u8).or_default() += 1;
        self.lost = self.lost.saturating_add(lost);
    }
}
