//! Verbs that change something: jobs, signals, failures forgotten.

use super::{Args, Failed, exit_status, properties, property, status_of, text};
use crate::control::{Control, ControlError};
use hence_bus::front::unit_path;
use hence_bus::wire::Value;

/// The method of a verb that makes a job.
pub fn method(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "start" => "StartUnit",
        "stop" => "StopUnit",
        "restart" => "RestartUnit",
        "try-restart" | "condrestart" => "TryRestartUnit",
        "reload" => "ReloadUnit",
        "reload-or-restart" | "force-reload" => "ReloadOrRestartUnit",
        "try-reload-or-restart" => "ReloadOrTryRestartUnit",
        "isolate" => "StartUnit",
        _ => return None,
    })
}

/// Queues a job for each unit, then waits for all.
pub fn run(control: &mut Control, args: &Args, method: &'static str, units: &[String]) -> Result<u8, Failed> {
    let verb = match args.verb.as_str() {
        "isolate" if units.len() > 1 => {
            return Err(Failed(exit_status::FAILURE, "Too many arguments.".into()));
        }
        "isolate" => "start",
        verb => verb,
    };
    run_as(control, args, verb, method, units)
}

/// The same, said to be another verb.
pub fn run_as(
    control: &mut Control,
    args: &Args,
    verb: &str,
    method: &'static str,
    units: &[String],
) -> Result<u8, Failed> {
    let mode = if args.verb == "isolate" { "isolate" } else { args.job_mode.as_str() };
    let mut status = 0;
    let mut jobs = Vec::new();
    for unit in units {
        if args.show_transaction {
            jobs.extend(enqueue(control, verb, mode, unit, &mut status)?.map(|job| (unit, job)));
            continue;
        }
        let asked = control.ask(method, vec![unit.clone().into(), mode.to_owned().into()]);
        match asked.as_deref().map(|body| body.first().and_then(Value::as_str)) {
            Ok(Some(job)) => {
                jobs.push((unit, job.to_owned()));
                if !args.quiet && needs_reload(control, unit) {
                    eprintln!("{}", outdated(args, unit));
                }
            }
            Ok(None) => return Err(ControlError::Unexpected("the job").into()),
            Err(error @ ControlError::Refused(_)) => {
                eprintln!("Failed to {verb} {unit}: {error}");
                if let ControlError::Refused(refusal) = error {
                    hint(args, unit, &refusal.name);
                }
                status = status_of(error);
            }
            Err(error) => return Err(Failed(exit_status::FAILURE, error.to_string())),
        }
    }
    if method == "StopUnit" && !args.quiet {
        units.iter().try_for_each(|unit| warn_of_triggers(control, unit))?;
    }
    if args.no_block {
        return Ok(status);
    }
    for (unit, job) in jobs {
        let result = control.wait_for_job(&job)?;
        if let Some(sentence) = complaint(unit, &result) {
            eprintln!("{sentence}");
            status = status.max(exit_status::FAILURE);
        }
    }
    if args.wait && ["StartUnit", "RestartUnit"].contains(&method) {
        for unit in units {
            if !control.wait_for_end(unit)? {
                status = status.max(exit_status::FAILURE);
            }
        }
    }
    Ok(status)
}

