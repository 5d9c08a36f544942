//! Properties that only say how a unit is configured: name, signature, and the value of a unit that sets
//! nothing, which is also what one has whose setting is without effect. Where the values come from is in the
//! file above.

use super::shown;
use crate::front::UnitView;
use crate::interface::row::{Group, Packed, Row, length, pack};

macro_rules! settings {
    ($($emits:ident $name:literal $signature:literal $default:literal;)*) => {{
        const ROWS: &[Row] = &[$(Row::$emits($name, $signature).or($default)),*];
        static PACKED: ([Packed; ROWS.len()], [u8; length(ROWS)], usize) = pack(ROWS);
        Group::new(&PACKED, shown)
    }};
}

/// systemd.resource-control(5), beyond what every control group tells.
pub static RESOURCES: Group<UnitView> = settings! {
    quiet "EffectiveCPUs" "ay" "";
    quiet "EffectiveMemoryNodes" "ay" "";
    quiet "DelegateControllers" "as" "";
    quiet "StartupCPUWeight" "t" "infinity";
    quiet "CPUShares" "t" "infinity";
    quiet "StartupCPUShares" "t" "infinity";
    quiet "CPUQuotaPeriodUSec" "t" "infinity";
    quiet "AllowedCPUs" "ay" "";
    quiet "StartupAllowedCPUs" "ay" "";
    quiet "AllowedMemoryNodes" "ay" "";
    quiet "StartupAllowedMemoryNodes" "ay" "";
    quiet "IOAccounting" "b" "no";
    quiet "IOWeight" "t" "infinity";
    quiet "StartupIOWeight" "t" "infinity";
    quiet "IODeviceWeight" "a(st)" "";
    quiet "IOReadBandwidthMax" "a(st)" "";
    quiet "IOWriteBandwidthMax" "a(st)" "";
    quiet "IOReadIOPSMax" "a(st)" "";
    quiet "IOWriteIOPSMax" "a(st)" "";
    quiet "IODeviceLatencyTargetUSec" "a(st)" "";
    quiet "BlockIOAccounting" "b" "no";
    quiet "BlockIOWeight" "t" "infinity";
    quiet "StartupBlockIOWeight" "t" "infinity";
    quiet "BlockIODeviceWeight" "a(st)" "";
    quiet "BlockIOReadBandwidth" "a(st)" "";
    quiet "BlockIOWriteBandwidth" "a(st)" "";
    quiet "DefaultMemoryLow" "t" "0";
    quiet "DefaultMemoryMin" "t" "0";
    quiet "MemoryLimit" "t" "infinity";
    quiet "DevicePolicy" "s" "auto";
    quiet "DeviceAllow" "a(ss)" "";
    quiet "IPAddressAllow" "a(iayu)" "";
    quiet "IPAddressDeny" "a(iayu)" "";
    quiet "IPIngressFilterPath" "as" "";
    quiet "IPEgressFilterPath" "as" "";
    quiet "DisableControllers" "as" "";
    quiet "ManagedOOMSwap" "s" "auto";
    quiet "ManagedOOMMemoryPressure" "s" "auto";
    quiet "ManagedOOMMemoryPressureLimit" "u" "0";
    quiet "ManagedOOMPreference" "s" "none";
    quiet "BPFProgram" "a(ss)" "";
    quiet "RestrictNetworkInterfaces" "(bas)" "";
};

/// systemd.kill(5), of services.
pub static KILL: Group<UnitView> = settings! {
    fixed "RestartKillSignal" "i" "15";
    fixed "FinalKillSignal" "i" "9";
    fixed "SendSIGHUP" "b" "no";
    fixed "WatchdogSignal" "i" "6";
};

