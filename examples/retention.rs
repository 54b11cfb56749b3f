//! Plans retention for a made-up year: what stays, what goes, and why. Nothing is stored or deleted.
//!
//! `cargo run --example retention`

use std::collections::BTreeMap;
use std::error::Error;

use backstay::retention::{
    Action, Keep, NewestGood, PointState, PointSummary, RetentionPolicy, check_mass_expiry, decide,
};
use backstay::{Name, PointId, Tier};
use jiff::{ToSpan, Zoned};

fn main() -> Result<(), Box<dyn Error>> {
    let tier = Tier::new("daily")
        .covers(["orders-db", "files"])
        .keep(Keep::daily(7).weekly(4).monthly(12))
        .keep_also(Keep::within(36.hours()))
        .time_zone("Europe/Berlin");
    if let Some(problem) = tier.problems().into_iter().next() {
        return Err(problem.into());
    }
    let now: Zoned = "2026-11-20T12:00[Europe/Berlin]".parse()?;
    let points = a_year_of_nights(&now)?;

    // 1. Policies propose. Both keep what they keep; what neither keeps may go.
    let proposals = tier.policy().propose(&points, &now);
    // 2. What is held stays.
    let held = BTreeMap::from([(points[101].id.clone(), "held by legal".to_owned())]);
    let mut decisions = decide(&points, proposals, now.timestamp(), &held);
    // 3. The newest good item of each component stays. An engine reads manifests for this; here a rule knows.
    let mut guard = NewestGood::new(&points, &decisions, now.timestamp(), BTreeMap::new());
    loop {
        let wanted = guard.wanted();
        if wanted.is_empty() {
            break guard.finish(&mut decisions);
        }
        for point in points.iter().filter(|point| wanted.contains(&point.id)) {
            guard.read(&point.id, good_components(point));
        }
    }
    // 4. More than half at once is refused: a first plan over a year of points is one that a person allows.
    let Err(refused) = check_mass_expiry(&decisions) else {
        return Err("a plan that lets nearly all points go was not refused".into());
    };
    println!("{refused}\n\nThe plan:");

    let (kept, expired): (Vec<_>, Vec<_>) = decisions.iter().partition(|decision| decision.action == Action::Keep);
    for decision in &kept {
        println!("{decision}");
    }
    println!("... and {} points that expire, such as\n{}", expired.len(), expired[expired.len() - 1]);

    let vetoes: Vec<_> = kept.iter().filter_map(|decision| decision.veto.as_deref()).collect();
    let expected = ["held by legal", "it holds the newest good item of legacy-db"];
    if (points.len(), kept.len(), vetoes.as_slice()) != (366, 23, expected.as_slice()) {
        return Err(format!("expected 23 points to stay and {expected:?}; got {} and {vetoes:?}", kept.len()).into());
    }
    Ok(())
}

/// A point each night at three, the oldest first. Every tenth night, the last one too, `files` fails.
fn a_year_of_nights(now: &Zoned) -> Result<Vec<PointSummary>, Box<dyn Error>> {
    let night = |ago: i64| -> Result<PointSummary, Box<dyn Error>> {
        let time = now.with().hour(3).build()?.checked_sub(ago.days())?.timestamp();
        let id: PointId = format!("prod/daily/{}-abcdefgh", time.strftime("%Y%m%dt%H%M%Sz")).parse()?;
        let state = if ago % 10 == 0 { PointState::Partial } else { PointState::Complete };
        Ok(PointSummary::new(id, time, state))
    };
    (0..366).rev().map(night).collect()
}

/// `legacy-db` was backed up until the middle of June and never retired by name.
fn good_components(point: &PointSummary) -> backstay::Result<Vec<Name>> {
    let legacy = point.id.to_string().as_str() < "prod/daily/20260615";
    let files = point.state == PointState::Complete;
    let names = [("orders-db", true), ("files", files), ("legacy-db", legacy)];
    names.into_iter().filter(|(_, good)| *good).map(|(name, _)| Name::new(name)).collect()
}
