//! The words of the ledger: states, job types, results, reasons. Systemd's own wherever it has one.
//!
//! Each enum has explicit numbers, which are its encoding: never reused, never renumbered.

macro_rules! words {
    (
        $(#[$meta:meta])*
        $name:ident { $($variant:ident = $tag:literal $word:literal $doc:literal),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $doc] $variant = $tag,)* }
        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The word that people see.
            pub const fn as_str(self) -> &'static str { match self { $($name::$variant => $word,)* } }
            /// The number in the encoding.
            pub const fn tag(self) -> u8 { self as u8 }
            /// The value of this number.
            pub fn from_tag(tag: u8) -> Option<$name> {
                match tag { $($tag => Some($name::$variant),)* _ => None }
            }
            /// The first value of this word.
            pub fn parse(word: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|w| w.as_str() == word)
            }
        }
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// ActiveState of a unit.
    ActiveState {
        Inactive = 0 "inactive" "Down.",
        Activating = 1 "activating" "On its way up, or waiting to be restarted.",
        Active = 2 "active" "Up.",
        Reloading = 3 "reloading" "Up, reading its configuration again.",
        Deactivating = 4 "deactivating" "On its way down.",
        Failed = 5 "failed" "Down after a failure.",
        Maintenance = 6 "maintenance" "Down, its files being cleaned.",
    }
}

words! {
    /// SubState of a unit: the state of the machine of its kind.
    SubState {
        Dead = 0 "dead" "Down.",
        Failed = 1 "failed" "Down after a failure.",
        Condition = 2 "condition" "ExecCondition= runs.",
        StartPre = 3 "start-pre" "ExecStartPre= runs.",
        Start = 4 "start" "ExecStart= runs and isn't ready yet.",
        StartPost = 5 "start-post" "ExecStartPost= runs.",
        Running = 6 "running" "The main process runs.",
        Exited = 7 "exited" "The main process ended and RemainAfterExit= keeps the unit up.",
        Reload = 8 "reload" "ExecReload= runs, or the service said that it reloads.",
        Stop = 9 "stop" "ExecStop= runs.",
        StopWatchdog = 10 "stop-watchdog" "WatchdogSignal= was sent.",
        StopSigterm = 11 "stop-sigterm" "KillSignal= was sent.",
        StopSigkill = 12 "stop-sigkill" "FinalKillSignal= was sent.",
        StopPost = 13 "stop-post" "ExecStopPost= runs.",
        FinalWatchdog = 14 "final-watchdog" "WatchdogSignal= was sent after ExecStopPost=.",
        FinalSigterm = 15 "final-sigterm" "KillSignal= was sent after ExecStopPost=.",
        FinalSigkill = 16 "final-sigkill" "FinalKillSignal= was sent after ExecStopPost=.",
        AutoRestart = 17 "auto-restart" "Down, waiting RestartSec= to be started again.",
        Cleaning = 18 "cleaning" "Its files are being removed.",
        Active = 19 "active" "A target or slice that is up.",
        Listening = 20 "listening" "A socket that waits for traffic.",
        SocketRunning = 21 "running" "A socket whose service runs.",
        StopPre = 22 "stop-pre" "ExecStopPre= of a socket runs.",
        StopPreSigterm = 23 "stop-pre-sigterm" "ExecStopPre= took too long and was sent KillSignal=.",
        StopPreSigkill = 24 "stop-pre-sigkill" "ExecStopPre= took too long and was sent SIGKILL.",
        StartChown = 25 "start-chown" "A socket is given its owner.",
        Waiting = 26 "waiting" "A timer or path that waits.",
        Elapsed = 27 "elapsed" "A timer that won't elapse again.",
        TriggerRunning = 28 "running" "A timer or path whose unit runs, or an automount whose mount is up.",
        Mounting = 40 "mounting" "mount(8) runs.",
        Mounted = 41 "mounted" "Something is mounted there.",
        Unmounting = 42 "unmounting" "umount(8) runs.",
        Plugged = 43 "plugged" "A device that is there.",
        SwapActivating = 44 "activating" "swapon(8) runs.",
        SwapDeactivating = 45 "deactivating" "swapoff(8) runs.",
        UnmountingSigterm = 46 "unmounting-sigterm" "mount(8) or umount(8) was sent KillSignal=.",
        UnmountingSigkill = 47 "unmounting-sigkill" "mount(8) or umount(8) was sent SIGKILL.",
        SwapDeactivatingSigterm = 48 "deactivating-sigterm" "swapon(8) or swapoff(8) was sent KillSignal=.",
        SwapDeactivatingSigkill = 49 "deactivating-sigkill" "swapon(8) or swapoff(8) was sent SIGKILL.",
        Abandoned = 60 "abandoned" "A scope that its client left to itself.",
    }
}

