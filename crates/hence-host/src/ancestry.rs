//! Tracking without control groups: by parents, sessions and the invocation id in the environment.
//!
//! hence adopts orphans (child subreaper), so everything that its units start stays below it. A process
//! that cleared its environment, made a session of its own and lost its parent can't be told from those of
//! other units: it is counted as unattributed, never signalled.

mod carry;

use crate::process::{self, Stat};
use hence_engine::UnitId;
use hence_ledger::record::Invocation;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Invocations and main processes that are remembered.
const REMEMBERED: usize = 8192;
/// Processes that a scan looks at.
const SCANNED: usize = 100_000;

/// What has been started here, by which later processes are recognized.
#[derive(Default)]
pub struct Ancestry {
    by_leader: HashMap<u32, UnitId>,
    by_invocation: BTreeMap<Invocation, UnitId>,
    /// Processes of others that were handed over; they need not descend from us.
    handed_over: HashMap<u32, UnitId>,
    leaders: VecDeque<u32>,
    invocations: VecDeque<Invocation>,
}

/// Our descendants, each with its unit where it has one.
pub struct Scan {
    owners: BTreeMap<u32, Option<UnitId>>,
}

impl Scan {
    /// The living processes of a unit.
    pub fn members(&self, unit: UnitId) -> Vec<u32> {
        self.owners.iter().filter(|(_, owner)| **owner == Some(unit)).map(|(&pid, _)| pid).collect()
    }

    /// The unit of a process.
    pub fn owner(&self, pid: u32) -> Option<UnitId> {
        self.owners.get(&pid).copied().flatten()
    }

    /// Descendants of which nothing tells the unit.
    pub fn unattributed(&self) -> usize {
        self.owners.values().filter(|o| o.is_none()).count()
    }
}

impl Ancestry {
    /// A process was started; it leads a session of its own.
    pub fn started(&mut self, unit: UnitId, pid: u32, invocation: Invocation) {
        self.found(unit, pid);
        if self.by_invocation.insert(invocation, unit).is_none() {
            self.invocations.push_back(invocation);
        }
        if self.invocations.len() > REMEMBERED
            && let Some(old) = self.invocations.pop_front()
        {
            self.by_invocation.remove(&old);
        }
    }

    /// A process was found to be a unit's: it stays so, whatever it does to its session or environment.
    pub fn found(&mut self, unit: UnitId, pid: u32) {
        if self.by_leader.insert(pid, unit).is_none() {
            self.leaders.push_back(pid);
        }
        if self.leaders.len() > REMEMBERED
            && let Some(old) = self.leaders.pop_front()
        {
            self.by_leader.remove(&old);
        }
    }

    /// A process that somebody else started was handed over: it and what it starts are the unit's. Of those
    /// that outlive it, what doesn't descend from us is lost sight of.
    pub fn handed_over(&mut self, unit: UnitId, pid: u32) {
        self.handed_over.insert(pid, unit);
    }

    /// A process that was found has ended; its id may be used again.
    pub fn gone(&mut self, pid: u32) {
        self.handed_over.remove(&pid);
        if self.by_leader.remove(&pid).is_some() {
            self.leaders.retain(|&p| p != pid);
        }
    }

    /// The number of a unit means another one from now on. Who is still marked as its process is nobody's.
    pub fn forget(&mut self, unit: UnitId) {
        self.by_leader.retain(|_, of| *of != unit);
        self.handed_over.retain(|_, of| *of != unit);
        self.by_invocation.retain(|_, of| *of != unit);
        self.leaders.retain(|pid| self.by_leader.contains_key(pid));
        self.invocations.retain(|invocation| self.by_invocation.contains_key(invocation));
    }

    /// Looks at every process; at none where /proc can't be read.
    pub fn scan(&self) -> Scan {
        self.try_scan().unwrap_or_else(|_| Scan { owners: BTreeMap::new() })
    }

    /// The same.
    ///
    /// # Errors
    /// Where /proc can't be read.
    pub fn try_scan(&self) -> std::io::Result<Scan> {
        let stats = process::try_all(SCANNED)?.into_iter().filter_map(process::stat);
        Ok(self.attribute(std::process::id(), stats, &process::invocation))
    }

