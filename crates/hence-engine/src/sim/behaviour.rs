//! What the modelled processes of a command do: scripts and their words. It runs nothing.
//!
//! A script is one line: what successive starts do, apart by `;`, the last one again and again. What one
//! start does are clauses, apart by `,`:
//!
//! ```text
//! runs                        until a signal ends it (what a main process does without a script)
//! exits 1 after 2s            ends by itself (a control process without a script: exits 0 after 1ms)
//! dies of SEGV after 2s       a signal from outside ends it
//! dumps ABRT after 2s         the same, with a core dump
//! ignores TERM HUP            these signals do nothing
//! on TERM exits 3 after 1s    its answer to a signal
//! forks 2                     children of it, which any signal ends
//! forks 2 stubborn            children that SIGKILL only ends
//! forks 2 for 5s              children that end by themselves
//! says READY=1 after 1s       sd_notify(3): READY, RELOADING, STOPPING, WATCHDOG, EXTEND_TIMEOUT_USEC
//! says FDSTORE=a              the same with a descriptor to be kept as `a`; FDSTOREREMOVE=a
//! pings every 1s for 10s      WATCHDOG=1 again and again, then no more
//! writes pid after 10ms       PIDFile= names its first child
//! fails exec 2                cannot be started: step and errno
//! deaf                        doesn't take what waits on the sockets that it is passed
//! ```

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use hence_ledger::{Exit, ExitKind, SpawnStep};

/// What one start of a command does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// It ends by itself: after how long, in microseconds, and how.
    pub ends: Option<(u64, Exit)>,
    /// Signals that do nothing.
    pub ignores: Vec<u8>,
    /// Signals that make it end in its own way.
    pub answers: Vec<(u8, u64, Exit)>,
    /// Its children.
    pub children: Vec<Child>,
    /// Messages: after how long, and the assignment.
    pub says: Vec<(u64, String)>,
    /// WATCHDOG=1: how often, and for how long.
    pub pings: Option<(u64, u64)>,
    /// When it writes PIDFile=.
    pub writes_pid: Option<u64>,
    /// It can't be started.
    pub fails: Option<(SpawnStep, i32)>,
    /// It leaves the traffic on its sockets alone.
    pub deaf: bool,
}

/// A process that a modelled process starts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Child {
    /// Only SIGKILL ends it.
    pub stubborn: bool,
    /// It ends by itself: after how long, in microseconds, and how.
    pub ends: Option<(u64, Exit)>,
}

/// What a command's successive starts do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script(pub Vec<Behaviour>);

impl Script {
    /// Reads a script; the error says what it doesn't know.
    pub fn parse(text: &str) -> Result<Script, String> {
        text.split(';').map(parse_behaviour).collect::<Result<_, _>>().map(Script)
    }

    /// What the start of this number, from 0, does.
    pub fn of(&self, start: usize) -> Option<&Behaviour> {
        self.0.get(start).or(self.0.last())
    }
}

fn parse_behaviour(text: &str) -> Result<Behaviour, String> {
    let mut b = Behaviour::default();
    for clause in text.split(',') {
        let words: Vec<&str> = clause.split_whitespace().collect();
        parse_clause(&mut b, &words).ok_or_else(|| format!("what does {:?} mean?", clause.trim()))?;
    }
    Ok(b)
}

fn parse_clause(b: &mut Behaviour, words: &[&str]) -> Option<()> {
    match words {
        ["runs"] => {}
        ["deaf"] => b.deaf = true,
        ["exits", status, rest @ ..] => b.ends = Some((after(rest)?, exited(status)?)),
        ["dies", "of", s, rest @ ..] => b.ends = Some((after(rest)?, by(ExitKind::Killed, s)?)),
        ["dumps", s, rest @ ..] => b.ends = Some((after(rest)?, by(ExitKind::Dumped, s)?)),
        ["ignores", signals @ ..] => {
            for s in signals {
                b.ignores.push(signal(s)?);
            }
        }
        ["on", s, "exits", status, rest @ ..] => {
            b.answers.push((signal(s)?, after(rest)?, exited(status)?));
        }
        ["forks", count, rest @ ..] => {
            let child = match rest {
                [] => Child::default(),
                ["stubborn"] => Child { stubborn: true, ends: None },
                ["for", t] => Child { stubborn: false, ends: Some((span(t)?, exited("0")?)) },
                _ => return None,
            };
            b.children.extend(core::iter::repeat_n(child, count.parse::<u8>().ok()?.into()));
        }
        ["says", what, rest @ ..] => b.says.push((after(rest)?, (*what).to_owned())),
        ["pings", "every", t, "for", u] => b.pings = Some((span(t)?.max(1), span(u)?)),
        ["writes", "pid", rest @ ..] => b.writes_pid = Some(after(rest)?),
        ["fails", step, errno] => {
            let step = SpawnStep::ALL.iter().copied().find(|s| s.as_str().replace(' ', "-") == *step)?;
            b.fails = Some((step, errno.parse().ok()?));
        }
        _ => return None,
    }
    Some(())
}

fn after(words: &[&str]) -> Option<u64> {
    match words {
        [] => Some(1_000),
        ["after", t] => span(t),
        _ => None,
    }
}

fn exited(status: &str) -> Option<Exit> {
    Some(Exit { kind: ExitKind::Exited, status: status.parse::<u8>().ok()?.into() })
}

fn by(kind: ExitKind, name: &str) -> Option<Exit> {
    Some(Exit { kind, status: signal(name)?.into() })
}

/// A signal by its name without SIG, or its number.
pub fn signal(name: &str) -> Option<u8> {
    const NAMES: [(&str, u8); 13] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
    ];
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, s)| *s).or_else(|| name.parse().ok())
}

/// A time span in microseconds: `2s`, `1.5s`, `20ms`, `7us`, `3min`.
pub fn span(text: &str) -> Option<u64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit: u64 = match &text[at..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        _ => return None,
    };
    let (whole, fraction) = text[..at].split_once('.').unwrap_or((&text[..at], ""));
    let mut total = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut part = unit;
    for digit in fraction.chars() {
        part /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * part)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_or_refused() {
        let script = Script::parse("exits 1 after 2s, forks 2 stubborn; runs").unwrap();
        let exit = Exit { kind: ExitKind::Exited, status: 1 };
        assert_eq!(script.of(0).unwrap().ends, Some((2_000_000, exit)));
        assert_eq!(script.of(0).unwrap().children, [Child { stubborn: true, ends: None }; 2]);
        assert_eq!(script.of(7), Some(&Behaviour::default()));
        assert!(Script::parse("exits one").is_err() && Script::parse("").is_err());
        assert_eq!(
            (span("1.5s"), span("20ms"), span("5"), span("x")),
            (Some(1_500_000), Some(20_000), None, None)
        );
    }
}
