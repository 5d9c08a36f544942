//! Times as clocks and calendars have them, and what tells them from the time since 1970. Years are the
//! Gregorian calendar's; there are no leap seconds.

/// Microseconds in a second.
const SECOND: u64 = super::SECOND as u64;
/// Seconds in a day.
const DAY: u64 = 86_400;
/// Days in 400 years.
const ERA: u64 = 146_097;
/// Days from the 1st of March of the year 0 to the 1st of January 1970.
const BEFORE_1970: u64 = 719_468;

/// A moment on a clock and a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// Year.
    pub year: u32,
    /// Month, from 1.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
    /// Hour of the day.
    pub hour: u32,
    /// Minute of the hour.
    pub minute: u32,
    /// Microsecond of the minute.
    pub microsecond: u32,
}

impl Civil {
    /// The first moment of a year.
    pub(super) const fn begin_of_year(year: u32) -> Civil {
        Civil::begin_of_month(year, 1)
    }

    /// The first moment of a month.
    pub(super) const fn begin_of_month(year: u32, month: u32) -> Civil {
        Civil { year, month, day: 1, hour: 0, minute: 0, microsecond: 0 }
    }

    /// How many days its month has.
    pub const fn days_in_month(self) -> u32 {
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// The day of the week, 0 for Monday.
    pub const fn weekday(self) -> u32 {
        // 1970 began on a Thursday.
        ((self.days() + 3) % 7) as u32
    }

    /// Days since 1970, which years count from March for: then the leap day is the last one.
    const fn days(self) -> u64 {
        let year = (self.year - (self.month <= 2) as u32) as u64;
        let month = ((self.month + 9) % 12) as u64;
        let of_year = (153 * month + 2) / 5 + self.day as u64 - 1;
        let of_era = (year % 400) * 365 + (year % 400) / 4 - (year % 400) / 100 + of_year;
        year / 400 * ERA + of_era - BEFORE_1970
    }

    /// The moment that is so many microseconds after 1970 began, where clocks show UTC.
    pub const fn of_utc(realtime_us: u64) -> Civil {
        let seconds = realtime_us / SECOND;
        let days = seconds / DAY + BEFORE_1970;
        let of_era = days % ERA;
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let january = month >= 10;
        Civil {
            year: (days / ERA * 400 + year) as u32 + january as u32,
            month: (if january { month - 9 } else { month + 3 }) as u32,
            day: (of_year - (153 * month + 2) / 5 + 1) as u32,
            hour: (seconds / 3600 % 24) as u32,
            minute: (seconds / 60 % 60) as u32,
            microsecond: (realtime_us % (60 * SECOND)) as u32,
        }
    }

    /// Microseconds since 1970, where clocks show UTC.
    pub const fn utc(self) -> u64 {
        let minutes = self.hour as u64 * 60 + self.minute as u64;
        (self.days() * DAY + minutes * 60) * SECOND + self.microsecond as u64
    }

    /// The next moment.
    pub(super) const fn plus_microsecond(self) -> Civil {
        Civil::of_utc(self.utc() + 1)
    }
}

/// A time zone.
pub trait Zone {
    /// What its clocks show at this time, in microseconds since 1970.
    fn civil(&self, realtime_us: u64) -> Civil;

    /// When its clocks show this, the first time if they do so twice; `None` where they leave it out.
    fn realtime(&self, civil: Civil) -> Option<u64>;
}

/// The zone of UTC.
#[derive(Clone, Copy, Debug)]
pub struct Utc;

impl Zone for Utc {
    fn civil(&self, realtime_us: u64) -> Civil {
        Civil::of_utc(realtime_us)
    }

    fn realtime(&self, civil: Civil) -> Option<u64> {
        Some(civil.utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let at = |year, month, day| Civil { day, ..Civil::begin_of_month(year, month) };
        for (civil, seconds, weekday) in [
            (at(1970, 1, 1), 0, 3),
            (at(2000, 2, 29), 951_782_400, 1),
            (at(2026, 11, 22), 1_795_305_600, 6),
            (at(2100, 3, 1), 4_107_542_400, 0),
        ] {
            assert_eq!((civil.utc(), civil.weekday()), (seconds * SECOND, weekday), "{civil:?}");
            assert_eq!(Civil::of_utc(seconds * SECOND), civil);
        }
        let mut day = Civil::begin_of_year(1970);
        while day.year < 2200 {
            let next = Civil::of_utc(day.utc() + DAY * SECOND);
            let same_month = next.month == day.month && next.day == day.day + 1;
            assert!(same_month || next.day == 1 && day.day == day.days_in_month(), "{day:?} {next:?}");
            assert_eq!(next.weekday(), (day.weekday() + 1) % 7);
            day = next;
        }
    }
}
