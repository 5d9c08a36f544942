//! How much a unit may log: LogRateLimitIntervalSec= and LogRateLimitBurst=, as journald.conf(5) has them.

use std::collections::HashMap;

/// RateLimitIntervalSec= and RateLimitBurst= where nothing else is said.
pub(crate) const INTERVAL_US: u64 = 30_000_000;
pub(crate) const BURST: u32 = 10_000;
/// Units that are remembered; above it those whose time is over are forgotten, then all.
const UNITS: usize = 2048;

/// Errors and worse count apart: chatter doesn't silence them.
const POOLS: usize = 2;

#[derive(Debug, Default)]
struct Unit {
    begun_us: [u64; POOLS],
    taken: [u64; POOLS],
    dropped: [u64; POOLS],
}

/// Counters of all units.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    units: HashMap<Box<str>, Unit>,
}

/// May it be logged?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may; this many were dropped before it, of which nobody was told.
    Take { dropped: u64 },
    /// Too many in too short a time.
    Drop,
}

/// The man page's table: how much more is let through where there is much room.
pub(crate) fn factor(free_bytes: u64) -> u64 {
    match free_bytes >> 20 {
        0..=1 => 1,
        2..=16 => 2,
        17..=256 => 3,
        257..=4096 => 4,
        4097..=65_536 => 5,
        _ => 6,
    }
}

impl Limits {
    /// Counts a message of a unit. An interval or a burst of 0 means no limit.
    pub fn count(&mut self, unit: &str, level: u8, interval_us: u64, burst: u64, now_us: u64) -> Verdict {
        if interval_us == 0 || burst == 0 {
            return Verdict::Take { dropped: 0 };
        }
        let known = match self.units.get_mut(unit) {
            Some(known) => known,
            None => self.begin(unit, now_us),
        };
        let pool = usize::from(level > 3);
        let begun = &mut known.begun_us[pool];
        if known.taken[pool] == 0 || now_us >= begun.saturating_add(interval_us) {
            (*begun, known.taken[pool]) = (now_us, 1);
            return Verdict::Take { dropped: std::mem::take(&mut known.dropped[pool]) };
        }
        if known.taken[pool] < burst {
            known.taken[pool] += 1;
            return Verdict::Take { dropped: 0 };
        }
        known.dropped[pool] += 1;
        Verdict::Drop
    }

    fn begin(&mut self, unit: &str, now_us: u64) -> &mut Unit {
        if self.units.len() >= UNITS {
            let over = |begun: &u64| begun + INTERVAL_US < now_us;
            self.units.retain(|_, unit| !unit.begun_us.iter().all(over));
        }
        if self.units.len() >= UNITS {
            self.units.clear();
        }
        self.units.entry(unit.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_end_with_their_interval() {
        let mut limits = Limits::default();
        let mut count = |unit, level, at| limits.count(unit, level, 100, 3, at);
        for _ in 0..3 {
            assert_eq!(count("a", 6, 1000), Verdict::Take { dropped: 0 });
        }
        assert_eq!(count("a", 6, 1099), Verdict::Drop);
        assert_eq!(count("b", 6, 1099), Verdict::Take { dropped: 0 });
        assert_eq!(count("a", 3, 1099), Verdict::Take { dropped: 0 }, "errors are not silenced by chatter");
        assert_eq!(count("a", 6, 1100), Verdict::Take { dropped: 1 });
        assert_eq!(limits.count("a", 6, 0, 3, 1101), Verdict::Take { dropped: 0 });
        for n in 0..10_000 {
            limits.count(&format!("unit-{n}"), 6, 100, 3, n);
        }
        assert!(limits.units.len() <= UNITS);
    }
}
