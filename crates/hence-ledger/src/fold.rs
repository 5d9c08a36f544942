//! What stays of records that must make room: sums of events, and the records that answers rest on.
//!
//! Which records must go, and when, is the host's; so is where the rest is kept.

use crate::changes;
use crate::encoding::encode;
use crate::index::{At, EventKind, Index};
use crate::path::path;
use crate::record::{Fact, Record, RecordId, Stamp};
use crate::series::{Likes, likes};
use alloc::{collections::BTreeSet, vec::Vec};
use hence_unit::Text;

/// Marks the id of a tally, which is otherwise that of the last event it counts.
const TALLY: u64 = 1 << 62;
/// So many runs of hence are remembered.
const STARTS: usize = 8;
/// So many gaps are remembered.
const GAPS: usize = 16;
/// From so many times on, the first one is kept in full.
const REPEATED: u64 = 3;
/// Frame, checksum and chain that storage adds to a record, in bytes.
const FRAME: usize = 24;

/// Folds the records of a segment that is to be removed into what was folded `before`.
///
/// Kept are: sums of every event by unit and cause ([`Fact::Tally`]); of each unit the records behind its
/// last events, its state, the files of its last good run and of the first bad one; processes that are
/// still left behind; the last starts of hence. At most `limit_bytes` of them as they are stored: the
/// oldest sums go first.
pub fn fold(before: Vec<Record>, segment: impl Iterator<Item = Record>, limit_bytes: usize) -> Vec<Record> {
    let index = Index::new(before.into_iter().chain(segment));
    let mut kept = BTreeSet::new();
    let mut tallies = Vec::new();
    kept.extend(index.starts.iter().rev().take(STARTS).map(|(at, _)| *at));
    kept.extend(index.gaps.iter().rev().take(GAPS).copied());
    let left = left_behind(&index);
    kept.extend(left.iter().map(|(at, _)| *at));
    for unit in index.units.keys() {
        let likes = likes(&index, unit, index.len().saturating_sub(1));
        tallies.extend(sums(&index, unit, &likes, &mut kept));
        carry(&index, unit, &likes, &mut kept);
    }
    digests(&index, &mut kept);
    let carried = kept.into_iter().map(|at| {
        let mut record = index.records[at].clone();
        if let (Fact::LeftBehind { processes, .. }, Some((_, there))) =
            (&mut record.fact, left.binary_search_by_key(&at, |(place, _)| *place).ok().map(|nth| &left[nth]))
        {
            // Those that are gone would come back to life without the record of their end.
            processes.retain(|p| there.contains(&(p.pid, p.start_ticks)));
        }
        record
    });
    within(carried.collect(), tallies, limit_bytes)
}

/// Records of processes left behind, with those that are still there.
fn left_behind(index: &Index) -> Vec<(At, BTreeSet<(u32, u64)>)> {
    let mut found: Vec<(At, BTreeSet<(u32, u64)>)> = Vec::new();
    let mut alive: Vec<(At, (u32, u64))> =
        index.orphans.iter().filter(|(_, o)| o.gone.is_none()).map(|(key, o)| (o.at, *key)).collect();
    alive.sort_unstable();
    for (at, key) in alive {
        match found.last_mut().filter(|(last, _)| *last == at) {
            Some((_, keys)) => {
                keys.insert(key);
            }
            None => found.push((at, BTreeSet::from([key]))),
        }
    }
    found
}

/// The tallies of a unit: those there were, with the events of now added.
fn sums(index: &Index, unit: &Text, likes: &[Likes], kept: &mut BTreeSet<At>) -> Vec<Record> {
    let places = &index.units[unit].tallies;
    let mut sums: Vec<Record> = places.iter().map(|&at| index.records[at].clone()).collect();
    for like in likes {
        // The latest, where one whose causes are gone could belong to several.
        let nth = like.tallies.last().and_then(|at| places.iter().position(|place| place == at));
        add(index, unit, like, nth, &mut sums, kept);
    }
    sums
}

