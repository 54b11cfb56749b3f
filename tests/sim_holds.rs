//! Holds that a pruner must respect: those that come while a deletion waits, and those of keepers whom it does not know yet.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan};
use backstay::store::Operation;
use backstay::vault::{Purpose, Role, RoleKeys, SigningKey};
use backstay::{Backstay, Keyring, Name, PointId, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::FaultyStore;
use serde_json::json;
use support::{World, exporter, inline_budget, program, signature_key, three_points};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

fn step(plan: &PrunePlan, point: &PointId) -> (PruneAction, String) {
    let step = plan.steps.iter().find(|step| step.id == *point).expect("every point has a step");
    (step.action, step.reason.clone())
}

/// A pruner's keys, and those of a keeper that were issued after them.
fn keepers(world: &World) -> (Keyring, RoleKeys, RoleKeys) {
    let mut keyring = (*world.keyring).clone();
    let pruner = keyring.issue_from(Role::Pruner, &name("night"), &SeededRandom::new(21)).expect("issued");
    let keeper = keyring.issue_from(Role::Keeper, &name("ann"), &SeededRandom::new(22)).expect("issued");
    (keyring, pruner, keeper)
}

async fn open(world: &World, keys: &RoleKeys) -> Vault {
    let builder = Vault::open_as(keys.role(), world.store.clone()).keys(keys).clock(world.clock.clone());
    builder.random(SeededRandom::new(77)).budget(inline_budget()).build().await.expect("it opens")
}

async fn pruner(world: &World, keys: &RoleKeys) -> Backstay {
    program(open(world, keys).await, exporter(&[]))
}

#[tokio::test(start_paused = true)]
async fn a_plan_takes_a_deletion_back_at_once_when_somebody_holds_the_point() {
    for (waits, hours) in [(true, 1), (false, 48)] {
        let (world, backstay, points) = three_points(TEXT).await;
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        backstay.vault().hold(&points[0], &name("audit"), "the auditors").await.expect("held in the grace");
        world.clock.advance(Duration::from_secs(hours * 3600));
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        let (action, reason) = step(&plan, &points[0]);
        assert_eq!(action, PruneAction::Undelete, "in its grace: {waits}: {plan}");
        assert!(reason.contains("held by keyring as audit: the auditors"), "{reason}");
        let report = plan.apply().await.expect("it applies");
        assert_eq!((report.undeleted.as_slice(), report.left.len()), (&points[..1], 0));
        let listed = backstay.vault().points().list(&points[0].source, &points[0].tier).await.expect("a listing");
        assert!(listed.contains(&points[0]), "it stands like any other");
    }
}

#[tokio::test(start_paused = true)]
async fn a_keeper_whom_the_pruner_does_not_know_yet_keeps_the_point() {
    let (world, _, points) = three_points(TEXT).await;
    let (keyring, mut night, ann) = keepers(&world);
    let (keeper, backstay) = (open(&world, &ann).await, pruner(&world, &night).await);
    let key_id = ann.signing_key().expect("a keeper signs").public().id();

    // After the plan, before the tombstone.
    let planned = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(step(&planned, &points[0]).0, PruneAction::Tombstone);
    keeper.hold(&points[0], &name("audit"), "the auditors").await.expect("held");
    let report = planned.apply().await.expect("it applies");
    assert_eq!(report.tombstoned, [] as [PointId; 0]);
    assert!(report.left.len() == 1 && report.left[0].why.contains(&key_id), "{report:?}");

    // Before the plan.
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    let (action, reason) = step(&plan, &points[0]);
    assert_eq!(action, PruneAction::Keep, "{plan}");
    let said = format!("a hold by a key that is not trusted here: {key_id}; trust it or remove the mark hold-audit");
    assert!(reason.contains(&said), "{reason}");

    // Whoever may release ends it, though the key is unknown to him too.
    world.vault().await.release(&points[0], &name("audit"), "nobody we know").await.expect("released");
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(step(&plan, &points[0]).0, PruneAction::Tombstone, "{plan}");

    // In the grace of a deletion.
    world.remove(&format!("points/{}.hold-audit", points[0])).await;
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    keeper.hold(&points[0], &name("second"), "the auditors").await.expect("held in the grace");
    world.clock.advance(2 * DAY);
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(step(&plan, &points[0]).0, PruneAction::Undelete, "{plan}");
    plan.apply().await.expect("taken back");

    // With the list of today the pruner knows who it is, and what she releases.
    night.take_signers(keyring.allowed_signers()).expect("from the keyring");
    let backstay = pruner(&world, &night).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert!(step(&plan, &points[0]).1.contains("held by ann as second: the auditors"), "{plan}");
    keeper.release(&points[0], &name("second"), "seen").await.expect("released");
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(step(&plan, &points[0]).0, PruneAction::Tombstone, "{plan}");
}

/// Puts a hold beside `point` that says what `document` says, with a signature whose name is that of the key `named`.
async fn plant(world: &World, point: &PointId, document: &[u8], named: &SigningKey, signature: String) {
    let place = signature_key(&format!("sigs/{point}.hold-audit"), document, &named.public().id());
    world.overwrite(&place, signature).await;
    world.overwrite(&format!("points/{point}.hold-audit"), document.to_vec()).await;
}

#[tokio::test(start_paused = true)]
async fn a_forged_or_replayed_hold_by_an_unknown_key_keeps_nothing() {
    let (world, backstay, points) = three_points(TEXT).await;
    let thief = SigningKey::generate(&SeededRandom::new(31));
    let ours = world.keyring.signing_key();
    let hold = |vault: &str, point: &PointId| {
        let says = json!({ "hold": { "name": "audit" } });
        let mark = json!({
            "vault": vault, "point": point, "manifest": "00".repeat(32),
            "says": says, "at": "2026-11-23T06:42:00Z", "reason": "why",
        });
        serde_json::to_vec(&mark).expect("JSON")
    };
    let sign = |key: &SigningKey, purpose: Purpose, bytes: &[u8]| key.sign(purpose.namespace(), bytes);
    let id = world.keyring.vault_id().as_str();
    let good = hold(id, &points[0]);
    let (replayed, foreign) = (hold(id, &points[1]), hold(&"a".repeat(26), &points[0]));
    for (what, document, signature, keeps) in [
        ("over other bytes", &good, sign(&thief, Purpose::Hold, &replayed), false),
        ("for another use", &good, sign(&thief, Purpose::Point, &good), false),
        ("for another point", &replayed, sign(&thief, Purpose::Hold, &replayed), false),
        ("for another vault", &foreign, sign(&thief, Purpose::Hold, &foreign), false),
        ("no mark at all", &b"{}".to_vec(), sign(&thief, Purpose::Hold, b"{}"), false),
        ("no signature", &good, "nonsense".to_owned(), false),
        ("a known key's", &good, sign(ours, Purpose::Release, &good), false),
        ("well made", &good, sign(&thief, Purpose::Hold, &good), true),
    ] {
        plant(&world, &points[0], document, &thief, signature).await;
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        let expected = if keeps { PruneAction::Keep } else { PruneAction::Tombstone };
        assert_eq!(step(&plan, &points[0]).0, expected, "{what}: {plan}");
        assert!(plan.strange.iter().any(|strange| strange.contains("hold-audit")), "{what}: {plan}");
    }
    // A key that is known, and not trusted to hold, keeps nothing either, under whatever name.
    let writer = SigningKey::generate(&SeededRandom::new(32));
    let mut trust = world.keyring.allowed_signers().clone();
    let line = backstay::vault::AllowedSigner::new("host", writer.public()).namespaces([Purpose::Point.namespace()]);
    trust.add(line).expect("a line");
    let builder = Vault::open(world.store.clone()).keyring(&world.keyring).trust(trust).clock(world.clock.clone());
    let backstay = program(builder.budget(inline_budget()).build().await.expect("it opens"), exporter(&[]));
    plant(&world, &points[0], &good, &thief, sign(&writer, Purpose::Hold, &good)).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(step(&plan, &points[0]).0, PruneAction::Tombstone, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_holds_costs_listings_and_a_few_reads() {
    let (world, _, points) = three_points(TEXT).await;
    let thief = SigningKey::generate(&SeededRandom::new(31));
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world.open(store.clone(), 9).await.expect("it opens"), exporter(&[]));
    let reads = async || {
        store.reset_calls();
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        (step(&plan, &points[0]).0, store.calls(Operation::Get), store.calls(Operation::List))
    };
    // Many signatures beside one mark.
    let hold = |i: u64| {
        json!({
            "vault": world.keyring.vault_id(), "point": points[0], "manifest": "00".repeat(32),
            "says": { "hold": { "name": format!("n{i}") } }, "at": "2026-11-23T06:42:00Z", "reason": "why",
        })
    };
    let document = serde_json::to_vec(&hold(0)).expect("JSON");
    world.overwrite(&format!("points/{}.hold-n0", points[0]), document.clone()).await;
    for i in 0..100 {
        let stranger = SigningKey::generate(&SeededRandom::new(100 + i)).public().id();
        world.overwrite(&signature_key(&format!("sigs/{}.hold-n0", points[0]), &document, &stranger), "x").await;
    }
    let (action, gets, _) = reads().await;
    assert!(action == PruneAction::Keep && gets < 40, "{action}, {gets} reads: what cannot be told is kept");
    // Many marks: some without any signature, some whose signatures are as good as a thief makes them.
    for key in world.keys(&format!("sigs/{}.hold-", points[0])).await {
        world.remove(&key).await;
    }
    for i in 0..300 {
        world.overwrite(&format!("points/{}.hold-n{i}", points[0]), "{}").await;
    }
    let (action, gets, lists) = reads().await;
    assert!(action == PruneAction::Tombstone && gets < 60 && lists < 40, "{action}, {gets} reads, {lists} listings");
    for i in 300..600 {
        let document = serde_json::to_vec(&hold(i)).expect("JSON");
        let place = format!("sigs/{}.hold-n{i}", points[0]);
        world
            .overwrite(
                &signature_key(&place, &document, &thief.public().id()),
                thief.sign(Purpose::Hold.namespace(), &document),
            )
            .await;
        world.overwrite(&format!("points/{}.hold-n{i}", points[0]), document).await;
    }
    let (action, gets, lists) = reads().await;
    assert!(action == PruneAction::Keep && gets < 60 && lists < 40, "{action}, {gets} reads, {lists} listings");
}
