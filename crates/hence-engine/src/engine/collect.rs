//! Which units are forgotten, and when: systemd.unit(5), "Unit garbage collection" and CollectMode=.
//! It decides by what the engine holds; what the host has of a unit goes by [`Effect::Forget`].
//!
//! A unit that is down, has no job and nobody who refers to it is forgotten with everything that was known
//! of it: exit codes, counters, results, times, limits. Nothing that may still be named as a cause goes
//! with it: a record of its last state would be a cause only for a unit that declares a dependency on it,
//! and such a unit keeps it loaded. What happened stays in the ledger.

use super::Engine;
use crate::job::is_down;
use crate::unit::{Keep, State, Unit};
use crate::{Effect, Event, Time, UnitId};
use alloc::{collections::BTreeMap, vec, vec::Vec};
use hence_ledger::ActiveState;
use hence_unit::{DependencyKind, LoadState, UnitName};

/// Units that may not be needed any more. A search for somebody who needs one may walk through many others,
/// and while jobs run the next event may well have the same ones walked again: in a chain that is stopped,
/// each unit's search would pass all that went before. So a search that may be long waits until as many
/// steps were earned, or until no job is left; what nobody refers to is looked at at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    /// Not looked at so far.
    fresh: Vec<UnitId>,
    /// Others declare dependencies on them, and their search was put off.
    late: Vec<UnitId>,
    /// Steps that searches may take now.
    earned: usize,
    /// Steps that the last searches took.
    cost: usize,
}

impl Candidates {
    /// Steps that one event brings. More than most units have dependents, so that small sets never wait.
    const STEPS: usize = 16;

    fn push(&mut self, unit: UnitId) {
        self.fresh.push(unit);
        self.earned = self.earned.saturating_add(Candidates::STEPS).min(1 << 16);
    }

    pub(super) fn shrink(&mut self) {
        self.fresh.shrink_to_fit();
        self.late.shrink_to_fit();
    }
}

impl Engine {
    /// Forgets what nobody needs. To be called when nothing is left to do and before waiting, so that
    /// whoever asked for a unit has been answered. Looks only at units that something happened to.
    pub fn collect(&mut self, now: Time) {
        self.now = now;
        if self.ending.is_some() {
            // All of it is forgotten soon anyway.
            return;
        }
        let waits = !self.may_search();
        let mut good: BTreeMap<UnitId, ()> = BTreeMap::new();
        let mut steps = 0;
        if !waits {
            self.candidates.fresh.append(&mut self.candidates.late);
        }
        while let Some(unit) = self.candidates.fresh.pop() {
            let u = &mut self.units[unit.0 as usize];
            if u.keep == Keep::Vacant {
                continue;
            }
            if waits && u.edges.iter().any(|edge| edge.by_other()) {
                self.candidates.late.push(unit);
                continue;
            }
            u.keep = Keep::Settled;
            match self.find_keeper(unit, &mut good, &mut steps) {
                None => self.tell_loaded(unit),
                Some(dead) => self.forget(&dead),
            }
        }
        if !waits {
            self.candidates.cost = steps;
            self.candidates.earned = 0;
        }
    }

    /// Whether anything happened after which [`Engine::collect`] may find something.
    pub fn may_collect(&self) -> bool {
        !self.candidates.fresh.is_empty() || !self.candidates.late.is_empty() && self.may_search()
    }

    /// Whether searches of any length may be made.
    fn may_search(&self) -> bool {
        self.jobs.is_empty() || self.candidates.earned >= self.candidates.cost
    }

    /// Somebody outside needs the unit to stay loaded, until as many times [`Event::Released`].
    pub(super) fn hold(&mut self, name: &UnitName) {
        let unit = self.reference(name);
        *self.holds.entry(unit).or_default() += 1;
    }

    pub(super) fn release(&mut self, name: &UnitName) {
        let Some(unit) = self.find(name) else { return };
        let Some(count) = self.holds.get_mut(&unit) else { return };
        *count -= 1;
        if *count == 0 {
            self.holds.remove(&unit);
            self.let_go(unit);
        }
    }

    /// Something happened after which nobody may need the unit.
    pub(crate) fn may_go(&mut self, unit: UnitId) {
        let u = &mut self.units[unit.0 as usize];
        if u.keep == Keep::Settled && u.job.is_none() && is_down(u.active_state()) {
            u.keep = Keep::Candidate;
            let monitored = u.monitored.filter(|&other| other != unit && !self.is_vacant(other));
            self.candidates.push(unit);
            // It was kept for this one.
            monitored.into_iter().for_each(|other| self.may_go(other));
        }
    }

