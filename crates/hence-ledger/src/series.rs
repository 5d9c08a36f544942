//! Like events of a unit and their rhythm: how often, since when, how regularly.
//!
//! Numbers only; what makes events alike is decided by whoever collects them.

use crate::index::{At, EventKind, Index};
use crate::path::{Told, tell};
use crate::record::{Fact, Stamp};
use alloc::{collections::BTreeMap, vec::Vec};
use hence_unit::Text;

/// A pause longer than this many typical ones ends a series.
const PAUSE: u64 = 10;
/// The first pause may be this long: a daily timer is a series too.
const FIRST_PAUSE_US: u64 = 26 * 3600 * 1_000_000;
/// A rhythm needs this many pauses.
const PAUSES: usize = 3;

/// How often something happened, and in what rhythm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// How often in an unbroken series, the last one included.
    pub times: u64,
    /// The first time of the series.
    pub since: Stamp,
    /// The last time.
    pub last: Stamp,
    /// The median pause in microseconds, where there is a rhythm.
    pub period_us: Option<u64>,
    /// How often in the whole ledger.
    pub times_in_all: u64,
    /// The first time in the whole ledger.
    pub first: Stamp,
}

/// Like events: what they have in common and where they are.
#[derive(Clone, Debug)]
pub(crate) struct Likes {
    pub kind: EventKind,
    pub signature: Vec<Text>,
    /// The last one, told.
    pub told: Told,
    pub places: Vec<At>,
    /// The tallies of those whose records had to make room.
    pub tallies: Vec<At>,
}

/// The events of a unit up to `until`, those alike together, in the order of their last one.
pub(crate) fn likes(index: &Index, unit: &str, until: At) -> Vec<Likes> {
    let Some(records) = index.units.get(unit) else { return Vec::new() };
    let mut known: BTreeMap<(EventKind, Vec<Text>), usize> = BTreeMap::new();
    let mut found: Vec<Likes> = Vec::new();
    for event in records.events.iter().filter(|e| e.at <= until) {
        let told = tell(index, event.at, event.kind);
        let signature = told.signature();
        let nth = *known.entry((event.kind, signature.clone())).or_insert_with(|| {
            found.push(Likes {
                kind: event.kind,
                signature,
                told: told.clone(),
                places: Vec::new(),
                tallies: Vec::new(),
            });
            found.len() - 1
        });
        found[nth].places.push(event.at);
        found[nth].told = told;
    }
    for like in &mut found {
        let matching = records.tallies.iter().copied().filter(|&at| tallies_this(index, at, like));
        like.tallies = matching.collect();
    }
    found.sort_by_key(|l| l.places.last().copied());
    joined(found)
}

/// Events whose causes are no longer there join the latest like ones, as far as the rest of their chains
/// is alike: each removal of old records cuts one through.
fn joined(likes: Vec<Likes>) -> Vec<Likes> {
    let (mut whole, broken): (Vec<Likes>, Vec<Likes>) =
        likes.into_iter().partition(|l| l.told.path.broken.is_none());
    for cut in broken {
        let same = |l: &Likes| {
            l.kind == cut.kind && l.told.word == cut.told.word && begins_like(&l.signature, &cut.signature)
        };
        match whole.iter().rposition(same) {
            Some(nth) => {
                let like = &mut whole[nth];
                if cut.told.at > like.told.at {
                    like.told = cut.told;
                }
                like.places.extend(cut.places);
                like.places.sort_unstable();
            }
            None => whole.push(cut),
        }
    }
    whole.sort_by_key(|l| l.places.last().copied());
    whole
}

fn tallies_this(index: &Index, at: At, like: &Likes) -> bool {
    let cut = like.told.path.broken.is_some();
    let same = |chain: &[Text]| *chain == like.signature || cut && begins_like(chain, &like.signature);
    matches!(&index.records[at].fact, Fact::Tally { what, chain, .. }
        if **what == *like.told.word && same(chain))
}

/// Whether a chain begins with what is known of a cut one, whose last line says why it is cut.
pub(crate) fn begins_like(chain: &[Text], cut: &[Text]) -> bool {
    let known = &cut[..cut.len().saturating_sub(1)];
    chain.len() >= known.len() && chain.iter().zip(known).all(|(a, b)| alike(a, b))
}

