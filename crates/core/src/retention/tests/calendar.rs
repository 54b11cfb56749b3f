//! Days that are not 24 hours long, and every period against a conversion of the point itself.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;

use super::id;
use crate::retention::calendar::Calendar;
use crate::retention::{Action, Keep, PointState, PointSummary, RetentionPolicy};

/// Zone, day, hours that a clock on the wall names on it, minutes that it has.
const DAYS: [(&str, &str, usize, i64); 9] = [
    ("Europe/Berlin", "2026-03-29", 23, 23 * 60),
    ("Europe/Berlin", "2026-10-25", 25, 25 * 60),
    ("Europe/Berlin", "2026-11-20", 24, 24 * 60),
    ("America/New_York", "2026-03-08", 23, 23 * 60),
    ("America/New_York", "2026-11-01", 25, 25 * 60),
    ("America/New_York", "2026-11-20", 24, 24 * 60),
    // The clock goes from 02:00 to 02:30, and from 02:00 back to 01:30: half of an hour is still an hour's name.
    ("Australia/Lord_Howe", "2026-10-04", 24, 23 * 60 + 30),
    ("Australia/Lord_Howe", "2026-04-05", 25, 24 * 60 + 30),
    ("Australia/Lord_Howe", "2026-11-20", 24, 24 * 60),
];

/// Complete points every ten minutes from one moment to before the other.
fn every_ten_minutes(from: Timestamp, to: Timestamp) -> Vec<PointSummary> {
    let times = (0..).map(|i| from + SignedDuration::from_mins(10 * i)).take_while(|time| *time < to);
    times.map(|time| PointSummary::new(id(time, 0), time, PointState::Complete)).collect()
}

#[test]
fn a_day_is_a_local_day_however_many_hours_it_has() {
    for (zone, day, hours, minutes) in DAYS {
        let zone = TimeZone::get(zone).unwrap();
        let day: Date = day.parse().unwrap();
        let starts = |days: i64| day.checked_add(days.days()).unwrap().to_zoned(zone.clone()).unwrap().timestamp();
        let [before, start, end, after] = [-1, 0, 1, 2].map(starts);
        assert_eq!(end.duration_since(start).as_mins(), minutes, "{zone:?} {day}");

        let points = every_ten_minutes(before, after);
        let kept = |rules: crate::retention::KeepRules| -> Vec<Timestamp> {
            let proposals = rules.propose(&points, &after.to_zoned(zone.clone()));
            let kept = points.iter().zip(proposals).filter(|(_, proposal)| proposal.action == Action::Keep);
            kept.map(|(point, _)| point.time).collect()
        };
        let last = |end: Timestamp| end - SignedDuration::from_mins(10);
        assert_eq!(kept(Keep::daily(9)), [last(start), last(end), last(after)], "{zone:?} {day}");
        let hourly = kept(Keep::hourly(100));
        assert_eq!(hourly.iter().filter(|time| (start..end).contains(time)).count(), hours, "{zone:?} {day}");
    }
}

#[test]
fn an_hour_that_comes_twice_is_two_hours() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let times = ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"];
    let points = times.map(|time| {
        let time = time.parse().unwrap();
        PointSummary::new(id(time, 0), time, PointState::Complete)
    });
    let proposals = Keep::hourly(9).propose(&points, &times[3].parse::<Timestamp>().unwrap().to_zoned(zone));
    let reasons: Vec<_> = proposals.iter().filter(|p| p.action == Action::Keep).map(|p| &p.reasons[0]).collect();
    assert_eq!(reasons, ["hourly 2 of 9 (2026-10-25 02h+02)", "hourly 1 of 9 (2026-10-25 02h+01)"]);
}

#[test]
fn a_day_that_the_clock_goes_back_into_fills_one_slot() {
    // St. John's went back at a minute past midnight: one minute of the 7th, then an hour of the 6th again.
    let zone = TimeZone::get("America/St_Johns").unwrap();
    let now: jiff::Zoned = "2010-11-07T12:00[America/St_Johns]".parse().unwrap();
    let points = every_ten_minutes(now.timestamp() - SignedDuration::from_hours(14), now.timestamp());
    let mut points = points;
    let minute: Timestamp = "2010-11-07T02:30:30Z".parse().unwrap();
    assert_eq!(minute.to_zoned(zone).date().day(), 7);
    points.push(PointSummary::new(id(minute, 0), minute, PointState::Complete));
    let kept = Keep::daily(9).propose(&points, &now).into_iter().filter(|p| p.action == Action::Keep).count();
    assert_eq!(kept, 2);
}

proptest! {
    #[test]
    fn periods_agree_with_the_calendar_of_each_point(
        zone in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia",
            "Africa/Casablanca", "Asia/Kathmandu",
        ]),
        mut times in prop::collection::vec(-3_000_000_000_000_i64..6_000_000_000_000, 1..60),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let mut calendar = Calendar::new(&zone);
        for time in times.into_iter().map(|time| Timestamp::from_millisecond(time).unwrap()) {
            let periods = calendar.periods(time);
            let local = time.to_zoned(zone.clone());
            let (date, epoch) = (local.date(), Date::constant(1970, 1, 1));
            let days = |date: Date| i64::from(epoch.until(date).unwrap().get_days());
            let monday = date.iso_week_date().first_of_week().unwrap().date();
            prop_assert_eq!(periods.day, days(date));
            prop_assert_eq!(periods.week * 7, days(monday) + 3);
            prop_assert_eq!(periods.month, i64::from(date.year()) * 12 + i64::from(date.month()));
            prop_assert_eq!(periods.year, i64::from(date.year()));
            let into = i64::from(local.minute()) * 60 + i64::from(local.second());
            prop_assert_eq!(periods.hour, time.as_duration().as_millis().div_euclid(1000) as i64 - into);
            prop_assert_eq!(calendar.local(time), (local.datetime(), local.offset()));
        }
    }
}
