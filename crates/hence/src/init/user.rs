//! A user's own instance: the units of systemd.unit(5), "User unit search path", under a process that is no
//! process 1 and that may be a service itself; user@.service(5). It leaves the machine, and what else the
//! user runs, alone.

use super::Boot;
use crate::cli::LedgerOption;
use crate::cli::init::Init;
use crate::exit;
use crate::reexec::Earlier;
use crate::run::{self, Args};
use hence_engine::Role;
use hence_host::machine::generators::Scope;
use hence_host::machine::{self, Place, down};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Longest wait for the recorder to write what it has.
const RECORDER: Duration = Duration::from_secs(5);
const RUNTIME: &str = "XDG_RUNTIME_DIR";

/// Runs the user's units until they are asked to end.
pub fn main(init: &Init) -> ExitCode {
    if let Err(message) = runtime_folder() {
        eprintln!("hence: {message}");
        return ExitCode::from(exit::USAGE);
    }
    let earlier = init.deserialize.map(Earlier::receive);
    let ledger = init.ledger.ledger.clone().or_else(|| earlier.as_ref().and_then(Earlier::ledger));
    let boot = boot(init);
    let args = Args {
        unit: vec![boot.unit.clone()],
        tracking: init.tracking.clone(),
        quiet: init.quiet,
        stay: true,
        alerts: init.alerts.clone(),
        ledger: LedgerOption { ledger },
        deserialize: init.deserialize,
        ..Args::default()
    };
    match run::run(&args, Some(boot), earlier) {
        Ok(ended) => {
            machine::notify(&format!("STATUS=Ended.\nEXIT_STATUS={}", ended.status));
            if let Some(recorder) = ended.recorder
                && !down::wait_for_child(recorder, RECORDER)
            {
                eprintln!("hence: the recorder takes too long; records may be missing from the ledger");
            }
            ExitCode::from(ended.status)
        }
        Err(run::Refused(status, message)) => {
            eprintln!("hence: {message}");
            machine::notify(&format!("STATUS={message}\nEXIT_STATUS={status}"));
            ExitCode::from(status)
        }
    }
}

fn boot(init: &Init) -> Boot {
    let place = Place::find();
    let (environment, notes) = run::generate(Scope::User, &place, false);
    let unit = init.unit.clone().unwrap_or_else(|| "default.target".into());
    let unit = if unit.contains('.') { unit } else { format!("{unit}.target") };
    Boot { place, role: Role::User, unit, environment, presets: Vec::new(), notes }
}

/// Sees to it that the environment names the user's runtime folder, without which clients and a user's
/// sockets have no place. Whoever was started without a login has it where logins would, if it is there:
/// then this program is executed again with it.
fn runtime_folder() -> Result<(), String> {
    let named = std::env::var_os(RUNTIME).map(PathBuf::from);
    if named.as_deref().is_some_and(Path::is_absolute) {
        return Ok(());
    }
    let uid = rustix::process::geteuid().as_raw();
    let usual = PathBuf::from(format!("/run/user/{uid}"));
    let ours = std::fs::metadata(&usual).is_ok_and(|about| about.is_dir() && about.uid() == uid);
    if !ours {
        return Err(format!(
            "{RUNTIME} is not set, and {} is no folder of user {uid}: a user's units need one",
            usual.display()
        ));
    }
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_else(|| "hence".into());
    let error = Command::new("/proc/self/exe").arg0(called).args(arguments).env(RUNTIME, &usual).exec();
    Err(format!("{RUNTIME} can't be set: {error}"))
}
