//! Every act stopped at every store call, dropped at every poll and overtaken at every step by the others that matter: on
//! a vault and its replica, in which a run has died and a point is on its way out or lies under delete markers.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::{Clock, SystemClock};
use backstay_testkit::fault::FaultyStore;
use support::acts::{Act, Beginning, Round, Start};
use support::gate::Gates;
use support::steps::{dies_at, polled, slow};
use support::whole::Whole;

/// Who is stopped after each of its steps, and who goes through meanwhile; each pair is tried both ways round.
async fn overtaken(start: Start, races: &[(Act, Act)]) {
    let (beginning, mut whole) = (Beginning::new(start).await, Whole::default());
    for (one, other) in races {
        let both = [[*one, *other], [*other, *one]];
        for [first, second] in both.into_iter().take(if one == other { 1 } else { 2 }) {
            for k in 0.. {
                let place = format!("{start:?}: {first:?} stopped after {k} for {second:?}");
                let round = beginning.round().await;
                let gates = Gates::default();
                let mut tasks = Vec::new();
                for (program, act) in [first, second].into_iter().enumerate() {
                    let (round, gates_of) = (round.clone(), gates.clone());
                    let opening = async move {
                        let (origin, here) = (&round.pair.world.store, &round.pair.store);
                        let (origin, here) = (gates_of.store(origin, program), gates_of.store(here, program));
                        round.open(act, origin, here, Round::seed(program)).await
                    };
                    tasks.push((act, gates.pass(program, opening).await.expect("it opens")));
                }
                let tasks: Vec<_> = tasks.into_iter().map(|(act, work)| (act, tokio::spawn(work))).collect();
                let was_overtaken = gates.overtake(0, k).await;
                for (act, task) in tasks {
                    if let Err(error) = task.await.expect("no panic") {
                        assert!(round.is_fair(act, error.kind()), "{place}: {act:?}: {error:?}");
                    }
                }
                round.check(&mut whole, &place).await;
                if k % 8 == 0 || !was_overtaken {
                    round.finish(&mut whole, &place).await;
                }
                if !was_overtaken {
                    assert!(k > 1, "{place}: few steps");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_taken_back_is_overtaken_at_every_step() {
    let with = [Act::Sweep, Act::Replicate, Act::Prune].map(|other| (Act::Undelete, other));
    overtaken(Start::Marked, &with).await;
    let there = [Act::SweepReplica, Act::Replicate, Act::PruneReplica].map(|other| (Act::UndeleteReplica, other));
    overtaken(Start::Marked, &there).await;
}

#[tokio::test(start_paused = true)]
async fn the_way_back_from_under_delete_markers_is_overtaken_at_every_step() {
    let with = [Act::Sweep, Act::Replicate, Act::Prune, Act::Undelete].map(|other| (Act::Undelete, other));
    overtaken(Start::Hidden, &with).await;
    let there = [Act::SweepReplica, Act::Replicate, Act::PruneReplica].map(|other| (Act::UndeleteReplica, other));
    overtaken(Start::HiddenReplica, &there).await;
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_waits_for_its_replica_is_overtaken_at_every_step() {
    overtaken(Start::Over, &[Act::Replicate, Act::PruneReplica].map(|other| (Act::Prune, other))).await;
}

/// It gives what was there, or says that it is gone.
#[tokio::test(start_paused = true)]
async fn a_restore_is_overtaken_at_every_step() {
    overtaken(Start::Over, &[Act::Prune, Act::Sweep].map(|other| (Act::Restore, other))).await;
}

#[tokio::test(start_paused = true)]
async fn a_sweep_is_overtaken_at_every_step() {
    overtaken(Start::Over, &[Act::Replicate, Act::Adopt].map(|other| (Act::Sweep, other))).await;
    overtaken(Start::Over, &[Act::Replicate, Act::PruneReplica].map(|other| (Act::SweepReplica, other))).await;
}

#[tokio::test(start_paused = true)]
async fn an_adoption_is_overtaken_at_every_step() {
    overtaken(Start::Over, &[Act::Adopt, Act::Backup, Act::Prune].map(|other| (Act::Adopt, other))).await;
}

/// What is interrupted here; what is missing is in the tests of the act itself.
const INTERRUPTED: [(Start, Act); 9] = [
    (Start::Over, Act::Restore),
    (Start::Over, Act::Prune),
    (Start::Over, Act::PruneReplica),
    (Start::Marked, Act::UndeleteReplica),
    (Start::Hidden, Act::Undelete),
    (Start::HiddenReplica, Act::UndeleteReplica),
    (Start::HiddenReplica, Act::Replicate),
    (Start::Over, Act::Adopt),
    (Start::Over, Act::SweepReplica),
];

#[tokio::test(start_paused = true)]
async fn an_act_that_stops_at_any_call_of_the_origin_is_finished_by_the_next() {
    stopped(false).await;
}

#[tokio::test(start_paused = true)]
async fn an_act_that_stops_at_any_call_of_the_replica_is_finished_by_the_next() {
    stopped(true).await;
}

async fn stopped(at_replica: bool) {
    let mut whole = Whole::default();
    for (start, act) in INTERRUPTED {
        let beginning = Beginning::new(start).await;
        for lost_answer in [false, true] {
            for k in 1.. {
                let place = format!("{start:?}, {act:?}, replica: {at_replica}, lost answer: {lost_answer}, call {k}");
                let round = beginning.round().await;
                let faulty = |store| FaultyStore::new(Arc::new(store));
                let (origin, here) = (faulty(round.pair.world.store.clone()), faulty(round.pair.store.clone()));
                let work = round.open(act, origin.clone(), here.clone(), 70).await.expect("it opens");
                let broken = if at_replica { here } else { origin };
                broken.reset_calls();
                dies_at(&broken, k, lost_answer);
                let stopped = work.await;
                round.check(&mut whole, &place).await;
                // Without the answer the stores are as they are one call later.
                if lost_answer || broken.all_calls() < k {
                    round.finish(&mut whole, &place).await;
                }
                if broken.all_calls() < k {
                    stopped.unwrap_or_else(|error| panic!("{place}: no fault, but {error}"));
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_act_that_is_dropped_at_any_poll_is_finished_by_the_next() {
    let mut whole = Whole::default();
    for (start, act) in INTERRUPTED {
        let beginning = Beginning::new(start).await;
        for n in 1.. {
            let place = format!("{start:?}, {act:?} dropped after {n} polls");
            let round = beginning.round().await;
            let (origin, here) = (slow(&round.pair.world.store), slow(&round.pair.store));
            let work = round.open(act, origin, here, 70).await.expect("it opens");
            let done = polled(n, work).await;
            // What was begun and may not be broken off goes on by itself.
            SystemClock.sleep(Duration::from_secs(1)).await;
            round.check(&mut whole, &place).await;
            if n % 4 == 0 || done.is_some() {
                round.finish(&mut whole, &place).await;
            }
            if let Some(result) = done {
                result.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(n > 2, "{place}: few polls");
                break;
            }
        }
    }
}
