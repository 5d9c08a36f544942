//! `hence leaks`: the processes that outlived their unit and are not on record as gone.

use super::{LedgerOption, Outcome};
use crate::exit::{NO, Trouble, USAGE};
use crate::report::style::plain;
use crate::report::{self, ledger::Reading, time::Clock};
use hence_ledger::{json, leaks};
use std::path::PathBuf;

/// Lists processes that outlived the run of their unit.
#[derive(Debug, clap::Args)]
pub struct Leaks {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// End with status 3 where there are any that their unit does not intend.
    #[arg(long)]
    check: bool,
    /// Rules of processes that are intended [default: /etc/hence/left-behind.conf]
    #[arg(long, value_name = "FILE")]
    left_behind_allowed: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerOption,
}

impl Leaks {
    pub fn run(self) -> Outcome {
        let clock = Clock::here();
        let reading = Reading::open(&self.ledger)?;
        let (list, said) = crate::alerts::allow_list(self.left_behind_allowed.as_deref())
            .map_err(|what| Trouble::new(USAGE, what))?;
        said.iter().for_each(|line| eprintln!("hence: {}", plain(line)));
        let mut found = leaks::leaks(&reading.index);
        if reading.is_of_this_boot() {
            // Many are left behind when they have not yet executed their program.
            for leak in &mut found {
                let now = hence_host::describe(leak.pid).filter(|p| p.start_ticks == leak.start_ticks);
                let Some(now) = now else { continue };
                (leak.command, leak.bytes) = (now.command, now.bytes.or(leak.bytes));
            }
        }
        leaks::judge(&mut found, &list);
        match self.json {
            true => report::print(format!("{}\n", json::leaks(&found)).as_bytes())?,
            false => report::print(report::leaks::page(&found, &reading, &clock).as_bytes())?,
        };
        let unexpected = found.iter().any(|leak| !leak.allowed);
        Ok(if self.check && unexpected { NO } else { 0 })
    }
}
