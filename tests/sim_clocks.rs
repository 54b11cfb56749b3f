//! Clocks a year off, an emptied bucket, a folder that was exchanged: nothing is lost, and what is wrong is said.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, Replicator};
use backstay::{Backstay, BackupReport, ErrorKind, Keep, LocalStore, PointId, Tier, Vault};
use backstay_testkit::SeededRandom;
use jiff::{SignedDuration, Span};
use support::pair::Pair;
use support::skewed::Skewed;
use support::{World, exporter, inline_budget, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);
const TEXT: &[u8] = b"content";

/// A program on a host whose clock is off; it keeps a week.
async fn host(world: &World, off: SignedDuration, seed: u64) -> Backstay {
    let vault = Vault::open(world.store.clone())
        .keyring(&world.keyring)
        .clock(Skewed { clock: world.clock.clone(), by: off })
        .random(SeededRandom::new(seed))
        .budget(inline_budget());
    Backstay::builder("prod-eu", vault.build().await.expect("it opens"))
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::daily(7)))
        .build()
        .expect("well formed")
}

async fn days(world: &World, backstay: &Backstay, count: u32) -> Vec<PointId> {
    let mut points = Vec::new();
    for _ in 0..count {
        points.push(match backstay.backup("daily").await {
            Ok(report) => report.id,
            Err(error) => {
                assert!(error.kind() == ErrorKind::Partial && error.to_string().contains("clock"), "{error}");
                error.payload::<BackupReport>().expect("the point is there all the same").id.clone()
            }
        });
        world.clock.advance(DAY);
    }
    points
}