/// systemd.exec(5), of services and all others that run commands.
pub static EXECUTION: Group<UnitView> = settings! {
    fixed "EnvironmentFiles" "a(sb)" "";
    fixed "PassEnvironment" "as" "";
    fixed "UnsetEnvironment" "as" "";
    fixed "RootDirectory" "s" "";
    fixed "RootImage" "s" "";
    fixed "RootImageOptions" "a(ss)" "";
    fixed "RootHashPath" "s" "";
    fixed "RootHashSignaturePath" "s" "";
    fixed "RootVerity" "s" "";
    fixed "ExtensionDirectories" "as" "";
    fixed "CoredumpFilter" "t" "51";
    fixed "IOSchedulingClass" "i" "2";
    fixed "IOSchedulingPriority" "i" "4";
    fixed "CPUSchedulingPolicy" "i" "0";
    fixed "CPUSchedulingPriority" "i" "0";
    fixed "CPUAffinity" "ay" "";
    fixed "CPUAffinityFromNUMA" "b" "no";
    fixed "NUMAPolicy" "i" "-1";
    fixed "NUMAMask" "ay" "";
    fixed "TimerSlackNSec" "t" "50000";
    fixed "CPUSchedulingResetOnFork" "b" "no";
    fixed "NonBlocking" "b" "no";
    fixed "StandardInput" "s" "null";
    fixed "StandardInputFileDescriptorName" "s" "";
    fixed "StandardInputData" "ay" "";
    fixed "StandardOutput" "s" "journal";
    fixed "StandardOutputFileDescriptorName" "s" "";
    fixed "StandardError" "s" "inherit";
    fixed "StandardErrorFileDescriptorName" "s" "";
    fixed "TTYPath" "s" "";
    fixed "TTYReset" "b" "no";
    fixed "TTYVHangup" "b" "no";
    fixed "TTYVTDisallocate" "b" "no";
    fixed "TTYRows" "q" "65535";
    fixed "TTYColumns" "q" "65535";
    fixed "SyslogPriority" "i" "30";
    fixed "SyslogIdentifier" "s" "";
    fixed "SyslogLevelPrefix" "b" "yes";
    fixed "SyslogLevel" "i" "6";
    fixed "SyslogFacility" "i" "3";
    fixed "LogLevelMax" "i" "-1";
    fixed "LogRateLimitIntervalUSec" "t" "0";
    fixed "LogRateLimitBurst" "u" "0";
    fixed "LogExtraFields" "aay" "";
    fixed "LogNamespace" "s" "";
    fixed "SecureBits" "i" "0";
    fixed "CapabilityBoundingSet" "t" "infinity";
    fixed "AmbientCapabilities" "t" "0";
    fixed "Group" "s" "";
    fixed "DynamicUser" "b" "no";
    fixed "RemoveIPC" "b" "no";
    fixed "SetCredential" "a(say)" "";
    fixed "SetCredentialEncrypted" "a(say)" "";
    fixed "LoadCredential" "a(ss)" "";
    fixed "LoadCredentialEncrypted" "a(ss)" "";
    fixed "SupplementaryGroups" "as" "";
    fixed "PAMName" "s" "";
    fixed "ReadWritePaths" "as" "";
    fixed "ReadOnlyPaths" "as" "";
    fixed "InaccessiblePaths" "as" "";
    fixed "ExecPaths" "as" "";
    fixed "NoExecPaths" "as" "";
    fixed "ExecSearchPath" "as" "";
    fixed "MountFlags" "t" "0";
    fixed "PrivateTmp" "b" "no";
    fixed "PrivateDevices" "b" "no";
    fixed "ProtectClock" "b" "no";
    fixed "ProtectKernelTunables" "b" "no";
    fixed "ProtectKernelModules" "b" "no";
    fixed "ProtectKernelLogs" "b" "no";
    fixed "ProtectControlGroups" "b" "no";
    fixed "PrivateNetwork" "b" "no";
    fixed "PrivateUsers" "b" "no";
    fixed "PrivateMounts" "b" "no";
    fixed "PrivateIPC" "b" "no";
    fixed "ProtectHome" "s" "no";
    fixed "ProtectSystem" "s" "no";
    fixed "SameProcessGroup" "b" "no";
    fixed "UtmpIdentifier" "s" "";
    fixed "UtmpMode" "s" "init";
    fixed "SELinuxContext" "(bs)" "";
    fixed "AppArmorProfile" "(bs)" "";
    fixed "SmackProcessLabel" "(bs)" "";
    fixed "IgnoreSIGPIPE" "b" "yes";
    fixed "NoNewPrivileges" "b" "no";
    fixed "SystemCallFilter" "(bas)" "";
    fixed "SystemCallArchitectures" "as" "";
    fixed "SystemCallErrorNumber" "i" "2147483646";
    fixed "SystemCallLog" "(bas)" "";
    fixed "Personality" "s" "";
    fixed "LockPersonality" "b" "no";
    fixed "RestrictAddressFamilies" "(bas)" "";
    fixed "RuntimeDirectoryPreserve" "s" "no";
    fixed "RuntimeDirectoryMode" "u" "493";
    fixed "RuntimeDirectory" "as" "";
    fixed "StateDirectoryMode" "u" "493";
    fixed "StateDirectory" "as" "";
    fixed "CacheDirectoryMode" "u" "493";
    fixed "CacheDirectory" "as" "";
    fixed "LogsDirectoryMode" "u" "493";
    fixed "LogsDirectory" "as" "";
    fixed "ConfigurationDirectoryMode" "u" "493";
    fixed "ConfigurationDirectory" "as" "";
    fixed "TimeoutCleanUSec" "t" "infinity";
    fixed "MemoryDenyWriteExecute" "b" "no";
    fixed "RestrictRealtime" "b" "no";
    fixed "RestrictSUIDSGID" "b" "no";
    fixed "RestrictNamespaces" "t" "infinity";
    fixed "BindPaths" "a(ssbt)" "";
    fixed "BindReadOnlyPaths" "a(ssbt)" "";
    fixed "TemporaryFileSystem" "a(ss)" "";
    fixed "MountAPIVFS" "b" "no";
    fixed "KeyringMode" "s" "private";
    fixed "ProtectProc" "s" "default";
    fixed "ProcSubset" "s" "all";
    fixed "ProtectHostname" "b" "no";
    fixed "NetworkNamespacePath" "s" "";
    fixed "IPCNamespacePath" "s" "";
};

