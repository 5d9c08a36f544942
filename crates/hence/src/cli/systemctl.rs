//! `hence systemctl`: drives a running hence where there is no systemctl, with the verbs' names, output and
//! exit statuses of systemctl(1). It covers what it lists, not all of systemctl.

mod files;
mod forms;
mod job;
mod list;
mod log;
mod offline;
mod option;
mod pieces;
mod setting;
mod show;
mod status;
mod sysv;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod whole;

use crate::control::{Control, ControlError, default_socket, user_socket};
use clap::Parser;
use hence_bus::front::{matches, unit_path};
use hence_bus::wire::Value;
use hence_unit::UnitName;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Controls a running hence, or systemd, as systemctl does
#[derive(Clone, Debug, Default, clap::Args)]
// Scripts say the same twice, and the last one holds.
#[command(args_override_self = true)]
pub struct Args {
    /// start, stop, restart, try-restart, reload, reload-or-restart, try-reload-or-restart, isolate, kill,
    /// is-active, is-failed, is-enabled, status, show, cat, help, edit, enable, disable, reenable, preset,
    /// preset-all, mask, unmask, link, revert, add-wants, add-requires, get-default, set-default, list-units,
    /// list-unit-files, list-jobs, list-timers, list-sockets, list-automounts, list-dependencies,
    /// list-machines, cancel, reset-failed, set-property, clean, freeze, thaw, is-system-running,
    /// show-environment, set-environment, unset-environment, import-environment, log-level, log-target,
    /// service-watchdogs, daemon-reload, daemon-reexec, default, rescue, emergency, poweroff, reboot, halt,
    /// suspend, hibernate, exit
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
    /// Show these properties' values without their names
    #[arg(short = 'P', value_name = "NAME", value_delimiter = ',')]
    property_value: Vec<String>,
    /// Show values without the properties' names
    #[arg(long)]
    value: bool,
    /// List inactive units, show empty properties
    #[arg(long, short)]
    all: bool,
    /// List units in these states
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    state: Vec<String>,
    /// List units that failed
    #[arg(long)]
    failed: bool,
    /// List units of these kinds
    #[arg(long = "type", short = 't', value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Leave out headings and counts
    #[arg(long)]
    no_legend: bool,
    /// Whether lists have headings and counts
    #[arg(long, value_name = "BOOL", conflicts_with = "no_legend")]
    legend: Option<String>,
    /// Plain lists instead of trees and marks
    #[arg(long)]
    plain: bool,
    /// With start and restart, wait until the units have ended again; with is-system-running, until it is up
    #[arg(long)]
    wait: bool,
    /// Only print what would be done
    #[arg(long)]
    dry_run: bool,
    /// Name the job that was queued, and those that it brought along
    #[arg(long, short = 'T')]
    show_transaction: bool,
    /// Show the kind of each socket
    #[arg(long)]
    show_types: bool,
    /// How moments are printed: pretty, unix, us, utc, us+utc
    #[arg(long, value_name = "FORM", default_value = "pretty")]
    timestamp: String,
    /// Restart or reload what was marked for it
    #[arg(long)]
    marked: bool,
    /// How lists are printed: short, json, json-pretty
    #[arg(long, short, value_name = "FORM", default_value = "short")]
    output: String,
    /// Which signal to send
    #[arg(long, short, value_name = "SIGNAL", default_value = "TERM")]
    signal: String,
    /// Whom to send it: main, control, all
    #[arg(long, value_name = "WHOM", default_value = "all", alias = "kill-who")]
    kill_whom: String,
    /// Start or stop the units that are enabled, disabled or masked
    #[arg(long)]
    now: bool,
    /// Until the next boot only
    #[arg(long)]
    runtime: bool,
    /// Replace links that are in the way; end the machine without stopping units
    #[arg(long, short, action = clap::ArgAction::Count)]
    force: u8,
    /// Work on the unit files below this folder, of a system that does not run
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The units of the user
    #[arg(long)]
    user: bool,
    /// The unit files of all users
    #[arg(long)]
    global: bool,
    /// The units of the system, which is the default
    #[arg(long)]
    system: bool,
    /// Do not reload unit files after links changed
    #[arg(long)]
    no_reload: bool,
    /// Say less of what might surprise
    #[arg(long)]
    no_warn: bool,
    /// Which half of a preset: full, enable-only, disable-only
    #[arg(long, value_name = "MODE", default_value = "full")]
    preset_mode: String,
    /// What to clean: configuration, state, cache, logs, runtime, fdstore, all
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    what: Vec<String>,
    /// List what needs a unit, rather than what it needs
    #[arg(long)]
    reverse: bool,
    /// List the units that a unit is started after; the jobs that wait for a job
    #[arg(long)]
    after: bool,
    /// List the units that a unit is started before; the jobs that a job waits for
    #[arg(long)]
    before: bool,
    /// Together with the units that they need
    #[arg(long)]
    with_dependencies: bool,
    /// Show whole lines; with edit, replace the unit file; with is-enabled, name the links
    #[arg(long, short = 'l')]
    full: bool,
    /// Understood, and without meaning here: nothing is paged
    #[arg(long, hide = true)]
    no_pager: bool,
    /// Understood, and without meaning here: nobody is asked for passwords
    #[arg(long, hide = true)]
    no_ask_password: bool,
    /// Understood, and without meaning here: no messages are sent to terminals
    #[arg(long, hide = true)]
    no_wall: bool,
    /// How many lines of output to show with status
    #[arg(long, short = 'n', value_name = "NUMBER")]
    lines: Option<String>,
    /// Understood, and without meaning here: inhibitors are not asked
    #[arg(short = 'i', hide = true)]
    ignore_inhibitors: bool,
    /// The same with a word
    #[arg(long, hide = true)]
    check_inhibitors: Option<String>,
    /// Where systemctl would go by ssh, into a container or into an image
    #[arg(long, short = 'H', hide = true)]
    host: Option<String>,
    #[arg(long, short = 'M', hide = true)]
    machine: Option<String>,
    #[arg(long, hide = true)]
    image: Option<String>,
    /// Understood, and without meaning here: there are no containers that are asked
    #[arg(long, short = 'r', hide = true)]
    recursive: bool,
}

