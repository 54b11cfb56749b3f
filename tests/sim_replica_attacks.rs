//! What is planted or lost in a replica, or lost at the origin: nothing goes that is nowhere else, and it is told.

mod support;

use std::time::Duration;

use backstay::engine::{PruneAction, Replicator};
use backstay::store::ObjectStoreExt;
use backstay::vault::AllowedSigners;
use backstay::{Backstay, ErrorKind, Keep, PointId, RunId, Tier};
use backstay_testkit::SeededRandom;
use support::pair::Pair;
use support::{exporter, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

async fn plant(pair: &Pair, key: String, content: &'static [u8]) {
    pair.store.put_new(&key.parse().expect("a key"), content).await.expect("memory takes it");
}

/// The origin's program, which keeps two points; the replica is to keep one a day for ten days.
async fn daily(pair: &Pair) -> Backstay {
    let tier = Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::daily(10));
    Backstay::builder("prod-eu", pair.world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(tier)
        .replica("dr", pair.replica(pair.store.clone()).await.expect("it opens"))
        .build()
        .expect("well formed")
}

/// Prunes the origin until nothing more goes, without a grace, and says what is left.
async fn prune_all(pair: &Pair, backstay: &Backstay) -> Vec<PointId> {
    for _ in 0..3 {
        let request = backstay.prune("daily").danger_no_grace().danger_allow_mass_expiry();
        request.plan().await.expect("a plan").apply().await.expect("it applies");
        pair.world.clock.advance(Duration::from_secs(3600));
    }
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    backstay.vault().points().list(&source, &tier).await.expect("a listing")
}

#[tokio::test(start_paused = true)]
async fn a_plant_in_a_points_place_does_not_let_the_origin_delete_it() {
    for hint in ["", "void", "partial"] {
        let (pair, points) = Pair::with_points(1, 4, TEXT).await;
        plant(&pair, format!("points/{}.json", points[0]), b"x").await;
        if !hint.is_empty() {
            plant(&pair, format!("points/{}.{hint}", points[0]), b"").await;
        }
        let error = pair.copy(pair.world.store.clone(), pair.store.clone()).await;
        let error = error.expect_err("the plant is in the way").to_string();
        assert!(error.contains(&points[0].to_string()), "{hint}: {error}");
        let backstay = daily(&pair).await;
        assert!(prune_all(&pair, &backstay).await.contains(&points[0]), "{hint}: it is nowhere else");
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        assert!(plan.steps[0].reason.contains("not yet copied to dr"), "{hint}: {plan}");
        // With the plant gone all goes its way.
        pair.remove(&format!("points/{}.json", points[0])).await;
        assert!(pair.replicate().await.copied.contains(&points[0]), "{hint}");
        assert!(!prune_all(&pair, &backstay).await.contains(&points[0]), "{hint}");
        assert_eq!(restored(&pair.left().await, &points[0]).await.expect("whole")[0].1, TEXT, "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn plants_in_the_replica_take_no_points_slot() {
    let (pair, points) = Pair::with_points(1, 4, TEXT).await;
    let random = SeededRandom::new(3);
    for point in &points {
        // Later on the same day, as the policy would choose it.
        for hours in 1..=3 {
            let run = RunId::new(point.run.time() + jiff::SignedDuration::from_hours(hours), &random);
            plant(&pair, format!("points/prod-eu/daily/{run}.json"), b"{}").await;
        }
    }
    let backstay = daily(&pair).await;
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.tiers[0].replicas[0].pending, 4, "{status}");
    assert_eq!(prune_all(&pair, &backstay).await, points, "none was copied yet");
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    let plan = Replicator::new(origin, here).keep("daily", Keep::daily(10)).plan().await.expect("a plan");
    assert!(!plan.strange.is_empty(), "{plan}");
    let mut copied = plan.apply().await.expect("it copies").copied;
    copied.sort_by(|a, b| a.run.cmp(&b.run));
    assert_eq!(copied, points);
    assert_eq!(prune_all(&pair, &backstay).await, points[2..]);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_replica_lost_of_a_point_is_sent_again() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    pair.replicate().await;
    let all = pair.keys("").await;
    let of_point = |key: &&String| key.contains(&points[0].run.to_string());
    for key in all.iter().filter(of_point).filter(|key| !key.contains(".copy-")) {
        let before = pair.read(key).await;
        pair.remove(key).await;
        assert_eq!(pair.replicate().await.copied, points[..1], "{key}");
        assert_eq!(pair.read(key).await, before, "{key}");
        assert_eq!(pair.replicate().await.copied, [], "{key}");
    }
    // Nothing is put over what was changed: that is told, with the key, and the origin keeps its point.
    let manifest = format!("points/{}.json", points[0]);
    let before = pair.read(&manifest).await;
    pair.overwrite(&manifest, "zz").await;
    let error = pair.copy(pair.world.store.clone(), pair.store.clone()).await.expect_err("it stands in the way");
    assert!(error.kind() == ErrorKind::Partial && error.to_string().contains(&manifest), "{error}");
    // Of the same length only reading tells: where a retention asks what is here, or a prune what may go.
    pair.overwrite(&manifest, vec![b' '; before.len()]).await;
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    let plan = Replicator::new(origin, here).keep("daily", Keep::daily(10)).plan().await.expect("a plan");
    let error = plan.apply().await.expect_err("it stands in the way");
    assert!(error.kind() == ErrorKind::Partial && error.to_string().contains(&manifest), "{error}");
    pair.remove(&manifest).await;
    assert_eq!(pair.replicate().await.copied, points[..1]);
    assert_eq!(pair.read(&manifest).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_key_files_is_not_copied() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    pair.world.clock.advance(DAY);
    for n in 0..100 {
        pair.world.overwrite(&format!("keys/epoch-1.a{n}.age"), "junk").await;
    }
    assert_eq!(pair.replicate().await.copied, points);
    assert!(pair.keys("keys/").await.len() < 70);
    assert_eq!(restored(&pair.left().await, &points[0]).await.expect("the true key is the oldest")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_point_that_is_being_deleted_in_the_replica_stays_at_the_origin() {
    let (pair, points) = Pair::with_points(1, 4, TEXT).await;
    pair.replicate().await;
    let pruner = pair.pruner(pair.store.clone()).await.expect("well formed");
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("it marks");
    let backstay = daily(&pair).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Keep), 4, "{plan}");
    assert!(plan.steps[0].reason.contains("it is being deleted there"), "{plan}");
    assert_eq!(backstay.status().await.expect("a status").tiers[0].replicas[0].pending, 2);
    assert_eq!(prune_all(&pair, &backstay).await, points);
}

/// When the origin is gone a program of the replica, opened to read, says what there is.
#[tokio::test(start_paused = true)]
async fn a_program_over_what_is_left_needs_no_right_to_write() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    pair.replicate().await;
    let tier = Tier::new("daily").keep(Keep::last(2));
    let backstay = Backstay::builder("prod-eu", pair.left().await).tier(tier).build().expect("well formed");
    assert!(backstay.status().await.expect("a status").is_good());
    assert_eq!(backstay.options("db").await.expect("options").options[0].point(), Some(&points[1]));
    let target = backstay_testkit::mock::MockImporter::default();
    let restore = backstay.restore(&points[1]).component("db").into(target.clone());
    restore.plan().await.expect("a plan").apply().await.expect("restored");
    assert_eq!(target.content("rows").expect("there"), TEXT);
}

/// Whose age nobody can tell waits: it would be doubtful for ever.
#[tokio::test(start_paused = true)]
async fn a_chain_needs_the_signers_of_the_copies_it_copies_from() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    pair.world.clock.advance(DAY * 30);
    pair.replicate().await;
    let third = Pair { store: backstay::MemoryStore::new().with_clock(pair_clock(&pair)), ..pair.clone() };
    backstay::Vault::create(third.store.clone())
        .keyring(&pair.keyring)
        .clock(pair.world.clock.clone())
        .build()
        .await
        .expect("made");
    let second = |signers: AllowedSigners| {
        let builder = backstay::Vault::open_read_only(pair.store.clone()).trust(signers);
        builder.origin(pair.world.keyring.vault_id().clone(), pair.world.keyring.allowed_signers()).build()
    };
    let here = || async { third.replica(third.store.clone()).await.expect("it opens") };
    let half = second(pair.world.keyring.allowed_signers().clone()).await.expect("it opens");
    let plan = Replicator::new(half, here().await).plan().await.expect("a plan");
    assert_eq!((plan.steps.len(), plan.left.len()), (0, 2), "{plan}");
    assert!(plan.left[0].why.contains("signers of its copies"), "{plan}");
    let full = second(pair.keyring.allowed_signers().clone()).await.expect("it opens");
    let report = Replicator::new(full, here().await).plan().await.expect("a plan").apply().await.expect("copied");
    assert_eq!(report.copied.len(), 2);
    assert_eq!(third.left().await.points().latest("db").await.expect("not doubtful").id, points[1]);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_was_emptied_or_set_back_is_told() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    pair.replicate().await;
    let backstay = daily(&pair).await;
    assert!(backstay.status().await.expect("a status").is_good());
    for point in points.iter().rev() {
        pair.world.remove(&format!("points/{point}.json")).await;
        let status = backstay.status().await.expect("a status");
        assert_eq!(status.tiers[0].replicas[0].ahead.as_ref(), Some(&points[2]), "{status}");
        assert!(!status.is_good() && status.to_string().contains("AHEAD"), "{status}");
        let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
        let here = pair.replica(pair.store.clone()).await.expect("it opens");
        let plan = Replicator::new(origin, here).plan().await.expect("a plan");
        assert!(plan.strange.iter().any(|strange| strange.contains("emptied, or set back")), "{plan}");
    }
}

fn pair_clock(pair: &Pair) -> std::sync::Arc<dyn backstay::Clock> {
    std::sync::Arc::new(pair.world.clock.clone())
}

#[tokio::test(start_paused = true)]
async fn a_point_in_doubt_or_on_its_way_out_does_not_make_the_replica_ahead() {
    let (pair, _) = Pair::with_points(1, 3, &[b'x'; 10_000]).await;
    pair.world.backstay(&[("rows", b"little")]).await.backup("daily").await.expect("a point that shrank");
    pair.replicate().await;
    let backstay = daily(&pair).await;
    let status = backstay.status().await.expect("a status");
    assert!(status.tiers[0].doubtful == 1 && status.tiers[0].replicas[0].ahead.is_none(), "{status}");
}

/// What is planted at the origin is not behind in the replica.
#[tokio::test(start_paused = true)]
async fn a_plant_at_the_origin_makes_no_replica_late() {
    let (pair, points) = Pair::with_points(1, 6, TEXT).await;
    pair.replicate().await;
    let random = SeededRandom::new(3);
    let run = RunId::new(points[0].run.time() + jiff::SignedDuration::from_hours(1), &random);
    pair.world.overwrite(&format!("points/prod-eu/daily/{run}.json"), "{}").await;
    let status = daily(&pair).await.status().await.expect("a status");
    let replica = &status.tiers[0].replicas[0];
    assert_eq!((replica.pending, replica.lag), (0, None), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_does_not_choose_between_sources_and_is_searched_by_a_bare_id() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let other = Backstay::builder("prod-us", pair.world.vault().await).export("db", exporter(&[("rows", TEXT)]));
    let other = other.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed");
    other.backup("daily").await.expect("a backup");
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    let one = Replicator::new(origin, here).source("prod-eu".parse().expect("a name"));
    one.plan().await.expect("a plan").apply().await.expect("copied");
    let both = pair.world.vault().await.with_replica("dr".parse().expect("a name"), pair.left().await);
    assert_eq!(both.points().latest("db").await.expect_err("whose?").kind(), ErrorKind::Invalid);
    pair.world.remove(&format!("points/{}.json", points[1])).await;
    let found = both.points().find(&points[1].run.to_string()).await.expect("the replica has it");
    assert_eq!(found.id, points[1]);
}
