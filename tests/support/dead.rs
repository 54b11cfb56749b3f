//! Runs that died, and sweeps over them.

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{SweepPlan, SweepReport};
use backstay::store::{ObjectStore, PutOptions};
use backstay::{Backstay, ErrorKind, PointId, Result};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};

use super::{World, exporter, program};

pub const TEXT: &[u8] = b"content";
/// Longer than the longest run and the grace, shorter than twice the longest run.
pub const DEAD: Duration = Duration::from_secs(9 * 24 * 3600);

/// A world with one good point and a run that died when its `k`-th call was due; whose it is.
pub async fn died_at(k: u64) -> (World, PointId, PointId) {
    let world = World::new(3).await;
    let good = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a well world").id;
    world.clock.advance(Duration::from_secs(3600));
    let dead = crash(&world, k, 5).await;
    (world, good, dead)
}

pub async fn crash(world: &World, k: u64, seed: u64) -> PointId {
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let vault = world.open(store.clone(), seed).await.expect("it opens");
    store.reset_calls();
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(k));
    let error = program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err("it dies");
    error.context("point").expect("it says which").parse().expect("a point")
}

/// Begins an upload of each key and drops it, as a killed process does.
pub async fn begin(store: &dyn ObjectStore, keys: &[String]) {
    for key in keys {
        drop(store.upload(&key.parse().expect("a key"), &PutOptions::default()).await.expect("it begins"));
    }
}

pub async fn sweep(backstay: &Backstay) -> (SweepPlan, SweepReport) {
    let plan = backstay.sweep().plan().await.expect("a plan");
    let shown = (*plan).clone();
    (shown, plan.apply().await.expect("a sweep"))
}

/// A sweep by a person who looked at what was signed and is gone, and knows that no point was ever there.
pub async fn sweep_as_a_person(backstay: &Backstay) -> Result<SweepReport> {
    let mut request = backstay.sweep();
    for step in &backstay.sweep().plan().await?.steps {
        if step.reason.contains("danger_made_no_point") {
            request = request.danger_made_no_point(&step.id);
        }
    }
    request.plan().await?.apply().await
}

pub fn of<'a>(keys: &'a [String], id: &PointId) -> Vec<&'a String> {
    keys.iter().filter(|key| key.contains(&id.run.to_string())).collect()
}
