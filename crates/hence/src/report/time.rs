//! Times as people read and write them, in the machine's time zone. systemd.time(7) has the forms; a time of
//! day without a date is the last such time rather than today's, for questions are about the past.

use crate::exit::{Trouble, USAGE};
use hence_ledger::Stamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// The forms, for `--help`.
pub const HELP: &str = "\
TIME is one of:
  10:15, 10:15:30                        the last time it was that late
  2026-11-22, '2026-11-22 10:15[:30]'    a day's beginning, a time of it
  2026-11-22T10:15:30Z, ...+01:00        RFC 3339
  -5min, '2 hours ago', '1h 30min ago'   before now
  now, today, yesterday, @SECONDS        @ counts from 1970
It is a time of the machine's zone, or of TZ; ' UTC' may follow.";

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const UNITS: [(&str, u64); 26] = [
    ("us", 1),
    ("usec", 1),
    ("ms", 1000),
    ("msec", 1000),
    ("s", SECOND),
    ("sec", SECOND),
    ("second", SECOND),
    ("seconds", SECOND),
    ("m", MINUTE),
    ("min", MINUTE),
    ("minute", MINUTE),
    ("minutes", MINUTE),
    ("h", HOUR),
    ("hr", HOUR),
    ("hour", HOUR),
    ("hours", HOUR),
    ("d", DAY),
    ("day", DAY),
    ("days", DAY),
    ("w", 7 * DAY),
    ("week", 7 * DAY),
    ("weeks", 7 * DAY),
    ("M", 30 * DAY + 10 * HOUR + 30 * MINUTE),
    ("month", 30 * DAY + 10 * HOUR + 30 * MINUTE),
    ("months", 30 * DAY + 10 * HOUR + 30 * MINUTE),
    ("y", 365 * DAY + 6 * HOUR),
];

/// The present and the time zone.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The present.
    pub now: Stamp,
    zone: TimeZone,
}

impl Clock {
    /// The machine's.
    pub fn here() -> Clock {
        let since_1970 =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let realtime_us = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
        Clock { now: Stamp { realtime_us, monotonic_us: 0 }, zone: TimeZone::system() }
    }

    /// The same zone with another present.
    pub fn at(self, now: Stamp) -> Clock {
        Clock { now, ..self }
    }

    fn civil(&self, realtime_us: u64) -> DateTime {
        let us = i64::try_from(realtime_us).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
        self.zone.to_datetime(timestamp)
    }

    /// `2026-11-22 10:15:30`
    pub fn full(&self, realtime_us: u64) -> String {
        self.civil(realtime_us).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// As strftime(3) writes it in this form; `%z` is the zone's offset.
    pub fn form(&self, realtime_us: u64, form: &str) -> String {
        let us = i64::try_from(realtime_us).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MAX);
        timestamp.to_zoned(self.zone.clone()).strftime(form).to_string()
    }

    /// `2026-11-22`
    pub fn date(&self, realtime_us: u64) -> String {
        self.civil(realtime_us).strftime("%Y-%m-%d").to_string()
    }

    /// `10:15:30`, with the date where it is not today's.
    pub fn short(&self, realtime_us: u64) -> String {
        match self.civil(realtime_us).date() == self.civil(self.now.realtime_us).date() {
            true => self.civil(realtime_us).strftime("%H:%M:%S").to_string(),
            false => self.full(realtime_us),
        }
    }

    /// What the zone is called now: `CET`, `UTC`.
    pub fn zone(&self) -> String {
        let us = i64::try_from(self.now.realtime_us).unwrap_or_default();
        let now = Timestamp::from_microsecond(us).unwrap_or_default();
        self.zone.to_offset_info(now).abbreviation().to_owned()
    }

    /// The beginning of the time that a text names.
    pub fn parse(&self, text: &str) -> Result<Stamp, Trouble> {
        let us = self.read(text.trim()).ok_or_else(|| {
            Trouble::new(
                USAGE,
                format!(
                    "`{text}` is no time that hence knows\n\
                     write it as 10:15, '2026-11-22 10:15:30', 2026-11-22T10:15:30Z, -5min or '2 hours ago'"
                ),
            )
        })?;
        Ok(Stamp { realtime_us: us, monotonic_us: 0 })
    }

    /// The end of the time that a text names: where it names a second, all of it.
    pub fn parse_end(&self, text: &str) -> Result<Stamp, Trouble> {
        let mut stamp = self.parse(text)?;
        if stamp.realtime_us.is_multiple_of(SECOND) {
            stamp.realtime_us += SECOND - 1;
        }
        Ok(stamp)
    }

    fn read(&self, text: &str) -> Option<u64> {
        if let Some(span) = text.strip_prefix('-') {
            return self.now.realtime_us.checked_sub(duration(span)?);
        }
        if let Some(span) = text.strip_suffix(" ago") {
            return self.now.realtime_us.checked_sub(duration(span)?);
        }
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse::<u64>().ok()?.checked_mul(SECOND).filter(|us| *us < 1 << 62);
        }
        if let Some(rest) = text.strip_suffix(" UTC") {
            return Clock { zone: TimeZone::UTC, ..self.clone() }.read(rest);
        }
        let today = self.civil(self.now.realtime_us).date();
        match text {
            "now" => return Some(self.now.realtime_us),
            "today" => return self.us(today.at(0, 0, 0, 0)),
            "yesterday" => return self.us(today.yesterday().ok()?.at(0, 0, 0, 0)),
            _ => {}
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return u64::try_from(timestamp.as_microsecond()).ok();
        }
        let known = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | ' ' | 'T');
        if !text.chars().all(known) || text.starts_with(|c: char| !c.is_ascii_digit()) {
            return None;
        }
        match (text.contains('-'), text.contains(':')) {
            (true, true) => self.us(text.parse::<DateTime>().ok()?),
            (true, false) => self.us(text.parse::<Date>().ok()?.at(0, 0, 0, 0)),
            (false, true) => {
                let time = text.parse::<Time>().ok()?;
                let at = today.to_datetime(time);
                let us = self.us(at)?;
                if us > self.now.realtime_us { self.us(at.checked_sub(1.day()).ok()?) } else { Some(us) }
            }
            (false, false) => None,
        }
    }

    fn us(&self, at: DateTime) -> Option<u64> {
        u64::try_from(self.zone.to_timestamp(at).ok()?.as_microsecond()).ok()
    }
}

