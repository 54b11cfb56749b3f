//! Crashes at every store call, and handles dropped at every moment: the promises hold afterwards and the next run works.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::store::Operation;
use backstay::{Backstay, Clock, ErrorKind, PointId, Result, SystemClock};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{Calls, ExportScript, MockExporter, MockHook};
use support::saved::SavedWorld;
use support::steps::{dies_at, polled, slow};
use support::whole::Whole;
use support::{World, inline_budget, program, restored};

const OLD: &[u8] = b"what was there before the crash";
const NEW: &[u8] = b"what the crashing run was to protect";

/// What is interrupted.
#[derive(Clone, Copy, Debug)]
enum Act {
    Backup,
    PartialBackup,
    Tombstone,
    Delete,
    Undelete,
    Hold,
}

const ACTS: [Act; 6] = [Act::Backup, Act::PartialBackup, Act::Tombstone, Act::Delete, Act::Undelete, Act::Hold];

/// A world with three points of which the oldest may expire, prepared for `act`.
async fn prepared(act: Act) -> (World, Vec<PointId>) {
    let world = World::new(1).await;
    let backstay = world.backstay(&[("rows", OLD)]).await;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a well world").id);
        world.clock.advance(Duration::from_secs(3600));
    }
    if matches!(act, Act::Delete | Act::Undelete) {
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        let late = if matches!(act, Act::Delete) { 25 } else { 2 };
        world.clock.advance(Duration::from_secs(late * 3600));
    }
    (world, points)
}

fn exporting(act: Act) -> MockExporter {
    let script = ExportScript::new([("rows", NEW)]).chunk(7);
    MockExporter::scripted(match act {
        Act::PartialBackup => script.problem("a row", "it was locked"),
        _ => script,
    })
}

async fn perform(act: Act, backstay: &Backstay, points: &[PointId]) -> Result<()> {
    match act {
        Act::Backup => backstay.backup("daily").await.map(drop),
        Act::PartialBackup => backstay.backup("daily").allow_partial().await.map(drop),
        Act::Tombstone | Act::Delete => backstay.prune("daily").plan().await?.apply().await.map(drop),
        Act::Undelete => backstay.vault().undelete(&points[0]).await,
        Act::Hold => backstay.vault().hold(&points[0], &"audit".parse()?, "the auditors want it").await,
    }
}

/// Every point that a listing shows is whole, and the points of before are as they were.
async fn check_promises(world: &World, points: &[PointId], act: Act, whole: &mut Whole, place: &str) {
    let vault = world.vault().await;
    let expected = |id: &PointId| if points.contains(id) { OLD.to_vec() } else { NEW.to_vec() };
    let listed = whole.shown(&vault, &world.store, expected, place).await;
    let kept = &points[usize::from(!matches!(act, Act::Backup | Act::PartialBackup | Act::Hold))..];
    assert!(kept.iter().all(|id| listed.contains(id)), "{place}: a point is gone");
    vault.points().latest("db").await.unwrap_or_else(|error| panic!("{place}: {error}"));
}

