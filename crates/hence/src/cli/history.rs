//! `hence history`: what happened, folded to one line for like events, or every record.

use super::{LedgerOption, Outcome};
use crate::exit::{NO_UNITS, Trouble};
use crate::report::{self, history as page, ledger::Reading, name, time::Clock};
use hence_ledger::history::{Filter, history};
use hence_ledger::json;

/// Tells what happened, oldest first: one line for each event, like ones in a row folded into one.
#[derive(Debug, clap::Args)]
#[command(after_help = report::time::HELP)]
pub struct History {
    /// Of this unit only (.service may be left out).
    unit: Option<String>,
    /// From this time on.
    #[arg(long, short = 'S', value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Up to this time.
    #[arg(long, short = 'U', value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// The last so many lines only.
    #[arg(long, short = 'n', value_name = "LINES")]
    lines: Option<usize>,
    /// As JSON; with --raw one object for each line.
    #[arg(long)]
    json: bool,
    /// Every record as a sentence, with its number and those of its causes.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    ledger: LedgerOption,
}

impl History {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let since = self.since.as_deref().map(|text| clock.parse(text)).transpose()?;
        let until = self.until.as_deref().map(|text| clock.parse_end(text)).transpose()?;
        let unit = self.unit.as_deref().map(name::complete);
        if self.raw {
            let range =
                page::Range { unit: unit.as_deref(), since, until, lines: self.lines, json: self.json };
            return page::raw(&self.ledger, &range, &clock);
        }
        let reading = Reading::open(&self.ledger)?;
        if let (Some(unit), Some(word)) = (&unit, &self.unit)
            && !reading.index.unit_names().any(|known| **known == **unit)
        {
            return Err(Trouble::new(NO_UNITS, name::unknown(word, &reading.index, "")));
        }
        let filter = Filter { unit: unit.as_deref(), since, until, unfolded: false };
        let mut entries = history(&reading.index, filter);
        if let Some(lines) = self.lines {
            entries.drain(..entries.len().saturating_sub(lines));
        }
        match self.json {
            true => report::print(format!("{}\n", json::history(&entries)).as_bytes()),
            false => report::print(page::page(&entries, &reading, &clock).as_bytes()),
        }
    }
}
