//! A store that fails altogether while a plan is applied: the act ends there, says what was done, and does not go on from
//! point to point, each with all its retries.

mod support;

use std::sync::Arc;

use backstay::engine::{
    PlannedPrune, PlannedSweep, PruneAction, PruneReport, ReplicationReport, Replicator, SweepAction, SweepReport,
};
use backstay::store::layer::RetryOptions;
use backstay::store::{ObjectStore, ObjectStoreExt as _, Operation};
use backstay::{Error, ErrorKind, MemoryStore, PointId};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::dead::{DEAD, TEXT, crash};
use support::pair::Pair;
use support::{World, exporter, program, three_points};

/// A store whose calls are made again, as those of real ones are: an error that comes through has no retries left.
fn retried(inner: &MemoryStore) -> (FaultyStore, impl ObjectStore + use<>) {
    let store = FaultyStore::new(Arc::new(inner.clone()));
    (store.clone(), store.retrying(RetryOptions::default()))
}

/// Nothing can be put that belongs to this point.
fn goes_down_at(store: &FaultyStore, point: &PointId) {
    for namespace in ["points", "sigs", "items"] {
        let rule = Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Put]);
        store.add(rule.under(format!("{namespace}/{point}")));
    }
}

/// A prune of three points, and its store.
async fn pruning() -> (FaultyStore, PlannedPrune, Vec<PointId>) {
    let (world, backstay, points) = three_points(TEXT).await;
    for _ in 0..2 {
        backstay.backup("daily").await.expect("a backup");
    }
    let (faulty, store) = retried(&world.store);
    let pruner = program(world.open(store, 9).await.expect("it opens"), exporter(&[]));
    let plan = pruner.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Tombstone), 3, "{plan}");
    (faulty, plan, points)
}

/// A sweep of three dead runs, and its store.
async fn sweeping() -> (FaultyStore, PlannedSweep, Vec<PointId>) {
    let world = World::new(3).await;
    world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup");
    for seed in 15..18 {
        crash(&world, 5, seed).await;
    }
    world.clock.advance(DEAD);
    let (faulty, store) = retried(&world.store);
    let sweeper = program(world.open(store, 9).await.expect("it opens"), exporter(&[]));
    let plan = sweeper.sweep().plan().await.expect("a plan");
    let voided = plan.steps.iter().filter(|step| step.action == SweepAction::Void);
    let ids: Vec<PointId> = voided.map(|step| step.id.clone()).collect();
    assert_eq!(ids.len(), 3, "{plan}");
    (faulty, plan, ids)
}

/// Nothing can be signed that belongs to this point.
fn denies(store: &FaultyStore, point: &PointId) {
    let denied = Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::Put]);
    store.add(denied.under(format!("sigs/{point}")));
}

fn ended_at(error: &Error, point: &PointId) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(!error.is_retryable(), "its retries are not spent: {error:?}");
    assert_eq!(error.context("point"), Some(point.to_string().as_str()), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_prune_ends_at_the_point_where_its_store_goes_down() {
    let (faulty, plan, points) = pruning().await;
    goes_down_at(&faulty, &points[1]);
    let error = plan.apply().await.expect_err("the store is down");
    ended_at(&error, &points[1]);
    let report: &PruneReport = error.payload().expect("what was done");
    assert_eq!(report.tombstoned, points[..1], "it went on");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_at_the_run_where_its_store_goes_down() {
    let (faulty, plan, ids) = sweeping().await;
    goes_down_at(&faulty, &ids[1]);
    let error = plan.apply().await.expect_err("the store is down");
    ended_at(&error, &ids[1]);
    let report: &SweepReport = error.payload().expect("what was done");
    assert_eq!(report.voided, ids[..1], "it went on");
}

/// The points that failed before are in the report as well.
#[tokio::test(start_paused = true)]
async fn what_failed_before_the_end_is_told_too() {
    let (faulty, plan, points) = pruning().await;
    denies(&faulty, &points[0]);
    goes_down_at(&faulty, &points[1]);
    let error = plan.apply().await.expect_err("the store is down");
    ended_at(&error, &points[1]);
    let left = &error.payload::<PruneReport>().expect("what was done").left;
    assert_eq!(left.iter().map(|left| left.what.as_str()).collect::<Vec<_>>(), [points[0].to_string()]);

    let (faulty, plan, ids) = sweeping().await;
    denies(&faulty, &ids[0]);
    goes_down_at(&faulty, &ids[1]);
    let error = plan.apply().await.expect_err("the store is down");
    ended_at(&error, &ids[1]);
    let left = &error.payload::<SweepReport>().expect("what was done").left;
    assert_eq!(left.iter().map(|left| left.what.as_str()).collect::<Vec<_>>(), [ids[0].to_string()]);
}

#[tokio::test(start_paused = true)]
async fn a_replication_ends_at_the_point_where_its_store_goes_down() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let (faulty, store) = retried(&pair.store);
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let replicator = Replicator::new(origin, pair.replica(store).await.expect("it opens"));
    let plan = replicator.plan().await.expect("a plan");
    let ids: Vec<PointId> = plan.steps.iter().map(|step| step.id.clone()).collect();
    assert_eq!(ids.len(), points.len(), "{plan}");
    goes_down_at(&faulty, &ids[1]);
    let error = plan.apply().await.expect_err("the store is down");
    ended_at(&error, &ids[1]);
    let report: &ReplicationReport = error.payload().expect("what was done");
    assert_eq!(report.copied, ids[..1], "it went on");
}
