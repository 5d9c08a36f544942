//! `status`, of units and of the whole.

use super::list::next_elapse;
use super::show::plain;
use super::text::{code_word, moment, relative, signal_word, size, span};
use super::tree::{mark, processes};
use super::{Args, Failed, Properties, exit_status, properties, property, text};
use crate::control::{Control, ControlError};
use crate::report::logs::{self, Form};
use hence_bus::front::ROOT;
use hence_bus::wire::Value;
use std::io::Write;

/// Prints units one after another. The exit status is the first bad one's.
pub fn print(
    control: &mut Control,
    args: &Args,
    units: &[String],
    out: &mut impl Write,
) -> Result<u8, Failed> {
    if args.units.is_empty() {
        return whole(control, out);
    }
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
            one(control, &about, out)?;
            if !last_lines(args, &about, out)? {
                super::log::print(args, &about, out)?;
            }
            if property(&about, "NeedDaemonReload") == Some(&Value::Bool(true)) {
                out.flush()?;
                eprintln!("{}", super::job::outdated(args, unit));
            }
            match text(&about, "ActiveState") {
                "active" | "reloading" => 0,
                _ => exit_status::NOT_RUNNING,
            }
        };
        status = if status == 0 { own } else { status };
    }
    Ok(status)
}

fn whole(control: &mut Control, out: &mut impl Write) -> Result<u8, Failed> {
    let about = control.properties(ROOT.to_owned())?;
    let count = |name: &str| property(&about, name).map_or_else(|| "0".to_owned(), plain);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let state = text(&about, "SystemState");
    writeln!(out, "● {}\n    State: {state}", host.trim())?;
    writeln!(out, "    Units: {} loaded (incl. loaded aliases)", count("NNames"))?;
    writeln!(out, "     Jobs: {} queued\n   Failed: {} units", count("NJobs"), count("NFailedUnits"))?;
    if let Some(at) = number(&about, "UserspaceTimestamp") {
        writeln!(out, "    Since: {}; {}", moment(at), relative(at))?;
    }
    writeln!(out, "  systemd: {}", text(&about, "Version"))?;
    let group = text(&about, "ControlGroup");
    writeln!(out, "   CGroup: {group}")?;
    if let Ok(body) = control.ask("GetUnitProcesses", vec!["-.slice".into()]) {
        processes(body.first().map_or(&[][..], Value::items), group, "           ", out)?;
    }
    Ok(0)
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

fn names<'a>(about: &'a Properties, name: &str) -> Vec<&'a str> {
    property(about, name).map_or(&[][..], Value::items).iter().filter_map(Value::as_str).collect()
}

fn one(control: &mut Control, about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    head(about, out)?;
    state(about, out)?;
    related(about, "TriggeredBy", out)?;
    if text(about, "Id").ends_with(".timer") {
        match next_elapse(about) {
            0 => writeln!(out, "    Trigger: n/a")?,
            next => writeln!(out, "    Trigger: {}; {}", moment(next), relative(next))?,
        }
    }
    related(about, "Triggers", out)?;
    conditions(about, out)?;
    for (at, document) in names(about, "Documentation").iter().enumerate() {
        writeln!(out, "{}{document}", if at == 0 { "       Docs: " } else { "             " })?;
    }
    for (at, address) in property(about, "Listen").map_or(&[][..], Value::items).iter().enumerate() {
        let (kind, path) = (super::field(address, 0), super::field(address, 1));
        writeln!(out, "{}{path} ({kind})", if at == 0 { "     Listen: " } else { "             " })?;
    }
    if let Some(Value::Bool(true)) = property(about, "Accept") {
        let count = |name| number(about, name).unwrap_or(0);
        write!(out, "   Accepted: {}; Connected: {};", count("NAccepted"), count("NConnections"))?;
        match count("NRefused") {
            0 => writeln!(out)?,
            refused => writeln!(out, "  Refused: {refused}")?,
        }
    }
    let shown = ended(about, out)?;
    main_process(about, shown, out)?;
    amounts(about, out)?;
    groups(control, about, out)
}

