//! Replication stopped at every store call and dropped at every poll, and beside another replicator or a prune of either
//! vault: what shows in the replica is whole, and the next run finishes the work.

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::{ErrorKind, PointId, Result};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::gate::Gates;
use support::pair::Pair;
use support::saved::SavedPair;
use support::steps::{dies_at, polled, slow};
use support::whole::Whole;
use support::{exporter, program};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// Every point that the replica shows is whole and restores from it alone.
async fn check(pair: &Pair, whole: &mut Whole, place: &str) -> Vec<PointId> {
    whole.shown(&pair.left().await, &pair.store, |_| TEXT.to_vec(), place).await
}

/// The next run copies what is missing.
async fn finish(pair: &Pair, points: &[PointId], whole: &mut Whole, place: &str) {
    let report = pair.copy(pair.world.store.clone(), pair.store.clone()).await;
    report.unwrap_or_else(|error| panic!("{place}: the next run fails: {error:?}"));
    assert_eq!(check(pair, whole, place).await, points, "{place}");
}

#[tokio::test(start_paused = true)]
async fn a_replicator_that_stops_at_any_call_leaves_nothing_half_and_the_next_one_goes_on() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let (saved, mut whole) = (SavedPair::of(pair).await, Whole::default());
    for (at_origin, lost_answer) in [(false, false), (false, true), (true, false)] {
        let mut resumed = 0;
        for k in 1.. {
            let pair = saved.load().await;
            let faulty = |store| FaultyStore::new(Arc::new(store));
            let (from, to) = (faulty(pair.world.store.clone()), faulty(pair.store.clone()));
            let broken = if at_origin { &from } else { &to };
            dies_at(broken, k, lost_answer);
            let stopped = pair.copy(from.clone(), to.clone()).await;
            let place = format!("at the origin: {at_origin}, lost answer: {lost_answer}, call {k}");
            resumed += usize::from(check(&pair, &mut whole, &place).await.len() == 1);
            finish(&pair, &points, &mut whole, &place).await;
            if broken.all_calls() < k {
                stopped.unwrap_or_else(|error| panic!("{place}: no fault, but {error}"));
                assert!(k > 15, "met only {k} calls");
                break;
            }
        }
        assert!(resumed > 2, "only {resumed} runs stopped between two points");
    }
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_here_fails_no_replication() {
    for k in 1.. {
        let (pair, points) = Pair::with_points(1, 1, TEXT).await;
        let to = FaultyStore::new(Arc::new(pair.store.clone()));
        let replica = pair.replica(to.clone()).await.expect("it opens");
        let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
        to.reset_calls();
        to.add(Rule::new(Fault::FailAfter(ErrorKind::Timeout)).on([backstay::store::Operation::Put]).nth(k));
        let plan = Replicator::new(origin, replica).plan().await.expect("a plan");
        plan.apply().await.unwrap_or_else(|error| panic!("put {k}: {error:?}"));
        assert_eq!(check(&pair, &mut Whole::default(), &format!("put {k}")).await, points);
        if to.calls(backstay::store::Operation::Put) < k {
            assert_eq!(k, 8, "two objects, a key, a record, two signatures, the manifest");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replicator_dropped_after_any_poll_leaves_nothing_half() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let (saved, mut whole) = (SavedPair::of(pair).await, Whole::default());
    for n in 1.. {
        let pair = saved.load().await;
        let copying = pair.copy(slow(&pair.world.store), slow(&pair.store));
        let done = polled(n, copying).await;
        let place = format!("dropped after {n} polls");
        check(&pair, &mut whole, &place).await;
        finish(&pair, &points, &mut whole, &place).await;
        if let Some(result) = done {
            result.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(n > 15, "met only {n} polls");
            break;
        }
    }
}

/// A plan that waited while the replica let the point go.
#[tokio::test(start_paused = true)]
async fn what_is_being_deleted_in_the_replica_is_not_committed_again() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let plan = || async {
        let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
        let here = pair.replica(pair.store.clone()).await.expect("it opens");
        Replicator::new(origin, here).plan().await.expect("a plan")
    };
    let waiting = plan().await;
    pair.replicate().await;
    let pruner = pair.pruner(pair.store.clone()).await.expect("well formed");
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    let error = waiting.apply().await.expect_err("one is being deleted");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert_eq!((report.left.len(), report.bytes), (1, 0), "{report:?}");
    assert!(report.left[0].what == points[0].to_string() && report.left[0].why.contains("being deleted"), "{report:?}");
    assert_eq!(plan().await.steps.len(), 0, "nor is it planned again");
}

/// Whatever takes bytes away while they arrive: the commit looks once more.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_whose_bytes_are_gone_by_then() {
    let (pair, _) = Pair::with_points(1, 1, TEXT).await;
    let gates = Gates::default();
    let copying = {
        let (pair, to) = (pair.clone(), gates.store(&pair.store, 0));
        tokio::spawn(async move { pair.copy(pair.world.store.clone(), to).await })
    };
    while pair.keys("copies/").await.is_empty() {
        gates.step_all().await;
    }
    pair.remove(&pair.keys("items/").await.remove(0)).await;
    gates.open();
    let error = copying.await.expect("no panic").expect_err("an item is missing");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    assert_eq!(pair.keys("points/").await, [""; 0]);
    assert_eq!(pair.replicate().await.copied.len(), 1);
}

