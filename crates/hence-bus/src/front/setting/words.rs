//! Values as the text of a unit file, quoted and escaped so that systemd.syntax(7) gives them back.

use super::rows::How;
use crate::wire::Value;
use hence_unit::value::signal_name;
use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Directives with their values; `Err(None)`: the value has another type; `Err(Some(_))`: it can't be
/// written.
pub type Written = Result<Vec<(String, String)>, Option<String>>;

/// The lines of a value.
pub fn written(how: How, directive: &str, value: &Value) -> Written {
    let one = |text: String| Ok(vec![(directive.to_owned(), text)]);
    // What systemd writes first where a value takes the place of all that stood there.
    let fresh = |texts: Vec<String>| {
        let first = [(directive.to_owned(), String::new())];
        Ok(first.into_iter().chain(texts.into_iter().map(|t| (directive.to_owned(), t))).collect())
    };
    match how {
        How::Text => one(plain(string(value)?)?),
        How::Prefixed(prefix) => one(format!("{prefix}:{}", plain(string(value)?)?)),
        How::Words => {
            let words = strings(value)?;
            one(words.into_iter().map(quoted).collect::<Vec<_>>().join(" "))
        }
        How::Each => strings(value)?.into_iter().map(|s| Ok((directive.to_owned(), plain(s)?))).collect(),
        How::Flag => match value {
            Value::Bool(flag) => one(if *flag { "yes" } else { "no" }.into()),
            _ => Err(None),
        },
        How::Number | How::Limit => one(number(value)?),
        How::Span => one(span(unsigned(value)?)),
        How::SpanNs => one(format!("{}ns", unsigned(value)?)),
        How::Octal => match value {
            Value::Uint32(mode) => one(format!("{mode:04o}")),
            _ => Err(None),
        },
        How::Signal => match value {
            Value::Int32(signal) => one(signal_word(*signal)?),
            _ => Err(None),
        },
        How::Share => match value {
            Value::Uint32(share) => {
                // Hundredths of a percent, rounded.
                let hundredths = (u64::from(*share) * 10_000 + u64::from(u32::MAX) / 2) / u64::from(u32::MAX);
                one(format!("{}.{:02}%", hundredths / 100, hundredths % 100))
            }
            _ => Err(None),
        },
        How::Quota => match unsigned(value)? {
            u64::MAX => one(String::new()),
            us => one(format!("{}%", us / 10_000)),
        },
        How::Weight => match unsigned(value)? {
            u64::MAX => one(String::new()),
            0 => one("idle".into()),
            weight => one(weight.to_string()),
        },
        How::Commands => fresh(commands(value)?),
        How::Statuses => statuses(value)?.into_iter().map(|s| Ok((directive.to_owned(), s))).collect(),
        How::Named => {
            let prefix = if directive == "Listen" { "Listen" } else { "" };
            let pair = |item: &Value| match item.items() {
                [name, value] => Ok((format!("{prefix}{}", string(name)?), plain(string(value)?)?)),
                _ => Err(None),
            };
            items(value)?.iter().map(pair).collect()
        }
        How::NamedSpans => {
            let pair = |item: &Value| match item.items() {
                [name, us] => Ok((string(name)?.to_owned(), span(unsigned(us)?))),
                _ => Err(None),
            };
            items(value)?.iter().map(pair).collect()
        }
        How::Optional => {
            let entry = |item: &Value| match item.items() {
                [path, Value::Bool(optional)] => {
                    let dash = if *optional { "-" } else { "" };
                    Ok((directive.to_owned(), format!("{dash}{}", plain(string(path)?)?)))
                }
                _ => Err(None),
            };
            items(value)?.iter().map(entry).collect()
        }
        How::Tests => items(value)?.iter().map(|item| test(directive, item)).collect(),
        How::Pairs => {
            let mut pairs: Vec<String> = items(value)?.iter().map(pair).collect::<Result<_, _>>()?;
            // A device without a word for what is allowed may be used in every way.
            let whole = pairs.iter_mut().filter(|pair| directive == "DeviceAllow" && !pair.contains(' '));
            whole.for_each(|pair| pair.push_str(" rwm"));
            fresh(pairs)
        }
        How::Joined => fresh(
            items(value)?
                .iter()
                .map(|item| match item.items() {
                    [first, second] => Ok(format!("{}:{}", plain(string(first)?)?, plain(string(second)?)?)),
                    _ => Err(None),
                })
                .collect::<Result<_, _>>()?,
        ),
        How::TimedPairs => fresh(
            items(value)?
                .iter()
                .map(|item| match item.items() {
                    [path, Value::Uint64(us)] => Ok(format!("{} {us}us", plain(string(path)?)?)),
                    _ => Err(None),
                })
                .collect::<Result<_, _>>()?,
        ),
        How::Networks => fresh(items(value)?.iter().map(network).collect::<Result<_, _>>()?),
        How::Bits => match value {
            Value::Bytes(bytes) => fresh(vec![ranges(bytes)]),
            _ => Err(None),
        },
        How::Base64 => match value {
            Value::Bytes(bytes) => one(base64(bytes)),
            _ => Err(None),
        },
        How::Coded => one(super::coded::words(directive, value).ok_or(None)?),
        How::Credentials => {
            let all = items(value)?.iter().map(super::coded::credential).collect::<Option<_>>();
            fresh(all.ok_or(None)?)
        }
        How::Filter => match value.items() {
            [Value::Bool(allow), names] => {
                let names = strings(names)?.into_iter().map(plain).collect::<Result<Vec<_>, _>>()?;
                one(format!("{}{}", if *allow { "" } else { "~" }, names.join(" ")))
            }
            _ => Err(None),
        },
    }
}

