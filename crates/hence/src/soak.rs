//! `hence soak`: runs units for real, does things to them, and looks at what becomes of them. A hence of its
//! own runs them, as `hence run` does; this process asks it for faults as any client would, and measures from
//! outside. What is wrong with that is `verdict`'s to say.

pub mod answer;
pub mod baseline;
pub mod fault;
pub mod ground;
pub mod junit;
pub mod lines;
pub mod measure;
pub mod page;
pub mod plan;
pub mod story;
pub mod summary;
pub mod trend;
pub mod verdict;

use crate::control::Control;
use crate::exit::{HOST, NO_UNITS, Trouble};
use crate::units::{Sources, Units};
use fault::{Asking, Full};
use ground::{Scratch, Soaked};
use hence_bus::wire::Value;
use hence_host::Host;
use hence_host::sys::signal::{receive, take_over};
use hence_ledger::Tracking;
use hence_unit::config::{DirectoryKind, LoadState};
use hence_unit::{Config, UnitKind, UnitName};
use lines::Logs;
use measure::{Folder, Measures};
use plan::{Fault, Kind};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use story::Story;
use summary::{Run, Window};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(20);
/// Between two looks at which units there are.
const UNITS_US: u64 = 1_000_000;
/// Between two looks into the ledger, at least.
const LEDGER_US: u64 = 500_000;
/// Faults that are at work at the same time.
const AT_ONCE: usize = 32;
/// Faults that are on record at most.
const WINDOWS: usize = 100_000;
/// How long beyond their timeouts units may take to stop at the end.
const GRACE_US: u64 = 5_000_000;

/// What is to be done.
#[derive(Debug, Default)]
pub struct Options {
    pub paths: Vec<PathBuf>,
    pub unit: Vec<String>,
    pub unit_path: Vec<PathBuf>,
    pub for_us: u64,
    /// How often is measured; `None`: as fits the time.
    pub every_us: Option<u64>,
    pub faults: Vec<Fault>,
    /// Nothing is done to the units.
    pub no_faults: bool,
    pub ledger: Option<PathBuf>,
    pub tracking: Option<String>,
    pub keep_going: bool,
    /// Folders whose files are looked at.
    pub watch: Vec<PathBuf>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub elapsed_us: u64,
    pub for_us: u64,
    pub units: usize,
    pub faults: usize,
    pub failures: usize,
    pub ending: bool,
}

/// A fault and when it is next.
struct Planned {
    fault: Fault,
    next_us: u64,
    turn: usize,
}

struct Soak<'a> {
    options: &'a Options,
    scratch: &'a Scratch,
    soaked: Soaked,
    control: Control,
    loader: Units,
    configs: BTreeMap<String, Config>,
    services: Vec<String>,
    faults: Vec<Planned>,
    planned: bool,
    asking: Vec<Asking>,
    full: Option<(Full, u64)>,
    measures: Measures,
    logs: Logs,
    run: Run,
    failures: usize,
}

/// Runs the units and gives what was seen.
///
/// # Errors
/// There is nothing to run, or it can't be run here.
pub fn run(options: &Options, progress: &mut dyn FnMut(Progress)) -> Result<Run, Trouble> {
    let sources = Sources::new(&options.paths, &options.unit_path, false);
    let sources = sources.map_err(|m| Trouble::new(NO_UNITS, m))?;
    let loader = sources.loader();
    sources.to_start(&options.unit, &loader).map_err(|m| Trouble::new(NO_UNITS, m))?;
    let signals = take_over().map_err(|e| Trouble::new(HOST, format!("signals: {e}")))?;
    let scratch = Scratch::new(options.ledger.clone())?;
    let began_us = Host::now().monotonic_us;
    let soaked = Soaked::start(&arguments(options, &scratch), &scratch)?;
    let control = Control::connect(&scratch.socket()).map_err(|e| Trouble::new(HOST, e.to_string()))?;
    let own = Folder { path: scratch.tmp(), what: "TMPDIR".into(), ..Folder::default() };
    let named = options.watch.iter().map(|path| Folder {
        path: path.clone(),
        what: "the folder".into(),
        ..Folder::default()
    });
    let mut soak = Soak {
        options,
        scratch: &scratch,
        soaked,
        control,
        loader,
        configs: BTreeMap::new(),
        services: Vec::new(),
        faults: Vec::new(),
        planned: false,
        asking: Vec::new(),
        full: None,
        measures: Measures::new(std::iter::once(own).chain(named).collect()),
        logs: Logs::default(),
        run: Run { began_us, ..Run::default() },
        failures: 0,
    };
    soak.notes_of_disks();
    soak.until_over(&signals, progress)?;
    soak.end(&signals, progress);
    soak.finish()
}

