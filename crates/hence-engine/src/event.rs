//! What happened: the closed list of events that the engine handles.

use crate::{ConnectionId, DescriptorsId, ExecId, Objective, Time, UnitId};
use alloc::{boxed::Box, vec::Vec};
use hence_ledger::{
    Client, Exit, FileIdentity, LeftOver, Operation, RecordId, SpawnStep, SubState, Text, Verb,
    record::Invocation,
};
use hence_unit::{Config, UnitName, config::JobMode};

/// What the kernel refused, of what a sandbox needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprivation {
    /// The directive, or what it is.
    pub what: Text,
    /// The capability that is missing for it; empty where that isn't what lacks.
    pub missing: Text,
    /// errno.
    pub errno: i32,
    /// The process starts without.
    pub without: bool,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A unit's files were read: the answer to [`crate::Effect::Load`], or a reload of a known unit.
    Loaded {
        /// What they say.
        config: Box<Config>,
        /// The files as they were then.
        files: Vec<FileIdentity>,
    },
    /// Somebody wants a unit to be known, so that it can be asked about or for.
    Referenced(UnitName),
    /// Somebody outside needs a unit to stay loaded, up or down; once per such need.
    Held(UnitName),
    /// One such need is over.
    Released(UnitName),
    /// The answer to [`crate::Effect::Forget`]: no event will name the unit by this number any more.
    Forgotten(UnitId),
    /// All unit files are read anew, because this client asked for it: one [`Event::Reread`] follows for each
    /// unit that may be another one now, and nothing but that before [`Event::ReloadEnded`].
    ReloadBegun(Client),
    /// What a unit's files say now.
    Reread {
        /// Which.
        unit: UnitId,
        /// What they say.
        config: Box<Config>,
        /// The files as they were then.
        files: Vec<FileIdentity>,
    },
    /// All have been read.
    ReloadEnded,
    /// A client asks for something.
    Request(Request),
    /// A process was started.
    Spawned {
        /// Which start.
        exec: ExecId,
        /// Its process id.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// The files that this start depends on; empty for control processes.
        inputs: Vec<FileIdentity>,
        /// Whether it is its program already, or nobody waits for that. Else [`Event::Executed`] follows, or
        /// its end.
        executed: bool,
    },
    /// A process became its program, after an answer that it had not.
    Executed {
        /// Which process.
        pid: u32,
    },
    /// A process could not be started.
    SpawnFailed {
        /// Which start.
        exec: ExecId,
        /// At which step.
        step: SpawnStep,
        /// errno.
        errno: i32,
        /// On what.
        subject: Text,
    },
    /// The kernel refused a process a part of its sandbox. If it ends for that, the end is told afterwards.
    Deprived {
        /// Which process.
        pid: u32,
        /// What.
        lost: Deprivation,
    },
    /// A limit of a unit's group can't be enforced here, or the kernel refused it.
    Unenforced {
        /// Which unit.
        unit: UnitId,
        /// What.
        lost: Deprivation,
    },
    /// A process ended: a child of ours, or one that we watched.
    Exited {
        /// Which.
        pid: u32,
        /// How; `None` where we aren't its parent.
        exit: Option<Exit>,
        /// CPU time used, in microseconds.
        cpu_us: u64,
        /// Largest resident size, in bytes.
        peak_bytes: u64,
        /// It never became its program: what failed (shown as exit status 200 and up).
        spawn_error: Option<(SpawnStep, i32)>,
    },
    /// The answer to [`crate::Effect::Kill`].
    Killed {
        /// Of which unit.
        unit: UnitId,
        /// How many processes beside main and control were signalled.
        others: u32,
        /// Whether the group is known to be empty now (nothing was there).
        empty: bool,
    },
    /// The last process of a unit's group is gone.
    Emptied(UnitId),
    /// The answer to [`crate::Effect::Census`].
    Census {
        /// Of which unit.
        unit: UnitId,
        /// Those not expected.
        processes: Vec<Process>,
        /// How many more there are of whom the engine has been told, and who are on record as left behind.
        /// A host that keeps no account of that names all in `processes`.
        known: u32,
        /// Nobody could look: who is there isn't known, and the same is told once more when it is.
        unread: bool,
    },
    /// The system refused something that the unit needs beside a start. Where it is told of an effect that
    /// has an answer, it comes before that answer.
    Failed {
        /// Of which unit.
        unit: UnitId,
        /// What.
        operation: Operation,
        /// errno.
        errno: i32,
        /// On what.
        subject: Text,
    },
    /// A left-over process is gone.
    Gone {
        /// Of which unit.
        unit: UnitId,
        /// Which.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_ticks: u64,
        /// How, where hence was its parent.
        exit: Option<Exit>,
    },
    /// The answer to [`crate::Effect::Check`].
    Checked {
        /// Of which unit.
        unit: UnitId,
        /// The outcome.
        outcome: Checked,
    },
    /// A message by sd_notify(3), already attributed to the unit of its sender.
    Notify {
        /// Of which unit.
        unit: UnitId,
        /// Who sent it.
        pid: u32,
        /// The sender's user.
        uid: u32,
        /// What it says.
        message: Notification,
    },
    /// The answer to [`crate::Effect::OpenAutomount`].
    AutomountOpened {
        /// Of which unit.
        unit: UnitId,
        /// errno and what it was about on failure.
        result: Result<(), (i32, Text)>,
    },
    /// Somebody came by at an automount point, and waits.
    AutomountWanted {
        /// Of which unit.
        unit: UnitId,
        /// The automount point.
        path: Text,
        /// Who, in words.
        who: Text,
    },
    /// Nobody has used what is mounted at an automount point for a while.
    AutomountIdle(UnitId),
    /// The answer to [`crate::Effect::KeepDescriptors`].
    DescriptorsKept {
        /// Of which unit.
        unit: UnitId,
        /// Who sent them.
        pid: u32,
        /// Their name.
        name: Text,
        /// How many are kept that were not before, how many there was no room for, and how many are kept now.
        numbers: [u32; 3],
    },
    /// Descriptors are kept no longer: the answer to [`crate::Effect::DropDescriptors`], or they hung up.
    DescriptorsDropped {
        /// Of which unit.
        unit: UnitId,
        /// Who asked for that; `None`: they hung up.
        pid: Option<u32>,
        /// Their name.
        name: Text,
        /// How many, and how many are kept now.
        numbers: [u32; 2],
    },
    /// The answer to [`crate::Effect::OpenSockets`].
    SocketsOpened {
        /// Of which unit.
        unit: UnitId,
        /// errno and the address on failure.
        result: Result<(), (i32, Text)>,
    },
    /// There is traffic on a socket unit that is being watched.
    Traffic {
        /// Of which unit.
        unit: UnitId,
        /// The address that it came in on.
        listen: Text,
        /// The peer of an accepted connection.
        peer: Option<Text>,
        /// The accepted connection (Accept=yes) and the instance name made from it.
        connection: Option<(ConnectionId, Text)>,
    },
    /// The answer to [`crate::Effect::ReadPidFile`] and [`crate::Effect::GuessMainPid`].
    PidFile {
        /// Of which unit.
        unit: UnitId,
        /// The main process; `None`: not there or not one of the unit's.
        pid: Option<u32>,
    },
    /// What a path unit waits for holds.
    PathChanged {
        /// Of which unit.
        unit: UnitId,
        /// The path.
        path: Text,
    },
    /// A process of a unit, whose end is told next, was killed for this system call.
    CallRefused {
        /// Of which unit.
        unit: UnitId,
        /// The call's name.
        call: Text,
    },
    /// The kernel killed processes of a unit for lack of memory.
    OomKill {
        /// Of which unit.
        unit: UnitId,
        /// How many in this invocation.
        kills: u64,
    },
    /// At start: processes of units of an earlier run that was killed, found alive.
    Survivors {
        /// Of which unit.
        unit: UnitName,
        /// The invocation that left them, where it is known.
        invocation: Option<Invocation>,
        /// Which.
        processes: Vec<Process>,
    },
    /// At start: units of an earlier run that was killed, whose processes still run as they should.
    Resumed(Vec<Resumed>),
    /// The answer to [`crate::Effect::Adopt`].
    Adopted {
        /// Of which unit.
        unit: UnitId,
        /// The request that it answers.
        token: Option<u64>,
        /// What came of it.
        adopted: Adopted,
    },
    /// The answer to [`crate::Effect::Freeze`].
    Froze {
        /// Of which unit.
        unit: UnitId,
        /// Whether it is frozen now; what the system said where it refused.
        frozen: Result<bool, Text>,
        /// The request that it answers.
        token: Option<u64>,
    },
    /// The answer to [`crate::Effect::Clean`]: the process that does it; its end is an
    /// [`Event::Exited`].
    Cleaning {
        /// Of which unit.
        unit: UnitId,
        /// Which.
        cleaner: Option<u32>,
    },
    /// `Engine::deadline` has been reached.
    Deadline,
    /// Whether the bus name of a service is owned; `None`: there is no bus to ask.
    BusName {
        /// Which service, or the scope whose controller has the name.
        unit: UnitId,
        /// The name.
        name: Box<str>,
        /// Whether somebody owns it.
        owned: Option<bool>,
    },
    /// The time that the run was given is over.
    TimeUp {
        /// How long that was, in microseconds.
        after_us: u64,
    },
    /// A signal reached hence.
    Signal {
        /// Signal number.
        signal: u8,
        /// The sender; 0 where the kernel sent it.
        pid: u32,
        /// The sender's user.
        uid: u32,
    },
    /// What is mounted now, by the names of its units; told at start and whenever it has changed.
    Mounts(Vec<UnitName>),
    /// The answer to [`crate::Effect::NextElapse`].
    NextElapse {
        /// Which timer.
        unit: UnitId,
        /// When it elapsed last, by its stamp, in microseconds since 1970.
        stamp_us: Option<u64>,
        /// When it is due, in microseconds since 1970, and by which of its lines; `None`: never again.
        next: Option<(u64, u16)>,
    },
    /// The answer to [`crate::Effect::WatchDevice`], and whenever that changes.
    Device {
        /// Which unit.
        unit: UnitId,
        /// Its node is there; `None`: nobody here can tell.
        there: Option<bool>,
    },
    /// What is swapped to now; told at start and whenever it has changed.
    Swaps {
        /// By the names of its units.
        on: Vec<UnitName>,
        /// By further names of the same devices.
        aliases: Vec<UnitName>,
    },
    /// The machine's time zone is another one; told once [`crate::Effect::WatchTimeZone`] asked for it.
    TimeZoneChanged {
        /// Its name, where it has one.
        zone: Text,
    },
    /// The wall clock was set.
    ClockJump {
        /// By how many microseconds.
        by_us: i64,
    },
}

