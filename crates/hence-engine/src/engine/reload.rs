//! All unit files are read anew while everything runs: systemctl(1), daemon-reload.
//!
//! Configurations are exchanged; processes, jobs, states, counters, times and open sockets stay. It comes
//! in three steps, between which nothing is decided: [`Event::ReloadBegun`], an [`Event::Reread`] for each
//! unit that may be another one now, [`Event::ReloadEnded`].

use super::Engine;
use crate::job::is_up;
use crate::unit::State;
use crate::{Effect, JobId, JobState, UnitId};
use alloc::{boxed::Box, format, sync::Arc, vec, vec::Vec};
use hence_ledger::{Cause, Client, Fact, FileIdentity, JobResult, RecordId, SubState, Verb};
use hence_unit::{Atom, Config, LoadState, config::JobMode, implied};

/// A reload that has begun.
#[derive(Clone, Debug)]
pub(crate) struct Reload {
    /// The request.
    record: RecordId,
    /// Units whose files say or are something else now.
    changed: Vec<(UnitId, Box<Config>, Vec<FileIdentity>)>,
}

impl Engine {
    pub(super) fn reload_begun(&mut self, client: Client) {
        let fact = Fact::Request { verb: Verb::DaemonReload, mode: JobMode::default(), client };
        let record = self.record(None, Vec::new(), fact);
        self.reload = Some(Reload { record, changed: Vec::new() });
    }

    /// What a unit's files say now. Nothing is exchanged before all have been read.
    pub(super) fn reread(&mut self, unit: UnitId, mut config: Box<Config>, files: Vec<FileIdentity>) {
        if self.is_vacant(unit) {
            return;
        }
        let u = &self.units[unit.0 as usize];
        if config.id() != u.name() {
            // Its name is an alias of another unit now. What runs under it goes on without a file.
            let mut gone = Config::stub(u.name().clone());
            gone.load = LoadState::NotFound;
            config = Box::new(gone);
        }
        if u.config.load == LoadState::Stub || (*u.config == *config && *u.files == *files) {
            return;
        }
        if let Some(reload) = &mut self.reload {
            reload.changed.push((unit, config, files));
        }
    }

    /// Exchanges the configurations, makes the dependencies of all units anew, and has what is being waited
    /// for follow the new lines.
    pub(super) fn reload_ended(&mut self) {
        let Some(Reload { record, changed }) = self.reload.take() else { return };
        if changed.is_empty() {
            return self.look_anew(record);
        }
        let mut news: Vec<(UnitId, RecordId)> = Vec::with_capacity(changed.len());
        for (unit, config, files) in changed {
            self.exchange(unit, *config, files);
            news.push((unit, self.tell_reread(unit, record)));
        }
        self.link_anew();
        for (unit, record) in news {
            self.wait_anew(unit, record);
        }
        self.drop_cycles(record);
        let waiting: Vec<_> =
            self.jobs.values().filter(|j| j.state == JobState::Waiting).map(|j| j.id).collect();
        for job in waiting {
            // What it waited for may stand in its way no longer.
            self.enqueue_job(job);
        }
        for index in 0..self.units.len() {
            self.let_go(UnitId(index as u32));
        }
        self.look_anew(record);
    }

    /// What follows from dependencies at all times holds after each reload, as with systemd: BindsTo=,
    /// Upholds= and StopWhenUnneeded= of what is up.
    fn look_anew(&mut self, record: RecordId) {
        for unit in &mut self.units {
            unit.uphold_anew();
            if !is_up(unit.active_state()) {
                continue;
            }
            let holds = |atom| unit.edges.iter().any(|edge| edge.kind.has(atom));
            if holds(Atom::CannotBeActiveWithout) || holds(Atom::StartSteadily) {
                self.steady.push((unit.id, record));
            }
            if unit.config.flags.stop_when_unneeded {
                self.unneeded.push((unit.id, Some(record)));
            }
        }
    }

