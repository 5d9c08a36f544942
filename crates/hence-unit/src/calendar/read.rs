//! Reads calendar expressions. It says what is wrong and where; what follows from a time is not its part.

use super::{Calendar, CalendarZone, Part, Parts, SECOND, WEEKDAYS, YEARS};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Words for whole expressions.
const SHORTHANDS: [(&str, &str); 12] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
];
const LONG_WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
/// Most values and ranges that a field can have.
const PARTS_MAX: usize = 240;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What.
    pub message: String,
}

impl fmt::Display for CalendarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A piece of an expression, and where it is.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn refuse<T>(self, message: impl Into<String>) -> Result<T, CalendarError> {
        Err(CalendarError { at: self.at, message: message.into() })
    }

    /// What stands before and after the first of these characters.
    fn cut(self, by: &[char]) -> (Piece<'a>, Option<Piece<'a>>) {
        match self.text.find(by) {
            Some(end) => {
                let rest = Piece { text: &self.text[end + 1..], at: self.at + end + 1 };
                (Piece { text: &self.text[..end], at: self.at }, Some(rest))
            }
            None => (self, None),
        }
    }

    /// The pieces between these characters.
    fn split(self, by: char) -> impl Iterator<Item = Piece<'a>> {
        let mut at = self.at;
        self.text.split(by).map(move |text| {
            let piece = Piece { text, at };
            at += text.len() + by.len_utf8();
            piece
        })
    }
}

/// What a field's values can be.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// How much one is: seconds are counted in microseconds.
    one: u32,
    /// Whether they are counted from the end, and steps lead to lower ones.
    backwards: bool,
}

const YEAR: Field = Field { name: "year", min: YEARS.0, max: YEARS.1, one: 1, backwards: false };
const MONTH: Field = Field { name: "month", min: 1, max: 12, one: 1, backwards: false };
const DAY: Field = Field { name: "day", min: 1, max: 31, one: 1, backwards: false };
/// What not every month has can't be counted to.
const DAY_FROM_END: Field = Field { max: 28, backwards: true, ..DAY };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, one: 1, backwards: false };
const MINUTE: Field = Field { name: "minute", min: 0, max: 59, one: 1, backwards: false };
const SECONDS: Field = Field { name: "second", min: 0, max: 60 * SECOND - 1, one: SECOND, backwards: false };

/// Reads a whole expression.
pub fn expression(text: &str) -> Result<Calendar, CalendarError> {
    let whole = Piece { text, at: 0 };
    if let Some(seconds) = text.strip_prefix('@') {
        return since_1970(Piece { text: seconds, at: 1 });
    }
    let (text, zone) = zone(text);
    let found = SHORTHANDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    let mut calendar = match found {
        Some((_, meant)) => fields(Piece { text: meant, at: 0 })?,
        None if text.is_empty() => return whole.refuse("there is no time in it"),
        None => fields(Piece { text, at: 0 })?,
    };
    calendar.zone = zone;
    Ok(calendar)
}

/// `@SECONDS` is a time since 1970.
fn since_1970(seconds: Piece<'_>) -> Result<Calendar, CalendarError> {
    let number = seconds.text.trim_start().parse::<u64>().ok();
    let Some(civil) = number.and_then(|n| n.checked_mul(SECOND.into())).map(super::Civil::of_utc) else {
        return seconds.refuse("@ wants a number of whole seconds since 1970");
    };
    if civil.year > YEARS.1 {
        return seconds.refuse(format!("that is after the year {}", YEARS.1));
    }
    let one = |first| alloc::vec![Part { first, last: None, step: None }];
    Ok(Calendar {
        year: one(civil.year),
        month: one(civil.month),
        day: one(civil.day),
        hour: one(civil.hour),
        minute: one(civil.minute),
        second: one(civil.microsecond),
        zone: CalendarZone::Utc,
        ..Calendar::default()
    })
}

/// What comes before the zone, and the zone.
fn zone(text: &str) -> (&str, CalendarZone) {
    let Some((rest, word)) = text.rsplit_once(' ') else { return (text, CalendarZone::Local) };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    if word.eq_ignore_ascii_case("UTC") {
        return (rest, CalendarZone::Utc);
    }
    let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.chars().all(allowed);
    if is_name { (rest, CalendarZone::Named(word.into())) } else { (text, CalendarZone::Local) }
}

