//! `hence directives`: what hence does with each directive of unit files, from the rows themselves.

use super::Outcome;
use crate::report;
use hence_unit::directive::table;

/// Lists every directive of unit files and what hence does with it.
///
/// "acted on": it has its effect. "accepted": it is read and has no effect, on purpose. "not yet": it is
/// checked, kept and shown, but nothing acts on it so far.
#[derive(Debug, clap::Args)]
pub struct Directives {
    /// Only those whose section, name, man page or support contains this.
    filter: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Directives {
    pub fn run(self) -> Outcome {
        let wanted = self.filter.unwrap_or_default().to_lowercase();
        let rows: Vec<_> = table()
            .filter(|row| {
                [row.section, row.name, row.page, row.support.as_str()]
                    .iter()
                    .any(|field| field.to_lowercase().contains(&wanted))
            })
            .collect();
        match self.json {
            true => report::print(format!("{}\n", report::directives::json(&rows)).as_bytes()),
            false => report::print(report::directives::page(&rows).as_bytes()),
        }
    }
}