words! {
    /// Type of a job.
    JobType {
        Start = 0 "start" "Bring the unit up.",
        VerifyActive = 1 "verify-active" "Check that it is up.",
        Stop = 2 "stop" "Take it down.",
        Reload = 3 "reload" "Have it read its configuration again.",
        Restart = 4 "restart" "Take it down and bring it up.",
        TryRestart = 5 "try-restart" "Restart it if it is up.",
        TryReload = 6 "try-reload" "Reload it if it is up.",
        ReloadOrStart = 7 "reload-or-start" "Reload it if it is up, else start it.",
        Nop = 8 "nop" "Nothing.",
    }
}

words! {
    /// How a job ended.
    JobResult {
        Done = 0 "done" "It did what it was for.",
        Canceled = 1 "canceled" "Another job or a request took its place.",
        Timeout = 2 "timeout" "It took too long.",
        Failed = 3 "failed" "The unit failed.",
        Dependency = 4 "dependency" "A unit that it requires failed.",
        Skipped = 5 "skipped" "It didn't apply to the unit's state.",
        Invalid = 6 "invalid" "The unit's state doesn't allow it.",
        Assert = 7 "assert" "An Assert...= didn't hold.",
        Unsupported = 8 "unsupported" "This kind of unit isn't supported here.",
        Collected = 9 "collected" "The unit went away.",
        Once = 10 "once" "The unit may be started only once.",
    }
}

words! {
    /// Result= of a service or socket: why it is in the state that it is in.
    UnitResult {
        Success = 0 "success" "Nothing went wrong.",
        Resources = 1 "resources" "The system refused something: memory, a fork, a file.",
        Protocol = 2 "protocol" "The service didn't do what its Type= promises.",
        Timeout = 3 "timeout" "It took too long.",
        ExitCode = 4 "exit-code" "A process ended with a bad exit status.",
        Signal = 5 "signal" "A process was ended by a signal.",
        CoreDump = 6 "core-dump" "A process was ended by a signal and left a core dump.",
        Watchdog = 7 "watchdog" "No sign of life within WatchdogSec=.",
        StartLimitHit = 8 "start-limit-hit" "Started too often.",
        OomKill = 9 "oom-kill" "The kernel ran out of memory and killed a process.",
        ExecCondition = 10 "exec-condition" "An ExecCondition= said no.",
        TriggerLimitHit = 11 "trigger-limit-hit" "A socket or path triggered too often.",
        ServiceStartLimitHit = 12 "service-start-limit-hit" "The service of a socket was started too often.",
        UnitStartLimitHit = 13 "unit-start-limit-hit" "The unit of a path was started too often.",
        MountStartLimitHit = 14 "mount-start-limit-hit" "The mount of an automount was started too often.",
    }
}

words! {
    /// What a process is to its unit.
    ProcessRole {
        Main = 0 "main process" "The service itself.",
        Condition = 1 "ExecCondition" "A control process.",
        StartPre = 2 "ExecStartPre" "A control process.",
        Start = 3 "ExecStart" "The process of ExecStart= where it isn't the main one (Type=forking).",
        StartPost = 4 "ExecStartPost" "A control process.",
        Reload = 5 "ExecReload" "A control process.",
        Stop = 6 "ExecStop" "A control process.",
        StopPost = 7 "ExecStopPost" "A control process.",
        StopPre = 8 "ExecStopPre" "A control process of a socket.",
        Other = 9 "process" "Any other process of the unit.",
        Attached = 20 "process" "A process that was handed over to the unit.",
    }
}

words! {
    /// How a process ended.
    ExitKind {
        Exited = 1 "exited" "By itself, with an exit status.",
        Killed = 2 "killed" "By a signal.",
        Dumped = 3 "dumped" "By a signal, with a core dump.",
    }
}

/// How a process ended, with its exit status or signal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// By itself or by a signal.
    pub kind: ExitKind,
    /// Exit status or signal number.
    pub status: i32,
}

