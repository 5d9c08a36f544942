//! `show`: properties as systemctl prints them. Structures that it gives a form of their own, other than
//! command lines and jobs, come out plainly.

use super::forms::is_nothing;
use super::text::{code_word, moment, signal_word, span};
use super::{Args, Failed, properties};
use crate::control::Control;
use hence_bus::front::ROOT;
use hence_bus::wire::Value;
use std::io::Write;

/// Prints the properties of the units, jobs and processes of the line.
pub fn run(control: &mut Control, args: &Args, out: &mut impl Write) -> Result<u8, Failed> {
    let number = |name: &String| name.parse::<u32>().is_ok();
    if !args.units.iter().any(number) {
        let names = super::all_names(&args.units)?;
        let units = super::expand(control, args, &names)?;
        return print(control, args, &units, out);
    }
    for (at, name) in args.units.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        let path = match name.parse::<u32>() {
            Ok(job) => format!("{ROOT}/job/{job}"),
            Err(_) => hence_bus::front::unit_path(&super::full_name(name)?),
        };
        let about = control.properties(path).map_err(|error| {
            Failed(super::exit_status::FAILURE, format!("Failed to get properties: {error}"))
        })?;
        list(args, &about, out)?;
    }
    Ok(0)
}

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
        let asked = args.property.iter().chain(&args.property_value).any(|asked| asked == name);
        let all = args.property.is_empty() && args.property_value.is_empty();
        let moment = |value: &Value| match value {
            Value::Uint64(us) if name.ends_with("Timestamp") && !matches!(*us, 0 | u64::MAX) => {
                Some(super::text::moment_as(*us, &args.timestamp))
            }
            _ => None,
        };
        let asked_form = moment(value).filter(|_| args.timestamp != "pretty");
        for shown in asked_form.map_or_else(|| lines(name, value), |form| vec![form]) {
            if !(asked || all && (args.all || !is_nothing(name, &shown))) {
                continue;
            }
            if args.value || !args.property_value.is_empty() {
                writeln!(out, "{shown}")?;
            } else {
                writeln!(out, "{name}={shown}")?;
            }
        }
    }
    Ok(())
}

/// The lines of a property: mostly one, but one for each command, timer and address.
fn lines(name: &str, value: &Value) -> Vec<String> {
    if let Some(lines) = super::forms::lines(name, value) {
        return lines;
    }
    let items = value.items();
    match value {
        Value::Array(array) if name.starts_with("Exec") && &*array.element != "s" => {
            items.iter().map(|i| command(i.items())).collect()
        }
        Value::Array(_) if name == "Listen" => items
            .iter()
            .map(|i| match i.items() {
                [kind, path] => format!("{} ({})", plain(path), plain(kind)),
                _ => plain(i),
            })
            .collect(),
        Value::Array(_) if name.starts_with("Timers") => items.iter().map(|i| timer(i.items())).collect(),
        value => vec![shown(name, value)],
    }
}

/// A setting of a timer, and when it is due.
fn timer(fields: &[Value]) -> String {
    let [base, setting, Value::Uint64(next)] = fields else { return String::new() };
    let (setting, next) = match setting {
        Value::Uint64(us) => (span(*us, 1), span(*next, 1)),
        setting => (plain(setting), if *next == 0 { "(null)".to_owned() } else { moment(*next) }),
    };
    format!("{{ {}={setting} ; next_elapse={next} }}", plain(base))
}

