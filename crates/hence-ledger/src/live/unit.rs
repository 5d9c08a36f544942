//! What is remembered of one unit: what it left behind, and how it goes around.

use super::origin::{Latest, Origin};
use crate::index::EventKind;
use crate::record::{Rule, Stamp};
use crate::series::{median, rhythm};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec::Vec,
};
use hence_unit::Text;

/// Reasons for which one unit goes around that are remembered.
const REASONS: usize = 4;
/// Pauses between turns that are remembered.
const PAUSES: usize = 16;
/// A loop without a rhythm is over when it has rested this long; one with a rhythm after so many periods.
const REST_US: u64 = 600_000_000;
const PERIODS: u64 = 3;
/// The shortest rest.
const REST_MIN_US: u64 = 2_000_000;
/// A pause longer than this many typical ones ends a series; the first may be as long as a day and a bit.
const PAUSE: u64 = 10;
const FIRST_PAUSE_US: u64 = 26 * 3600 * 1_000_000;

/// A process that was left behind.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub command: Text,
    pub bytes: Option<u64>,
    pub since: Stamp,
    pub allowed: bool,
    /// It was looked at once more when it had stayed for a while: by then it has executed its program.
    pub looked_at: bool,
}

/// A unit that goes around for one reason.
#[derive(Debug)]
pub(super) struct Turning {
    /// The last time's.
    pub origin: Arc<Origin>,
    pub times: u64,
    pub since: Stamp,
    pub last: Stamp,
    pub cpu_us: u64,
    pub told: bool,
    /// The unit whose loop takes this one along.
    pub head: Option<Text>,
    pauses: VecDeque<u64>,
}

impl Turning {
    pub fn period_us(&self) -> Option<u64> {
        rhythm(&self.pauses.iter().copied().collect::<Vec<_>>())
    }

    /// When it is over unless it goes around again, on CLOCK_MONOTONIC.
    pub fn over_us(&self) -> u64 {
        let rest = self.period_us().map_or(REST_US, |us| us.saturating_mul(PERIODS).max(REST_MIN_US));
        self.last.monotonic_us.saturating_add(rest)
    }
}

/// What is remembered of a unit.
#[derive(Debug, Default)]
pub(super) struct UnitLive {
    pub latest: Latest,
    pub last_us: u64,
    /// How and from where it went down last; `None`: it is up.
    pub down: Option<(EventKind, Arc<Origin>)>,
    pub turnings: Vec<Turning>,
    pub followers: BTreeSet<Text>,
    pub left: BTreeMap<(u32, u64), Left>,
    /// The directive that left them.
    pub rule: Option<Rule>,
    /// How many left-over processes were told of; 0: none.
    pub told: u64,
    /// When it leaves none behind any more.
    pub clear_us: Option<u64>,
    /// CPU time since the last turn.
    pub cpu_us: u64,
    /// When it is to be looked at.
    pub due_us: Option<u64>,
}

impl UnitLive {
    /// Left-over processes that nobody intends.
    pub fn unexpected(&self) -> usize {
        self.left.values().filter(|left| !left.allowed).count()
    }

    /// When only time may show something about it; `after_us`: what is over sooner alarms nobody.
    pub fn next_us(&self, after_us: u64, now: Stamp) -> Option<u64> {
        let over = self.turnings.iter().filter(|t| t.told).map(Turning::over_us);
        let unripe = self.left.values().filter(|l| !l.allowed).map(|l| l.since.monotonic_us + after_us);
        let ripe = unripe.filter(|at| *at > now.monotonic_us).min();
        over.chain(ripe).chain(self.clear_us).min()
    }

    /// It went around once more, for this reason.
    pub fn turn(&mut self, at: Stamp, origin: &Arc<Origin>, cpu_us: u64) -> &mut Turning {
        let nth = match self.turnings.iter().position(|t| t.origin.key == origin.key) {
            Some(nth) => nth,
            None => {
                if self.turnings.len() >= REASONS {
                    let oldest = (0..self.turnings.len()).min_by_key(|&nth| self.turnings[nth].last);
                    oldest.map(|nth| self.turnings.remove(nth));
                }
                self.turnings.push(Turning {
                    origin: origin.clone(),
                    times: 0,
                    since: at,
                    last: at,
                    cpu_us: 0,
                    told: false,
                    head: None,
                    pauses: VecDeque::new(),
                });
                self.turnings.len() - 1
            }
        };
        let turning = &mut self.turnings[nth];
        turning.origin = origin.clone();
        if turning.times > 0 {
            let pause = at.monotonic_us.saturating_sub(turning.last.monotonic_us);
            let known: Vec<u64> = turning.pauses.iter().copied().collect();
            let longest =
                if known.is_empty() { FIRST_PAUSE_US } else { median(&known).saturating_mul(PAUSE) };
            if pause > longest.max(1_000_000) {
                turning.pauses.clear();
                (turning.times, turning.since, turning.cpu_us) = (0, at, 0);
            } else {
                if turning.pauses.len() >= PAUSES {
                    turning.pauses.pop_front();
                }
                turning.pauses.push_back(pause);
            }
        }
        turning.times += 1;
        turning.last = at;
        turning.cpu_us = turning.cpu_us.saturating_add(cpu_us);
        turning
    }
}
