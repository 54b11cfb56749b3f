//! What somebody may plant who can list and create, and holds no key: it gets in nobody's way.

mod support;

use std::time::Duration;

use backstay::engine::PruneReport;
use backstay::store::Operation;
use backstay::vault::{AllowedSigner, SigningKey};
use backstay::{Backstay, ErrorKind, Keep, PointId, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::{World, exporter, program, restored, signature_key};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

#[tokio::test(start_paused = true)]
async fn signatures_planted_under_a_trusted_name_do_not_hide_the_real_one() {
    let world = World::new(3).await;
    let id = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
    let manifest = world.read(&format!("points/{id}.json")).await;
    for seed in 0..8 {
        // Some of these sort before the real one and some after it.
        let other = SigningKey::generate(&SeededRandom::new(seed));
        let mut trust = world.keyring.allowed_signers().clone();
        trust.add(AllowedSigner::new("other", other.public())).expect("one more");
        let planted = signature_key(&format!("sigs/{id}.point"), &manifest, &other.public().id());
        world.overwrite(&planted, vec![b'x'; 20 << 10]).await;
        let vault = Vault::open_read_only(world.store.clone()).trust(trust).build().await.expect("it opens");
        vault.points().get(&id).await.expect("signed by one who is trusted");
    }
    // Those of keys that nobody trusts are not even read.
    for seed in 100..110 {
        let stranger = SigningKey::generate(&SeededRandom::new(seed));
        let planted = signature_key(&format!("sigs/{id}.point"), &manifest, &stranger.public().id());
        world.overwrite(&planted, stranger.sign("backstay-point-v1", &manifest)).await;
    }
    let store = FaultyStore::new(std::sync::Arc::new(world.store.clone()));
    let vault = world.open(store.clone(), 5).await.expect("it opens");
    store.reset_calls();
    vault.points().get(&id).await.expect("signed");
    assert_eq!(store.calls(Operation::Get), 2, "the manifest and its signature");
}

#[tokio::test(start_paused = true)]
async fn a_point_is_found_by_its_run_although_another_tier_has_a_plant_of_that_name() {
    let world = World::new(3).await;
    let id = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
    world.overwrite(&format!("points/prod-eu/a-tier/{}.json", id.run), "{}").await;
    let vault = world.vault().await;
    assert_eq!(vault.points().find(&id.run.to_string()).await.expect("the real one").id, id);
    world.remove(&format!("points/{id}.json")).await;
    let error = vault.points().find(&id.run.to_string()).await.expect_err("only the plant is left");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_planted_source_does_not_hide_the_only_true_one() {
    let world = World::new(3).await;
    let id = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
    world.overwrite(&format!("points/another/daily/{}.json", id.run), "{}").await;
    let vault = world.vault().await;
    assert_eq!(vault.points().latest("db").await.expect("the true one").id, id);
    let second = Backstay::builder("second", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");
    second.backup("daily").await.expect("a backup");
    let error = vault.points().latest("db").await.expect_err("whose?");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(vault.points().source(id.source.clone()).latest("db").await.expect("the named one's").id, id);
}

#[tokio::test(start_paused = true)]
async fn a_planted_canary_proves_nothing_and_hides_nobody() {
    let world = World::new(3).await;
    let vault = world.vault().await;
    let custodian = vault.custodians().await.expect("a list").remove(0);
    let key = format!("keys/{}.{}.20261120t064200z.canary", custodian.epoch, custodian.name);
    for plant in [vec![b'{'; 100], vec![b' '; 65 << 10]] {
        world.overwrite(&key, plant).await;
        assert_eq!(vault.custodians().await.expect("a list"), std::slice::from_ref(&custodian));
    }
    // A true one of somebody else, moved here.
    let (random, paper) = (SeededRandom::new(9), "paper".parse().expect("a name"));
    let identity = backstay::vault::Identity::generate(&random);
    vault.add_custodian(&paper, identity.recipient()).await.expect("added");
    vault.check_custodian(&paper, &identity).await.expect("it opens");
    let from = format!("keys/{}.paper.20261120t064200z.canary", custodian.epoch);
    let signature = world.keys(&format!("sigs/{from}")).await.remove(0);
    world.overwrite(&key, world.read(&from).await).await;
    world.overwrite(&signature.replace(&from, &key), world.read(&signature).await).await;
    assert!(vault.custodians().await.expect("a list").contains(&custodian), "still unproved");
}

/// Ten days of points, and for each of the last seven days a later plant.
async fn planted_days(content: impl AsRef<[u8]>) -> (World, Backstay, Vec<PointId>) {
    let world = World::new(3).await;
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::daily(7)))
        .build()
        .expect("well formed");
    let mut points = Vec::new();
    for day in 0..10 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(DAY / 2);
        if day >= 3 {
            let run = backstay::RunId::new(backstay::Clock::now(&world.clock), &SeededRandom::new(day));
            world.overwrite(&format!("points/prod-eu/daily/{run}.json"), content.as_ref().to_vec()).await;
        }
        world.clock.advance(DAY / 2);
    }
    (world, backstay, points)
}

#[tokio::test(start_paused = true)]
async fn plants_push_no_point_out() {
    let (_, backstay, points) = planted_days("{}").await;
    assert_eq!(backstay.vault().points().latest("db").await.expect("the newest real one").id, points[9]);
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(&points[9]));
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    let expiring: Vec<&PointId> = plan
        .steps
        .iter()
        .filter(|step| step.action == backstay::engine::PruneAction::Tombstone)
        .map(|step| &step.id)
        .collect();
    assert_eq!(expiring, points[..3].iter().collect::<Vec<_>>(), "{plan}");
    assert_eq!(plan.strange.len(), 7, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn one_point_that_cannot_be_treated_is_the_one_that_is_named() {
    let world = World::new(3).await;
    let store = FaultyStore::new(std::sync::Arc::new(world.store.clone()));
    let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let mut points = Vec::new();
    for _ in 0..4 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(DAY);
    }
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    backstay.vault().hold(&points[0], &"audit".parse().expect("a name"), "why").await.expect("held");
    let denied = Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::Put]);
    store.add(denied.under(format!("points/{}", points[1])));
    let error = plan.apply().await.expect_err("one fails");
    let report: &PruneReport = error.payload().expect("the report comes along");
    assert_eq!(report.left.len(), 2);
    assert!(error.to_string().contains(&points[1].to_string()), "{error}");
    assert_eq!(restored(backstay.vault(), &points[1]).await.expect("it stays")[0].1, TEXT);
}