/// Microseconds of `5min`, `2 hours`, `1h 30min`; a number without a unit is seconds.
fn duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut sum = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "" => SECOND,
            name => UNITS.iter().find(|(known, _)| *known == name)?.1,
        };
        rest = rest[letters..].trim_start();
        sum = sum.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// A length of time as people say it: `300 ms`, `5 s`, `4 min`, `2 h 10 min`, `3 d 4 h`.
pub fn span(us: u64) -> String {
    let two = |big: u64, name: &str, small: u64, small_name: &str| match small {
        0 => format!("{big} {name}"),
        _ => format!("{big} {name} {small} {small_name}"),
    };
    match us {
        0..1000 => format!("{us} us"),
        1000..SECOND => format!("{} ms", us / 1000),
        SECOND..MINUTE => format!("{} s", us / SECOND),
        MINUTE..HOUR if us < 10 * MINUTE && us % MINUTE >= SECOND => {
            two(us / MINUTE, "min", us % MINUTE / SECOND, "s")
        }
        MINUTE..HOUR => format!("{} min", us / MINUTE),
        HOUR..DAY => two(us / HOUR, "h", us % HOUR / MINUTE, "min"),
        _ if us < 14 * DAY => two(us / DAY, "d", us % DAY / HOUR, "h"),
        _ => format!("{} d", us / DAY),
    }
}

/// A period, to a tenth of a second where it is short: `5.0 s`, `2 h 10 min`.
pub fn period(us: u64) -> String {
    match us {
        SECOND..MINUTE => {
            let tenths = (us + 50_000) / 100_000;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        _ => span(us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22 03:30:00 in Berlin, an hour ahead of UTC.
    fn clock() -> Clock {
        let now = Stamp { realtime_us: 1_795_314_600 * SECOND, monotonic_us: 0 };
        Clock { now, zone: TimeZone::fixed(jiff::tz::offset(1)) }
    }

    #[test]
    fn times_are_read_as_they_are_meant() {
        let clock = clock();
        assert_eq!(clock.full(clock.now.realtime_us), "2026-11-22 03:30:00");
        for (text, read) in [
            ("now", "2026-11-22 03:30:00"),
            ("today", "2026-11-22 00:00:00"),
            ("yesterday", "2026-11-21 00:00:00"),
            ("03:15", "2026-11-22 03:15:00"),
            ("23:50:10", "2026-11-21 23:50:10"),
            ("2026-11-20", "2026-11-20 00:00:00"),
            ("2026-11-20 10:15", "2026-11-20 10:15:00"),
            ("2026-11-20T10:15:30", "2026-11-20 10:15:30"),
            ("2026-11-20 10:15:30.25", "2026-11-20 10:15:30"),
            ("2026-11-20T10:15:30Z", "2026-11-20 11:15:30"),
            ("2026-11-20T10:15:30+03:00", "2026-11-20 08:15:30"),
            ("2026-11-20 10:15 UTC", "2026-11-20 11:15:00"),
            ("-5min", "2026-11-22 03:25:00"),
            ("-90", "2026-11-22 03:28:30"),
            ("2 hours ago", "2026-11-22 01:30:00"),
            ("1h 30min ago", "2026-11-22 02:00:00"),
            ("1h30min ago", "2026-11-22 02:00:00"),
            ("@1795314600", "2026-11-22 03:30:00"),
        ] {
            let stamp = clock.parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(clock.full(stamp.realtime_us), read, "{text}");
        }
        let bad = [
            "",
            "-",
            "soon",
            "25:00",
            "10:61",
            "2026-13-01",
            "2026-02-30 10:00",
            "5 parsecs ago",
            "10",
            " ago",
            "-99999999999999999999",
            "@-1",
            "@99999999999999999999",
            "-5000y",
            "2026-11-20 10:15 CET",
            "\u{e9}",
            "+5min",
            "-éh",
            "10:15:30:40",
        ];
        for text in bad {
            assert!(clock.parse(text).is_err(), "{text} was read as {:?}", clock.parse(text));
        }
    }

    #[test]
    fn a_named_second_is_meant_whole() {
        let clock = clock();
        assert_eq!(clock.parse_end("03:15:30").unwrap().realtime_us % SECOND, SECOND - 1);
        assert_eq!(clock.parse_end("2026-11-20 10:15:30.25").unwrap().realtime_us % SECOND, 250_000);
    }

    #[test]
    fn lengths_of_time() {
        for (us, text) in [
            (300, "300 us"),
            (2 * SECOND, "2 s"),
            (3 * MINUTE + 35 * SECOND, "3 min 35 s"),
            (240 * SECOND, "4 min"),
            (20 * MINUTE + SECOND, "20 min"),
            (2 * HOUR + 10 * MINUTE, "2 h 10 min"),
            (3 * HOUR, "3 h"),
            (DAY + HOUR, "1 d 1 h"),
            (300 * DAY, "300 d"),
        ] {
            assert_eq!(span(us), text);
        }
        assert_eq!(period(4_991_000), "5.0 s");
        assert_eq!(period(24 * HOUR), "1 d");
    }
}