/// What the journal has of this run, and of what was said about it; false where it has nothing.
fn last_lines(args: &Args, about: &Properties, out: &mut impl Write) -> Result<bool, Failed> {
    let ledger = std::env::var_os("HENCE_LEDGER").map(std::path::PathBuf::from);
    let since = number(about, "InactiveExitTimestamp").filter(|at| *at > 0);
    let clock = crate::report::time::Clock::here();
    let folders = logs::folders(ledger.as_ref());
    let form = match args.output.as_str() {
        "cat" => Form::Cat,
        "json" => Form::Json,
        iso if iso.starts_with("short-iso") => Form::ShortIso,
        _ => Form::Short,
    };
    let lines = logs::last_lines(&folders, text(about, "Id"), since, super::log::most(args), (form, &clock));
    if !lines.is_empty() {
        writeln!(out)?;
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    Ok(!lines.is_empty())
}

fn head(about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    let (unit, description) = (text(about, "Id"), text(about, "Description"));
    let title = if description == unit { String::new() } else { format!(" - {description}") };
    writeln!(out, "{} {unit}{title}", mark(text(about, "ActiveState")))?;
    let load = text(about, "LoadState");
    let preset = match (text(about, "UnitFileState"), text(about, "UnitFilePreset")) {
        ("enabled" | "enabled-runtime" | "disabled" | "linked" | "linked-runtime" | "indirect", preset)
            if !preset.is_empty() =>
        {
            format!("; preset: {preset}")
        }
        _ => String::new(),
    };
    let error = property(about, "LoadError").map_or("", |error| super::field(error, 1));
    let fragment = match (text(about, "FragmentPath"), text(about, "UnitFileState")) {
        _ if !error.is_empty() => format!(" (Reason: {error})"),
        ("", _) => String::new(),
        (path, "") => format!(" ({path})"),
        (path, state) => format!(" ({path}; {state}{preset})"),
    };
    writeln!(out, "     Loaded: {load}{fragment}")?;
    if property(about, "Transient") == Some(&Value::Bool(true)) {
        writeln!(out, "  Transient: yes")?;
    }
    let mut folder = "";
    let mut files: Vec<(&str, Vec<&str>)> = Vec::new();
    for path in names(about, "DropInPaths") {
        let Some((above, name)) = path.rsplit_once('/') else { continue };
        match files.last_mut() {
            Some((_, names)) if folder == above => names.push(name),
            _ => files.push((above, vec![name])),
        }
        folder = above;
    }
    for (at, (folder, names)) in files.iter().enumerate() {
        let word = if at == 0 { "    Drop-In: " } else { "             " };
        writeln!(out, "{word}{folder}\n             └─{}", names.join(", "))?;
    }
    Ok(())
}

fn state(about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    let active = text(about, "ActiveState");
    let result = match text(about, "Result") {
        "" | "success" => String::new(),
        result => format!(" (Result: {result})"),
    };
    let since = match active {
        "active" | "reloading" => number(about, "ActiveEnterTimestamp"),
        "inactive" | "failed" => number(about, "InactiveEnterTimestamp"),
        "activating" => number(about, "InactiveExitTimestamp"),
        _ => number(about, "ActiveExitTimestamp"),
    };
    let since = since.map_or(String::new(), |at| format!(" since {}; {}", moment(at), relative(at)));
    let sub = text(about, "SubState");
    let sub = if sub == active { String::new() } else { format!(" ({sub})") };
    let result = if result.is_empty() {
        sub
    } else if active == "failed" {
        result
    } else {
        sub + &result
    };
    writeln!(out, "     Active: {active}{result}{since}")?;
    let at = |name| number(about, name).unwrap_or(0);
    let (entered, left) = (at("ActiveEnterTimestamp"), at("ActiveExitTimestamp"));
    if !["active", "reloading", "activating"].contains(&active) && entered > 0 && left >= entered {
        writeln!(out, "   Duration: {}", span(left - entered, 1000))?;
    }
    Ok(())
}

/// Units that trigger this one, or that it triggers.
fn related(about: &Properties, name: &str, out: &mut impl Write) -> Result<(), Failed> {
    for (at, unit) in names(about, name).iter().enumerate() {
        // systemctl has the same mark for all of them, whatever their state.
        let word = if at == 0 { format!("{name:>11}: ") } else { " ".repeat(13) };
        writeln!(out, "{word}● {unit}")?;
    }
    Ok(())
}

/// Why a start was skipped.
fn conditions(about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    for (word, result, when, list, what) in [
        ("  Condition", "ConditionResult", "ConditionTimestamp", "Conditions", "condition"),
        ("     Assert", "AssertResult", "AssertTimestamp", "Asserts", "assertion"),
    ] {
        let (Some(Value::Bool(false)), Some(at)) = (property(about, result), number(about, when)) else {
            continue;
        };
        writeln!(out, "{word}: start {what} failed at {}; {}", moment(at), relative(at))?;
        let rows = property(about, list).map_or(&[][..], Value::items);
        let failed: Vec<&[Value]> = rows.iter().map(Value::items).filter(failed_condition).collect();
        for (number, row) in failed.iter().enumerate() {
            let [name, trigger, negate, parameter, _] = row else { continue };
            let branch = if number + 1 < failed.len() { "├─" } else { "└─" };
            let sign = |value: &Value, sign| if *value == Value::Bool(true) { sign } else { "" };
            let (trigger, negate) = (sign(trigger, "|"), sign(negate, "!"));
            writeln!(
                out,
                "             {branch} {}={trigger}{negate}{} was not met",
                plain(name),
                plain(parameter)
            )?;
        }
    }
    Ok(())
}

fn failed_condition(row: &&[Value]) -> bool {
    matches!(row, [.., Value::Int32(state)] if *state < 0)
}

fn ending(code: &Value, status: &Value) -> String {
    let status = match status {
        Value::Int32(status) => *status,
        _ => 0,
    };
    let how = match (code, exit_word(status)) {
        (Value::Int32(1), Some(word)) => format!("status={status}/{word}"),
        (Value::Int32(1), None) => format!("status={status}"),
        _ => format!("signal={}", signal_word(status)),
    };
    format!("(code={}, {how})", code_word(code))
}

/// What systemd calls exit statuses; systemd.exec(5), "Process Exit Codes".
fn exit_word(status: i32) -> Option<&'static str> {
    const LSB: [&str; 8] = [
        "SUCCESS",
        "FAILURE",
        "INVALIDARGUMENT",
        "NOTIMPLEMENTED",
        "NOPERMISSION",
        "NOTINSTALLED",
        "NOTCONFIGURED",
        "NOTRUNNING",
    ];
    const OWN: [&str; 44] = [
        "CHDIR",
        "NICE",
        "FDS",
        "EXEC",
        "MEMORY",
        "LIMITS",
        "OOM_ADJUST",
        "SIGNAL_MASK",
        "STDIN",
        "STDOUT",
        "CHROOT",
        "IOPRIO",
        "TIMERSLACK",
        "SECUREBITS",
        "SETSCHEDULER",
        "CPUAFFINITY",
        "GROUP",
        "USER",
        "CAPABILITIES",
        "CGROUP",
        "SETSID",
        "CONFIRM",
        "STDERR",
        "",
        "PAM",
        "NETWORK",
        "NAMESPACE",
        "NO_NEW_PRIVILEGES",
        "SECCOMP",
        "SELINUX_CONTEXT",
        "PERSONALITY",
        "APPARMOR",
        "ADDRESS_FAMILIES",
        "RUNTIME_DIRECTORY",
        "",
        "CHOWN",
        "SMACK_PROCESS_LABEL",
        "KEYRING",
        "STATE_DIRECTORY",
        "CACHE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "NUMA_POLICY",
        "CREDENTIALS",
    ];
    let at = usize::try_from(status).ok()?;
    let word = match at {
        0..=7 => LSB[at],
        200..=243 => OWN[at - 200],
        _ => "",
    };
    Some(word).filter(|word| !word.is_empty())
}

