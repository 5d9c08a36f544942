//! What is supposed to happen, as sentences: `collector.service exits 1 after 2s`. It reads them; whether
//! there is such a unit is asked where units are known.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use hence_unit::{UnitKind, UnitName, value};

/// A hundred years, in microseconds: longer than any prediction.
const LONGEST_US: u64 = 36_525 * 86_400 * 1_000_000;

/// The forms of a sentence, for help and for errors.
pub const FORMS: &str = "\
UNIT exits STATUS [after T] [every time|once|N times]
UNIT is killed by SIGNAL [after T] [every time|once|N times]
UNIT hangs [every time|once|N times]
UNIT fails to start [every time|once|N times]
UNIT stops answering [after T] [every time|once|N times]
UNIT forks N processes and leaves them
traffic on X.socket every T";

/// One supposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Of which unit.
    pub unit: UnitName,
    /// What happens to it.
    pub fault: Fault,
    /// In how many of its starts, from the first on; `None`: in every one.
    pub times: Option<u32>,
}

/// What happens to a unit.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Its main process ends by itself: the status, and how long after its start, in microseconds.
    Exits(u8, u64),
    /// A signal from outside ends its main process.
    Killed(u8, u64),
    /// Its main process gets stuck: it never becomes ready, sends no sign of life, obeys SIGKILL only.
    Hangs,
    /// Its program can't be executed.
    FailsToStart,
    /// It sends no more signs of life after this time.
    StopsAnswering(u64),
    /// Each start leaves so many more processes.
    Forks(u16),
    /// A client comes again and again, in this time.
    Traffic(u64),
}

/// Reads sentences, several apart by `;`.
///
/// # Errors
/// What can't be understood, and how it was likely meant.
pub fn parse(text: &str) -> Result<Vec<Sentence>, String> {
    let all: Vec<&str> = text.split(';').map(str::trim).filter(|s| !s.is_empty()).collect();
    if all.is_empty() {
        return Err(format!("--if is empty; write for example: a.service exits 1 after 2s\n{}", forms()));
    }
    all.into_iter()
        .map(|sentence| {
            one(sentence).map_err(|what| match what {
                Wrong::Form => {
                    format!("--if {sentence:?} can't be understood; it has one of these forms:\n{}", forms())
                }
                Wrong::Part(what) => format!("--if {sentence:?}: {what}"),
            })
        })
        .collect()
}

fn forms() -> String {
    FORMS.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_owned()
}

enum Wrong {
    Form,
    Part(String),
}

fn one(sentence: &str) -> Result<Sentence, Wrong> {
    let words: Vec<&str> = sentence.trim_end_matches('.').split_whitespace().collect();
    if let ["traffic", "on", rest @ ..] = words.as_slice() {
        return traffic(rest);
    }
    let (name, rest) = words.split_first().ok_or(Wrong::Form)?;
    let (rest, times) = times(rest)?;
    let (rest, after) = after(rest)?;
    let no_after = |fault: Fault| match after {
        Some(_) => Err(Wrong::Part("this happens at each start; leave out \"after\"".into())),
        None => Ok(fault),
    };
    let after_us = after.unwrap_or(0);
    let fault = match rest {
        ["exits", status] | ["exits", "with", status] | ["exits", "with", "status", status] => {
            let status = value::exit_status(status).ok_or_else(|| {
                Wrong::Part(format!("{status:?} is no exit status; write a number from 0 to 255"))
            })?;
            Fault::Exits(status, after_us)
        }
        ["exits"] => return Err(Wrong::Part(format!("with which status? Write: {name} exits 1"))),
        ["is", "killed", "by", signal] | ["killed", "by", signal] | ["dies", "of", signal] => {
            let signal = value::signal(signal).filter(|s| *s > 0).ok_or_else(|| {
                Wrong::Part(format!("{signal:?} is no signal; write for example SIGKILL or SEGV"))
            })?;
            Fault::Killed(signal, after_us)
        }
        ["is", "killed"] => {
            return Err(Wrong::Part(format!("by which signal? Write: {name} is killed by SIGKILL")));
        }
        ["hangs"] => no_after(Fault::Hangs)?,
        ["fails", "to", "start"] => no_after(Fault::FailsToStart)?,
        ["stops", "answering"] | ["stops", "answering", "(watchdog)"] => Fault::StopsAnswering(after_us),
        ["forks", number, "process" | "processes", "and", "leaves", "them" | "it"] => {
            let number = number.parse::<u16>().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| {
                Wrong::Part(format!("{number:?}: write a number of processes from 1 to 1000"))
            })?;
            no_after(Fault::Forks(number))?
        }
        [verb, ..] => return Err(unknown_verb(verb)),
        [] => return Err(Wrong::Part(format!("what happens to it? Write: {name} exits 1"))),
    };
    Ok(Sentence { unit: unit(name, UnitKind::Service)?, fault, times })
}

