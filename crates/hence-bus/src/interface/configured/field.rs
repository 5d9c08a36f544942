//! The properties whose values are looked for elsewhere than in the text of a setting.

macro_rules! fields {
    ($($name:ident)*) => {
        /// A property, by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "they are named as the properties are")]
        pub enum Field {
            $($name,)*
        }

        impl Field {
            /// The one of this name. To be asked by the compiler: it looks at all of them.
            pub const fn of(name: &str) -> Option<Field> {
                $(
                    if same(name.as_bytes(), stringify!($name).as_bytes()) {
                        return Some(Field::$name);
                    }
                )*
                None
            }
        }
    };
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

fields! {
    RemainAfterElapse OnClockChange OnTimezoneChange FixedRandomDelay
    MakeDirectory DirectoryMode TriggerLimitIntervalUSec TriggerLimitBurst Paths
    StopWhenUnneeded RefuseManualStart RefuseManualStop AllowIsolate DefaultDependencies IgnoreOnIsolate
    CollectMode OnFailureJobMode JobTimeoutUSec JobRunningTimeoutUSec JobTimeoutAction StartLimitAction
    FailureAction SuccessAction FailureActionExitStatus SuccessActionExitStatus ExitType TimeoutAbortUSec
    TimeoutStartFailureMode TimeoutStopFailureMode RuntimeRandomizedExtraUSec RootDirectoryStartOnly
    GuessMainPID RestartPreventExitStatus RestartForceExitStatus FileDescriptorStoreMax OOMPolicy
    NonBlocking IOWeight KillMode KillSignal RestartKillSignal FinalKillSignal WatchdogSignal SendSIGKILL
    SendSIGHUP Where What Type Options TimeoutUSec BindIPv6Only Backlog SocketUser SocketGroup SocketMode
    FlushPending Writable KeepAlive NoDelay ReceiveBuffer SendBuffer PipeSize FreeBind ReusePort
    PassCredentials PassSecurity RemoveOnStop Symlinks MaxConnections MaxConnectionsPerSource
    ExecStartPre ExecStartPost ExecStopPre ExecStopPost User Group SupplementaryGroups WorkingDirectory
    RootDirectory Environment EnvironmentFiles PassEnvironment UnsetEnvironment UMask Nice OOMScoreAdjust
    CPUSchedulingPolicy CPUSchedulingPriority IOSchedulingClass IOSchedulingPriority CPUAffinity
    CapabilityBoundingSet AmbientCapabilities NoNewPrivileges IgnoreSIGPIPE StandardInput StandardOutput
    StandardError StandardInputFileDescriptorName StandardOutputFileDescriptorName
    StandardErrorFileDescriptorName StandardInputData TTYPath SyslogIdentifier PrivateTmp ProtectSystem
    ProtectHome ReadWritePaths ReadOnlyPaths InaccessiblePaths RuntimeDirectoryPreserve SyslogLevel
    SyslogFacility SyslogLevelPrefix LogLevelMax LogRateLimitIntervalUSec LogRateLimitBurst
    LogExtraFields RuntimeDirectory RuntimeDirectoryMode StateDirectory StateDirectoryMode CacheDirectory
    CacheDirectoryMode LogsDirectory LogsDirectoryMode ConfigurationDirectory ConfigurationDirectoryMode
    Unit KeyringMode SameProcessGroup SyslogPriority RemoveIPC DynamicUser ExecPaths NoExecPaths MountFlags
    PrivateDevices ProtectClock ProtectKernelTunables ProtectKernelModules ProtectKernelLogs
    ProtectControlGroups PrivateNetwork PrivateUsers PrivateMounts PrivateIPC ProtectHostname MountAPIVFS
    ProtectProc ProcSubset NetworkNamespacePath IPCNamespacePath BindPaths BindReadOnlyPaths
    TemporaryFileSystem
    SystemCallFilter SystemCallErrorNumber SystemCallLog SystemCallArchitectures RestrictNamespaces
    RestrictAddressFamilies MemoryDenyWriteExecute LockPersonality RestrictRealtime RestrictSUIDSGID
    Personality PAMName SecureBits TimerSlackNSec CoredumpFilter CPUSchedulingResetOnFork NUMAPolicy NUMAMask
    ExecSearchPath TTYRows TTYColumns SetCredential LoadCredential
}