/// Prints the commands that ran and ended; the pids.
fn ended(about: &Properties, out: &mut impl Write) -> Result<Vec<u32>, Failed> {
    let mut shown = Vec::new();
    for (name, value) in about {
        if !name.starts_with("Exec") || name.ends_with("Ex") || !matches!(value, Value::Array(_)) {
            continue;
        }
        for row in value.items() {
            let [_, argv, _, _, _, _, _, Value::Uint32(pid), code, status] = row.items() else { continue };
            if *code == Value::Int32(0) {
                continue;
            }
            writeln!(out, "    Process: {pid} {name}={} {}", plain(argv), ending(code, status))?;
            shown.push(*pid);
        }
    }
    Ok(shown)
}

fn comm(pid: u64) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.is_empty() { String::new() } else { format!(" ({})", name.trim_end()) }
}

fn main_process(about: &Properties, shown: Vec<u32>, out: &mut impl Write) -> Result<(), Failed> {
    let control = number(about, "ControlPID");
    let running = number(about, "MainPID");
    let main = running.or_else(|| number(about, "ExecMainPID"));
    // A command of a unit that is up, and that was told already, is not told again.
    let told = |pid: &u64| shown.iter().any(|shown| u64::from(*shown) == *pid);
    let oneshot = text(about, "Type") == "oneshot";
    let main = main.filter(|pid| running.is_some() || !told(pid) || !oneshot || control.is_none());
    if let Some(pid) = main {
        write!(out, "   Main PID: {pid}")?;
        if running.is_some() {
            write!(out, "{}", comm(pid))?;
        } else {
            let zero = Value::Int32(0);
            let code = property(about, "ExecMainCode").unwrap_or(&zero);
            if *code != zero {
                write!(out, " {}", ending(code, property(about, "ExecMainStatus").unwrap_or(&zero)))?;
            }
        }
    }
    if let Some(pid) = control {
        let word = if main.is_some() { "; Control PID: " } else { "  Cntrl PID: " };
        write!(out, "{word}{pid}{}", comm(pid))?;
    }
    if main.or(control).is_some() {
        writeln!(out)?;
    }
    if !text(about, "StatusText").is_empty() {
        writeln!(out, "     Status: \"{}\"", text(about, "StatusText"))?;
    }
    Ok(())
}

