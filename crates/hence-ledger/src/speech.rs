//! How numbers read: times, durations, sizes, signals, errors, ends of processes.

use crate::word::{Exit, ExitKind};
use alloc::{format, string::String};

/// RFC 3339 in UTC, to the microsecond: `2026-03-01T12:00:05.000000Z`.
pub fn rfc3339(realtime_us: u64) -> String {
    let (seconds, us) = (realtime_us / 1_000_000, realtime_us % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
// Counted in years that begin on 1 March, so that the leap day is the last day of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (civil_day, civil_month) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + era * 400 + u64::from(civil_month <= 2), civil_month, civil_day)
}

/// A length of time with its unit: `5 s`, `2.5 s`, `300 ms`, `4 min`, `3 h`, `12 d`.
pub fn duration(us: u64) -> String {
    match us {
        u64::MAX => "infinity".into(),
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..120_000_000 => {
            let tenths = (us + 50_000) / 100_000;
            if tenths.is_multiple_of(10) {
                format!("{} s", tenths / 10)
            } else {
                format!("{}.{} s", tenths / 10, tenths % 10)
            }
        }
        120_000_000..7_200_000_000 => format!("{} min", us / 60_000_000),
        7_200_000_000..172_800_000_000 => format!("{} h", us / 3_600_000_000),
        _ => format!("{} d", us / 86_400_000_000),
    }
}

/// A size with its unit: `512 B`, `3.0 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = ((63 - bytes.leading_zeros()) / 10) as usize;
    let tenths = u128::from(bytes) * 10 / (1u128 << (10 * power));
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power - 1])
}

/// The name of a signal; signal(7).
pub fn signal(number: i32) -> String {
    match u8::try_from(number).ok().and_then(hence_unit::value::signal_name) {
        Some(name) => format!("SIG{name}"),
        None => format!("signal {number}"),
    }
}

/// What an errno says; errno(3).
pub fn errno(number: i32) -> String {
    let text = match number {
        1 => "operation not permitted",
        2 => "no such file or directory",
        5 => "input/output error",
        7 => "argument list too long",
        8 => "not a format that can be executed",
        11 => "resource temporarily unavailable",
        12 => "out of memory",
        13 => "permission denied",
        16 => "device or resource busy",
        17 => "file exists",
        20 => "not a directory",
        21 => "is a directory",
        22 => "invalid argument",
        24 => "too many open files",
        28 => "no space left on the device",
        30 => "read-only file system",
        98 => "address already in use",
        99 => "address not available",
        _ => return format!("errno {number}"),
    };
    text.into()
}

/// How a process ended, as the predicate of a sentence.
pub fn exit(exit: Exit) -> String {
    match exit.kind {
        ExitKind::Exited => format!("exited with status {}", exit.status),
        ExitKind::Killed => format!("was killed by {}", signal(exit.status)),
        ExitKind::Dumped => format!("was killed by {} and left a core dump", signal(exit.status)),
    }
}

/// A count with its noun: `1 process`, `41 processes`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_and_leap_days() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999999Z"),
            (951_868_800_000_000, "2000-03-01T00:00:00.000000Z"),
            (1_765_356_447_123_456, "2025-12-10T08:47:27.123456Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
            (1_798_761_599_000_000, "2026-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(us), text);
        }
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(duration(5_000_000), "5 s");
        assert_eq!(duration(2_540_000), "2.5 s");
        assert_eq!(duration(4_992_100), "5 s");
        assert_eq!(duration(300_000), "300 ms");
        assert_eq!(duration(240_000_000), "4 min");
        assert_eq!(duration(u64::MAX), "infinity");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(3 << 30), "3.0 GiB");
        assert_eq!(size(u64::MAX), "15.9 EiB");
        assert_eq!(signal(15), "SIGTERM");
        assert_eq!(signal(40), "signal 40");
        assert_eq!(signal(0), "signal 0");
        assert_eq!(exit(Exit { kind: ExitKind::Exited, status: 1 }), "exited with status 1");
    }
}
