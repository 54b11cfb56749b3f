//! What must stay stays.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::id;
use crate::error::{Error, ErrorKind};
use crate::name::{Name, PointId};
use crate::retention::{Action, Decision, NewestGood, PointState, PointSummary, Proposal, check_mass_expiry, decide};

fn time(day: i64) -> Timestamp {
    "2026-11-01T06:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day)
}

fn names(text: &str) -> Vec<Name> {
    text.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

/// One point per day, oldest first; `-` before the components that it holds good lets it expire.
fn tier(days: &[&str]) -> (Vec<PointSummary>, Vec<Decision>, BTreeMap<PointId, Vec<Name>>) {
    let (mut points, mut proposals, mut contents) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (day, text) in (0..).zip(days) {
        let id = id(time(day), 0);
        let (action, components) = match text.strip_prefix('-') {
            Some(components) => (Action::Expire, components),
            None => (Action::Keep, *text),
        };
        points.push(PointSummary::new(id.clone(), time(day), PointState::Complete));
        proposals.push(Proposal::new(id.clone(), action, vec!["own".to_owned()]));
        contents.insert(id, names(components));
    }
    let decisions = decide(&points, proposals, time(100), &BTreeMap::new());
    (points, decisions, contents)
}

/// The days that expire in the end, and how many points were read.
fn run(days: &[&str], retired: &[(&str, i64)]) -> (Vec<usize>, usize) {
    let (points, mut decisions, contents) = tier(days);
    let retired = retired.iter().map(|(name, day)| (name.parse().unwrap(), time(*day))).collect();
    let mut guard = NewestGood::new(&points, &decisions, time(100), retired);
    let mut read = BTreeSet::new();
    loop {
        let wanted = guard.wanted();
        if wanted.is_empty() {
            break;
        }
        for id in wanted {
            guard.read(&id, Ok(contents[&id].clone()));
            assert!(read.insert(id), "read twice");
        }
    }
    guard.finish(&mut decisions);
    (expiring(&decisions), read.len())
}

fn expiring(decisions: &[Decision]) -> Vec<usize> {
    decisions.iter().enumerate().filter(|(_, d)| d.action == Action::Expire).map(|(i, _)| i).collect()
}

/// Days, retired components, what expires in the end, how many points are read.
type Case = (&'static [&'static str], &'static [(&'static str, i64)], &'static [usize], usize);

#[test]
fn the_newest_good_item_of_each_component_stays_whichever_point_holds_it() {
    let table: [Case; 12] = [
        // Everything may go but for the newest.
        (&["-a b", "-a b", "-a b"], &[], &[0, 1], 3),
        (&["-a b", "-a b", "a b"], &[], &[0, 1], 3),
        // Components that fail on alternate nights.
        (&["-a", "-b", "-a", "-b"], &[], &[0, 1], 4),
        (&["-a", "-b", "-a", "b"], &[], &[0, 1], 4),
        // A kept point that is older than the newest good item does not free it, and is not read.
        (&["a b", "-a", "b"], &[], &[], 2),
        // Kept points are read from the newest back, no further than needed.
        (&["-a", "a", "a", "a b", "b"], &[], &[0], 3),
        (&["-a b", "a b", "a", "b"], &[], &[0], 3),
        // A component that nobody backs up any more, until it is retired; what came after that is guarded again.
        (&["-gone a", "a"], &[], &[], 2),
        (&["-gone a", "a"], &[("gone", 1)], &[0], 2),
        (&["-gone a", "-gone a", "a"], &[("gone", 0)], &[0], 3),
        // Nothing would expire: nothing is read.
        (&["a", "b"], &[], &[], 0),
        // A point that holds nothing good may go without a look at the others.
        (&["-", "a"], &[], &[0], 1),
    ];
    for (days, retired, expire, reads) in table {
        assert_eq!(run(days, retired), (expire.to_vec(), reads), "{days:?} {retired:?}");
    }
}

#[test]
fn a_veto_says_what_the_point_holds() {
    let (points, mut decisions, contents) = tier(&["-a b c", "c"]);
    let mut guard = NewestGood::new(&points, &decisions, time(100), BTreeMap::new());
    for id in [&points[0].id, &points[1].id] {
        guard.read(id, Ok(contents[id].clone()));
    }
    guard.finish(&mut decisions);
    let expected = format!("keep {}: it holds the newest good item of a, b (the policy: own)", points[0].id);
    assert_eq!(decisions[0].to_string(), expected);
}

