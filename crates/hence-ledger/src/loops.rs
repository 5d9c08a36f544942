//! Units that go down and come up again and again for the same reason.
//!
//! A unit that a timer starts now and then is no loop, nor is one that clients start and stop.

use crate::index::{At, EventKind, Index};
use crate::path::{Root, RootKind, roots};
use crate::record::{Fact, Stamp};
use crate::series::{Likes, likes, series};
use crate::why::tied;
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use hence_unit::Text;

/// So many like cycles make a loop.
const CYCLES: u64 = 3;
/// A loop without a rhythm is over when it has rested this long.
const REST_US: u64 = 600_000_000;
/// A loop with a rhythm is over when this many periods have passed.
const PERIODS: u64 = 3;

/// Units that go around together.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// The unit at the root first, then those that follow it.
    pub units: Vec<Text>,
    /// The median time of a cycle in microseconds, where there is a rhythm.
    pub period_us: Option<u64>,
    /// How often it went around.
    pub times: u64,
    /// When it began.
    pub since: Stamp,
    /// The last time.
    pub last: Stamp,
    /// Where the last cycle began.
    pub root: Root,
    /// Whether it goes on.
    pub ongoing: bool,
}

struct Cycling {
    unit: Text,
    /// Units on the way from the root to this one.
    through: BTreeSet<Text>,
    found: Loop,
}

/// Every loop, those that go on first, then the most frequent.
pub fn loops(index: &Index, now: Stamp) -> Vec<Loop> {
    let mut cycling: Vec<Cycling> = Vec::new();
    let last = index.len().saturating_sub(1);
    for (unit, records) in &index.units {
        if (records.events.len() as u64) < CYCLES && records.tallies.is_empty() {
            continue;
        }
        let likes = likes(index, unit, last);
        for like in likes.iter().filter(|l| matches!(l.kind, EventKind::Down | EventKind::Failed)) {
            if comes_back(index, unit, like, &likes)
                && let Some(found) = cycle(index, unit, like, now)
            {
                cycling.push(found);
            }
        }
    }
    let mut loops = merged(cycling);
    loops.sort_by(|a, b| (b.ongoing, b.times, &a.units).cmp(&(a.ongoing, a.times, &b.units)));
    loops
}

/// Whether what takes the unit down brings it up again, or it fails each time.
fn comes_back(index: &Index, unit: &str, like: &Likes, likes: &[Likes]) -> bool {
    let Some(records) = index.units.get(unit) else { return false };
    let Some(root) = like.told.path.places.last().map(|&at| &index.records[at]) else { return false };
    match root.fact {
        Fact::Request { .. } | Fact::Started { .. } | Fact::ManagerSignal { .. } => return false,
        _ if like.kind == EventKind::Failed || !like.tallies.is_empty() => return true,
        _ => {}
    }
    let ups: Vec<At> = records.events.iter().filter(|e| e.kind == EventKind::Up).map(|e| e.at).collect();
    // Of the last two times, for the unit may be down just now.
    like.places.iter().rev().take(2).any(|&down| {
        let next = ups.get(ups.partition_point(|&up| up < down));
        let up = next.and_then(|&up| likes.iter().find(|l| l.places.contains(&up)).map(|l| (up, l.kind)));
        up.is_some_and(|(up, kind)| {
            let word = crate::path::tell(index, down, like.kind);
            tied(index, &word, &crate::path::tell(index, up, kind))
        })
    })
}

fn cycle(index: &Index, unit: &Text, like: &Likes, now: Stamp) -> Option<Cycling> {
    let counted = series(index, like);
    if counted.times < CYCLES {
        return None;
    }
    let root = roots(index, like.told.at).into_iter().next()?;
    if root.kind == RootKind::Deadline && root.what.ends_with("the timer elapsed") {
        return None;
    }
    let rest = counted.period_us.map_or(REST_US, |p| p.saturating_mul(PERIODS).max(2_000_000));
    let through = like.told.path.places.iter().filter_map(|&at| index.records[at].unit.clone());
    Some(Cycling {
        unit: unit.clone(),
        through: through.filter(|u| u != unit).collect(),
        found: Loop {
            units: Vec::from([unit.clone()]),
            period_us: counted.period_us,
            times: counted.times,
            since: counted.since,
            last: counted.last,
            root,
            ongoing: now.realtime_us.saturating_sub(counted.last.realtime_us) <= rest,
        },
    })
}

/// Puts those that follow one another into one loop: the numbers are those of the unit at the root.
fn merged(mut cycling: Vec<Cycling>) -> Vec<Loop> {
    cycling.sort_by_key(|c| (c.through.len(), c.found.root.unit != Some(c.unit.clone())));
    let mut heads: Vec<Loop> = Vec::new();
    let mut head_of: BTreeMap<(Text, u8), usize> = BTreeMap::new();
    for Cycling { unit, through, found } in cycling {
        let kind = found.root.kind as u8;
        let ends_alike =
            |head: &Loop| head.last.realtime_us <= found.last.realtime_us || head.ongoing == found.ongoing;
        let head = through.iter().find_map(|other| head_of.get(&(other.clone(), kind)).copied());
        match head.filter(|&nth| ends_alike(&heads[nth])) {
            Some(nth) => {
                if !heads[nth].units.contains(&unit) {
                    heads[nth].units.push(unit.clone());
                }
                head_of.entry((unit, kind)).or_insert(nth);
            }
            None => {
                head_of.entry((unit, kind)).or_insert(heads.len());
                heads.push(found);
            }
        }
    }
    heads
}
