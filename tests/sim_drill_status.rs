//! What is known of drills afterwards: the newest one that counts, whether it is late, for little and whatever is planted.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{DrillStatus, Proof};
use backstay::jiff::{SignedDuration, ToSpan};
use backstay::store::Operation;
use backstay::vault::{Purpose, Right, Role};
use backstay::{Backstay, Clock, ErrorKind, Event, Keep, PointId, Status, Tier, Vault};
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{Calls, ExportScript, MockDrillTarget, MockExporter, MockImporter};
use backstay_testkit::{EventLog, RightsStore, SeededRandom};
use support::{World, exporter, hundred_thousand_plants, inline_budget, signature_key};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"what the table holds";

fn weekly_drill() -> Tier {
    Tier::new("daily").keep(Keep::last(2)).drill_every(7.days())
}

fn program(vault: Vault, tier: Tier, events: &EventLog) -> Backstay {
    let builder = Backstay::builder("prod-eu", vault).export("db", exporter(&[("rows", TEXT)]));
    builder.tier(tier).observe(events.clone()).build().expect("well formed")
}

async fn one_point(tier: Tier) -> (World, Backstay, PointId, EventLog) {
    let (world, events) = (World::new(3).await, EventLog::default());
    let backstay = program(world.vault().await, tier, &events);
    let point = backstay.backup("daily").await.expect("a backup").id;
    (world, backstay, point, events)
}

async fn good_drill(backstay: &Backstay) {
    backstay.drill("db").into(MockDrillTarget::default()).await.expect("good");
}

async fn bad_drill(backstay: &Backstay) {
    backstay.drill("db").into(MockDrillTarget::default().check("rows", Err("none"))).await.expect_err("bad");
}

async fn status(backstay: &Backstay) -> (Status, Option<DrillStatus>) {
    let status = backstay.status().await.expect("a status");
    let drills = status.tiers[0].drills.clone();
    assert!(drills.len() < 2, "{drills:?}");
    (status, drills.into_iter().next())
}

