//! Calendar expressions, as OnCalendar= has them: read, written in their normal form, and when one is due
//! next; systemd.time(7), "CALENDAR EVENTS". What the manual leaves open is as systemd 252 has it. It knows
//! no time zone but UTC: [`Zone`] tells the others.

mod civil;
mod read;

use alloc::boxed::Box;
use alloc::vec::Vec;
pub use civil::{Civil, Utc, Zone};
use core::fmt;
pub use read::CalendarError;

/// Microseconds in a second.
const SECOND: u32 = 1_000_000;
/// The weekdays' words, Monday first.
const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// The years that can be asked for.
const YEARS: (u32, u32) = (1970, 2199);

/// In which zone an expression is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CalendarZone {
    /// The machine's own.
    #[default]
    Local,
    /// UTC.
    Utc,
    /// The one of this name in the zone database; whether there is one is not known here.
    Named(Box<str>),
}

/// A value, a range of values, or every so many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    first: u32,
    /// The last one, where it is a range.
    last: Option<u32>,
    /// From each value to the next; a single value has none.
    step: Option<u32>,
}

impl Part {
    /// The first value that is no less than `from`; `max` is the field's last.
    fn next(&self, from: u32, max: u32) -> Option<u32> {
        if from <= self.first {
            return Some(self.first);
        }
        let step = self.step?;
        let next = self.first.checked_add((from - self.first).div_ceil(step).checked_mul(step)?)?;
        (next <= self.last.unwrap_or(max).min(max)).then_some(next)
    }

    fn holds(&self, value: u32) -> bool {
        self.next(value, u32::MAX) == Some(value)
    }

    /// The same of a day that is counted from the end of its month. Steps go towards the end.
    fn holds_from_end(&self, counted: u32) -> bool {
        match (self.last, self.step) {
            (None, Some(step)) => counted <= self.first && (self.first - counted).is_multiple_of(step),
            _ => self.holds(counted),
        }
    }
}

/// The values of a field; none means any.
type Parts = Vec<Part>;

/// The first value of a field that is no less than `from`.
fn next(parts: &Parts, from: u32, (min, max): (u32, u32)) -> Option<u32> {
    let from = from.max(min);
    if parts.is_empty() {
        return (from <= max).then_some(from);
    }
    parts.iter().filter_map(|part| part.next(from, max)).min()
}

/// A calendar expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// A bit for each day, the lowest for Monday; none means any.
    weekdays: u8,
    year: Parts,
    month: Parts,
    day: Parts,
    /// Days count from the end of the month, the last one being 1.
    from_end: bool,
    hour: Parts,
    minute: Parts,
    /// In microseconds. Any second is each whole one.
    second: Parts,
    zone: CalendarZone,
}

impl Calendar {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Calendar, CalendarError> {
        read::expression(text)
    }

    /// The zone that it is meant in.
    pub fn zone(&self) -> &CalendarZone {
        &self.zone
    }

    /// When it is due next after this time; `None` means never again. Both in microseconds since 1970. A
    /// time of day that a change of clocks leaves out isn't made up for; one that comes twice counts once.
    pub fn next(&self, after_us: u64, zone: &impl Zone) -> Option<u64> {
        let mut from = zone.civil(after_us).plus_microsecond();
        loop {
            let civil = self.next_civil(from)?;
            match zone.realtime(civil) {
                Some(realtime_us) if realtime_us > after_us => return Some(realtime_us),
                _ => from = civil.plus_microsecond(),
            }
        }
    }

    /// The first moment on a clock and calendar that fits, beginning with this one.
    fn next_civil(&self, from: Civil) -> Option<Civil> {
        let mut at = from;
        loop {
            let year = next(&self.year, at.year, YEARS)?;
            if year > at.year {
                at = Civil::begin_of_year(year);
            }
            let Some(month) = next(&self.month, at.month, (1, 12)) else {
                at = Civil::begin_of_year(year + 1);
                continue;
            };
            if month > at.month {
                at = Civil::begin_of_month(year, month);
            }
            match self.next_in_month(at) {
                Some(found) => return Some(found),
                None if month == 12 => at = Civil::begin_of_year(year + 1),
                None => at = Civil::begin_of_month(year, month + 1),
            }
        }
    }

