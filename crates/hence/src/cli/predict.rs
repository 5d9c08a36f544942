//! `hence predict`: what a set of units would do, in virtual time. It reads the command line, has the engine
//! predict, and shows the answer as text, JSON or a page.

use super::Outcome;
use crate::exit::{Trouble, USAGE};
use crate::predict::{self, Live};
use crate::report;
use crate::units::Sources;
use hence_engine::predict::{Ask, Question, predict as foretell, sentence};
use hence_engine::sim::caps::Rule;
use hence_unit::{UnitName, value};
use std::path::PathBuf;

/// Memory of a process where nobody says, in bytes.
const PER_PROCESS: u64 = 4 << 20;
/// systemd's deadlines are taken together in such slots, in microseconds; sd_event_add_time(3).
const SLOT_US: u64 = 250_000;
/// The status where something bad is predicted.
const PREDICTED: u8 = 1;

const HELP: &str = "\
A sentence of --if has one of these forms; several go apart by ; or by repeating --if:
  UNIT exits STATUS [after T] [every time|once|N times]
  UNIT is killed by SIGNAL [after T] [every time|once|N times]
  UNIT hangs [every time|once|N times]
  UNIT fails to start [every time|once|N times]
  UNIT stops answering [after T] [every time|once|N times]      (WatchdogSec=)
  UNIT forks N processes and leaves them
  traffic on X.socket every T

What programs do where no sentence says: simple, exec, notify and dbus services run for ever and become ready
at once; oneshot ends with status 0; forking leaves its child as main process; a service with WatchdogSec=
gives its signs of life. A shell script that starts a process and waits for it has a child; so has, where it
can't be read, the program of a service with KillMode=process or none. Conditions hold. What was guessed is
listed in the answer.

Exit status:
  0  nothing bad is predicted
  1  trouble is predicted: a loop, processes left behind, a limit reached, a unit that fails, stays down
     because of another one, or can't be started
  2  the command line, a sentence or a unit can't be understood, or --live reached nobody";

/// Which manager the units run under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Under {
    Hence,
    Systemd,
}

