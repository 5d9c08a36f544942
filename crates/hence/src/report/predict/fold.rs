//! The timeline folded: what happens again and again in the same rhythm is one entry with its count and
//! period. And the words and numbers that text, JSON and page have in common.

use super::super::time::{period, span};
use super::Asked;
use hence_engine::predict::tally::{Line, What};
use hence_engine::predict::{Ask, Prediction, limit_text};
use hence_engine::sim::caps::{Cap, CapKind};
use hence_ledger::speech::size;

/// Entries of a timeline that a text or a page shows.
pub const SHOWN: usize = 40;

/// What happens at one time, or again and again.
pub struct Entry<'p> {
    /// When first, in microseconds.
    pub at_us: u64,
    /// When last.
    pub last_us: u64,
    /// How often.
    pub times: u64,
    /// The pause between, where there is a rhythm.
    pub period_us: Option<u64>,
    /// What happens, in its order.
    pub lines: Vec<&'p Line>,
}

/// The timeline with each loop as one entry.
pub fn folded(prediction: &Prediction) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in &prediction.timeline {
        let period_us = line.period_us();
        let fits = |entry: &&mut Entry<'_>| match (entry.period_us, period_us) {
            (Some(known), Some(own)) => {
                known.abs_diff(own) <= known / 50 && entry.times.abs_diff(line.times) <= 2
            }
            _ => false,
        };
        if let Some(entry) = entries.iter_mut().find(fits) {
            entry.last_us = entry.last_us.max(line.last_us);
            entry.times = entry.times.max(line.times);
            entry.lines.push(line);
            continue;
        }
        let (at_us, last_us, times) = (line.first_us, line.last_us, line.times);
        entries.push(Entry { at_us, last_us, times, period_us, lines: vec![line] });
    }
    entries
}

impl Entry<'_> {
    /// What happens, as one sentence.
    pub fn text(&self) -> String {
        let one = |line: &&Line| match (&line.what, line.times) {
            (What::Leaves, times) if times > 1 => {
                format!("{} leaves processes behind ({} in all)", line.unit, number(line.processes))
            }
            (what, _) if line.unit.is_empty() => what.sentence(line),
            (what, _) => {
                let sentence = what.sentence(line);
                let own = ["its ", "a ", "refused"].iter().any(|begin| sentence.starts_with(begin));
                format!("{}{} {sentence}", line.unit, if own { ":" } else { "" })
            }
        };
        self.lines.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// How often and in which rhythm; empty for what happens once.
    pub fn rhythm(&self) -> String {
        match (self.times, self.period_us) {
            (1, _) => String::new(),
            (times, Some(us)) => format!("{} times, every {}", number(times), period(us)),
            (times, None) => format!("{} times, up to {}", number(times), moment(self.last_us)),
        }
    }

    /// Whether something of it is trouble in itself.
    pub fn is_bad(&self) -> bool {
        self.lines.iter().any(|line| line.what.is_bad())
    }
}

/// A number with its thousands apart: `17,280`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment of the prediction: `0 s`, `2.0 s`, `25 h 58 min`.
pub fn moment(us: u64) -> String {
    const HOUR: u64 = 3_600_000_000;
    match us {
        0 => "0 s".into(),
        // Who asks about 24 h reads of 24 h.
        _ if (HOUR..=72 * HOUR).contains(&us) => match us % HOUR / 60_000_000 {
            0 => format!("{} h", us / HOUR),
            minutes => format!("{} h {minutes} min", us / HOUR),
        },
        _ if us >= 60_000_000 => span(us),
        _ => period(us).replace(".0 s", " s"),
    }
}