/// A process of a unit's group.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// What the ledger says of it.
    pub process: LeftOver,
    /// The invocation that it belongs to, by its environment or by when it was first seen.
    pub invocation: Option<Invocation>,
}

/// A unit of an earlier run that goes on, with what is on record of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// Which.
    pub unit: UnitName,
    /// Its run.
    pub invocation: Invocation,
    /// The state that it was in.
    pub state: SubState,
    /// The main process, where it is known.
    pub main: Option<u32>,
    /// All of its processes.
    pub processes: Vec<LeftOver>,
    /// When the main process was started.
    pub started: Time,
    /// When the unit came up.
    pub up: Time,
    /// The records that say so, of the earlier run.
    pub records: Vec<RecordId>,
    /// What says that the processes are the unit's, in words.
    pub evidence: Text,
    /// That was seen rather than concluded.
    pub observed: bool,
}

/// What the conditions and asserts of a unit came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Checked {
    /// They hold.
    Holds,
    /// A condition doesn't: the unit is skipped, that is no failure. As it is written.
    ConditionFailed(Text),
    /// An assert doesn't: that is a failure. As it is written.
    AssertFailed(Text),
}

/// A message by sd_notify(3), parsed; unknown fields are dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notification {
    /// READY=1
    pub ready: bool,
    /// RELOADING=1
    pub reloading: bool,
    /// STOPPING=1
    pub stopping: bool,
    /// WATCHDOG=1
    pub watchdog: bool,
    /// WATCHDOG=trigger
    pub watchdog_trigger: bool,
    /// STATUS=, cut at 1 KiB, control characters replaced.
    pub status: Option<Text>,
    /// ERRNO=
    pub errno: Option<i32>,
    /// MAINPID=
    pub main_pid: Option<u32>,
    /// WATCHDOG_USEC=
    pub watchdog_us: Option<u64>,
    /// EXTEND_TIMEOUT_USEC=
    pub extend_timeout_us: Option<u64>,
    /// MONOTONIC_USEC=
    pub monotonic_us: Option<u64>,
    /// FDSTOREREMOVE=1, else FDSTORE=1 with descriptors.
    pub keeping: Option<Keeping>,
}

