//! What is to be done: the closed list of effects. They are plain data; the host does them.
//!
//! An effect that says "answered by" is answered by exactly one event of that kind, which the pump
//! handles before anything that happens later.

use crate::{ConnectionId, DescriptorsId, ExecId, JobId, Refusal, UnitId};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use hence_ledger::{JobResult, JobType, ProcessRole, RecordId, SignalReason, Text, record::Invocation};
use hence_unit::{Config, UnitName, config::ExecPhase};

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Read the files of this unit. Answered by [`crate::Event::Loaded`].
    Load(UnitName),
    /// Check the conditions and asserts of this unit. Answered by [`crate::Event::Checked`].
    Check(UnitId, Arc<Config>),
    /// Start a process. Answered by [`crate::Event::Spawned`] or [`crate::Event::SpawnFailed`].
    Spawn(Box<Spawn>),
    /// Signal processes of a unit. Answered by [`crate::Event::Killed`].
    Kill(Kill),
    /// Say which processes are left in a unit's group. Answered by [`crate::Event::Census`].
    Census {
        /// Of which unit.
        unit: UnitId,
        /// Processes that are known to belong there: main and control.
        expected: Vec<u32>,
    },
    /// The unit is down: remove its group if it is empty, its runtime directories unless `keep_directories`.
    Release {
        /// Which unit.
        unit: UnitId,
        /// RuntimeDirectoryPreserve= covers this end.
        keep_directories: bool,
    },
    /// Open the sockets of a socket unit. Answered by [`crate::Event::SocketsOpened`].
    OpenSockets(UnitId, Arc<Config>),
    /// Wait (or no longer wait) for traffic on a socket unit's sockets.
    WatchSockets {
        /// Which unit.
        unit: UnitId,
        /// Whether to wait.
        watch: bool,
    },
    /// Close the sockets of a socket unit; `remove`: RemoveOnStop=.
    CloseSockets {
        /// Which unit.
        unit: UnitId,
        /// Remove the nodes in the file system.
        remove: bool,
    },
    /// Set an automount point up: the kernel holds whoever comes by. Answered by
    /// [`crate::Event::AutomountOpened`].
    OpenAutomount(UnitId, Arc<Config>),
    /// Let those go on who came by at an automount point: what they look for is there, or an error.
    AnswerAutomount {
        /// Which unit.
        unit: UnitId,
        /// Not those, but the kernel, which waits for what nobody uses to be unmounted.
        expired: bool,
        /// errno; 0: it is done.
        errno: i32,
    },
    /// Ask the kernel for what nobody uses at an automount point; it tells by
    /// [`crate::Event::AutomountIdle`].
    ExpireAutomount(UnitId),
    /// Take an automount point away, with what is mounted there.
    CloseAutomount(UnitId),
    /// Keep descriptors that came with a message, for the next start of the unit; those of files that are
    /// kept already are closed. Answered by [`crate::Event::DescriptorsKept`].
    KeepDescriptors {
        /// Which unit.
        unit: UnitId,
        /// Who sent them.
        pid: u32,
        /// Which; what no effect names is closed when nothing is left to do.
        descriptors: DescriptorsId,
        /// Their name.
        name: Text,
        /// Drop them as soon as they hang up.
        poll: bool,
        /// How many may be kept of the unit, in all.
        limit: u32,
    },
    /// Close the descriptors that are kept under a name, or all. Answered by
    /// [`crate::Event::DescriptorsDropped`] where they have a name.
    DropDescriptors {
        /// Of which unit.
        unit: UnitId,
        /// The name, and who asked.
        name: Option<(Text, u32)>,
    },
    /// Drop an accepted connection that no service takes.
    CloseConnection(ConnectionId),
    /// Read PIDFile= of a forking service now; if it isn't there (or not valid) yet and `wait`, watch for
    /// it. Answered by [`crate::Event::PidFile`], once or, with `wait`, again when it changes.
    ReadPidFile {
        /// Which unit.
        unit: UnitId,
        /// Absolute path.
        path: Box<str>,
        /// Watch for it.
        wait: bool,
    },
    /// Look for the main process of a forking service without PIDFile= among its group (GuessMainPID=).
    /// Answered by [`crate::Event::PidFile`].
    GuessMainPid(UnitId),
    /// Report [`crate::Event::Emptied`] when nobody is left in the unit's group, at once if it is empty now.
    ReportEmpty(UnitId),
    /// Watch a process that isn't our child; its end is an [`crate::Event::Exited`] without status.
    WatchProcess {
        /// Of which unit.
        unit: UnitId,
        /// Which.
        pid: u32,
    },
    /// The invocation ended badly: have the last lines of its streams recorded, caused by `record`.
    LastWords {
        /// Which unit.
        unit: UnitId,
        /// Which invocation.
        invocation: Invocation,
        /// The record of the end.
        record: RecordId,
    },
    /// Start to wait for a timer or path unit's events (paths: answered by [`crate::Event::PathChanged`]
    /// whenever it holds). Timers are the engine's own deadlines.
    WatchPaths {
        /// Which unit.
        unit: UnitId,
        /// Its configuration; `None`: no longer.
        config: Option<Arc<Config>>,
    },
    /// Say when the OnCalendar= lines of a timer are due next, and where asked when it elapsed last. Answered
    /// by [`crate::Event::NextElapse`].
    NextElapse {
        /// Which timer.
        unit: UnitId,
        /// Its configuration.
        config: Arc<Config>,
        /// Due after this time, in microseconds since 1970, or after the time of the stamp.
        after_us: u64,
        /// Look for the stamp of the last elapse.
        stamp: bool,
    },
    /// Tell when the machine's time zone becomes another one.
    WatchTimeZone,
    /// A timer with Persistent= elapsed, or waits for the first time: leave a stamp of when.
    Stamp {
        /// Its configuration.
        config: Arc<Config>,
        /// In microseconds since 1970.
        realtime_us: u64,
    },
    /// Say whether a device's node is there, now and whenever that changes. Answered by
    /// [`crate::Event::Device`].
    WatchDevice {
        /// Which unit.
        unit: UnitId,
        /// The node, in /dev or /sys.
        path: Box<str>,
    },
    /// A unit is known from now on, for clients that follow units.
    UnitNew(UnitId),
    /// A unit was unloaded: drop everything that is kept under its number, which another unit gets then.
    /// Answered by [`crate::Event::Forgotten`], after which no event may mean it.
    Forget {
        /// Its number so far.
        unit: UnitId,
        /// Its name.
        name: UnitName,
    },
    /// Say who owns this name on the message bus, now and whenever that changes. Answered by
    /// [`crate::Event::BusName`]; at once where there is no bus.
    WatchName {
        /// For which unit.
        unit: UnitId,
        /// BusName=
        name: Box<str>,
    },
    /// Ask the controller of a scope to stop it, by a signal on the message bus. Where that can't be said,
    /// the answer is [`crate::Event::BusName`] without an owner.
    RequestStop {
        /// Which scope.
        unit: UnitId,
        /// Controller=
        controller: Box<str>,
    },
    /// A job is queued, for clients that follow jobs.
    JobNew {
        /// Which.
        job: JobId,
        /// Of which unit.
        unit: UnitId,
    },
    /// A job has ended, for clients that follow jobs.
    JobRemoved {
        /// Which.
        job: JobId,
        /// Of which unit.
        unit: UnitId,
        /// Its type.
        job_type: JobType,
        /// How.
        result: JobResult,
    },
    /// The answer to a request: the anchor job, if one was queued.
    Reply {
        /// The request's token.
        token: u64,
        /// The answer.
        result: Result<Option<JobId>, Refusal>,
    },
    /// Move processes into a unit's group, made where it isn't there. Answered by
    /// [`crate::Event::Adopted`].
    Adopt {
        /// Which unit.
        unit: UnitId,
        /// Its configuration.
        config: Arc<Config>,
        /// Its run.
        invocation: Invocation,
        /// The request that is answered then.
        token: Option<u64>,
        /// The group below the unit's, with a slash before it; empty: its own.
        group: Box<str>,
        /// Which processes.
        processes: Vec<u32>,
    },
    /// The limits of a unit changed: write them to its group, if it has one.
    Limits(UnitId, Arc<Config>),
    /// Suspend a unit's processes or let them go on. Answered by [`crate::Event::Froze`] when they are.
    Freeze {
        /// Which unit.
        unit: UnitId,
        /// Its configuration.
        config: Arc<Config>,
        /// Suspend them.
        freeze: bool,
        /// The request that is answered then.
        token: Option<u64>,
    },
    /// Remove folders of a unit. Answered by [`crate::Event::Cleaning`].
    Clean {
        /// Which unit.
        unit: UnitId,
        /// Its configuration.
        config: Arc<Config>,
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
    /// Everything is down and hence may end, with this exit status.
    Finished(u8),
}

