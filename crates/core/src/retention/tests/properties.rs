//! What holds for every history and every set of rules.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use proptest::prelude::*;

use super::id;
use crate::name::{Name, PointId};
use crate::retention::{Action, Decision, KeepRules, NewestGood, PointState, PointSummary, RetentionPolicy, decide};

const YEAR: i64 = 366 * 24 * 60;

fn now(zone: &str) -> Zoned {
    "2026-11-20T06:30:00Z".parse::<Timestamp>().unwrap().to_zoned(TimeZone::get(zone).unwrap())
}

/// A point some minutes ago; a little below zero is ahead.
fn ago(minutes: i64, n: u32, state: PointState) -> PointSummary {
    let time = now("UTC").timestamp() - SignedDuration::from_mins(minutes);
    PointSummary::new(id(time, n), time, state)
}

fn states() -> impl Strategy<Value = PointState> {
    prop_oneof![
        6 => Just(PointState::Complete),
        3 => Just(PointState::Partial),
        1 => Just(PointState::Doubtful),
    ]
}

/// Dense lately, thin in the years before.
fn histories() -> impl Strategy<Value = Vec<PointSummary>> {
    let age = prop_oneof![-300..3_000_i64, 0..60_000_i64, 0..3 * YEAR];
    prop::collection::vec((age, states()), 0..60)
        .prop_map(|points| (0..).zip(points).map(|(n, (minutes, state))| ago(minutes, n, state)).collect())
}

prop_compose! {
    fn rules()(
        [last, hourly, daily, weekly, monthly, yearly] in prop::array::uniform6(prop_oneof![Just(0), 0..6_u32]),
        within in prop::option::of(0..100_i64),
        at_least in prop::option::of(1..20_u32),
    ) -> KeepRules {
        let within = within.map(|days| days.days());
        KeepRules { last, hourly, daily, weekly, monthly, yearly, within, at_least }
    }
}

fn zones() -> impl Strategy<Value = Zoned> {
    prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]).prop_map(now)
}

fn kept(policy: &impl RetentionPolicy, points: &[PointSummary], now: &Zoned) -> BTreeSet<PointId> {
    let proposals = policy.propose(points, now);
    proposals.into_iter().filter(|p| p.action == Action::Keep).map(|p| p.id).collect()
}

fn only(points: &[PointSummary], ids: &BTreeSet<PointId>) -> Vec<PointSummary> {
    points.iter().filter(|point| ids.contains(&point.id)).cloned().collect()
}

/// Plans with every guard and gives what is left.
fn prune(
    points: &[PointSummary],
    contents: &BTreeMap<PointId, BTreeSet<Name>>,
    policy: &impl RetentionPolicy,
    now: &Zoned,
) -> (Vec<PointSummary>, Vec<Decision>) {
    let mut decisions = decide(points, policy.propose(points, now), now.timestamp(), &BTreeMap::new());
    let mut guard = NewestGood::new(points, &decisions, now.timestamp(), BTreeMap::new());
    loop {
        let wanted = guard.wanted();
        if wanted.is_empty() {
            break;
        }
        for id in wanted {
            guard.read(&id, Ok(contents[&id].iter().cloned().collect()));
        }
    }
    guard.finish(&mut decisions);
    let left = decisions.iter().filter(|d| d.action == Action::Keep).map(|d| d.id.clone()).collect();
    (only(points, &left), decisions)
}

/// The newest point that surely holds the component.
fn newest<'a>(
    points: &'a [PointSummary],
    contents: &BTreeMap<PointId, BTreeSet<Name>>,
    component: &Name,
    now: &Zoned,
) -> Option<&'a PointId> {
    let sure = |point: &&PointSummary| point.state != PointState::Doubtful && point.time <= now.timestamp();
    let holds = |point: &&PointSummary| contents[&point.id].contains(component);
    points.iter().filter(sure).filter(holds).max_by_key(|point| (point.time, &point.id)).map(|point| &point.id)
}

fn component(n: u8) -> Name {
    Name::new(format!("c{n}")).unwrap()
}