/// What the hence that runs the units is called with.
fn arguments(options: &Options, scratch: &Scratch) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
    options.unit.iter().for_each(|unit| add("--unit", unit.into()));
    options.unit_path.iter().for_each(|path| add("--unit-path", path.into()));
    options.tracking.iter().for_each(|level| add("--tracking", level.into()));
    for fault in &options.faults {
        if let Kind::FullDisk { folder, .. } = &fault.kind {
            add("--bounded", folder.clone().unwrap_or_else(|| scratch.tmp()).into());
        }
    }
    arguments.extend(options.paths.iter().map(|path| path.clone().into_os_string()));
    arguments
}

impl Soak<'_> {
    fn now(&self) -> u64 {
        Host::now().monotonic_us
    }

    fn elapsed(&self) -> u64 {
        self.now().saturating_sub(self.run.began_us)
    }

    fn note(&mut self, note: String) {
        if !self.run.notes.contains(&note) && self.run.notes.len() < 50 {
            self.run.notes.push(note);
        }
    }

    fn notes_of_disks(&mut self) {
        for line in self.scratch.said().lines().filter(|line| line.contains("no disk can be bounded")) {
            let line = line.strip_prefix("hence: ").unwrap_or(line);
            self.note(format!(
                "{line}. A full disk is played by a limit on the size of files instead: writes fail with \
                 EFBIG, and a program that doesn't ignore SIGXFSZ is killed by it"
            ));
        }
    }

    /// Runs until the time is over, somebody ends it, or nothing more is to be learnt.
    fn until_over(&mut self, signals: &OwnedFd, progress: &mut dyn FnMut(Progress)) -> Result<(), Trouble> {
        let every = self.options.every_us.unwrap_or((self.options.for_us / 400).clamp(100_000, 5_000_000));
        let (mut sample, mut units, mut ledger) = (0, 0, 0);
        while self.elapsed() < self.options.for_us {
            if receive(signals.as_fd()).any(|signal| matches!(signal.signal, 1 | 2 | 15)) {
                self.run.cut = Some(format!("it was ended after {}", brief(self.elapsed())));
                break;
            }
            if self.soaked.ended().is_some() {
                let said = self.scratch.said();
                return Err(Trouble::new(HOST, format!("hence ended before its time: {}", said.trim())));
            }
            let now = self.elapsed();
            if now >= units {
                self.look_for_units();
                units = now + if self.planned { UNITS_US } else { UNITS_US / 10 };
            }
            if now >= sample {
                let (root, at) = (self.soaked.root(), self.now());
                self.measures.take(&mut self.control, &self.services, &root, at);
                self.logs.read(&self.scratch.ledger, &self.services);
                sample = now + every;
            }
            if now >= ledger {
                let begun = Instant::now();
                if self.is_hopeless() {
                    break;
                }
                let cost = begun.elapsed().as_micros() as u64;
                ledger = self.elapsed() + LEDGER_US.max(cost * 20);
            }
            self.do_faults();
            progress(self.progress(false));
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn progress(&self, ending: bool) -> Progress {
        Progress {
            elapsed_us: self.elapsed(),
            for_us: self.options.for_us,
            units: self.services.len(),
            faults: self.run.windows.len(),
            failures: self.failures,
            ending,
        }
    }

    /// Which services there are; and the plan, as soon as nothing is queued any more.
    fn look_for_units(&mut self) {
        let Ok(answer) = self.control.ask("ListUnits", Vec::new()) else { return };
        for row in answer.first().map_or(&[][..], Value::items) {
            let name = row.items().first().and_then(Value::as_str).and_then(UnitName::new);
            let Some(name) = name.filter(|name| name.kind() == UnitKind::Service) else { continue };
            if self.configs.contains_key(name.as_str()) {
                continue;
            }
            let config = self.loader.read(&name).0;
            if config.load == LoadState::Loaded {
                self.measures.folders.extend(folders(&config));
                self.configs.insert(name.as_str().to_owned(), config);
                self.services.push(name.as_str().to_owned());
            }
        }
        let jobs = self.control.ask("ListJobs", Vec::new());
        let queued = jobs.is_ok_and(|jobs| jobs.first().is_some_and(|list| !list.items().is_empty()));
        let patience = (self.options.for_us / 5).min(30_000_000);
        if !self.planned && !self.services.is_empty() && (!queued || self.elapsed() > patience) {
            self.planned = true;
            self.plan();
        }
    }

    fn plan(&mut self) {
        let configs: Vec<Config> = self.configs.values().cloned().collect();
        let targets = plan::targets(&configs);
        let settled = self.elapsed();
        let mut faults = self.options.faults.clone();
        if faults.is_empty() && !self.options.no_faults {
            let (own, note) = plan::of_its_own(&targets, self.options.for_us, settled);
            faults = own;
            note.into_iter().for_each(|note| self.note(note));
        }
        for mut fault in faults {
            fault.units = plan::concerned(&fault, &targets);
            let asks = !matches!(fault.kind, Kind::FullDisk { .. } | Kind::ClockJump { .. });
            if fault.units.is_empty() && asks {
                self.note("no service is there that the faults could be done to".into());
                continue;
            }
            for unit in fault.units.iter().filter(|unit| !self.configs.contains_key(unit.as_str())) {
                self.run.notes.push(format!("{unit}: there is no such service in this run; faults miss it"));
            }
            let next_us = fault.from_us.unwrap_or(settled + fault.every_us);
            self.faults.push(Planned { fault, next_us, turn: 0 });
        }
    }

    fn do_faults(&mut self) {
        let now = self.elapsed();
        if self.full.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.full = None;
        }
        if let Some((full, _)) = &mut self.full
            && let Err(message) = full.top_up()
        {
            self.note(format!("the disk did not stay full: {message}"));
        }
        let ended = self.asking.iter_mut().map(Asking::ended).collect::<Vec<_>>();
        for message in ended.iter().flatten().filter_map(|result| result.as_ref().err()) {
            self.note(format!("a fault could not be done: {message}"));
        }
        let mut nth = 0;
        self.asking.retain(|_| {
            nth += 1;
            ended[nth - 1].is_none()
        });
        // The last ones need time to show what follows from them.
        let rest = (self.options.for_us / 20).min(5_000_000);
        if now.saturating_add(rest) > self.options.for_us {
            return;
        }
        for nth in 0..self.faults.len() {
            let planned = &mut self.faults[nth];
            if planned.next_us > now {
                continue;
            }
            let every = planned.fault.every_us.max(1);
            planned.next_us += every * ((now - planned.next_us) / every + 1);
            let unit = planned.fault.units.get(planned.turn % planned.fault.units.len().max(1)).cloned();
            planned.turn += 1;
            let kind = planned.fault.kind.clone();
            self.do_fault(&kind, unit.as_ref());
        }
    }

    fn do_fault(&mut self, kind: &Kind, unit: Option<&UnitName>) {
        let name = unit.map_or("", UnitName::as_str);
        let from_us = self.now();
        let mut window = Window {
            from_us,
            to_us: from_us,
            words: kind.words(name),
            unit: unit.map(|unit| unit.as_str().to_owned()),
        };
        let done = match kind {
            Kind::Kill { .. } | Kind::Restart | Kind::SlowStop { .. } => {
                if let Kind::SlowStop { hold_us } = kind {
                    window.to_us += hold_us;
                }
                match self.asking.len() < AT_ONCE {
                    true => {
                        Asking::start(kind, name, &self.scratch.socket()).map(|one| self.asking.push(one))
                    }
                    false => Err("too many faults are still at work; space them by more".into()),
                }
            }
            Kind::FullDisk { folder, hold_us } => {
                window.to_us += hold_us;
                let until = self.elapsed() + hold_us;
                self.fill(folder.clone()).map(|full| self.full = Some((full, until)))
            }
            Kind::ClockJump { by_us } => fault::jump(*by_us),
        };
        match done {
            Ok(()) if self.run.windows.len() < WINDOWS => self.run.windows.push(window),
            Ok(()) => {}
            Err(message) => self.note(format!("a fault could not be done: {message}")),
        }
    }

    fn fill(&mut self, folder: Option<PathBuf>) -> Result<Full, String> {
        let folder = folder.unwrap_or_else(|| self.scratch.tmp());
        let below = folder.strip_prefix("/").unwrap_or(&folder);
        let seen = self.soaked.root().join(below);
        // Only a disk of the run's own is filled, never the machine's.
        use std::os::unix::fs::MetadataExt;
        let device = |path: &std::path::Path| std::fs::metadata(path).map(|about| about.dev()).ok();
        if device(&seen).is_some() && device(&seen) != device(&folder) {
            return fault::fill(&seen);
        }
        let mut processes = Vec::new();
        for unit in &self.services {
            processes.extend(fault::processes(&mut self.control, unit).unwrap_or_default());
        }
        fault::limit(&processes)
    }

    /// Whether a unit failed as soon as it was started: then the verdict is there.
    fn is_hopeless(&mut self) -> bool {
        let Ok(story) = Story::read(&self.scratch.ledger) else { return false };
        // Only then hence can't list the processes of a unit.
        let by_parents = story.tracking == Some(Tracking::Ancestry);
        self.measures.hence = by_parents.then(|| self.soaked.pid());
        let unrequested = story.units.values().flat_map(|u| &u.failures).filter(|f| f.why.is_unrequested());
        self.failures = unrequested.count();
        if self.options.keep_going {
            return false;
        }
        let known = |name: &str| self.configs.contains_key(name);
        let Some(name) = verdict::hopeless(&story, known) else { return false };
        self.run.cut = Some(format!("{name} failed in its first seconds; --keep-going goes on all the same"));
        true
    }

    /// Ends the run in order.
    fn end(&mut self, signals: &OwnedFd, progress: &mut dyn FnMut(Progress)) {
        self.full = None;
        self.asking.drain(..).for_each(Asking::end);
        self.run.ended_us = self.now();
        self.soaked.stop();
        let timeouts = self.configs.values().filter_map(Config::service).map(|s| s.timeout_stop);
        let patience = timeouts.max().unwrap_or_default().min(300_000_000).saturating_add(GRACE_US);
        while self.soaked.ended().is_none() {
            progress(self.progress(true));
            let impatient = receive(signals.as_fd()).any(|signal| matches!(signal.signal, 1 | 2 | 15));
            if impatient || self.now().saturating_sub(self.run.ended_us) > patience {
                self.note("units did not stop in their time at the end, and were killed".into());
                self.soaked.kill();
                break;
            }
            std::thread::sleep(TICK);
        }
    }

    /// Reads what there is to be read, and ends what was left behind.
    fn finish(mut self) -> Result<Run, Trouble> {
        let until = self.now().saturating_add(GRACE_US);
        while !hence_host::store::is_complete(&self.scratch.ledger) && self.now() < until {
            std::thread::sleep(TICK);
        }
        self.logs.read(&self.scratch.ledger, &self.services);
        let mut story = Story::read(&self.scratch.ledger)?;
        ground::end_all(&story);
        story.read_inputs();
        let now = Host::now();
        let offset = now.realtime_us as i64 - now.monotonic_us as i64;
        let mut run = self.run;
        run.tracking = story.tracking.map_or(String::new(), |t| t.to_string());
        // Units whose start never got so far are judged too.
        let configs = story.units.keys().filter_map(|name| {
            let known = self.configs.get(name).cloned();
            let unit = UnitName::new(name).filter(|n| n.kind() == UnitKind::Service);
            let config = known.or_else(|| Some(self.loader.read(&unit?).0));
            config.filter(|c| c.load != LoadState::NotFound).map(|config| (name.clone(), config))
        });
        let configs: BTreeMap<String, Config> = configs.collect();
        (run.units, run.folders, run.story) =
            summary::summarize(story, self.measures, self.logs, &configs, offset);
        run.ledger = self.options.ledger.as_ref().map(|path| path.display().to_string());
        Ok(run)
    }
}

