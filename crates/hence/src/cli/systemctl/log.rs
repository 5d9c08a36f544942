//! The last lines of a unit's output, for the end of `status`: from hence's own captured output, where there
//! is a ledger of this machine. Records (that it started, and why) are told by `hence why`.

use super::{Args, Failed, Properties, property, text};
use hence_bus::wire::Value;
use hence_host::store::{default_ledger, log_of};
use jiff::{Timestamp, tz::TimeZone};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// How much of the end of a file is looked at.
const TAIL: u64 = 256 << 10;

/// A line of output.
struct Line {
    at: Timestamp,
    pid: String,
    text: String,
}

/// Prints the last lines of a unit's present or last run after an empty one.
pub fn print(args: &Args, about: &Properties, out: &mut impl Write) -> Result<(), Failed> {
    let ledger = match std::env::var_os("HENCE_LEDGER") {
        Some(folder) => folder.into(),
        None => default_ledger(),
    };
    let lines = tail(args, about, &ledger);
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let who = speaker(about);
    for line in lines {
        let at = line.at.to_zoned(TimeZone::system());
        let before = match args.output.as_str() {
            "cat" => {
                writeln!(out, "{}", line.text)?;
                continue;
            }
            "short-iso" => at.strftime("%Y-%m-%dT%H:%M:%S%z").to_string(),
            "short-iso-precise" => at.strftime("%Y-%m-%dT%H:%M:%S%.6f%z").to_string(),
            "short-precise" => at.strftime("%b %d %H:%M:%S%.6f").to_string(),
            "short-full" => at.strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string(),
            "short-unix" => format!("{}.{:06}", line.at.as_second(), line.at.subsec_microsecond()),
            _ => at.strftime("%b %d %H:%M:%S").to_string(),
        };
        writeln!(out, "{before} {} {who}[{}]: {}", host.trim(), line.pid, line.text)?;
    }
    Ok(())
}

/// The name that lines are said by: SyslogIdentifier=, else the program's.
fn speaker(about: &Properties) -> String {
    let own = text(about, "SyslogIdentifier");
    if !own.is_empty() {
        return own.to_owned();
    }
    let command = property(about, "ExecStart").map_or(&[][..], Value::items).first();
    let path = command.map_or("", |command| super::field(command, 0));
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// How many lines are shown: `--lines=`.
pub fn most(args: &Args) -> usize {
    match args.lines.as_deref() {
        None => 10,
        Some("all") => usize::MAX,
        Some(number) => number.parse().unwrap_or(10),
    }
}

fn tail(args: &Args, about: &Properties, ledger: &Path) -> Vec<Line> {
    let most = most(args);
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log_of(ledger, text(about, "Id")))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let Ok(bytes) = read() else { return Vec::new() };
    let invocation: String = match property(about, "InvocationID") {
        Some(Value::Bytes(id)) => id.iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
        _ => return Vec::new(),
    };
    let all = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<Line> = all.lines().filter_map(|line| parse(line, &invocation)).collect();
    lines.drain(..lines.len().saturating_sub(most));
    lines
}

/// `TIME INVOCATION STREAM PID: TEXT`
fn parse(line: &str, invocation: &str) -> Option<Line> {
    let mut words = line.splitn(4, ' ');
    let at = words.next()?.parse().ok()?;
    if words.next()? != invocation {
        return None;
    }
    let _stream = words.next()?;
    let (pid, text) = words.next()?.split_once(": ")?;
    // What a service writes must not steer the terminal.
    let text = text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
    Some(Line { at, pid: pid.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_run() {
        let line = parse("2026-11-22T10:00:00.5Z 0a0b0c0d stdout 12: hello: \u{1b}[1m", "0a0b0c0d");
        let line = line.expect("a line of this run");
        assert_eq!((line.pid.as_str(), line.text.as_str()), ("12", "hello: ?[1m"));
        assert!(parse("2026-11-22T10:00:00.5Z 0a0b0c0e stdout 12: hello", "0a0b0c0d").is_none());
        assert!(parse("[hence: 12 bytes are missing here]", "0a0b0c0d").is_none());
    }
}