words! {
    /// Why a service is, or isn't, started again after it ended; service(5), Restart=.
    RestartReason {
        Policy = 0 "Restart=" "Its Restart= covers how it ended.",
        ForceExitStatus = 1 "RestartForceExitStatus=" "The exit status is listed there.",
        PolicyNo = 2 "Restart=" "Its Restart= doesn't cover how it ended.",
        PreventExitStatus = 3 "RestartPreventExitStatus=" "The exit status is listed there.",
        ManualStop = 4 "stopped on purpose" "Somebody asked for the stop.",
        StopQueued = 5 "a stop job is queued" "It is about to be stopped.",
    }
}

words! {
    /// A deadline of the engine.
    DeadlineKind {
        TimeoutStart = 0 "TimeoutStartSec" "The start took too long.",
        TimeoutStop = 1 "TimeoutStopSec" "The stop took too long.",
        TimeoutAbort = 2 "TimeoutAbortSec" "The abort took too long.",
        RestartDelay = 3 "RestartSec" "The wait before a restart is over.",
        RuntimeMax = 4 "RuntimeMaxSec" "It ran as long as it may.",
        Watchdog = 5 "WatchdogSec" "No sign of life.",
        JobTimeout = 6 "JobTimeoutSec" "A job took too long.",
        JobRunningTimeout = 7 "JobRunningTimeoutSec" "A running job took too long.",
        Timer = 8 "timer" "A timer unit elapsed.",
        StartLimit = 9 "StartLimitIntervalSec" "Too many starts in this time.",
        TimeoutReload = 10 "TimeoutStartSec" "The reload took too long.",
        RunFor = 11 "--for" "The time given on the command line is over.",
        TriggerLimit = 12 "TriggerLimitIntervalSec" "Too much traffic in this time.",
        TimeoutClean = 13 "TimeoutCleanSec" "Cleaning took too long.",
        TimeoutIdle = 14 "TimeoutIdleSec" "Nobody used what was mounted.",
    }
}

words! {
    /// How processes are tracked.
    Tracking {
        Cgroup = 0 "control groups" "Each unit has its own cgroup: exact.",
        Ancestry = 1 "process ancestry"
            "Subreaper, parents, sessions and the invocation id in the environment.",
    }
}

words! {
    /// What a client asked for.
    Verb {
        Start = 0 "start" "Bring a unit up.",
        Stop = 1 "stop" "Take a unit down.",
        Restart = 2 "restart" "Take it down, if it is up, and bring it up.",
        TryRestart = 3 "try-restart" "Restart it if it is up.",
        Reload = 4 "reload" "Have it read its configuration again.",
        ReloadOrRestart = 5 "reload-or-restart" "Reload it if it can be, else restart it.",
        ReloadOrTryRestart = 6 "reload-or-try-restart" "Reload it if it can be, else restart it if it is up.",
        Kill = 7 "kill" "Signal its processes.",
        ResetFailed = 8 "reset-failed" "Forget that it failed, and how often it was started.",
        DaemonReload = 9 "daemon-reload" "Read all unit files again.",
        Cancel = 10 "cancel" "Drop a job.",
        Run = 11 "run" "The unit was named on the command line of hence, or wanted by what was.",
        Exit = 12 "exit" "Stop everything and end.",
        Verify = 13 "verify-active" "Check that it is up.",
        Isolate = 14 "isolate" "Bring it up and stop everything else.",
        Enable = 32 "enable" "Make the links that its [Install] section asks for.",
        Disable = 33 "disable" "Remove the links to it.",
        Reenable = 34 "reenable" "Remove the links to it and make them anew.",
        Preset = 35 "preset" "Enable or disable it as the presets say.",
        Mask = 36 "mask" "Link its name to /dev/null, so that it can't be started.",
        Unmask = 37 "unmask" "Remove that link.",
        Link = 38 "link" "Link its name to a unit file elsewhere.",
        Revert = 39 "revert" "Remove drop-ins and what overrides its unit file.",
        AddDependency = 40 "add-wants" "Make it a dependency of another unit.",
        SetDefault = 41 "set-default" "Make it the target of the boot.",
        SetExitStatus = 50 "set-exit-code" "End with this exit status, once it ends.",
        PowerOff = 51 "poweroff" "Power the machine off without stopping units in order.",
        Reboot = 52 "reboot" "Reboot it without stopping units in order.",
        Halt = 53 "halt" "Halt it without stopping units in order.",
        Kexec = 54 "kexec" "Execute another kernel without stopping units in order.",
        StartTransient = 60 "start-transient" "Make a unit without a file and start it.",
        SetProperty = 61 "set-property" "Change its settings while it runs.",
        Clean = 62 "clean" "Remove its folders.",
        Freeze = 63 "freeze" "Suspend its processes.",
        Thaw = 64 "thaw" "Let its processes go on.",
        Attach = 65 "attach" "Move processes into its group.",
        Abandon = 66 "abandon" "Leave a scope to itself.",
        SetEnvironment = 67 "set-environment" "Change the environment of what is started.",
        DaemonReexec = 68 "daemon-reexec" "Execute the program anew and keep everything as it is.",
    }
}

