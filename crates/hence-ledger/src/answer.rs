//! The answer to "why": everything that a page, the JSON or a graph of it says, already decided.
//!
//! Data only. How it is found is `why`'s, how it reads the front's.

use crate::path::{Root, Step};
use crate::record::{FileRole, Invocation, Rule, Stamp, Version};
use crate::word::{ActiveState, GapReason, Stream, SubState, Tracking, UnitResult};
use alloc::{string::String, vec::Vec};
use hence_unit::Text;

/// Why something happened to a unit or a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The unit.
    pub unit: Text,
    /// The process that was asked about.
    pub pid: Option<u32>,
    /// What happened: `stopped`, `restarted`, `finished`, `failed`, `started`, `not started`, `running`,
    /// `starting` and `stopping` while it is on its way, `waiting` for its first job to run, and for
    /// processes `left behind`, `exited`, `killed`.
    pub event: &'static str,
    /// When.
    pub at: Stamp,
    /// The present, from which `ago_us` counts.
    pub now: Stamp,
    /// How long ago, in microseconds.
    pub ago_us: u64,
    /// How often the like happened in an unbroken series, this one included.
    pub times: u64,
    /// When that series began.
    pub since: Stamp,
    /// How often it happened in the whole ledger.
    pub times_in_all: u64,
    /// When it happened for the first time.
    pub first: Stamp,
    /// The rhythm of the series, in microseconds, where there is one.
    pub period_us: Option<u64>,
    /// The state of the unit at the time of asking.
    pub state: Option<State>,
    /// When the unit came up again after the event.
    pub up_again: Option<Stamp>,
    /// Effect first; each step's cause follows it.
    pub chain: Vec<Step>,
    /// Every root, that of the chain first.
    pub roots: Vec<Root>,
    /// What the process at the root wrote last.
    pub last_words: Option<LastWords>,
    /// Processes of this unit that outlived their invocation and are still there.
    pub left_behind: LeftBehind,
    /// Files that differ from those of the last good run.
    pub changed: Vec<Change>,
    /// Files that are the same as in the last good run.
    pub unchanged: Vec<Unchanged>,
    /// Which runs were compared for that; `None` where no good run is on record.
    pub compared: Option<Compared>,
    /// Where records are missing between the first cause and the event.
    pub gaps: Vec<Missing>,
    /// How processes were tracked.
    pub tracking: Option<Tracking>,
    /// When hence itself ended, where that was after the event and took the unit down.
    pub ended: Option<Stamp>,
    /// What else must be said: where the chain is cut, what was only concluded.
    pub notes: Vec<String>,
    /// What to do, most useful first.
    pub advice: Vec<Advice>,
}

/// The state of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// ActiveState.
    pub active: ActiveState,
    /// SubState.
    pub sub: SubState,
    /// Result=
    pub result: UnitResult,
    /// Since when.
    pub since: Stamp,
    /// The main process, where one runs.
    pub main_pid: Option<u32>,
}

/// The last lines of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct LastWords {
    /// Of which unit.
    pub unit: Text,
    /// On which stream.
    pub stream: Stream,
    /// The lines.
    pub text: String,
    /// When they were recorded.
    pub at: Stamp,
}

/// Processes that outlived their invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftBehind {
    /// How many.
    pub processes: u64,
    /// Memory that is their own.
    pub bytes: u64,
    /// How many of them could not be measured.
    pub unmeasured: u64,
    /// How many the unit intends to leave behind.
    pub allowed: u64,
    /// The command lines and how often each is there, most frequent first.
    pub commands: Vec<(Text, u64)>,
    /// The first one's time.
    pub since: Option<Stamp>,
    /// The directive by which they were left: KillMode=.
    pub rule: Option<Rule>,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of which unit's start.
    pub unit: Text,
    /// The file.
    pub path: Text,
    /// What it is to the unit.
    pub role: FileRole,
    /// In the last good run; `None`: it was not there.
    pub before: Option<FileState>,
    /// In the first bad run; `None`: it is not there.
    pub after: Option<FileState>,
}

/// A file at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct FileState {
    /// Size and times.
    pub version: Version,
    /// SHA-256, where it was read in time.
    pub sha256: Option<[u8; 32]>,
    /// Package and version.
    pub package: Option<Text>,
}

/// A file that is the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Unchanged {
    /// Of which unit's start.
    pub unit: Text,
    /// The file.
    pub path: Text,
    /// What it is to the unit.
    pub role: FileRole,
    /// When its content was last written, in nanoseconds since 1970; `None`: it was not there either time.
    pub modified_ns: Option<i64>,
}

/// Which two runs were compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Of which unit.
    pub unit: Text,
    /// When the last good run began.
    pub good: Stamp,
    /// How long it lasted, in microseconds, where it ended.
    pub good_lasted_us: Option<u64>,
    /// When the first bad run began.
    pub bad: Stamp,
    /// How long bad runs last, in microseconds (median).
    pub bad_lasts_us: u64,
}

/// Records that are missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// Where.
    pub at: Stamp,
    /// How many; 0: not known.
    pub lost: u64,
    /// Why.
    pub reason: GapReason,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Its name: `wants-instead-of-requires`.
    pub name: &'static str,
    /// Which unit it is about.
    pub unit: Text,
    /// The directive to change, where it is one.
    pub rule: Option<Rule>,
    /// What to do and why, in one or two sentences.
    pub text: String,
}

/// A process that was left behind and is still there.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// The unit that left it.
    pub unit: Text,
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Its command line.
    pub command: Text,
    /// Memory that is its own, where it could be read.
    pub bytes: Option<u64>,
    /// When it was left behind.
    pub since: Stamp,
    /// By which run.
    pub invocation: Option<Invocation>,
    /// It is intended.
    pub allowed: bool,
    /// Why, where it is.
    pub reason: Option<Text>,
}
