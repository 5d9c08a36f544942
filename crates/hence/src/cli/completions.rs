//! `hence completions`: the shells' completions, made from the command line's own description.

use super::{Cli, Outcome};
use crate::report;
use clap::{CommandFactory, ValueEnum};

/// Prints the completions for a shell.
///
/// For bash: `hence completions bash > /usr/share/bash-completion/completions/hence`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// For which shell.
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self) -> Outcome {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "hence", &mut script);
        report::print(&script)
    }
}
