//! Deciding over a million points.

use std::collections::BTreeMap;
use std::time::Instant;

use backstay::retention::{Keep, PointState, PointSummary, RetentionPolicy, decide};
use backstay::{PointId, RunId};
use backstay_testkit::SeededRandom;
use jiff::{SignedDuration, Timestamp};

use crate::Result;

pub(crate) fn million(_: &[String]) -> Result<()> {
    let random = SeededRandom::new(1);
    let now: Timestamp = "2026-11-20T06:42:00Z".parse()?;
    let point = |age: i64| {
        let time = now - SignedDuration::from_mins(age);
        let id = PointId { source: "prod".parse()?, tier: "daily".parse()?, run: RunId::new(time, &random) };
        Ok(PointSummary::new(id, time, PointState::Complete))
    };
    let points = (1..=1_000_000).rev().map(point).collect::<backstay::Result<Vec<_>>>()?;
    let zoned = now.in_tz("Europe/Berlin")?;
    let rules = Keep::hourly(48).daily(30).weekly(8).monthly(12).yearly(5);
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the time that passes")]
    let began = Instant::now();
    let decisions = decide(&points, rules.propose(&points, &zoned), now, &BTreeMap::new());
    println!("seconds={}\ndecisions={}", began.elapsed().as_secs_f64(), decisions.len());
    Ok(())
}
