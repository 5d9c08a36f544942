//! Lists: units, unit files, jobs, timers, sockets.

use super::text::{Cell, moment, now_us, relative, table};
use super::{Args, Failed, connect, field, full_name, offline, properties, property, text};
use crate::control::Control;
use hence_bus::front::matches;
use hence_bus::wire::Value;
use std::io::Write;

fn kind(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// By kind, then by name.
fn order(name: &str) -> (String, String) {
    (kind(name).to_lowercase(), name.to_lowercase())
}

fn states(args: &Args) -> Vec<&str> {
    args.state.iter().map(String::as_str).chain(args.failed.then_some("failed")).collect()
}

fn patterns(args: &Args) -> Vec<String> {
    args.units.iter().map(|name| full_name(name).unwrap_or_else(|_| name.clone())).collect()
}

/// The units that a list shows, in its order.
fn wanted(control: &mut Control, args: &Args) -> Result<Vec<Value>, Failed> {
    let (patterns, states) = (patterns(args), states(args));
    let body = control.ask("ListUnits", Vec::new())?;
    let wanted = |row: &&Value| {
        let (name, load, active, sub) = (field(row, 0), field(row, 2), field(row, 3), field(row, 4));
        let has_job = row.items().get(7) != Some(&Value::Uint32(0));
        let state = match states.as_slice() {
            [] => args.all || active != "inactive" || has_job,
            states => states.iter().any(|state| [load, active, sub].contains(state)),
        };
        state
            && (args.kinds.is_empty() || args.kinds.iter().any(|known| known == kind(name)))
            && (patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, name)))
    };
    let mut rows: Vec<Value> =
        body.first().map_or(&[][..], Value::items).iter().filter(wanted).cloned().collect();
    rows.sort_by_key(|row| order(field(row, 0)));
    Ok(rows)
}

/// Prints the units that are up, failed or have a job; with `--all` or `--state=` others, too.
pub fn units(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let rows = wanted(control, args)?;
    let jobs = rows.iter().any(|row| !field(row, 8).is_empty());
    let dots = !args.plain;
    let mut heading = vec!["UNIT", "LOAD", "ACTIVE", "SUB", "JOB", "DESCRIPTION"];
    let mut names = vec!["unit", "load", "active", "sub", "job", "description"];
    if !jobs {
        heading.remove(4);
        names.remove(4);
    }
    if dots {
        heading.insert(0, " ");
        names.insert(0, "");
    }
    let cells = |row: &Value| {
        let mut cells: Vec<Cell> = [0, 2, 3, 4].map(|at| Cell::of(field(row, at))).to_vec();
        if jobs {
            cells.push(if field(row, 8).is_empty() { Cell::Nothing } else { Cell::of(field(row, 8)) });
        }
        cells.push(Cell::of(field(row, 1)));
        if dots {
            let bad = ["error", "not-found", "bad-setting", "masked"].contains(&field(row, 2))
                || field(row, 3) == "failed";
            cells.insert(0, Cell::of(if bad { "●" } else { " " }));
        }
        cells
    };
    let cells: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    if table(args, (&heading, &names), &cells, out)? {
        if !rows.is_empty() {
            writeln!(out, "\nLOAD   = Reflects whether the unit definition was properly loaded.")?;
            writeln!(
                out,
                "ACTIVE = The high-level unit activation state, i.e. generalization of SUB.\n\
                 SUB    = The low-level unit activation state, values depend on unit type."
            )?;
            if jobs {
                writeln!(out, "JOB    = Pending job for the unit.")?;
            }
        }
        write!(out, "{} loaded units listed.", rows.len())?;
        let all = "\nTo show all installed unit files use 'systemctl list-unit-files'.";
        match (args.all, states(args).is_empty()) {
            (true, _) => writeln!(out, "{all}")?,
            (false, true) => {
                writeln!(out, " Pass --all to see loaded but inactive units, too.{all}")?;
            }
            (false, false) => writeln!(out)?,
        }
    }
    Ok(0)
}

