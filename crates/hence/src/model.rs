//! The engine as the D-Bus front sees it: answers to its questions from the engine's state, the units'
//! configurations and what a [`Runtime`] says of the machine. It changes nothing, except that asking for a
//! unit may have its files read.

pub mod files;
mod view;

pub use view::{changing_view, unit_view};

use crate::front_link::Registry;
use crate::live_files::{Read, Unmade};
use hence_bus::front::{
    ErrorName, JobView, ManagerView, Model, ProcessView, Refusal, UnitFileView, UnitRow, UnitView,
};
use hence_engine::{Engine, Job, UnitId};
use hence_ledger::{ActiveState, Client, JobType, Verb};
use hence_unit::config::Environs;
use hence_unit::install::{InstallPaths, Step};
use hence_unit::{Atom, LoadState, SourceRole, UnitName};

/// What a unit's control group holds and uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Path below the root of the hierarchy; empty where there is none.
    pub control_group: String,
    /// Tasks.
    pub tasks_current: Option<u64>,
    /// Memory in use, bytes.
    pub memory_current: Option<u64>,
    /// CPU time, nanoseconds.
    pub cpu_usage_ns: Option<u64>,
}

/// Standard input, output and error that a client sent.
pub type SentStreams = hence_host::SentStreams;

/// The engine together with the host that it decides for.
pub trait Runtime: Registry {
    /// The engine.
    fn engine(&self) -> &Engine;
    /// CLOCK_MONOTONIC, in microseconds.
    fn now_us(&self) -> u64;
    /// Makes a unit known and has its files read. `None` where it has none: then the engine is not told of
    /// it, so that questions about names that mean nothing cost no memory. It is called while the link is at
    /// work: records and effects beyond the reading of files wait until the link has returned.
    fn load(&mut self, name: &UnitName) -> Option<UnitId>;
    /// What a unit uses now.
    fn usage(&self, unit: UnitId) -> Usage;
    /// Reads all unit files anew, because this client asked for it.
    ///
    /// # Errors
    /// The refusal that the client is told.
    fn reload(&mut self, client: Client) -> Result<(), Refusal>;
    /// Has the program executed anew, because this client asked for it. Where that is done, the client's
    /// connection ends; it is not answered.
    ///
    /// # Errors
    /// The refusal that the client is told.
    fn reexecute(&mut self, _client: Client) -> Result<(), Refusal> {
        Err(Refusal::new(
            hence_bus::front::ErrorName::NotSupported,
            "Nothing is known of the program's file.",
        ))
    }
    /// Makes the file of a transient unit, and reads it.
    ///
    /// # Errors
    /// A value is of no use, or the system refuses.
    fn make_unit(&mut self, _name: &UnitName, _text: &str) -> Result<Read, Unmade> {
        Err(Unmade::System(std::io::ErrorKind::Unsupported.into()))
    }
    /// Removes the file of a transient unit that came to nothing.
    fn unmake_unit(&mut self, _name: &UnitName) {}
    /// Writes drop-ins of a unit, that is transient or not, for now or for good; and reads it anew.
    ///
    /// # Errors
    /// The system refuses.
    fn write_drop_ins(
        &mut self,
        _unit: (&UnitName, bool),
        _for_now: bool,
        _texts: &[(String, String)],
    ) -> Result<Read, Unmade> {
        Err(Unmade::System(std::io::ErrorKind::Unsupported.into()))
    }
    /// Processes of this unit are to be started with these standard streams.
    fn send_streams(&mut self, _unit: &UnitName, _streams: SentStreams) {}
    /// A client needs the unit to stay loaded, or no longer does.
    fn hold(&mut self, _unit: &UnitName, _hold: bool) {}
    /// The unit that this control group belongs to.
    fn unit_of_group(&self, _path: &str) -> Option<UnitId> {
        None
    }
    /// The processes of a unit.
    fn processes(&self, unit: UnitId) -> Vec<ProcessView>;
    /// The unit that a process belongs to, by its control group or its ancestry.
    fn unit_of_pid(&self, pid: u32) -> Option<UnitId>;
    /// Whether the files of a unit changed since they were read.
    fn is_stale(&self, unit: UnitId) -> bool;
    /// The folders of unit files, first the ones that win.
    fn unit_folders(&self) -> Vec<String>;
    /// Where unit files lie, and what specifiers stand for.
    fn install(&self) -> (InstallPaths, Environs);
    /// UnitFileState and UnitFilePreset of a unit that has a file; they may be as old as the last reload.
    fn file_state(&mut self, unit: &UnitName) -> (String, String);
    /// Changes unit files, because this client asked for that with this verb and these units.
    ///
    /// # Errors
    /// The refusal that the client is told.
    fn change_files(
        &mut self,
        client: Client,
        verb: Verb,
        units: &[UnitName],
        steps: (&InstallPaths, &[Step]),
    ) -> Result<(), Refusal>;
    /// 32 hexadecimal digits.
    fn machine_id(&self) -> String;
    /// Fills in what the engine does not know: moments of the start, environment, our control group, counts
    /// of jobs, defaults; and the state of the whole, where that is not for the units and jobs to say.
    fn describe(&self, view: &mut ManagerView);
}

