//! `hence systemctl`: drives a running hence where there is no systemctl, with the verbs' names, output and
//! exit statuses of systemctl(1). It covers what it lists, not all of systemctl.

mod job;
mod show;
mod status;
#[cfg(test)]
mod tests;

use crate::control::{Control, ControlError, default_socket};
use hence_bus::front::unit_path;
use hence_bus::wire::Value;
use hence_unit::UnitName;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Controls a running hence, or systemd, as systemctl does
#[derive(Debug, clap::Args)]
pub struct Args {
    /// start, stop, restart, try-restart, reload, reload-or-restart, kill, is-active, is-failed, status,
    /// show, list-units, list-jobs, cancel, reset-failed, daemon-reload
    #[arg(default_value = "list-units")]
    verb: String,
    /// Units; a name without a suffix is a service
    units: Vec<String>,
    /// Where the running instance listens
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Do not wait until jobs are over
    #[arg(long)]
    no_block: bool,
    /// How jobs deal with those that are queued
    #[arg(long, value_name = "MODE", default_value = "replace")]
    job_mode: String,
    /// Print no state, only set the exit status
    #[arg(long, short)]
    quiet: bool,
    /// Which properties to show
    #[arg(long, short, value_name = "NAME", value_delimiter = ',')]
    property: Vec<String>,
    /// Show values without the properties' names
    #[arg(long)]
    value: bool,
    /// List inactive units, show empty properties
    #[arg(long, short)]
    all: bool,
    /// List units in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// List units of these kinds
    #[arg(long = "type", short = 't', value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Leave out headings and counts
    #[arg(long)]
    no_legend: bool,
    /// Which signal to send
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
    /// Whom to send it: main, control, all
    #[arg(long, value_name = "WHOM", default_value = "all", alias = "kill-who")]
    kill_whom: String,
}

/// Exit statuses of systemctl(1) and of the LSB.
mod exit_status {
    pub const FAILURE: u8 = 1;
    pub const NOT_RUNNING: u8 = 3;
    pub const NOT_IMPLEMENTED: u8 = 3;
    pub const NO_PERMISSION: u8 = 4;
    pub const NO_SUCH_UNIT: u8 = 4;
    pub const NOT_INSTALLED: u8 = 5;
    pub const NOT_CONFIGURED: u8 = 6;
}

/// What ends a verb early: the sentence and the exit status.
struct Failed(u8, String);

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Failed {
        Failed(status_of(&error), error.to_string())
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed(exit_status::FAILURE, error.to_string())
    }
}

/// Runs a verb.
pub fn main(args: &Args) -> ExitCode {
    match run(args, &mut io::stdout().lock()) {
        Ok(status) => ExitCode::from(status),
        Err(Failed(status, text)) => {
            eprintln!("{text}");
            ExitCode::from(status)
        }
    }
}

fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let names = || args.units.iter().map(|name| full_name(name)).collect::<Result<Vec<String>, Failed>>();
    let some = || match args.units.as_slice() {
        [] => Err(Failed(exit_status::FAILURE, format!("{}: name a unit", args.verb))),
        _ => names(),
    };
    match args.verb.as_str() {
        "is-active" => state_among(args, &some()?, &["active", "reloading"], exit_status::NOT_RUNNING, out),
        "is-failed" => state_among(args, &some()?, &["failed"], exit_status::FAILURE, out),
        "status" => status::print(&mut connect(args)?, &some()?, out),
        "show" => show::print(&mut connect(args)?, args, &names()?, out),
        "list-units" => status::list_units(&mut connect(args)?, args, out),
        "list-jobs" => status::list_jobs(&mut connect(args)?, args, out),
        "kill" => job::kill(&mut connect(args)?, args, &some()?),
        "cancel" => job::cancel(&mut connect(args)?, args),
        "reset-failed" => job::reset_failed(&mut connect(args)?, &names()?),
        "daemon-reload" => {
            connect(args)?.ask("Reload", Vec::new())?;
            Ok(0)
        }
        verb => match job::method(verb) {
            Some(method) => job::run(&mut connect(args)?, args, method, &some()?),
            None => {
                let text = format!("Unknown command verb {verb}; see hence systemctl --help.");
                Err(Failed(exit_status::FAILURE, text))
            }
        },
    }
}

fn connect(args: &Args) -> Result<Control, Failed> {
    let Some(path) = args.socket.clone().or_else(default_socket) else {
        let text = "No XDG_RUNTIME_DIR in the environment: name the socket by --socket.";
        return Err(Failed(exit_status::FAILURE, text.into()));
    };
    Control::connect(&path).map_err(|error| {
        let text = format!("Failed to connect: {error}; is hence running, and does it run as this user?");
        Failed(exit_status::FAILURE, text)
    })
}

/// A unit's whole name; a service where there is no suffix.
fn full_name(name: &str) -> Result<String, Failed> {
    let found = UnitName::new(name).or_else(|| UnitName::new(&format!("{name}.service")));
    match found {
        Some(found) => Ok(found.as_str().to_owned()),
        None => Err(Failed(exit_status::FAILURE, format!("Invalid unit name \"{name}\"."))),
    }
}

/// The exit status of a refusal; systemctl(1), "Exit status".
fn status_of(error: &ControlError) -> u8 {
    let ControlError::Refused(refusal) = error else { return exit_status::FAILURE };
    let name = refusal.name.rsplit('.').next().unwrap_or_default();
    match name {
        "AccessDenied" | "OnlyByDependency" | "NoIsolation" | "TransactionIsDestructive" => {
            exit_status::NO_PERMISSION
        }
        "NoSuchUnit" => exit_status::NOT_INSTALLED,
        "JobTypeNotApplicable" | "NotSupported" => exit_status::NOT_IMPLEMENTED,
        "LoadFailed" => exit_status::NOT_CONFIGURED,
        _ => exit_status::FAILURE,
    }
}

/// A unit's properties.
type Properties = Vec<(String, Value)>;

fn properties(control: &mut Control, unit: &str) -> Result<Properties, ControlError> {
    control.properties(unit_path(unit))
}

fn property<'a>(properties: &'a Properties, name: &str) -> Option<&'a Value> {
    properties.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn text<'a>(properties: &'a Properties, name: &str) -> &'a str {
    property(properties, name).and_then(Value::as_str).unwrap_or_default()
}

/// Prints the state of each unit; success where one of them is in one of these.
fn state_among(
    args: &Args,
    units: &[String],
    wanted: &[&str],
    otherwise: u8,
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let mut control = connect(args)?;
    let mut status = otherwise;
    for unit in units {
        let about = properties(&mut control, unit)?;
        let state = text(&about, "ActiveState");
        if wanted.contains(&state) {
            status = 0;
        }
        if !args.quiet {
            writeln!(out, "{state}")?;
        }
    }
    Ok(status)
}
