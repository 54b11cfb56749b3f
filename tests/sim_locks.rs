//! Object locks: set in the put, left by prune, rolled forward by the keeper while newer runs fail.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PruneReport, RollReport};
use backstay::store::{HeadOptions, Key, ListOptions, Lock, ObjectRef, ObjectStore, Operation, Prefix, VersionId};
use backstay::{
    Backstay, Clock, ErrorKind, Keep, LocalStore, LockMode, MemoryStore, PointId, Random, Result, Tier, Vault,
};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{ExportScript, MockExporter};
use futures_util::TryStreamExt;
use jiff::{Timestamp, ToSpan};
use support::{World, exporter, restored, world_on};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

fn locked_tier() -> Tier {
    Tier::new("daily").keep(Keep::last(2)).lock(LockMode::Compliance, 10.days())
}

fn locking(vault: Vault, exporter: MockExporter) -> Backstay {
    Backstay::builder("prod-eu", vault).export("db", exporter).tier(locked_tier()).build().expect("well formed")
}

/// Three locked points, a day apart, of which the tier keeps two.
async fn three_points(store: MemoryStore) -> (World, Backstay, Vec<PointId>) {
    let world = world_on(store, 3).await;
    let backstay = locking(world.vault().await, exporter(&[("rows", TEXT)]));
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(DAY);
    }
    (world, backstay, points)
}

/// What stands for a point and must be locked: items, details, the signature, the manifest.
async fn of_point(world: &World, point: &PointId) -> Vec<Key> {
    let keys = world.keys("").await.into_iter().filter(|key| key.contains(&point.run.to_string()));
    keys.filter(|key| !key.starts_with("runs/")).map(|key| key.parse().expect("a key")).collect()
}

async fn lock_of(world: &World, key: &Key, version: Option<VersionId>) -> Option<Lock> {
    let mut options = HeadOptions::default();
    options.version = version;
    world.store.head(key, &options).await.expect("it is there").lock
}

/// When the first lock of a point ends.
async fn locked_until(world: &World, point: &PointId) -> Option<Timestamp> {
    let mut first = Some(Timestamp::MAX);
    for key in of_point(world, point).await {
        first = first.min(lock_of(world, &key, None).await.and_then(|lock| lock.until));
    }
    first
}

async fn lock_one(world: &World, key: &str, until: Timestamp) {
    let key: Key = key.parse().expect("a key");
    world.store.protect(&key.into(), &Lock::until(until)).await.expect("memory locks");
}

async fn roll(backstay: &Backstay) -> Result<RollReport> {
    backstay.roll_locks_forward().plan().await?.apply().await
}

