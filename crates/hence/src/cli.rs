//! The command line: one file per verb below `cli/`. It parses and dispatches, nothing else.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A service manager that always knows why.
#[derive(Debug, Parser)]
#[command(name = "hence", version, about, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Which ledger.
#[derive(Clone, Debug, clap::Args)]
pub struct LedgerOption {
    /// The ledger's folder [default: /var/lib/hence, or ~/.local/state/hence for ordinary users]
    #[arg(long, value_name = "DIR", global = true)]
    pub ledger: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(crate::run::Args),
}

/// Runs the command line. Exit status 2 for a command line that can't be understood.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.verb {
        Verb::Run(args) => crate::run::main(args),
    }
}
