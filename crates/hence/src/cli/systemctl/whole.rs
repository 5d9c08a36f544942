//! Verbs about the whole: its state, its environment, its end; and settings of units while they run.

use super::{Args, Failed, exit_status, full_name, job, some, text};
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
            let about = control.properties(ROOT.to_owned())?;
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
        "set-property" => set_property(control, args),
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
            return Err(Failed(exit_status::FAILURE, format!("Invalid exit code: {code}")));
        };
        control.ask("SetExitCode", vec![Value::Byte(code)]).map_err(failed)?;
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

/// Changes settings of a unit, until the next boot with `--runtime`.
fn set_property(control: &mut Control, args: &Args) -> Result<u8, Failed> {
    let [unit, assignments @ ..] = args.units.as_slice() else {
        return Err(Failed(exit_status::FAILURE, "Too few arguments.".into()));
    };
    let unit = full_name(unit)?;
    let mut rows = Vec::new();
    for assignment in assignments {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(Failed(exit_status::FAILURE, format!("Not an assignment: {assignment}")));
        };
        let (name, value) = setting(name, value)?;
        rows.push(Value::Struct(vec![name.into(), Value::variant(value)]));
    }
    if rows.is_empty() {
        return Err(Failed(exit_status::FAILURE, "Too few arguments.".into()));
    }
    let body = vec![unit.clone().into(), Value::Bool(args.runtime), Value::array("(sv)", rows)];
    control.ask("SetUnitProperties", body).map_err(|error| {
        Failed(exit_status::FAILURE, format!("Failed to set unit properties on {unit}: {error}"))
    })?;
    Ok(0)
}

/// A setting as the bus has it.
fn setting(name: &str, value: &str) -> Result<(String, Value), Failed> {
    let bad = || Failed(exit_status::FAILURE, format!("Failed to parse {name}= value: {value}"));
    let percent = || value.strip_suffix('%').and_then(|number| number.parse::<u64>().ok());
    let scale = |percent: u64| Value::Uint32(u32::try_from((percent << 32) / 100).unwrap_or(u32::MAX));
    match name {
        "Description" => Ok((name.to_owned(), value.to_owned().into())),
        _ if name.ends_with("Accounting") => match value {
            "1" | "yes" | "y" | "true" | "t" | "on" => Ok((name.to_owned(), Value::Bool(true))),
            "0" | "no" | "n" | "false" | "f" | "off" => Ok((name.to_owned(), Value::Bool(false))),
            _ => Err(bad()),
        },
        "CPUWeight" | "StartupCPUWeight" | "IOWeight" | "StartupIOWeight" => {
            let weight = match value {
                "" => u64::MAX,
                "idle" if name.ends_with("CPUWeight") => 0,
                value => value.parse().ok().filter(|weight| (1..=10_000).contains(weight)).ok_or_else(bad)?,
            };
            Ok((name.to_owned(), Value::Uint64(weight)))
        }
        "CPUQuota" => {
            let us =
                if value.is_empty() { u64::MAX } else { percent().ok_or_else(bad)?.saturating_mul(10_000) };
            Ok(("CPUQuotaPerSecUSec".to_owned(), Value::Uint64(us)))
        }
        "MemoryMin" | "MemoryLow" | "MemoryHigh" | "MemoryMax" | "MemorySwapMax" | "TasksMax" => {
            match percent() {
                Some(percent) if percent <= 100 => return Ok((format!("{name}Scale"), scale(percent))),
                Some(_) => return Err(bad()),
                None => {}
            }
            let amount = match value {
                "" | "infinity" => u64::MAX,
                value => amount(value).ok_or_else(bad)?,
            };
            Ok((name.to_owned(), Value::Uint64(amount)))
        }
        _ => Err(Failed(exit_status::FAILURE, format!("Unknown assignment: {name}={value}"))),
    }
}

/// A number with a binary suffix.
fn amount(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(at);
    let shift = match suffix.trim() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
