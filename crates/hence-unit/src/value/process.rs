//! Values of a process: signals, niceness, scheduling, resource limits, environment, user names.
//! It sets nothing.

use super::{Allowed, is_space, signed, size, span, unsigned, word};
use crate::config::INFINITY;

/// Signals of Linux by name without `SIG`; the real-time ones are counted from 34 (glibc).
pub const SIGNALS: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// What [`signal`] takes.
pub const SIGNAL: Allowed = "a signal, such as SIGTERM, TERM, 15 or RTMIN+3";

/// A signal by name, with or without `SIG`, as `RTMIN+n` or `RTMAX-n`, or by number.
pub fn signal(text: &str) -> Option<u8> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some(number) = word(name, SIGNALS) {
        return Some(number);
    }
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => unsigned(rest.strip_prefix(sign)?).and_then(|n| u8::try_from(n).ok()),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return offset(rest, '+').and_then(|n| RTMIN.checked_add(n)).filter(|n| *n <= RTMAX);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return offset(rest, '-').and_then(|n| RTMAX.checked_sub(n)).filter(|n| *n >= RTMIN);
    }
    let number = unsigned(text).and_then(|n| u8::try_from(n).ok())?;
    (1..=RTMAX).contains(&number).then_some(number)
}

/// The name of a signal without `SIG`, where it has a fixed one.
pub fn signal_name(number: u8) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// Nice=, -20 to 19.
pub fn nice(text: &str) -> Option<i8> {
    let number = signed(text)?;
    (-20..=19).contains(&number).then_some(number as i8)
}

/// OOMScoreAdjust=, -1000 to 1000.
pub fn oom_score_adjust(text: &str) -> Option<i16> {
    let number = signed(text)?;
    (-1000..=1000).contains(&number).then_some(number as i16)
}

/// CPUSchedulingPolicy= by name or number, as Linux counts the policies.
pub fn scheduling_policy(text: &str) -> Option<u8> {
    let named = word(text, &[("other", 0), ("fifo", 1), ("rr", 2), ("batch", 3), ("idle", 5)]);
    named.or_else(|| unsigned(text).filter(|n| matches!(n, 0..=3 | 5)).map(|n| n as u8))
}

/// IOSchedulingClass= by name or number, as Linux counts the classes.
pub fn scheduling_class(text: &str) -> Option<u8> {
    let named = word(text, &[("none", 0), ("realtime", 1), ("best-effort", 2), ("idle", 3)]);
    named.or_else(|| unsigned(text).filter(|n| *n <= 3).map(|n| n as u8))
}

/// In what a resource limit is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RlimitUnit {
    /// A number.
    Count,
    /// Bytes, with units.
    Bytes,
    /// Seconds; a time span rounded up.
    Seconds,
    /// Microseconds; a time span.
    Microseconds,
    /// A raw number from 1 to 40, or a niceness with its sign.
    Nice,
}

/// Directives of resource limits: name, Linux' number, unit; systemd.exec(5), "Process Properties".
pub const RLIMITS: [(&str, u8, RlimitUnit); 16] = [
    ("LimitCPU", 0, RlimitUnit::Seconds),
    ("LimitFSIZE", 1, RlimitUnit::Bytes),
    ("LimitDATA", 2, RlimitUnit::Bytes),
    ("LimitSTACK", 3, RlimitUnit::Bytes),
    ("LimitCORE", 4, RlimitUnit::Bytes),
    ("LimitRSS", 5, RlimitUnit::Bytes),
    ("LimitNOFILE", 7, RlimitUnit::Count),
    ("LimitAS", 9, RlimitUnit::Bytes),
    ("LimitNPROC", 6, RlimitUnit::Count),
    ("LimitMEMLOCK", 8, RlimitUnit::Bytes),
    ("LimitLOCKS", 10, RlimitUnit::Count),
    ("LimitSIGPENDING", 11, RlimitUnit::Count),
    ("LimitMSGQUEUE", 12, RlimitUnit::Bytes),
    ("LimitNICE", 13, RlimitUnit::Nice),
    ("LimitRTPRIO", 14, RlimitUnit::Count),
    ("LimitRTTIME", 15, RlimitUnit::Microseconds),
];

impl RlimitUnit {
    fn parse(self, text: &str) -> Option<u64> {
        if text == "infinity" && self != RlimitUnit::Nice {
            return Some(INFINITY);
        }
        let finite = match self {
            RlimitUnit::Count => unsigned(text)?,
            RlimitUnit::Bytes => size(text)?,
            RlimitUnit::Seconds => span(text, 1_000_000)?.div_ceil(1_000_000),
            RlimitUnit::Microseconds => span(text, 1)?,
            RlimitUnit::Nice if text.starts_with(['+', '-']) => (20 - i64::from(nice(text)?)) as u64,
            RlimitUnit::Nice => unsigned(text).filter(|n| *n <= 40)?.max(1),
        };
        (finite != INFINITY).then_some(finite)
    }

