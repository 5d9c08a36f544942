//! `hence watch`: its command line. What it does is in `crate::watch`.

use crate::cli::LedgerOption;
use std::process::ExitCode;

/// A source of what happens on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Calls to the manager on the system bus
    Bus,
    /// The journal
    Journal,
    /// Control groups of units
    Cgroups,
    /// The kernel's process connector
    Processes,
    /// The kernel's tracepoints of signals
    Trace,
}

/// Watches a machine whose process 1 is systemd, and keeps the same ledger: nothing of it is changed.
///
/// `why`, `history`, `leaks` and `loops` then answer there as they do where hence runs the units itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Watch {
    /// Watch the container whose process 1 is this process
    #[arg(long, value_name = "PID")]
    pub machine: Option<u32>,
    /// Do without a source
    #[arg(long, value_name = "SOURCE", value_enum)]
    pub without: Vec<Source>,
    /// Hear the manager on the system bus, as logind does, where that runs
    ///
    /// The manager then has nothing more to do for being watched than it has for logind. On its private
    /// socket, which is the default, it tells all again for us. On the bus less is known of what happens
    /// while the bus itself is stopped, as by `isolate` and `poweroff`: that is read from the journal.
    #[arg(long, conflicts_with = "install")]
    pub on_bus: bool,
    /// Install the unit hence-watch.service, enable and start it
    #[arg(long, conflicts_with_all = ["machine", "without"])]
    pub install: bool,
    /// Stop and disable the unit and remove it; the ledger stays
    #[arg(long, conflicts_with_all = ["machine", "without", "install"])]
    pub uninstall: bool,
    #[command(flatten)]
    pub alerts: crate::alerts::Options,
    #[command(flatten)]
    pub ledger: LedgerOption,
}

impl Watch {
    /// Runs until it is asked to end.
    pub fn run(self) -> ExitCode {
        let done = match (self.install, self.uninstall) {
            (true, _) => crate::watch::install::install(&self),
            (_, true) => crate::watch::install::uninstall(&self),
            _ => crate::watch::main(&self),
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err((status, text)) => {
                text.lines().for_each(|line| eprintln!("hence: {line}"));
                ExitCode::from(status)
            }
        }
    }
}
