//! When calendar expressions are due, by the machine's time zones, and the stamps that timers with
//! Persistent= leave. What follows from that is the engine's.

use hence_unit::calendar::{CalendarZone, Civil, Utc, Zone};
use hence_unit::config::TimerCalendar;
use hence_unit::{Config, Kind};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A zone of the machine's database.
struct Known(TimeZone);

impl Zone for Known {
    fn civil(&self, realtime_us: u64) -> Civil {
        let us = i64::try_from(realtime_us).unwrap_or(i64::MAX);
        let offset = Timestamp::from_microsecond(us).map_or(0, |at| self.0.to_offset(at).seconds());
        Civil::of_utc(realtime_us.saturating_add_signed(i64::from(offset) * 1_000_000))
    }

    fn realtime(&self, civil: Civil) -> Option<u64> {
        let small = |number: u32| i8::try_from(number).ok();
        let (second, rest) = (civil.microsecond / 1_000_000, civil.microsecond % 1_000_000);
        let at = DateTime::new(
            i16::try_from(civil.year).ok()?,
            small(civil.month)?,
            small(civil.day)?,
            small(civil.hour)?,
            small(civil.minute)?,
            small(second)?,
            i32::try_from(rest).ok()? * 1000,
        );
        // Of the two moments that clocks show the same the first one counts.
        let offset = match self.0.to_ambiguous_timestamp(at.ok()?).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => offset,
            AmbiguousOffset::Gap { .. } => return None,
        };
        Some(civil.utc().saturating_add_signed(-i64::from(offset.seconds()) * 1_000_000))
    }
}

/// When a line is due next after this time; never in a zone that isn't known here.
fn next(line: &TimerCalendar, after_us: u64) -> Option<u64> {
    let zone = match line.expression.zone() {
        CalendarZone::Utc => return line.expression.next(after_us, &Utc),
        CalendarZone::Local => crate::zone::local(),
        CalendarZone::Named(name) => TimeZone::get(name).ok()?,
    };
    line.expression.next(after_us, &Known(zone))
}

/// When the first of a timer's calendar lines is due next after this time, in microseconds since 1970, and
/// which one it is.
pub fn next_elapse(config: &Config, after_us: u64) -> Option<(u64, u16)> {
    let Kind::Timer(timer) = &config.kind else { return None };
    let lines = timer.calendar.iter().enumerate();
    lines.filter_map(|(nth, line)| Some((next(line, after_us)?, u16::try_from(nth).ok()?))).min()
}

/// Where a timer leaves its stamps, below the root of StateDirectory=; systemd.timer(5), Persistent=.
pub fn stamp_path(state: &Path, timer: &str) -> PathBuf {
    state.join("systemd/timers").join(format!("stamp-{timer}"))
}

/// When a timer elapsed last by its stamp, in microseconds since 1970; what lies ahead of the clock counts
/// for nothing.
pub fn stamp(path: &Path, now_us: u64) -> Option<u64> {
    let modified = std::fs::metadata(path).ok()?.modified().ok()?;
    let at_us = u64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()?;
    (at_us < now_us).then_some(at_us)
}

/// Leaves a stamp of that time.
///
/// # Errors
/// What the file system says.
pub fn leave_stamp(path: &Path, realtime_us: u64) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = std::fs::File::options().append(true).create(true).open(path)?;
    let at = UNIX_EPOCH + std::time::Duration::from_micros(realtime_us);
    file.set_times(std::fs::FileTimes::new().set_accessed(at).set_modified(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hence_unit::calendar::Calendar;
    use jiff::SignedDuration;

    fn due(text: &str, zone: &str, after: &str, times: usize) -> Option<Vec<String>> {
        let zone = Known(TimeZone::get(zone).ok()?);
        let calendar = Calendar::parse(text).unwrap();
        let after: Timestamp = after.parse().unwrap();
        let first = u64::try_from(after.as_microsecond()).unwrap();
        let all = std::iter::successors(Some(first), |at| calendar.next(*at, &zone)).skip(1).take(times);
        let shown = |us: u64| {
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_micros(i64::try_from(us).unwrap());
            at.strftime("%m-%d %H:%M").to_string()
        };
        Some(all.map(shown).collect())
    }

    /// As `TZ=... systemd-analyze calendar --iterations=N` of systemd 252 says.
    #[test]
    fn clocks_change_as_they_do_for_systemd() {
        let Some(spring) = due("02:30", "Europe/Berlin", "2026-03-28T11:00:00Z", 2) else {
            return eprintln!("skipped: there are no time zones");
        };
        assert_eq!(spring, ["03-30 00:30", "03-31 00:30"]);
        let check = |text, zone, after, expected: &[&str]| {
            assert_eq!(due(text, zone, after, expected.len()).unwrap(), expected, "{text} in {zone}");
        };
        let berlin = "Europe/Berlin";
        let half = ["03-29 01:00", "03-29 01:20", "03-29 01:40", "03-30 00:00"];
        check("02..03:00/20", berlin, "2026-03-28T11:00:00Z", &half);
        check("02:30", berlin, "2026-10-24T22:00:00Z", &["10-25 00:30", "10-26 01:30"]);
        let autumn = ["10-24 22:30", "10-24 23:30", "10-25 00:30", "10-25 02:30", "10-25 03:30"];
        check("*:30", berlin, "2026-10-24T22:00:00Z", &autumn);
        check("daily", "America/Santiago", "2026-09-05T16:00:00Z", &["09-07 03:00", "09-08 03:00"]);
        check("01:45", "Australia/Lord_Howe", "2026-04-04T11:00:00Z", &["04-04 14:45", "04-05 15:15"]);
        let expression = Calendar::parse("daily Nowhere/At_All").unwrap();
        let place = hence_unit::Place { file: "x.timer".into(), line: 1, column: 1 };
        let unknown = TimerCalendar { expression, place };
        assert_eq!(next(&unknown, 0), None, "its zone is not known");
    }

    #[test]
    fn a_stamp_says_when() {
        let folder = std::env::temp_dir().join(format!("hence-stamps-{}", std::process::id()));
        let path = stamp_path(&folder, "x.timer");
        assert_eq!(stamp(&path, u64::MAX), None);
        leave_stamp(&path, 1_700_000_000_000_001).unwrap();
        leave_stamp(&path, 1_700_000_000_000_002).unwrap();
        assert_eq!(stamp(&path, 1_700_000_000_000_003), Some(1_700_000_000_000_002));
        assert_eq!(stamp(&path, 1_700_000_000_000_002), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
