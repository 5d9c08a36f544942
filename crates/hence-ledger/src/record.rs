//! The records: facts with their causes. What is stored where is the host's business, the bytes are
//! `encoding`'s.
//!
//! A record names the records that caused it: a set, because jobs merge and replace each other. Following
//! causes back ends in a root ([`Fact::is_root`]). An edge may name the rule that made one lead to the
//! other: the directive, and the file and line it stands in.

use crate::word::*;
use alloc::{string::String, vec::Vec};
use hence_unit::{DependencyKind, JobMode, Text};

/// Identifies a record in its ledger. Rising; the first of a run is the wall clock's microseconds then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// When, on both clocks, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// CLOCK_REALTIME.
    pub realtime_us: u64,
    /// CLOCK_MONOTONIC.
    pub monotonic_us: u64,
}

/// One run of a unit, from start to stop; systemd's invocation id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invocation(pub [u8; 16]);

impl core::fmt::Display for Invocation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// One fact, with its causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub id: RecordId,
    /// When it happened.
    pub at: Stamp,
    /// The unit it is about, where it is about one.
    pub unit: Option<Text>,
    /// The run of the unit that it belongs to.
    pub invocation: Option<Invocation>,
    /// What led to it. Empty only for roots.
    pub causes: Vec<Cause>,
    /// Whether it was seen or concluded.
    pub certainty: Certainty,
    /// What happened.
    pub fact: Fact,
}

/// Whether a record's fact and causes were seen or concluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certainty {
    /// Seen, or done by hence itself.
    #[default]
    Observed,
    /// Concluded.
    Inferred,
}

/// An edge to the record that led to this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// The earlier record.
    pub record: RecordId,
    /// What made it lead here, where a directive did.
    pub rule: Option<Rule>,
}

/// The directive that made one thing lead to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// As it is written, with its value where that helps: `Requires=b.service`, `Restart=always`.
    pub directive: Text,
    /// The file it stands in; `None` for defaults.
    pub file: Option<Text>,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
}

/// Who asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Client {
    /// Process id at the time of asking.
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Its command line, cut at 1 KiB.
    pub command: Text,
    /// The unit it runs in, where it does.
    pub unit: Option<Text>,
    /// The nearest process above it that says more than that it called `systemctl`: a script, a shell, cron.
    pub parent: Option<Parent>,
    /// The user who logged in, where that is another one than `uid`: by the kernel's audit, else by sudo.
    pub login_uid: Option<u32>,
}

/// A process that had another one ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parent {
    /// Process id at the time of asking.
    pub pid: u32,
    /// Its command line, cut at 256 bytes.
    pub command: Text,
}

/// What a file is to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum FileRole {
    /// The unit file or a drop-in.
    UnitFile = 0,
    /// The program of ExecStart=.
    Executable = 1,
    /// The interpreter that a script names.
    Interpreter = 2,
    /// EnvironmentFile=
    Environment = 3,
    /// A file named on the command line.
    Argument = 4,
}

/// Which content a file had, without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Device.
    pub device: u64,
    /// Inode.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
    /// Nanoseconds since 1970: changes with content, owner and mode.
    pub changed_ns: i64,
}

/// A file that a start depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct FileIdentity {
    /// Absolute path.
    pub path: Text,
    /// What it is to the unit.
    pub role: FileRole,
    /// Its state at that moment; `None`: it was not there.
    pub version: Option<Version>,
}

