//! Tables. Properties and calendars are in files of their own.

mod calendar;
mod config;
mod guards;
mod properties;

use jiff::{Timestamp, ToSpan, Zoned};

use super::*;
use crate::clock::Random;
use crate::name::{PointId, RunId};

/// IDs in the order in which they are made, also within a second.
#[derive(Debug)]
struct Counter(u32);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        bytes[1..5].copy_from_slice(&self.0.to_be_bytes());
    }
}

fn id(time: Timestamp, n: u32) -> PointId {
    let name = |name: &str| name.parse().unwrap();
    PointId { source: name("prod"), tier: name("daily"), run: RunId::new(time, &Counter(n)) }
}

fn point(time: &str, state: PointState) -> PointSummary {
    let time = time.parse::<Zoned>().unwrap().timestamp();
    PointSummary::new(id(time, 0), time, state)
}

/// Complete points at local times of Berlin.
fn berlin(times: &[&str]) -> Vec<PointSummary> {
    times.iter().map(|time| point(&format!("{time}[Europe/Berlin]"), PointState::Complete)).collect()
}

fn now(time: &str) -> Zoned {
    format!("{time}[Europe/Berlin]").parse().unwrap()
}

/// What the policy keeps and why, by local time of Berlin, the oldest first.
fn kept(policy: &impl RetentionPolicy, points: &[PointSummary], now: &Zoned) -> Vec<String> {
    let proposals = policy.propose(points, now);
    assert_eq!(proposals.len(), points.len());
    assert!(proposals.iter().all(|proposal| !proposal.reasons.is_empty()), "{proposals:#?}");
    let kept = points.iter().zip(proposals).filter(|(_, proposal)| proposal.action == Action::Keep);
    let text = |(point, proposal): (&PointSummary, Proposal)| {
        let local = point.time.to_zoned(now.time_zone().clone());
        format!("{}: {}", local.strftime("%m-%d %H:%M"), proposal.reasons.join(", "))
    };
    kept.map(text).collect()
}

#[test]
fn each_rule_keeps_the_newest_complete_point_of_each_slot_and_says_which_slot() {
    let points = berlin(&[
        "2025-12-31T23:00",
        "2026-10-31T06:00",
        "2026-11-16T06:00",
        "2026-11-18T05:10",
        "2026-11-18T05:50",
        "2026-11-20T06:00",
    ]);
    let table = [
        (Keep::last(2), vec!["11-18 05:50: last 2 of 2", "11-20 06:00: last 1 of 2"]),
        (
            Keep::hourly(2),
            vec!["11-18 05:50: hourly 2 of 2 (2026-11-18 05h+01)", "11-20 06:00: hourly 1 of 2 (2026-11-20 06h+01)"],
        ),
        (
            Keep::daily(3),
            vec![
                "11-16 06:00: daily 3 of 3 (2026-11-16)",
                "11-18 05:50: daily 2 of 3 (2026-11-18)",
                "11-20 06:00: daily 1 of 3 (2026-11-20)",
            ],
        ),
        (Keep::weekly(2), vec!["10-31 06:00: weekly 2 of 2 (2026-W44)", "11-20 06:00: weekly 1 of 2 (2026-W47)"]),
        (Keep::monthly(2), vec!["10-31 06:00: monthly 2 of 2 (2026-10)", "11-20 06:00: monthly 1 of 2 (2026-11)"]),
        (Keep::yearly(9), vec!["12-31 23:00: yearly 2 of 9 (2025)", "11-20 06:00: yearly 1 of 9 (2026)"]),
        (Keep::within(2.days()), vec!["11-20 06:00: within 2d"]),
        (Keep::last(1).monthly(1), vec!["11-20 06:00: last 1 of 1, monthly 1 of 1 (2026-11)"]),
    ];
    for (rules, expected) in table {
        assert_eq!(kept(&rules, &points, &now("2026-11-20T12:00")), expected, "{rules}");
    }
}

#[test]
fn what_goes_has_its_reasons() {
    let points = [
        point("2026-11-01T06:00[Europe/Berlin]", PointState::Complete),
        point("2026-11-02T06:00[Europe/Berlin]", PointState::Partial),
        point("2026-11-20T06:00[Europe/Berlin]", PointState::Complete),
    ];
    let rules = Keep::daily(1).within(14.days()).at_least(1);
    let proposals = rules.propose(&points, &now("2026-11-20T12:00"));
    assert_eq!(proposals[0].reasons, ["fills no slot of daily 1", "older than 14d", "at least 1 others stay"]);
    assert_eq!(proposals[1].reasons, ["partial, and a newer point is complete", "older than 14d"]);
}

#[test]
fn an_iso_week_runs_on_through_the_new_year() {
    // 2026-12-28 is the Monday of 2026-W53, which ends on 2027-01-03.
    let points = berlin(&["2026-12-28T06:00", "2026-12-31T06:00", "2027-01-01T06:00", "2027-01-04T06:00"]);
    let expected = ["01-01 06:00: weekly 2 of 9 (2026-W53)", "01-04 06:00: weekly 1 of 9 (2027-W01)"];
    assert_eq!(kept(&Keep::weekly(9), &points, &now("2027-01-05T00:00")), expected);
    // 2025-12-29 belongs to 2026-W01, and so does New Year's Day.
    let points = berlin(&["2025-12-28T06:00", "2025-12-29T06:00", "2026-01-01T06:00"]);
    let expected = ["12-28 06:00: weekly 2 of 9 (2025-W52)", "01-01 06:00: weekly 1 of 9 (2026-W01)"];
    assert_eq!(kept(&Keep::weekly(9), &points, &now("2026-01-05T00:00")), expected);
}

