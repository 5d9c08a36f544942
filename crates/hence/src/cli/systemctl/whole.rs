//! Verbs about the whole: its state, its environment, its end; and settings of units while they run.

use super::{Args, Failed, exit_status, job, some, text};
use crate::control::{Control, ControlError};
use hence_bus::front::ROOT;
use hence_bus::wire::Value;
use std::io::Write;

/// Runs a verb.
pub fn run(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let verb = args.verb.as_str();
    let ask = |control: &mut Control, member, body, failed: &str| match control.ask(member, body) {
        Ok(_) => Ok(0),
        Err(error @ ControlError::Refused(_)) => {
            Err(Failed(exit_status::FAILURE, format!("{failed}: {error}")))
        }
        Err(error) => Err(error.into()),
    };
    let variables = || Value::strings(args.units.iter().cloned());
    match verb {
        "is-system-running" => {
            let mut about = control.properties(ROOT.to_owned())?;
            while args.wait && ["initializing", "starting"].contains(&text(&about, "SystemState")) {
                control.wait_for_news()?;
                about = control.properties(ROOT.to_owned())?;
            }
            let state = text(&about, "SystemState");
            if !args.quiet {
                writeln!(out, "{state}")?;
            }
            Ok(if state == "running" { 0 } else { exit_status::FAILURE })
        }
        "daemon-reload" => ask(control, "Reload", Vec::new(), "Reload daemon failed"),
        // Who does it ends the connection; it is not answered.
        "daemon-reexec" => match control.ask("Reexecute", Vec::new()) {
            Ok(_) | Err(ControlError::Broken(_)) => Ok(0),
            Err(error) => Err(Failed(exit_status::FAILURE, format!("Reexecute daemon failed: {error}"))),
        },
        "show-environment" => {
            let about = control.properties(ROOT.to_owned())?;
            for line in super::property(&about, "Environment").map_or(&[][..], Value::items) {
                writeln!(out, "{}", line.as_str().unwrap_or_default())?;
            }
            Ok(0)
        }
        "set-environment" if !args.units.is_empty() => {
            ask(control, "SetEnvironment", vec![variables()], "Failed to set environment")
        }
        "unset-environment" if !args.units.is_empty() => {
            ask(control, "UnsetEnvironment", vec![variables()], "Failed to set environment")
        }
        "import-environment" => {
            let found = imported(&args.units)?;
            let body = vec![Value::strings(found)];
            ask(control, "SetEnvironment", body, "Failed to import environment")
        }
        "log-level" | "log-target" | "service-watchdogs" => setting_of_all(control, args, out),
        "set-property" => super::setting::set_property(control, args),
        "freeze" | "thaw" => {
            let method = if verb == "freeze" { "FreezeUnit" } else { "ThawUnit" };
            each(control, &some(args)?, verb, |unit| (method, vec![unit.to_owned().into()]))
        }
        "clean" => {
            let what =
                if args.what.is_empty() { vec!["cache".into(), "runtime".into()] } else { args.what.clone() };
            let what = Value::strings(what);
            each(control, &some(args)?, verb, |unit| {
                ("CleanUnit", vec![unit.to_owned().into(), what.clone()])
            })
        }
        "default" | "rescue" | "emergency" if args.dry_run => Ok(0),
        "default" | "rescue" | "emergency" => {
            let target = vec![format!("{verb}.target")];
            let args = &Args {
                verb: "isolate".into(),
                job_mode: "isolate".into(),
                no_block: args.no_block,
                ..Args::default()
            };
            job::run_as(control, args, "start", "StartUnit", &target)
        }
        "suspend" | "hibernate" | "hybrid-sleep" | "suspend-then-hibernate" => {
            let args = &Args { job_mode: "replace-irreversibly".into(), ..args.clone() };
            if args.dry_run {
                return Ok(0);
            }
            job::run_as(control, args, "start", "StartUnit", &[format!("{verb}.target")])
        }
        "poweroff" | "reboot" | "halt" | "kexec" | "exit" => end(control, args),
        "set-environment" | "unset-environment" => {
            Err(Failed(exit_status::FAILURE, "Too few arguments.".into()))
        }
        verb => Err(Failed(exit_status::FAILURE, format!("Unknown command verb {verb}."))),
    }
}

