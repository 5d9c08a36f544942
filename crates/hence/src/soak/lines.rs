//! What units log, as far as it complains: how often and in which words. Lines come from the ledger's log
//! files; numbers in them don't make a line another one.

use hence_host::store::log_of;
use regex_lite::Regex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Different complaints of a unit that are kept; more are counted as one.
const WORDINGS: usize = 200;
/// Times that are kept of a unit.
const TIMES: usize = 100_000;
/// Read of a log in one go.
const SLICE: u64 = 4 << 20;
/// Letters of a complaint that are kept.
const LETTERS: usize = 160;

const COMPLAINS: &str = concat!(
    r"(?i)\b(error|errors|fatal|panic|panicked|critical|emergency|alert|exception|traceback|segfault|",
    r"segmentation fault|failed|failure|cannot|can't|unable to|denied|refused|out of memory|no space left|",
    r"too many open files|timed out|deadlock|corrupt(ed)?)\b"
);
/// `0 errors`, `errors=0 warnings=2`, `error: none`; but not `error: no route`.
const DENIES: &str = concat!(
    r"(?i)\b(no|0|zero|without)\s+(error|failure|exception)s?\b|",
    r"\b(error|failure|exception|failed)s?[_ a-z]*[=:]\s*(0|none|no|false|nil|null|\[\])",
    r"([\s,;)}]*$|[,;)}]|\s+\w+[=:])"
);
const NUMBERS: &str = r"\b0x[0-9a-fA-F]+\b|\b[0-9a-fA-F]*[0-9][0-9a-fA-F]*\b|[0-9]+";

/// The complaints of a unit.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    /// When, in microseconds of the wall clock.
    pub times: Vec<u64>,
    /// In which words, and how often.
    pub wordings: BTreeMap<String, u64>,
    /// One line of each as it was, for people.
    pub last: Option<String>,
    read: u64,
}

/// Reads logs.
#[derive(Debug)]
pub struct Logs {
    pub units: BTreeMap<String, Complaints>,
    complains: Regex,
    denies: Regex,
    numbers: Regex,
}

impl Default for Logs {
    fn default() -> Logs {
        let regex = |pattern| Regex::new(pattern).expect("a pattern that is tested");
        Logs {
            units: BTreeMap::new(),
            complains: regex(COMPLAINS),
            denies: regex(DENIES),
            numbers: regex(NUMBERS),
        }
    }
}

impl Logs {
    /// Reads what was logged since the last time.
    pub fn read(&mut self, ledger: &Path, units: &[String]) {
        for unit in units {
            let Ok(mut file) = File::open(log_of(ledger, unit)) else { continue };
            let length = file.metadata().map_or(0, |about| about.len());
            let read = self.units.entry(unit.clone()).or_default().read;
            // It was put aside and begun anew.
            let from = if length < read { 0 } else { read };
            let mut bytes = Vec::new();
            if file.seek(SeekFrom::Start(from)).is_err() || file.take(SLICE).read_to_end(&mut bytes).is_err()
            {
                continue;
            }
            // A line that isn't whole yet is read the next time.
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
                self.line(unit, line);
            }
            if let Some(unit) = self.units.get_mut(unit) {
                unit.read = from + whole as u64;
            }
        }
    }

    /// `2026-11-23T04:30:25.124392Z d5bac44b stdout 5318: text`
    fn line(&mut self, unit: &str, line: &str) {
        let Some((head, text)) = line.split_once(": ") else { return };
        if !self.complains(text) {
            return;
        }
        let at = head.split(' ').next().unwrap_or_default();
        let at_us = at.parse::<jiff::Timestamp>().map_or(0, |t| t.as_microsecond().max(0) as u64);
        let (text, _) = priority(text);
        let short: String = text.chars().take(LETTERS).collect();
        let wording = self.numbers.replace_all(&short, "#").into_owned();
        let known = self.units.entry(unit.to_owned()).or_default();
        if known.times.len() < TIMES {
            known.times.push(at_us);
        }
        if known.wordings.len() < WORDINGS || known.wordings.contains_key(&wording) {
            *known.wordings.entry(wording).or_default() += 1;
        }
        known.last = Some(short);
    }

    fn complains(&self, text: &str) -> bool {
        match priority(text) {
            (_, Some(level)) if level <= 3 => true,
            (_, Some(level)) if level >= 5 => false,
            (text, _) => self.complains.is_match(text) && !self.denies.is_match(text),
        }
    }
}

/// The text without its priority, `<3>`, and that; sd-daemon(3).
fn priority(text: &str) -> (&str, Option<u8>) {
    let prefixed = text.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match prefixed.and_then(|(level, rest)| Some((level.parse::<u8>().ok()?, rest))) {
        Some((level, rest)) => (rest, Some(level & 7)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_complains() {
        let logs = Logs::default();
        for text in [
            "<3>bad",
            "<0>dead",
            "ERROR: no route",
            "open: cannot open x",
            "bind: Address refused",
            "panicked at",
        ] {
            assert!(logs.complains(text), "{text}");
        }
        for text in [
            "<6>error is a word",
            "0 errors",
            "errors=0 warnings=2",
            "no errors found",
            "error: none",
            "terror",
            "ready",
        ] {
            assert!(!logs.complains(text), "{text}");
        }
    }

    #[test]
    fn numbers_make_no_other_line() {
        let mut logs = Logs::default();
        for nth in 0..500 {
            let line =
                format!("2026-11-23T04:30:25.124392Z d5bac44b stderr {nth}: error: port 0x{nth:x} at {nth}");
            logs.line("a.service", &line);
        }
        let found = &logs.units["a.service"];
        assert_eq!((found.times.len(), found.wordings.len()), (500, 1));
        assert_eq!(found.wordings.keys().next().unwrap(), "error: port # at #");
        assert_eq!(found.times[0], 1_795_408_225_124_392);
    }
}