    /// The same in the rest of a month.
    fn next_in_month(&self, from: Civil) -> Option<Civil> {
        let days = from.days_in_month();
        let mut at = from;
        for day in from.day..=days {
            let holds = |part: &Part| match self.from_end {
                true => part.holds_from_end(days + 1 - day),
                false => part.holds(day),
            };
            let fits = self.day.is_empty() || self.day.iter().any(holds);
            at = if day == from.day { at } else { Civil { day, ..Civil::begin_of_month(at.year, at.month) } };
            let weekday = self.weekdays == 0 || self.weekdays >> at.weekday() & 1 != 0;
            if fits
                && weekday
                && let Some(found) = self.next_in_day(at)
            {
                return Some(found);
            }
        }
        None
    }

    /// The same in the rest of a day.
    fn next_in_day(&self, from: Civil) -> Option<Civil> {
        let mut at = from;
        loop {
            let hour = next(&self.hour, at.hour, (0, 23))?;
            if hour > at.hour {
                at = Civil { hour, minute: 0, microsecond: 0, ..at };
            }
            let Some(minute) = next(&self.minute, at.minute, (0, 59)) else {
                at = Civil { hour: hour + 1, minute: 0, microsecond: 0, ..at };
                continue;
            };
            if minute > at.minute {
                at = Civil { minute, microsecond: 0, ..at };
            }
            let whole = at.microsecond.next_multiple_of(SECOND);
            let second = if self.second.is_empty() { whole } else { at.microsecond };
            match next(&self.second, second, (0, 60 * SECOND - 1)) {
                Some(microsecond) => return Some(Civil { microsecond, ..at }),
                None => at = Civil { minute: minute + 1, microsecond: 0, ..at },
            }
        }
    }
}

/// The normal form, as `systemd-analyze calendar` prints it.
impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_weekdays(f)?;
        write_parts(f, &self.year, 4)?;
        f.write_str("-")?;
        write_parts(f, &self.month, 2)?;
        f.write_str(if self.from_end && !self.day.is_empty() { "~" } else { "-" })?;
        write_parts(f, &self.day, 2)?;
        f.write_str(" ")?;
        write_parts(f, &self.hour, 2)?;
        f.write_str(":")?;
        write_parts(f, &self.minute, 2)?;
        f.write_str(":")?;
        write_seconds(f, &self.second)?;
        match &self.zone {
            CalendarZone::Local => Ok(()),
            CalendarZone::Utc => f.write_str(" UTC"),
            CalendarZone::Named(name) => write!(f, " {name}"),
        }
    }
}

impl Calendar {
    fn write_weekdays(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |day: usize| day < 7 && self.weekdays >> day & 1 != 0;
        let (mut day, mut lead) = (0, "");
        while day < 7 {
            if !has(day) {
                day += 1;
                continue;
            }
            let end = (day..7).find(|&next| !has(next + 1)).unwrap_or(6);
            write!(f, "{lead}{}", WEEKDAYS[day])?;
            lead = ",";
            if end > day {
                write!(f, "{}{}", if end > day + 1 { ".." } else { "," }, WEEKDAYS[end])?;
            }
            day = end + 1;
        }
        if self.weekdays == 0 { Ok(()) } else { f.write_str(" ") }
    }
}

fn write_parts(f: &mut fmt::Formatter<'_>, parts: &Parts, width: usize) -> fmt::Result {
    if parts.is_empty() {
        return f.write_str("*");
    }
    for (nth, part) in parts.iter().enumerate() {
        write!(f, "{}{:0width$}", if nth > 0 { "," } else { "" }, part.first)?;
        if let Some(last) = part.last {
            write!(f, "..{last:0width$}")?;
        }
        // A range without a step goes by ones.
        if let Some(step) = part.step.filter(|&step| part.last.is_none() || step > 1) {
            write!(f, "/{step}")?;
        }
    }
    Ok(())
}

fn write_seconds(f: &mut fmt::Formatter<'_>, parts: &Parts) -> fmt::Result {
    if parts.is_empty() {
        return f.write_str("*");
    }
    let second = |f: &mut fmt::Formatter<'_>, value: u32, width: usize| {
        write!(f, "{:0width$}", value / SECOND)?;
        if value.is_multiple_of(SECOND) { Ok(()) } else { write!(f, ".{:06}", value % SECOND) }
    };
    for (nth, part) in parts.iter().enumerate() {
        f.write_str(if nth > 0 { "," } else { "" })?;
        second(f, part.first, 2)?;
        if let Some(last) = part.last {
            f.write_str("..")?;
            second(f, last, 2)?;
        }
        // And one of seconds by whole ones.
        if let Some(step) = part.step.filter(|&step| part.last.is_none() || step != SECOND) {
            f.write_str("/")?;
            second(f, step, 1)?;
        }
    }
    Ok(())
}
