//! Verbs about unit files: by a running instance, else by our own hands; systemctl(1), "Unit File Commands".

use super::{Args, Failed, all_names, connect, exit_status, field, full_name, job, offline, some, sysv};
use crate::control::Control;
use hence_bus::wire::Value;
use std::io::Write;

/// Whether this verb is one of these.
pub fn is_verb(verb: &str) -> bool {
    changes(verb) || ["is-enabled", "get-default"].contains(&verb)
}

fn changes(verb: &str) -> bool {
    [
        "enable",
        "disable",
        "reenable",
        "preset",
        "preset-all",
        "mask",
        "unmask",
        "link",
        "revert",
        "add-wants",
        "add-requires",
        "set-default",
    ]
    .contains(&verb)
}

/// What an operation changed.
pub struct Changed {
    /// Whether `[Install]` says how to enable; `None` where that's no question.
    pub install: Option<bool>,
    /// Kind, link, and where it points.
    pub rows: Vec<(String, String, String)>,
}

const NOTHING_TO_ENABLE: &str = "\
The unit files have no installation config (WantedBy=, RequiredBy=, Also=,
Alias= settings in the [Install] section, and DefaultInstance= for template
units). This means they are not meant to be enabled using systemctl.
 
Possible reasons for having this kind of units are:
• A unit may be statically enabled by being symlinked from another unit's
  .wants/ or .requires/ directory.
• A unit's purpose may be to act as a helper for some other unit which has
  a requirement dependency on it.
• A unit may be started when needed via activation (socket, path, timer,
  D-Bus, udev, scripted systemctl call, ...).
• In case of template units, the unit is meant to be enabled with some
  instance name specified.";

/// Runs one of the verbs.
pub fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let mut control = if offline::wanted(args) || args.global { None } else { connect(args).ok() };
    match args.verb.as_str() {
        "is-enabled" => {
            let mut units = some(args)?;
            let by_script =
                sysv::sync(args, &mut units, &mut |unit| is_native(&mut control, args, unit), out)?;
            if units.is_empty() {
                return Ok(if by_script { 0 } else { exit_status::FAILURE });
            }
            let status = is_enabled(control.as_mut(), args, &units, out)?;
            return Ok(if by_script { 0 } else { status });
        }
        "get-default" => {
            let target = match &mut control {
                Some(control) => control.ask("GetDefaultTarget", Vec::new()).map_err(|error| {
                    Failed(exit_status::FAILURE, format!("Failed to get default target: {error}"))
                })?,
                None => vec![offline::default_target(args)?.into()],
            };
            writeln!(out, "{}", target.first().and_then(Value::as_str).unwrap_or_default())?;
            return Ok(0);
        }
        "preset-all" => {}
        _ => drop(some_or_paths(args)?),
    }
    let mut names = some_or_paths(args)?;
    let had = names.len();
    sysv::sync(args, &mut names, &mut |unit| is_native(&mut control, args, unit), out)?;
    if names.is_empty() && had > 0 {
        return Ok(0);
    }
    let changed = match &mut control {
        Some(control) => online(control, args, &names)?,
        None => offline::change(args, &names)?,
    };
    if !args.quiet {
        changed.rows.iter().for_each(say);
        if changed.install == Some(false) && !args.no_warn {
            eprintln!("{NOTHING_TO_ENABLE}");
        }
    }
    let Some(mut control) = control else { return Ok(0) };
    if !args.no_reload {
        control.ask("Reload", Vec::new())?;
    }
    let method = match args.verb.as_str() {
        _ if !args.now => None,
        "enable" | "reenable" => Some(("start", "StartUnit")),
        "disable" | "mask" => Some(("stop", "StopUnit")),
        _ => None,
    };
    match method {
        Some((verb, method)) => {
            let base = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
            let names: Vec<String> = names.iter().map(base).collect();
            job::run_as(&mut control, args, verb, method, &names)
        }
        None => Ok(0),
    }
}

/// Whether a unit has a file, of whatever state.
fn is_native(control: &mut Option<Control>, args: &Args, unit: &str) -> bool {
    match control {
        Some(control) => control.ask("GetUnitFileState", vec![unit.to_owned().into()]).is_ok(),
        None => offline::state(args, unit).is_ok(),
    }
}

/// Names, and paths of unit files as they are.
fn some_or_paths(args: &Args) -> Result<Vec<String>, Failed> {
    if args.verb == "preset-all" {
        return Ok(Vec::new());
    }
    some(&Args { units: vec!["-".to_owned(); args.units.len()], ..Args::default() })?;
    if args.verb == "set-default" {
        return match args.units.as_slice() {
            [one] if one.contains('.') => all_names(std::slice::from_ref(one)),
            [one] => all_names(&[format!("{one}.target")]),
            _ => Err(Failed(exit_status::FAILURE, "Too many arguments.".into())),
        };
    }
    let target = args.verb.starts_with("add-");
    let name = |(at, name): (usize, &String)| match name.contains('/') {
        true => {
            std::path::absolute(name).map(|path| path.to_string_lossy().into_owned()).map_err(Failed::from)
        }
        false if target && at == 0 && !name.contains('.') => full_name(&format!("{name}.target")),
        false => full_name(name),
    };
    let names: Vec<String> = args.units.iter().enumerate().map(name).collect::<Result<_, _>>()?;
    if target && names.len() < 2 {
        return Err(Failed(exit_status::FAILURE, "Too few arguments.".into()));
    }
    Ok(names)
}