proptest! {
    #[test]
    fn the_order_of_the_points_does_not_matter(
        (points, shuffled) in histories().prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle())),
        rules in rules(),
        now in zones(),
    ) {
        let by_id = |points: &[PointSummary]| -> BTreeMap<PointId, Vec<String>> {
            rules.propose(points, &now).into_iter().map(|p| (p.id, p.reasons)).collect()
        };
        prop_assert_eq!(by_id(&points), by_id(&shuffled));
    }

    #[test]
    fn partial_points_fill_no_slot(points in histories(), rules in rules(), now in zones()) {
        let complete: Vec<_> = points.iter().filter(|point| point.state != PointState::Partial).cloned().collect();
        let with_partial = only(&complete, &kept(&rules, &points, &now));
        prop_assert_eq!(with_partial, only(&complete, &kept(&rules, &complete, &now)));
    }

    #[test]
    fn a_longer_history_never_keeps_less(
        points in histories(),
        older in prop::collection::vec((3 * YEAR..6 * YEAR, states()), 0..20),
        rules in rules(),
        now in zones(),
    ) {
        let older = (1000..).zip(older).map(|(n, (minutes, state))| ago(minutes, n, state));
        let longer: Vec<_> = points.iter().cloned().chain(older).collect();
        let (short, long) = (kept(&rules, &points, &now), kept(&rules, &longer, &now));
        prop_assert!(short.len() <= long.len());
        // A minimum counts points, so that an older one may take the place of one that only filled up.
        let rules = KeepRules { at_least: None, ..rules };
        prop_assert!(kept(&rules, &points, &now).is_subset(&kept(&rules, &longer, &now)));
    }

    #[test]
    fn adding_a_policy_never_lets_more_go(points in histories(), a in rules(), b in rules(), now in zones()) {
        let union: BTreeSet<_> = kept(&a, &points, &now).union(&kept(&b, &points, &now)).cloned().collect();
        prop_assert_eq!(kept(&a.and(b), &points, &now), union);
    }

    #[test]
    fn a_greater_number_never_keeps_less(points in histories(), rules in rules(), now in zones()) {
        let more = KeepRules {
            last: rules.last + 1, daily: rules.daily * 2, monthly: rules.monthly + 3, at_least: None, ..rules.clone()
        };
        let rules = KeepRules { at_least: None, ..rules };
        prop_assume!(!rules.is_empty());
        prop_assert!(kept(&rules, &points, &now).is_subset(&kept(&more, &points, &now)));
    }

    #[test]
    fn planning_again_at_the_same_instant_lets_nothing_more_go(points in histories(), rules in rules(), now in zones()) {
        let left = only(&points, &kept(&rules, &points, &now));
        prop_assert_eq!(kept(&rules, &left, &now).len(), left.len());
    }

    #[test]
    fn the_newest_good_item_of_each_component_survives(
        points in histories(),
        holds in prop::collection::vec(prop::collection::btree_set(0..4_u8, 0..4), 60),
        rules in rules(),
        now in zones(),
    ) {
        let holds = holds.into_iter().map(|components| components.into_iter().map(component).collect());
        let contents: BTreeMap<_, BTreeSet<Name>> = points.iter().map(|point| point.id.clone()).zip(holds).collect();
        let (left, _) = prune(&points, &contents, &rules, &now);
        for component in (0..4).map(component) {
            prop_assert_eq!(newest(&points, &contents, &component, &now), newest(&left, &contents, &component, &now));
        }
        let (again, _) = prune(&left, &contents, &rules, &now);
        prop_assert_eq!(left, again);
    }

    #[test]
    fn nights_of_failures_and_prunes_lose_no_newest_good_item(
        nights in prop::collection::vec(prop::collection::btree_set(0..3_u8, 0..=3), 1..40),
        rules in rules(),
    ) {
        let start = now("Europe/Berlin");
        let (mut points, mut contents) = (Vec::new(), BTreeMap::new());
        let mut newest_good: BTreeMap<u8, PointId> = BTreeMap::new();
        for (night, good) in (0..).zip(nights) {
            let tonight = start.checked_add(i64::from(night).days()).unwrap();
            let state = if good.len() == 3 { PointState::Complete } else { PointState::Partial };
            let point = PointSummary::new(id(tonight.timestamp(), night), tonight.timestamp(), state);
            newest_good.extend(good.iter().map(|component| (*component, point.id.clone())));
            contents.insert(point.id.clone(), good.into_iter().map(component).collect());
            points.push(point);
            points = prune(&points, &contents, &rules, &tonight).0;
            for id in newest_good.values() {
                prop_assert!(points.iter().any(|point| point.id == *id), "{} is gone on night {}", id, night);
            }
        }
    }
}