/// Queues a job and names what comes with it.
fn enqueue(
    control: &mut Control,
    verb: &str,
    mode: &str,
    unit: &str,
    status: &mut u8,
) -> Result<Option<String>, Failed> {
    let body = vec![unit.to_owned().into(), verb.to_owned().into(), mode.to_owned().into()];
    let answer = match control.ask("EnqueueUnitJob", body) {
        Ok(answer) => answer,
        Err(error @ ControlError::Refused(_)) => {
            eprintln!("Failed to {verb} {unit}: {error}");
            *status = status_of(&error);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let [Value::Uint32(id), path, _, _, kind, others] = answer.as_slice() else {
        return Err(ControlError::Unexpected("the job").into());
    };
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    eprintln!("Enqueued anchor job {id} {unit}/{}.", name(kind));
    for other in others.items() {
        if let [Value::Uint32(id), _, unit, _, kind] = other.items() {
            eprintln!("Enqueued auxiliary job {id} {}/{}.", name(unit), name(kind));
        }
    }
    Ok(Some(name(path)))
}

/// What to say where a unit's files changed after they were read.
pub fn outdated(args: &Args, unit: &str) -> String {
    let option = if args.user { " --user" } else { "" };
    format!(
        "Warning: The unit file, source configuration file or drop-ins of {unit} changed on disk. \
         Run 'systemctl{option} daemon-reload' to reload units."
    )
}

fn needs_reload(control: &mut Control, unit: &str) -> bool {
    let body = vec!["org.freedesktop.systemd1.Unit".into(), "NeedDaemonReload".into()];
    let answer = control.call(unit_path(unit), "org.freedesktop.DBus.Properties", "Get", body);
    answer.is_ok_and(|body| match body.first() {
        Some(Value::Variant(value)) => **value == Value::Bool(true),
        _ => false,
    })
}

/// Says what may start a unit again that is stopped.
fn warn_of_triggers(control: &mut Control, unit: &str) -> Result<(), Failed> {
    let Ok(about) = properties(control, unit) else { return Ok(()) };
    if text(&about, "LoadState") == "masked" {
        return Ok(());
    }
    let mut active = Vec::new();
    for trigger in property(&about, "TriggeredBy").map_or(&[][..], Value::items) {
        let Some(trigger) = trigger.as_str() else { continue };
        let state = properties(control, trigger)?;
        if ["active", "reloading"].contains(&text(&state, "ActiveState")) {
            active.push(trigger.to_owned());
        }
    }
    if !active.is_empty() {
        eprintln!("Warning: Stopping {unit}, but it can still be activated by:");
        active.iter().for_each(|trigger| eprintln!("  {trigger}"));
    }
    Ok(())
}

/// Where to look when a refusal does not say all.
fn hint(args: &Args, unit: &str, refusal: &str) {
    let clear = ["NoSuchUnit", "UnitMasked", "JobTypeNotApplicable"];
    if clear.iter().any(|name| refusal.ends_with(name)) {
        return;
    }
    let (whose, option) = if args.user { ("user", " --user") } else { ("system", "") };
    eprintln!("See {whose} logs and 'systemctl{option} status {unit}' for details.");
}

/// What to say of a job that did not do what it was for.
fn complaint(unit: &str, result: &str) -> Option<String> {
    Some(match result {
        "done" | "skipped" => return None,
        "canceled" | "collected" => format!("Job for {unit} canceled."),
        "timeout" => format!("Job for {unit} timed out."),
        "dependency" => {
            format!("A dependency job for {unit} failed. See \"hence why {unit}\" for details.")
        }
        "invalid" => format!("{unit} is not active, cannot reload."),
        "assert" => format!("Assertion failed on job for {unit}."),
        "unsupported" => format!("Operation on or unit type of {unit} not supported on this system."),
        "once" => format!("Unit {unit} was started already once and can't be started again."),
        _ => format!(
            "Job for {unit} failed.\nSee \"hence systemctl status {unit}\" and \"hence why {unit}\" for \
             details."
        ),
    })
}

/// Sends a signal.
pub fn kill(control: &mut Control, args: &Args, units: &[String]) -> Result<u8, Failed> {
    let Some(signal) = signal(&args.signal) else {
        return Err(Failed(
            exit_status::FAILURE,
            format!("Failed to parse signal string \"{}\".", args.signal),
        ));
    };
    let whom = args.kill_whom.as_str();
    each(units, "kill unit", |unit| {
        control.ask("KillUnit", vec![unit.to_owned().into(), whom.to_owned().into(), Value::Int32(signal)])
    })
}

/// Forgets failures, of all units where none is named.
pub fn reset_failed(control: &mut Control, units: &[String]) -> Result<u8, Failed> {
    if units.is_empty() {
        control.ask("ResetFailed", Vec::new())?;
        return Ok(0);
    }
    each(units, "reset failed state of unit", |unit| {
        control.ask("ResetFailedUnit", vec![unit.to_owned().into()])
    })
}

/// Cancels jobs, all where none is named.
pub fn cancel(control: &mut Control, args: &Args) -> Result<u8, Failed> {
    if args.units.is_empty() {
        control.ask("ClearJobs", Vec::new())?;
        return Ok(0);
    }
    let mut status = 0;
    for job in &args.units {
        let Ok(id) = job.parse::<u32>() else {
            return Err(Failed(exit_status::FAILURE, format!("Failed to parse job id \"{job}\".")));
        };
        if let Err(error) = control.ask("CancelJob", vec![id.into()]) {
            eprintln!("Failed to cancel job {job}: {error}");
            status = exit_status::FAILURE;
        }
    }
    Ok(status)
}

fn each(
    units: &[String],
    what: &str,
    mut ask: impl FnMut(&str) -> Result<Vec<Value>, ControlError>,
) -> Result<u8, Failed> {
    let mut status = 0;
    for unit in units {
        match ask(unit) {
            Ok(_) => {}
            Err(error @ ControlError::Refused(_)) => {
                eprintln!("Failed to {what} {unit}: {error}");
                status = exit_status::FAILURE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(status)
}

/// A signal by its number or its name, with or without `SIG`; signal(7).
fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = Some(text).filter(|text| text.starts_with(|c: char| c.is_ascii_uppercase()));
    name.and_then(hence_unit::value::signal).map(i32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("HUP", 1),
            ("SIGKILL", 9),
            ("TERM", 15),
            ("31", 31),
            ("SYS", 31),
            ("64", 64),
            ("SIGRTMIN+2", 36),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for text in ["0", "65", "-1", "SIG", "hup", "", "RTMIN+99", "RTMIN-1", "RTMIN2"] {
            assert_eq!(signal(text), None, "{text}");
        }
    }
}
