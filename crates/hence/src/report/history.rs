//! The lines of `hence history`: events, or with `--raw` every record.

use super::ledger::{Reading, folder};
use super::page::Page;
use super::style::{Style, plain};
use super::time::{Clock, period};
use crate::cli::{LedgerOption, Outcome};
use hence_host::store::Reader;
use hence_ledger::history::Entry;
use hence_ledger::json::Json;
use hence_ledger::{Certainty, Record, Stamp, speech};
use std::collections::VecDeque;

/// One line for each event.
pub fn page(entries: &[Entry], reading: &Reading, clock: &Clock) -> String {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&plain(&line(entry, clock)));
        text.push('\n');
    }
    let mut page = Page::here();
    if entries.is_empty() {
        page.paragraph("", "", &[(Style::Plain, "Nothing is on record for that.")]);
    }
    reading.footer(&mut page);
    let footer = page.finish();
    if !entries.is_empty() && !footer.is_empty() {
        text.push('\n');
    }
    text + &footer
}

fn line(entry: &Entry, clock: &Clock) -> String {
    let at = clock.full(entry.at.realtime_us);
    let subject = entry.unit.as_deref().unwrap_or("hence");
    // The sentence of a fact that is no event of a unit says all.
    if matches!(entry.event, "boot" | "end" | "refused" | "gap" | "clock" | "signal" | "reexec" | "taken up")
    {
        return format!("{at}  {}", entry.because);
    }
    let mut line = format!("{at}  {subject} {}", super::answer::verb(entry.event));
    if entry.times > 1 {
        let last = clock.full(entry.last.realtime_us);
        let same_day = clock.date(entry.at.realtime_us) == clock.date(entry.last.realtime_us);
        let last = if same_day { &last[11..] } else { &last };
        let times = speech::count(entry.times, "time", "times");
        match *last == at[at.len() - last.len()..] {
            true => line.push_str(&format!(" {times} within that second")),
            false => line.push_str(&format!(" {times} until {last}")),
        }
        if let Some(us) = entry.period_us {
            line.push_str(&format!(", every {}", period(us)));
        }
    }
    if !entry.because.is_empty() {
        match entry.because.split_once(" process ") {
            // What a client asked for, and of which other unit.
            Some((unit, asked)) if !unit.contains(' ') && asked.contains(" asked for ") => {
                line.push_str(&format!(": process {asked} of {unit}"));
            }
            _ => {
                let own = entry.because.strip_prefix(&format!("{subject}: "));
                line.push_str(&format!(": {}", own.unwrap_or(&entry.because)));
            }
        }
    }
    line
}

/// Which records `--raw` shows.
#[derive(Debug)]
pub struct Range<'a> {
    /// Of this unit only.
    pub unit: Option<&'a str>,
    /// From then on.
    pub since: Option<Stamp>,
    /// Up to then.
    pub until: Option<Stamp>,
    /// The last so many.
    pub lines: Option<usize>,
    /// As JSON.
    pub json: bool,
}

impl Range<'_> {
    fn has(&self, record: &Record) -> bool {
        self.unit.is_none_or(|unit| record.unit.as_deref() == Some(unit))
            && self.since.is_none_or(|since| record.at.realtime_us >= since.realtime_us)
            && self.until.is_none_or(|until| record.at.realtime_us <= until.realtime_us)
    }
}

/// Every record as a line. It holds no more of them than it is asked to show.
pub fn raw(option: &LedgerOption, range: &Range<'_>, clock: &Clock) -> Outcome {
    let mut last: VecDeque<String> = VecDeque::new();
    let mut chunk = String::new();
    for item in Reader::open(&folder(option))?.records() {
        let line = match item {
            Ok(record) if !range.has(&record) => continue,
            Ok(record) if range.json => flat(&json(&record)),
            Ok(record) => plain(&sentence(&record, clock)),
            Err(damage) if range.json => {
                flat(&Json::Object(vec![("damage", Json::Text(damage.to_string()))]))
            }
            Err(damage) => plain(&format!("---  {damage}; records may be missing here")),
        };
        match range.lines {
            Some(lines) => {
                last.push_back(line);
                if last.len() > lines {
                    last.pop_front();
                }
            }
            None => {
                chunk.push_str(&line);
                chunk.push('\n');
                if chunk.len() > 60_000 {
                    if !super::write(chunk.as_bytes())? {
                        return Ok(0);
                    }
                    chunk.clear();
                }
            }
        }
    }
    last.into_iter().for_each(|line| chunk.push_str(&format!("{line}\n")));
    super::print(chunk.as_bytes())
}

fn sentence(record: &Record, clock: &Clock) -> String {
    let us = record.at.realtime_us;
    let mut line =
        format!("{}.{:06}  {}  {}", clock.full(us), us % 1_000_000, record.id.0, record.sentence());
    for (nth, cause) in record.causes.iter().enumerate() {
        line.push_str(if nth == 0 { "  <- " } else { ", " });
        line.push_str(&cause.record.0.to_string());
        if let Some(rule) = &cause.rule {
            line.push_str(&format!(" ({})", super::answer::rule(rule)));
        }
    }
    line
}

fn json(record: &Record) -> Json {
    let text = |value: &str| Json::Text(value.into());
    let causes = record.causes.iter().map(|cause| {
        let rule = cause.rule.as_ref();
        let line = rule.map(|r| r.line).filter(|line| *line > 0);
        Json::Object(vec![
            ("record", Json::Number(cause.record.0)),
            ("directive", rule.map_or(Json::Null, |r| text(&r.directive))),
            ("file", rule.and_then(|r| r.file.as_deref()).map_or(Json::Null, text)),
            ("line", line.map_or(Json::Null, |line| Json::Number(line.into()))),
        ])
    });
    Json::Object(vec![
        ("record", Json::Number(record.id.0)),
        ("at", Json::Text(speech::rfc3339(record.at.realtime_us))),
        ("unit", record.unit.as_deref().map_or(Json::Null, text)),
        ("invocation", record.invocation.map_or(Json::Null, |id| Json::Text(id.to_string()))),
        ("fact", text(record.fact.name())),
        ("sentence", Json::Text(record.sentence())),
        ("observed", Json::Bool(record.certainty == Certainty::Observed)),
        ("causes", Json::List(causes.collect())),
    ])
}

/// JSON on one line: newlines within strings are escaped, so those that are left are layout.
fn flat(json: &Json) -> String {
    json.to_string().lines().map(str::trim_start).collect::<Vec<_>>().join(" ")
}
