//! What differs between the last good run of a unit and its first bad one.
//!
//! Compares what was recorded; it claims no cause.

use crate::answer::{Change, Compared, FileState, Unchanged};
use crate::index::{At, Index, Run, UnitRecords};
use crate::record::{Fact, FileIdentity, FileRole, Version};
use crate::series::{Likes, median};
use alloc::vec::Vec;

/// A run that ended by itself is good only where it lasted this many times as long as bad ones do.
const CLEARLY_LONGER: u64 = 3;
/// And one that ended as they do only where it lasted this much longer, in microseconds: on a busy machine a
/// program that fails at once may take many times as long as usual.
const NOISE_US: u64 = 1_000_000;

/// The comparison of two runs.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    pub changed: Vec<Change>,
    pub unchanged: Vec<Unchanged>,
    pub compared: Option<Compared>,
}

/// Compares the last good run before those that ended with `bad` with the first one after it.
pub(crate) fn compare(index: &Index, unit: &str, bad: &Likes) -> Comparison {
    let Some((unit, records)) = index.units.get_key_value(unit) else { return Comparison::default() };
    let Some((good, first_bad, bad_lasts_us)) = good_and_bad(index, records, bad) else {
        return Comparison::default();
    };
    let (Some(before), Some(after)) = (inputs(index, records, good), inputs(index, records, first_bad))
    else {
        return Comparison::default();
    };
    let mut found = Comparison {
        compared: Some(Compared {
            unit: unit.clone(),
            good: index.records[good.first].at,
            good_lasted_us: good.ended.map(|end| index.between(good.first, end)),
            bad: index.records[first_bad.first].at,
            bad_lasts_us,
        }),
        ..Comparison::default()
    };
    let mut paths: Vec<(FileRole, &FileIdentity)> = after.iter().map(|f| (f.role, f)).collect();
    paths.extend(before.iter().filter(|b| !after.iter().any(|a| a.path == b.path)).map(|f| (f.role, f)));
    paths.sort_by_key(|(role, file)| (order(*role), file.path.clone()));
    for (role, file) in paths {
        let version =
            |files: &[FileIdentity]| files.iter().find(|f| f.path == file.path).and_then(|f| f.version);
        let (old, new) = (version(before), version(after));
        let state = |version: Version| {
            let (sha256, package) = index.digest(&file.path, &version).unwrap_or_default();
            FileState { version, sha256, package }
        };
        let (old, new) = (old.map(state), new.map(state));
        let (unit, path) = (unit.clone(), file.path.clone());
        if same(old.as_ref(), new.as_ref()) {
            let modified_ns = new.map(|n| n.version.modified_ns);
            found.unchanged.push(Unchanged { unit, path, role, modified_ns });
        } else {
            found.changed.push(Change { unit, path, role, before: old, after: new });
        }
    }
    found
}

/// The records by which the last good run and the first bad one can still be told and compared.
pub(crate) fn evidence(index: &Index, unit: &str, bad: &Likes) -> Vec<At> {
    let Some(records) = index.units.get(unit) else { return Vec::new() };
    let Some((good, first_bad, _)) = good_and_bad(index, records, bad) else { return Vec::new() };
    [good, first_bad].into_iter().flat_map(|run| of_run(records, run)).collect()
}

/// The records by which a run can be told: its first, its inputs, its end.
pub(crate) fn of_run(records: &UnitRecords, run: &Run) -> impl Iterator<Item = At> + use<> {
    let inputs = run.inputs.or_else(|| records.inputs.iter().copied().rfind(|&at| at < run.first));
    [Some(run.first), inputs, run.ended].into_iter().flatten()
}

/// The program first: it is what changes most often without anybody noticing.
fn order(role: FileRole) -> u8 {
    match role {
        FileRole::Executable => 0,
        FileRole::Interpreter => 1,
        FileRole::Argument => 2,
        FileRole::Environment => 3,
        FileRole::UnitFile => 4,
    }
}

fn same(old: Option<&FileState>, new: Option<&FileState>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            old.version == new.version || (old.sha256.is_some() && old.sha256 == new.sha256)
        }
        _ => false,
    }
}

/// The files that a run started with: its own record or the one before it, for only differences are recorded.
fn inputs<'a>(index: &'a Index, records: &UnitRecords, run: &Run) -> Option<&'a [FileIdentity]> {
    let before = || records.inputs.iter().copied().rfind(|&at| at < run.first);
    match &index.records[run.inputs.or_else(before)?].fact {
        Fact::Inputs { files } => Some(files),
        _ => None,
    }
}

/// The last good run, the run after it, and how long bad runs last.
fn good_and_bad<'a>(index: &Index, records: &'a UnitRecords, bad: &Likes) -> Option<(&'a Run, &'a Run, u64)> {
    let is_bad = |run: &Run| run.ended.is_some_and(|end| bad.places.binary_search(&end).is_ok());
    let lasted = |run: &Run, end: At| index.between(run.first, end);
    let lengths: Vec<u64> = records
        .runs
        .iter()
        .filter(|r| r.began && is_bad(r))
        .filter_map(|r| Some(lasted(r, r.ended?)))
        .collect();
    if lengths.is_empty() {
        return None;
    }
    let typical = median(&lengths);
    let last_bad = records.runs.iter().rposition(is_bad)?;
    let good = records.runs[..last_bad].iter().enumerate().rposition(|(nth, run)| {
        let next = records.runs[nth + 1].first;
        let hence_ended = index.starts.iter().any(|(start, _)| run.first < *start && *start < next);
        match run.ended.filter(|_| run.began) {
            Some(end) if run.asked => lasted(run, end) >= typical,
            Some(end) => {
                let longer = lasted(run, end).saturating_sub(typical);
                longer > typical.saturating_mul(CLEARLY_LONGER - 1) && (!is_bad(run) || longer > NOISE_US)
            }
            // It was still up when hence ended, however that was; else its end is only no longer there.
            None => run.began && hence_ended && lasted(run, next) >= typical,
        }
    })?;
    Some((&records.runs[good], &records.runs[good + 1], typical))
}