/// The command line where the program is called `systemctl`.
#[derive(Parser)]
#[command(name = "systemctl", about, disable_help_subcommand = true, disable_version_flag = true)]
#[command(args_override_self = true)]
struct AsSystemctl {
    /// Show which version this is
    #[arg(long)]
    version: bool,
    #[command(flatten)]
    args: Args,
}

/// Runs the verb of a command line whose program is called `systemctl`.
pub fn called_as_systemctl() -> ExitCode {
    let line = AsSystemctl::try_parse().unwrap_or_else(|error| {
        // What systemctl answers to a line that it doesn't understand.
        let status = if error.use_stderr() { i32::from(exit_status::FAILURE) } else { 0 };
        let _ = error.print();
        std::process::exit(status)
    });
    if line.version {
        // Scripts take the number as what unit files may use.
        println!("systemd 252 (hence {})", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    main(&line.args)
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
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failed(exit_status::FAILURE, String::new());
        }
        Failed(exit_status::FAILURE, error.to_string())
    }
}

/// Runs a verb.
pub fn main(args: &Args) -> ExitCode {
    match run(args, &mut io::stdout().lock()) {
        Ok(status) => ExitCode::from(status),
        // Whoever read the output has seen enough.
        Err(Failed(_, text)) if text.is_empty() => ExitCode::from(exit_status::FAILURE),
        Err(Failed(status, text)) => {
            eprintln!("{text}");
            ExitCode::from(status)
        }
    }
}

fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let Some(args) = &option::settled(args, out)? else { return Ok(0) };
    let verb = args.verb.as_str();
    if files::is_verb(verb) {
        return files::run(args, out);
    }
    let of_files = ["cat", "edit", "list-unit-files"].contains(&verb);
    if offline::is_offline() && !of_files {
        eprintln!("Running in chroot, ignoring command '{verb}'");
        return Ok(0);
    }
    if args.root.is_some() && !of_files {
        let text = format!("Verb '{verb}' cannot be used with --root= or --image=.");
        return Err(Failed(exit_status::FAILURE, text));
    }
    match verb {
        "list-unit-files" => list::unit_files(args, out),
        "is-active" => {
            state_among(args, &some(args)?, &["active", "reloading"], exit_status::NOT_RUNNING, out)
        }
        "is-failed" => state_among(args, &some(args)?, &["failed"], exit_status::FAILURE, out),
        "cat" => pieces::cat(args, &some(args)?, out),
        "edit" => pieces::edit(args, &some(args)?),
        _ => online(&mut connect(args)?, args, out),
    }
}

