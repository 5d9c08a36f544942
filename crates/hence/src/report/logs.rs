//! Entries of the journal as journalctl(1) writes them: `short` and its kin, `cat`, `json`. Which entries is
//! decided elsewhere.

use super::style::{END, Style};
use super::time::Clock;
use hence_host::journal::hex;
use hence_host::journal::reader::{AllOf, Entry, Payload, Query, last_entries, of_unit};
use hence_host::store::default_ledger;
use std::path::PathBuf;

/// How an entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// As syslog has it: time, host, who, text
    #[default]
    Short,
    /// The same with the time as in ISO 8601
    ShortIso,
    /// The text only
    Cat,
    /// An object with all fields, one on each line
    Json,
}

/// Where journals are: of a ledger that is named, else the machine's and those of the usual ledger.
pub fn folders(ledger: Option<&PathBuf>) -> Vec<PathBuf> {
    match ledger {
        Some(ledger) => vec![ledger.join("journal")],
        None => {
            let own = default_ledger().join("journal");
            vec!["/var/log/journal".into(), "/run/log/journal".into(), own]
        }
    }
}

/// The last lines of a unit since a moment, oldest first.
pub fn last_lines(
    folders: &[PathBuf],
    unit: &str,
    since_us: Option<u64>,
    most: usize,
    (form, clock): (Form, &Clock),
) -> Vec<String> {
    let query = Query { of_each: vec![of_unit(unit), this_boot()], since_us, until_us: None };
    let entries = last_entries(folders, query, most);
    let lines = entries.iter().map(|entry| {
        let mut out = Vec::new();
        write(&mut out, entry, form, clock, false);
        String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned()
    });
    lines.filter(|line| !line.is_empty()).collect()
}

/// Entries of the running boot.
pub fn this_boot() -> Vec<AllOf> {
    vec![vec![format!("_BOOT_ID={}", hex(&crate::run::boot_id().0)).into_bytes()]]
}

/// Writes an entry. Nothing is written where it has no text, but for JSON.
pub fn write(out: &mut Vec<u8>, entry: &Entry, form: Form, clock: &Clock, colour: bool) {
    if form == Form::Json {
        return json(out, entry);
    }
    let packed = entry.fields.iter().find_map(|field| match field {
        Payload::Packed(how, bytes) => {
            Some(format!("[{bytes} bytes, packed by {how}: journalctl reads them]"))
        }
        Payload::TooLong(bytes) => Some(format!("[{bytes} bytes: too long to be shown]")),
        Payload::Plain(_) => None,
    });
    let text = match (entry.get("MESSAGE"), packed) {
        (Some(text), _) => text.to_vec(),
        (None, Some(instead)) => instead.into_bytes(),
        (None, None) => return,
    };
    if form == Form::Cat {
        out.extend_from_slice(&text);
        out.push(b'\n');
        return;
    }
    let start = out.len();
    let times = match form {
        Form::ShortIso => "%Y-%m-%dT%H:%M:%S%z",
        _ => "%b %d %H:%M:%S",
    };
    let said =
        entry.get("_SOURCE_REALTIME_TIMESTAMP").and_then(|us| std::str::from_utf8(us).ok()?.parse().ok());
    out.extend_from_slice(clock.form(said.unwrap_or(entry.realtime_us), times).as_bytes());
    let shown = |name: &str| entry.get(name).filter(|value| is_printable(value));
    if let Some(host) = shown("_HOSTNAME") {
        out.push(b' ');
        out.extend_from_slice(host);
    }
    let who = shown("SYSLOG_IDENTIFIER").or(shown("_COMM"));
    out.push(b' ');
    out.extend_from_slice(who.unwrap_or(b"unknown"));
    // journalctl doesn't count that word where it indents further lines.
    let uncounted = if who.is_none() { " unknown".len() } else { 0 };
    if let Some(pid) = shown("_PID").or(shown("SYSLOG_PID")) {
        out.push(b'[');
        out.extend_from_slice(pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    let width = out.len() - start - uncounted;
    let text = without_escapes(&text);
    let style = if colour { style_of(entry) } else { Style::Plain };
    if !is_printable(&text) {
        out.extend_from_slice(format!("[{} blob data]\n", size(text.len() as u64)).as_bytes());
        return;
    }
    let end = text.iter().rposition(|b| *b != b'\n').map_or(0, |at| at + 1);
    let text = &text[..end];
    for (nth, line) in text.split(|b| *b == b'\n').enumerate() {
        if nth > 0 {
            out.extend(std::iter::repeat_n(b' ', width));
        }
        out.extend_from_slice(style.begin().as_bytes());
        out.extend_from_slice(line);
        if style != Style::Plain {
            out.extend_from_slice(END.as_bytes());
        }
        out.push(b'\n');
    }
}

fn style_of(entry: &Entry) -> Style {
    match entry.get("PRIORITY") {
        Some([b'0'..=b'3']) => Style::Bad,
        Some([b'4' | b'5']) => Style::Strong,
        Some([b'7']) => Style::Faint,
        _ => Style::Plain,
    }
}

/// Tabs as eight blanks, and without the sequences that give a terminal colours and titles.
fn without_escapes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\t', _) => out.extend_from_slice(b"        "),
            (0x1b, [b'[', sequence @ ..]) => {
                let digits = sequence.iter().take_while(|b| b";0123456789".contains(b)).count();
                match sequence.get(digits) {
                    Some(letter) if letter.is_ascii_alphabetic() => rest = &sequence[digits + 1..],
                    _ => out.push(0x1b),
                }
            }
            (0x1b, [b']', sequence @ ..]) => match sequence.iter().position(|b| *b == 7 || *b < 0x20) {
                Some(end) if sequence[end] == 7 => rest = &sequence[end + 1..],
                Some(end) if sequence[end..].starts_with(b"\x1b\\") => rest = &sequence[end + 2..],
                _ => out.push(0x1b),
            },
            _ => out.push(*first),
        }
    }
    out
}