/// A process to be started.
#[derive(Clone, Debug)]
pub struct Spawn {
    /// Its number.
    pub exec: ExecId,
    /// Of which unit.
    pub unit: UnitId,
    /// The unit's configuration.
    pub config: Arc<Config>,
    /// What it will be.
    pub role: ProcessRole,
    /// Which list of commands; [`ExecPhase::Stop`] of a socket is ExecStopPre=.
    pub phase: ExecPhase,
    /// Which command of the list.
    pub index: u16,
    /// The run that it belongs to.
    pub invocation: Invocation,
    /// Environment that the state adds: MAINPID, SERVICE_RESULT, EXIT_CODE, MONITOR_..., WATCHDOG_USEC.
    pub environment: Vec<(&'static str, String)>,
    /// Answer only when the program has been executed, or with the failure to (Type=exec and control
    /// commands). Otherwise a failed exec shows as exit status 203 and the like.
    pub confirm: bool,
    /// Whether it may use sd_notify(3).
    pub notify: bool,
    /// Socket units whose sockets are passed.
    pub sockets: Vec<UnitId>,
    /// The connection that is passed instead, for an Accept=yes instance.
    pub connection: Option<ConnectionId>,
    /// Whether processes of an earlier invocation may still be in the group.
    pub first_of_invocation: bool,
}

/// Which processes of a unit a signal goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillScope {
    /// Main and control process only.
    Known,
    /// These, then every other process of the group, subgroups included.
    Group,
    /// Every process of the group that isn't main or control.
    Others,
}

/// A signal to processes of a unit.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Which unit.
    pub unit: UnitId,
    /// Who.
    pub scope: KillScope,
    /// The main process, if it is alive.
    pub main: Option<u32>,
    /// The control process, if it is alive.
    pub control: Option<u32>,
    /// Signal number.
    pub signal: u8,
    /// SIGCONT after it, so that stopped processes see it.
    pub then_continue: bool,
    /// SIGHUP as well.
    pub hangup: bool,
    /// Why.
    pub reason: SignalReason,
    /// Whether to report [`crate::Event::Emptied`] when the group has run empty.
    pub report_empty: bool,
}