fn amounts(about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    if let Some(tasks) = number(about, "TasksCurrent") {
        let limit = number(about, "TasksMax").map_or(String::new(), |max| format!(" (limit: {max})"));
        writeln!(out, "      Tasks: {tasks}{limit}")?;
    }
    if let Some(bytes) = number(about, "MemoryCurrent") {
        let mut limits = Vec::new();
        for (word, name) in [
            ("min", "MemoryMin"),
            ("low", "MemoryLow"),
            ("high", "MemoryHigh"),
            ("max", "MemoryMax"),
            ("swap max", "MemorySwapMax"),
            ("available", "MemoryAvailable"),
        ] {
            if let Some(limit) = number(about, name) {
                limits.push(format!("{word}: {}", size(limit)));
            }
        }
        let limits = if limits.is_empty() { String::new() } else { format!(" ({})", limits.join(" ")) };
        writeln!(out, "     Memory: {}{limits}", size(bytes))?;
    }
    if let Some(ns) = number(about, "CPUUsageNSec") {
        writeln!(out, "        CPU: {}", span(ns / 1000, 1000))?;
    }
    Ok(())
}

fn groups(control: &mut Control, about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    let group = text(about, "ControlGroup");
    if group.is_empty() {
        return Ok(());
    }
    let asked = control.ask("GetUnitProcesses", vec![text(about, "Id").to_owned().into()]);
    let rows = match &asked {
        Ok(body) => body.first().map_or(&[][..], Value::items),
        // A unit that is not loaded has none.
        Err(ControlError::Refused(_)) => &[],
        Err(_) => return asked.map(drop).map_err(Failed::from),
    };
    if rows.is_empty() && !["active", "reloading"].contains(&text(about, "ActiveState")) {
        return Ok(());
    }
    writeln!(out, "     CGroup: {group}")?;
    processes(rows, group, "             ", out)
}
