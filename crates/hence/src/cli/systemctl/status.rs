//! `status` in short, and the lists of units and jobs.

use super::show::{code_word, moment, span};
use super::{Args, Failed, Properties, exit_status, full_name, properties, property, text};
use crate::control::{Control, ControlError};
use hence_bus::front::matches;
use hence_bus::wire::Value;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Prints units one after another. The exit status is the first bad one's.
pub fn print(control: &mut Control, units: &[String], out: &mut impl Write) -> Result<u8, Failed> {
    let mut status = 0;
    for (number, unit) in units.iter().enumerate() {
        let about = properties(control, unit)?;
        let own = if text(&about, "LoadState") == "not-found" && text(&about, "ActiveState") == "inactive" {
            eprintln!("Unit {unit} could not be found.");
            exit_status::NO_SUCH_UNIT
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            one(control, unit, &about, out)?;
            match text(&about, "ActiveState") {
                "active" | "reloading" => 0,
                _ => exit_status::NOT_RUNNING,
            }
        };
        status = if status == 0 { own } else { status };
    }
    Ok(status)
}

fn number(about: &Properties, name: &str) -> Option<u64> {
    match property(about, name) {
        Some(Value::Uint64(u64::MAX)) | None => None,
        Some(Value::Uint64(number)) => Some(*number),
        Some(Value::Uint32(number)) => Some(u64::from(*number)),
        Some(_) => None,
    }
    .filter(|&number| number > 0)
}

fn one(control: &mut Control, unit: &str, about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    let active = text(about, "ActiveState");
    let dot = match active {
        "active" | "reloading" => "●",
        "failed" => "×",
        _ => "○",
    };
    let description = text(about, "Description");
    let title = if description == unit { String::new() } else { format!(" - {description}") };
    writeln!(out, "{dot} {unit}{title}")?;
    let fragment = match (text(about, "FragmentPath"), text(about, "UnitFileState")) {
        ("", _) => String::new(),
        (path, "") => format!(" ({path})"),
        (path, state) => format!(" ({path}; {state})"),
    };
    writeln!(out, "     Loaded: {}{fragment}", text(about, "LoadState"))?;
    for path in property(about, "DropInPaths").map_or(&[][..], Value::items) {
        writeln!(out, "    Drop-In: {}", path.as_str().unwrap_or_default())?;
    }
    let result = match text(about, "Result") {
        "" | "success" => String::new(),
        result => format!(" (Result: {result})"),
    };
    let since = match active {
        "active" | "reloading" => number(about, "ActiveEnterTimestamp"),
        "inactive" | "failed" => number(about, "InactiveEnterTimestamp"),
        _ => number(about, "StateChangeTimestamp"),
    };
    let since = since.map_or(String::new(), |at| format!(" since {}; {} ago", moment(at), age(at)));
    let sub = text(about, "SubState");
    let sub = if sub == active { String::new() } else { format!(" ({sub})") };
    writeln!(out, "     Active: {active}{sub}{result}{since}")?;
    for other in property(about, "TriggeredBy").map_or(&[][..], Value::items) {
        writeln!(out, "TriggeredBy: {}", other.as_str().unwrap_or_default())?;
    }
    let main = number(about, "MainPID");
    if let Some(pid) = main {
        writeln!(out, "   Main PID: {pid}")?;
    } else if let Some(pid) = number(about, "ExecMainPID") {
        let code = property(about, "ExecMainCode").map_or("(null)", code_word);
        let status = match property(about, "ExecMainStatus") {
            Some(Value::Int32(status)) => *status,
            _ => 0,
        };
        let how = if code == "exited" { "status" } else { "signal" };
        writeln!(out, "   Main PID: {pid} (code={code}, {how}={status})")?;
    }
    if !text(about, "StatusText").is_empty() {
        writeln!(out, "     Status: \"{}\"", text(about, "StatusText"))?;
    }
    if let Some(restarts) = number(about, "NRestarts") {
        writeln!(out, "   Restarts: {restarts}")?;
    }
    if let Some(tasks) = number(about, "TasksCurrent") {
        let limit = number(about, "TasksMax").map_or(String::new(), |max| format!(" (limit: {max})"));
        writeln!(out, "      Tasks: {tasks}{limit}")?;
    }
    if let Some(bytes) = number(about, "MemoryCurrent") {
        writeln!(out, "     Memory: {:.1}M", bytes as f64 / (1024.0 * 1024.0))?;
    }
    processes(control, unit, out)
}