/// A verb that is nearly one of ours.
fn unknown_verb(verb: &str) -> Wrong {
    const LIKE: [(&str, &str); 16] = [
        ("exit", "exits STATUS"),
        ("exited", "exits STATUS"),
        ("exits", "exits STATUS [after T]"),
        ("crashes", "is killed by SEGV"),
        ("crash", "is killed by SEGV"),
        ("dies", "is killed by SIGNAL"),
        ("die", "is killed by SIGNAL"),
        ("is", "is killed by SIGNAL"),
        ("killed", "is killed by SIGNAL"),
        ("hang", "hangs"),
        ("fail", "fails to start"),
        ("fails", "fails to start, or: exits 1"),
        ("fork", "forks N processes and leaves them"),
        ("forks", "forks N processes and leaves them"),
        ("stops", "stops answering"),
        ("leaks", "forks 1 process and leaves it"),
    ];
    match LIKE.iter().find(|(word, _)| word.eq_ignore_ascii_case(verb)) {
        Some((_, meant)) => Wrong::Part(format!("did you mean \"{meant}\"?")),
        None => Wrong::Form,
    }
}

fn traffic(rest: &[&str]) -> Result<Sentence, Wrong> {
    let mend = "write: traffic on X.socket every 10s";
    let (name, every) = match rest {
        [name, "every", every @ ..] if !every.is_empty() => (name, every),
        _ => return Err(Wrong::Part(mend.to_owned())),
    };
    let every_us = time(every)?;
    if every_us < 1_000 {
        return Err(Wrong::Part("a millisecond is the shortest that can be followed".into()));
    }
    let unit = unit(name, UnitKind::Socket)?;
    if unit.kind() != UnitKind::Socket {
        return Err(Wrong::Part(format!("{unit} is no socket; {mend}")));
    }
    Ok(Sentence { unit, fault: Fault::Traffic(every_us), times: None })
}

