//! What a run of `hence watch` leaves for the next one: which units were up, until which record, and until
//! when it watched. A text file in the ledger; what happened since it was written is in the ledger's records.

use hence_engine::Time;
use hence_engine::observe::{Before, Last, sub_state};
use hence_host::store::{OWN, Reader, WATCHING};
use hence_ledger::{ActiveState, Fact, Invocation, ProcessRole, Record, SubState, Text};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

const HEAD: &str = "hence watches 1";
/// After so many records it is written anew, so that no more have to be read again.
const RECORDS: usize = 50_000;
/// What it may become at most, in bytes.
const LONGEST: u64 = 64 << 20;

/// The file.
pub struct Mark {
    path: PathBuf,
    due_us: Option<u64>,
    records: usize,
}

/// What was found of an earlier run.
pub struct Found {
    pub before: Option<Before>,
    /// It did not end in order.
    pub crashed: bool,
}

#[derive(Default)]
struct Parsed {
    boot: Option<Invocation>,
    record: u64,
    units: BTreeMap<Text, Last>,
    /// When it ended, and whether in order.
    end: Option<(Time, bool)>,
}

fn id(text: &str) -> Option<Invocation> {
    let mut bytes = [0; 16];
    for (nth, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * nth..2 * nth + 2)?, 16).ok()?;
    }
    Some(Invocation(bytes))
}

fn parse(text: &str) -> Option<Parsed> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return None;
    }
    let mut parsed = Parsed::default();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |nth: usize| words.get(nth).and_then(|word| word.parse::<u64>().ok());
        let time = || Some(Time { realtime_us: number(1)?, monotonic_us: number(2)? });
        match words[0] {
            "boot" => parsed.boot = id(words.get(1)?),
            "record" => parsed.record = number(1)?,
            "again" => parsed.end = None,
            // What said itself that it ends is then seen to be gone as well.
            "gone" => parsed.end = parsed.end.filter(|(_, well)| *well).or(time().map(|at| (at, false))),
            "ended" => parsed.end = time().map(|at| (at, true)),
            "unit" if words.len() == 7 => {
                let last = Last {
                    name: words[1].into(),
                    active: ActiveState::parse(words[2]).unwrap_or(ActiveState::Inactive),
                    sub: sub_state(words[1], words[3]).unwrap_or(SubState::Dead),
                    invocation: id(words[4]),
                    main_pid: u32::try_from(number(5)?).ok()?,
                    record: number(6)?,
                    left_over: Vec::new(),
                };
                parsed.units.insert(last.name.clone(), last);
            }
            "left" if words.len() == 4 => {
                let process = (u32::try_from(number(2)?).ok()?, number(3)?);
                parsed.units.get_mut(words[1])?.left_over.push(process);
            }
            // Cut short by a crash, or of a newer version.
            _ => {}
        }
    }
    Some(parsed)
}

fn text(boot: Invocation, record: u64, units: impl Iterator<Item = Last>, ended: Option<Time>) -> String {
    let mut text = format!("{HEAD}\nboot {boot}\nrecord {record}\n");
    for last in units {
        let id = last.invocation.map_or_else(|| "-".into(), |id| id.to_string());
        let (name, active, sub) = (&last.name, last.active, last.sub);
        let _ = writeln!(text, "unit {name} {active} {sub} {id} {} {}", last.main_pid, last.record);
        for (pid, start_ticks) in &last.left_over {
            let _ = writeln!(text, "left {name} {pid} {start_ticks}");
        }
    }
    if let Some(at) = ended {
        let _ = writeln!(text, "ended {} {}", at.realtime_us, at.monotonic_us);
    }
    text
}

/// Takes what the records say that came after the mark: the newest of each unit counts.
fn replay(units: &mut BTreeMap<Text, Last>, records: impl Iterator<Item = Record>) -> Option<Time> {
    let (mut newest, mut states, mut mains) = (None, BTreeSet::new(), BTreeSet::new());
    let mut gone = BTreeSet::new();
    for record in records {
        newest = newest.or(Some(record.at));
        let Some(name) = record.unit else { continue };
        let last = units.entry(name.clone()).or_insert_with(|| Last {
            name: name.clone(),
            active: ActiveState::Inactive,
            sub: SubState::Dead,
            invocation: None,
            main_pid: 0,
            record: 0,
            left_over: Vec::new(),
        });
        match record.fact {
            Fact::StateChanged { to_active, to, .. } if states.insert(name.clone()) => {
                (last.active, last.sub, last.record) = (to_active, to, record.id.0);
                last.invocation = record.invocation.or(last.invocation);
            }
            Fact::ProcessStarted { pid, role: ProcessRole::Main, .. } if mains.insert(name) => {
                last.main_pid = pid;
            }
            Fact::LeftOverGone { pid, start_ticks, .. } => {
                gone.insert((pid, start_ticks));
            }
            Fact::LeftBehind { processes, .. } => {
                let keys = processes.iter().map(|p| (p.pid, p.start_ticks));
                let new: Vec<_> = keys.filter(|key| !last.left_over.contains(key)).collect();
                last.left_over.extend(new);
            }
            _ => {}
        }
    }
    for last in units.values_mut() {
        last.left_over.retain(|key| !gone.contains(key));
    }
    newest
}

impl Mark {
    /// The mark of a ledger, and what an earlier run left in it.
    pub fn open(ledger: &Path, boot: Invocation, now: Time) -> (Mark, Found) {
        let path = ledger.join(WATCHING);
        let parsed = fs::metadata(&path)
            .ok()
            .filter(|file| file.len() <= LONGEST)
            .and_then(|_| parse(&fs::read_to_string(&path).ok()?));
        let found = match parsed {
            Some(parsed) => found(parsed, ledger, boot, now),
            None => Found { before: None, crashed: false },
        };
        let again = format!("again {} {}\n", now.realtime_us, now.monotonic_us);
        let file = fs::File::options().append(true).open(&path);
        let _ = file.and_then(|mut file| file.write_all(again.as_bytes()));
        (Mark { path, due_us: None, records: 0 }, found)
    }

