//! CapabilityBoundingSet=, AmbientCapabilities= and CPUAffinity=: sets that are written as lists.

use super::{
    Loading, Outcome,
    typed::{context, list, put},
};
use crate::{syntax::Assignment, value};
use alloc::{format, string::String};

/// The capabilities of Linux by number, without `CAP_`; capabilities(7).
pub const NAMES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];
/// The highest processor that can be named.
const PROCESSORS: u64 = 1023;

/// A capability's number by its name, in upper or lower case, or by number.
fn capability(text: &str) -> Option<u32> {
    if let Some(number) = value::unsigned(text) {
        return u32::try_from(number).ok().filter(|n| *n <= 62);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_")?;
    NAMES.iter().position(|known| *known == name).map(|at| at as u32)
}

/// Takes a list, which `~` inverts, into the set that is there: what it is before any list is `initial`.
fn set(
    loading: &mut Loading<'_>,
    assignment: &Assignment,
    (now, initial): (u64, u64),
    put_back: impl Fn(&mut crate::ExecConfig, u64),
) -> Outcome {
    let inverted = assignment.value.starts_with('~');
    let mut sum = 0;
    let value = assignment.value.trim_start_matches('~').trim_start();
    let rest = Assignment { value: value.into(), ..assignment.clone() };
    let take = |word: String| {
        capability(&word).ok_or_else(|| format!("{word:?} is not a capability such as CAP_NET_RAW"))
    };
    let outcome = list(loading, &rest, take, |_, number| sum |= number.map_or(0, |n| 1 << n));
    if matches!(outcome, Outcome::Rejected) {
        return outcome;
    }
    let result = match (sum == 0 || now == initial, inverted) {
        (true, true) => !sum,
        (true, false) => sum,
        (false, true) => now & !sum,
        (false, false) => now | sum,
    };
    put(loading, context, |c| put_back(c, result));
    if assignment.value.is_empty() { Outcome::Reset } else { Outcome::Added }
}

/// CapabilityBoundingSet=
pub(super) fn bounding(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let now = context(loading.config).and_then(|c| c.capability_bounding_set).unwrap_or(u64::MAX);
    set(loading, assignment, (now, u64::MAX), |c, v| {
        c.capability_bounding_set = Some(v).filter(|v| *v != u64::MAX);
    })
}

/// AmbientCapabilities=
pub(super) fn ambient(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let now = context(loading.config).map_or(0, |c| c.ambient_capabilities);
    set(loading, assignment, (now, 0), |c, v| c.ambient_capabilities = v)
}

/// `3` or `0-3`.
pub(super) fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| value::unsigned(text).filter(|n| *n <= PROCESSORS).map(|n| n as u16);
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// CPUAffinity=; several are merged.
pub(super) fn affinity(loading: &mut Loading<'_>, assignment: &Assignment) -> Outcome {
    let spaced = assignment.value.replace(',', " ");
    let spaced = Assignment { value: spaced.into(), ..assignment.clone() };
    let take = |word: String| {
        range(&word).ok_or_else(|| format!("{word:?} is not a processor or a range of them, such as 0-3"))
    };
    list(loading, &spaced, take, |config, range| {
        let Some(context) = context(config) else {
            return;
        };
        match range {
            None => context.cpu_affinity.clear(),
            Some((first, last)) => context.cpu_affinity.extend(first..=last),
        }
        context.cpu_affinity.sort_unstable();
        context.cpu_affinity.dedup();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ranges() {
        assert_eq!(capability("CAP_CHOWN"), Some(0));
        assert_eq!(capability("cap_net_raw"), Some(13));
        assert_eq!(capability("40"), Some(40));
        assert_eq!(capability("CAP_CHECKPOINT_RESTORE"), Some(40));
        for bad in ["", "CHOWN", "CAP_", "CAP_NOTHING", "63", "-1", "~CAP_KILL"] {
            assert_eq!(capability(bad), None, "{bad}");
        }
        assert_eq!((range("0"), range("2-5")), (Some((0, 0)), Some((2, 5))));
        for bad in ["", "-", "5-2", "1-", "1024", "a", "numa"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