/// What a message wants of the descriptor store; sd_pid_notify_with_fds(3).
#[derive(Clone, Debug, PartialEq)]
pub enum Keeping {
    /// Keep these.
    Keep {
        /// Which came along.
        descriptors: DescriptorsId,
        /// FDNAME=, where it is a valid one.
        name: Option<Text>,
        /// Not FDPOLL=0.
        poll: bool,
    },
    /// Close those of this name.
    Drop(Text),
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names the request in [`crate::Effect::Reply`].
    pub token: u64,
    /// Who asks.
    pub client: Client,
    /// What, as the client said it.
    pub verb: Verb,
    /// What that means.
    pub kind: RequestKind,
}

/// What a request means.
#[derive(Clone, Debug)]
pub enum RequestKind {
    /// Queue a job for a unit (start, stop, restart, try-restart, reload, ...); the verb says which.
    Job {
        /// For which unit.
        unit: UnitName,
        /// In which mode.
        mode: JobMode,
    },
    /// Signal a unit's processes.
    Kill {
        /// Of which unit.
        unit: UnitName,
        /// Main only, control only, or all: `main`, `control`, `all`.
        main: bool,
        /// The control process.
        control: bool,
        /// Every other process.
        others: bool,
        /// Signal number.
        signal: u8,
    },
    /// Forget the failed state and counters; `None`: of every unit.
    ResetFailed(Option<UnitName>),
    /// Cancel a job; `None`: every job.
    Cancel(Option<u32>),
    /// Stop everything and end with this exit status.
    Exit(u8),
    /// The exit status of an end that names none.
    ExitStatus(u8),
    /// End without stopping units in order, and this is what becomes of the machine.
    Power(Objective),
    /// Something else than a job.
    Live(LiveRequest),
}