#[test]
fn what_cannot_be_read_stays_and_lets_nothing_go() {
    let unreadable = || Err(Error::new(ErrorKind::Corrupt, "not JSON"));
    // A candidate that cannot be read, and a kept point that cannot: the older good ones stay.
    let (points, mut decisions, contents) = tier(&["-a", "-a", "a"]);
    let mut guard = NewestGood::new(&points, &decisions, time(100), BTreeMap::new());
    guard.read(&points[0].id, Ok(contents[&points[0].id].clone()));
    guard.read(&points[1].id, unreadable());
    assert_eq!(guard.wanted(), [points[2].id.clone()]);
    guard.read(&points[2].id, unreadable());
    assert_eq!(guard.wanted(), []);
    guard.finish(&mut decisions);
    assert_eq!(decisions[0].veto.as_deref(), Some("it holds the newest good item of a"));
    assert_eq!(decisions[1].veto.as_deref(), Some("it cannot be read: not JSON"));
}

#[test]
fn reading_less_than_was_wanted_lets_less_go() {
    let (points, mut decisions, contents) = tier(&["-a", "-a", "a"]);
    let mut guard = NewestGood::new(&points, &decisions, time(100), BTreeMap::new());
    guard.read(&points[0].id, Ok(contents[&points[0].id].clone()));
    guard.read(&id(time(50), 0), Ok(names("a")));
    guard.finish(&mut decisions);
    assert_eq!(decisions[0].veto.as_deref(), Some("it holds the newest good item of a"));
    assert_eq!(decisions[1].veto.as_deref(), Some("it was not read"));
}

#[test]
fn doubtful_and_future_points_let_nothing_go() {
    for (state, now) in [(PointState::Doubtful, time(100)), (PointState::Complete, time(0))] {
        let (mut points, mut decisions, contents) = tier(&["-a", "a"]);
        points[1].state = state;
        let mut guard = NewestGood::new(&points, &decisions, now, BTreeMap::new());
        guard.read(&points[0].id, Ok(contents[&points[0].id].clone()));
        assert_eq!(guard.wanted(), []);
        guard.finish(&mut decisions);
        assert_eq!(expiring(&decisions), [0; 0], "{state:?}");
    }
}

#[test]
fn what_is_protected_doubtful_ahead_or_unspoken_of_stays_with_the_reason() {
    let states = [PointState::Complete, PointState::Doubtful, PointState::Complete, PointState::Partial];
    let mut points: Vec<_> =
        (0..).zip(states).map(|(day, state)| PointSummary::new(id(time(day), 0), time(day), state)).collect();
    points[2].time = time(101);
    let expire = |point: &PointSummary| Proposal::new(point.id.clone(), Action::Expire, vec!["own".to_owned()]);
    let mut proposals: Vec<_> = points.iter().map(expire).collect();
    let protected = BTreeMap::from([(points[0].id.clone(), "held by legal".to_owned())]);

    let vetoes = |decisions: &[Decision]| -> Vec<Option<String>> {
        assert!(decisions.iter().all(|d| (d.action == Action::Keep) == d.veto.is_some()));
        decisions.iter().map(|decision| decision.veto.clone()).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    let expected =
        [some("held by legal"), some("doubtful: it waits for a person"), some("its time lies in the future"), None];
    assert_eq!(vetoes(&decide(&points, proposals.clone(), time(100), &protected)), expected);

    // In any order, with a stranger among them.
    proposals.reverse();
    proposals.push(Proposal::new(id(time(9), 9), Action::Expire, Vec::new()));
    assert_eq!(vetoes(&decide(&points, proposals.clone(), time(100), &protected)), expected);

    // Of two proposals for one point, keeping wins.
    proposals.push(Proposal::new(points[3].id.clone(), Action::Keep, vec!["mine".to_owned()]));
    assert_eq!(decide(&points, proposals, time(100), &protected)[3].reasons, ["mine"]);

    let silent = decide(&points, Vec::new(), time(100), &protected);
    assert!(silent.iter().all(|d| d.action == Action::Keep && d.reasons == ["the policy says nothing about it"]));
}

#[test]
fn more_than_half_at_once_is_refused_but_small_tiers_work() {
    let table = [(0, 0, true), (3, 3, true), (3, 4, true), (4, 4, false), (4, 7, false), (4, 8, true), (5, 8, false)];
    for (expire, points, allowed) in table {
        let days: Vec<&str> = (0..points).map(|i| if i < expire { "-a" } else { "a" }).collect();
        let (_, decisions, _) = tier(&days);
        let result = check_mass_expiry(&decisions);
        assert_eq!(result.is_ok(), allowed, "{expire} of {points}");
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert_eq!(error.context("expire"), Some(expire.to_string().as_str()));
        }
    }
}