/// Prints the unit files, those of a folder of its own with `--root=`.
pub fn unit_files(args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let mut rows: Vec<(String, String, Option<String>)> = Vec::new();
    if offline::wanted(args) {
        rows = offline::list(args);
    } else {
        let mut control = connect(args)?;
        let body = control.ask("ListUnitFiles", Vec::new())?;
        for row in body.first().map_or(&[][..], Value::items) {
            let (path, state) = (field(row, 0), field(row, 1));
            rows.push((path.to_owned(), state.to_owned(), None));
        }
    }
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let (patterns, states) = (patterns(args), states(args));
    rows.retain(|(path, state, _)| {
        let name = name(path);
        (states.is_empty() || states.contains(&state.as_str()))
            && (args.kinds.is_empty() || args.kinds.iter().any(|known| known == kind(&name)))
            && (patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, &name)))
    });
    rows.sort_by_key(|(path, _, _)| order(&name(path)));
    let mut control = if offline::wanted(args) { None } else { Some(connect(args)?) };
    let mut cells = Vec::new();
    for (path, state, preset) in &rows {
        let name = name(path);
        let applies = ["enabled", "enabled-runtime", "disabled"].contains(&state.as_str())
            || (state == "indirect" || state == "linked" || state == "linked-runtime");
        let preset = match (&mut control, preset) {
            (_, Some(preset)) if applies => Cell::of(preset),
            // A template is no unit that could be asked; what holds for its file is found in the files.
            (Some(_), None) if applies && name.contains("@.") => Cell::of("enabled"),
            (Some(control), None) if applies => {
                let preset = properties(control, &name)?;
                match text(&preset, "UnitFilePreset") {
                    "" => Cell::Nothing,
                    preset => Cell::of(preset),
                }
            }
            _ => Cell::Nothing,
        };
        cells.push(vec![Cell::Text(name), Cell::of(state), preset]);
    }
    let names = (&["UNIT FILE", "STATE", "PRESET"][..], &["unit_file", "state", "preset"][..]);
    if table(args, names, &cells, out)? {
        writeln!(out, "\n{} unit files listed.", rows.len())?;
    }
    Ok(if rows.is_empty() && !patterns.is_empty() { super::exit_status::FAILURE } else { 0 })
}

/// Prints the queued jobs.
pub fn jobs(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let body = control.ask("ListJobs", Vec::new())?;
    let patterns = patterns(args);
    let rows: Vec<&Value> = body.first().map_or(&[][..], Value::items).iter().collect();
    let mut cells = Vec::new();
    for row in rows {
        let Some(Value::Uint32(id)) = row.items().first() else { continue };
        if patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, field(row, 1))) {
            let mut line = vec![Cell::Number(u64::from(*id), id.to_string())];
            line.extend([1, 2, 3].map(|at| Cell::of(field(row, at))));
            cells.push((*id, line));
        }
    }
    cells.sort_by_key(|(id, _)| *id);
    let cells: Vec<Vec<Cell>> = cells.into_iter().map(|(_, line)| line).collect();
    if cells.is_empty() {
        if !args.no_legend && !args.output.starts_with("json") {
            writeln!(out, "No jobs {}.", if args.units.is_empty() { "running" } else { "listed" })?;
        }
        return Ok(0);
    }
    let names = (&["JOB", "UNIT", "TYPE", "STATE"][..], &["job", "unit", "type", "state"][..]);
    if table(args, names, &cells, out)? {
        writeln!(out, "\n{} jobs listed.", cells.len())?;
    }
    Ok(0)
}

fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Uint64(number)) if *number != u64::MAX => *number,
        _ => 0,
    }
}

