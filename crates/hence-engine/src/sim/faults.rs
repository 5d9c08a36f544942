//! What the system refuses the host in a world: each fault meets the next effects of one kind of one unit.
//! A fault is over when it has met as many as it was made for; what comes of it is the engine's part.

use super::{Happening, World};
use crate::{Effect, Event, UnitId};
use alloc::{collections::BTreeMap, vec::Vec};
use hence_ledger::{Operation, SpawnStep, Text};
use hence_unit::UnitName;

const EAGAIN: i32 = 11;
const ENOMEM: i32 = 12;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// After how long the host tries again what is transient, in microseconds.
const AGAIN_US: u64 = 1_000_000;

/// What is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No process can be made.
    Fork,
    /// The control group can't be made.
    Cgroup,
    /// Sockets can't be opened.
    Open,
    /// Sockets can't be waited for.
    Listen,
    /// Paths can't be watched.
    Paths,
    /// PIDFile= can't be watched for.
    PidFile,
    /// The main process can't be guessed.
    Guess,
    /// Signals don't reach anybody.
    Kill,
    /// Who is in the group can't be read; a second later it can.
    Census,
    /// That the group has run empty is heard of a second late.
    Empty,
    /// The group can't be frozen or thawed.
    Freeze,
    /// The process that removes folders can't be started.
    Clean,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 12] = [
        Fault::Fork,
        Fault::Cgroup,
        Fault::Open,
        Fault::Listen,
        Fault::Paths,
        Fault::PidFile,
        Fault::Guess,
        Fault::Kill,
        Fault::Census,
        Fault::Empty,
        Fault::Freeze,
        Fault::Clean,
    ];

    /// Its word in a scenario.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Fork => "fork",
            Fault::Cgroup => "cgroup",
            Fault::Open => "open",
            Fault::Listen => "listen",
            Fault::Paths => "paths",
            Fault::PidFile => "pid-file",
            Fault::Guess => "guess",
            Fault::Kill => "kill",
            Fault::Census => "census",
            Fault::Empty => "empty",
            Fault::Freeze => "freeze",
            Fault::Clean => "clean",
        }
    }

    /// The fault of a word.
    pub fn parse(word: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.as_str() == word)
    }
}

/// The faults that are to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(BTreeMap<(UnitName, Fault), u32>);

impl Faults {
    pub fn add(&mut self, unit: UnitName, fault: Fault, times: u32) {
        *self.0.entry((unit, fault)).or_default() += times;
    }

    fn take(&mut self, unit: &UnitName, fault: Fault) -> bool {
        let Some(left) = self.0.get_mut(&(unit.clone(), fault)).filter(|left| **left > 0) else {
            return false;
        };
        *left -= 1;
        true
    }
}

impl World {
    fn meets(&mut self, unit: UnitId, fault: Fault) -> bool {
        let name = self.engine.unit(unit).name().clone();
        self.faults.take(&name, fault)
    }

    /// The answers to an effect that a fault meets; `None`: none does.
    pub(super) fn refuse(&mut self, effect: &Effect) -> Option<Vec<Event>> {
        if self.faults.0.is_empty() {
            return None;
        }
        let failed = |unit, operation, errno| {
            let subject = Text::from("refused");
            Event::Failed { unit, operation, errno, subject }
        };
        let (unit, answers) = match effect {
            Effect::Spawn(spawn) => {
                let (step, errno) = match spawn.unit {
                    unit if self.meets(unit, Fault::Fork) => (SpawnStep::Fork, EAGAIN),
                    unit if self.meets(unit, Fault::Cgroup) => (SpawnStep::Cgroup, ENOSPC),
                    _ => return None,
                };
                let subject = Text::from("refused");
                (spawn.unit, [Event::SpawnFailed { exec: spawn.exec, step, errno, subject }].into())
            }
            Effect::OpenSockets(unit, _) if self.meets(*unit, Fault::Open) => {
                let result = Err((EMFILE, Text::from("refused")));
                (*unit, [Event::SocketsOpened { unit: *unit, result }].into())
            }
            Effect::WatchSockets { unit, watch: true } if self.meets(*unit, Fault::Listen) => {
                (*unit, [failed(*unit, Operation::Traffic, ENOMEM)].into())
            }
            Effect::WatchPaths { unit, config: Some(_) } if self.meets(*unit, Fault::Paths) => {
                (*unit, [failed(*unit, Operation::Paths, ENOSPC)].into())
            }
            Effect::ReadPidFile { unit, wait: true, .. }
                if !self.pid_files.contains_key(unit) && self.meets(*unit, Fault::PidFile) =>
            {
                let none = Event::PidFile { unit: *unit, pid: None };
                (*unit, [failed(*unit, Operation::PidFile, ENOSPC), none].into())
            }
            Effect::Census { unit, .. } if self.meets(*unit, Fault::Census) => {
                let census = Event::Census { unit: *unit, processes: Vec::new(), known: 0, unread: true };
                self.happen(self.now_us + AGAIN_US, Happening::Recount(*unit));
                (*unit, [failed(*unit, Operation::Census, EMFILE), census].into())
            }
            Effect::Kill(kill) if self.meets(kill.unit, Fault::Kill) => {
                if kill.report_empty {
                    self.reports.insert(kill.unit);
                    self.happen(self.now_us, Happening::Empty(kill.unit));
                }
                self.check.unkilled.insert(kill.unit);
                let empty = self.is_group_empty(kill.unit);
                let killed = Event::Killed { unit: kill.unit, others: 0, empty };
                (kill.unit, [failed(kill.unit, Operation::Kill, ENOMEM), killed].into())
            }
            Effect::Clean { unit, .. } if self.meets(*unit, Fault::Clean) => {
                let cleaning = Event::Cleaning { unit: *unit, cleaner: None };
                (*unit, [failed(*unit, Operation::Clean, EAGAIN), cleaning].into())
            }
            // What follows has no record of its own: nothing was lost by it.
            Effect::GuessMainPid(unit) if self.meets(*unit, Fault::Guess) => {
                return Some([Event::PidFile { unit: *unit, pid: None }].into());
            }
            Effect::ReportEmpty(unit) if self.meets(*unit, Fault::Empty) => {
                self.happen(self.now_us + AGAIN_US, Happening::Report(*unit));
                return Some(Vec::new());
            }
            // The request for it is refused, and that is on record.
            Effect::Freeze { unit, token, .. } if self.meets(*unit, Fault::Freeze) => {
                let frozen = Err(Text::from("refused"));
                return Some([Event::Froze { unit: *unit, frozen, token: *token }].into());
            }
            _ => return None,
        };
        self.check.refused(unit);
        Some(answers)
    }
}