/// Takes the number of times from the end.
fn times<'w>(words: &'w [&'w str]) -> Result<(&'w [&'w str], Option<u32>), Wrong> {
    match words {
        [rest @ .., "every", "time"] | [rest @ .., "each", "time"] | [rest @ .., "always"] => {
            Ok((rest, None))
        }
        [rest @ .., "once"] => Ok((rest, Some(1))),
        [rest @ .., "twice"] => Ok((rest, Some(2))),
        [rest @ .., number, "times" | "time"] => match number.parse::<u32>() {
            Ok(number) if number > 0 => Ok((rest, Some(number))),
            _ => Err(Wrong::Part(format!("{number:?} is no number of times; write for example: 3 times"))),
        },
        _ => Ok((words, None)),
    }
}

/// Takes `after T` from the end.
fn after<'w>(words: &'w [&'w str]) -> Result<(&'w [&'w str], Option<u64>), Wrong> {
    let Some(at) = words.iter().rposition(|w| *w == "after" || *w == "in") else { return Ok((words, None)) };
    Ok((&words[..at], Some(time(&words[at + 1..])?)))
}

fn time(words: &[&str]) -> Result<u64, Wrong> {
    let text = words.join(" ");
    value::span(&text, 1_000_000)
        .filter(|us| *us <= LONGEST_US)
        .ok_or_else(|| Wrong::Part(format!("{text:?} is no time; write for example 2s, 1min 30s or 4h")))
}

fn unit(name: &str, kind: UnitKind) -> Result<UnitName, Wrong> {
    let suffix = kind.suffix();
    let full = if name.contains('.') { name.to_string() } else { format!("{name}.{suffix}") };
    UnitName::new(&full)
        .filter(|n| !n.is_template())
        .ok_or_else(|| Wrong::Part(format!("{name:?} is no unit's name; write for example a.service")))
}

impl core::fmt::Display for Sentence {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let span = |us: &u64| match us {
            0 => String::new(),
            us => format!(" after {}", hence_ledger::speech::duration(*us)),
        };
        match &self.fault {
            Fault::Exits(status, us) => write!(f, "{} exits {status}{}", self.unit, span(us))?,
            Fault::Killed(signal, us) => {
                let name = hence_ledger::speech::signal(i32::from(*signal));
                write!(f, "{} is killed by {name}{}", self.unit, span(us))?;
            }
            Fault::Hangs => write!(f, "{} hangs", self.unit)?,
            Fault::FailsToStart => write!(f, "{} fails to start", self.unit)?,
            Fault::StopsAnswering(us) => write!(f, "{} stops answering{}", self.unit, span(us))?,
            Fault::Forks(1) => write!(f, "{} forks 1 process and leaves it", self.unit)?,
            Fault::Forks(number) => write!(f, "{} forks {number} processes and leaves them", self.unit)?,
            Fault::Traffic(us) => {
                return write!(f, "traffic on {} every {}", self.unit, hence_ledger::speech::duration(*us));
            }
        }
        match self.times {
            None => f.write_str(", every time"),
            Some(1) => f.write_str(", once"),
            Some(times) => write!(f, ", {times} times"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text) {
            Ok(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Err(error) => error.lines().next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn every_form_is_read() {
        for (written, read) in [
            ("collector.service exits 1 after 2s", "collector.service exits 1 after 2 s, every time"),
            ("collector exits 1", "collector.service exits 1, every time"),
            ("a exits with status TEMPFAIL after 1min 30s once", "a.service exits 75 after 90 s, once"),
            (
                "a.service is killed by SIGSEGV after 3 s 4 times",
                "a.service is killed by SIGSEGV after 3 s, 4 times",
            ),
            ("a hangs", "a.service hangs, every time"),
            ("a fails to start twice", "a.service fails to start, 2 times"),
            ("a stops answering (watchdog) after 5s", "a.service stops answering after 5 s, every time"),
            (
                "a forks 3 processes and leaves them",
                "a.service forks 3 processes and leaves them, every time",
            ),
            ("traffic on a.socket every 10s", "traffic on a.socket every 10 s"),
            (
                "a exits 1; b exits 0 every time.",
                "a.service exits 1, every time; b.service exits 0, every time",
            ),
        ] {
            assert_eq!(shown(written), read, "{written}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_mend() {
        for (written, told) in [
            ("", "--if is empty"),
            ("a exits", "with which status? Write: a exits 1"),
            ("a exits 256", "is no exit status; write a number from 0 to 255"),
            ("a exits 1 after soon", "\"soon\" is no time; write for example 2s"),
            ("a exits 1 after 500000y", "is no time"),
            ("a exits 1 after", "\"\" is no time"),
            ("a is killed by NOBODY", "is no signal; write for example SIGKILL"),
            ("a crashes", "did you mean \"is killed by SEGV\"?"),
            ("a exits 1 many times", "\"many\" is no number of times"),
            ("a hangs after 3s", "leave out \"after\""),
            ("traffic on a.service every 1s", "a.service is no socket; write: traffic on X.socket every 10s"),
            ("traffic on a.socket", "write: traffic on X.socket every 10s"),
            ("a", "what happens to it? Write: a exits 1"),
            ("a@.service hangs", "is no unit's name"),
            ("a sings", "can't be understood; it has one of these forms:"),
        ] {
            assert!(shown(written).contains(told), "{written}: {}", shown(written));
        }
    }
}
