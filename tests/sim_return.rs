//! The way back on a store with versions: what was there shows through any flood, and what was deleted comes back.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::PruneAction;
use backstay::store::{
    HeadOptions, Key, ListEntry, ListOptions, ObjectRef, ObjectStore, ObjectStoreExt, Operation, Prefix, PutOptions,
};
use backstay::{Backstay, Clock, Depth, ErrorKind, MemoryStore, PointId, Result, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use support::steps::dies_at;
use support::{World, exporter, program, restored, world_on};

const HOUR: Duration = Duration::from_secs(3600);
const TEXT: &[u8] = b"content";

/// Three points on a store with versions, an hour apart; and a moment at which all is well.
async fn three_points() -> (World, Backstay, Vec<PointId>, Timestamp) {
    let world = world_on(MemoryStore::versioned(), 3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(HOUR);
    }
    let well = world.clock.now();
    world.clock.advance(HOUR);
    (world, backstay, points, well)
}

async fn listed(vault: &Vault) -> Vec<PointId> {
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    vault.points().list(&source, &tier).await.expect("a listing")
}

/// What somebody with every right but locks does to a bucket.
async fn empty(world: &World) {
    for key in world.keys("").await {
        // Twice, as a thief's tool may: then two markers lie on each other.
        world.remove(&key).await;
        world.remove(&key).await;
    }
}

async fn lines(store: &dyn ObjectStore, prefix: &str, options: &ListOptions) -> Vec<String> {
    let listing = store.list(&Prefix::new(prefix).expect("a prefix"), options);
    let line = |line| match line {
        ListEntry::Object(meta) => format!("{} {} {:?}", meta.key, meta.size, meta.version),
        ListEntry::Folder(folder) => folder.to_string(),
        other => panic!("{other:?}"),
    };
    listing.map_ok(line).try_collect().await.expect("a listing")
}

/// Puts, overwrites and deletes at random; at any moment of the past the view equals what the store showed then.
#[tokio::test(start_paused = true)]
async fn a_view_of_any_moment_shows_what_the_store_showed_then() {
    let world = World::without_vault(3);
    let store = MemoryStore::versioned().with_clock(Arc::new(world.clock.clone()));
    let random = SeededRandom::new(7);
    let names = ["a", "a.b", "b/c", "b/d/e", "b/d/f", "b0", "c/x", "c/y"];
    let mut after = ListOptions::folders();
    after.start_after = Some("b/c".to_owned());
    let ways =
        [("", ListOptions::default()), ("", ListOptions::folders()), ("b/", ListOptions::folders()), ("", after)];
    let mut history = Vec::new();
    for round in 0..200_u32 {
        let name = names[(random.next_u64() % 8) as usize];
        let key: Key = name.parse().expect("a key");
        if random.next_u64().is_multiple_of(3) {
            store.delete(&[key.into()]).await.expect("memory deletes");
        } else {
            store.put(&key, format!("{round}").into(), &PutOptions::overwrite()).await.expect("memory takes it");
        }
        let mut shown = Vec::new();
        for (prefix, options) in &ways {
            shown.push(lines(&store, prefix, options).await);
        }
        let mut contents = BTreeMap::new();
        for name in names {
            contents
                .insert(name, store.get_bytes(&name.parse().expect("a key"), 10).await.map_err(|error| error.kind()));
        }
        history.push((world.clock.now(), shown, contents));
        world.clock.advance(Duration::from_secs(1));
    }
    for (time, shown, contents) in history {
        let view = store.clone().as_of(time).expect("it has versions");
        assert_eq!(view.now().await.expect("a time"), time);
        for ((prefix, options), shown) in ways.iter().zip(shown) {
            assert_eq!(lines(&view, prefix, options).await, shown, "{prefix:?} at {time}");
        }
        for (name, content) in contents {
            let then = view.get_bytes(&name.parse().expect("a key"), 10).await.map_err(|error| error.kind());
            assert_eq!(then, content, "{name} at {time}");
        }
    }
    let view = store.as_of(world.clock.now()).expect("it has versions");
    let key: Key = "new".parse().expect("a key");
    assert_eq!(view.put_new(&key, "x").await.expect_err("the past").kind(), ErrorKind::Denied);
    assert_eq!(view.delete(&[key.into()]).await.expect_err("the past").kind(), ErrorKind::Denied);
    let plain = MemoryStore::new().as_of(world.clock.now()).expect_err("it has no versions");
    assert_eq!(plain.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn an_overwritten_bucket_reads_as_it_was() {
    let (world, backstay, points, well) = three_points().await;
    // A flood: many rounds over every key, and new keys, folders and points of the thief's own.
    for round in 0..20 {
        for key in world.keys("").await {
            world.overwrite(&key, format!("ransom {round}")).await;
            if round % 3 == 0 {
                world.remove(&key).await;
                world.remove(&key).await;
                world.overwrite(&key, "").await;
            }
        }
        world.overwrite(&format!("points/thief-{round}/daily/{}.json", points[0].run), "{}").await;
        world.clock.advance(HOUR);
    }
    empty(&world).await;
    let vault = backstay.vault();
    assert!(restored(vault, &points[2]).await.is_err(), "the bucket itself is lost");
    let error = vault.undelete(&points[2]).await.expect_err("under the marker lies the thief's");
    assert!(error.to_string().contains("as_of"), "{error}");
    assert!(listed(vault).await.is_empty(), "and it did not come back");

    let then = vault.as_of(well).expect("it has versions");
    let fresh = Vault::open_read_only(world.store.clone().as_of(well).expect("it has versions"))
        .keyring(&world.keyring)
        .build()
        .await
        .expect("marker and keys are those of then");
    for view in [then, fresh] {
        assert_eq!(listed(&view).await, points);
        assert_eq!(view.points().sources().await.expect("sources").len(), 1, "none of the thief's");
        for point in &points {
            view.verify(point).depth(Depth::Decoded).await.expect("intact");
            assert_eq!(restored(&view, point).await.expect("whole")[0].1, TEXT);
        }
        assert_eq!(view.points().latest("db").await.expect("a point").id, points[2]);
        let held = view.hold(&points[0], &"audit".parse().expect("a name"), "why").await;
        assert_eq!(held.expect_err("the past").kind(), ErrorKind::Refused);
    }
    let before_the_second = points[1].run.time() - Duration::from_secs(1);
    let earlier = vault.as_of(before_the_second).expect("it has versions");
    assert_eq!(listed(&earlier).await, points[..1], "at that time there was one");
    let plain = World::new(4).await.vault().await;
    assert_eq!(plain.as_of(well).expect_err("no versions").kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn an_emptied_bucket_comes_back() {
    let (world, backstay, points, _) = three_points().await;
    let vault = backstay.vault();
    vault.hold(&points[0], &"audit".parse().expect("a name"), "why").await.expect("held");
    let retired = "db".parse().expect("a name");
    vault.retire(&"prod-eu".parse().expect("a name"), &retired, "gone").await.expect("retired");
    vault.undelete(&points[2]).await.expect_err("nothing of it is deleted");
    // Once deleted and taken back: the tombstone that lies below its marker must stay there.
    let one = Backstay::builder("prod-eu", world.vault().await).export("db", exporter(&[]));
    let one = one.tier(backstay::Tier::new("daily").keep(backstay::Keep::last(1))).build().expect("well formed");
    one.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    vault.undelete(&points[1]).await.expect("taken back");
    // A custodian that was removed before stays removed.
    world.overwrite("keys/a.gone.age", "sealed to somebody who left").await;
    world.remove("keys/a.gone.age").await;
    // Of this one, which is listed just before the epoch's key, only the marker is left.
    world.overwrite("keys/b.gone.age", "sealed to somebody who left").await;
    let key: Key = "keys/b.gone.age".parse().expect("a key");
    let version = world.store.head(&key, &HeadOptions::default()).await.expect("it is there").version;
    world.remove("keys/b.gone.age").await;
    let content = ObjectRef::version(key, version.expect("a version"));
    world.store.delete(&[content]).await.expect("an answer").remove(0).result.expect("deleted");
    world.clock.advance(HOUR);
    let since = world.clock.now();
    world.clock.advance(HOUR);
    let before = world.keys("").await;
    empty(&world).await;

    let open = || Vault::open(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
    let error = open().build().await.expect_err("there is nothing");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("undelete_since"), "{error}");
    let error = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).undelete_since(since).build().await;
    assert_eq!(error.expect_err("a reader deletes no marker").kind(), ErrorKind::Invalid);
    let error = Vault::open(MemoryStore::new()).keyring(&world.keyring).undelete_since(since).build().await;
    assert!(error.expect_err("no versions").to_string().contains("keeps no versions"));

    let vault = open().undelete_since(since).build().await.expect("the vault's own files are back");
    assert!(listed(&vault).await.is_empty(), "points come back one by one");
    let were = listed(&vault.as_of(since).expect("it has versions")).await;
    assert_eq!(were, points);
    for point in &were {
        vault.undelete(point).await.expect("it comes back");
        assert_eq!(restored(&vault, point).await.expect("whole")[0].1, TEXT);
        let again = vault.undelete(point).await.expect_err("nothing of it is deleted");
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }
    assert_eq!(listed(&vault).await, points);
    let missing: Vec<_> = {
        let now = world.keys("").await;
        // Records of runs and of what was done tell of the past and are read as of then.
        let records = |key: &String| key.starts_with("runs/") || key.contains("history/") || key == "probe";
        before.into_iter().filter(|key| !now.contains(key) && !records(key)).collect()
    };
    assert!(missing.is_empty(), "{missing:?}");
    assert!(world.keys("keys/").await.iter().all(|key| !key.contains("gone")));
    let plan = program(vault, exporter(&[])).prune("daily").plan().await.expect("a plan");
    assert!(plan.strange.is_empty() && plan.steps[0].reason.contains("held by"), "{plan}");
    assert_eq!(plan.count(PruneAction::Keep), 3, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn undelete_brings_back_what_is_deleted_in_part_and_what_was_in_its_grace() {
    // Bytes alone, then the manifest alone.
    for prefix in ["items/", "details/", "sigs/", "points/"] {
        let (world, backstay, points, _) = three_points().await;
        for key in world.keys(&format!("{prefix}{}", points[1])).await {
            world.remove(&key).await;
        }
        backstay.verify(&points[1]).await.expect_err(prefix);
        backstay.vault().undelete(&points[1]).await.expect(prefix);
        assert_eq!(restored(backstay.vault(), &points[1]).await.expect("whole")[0].1, TEXT, "{prefix}");
    }
    // A thief is quicker than a grace.
    let (world, backstay, points, _) = three_points().await;
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    world.remove(&format!("points/{}.json", points[0])).await;
    backstay.vault().undelete(&points[0]).await.expect("within its grace");
    assert_eq!(listed(backstay.vault()).await, points);

    // What prune took is gone with all of its versions.
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    world.clock.advance(HOUR * 48);
    let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a deletion");
    assert_eq!(report.deleted, [points[0].clone()]);
    let gone = backstay.vault().undelete(&points[0]).await.expect_err("there is nothing to bring back");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

/// Overwritten bytes below a marker: the point is back, and it is said that it is not what was signed.
#[tokio::test(start_paused = true)]
async fn a_point_that_comes_back_damaged_is_not_called_whole() {
    let (world, backstay, points, well) = three_points().await;
    let item = world.keys(&format!("items/{}", points[1])).await.remove(0);
    world.overwrite(&item, "ransom").await;
    world.clock.advance(HOUR);
    empty(&world).await;
    let error = backstay.vault().undelete(&points[1]).await.expect_err("not what was signed");
    assert!(error.to_string().contains("as_of"), "{error}");
    let then = backstay.vault().as_of(well).expect("it has versions");
    assert_eq!(restored(&then, &points[1]).await.expect("whole")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_store_call_of_the_way_back_shows_only_whole_points_and_it_goes_on() {
    for lost_answer in [false, true] {
        for k in 1.. {
            let (world, _, points, well) = three_points().await;
            empty(&world).await;
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            dies_at(&store, k, lost_answer);
            let crashed = come_back(&world, store.clone(), &points, well).await;
            let place = format!("call {k}, lost answer: {lost_answer}");
            let view = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).build().await;
            if let Ok(view) = view {
                assert!(!world.keys("keys/").await.is_empty(), "{place}: a vault without its keys opens");
                for point in listed(&view).await {
                    assert_eq!(
                        restored(&view, &point).await.unwrap_or_else(|error| panic!("{place}: {error}"))[0].1,
                        TEXT
                    );
                }
            }
            come_back(&world, Arc::new(world.store.clone()), &points, well)
                .await
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(listed(&world.vault().await).await, points, "{place}");
            if store.all_calls() < k {
                crashed.expect("no fault");
                assert!(k > 30, "it met only {k} faults");
                break;
            }
        }
    }
}

async fn come_back(world: &World, store: impl ObjectStore, points: &[PointId], well: Timestamp) -> Result<()> {
    let opened = Vault::open(store).keyring(&world.keyring).clock(world.clock.clone()).undelete_since(well);
    let vault = opened.random(SeededRandom::new(9)).budget(support::inline_budget()).build().await?;
    for point in points {
        match vault.undelete(point).await {
            // An earlier try went that far.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_way_back_needs_the_right_to_delete_and_says_so() {
    let (world, _, points, well) = three_points().await;
    empty(&world).await;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::Delete]));
    let error = come_back(&world, store.clone(), &points, well).await.expect_err("it may not");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    store.heal();
    come_back(&world, store.clone(), &points, well).await.expect("it may");
    assert_eq!(store.calls(Operation::Protect), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_takes_nothing_of_a_point_that_lies_under_a_delete_marker() {
    let (world, backstay, points, _) = three_points().await;
    world.remove(&format!("points/{}.json", points[0])).await;
    world.clock.advance(HOUR * 24 * 30);
    let plan = backstay.sweep().plan().await.expect("a plan");
    let step = plan.steps.iter().find(|step| step.id == points[0]).expect("its run has a record");
    assert!(step.reason.contains("delete marker"), "{plan}");
    plan.apply().await.expect("it applies");
    backstay.vault().undelete(&points[0]).await.expect("all of it is there");
    assert_eq!(restored(backstay.vault(), &points[0]).await.expect("it came back")[0].1, TEXT);
}