/// Whether two lines of chains say the same, rules aside: of several only the nearest to the cause is in it.
fn alike(a: &str, b: &str) -> bool {
    fn without_rule(line: &str) -> &str {
        line.rsplit_once(" (").filter(|(_, rule)| rule.ends_with(')')).map_or(line, |(rest, _)| rest)
    }
    a == b || without_rule(a) == without_rule(b)
}

/// Like events, counted, those that only tallies know of included.
pub(crate) fn series(index: &Index, like: &Likes) -> Series {
    let summed = like.tallies.iter().filter_map(|&at| match index.records[at].fact {
        Fact::Tally { times, first, last, .. } => Some((times, first, last)),
        _ => None,
    });
    // An event may have been kept although a tally counts it.
    let counted_until = summed.clone().map(|(_, _, last)| last).max();
    let stamp = |at: At| index.records[at].at;
    let alive: Vec<At> = like
        .places
        .iter()
        .copied()
        .filter(|&at| counted_until.is_none_or(|until| stamp(at) > until))
        .collect();
    let before: u64 = summed.clone().map(|(times, _, _)| times).sum();
    let first = summed.map(|(_, first, _)| first).chain(alive.first().map(|&at| stamp(at))).min();
    let last = alive.last().map(|&at| stamp(at)).into_iter().chain(counted_until).max().unwrap_or_default();
    let pauses: Vec<u64> = alive.windows(2).map(|w| index.between(w[0], w[1])).collect();

    let mut run: Vec<u64> = Vec::new();
    for &pause in pauses.iter().rev() {
        let longest = if run.is_empty() { FIRST_PAUSE_US } else { median(&run).saturating_mul(PAUSE) };
        // A burst of starts within a moment must not make a pause of a second look long.
        if pause > longest.max(1_000_000) {
            break;
        }
        run.push(pause);
    }
    let joined = alive.first().zip(counted_until).is_none_or(|(&at, until)| {
        let longest =
            if run.is_empty() { FIRST_PAUSE_US } else { median(&run).saturating_mul(PAUSE).max(1_000_000) };
        stamp(at).realtime_us.saturating_sub(until.realtime_us) <= longest
    });
    let whole = run.len() == pauses.len() && joined;
    let mut times = (run.len() as u64 + 1).min(alive.len() as u64);
    let mut since = alive.get(alive.len().saturating_sub(times as usize)).map(|&at| stamp(at));
    if whole && before > 0 {
        times += before;
        since = first;
    }
    let period_us = rhythm(&run).or_else(|| tallied_rhythm(index, like));
    Series {
        times,
        since: since.unwrap_or(last),
        last,
        period_us,
        times_in_all: alive.len() as u64 + before,
        first: first.unwrap_or(last),
    }
}

/// The rhythm of a tally: only a mean, so it needs many.
fn tallied_rhythm(index: &Index, like: &Likes) -> Option<u64> {
    match index.records[*like.tallies.last()?].fact {
        Fact::Tally { times: times @ 10.., first, last, .. } => {
            Some(last.realtime_us.checked_sub(first.realtime_us)? / (times - 1))
        }
        _ => None,
    }
}

pub(crate) fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The median, where three of four values are within 15 % of it.
pub(crate) fn rhythm(pauses: &[u64]) -> Option<u64> {
    if pauses.len() < PAUSES {
        return None;
    }
    let middle = median(pauses);
    let near = pauses.iter().filter(|p| p.abs_diff(middle) <= middle * 3 / 20).count();
    (middle > 0 && near * 4 >= pauses.len() * 3).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_is_claimed_only_where_there_is_one() {
        assert_eq!(rhythm(&[5, 5]), None);
        assert_eq!(rhythm(&[5_000, 5_010, 4_990, 60_000]), Some(5_010));
        assert_eq!(rhythm(&[1_000, 5_000, 9_000, 20_000]), None);
        assert_eq!(rhythm(&[0, 0, 0, 0]), None);
    }
}