words! {
    /// Which part of starting a process failed.
    SpawnStep {
        Fork = 0 "fork" "The kernel refused a new process.",
        Cgroup = 1 "control group" "The process could not be put into its control group.",
        Exec = 2 "exec" "The program could not be executed.",
        Chdir = 3 "working directory" "WorkingDirectory= could not be entered.",
        Stdio = 4 "standard streams" "A standard stream could not be opened.",
        User = 5 "user" "User= or Group= is unknown or refused.",
        Environment = 6 "environment" "An EnvironmentFile= could not be read.",
        Limits = 7 "limits" "A resource limit was refused.",
        Directories = 8 "directories" "A RuntimeDirectory= or its kin could not be made.",
        Sockets = 9 "sockets" "A file descriptor could not be passed.",
        Executor = 10 "executor" "The executor failed.",
        Scheduling = 11 "scheduling" "A scheduling setting was refused.",
        Filter = 14 "system call filter" "SystemCallFilter= or another filter could not be installed.",
        Credentials = 15 "credentials" "LoadCredential= or its kin could not be done.",
        Attributes = 16 "attributes" "Personality=, KeyringMode=, SecureBits= or a like setting was refused.",
        Namespace = 12 "namespaces" "A namespace, or a mount in it, could not be made.",
        Network = 13 "network" "PrivateNetwork= or NetworkNamespacePath= could not be done.",
        Session = 17 "PAM session" "PAMName= could not be done.",
    }
}

words! {
    /// What the system can refuse of a unit beside a start.
    Operation {
        Traffic = 0 "waiting for traffic" "A socket can't be waited for.",
        Paths = 1 "watching a path" "What a path unit waits for can't be seen.",
        PidFile = 2 "watching for the PID file" "PIDFile= can't be waited for.",
        Census = 3 "listing the processes" "Who is in the unit's control group can't be read.",
        Clean = 4 "removing folders" "The process that removes a unit's folders can't be started.",
        Kill = 5 "sending a signal" "Processes of the unit couldn't be signalled.",
        Accept = 6 "accepting a connection" "A connection stays in its queue.",
    }
}

words! {
    /// Why the ledger has a gap.
    GapReason {
        RingFull = 0 "the recorder did not keep up" "The ring between hence and the recorder was full.",
        DiskFull = 1 "no room on the disk" "The disk was full.",
        WriteError = 2 "the disk refused a write" "A write failed for another reason.",
        Damaged = 3 "damaged on the disk" "What is there doesn't match its checksum.",
        Retention = 4 "removed to stay within the bound" "Old segments were removed.",
    }
}

words! {
    /// What hence did not see for a time.
    Absence {
        Watch = 0 "hence was not watching" "hence did not run.",
        Manager = 1 "the connection to the manager was away" "The manager executed itself anew, or was gone.",
        Bus = 2 "the message bus was away" "Calls on it can't be seen then.",
    }
}

words! {
    /// A standard stream.
    Stream {
        Stdout = 1 "stdout" "Standard output.",
        Stderr = 2 "stderr" "Standard error.",
    }
}

words! {
    /// Why a signal was sent.
    SignalReason {
        Stop = 0 "stop" "KillSignal= of an ordered stop.",
        Final = 1 "final" "FinalKillSignal= after a timeout, or at once for what main left.",
        Watchdog = 2 "watchdog" "WatchdogSignal=.",
        Request = 3 "request" "A client asked for it.",
        ReloadTimeout = 4 "reload timeout" "A reload process took too long.",
        Hangup = 5 "hangup" "SendSIGHUP=.",
        Reload = 6 "reload" "ReloadSignal=.",
    }
}