/// Reads weekdays, a date and a time of day, each of which may lack.
fn fields(text: Piece<'_>) -> Result<Calendar, CalendarError> {
    let mut calendar = Calendar::default();
    let (mut rest, mut any) = (Some(text), false);
    if text.text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        let (days, after) = text.cut(&[' ']);
        calendar.weekdays = weekdays(days)?;
        (rest, any) = (after, true);
    }
    let mut words = rest.into_iter().flat_map(|rest| rest.split(' ')).filter(|word| !word.text.is_empty());
    let mut word = if text.text.starts_with(' ') { None } else { words.next() };
    if let Some(found) = word.filter(|word| !word.text.contains(':')) {
        date(found, &mut calendar)?;
        (word, any) = (words.next(), true);
    }
    calendar.hour = alloc::vec![Part { first: 0, last: None, step: None }];
    calendar.minute.clone_from(&calendar.hour);
    calendar.second.clone_from(&calendar.hour);
    if let Some(found) = word {
        time(found, &mut calendar)?;
        any = true;
    }
    match words.next() {
        Some(more) => more.refuse(format!("{:?} is too much behind the time of day", more.text)),
        None if !any => text.refuse("it begins with neither weekdays, a date nor a time of day"),
        None => Ok(calendar),
    }
}

/// `Mon,Wed..Fri`
fn weekdays(text: Piece<'_>) -> Result<u8, CalendarError> {
    let day = |word: Piece<'_>| {
        let is = |day: &usize| {
            let names = [WEEKDAYS[*day], LONG_WEEKDAYS[*day]];
            names.iter().any(|name| name.eq_ignore_ascii_case(word.text))
        };
        match (0..7).find(is) {
            Some(day) => Ok(day),
            None => word.refuse(format!("{:?} is no weekday, such as Mon or Monday", word.text)),
        }
    };
    let mut days = 0u8;
    // One comma behind the last is taken as well.
    let listed = Piece { text: text.text.strip_suffix(',').unwrap_or(text.text), ..text };
    for range in listed.split(',') {
        let mut ends = match range.text.split_once("..") {
            Some((first, last)) => {
                let at = range.at + first.len() + 2;
                [Some(Piece { text: first, ..range }), Some(Piece { text: last, at })]
            }
            // An older way to write it.
            None => {
                let (first, last) = range.cut(&['-']);
                [Some(first), last]
            }
        }
        .into_iter()
        .flatten();
        let first = ends.next().map_or(Ok(0), day)?;
        let last = ends.next().map_or(Ok(first), day)?;
        if first > last {
            return range.refuse(format!("{} goes backwards; a week begins on Monday", range.text));
        }
        (first..=last).for_each(|day| days |= 1 << day);
    }
    Ok(days)
}

/// `[YEAR-]MONTH-DAY`, and `~` before days from the end of the month.
fn date(text: Piece<'_>, calendar: &mut Calendar) -> Result<(), CalendarError> {
    let form = "a date is YEAR-MONTH-DAY or MONTH-DAY, a time of day has a colon";
    let (mut rest, day) = match text.text.rfind(['-', '~']) {
        Some(end) => {
            calendar.from_end = text.text[end..].starts_with('~');
            let day = Piece { text: &text.text[end + 1..], at: text.at + end + 1 };
            (Piece { text: &text.text[..end], ..text }, day)
        }
        None => return text.refuse(form),
    };
    if let (year, Some(month)) = rest.cut(&['-']) {
        calendar.year = parts(year, &YEAR)?;
        rest = month;
    }
    if rest.text.contains(['-', '~']) {
        return text.refuse(form);
    }
    calendar.month = parts(rest, &MONTH)?;
    calendar.day = parts(day, if calendar.from_end { &DAY_FROM_END } else { &DAY })?;
    Ok(())
}

/// `HOUR:MINUTE[:SECOND]`
fn time(text: Piece<'_>, calendar: &mut Calendar) -> Result<(), CalendarError> {
    let (hour, rest) = text.cut(&[':']);
    let Some(rest) = rest else { return text.refuse("a time of day is HOUR:MINUTE or HOUR:MINUTE:SECOND") };
    let (minute, second) = rest.cut(&[':']);
    calendar.hour = parts(hour, &HOUR)?;
    calendar.minute = parts(minute, &MINUTE)?;
    if let Some(second) = second {
        calendar.second = parts(second, &SECONDS)?;
    }
    Ok(())
}

