//! The way back when much is gone or wrong: what the options, an explanation and the kit then still tell, and how truly.

mod support;

use std::sync::Arc;

use backstay::engine::RecoveryOptions;
use backstay::store::{ObjectStore, Operation};
use backstay::vault::Role;
use backstay::{Backstay, BackupReport, ErrorKind, Keep, PointId, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::{EventLog, SeededRandom};
use jiff::SignedDuration;
use support::pair::Pair;
use support::skewed::Skewed;
use support::{World, exporter, inline_budget, program, restored, three_points};

const TEXT: &[u8] = b"what the table holds";

/// What a host makes whose clock is so far ahead.
async fn backup_ahead(world: &World, ahead: SignedDuration, seed: u64) -> PointId {
    let vault = Vault::open(world.store.clone())
        .keyring(&world.keyring)
        .clock(Skewed { clock: world.clock.clone(), by: ahead })
        .random(SeededRandom::new(seed))
        .budget(inline_budget());
    let backstay = program(vault.build().await.expect("it opens"), exporter(&[("rows", TEXT)]));
    match backstay.backup("daily").await {
        Ok(report) => report.id,
        Err(error) => error.payload::<BackupReport>().expect("the point is there all the same").id.clone(),
    }
}

fn best(options: &RecoveryOptions) -> Option<(&str, &PointId)> {
    options.best().and_then(|best| Some((&*best.place, best.point()?)))
}

/// The replica, opened by a program that has no identity of its own for it.
async fn without_identity(pair: &Pair, store: impl ObjectStore) -> Vault {
    Vault::open_read_only(store)
        .trust(pair.keyring.allowed_signers().clone())
        .origin(pair.world.keyring.vault_id().clone(), pair.world.keyring.allowed_signers())
        .clock(pair.world.clock.clone())
        .budget(inline_budget())
        .build()
        .await
        .expect("the replica opens")
}

/// A program with a replica, through these two stores.
async fn both(pair: &Pair, here: &FaultyStore, there: &FaultyStore) -> Backstay {
    Backstay::builder("prod-eu", pair.world.open(here.clone(), 40).await.expect("it opens"))
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::last(9)))
        .replica("dr", without_identity(pair, there.clone()).await)
        .build()
        .expect("well formed")
}

fn faulty(store: &backstay::MemoryStore) -> FaultyStore {
    FaultyStore::new(Arc::new(store.clone()))
}

fn down() -> Rule {
    Rule::new(Fault::FailBefore(ErrorKind::Unavailable))
}

