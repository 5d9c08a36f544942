//! Calendar expressions: normal forms, errors with their places, and, where there is a `systemd-analyze`,
//! random expressions as it reads and times them.

use hence_unit::calendar::{Calendar, CalendarZone, Civil, Utc, Zone};
use std::fmt::Write;
use std::process::Command;

/// 2026-11-22 10:00:00 UTC, a Sunday.
const BASE_US: u64 = 1_795_341_600_000_000;

fn normal(text: &str) -> String {
    Calendar::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

#[test]
fn expressions_have_a_normal_form() {
    for (text, form) in [
        ("Mon..Wed,Sat", "Mon..Wed,Sat *-*-* 00:00:00"),
        ("mon,Tuesday 10:00", "Mon,Tue *-*-* 10:00:00"),
        ("Sat,Thu,Mon..Wed,Sat..Sun", "Mon..Thu,Sat,Sun *-*-* 00:00:00"),
        ("Mon-Fri", "Mon..Fri *-*-* 00:00:00"),
        ("10-5", "*-10-05 00:00:00"),
        ("2026-02~03", "2026-02~03 00:00:00"),
        ("*-*~07/1", "*-*~07/1 00:00:00"),
        ("1..5/2:00", "*-*-* 01..05/2:00:00"),
        ("0..23/4:00", "*-*-* 00..20/4:00:00"),
        ("9..12/5:00", "*-*-* 09:00:00"),
        ("1,3,2,3:00", "*-*-* 01,02,03:00:00"),
        ("22..23,0..4:*", "*-*-* 00..04,22..23:*:00"),
        ("00:00:00.5", "*-*-* 00:00:00.500000"),
        ("10:00:00.1234567", "*-*-* 10:00:00.123457"),
        ("*:*:0/0.5", "*-*-* *:*:00/0.500000"),
        ("*:*:1..2/0.3", "*-*-* *:*:01..01.900000/0.300000"),
        ("*:0/15", "*-*-* *:00/15:00"),
        ("26-1-1 utc", "2026-01-01 00:00:00 UTC"),
        ("70-1-1", "1970-01-01 00:00:00"),
        ("@1700000000", "2023-11-14 22:13:20 UTC"),
        ("Daily Europe/Berlin", "*-*-* 00:00:00 Europe/Berlin"),
        ("quarterly", "*-01,04,07,10-01 00:00:00"),
        ("Mon,", "Mon *-*-* 00:00:00"),
        ("*-* 10:00", "*-*-* 10:00:00"),
    ] {
        assert_eq!(normal(text), form, "{text}");
        assert_eq!(normal(form), form);
    }
    let zone = Calendar::parse("daily Europe/Berlin").unwrap().zone().clone();
    assert_eq!(zone, CalendarZone::Named("Europe/Berlin".into()));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, at, message) in [
        ("", 0, "there is no time in it"),
        ("24:00", 0, "hour 24 is not within 0 and 23"),
        ("*-13-1", 2, "month 13 is not within 1 and 12"),
        ("Mon 10:61", 7, "minute 61 is not within 0 and 59"),
        ("Fri..Mon", 0, "Fri..Mon goes backwards; a week begins on Monday"),
        ("Mon,Tursday 10:00", 4, "\"Tursday\" is no weekday, such as Mon or Monday"),
        ("10", 0, "a date is YEAR-MONTH-DAY or MONTH-DAY, a time of day has a colon"),
        ("*:0/0", 4, "a step of 0 leads nowhere"),
        ("*:0/60", 4, "no minute follows by this step"),
        ("10..5:00", 0, "10..5 goes backwards"),
        ("10:00 11:00", 6, "\"11:00\" is too much behind the time of day"),
        ("2200-1-1", 0, "year 2200 is not within 1970 and 2199"),
        ("*-*-* 1::3", 8, "nothing is no number of a minute"),
        ("@1.5", 1, "@ wants a number of whole seconds since 1970"),
    ] {
        let error = Calendar::parse(text).expect_err(text);
        assert_eq!((error.at, &*error.message), (at, message), "{text}");
    }
}

fn due(text: &str, zone: &impl Zone, after_us: u64, times: usize) -> Vec<Civil> {
    let calendar = Calendar::parse(text).unwrap();
    let next = |us: &u64| calendar.next(*us, zone);
    std::iter::successors(calendar.next(after_us, zone), next).take(times).map(Civil::of_utc).collect()
}

/// A zone that leaves out 02:00 to 03:00 on the 2nd of January 1970, and has the next hour twice on the 4th.
struct Odd;

const HOUR_US: u64 = 3_600_000_000;

impl Zone for Odd {
    fn civil(&self, realtime_us: u64) -> Civil {
        let ahead = (26..=74).contains(&(realtime_us / HOUR_US));
        Civil::of_utc(realtime_us + if ahead { HOUR_US } else { 0 })
    }

    fn realtime(&self, civil: Civil) -> Option<u64> {
        let us = civil.utc();
        match us / HOUR_US {
            26 => None,
            27..=75 => Some(us - HOUR_US),
            _ => Some(us),
        }
    }
}

