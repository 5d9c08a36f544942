//! `hence loops`: the units that go down and come up again and again.

use super::{LedgerOption, Outcome};
use crate::exit::NO;
use crate::report::{self, ledger::Reading, time::Clock};
use hence_ledger::{json, loops};

/// Lists units that go down and come up again and again for the same reason.
#[derive(Debug, clap::Args)]
pub struct Loops {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// End with status 3 where there is one that goes on.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    ledger: LedgerOption,
}

impl Loops {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let reading = Reading::open(&self.ledger)?;
        let found = loops::loops(&reading.index, clock.now);
        match self.json {
            true => report::print(format!("{}\n", json::loops(&found)).as_bytes())?,
            false => report::print(report::loops::page(&found, &reading, &clock).as_bytes())?,
        };
        Ok(if self.check && found.iter().any(|l| l.ongoing) { NO } else { 0 })
    }
}
