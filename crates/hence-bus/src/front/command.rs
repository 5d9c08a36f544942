//! What clients ask to be done. The front only checks that a request is well-formed; the binary does it and
//! answers.

use super::PeerId;
use super::model::JobView;
use crate::peer::{Caller, Descriptor};
use crate::wire::Value;
use hence_unit::JobMode;
use hence_unit::install::{Options, PresetMode};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$item:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[$item])* $name,)*
        }

        impl $type {
            /// Every one.
            pub const ALL: &[$type] = &[$($type::$name,)*];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($type::$name => $text,)*
                }
            }

            /// The one with this word.
            pub fn of(word: &str) -> Option<$type> {
                $type::ALL.iter().copied().find(|item| item.as_str() == word)
            }
        }
    };
}

words! {
    /// The job that a client asks for; systemctl(1).
    Verb {
        /// Start.
        Start = "start",
        /// Check that it is active.
        VerifyActive = "verify-active",
        /// Stop.
        Stop = "stop",
        /// Reload its configuration.
        Reload = "reload",
        /// Reload where it is active, start where it is not.
        ReloadOrStart = "reload-or-start",
        /// Stop, then start.
        Restart = "restart",
        /// Restart where it is active.
        TryRestart = "try-restart",
        /// Reload where it is active.
        TryReload = "try-reload",
        /// Reload where it can, else restart.
        ReloadOrRestart = "reload-or-restart",
        /// Reload where it can and is active, else try to restart.
        ReloadOrTryRestart = "reload-or-try-restart",
    }
}

words! {
    /// Which processes a signal is for; `--kill-whom=` of systemctl(1).
    Whom {
        /// The main process.
        Main = "main",
        /// The control process.
        Control = "control",
        /// All processes.
        All = "all",
        /// The main process, which has to exist.
        MainFail = "main-fail",
        /// The control process, which has to exist.
        ControlFail = "control-fail",
        /// All processes, of which one has to exist.
        AllFail = "all-fail",
    }
}

words! {
    /// How the machine goes down.
    Power {
        /// Reboot.
        Reboot = "reboot",
        /// Power off.
        PowerOff = "poweroff",
        /// Halt.
        Halt = "halt",
        /// Execute the loaded kernel.
        Kexec = "kexec",
    }
}

words! {
    /// A change of unit files; systemctl(1).
    FileVerb {
        /// Make the links of `[Install]`.
        Enable = "enable",
        /// Remove them.
        Disable = "disable",
        /// Remove and make them.
        Reenable = "reenable",
        /// As the presets say.
        Preset = "preset",
        /// The same for all unit files.
        PresetAll = "preset-all",
        /// Link to /dev/null.
        Mask = "mask",
        /// Remove that link.
        Unmask = "unmask",
        /// Link to a file elsewhere.
        Link = "link",
        /// Remove all that was configured.
        Revert = "revert",
    }
}

/// Names and values.
pub type Properties = Vec<(String, Value)>;

/// A request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A job for a unit. Answer with the job.
    Enqueue {
        /// Unit, loaded or not.
        unit: String,
        /// What to do.
        verb: Verb,
        /// How.
        mode: JobMode,
        /// Whether the answer should name the other jobs of the transaction, too.
        detailed: bool,
    },
    /// Send a signal.
    Kill {
        /// Unit.
        unit: String,
        /// Which processes.
        whom: Whom,
        /// Signal, 1 to 64.
        signal: i32,
    },
    /// Forget that a unit failed, or all that did.
    ResetFailed {
        /// Unit.
        unit: Option<String>,
    },
    /// Cancel a job.
    Cancel {
        /// Its id.
        job: u32,
    },
    /// Cancel all jobs.
    ClearJobs,
    /// Load all unit files anew.
    Reload,
    /// Execute ourselves anew.
    Reexecute,
    /// End.
    Exit,
    /// The exit status of an end that names none.
    SetExitCode {
        /// 0 to 255.
        status: u8,
    },
    /// Take the machine down at once.
    Power(Power),
    /// Change the environment of what is started.
    Environment {
        /// Names, or assignments that are removed only where they match.
        unset: Vec<String>,
        /// Assignments.
        set: Vec<String>,
    },
    /// Change settings of a unit.
    SetProperties {
        /// Unit.
        unit: String,
        /// Only until reboot.
        runtime: bool,
        /// Name and value.
        properties: Properties,
    },
    /// Make a unit without a file and start it. Answer with the job.
    StartTransient {
        /// Unit.
        unit: String,
        /// How.
        mode: JobMode,
        /// Its properties.
        properties: Properties,
        /// Other units that are made with it, and their properties.
        others: Vec<(String, Properties)>,
        /// What properties of type `h` are indices into.
        descriptors: Vec<Descriptor>,
    },
    /// Hold on to a unit, so that it stays loaded while this connection is open; or let go of it.
    Hold {
        /// Unit.
        unit: String,
        /// Hold on.
        hold: bool,
    },
    /// Leave a scope's processes to themselves.
    Abandon {
        /// Unit.
        unit: String,
    },
    /// Move processes into a unit's group.
    Attach {
        /// Unit.
        unit: String,
        /// The group below the unit's, with a slash before it; empty for its own.
        group: String,
        /// Processes; 0 is the caller.
        processes: Vec<u32>,
    },
    /// Change unit files. Answer with the changes.
    UnitFiles {
        /// How.
        verb: FileVerb,
        /// Names or paths.
        names: Vec<String>,
        /// Only until reboot, overwrite, for portable services.
        options: Options,
        /// For presets, which half of them.
        mode: PresetMode,
    },
    /// Make units dependencies of another one. Answer with the changes.
    AddDependency {
        /// Names or paths.
        names: Vec<String>,
        /// The unit that wants or requires them.
        target: String,
        /// Requires.
        required: bool,
        /// Only until reboot, overwrite.
        options: Options,
    },
    /// Set the unit that is started at boot. Answer with the changes.
    SetDefaultTarget {
        /// Unit.
        unit: String,
        /// Overwrite.
        force: bool,
    },
    /// Remove directories of a unit.
    Clean {
        /// Unit.
        unit: String,
        /// `cache`, `runtime`, `state`, ...
        what: Vec<String>,
    },
    /// Freeze a unit, or thaw it.
    Freeze {
        /// Unit.
        unit: String,
        /// Thaw.
        thaw: bool,
    },
}

/// Names a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub(super) u64);

/// A command and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// To answer it.
    pub token: Token,
    /// Who can hold on to units; `None`: the bus itself.
    pub holder: Option<Holder>,
    /// Who asks.
    pub caller: Caller,
    /// What.
    pub command: Command,
}

/// Who holds on to units, until it is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A connection of ours.
    Peer(PeerId),
    /// The caller of this name on the bus.
    Caller(String),
}

/// A link that was made or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// `symlink` or `unlink`.
    pub kind: &'static str,
    /// The link.
    pub path: String,
    /// What it points to.
    pub source: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// The job that was installed, and the other jobs of its transaction, where they were asked for.
    Job {
        /// The job.
        job: JobView,
        /// The others.
        others: Vec<JobView>,
    },
    /// Changes of unit files.
    Files {
        /// Whether the files have an `[Install]` section.
        installable: bool,
        /// What changed.
        changes: Vec<FileChange>,
    },
}
