//! `show`: properties as systemctl prints them. Structures that it gives a form of their own, other than
//! command lines and jobs, come out plainly.

use super::{Args, Failed, properties};
use crate::control::Control;
use hence_bus::front::ROOT;
use hence_bus::wire::Value;
use std::io::Write;

/// Prints the properties of each unit, or of the whole where none is named.
pub fn print(
    control: &mut Control,
    args: &Args,
    units: &[String],
    out: &mut impl Write,
) -> Result<u8, Failed> {
    if units.is_empty() {
        let all = control.properties(ROOT.to_owned())?;
        list(args, &all, out)?;
    }
    for (number, unit) in units.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        list(args, &properties(control, unit)?, out)?;
    }
    Ok(0)
}

fn list(args: &Args, properties: &super::Properties, out: &mut impl Write) -> Result<(), Failed> {
    for (name, value) in properties {
        let wanted = args.property.is_empty() || args.property.contains(name);
        let shown = shown(name, value);
        if !wanted || (shown.is_empty() && args.property.is_empty() && !args.all) {
            continue;
        }
        if args.value { writeln!(out, "{shown}")? } else { writeln!(out, "{name}={shown}")? }
    }
    Ok(())
}

/// A value as systemctl prints it.
pub fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Uint64(us) if name.ends_with("Timestamp") => match us {
            0 => String::new(),
            us => moment(*us),
        },
        Value::Uint64(u64::MAX) if name.ends_with("Current") || name.ends_with("NSec") => {
            "[not set]".to_owned()
        }
        Value::Uint64(u64::MAX) => "infinity".to_owned(),
        Value::Uint64(us) if name.ends_with("USec") => span(*us),
        Value::Struct(fields) if name == "Job" => match fields.first() {
            Some(Value::Uint32(0)) | None => String::new(),
            Some(id) => plain(id),
        },
        Value::Array(array) if name.starts_with("Exec") => {
            array.items.iter().map(|item| command(item.items())).collect::<Vec<_>>().join("\n")
        }
        value => plain(value),
    }
}

fn plain(value: &Value) -> String {
    let joined = |items: &[Value]| items.iter().map(plain).collect::<Vec<_>>().join(" ");
    match value {
        Value::Byte(number) => number.to_string(),
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Int32(number) => number.to_string(),
        Value::Uint32(number) => number.to_string(),
        Value::Int64(number) => number.to_string(),
        Value::Uint64(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Value::Variant(value) => plain(value),
        Value::Array(_) | Value::Struct(_) => joined(value.items()),
        value => value.as_str().unwrap_or_default().to_owned(),
    }
}

/// A command line and its last run.
fn command(fields: &[Value]) -> String {
    let [path, argv, ignored, start, _, stop, _, pid, code, status] = fields else { return String::new() };
    let at = |value: &Value| match value {
        Value::Uint64(us) if *us > 0 => moment(*us),
        _ => "n/a".to_owned(),
    };
    let ignored = match ignored {
        Value::Bool(truth) => format!("ignore_errors={}", if *truth { "yes" } else { "no" }),
        flags => format!("flags={}", plain(flags)),
    };
    format!(
        "{{ path={} ; argv[]={} ; {ignored} ; start_time=[{}] ; stop_time=[{}] ; \
         pid={} ; code={} ; status={} }}",
        plain(path),
        plain(argv),
        at(start),
        at(stop),
        plain(pid),
        code_word(code),
        plain(status)
    )
}

/// How a process ended, by the number of waitid(2).
pub fn code_word(code: &Value) -> &'static str {
    match code {
        Value::Int32(1) => "exited",
        Value::Int32(2) => "killed",
        Value::Int32(3) => "dumped",
        _ => "(null)",
    }
}

/// A moment since 1970 in UTC: `Tue 2023-11-14 22:13:20 UTC`.
pub fn moment(us: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = us / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = DAYS[(days % 7) as usize];
    // Years begin in March here, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday} {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// A span in systemd's words: `1min 30s`, `100ms`, `0`.
pub fn span(us: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (604_800_000_000, "w"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1000, "ms"),
        (1, "us"),
    ];
    let mut rest = us;
    let mut parts = Vec::new();
    for (size, word) in UNITS {
        if rest >= size {
            parts.push(format!("{}{word}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans() {
        assert_eq!(moment(1_700_000_000_000_000), "Tue 2023-11-14 22:13:20 UTC");
        assert_eq!(moment(951_782_400_000_000), "Tue 2000-02-29 00:00:00 UTC");
        assert_eq!(moment(4_107_542_399_000_000), "Sun 2100-02-28 23:59:59 UTC");
        assert_eq!(moment(1_000_000), "Thu 1970-01-01 00:00:01 UTC");
        assert_eq!(span(90_000_000), "1min 30s");
        assert_eq!(span(100_000), "100ms");
        assert_eq!(span(0), "0");
    }

    #[test]
    fn values_look_as_systemctl_prints_them() {
        assert_eq!(shown("RestartUSec", &Value::Uint64(100_000)), "100ms");
        assert_eq!(shown("TimeoutStopUSec", &Value::Uint64(u64::MAX)), "infinity");
        assert_eq!(shown("TasksCurrent", &Value::Uint64(u64::MAX)), "[not set]");
        assert_eq!(shown("ActiveEnterTimestamp", &Value::Uint64(0)), "");
        assert_eq!(shown("CanStart", &Value::Bool(true)), "yes");
        assert_eq!(shown("Wants", &Value::strings(["a", "b"])), "a b");
        assert_eq!(shown("InvocationID", &Value::Bytes(vec![1, 0xab])), "01ab");
        let job = |id: u32| Value::Struct(vec![id.into(), Value::path("/")]);
        assert_eq!((shown("Job", &job(0)), shown("Job", &job(7))), (String::new(), "7".into()));
    }
}