/// The answer as one sentence.
pub fn headline(prediction: &Prediction, asked: &Asked<'_>) -> String {
    let length = moment(prediction.for_us);
    if prediction.troubles.is_empty() {
        return match asked.question.asks.as_slice() {
            [] => format!("Nothing bad is predicted for {length}."),
            asks => format!("Nothing bad: {} {}.", deeds(asks), taken_text(prediction)),
        };
    }
    let mut parts: Vec<String> = Vec::new();
    if !asked.question.asks.is_empty() {
        parts.push(format!("{} {}", deeds(&asked.question.asks), taken_text(prediction)));
    }
    for one in prediction.loops.iter().filter(|l| l.ongoing).take(2) {
        let every = one.period_us.map(|us| format!(", every {}", period(us))).unwrap_or_default();
        let mut text = format!("{} restarts {} times{every}", one.units[0], number(one.times));
        if one.units.len() > 1 {
            let along: Vec<&str> = one.units[1..].iter().map(|u| &**u).collect();
            text.push_str(&format!(", and takes {} along", along.join(", ")));
        }
        parts.push(text);
    }
    for (name, unit) in
        prediction.units.iter().filter(|(_, u)| u.left_behind > 0 && !u.counts.allowed).take(2)
    {
        let bytes = size(unit.left_behind.saturating_mul(asked.question.limits.per_process));
        let processes = if unit.left_behind == 1 { "process" } else { "processes" };
        parts.push(format!(
            "{name} leaves {} {processes} behind ({bytes} at {} each{})",
            number(unit.left_behind),
            size(asked.question.limits.per_process),
            if asked.stated { "" } else { ", assumed" },
        ));
    }
    for limit in prediction.limits.iter().take(2) {
        parts.push(format!("{} after {}", limit_text(limit), moment(limit.reached_us.unwrap_or_default())));
    }
    let told = ["loop", "leak", "limit"];
    let asks = !asked.question.asks.is_empty();
    let others: Vec<&str> = prediction
        .troubles
        .iter()
        .filter(|t| !(told.contains(&t.kind) || asks && t.kind == "down"))
        .map(|t| t.text.as_str())
        .collect();
    parts.extend(others.iter().take(3).map(|t| (*t).to_owned()));
    if others.len() > 3 {
        parts.push(format!("and {} more", others.len() - 3));
    }
    format!("Trouble within {length}: {}.", parts.join("; "))
}

fn deeds(asks: &[Ask]) -> String {
    let one = |ask: &Ask| match ask {
        Ask::Stop(unit) => format!("stopping {unit}"),
        Ask::Restart(unit) => format!("restarting {unit}"),
        Ask::Isolate(unit) => format!("isolating {unit}"),
    };
    asks.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn taken_text(prediction: &Prediction) -> String {
    let names = |back: bool| -> Vec<&str> {
        prediction.takes_down.iter().filter(|t| t.comes_back == back).map(|t| &*t.unit).collect()
    };
    let list = |names: Vec<&str>| match names.len() {
        0..=6 => names.join(", "),
        more => format!("{} and {} more", names[..5].join(", "), more - 5),
    };
    match (names(false), names(true)) {
        (down, back) if down.is_empty() && back.is_empty() => "takes nothing else down".into(),
        (down, back) if back.is_empty() => format!("takes down {}", list(down)),
        (down, back) if down.is_empty() => format!("takes along {}, and all come up again", list(back)),
        (down, back) => format!("takes down {}, and along {} for a while", list(down), list(back)),
    }
}

/// The word of the JSON for a limit.
pub fn limit_word(cap: &Cap) -> &'static str {
    match cap.kind {
        CapKind::Tasks => "TasksMax",
        CapKind::Memory => "MemoryMax",
        CapKind::MachinePids => "pids",
        CapKind::MachineMemory => "memory",
    }
}

/// Limits that aren't reached in the time that was predicted, and when they would be at this rate.
pub fn later(prediction: &Prediction) -> Vec<(&Cap, u64)> {
    const FAR_US: u64 = 3650 * 86_400 * 1_000_000;
    let mut found: Vec<(&Cap, u64)> = Vec::new();
    for cap in prediction.watched.iter().filter(|c| c.reached_us.is_none()) {
        let of = |name: &str| cap.unit.as_deref().is_none_or(|unit| unit == name);
        // Of a slice it isn't known here which units are in it.
        let left: u64 = prediction.units.iter().filter(|(n, _)| of(n)).map(|(_, u)| u.left_behind).sum();
        if left < 3 || cap.count >= cap.most {
            continue;
        }
        let more = u128::from(cap.most - cap.count) * u128::from(prediction.for_us) / u128::from(left);
        let at_us = u64::try_from(more).unwrap_or(u64::MAX).saturating_add(prediction.for_us);
        if at_us < FAR_US {
            found.push((cap, at_us));
        }
    }
    found.sort_by_key(|(_, at)| *at);
    found
}