/// A string as a shell would need it; only in lists.
fn quoted(text: &str) -> String {
    const ESCAPED: &str = "\"\\`$";
    if !text.contains(|c: char| c.is_whitespace() || ESCAPED.contains(c) || "*?['()<>|&;!".contains(c)) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if ESCAPED.contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A value as systemctl prints it.
pub fn shown(name: &str, value: &Value) -> String {
    match value {
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::Uint64(us)
            if name.ends_with("Timestamp")
                || ["NextElapseUSecRealtime", "LastTriggerUSec"].contains(&name) =>
        {
            if matches!(*us, 0 | u64::MAX) { String::new() } else { moment(*us) }
        }
        Value::Uint64(us) if name.contains("USec") => span(*us, 1),
        Value::Uint64(u64::MAX) if name.starts_with("IP") => "[no data]".to_owned(),
        Value::Uint64(u64::MAX) if name.starts_with("IO") && !name.ends_with("Weight") => {
            u64::MAX.to_string()
        }
        Value::Uint64(u64::MAX)
            if ["Current", "NSec", "Weight", "Shares", "Available"].iter().any(|end| name.ends_with(end)) =>
        {
            "[not set]".to_owned()
        }
        Value::Uint64(u64::MAX) => "infinity".to_owned(),
        Value::Uint32(mode) if name.contains("UMask") || name.contains("Mode") => format!("{mode:04o}"),
        // Exit codes, then signals.
        Value::Struct(fields) if name.ends_with("ExitStatus") => {
            let codes = fields.first().map_or(&[][..], Value::items).iter().map(plain);
            let signals = fields.get(1).map_or(&[][..], Value::items).iter().map(|signal| match signal {
                Value::Int32(signal) => signal_word(*signal),
                other => plain(other),
            });
            codes.chain(signals).collect::<Vec<_>>().join(" ")
        }
        Value::Array(array) if array.element == "s" => {
            let all: Vec<String> = array.items.iter().filter_map(Value::as_str).map(quoted).collect();
            all.join(" ")
        }
        Value::Struct(fields) if name == "LoadError" => {
            let said: Vec<String> = fields.iter().map(plain).filter(|text| !text.is_empty()).collect();
            match said.as_slice() {
                [error, text] => format!("{error} \"{text}\""),
                _ => said.join(" "),
            }
        }
        Value::Struct(fields) if name == "Job" => match fields.first() {
            Some(Value::Uint32(0)) | None => String::new(),
            Some(id) => plain(id),
        },
        value => plain(value),
    }
}

pub fn plain(value: &Value) -> String {
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
         pid={} ; code={} ; status={}{} }}",
        plain(path),
        plain(argv),
        at(start),
        at(stop),
        plain(pid),
        code_word(code),
        plain(status),
        match (code, status) {
            (Value::Int32(1), _) => String::new(),
            (_, Value::Int32(signal)) => format!("/{}", signal_word(*signal)),
            _ => String::new(),
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans() {
        assert!(moment(1_700_000_000_000_000).contains(" 2023-11-1"));
        assert_eq!(span(90_000_000, 1), "1min 30s");
        assert_eq!(span(29_112_850_155, 1), "8h 5min 12.850155s");
        assert_eq!(span(2_234, 1000), "2ms");
        assert_eq!(span(1_500_000, 1), "1.500000s");
        assert_eq!(span(100_000, 1), "100ms");
        assert_eq!(span(0, 1), "0");
    }

    #[test]
    fn values_look_as_systemctl_prints_them() {
        assert_eq!(shown("RestartUSec", &Value::Uint64(100_000)), "100ms");
        assert_eq!(shown("TimeoutStopUSec", &Value::Uint64(u64::MAX)), "infinity");
        assert_eq!(shown("TasksCurrent", &Value::Uint64(u64::MAX)), "[not set]");
        assert_eq!(shown("ActiveEnterTimestamp", &Value::Uint64(0)), "");
        assert_eq!(shown("CanStart", &Value::Bool(true)), "yes");
        assert_eq!(shown("Wants", &Value::strings(["a", "b"])), "a b");
        assert_eq!(shown("UMask", &Value::Uint32(0o22)), "0022");
        assert_eq!(shown("InvocationID", &Value::Bytes(vec![1, 0xab])), "01ab");
        let job = |id: u32| Value::Struct(vec![id.into(), Value::path("/")]);
        assert_eq!((shown("Job", &job(0)), shown("Job", &job(7))), (String::new(), "7".into()));
    }
}