async fn assert_whole(vault: &Vault, points: &[PointId], place: &str) {
    for id in points {
        let content = restored(vault, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        assert_eq!(content[0].1, TEXT, "{place}: {id}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_a_year_off_cost_no_point() {
    for writer in [SignedDuration::ZERO, YEAR, -YEAR] {
        for pruner in [SignedDuration::ZERO, YEAR, -YEAR] {
            let place = format!("the writer's clock is off by {writer:#}, the pruner's by {pruner:#}");
            let world = World::new(5).await;
            let good = days(&world, &host(&world, SignedDuration::ZERO, 20).await, 7).await;
            let off = days(&world, &host(&world, writer, 21).await, 7).await;
            let pruning = host(&world, pruner, 22).await;
            let vault = pruning.vault().clone();
            match pruning.prune("daily").danger_no_grace().plan().await {
                Ok(plan) => {
                    assert!(pruner.is_zero(), "{place}: a plan by a wrong clock");
                    let marked = plan.count(PruneAction::Tombstone);
                    // A week of good points replaces the week before, but more than half of all is no accident's due.
                    assert_eq!(marked, if writer.is_zero() { 7 } else { 0 }, "{place}: {plan}");
                    plan.apply().await.unwrap_or_else(|error| panic!("{place}: {error}"));
                }
                Err(error) => {
                    assert!(!pruner.is_zero() && error.kind() == ErrorKind::Refused, "{place}: {error}");
                    assert!(error.to_string().contains("clock"), "{place}: {error}");
                }
            }
            assert_whole(&vault, &good, &place).await;
            assert_whole(&vault, &off, &place).await;
            let latest = vault.points().latest("db").await.unwrap_or_else(|error| panic!("{place}: {error}")).id;
            assert_eq!(latest, if writer.is_zero() { off[6].clone() } else { good[6].clone() }, "{place}");
            let status = pruning.status().await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(status.tiers[0].doubtful, if writer.is_zero() { 0 } else { 7 }, "{place}: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backup_by_a_wrong_clock_is_no_success() {
    let world = World::new(5).await;
    for (off, well) in
        [(SignedDuration::ZERO, true), (SignedDuration::from_mins(4), true), (YEAR, false), (-YEAR, false)]
    {
        let done = host(&world, off, 20).await.backup("daily").await;
        assert_eq!(done.as_ref().err().map(backstay::Error::kind), (!well).then_some(ErrorKind::Partial), "{off:#}");
    }
}

/// The store's own clock leaps: what was made before lies in its past or future, and the two clocks disagree at prune.
#[tokio::test(start_paused = true)]
async fn a_store_whose_clock_leaps_lets_nothing_be_pruned() {
    for leap in [YEAR, -YEAR] {
        let mut world = World::new(5).await;
        let points = days(&world, &host(&world, SignedDuration::ZERO, 20).await, 10).await;
        world.store = world.store.clone().with_clock(Arc::new(Skewed { clock: world.clock.clone(), by: leap }));
        let backstay = host(&world, SignedDuration::ZERO, 21).await;
        let error = backstay.prune("daily").plan().await.expect_err("the clocks disagree");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        assert_whole(backstay.vault(), &points, "after the leap").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_emptied_bucket_is_not_pruned_and_says_so() {
    let world = World::new(5).await;
    let backstay = host(&world, SignedDuration::ZERO, 20).await;
    days(&world, &backstay, 3).await;
    // Everything but the marker, as a lifecycle rule on the wrong prefix leaves it.
    for key in world.keys("").await.iter().filter(|key| !key.starts_with("backstay-1")) {
        world.remove(key).await;
    }
    let error = backstay.prune("daily").plan().await.expect_err("there is nothing left");
    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("no point at all"), "{error}");
    let error = backstay.vault().points().source("prod-eu".parse().expect("a name")).latest("db").await;
    assert_eq!(error.expect_err("nothing").kind(), ErrorKind::NotFound);
    let status = backstay.status().await.expect("a status");
    assert!(status.tiers[0].components[0].newest.is_none());
    // Everything, marker and all.
    for key in world.keys("").await {
        world.remove(&key).await;
    }
    let error = backstay.prune("daily").plan().await.expect_err("not even a vault");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = world.open(world.store.clone(), 30).await.expect_err("no vault is made by opening");
    assert!(error.kind() == ErrorKind::NotFound && world.keys("").await.is_empty(), "{error}");
}

/// What a replica takes and what it holds in doubt is told by the stores' clocks and the origin's, not by the replicator's.
#[tokio::test(start_paused = true)]
async fn a_replicator_whose_clock_is_a_year_off_copies_the_same() {
    for off in [SignedDuration::ZERO, YEAR, -YEAR] {
        let (pair, points) = Pair::with_points(1, 5, TEXT).await;
        pair.world.clock.advance(30 * DAY);
        // Under a wrong clock from the very first call.
        let open = |builder: backstay::vault::VaultBuilder| {
            builder
                .clock(Skewed { clock: pair.world.clock.clone(), by: off })
                .random(SeededRandom::new(9))
                .budget(inline_budget())
        };
        let (id, signers) = (pair.world.keyring.vault_id(), pair.world.keyring.allowed_signers());
        let origin = open(Vault::open_read_only(pair.world.store.clone()).trust(signers.clone()));
        let here = open(Vault::open(pair.store.clone()).keyring(&pair.keyring).origin(id.clone(), signers));
        let (origin, here) = (origin.build().await.expect("it opens"), here.build().await.expect("it opens"));
        let replicator = Replicator::new(origin, here).keep("daily", Keep::within(Span::new().days(33)));
        let plan = replicator.plan().await.expect("a plan");
        // The points are thirty to thirty-five days old.
        assert_eq!((plan.steps.len(), plan.unwanted), (3, 2), "{off:#}: {plan}");
        assert_eq!(plan.apply().await.expect("copied").copied.len(), 3, "{off:#}");
        let left = pair.left().await;
        assert_eq!(left.points().latest("db").await.expect("in no doubt").id, points[4], "{off:#}");
        assert_whole(&left, &points[2..], "at the replica").await;
        // With a wrong clock nothing is deleted there either.
        let vault = open(Vault::open(pair.store.clone()).keyring(&pair.keyring).origin(id.clone(), signers));
        let pruner = Backstay::builder("prod-eu", vault.build().await.expect("it opens"));
        let pruner = pruner.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed");
        match pruner.prune("daily").plan().await {
            Ok(plan) => assert!(off.is_zero() && plan.count(PruneAction::Tombstone) == 1, "{off:#}: {plan}"),
            Err(error) => assert!(!off.is_zero() && error.kind() == ErrorKind::Refused, "{off:#}: {error}"),
        }
    }
}

/// A copy record may say that the point is older than its copy, not that it is younger.
#[tokio::test(start_paused = true)]
async fn a_copy_that_a_store_took_in_before_the_point_was_made_is_doubtful() {
    let (mut pair, points) = Pair::with_points(1, 1, TEXT).await;
    pair.store = pair.store.clone().with_clock(Arc::new(Skewed { clock: pair.world.clock.clone(), by: -YEAR }));
    assert_eq!(pair.replicate().await.copied, points);
    let error = pair.left().await.points().latest("db").await.expect_err("in doubt");
    assert_eq!(error.context("doubtful"), Some("1"), "{error}");
}

/// A disk that is not mounted shows an empty folder in its place.
#[tokio::test]
async fn an_empty_folder_in_the_vaults_place_is_no_vault() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, aside) = (place.path().join("vault"), place.path().join("aside"));
    let keyring = backstay::Keyring::create(place.path().join("keys")).expect("keys");
    let vault = Vault::create(LocalStore::create(&folder).expect("a folder")).keyring(&keyring);
    let vault = vault.build().await.expect("a vault");
    let backstay = support::program(vault, exporter(&[("rows", TEXT)]));
    let id = backstay.backup("daily").await.expect("a backup").id;
    std::fs::rename(&folder, &aside).expect("it is moved");
    std::fs::create_dir(&folder).expect("an empty one in its place");
    // A program that runs on has its own folder open, wherever that lies now.
    assert_eq!(backstay.vault().points().latest("db").await.expect("still there").id, id);
    assert_eq!(std::fs::read_dir(&folder).expect("it is a folder").count(), 0);
    let opening = Vault::open(LocalStore::open(&folder).expect("it is a folder")).keyring(&keyring);
    assert_eq!(opening.build().await.expect_err("no vault").kind(), ErrorKind::NotFound);
    std::fs::remove_dir_all(&folder).expect("it goes");
    std::fs::rename(&aside, &folder).expect("mounted again");
    assert_eq!(restored(backstay.vault(), &id).await.expect("it is all there")[0].1, TEXT);
}