/// A process that outlived its invocation.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftOver {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot: with the pid it names one process.
    pub start_ticks: u64,
    /// Command line, cut at 256 bytes.
    pub command: Text,
    /// Memory that is its own (private and swapped), where it could be read.
    pub bytes: Option<u64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// hence began to run. A root.
    Started {
        /// Version of hence.
        version: Text,
        /// Its pid.
        pid: u32,
        /// The kernel's boot id.
        boot: Invocation,
        /// How processes are tracked.
        tracking: Tracking,
        /// The cgroup below which units live; empty without cgroups.
        cgroup: Text,
        /// What it was asked to run.
        command: Text,
        /// Whether the run before it in this ledger didn't say that it ended.
        after_crash: bool,
    },
    /// hence ended in order.
    Ended {
        /// Its exit status.
        status: u8,
    },
    /// A client asked for something. A root.
    Request {
        /// What.
        verb: Verb,
        /// In which mode.
        mode: JobMode,
        /// Who.
        client: Client,
    },
    /// A request could not be granted.
    Refused {
        /// The D-Bus error name without its prefix: `NoSuchUnit`.
        error: Text,
        /// The sentence that the client got.
        message: Text,
    },
    /// A process ended. A root, unless a signal of ours ended it.
    ProcessExited {
        /// Which.
        pid: u32,
        /// What it was to the unit.
        role: ProcessRole,
        /// How it ended.
        exit: Exit,
        /// CPU time used, user and system, in microseconds.
        cpu_us: u64,
        /// Largest resident size, in bytes.
        peak_bytes: u64,
    },
    /// A deadline was reached. A root, but it names what armed it as its cause.
    DeadlineReached {
        /// Which.
        deadline: DeadlineKind,
        /// Its length in microseconds.
        after_us: u64,
    },
    /// Traffic came in on a socket unit. A root.
    Traffic {
        /// On which address.
        listen: Text,
        /// From whom, where the kernel says.
        peer: Option<Text>,
    },
    /// The kernel killed processes of the unit for lack of memory. A root.
    OomKill {
        /// How many so far in this invocation.
        kills: u64,
    },
    /// A signal reached hence. A root.
    ManagerSignal {
        /// Signal number.
        signal: u8,
        /// Who sent it; 0 where the kernel did.
        pid: u32,
        /// The sender's user.
        uid: u32,
    },
    /// The wall clock was set. A root.
    ClockJump {
        /// By how many microseconds.
        by_us: i64,
    },
    /// Something happened that has no known cause. A root.
    Unknown {
        /// What was ruled out.
        ruled_out: Text,
    },
    /// A unit's files were read.
    Loaded {
        /// load state's word.
        load: Text,
        /// The files, as they were then.
        files: Vec<FileIdentity>,
        /// Diagnostics as `file:line:column: level: message`.
        diagnostics: Vec<Text>,
    },
    /// A job was queued.
    JobQueued {
        /// Job id.
        job: u32,
        /// Its type.
        job_type: JobType,
    },
    /// A job was merged into one that was queued already: its causes join those of the other.
    JobMerged {
        /// The job that stays.
        job: u32,
        /// Its type now.
        job_type: JobType,
    },
    /// A job ended.
    JobFinished {
        /// Job id.
        job: u32,
        /// Its type.
        job_type: JobType,
        /// How.
        result: JobResult,
    },
    /// A job was dropped while a transaction was built.
    JobDropped {
        /// Its type.
        job_type: JobType,
        /// Why: an ordering cycle as `a.service -> b.service -> a.service`, a conflict.
        reason: Text,
    },
    /// A unit changed its state.
    StateChanged {
        /// ActiveState before.
        from_active: ActiveState,
        /// SubState before.
        from: SubState,
        /// ActiveState now.
        to_active: ActiveState,
        /// SubState now.
        to: SubState,
        /// Result= now.
        result: UnitResult,
    },
    /// A process is about to be started.
    Starting {
        /// What it will be.
        role: ProcessRole,
        /// Its command line, cut at 1 KiB.
        command: Text,
    },
    /// A process was started.
    ProcessStarted {
        /// Which.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// What it is.
        role: ProcessRole,
    },
    /// A process could not be started.
    SpawnFailed {
        /// What it would have been.
        role: ProcessRole,
        /// Which step failed.
        step: SpawnStep,
        /// errno; 0 where there is none.
        errno: i32,
        /// On what: a path, a user.
        subject: Text,
    },
    /// What the start of an invocation depends on; recorded when it differs from the start before.
    Inputs {
        /// The files.
        files: Vec<FileIdentity>,
    },
    /// What a file's content was; comes some time after the [`Fact::Inputs`] that named it.
    Digest {
        /// Absolute path.
        path: Text,
        /// The version that was read.
        version: Version,
        /// SHA-256; `None` where the content had changed again before it could be read.
        sha256: Option<[u8; 32]>,
        /// Package and version that own the path: `aws-otel-collector 0.45.1-1`.
        package: Option<Text>,
    },
    /// hence sent a signal.
    SignalSent {
        /// Signal number.
        signal: u8,
        /// Why.
        reason: SignalReason,
        /// To the main process.
        main: bool,
        /// To the control process.
        control: bool,
        /// To how many other processes of the unit.
        others: u32,
    },
    /// The unit will be started again.
    RestartScheduled {
        /// Why.
        reason: RestartReason,
        /// After how long, in microseconds.
        delay_us: u64,
        /// How often before (systemd's NRestarts).
        restarts: u32,
    },
    /// The unit will not be started again, though Restart= is set.
    RestartRefused {
        /// Why.
        reason: RestartReason,
    },
    /// Too many starts: this one was refused.
    StartLimitHit {
        /// StartLimitBurst=
        burst: u32,
        /// StartLimitIntervalSec= in microseconds.
        interval_us: u64,
    },
    /// A Condition...= or Assert...= didn't hold, so the unit was not started.
    ConditionFailed {
        /// As it is written.
        condition: Text,
        /// An Assert...=.
        assert: bool,
    },
    /// The service said something by sd_notify(3).
    Notified {
        /// What: `READY=1`, `STATUS=...`.
        message: Text,
        /// Who said it.
        pid: u32,
    },
    /// The last lines that a process wrote before the invocation ended badly.
    LastWords {
        /// Where it wrote them.
        stream: Stream,
        /// The lines, cut at 2 KiB.
        text: String,
    },
    /// Processes outlived their invocation.
    LeftBehind {
        /// Which, those not known before.
        processes: Vec<LeftOver>,
        /// How many of this unit are left behind now, in all.
        total: u32,
        /// Whether the unit says that this is intended.
        allowed: bool,
    },
    /// A left-over process is gone.
    LeftOverGone {
        /// Which.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// How it ended, where hence is its parent.
        exit: Option<Exit>,
    },
    /// A dependency acted without a job: a unit came up or went down by itself.
    Retroactive {
        /// Which dependency.
        kind: DependencyKind,
        /// Of which other unit.
        other: Text,
    },
    /// A link that says how a unit is started, or a file of its configuration, is made or removed because a
    /// client asked for that.
    UnitFileChanged {
        /// Absolute path of the link or file.
        path: Text,
        /// Where the link points; `None`: it is removed.
        target: Option<Text>,
    },
    /// Records are missing here.
    Gap {
        /// How many, where that is known.
        lost: u64,
        /// Why.
        reason: GapReason,
    },
    /// Earlier records of this unit, summed up when they had to make room.
    Tally {
        /// What happened each time.
        what: Text,
        /// How often.
        times: u64,
        /// The first time.
        first: Stamp,
        /// The last time.
        last: Stamp,
        /// The rule by which it happened, where there is one.
        rule: Option<Rule>,
        /// The chain as it was the last time, effect first, as sentences.
        chain: Vec<Text>,
        /// Processes left behind in that time.
        left_behind: u64,
    },
    /// A name on the message bus that makes a Type=dbus service be up was taken or given up.
    BusName {
        /// BusName=
        name: Text,
        /// Whether somebody has it now.
        owned: bool,
    },
    /// hence executed its program anew, as the file was then, and goes on with what it held.
    Reexecuted {
        /// The version of the program now.
        version: Text,
        /// How many units were taken over.
        units: u32,
        /// What of the state could not be read, if anything.
        unread: Vec<Text>,
    },
    /// Processes that an earlier hence had started, and that outlived it, are the unit's: it is up without
    /// having been started anew.
    TakenUp {
        /// The main process, where it is known.
        main: Option<u32>,
        /// All of them.
        processes: Vec<LeftOver>,
        /// What says that they are the unit's.
        evidence: Text,
    },
    /// A device came or went.
    Device {
        /// Its node.
        path: Text,
        /// It is there now.
        there: bool,
    },
    /// Who made a scope was asked to stop it, in place of a signal.
    StopAsked {
        /// Controller=, its name on the message bus.
        controller: Text,
    },
    /// A process sent another one of the unit a signal, and was seen to. A root.
    Signalled {
        /// Signal number.
        signal: u8,
        /// The process that it was sent to.
        pid: u32,
        /// Who sent it.
        sender: Client,
    },
    /// For a time a part of what happened was not seen. A root: what names it as its cause happened then.
    Away {
        /// What was not there.
        what: Absence,
        /// From when on.
        from: Stamp,
        /// Until when; the same as `from` where it is still away.
        to: Stamp,
        /// How that came, and what was read instead.
        how: Text,
    },
    /// What the record that it names as its cause was concluded from.
    Basis {
        /// As the end of a sentence: `systemd's journal line "Stopped foo."`.
        text: Text,
    },
    /// The system refused something beside a start that the unit needed. A root.
    Failed {
        /// What.
        operation: Operation,
        /// errno; 0 where it isn't known.
        errno: i32,
        /// On what.
        subject: Text,
    },
    /// A service handed over file descriptors to be kept for its next start; systemd.service(5),
    /// FileDescriptorStoreMax=.
    DescriptorsKept {
        /// FDNAME=, else `stored`.
        name: Text,
        /// How many are kept that were not before.
        kept: u32,
        /// How many were closed, for there was no room.
        refused: u32,
        /// How many are kept now, in all.
        total: u32,
        /// Who handed them over.
        pid: u32,
    },
    /// File descriptors of a service are kept no longer. A root where they hung up.
    DescriptorsDropped {
        /// FDNAME=; empty: all of them.
        name: Text,
        /// How many.
        dropped: u32,
        /// How many are kept now, in all.
        total: u32,
        /// Who asked for that; 0: nobody did.
        pid: u32,
        /// The other end was closed.
        hung_up: bool,
    },
    /// The machine's time zone is another one. A root.
    TimeZoneChanged {
        /// Its name, where it has one.
        zone: Text,
    },
    /// The kernel refused a part of a unit's sandbox.
    Deprived {
        /// The directive that asks for it, or what it is: `PrivateNetwork=`.
        what: Text,
        /// The capability that is missing for it; empty where that isn't what lacks.
        missing: Text,
        /// errno.
        errno: i32,
        /// The unit starts without it.
        without: bool,
    },
    /// Written by a newer hence in words that this one doesn't know.
    Newer {
        /// Its number.
        tag: u32,
        /// Its fields, encoded.
        bytes: Vec<u8>,
    },
}

impl Fact {
    /// Whether it can be where a chain of causes ends. A process's exit is not the end where a signal of
    /// ours caused it, nor is the end of a restart's delay.
    pub fn is_root(&self) -> bool {
        matches!(
            self,
            Fact::Started { .. }
                | Fact::Request { .. }
                | Fact::ProcessExited { .. }
                | Fact::DeadlineReached { .. }
                | Fact::Traffic { .. }
                | Fact::OomKill { .. }
                | Fact::ManagerSignal { .. }
                | Fact::ClockJump { .. }
                | Fact::TimeZoneChanged { .. }
                | Fact::Unknown { .. }
                | Fact::Device { .. }
                | Fact::Signalled { .. }
                | Fact::Away { .. }
                | Fact::Failed { .. }
                | Fact::DescriptorsDropped { hung_up: true, .. }
        )
    }
}
