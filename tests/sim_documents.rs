//! Documents that the right key did sign and that still must not count: of another place, another time, another kind.

mod support;

use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan, VerifyReport};
use backstay::vault::Purpose;
use backstay::{Backstay, BackupReport, Depth, ErrorKind, PointId, Result, Sha256};
use serde_json::{Value, json};
use support::{World, exporter, program, restored, three_points};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";
const OTHER_VAULT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaa";

fn action(plan: &PrunePlan, point: &PointId) -> PruneAction {
    plan.steps.iter().find(|step| step.id == *point).expect("every point has a step").action
}

async fn plan(backstay: &Backstay) -> Result<PrunePlan> {
    backstay.prune("daily").plan().await.map(|planned| planned.clone())
}

async fn put_manifest(world: &World, point: &PointId, manifest: &Value) {
    world.put_signed(&format!("points/{point}.json"), &format!("sigs/{point}.point"), Purpose::Point, manifest).await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_says_of_itself_what_its_key_says() {
    let (world, backstay, points) = three_points(TEXT).await;
    let manifest = world.json(&format!("points/{}.json", points[0])).await;
    let foreign = world.json(&format!("points/{}.json", points[1])).await;
    let with = |field: &str, value: Value| {
        let mut changed = manifest.clone();
        changed[field] = value;
        changed
    };
    let mut bare = with("components", json!([]));
    bare.as_object_mut().expect("an object").remove("details");
    let mut moved = bare.clone();
    moved["id"] = foreign["id"].clone();
    for (what, changed, expected) in [
        ("of another vault", with("vault", json!(OTHER_VAULT)), ErrorKind::Corrupt),
        ("of another source", with("source", json!("other")), ErrorKind::Corrupt),
        ("of another run, and without objects", moved, ErrorKind::Corrupt),
        ("with the objects of another run", with("components", foreign["components"].clone()), ErrorKind::Corrupt),
        ("with the details of another run", with("details", foreign["details"].clone()), ErrorKind::Corrupt),
        ("that asks for more than we know", with("requires", json!(["chunks-v2"])), ErrorKind::Unsupported),
    ] {
        put_manifest(&world, &points[0], &changed).await;
        let error = backstay.vault().points().get(&points[0]).await.expect_err(what);
        assert_eq!(error.kind(), expected, "{what}: {error}");
    }
    put_manifest(&world, &points[0], &bare).await;
    backstay.vault().points().get(&points[0]).await.expect("nothing but its own");
}

#[tokio::test(start_paused = true)]
async fn a_void_is_no_point_for_anybody() {
    let (world, backstay, points) = three_points(TEXT).await;
    let mut void = world.json(&format!("points/{}.json", points[2])).await;
    (void["status"], void["components"]) = (json!("void"), json!([]));
    let (key, place) = (format!("points/{}.json", points[2]), format!("sigs/{}.void", points[2]));
    world.put_signed(&key, &place, Purpose::Void, &void).await;
    world.overwrite(&format!("points/{}.void", points[2]), "").await;
    let vault = backstay.vault();
    assert_eq!(vault.points().get(&points[2]).await.expect_err("void").kind(), ErrorKind::NotFound);
    assert_eq!(vault.points().latest("db").await.expect("the one before").id, points[1]);
    let listed = vault.points().list(&points[0].source, &points[0].tier).await.expect("a listing");
    assert_eq!(listed, points[..2]);
    let plan = plan(&backstay).await.expect("a plan");
    assert_eq!(plan.steps.len(), 2, "{plan}");
    assert_eq!(plan.count(PruneAction::Keep), 2, "it fills no slot: {plan}");
    // One that is planted, and a hint that is, hide nothing.
    world.overwrite(&format!("points/{}.void", points[1]), "").await;
    assert_eq!(vault.points().list(&points[0].source, &points[0].tier).await.expect("a listing"), points[..2]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_point_fills_no_slot_with_or_without_its_hint() {
    let (world, backstay, points) = three_points(TEXT).await;
    let mut partial = world.json(&format!("points/{}.json", points[2])).await;
    (partial["status"], partial["components"][0]["outcome"]) = (json!("partial"), json!("incomplete"));
    put_manifest(&world, &points[2], &partial).await;
    for hinted in [false, true] {
        if hinted {
            world.overwrite(&format!("points/{}.partial", points[2]), "").await;
        }
        let plan = plan(&backstay).await.expect("a plan");
        assert_eq!(plan.count(PruneAction::Tombstone), 0, "{plan}");
        assert_eq!(backstay.vault().points().latest("db").await.expect("a good one").id, points[1]);
        let status = backstay.status().await.expect("a status");
        assert_eq!(status.tiers[0].partial, 1);
        assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(&points[1]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_counts_for_its_vault_point_and_kind_only() {
    let (world, backstay, points) = three_points(TEXT).await;
    let name = |name: &str| name.parse().expect("a name");
    let vault = backstay.vault();
    vault.hold(&points[0], &name("one"), "why").await.expect("held");
    vault.hold(&points[0], &name("two"), "why").await.expect("held");
    vault.release(&points[0], &name("one"), "seen").await.expect("released");
    let unheld = vault.release(&points[1], &name("one"), "seen").await.expect_err("there is no hold");
    assert_eq!(unheld.kind(), ErrorKind::NotFound, "{unheld}");

    let release = world.json(&format!("points/{}.release-one", points[0])).await;
    let key = format!("points/{}.release-two", points[0]);
    let place = format!("sigs/{}.release-two", points[0]);
    let with = |field: &str, value: Value| {
        let mut changed = release.clone();
        changed["says"] = json!({ "release": { "name": "two" } });
        changed[field] = value;
        changed
    };
    for (what, changed) in [
        ("of another kind", release.clone()),
        ("of another vault", with("vault", json!(OTHER_VAULT))),
        ("of another point", with("point", json!(points[1].to_string()))),
        ("of none", json!({})),
    ] {
        world.put_signed(&key, &place, Purpose::Release, &changed).await;
        let plan = plan(&backstay).await.expect("a plan");
        assert_eq!(action(&plan, &points[0]), PruneAction::Keep, "a release {what} ended a hold");
        assert_eq!(plan.strange.len(), 1, "{what}: {plan}");
    }
    // Signed by a key for another purpose.
    let right = with("reason", json!("seen"));
    for signature in world.keys(&place).await {
        world.remove(&signature).await;
    }
    world.put_signed(&key, &place, Purpose::Hold, &right).await;
    assert_eq!(action(&plan(&backstay).await.expect("a plan"), &points[0]), PruneAction::Keep);
    world.put_signed(&key, &place, Purpose::Release, &right).await;
    assert_eq!(action(&plan(&backstay).await.expect("a plan"), &points[0]), PruneAction::Tombstone);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_not_one_that_is_being_deleted() {
    let (world, backstay, points) = three_points(TEXT).await;
    plan(&backstay).await.expect("a plan");
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    let mut tombstone = world.json(&format!("points/{}.deleted", points[0])).await;
    tombstone["point"] = json!(points[2].to_string());
    let key = format!("points/{}.deleted", points[2]);
    world.put_signed(&key, &format!("sigs/{}.deleted", points[2]), Purpose::Delete, &tombstone).await;
    assert_eq!(backstay.vault().points().latest("db").await.expect("the one before").id, points[1]);
}

#[tokio::test(start_paused = true)]
async fn a_work_list_reaches_no_other_run() {
    let (world, backstay, points) = three_points(TEXT).await;
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    let key = format!("points/{}.deleted", points[0]);
    let mut tombstone = world.json(&key).await;
    let other = world.keys(&format!("items/{}", points[2])).await.remove(0);
    tombstone["says"]["deletion"]["objects"].as_array_mut().expect("a list").push(json!(other));
    world.clock.jump(jiff::SignedDuration::from_mins(-1));
    world.put_signed(&key, &format!("sigs/{}.deleted", points[0]), Purpose::Delete, &tombstone).await;
    world.clock.advance(DAY * 2);
    let planned = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(planned.count(PruneAction::Delete), 1, "{planned}");
    assert_eq!(planned.apply().await.expect_err("refused").kind(), ErrorKind::Partial);
    assert_eq!(restored(backstay.vault(), &points[2]).await.expect("untouched")[0].1, TEXT);
    assert_eq!(restored(backstay.vault(), &points[0]).await.expect("untouched")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_is_for_the_manifest_that_was_looked_at() {
    let world = World::new(3).await;
    let behind = backstay_testkit::ManualClock::at("2025-11-20T06:42:00Z");
    let vault = backstay::Vault::open(world.store.clone()).keyring(&world.keyring).clock(behind);
    let writer = program(vault.build().await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let error = writer.backup("daily").await.expect_err("its clock is wrong");
    let id = error.payload::<BackupReport>().expect("a point all the same").id.clone();
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    backstay.vault().accept(&id, "the clock was wrong").await.expect("accepted");
    assert_eq!(backstay.status().await.expect("a status").tiers[0].doubtful, 0);
    let mut other = world.json(&format!("points/{id}.json")).await;
    other["labels"] = json!({ "another": "one" });
    put_manifest(&world, &id, &other).await;
    assert_eq!(backstay.status().await.expect("a status").tiers[0].doubtful, 1);
    assert_eq!(backstay.vault().points().latest("db").await.expect_err("doubtful").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_retirement_counts_for_its_vault_source_and_component_only() {
    let world = World::new(3).await;
    let program = |components: [&'static str; 2]| {
        let world = world.clone();
        async move {
            let vault = world.vault().await;
            let builder = Backstay::builder("prod-eu", vault).export(components[0], exporter(&[("rows", TEXT)]));
            let builder = builder.tier(backstay::Tier::new("daily").keep(backstay::Keep::last(1)));
            let both = components[0] != components[1];
            let builder = if both { builder.export(components[1], exporter(&[("rows", TEXT)])) } else { builder };
            builder.build().expect("well formed")
        }
    };
    let first = program(["db", "legacy"]).await.backup("daily").await.expect("a backup").id;
    let backstay = program(["db", "db"]).await;
    world.clock.advance(DAY);
    backstay.backup("daily").await.expect("a backup");
    world.clock.advance(DAY);
    let right = json!({ "vault": backstay.vault().id(), "source": "prod-eu", "component": "legacy",
        "at": "2026-11-22T06:42:00Z", "reason": "gone" });
    let (key, place) = ("retired/prod-eu/legacy.20261122t064200z.json", "sigs/prod-eu/retired/legacy.20261122t064200z");
    for (field, value, expected) in [
        ("vault", OTHER_VAULT, PruneAction::Keep),
        ("source", "other", PruneAction::Keep),
        ("component", "other", PruneAction::Keep),
        ("at", "2026-11-21T06:42:00Z", PruneAction::Keep),
        ("reason", "gone for good", PruneAction::Tombstone),
    ] {
        let mut changed = right.clone();
        changed[field] = json!(value);
        world.put_signed(key, place, Purpose::Retire, &changed).await;
        let plan = plan(&backstay).await.expect("a plan");
        assert_eq!(action(&plan, &first), expected, "{field}: {plan}");
        assert_eq!(plan.strange.len(), usize::from(expected == PruneAction::Keep), "{field}: {plan}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_wrong_is_found_by_decoding() {
    let (world, backstay, points) = three_points(TEXT).await;
    let id = &points[0];
    let item = world.keys(&format!("items/{id}")).await.remove(0);
    let (good, manifest) = (world.read(&item).await, world.json(&format!("points/{id}.json")).await);
    let entry = |key: &str, bytes: &[u8]| json!({ "key": key, "bytes": bytes.len(), "sha256": Sha256::of(bytes) });
    let spare = item.replace("000000", "000009");
    world.overwrite(&spare, "nobody's").await;
    for (what, content, objects) in [
        ("other bytes", b"other bytes".as_slice(), json!([entry(&item, b"other bytes")])),
        ("one object too many", &good, json!([entry(&item, &good), entry(&spare, b"nobody's")])),
    ] {
        world.overwrite(&item, content.to_vec()).await;
        let mut changed = manifest.clone();
        changed["components"][0]["objects"] = objects;
        put_manifest(&world, id, &changed).await;
        let stored = backstay.verify(id).depth(Depth::Stored).await.expect(what);
        assert_eq!(stored.reached, Some(Depth::Stored), "{what}");
        let error = backstay.verify(id).depth(Depth::Decoded).await.expect_err(what);
        let report: &VerifyReport = error.payload().expect("the report comes along");
        assert_eq!((report.reached, report.findings.len()), (Some(Depth::Stored), 1), "{what}: {error}");
    }
}
