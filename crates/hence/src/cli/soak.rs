//! `hence soak`: units run for a while, faults are done to them, and the verdict says whether they are sound.
//! It reads the command line, and writes the answer as text, JSON, JUnit XML, a page and a baseline.

use super::{LedgerOption, Outcome};
use crate::exit::{NO_UNITS, Trouble, USAGE};
use crate::report;
use crate::report::time::span as shown;
use crate::soak::answer::{self, Told};
use crate::soak::baseline::{self, Baseline};
use crate::soak::plan::{self, About, Fault};
use crate::soak::{self, Options, Progress, junit, page, verdict};
use hence_unit::value;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The status where the units are not sound.
const FAILED: u8 = 1;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(250);

const HELP: &str = "\
Where no fault is named, the first half of the time is quiet, so that growth can be told from noise; then each
service is restarted, killed if it says that it comes back, and held by SIGSTOP while it stops. --no-faults
does nothing to them. Sentences:
  --kill       '[UNIT...] [main|control|all] [with SIGNAL] every TIME'
  --restart    '[UNIT...] every TIME'          without a unit: each that another one needs, in turn
  --slow-stop  '[UNIT...] [for TIME] every TIME'
  --full-disk  '[FOLDER] [for TIME] every TIME'  without a folder: the run's own TMPDIR
  --clock-jump 'TIME|-TIME every TIME'         sets the clock of the whole machine

Each fault is asked for by a process whose command line says which it is: hence why names it as the cause, and
what follows from it is no failure by itself. A full disk is a file system of 64 MiB in memory that only this
run sees; where that is not permitted, a limit on the size of files. A wall clock can be set for the whole
machine only, by who may; else it is said that it could not be.

A run ends early when a service fails in its first seconds, unless --keep-going. ^C ends it and gives the
verdict so far. Everything that was started is ended; the ledger goes too, unless --ledger names one.

Exit status:
  0  sound
  1  not sound, or worse than the baseline: the answer says why
  2  the command line, a sentence or the baseline can't be understood
  4  there is nothing to run
  5  the ledger can't be used
  6  the units can't be run here";

/// Runs units for a while, does things to them, and says whether they are sound.
///
/// Watches restarts, processes left behind, growth of memory, descriptors, sockets, threads, processes and
/// files, how long starts and stops take, and errors in logs. Needs neither root nor systemd.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Soak {
    /// Folders of units, or unit files.
    #[arg(value_name = "DIR|FILE", required = true)]
    paths: Vec<PathBuf>,
    /// How long.
    #[arg(long = "for", value_name = "TIME", default_value = "10min", value_parser = time)]
    duration: u64,
    /// Start this unit instead of what the folder says.
    #[arg(long, value_name = "UNIT")]
    unit: Vec<String>,
    /// A further folder to find units in.
    #[arg(long, value_name = "DIR")]
    unit_path: Vec<PathBuf>,
    /// Send signals: 'main every 30s'.
    #[arg(long, value_name = "SENTENCE")]
    kill: Vec<String>,
    /// Restart units: 'every 1min'.
    #[arg(long, value_name = "SENTENCE")]
    restart: Vec<String>,
    /// Restart units and hold their stops: 'for 2s every 1min'.
    #[arg(long, value_name = "SENTENCE")]
    slow_stop: Vec<String>,
    /// Leave no room on a disk: '/var/lib/foo for 5s every 1min'.
    #[arg(long, value_name = "SENTENCE")]
    full_disk: Vec<String>,
    /// Set the machine's clock: '1h every 5min'.
    #[arg(long, value_name = "SENTENCE", allow_hyphen_values = true)]
    clock_jump: Vec<String>,
    /// Do nothing to the units.
    #[arg(long, conflicts_with_all = ["kill", "restart", "slow_stop", "full_disk", "clock_jump"])]
    no_faults: bool,
    /// Look at how the files of this folder grow, too.
    #[arg(long, value_name = "DIR")]
    watch: Vec<PathBuf>,
    /// How often is measured [default: as fits the time]
    #[arg(long, value_name = "TIME", value_parser = time)]
    every: Option<u64>,
    /// Go on when a service fails in its first seconds.
    #[arg(long)]
    keep_going: bool,
    /// How to track processes [default: the best that is possible here]
    #[arg(long, value_name = "LEVEL", value_parser = ["cgroup", "ancestry"])]
    tracking: Option<String>,
    /// Compare with this run, and fail on what got worse.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what a later run is compared with, if this one is sound.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
    /// Write the answer as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the answer as a page with pictures, all in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show no progress.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    ledger: LedgerOption,
}