/// What a client asks of a unit beside jobs.
#[derive(Clone, Debug)]
pub enum LiveRequest {
    /// Make a unit without a file, and start it.
    Transient(Box<Transient>),
    /// A unit's settings were changed in files beside it.
    Reconfigure {
        /// What all its files say now.
        config: Box<Config>,
        /// The files.
        files: Vec<FileIdentity>,
    },
    /// Move processes into a unit's group.
    Attach {
        /// Which unit.
        unit: UnitName,
        /// The group below the unit's, with a slash before it; empty: its own.
        group: Box<str>,
        /// Which processes.
        processes: Vec<u32>,
    },
    /// Leave a scope to itself.
    Abandon(UnitName),
    /// Freeze a unit's processes, or thaw them.
    Freeze {
        /// Which unit.
        unit: UnitName,
        /// Freeze.
        freeze: bool,
    },
    /// Remove folders of a unit.
    Clean {
        /// Which unit.
        unit: UnitName,
        /// Which kinds, a bit each by the number of `DirectoryKind`.
        kinds: u8,
    },
    /// Change the environment of what is started from now on.
    Environment {
        /// Names, or assignments that go only where they are as they say.
        unset: Vec<Box<str>>,
        /// Assignments.
        set: Vec<Box<str>>,
    },
}

impl LiveRequest {
    /// The unit that it is about.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            LiveRequest::Transient(transient) => Some(&transient.unit),
            LiveRequest::Reconfigure { config, .. } => Some(config.id()),
            LiveRequest::Attach { unit, .. }
            | LiveRequest::Abandon(unit)
            | LiveRequest::Freeze { unit, .. }
            | LiveRequest::Clean { unit, .. } => Some(unit),
            LiveRequest::Environment { .. } => None,
        }
    }

    /// What the ledger says was asked.
    pub fn verb(&self) -> Verb {
        match self {
            LiveRequest::Transient(_) => Verb::StartTransient,
            LiveRequest::Reconfigure { .. } => Verb::SetProperty,
            LiveRequest::Attach { .. } => Verb::Attach,
            LiveRequest::Abandon(_) => Verb::Abandon,
            LiveRequest::Freeze { freeze: true, .. } => Verb::Freeze,
            LiveRequest::Freeze { freeze: false, .. } => Verb::Thaw,
            LiveRequest::Clean { .. } => Verb::Clean,
            LiveRequest::Environment { .. } => Verb::SetEnvironment,
        }
    }
}

