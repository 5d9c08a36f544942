//! What happened, one line for each event that an operator cares about, like ones folded together.

use crate::index::{At, EventKind, Index};
use crate::path::tell;
use crate::record::{Fact, Stamp};
use crate::series::{begins_like, rhythm};
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use hence_unit::Text;

/// One line of history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The unit; `None` where it is about hence as a whole.
    pub unit: Option<Text>,
    /// What: `started`, `stopped`, `failed`, `left behind`, `refused`, `boot`, `gap`, ...
    pub event: &'static str,
    /// When, the first time.
    pub at: Stamp,
    /// When, the last time.
    pub last: Stamp,
    /// How often in a row.
    pub times: u64,
    /// The rhythm in microseconds, where there is one.
    pub period_us: Option<u64>,
    /// Why: the unit and the phrase of what caused it, or the sentence of the fact itself.
    pub because: String,
}

/// Which part of history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Of this unit only.
    pub unit: Option<&'a str>,
    /// From this time on.
    pub since: Option<Stamp>,
    /// Up to this time.
    pub until: Option<Stamp>,
    /// Every event on its own line.
    pub unfolded: bool,
}

struct Line {
    entry: Entry,
    signature: Vec<Text>,
    places: Vec<At>,
}

/// The history, oldest first.
pub fn history(index: &Index, filter: Filter<'_>) -> Vec<Entry> {
    let mut events: Vec<(At, Option<EventKind>)> = Vec::new();
    for (unit, records) in &index.units {
        if filter.unit.is_none_or(|wanted| **unit == *wanted) {
            events.extend(records.events.iter().map(|e| (e.at, Some(e.kind))));
        }
    }
    let others = index.records.iter().enumerate().filter(|(_, record)| {
        filter.unit.is_none_or(|wanted| record.unit.as_deref() == Some(wanted))
            && other(&record.fact).is_some()
    });
    events.extend(others.map(|(at, _)| (at, None)));
    events.sort_unstable();

    let mut lines: Vec<Line> = Vec::new();
    let mut last_of: BTreeMap<(Option<Text>, &'static str, Vec<Text>), usize> = BTreeMap::new();
    for (at, kind) in events {
        let stamp = index.records[at].at;
        let wanted = filter.since.is_none_or(|since| stamp.realtime_us >= since.realtime_us)
            && filter.until.is_none_or(|until| stamp.realtime_us <= until.realtime_us);
        if !wanted {
            continue;
        }
        let (entry, signature, cut) = line(index, at, kind);
        if kind.is_some() && summed_up(index, &entry, &signature, cut) {
            continue;
        }
        let key = (entry.unit.clone(), entry.event, signature.clone());
        match last_of
            .get(&key)
            .filter(|_| !filter.unfolded && kind.is_some() && goes_on(&lines, &entry, &last_of, &key))
        {
            Some(&nth) => {
                lines[nth].places.push(at);
                lines[nth].entry.times += entry.times;
                lines[nth].entry.last = entry.last;
            }
            None => {
                last_of.insert(key, lines.len());
                lines.push(Line { entry, signature, places: Vec::from([at]) });
            }
        }
    }
    let finish = |mut line: Line| {
        let pauses: Vec<u64> = line.places.windows(2).map(|w| index.between(w[0], w[1])).collect();
        line.entry.period_us = rhythm(&pauses);
        line.entry
    };
    let mut entries: Vec<Entry> = lines.into_iter().map(finish).collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}

/// Whether a tally counts this event too.
fn summed_up(index: &Index, entry: &Entry, signature: &[Text], cut: bool) -> bool {
    let tallies = entry.unit.as_ref().and_then(|unit| index.units.get(unit)).map(|u| u.tallies.as_slice());
    tallies.unwrap_or_default().iter().any(|&at| match &index.records[at].fact {
        Fact::Tally { what, chain, last, .. } => {
            let same = if cut { begins_like(chain, signature) } else { chain == signature };
            **what == *entry.event && same && *last >= entry.at
        }
        _ => false,
    })
}

/// Whether nothing else happened to the unit since the like line but the other half of a cycle.
fn goes_on(
    lines: &[Line],
    entry: &Entry,
    last_of: &BTreeMap<(Option<Text>, &'static str, Vec<Text>), usize>,
    key: &(Option<Text>, &'static str, Vec<Text>),
) -> bool {
    let Some(&nth) = last_of.get(key) else { return false };
    let since = lines[nth + 1..].iter().filter(|l| l.entry.unit == entry.unit);
    since.fold((0, true), |(kinds, fine), line| (kinds + 1, fine && kinds < 2 && line.signature != key.2)).1
}

/// What facts that are no events of a unit are called, where they belong into its history.
fn other(fact: &Fact) -> Option<&'static str> {
    Some(match fact {
        Fact::Started { .. } => "boot",
        Fact::Ended { .. } => "end",
        Fact::Refused { .. } => "refused",
        Fact::Gap { .. } | Fact::Away { .. } => "gap",
        Fact::ClockJump { .. } | Fact::TimeZoneChanged { .. } => "clock",
        Fact::ManagerSignal { .. } | Fact::Signalled { .. } => "signal",
        Fact::Tally { .. } => "summed up",
        Fact::UnitFileChanged { .. } => "unit file",
        Fact::Reexecuted { .. } => "reexec",
        Fact::TakenUp { .. } => "taken up",
        _ => return None,
    })
}

fn line(index: &Index, at: At, kind: Option<EventKind>) -> (Entry, Vec<Text>, bool) {
    let record = &index.records[at];
    let mut entry = Entry {
        unit: record.unit.clone(),
        event: other(&record.fact).unwrap_or_default(),
        at: record.at,
        last: record.at,
        times: 1,
        period_us: None,
        because: record.sentence(),
    };
    let Some(kind) = kind else {
        if let Fact::Tally { what, times, first, last, chain, .. } = &record.fact {
            entry.event = crate::path::known_word(what);
            (entry.at, entry.last, entry.times) = (*first, *last, *times);
            entry.because = chain.get(1).map(|c| String::from(&**c)).unwrap_or_default();
        }
        if let Fact::UnitFileChanged { .. } = record.fact {
            let asked = record.causes.first().and_then(|cause| index.record(cause.record));
            entry.because.extend(asked.iter().flat_map(|asked| [String::from("; "), asked.sentence()]));
        }
        return (entry, Vec::new(), false);
    };
    let told = tell(index, at, kind);
    entry.event = told.word;
    entry.because = match told.steps.get(1) {
        Some(cause) if cause.unit == entry.unit || cause.unit.is_none() => cause.what.clone(),
        Some(cause) => format!("{} {}", cause.unit.as_deref().unwrap_or_default(), cause.what),
        None => told.path.broken.map(String::from).unwrap_or_default(),
    };
    let signature = told.signature();
    (entry, signature, told.path.broken.is_some())
}
