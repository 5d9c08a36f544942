//! What sources see of a manager that is another's: the words in which they tell it. Nothing is concluded
//! here.

use crate::Time;
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use hence_ledger::{
    ActiveState, Client, Exit, FileIdentity, Invocation, JobResult, JobType, LeftOver, Text, UnitResult, Verb,
};
use hence_unit::{Config, DependencyKind, JobMode};

/// Something that was seen, and when it happened as far as the source can say.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Time,
    /// What.
    pub what: What,
}

/// What was seen.
#[derive(Clone, Debug)]
pub enum What {
    /// A unit as the manager has it. It is read once, and again after each reload.
    Known(Box<Portrait>),
    /// The manager has forgotten a unit.
    Forgotten(Text),
    /// Properties of a unit changed.
    Changed(Text, Box<Change>),
    /// A job was queued.
    JobNew(u32, Text),
    /// Which type a job has.
    JobIs(u32, JobType),
    /// A job is over.
    JobRemoved(u32, Text, JobResult),
    /// The manager begins (`true`) or ends to read its configuration again.
    Reloading(bool),
    /// All that there was when the connection began has been told.
    Attached,
    /// The connection to the manager is lost: it executes itself anew, or is gone.
    Disconnected,
    /// It is there again.
    Reconnected,
    /// The connection to the message bus is lost, or there again.
    Bus(bool),
    /// A unit as it is after a time in which nothing was seen of it; whether nothing was known of it before.
    Found(Text, Box<Change>, bool),
    /// The manager said something in the journal.
    Said(Box<Message>),
    /// Somebody asked for something.
    Asked(Box<Asked>),
    /// A program that asks managers for something was executed, and gone before it could be looked at.
    Passed {
        /// By which process.
        pid: u32,
        /// Which.
        program: Text,
    },
    /// A process was sent a signal.
    Signalled {
        /// Signal number.
        signal: u8,
        /// To which process.
        pid: u32,
        /// By whom; pid 0 is the kernel.
        sender: Box<Client>,
    },
    /// The kernel killed a process for lack of memory.
    OomKill {
        /// Which, where that is known.
        pid: Option<u32>,
        /// Of which unit, where that is known.
        unit: Option<Text>,
    },
    /// Who is in a unit's control group.
    Members(Text, Vec<Member>),
    /// A process that was left behind has ended.
    Gone {
        /// Which.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
        /// How, where that was seen.
        exit: Option<Exit>,
    },
    /// Which files a start depended on.
    Inputs(Text, Vec<FileIdentity>),
    /// A process ended.
    Ended {
        /// Which.
        pid: u32,
        /// How.
        exit: Exit,
    },
    /// A source lost something.
    Lost {
        /// How much, where that is known.
        count: u64,
    },
}

/// A unit as it was read.
#[derive(Clone, Debug, Default)]
pub struct Portrait {
    /// Its name.
    pub name: Text,
    /// Its dependencies.
    pub edges: Vec<(DependencyKind, Text)>,
    /// Its properties then.
    pub state: Change,
    /// Its files as we read them, for the lines of its directives.
    pub config: Option<Arc<Config>>,
    /// Which content they had.
    pub files: Vec<FileIdentity>,
}

/// Properties that changed; those that were not told are `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// ActiveState
    pub active: Option<ActiveState>,
    /// SubState, as the manager calls it.
    pub sub: Option<Text>,
    /// Result
    pub result: Option<UnitResult>,
    /// InvocationID
    pub invocation: Option<Invocation>,
    /// MainPID; 0: none.
    pub main_pid: Option<u32>,
    /// ControlPID; 0: none.
    pub control_pid: Option<u32>,
    /// NRestarts
    pub restarts: Option<u32>,
    /// Of the main process that ended last: pid, when on CLOCK_MONOTONIC in microseconds, how.
    pub main_exit: Option<(u32, u64, Exit)>,
    /// ExecMainStartTimestampMonotonic: when that one, or the one that runs, began.
    pub main_began_us: Option<u64>,
    /// StateChangeTimestampMonotonic
    pub state_at_us: Option<u64>,
    /// InactiveExitTimestampMonotonic: when the current run began.
    pub began_us: Option<u64>,
    /// LastTriggerUSecMonotonic of a timer.
    pub triggered_us: Option<u64>,
    /// NAccepted of a socket.
    pub accepted: Option<u32>,
    /// ControlGroup
    pub cgroup: Option<Text>,
    /// The program and arguments of ExecStart=.
    pub command: Option<Vec<String>>,
}

impl Change {
    /// That it is down, where nothing more is told.
    pub(super) fn down() -> Change {
        let (active, sub) = (Some(ActiveState::Inactive), Some("dead".into()));
        Change { active, sub, main_pid: Some(0), ..Change::default() }
    }
}

/// A line of the manager's in the journal, with the fields that it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// UNIT=
    pub unit: Option<Text>,
    /// INVOCATION_ID=
    pub invocation: Option<Invocation>,
    /// MESSAGE=
    pub text: String,
    /// JOB_ID=
    pub job: Option<u32>,
    /// JOB_TYPE=
    pub job_type: Option<JobType>,
    /// JOB_RESULT=
    pub job_result: Option<JobResult>,
    /// COMMAND= of a process that ended: `ExecStartPre`.
    pub command: Option<String>,
    /// EXIT_CODE= and EXIT_STATUS=
    pub exit: Option<Exit>,
    /// N_RESTARTS=
    pub restarts: Option<u32>,
    /// UNIT_RESULT=
    pub result: Option<UnitResult>,
    /// TRANSACTION_ID=, of managers that have it.
    pub transaction: Option<u64>,
}

/// How a request came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The call itself was seen.
    Call,
    /// A client was seen to be executed or to run, whose command line asks for it.
    CommandLine,
}

/// A request, as it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// For what.
    pub verb: Verb,
    /// In which mode.
    pub mode: JobMode,
    /// Of which units; patterns and names without suffix are allowed. None: of the whole.
    pub units: Vec<Text>,
    /// Who.
    pub client: Client,
    /// How that is known.
    pub evidence: Evidence,
}

/// A process in a unit's control group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// What the ledger says of it.
    pub process: LeftOver,
    /// When it was started, on CLOCK_MONOTONIC in microseconds.
    pub started_us: u64,
    /// The invocation that its environment names.
    pub invocation: Option<Invocation>,
}