/// When a timer is due, since 1970; 0 where it isn't.
pub fn next_elapse(about: &super::Properties) -> u64 {
    let (real, monotonic) = (
        number(property(about, "NextElapseUSecRealtime")),
        number(property(about, "NextElapseUSecMonotonic")),
    );
    if monotonic == 0 {
        return real;
    }
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let up = u64::try_from(clock.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(clock.tv_nsec).unwrap_or(0) / 1000;
    let now = now_us();
    let at =
        if monotonic > up { now.saturating_add(monotonic - up) } else { now.saturating_sub(up - monotonic) };
    if real == 0 { at } else { real.min(at) }
}

fn hint(args: &Args, what: &str, count: usize, out: &mut impl Write) -> Result<(), Failed> {
    writeln!(out, "\n{count} {what} listed.")?;
    if !args.all {
        writeln!(out, "Pass --all to see loaded but inactive {what}, too.")?;
    }
    Ok(())
}

/// Prints timers, the next first.
pub fn timers(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let mut found = Vec::new();
    for row in wanted(control, args)?.iter().filter(|row| kind(field(row, 0)) == "timer") {
        let name = field(row, 0);
        let about = properties(control, name)?;
        let next = next_elapse(&about);
        let last = number(property(&about, "LastTriggerUSec"));
        let triggers = property(&about, "Triggers").map_or(&[][..], Value::items);
        let triggers: Vec<&str> = triggers.iter().filter_map(Value::as_str).collect();
        let at = |us: u64, shown: String| Cell::Number(us, if us == 0 { "-".to_owned() } else { shown });
        let line = vec![
            at(next, moment(next)),
            at(next, relative(next)),
            at(last, moment(last)),
            at(last, relative(last)),
            Cell::of(name),
            Cell::Text(triggers.join(", ")),
        ];
        found.push(((if next == 0 { u64::MAX } else { next }, name.to_owned()), line));
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let cells: Vec<Vec<Cell>> = found.into_iter().map(|(_, line)| line).collect();
    let names = (
        &["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"][..],
        &["next", "left", "last", "passed", "unit", "activates"][..],
    );
    if table(args, names, &cells, out)? {
        hint(args, "timers", cells.len(), out)?;
    }
    Ok(0)
}

/// Prints sockets by their addresses.
pub fn sockets(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let mut cells = Vec::new();
    for row in wanted(control, args)?.iter().filter(|row| kind(field(row, 0)) == "socket") {
        let about = properties(control, field(row, 0))?;
        let triggers = property(&about, "Triggers").map_or(&[][..], Value::items);
        let triggers: Vec<&str> = triggers.iter().filter_map(Value::as_str).collect();
        for address in property(&about, "Listen").map_or(&[][..], Value::items) {
            let (of, triggers) = (Cell::of(field(row, 0)), Cell::Text(triggers.join(", ")));
            cells.push(vec![Cell::of(field(address, 1)), of, triggers, Cell::of(field(address, 0))]);
        }
    }
    cells.sort_by_key(|line| match &line[0] {
        Cell::Text(path) => path.clone(),
        _ => String::new(),
    });
    for line in &mut cells {
        match line.pop() {
            Some(kind) if args.show_types => line.insert(1, kind),
            _ => {}
        }
    }
    let names = match args.show_types {
        false => (&["LISTEN", "UNIT", "ACTIVATES"][..], &["listen", "unit", "activates"][..]),
        true => (&["LISTEN", "TYPE", "UNIT", "ACTIVATES"][..], &["listen", "type", "unit", "activates"][..]),
    };
    if table(args, names, &cells, out)? {
        hint(args, "sockets", cells.len(), out)?;
    }
    Ok(0)
}

/// Prints automount points by their paths.
pub fn automounts(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let mut cells = Vec::new();
    for row in wanted(control, args)?.iter().filter(|row| kind(field(row, 0)) == "automount") {
        let name = field(row, 0);
        let about = properties(control, name)?;
        let point = text(&about, "Where").to_owned();
        let mount = properties(control, &format!("{}.mount", name.trim_end_matches(".automount")))?;
        let (what, mounted) = (text(&mount, "What"), text(&mount, "ActiveState") == "active");
        let idle = number(property(&about, "TimeoutIdleUSec"));
        cells.push(vec![
            if what.is_empty() { Cell::Nothing } else { Cell::of(what) },
            Cell::Text(point),
            Cell::Truth(mounted),
            if idle == 0 { Cell::Nothing } else { Cell::Number(idle, super::text::span(idle, 1_000_000)) },
            Cell::of(name),
        ]);
    }
    cells.sort_by_key(|line| match &line[1] {
        Cell::Text(path) => path.clone(),
        _ => String::new(),
    });
    let names = (
        &["WHAT", "WHERE", "MOUNTED", "IDLE TIMEOUT", "UNIT"][..],
        &["what", "where", "mounted", "idle_timeout", "unit"][..],
    );
    if table(args, names, &cells, out)? {
        hint(args, "automounts", cells.len(), out)?;
    }
    Ok(0)
}

/// Prints this machine: there are no containers that could be asked.
pub fn machines(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let about = control.properties(hence_bus::front::ROOT.to_owned())?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let state = text(&about, "SystemState");
    let count = |name| match property(&about, name) {
        Some(Value::Uint32(count)) => u64::from(*count),
        _ => 0,
    };
    let dot = if state == "running" { " " } else { "●" };
    let number = |count: u64| Cell::Number(count, count.to_string());
    let line = vec![
        Cell::of(dot),
        Cell::Text(format!("{} (host)", host.trim())),
        Cell::of(state),
        number(count("NFailedUnits")),
        number(count("NJobs")),
    ];
    let names = (&[" ", "NAME", "STATE", "FAILED", "JOBS"][..], &["", "name", "state", "failed", "jobs"][..]);
    if table(args, names, &[line], out)? {
        writeln!(out, "\n1 machines listed.")?;
    }
    Ok(0)
}
