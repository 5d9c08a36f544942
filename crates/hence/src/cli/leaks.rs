//! `hence leaks`: the processes that outlived their unit and are not on record as gone.

use super::{LedgerOption, Outcome};
use crate::exit::NO;
use crate::report::{self, ledger::Reading, time::Clock};
use hence_ledger::{json, leaks};

/// Lists processes that outlived the run of their unit.
#[derive(Debug, clap::Args)]
pub struct Leaks {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// End with status 3 where there are any that their unit does not intend.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    ledger: LedgerOption,
}

impl Leaks {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let reading = Reading::open(&self.ledger)?;
        let found = leaks::leaks(&reading.index);
        match self.json {
            true => report::print(format!("{}\n", json::leaks(&found)).as_bytes())?,
            false => report::print(report::leaks::page(&found, &reading, &clock).as_bytes())?,
        };
        let unexpected = found.iter().any(|leak| !leak.allowed);
        Ok(if self.check && unexpected { NO } else { 0 })
    }
}
