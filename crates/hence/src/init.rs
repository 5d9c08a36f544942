//! Process 1, and a user's own instance: what is done before units run and after they are down, around the
//! same run loop that a foreground run has. It decides nothing about units.

mod end;
mod first_boot;
pub mod signals;
mod start;
mod user;

use crate::cli::LedgerOption;
use crate::cli::init::Init;
use crate::exit;
use crate::reexec::Earlier;
use crate::run::{self, Args};
use hence_engine::Role;
use hence_host::machine::generators::Scope;
use hence_host::machine::{self, Place};
use std::process::ExitCode;

/// What makes a run one of process 1.
pub struct Boot {
    /// Where it is.
    pub place: Place,
    /// What hence is there.
    pub role: Role,
    /// The unit that is to be brought up.
    pub unit: String,
    /// What environment generators said, as NAME=VALUE.
    pub environment: Vec<Box<str>>,
    /// Links that presets made and removed, because this is the first boot.
    pub presets: Vec<hence_unit::install::Step>,
    /// What was wrong so far, in sentences.
    pub notes: Vec<String>,
}

impl Boot {
    /// Whose generators are run.
    pub fn scope(&self) -> Scope {
        if self.role == Role::User { Scope::User } else { Scope::System }
    }
}

/// Runs the system. Returns in containers only, with the exit status that was asked for.
pub fn main(init: &Init) -> ExitCode {
    if init.user {
        return user::main(init);
    }
    if std::process::id() != 1 {
        eprintln!(
            "hence: init is for process 1 of a container, virtual machine or namespace; as another process \
             use `hence run`, or `hence init --user` for a user's own units"
        );
        return ExitCode::from(exit::USAGE);
    }
    let earlier = init.deserialize.map(Earlier::receive);
    let mut boot = if earlier.is_some() { start::again(init) } else { start::boot(init) };
    let ledger = match earlier.as_ref().and_then(Earlier::ledger) {
        Some(ledger) => LedgerOption { ledger: Some(ledger) },
        None => start::ledger(&init.ledger, &mut boot.notes),
    };
    let args = Args {
        unit: vec![boot.unit.clone()],
        tracking: init.tracking.clone(),
        quiet: init.quiet,
        stay: true,
        alerts: init.alerts.clone(),
        ledger,
        deserialize: init.deserialize,
        ..Args::default()
    };
    let is_machine = boot.place.is_machine();
    match run::run(&args, Some(boot), earlier) {
        Ok(ended) => end::end(is_machine, &ended),
        Err(run::Refused(status, message)) => {
            eprintln!("hence: {message}");
            machine::notify(&format!("STATUS={message}\nEXIT_STATUS={status}"));
            if is_machine {
                // The kernel panics when process 1 ends: somebody has to see the sentence above first.
                eprintln!("hence: nothing can be run; the machine halts");
                end::halt();
            }
            ExitCode::from(status)
        }
    }
}