    fn exchange(&mut self, unit: UnitId, mut config: Config, files: Vec<FileIdentity>) {
        for alias in self.units[unit.0 as usize].config.aliases.clone() {
            if !config.aliases.contains(&alias) && self.names.get(&alias) == Some(unit) {
                self.names.remove(&alias);
            }
        }
        for alias in &config.aliases {
            match self.names.get(alias) {
                Some(other) if other != unit && self.is_only_a_name(other) => {
                    self.names.insert(alias.clone(), unit);
                    self.may_go(other);
                }
                _ => self.names.insert_new(alias, unit),
            }
        }
        self.alike.share(&mut config);
        let u = &mut self.units[unit.0 as usize];
        u.files = files.into();
        u.files_changed = true;
        u.set_config(Arc::new(config));
    }

    /// The record that says that a unit's files are others: the cause of what follows from their lines.
    pub(super) fn tell_reread(&mut self, unit: UnitId, reload: RecordId) -> RecordId {
        let u = &mut self.units[unit.0 as usize];
        u.untold = false;
        let fact = u.loaded_fact();
        self.record(Some(unit), vec![Cause { record: reload, rule: None }], fact)
    }

    /// Makes all dependencies anew. A default dependency may be void or not for the sake of either unit, so
    /// that units whose files didn't change can have others too.
    fn link_anew(&mut self) {
        for unit in &mut self.units {
            unit.edges.clear();
        }
        for index in 0..self.units.len() {
            let id = UnitId(index as u32);
            let config = self.units[index].config.clone();
            for (at, dependency) in config.dependencies.iter().enumerate() {
                let other = self.reference(&dependency.other);
                let known = &self.units[other.0 as usize].config;
                if known.load == LoadState::Stub || !implied::is_void(&config, dependency, known) {
                    self.add_edge(id, dependency.kind, other, at as u16);
                }
            }
        }
        for index in 0..self.units.len() {
            let id = UnitId(index as u32);
            self.units[index].edges.shrink_to_fit();
            let Some(monitored) = self.units[index].monitored else { continue };
            let starts = |atom| !self.is_vacant(monitored) && self.is_linked(monitored, atom, id);
            if !starts(Atom::OnFailure) && !starts(Atom::OnSuccess) {
                self.units[index].monitored = None;
            }
        }
    }

    /// Jobs that wait for each other by the new dependencies would do so for ever: one of them is dropped,
    /// as it would have been, had it been asked for now.
    pub(super) fn drop_cycles(&mut self, reload: RecordId) {
        while let Some((path, text)) = self.installed_cycle() {
            let waits = |id: &JobId| self.jobs.get(id).is_some_and(|j| j.state == JobState::Waiting);
            let jobs = path.iter().filter_map(|unit| self.units[unit.0 as usize].job);
            let Some(id) = jobs.clone().find(waits).or_else(|| jobs.clone().next()) else { return };
            let (unit, job_type) = (self.jobs[&id].unit, self.jobs[&id].job_type);
            let reason = format!("ordering cycle {text}").into();
            let causes = vec![Cause { record: reload, rule: None }];
            let record = self.record(Some(unit), causes, Fact::JobDropped { job_type, reason });
            self.finish_job(id, JobResult::Canceled, true, vec![Cause { record, rule: None }]);
        }
    }

    /// Timers, paths and timeouts follow their new lines at once; sockets stay open as they are.
    pub(super) fn wait_anew(&mut self, unit: UnitId, record: RecordId) {
        if self.units[unit.0 as usize].config.load == LoadState::Loaded {
            self.rearm_job(unit);
        }
        let u = &self.units[unit.0 as usize];
        match (&u.state, u.sub_state()) {
            (State::Timer(_), SubState::Waiting | SubState::Elapsed) => {
                self.rearm_timer(unit, Cause { record, rule: None });
            }
            (State::Path(_), SubState::Waiting) => {
                let config = Some(u.config.clone());
                self.effect(Effect::WatchPaths { unit, config });
            }
            // What runs without a file keeps what was armed by it.
            _ if u.config.load != LoadState::Loaded => {}
            (State::Service(_), _) => {
                self.rearm_service(unit);
                self.rearm_watchdog(unit);
            }
            (State::Socket(_), _) => self.rearm_socket(unit),
            (State::Scope(_), _) => self.rearm_scope(unit),
            (State::Mount(_) | State::Swap(_), _) => self.rearm_command(unit),
            _ => {}
        }
    }
}