/// Answers the front's questions.
pub struct EngineModel<'a> {
    /// Who knows.
    pub runtime: &'a mut dyn Runtime,
}

impl EngineModel<'_> {
    /// A unit that is known, or becomes so.
    fn known(&mut self, name: &UnitName, load: bool) -> Option<UnitId> {
        let engine = self.runtime.engine();
        let found = engine.find(name.as_str());
        let unread =
            |id: UnitId| matches!(engine.unit(id).config.load, LoadState::Stub | LoadState::NotFound);
        if load && found.is_none_or(unread) { self.runtime.load(name).or(found) } else { found }
    }
}

impl Model for EngineModel<'_> {
    fn unit(&mut self, name: &str, load: bool) -> Result<Option<UnitView>, Refusal> {
        let Some(name) = UnitName::new(name) else { return Ok(None) };
        if name.is_template() {
            let text = format!("Unit name {name} is missing the instance name.");
            return Err(Refusal::new(ErrorName::InvalidArgs, text));
        }
        match self.known(&name, load) {
            None if load => {
                let mut view = UnitView::new(name.kind(), name.as_str());
                view.load_error = view::load_error(LoadState::NotFound, &view.row.id);
                Ok(Some(view))
            }
            None => Ok(None),
            Some(id) => Ok(Some(unit_view(self.runtime.engine(), id))),
        }
    }

    fn glance(&mut self, name: &str) -> Option<UnitView> {
        let engine = self.runtime.engine();
        let id = engine.find(name)?;
        let read = !matches!(engine.unit(id).config.load, LoadState::Stub | LoadState::NotFound);
        read.then(|| changing_view(engine, id))
    }

    fn measure(&mut self, view: &mut UnitView) {
        let Some(id) = self.runtime.engine().find(&view.row.id) else { return };
        view::add_usage(view, self.runtime.usage(id));
        view.need_daemon_reload = self.runtime.is_stale(id);
        let config = &self.runtime.engine().unit(id).config;
        if config.sources.iter().any(|source| source.role == SourceRole::Fragment) {
            let name = config.id().clone();
            (view.unit_file_state, view.unit_file_preset) = self.runtime.file_state(&name);
        }
    }

    fn units(&mut self) -> Vec<UnitRow> {
        let engine = self.runtime.engine();
        // What was first known by an alias stays behind as a stub; its name leads elsewhere.
        let own = |u: &&hence_engine::Unit| engine.find(u.name().as_str()) == Some(u.id);
        engine.units().filter(own).map(|u| view::row(engine, u)).collect()
    }

    fn jobs(&mut self) -> Vec<JobView> {
        let engine = self.runtime.engine();
        engine.jobs().map(|job| job_view(engine, job)).collect()
    }

    fn unit_of_pid(&mut self, pid: u32) -> Option<String> {
        unit_of_pid(self.runtime, pid).map(|id| self.runtime.engine().unit(id).name().as_str().to_owned())
    }

    fn processes(&mut self, unit: &str) -> Vec<ProcessView> {
        let engine = self.runtime.engine();
        engine.find(unit).map(|id| self.runtime.processes(id)).unwrap_or_default()
    }

    fn overview(&mut self) -> ManagerView {
        let engine = self.runtime.engine();
        let failed = engine.units().filter(|u| u.active_state() == ActiveState::Failed).count();
        let jobs = engine.jobs().count();
        let mut view = ManagerView {
            // The number first: clients read from it what they may ask for, as runc does.
            version: concat!("252 (hence ", env!("CARGO_PKG_VERSION"), ")").into(),
            architecture: architecture().into(),
            limits: view::limits(&[]),
            n_names: count(engine.unit_count()),
            n_failed_units: count(failed),
            n_jobs: count(jobs),
            unit_path: self.runtime.unit_folders(),
            log_level: "info",
            log_target: "journal",
            default_timeout_start_us: 90_000_000,
            default_timeout_stop_us: 90_000_000,
            default_restart_us: 100_000,
            default_start_limit_interval_us: 10_000_000,
            default_start_limit_burst: 5,
            ..ManagerView::default()
        };
        self.runtime.describe(&mut view);
        let started = view.finish.monotonic_us > 0;
        view.progress = match view.n_installed_jobs {
            total if !started && total > 0 => 1.0 - jobs as f64 / f64::from(total).max(jobs as f64),
            _ => 1.0,
        };
        if view.system_state.is_empty() {
            view.system_state = match () {
                () if !started && jobs > 0 => "starting",
                () if failed > 0 => "degraded",
                () => "running",
            };
        }
        view
    }

    fn machine_id(&mut self) -> String {
        self.runtime.machine_id()
    }

    fn unit_files(&mut self) -> Vec<UnitFileView> {
        files::all(self.runtime)
    }

    fn unit_file_state(&mut self, name: &str) -> Result<String, Refusal> {
        files::state(name, self.runtime)
    }

    fn unit_file_links(&mut self, name: &str, runtime: bool) -> Result<Vec<String>, Refusal> {
        files::links(name, runtime, self.runtime)
    }

    fn default_target(&mut self) -> Result<String, Refusal> {
        files::default_target(self.runtime)
    }

    fn unit_of_invocation(&mut self, invocation: [u8; 16]) -> Option<String> {
        let of = |u: &&hence_engine::Unit| u.invocation.is_some_and(|own| own.0 == invocation);
        self.runtime.engine().units().find(of).map(|u| u.name().as_str().to_owned())
    }

    fn unit_of_group(&mut self, path: &str) -> Option<String> {
        let found = self.runtime.unit_of_group(path)?;
        Some(self.runtime.engine().unit(found).name().as_str().to_owned())
    }

    fn related_jobs(&mut self, job: u32, after: bool) -> Vec<JobView> {
        let engine = self.runtime.engine();
        let Some(own) = engine.job(hence_engine::JobId(job)) else { return Vec::new() };
        let mut related: Vec<JobView> = Vec::new();
        for edge in &engine.unit(own.unit).edges {
            let ordered_after = edge.kind.has(Atom::After);
            if !ordered_after && !edge.kind.has(Atom::Before) {
                continue;
            }
            let Some(other) = engine.unit(edge.other).job.and_then(|id| engine.job(id)) else { continue };
            let (own_waits, other_waits) = who_waits(own.job_type, other.job_type, ordered_after);
            let wanted = if after { own_waits } else { other_waits };
            if wanted && !related.iter().any(|known| known.id == other.id.0) {
                related.push(job_view(engine, other));
            }
        }
        related
    }
}

/// Of two ordered jobs, which waits for the other: stops go first; systemd.unit(5), Before= and After=.
fn who_waits(own: JobType, other: JobType, own_after: bool) -> (bool, bool) {
    let stops = |t| matches!(t, JobType::Stop | JobType::Restart);
    if own == JobType::Nop || other == JobType::Nop {
        return (false, false);
    }
    let own_waits = if own_after { !stops(own) } else { stops(other) };
    (own_waits, !own_waits)
}

/// The unit of a process: as the engine knows it, else as the host finds it.
pub fn unit_of_pid(runtime: &dyn Runtime, pid: u32) -> Option<UnitId> {
    runtime.engine().unit_of_process(pid).or_else(|| runtime.unit_of_pid(pid))
}

/// A job as clients see it.
pub fn job_view(engine: &Engine, job: &Job) -> JobView {
    JobView {
        id: job.id.0,
        unit: engine.unit(job.unit).name().as_str().to_owned(),
        job_type: job.job_type.as_str(),
        state: job.state.as_str(),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// systemd's word for the architecture that we were built for.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}
