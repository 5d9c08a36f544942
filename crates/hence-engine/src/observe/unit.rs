//! What is known of a unit, and the rules that its files state.

use super::Observer;
use super::seen::{Portrait, Seen, What};
use crate::Time;
use crate::unit::{Rules, rule_of_dependency};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use hence_ledger::{
    ActiveState, Cause, Certainty, Fact, FileIdentity, Invocation, LeftOver, RecordId, Rule, SubState, Text,
    UnitResult,
};
use hence_unit::{Config, DependencyKind, UnitName};

/// A unit as it is known to be.
#[derive(Debug)]
pub(super) struct Unit {
    pub active: ActiveState,
    pub sub: SubState,
    pub result: UnitResult,
    pub invocation: Option<Invocation>,
    pub main_pid: u32,
    pub control_pid: u32,
    pub restarts: u32,
    /// When the main process that ended last did, in microseconds.
    pub exit_at_us: u64,
    /// When the main process that was told last began, in microseconds.
    pub main_began_us: u64,
    /// When the current run began, in microseconds.
    pub began_us: u64,
    /// When it took its current state, in microseconds.
    pub state_at_us: u64,
    pub triggered_us: u64,
    pub accepted: u32,
    pub cgroup: Option<Text>,
    pub command: Option<Vec<String>>,
    pub edges: Vec<(DependencyKind, Text)>,
    pub config: Option<Arc<Config>>,
    pub files: Vec<FileIdentity>,
    /// Its last [`Fact::Inputs`].
    pub inputs: Vec<FileIdentity>,
    /// The record of its last change of state.
    pub record: Option<RecordId>,
    /// When and by which record it last went down.
    pub down: Option<(u64, RecordId)>,
    /// When and by which record it last came up.
    pub up: Option<(u64, RecordId)>,
    /// The record that schedules its next start.
    pub scheduled: Option<RecordId>,
    /// The last job of it that came to nothing.
    pub refused: Option<(u64, RecordId)>,
    pub left_over: BTreeMap<(u32, u64), LeftOver>,
    /// When the manager forgot it.
    pub forgotten_us: Option<u64>,
}

impl Unit {
    pub fn new() -> Unit {
        Unit {
            active: ActiveState::Inactive,
            sub: SubState::Dead,
            result: UnitResult::Success,
            invocation: None,
            main_pid: 0,
            control_pid: 0,
            restarts: 0,
            exit_at_us: 0,
            main_began_us: 0,
            began_us: 0,
            state_at_us: 0,
            triggered_us: 0,
            accepted: 0,
            cgroup: None,
            command: None,
            edges: Vec::new(),
            config: None,
            files: Vec::new(),
            inputs: Vec::new(),
            record: None,
            down: None,
            up: None,
            scheduled: None,
            refused: None,
            left_over: BTreeMap::new(),
            forgotten_us: None,
        }
    }

    /// The units that it is linked to in one of these ways.
    pub fn linked<'a>(&'a self, kinds: &'a [DependencyKind]) -> impl Iterator<Item = &'a Text> + 'a {
        self.edges.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, other)| other)
    }

    /// The line of a directive that is in effect.
    pub fn rule(&self, directive: &str) -> Option<Rule> {
        self.config.as_ref()?.rule(directive)
    }

    /// The same with this value, also where it is the default.
    pub fn rule_with(&self, directive: &str, value: &str) -> Option<Rule> {
        Some(self.config.as_ref()?.rule_with(directive, value))
    }

    fn declares(&self, kind: DependencyKind, other: &str) -> Option<Rule> {
        let config = self.config.as_ref()?;
        let fits = |name: &UnitName| name.as_str() == other;
        let found = config.dependencies.iter().find(|d| d.kind == kind && fits(&d.other))?;
        Some(rule_of_dependency(config, found))
    }
}