#[test]
fn a_span_is_counted_back_on_the_local_calendar() {
    // The night before has 23 hours: a day back is noon, not 11 o'clock.
    let points = berlin(&["2026-03-28T11:59", "2026-03-28T12:00"]);
    assert_eq!(kept(&Keep::within(1.day()), &points, &now("2026-03-29T12:00")), ["03-28 12:00: within 1d"]);
    assert_eq!(kept(&Keep::within(24.hours()), &points, &now("2026-03-29T12:00")).len(), 2);
    // A month back from the 31st is the last day of February.
    let points = berlin(&["2026-02-27T12:00", "2026-02-28T12:00"]);
    assert_eq!(kept(&Keep::within(1.month()), &points, &now("2026-03-31T12:00")), ["02-28 12:00: within 1mo"]);
    // Further than time itself goes.
    assert_eq!(kept(&Keep::within(19_000.years()), &points, &now("2026-03-31T12:00")).len(), 2);
}

#[test]
fn partial_doubtful_and_future_points_fill_no_slot() {
    use PointState::{Complete, Doubtful, Partial};
    let day = |day: u32, state| point(&format!("2026-11-{day:02}T06:00[Europe/Berlin]"), state);
    let points = [
        day(1, Partial),
        day(2, Doubtful),
        day(3, Complete),
        day(4, Complete),
        day(16, Partial),
        day(17, Complete),
        day(18, Partial),
        day(19, Doubtful),
        day(21, Complete),
        day(22, Partial),
    ];
    let expected = [
        "11-02 06:00: doubtful: it waits for a person",
        "11-04 06:00: daily 2 of 2 (2026-11-04)",
        "11-16 06:00: within 5d",
        "11-17 06:00: daily 1 of 2 (2026-11-17), within 5d",
        "11-18 06:00: partial, and no newer point is complete, within 5d",
        "11-19 06:00: doubtful: it waits for a person",
        "11-21 06:00: its time lies in the future",
        "11-22 06:00: its time lies in the future",
    ];
    assert_eq!(kept(&Keep::daily(2).within(5.days()), &points, &now("2026-11-20T12:00")), expected);
}

#[test]
fn a_minimum_fills_up_with_the_newest_complete_points() {
    let mut points = berlin(&["2026-10-01T06:00", "2026-10-02T06:00", "2026-11-20T05:00", "2026-11-20T06:00"]);
    points.push(point("2026-10-03T06:00[Europe/Berlin]", PointState::Partial));
    let now = now("2026-11-20T12:00");
    let expected = ["10-02 06:00: at least 3", "11-20 05:00: at least 3", "11-20 06:00: daily 1 of 1 (2026-11-20)"];
    assert_eq!(kept(&Keep::daily(1).at_least(3), &points, &now), expected);
    assert_eq!(kept(&Keep::daily(3).at_least(3), &points, &now).len(), 3);
    assert_eq!(kept(&Keep::at_least(2), &points, &now).len(), 2);
}

#[test]
fn of_points_of_one_moment_the_greater_id_is_the_newer_one() {
    let time: Timestamp = "2026-11-20T06:00:00Z".parse().unwrap();
    let points: Vec<_> = [7, 9, 8].map(|n| PointSummary::new(id(time, n), time, PointState::Complete)).into();
    let proposals = Keep::daily(1).propose(&points, &now("2026-11-20T12:00"));
    assert_eq!(proposals.iter().map(|p| p.action == Action::Keep).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn rules_that_say_nothing_let_nothing_go() {
    let points = berlin(&["2016-11-20T06:00", "2026-11-20T06:00"]);
    let now = now("2026-11-20T12:00");
    for rules in
        [KeepRules::default(), Keep::daily(0), Keep::at_least(0), Keep::within(0.days()), Keep::within(-1.day())]
    {
        assert_eq!(kept(&rules, &points, &now).len(), 2, "{rules}");
        assert!(rules.problems().iter().any(|problem| problem.context("field") == Some("keep")));
    }
    assert_eq!(AnyOf::default().propose(&points, &now), []);
}

/// Speaks of one point only.
#[derive(Debug)]
struct Only(PointId, Action);

impl RetentionPolicy for Only {
    fn propose(&self, _: &[PointSummary], _: &Zoned) -> Vec<Proposal> {
        vec![Proposal::new(self.0.clone(), self.1, vec!["own".to_owned()])]
    }
}

#[test]
fn policies_add_up_and_silence_keeps() {
    let points = berlin(&["2026-11-18T06:00", "2026-11-19T06:00", "2026-11-20T06:00"]);
    let now = now("2026-11-20T12:00");
    let both = Keep::last(1).and(Keep::daily(2));
    let expected = ["11-19 06:00: daily 2 of 2 (2026-11-19)", "11-20 06:00: last 1 of 1, daily 1 of 2 (2026-11-20)"];
    assert_eq!(kept(&both, &points, &now), expected);

    let silent = Keep::last(1).and(Only(points[0].id.clone(), Action::Expire)).propose(&points, &now);
    let expected = Proposal::new(
        points[0].id.clone(),
        Action::Expire,
        vec!["fills no slot of last 1".to_owned(), "own".to_owned()],
    );
    assert_eq!(silent, [expected]);
}