fn string(value: &Value) -> Result<&str, Option<String>> {
    match value {
        Value::Str(text) => Ok(text),
        _ => Err(None),
    }
}

fn items(value: &Value) -> Result<&[Value], Option<String>> {
    match value {
        Value::Array(array) => Ok(&array.items),
        _ => Err(None),
    }
}

fn strings(value: &Value) -> Result<Vec<&str>, Option<String>> {
    items(value)?.iter().map(string).collect()
}

fn unsigned(value: &Value) -> Result<u64, Option<String>> {
    match value {
        Value::Uint64(number) => Ok(*number),
        _ => Err(None),
    }
}

fn number(value: &Value) -> Result<String, Option<String>> {
    Ok(match value {
        Value::Byte(n) => n.to_string(),
        Value::Int16(n) => n.to_string(),
        Value::Uint16(n) => n.to_string(),
        Value::Int32(n) => n.to_string(),
        Value::Uint32(n) => n.to_string(),
        Value::Int64(n) => n.to_string(),
        Value::Uint64(u64::MAX) => "infinity".into(),
        Value::Uint64(n) => n.to_string(),
        _ => return Err(None),
    })
}

/// Text that is no list of words: it can't be quoted, so what a line can't hold is refused.
fn plain(text: &str) -> Result<String, Option<String>> {
    let lost = text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace);
    if text.chars().any(char::is_control) || text.ends_with('\\') || lost {
        return Err(Some(text.escape_debug().to_string()));
    }
    Ok(text.replace('%', "%%"))
}

/// A word in quotes, with C escapes and doubled percent signs.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '%' => out.push_str("%%"),
            // Writing to a String cannot fail.
            c if c.is_ascii_control() => drop(write!(out, "\\x{:02x}", u32::from(c))),
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `1h 30min`, `500ms`, `infinity`.
fn span(us: u64) -> String {
    const UNITS: [(u64, &str); 7] = [
        (604_800_000_000, "w"),
        (86_400_000_000, "d"),
        (3_600_000_000, "h"),
        (60_000_000, "min"),
        (1_000_000, "s"),
        (1_000, "ms"),
        (1, "us"),
    ];
    if us == u64::MAX {
        return "infinity".into();
    }
    let mut rest = us;
    let mut parts = Vec::new();
    for (length, name) in UNITS {
        if rest >= length {
            parts.push(format!("{}{name}", rest / length));
            rest %= length;
        }
    }
    if parts.is_empty() { "0".into() } else { parts.join(" ") }
}

fn signal_word(signal: i32) -> Result<String, Option<String>> {
    match u8::try_from(signal).ok().and_then(signal_name) {
        Some(name) => Ok(name.into()),
        None if (1..=64).contains(&signal) => Ok(signal.to_string()),
        None => Err(Some(signal.to_string())),
    }
}

