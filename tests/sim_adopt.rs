//! What a dead run's hooks began is undone by the process that comes next, and by nobody while a run may be alive.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::BackstayBuilder;
use backstay::source::snapshot::{Consistency, CreateSnapshot, Resource, SnapshotFilter, SnapshotProvider};
use backstay::store::{ObjectStore, Operation};
use backstay::{Backstay, ErrorKind, Keep, PointId, Tier};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{Calls, MockHook, MockSnapshots};
use futures_util::TryStreamExt;
use support::gate::Gates;
use support::steps::dies_at;
use support::{World, exporter, restored};

/// A little longer than the longest run.
const DEAD: Duration = Duration::from_secs(7 * 24 * 3600 + 3600);
const TEXT: &[u8] = b"content";

/// A program with two components, a tier for both and one for the second, and a hook around the first.
async fn program(world: &World, store: impl ObjectStore, seed: u64, calls: &Calls) -> Backstay {
    builder(world, store, seed).await.hook(["db"], MockHook::new("freeze").record(calls)).build().expect("well formed")
}

async fn builder(world: &World, store: impl ObjectStore, seed: u64) -> BackstayBuilder {
    Backstay::builder("prod-eu", world.open(store, seed).await.expect("it opens"))
        .export("db", exporter(&[("rows", TEXT)]))
        .export("files", exporter(&[("a", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .tier(Tier::new("files-only").covers(["files"]).keep(Keep::last(2)))
}

/// A run dies when its `k`-th call is due. Its own hooks ran, but nobody heard; and no end is recorded.
async fn die(world: &World, tier: &str, k: u64, seed: u64) -> PointId {
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world, store.clone(), seed, &Calls::default()).await;
    store.reset_calls();
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(k));
    let error = backstay.backup(tier).await.expect_err("it dies");
    error.context("point").expect("it says which").parse().expect("a point")
}

fn count(calls: &Calls) -> (usize, usize) {
    (calls.count("freeze.before"), calls.count("freeze.after"))
}

#[tokio::test(start_paused = true)]
async fn a_dead_run_is_adopted_once_and_its_bytes_are_the_sweeps() {
    let (world, calls) = (World::new(3).await, Calls::default());
    let dead = die(&world, "daily", 6, 5).await;
    let backstay = program(&world, world.store.clone(), 6, &calls).await;
    // As long as it may be alive a thaw would let it cut what is not still.
    let report = backstay.adopt().await.expect("an adoption");
    assert!(report.adopted.is_empty() && count(&calls) == (0, 0), "{report:?}");
    world.clock.advance(DEAD);
    let before = world.keys("").await;
    let report = backstay.adopt().await.expect("an adoption");
    assert_eq!((report.adopted, count(&calls)), (vec![dead.clone()], (0, 1)));
    let after = world.keys("").await;
    let new: Vec<&String> = after.iter().filter(|key| !before.contains(key)).collect();
    assert!(new.len() == 1 && new[0].starts_with(&format!("runs/{dead}.")) && new[0].ends_with(".end.json"), "{new:?}");
    assert!(before.iter().all(|key| after.contains(key)), "bytes are the sweep's");
    assert!(backstay.adopt().await.expect("nothing to do").adopted.is_empty());
    assert_eq!(count(&calls), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_backup_adopts_first_and_costs_one_listing_more() {
    let (world, calls) = (World::new(3).await, Calls::default());
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(&world, store.clone(), 6, &calls).await;
    let plain = builder(&world, store.clone(), 7).await.build().expect("well formed");
    for (backstay, hooked) in [(&plain, 0), (&backstay, 1)] {
        backstay.backup("files-only").await.expect("the listing of the tier takes one from now on");
        store.reset_calls();
        backstay.backup("files-only").await.expect("a backup");
        assert_eq!(store.calls(Operation::List), 1 + hooked);
        assert_eq!(store.all_calls(), 5 + 1 + hooked);
    }
    // A run that has hooks left begun, one that had none, and one that committed.
    die(&world, "daily", 6, 8).await;
    die(&world, "files-only", 6, 9).await;
    backstay.backup("daily").await.expect("a backup");
    assert_eq!(count(&calls), (1, 1), "nothing is dead yet");
    world.clock.advance(DEAD);
    let point = backstay.backup("daily").await.expect("a backup").id;
    assert_eq!(count(&calls), (2, 3), "one undo for the dead run");
    let order = calls.all();
    assert_eq!(order[2..], ["freeze.after", "freeze.before", "freeze.after"], "before its own");
    assert_eq!(restored(backstay.vault(), &point).await.expect("whole")[0].1, TEXT);
    backstay.backup("daily").await.expect("a backup");
    assert_eq!(count(&calls), (3, 4), "adopted for good");
}

#[tokio::test(start_paused = true)]
async fn no_thaw_while_another_run_of_the_component_may_be_alive() {
    let (world, calls) = (World::new(3).await, Calls::default());
    let dead = die(&world, "daily", 6, 5).await;
    world.clock.advance(DEAD);
    // Under way, with its freeze begun.
    let gates = Gates::default();
    let living = tokio::spawn({
        let (world, store) = (world.clone(), gates.store(&world.store, 0));
        async move {
            let backstay = builder(&world, store, 7).await.build().expect("well formed");
            backstay.backup("daily").await
        }
    });
    while world.keys("runs/").await.len() < 2 {
        gates.settled().await.into_iter().for_each(|who| gates.step(who));
    }
    let backstay = program(&world, world.store.clone(), 6, &calls).await;
    let report = backstay.adopt().await.expect("an adoption");
    assert!(report.adopted.is_empty() && report.left[0].what == dead.to_string(), "{report:?}");
    assert_eq!(count(&calls), (0, 0));
    gates.open();
    living.await.expect("no panic").expect("it goes through");
    assert_eq!(backstay.adopt().await.expect("an adoption").adopted, [dead]);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_is_told_and_tried_again() {
    let world = World::new(3).await;
    let dead = die(&world, "daily", 6, 5).await;
    world.clock.advance(DEAD);
    for (hook, why) in [
        (MockHook::new("freeze").fail_after(ErrorKind::Denied), "told to fail"),
        (MockHook::new("freeze").hang_after(), ""),
    ] {
        let backstay = builder(&world, world.store.clone(), 6).await.hook(["db"], hook).build().expect("well formed");
        let report = backstay.adopt().await.expect("an adoption");
        assert!(report.adopted.is_empty() && report.left[0].what == dead.to_string(), "{report:?}");
        assert!(report.left[0].why.contains(why), "{report:?}");
    }
    let calls = Calls::default();
    let backstay = program(&world, world.store.clone(), 6, &calls).await;
    assert_eq!((backstay.adopt().await.expect("an adoption").adopted, count(&calls)), (vec![dead], (0, 1)));
}

/// The record is all that tells of the hook: a sweep that forgets the run first would leave it begun for ever.
#[tokio::test(start_paused = true)]
async fn a_sweep_forgets_no_run_whose_hooks_nobody_has_undone() {
    let (world, calls) = (World::new(3).await, Calls::default());
    let backstay = program(&world, world.store.clone(), 6, &calls).await;
    backstay.backup("daily").await.expect("a backup");
    let dead = die(&world, "daily", 3, 5).await;
    world.clock.advance(3 * DEAD);
    for _ in 0..2 {
        let plan = backstay.sweep().plan().await.expect("a plan");
        plan.apply().await.expect("a sweep");
        assert_eq!(world.keys(&format!("runs/{dead}.")).await.len(), 1, "its record");
    }
    assert_eq!(backstay.adopt().await.expect("an adoption").adopted, std::slice::from_ref(&dead));
    assert_eq!(count(&calls), (1, 2));
    world.clock.advance(3 * DEAD);
    let report = backstay.sweep().plan().await.expect("a plan").apply().await.expect("a sweep");
    assert_eq!((report.forgotten, world.keys(&format!("runs/{dead}.")).await.len()), (vec![dead], 0));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_planted_records_makes_one_undo() {
    let (world, calls) = (World::new(3).await, Calls::default());
    let dead = die(&world, "daily", 6, 5).await;
    for i in 0..500 {
        let random = backstay_testkit::SeededRandom::new(i);
        let id = backstay::RunId::new("2020-01-01T00:00:00Z".parse().expect("a time"), &random);
        world.overwrite(&format!("runs/prod-eu/daily/{id}.abcdefgh.until-20200102t000000z.json"), "{}").await;
    }
    world.overwrite("runs/prod-eu/daily/notes.txt", "nobody's").await;
    let backstay = program(&world, world.store.clone(), 6, &calls).await;
    assert!(backstay.adopt().await.expect("all of them may be alive").adopted.is_empty());
    world.clock.advance(DEAD);
    let report = backstay.adopt().await.expect("an adoption");
    assert_eq!((report.adopted.len(), report.adopted.last(), count(&calls)), (100, Some(&dead), (0, 1)));
}

#[tokio::test(start_paused = true)]
async fn an_adoption_stopped_at_any_store_call_is_made_good_by_the_next() {
    for lost_answer in [false, true] {
        for k in 1.. {
            let (world, calls) = (World::new(3).await, Calls::default());
            let dead = die(&world, "daily", 6, 5).await;
            world.clock.advance(DEAD);
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            let backstay = program(&world, store.clone(), 6, &calls).await;
            store.reset_calls();
            dies_at(&store, k, lost_answer);
            let stopped = backstay.adopt().await;
            let ended = |keys: Vec<String>| keys.iter().any(|key| key.ends_with(".end.json"));
            assert!(
                !ended(world.keys("runs/").await) || calls.count("freeze.after") == 1,
                "call {k}: ended, not undone"
            );
            let again = program(&world, world.store.clone(), 7, &calls).await;
            again.adopt().await.unwrap_or_else(|error| panic!("call {k}: {error}"));
            assert!(ended(world.keys(&format!("runs/{dead}.")).await) && calls.count("freeze.after") >= 1, "call {k}");
            if store.all_calls() < k {
                assert_eq!(stopped.expect("no fault").adopted, [dead]);
                assert!(k > 3, "an adoption met only {k} faults");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn adoptions_overtake_each_other_at_every_step() {
    for k in 0.. {
        let (world, calls) = (World::new(3).await, Calls::default());
        let dead = die(&world, "daily", 6, 5).await;
        world.clock.advance(DEAD);
        let gates = Gates::default();
        let opening = tokio::spawn({
            let (world, store, calls) = (world.clone(), gates.store(&world.store, 0), calls.clone());
            async move { program(&world, store, 6, &calls).await }
        });
        while !opening.is_finished() {
            gates.settled().await.into_iter().for_each(|who| gates.step(who));
        }
        let one = opening.await.expect("no panic");
        let stopped = tokio::spawn(async move { one.adopt().await });
        let mut taken = 0;
        while taken < k && !gates.settled().await.is_empty() {
            gates.step(0);
            taken += 1;
        }
        gates.settled().await;
        let two = program(&world, world.store.clone(), 7, &calls).await;
        two.adopt().await.unwrap_or_else(|error| panic!("{k}: {error}"));
        gates.open();
        stopped.await.expect("no panic").unwrap_or_else(|error| panic!("{k}: {error}"));
        assert!((1..=2).contains(&calls.count("freeze.after")), "{k}: {:?}", calls.all());
        let ends = world.keys(&format!("runs/{dead}.")).await;
        assert_eq!(ends.iter().filter(|key| key.ends_with(".end.json")).count(), 1, "{k}: {ends:?}");
        if taken < k {
            assert!(k > 2, "an adoption has few steps");
            break;
        }
    }
}

/// An adoption looks around, and meanwhile a run begins and freezes: the thaw must not reach that one.
#[tokio::test(start_paused = true)]
async fn no_thaw_reaches_a_run_that_began_while_an_adoption_looked_around() {
    let mut met = 0;
    for k in 0.. {
        let (world, calls) = (World::new(3).await, Calls::default());
        die(&world, "daily", 6, 5).await;
        world.clock.advance(DEAD);
        let gates = Gates::default();
        let open = |number, seed| {
            let (world, store, calls) = (world.clone(), gates.store(&world.store, number), calls.clone());
            gates.pass(number, async move { program(&world, store, seed, &calls).await })
        };
        let (one, two) = (open(0, 6).await, open(1, 7).await);
        let adopting = tokio::spawn(async move { one.adopt().await });
        let taken = gates.take(0, k).await;
        let thawed = calls.count("freeze.after");
        let writing = tokio::spawn(async move { two.backup("daily").await });
        while calls.count("freeze.before") == 0 && gates.take(1, 1).await == 1 {}
        met += usize::from(thawed == 0);
        gates.take(0, 1000).await;
        adopting.await.expect("no panic").unwrap_or_else(|error| panic!("{k}: {error}"));
        assert_eq!(calls.all().last().map(String::as_str), Some("freeze.before"), "{k}: {:?}", calls.all());
        gates.open();
        writing.await.expect("no panic").unwrap_or_else(|error| panic!("{k}: {error}"));
        if taken < k {
            break;
        }
    }
    assert!(met > 1, "only {met} runs began before the thaw");
}

/// What the engine will do with snapshots: the same point, component and resource is the same snapshot, whoever asks.
#[tokio::test(start_paused = true)]
async fn whoever_asks_with_the_derived_token_takes_nothing_twice() {
    let world = World::new(3).await;
    let platform = MockSnapshots::new(Arc::new(world.clock.clone()));
    let platform = platform.resource(Resource::new("vol-1")).resource(Resource::new("vol-2"));
    let point: PointId = "prod-eu/daily/20261120t064200z-abcdefgh".parse().expect("a point");
    let component = "volumes".parse().expect("a name");
    for volumes in [["vol-1", "vol-1"], ["vol-1", "vol-2"], ["vol-2", "vol-1"]] {
        let requests = volumes.map(|volume| {
            let resource = Resource::new(volume).id;
            let token = CreateSnapshot::token(world.keyring.vault_id(), &point, &component, &resource);
            CreateSnapshot::new(resource, token)
        });
        let taken = platform.create(&requests, Consistency::Each).await.expect("it answers");
        taken.into_iter().for_each(|taken| drop(taken.expect("a snapshot")));
    }
    let there: Vec<_> = platform.list(&SnapshotFilter::default()).try_collect().await.expect("a listing");
    assert_eq!(there.len(), 2, "{there:?}");
}