impl Soak {
    pub fn run(self) -> Outcome {
        let misuse = |message: String| Trouble::new(USAGE, message);
        let faults = self.faults().map_err(misuse)?;
        // Known before the time is spent.
        let before = self.baseline.as_deref().map(read).transpose().map_err(misuse)?;
        for file in [&self.save, &self.junit, &self.html].into_iter().flatten() {
            let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                return Err(misuse(format!("{}: there is no such folder", folder.display())));
            }
        }
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let options = Options {
            paths: self.paths.clone(),
            unit: self.unit.clone(),
            unit_path: self.unit_path.clone(),
            for_us: self.duration,
            every_us: self.every,
            faults,
            no_faults: self.no_faults,
            ledger: self.ledger.ledger.as_ref().map(absolute),
            tracking: self.tracking.clone(),
            keep_going: self.keep_going,
            watch: self.watch.iter().map(absolute).collect(),
        };
        let mut line = Line::new(self.quiet);
        let seen = soak::run(&options, &mut |progress| line.show(progress));
        line.clear();
        let seen = seen?;
        if seen.units.is_empty() {
            let refused = seen.story.units.values().find_map(|unit| unit.refused.clone());
            let why = refused.map(|message| format!(": {message}")).unwrap_or_default();
            return Err(Trouble::new(
                NO_UNITS,
                format!("no service of these units was there to be soaked{why}"),
            ));
        }
        let mut findings = verdict::judge(&seen);
        let now = Baseline::of(&seen);
        let changed = before.as_ref().map(|before| baseline::changes(&now, before));
        if let (Some(before), Some(changed)) = (&before, &changed) {
            findings.extend(baseline::compare(&seen, before, changed));
            findings.sort_by_key(|f| !f.fails);
        }
        let told = Told { run: &seen, findings: &findings, changed: changed.as_deref() };
        let write = |file: &Path, text: String| {
            std::fs::write(file, text).map_err(|e| misuse(format!("cannot write {}: {e}", file.display())))
        };
        if let Some(file) = &self.junit {
            write(file, junit::of(&seen, &findings, before.is_some()))?;
        }
        if let Some(file) = &self.html {
            write(file, page::of(&told))?;
        }
        if let Some(file) = &self.save {
            match told.fails() {
                true => {
                    eprintln!("hence: {} is not written: a run that fails is no baseline", file.display())
                }
                false => write(file, now.text())?,
            }
        }
        match self.json {
            true => report::print(format!("{}\n", answer::json(&told)).as_bytes())?,
            false => report::print(answer::page(&told).as_bytes())?,
        };
        Ok(if told.fails() { FAILED } else { 0 })
    }

    fn faults(&self) -> Result<Vec<Fault>, String> {
        let mut faults = Vec::new();
        for (about, sentences) in [
            (About::Kill, &self.kill),
            (About::Restart, &self.restart),
            (About::SlowStop, &self.slow_stop),
            (About::FullDisk, &self.full_disk),
            (About::ClockJump, &self.clock_jump),
        ] {
            for sentence in sentences {
                faults.push(plan::parse(about, sentence)?);
            }
        }
        Ok(faults)
    }
}

fn read(file: &Path) -> Result<Baseline, String> {
    let said = |e: std::io::Error| format!("{}: {e}", file.display());
    let mut text = String::new();
    std::fs::File::open(file).map_err(said)?.take(baseline::BYTES).read_to_string(&mut text).map_err(said)?;
    Baseline::parse(&text).map_err(|message| format!("{}: {message}", file.display()))
}

/// The line on a terminal that says how far it is.
struct Line {
    wanted: bool,
    at: Option<Instant>,
}

impl Line {
    fn new(quiet: bool) -> Line {
        Line { wanted: !quiet && std::io::stderr().is_terminal(), at: None }
    }

    fn show(&mut self, progress: Progress) {
        if !self.wanted || self.at.is_some_and(|at| at.elapsed() < PROGRESS) {
            return;
        }
        self.at = Some(Instant::now());
        let what = if progress.ending { "ending" } else { "soaking" };
        eprint!(
            "\r\x1b[K{what}: {} of {}, {} services, {} faults, {} failures by themselves",
            shown(progress.elapsed_us),
            shown(progress.for_us),
            progress.units,
            progress.faults,
            progress.failures
        );
        let _ = std::io::stderr().flush();
    }

    fn clear(&mut self) {
        if self.at.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// A span as unit files have it, in microseconds.
fn time(text: &str) -> Result<u64, String> {
    const LONGEST: u64 = 366 * 86_400 * 1_000_000;
    match value::span(text, 1_000_000) {
        Some(us) if us > 0 && us <= LONGEST => Ok(us),
        Some(_) => Err("between a moment and a year".into()),
        None => Err("write it as 30s, 10min or 2h".into()),
    }
}
