//! hence: a service manager that always knows why. This binary wires the crates together and talks to
//! people; it makes no decisions.

mod alerts;
mod cli;
mod control;
mod exit;
mod front_link;
mod init;
mod journal;
mod live_files;
mod model;
mod narrator;
mod predict;
mod pump;
mod reexec;
mod report;
mod run;
mod soak;
mod survivors;
mod units;
mod watch;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    // The processes that hence starts for itself are this program as well; they need no command line.
    let mut arguments = std::env::args_os();
    let called = arguments.next().map(PathBuf::from);
    if called.as_deref().and_then(Path::file_name).is_some_and(|name| name == "init" || name == "systemd") {
        return cli::init::Init::of_boot(arguments).run();
    }
    if called.as_deref().and_then(Path::file_name).is_some_and(|name| name == "systemctl") {
        return cli::systemctl::called_as_systemctl();
    }
    if called.as_deref().is_some_and(|name| name == Path::new(soak::fault::NAME)) {
        return soak::fault::main();
    }
    match arguments.next().as_ref().and_then(|a| a.to_str()) {
        Some("executor") => hence_host::executor_main(),
        Some("recorder") => recorder(arguments.next().map(PathBuf::from), arguments.next()),
        Some("deliver") => alerts::deliver_main(arguments),
        Some("relay") => relay(arguments.next().map(PathBuf::from)),
        _ => cli::main(),
    }
}

/// The process that `hence watch` has in another pid namespace; what it connects to is at its standard input.
fn relay(path: Option<PathBuf>) -> ExitCode {
    match path.map(|path| hence_host::watch::relay(&path)) {
        None => ExitCode::from(exit::USAGE),
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) => ExitCode::FAILURE,
    }
}

/// The process that carries records from the ring to the disk; its owner is at its standard input.
fn recorder(ledger: Option<PathBuf>, to: Option<std::ffi::OsString>) -> ExitCode {
    let socket = std::io::stdin().as_fd().try_clone_to_owned();
    let (Some(ledger), Ok(socket)) = (ledger, socket) else { return ExitCode::from(exit::USAGE) };
    let mut options = hence_host::store::RecorderOptions::new(|old, segment, limit| {
        hence_ledger::fold::fold(old, segment.into_iter(), limit)
    });
    options.native_socket = journal::native_socket(to.as_deref());
    options.journal = journal::setup(to);
    hence_host::store::recorder_main(&ledger, socket, options)
}
