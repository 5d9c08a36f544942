//! Moments, spans, sizes, signals, tables and JSON in systemctl's forms.

use super::{Args, Failed};
use hence_bus::wire::Value;
use hence_unit::value::signal_name;
use jiff::{Timestamp, tz::TimeZone};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// How a process ended, by the number of waitid(2).
pub fn code_word(code: &Value) -> &'static str {
    match code {
        Value::Int32(1) => "exited",
        Value::Int32(2) => "killed",
        Value::Int32(3) => "dumped",
        _ => "(null)",
    }
}

/// A signal's name without `SIG`.
pub fn signal_word(signal: i32) -> String {
    let name = u8::try_from(signal).ok().and_then(signal_name);
    name.map_or_else(|| signal.to_string(), str::to_owned)
}

/// A moment since 1970 in the form that the command line asks for.
pub fn moment_as(us: u64, form: &str) -> String {
    let Some(at) = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok()) else {
        return String::new();
    };
    let (zone, form) = match form {
        "unix" => return format!("@{}", at.as_second()),
        "utc" => (TimeZone::UTC, "%a %Y-%m-%d %H:%M:%S UTC"),
        "us+utc" | "µs+utc" => (TimeZone::UTC, "%a %Y-%m-%d %H:%M:%S%.6f UTC"),
        "us" | "µs" => (TimeZone::system(), "%a %Y-%m-%d %H:%M:%S%.6f %Z"),
        _ => return moment(us),
    };
    at.to_zoned(zone).strftime(form).to_string()
}

/// A moment since 1970 where we are: `Tue 2023-11-14 22:13:20 UTC`.
pub fn moment(us: u64) -> String {
    let at = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    let form = "%a %Y-%m-%d %H:%M:%S %Z";
    at.map_or_else(String::new, |at| at.to_zoned(TimeZone::system()).strftime(form).to_string())
}

/// A span in systemd's words, down to an accuracy: `1min 30s`, `12.850000s`, `100ms`, `0`.
pub fn span(us: u64, accuracy: u64) -> String {
    const UNITS: [(u64, &str); 9] = [
        (31_557_600_000_000, "y"),
        (2_629_800_000_000, "month"),
        (604_800_000_000, "w"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    match us {
        0 => return "0".to_owned(),
        u64::MAX => return "infinity".to_owned(),
        _ => {}
    }
    let mut rest = us;
    let mut parts: Vec<String> = Vec::new();
    for (size, word) in UNITS {
        if rest == 0 || (rest < accuracy && !parts.is_empty()) {
            break;
        }
        if rest < size {
            continue;
        }
        let (whole, below) = (rest / size, rest % size);
        let digits = size.ilog10().saturating_sub(accuracy.max(1).ilog10()) as usize;
        let fraction = below / accuracy.max(1);
        if rest < 60_000_000 && below > 0 && digits > 0 {
            let fraction = format!("{fraction:0digits$}");
            parts.push(format!("{whole}.{fraction}{word}"));
            break;
        }
        parts.push(format!("{whole}{word}"));
        rest = below;
    }
    parts.join(" ")
}

/// Now, since 1970.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// How long ago, or how long until: `2min 34s ago`, `2h 59min left`.
pub fn relative(at_us: u64) -> String {
    const SECOND: u64 = 1_000_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    const MONTH: u64 = 2_629_800 * SECOND;
    const YEAR: u64 = 31_557_600 * SECOND;
    let now = now_us();
    let (away, word) = if now > at_us { (now - at_us, "ago") } else { (at_us - now, "left") };
    let many = |number: u64, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    let text = match away {
        YEAR.. => format!("{} {}", many(away / YEAR, "year"), many(away % YEAR / MONTH, "month")),
        MONTH.. => format!("{} {}", many(away / MONTH, "month"), many(away % MONTH / DAY, "day")),
        WEEK.. => format!("{} {}", many(away / WEEK, "week"), many(away % WEEK / DAY, "day")),
        d if d >= 2 * DAY => many(away / DAY, "day"),
        d if d >= 25 * HOUR => format!("1 day {}h", (away - DAY) / HOUR),
        d if d >= 6 * HOUR => format!("{}h", away / HOUR),
        HOUR.. => format!("{}h {}min", away / HOUR, away % HOUR / MINUTE),
        d if d >= 5 * MINUTE => format!("{}min", away / MINUTE),
        MINUTE.. => format!("{}min {}s", away / MINUTE, away % MINUTE / SECOND),
        SECOND.. => format!("{}s", away / SECOND),
        1000.. => format!("{}ms", away / 1000),
        1.. => format!("{away}us"),
        0 => return "now".to_owned(),
    };
    format!("{text} {word}")
}

/// A size: `512B`, `1.5M`.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    for (unit, word) in UNITS {
        if bytes >= unit {
            return format!("{}.{}{word}", bytes / unit, bytes % unit * 10 / unit);
        }
    }
    format!("{bytes}B")
}

/// A cell: what the table shows, and what JSON has.
#[derive(Clone)]
pub enum Cell {
    Text(String),
    Nothing,
    Number(u64, String),
    Truth(bool),
}

impl Cell {
    pub fn of(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    fn shown(&self) -> &str {
        match self {
            Cell::Text(text) | Cell::Number(_, text) => text,
            Cell::Nothing => "-",
            Cell::Truth(truth) => {
                if *truth {
                    "yes"
                } else {
                    "no"
                }
            }
        }
    }

    fn json(&self) -> String {
        match self {
            Cell::Text(text) => json_string(text),
            Cell::Number(number, _) => number.to_string(),
            Cell::Nothing => "null".to_owned(),
            Cell::Truth(truth) => truth.to_string(),
        }
    }
}

fn json_string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\n' => json.push_str("\\n"),
            '\t' => json.push_str("\\t"),
            '\r' => json.push_str("\\r"),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Prints rows in columns below a heading, or as JSON; true where a legend may follow.
pub fn table(
    args: &Args,
    (heading, names): (&[&str], &[&str]),
    rows: &[Vec<Cell>],
    out: &mut impl Write,
) -> Result<bool, Failed> {
    if args.output.starts_with("json") {
        let pretty = args.output == "json-pretty";
        let (open, between, close) =
            if pretty { ("\n\t{\n\t\t", ",\n\t\t", "\n\t}") } else { ("{", ",", "}") };
        let colon = if pretty { " : " } else { ":" };
        let row = |row: &Vec<Cell>| {
            let pairs = names.iter().zip(row).filter(|(name, _)| !name.is_empty());
            let pairs: Vec<String> = pairs.map(|(n, c)| format!("\"{n}\"{colon}{}", c.json())).collect();
            format!("{open}{}{close}", pairs.join(between))
        };
        let rows: Vec<String> = rows.iter().map(row).collect();
        writeln!(out, "[{}{}]", rows.join(","), if pretty && !rows.is_empty() { "\n" } else { "" })?;
        return Ok(false);
    }
    let mut lines: Vec<Vec<&str>> = Vec::new();
    if !args.no_legend {
        lines.push(heading.to_vec());
    }
    lines.extend(rows.iter().map(|row| row.iter().map(Cell::shown).collect()));
    let width = |at: usize| lines.iter().filter_map(|l| l.get(at)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..heading.len()).map(|at| width(at).unwrap_or(0)).collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join(" ").trim_end())?;
    }
    Ok(!args.no_legend)
}
