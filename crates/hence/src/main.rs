//! hence: a service manager that always knows why. This binary wires the crates together and talks to
//! people; it makes no decisions.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