/// What runs beside a replicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Replicator,
    PruneAtOrigin,
    PruneAtReplica,
    Backup,
}

/// Three points; the oldest is marked where it is pruned, and its grace is over.
async fn prepared(other: Other) -> (Pair, Vec<PointId>) {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let pruner = match other {
        Other::PruneAtOrigin => program(pair.world.vault().await, exporter(&[])),
        Other::PruneAtReplica => {
            pair.replicate().await;
            pair.pruner(pair.store.clone()).await.expect("well formed")
        }
        Other::Replicator | Other::Backup => return (pair, points),
    };
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("tombstones");
    pair.world.clock.advance(2 * DAY);
    (pair, points)
}

/// Opens what `other` needs and gives its work.
async fn other_side(pair: &Pair, other: Other, gates: &Gates) -> Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    let (origin, here) = (gates.store(&pair.world.store, 1), gates.store(&pair.store, 1));
    let pair = pair.clone();
    match other {
        Other::Replicator => Box::pin(async move { pair.copy(origin, here).await.map(drop) }),
        Other::PruneAtOrigin => Box::pin(async move {
            let pruner = program(pair.world.open(origin, 51).await?, exporter(&[]));
            pruner.prune("daily").plan().await?.apply().await.map(drop)
        }),
        Other::PruneAtReplica => {
            Box::pin(async move { pair.pruner(here).await?.prune("daily").plan().await?.apply().await.map(drop) })
        }
        Other::Backup => Box::pin(async move {
            program(pair.world.open(origin, 51).await?, exporter(&[("rows", TEXT)])).backup("daily").await.map(drop)
        }),
    }
}

#[tokio::test(start_paused = true)]
async fn a_replicator_is_overtaken_at_every_step_by_whoever_works_on_either_vault() {
    let mut whole = Whole::default();
    for other in [Other::Replicator, Other::PruneAtOrigin, Other::PruneAtReplica, Other::Backup] {
        let (pair, points) = prepared(other).await;
        let saved = SavedPair::of(pair).await;
        for stopped in [0, 1] {
            for k in 0.. {
                let pair = saved.load().await;
                let gates = Gates::default();
                let copying = {
                    let pair = pair.clone();
                    let (from, to) = (gates.store(&pair.world.store, 0), gates.store(&pair.store, 0));
                    tokio::spawn(async move { pair.copy(from, to).await })
                };
                let beside = tokio::spawn(other_side(&pair, other, &gates).await);
                let overtaken = gates.overtake(stopped, k).await;
                let place = format!("{other:?}, {stopped} stopped after {k}");
                beside.await.expect("no panic").unwrap_or_else(|error| panic!("{place}: {error:?}"));
                let copied = copying.await.expect("no panic");
                settle(&pair, &points, other, copied, &mut whole, &place).await;
                if !overtaken {
                    assert!(k > 6, "{other:?} met only {k} steps");
                    break;
                }
            }
        }
    }
}

/// What may have come of it, and that the next run has nothing left to do that it cannot do.
async fn settle(
    pair: &Pair,
    points: &[PointId],
    other: Other,
    copied: Result<ReplicationReport>,
    whole: &mut Whole,
    place: &str,
) {
    match (&copied, other) {
        // A point that was deleted at the origin on its way is reported, and the others are there.
        (Err(error), Other::PruneAtOrigin) => assert_eq!(error.kind(), ErrorKind::Partial, "{place}: {error:?}"),
        (Err(error), _) => panic!("{place}: {error:?}"),
        (Ok(_), _) => {}
    }
    let listed = check(pair, whole, place).await;
    match other {
        Other::Replicator => assert_eq!(listed, points, "{place}"),
        Other::PruneAtOrigin | Other::PruneAtReplica => assert!(listed.ends_with(&points[1..]), "{place}: {listed:?}"),
        Other::Backup => assert!(listed.starts_with(points), "{place}: {listed:?}"),
    }
    pair.replicate().await;
    check(pair, whole, place).await;
}