#[tokio::test(start_paused = true)]
async fn everything_of_a_point_is_locked_from_its_put_on() {
    // More than 8 MiB that do not compress go up in parts.
    let mut large = vec![0; (8 << 20) + 1];
    SeededRandom::new(1).fill(&mut large);
    for (mode, bypassable, large) in [(LockMode::Compliance, false, large), (LockMode::Governance, true, Vec::new())] {
        let in_parts = !large.is_empty();
        let world = World::new(3).await;
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let backstay = Backstay::builder("prod-eu", world.open(store.clone(), 5).await.expect("it opens"))
            .export("db", exporter(&[("rows", TEXT), ("large", &large)]))
            .tier(Tier::new("daily").keep(Keep::last(2)).lock(mode, 10.days()))
            .tier(Tier::new("hourly").keep(Keep::last(2)))
            .build()
            .expect("well formed");
        let point = backstay.backup("daily").await.expect("a backup").id;
        assert!(
            (store.calls(Operation::Part) > 1) == in_parts && store.calls(Operation::Protect) == 0,
            "locked in the put"
        );
        let keys = of_point(&world, &point).await;
        assert_eq!(keys.len(), 5, "two items, details, signature, manifest: {keys:?}");
        let manifest: Key = format!("points/{point}.json").parse().expect("a key");
        let last = lock_of(&world, &manifest, None).await.expect("a lock").until;
        for key in &keys {
            let lock = lock_of(&world, key, None).await.unwrap_or_else(|| panic!("{key} is not locked"));
            assert!(lock.until >= Some(world.clock.now() + DAY * 10 - Duration::from_secs(60)), "{key}: {lock}");
            assert!(lock.until <= last, "{key} is locked for longer than the manifest");
            assert_eq!((lock.bypassable, lock.hold), (bypassable, false));
            let mut outcome = world.store.delete(&[key.clone().into()]).await.expect("an answer");
            assert_eq!(outcome.remove(0).result.expect_err("locked").kind(), ErrorKind::Locked);
        }
        let point = backstay.backup("hourly").await.expect("a backup").id;
        assert_eq!(locked_until(&world, &point).await, None, "a tier without a lock");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_locks_is_refused_with_all_other_problems() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::without_vault(3);
    let store = LocalStore::open(folder.path()).expect("a folder");
    let vault = Vault::create(store).keyring(&world.keyring).build().await.expect("a vault");
    let built = Backstay::builder("prod-eu", vault)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(locked_tier().covers(["nothing"]))
        .tier(Tier::new("weekly").keep(Keep::last(2)).lock(LockMode::Governance, (-1).days()))
        .build();
    let error = built.expect_err("the folder has no locks");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for told in
        ["tier \"daily\" has a lock", "tier \"weekly\" has a lock", "\"nothing\"", "a lock's time is not positive"]
    {
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn prune_leaves_what_is_locked_and_says_so() {
    for store in [MemoryStore::new(), MemoryStore::versioned()] {
        let (world, backstay, points) = three_points(store).await;
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        assert_eq!(plan.count(PruneAction::Tombstone), 0, "{plan}");
        assert!(plan.steps[0].reason.contains("locked until 2026-11-30"), "{plan}");
        world.clock.advance(DAY * 10);

        // Locked after the plan was made.
        let manifest = format!("points/{}.json", points[0]);
        let stale = backstay.prune("daily").plan().await.expect("a plan");
        assert_eq!(stale.count(PruneAction::Tombstone), 1, "{stale}");
        lock_one(&world, &manifest, world.clock.now() + DAY).await;
        let report = stale.apply().await.expect("it leaves the point");
        assert!(report.tombstoned.is_empty() && report.left[0].why.contains("locked until"), "{report:?}");
        assert!(world.keys("sigs/").await.iter().all(|key| !key.contains(".deleted.")), "not even for a moment");

        // Locked in the grace.
        world.clock.advance(DAY * 2);
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        lock_one(&world, &manifest, world.clock.now() + DAY * 2).await;
        world.clock.advance(DAY + DAY / 2);
        let before = of_point(&world, &points[0]).await;
        let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it leaves the point");
        assert!(report.deleted.is_empty() && report.left[0].why.contains("locked until"), "{report:?}");
        assert_eq!(restored(backstay.vault(), &points[0]).await.expect("whole")[0].1, TEXT);
        assert_eq!(of_point(&world, &points[0]).await.len(), before.len() - 1, "only the tombstone is gone");

        // Locked by hand, one object of it: the rest goes, and that one when its lock ends.
        world.clock.advance(DAY);
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        let item = world.keys(&format!("items/{}", points[0])).await.remove(0);
        lock_one(&world, &item, world.clock.now() + DAY * 5).await;
        world.clock.advance(DAY * 2);
        let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it does what it can");
        assert!(report.deleted.is_empty() && report.left[0].why.contains("locked"), "{report:?}");
        assert_eq!(world.keys("items/").await.iter().filter(|key| **key == item).count(), 1);
        assert!(world.keys(&format!("details/{}", points[0])).await.is_empty(), "what is not locked is free");
        world.clock.advance(DAY * 4);
        let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("nothing is locked");
        assert_eq!(report.deleted, [points[0].clone()]);
        assert!(of_point(&world, &points[0]).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_good_point_stays_locked_while_newer_runs_fail() {
    let world = World::new(3).await;
    let good = || ExportScript::new([("rows", TEXT)]);
    let torn = || ExportScript::new([("rows", TEXT)]).problem("row 7", "torn");
    let legacy = (0..40).fold(MockExporter::scripted(good()), |exporter, _| exporter.then(torn()));
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .export("legacy", legacy)
        .tier(locked_tier())
        .build()
        .expect("well formed");
    let first = backstay.backup("daily").await.expect("both are good").id;
    let mut second = first.clone();
    let mut extended = 0;
    for _ in 0..40 {
        world.clock.advance(DAY);
        second = backstay.backup("daily").allow_partial().await.expect("partial is allowed").id;
        let plan = backstay.roll_locks_forward().plan().await.expect("a plan");
        let ids: Vec<_> = plan.steps.iter().map(|step| step.id.clone()).collect();
        assert_eq!(ids, [second.clone(), first.clone()], "the newest good one of each component: {plan}");
        assert!(plan.strange.is_empty() && plan.steps[1].reason.contains("legacy"), "{plan}");
        extended += plan.apply().await.expect("locked").extended.len();
        let half = world.clock.now() + DAY * 5 - Duration::from_secs(60);
        assert!(locked_until(&world, &first).await >= Some(half), "it was let go");
    }
    assert!((6..=9).contains(&extended), "every fifth day, not every day: {extended}");
    let vault = backstay.vault();
    vault
        .retire(&"prod-eu".parse().expect("a name"), &"legacy".parse().expect("a name"), "gone")
        .await
        .expect("retired");
    let plan = backstay.roll_locks_forward().plan().await.expect("a plan");
    assert_eq!(plan.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>(), [second], "{plan}");
    // Good after all: from then on it is guarded again.
    let both = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .export("legacy", exporter(&[("rows", TEXT)]))
        .tier(locked_tier())
        .build()
        .expect("well formed");
    world.clock.advance(DAY);
    both.backup("daily").await.expect("both are good");
    let plan = both.roll_locks_forward().plan().await.expect("a plan");
    assert!(plan.steps.len() == 1 && plan.steps[0].reason.contains("db, legacy"), "{plan}");

    let without = Backstay::builder("prod-eu", world.vault().await).export("db", exporter(&[]));
    let without = without.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed");
    let error = without.roll_locks_forward().plan().await.expect_err("no tier has a lock");
    assert_eq!(error.kind(), ErrorKind::Invalid, "nothing was locked, and that is no success");
}

#[tokio::test(start_paused = true)]
async fn the_keeper_needs_to_list_read_and_lock_and_nothing_else() {
    let (world, _, points) = three_points(MemoryStore::versioned()).await;
    world.clock.advance(DAY * 6);
    let reads = [Operation::List, Operation::Get, Operation::Head, Operation::Now];
    // Opening to write creates the probe, which is there already.
    let denied = || Rule::new(Fault::FailBefore(ErrorKind::Denied));
    let store = FaultyStore::new(Arc::new(world.store.clone()))
        .with(denied().overwrites())
        .with(denied().except(reads.into_iter().chain([Operation::Put])));
    let keeper = locking(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[]));
    let error = roll(&keeper).await.expect_err("it may not lock");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("the right \"lock points/"), "{error}");

    let writes = store.calls(Operation::Put);
    store.heal();
    store.add(denied().except(reads.into_iter().chain([Operation::Protect])));
    assert_eq!(roll(&keeper).await.expect("it needs no more").extended, [points[2].clone()]);
    assert_eq!(store.calls(Operation::Put), writes, "it writes nothing");
    assert!(locked_until(&world, &points[2]).await >= Some(world.clock.now() + DAY * 9));
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_store_call_shortens_no_lock_and_the_next_roll_works() {
    for lost_answer in [false, true] {
        for k in 1.. {
            let (world, _, points) = three_points(MemoryStore::versioned()).await;
            world.clock.advance(DAY * 6);
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            let vault = world.open(store.clone(), 5).await.expect("it opens");
            store.reset_calls();
            if lost_answer {
                store.add(Rule::new(Fault::FailAfter(ErrorKind::Unavailable)).nth(k));
            }
            let from = if lost_answer { k + 1 } else { k };
            store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(from));
            let before = locked_until(&world, &points[2]).await;
            let crashed = roll(&locking(vault, exporter(&[]))).await;
            let calls = store.all_calls();
            let place = format!("call {k} of {calls}, lost answer: {lost_answer}");
            assert!(locked_until(&world, &points[2]).await >= before, "{place}");
            let again = locking(world.vault().await, exporter(&[]));
            roll(&again).await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(locked_until(&world, &points[2]).await >= Some(world.clock.now() + DAY * 9), "{place}");
            if calls < k {
                crashed.expect("no fault");
                assert!(k > 12, "it met only {k} faults");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_signed_versions_are_locked_not_what_a_thief_put_over_them() {
    let (world, backstay, points) = three_points(MemoryStore::versioned()).await;
    let keys: Vec<Key> =
        of_point(&world, &points[2]).await.into_iter().filter(|key| !key.as_str().starts_with("points/")).collect();
    for key in &keys {
        let length = world.read(key.as_str()).await.len();
        world.overwrite(key.as_str(), vec![b'x'; length]).await;
        // The signature must stay readable for the point to count at all.
        if key.as_str().starts_with("sigs/") {
            let newest = world.store.head(key, &HeadOptions::default()).await.expect("it is there").version;
            let thiefs = ObjectRef::version(key.clone(), newest.expect("a version"));
            world.store.delete(&[thiefs]).await.expect("deleted").remove(0).result.expect("not locked");
        }
    }
    world.clock.advance(DAY * 6);
    roll(&backstay).await.expect("locked");
    for key in &keys {
        let lines: Vec<_> = world
            .store
            .list(&Prefix::new(key.as_str()).expect("a prefix"), &ListOptions::versions())
            .try_collect()
            .await
            .expect("listed");
        let metas = lines.into_iter().filter_map(|line| match line {
            backstay::store::ListEntry::Object(meta) => Some(meta),
            _ => None,
        });
        let metas: Vec<_> = metas.collect();
        let ours = metas.last().expect("a version").lock.expect("ours is locked");
        assert!(ours.until >= Some(world.clock.now() + DAY * 9), "{key}");
        assert!(metas.iter().rev().skip(1).all(|thiefs| thiefs.lock.is_none()), "{key}: a thief's bytes were locked");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_newest_point_does_not_stand_alone() {
    for gone in [true, false] {
        damaged_newest_point(gone).await;
    }
}

async fn damaged_newest_point(gone: bool) {
    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    world.clock.advance(DAY * 20);
    let item = world.keys(&format!("items/{}", points[2])).await.remove(0);
    if gone {
        world.remove(&item).await;
    } else {
        world.overwrite(&item, "ransom").await;
    }
    let plan = backstay.roll_locks_forward().plan().await.expect("a plan");
    assert_eq!(
        plan.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>(),
        [points[2].clone(), points[1].clone()]
    );
    assert!(plan.strange[0].contains(&item) && plan.to_string().contains("damaged"), "{plan}");
    let error = plan.apply().await.expect_err("one object cannot be locked");
    assert_eq!(error.kind(), ErrorKind::Partial);
    let report: &RollReport = error.payload().expect("the report comes along");
    assert_eq!((report.extended.as_slice(), report.left.len()), (&points[1..2], 1), "{report:?}");
    assert!(locked_until(&world, &points[1]).await >= Some(world.clock.now() + DAY * 9));
}

#[tokio::test(start_paused = true)]
async fn what_is_being_deleted_is_not_locked_and_no_lock_is_weakened() {
    let (world, _, points) = three_points(MemoryStore::new()).await;
    world.clock.advance(DAY * 20);
    // A hold and a stricter mode, set by hand, stay as they are.
    let item: Key = world.keys(&format!("items/{}", points[2])).await.remove(0).parse().expect("a key");
    let mut by_hand = Lock::until(world.clock.now() + DAY);
    by_hand.hold = true;
    world.store.protect(&item.clone().into(), &by_hand).await.expect("memory locks");
    let governed = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(2)).lock(LockMode::Governance, 10.days()))
        .build()
        .expect("well formed");
    roll(&governed).await.expect("locked");
    let lock = lock_of(&world, &item, None).await.expect("a lock");
    assert!(lock.hold && !lock.bypassable && lock.until >= Some(world.clock.now() + DAY * 9), "{lock:?}");

    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    world.clock.advance(DAY * 20);
    let stale = backstay.roll_locks_forward().plan().await.expect("a plan");
    let one = Backstay::builder("prod-eu", world.vault().await).export("db", exporter(&[("rows", TEXT)]));
    let one = one.tier(Tier::new("daily").keep(Keep::last(1))).build().expect("well formed");
    one.backup("daily").await.expect("a newer one");
    let prune = one.prune("daily").danger_allow_mass_expiry().plan().await.expect("a plan");
    let report: PruneReport = prune.apply().await.expect("tombstones");
    assert!(report.tombstoned.contains(&points[2]), "{report:?}");
    let error = stale.apply().await.expect_err("it is left");
    assert!(error.to_string().contains("being deleted"), "{error}");
    assert!(locked_until(&world, &points[2]).await < Some(world.clock.now()), "no longer than before");
}
