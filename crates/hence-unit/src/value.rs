//! Typed values of directives: booleans, time spans, sizes, shares, modes, signals, exit statuses, limits.
//!
//! Pure text to value, with systemd's own rules; it neither expands specifiers nor looks anything up on
//! the machine. An error is one clause that completes "X= ...": what is allowed. systemd.syntax(7),
//! systemd.time(7), systemd.exec(5), systemd.resource-control(5).

use crate::config::{INFINITY, Limit};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

mod exit_status;
mod path;
mod process;

pub use exit_status::{EXIT_STATUSES, exit_status, exit_status_name};
pub use path::{ABSOLUTE, absolute_path, relative_path, simplify};
pub use process::{
    RLIMITS, RlimitUnit, SIGNAL, SIGNALS, assignment_is_valid, limit_range, nice, oom_score_adjust,
    scheduling_class, scheduling_policy, signal, signal_name, user_name_is_valid, variable_name_is_valid,
};

/// What a value may be, to complete a sentence: "a boolean: ...".
pub type Allowed = &'static str;

/// Microseconds in a second.
pub const SECOND_US: u64 = 1_000_000;

/// What stands between words of a value.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// A boolean; systemd.syntax(7). Letter case does not count.
pub fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text));
    if is(&["1", "yes", "y", "true", "t", "on"]) {
        Some(true)
    } else if is(&["0", "no", "n", "false", "f", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// What [`boolean`] takes.
pub const BOOLEAN: Allowed = "a boolean: yes, no, true, false, on, off, 1 or 0";

/// Names of units of time, in nanoseconds; systemd.time(7), "Parsing Time Spans".
const TIME_UNITS: [(&[&str], u64); 10] = [
    (&["nsec", "ns"], 1),
    (&["usec", "us", "µs", "μs"], 1_000),
    (&["msec", "ms"], 1_000_000),
    (&["seconds", "second", "sec", "s"], 1_000_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000_000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000_000),
    (&["days", "day", "d"], 86_400_000_000_000),
    (&["weeks", "week", "w"], 604_800_000_000_000),
    (&["months", "month", "M"], 2_629_800_000_000_000),
    (&["years", "year", "y"], 31_557_600_000_000_000),
];

/// What [`span`] takes.
pub const SPAN: Allowed = "a time span, such as 5min 20s, 90 (seconds) or infinity";

/// A time span in microseconds; a number without a unit counts `bare_us` microseconds.
/// [`INFINITY`] for `infinity`. `None` where it is no span or too long.
pub fn span(text: &str, bare_us: u64) -> Option<u64> {
    scaled_span(text, bare_us, 1_000)
}

/// A time span in nanoseconds, bare numbers too; TimerSlackNSec=.
pub fn span_ns(text: &str) -> Option<u64> {
    scaled_span(text, 1, 1)
}

/// A span in units of `ns_per_unit` nanoseconds, with `bare` of them for a number without a unit.
fn scaled_span(text: &str, bare: u64, ns_per_unit: u64) -> Option<u64> {
    let mut rest = text.trim_matches(is_space);
    if rest == "infinity" {
        return Some(INFINITY);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let signless = rest.strip_prefix('+').unwrap_or(rest);
        let (whole, after) = digits(signless);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(tail) => {
                let (fraction, after) = digits(tail);
                if fraction.is_empty() {
                    return None;
                }
                (fraction, after)
            }
            None if whole.is_empty() => return None,
            None => ("", after),
        };
        let after = after.trim_start_matches(is_space);
        let (unit, after) = time_unit(after, ns_per_unit);
        let unit = unit.unwrap_or(bare);
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? as u64 };
        total = total.checked_add(whole.checked_mul(unit)?)?;
        let mut part = unit;
        for digit in fraction.bytes() {
            part /= 10;
            total = total.checked_add(part * u64::from(digit - b'0'))?;
        }
        rest = after.trim_start_matches(is_space);
    }
    if total == INFINITY { None } else { Some(total) }
}

/// The unit that `text` starts with, in units of `ns_per_unit`, and what follows. The longest name counts.
fn time_unit(text: &str, ns_per_unit: u64) -> (Option<u64>, &str) {
    let mut best: Option<(&str, u64)> = None;
    for (names, ns) in TIME_UNITS {
        if ns < ns_per_unit {
            continue;
        }
        for name in names {
            if text.starts_with(name) && best.is_none_or(|(b, _)| name.len() > b.len()) {
                best = Some((name, ns / ns_per_unit));
            }
        }
    }
    match best {
        Some((name, unit)) => (Some(unit), &text[name.len()..]),
        None => (None, text),
    }
}

/// The ASCII digits that `text` starts with, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// What [`size`] takes.
pub const SIZE: Allowed = "a size in bytes, with K, M, G, T, P or E for powers of 1024";