/// Predicts what a set of units would do, before they are deployed.
///
/// Units run in virtual time: what stops, restarts, loops and leaves processes behind, when TasksMax=, memory
/// or process ids run out, and what a stop, restart or isolate would take down.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Predict {
    /// Folders of units, or unit files.
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// What is supposed to happen, as a sentence.
    #[arg(long = "if", value_name = "SENTENCE")]
    suppose: Vec<String>,
    /// How much time is predicted.
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = span)]
    duration: u64,
    /// What would stopping this unit take down?
    #[arg(long, value_name = "UNIT")]
    stop: Vec<String>,
    /// What would restarting this unit take along?
    #[arg(long, value_name = "UNIT")]
    restart: Vec<String>,
    /// What would isolating this unit take down?
    #[arg(long, value_name = "UNIT")]
    isolate: Vec<String>,
    /// What each unit would take along, as a table.
    #[arg(long)]
    blast: bool,
    /// The units that run now, under systemd or hence.
    #[arg(long, conflicts_with = "paths")]
    live: bool,
    /// Where the running instance listens, for --live.
    #[arg(long, value_name = "PATH", requires = "live")]
    socket: Option<PathBuf>,
    /// Start this unit instead of what the folder says.
    #[arg(long, value_name = "UNIT", conflicts_with = "live")]
    unit: Vec<String>,
    /// A further folder to find units in.
    #[arg(long, value_name = "DIR", conflicts_with = "live")]
    unit_path: Vec<PathBuf>,
    /// The memory that a process takes, as 2.4M; what is left behind keeps it [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory_per_process: Option<u64>,
    /// The machine's memory, as 8G [default: this machine's]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    machine_memory: Option<u64>,
    /// How many processes the machine can have [default: this machine's kernel.pid_max, threads-max and
    /// pids.max]; 15% of it is TasksMax= where a unit says nothing
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    machine_pids: Option<u64>,
    /// As a manager whose restarts and timeouts wait for the next quarter of a second, as systemd's do, or
    /// one that is on time, as hence is.
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Under::Hence)]
    under: Under,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
    /// Write the answer as a page with pictures, all in one file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Predict {
    pub fn run(self) -> Outcome {
        let misuse = |message: String| Trouble::new(USAGE, message);
        let mut sentences = Vec::new();
        for text in &self.suppose {
            sentences.extend(sentence::parse(text).map_err(misuse)?);
        }
        let asks = self.asks().map_err(misuse)?;
        let machine = predict::machine();
        let pids = self.machine_pids.unwrap_or(machine.pids);
        let limits = Rule {
            tasks_default: (u128::from(pids) * 15 / 100) as u64,
            tasks_total: pids,
            pids,
            memory: self.machine_memory.unwrap_or(machine.memory),
            per_process: self.memory_per_process.unwrap_or(PER_PROCESS),
        };
        let (start, ground, present) = if self.live {
            let live = Live::ask(self.socket.as_deref()).map_err(misuse)?;
            (live.start, predict::Disk::of(live.units), live.present)
        } else {
            if self.paths.is_empty() {
                let mend = "name a folder of unit files, or --live for the units that run now";
                return Err(misuse(format!("nothing to predict: {mend}")));
            }
            let sources = Sources::new(&self.paths, &self.unit_path, false).map_err(misuse)?;
            let units = sources.loader();
            for diagnostic in units.diagnostics() {
                eprintln!("hence: {diagnostic}");
            }
            (sources.to_start(&self.unit, &units).map_err(misuse)?, predict::Disk::of(units), Vec::new())
        };
        let question = Question {
            start,
            present,
            sentences,
            asks,
            for_us: self.duration,
            limits,
            slot_us: (self.under == Under::Systemd).then_some(SLOT_US),
            blast: self.blast,
        };
        let prediction = foretell(&question, ground).map_err(misuse)?;
        let asked = report::predict::Asked { question: &question, stated: self.memory_per_process.is_some() };
        if let Some(file) = &self.html {
            let page = report::predict::html::page(&prediction, &asked);
            std::fs::write(file, page)
                .map_err(|e| misuse(format!("cannot write {}: {e}", file.display())))?;
        }
        match self.json {
            true => {
                let json = report::predict::json::of(&prediction, &asked);
                report::print(format!("{json}\n").as_bytes())?
            }
            false => report::print(report::predict::page(&prediction, &asked).as_bytes())?,
        };
        Ok(if prediction.troubles.is_empty() { 0 } else { PREDICTED })
    }

    fn asks(&self) -> Result<Vec<Ask>, String> {
        type Kind = (fn(UnitName) -> Ask, &'static str);
        let kinds: [(&[String], Kind); 3] = [
            (&self.stop, (Ask::Stop, "service")),
            (&self.restart, (Ask::Restart, "service")),
            (&self.isolate, (Ask::Isolate, "target")),
        ];
        let mut asks = Vec::new();
        for (names, (ask, suffix)) in kinds {
            for name in names {
                let full = if name.contains('.') { name.clone() } else { format!("{name}.{suffix}") };
                let unit = UnitName::new(&full).filter(|unit| !unit.is_template());
                asks.push(ask(unit.ok_or_else(|| format!("{name}: not a unit's name"))?));
            }
        }
        Ok(asks)
    }
}

/// A span as unit files have it, in microseconds.
fn span(text: &str) -> Result<u64, String> {
    const LONGEST: u64 = 3660 * 86_400 * 1_000_000;
    match value::span(text, 1_000_000) {
        Some(us) if us > 0 && us <= LONGEST => Ok(us),
        Some(_) => Err("between a moment and ten years".into()),
        None => Err("write it as 24h, 30min or 7d".into()),
    }
}

/// A size as unit files have it, in bytes.
fn size(text: &str) -> Result<u64, String> {
    value::size(text).filter(|s| *s > 0 && *s < u64::MAX).ok_or_else(|| "write it as 512K, 2.4M or 8G".into())
}
