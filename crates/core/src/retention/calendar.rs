//! Hours, days, weeks, months and years of a time zone as integers, without a conversion per point.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

/// The periods that a moment lies in. A later period has a greater number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Periods {
    /// The second at which the hour began by the clock in force: an hour that comes twice has two numbers.
    pub(super) hour: i64,
    pub(super) day: i64,
    /// Weeks run on through the New Year; a pair of calendar year and ISO week would not.
    pub(super) week: i64,
    pub(super) month: i64,
    pub(super) year: i64,
}

/// Asked about moments from new to old, it looks into the zone once per change of its offset and into the calendar once
/// per day.
pub(super) struct Calendar<'a> {
    zone: &'a TimeZone,
    offset: Offset,
    /// `offset` holds from here until the moment asked about last.
    since: Timestamp,
    date: (i64, Date),
}

impl<'a> Calendar<'a> {
    pub(super) fn new(zone: &'a TimeZone) -> Self {
        Self { zone, offset: Offset::UTC, since: Timestamp::MAX, date: (i64::MAX, Date::MAX) }
    }

    /// The periods of `time`, which is not later than the one asked about before.
    pub(super) fn periods(&mut self, time: Timestamp) -> Periods {
        if time < self.since || self.since == Timestamp::MAX {
            self.offset = self.zone.to_offset(time);
            let next = time.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(time);
            self.since = self.zone.preceding(next).next().map_or(Timestamp::MIN, |change| change.timestamp());
        }
        let offset = i64::from(self.offset.seconds());
        // Before 1970 the fraction of a second is negative.
        let local = time.as_second() - i64::from(time.subsec_nanosecond() < 0) + offset;
        let day = local.div_euclid(86_400);
        if day != self.date.0 {
            self.date = (day, self.offset.to_datetime(time).date());
        }
        let (year, month) = (i64::from(self.date.1.year()), i64::from(self.date.1.month()));
        Periods {
            hour: local.div_euclid(3600) * 3600 - offset,
            day,
            // 1970-01-01 was a Thursday.
            week: (day + 3).div_euclid(7),
            month: year * 12 + month,
            year,
        }
    }

    /// The local time of the moment asked about last.
    pub(super) fn local(&self, time: Timestamp) -> (jiff::civil::DateTime, Offset) {
        (self.offset.to_datetime(time), self.offset)
    }
}