    /// The folder of the ledger.
    pub fn ledger(&self) -> Option<&Path> {
        self.path.parent()
    }

    /// It is to be written at this time.
    pub fn at(&mut self, us: u64) {
        self.due_us = Some(self.due_us.map_or(us, |known| known.min(us)));
    }

    /// When it is to be written.
    pub fn deadline_us(&self) -> Option<u64> {
        self.due_us
    }

    /// So many records were made.
    pub fn count(&mut self, records: usize) {
        self.records += records;
        if self.records >= RECORDS {
            self.due_us = Some(0);
        }
    }

    /// Writes it as a whole or not at all.
    pub fn write(
        &mut self,
        boot: Invocation,
        record: u64,
        units: impl Iterator<Item = Last>,
        ended: Option<Time>,
    ) -> io::Result<()> {
        (self.due_us, self.records) = (None, 0);
        let fresh = self.path.with_extension("new");
        fs::write(&fresh, text(boot, record, units, ended))?;
        fs::rename(&fresh, &self.path)
    }
}

fn found(parsed: Parsed, ledger: &Path, boot: Invocation, now: Time) -> Found {
    let Parsed { boot: of, record, mut units, end } = parsed;
    let crashed = !end.is_some_and(|(_, well)| well);
    let own = |record: &Record| record.id.0 & OWN == 0;
    let since = |r: &Record| r.id.0 >= record;
    let newest = Reader::open(ledger)
        .ok()
        .and_then(|reader| replay(&mut units, reader.newest_first().filter(own).take_while(since)));
    let how = match (end, of == Some(boot)) {
        (_, false) => "the machine was booted anew meanwhile",
        (Some((_, true)), _) => "it had ended in order; the manager and its journal tell a part of that time",
        (Some((_, false)), _) => {
            "it was killed or crashed; the manager and its journal tell a part of that time"
        }
        (None, _) => {
            "it was killed or crashed at some time after its last record, which is where this begins; \
             the manager and its journal tell a part of that time"
        }
    };
    if of != Some(boot) {
        units.clear();
    }
    let until = end.map(|(at, _)| at).or(newest).unwrap_or(now);
    let units = units.into_values().collect();
    Found { before: Some(Before { until, how: how.into(), units }), crashed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_ledger::{Certainty, LeftOver, RecordId, Stamp, UnitResult};

    fn record(id: u64, unit: &str, fact: Fact) -> Record {
        let at = Stamp { realtime_us: id, monotonic_us: id };
        let (invocation, certainty) = (None, Certainty::Observed);
        Record {
            id: RecordId(id),
            at,
            unit: Some(unit.into()),
            invocation,
            causes: Vec::new(),
            certainty,
            fact,
        }
    }

    fn last(name: &str) -> Last {
        Last {
            name: name.into(),
            active: ActiveState::Active,
            sub: SubState::Running,
            invocation: Some(Invocation([7; 16])),
            main_pid: 12,
            record: 3,
            left_over: vec![(4, 5), (6, 7)],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let at = Time { realtime_us: 9, monotonic_us: 8 };
        let written = text(Invocation([1; 16]), 40, [last("a.service")].into_iter(), Some(at));
        let parsed = parse(&written).unwrap();
        assert_eq!((parsed.boot, parsed.record), (Some(Invocation([1; 16])), 40));
        assert_eq!(parsed.units.values().collect::<Vec<_>>(), [&last("a.service")]);
        assert_eq!(parsed.end, Some((at, true)));
        // The recorder sees that its owner is gone in any case.
        let end = |more: &str| parse(&format!("{written}{more}")).unwrap().end;
        assert_eq!(end("gone 20 20\n"), Some((at, true)));
        assert_eq!(end("again 30 30\n"), None);
        let later = Time { realtime_us: 41, monotonic_us: 40 };
        assert_eq!(end("again 30 30\ngone 41 40\n"), Some((later, false)));
        assert_eq!(end("again 30 30\ngone 4"), None);
        assert!(parse("something else\n").is_none());
    }

    #[test]
    fn the_newest_record_of_each_unit_counts() {
        let mut units = BTreeMap::from([("a.service".into(), last("a.service"))]);
        let state = |to_active, to| Fact::StateChanged {
            from_active: ActiveState::Inactive,
            from: SubState::Dead,
            to_active,
            to,
            result: UnitResult::Success,
        };
        let process = LeftOver { pid: 20, start_ticks: 21, command: "x".into(), bytes: None };
        let left = Fact::LeftBehind { processes: vec![process], total: 1, allowed: false };
        let records = [
            record(52, "a.service", Fact::LeftOverGone { pid: 4, start_ticks: 5, exit: None }),
            record(51, "b.service", state(ActiveState::Active, SubState::Running)),
            record(50, "a.service", state(ActiveState::Failed, SubState::Failed)),
            record(45, "a.service", left),
            record(44, "a.service", state(ActiveState::Active, SubState::Running)),
        ];
        assert_eq!(replay(&mut units, records.into_iter()).map(|at| at.realtime_us), Some(52));
        let a = &units["a.service"];
        assert_eq!(
            (a.active, a.record, &a.left_over[..]),
            (ActiveState::Failed, 50, &[(6, 7), (20, 21)][..])
        );
        assert_eq!(units["b.service"].active, ActiveState::Active);
    }
}