fn say((kind, path, source): &(String, String, String)) {
    match kind.as_str() {
        "symlink" => eprintln!("Created symlink {path} → {source}."),
        "unlink" => eprintln!("Removed \"{path}\"."),
        "masked" => eprintln!("Unit {path} is masked, ignoring."),
        "dangling" => eprintln!("Unit {path} is an alias to a unit that is not present, ignoring."),
        "destination not present" => {
            eprintln!("Unit {source} is added as a dependency to a non-existent unit {path}.");
        }
        "auxiliary unit failed" => eprintln!("Failed to enable auxiliary unit {path}, ignoring."),
        _ => {}
    }
}

fn online(control: &mut Control, args: &Args, names: &[String]) -> Result<Changed, Failed> {
    let list = || Value::strings(names.iter().cloned());
    let (runtime, force): (Value, Value) = (Value::Bool(args.runtime), Value::Bool(args.force > 0));
    let mode = || Value::from(args.preset_mode.clone());
    let flags = || Value::Uint64(u64::from(args.runtime) | u64::from(args.force > 0) << 1);
    let (method, body) = match args.verb.as_str() {
        "enable" => ("EnableUnitFiles", vec![list(), runtime, force]),
        "disable" => ("DisableUnitFilesWithFlagsAndInstallInfo", vec![list(), flags()]),
        "reenable" => ("ReenableUnitFiles", vec![list(), runtime, force]),
        "preset" => ("PresetUnitFilesWithMode", vec![list(), mode(), runtime, force]),
        "preset-all" => ("PresetAllUnitFiles", vec![mode(), runtime, force]),
        "mask" => ("MaskUnitFiles", vec![list(), runtime, force]),
        "unmask" => ("UnmaskUnitFiles", vec![list(), runtime]),
        "link" => ("LinkUnitFiles", vec![list(), runtime, force]),
        "revert" => ("RevertUnitFiles", vec![list()]),
        "set-default" => ("SetDefaultTarget", vec![names[0].clone().into(), Value::Bool(true)]),
        verb => {
            let kind = if verb == "add-wants" { "Wants" } else { "Requires" };
            let units = Value::strings(names[1..].iter().cloned());
            let body = vec![units, names[0].clone().into(), kind.into(), runtime, force];
            ("AddDependencyUnitFiles", body)
        }
    };
    let answer = control.ask(method, body).map_err(|error| {
        let what = match args.verb.as_str() {
            "set-default" => "set default target".to_owned(),
            "add-wants" | "add-requires" => "add dependency".to_owned(),
            "preset-all" => "preset all units".to_owned(),
            verb => format!("{verb} unit"),
        };
        Failed(exit_status::FAILURE, format!("Failed to {what}: {error}"))
    })?;
    let install = match answer.first() {
        Some(Value::Bool(install)) if args.verb != "preset" => Some(*install),
        _ => None,
    };
    let rows = answer.last().map_or(&[][..], Value::items);
    let texts = |row: &Value| (field(row, 0).to_owned(), field(row, 1).to_owned(), field(row, 2).to_owned());
    Ok(Changed { install, rows: rows.iter().map(texts).collect() })
}

fn is_enabled(
    mut control: Option<&mut Control>,
    args: &Args,
    units: &[String],
    out: &mut impl Write,
) -> Result<u8, Failed> {
    let mut status = exit_status::FAILURE;
    for unit in units {
        let failed = |error: String| {
            Failed(exit_status::FAILURE, format!("Failed to get unit file state for {unit}: {error}"))
        };
        let state = match &mut control {
            Some(control) => {
                let answer = control.ask("GetUnitFileState", vec![unit.clone().into()]);
                let answer = answer.map_err(|error| failed(error.to_string()))?;
                answer.first().and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            None => offline::state(args, unit).map_err(failed)?,
        };
        if ["enabled", "enabled-runtime", "static", "alias", "indirect", "generated"].contains(&&*state) {
            status = 0;
        }
        if args.quiet {
            continue;
        }
        writeln!(out, "{state}")?;
        if let (true, Some(control)) = (args.full, &mut control) {
            let links = control.ask("GetUnitFileLinks", vec![unit.clone().into(), Value::Bool(false)])?;
            for link in links.first().map_or(&[][..], Value::items) {
                writeln!(out, "  {}", link.as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(status)
}