/// systemd.exec(5) and systemd.kill(5), where no field of a view holds them.
pub static EXECUTION_OF_OTHERS: Group<UnitView> = settings! {
    fixed "TimeoutUSec" "t" "90000000";
    fixed "Environment" "as" "";
    fixed "UMask" "u" "18";
    fixed "WorkingDirectory" "s" "";
    fixed "OOMScoreAdjust" "i" "0";
    fixed "Nice" "i" "0";
    fixed "User" "s" "";
    fixed "KillMode" "s" "control-group";
    fixed "KillSignal" "i" "15";
    fixed "RestartKillSignal" "i" "15";
    fixed "FinalKillSignal" "i" "9";
    fixed "SendSIGKILL" "b" "yes";
    fixed "SendSIGHUP" "b" "no";
    fixed "WatchdogSignal" "i" "6";
};

/// systemd.unit(5).
pub static UNIT: Group<UnitView> = settings! {
    fixed "AccessSELinuxContext" "s" "";
    fixed "StopWhenUnneeded" "b" "no";
    fixed "RefuseManualStart" "b" "no";
    fixed "RefuseManualStop" "b" "no";
    fixed "AllowIsolate" "b" "no";
    fixed "DefaultDependencies" "b" "yes";
    fixed "OnSuccessJobMode" "s" "fail";
    fixed "OnFailureJobMode" "s" "replace";
    fixed "IgnoreOnIsolate" "b" "no";
    quiet "Markers" "as" "";
    fixed "JobTimeoutUSec" "t" "infinity";
    fixed "JobRunningTimeoutUSec" "t" "infinity";
    fixed "JobTimeoutAction" "s" "none";
    fixed "JobTimeoutRebootArgument" "s" "";
    fixed "Perpetual" "b" "no";
    fixed "StartLimitAction" "s" "none";
    fixed "FailureAction" "s" "none";
    fixed "FailureActionExitStatus" "i" "-1";
    fixed "SuccessAction" "s" "none";
    fixed "SuccessActionExitStatus" "i" "-1";
    fixed "RebootArgument" "s" "";
    fixed "CollectMode" "s" "inactive";
};

/// systemd.service(5).
pub static SERVICE: Group<UnitView> = settings! {
    fixed "ExitType" "s" "main";
    quiet "TimeoutAbortUSec" "t" "90000000";
    fixed "TimeoutStartFailureMode" "s" "terminate";
    fixed "TimeoutStopFailureMode" "s" "terminate";
    fixed "RuntimeRandomizedExtraUSec" "t" "0";
    fixed "RootDirectoryStartOnly" "b" "no";
    fixed "GuessMainPID" "b" "yes";
    fixed "RestartPreventExitStatus" "(aiai)" "";
    fixed "RestartForceExitStatus" "(aiai)" "";
    fixed "FileDescriptorStoreMax" "u" "0";
    fixed "USBFunctionDescriptors" "s" "";
    fixed "USBFunctionStrings" "s" "";
    fixed "OOMPolicy" "s" "stop";
};

