//! `hence why`: finds the unit or process that is meant and shows the answer as text, JSON or graph.

use super::{LedgerOption, Outcome};
use crate::exit::{NO_UNITS, Trouble};
use crate::report::{self, answer, ledger::Reading, name, time::Clock};
use clap::ValueEnum;
use hence_ledger::{graph, json, why};

/// Tells why a unit was started, stopped or failed, or why a process is there.
///
/// The answer comes first, then the chain of causes with the directive and its file and line, what the
/// process at the root wrote last, what has changed since its last good run, what was left behind, and what
/// to do.
#[derive(Debug, clap::Args)]
#[command(after_help = report::time::HELP)]
pub struct Why {
    /// A unit (.service may be left out) or a process id.
    #[arg(value_name = "UNIT|PID")]
    subject: String,
    /// As it was then, instead of now.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// The answer as JSON.
    #[arg(long, conflicts_with = "graph")]
    json: bool,
    /// The causes as a graph.
    #[arg(long, value_name = "FORMAT")]
    graph: Option<Format>,
    #[command(flatten)]
    ledger: LedgerOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Mermaid,
    Dot,
}

impl Why {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let at = self.at.as_deref().map(|text| clock.parse_end(text)).transpose()?;
        let reading = Reading::open(&self.ledger)?;
        // Asked of the past, "ago" counts from then.
        let now = at.filter(|at| *at < clock.now).unwrap_or(clock.now);
        let clock = clock.at(now);
        let found = match self.subject.parse::<u32>() {
            Ok(pid) => why::why_process(&reading.index, pid, at, now),
            Err(_) => why::why(&reading.index, &name::complete(&self.subject), at, now),
        };
        let Some(found) = found else { return Err(self.unknown(&reading, &clock)) };
        match self.graph {
            _ if self.json => report::print(format!("{}\n", json::answer(&found)).as_bytes()),
            Some(Format::Mermaid) => report::print(graph::mermaid(&found).as_bytes()),
            Some(Format::Dot) => report::print(graph::dot(&found).as_bytes()),
            None => report::print(answer::page(&found, &reading, &clock, at.is_some()).as_bytes()),
        }
    }

    fn unknown(&self, reading: &Reading, clock: &Clock) -> Trouble {
        let before = match (&self.at, reading.first) {
            (Some(_), Some(first)) => format!(
                " up to {}; the ledger begins at {}",
                clock.full(clock.now.realtime_us),
                clock.full(first.realtime_us)
            ),
            _ => String::new(),
        };
        let message = match self.subject.parse::<u32>() {
            Ok(pid) => format!("no record of process {pid}{before}"),
            Err(_) => name::unknown(&self.subject, &reading.index, &before),
        };
        Trouble::new(NO_UNITS, message)
    }
}