#[tokio::test(start_paused = true)]
async fn an_option_has_a_key_where_a_restore_has_one() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    pair.replicate().await;
    let (here, there) = (faulty(&pair.world.store), faulty(&pair.store));
    let backstay = both(&pair, &here, &there).await;
    let options = backstay.options("db").await.expect("options");
    assert!(options.options.len() == 4 && options.options.iter().all(|option| option.is_good()), "{options}");
    here.add(down());
    let options = backstay.options("db").await.expect("the replica answers");
    assert_eq!(best(&options), Some(("dr", &points[1])), "{options}");
    assert_eq!(restored(backstay.vault(), &points[1]).await.expect("it restores")[0].1, TEXT);
    here.heal();

    // Where nothing opens it that is told, and a vault that is down as well does not change it.
    let blind = Vault::open(here.clone())
        .id(pair.world.keyring.vault_id().clone())
        .encrypt_to(pair.world.keyring.epoch().clone())
        .trust(pair.world.keyring.allowed_signers().clone())
        .sign_with(pair.world.keyring.signing_key().clone())
        .clock(pair.world.clock.clone())
        .budget(inline_budget());
    let blind = Backstay::builder("prod-eu", blind.build().await.expect("it opens"))
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::last(9)))
        .replica("dr", without_identity(&pair, there.clone()).await)
        .build()
        .expect("well formed");
    for broken in [false, true] {
        if broken {
            here.add(down());
        }
        let options = blind.options("db").await.expect("options");
        assert_eq!(options.options.len(), if broken { 2 } else { 4 }, "{options}");
        assert!(options.options.iter().all(|option| option.key == Some(false) && !option.is_good()), "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_point_whose_bytes_are_gone_is_no_good_option() {
    for folder in ["items", "details"] {
        let (world, backstay, points) = three_points(TEXT).await;
        let stored = |id: &PointId| format!("{folder}/{id}");
        let gone = world.keys(&stored(&points[2])).await.remove(0);
        world.remove(&gone).await;
        let short = world.keys(&stored(&points[1])).await.remove(0);
        world.overwrite(&short, "short").await;
        let options = backstay.options("db").await.expect("options");
        assert_eq!(options.options.len(), 3, "{options}");
        assert_eq!(best(&options), Some(("vault", &points[0])), "{options}");
        let [lost, cut, whole] = &options.options[..] else { panic!("{options}") };
        assert!(lost.missing.as_deref().is_some_and(|missing| missing.contains(&gone)), "{lost}");
        assert!(cut.missing.as_deref().is_some_and(|missing| missing.contains(&short)), "{cut}");
        assert_eq!(whole.missing, None);
        assert!(lost.to_string().contains("BYTES MISSING") && !lost.to_string().contains(", good"), "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_writers_clock_that_is_a_little_ahead_hides_no_point() {
    let (world, backstay, points) = three_points(TEXT).await;
    let ahead = backup_ahead(&world, SignedDuration::from_secs(200), 20).await;
    let options = backstay.options("db").await.expect("options");
    assert_eq!(best(&options), Some(("vault", &ahead)), "{options}");
    assert_eq!(options.options[0].loss, SignedDuration::ZERO, "{options}");
    assert_eq!(backstay.vault().points().latest("db").await.expect("there").id, ahead);
    // A moment that is asked for is meant.
    let asked = backstay.options("db").before(options.before).await.expect("options");
    assert_eq!(best(&asked), Some(("vault", &points[2])), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn points_far_in_the_future_are_told_as_doubtful_and_take_no_others_place() {
    let (world, backstay, points) = three_points(TEXT).await;
    let future = backup_ahead(&world, SignedDuration::from_hours(240), 20).await;
    let options = backstay.options("db").await.expect("options");
    assert!(options.options[0].point() == Some(&future) && !options.options[0].is_good(), "{options}");
    assert!(options.options[0].to_string().contains("DOUBTFUL: its ID says"), "{options}");
    assert_eq!(options.options[0].loss, SignedDuration::ZERO, "{options}");
    assert_eq!(best(&options), Some(("vault", &points[2])), "{options}");

    // Whoever stole the writer's key can make any number of them, and say that each was accepted.
    for seed in 21..100 {
        let id = backup_ahead(&world, SignedDuration::from_hours(240), seed).await;
        if seed < 24 {
            world.overwrite(&format!("points/{id}.accepted"), "{}").await;
        }
    }
    let store = faulty(&world.store);
    let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[]));
    for told in [3, 70] {
        store.reset_calls();
        let options = backstay.options("db").newest(told).await.expect("options");
        assert_eq!(best(&options), Some(("vault", &points[2])), "{options}");
        let good: Vec<&PointId> = options.options.iter().filter(|o| o.is_good()).filter_map(|o| o.point()).collect();
        assert_eq!(good, [&points[2], &points[1], &points[0]], "{options}");
        assert_eq!(options.options.len(), 3 + told, "{options}");
        assert_eq!(options.options.len() as u64 + options.older, 83, "{options}");
        // A few reads of each that is told, and of the three that seem to be accepted.
        let reads = store.calls(Operation::Get);
        assert!(reads <= 4 * (2 * told as u64 + 3), "{reads} reads");
    }
}

#[tokio::test(start_paused = true)]
async fn a_point_is_explained_wherever_it_is() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    pair.replicate().await;
    let (here, there) = (faulty(&pair.world.store), faulty(&pair.store));
    let backstay = both(&pair, &here, &there).await;
    let explained = backstay.explain(&points[0]).await.expect("it is in the vault");
    assert_eq!(explained.place, backstay.vault().to_string());
    assert!(explained.retention.is_some() && explained.strange.is_empty(), "{explained}");

    pair.world.remove(&format!("points/{}.json", points[0])).await;
    let explained = backstay.explain(&points[0]).await.expect("the replica has it");
    assert!(explained.place.starts_with("dr: ") && explained.retention.is_none(), "{explained}");
    assert!(explained.key && explained.configuration.is_some() && explained.doubt.is_none(), "{explained}");
    assert!(
        !explained.copies.is_empty() && explained.strange[0].contains("could not be read in the vault"),
        "{explained}"
    );

    here.add(down());
    let explained = backstay.explain(&points[1]).await.expect("the replica answers");
    assert!(explained.place.starts_with("dr: ") && explained.key, "{explained}");
    here.heal();

    pair.remove(&format!("points/{}.json", points[0])).await;
    let error = backstay.explain(&points[0]).await.expect_err("it is nowhere");
    assert!(error.kind() == ErrorKind::NotFound && !error.to_string().contains("dr"), "{error}");
    there.add(down());
    let error = backstay.explain(&points[0]).await.expect_err("who knows");
    assert!(error.to_string().contains("dr: "), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_explanation_asks_for_no_right_and_tells_nobody_of_tampering() {
    let world = World::new(3).await;
    let heard = EventLog::default();
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .observe(heard.clone())
        .build()
        .expect("well formed");
    let id = backstay.backup("daily").await.expect("a backup").id;
    world.overwrite(&format!("points/{id}.deleted"), "{}").await;
    let explained = backstay.explain(&id).await.expect("an explanation");
    assert!(explained.retention.is_some_and(|told| told.starts_with("keep")));
    assert_eq!(heard.count("tampering"), 0);
    let _ = backstay.prune("daily").plan().await.expect("a plan");
    assert!(heard.count("tampering") > 0, "the plan does tell");

    let store = faulty(&world.store);
    let restorer = Vault::open_as(Role::Restorer, store.clone())
        .trust(world.keyring.allowed_signers().clone())
        .unlock_with(world.keyring.custodian().clone())
        .clock(world.clock.clone())
        .budget(inline_budget());
    let restorer = Backstay::builder("prod-eu", restorer.build().await.expect("it opens"))
        .tier(Tier::new("daily").covers(["db"]).keep(Keep::last(2)))
        .build()
        .expect("well formed");
    let explained = restorer.explain(&id).await.expect("an explanation");
    assert_eq!(explained.retention.as_deref(), Some("a pruner can tell"), "{explained}");
}

#[tokio::test(start_paused = true)]
async fn the_kit_names_declared_replicas_with_what_it_takes_to_trust_them() {
    let (pair, _) = Pair::with_points(1, 1, TEXT).await;
    pair.replicate().await;
    let backstay = pair.program(pair.replica(pair.store.clone()).await.expect("it opens")).await;
    let kit = backstay.recovery_kit().await.expect("a page");
    let names: Vec<&str> = kit.places.iter().map(|place| &*place.name).collect();
    assert_eq!(names, ["vault", "dr"]);
    let page = kit.to_string();
    for expected in [
        format!("dr: {}", pair.store),
        format!("ID {}", pair.keyring.vault_id()),
        pair.keyring.signing_key().public().fingerprint(),
        pair.keyring.allowed_signers().to_string(),
    ] {
        assert!(page.contains(&expected), "{expected:?} is missing in {page}");
    }
    // The replica's own signers are no signers of the vault's.
    assert_eq!(kit.places[0].allowed_signers.len(), pair.world.keyring.allowed_signers().iter().count());
    let named = backstay.recovery_kit().place("tape", pair.left().await).await.expect("a page");
    assert_eq!(named.places.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_newest_point_that_is_not_found_names_the_places_that_could_not_be_asked() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    pair.replicate().await;
    let (here, there) = (faulty(&pair.world.store), faulty(&pair.store));
    let backstay = both(&pair, &here, &there).await;
    let points_of = backstay.vault().points();
    let error = points_of.latest("never").await.expect_err("nowhere");
    assert!(error.kind() == ErrorKind::NotFound && !error.to_string().contains("dr"), "{error}");
    there.add(down());
    assert_eq!(points_of.latest("db").await.expect("the vault has it").id, points[1]);
    let error = points_of.latest("never").await.expect_err("not here");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("dr: "), "{error}");
    here.add(down().on([Operation::List]));
    let error = points_of.latest("db").await.expect_err("nobody answers");
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("dr: "), "{error}");
}