/// The values of a field, in order and each once.
fn parts(text: Piece<'_>, field: &Field) -> Result<Parts, CalendarError> {
    if text.text == "*" {
        return Ok(Parts::new());
    }
    let mut parts = Vec::new();
    for one in text.split(',') {
        if parts.len() >= PARTS_MAX {
            return one.refuse(format!("that is more than {PARTS_MAX} values of a field"));
        }
        parts.push(part(one, field)?);
    }
    parts.sort_unstable();
    parts.dedup();
    Ok(parts)
}

/// `VALUE[..VALUE][/STEP]`
fn part(text: Piece<'_>, field: &Field) -> Result<Part, CalendarError> {
    let (range, step) = text.cut(&['/']);
    let (first, last) = match range.text.split_once("..") {
        Some((first, last)) => {
            let at = range.at + first.len() + 2;
            (Piece { text: first, ..range }, Some(Piece { text: last, at }))
        }
        None => (range, None),
    };
    let name = field.name;
    let within = |piece: Piece<'_>| {
        let value = number(piece, field)?;
        // Of years two digits are enough.
        let value = match value {
            0..=69 if field.min == YEARS.0 => value + 2000,
            70..=99 if field.min == YEARS.0 => value + 1900,
            value => value,
        };
        if (field.min..=field.max).contains(&value) {
            return Ok(value);
        }
        let (min, max) = (field.min / field.one, field.max / field.one);
        piece.refuse(format!("{name} {} is not within {min} and {max}", piece.text))
    };
    let step_text = step.unwrap_or(text);
    let step = step.map(|step| number(step, field)).transpose()?;
    if step == Some(0) {
        return step_text.refuse("a step of 0 leads nowhere");
    }
    let first_at = within(first)?;
    let last_at = last.map(within).transpose()?.filter(|&last_at| last_at != first_at);
    if last_at.is_some_and(|last_at| last_at < first_at) {
        return range.refuse(format!("{} goes backwards", range.text));
    }
    // Seconds without a step go by whole ones.
    let short = last_at.unwrap_or(first_at) - first_at < field.one;
    if last.is_some() && step.is_none() && field.one > 1 && short {
        return range.refuse(format!("{} is less than a second; give a step, such as /0.1", range.text));
    }
    let Some(last_at) = last_at else {
        let step = step.filter(|_| last.is_none());
        // A step that leads out of the field at once is a mistake.
        let room = if field.backwards { first_at - field.min } else { field.max - first_at };
        if step.is_some_and(|step| step > room) {
            return step_text.refuse(format!("no {name} follows by this step"));
        }
        return Ok(Part { first: first_at, last: None, step });
    };
    let step = step.unwrap_or(field.one);
    let last_at = first_at + (last_at - first_at) / step * step;
    let several = last_at != first_at;
    Ok(Part { first: first_at, last: several.then_some(last_at), step: several.then_some(step) })
}

/// A number; of seconds with six decimals at most, more are rounded.
fn number(text: Piece<'_>, field: &Field) -> Result<u32, CalendarError> {
    let (whole, decimals) = match text.text.split_once('.') {
        Some((whole, decimals)) if field.one > 1 => (whole, decimals),
        _ => (text.text, ""),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let dot = whole.len() < text.text.len();
    if whole.is_empty() || !digits(whole) || !digits(decimals) || dot && decimals.is_empty() {
        let what = if text.text.is_empty() { "nothing" } else { text.text };
        return text.refuse(format!("{what} is no number of a {}", field.name));
    }
    // Saturating: what is too large is out of every range.
    let fold =
        |text: &str| text.bytes().fold(0u32, |n, b| n.saturating_mul(10).saturating_add(u32::from(b - b'0')));
    let mut fraction = 0;
    if field.one > 1 {
        let place = |nth: usize| decimals.as_bytes().get(nth).map_or(0, |b| u32::from(b - b'0'));
        fraction = (0..6).fold(0, |n, nth| n * 10 + place(nth)) + u32::from(place(6) >= 5);
    }
    Ok(fold(whole).saturating_mul(field.one).saturating_add(fraction))
}