#[test]
fn changes_of_clocks_leave_out_and_repeat_nothing() {
    let shown = |text| {
        due(text, &Odd, 0, 5).iter().fold(String::new(), |mut all, at| {
            let _ = write!(all, "{}-{:02}:{:02} ", at.day, at.hour, at.minute);
            all
        })
    };
    assert_eq!(shown("02:30"), "1-02:30 3-01:30 4-01:30 5-02:30 6-02:30 ");
    assert_eq!(shown("1970-1-2 *:00"), "2-00:00 2-01:00 2-02:00 2-03:00 2-04:00 ");
    assert_eq!(shown("1970-1-4 1..3:30"), "4-00:30 4-01:30 4-02:30 ");
}

#[test]
fn what_never_comes_ends() {
    for text in ["2025-*-*", "*-02-30", "Mon 2026-11-22", "@1"] {
        assert_eq!(due(text, &Utc, BASE_US, 1), [], "{text}");
    }
    assert_eq!(due("2199-12-31 23:59:59", &Utc, BASE_US, 3).len(), 1);
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % bound.max(1)
    }

    /// A field; now and then beyond its values.
    fn field(&mut self, min: u32, max: u32, decimals: bool) -> String {
        let mut field = String::new();
        if self.below(3) == 0 {
            return "*".into();
        }
        for nth in 0..=self.below(3).saturating_sub(1) {
            let beyond = u32::from(self.below(40) == 0);
            let value = min + self.below(max - min + 1 + beyond);
            let _ = write!(field, "{}{value}", if nth > 0 { "," } else { "" });
            if decimals && self.below(6) == 0 {
                let _ = write!(field, ".{}", self.below(10_000_000));
            }
            if self.below(3) == 0 {
                let _ = write!(field, "..{}", value + self.below(max - value.min(max) + 1));
            }
            if self.below(4) == 0 {
                let _ = write!(field, "/{}", 1 + self.below(7));
            }
        }
        field
    }

    fn expression(&mut self) -> String {
        const DAYS: [&str; 6] = ["Mon ", "Mon..Fri ", "Sat,Sun ", "tue,Thu..Sat ", "Sunday ", "Fri..Tue "];
        let mut text =
            if self.below(3) == 0 { DAYS[self.below(6) as usize].to_owned() } else { String::new() };
        if self.below(2) == 0 {
            if self.below(2) == 0 {
                let _ = write!(text, "{}-", self.field(2024, 2032, false));
            }
            let last = if self.below(4) == 0 { '~' } else { '-' };
            let _ = write!(text, "{}{last}{} ", self.field(1, 12, false), self.field(1, 31, false));
        }
        let _ = write!(text, "{}:{}", self.field(0, 23, false), self.field(0, 59, false));
        if self.below(2) == 0 {
            let _ = write!(text, ":{}", self.field(0, 59, true));
        }
        text
    }
}

/// The normal form and the next times, in UTC, as systemd has them; `None` where it refuses.
fn analyzed(text: &str) -> Option<Option<(String, Vec<String>)>> {
    let run = Command::new("systemd-analyze")
        .args(["calendar", "--iterations=3", "--base-time=2026-11-22 10:00:00", text])
        .env("TZ", "UTC")
        .output()
        .ok()?;
    let output = String::from_utf8(run.stdout).unwrap();
    let after = |word: &'static str| {
        let lines = output.lines().filter_map(move |line| line.split_once(": "));
        lines.filter(move |(name, _)| name.contains(word)).map(|(_, value)| value.trim().to_owned())
    };
    let Some(form) = after("Normalized form").next() else { return Some(None) };
    let times = after("Next elapse").chain(after("Iter"));
    Some(Some((form, times.filter(|time| time != "never").collect())))
}

#[test]
fn random_expressions_are_read_and_timed_as_systemd_does() {
    let mut chance = Chance(20_261_122);
    let mut refused = 0;
    for _ in 0..400 {
        let text = chance.expression();
        let Some(theirs) = analyzed(&text) else {
            eprintln!("skipped: no systemd-analyze");
            return;
        };
        let ours = Calendar::parse(&text);
        let Some((form, times)) = theirs else {
            refused += 1;
            assert!(ours.is_err(), "{text} is refused by systemd and read as {}", ours.unwrap());
            continue;
        };
        let ours = ours.unwrap_or_else(|error| panic!("{text} is {form}: {error}"));
        assert_eq!(ours.to_string(), form, "{text}");
        let next = due(&text, &Utc, BASE_US, 3).into_iter().map(|at| {
            const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let (day, second) = (DAYS[at.weekday() as usize], at.microsecond / 1_000_000);
            let date = format!("{day} {}-{:02}-{:02}", at.year, at.month, at.day);
            format!("{date} {:02}:{:02}:{second:02} UTC", at.hour, at.minute)
        });
        assert_eq!(next.collect::<Vec<_>>(), times, "{text}");
    }
    assert!((1..200).contains(&refused), "{refused} of 400 were refused");
}