/// The sub-state that this word means for a unit of this name.
pub fn sub_state(unit: &str, word: &str) -> Option<SubState> {
    let kind = unit.rsplit('.').next().unwrap_or("");
    Some(match (kind, word) {
        ("socket", "running") => SubState::SocketRunning,
        ("timer" | "path", "running") => SubState::TriggerRunning,
        ("swap", "activating") => SubState::SwapActivating,
        ("swap", "deactivating") => SubState::SwapDeactivating,
        // What newer managers tell apart is one state here.
        (_, "auto-restart-queued" | "dead-before-auto-restart" | "failed-before-auto-restart") => {
            SubState::AutoRestart
        }
        (_, "dead-resources-pinned") => SubState::Dead,
        (_, "reload-signal" | "reload-notify") => SubState::Reload,
        _ => SubState::parse(word)?,
    })
}

impl Observer {
    /// Takes a unit as it was read.
    pub(super) fn known(&mut self, at: Time, portrait: Portrait) {
        let name = portrait.name;
        let fresh = !self.units.contains_key(&name);
        if self.reattaching {
            self.still_there(&name);
            let found = What::Found(name.clone(), Box::new(portrait.state.clone()), fresh);
            self.waiting.push_back(Seen { at, what: found });
        }
        let unit = self.units.entry(name.clone()).or_insert_with(Unit::new);
        unit.edges = portrait.edges;
        unit.forgotten_us = None;
        // Of a unit that an earlier hence knew, the files are not known.
        let changed = !fresh && !unit.files.is_empty() && unit.files != portrait.files;
        unit.files.clone_from(&portrait.files);
        unit.config = portrait.config;
        unit.cgroup = portrait.state.cgroup.clone().filter(|c| !c.is_empty()).or(unit.cgroup.take());
        unit.command = portrait.state.command.clone().or(unit.command.take());
        // Later its state is told by what changes: it was not loaded before, and so it was down.
        if fresh && !self.attached && !self.reattaching {
            unit.take(&name, &portrait.state);
        }
        let edges = unit.edges.clone();
        for (kind, other) in edges {
            // Units that were read before don't know of this one yet.
            if let Some(other) = self.units.get_mut(&other) {
                let edge = (kind.inverse(), name.clone());
                if !other.edges.contains(&edge) {
                    other.edges.push(edge);
                }
            }
        }
        if changed {
            let unit = self.units.get(&name);
            let load = unit.and_then(|u| u.config.as_ref()).map_or("loaded", |config| config.load.as_str());
            let fact = Fact::Loaded { load: load.into(), files: portrait.files, diagnostics: Vec::new() };
            let causes = self.reloading.map(|record| Cause { record, rule: None }).into_iter().collect();
            self.record(at, Some(&name), causes, Certainty::Observed, fact);
        }
    }

    /// The line by which `unit` carries this dependency on `other`, whichever of them declares it.
    pub(super) fn rule_of_edge(&self, unit: &str, kind: DependencyKind, other: &str) -> Option<Rule> {
        let own = self.units.get(unit).and_then(|u| u.declares(kind, other));
        let theirs = || self.units.get(other).and_then(|o| o.declares(kind.inverse(), unit));
        let plain = || {
            let (kind, other) = match is_declared(kind) {
                true => (kind, other),
                false => (kind.inverse(), unit),
            };
            Rule { directive: alloc::format!("{}={other}", kind.name()).into(), file: None, line: 0 }
        };
        Some(own.or_else(theirs).unwrap_or_else(plain))
    }
}

/// Whether files declare this kind, rather than its inverse.
fn is_declared(kind: DependencyKind) -> bool {
    use DependencyKind as K;
    matches!(
        kind,
        K::Requires
            | K::Requisite
            | K::Wants
            | K::BindsTo
            | K::PartOf
            | K::Upholds
            | K::Conflicts
            | K::OnFailure
            | K::OnSuccess
            | K::Triggers
            | K::PropagatesReloadTo
            | K::PropagatesStopTo
    )
}