    /// What it takes.
    pub const fn allowed(self) -> Allowed {
        match self {
            RlimitUnit::Count => "a number or infinity, or soft:hard",
            RlimitUnit::Bytes => "a size such as 64M (powers of 1024) or infinity, or soft:hard",
            RlimitUnit::Seconds => "a time span (bare numbers are seconds) or infinity, or soft:hard",
            RlimitUnit::Microseconds => {
                "a time span (bare numbers are microseconds) or infinity, or soft:hard"
            }
            RlimitUnit::Nice => "a number from 0 to 40, or a niceness from -20 to +19 with its sign",
        }
    }
}

/// A resource limit: `both` or `soft:hard`, the soft one at most the hard one.
pub fn limit_range(text: &str, unit: RlimitUnit) -> Option<(u64, u64)> {
    let (soft, hard) = match text.split_once(':') {
        Some((soft, hard)) => {
            (unit.parse(soft.trim_matches(is_space))?, unit.parse(hard.trim_matches(is_space))?)
        }
        None => {
            let both = unit.parse(text.trim_matches(is_space))?;
            (both, both)
        }
    };
    (soft <= hard).then_some((soft, hard))
}

/// Whether this may be the name of an environment variable.
pub fn variable_name_is_valid(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether this is NAME=VALUE with a valid name, and a value without control characters (tab and line
/// end excepted).
pub fn assignment_is_valid(assignment: &str) -> bool {
    assignment.split_once('=').is_some_and(|(name, value)| {
        variable_name_is_valid(name)
            && !value.chars().any(|c| (c < ' ' || c == '\x7f') && !matches!(c, '\t' | '\n'))
    })
}

/// Whether this may name a user or a group: a number, or a name without what breaks the user database.
/// As systemd takes them in units: rather too much than too little.
pub fn user_name_is_valid(name: &str) -> bool {
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return name.parse::<u32>().is_ok_and(|id| id != u32::MAX && id != 0xFFFF);
    }
    let bad = |c: char| c < ' ' || c == '\x7f' || matches!(c, ':' | '/');
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', ' '])
        && !name.ends_with(' ')
        && !name.chars().any(bad)
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("15", 15),
            ("KILL", 9),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMIN+30", 64),
            ("RTMAX", 64),
            ("SIGRTMAX-1", 63),
            ("64", 64),
        ] {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for bad in
            ["", "SIG", "sigterm", "0", "65", "RTMIN+31", "RTMIN-1", "RTMAX-31", "RTMIN+", "SIG15", "-9"]
        {
            assert_eq!(signal(bad), None, "{bad}");
        }
        assert_eq!(signal_name(15), Some("TERM"));
        assert_eq!(signal_name(40), None);
    }

    #[test]
    fn limits() {
        use RlimitUnit::*;
        for (text, unit, limits) in [
            ("1024", Count, (1024, 1024)),
            ("1024:524288", Count, (1024, 524288)),
            ("infinity", Bytes, (INFINITY, INFINITY)),
            ("64M:infinity", Bytes, (64 << 20, INFINITY)),
            ("500ms", Seconds, (1, 1)),
            ("2min", Seconds, (120, 120)),
            ("7", Microseconds, (7, 7)),
            ("1ms", Microseconds, (1000, 1000)),
            ("+5", Nice, (15, 15)),
            ("-20", Nice, (40, 40)),
            ("0", Nice, (1, 1)),
            ("30", Nice, (30, 30)),
        ] {
            assert_eq!(limit_range(text, unit), Some(limits), "{text}");
        }
        for (bad, unit) in [
            ("", Count),
            ("1K", Count),
            ("2:1", Count),
            ("infinity:1", Count),
            (":", Count),
            ("1:", Count),
            ("-1", Bytes),
            ("41", Nice),
            ("+20", Nice),
            ("infinity", Nice),
        ] {
            assert_eq!(limit_range(bad, unit), None, "{bad}");
        }
    }

    #[test]
    fn priorities() {
        assert_eq!((nice("-20"), nice("19"), nice("20"), nice("x")), (Some(-20), Some(19), None, None));
        assert_eq!((oom_score_adjust("-1000"), oom_score_adjust("1001")), (Some(-1000), None));
        assert_eq!((scheduling_policy("rr"), scheduling_policy("RR")), (Some(2), None));
        assert_eq!(
            (scheduling_class("idle"), scheduling_class("2"), scheduling_class("4")),
            (Some(3), Some(2), None)
        );
    }

    #[test]
    fn names() {
        for good in ["A=", "A=b", "_a1=x y", "A=a=b", "A=t\tn\n", "A=é"] {
            assert!(assignment_is_valid(good), "{good}");
        }
        for bad in ["", "A", "=b", "1A=b", "A-B=c", "A B=c", "A=\u{1}", "é=1"] {
            assert!(!assignment_is_valid(bad), "{bad}");
        }
        for good in ["root", "0", "65534", "www-data", "_x", "a.b", "DOMAIN\\user", "machine$"] {
            assert!(user_name_is_valid(good), "{good}");
        }
        for bad in ["", "-x", "a:b", "a/b", "4294967295", "65535", "a\nb", "."] {
            assert!(!user_name_is_valid(bad), "{bad}");
        }
    }
}