/// Does the act again on a well store and looks at what came of it.
async fn finish(world: &World, points: &[PointId], act: Act, whole: &mut Whole, place: &str) {
    world.clock.advance(Duration::from_secs(60));
    let again = program(world.open(world.store.clone(), 77).await.expect("it opens"), exporting(act));
    match perform(act, &again, points).await {
        Ok(()) => {}
        // Done by the call whose answer was lost.
        Err(error) if matches!(act, Act::Undelete) && error.kind() == ErrorKind::NotFound => {}
        Err(error) if matches!(act, Act::Hold) && error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => panic!("{place}: the next run fails: {error:?}"),
    }
    check_promises(world, points, act, whole, place).await;
    if matches!(act, Act::Delete) {
        // What a deletion leaves that was stopped at its very end, and the record of the run, are the sweep's.
        world.clock.advance(Duration::from_secs(20 * 24 * 3600));
        again.sweep().plan().await.expect("a plan").apply().await.expect("a sweep");
    }
    let of_oldest =
        |keys: Vec<String>| keys.into_iter().filter(|key| key.contains(&points[0].run.to_string())).collect::<Vec<_>>();
    let stored = of_oldest(world.keys("").await);
    let marks = of_oldest(world.keys("points/").await);
    match act {
        Act::Delete => assert!(stored.is_empty(), "{place}: left behind: {stored:?}"),
        Act::Tombstone => assert!(marks.iter().any(|key| key.ends_with(".deleted")), "{place}: {marks:?}"),
        Act::Undelete => assert!(marks.iter().all(|key| !key.ends_with(".deleted")), "{place}: {marks:?}"),
        Act::Hold => assert!(marks.iter().any(|key| key.ends_with(".hold-audit")), "{place}: {marks:?}"),
        Act::Backup | Act::PartialBackup => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_store_call_leaves_the_promises_and_the_next_run_works() {
    let mut whole = Whole::default();
    for act in ACTS {
        let (world, points) = prepared(act).await;
        let saved = SavedWorld::of(world).await;
        for lost_answer in [false, true] {
            let mut calls = 0;
            for k in 1.. {
                let world = saved.load().await;
                let store = FaultyStore::new(Arc::new(world.store.clone()));
                let place = format!("{act:?}, call {k}, lost answer: {lost_answer}");
                dies_at(&store, k, lost_answer);
                let crashed = match world.open(store.clone(), 5).await {
                    Ok(vault) => perform(act, &program(vault, exporting(act)), &points).await,
                    Err(error) => Err(error),
                };
                check_promises(&world, &points, act, &mut whole, &place).await;
                finish(&world, &points, act, &mut whole, &place).await;
                if store.all_calls() < k {
                    crashed.unwrap_or_else(|error| panic!("{place}: no fault, but {error}"));
                    break;
                }
                calls = k;
            }
            assert!(calls > 4, "{act:?} met only {calls} faults");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_lost_answer_at_any_create_does_not_fail_a_backup() {
    let mut whole = Whole::default();
    for k in 1.. {
        let (world, points) = prepared(Act::Backup).await;
        let lost = Rule::new(Fault::FailAfter(ErrorKind::Timeout)).on([Operation::Put]).nth(k);
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let vault = world.open(store.clone(), 5).await.expect("it opens");
        store.reset_calls();
        store.add(lost);
        let backstay = program(vault, exporting(Act::Backup));
        backstay.backup("daily").await.unwrap_or_else(|error| panic!("put {k}: {error}"));
        check_promises(&world, &points, Act::Backup, &mut whole, &format!("put {k}")).await;
        if store.calls(Operation::Put) < k {
            assert_eq!(k, 6, "a small point is five puts");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_dropped_at_any_moment_commits_whole_or_not_at_all_and_undoes_its_hooks() {
    let (mut committed, mut whole) = (0, Whole::default());
    let (world, points) = prepared(Act::Backup).await;
    let saved = SavedWorld::of(world).await;
    for n in 0.. {
        let world = saved.load().await;
        // n counts the moments between the calls.
        let vault = world.open(slow(&world.store), 5).await.expect("it opens");
        let calls = Calls::default();
        let backstay = Backstay::builder("prod-eu", vault)
            .export("db", exporting(Act::Backup))
            .hook(["db"], MockHook::new("freeze").record(&calls))
            .tier(backstay::Tier::new("daily").keep(backstay::Keep::last(2)))
            .build()
            .expect("well formed");
        let handle = backstay.backup("daily").start();
        let done = tokio::select! {
            biased;
            result = handle => { result.expect("nothing is wrong"); true }
            () = SystemClock.sleep(Duration::from_millis(n)) => false,
        };
        backstay.shutdown().await;
        let place = format!("dropped after {n} ms");
        assert_eq!(calls.count("freeze.before"), calls.count("freeze.after"), "{place}");
        check_promises(&world, &points, Act::Backup, &mut whole, &place).await;
        finish(&world, &points, Act::Backup, &mut whole, &place).await;
        committed += u64::from(world.keys("points/").await.iter().filter(|key| key.ends_with(".json")).count() == 5);
        if done {
            assert!(n > 5, "the run met only {n} moments");
            break;
        }
    }
    assert!(committed >= 1);
}

#[tokio::test(start_paused = true)]
async fn prune_and_restore_dropped_after_any_poll_can_be_done_again() {
    let mut whole = Whole::default();
    for act in [Act::Tombstone, Act::Delete, Act::Undelete, Act::Hold] {
        let (world, points) = prepared(act).await;
        let saved = SavedWorld::of(world).await;
        for n in 1.. {
            let world = saved.load().await;
            let backstay = program(world.open(slow(&world.store), 5).await.expect("it opens"), exporting(act));
            let done = polled(n, perform(act, &backstay, &points)).await;
            let place = format!("{act:?}, dropped after {n} polls");
            check_promises(&world, &points, act, &mut whole, &place).await;
            finish(&world, &points, act, &mut whole, &place).await;
            if let Some(result) = done {
                result.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(n > 3, "{act:?} met only {n} polls");
                break;
            }
        }
    }
    let (world, points) = prepared(Act::Backup).await;
    let vault = world.open(slow(&world.store), 5).await.expect("it opens");
    for n in 1.. {
        let done = polled(n, restored(&vault, &points[0])).await;
        assert_eq!(restored(&vault, &points[0]).await.expect("again")[0].1, OLD);
        if done.is_some() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_makes_the_same_vault_bit_for_bit() {
    let mut vaults = Vec::new();
    for _ in 0..2 {
        let (world, _) = prepared(Act::Delete).await;
        let mut all = Vec::new();
        for key in world.keys("").await {
            // The record of a run names this process.
            let content = if key.starts_with("runs/") { Vec::new() } else { world.read(&key).await };
            all.push((key, content));
        }
        vaults.push(all);
    }
    assert_eq!(vaults[0], vaults[1]);
    drop(inline_budget());
}