/// Verbs that only a running instance can serve.
fn online(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let names = || all_names(&args.units);
    match args.verb.as_str() {
        "status" => {
            let units = by_process(control, &args.units)?;
            let units = expand(control, args, &all_names(&units)?)?;
            status::print(control, args, &units, out)
        }
        "show" => show::run(control, args, out),
        "help" => {
            let units = by_process(control, &some_words(args)?)?;
            pieces::help(control, &units, out)
        }
        "list-units" => list::units(control, args, out),
        "list-jobs" => list::jobs(control, args, out),
        "list-timers" => list::timers(control, args, out),
        "list-sockets" => list::sockets(control, args, out),
        "list-automounts" => list::automounts(control, args, out),
        "list-machines" => list::machines(control, args, out),
        "list-dependencies" => tree::dependencies(control, args, &names()?, out),
        "kill" => {
            let units = expand(control, args, &some(args)?)?;
            job::kill(control, args, &units)
        }
        "cancel" => job::cancel(control, args),
        "reset-failed" => {
            let units = expand(control, args, &names()?)?;
            job::reset_failed(control, &units)
        }
        verb => match job::method(verb) {
            Some(method) => {
                let units = expand(control, args, &some(args)?)?;
                job::run(control, args, method, &units)
            }
            None => whole::run(control, args, out),
        },
    }
}

fn all_names(units: &[String]) -> Result<Vec<String>, Failed> {
    units.iter().map(|name| full_name(name)).collect()
}

fn some(args: &Args) -> Result<Vec<String>, Failed> {
    match args.units.as_slice() {
        [] => Err(Failed(exit_status::FAILURE, "Too few arguments.".into())),
        units => all_names(units),
    }
}

fn some_words(args: &Args) -> Result<Vec<String>, Failed> {
    some(args)?;
    Ok(args.units.clone())
}

/// The units of the processes among these, and the others as they are.
fn by_process(control: &mut Control, units: &[String]) -> Result<Vec<String>, Failed> {
    let mut found = Vec::new();
    for unit in units {
        let Ok(pid) = unit.parse::<u32>() else {
            found.push(unit.clone());
            continue;
        };
        let path = control.ask("GetUnitByPID", vec![pid.into()]).map_err(|error| {
            Failed(exit_status::FAILURE, format!("Failed to get unit for PID {pid}: {error}"))
        })?;
        let path = path.first().and_then(Value::as_str).unwrap_or_default().to_owned();
        found.push(text(&control.properties(path)?, "Id").to_owned());
    }
    Ok(found)
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Names as they are, and for patterns the loaded units that match.
fn expand(control: &mut Control, args: &Args, names: &[String]) -> Result<Vec<String>, Failed> {
    if !names.iter().any(|name| is_pattern(name)) {
        return Ok(names.to_vec());
    }
    let body = control.ask("ListUnits", Vec::new())?;
    let known = body.first().map_or(&[][..], Value::items);
    let mut units = Vec::new();
    for name in names {
        if !is_pattern(name) {
            units.push(name.clone());
            continue;
        }
        for row in known {
            let unit = field(row, 0);
            if matches(name, unit) && (args.all || field(row, 3) != "inactive") {
                units.push(unit.to_owned());
            }
        }
    }
    Ok(units)
}

fn field(row: &Value, at: usize) -> &str {
    row.items().get(at).and_then(Value::as_str).unwrap_or_default()
}

fn connect(args: &Args) -> Result<Control, Failed> {
    let default = if args.user { user_socket() } else { default_socket() };
    let Some(path) = args.socket.clone().or(default) else {
        let text = "No XDG_RUNTIME_DIR in the environment: name the socket by --socket.";
        return Err(Failed(exit_status::FAILURE, text.into()));
    };
    Control::connect(&path).map_err(|error| {
        let text = format!("Failed to connect: {error}; is hence running, and does it run as this user?");
        Failed(exit_status::FAILURE, text)
    })
}

/// The suffixes of units.
const KINDS: [&str; 11] = [
    "service",
    "mount",
    "swap",
    "socket",
    "target",
    "device",
    "automount",
    "timer",
    "path",
    "slice",
    "scope",
];

/// A unit's whole name; a service where there is no suffix.
fn full_name(name: &str) -> Result<String, Failed> {
    if is_pattern(name) {
        return Ok(name.to_owned());
    }
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
    for unit in &expand(&mut control, args, units)? {
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