/// The folders that a unit's files go to.
fn folders(config: &Config) -> Vec<Folder> {
    let Some(service) = config.service() else { return Vec::new() };
    let roots: [PathBuf; 5] = match rustix::process::geteuid().is_root() {
        true => ["/run", "/var/lib", "/var/cache", "/var/log", "/etc"].map(PathBuf::from),
        false => crate::run::user_roots(),
    };
    let unit = Some(config.id().as_str().to_owned());
    let of = |path: PathBuf, what: &str| Folder {
        path,
        unit: unit.clone(),
        what: what.to_owned(),
        ..Folder::default()
    };
    let own = service.context.directories.iter().filter_map(|directory| {
        let (root, what) = match directory.kind {
            DirectoryKind::Runtime => (&roots[0], "RuntimeDirectory="),
            DirectoryKind::State => (&roots[1], "StateDirectory="),
            DirectoryKind::Cache => (&roots[2], "CacheDirectory="),
            DirectoryKind::Logs => (&roots[3], "LogsDirectory="),
            DirectoryKind::Configuration => return None,
        };
        Some(of(root.join(&*directory.name), what))
    });
    let shared = ["/", "/tmp", "/var", "/var/tmp", "/usr", "/home", "/root", "/etc", "/run", "/opt", "/srv"];
    let working = service.context.working_directory.as_deref();
    let working = working.filter(|path| path.starts_with('/') && !shared.contains(path));
    own.chain(working.map(|path| of(path.into(), "WorkingDirectory="))).collect()
}

fn brief(us: u64) -> String {
    crate::report::time::span(us)
}