/// systemd.socket(5).
pub static SOCKET: Group<UnitView> = settings! {
    fixed "BindIPv6Only" "s" "default";
    fixed "Backlog" "u" "4096";
    fixed "BindToDevice" "s" "";
    fixed "SocketUser" "s" "";
    fixed "SocketGroup" "s" "";
    fixed "SocketMode" "u" "438";
    fixed "DirectoryMode" "u" "493";
    fixed "FlushPending" "b" "no";
    fixed "Writable" "b" "no";
    fixed "KeepAlive" "b" "no";
    fixed "KeepAliveTimeUSec" "t" "0";
    fixed "KeepAliveIntervalUSec" "t" "0";
    fixed "KeepAliveProbes" "u" "0";
    fixed "DeferAcceptUSec" "t" "0";
    fixed "NoDelay" "b" "no";
    fixed "Priority" "i" "-1";
    fixed "ReceiveBuffer" "t" "0";
    fixed "SendBuffer" "t" "0";
    fixed "IPTOS" "i" "-1";
    fixed "IPTTL" "i" "-1";
    fixed "PipeSize" "t" "0";
    fixed "FreeBind" "b" "no";
    fixed "Transparent" "b" "no";
    fixed "Broadcast" "b" "no";
    fixed "PassCredentials" "b" "no";
    fixed "PassSecurity" "b" "no";
    fixed "PassPacketInfo" "b" "no";
    fixed "Timestamping" "s" "off";
    fixed "RemoveOnStop" "b" "no";
    fixed "Symlinks" "as" "";
    fixed "Mark" "i" "-1";
    fixed "MaxConnections" "u" "64";
    fixed "MaxConnectionsPerSource" "u" "0";
    fixed "MessageQueueMaxMessages" "x" "0";
    fixed "MessageQueueMessageSize" "x" "0";
    fixed "TCPCongestion" "s" "";
    fixed "ReusePort" "b" "no";
    fixed "SmackLabel" "s" "";
    fixed "SmackLabelIPIn" "s" "";
    fixed "SmackLabelIPOut" "s" "";
    fixed "SocketProtocol" "i" "0";
    fixed "TriggerLimitIntervalUSec" "t" "2000000";
    fixed "TriggerLimitBurst" "u" "20";
    stale "ExecStartPre" "a(sasbttttuii)" "";
    stale "ExecStartPost" "a(sasbttttuii)" "";
    stale "ExecStopPre" "a(sasbttttuii)" "";
    stale "ExecStopPost" "a(sasbttttuii)" "";
};

/// systemd.mount(5).
pub static MOUNT: Group<UnitView> = settings! {
    fixed "Where" "s" "";
    live "What" "s" "";
    live "Options" "s" "";
    live "Type" "s" "";
    live "ControlPID" "u" "0";
    fixed "DirectoryMode" "u" "493";
    fixed "SloppyOptions" "b" "no";
    fixed "LazyUnmount" "b" "no";
    fixed "ForceUnmount" "b" "no";
    fixed "ReadWriteOnly" "b" "no";
};

/// systemd.swap(5).
pub static SWAP: Group<UnitView> = settings! {
    live "What" "s" "";
    live "Priority" "i" "-1";
    live "Options" "s" "";
    live "ControlPID" "u" "0";
};

/// systemd.scope(5).
pub static SCOPE: Group<UnitView> = settings! {
    fixed "RuntimeRandomizedExtraUSec" "t" "0";
    fixed "OOMPolicy" "s" "stop";
    fixed "RestartKillSignal" "i" "15";
    fixed "FinalKillSignal" "i" "9";
    fixed "WatchdogSignal" "i" "6";
};

/// systemd.timer(5).
pub static TIMER: Group<UnitView> = settings! {
    fixed "OnClockChange" "b" "no";
    fixed "OnTimezoneChange" "b" "no";
    fixed "FixedRandomDelay" "b" "no";
    fixed "WakeSystem" "b" "no";
    fixed "RemainAfterElapse" "b" "yes";
};

/// systemd.path(5).
pub static PATH: Group<UnitView> = settings! {
    fixed "Unit" "s" "";
    fixed "Paths" "a(ss)" "";
    fixed "MakeDirectory" "b" "no";
    fixed "DirectoryMode" "u" "493";
    fixed "TriggerLimitIntervalUSec" "t" "2000000";
    fixed "TriggerLimitBurst" "u" "200";
};

/// systemd.automount(5).
pub static AUTOMOUNT: Group<UnitView> = settings! {
    fixed "Where" "s" "";
    fixed "ExtraOptions" "s" "";
    fixed "DirectoryMode" "u" "493";
    fixed "TimeoutIdleUSec" "t" "0";
};