    /// Somebody who may have needed the unit doesn't any more: it is looked at anew, whomever it told of its
    /// end.
    pub(super) fn let_go(&mut self, unit: UnitId) {
        self.units[unit.0 as usize].just_told = false;
        self.may_go(unit);
    }

    /// Whether what OnFailure= or OnSuccess= of this one started, and of no other since, is still there.
    fn is_monitored(&self, unit: UnitId) -> bool {
        let follows = [DependencyKind::OnFailure, DependencyKind::OnSuccess];
        let unit_is = &self.units[unit.0 as usize];
        unit_is.just_told
            && unit_is.edges.iter().any(|edge| {
                let other = &self.units[edge.other.0 as usize];
                follows.contains(&edge.kind)
                    && other.monitored == Some(unit)
                    && other.active_state() != ActiveState::Inactive
            })
    }

    /// Whether the slot of this number has no unit.
    pub(super) fn is_vacant(&self, unit: UnitId) -> bool {
        self.units.get(unit.0 as usize).is_none_or(|u| u.keep == Keep::Vacant)
    }

    /// Whether the unit is only a name: no file has it, and nothing goes on under it. If it becomes the alias
    /// of another unit, it is that unit.
    pub(super) fn is_only_a_name(&self, unit: UnitId) -> bool {
        let load = self.units[unit.0 as usize].config.load;
        load == LoadState::Stub || (load == LoadState::NotFound && self.is_collectable(unit))
    }

    /// Whether the unit has nothing by itself that keeps it loaded.
    pub(super) fn is_collectable(&self, unit: UnitId) -> bool {
        let u = &self.units[unit.0 as usize];
        let down = match u.active_state() {
            ActiveState::Inactive => true,
            ActiveState::Failed => u.config.flags.collect_failed,
            _ => false,
        };
        if !down
            || u.job.is_some()
            || self.checking == Some(unit)
            || u.is_perpetual()
            || u.uncounted
            || !u.left_over.is_empty()
        {
            return false;
        }
        let at_rest = match &u.state {
            State::Service(s) => {
                s.is_alone() && s.awaiting.is_none() && s.left_by.is_none() && s.connection.is_none()
            }
            State::Socket(s) => s.connections == 0 && s.control_pid().is_none(),
            State::Scope(s) => !s.is_taking_up(),
            // What is mounted there may outlive a command that failed.
            State::Mount(a) | State::Swap(a) => a.is_at_rest() && a.left_by.is_none(),
            State::Device(device) => !device.up,
            State::Target { .. } | State::Slice { .. } | State::Timer(_) | State::Path(_) => true,
            State::Automount(_) | State::Other => true,
        };
        let awaited =
            self.connections.iter().any(|(service, socket, ..)| [*service, *socket].contains(&unit));
        let awaited =
            awaited || self.is_being_made(unit) || self.is_started_later(unit) || self.is_monitored(unit);
        at_rest && !awaited && !self.holds.contains_key(&unit) && !self.loading.contains(u.name())
    }

    /// Follows the dependencies that others declare on the unit until somebody is found who stays. `None`:
    /// there is one. Else all that were seen are needed by each other at most.
    fn find_keeper(
        &self,
        unit: UnitId,
        good: &mut BTreeMap<UnitId, ()>,
        steps: &mut usize,
    ) -> Option<Vec<UnitId>> {
        if good.contains_key(&unit) || !self.is_collectable(unit) {
            return None;
        }
        let mut seen: BTreeMap<UnitId, ()> = BTreeMap::from([(unit, ())]);
        let mut path: Vec<(UnitId, usize)> = vec![(unit, 0)];
        while let Some((at, next)) = path.last_mut() {
            let Some(edge) = self.units[at.0 as usize].edges.get(*next) else {
                path.pop();
                continue;
            };
            *next += 1;
            *steps += 1;
            let other = edge.other;
            if !edge.by_other() || seen.contains_key(&other) {
                continue;
            }
            if good.contains_key(&other) || !self.is_collectable(other) {
                good.extend(path.iter().map(|(u, _)| (*u, ())));
                return None;
            }
            seen.insert(other, ());
            path.push((other, 0));
        }
        Some(seen.into_keys().collect())
    }