/// Command lines: flags, program and arguments. Variables in them are expanded when they are run, as those
/// of a unit file are; systemd-run(1).
fn commands(value: &Value) -> Result<Vec<String>, Option<String>> {
    let mut lines = Vec::new();
    for item in items(value)? {
        let [path, argv, flags] = item.items() else { return Err(None) };
        let (path, argv) = (string(path)?, strings(argv)?);
        let mut prefix = String::new();
        match flags {
            Value::Bool(ignore) => prefix.push_str(if *ignore { "-" } else { "" }),
            flags => {
                for flag in strings(flags)? {
                    prefix.push_str(match flag {
                        "ignore-failure" => "-",
                        "privileged" => "+",
                        "no-setuid" => "!",
                        "ambient" => "!!",
                        "no-env-expand" => ":",
                        other => return Err(Some(other.to_owned())),
                    });
                }
            }
        }
        if path.is_empty() || argv.is_empty() {
            return Err(Some(path.to_owned()));
        }
        // As systemd does: the first argument is written only where it differs from the program.
        let mut words = vec![quoted(path)];
        if argv[0] != path {
            prefix.push('@');
            words.push(quoted(argv[0]));
        }
        words.extend(argv[1..].iter().map(|argument| quoted(argument)));
        lines.push(format!("{prefix}{}", words.join(" ")));
    }
    Ok(lines)
}

fn statuses(value: &Value) -> Result<Vec<String>, Option<String>> {
    let [codes, signals] = value.items() else { return Err(None) };
    let mut words = Vec::new();
    for (list, is_signal) in [(codes, false), (signals, true)] {
        for item in items(list)? {
            let Value::Int32(number) = item else { return Err(None) };
            match is_signal {
                true => words.push(signal_word(*number)?),
                false if (0..=255).contains(number) => words.push(number.to_string()),
                false => return Err(Some(number.to_string())),
            }
        }
    }
    Ok(words)
}

/// `(sbbs)`: directive, trigger, negate, parameter.
fn test(prefix: &str, item: &Value) -> Result<(String, String), Option<String>> {
    let [name, Value::Bool(trigger), Value::Bool(negate), parameter] = item.items() else {
        return Err(None);
    };
    let name = string(name)?;
    if !name.starts_with(prefix) {
        return Err(Some(name.to_owned()));
    }
    let mark = |on: &bool, mark| if *on { mark } else { "" };
    let parameter = plain(string(parameter)?)?;
    Ok((name.to_owned(), format!("{}{}{parameter}", mark(trigger, "|"), mark(negate, "!"))))
}

fn pair(item: &Value) -> Result<String, Option<String>> {
    let [first, second] = item.items() else { return Err(None) };
    let second = match second {
        Value::Str(text) => plain(text)?,
        other => number(other)?,
    };
    Ok(format!("{} {second}", plain(string(first)?)?).trim_end().to_owned())
}

/// `(iayu)`: family, address, length of the prefix.
fn network(item: &Value) -> Result<String, Option<String>> {
    let [Value::Int32(_), Value::Bytes(address), Value::Uint32(prefix)] = item.items() else {
        return Err(None);
    };
    if let Ok(four) = <[u8; 4]>::try_from(&address[..]) {
        return Ok(format!("{}/{prefix}", Ipv4Addr::from(four)));
    }
    match <[u8; 16]>::try_from(&address[..]) {
        Ok(six) => Ok(format!("{}/{prefix}", Ipv6Addr::from(six))),
        Err(_) => Err(Some(format!("an address of {} bytes", address.len()))),
    }
}

/// The numbers of a set as ranges: `0-3 7`.
fn ranges(bytes: &[u8]) -> String {
    let is_set = |n: usize| bytes.get(n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1);
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() * 8 {
        if !is_set(at) {
            at += 1;
            continue;
        }
        let first = at;
        while is_set(at) {
            at += 1;
        }
        words.push(if at - first == 1 { first.to_string() } else { format!("{first}-{}", at - 1) });
    }
    words.join(" ")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            out.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    out
}
