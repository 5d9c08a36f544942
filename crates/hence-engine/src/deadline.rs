//! The deadlines of all units and jobs, in one ordered set. It knows no clock.

use crate::carry::carry_fields;
use crate::{JobId, UnitId};
use alloc::collections::BTreeMap;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadlineFor {
    /// The state of a unit's machine: a timeout, a hold-off.
    State(UnitId),
    /// A service's watchdog.
    Watchdog(UnitId),
    /// A job as a whole (JobTimeoutSec=).
    Job(JobId),
    /// A job since it runs (JobRunningTimeoutSec=).
    RunningJob(JobId),
}

/// Names an armed deadline, for taking it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Armed {
    at_us: u64,
    number: u32,
}

carry_fields! { Armed { at_us, number } }

/// An ordered set of deadlines on the monotonic clock; equal times elapse in the order they were armed.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeMap<Armed, (DeadlineFor, u64)>,
    next: u32,
}

impl Deadlines {
    /// Arms one `after_us` from `now_us`; `None` where that is never.
    pub fn arm(&mut self, now_us: u64, after_us: u64, what: DeadlineFor) -> Option<Armed> {
        let at_us = now_us.checked_add(after_us).filter(|_| after_us != u64::MAX)?;
        let armed = Armed { at_us, number: self.next };
        self.next = self.next.wrapping_add(1);
        self.set.insert(armed, (what, after_us));
        Some(armed)
    }

    /// Takes one back; nothing where it has elapsed.
    pub fn disarm(&mut self, armed: &mut Option<Armed>) {
        if let Some(armed) = armed.take() {
            self.set.remove(&armed);
        }
    }

    /// From when one counts.
    pub fn since_us(&self, armed: Armed) -> Option<u64> {
        self.set.get(&armed).map(|(_, after_us)| armed.at_us.saturating_sub(*after_us))
    }

    /// When the next one elapses, in microseconds of the monotonic clock.
    pub fn next_us(&self) -> Option<u64> {
        self.set.first_key_value().map(|(a, _)| a.at_us)
    }

    /// All of them: what each is for, and the length it was armed with.
    pub fn all(&self) -> impl Iterator<Item = (Armed, DeadlineFor, u64)> {
        self.set.iter().map(|(armed, (what, after_us))| (*armed, *what, *after_us))
    }

    /// Waits for one that was armed in an earlier program, under its old name.
    pub fn rearm(&mut self, armed: Armed, what: DeadlineFor, after_us: u64) {
        self.next = self.next.max(armed.number.wrapping_add(1));
        self.set.insert(armed, (what, after_us));
    }

    /// Removes and returns one that has elapsed, with the length it was armed with.
    pub fn elapsed(&mut self, now_us: u64) -> Option<(DeadlineFor, u64)> {
        let entry = self.set.first_entry()?;
        (entry.key().at_us <= now_us).then(|| entry.remove())
    }
}

impl Armed {
    /// When it elapses, in microseconds of the monotonic clock.
    pub fn at_us(self) -> u64 {
        self.at_us
    }
}
