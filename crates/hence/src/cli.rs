//! The command line: one file per verb below `cli/`. It parses and dispatches, nothing else.

mod completions;
mod directives;
mod history;
pub mod init;
mod leaks;
mod lint;
mod logs;
mod loops;
mod man;
mod predict;
mod soak;
pub mod systemctl;
mod verify;
pub mod watch;
mod why;

use crate::exit::{self, Trouble};
use crate::report::style::plain;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A service manager that always knows why.
#[derive(Debug, Parser)]
#[command(name = "hence", version, about, disable_help_subcommand = true, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Which ledger.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LedgerOption {
    /// The ledger's folder [default: /var/lib/hence, or ~/.local/state/hence for ordinary users]
    #[arg(long, value_name = "DIR", global = true)]
    pub ledger: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(crate::run::Args),
    Init(init::Init),
    Watch(watch::Watch),
    Why(why::Why),
    History(history::History),
    Leaks(leaks::Leaks),
    Logs(logs::Logs),
    Loops(loops::Loops),
    Lint(Box<lint::Lint>),
    Predict(Box<predict::Predict>),
    Soak(Box<soak::Soak>),
    Directives(directives::Directives),
    Verify(verify::Verify),
    Completions(completions::Completions),
    Man(man::Man),
    Systemctl(Box<systemctl::Args>),
}

/// What a verb ends with: an exit status, or trouble that is told on stderr.
pub type Outcome = Result<u8, Trouble>;

/// Runs the command line. Exit status 2 for a command line that can't be understood.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(args) => crate::run::main(args),
        Verb::Init(verb) => verb.run(),
        Verb::Watch(verb) => verb.run(),
        Verb::Why(verb) => end(verb.run()),
        Verb::History(verb) => end(verb.run()),
        Verb::Leaks(verb) => end(verb.run()),
        Verb::Logs(verb) => end(verb.run()),
        Verb::Loops(verb) => end(verb.run()),
        Verb::Lint(verb) => end((*verb).run()),
        Verb::Predict(verb) => end(verb.run()),
        Verb::Soak(verb) => end(verb.run()),
        Verb::Directives(verb) => end(verb.run()),
        Verb::Verify(verb) => end(verb.run()),
        Verb::Completions(verb) => end(verb.run()),
        Verb::Man(verb) => end(verb.run()),
        Verb::Systemctl(args) => systemctl::main(&args),
    }
}

fn end(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(trouble) => {
            trouble.message.lines().for_each(|line| eprintln!("hence: {}", plain(line)));
            ExitCode::from(trouble.status)
        }
    }
}