/// A unit that a client makes.
#[derive(Clone, Debug)]
pub struct Transient {
    /// The unit that is started.
    pub unit: UnitName,
    /// How.
    pub mode: JobMode,
    /// It and what comes with it, as their files say.
    pub units: Vec<(Box<Config>, Vec<FileIdentity>)>,
    /// The processes of a scope.
    pub processes: Vec<u32>,
    /// Controller= of a scope: who is asked to stop it, by a name on the bus.
    pub controller: Option<Text>,
}

/// What came of moving processes into a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Adopted {
    /// Those that are there now.
    pub processes: Vec<LeftOver>,
    /// Why the others aren't.
    pub error: Option<Text>,
}

/// FreezerState of a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freezer {
    /// Its processes run.
    #[default]
    Running,
    /// They are about to stop.
    Freezing,
    /// They are suspended.
    Frozen,
    /// They are about to go on.
    Thawing,
}

impl Freezer {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Freezer::Running => "running",
            Freezer::Freezing => "freezing",
            Freezer::Frozen => "frozen",
            Freezer::Thawing => "thawing",
        }
    }
}

/// Why a request can't be granted; the variants are systemd's D-Bus errors.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants are systemd's error names")]
pub enum Refusal {
    NoSuchUnit(Text),
    LoadFailed(Text),
    BadUnitSetting(Text),
    UnitMasked(Text),
    OnlyByDependency(Text),
    NoIsolation(Text),
    JobTypeNotApplicable(Text),
    TransactionJobsConflicting(Text),
    TransactionOrderIsCyclic(Text),
    TransactionIsDestructive(Text),
    NoSuchJob(Text),
    NoSuchProcess(Text),
    ShuttingDown(Text),
    UnitInactive(Text),
    UnitBusy(Text),
    NothingToClean(Text),
    ScopeNotRunning(Text),
    NotSupported(Text),
    Failed(Text),
}

impl Refusal {
    /// The D-Bus error name without `org.freedesktop.systemd1.` or, for the last two,
    /// `org.freedesktop.DBus.Error.`, and the sentence.
    pub fn parts(&self) -> (&'static str, &Text) {
        match self {
            Refusal::NoSuchUnit(t) => ("NoSuchUnit", t),
            Refusal::LoadFailed(t) => ("LoadFailed", t),
            Refusal::BadUnitSetting(t) => ("BadUnitSetting", t),
            Refusal::UnitMasked(t) => ("UnitMasked", t),
            Refusal::OnlyByDependency(t) => ("OnlyByDependency", t),
            Refusal::NoIsolation(t) => ("NoIsolation", t),
            Refusal::JobTypeNotApplicable(t) => ("JobTypeNotApplicable", t),
            Refusal::TransactionJobsConflicting(t) => ("TransactionJobsConflicting", t),
            Refusal::TransactionOrderIsCyclic(t) => ("TransactionOrderIsCyclic", t),
            Refusal::TransactionIsDestructive(t) => ("TransactionIsDestructive", t),
            Refusal::NoSuchJob(t) => ("NoSuchJob", t),
            Refusal::NoSuchProcess(t) => ("NoSuchProcess", t),
            Refusal::ShuttingDown(t) => ("ShuttingDown", t),
            Refusal::UnitInactive(t) => ("UnitInactive", t),
            Refusal::UnitBusy(t) => ("UnitBusy", t),
            Refusal::NothingToClean(t) => ("NothingToClean", t),
            Refusal::ScopeNotRunning(t) => ("ScopeNotRunning", t),
            Refusal::NotSupported(t) => ("NotSupported", t),
            Refusal::Failed(t) => ("Failed", t),
        }
    }
}
