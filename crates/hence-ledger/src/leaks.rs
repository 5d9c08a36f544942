//! Processes that outlived their invocation and are not recorded as gone.

use crate::allow::AllowList;
use crate::answer::{Leak, LeftBehind};
use crate::index::Index;
use crate::record::Rule;
use alloc::{collections::BTreeMap, vec::Vec};
use hence_unit::Text;

/// Why a process that was allowed when it was left behind is.
const UNIT: &str = "the unit, or a rule of that time, says so";

/// Every left-over process, by unit and then by time.
pub fn leaks(index: &Index) -> Vec<Leak> {
    let alive = index.orphans.values().filter(|o| o.gone.is_none());
    let mut found: Vec<(usize, Leak)> = alive
        .map(|orphan| {
            let record = &index.records[orphan.at];
            let leak = Leak {
                unit: orphan.unit.clone(),
                pid: orphan.process.pid,
                start_ticks: orphan.process.start_ticks,
                command: orphan.process.command.clone(),
                bytes: orphan.process.bytes,
                since: record.at,
                invocation: record.invocation,
                allowed: orphan.allowed,
                reason: orphan.allowed.then(|| UNIT.into()),
            };
            (orphan.at, leak)
        })
        .collect();
    found.sort_by(|(at, a), (other, b)| (&a.unit, at, a.pid).cmp(&(&b.unit, other, b.pid)));
    found.into_iter().map(|(_, leak)| leak).collect()
}

/// Which of them these rules allow, and why: also those that were left before there was a rule.
pub fn judge(leaks: &mut [Leak], list: &AllowList) {
    for leak in leaks {
        if let Some(rule) = list.allows(&leak.unit, &leak.command) {
            leak.allowed = true;
            leak.reason = Some(alloc::format!("{} ({}:{})", rule.reason, list.path, rule.line).into());
        }
    }
}

/// What a unit left behind by `until` that was still there then, summed up.
pub(crate) fn of_unit(index: &Index, unit: &str, until: usize) -> LeftBehind {
    let mut sum = LeftBehind::default();
    let mut commands: BTreeMap<&Text, u64> = BTreeMap::new();
    let mut newest = None;
    let there = |at: usize, gone: Option<usize>| at <= until && gone.is_none_or(|gone| gone > until);
    for orphan in index.orphans.values().filter(|o| &*o.unit == unit && there(o.at, o.gone)) {
        sum.processes += 1;
        sum.bytes = sum.bytes.saturating_add(orphan.process.bytes.unwrap_or_default());
        sum.unmeasured += u64::from(orphan.process.bytes.is_none());
        sum.allowed += u64::from(orphan.allowed);
        *commands.entry(&orphan.process.command).or_default() += 1;
        let since = index.records[orphan.at].at;
        sum.since = Some(sum.since.map_or(since, |known| known.min(since)));
        newest = newest.max(Some(orphan.at));
    }
    sum.rule = newest.and_then(|at| rule_of(index, at));
    sum.commands = commands.into_iter().map(|(command, times)| (command.clone(), times)).collect();
    sum.commands.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    sum
}

/// The directive by which a record came about.
pub(crate) fn rule_of(index: &Index, at: usize) -> Option<Rule> {
    index.records[at].causes.iter().find_map(|cause| cause.rule.clone())
}