#[tokio::test(start_paused = true)]
async fn status_tells_the_newest_drill_and_when_one_is_due() {
    let (world, backstay, point, events) = one_point(weekly_drill()).await;
    let late = |text: &'static str, backstay: &Backstay| {
        let (backstay, events) = (backstay.clone(), events.clone());
        async move {
            let before = events.count("drill_late");
            let (told, drill) = status(&backstay).await;
            let drill = drill.expect("the tier asks for drills");
            assert!(told.to_string().contains(text), "{text} is not in\n{told}");
            assert_eq!(told.is_good(), !drill.late, "{told}");
            assert_eq!(events.count("drill_late") - before, usize::from(drill.late), "{told}");
            let read: Status = serde_json::from_str(&serde_json::to_string(&told).expect("JSON")).expect("the same");
            assert_eq!(read.tiers[0].drills, told.tiers[0].drills);
            drill.late
        }
    };
    assert!(late("db: no drill  LATE", &backstay).await);
    good_drill(&backstay).await;
    world.clock.advance(DAY);
    assert!(!late("newest drill passed 24h ago", &backstay).await);
    let seen = status(&backstay).await.1.and_then(|drill| drill.newest).expect("a drill");
    assert_eq!((&seen.point, seen.passed, seen.age), (&point, true, SignedDuration::from_hours(24)));
    assert!(seen.rto.is_some());
    world.clock.advance(DAY * 6);
    assert!(!late("newest drill passed", &backstay).await, "a week is allowed");
    world.clock.advance(Duration::from_secs(1));
    assert!(late("LATE", &backstay).await);
    bad_drill(&backstay).await;
    assert!(late("newest drill FAILED", &backstay).await);
    world.clock.advance(Duration::from_secs(60));
    good_drill(&backstay).await;
    assert!(!late("newest drill passed", &backstay).await, "the newest counts");
    let tells = |event: &Event| matches!(event, Event::DrillLate { newest: Some(told), .. } if *told == point);
    assert!(events.all().iter().any(tells));

    // Without an objective nothing is late but what failed.
    let (world, backstay, ..) = one_point(Tier::new("daily").keep(Keep::last(2))).await;
    assert!(status(&backstay).await.1.is_none());
    good_drill(&backstay).await;
    world.clock.advance(DAY * 300);
    assert!(!status(&backstay).await.1.expect("it is told").late);
    bad_drill(&backstay).await;
    let (told, drill) = status(&backstay).await;
    assert!(drill.expect("told").late && !told.is_good(), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_drill_of_one_item_of_several_is_told_as_that_everywhere() {
    let (world, events) = (World::new(3).await, EventLog::default());
    let several = exporter(&[("orders", TEXT), ("empty", b""), ("users", TEXT)]);
    let builder = Backstay::builder("prod-eu", world.vault().await).export("db", several);
    let backstay = builder.tier(weekly_drill()).observe(events).build().expect("well formed");
    let point = backstay.backup("daily").await.expect("a backup").id;
    good_drill(&backstay).await;
    let (told, drill) = status(&backstay).await;
    assert!(drill.and_then(|drill| drill.newest).is_some_and(|seen| seen.part.is_none()), "{told}");

    world.clock.advance(DAY);
    let one = MockDrillTarget::default().importer(MockImporter::default().only("orders"));
    let report = backstay.drill("db").into(one).await.expect("what was to be restored is good");
    let part = report.part.expect("it was not all of it");
    assert_eq!((part.restored, part.of), (1, 3));
    assert!(report.to_string().contains("1 of 3 items: nothing is proved of the others"), "{report}");
    let (told, drill) = status(&backstay).await;
    assert_eq!(drill.and_then(|drill| drill.newest).and_then(|seen| seen.part), Some(part));
    assert!(told.to_string().contains("of 1 of 3 items alone"), "{told}");
    let proofs = backstay.vault().proofs(&point).await.expect("a list");
    let parts: Vec<_> = proofs.iter().filter_map(|proof| proof.drill.as_ref()).map(|drill| drill.part).collect();
    assert_eq!(parts, [None, Some(part)]);
}

#[tokio::test(start_paused = true)]
async fn drills_that_end_in_one_second_have_a_proof_each() {
    let (_, backstay, point, _) = one_point(weekly_drill()).await;
    good_drill(&backstay).await;
    bad_drill(&backstay).await;
    backstay.drill("db").into(MockDrillTarget::default().check("rows", Ok("some"))).await.expect("good");
    assert_eq!(backstay.vault().proofs(&point).await.expect("a list").len(), 3);
    // And the verification of that second has its own.
    backstay.verify(&point).record().await.expect("intact");
    assert_eq!(backstay.vault().proofs(&point).await.expect("a list").len(), 4);
}

/// Puts a proof with the words of a true one, changed; signed by the key of `signer`, if there is one.
async fn plant(
    world: &World,
    point: &PointId,
    minutes: i64,
    signer: Option<&backstay::vault::SigningKey>,
    passed: bool,
) {
    let key = world.keys("proofs/").await.into_iter().find(|key| key.contains("drill-db")).expect("a true one");
    let mut proof: Proof = serde_json::from_value(world.json(&key).await).expect("a proof");
    proof.at = world.clock.now() + SignedDuration::from_mins(minutes);
    proof.at = proof.at.round(backstay::jiff::Unit::Second).expect("a second");
    proof.drill.as_mut().expect("a drill's").passed = passed;
    let bytes = serde_json::to_vec_pretty(&proof).expect("JSON");
    let time = proof.at.strftime("%Y%m%dt%H%M%Sz").to_string();
    if let Some(signer) = signer {
        let signature = signer.sign(Purpose::Proof.namespace(), &bytes);
        let place = format!("sigs/{point}.drill-db.{time}");
        world.overwrite(&signature_key(&place, &bytes, &signer.public().id()), signature).await;
    }
    world.overwrite(&format!("proofs/{point}.{time}.drill-db.json"), bytes).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_trusted_signed_for_this_place_is_no_drill() {
    let (world, backstay, point, _) = one_point(weekly_drill()).await;
    bad_drill(&backstay).await;
    world.clock.advance(DAY);
    let mut keyring = (*world.keyring).clone();
    let writer =
        keyring.issue_from(Role::Writer, &"host-7".parse().expect("a name"), &SeededRandom::new(9)).expect("issued");
    let unknown = backstay::vault::SigningKey::generate(&SeededRandom::new(77));
    plant(&world, &point, -1, None, true).await;
    plant(&world, &point, -2, writer.signing_key(), true).await;
    plant(&world, &point, -3, Some(&unknown), true).await;
    // A true one of another time and of another point, with its signature.
    for key in world.keys("").await.into_iter().filter(|key| key.contains("drill-db") && !key.contains("history")) {
        let moved = key.replace("20261120t", "20261121t");
        world.overwrite(&moved, world.read(&key).await).await;
    }
    let reader = program(world.vault().await, weekly_drill(), &EventLog::default());
    let (told, drill) = status(&reader).await;
    let seen = drill.and_then(|drill| drill.newest).expect("the true one");
    assert!(!seen.passed && seen.age == SignedDuration::from_hours(24), "{seen:?}");
    assert!(told.strange.len() >= 3, "it is told: {:?}", told.strange);
    assert_eq!(reader.vault().proofs(&point).await.expect("a list").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_clock_makes_a_drill_younger_than_it_is() {
    // The drill's host is a year ahead of the store.
    let (world, backstay, point, _) = one_point(weekly_drill()).await;
    good_drill(&backstay).await;
    let key = world.keys("proofs/").await.remove(0);
    plant(&world, &point, 365 * 24 * 60, Some(world.keyring.signing_key()), true).await;
    world.remove(&key).await;
    world.clock.advance(DAY * 8);
    let seen = status(&backstay).await.1.and_then(|drill| drill.newest).expect("it is trusted");
    assert_eq!(seen.age, SignedDuration::from_hours(8 * 24), "the store's clock counts");
    // The store got the proof late, as where a vault was copied without its times.
    plant(&world, &point, -30 * 24 * 60, Some(world.keyring.signing_key()), true).await;
    for key in world.keys("proofs/").await.into_iter().filter(|key| key.contains(".2027")) {
        world.remove(&key).await;
    }
    let drill = status(&backstay).await.1.expect("told");
    assert!(drill.late && drill.newest.expect("a drill").age == SignedDuration::from_hours(30 * 24));
}

#[tokio::test(start_paused = true)]
async fn a_proof_outlives_its_point_as_long_as_it_is_the_newest() {
    let (world, backstay, first, _) = one_point(weekly_drill()).await;
    for _ in 0..2 {
        good_drill(&backstay).await;
        world.clock.advance(Duration::from_secs(60));
    }
    backstay.verify(&first).record().await.expect("intact");
    for _ in 0..3 {
        world.clock.advance(DAY);
        backstay.backup("daily").await.expect("a backup");
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies");
    }
    let left: Vec<String> =
        world.keys("").await.into_iter().filter(|key| key.contains(&first.run.to_string())).collect();
    let kinds: BTreeSet<&str> = left.iter().filter_map(|key| key.split('/').next()).collect();
    assert_eq!(kinds, BTreeSet::from(["proofs", "runs", "sigs"]), "{left:?}");
    let proofs: Vec<&String> = left.iter().filter(|key| key.starts_with("proofs/")).collect();
    assert!(proofs.len() == 1 && proofs[0].contains("drill-db"), "{proofs:?}");
    let (told, drill) = status(&backstay).await;
    assert!(!drill.expect("it counts though its point is gone").late && told.is_good(), "{told}");
    drop(backstay.sweep().plan().await.expect("nothing odd to a sweep"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_plants_costs_listings_and_a_few_reads() {
    let world = hundred_thousand_plants().await;
    let events = EventLog::default();
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world.open(store.clone(), 7).await.expect("it opens"), weekly_drill(), &events);
    let point = backstay.backup("daily").await.expect("a backup").id;
    good_drill(&backstay).await;
    let cost = async || {
        store.reset_calls();
        let drill = status(&backstay).await.1.expect("the tier asks for drills");
        (store.calls(Operation::List), store.calls(Operation::Get), drill.newest.is_some_and(|seen| seen.passed))
    };
    let (lists, gets, found) = cost().await;
    assert!(found);
    world.clock.advance(Duration::from_secs(60));
    for minute in 1..3000_i64 {
        let time = (world.clock.now() + SignedDuration::from_mins(minute)).strftime("%Y%m%dt%H%M%Sz").to_string();
        world.overwrite(&format!("proofs/{point}.{time}.drill-db.json"), "{}").await;
    }
    // After eight plants one listing of the signatures tells the others.
    let (more_lists, more_gets, found) = cost().await;
    assert!(found, "plants hide nothing");
    assert!(more_gets <= gets + 8 && more_lists <= lists + 8 * 3 + 20, "{more_gets} reads, {more_lists} lists");

    // With names of signatures planted too each costs a read, and the search ends: what is not found is late.
    let trusted = world.keyring.signing_key().public().id();
    for minute in 1..3000_i64 {
        let time = (world.clock.now() + SignedDuration::from_mins(minute)).strftime("%Y%m%dt%H%M%Sz").to_string();
        world.overwrite(&format!("sigs/{point}.drill-db.{time}.aaaaaaaaaaaaaaaaaaaaaaaaaa.{trusted}.sig"), "x").await;
    }
    let (_, most_gets, found) = cost().await;
    assert!(!found && most_gets <= gets + 64, "{most_gets} reads");
    assert!(status(&backstay).await.1.expect("told").late);
}

/// A vault with a point, opened for a verifier who was given a custodian's identity.
async fn verifier(world: &World, store: RightsStore) -> Backstay {
    let mut keyring = (*world.keyring).clone();
    let keys =
        keyring.issue_from(Role::Verifier, &"night".parse().expect("a name"), &SeededRandom::new(9)).expect("issued");
    let vault = Vault::open_as(Role::Verifier, store)
        .keys(&keys)
        .unlock_with(world.keyring.custodian().clone())
        .clock(world.clock.clone())
        .random(SeededRandom::new(11))
        .budget(inline_budget())
        .build()
        .await
        .expect("it opens");
    let tier = weekly_drill().covers(["db"]);
    Backstay::builder("prod-eu", vault).tier(tier).build().expect("well formed")
}

#[tokio::test(start_paused = true)]
async fn a_verifier_with_a_custodians_identity_drills_by_its_rights_and_no_others() {
    let rights = |world: &World| RightsStore::new(Arc::new(world.store.clone()), Role::Verifier);
    let (world, ..) = one_point(weekly_drill()).await;
    let store = rights(&world);
    let backstay = verifier(&world, store.clone()).await;
    good_drill(&backstay).await;
    assert!(!status(&backstay).await.1.expect("it counts").late);
    assert_eq!(store.denied(), [""; 0], "it asked for more than it has");
    assert_eq!(
        store.used(),
        Role::Verifier.grants().iter().copied().collect(),
        "and has no right that it does not need"
    );
    assert_eq!(world.keys("history/").await, [""; 0], "who may not write history leaves none");

    for grant in Role::Verifier.grants().iter().filter(|grant| grant.right == Right::Create) {
        let (world, ..) = one_point(weekly_drill()).await;
        let backstay = verifier(&world, rights(&world).without(grant)).await;
        let target = MockDrillTarget::default();
        let error = backstay.drill("db").into(target.clone()).await.expect_err("one right less");
        assert_eq!(error.kind(), ErrorKind::Denied, "{grant}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(grant.under) && text.contains("verifier"), "{grant}: {text}");
        assert_eq!(target.standing(), [""; 0], "{grant}");
        assert_eq!(world.keys("proofs/").await, [""; 0], "{grant}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_keys_for_it_nothing_is_begun_or_nothing_is_restored() {
    let (world, ..) = one_point(weekly_drill()).await;
    let calls = Calls::default();
    let target = MockDrillTarget::default().record(&calls);
    let reader = Vault::open_read_only(world.store.clone())
        .trust(world.keyring.allowed_signers().clone())
        .unlock_with(world.keyring.custodian().clone());
    let restorer = Vault::open_as(Role::Restorer, world.store.clone()).keyring(&world.keyring);
    for (vault, kind) in [(reader, ErrorKind::Refused), (restorer, ErrorKind::Denied)] {
        let vault = vault.clock(world.clock.clone()).build().await.expect("it opens");
        let tier = weekly_drill().covers(["db"]);
        let backstay = Backstay::builder("prod-eu", vault).tier(tier).build().expect("well formed");
        let error = backstay.drill("db").into(target.clone()).await.expect_err("it may sign no proof");
        assert_eq!((error.kind(), calls.all().len()), (kind, 0), "{error}");
    }

    let blind = Vault::open(world.store.clone())
        .id(world.keyring.vault_id().clone())
        .encrypt_to(world.keyring.epoch().clone())
        .trust(world.keyring.allowed_signers().clone())
        .sign_with(world.keyring.signing_key().clone())
        .clock(world.clock.clone());
    let blind = support::program(blind.build().await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let error = blind.drill("db").into(target.clone()).await.expect_err("nobody opens it");
    assert_eq!((error.kind(), target.standing().len()), (ErrorKind::Denied, 0), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_name_and_no_text_of_a_drill_can_be_read_without_the_key() {
    let world = World::new(3).await;
    let exporter = MockExporter::scripted(ExportScript::new([("canary-item", "canary-content")]));
    let backstay = support::program(world.vault().await, exporter);
    backstay.backup("daily").await.expect("a backup");
    let importer = MockImporter::default().apply_problem("canary-entry", "canary-reason");
    for target in [
        MockDrillTarget::default().check("canary-check", Ok("canary-found")),
        MockDrillTarget::default().check("canary-check", Err("canary-found")),
        MockDrillTarget::default().importer(importer),
    ] {
        drop(backstay.drill("db").into(target).await);
        world.clock.advance(DAY);
    }
    assert_eq!((world.keys("proofs/").await.len(), world.keys("history/").await.len()), (3, 6));
    for key in world.keys("").await {
        let stored = world.read(&key).await;
        assert!(
            !stored.windows(6).any(|window| window == b"canary") && !key.contains("canary"),
            "it can be read in {key}"
        );
    }
    // With it everything can.
    let history = backstay.vault().history("prod-eu".parse().expect("a name"));
    let mut logged = String::new();
    for entry in history.list().await.expect("a listing") {
        let record = history.get(&entry).await.expect("signed");
        logged += &format!("{:?}", history.log(&record).await.expect("the key is here"));
    }
    for canary in ["canary-check", "canary-found", "canary-entry", "canary-reason"] {
        assert!(logged.contains(canary), "{canary}");
    }
}

#[tokio::test(start_paused = true)]
async fn options_tell_how_long_a_restore_takes_by_drills_too() {
    let (world, backstay, ..) = one_point(weekly_drill()).await;
    backstay.drill("db").into(MockDrillTarget::default().takes(Duration::from_secs(3))).await.expect("good");
    bad_drill(&backstay).await;
    let options = backstay.options("db").await.expect("options");
    assert_eq!(options.options[0].takes, Some(Duration::from_secs(6)), "prepared and validated: {options}");
    let _ = world;
}
