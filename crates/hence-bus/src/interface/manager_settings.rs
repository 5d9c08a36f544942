//! Properties of the whole that say how it was configured and how it came up. What hence has no part in (the
//! firmware, an initrd, a watchdog device) is what systemd says of a machine without it.

use super::row::{Group, rows};
use crate::front::ManagerView;

/// Those that are alike on all machines so far, and what follows from others.
pub static SETTINGS: Group<ManagerView> = rows!(
    ManagerView,
    [
        fixed("FirmwareTimestamp", "t", |_| 0u64.into()),
        fixed("FirmwareTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("LoaderTimestamp", "t", |_| 0u64.into()),
        fixed("LoaderTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("SecurityStartTimestamp", "t", |_| 0u64.into()),
        fixed("SecurityStartTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("SecurityFinishTimestamp", "t", |_| 0u64.into()),
        fixed("SecurityFinishTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("GeneratorsStartTimestamp", "t", |_| 0u64.into()),
        fixed("GeneratorsStartTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("GeneratorsFinishTimestamp", "t", |_| 0u64.into()),
        fixed("GeneratorsFinishTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("UnitsLoadTimestamp", "t", |_| 0u64.into()),
        fixed("UnitsLoadTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDSecurityStartTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDSecurityStartTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDSecurityFinishTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDSecurityFinishTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDGeneratorsStartTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDGeneratorsStartTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDGeneratorsFinishTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDGeneratorsFinishTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDUnitsLoadStartTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDUnitsLoadStartTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("InitRDUnitsLoadFinishTimestamp", "t", |_| 0u64.into()),
        fixed("InitRDUnitsLoadFinishTimestampMonotonic", "t", |_| 0u64.into()),
        fixed("ConfirmSpawn", "b", |_| false.into()),
        quiet("ShowStatus", "b", |_| true.into()),
        fixed("DefaultStandardOutput", "s", |_| "journal".into()),
        fixed("DefaultStandardError", "s", |_| "inherit".into()),
        fixed("WatchdogDevice", "s", |_| "".into()),
        quiet("WatchdogLastPingTimestamp", "t", |_| u64::MAX.into()),
        quiet("WatchdogLastPingTimestampMonotonic", "t", |_| u64::MAX.into()),
        quiet("ServiceWatchdogs", "b", |_| true.into()),
        fixed("DefaultTimerAccuracyUSec", "t", |_| 60_000_000u64.into()),
        quiet("DefaultTimeoutAbortUSec", "t", |m| m.default_timeout_stop_us.into()),
        fixed("DefaultDeviceTimeoutUSec", "t", |_| 90_000_000u64.into()),
        fixed("DefaultCPUAccounting", "b", |_| false.into()),
        fixed("DefaultBlockIOAccounting", "b", |_| false.into()),
        fixed("DefaultMemoryAccounting", "b", |_| true.into()),
        fixed("DefaultTasksAccounting", "b", |_| true.into()),
        fixed("TimerSlackNSec", "t", |_| 50_000u64.into()),
        fixed("DefaultOOMPolicy", "s", |_| "stop".into()),
        fixed("DefaultOOMScoreAdjust", "i", |_| 0i32.into()),
        fixed("CtrlAltDelBurstAction", "s", |_| "reboot-force".into()),
    ]
);

macro_rules! limits {
    ($($hard:literal $soft:literal $number:literal,)*) => {
        rows!(ManagerView, [$(
            fixed($hard, "t", |m| m.limits[$number][1].into()),
            fixed($soft, "t", |m| m.limits[$number][0].into()),
        )*])
    };
}

/// setrlimit(2): what units have that set nothing.
pub static LIMITS: Group<ManagerView> = limits! {
    "DefaultLimitCPU" "DefaultLimitCPUSoft" 0,
    "DefaultLimitFSIZE" "DefaultLimitFSIZESoft" 1,
    "DefaultLimitDATA" "DefaultLimitDATASoft" 2,
    "DefaultLimitSTACK" "DefaultLimitSTACKSoft" 3,
    "DefaultLimitCORE" "DefaultLimitCORESoft" 4,
    "DefaultLimitRSS" "DefaultLimitRSSSoft" 5,
    "DefaultLimitNOFILE" "DefaultLimitNOFILESoft" 7,
    "DefaultLimitAS" "DefaultLimitASSoft" 9,
    "DefaultLimitNPROC" "DefaultLimitNPROCSoft" 6,
    "DefaultLimitMEMLOCK" "DefaultLimitMEMLOCKSoft" 8,
    "DefaultLimitLOCKS" "DefaultLimitLOCKSSoft" 10,
    "DefaultLimitSIGPENDING" "DefaultLimitSIGPENDINGSoft" 11,
    "DefaultLimitMSGQUEUE" "DefaultLimitMSGQUEUESoft" 12,
    "DefaultLimitNICE" "DefaultLimitNICESoft" 13,
    "DefaultLimitRTPRIO" "DefaultLimitRTPRIOSoft" 14,
    "DefaultLimitRTTIME" "DefaultLimitRTTIMESoft" 15,
};