    /// Makes the slots of these units vacant. Whoever declares a dependency on one of them is among them.
    fn forget(&mut self, dead: &[UnitId]) {
        let mut cut: BTreeMap<UnitId, usize> = BTreeMap::new();
        for &id in dead {
            let vacant = Unit::vacant(id, self.vacant.clone());
            let mut unit = core::mem::replace(&mut self.units[id.0 as usize], vacant);
            self.disarm_all(&mut unit);
            for edge in unit.edges.iter().filter(|e| e.own()) {
                *cut.entry(edge.other).or_default() += 1;
            }
            for name in unit.config.aliases.iter().chain([unit.name()]) {
                if self.names.get(name) == Some(id) {
                    self.names.remove(name);
                }
            }
            self.effect(Effect::Forget { unit: id, name: unit.name().clone() });
        }
        for (other, count) in cut {
            self.cut_edges(other, count);
            self.let_go(other);
        }
    }

    /// Takes away the `count` edges that lead to vacant slots. Units that come and go are among the last in
    /// the long lists of targets and slices, so that one is found fast.
    fn cut_edges(&mut self, unit: UnitId, count: usize) {
        const ONE_BY_ONE: usize = 4;
        let mut edges = core::mem::take(&mut self.units[unit.0 as usize].edges);
        if count > ONE_BY_ONE {
            edges.retain(|e| self.units[e.other.0 as usize].keep != Keep::Vacant);
        } else {
            let mut left = count;
            let mut at = edges.len();
            while left > 0 && at > 0 {
                at -= 1;
                if self.units[edges[at].other.0 as usize].keep == Keep::Vacant {
                    edges.remove(at);
                    left -= 1;
                }
            }
        }
        if edges.len() * 4 < edges.capacity() {
            edges.shrink_to_fit();
        }
        let u = &mut self.units[unit.0 as usize];
        u.edges = edges;
        let monitored = u.monitored;
        if monitored.is_some_and(|m| self.is_vacant(m)) {
            self.units[unit.0 as usize].monitored = None;
        }
    }

    /// The host has nothing of the unit that was here any more: no event can mean it.
    pub(super) fn forgotten(&mut self, unit: UnitId) {
        self.free.insert(unit);
    }

    /// Gives back the slots at the end that no unit uses.
    pub(super) fn drop_free_slots(&mut self) {
        while self.units.last().is_some_and(|u| self.free.contains(&u.id)) {
            if let Some(unit) = self.units.pop() {
                self.free.remove(&unit.id);
            }
        }
        self.units.shrink_to_fit();
        self.candidates.shrink();
    }

    /// What happened was to a unit that is gone: the host told it before it was told to forget.
    pub(super) fn is_too_late(&mut self, event: &Event) -> bool {
        let Some(unit) = unit_of(event) else { return false };
        let late = self.is_vacant(unit);
        if let Event::Traffic { connection: Some((id, _)), .. } = event
            && late
        {
            self.effect(Effect::CloseConnection(*id));
        }
        late
    }
}

/// The unit that an event names by its number.
fn unit_of(event: &Event) -> Option<UnitId> {
    match event {
        Event::Killed { unit, .. }
        | Event::Emptied(unit)
        | Event::Census { unit, .. }
        | Event::Failed { unit, .. }
        | Event::Gone { unit, .. }
        | Event::Checked { unit, .. }
        | Event::Notify { unit, .. }
        | Event::SocketsOpened { unit, .. }
        | Event::AutomountOpened { unit, .. }
        | Event::AutomountWanted { unit, .. }
        | Event::AutomountIdle(unit)
        | Event::DescriptorsKept { unit, .. }
        | Event::DescriptorsDropped { unit, .. }
        | Event::Traffic { unit, .. }
        | Event::PidFile { unit, .. }
        | Event::PathChanged { unit, .. }
        | Event::BusName { unit, .. }
        | Event::OomKill { unit, .. }
        | Event::CallRefused { unit, .. }
        | Event::Unenforced { unit, .. }
        | Event::Adopted { unit, .. }
        | Event::Froze { unit, .. }
        | Event::Device { unit, .. }
        | Event::NextElapse { unit, .. }
        | Event::Cleaning { unit, .. } => Some(*unit),
        // Processes and starts are found by their own numbers.
        Event::Reread { unit, .. } => Some(*unit),
        Event::Spawned { .. }
        | Event::Executed { .. }
        | Event::SpawnFailed { .. }
        | Event::Deprived { .. }
        | Event::Exited { .. } => None,
        Event::Loaded { .. }
        | Event::Referenced(_)
        | Event::Held(_)
        | Event::Released(_)
        | Event::Forgotten(_)
        | Event::ReloadBegun(_)
        | Event::ReloadEnded
        | Event::Request(_)
        | Event::Survivors { .. }
        | Event::Resumed(_)
        | Event::Deadline
        | Event::TimeUp { .. }
        | Event::Mounts(_)
        | Event::Swaps { .. }
        | Event::Signal { .. }
        | Event::TimeZoneChanged { .. }
        | Event::ClockJump { .. } => None,
    }
}
