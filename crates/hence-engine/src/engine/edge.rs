//! A dependency between two units, as each of them carries it, and how it comes and goes. What it means is in
//! its kind's atoms.

use crate::unit::rule_of_dependency;
use crate::{Engine, UnitId};
use alloc::vec::Vec;
use hence_ledger::Rule;
use hence_unit::{Atom, DependencyKind, LoadState, implied};

/// A dependency as one of its two units carries it.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// As this unit carries it.
    pub kind: DependencyKind,
    /// The other unit.
    pub other: UnitId,
    /// By which of the two.
    pub(crate) declared: Declared,
    /// Which of the (first) declaring unit's dependencies it is.
    pub(crate) index: u16,
}

/// Who declares a dependency; where both do, who did first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// The unit that carries the edge.
    Own,
    /// The other one.
    Others,
    /// The unit that carries the edge, and then the other one.
    OwnAndOthers,
    /// The other one, and then the unit that carries the edge.
    OthersAndOwn,
}

impl Edge {
    /// Declared by this unit first, whose line is the one that is named.
    pub(crate) fn own(&self) -> bool {
        matches!(self.declared, Declared::Own | Declared::OwnAndOthers)
    }

    /// Declared by the other unit, if not by that one alone: as long as the other is loaded, so is this one.
    pub(crate) fn by_other(&self) -> bool {
        self.declared != Declared::Own
    }
}

impl Engine {
    /// `from` declares what the other may have declared before: it needs the other to stay loaded, too.
    pub(super) fn declared_by_both(&mut self, from: UnitId, kind: DependencyKind, to: UnitId) {
        let here = self.units[from.0 as usize].edges.iter_mut().find(|e| e.kind == kind && e.other == to);
        let Some(here) = here.filter(|e| e.declared == Declared::Others) else { return };
        here.declared = Declared::OthersAndOwn;
        let inverse = kind.inverse();
        let there = self.units[to.0 as usize].edges.iter_mut().find(|e| e.kind == inverse && e.other == from);
        if let Some(there) = there {
            there.declared = Declared::OwnAndOthers;
        }
    }

    pub(super) fn add_edge(&mut self, from: UnitId, kind: DependencyKind, to: UnitId, index: u16) {
        if from == to {
            return;
        }
        let known = &self.units[from.0 as usize].edges;
        // The same dependency twice: the first line is the one that is named.
        let twice = known.len() < 64 && known.iter().any(|e| e.kind == kind && e.other == to);
        if twice {
            return self.declared_by_both(from, kind, to);
        }
        self.units[from.0 as usize].edges.push(Edge { kind, other: to, declared: Declared::Own, index });
        let inverse = Edge { kind: kind.inverse(), other: from, declared: Declared::Others, index };
        self.units[to.0 as usize].edges.push(inverse);
    }

    pub(super) fn drop_own_edges(&mut self, id: UnitId) {
        let own: Vec<Edge> = self.units[id.0 as usize].edges.iter().filter(|e| e.own()).copied().collect();
        self.units[id.0 as usize].edges.retain(|e| !e.own());
        for edge in own {
            let inverse = edge.kind.inverse();
            let other = &mut self.units[edge.other.0 as usize];
            other.edges.retain(|e| e.own() || e.other != id || e.kind != inverse || e.index != edge.index);
            self.let_go(edge.other);
        }
    }

    /// Takes away the default dependencies that don't hold now that both units are known.
    pub(super) fn drop_void_edges(&mut self, id: UnitId) {
        let void: Vec<Edge> = self.units[id.0 as usize]
            .edges
            .iter()
            .filter(|e| e.kind == if e.own() { DependencyKind::After } else { DependencyKind::Before })
            .filter(|e| {
                let other = &self.units[e.other.0 as usize].config;
                let own = &self.units[id.0 as usize].config;
                let (owner, target) = if e.own() { (own, other) } else { (other, own) };
                let known = other.load != LoadState::Stub;
                let dependency = owner.dependencies.get(e.index as usize);
                known && dependency.is_some_and(|d| implied::is_void(owner, d, target))
            })
            .copied()
            .collect();
        for edge in void {
            let inverse = edge.kind.inverse();
            self.units[id.0 as usize].edges.retain(|e| (e.kind, e.other) != (edge.kind, edge.other));
            self.units[edge.other.0 as usize].edges.retain(|e| (e.kind, e.other) != (inverse, id));
        }
    }

    pub(super) fn move_edges(&mut self, from: UnitId, to: UnitId) {
        let edges = core::mem::take(&mut self.units[from.0 as usize].edges);
        for edge in edges {
            for back in &mut self.units[edge.other.0 as usize].edges {
                if back.other == from {
                    back.other = to;
                }
            }
            self.units[to.0 as usize].edges.push(edge);
        }
    }

    /// The units that `unit` is linked to by an atom, each once, with the rule of its first such link.
    pub(crate) fn linked(&self, unit: UnitId, atom: Atom) -> Vec<(UnitId, Option<Rule>)> {
        let mut found: Vec<(UnitId, Option<Rule>)> = Vec::new();
        for edge in &self.units[unit.0 as usize].edges {
            if edge.kind.has(atom) && (found.len() > 64 || !found.iter().any(|(u, _)| *u == edge.other)) {
                found.push((edge.other, self.rule_of(unit, edge)));
            }
        }
        found
    }

    pub(crate) fn is_linked(&self, unit: UnitId, atom: Atom, other: UnitId) -> bool {
        self.units[unit.0 as usize].edges.iter().any(|e| e.other == other && e.kind.has(atom))
    }

    pub(super) fn rule_of(&self, unit: UnitId, edge: &Edge) -> Option<Rule> {
        let owner = if edge.own() { unit } else { edge.other };
        let config = &self.units[owner.0 as usize].config;
        let dependency = config.dependencies.get(edge.index as usize)?;
        Some(rule_of_dependency(config, dependency))
    }
}
