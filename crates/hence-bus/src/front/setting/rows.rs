//! The table of properties whose directive has another name, or whose value another form, than the
//! property says by itself.

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `s` as it is, percent signs doubled.
    Text,
    /// `as` as quoted words of one line.
    Words,
    /// `as`, each on a line of its own.
    Each,
    /// `b`.
    Flag,
    /// Any number; the largest of 64 bits is infinity.
    Number,
    /// `t`: microseconds.
    Span,
    /// `t`: nanoseconds.
    SpanNs,
    /// `u`: a file mode.
    Octal,
    /// `i`: a signal.
    Signal,
    /// `u`: a share of 2^32 - 1.
    Share,
    /// `t`: microseconds per second.
    Quota,
    /// `t`: a weight; the largest number takes it away.
    Weight,
    /// `t`: a resource limit.
    Limit,
    /// `a(sasb)` or `a(sasas)`: command lines.
    Commands,
    /// `(aiai)`: exit statuses and signals.
    Statuses,
    /// `a(ss)`: directive and value. A prefix is put before the directive.
    Named,
    /// `a(st)`: directive and microseconds.
    NamedSpans,
    /// `a(sb)`: a path, and whether it may be missing.
    Optional,
    /// `a(sbbs)`: conditions.
    Tests,
    /// `a(ss)` or `a(st)`: two words on a line.
    Pairs,
    /// `a(ss)`: two words on a line, with a colon between them.
    Joined,
    /// `a(st)`: a path and microseconds.
    TimedPairs,
    /// `a(iayu)`: networks.
    Networks,
    /// `ay`: a set of numbers as bits.
    Bits,
    /// `ay`, in base 64.
    Base64,
    /// `s` after this and a colon.
    Prefixed(&'static str),
    /// `(bas)`: words, with `~` before the first where they are what is not allowed.
    Filter,
    /// A number that stands for words.
    Coded,
    /// `a(say)`: credentials.
    Credentials,
}

/// Property, directive (empty: of the same name), form.
type Row = (&'static str, &'static str, How);

macro_rules! same {
    ($how:ident: $($name:literal)*) => { [$(($name, "", How::$how)),*] };
}

const fn joined<const N: usize>(parts: &[&[Row]]) -> [Row; N] {
    let mut rows = [("", "", How::Text); N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut index = 0;
        while index < parts[part].len() {
            rows[at] = parts[part][index];
            at += 1;
            index += 1;
        }
        part += 1;
    }
    rows
}

const PARTS: &[&[Row]] = &[
    &same!(Each: "Requires" "Requisite" "Wants" "BindsTo" "PartOf" "Upholds" "Conflicts" "Before" "After"
        "OnSuccess" "OnFailure" "PropagatesReloadTo" "ReloadPropagatedFrom" "PropagatesStopTo"
        "StopPropagatedFrom" "JoinsNamespaceOf" "RequiresMountsFor" "Documentation"),
    &same!(Octal: "UMask" "SocketMode" "DirectoryMode" "RuntimeDirectoryMode" "StateDirectoryMode"
        "CacheDirectoryMode" "LogsDirectoryMode" "ConfigurationDirectoryMode"),
    &same!(Signal: "KillSignal" "RestartKillSignal" "FinalKillSignal" "WatchdogSignal"),
    &same!(Weight: "CPUWeight" "StartupCPUWeight" "IOWeight" "StartupIOWeight"),
    &same!(Commands: "ExecCondition" "ExecStartPre" "ExecStart" "ExecStartPost" "ExecReload" "ExecStop"
        "ExecStopPre" "ExecStopPost"),
    &same!(Statuses: "SuccessExitStatus" "RestartPreventExitStatus" "RestartForceExitStatus"),
    &same!(Pairs: "DeviceAllow" "IODeviceWeight" "IOReadBandwidthMax" "IOWriteBandwidthMax" "IOReadIOPSMax"
        "IOWriteIOPSMax" ),
    &same!(Joined: "TemporaryFileSystem" "LoadCredential" "BPFProgram"),
    &same!(Share: "ManagedOOMMemoryPressureLimit"),
    &same!(Networks: "IPAddressAllow" "IPAddressDeny"),
    &same!(Bits: "AllowedCPUs" "StartupAllowedCPUs" "AllowedMemoryNodes" "StartupAllowedMemoryNodes"
        "CPUAffinity" "NUMAMask"),
    &same!(Coded: "SystemCallErrorNumber" "SecureBits" "NUMAPolicy" "CoredumpFilter" "RestrictNamespaces"),
    &same!(Filter: "SystemCallFilter" "SystemCallLog" "RestrictAddressFamilies" "RestrictFileSystems"
        "RestrictNetworkInterfaces"),
    &[
        ("ExecConditionEx", "ExecCondition", How::Commands),
        ("ExecStartPreEx", "ExecStartPre", How::Commands),
        ("ExecStartEx", "ExecStart", How::Commands),
        ("ExecStartPostEx", "ExecStartPost", How::Commands),
        ("ExecReloadEx", "ExecReload", How::Commands),
        ("ExecStopEx", "ExecStop", How::Commands),
        ("ExecStopPostEx", "ExecStopPost", How::Commands),
        ("CPUQuotaPerSecUSec", "CPUQuota", How::Quota),
        ("IODeviceLatencyTargetUSec", "IODeviceLatencyTargetSec", How::TimedPairs),
        ("TimerSlackNSec", "", How::SpanNs),
        ("TimersMonotonic", "", How::NamedSpans),
        ("TimersCalendar", "", How::Named),
        ("Paths", "", How::Named),
        ("Listen", "Listen", How::Named),
        ("EnvironmentFiles", "EnvironmentFile", How::Optional),
        ("Conditions", "Condition", How::Tests),
        ("Asserts", "Assert", How::Tests),
        ("StandardInputFileDescriptorName", "StandardInput", How::Prefixed("fd")),
        ("StandardOutputFileDescriptorName", "StandardOutput", How::Prefixed("fd")),
        ("StandardErrorFileDescriptorName", "StandardError", How::Prefixed("fd")),
        ("StandardInputFile", "StandardInput", How::Prefixed("file")),
        ("StandardOutputFile", "StandardOutput", How::Prefixed("file")),
        ("StandardErrorFile", "StandardError", How::Prefixed("file")),
        ("StandardOutputFileToAppend", "StandardOutput", How::Prefixed("append")),
        ("StandardErrorFileToAppend", "StandardError", How::Prefixed("append")),
        ("StandardOutputFileToTruncate", "StandardOutput", How::Prefixed("truncate")),
        ("StandardErrorFileToTruncate", "StandardError", How::Prefixed("truncate")),
        ("StandardInputData", "", How::Base64),
        ("SetCredential", "", How::Credentials),
        ("ExecSearchPath", "", How::Each),
        ("DelegateControllers", "Delegate", How::Words),
    ],
];

const fn count() -> usize {
    let (mut part, mut sum) = (0, 0);
    while part < PARTS.len() {
        sum += PARTS[part].len();
        part += 1;
    }
    sum
}

/// Every row.
pub const ROWS: [Row; count()] = joined(PARTS);