fn add(
    index: &Index,
    unit: &Text,
    like: &Likes,
    nth: Option<usize>,
    sums: &mut Vec<Record>,
    kept: &mut BTreeSet<At>,
) {
    let stamp = |at: At| index.records[at].at;
    let counted_until = nth.and_then(|nth| match sums[nth].fact {
        Fact::Tally { last, .. } => Some(last),
        _ => None,
    });
    let new: Vec<At> = like
        .places
        .iter()
        .copied()
        .filter(|&at| counted_until.is_none_or(|until| stamp(at) > until))
        .collect();
    let orphans = index.orphans.values().filter(|o| {
        let causes = &index.records[o.at].causes;
        &o.unit == unit
            && causes.iter().filter_map(|c| index.place(c.record)).any(|at| new.binary_search(&at).is_ok())
    });
    let orphans = orphans.count() as u64;
    let first_is_kept = |first: Stamp, times: u64| (times >= REPEATED).then_some(first);
    let first = match (nth, new.first(), new.last()) {
        (Some(nth), _, newest) => {
            let record = &mut sums[nth];
            if let Some(&at) = newest {
                record.id = RecordId(index.records[at].id.0 | TALLY);
                record.at = stamp(at);
            }
            let Fact::Tally { times, first, last, left_behind, .. } = &mut record.fact else { return };
            *times += new.len() as u64;
            *left_behind += orphans;
            *last = newest.map_or(*last, |&at| stamp(at));
            first_is_kept(*first, *times)
        }
        (None, Some(&oldest), Some(&newest)) => {
            let fact = Fact::Tally {
                what: like.told.word.into(),
                times: new.len() as u64,
                first: stamp(oldest),
                last: stamp(newest),
                rule: like.told.steps.first().and_then(|s| s.rule.clone()),
                chain: like.signature.clone(),
                left_behind: orphans,
            };
            sums.push(Record {
                id: RecordId(index.records[newest].id.0 | TALLY),
                at: stamp(newest),
                unit: Some(unit.clone()),
                invocation: None,
                causes: Vec::new(),
                certainty: index.records[newest].certainty,
                fact,
            });
            first_is_kept(stamp(oldest), new.len() as u64)
        }
        _ => None,
    };
    for &at in like.places.iter().filter(|&&at| Some(stamp(at)) == first) {
        kept.extend(path(index, at).places);
    }
}

/// What answers about a unit rest on.
fn carry(index: &Index, unit: &Text, likes: &[Likes], kept: &mut BTreeSet<At>) {
    let records = &index.units[unit];
    kept.extend(records.states.last());
    kept.extend(records.inputs.iter().rev().take(2));
    let last_of =
        |wanted: fn(EventKind) -> bool| records.events.iter().rfind(|e| wanted(e.kind)).map(|e| e.at);
    let last_events = [last_of(|kind| kind == EventKind::Up), last_of(|kind| kind != EventKind::Up)];
    for at in last_events.into_iter().flatten() {
        kept.extend(path(index, at).places);
        if let Some(run) = records.run(index.records[at].invocation) {
            kept.extend(changes::of_run(records, &records.runs[run]));
        }
    }
    for like in likes.iter().filter(|l| matches!(l.kind, EventKind::Down | EventKind::Failed)) {
        for at in changes::evidence(index, unit, like) {
            kept.insert(at);
            // Its end counts as asked for only with the signal that brought it.
            kept.extend(path(index, at).places.into_iter().take(3));
        }
    }
    if let Some(run) = records.runs.last() {
        kept.extend(changes::of_run(records, run));
        let start = |at: &At| matches!(index.records[*at].fact, Fact::ProcessStarted { .. });
        let of_main = run
            .main
            .and_then(|pid| index.by_pid.get(&pid))
            .and_then(|places| places.iter().rfind(|at| start(at)));
        kept.extend(of_main);
    }
    kept.extend(records.runs.iter().rev().find_map(|run| run.last_words));
    let latest_orphan =
        index.orphans.values().filter(|o| &o.unit == unit && o.gone.is_none()).map(|o| o.at).max();
    if let Some(at) = latest_orphan {
        kept.extend(path(index, at).places);
    }
}

/// What kept records were concluded from, and digests of the file versions that they name.
fn digests(index: &Index, kept: &mut BTreeSet<At>) {
    let basis: Vec<At> = kept.iter().filter_map(|at| index.basis.get(at).copied()).collect();
    kept.extend(basis);
    let mut named = BTreeSet::new();
    for &at in kept.iter() {
        if let Fact::Inputs { files } = &index.records[at].fact {
            named.extend(files.iter().filter_map(|f| Some((f.path.clone(), f.version?))));
        }
    }
    for (at, record) in index.records.iter().enumerate() {
        if let Fact::Digest { path, version, .. } = &record.fact
            && named.contains(&(path.clone(), *version))
        {
            kept.insert(at);
        }
    }
}

/// At most this many bytes: the oldest tallies go first, then the oldest of the rest.
fn within(mut carried: Vec<Record>, mut tallies: Vec<Record>, limit_bytes: usize) -> Vec<Record> {
    let mut bytes = Vec::new();
    let mut stored = |record: &Record| {
        bytes.clear();
        encode(record, &mut bytes);
        bytes.len() + FRAME
    };
    let mut total: usize = carried.iter().chain(&tallies).map(&mut stored).sum();
    tallies.sort_by_key(|tally| tally.at);
    for records in [&mut tallies, &mut carried] {
        let mut gone = 0;
        while total > limit_bytes && gone < records.len() {
            total -= stored(&records[gone]);
            gone += 1;
        }
        records.drain(..gone);
    }
    carried.append(&mut tallies);
    carried
}