/// Ends the machine: by its target, or at once with `--force`.
fn end(control: &mut Control, args: &Args) -> Result<u8, Failed> {
    let verb = args.verb.as_str();
    let failed = |error: ControlError| Failed(exit_status::FAILURE, format!("Failed to {verb}: {error}"));
    if let (true, Some(code)) = (verb == "exit", args.units.first()) {
        let Ok(code) = code.parse::<u8>() else {
            return Err(Failed(exit_status::FAILURE, "Invalid exit code.".into()));
        };
        if args.dry_run {
            return Ok(0);
        }
        control.ask("SetExitCode", vec![Value::Byte(code)]).map_err(failed)?;
    }
    if args.dry_run {
        return Ok(0);
    }
    if verb == "kexec" && !std::path::Path::new("/sbin/kexec").exists() {
        let text = "/sbin/kexec is not available: No such file or directory";
        return Err(Failed(exit_status::FAILURE, text.into()));
    }
    let method = match verb {
        "poweroff" => "PowerOff",
        "reboot" => "Reboot",
        "halt" => "Halt",
        "kexec" => "KExec",
        _ => "Exit",
    };
    if args.force > 0 || verb == "exit" {
        control.ask(method, Vec::new()).map_err(failed)?;
        return Ok(0);
    }
    let target = Value::from(format!("{verb}.target"));
    let mode = Value::from("replace-irreversibly");
    control.ask("StartUnit", vec![target, mode]).map_err(failed)?;
    Ok(0)
}

fn each(
    control: &mut Control,
    units: &[String],
    verb: &str,
    call: impl Fn(&str) -> (&'static str, Vec<Value>),
) -> Result<u8, Failed> {
    let mut status = 0;
    for unit in units {
        let (method, body) = call(unit);
        match control.ask(method, body) {
            Ok(_) => {}
            Err(error @ ControlError::Refused(_)) => {
                eprintln!("Failed to {verb} unit {unit}: {error}");
                status = exit_status::FAILURE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(status)
}

/// The variables of our environment, those of these names or, as systemctl warns of, all.
fn imported(names: &[String]) -> Result<Vec<String>, Failed> {
    if names.is_empty() {
        eprintln!("Calling import-environment without a list of variable names is deprecated.");
        return Ok(std::env::vars().map(|(name, value)| format!("{name}={value}")).collect());
    }
    let mut found = Vec::new();
    for name in names {
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(Failed(
                exit_status::FAILURE,
                format!("Not a valid environment variable name: {name}"),
            ));
        }
        match std::env::var(name) {
            Ok(value) => found.push(format!("{name}={value}")),
            Err(_) => eprintln!("Environment variable ${name} not set, ignoring."),
        }
    }
    Ok(found)
}

/// Shows or sets a setting of the whole.
fn setting_of_all(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let name = match args.verb.as_str() {
        "log-level" => "LogLevel",
        "log-target" => "LogTarget",
        _ => "ServiceWatchdogs",
    };
    let Some(value) = args.units.first() else {
        if name == "ServiceWatchdogs" {
            // Watchdogs of services are always looked at.
            writeln!(out, "yes")?;
            return Ok(0);
        }
        let about = control.properties(ROOT.to_owned())?;
        writeln!(out, "{}", text(&about, name))?;
        return Ok(0);
    };
    let body = vec![crate::control::MANAGER.into(), name.into(), Value::variant(value.clone().into())];
    control.call(ROOT.to_owned(), "org.freedesktop.DBus.Properties", "Set", body).map_err(|error| {
        Failed(exit_status::FAILURE, format!("Failed to set {} to {value}: {error}", args.verb))
    })?;
    Ok(0)
}