fn processes(control: &mut Control, unit: &str, out: &mut impl Write) -> Result<(), Failed> {
    let asked = control.ask("GetUnitProcesses", vec![unit.to_owned().into()]);
    let rows = match &asked {
        Ok(body) => body.first().map_or(&[][..], Value::items),
        // A unit that is not loaded has none.
        Err(ControlError::Refused(_)) => &[],
        Err(_) => return asked.map(drop).map_err(Failed::from),
    };
    let mut group = "";
    for row in rows {
        let [cgroup, Value::Uint32(pid), command] = row.items() else { continue };
        let cgroup = cgroup.as_str().unwrap_or_default();
        if cgroup != group {
            writeln!(out, "     CGroup: {cgroup}")?;
            group = cgroup;
        }
        writeln!(out, "             {pid} {}", command.as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// How long ago, in its two largest units.
fn age(at_us: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    let us = now_us.saturating_sub(at_us);
    let precision = if us < 1_000_000 { 1000 } else { 1_000_000 };
    span(us / precision * precision).split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Prints rows in columns, the last one as it is.
fn table(rows: &[Vec<&str>], out: &mut impl Write) -> Result<(), Failed> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$} "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn field(row: &Value, at: usize) -> &str {
    row.items().get(at).and_then(Value::as_str).unwrap_or_default()
}

/// Prints the units that are up, failed or have a job; with `--all` or `--state=` others, too.
pub fn list_units(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let patterns: Vec<String> =
        args.units.iter().map(|name| full_name(name).unwrap_or_else(|_| name.clone())).collect();
    let body = control.ask("ListUnits", Vec::new())?;
    let wanted = |row: &&Value| {
        let (name, load, active, sub) = (field(row, 0), field(row, 2), field(row, 3), field(row, 4));
        let kind = name.rsplit('.').next().unwrap_or_default();
        let has_job = row.items().get(7) != Some(&Value::Uint32(0));
        let state = match args.state.as_slice() {
            [] => args.all || active != "inactive" || has_job,
            states => states.iter().any(|state| [load, active, sub].contains(&state.as_str())),
        };
        state
            && (args.kinds.is_empty() || args.kinds.iter().any(|known| known == kind))
            && (patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name)))
    };
    let mut rows: Vec<&Value> = body.first().map_or(&[][..], Value::items).iter().filter(wanted).collect();
    rows.sort_by_key(|row| field(row, 0).to_owned());
    let mut lines = Vec::new();
    if !args.no_legend {
        lines.push(vec!["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"]);
    }
    lines.extend(rows.iter().map(|row| [0, 2, 3, 4, 1].map(|at| field(row, at)).to_vec()));
    table(&lines, out)?;
    if !args.no_legend {
        writeln!(out, "{} loaded units listed.", rows.len())?;
    }
    Ok(0)
}

/// Prints the queued jobs.
pub fn list_jobs(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let body = control.ask("ListJobs", Vec::new())?;
    let rows = body.first().map_or(&[][..], Value::items);
    if rows.is_empty() {
        if !args.no_legend {
            writeln!(out, "No jobs running.")?;
        }
        return Ok(0);
    }
    let id = |row: &Value| match row.items().first() {
        Some(Value::Uint32(id)) => id.to_string(),
        _ => String::new(),
    };
    let ids: Vec<String> = rows.iter().map(id).collect();
    let mut lines = Vec::new();
    if !args.no_legend {
        lines.push(vec!["JOB", "UNIT", "TYPE", "STATE"]);
    }
    lines.extend(
        rows.iter().zip(&ids).map(|(row, id)| vec![&**id, field(row, 1), field(row, 2), field(row, 3)]),
    );
    table(&lines, out)?;
    if !args.no_legend {
        writeln!(out, "{} jobs listed.", rows.len())?;
    }
    Ok(0)
}