    fn attribute(
        &self,
        root: u32,
        stats: impl Iterator<Item = Stat>,
        invocation: &dyn Fn(u32) -> Option<Invocation>,
    ) -> Scan {
        let all: BTreeMap<u32, Stat> = stats.map(|s| (s.pid, s)).collect();
        let mut owners = BTreeMap::new();
        for stat in all.values() {
            if stat.zombie || stat.pid == root {
                continue;
            }
            if let Some(unit) = self.owner_handed_over(&all, stat) {
                owners.insert(stat.pid, Some(unit));
                continue;
            }
            if !descends(&all, stat, root) {
                continue;
            }
            owners.insert(stat.pid, self.owner(&all, stat, root, invocation));
        }
        Scan { owners }
    }

    /// The unit of a process that was handed over, or of the nearest parent that was.
    fn owner_handed_over(&self, all: &BTreeMap<u32, Stat>, stat: &Stat) -> Option<UnitId> {
        let mut at = *stat;
        for _ in 0..all.len() {
            if self.handed_over.is_empty() {
                return None;
            }
            if let Some(unit) = self.handed_over.get(&at.pid) {
                return Some(*unit);
            }
            at = *all.get(&at.parent)?;
        }
        None
    }

    /// The unit of a process: its own mark, or that of the nearest parent that has one.
    fn owner(
        &self,
        all: &BTreeMap<u32, Stat>,
        stat: &Stat,
        root: u32,
        invocation: &dyn Fn(u32) -> Option<Invocation>,
    ) -> Option<UnitId> {
        let mut at = *stat;
        for _ in 0..all.len() {
            let leader = |id| self.by_leader.get(&id).copied();
            let marked = leader(at.pid).or_else(|| leader(at.session)).or_else(|| leader(at.group));
            let owner =
                marked.or_else(|| invocation(at.pid).and_then(|i| self.by_invocation.get(&i).copied()));
            if owner.is_some() {
                return owner;
            }
            if at.parent == root {
                return None;
            }
            at = *all.get(&at.parent)?;
        }
        None
    }
}

fn descends(all: &BTreeMap<u32, Stat>, stat: &Stat, root: u32) -> bool {
    let mut parent = stat.parent;
    // The bound ends a loop that a pid used again while we read might close.
    for _ in 0..all.len() {
        if parent == root {
            return true;
        }
        match all.get(&parent) {
            Some(above) => parent = above.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribution() {
        let stat =
            |pid, parent, group, session| Stat { pid, zombie: false, parent, group, session, start_ticks: 1 };
        let mut ancestry = Ancestry::default();
        let (a, b) = (Invocation([1; 16]), Invocation([2; 16]));
        ancestry.started(UnitId(1), 10, a);
        ancestry.started(UnitId(2), 20, b);
        let stats = [
            stat(2, 1, 2, 2),
            stat(10, 5, 10, 10),
            stat(11, 10, 11, 11),
            stat(12, 5, 12, 12),
            stat(13, 5, 13, 20),
            stat(14, 5, 14, 14),
            stat(15, 14, 15, 15),
            Stat { zombie: true, ..stat(16, 5, 16, 20) },
        ];
        let mark = |pid| (pid == 12).then_some(b);
        let scan = ancestry.attribute(5, stats.into_iter(), &mark);
        assert_eq!(scan.members(UnitId(1)), [10, 11]);
        assert_eq!(scan.members(UnitId(2)), [12, 13]);
        assert_eq!(scan.unattributed(), 2);
        assert_eq!(scan.owner(2), None);
        ancestry.handed_over(UnitId(3), 2);
        let stats = [stat(2, 1, 2, 2), stat(3, 2, 2, 2), stat(4, 1, 2, 2)];
        let handed = |ancestry: &Ancestry| ancestry.attribute(5, stats.into_iter(), &mark);
        assert_eq!(handed(&ancestry).members(UnitId(3)), [2, 3]);
        ancestry.gone(2);
        assert!(handed(&ancestry).members(UnitId(3)).is_empty());
    }
}