/// Whether a terminal would only print it.
fn is_printable(text: &[u8]) -> bool {
    let control = |c: char| (c < ' ' && c != '\t' && c != '\n') || ('\u{7f}'..='\u{9f}').contains(&c);
    std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(control))
}

/// A length as journalctl says it: `8B`, `1.5K`.
fn size(bytes: u64) -> String {
    let units = ["B", "K", "M", "G"];
    let step = (0..3).take_while(|step| bytes >> (10 * (step + 1)) > 0).count();
    let tenths = (u128::from(bytes) * 10) >> (10 * step);
    match (step, tenths % 10) {
        (0, _) | (_, 0) => format!("{}{}", tenths / 10, units[step]),
        (_, tenth) => format!("{}.{tenth}{}", tenths / 10, units[step]),
    }
}

fn json(out: &mut Vec<u8>, entry: &Entry) {
    let mut own = |name: &str, value: &str| {
        let begin = if out.is_empty() || out.ends_with(b"\n") { '{' } else { ',' };
        out.extend_from_slice(format!("{begin}\"{name}\":\"{value}\"").as_bytes());
    };
    own("__CURSOR", &entry.cursor());
    own("__REALTIME_TIMESTAMP", &entry.realtime_us.to_string());
    own("__MONOTONIC_TIMESTAMP", &entry.monotonic_us.to_string());
    let plain: Vec<(&[u8], &[u8])> = entry
        .fields
        .iter()
        .filter_map(|field| match field {
            Payload::Plain(field) => {
                let at = field.iter().position(|b| *b == b'=')?;
                let named = is_printable(&field[..at]) && at > 0;
                named.then(|| (&field[..at], &field[at + 1..]))
            }
            _ => None,
        })
        .collect();
    own("_BOOT_ID", &hex(&entry.boot));
    for (nth, (name, _)) in plain.iter().enumerate() {
        if *name == b"_BOOT_ID" || plain[..nth].iter().any(|(other, _)| other == name) {
            continue;
        }
        let values: Vec<&[u8]> = plain[nth..].iter().filter(|(n, _)| n == name).map(|(_, v)| *v).collect();
        out.push(b',');
        string(out, name);
        out.push(b':');
        if let [value] = values[..] {
            json_value(out, value);
            continue;
        }
        for (nth, value) in values.iter().enumerate() {
            out.push(if nth == 0 { b'[' } else { b',' });
            json_value(out, value);
        }
        out.push(b']');
    }
    let hidden = entry.fields.len() - plain.len() + entry.damaged;
    if hidden > 0 {
        out.extend_from_slice(format!(",\"HENCE_UNREADABLE_FIELDS\":\"{hidden}\"").as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

/// Text as a string, anything else as a list of its bytes.
fn json_value(out: &mut Vec<u8>, value: &[u8]) {
    if is_printable(value) {
        return string(out, value);
    }
    let bytes: Vec<String> = value.iter().map(u8::to_string).collect();
    out.push(b'[');
    out.extend_from_slice(bytes.join(",").as_bytes());
    out.push(b']');
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[&[u8]]) -> Entry {
        Entry {
            realtime_us: 1_795_388_424_726_304,
            monotonic_us: 5,
            boot: [1; 16],
            seqnum: 0x21f,
            seqnum_id: [2; 16],
            xor: 3,
            fields: fields.iter().map(|f| Payload::Plain((*f).into())).collect(),
            damaged: 0,
        }
    }

    fn short(fields: &[&[u8]]) -> String {
        let mut out = Vec::new();
        write(&mut out, &entry(fields), Form::Short, &Clock::here(), false);
        let text = String::from_utf8(out).unwrap();
        text.split_at_checked(16).map(|(_, text)| text.to_owned()).unwrap_or_default()
    }

    #[test]
    fn lines_are_as_journalctl_writes_them() {
        let host = &b"_HOSTNAME=vm"[..];
        assert_eq!(short(&[b"MESSAGE=a\nb", host, b"_COMM=c"]), format!("vm c: a\n{}b\n", " ".repeat(22)));
        assert_eq!(
            short(&[b"MESSAGE=\x1b[1;31mred\x1b[0m\tx", b"SYSLOG_IDENTIFIER=i", b"_PID=7", host]),
            "vm i[7]: red        x\n"
        );
        assert_eq!(short(&[b"MESSAGE=a\0b\xff", host]), "vm unknown: [4B blob data]\n");
        assert_eq!(short(&[host]), "");
        assert_eq!(short(&[b"MESSAGE=\x1b[2", host]), "vm unknown: [3B blob data]\n");
        assert_eq!((size(1536), size(1023), size(4 << 20)), ("1.5K".into(), "1023B".into(), "4M".into()));
    }

    #[test]
    fn json_is_one_object_a_line() {
        let mut out = Vec::new();
        let fields: [&[u8]; 4] = [b"MESSAGE=say \"\\\"\n", b"A=1", b"A=\0", b"=x"];
        write(&mut out, &entry(&fields), Form::Json, &Clock::here(), false);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["MESSAGE"], "say \"\\\"\n");
        assert_eq!(value["A"], serde_json::json!(["1", [0]]));
        assert_eq!(value["HENCE_UNREADABLE_FIELDS"], "1");
        assert!(value["__CURSOR"].as_str().unwrap().ends_with(";m=5;t=660e5714a2720;x=3"));
    }
}