const SIZE_UNITS: [(&str, u64); 7] = [
    ("E", 1 << 60),
    ("P", 1 << 50),
    ("T", 1 << 40),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("B", 1),
];

/// A size in bytes: `512`, `1.5G`, `1G 500M`. Units must become smaller from part to part.
pub fn size(text: &str) -> Option<u64> {
    let mut rest = text.trim_start_matches(is_space);
    let mut total: u64 = 0;
    let mut allowed = 0;
    loop {
        let signless = rest.strip_prefix('+').unwrap_or(rest);
        let (whole, after) = digits(signless);
        if whole.is_empty() || allowed > SIZE_UNITS.len() {
            return None;
        }
        let (fraction, after) = match after.strip_prefix('.') {
            Some(tail) => digits(tail),
            None => ("", after),
        };
        let after = after.trim_start_matches(is_space);
        let found =
            SIZE_UNITS.iter().enumerate().skip(allowed).find(|(_, (name, _))| after.starts_with(name));
        let (unit, next, after) = match found {
            Some((i, (name, unit))) => (*unit, i + 1, &after[name.len()..]),
            None => (1, SIZE_UNITS.len() + 1, after),
        };
        total = total.checked_add(whole.parse::<u64>().ok()?.checked_mul(unit)?)?;
        total = total.checked_add(fraction_of(fraction, unit))?;
        allowed = next;
        rest = after.trim_start_matches(is_space);
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// `0.DIGITS` of `unit`, rounded down. Digits beyond the sixteenth can't count.
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut part, mut scale) = (0u128, 1u128);
    for digit in digits.bytes().take(16) {
        part = part * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    u64::try_from(part * u128::from(unit) / scale).unwrap_or(0)
}

/// What [`share`] takes.
pub const SHARE: Allowed = "a percentage with up to two decimals, such as 12.5%";

/// A percentage (also `‰` and `‱`) in hundredths of a percent, without an upper bound.
pub fn share(text: &str) -> Option<u32> {
    let (number, decimals) = match () {
        () if text.ends_with('%') => (text.strip_suffix('%')?, 2),
        () if text.ends_with('‰') => (text.strip_suffix('‰')?, 1),
        () => (text.strip_suffix('‱')?, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    if fraction.len() > decimals || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = u32::try_from(unsigned(whole)?).ok()?;
    let mut fraction = fraction.bytes();
    for _ in 0..decimals {
        let digit = fraction.next().map_or(0, |b| u32::from(b - b'0'));
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    i32::try_from(value).ok()?;
    Some(value)
}

/// What [`limit`] takes for memory.
pub const MEMORY_LIMIT: Allowed =
    "a size such as 512M (K, M, G, T are powers of 1024), a percentage of the memory, or infinity";

/// A limit of memory: a size, a share of at most all of it, or `infinity`.
pub fn memory_limit(text: &str) -> Option<Limit> {
    limit(text, size)
}

/// What [`tasks_limit`] takes.
pub const TASKS_LIMIT: Allowed = "a number above 0, a percentage of the system's limit, or infinity";

/// TasksMax=
pub fn tasks_limit(text: &str) -> Option<Limit> {
    limit(text, unsigned).filter(|l| !matches!(l, Limit::Absolute(0) | Limit::Share(0)))
}

fn limit(text: &str, number: fn(&str) -> Option<u64>) -> Option<Limit> {
    if text == "infinity" {
        return Some(Limit::Absolute(INFINITY));
    }
    if let Some(share) = share(text) {
        return (share <= 10_000).then_some(Limit::Share(share));
    }
    number(text).filter(|n| *n != INFINITY).map(Limit::Absolute)
}

/// A number: decimal, or hexadecimal (`0x`), octal (`0o` or a leading `0`) or binary (`0b`), as systemd
/// takes it.
pub fn unsigned(text: &str) -> Option<u64> {
    let text = text.trim_start_matches(is_space);
    let text = text.strip_prefix('+').unwrap_or(text);
    let based = |digits: &str, base| {
        if digits.starts_with('+') { None } else { u64::from_str_radix(digits, base).ok() }
    };
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return based(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0b") {
        return based(digits, 2);
    }
    match text.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => based(digits, 8),
        _ => based(text, 10),
    }
}

/// A number that may be negative.
pub fn signed(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(is_space);
    match text.strip_prefix('-') {
        Some(digits) if !digits.starts_with(['+', ' ', '\t']) => {
            let value = i128::from(unsigned(digits)?);
            i64::try_from(-value).ok()
        }
        Some(_) => None,
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

/// What [`mode`] takes.
pub const MODE: Allowed = "an octal file mode up to 7777, such as 0644";

/// An octal mode.
pub fn mode(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > 16 || !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777)
}

/// A word of a table, with its value.
pub fn word<T: Copy>(text: &str, table: &[(&'static str, T)]) -> Option<T> {
    table.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

/// "one of a, b or c", for a diagnostic.
pub fn one_of<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.to_string(),
        Some((last, first)) => format!("one of {} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for yes in ["1", "yes", "y", "true", "t", "on", "YES", "On"] {
            assert_eq!(boolean(yes), Some(true), "{yes}");
        }
        for no in ["0", "no", "n", "false", "f", "off", "OFF"] {
            assert_eq!(boolean(no), Some(false), "{no}");
        }
        for bad in ["", "2", "ja", "yes ", "01"] {
            assert_eq!(boolean(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans() {
        // What `systemd-analyze timespan` of 252 says.
        for (text, us) in [
            ("+5s", 5_000_000),
            ("5 20", 25_000_000),
            (".5s", 500_000),
            ("1h30m", 5_400_000_000),
            ("5 min20s", 320_000_000),
            ("5min 20s", 320_000_000),
            ("1.5", 1_500_000),
            ("1y", 31_557_600_000_000),
            ("1M", 2_629_800_000_000),
            ("1month", 2_629_800_000_000),
            ("infinity", INFINITY),
            (" infinity", INFINITY),
            ("0.0000001s", 0),
            ("5µs", 5),
            ("5μs", 5),
            ("1.123456789s", 1_123_456),
            ("1 .5s", 1_500_000),
            ("1.9999999us", 1),
            ("0", 0),
        ] {
            assert_eq!(span(text, SECOND_US), Some(us), "{text}");
        }
        for bad in [
            "",
            "1.",
            "1e3",
            "infinity 5",
            "5mo",
            "-1",
            "1.s",
            "1. 5s",
            "0x10",
            "99999999999y",
            "18446744073709551614us",
            "s",
            "five",
        ] {
            assert_eq!(span(bad, SECOND_US), None, "{bad}");
        }
        assert_eq!(span("5", 1), Some(5));
        assert_eq!(span("5s", 1), Some(5_000_000));
        assert_eq!(span_ns("50"), Some(50));
        assert_eq!(span_ns("50us"), Some(50_000));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("1K", 1024),
            ("1.5G", 3 << 29),
            ("1G 500M", (1 << 30) + (500 << 20)),
            ("3B", 3),
            ("2 M", 2 << 20),
            ("1M10", (1 << 20) + 10),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1X", "1M 1G", "1K 1K", "16E", "1 2", "1.5.5", "1KB2KB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn shares_and_limits() {
        for (text, value) in [
            ("0%", 0),
            ("50%", 5000),
            ("12.5%", 1250),
            ("12.34%", 1234),
            ("200%", 20_000),
            ("5‰", 50),
            ("7‱", 7),
        ] {
            assert_eq!(share(text), Some(value), "{text}");
        }
        for bad in ["", "%", "50", "1.234%", "-5%", "1.%", "99999999999%", "a%"] {
            assert_eq!(share(bad), None, "{bad}");
        }
        assert_eq!(memory_limit("1G"), Some(Limit::Absolute(1 << 30)));
        assert_eq!(memory_limit("infinity"), Some(Limit::Absolute(INFINITY)));
        assert_eq!(memory_limit("80%"), Some(Limit::Share(8000)));
        assert_eq!(memory_limit("101%"), None);
        assert_eq!(tasks_limit("100"), Some(Limit::Absolute(100)));
        assert_eq!(tasks_limit("0"), None);
        assert_eq!(tasks_limit("1K"), None);
    }

    #[test]
    fn numbers_and_modes() {
        for (text, value) in [
            ("0", 0),
            ("10", 10),
            ("+7", 7),
            ("0x1F", 31),
            ("017", 15),
            ("0o17", 15),
            ("0b101", 5),
            (" 3", 3),
        ] {
            assert_eq!(unsigned(text), Some(value), "{text}");
        }
        for bad in ["", "-1", "08", "1 ", "1a", "++1", "0x", "0x+1", "18446744073709551616"] {
            assert_eq!(unsigned(bad), None, "{bad}");
        }
        assert_eq!(signed("-19"), Some(-19));
        assert_eq!(signed("5"), Some(5));
        assert_eq!(signed("- 5"), None);
        assert_eq!(signed("-9223372036854775808"), Some(i64::MIN));
        for (text, value) in [("0644", Some(0o644)), ("7777", Some(0o7777)), ("00755", Some(0o755))] {
            assert_eq!(mode(text), value);
        }
        for bad in ["", "0o644", "8", "10000", "rw", "-1"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
    }

    #[test]
    fn words_of_a_sentence() {
        assert_eq!(one_of(["a"].into_iter()), "a");
        assert_eq!(one_of(["a", "b", "c"].into_iter()), "one of a, b or c");
    }
}
