//! What must not mislead a sweep: plants, clocks, a vault that was emptied, and voids by those who may not.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::SweepAction;
use backstay::store::Operation;
use backstay::vault::{AllowedSigner, AllowedSigners, Purpose, SigningKey, Vault};
use backstay::{Backstay, ErrorKind, Keep, PointId, Tier};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::{ManualClock, SeededRandom};
use serde_json::json;
use support::dead::{DEAD, TEXT, died_at, sweep};
use support::{World, exporter, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn planted_records_cost_nobody_anything() {
    let world = World::new(3).await;
    let good = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
    // A run of another source, as dead as can be, and one of ours in a tier that is not configured.
    for place in ["prod-us/daily", "prod-eu/yearly"] {
        let id = format!("{place}/20200101t000000z-abcdefgh");
        world.overwrite(&format!("runs/{id}.abcdefgh.until-20200102t000000z.json"), "{}").await;
        world.overwrite(&format!("items/{id}/abcdefgh/000000-db.zst.age"), "its own").await;
    }
    // Names that say nothing or too much.
    for name in ["x", "20261120t064200z-abcdefgh.abcdefgh.until-99999.json", "20261120t064200z-abcdefgh.json"] {
        world.overwrite(&format!("runs/prod-eu/daily/{name}"), "{}").await;
    }
    let future = "20991231t000000z-abcdefgh.abcdefgh";
    world.overwrite(&format!("runs/prod-eu/daily/{future}.until-20200101t000000z.json"), "{}").await;
    world.overwrite(&format!("runs/{good}.abcdefgh.until-99991229t000000z.json"), "a life without end").await;
    // A flood of runs that never were, and what is no commit at the key of one of them.
    for i in 0..500 {
        let id = backstay::RunId::new("2020-01-01T00:00:00Z".parse().expect("a time"), &SeededRandom::new(i));
        world.overwrite(&format!("runs/prod-eu/daily/{id}.abcdefgh.until-20200102t000000z.json"), "{}").await;
        if i == 0 {
            world.overwrite(&format!("items/prod-eu/daily/{id}/abcdefgh/000000-db.zst.age"), "x").await;
            world.overwrite(&format!("points/prod-eu/daily/{id}.json"), "{}").await;
        }
    }
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world.open(store.clone(), 9).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let before = world.keys("").await;
    for days in [1, 5] {
        world.clock.advance(days * DAY);
        let (plan, report) = sweep(&backstay).await;
        assert_eq!((plan.count(SweepAction::Keep), report.cleaned.len()), (plan.steps.len(), 0), "young: {plan}");
    }
    world.clock.advance(3 * DAY);
    store.reset_calls();
    let (plan, report) = sweep(&backstay).await;
    assert_eq!((report.voided.len(), report.objects, store.calls(Operation::Put)), (0, 0, 0), "{plan}");
    assert!(store.calls(Operation::Get) < 10, "{} reads", store.calls(Operation::Get));
    // Three names, a life without end, what is no commit.
    assert_eq!(plan.strange.len(), 5, "{plan}");
    assert_eq!(restored(backstay.vault(), &good).await.expect("whole")[0].1, TEXT);
    world.clock.advance(DEAD);
    sweep(&backstay).await;
    let left = world.keys("").await;
    let gone = |key: &&String| !left.contains(key);
    let gone: Vec<&String> = before.iter().filter(gone).collect();
    assert_eq!(gone.len(), 500, "the flood but one, and the good run's own record: {gone:?}");
    assert!(
        gone.iter().all(|key| key.starts_with("runs/prod-eu/daily/2020") || key.starts_with(&format!("runs/{good}")))
    );
    assert_eq!(restored(backstay.vault(), &good).await.expect("whole")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_planted_commits_costs_a_sweep_few_reads() {
    for planted in [&["void", "json"][..], &["json", "deleted"]] {
        let (world, _, dead) = died_at(5).await;
        for i in 0..300 {
            let id = backstay::RunId::new("2026-11-19T00:00:00Z".parse().expect("a time"), &SeededRandom::new(i));
            world.overwrite(&format!("runs/prod-eu/daily/{id}.abcdefgh.until-20200102t000000z.json"), "{}").await;
            for suffix in planted {
                world.overwrite(&format!("points/prod-eu/daily/{id}.{suffix}"), "{}").await;
            }
        }
        world.clock.advance(DEAD);
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let backstay = program(world.open(store.clone(), 9).await.expect("it opens"), exporter(&[("rows", TEXT)]));
        store.reset_calls();
        let (plan, report) = sweep(&backstay).await;
        let (gets, lists) = (store.calls(Operation::Get), store.calls(Operation::List));
        assert!(gets < 40 && lists < 100, "{planted:?}: {gets} reads, {lists} listings");
        assert_eq!((report.voided, plan.strange.len() >= 300), (vec![dead], true), "{planted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_a_year_off_make_nothing_living_go() {
    const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
    let off = |world: &World, time: &str, seed| {
        Vault::open(world.store.clone())
            .keyring(&world.keyring)
            .clock(ManualClock::at(time))
            .random(SeededRandom::new(seed))
            .budget(inline_budget())
            .build()
    };
    // A sweeper whose clock is off refuses, whichever way.
    let (world, _, _) = died_at(5).await;
    for time in ["2025-11-20T06:42:00Z", "2027-11-20T06:42:00Z"] {
        let backstay = program(off(&world, time, 9).await.expect("it opens"), exporter(&[]));
        let error = backstay.sweep().plan().await.expect_err("the clocks disagree");
        assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("clock"), "{error}");
    }
    // A writer's that is behind makes its run look old, one that is ahead keeps it longer.
    for (time, dies) in [("2025-11-20T06:42:00Z", DEAD), ("2027-11-20T06:42:00Z", YEAR + DEAD)] {
        let (world, good, _) = died_at(2).await;
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let vault = Vault::open(store.clone())
            .keyring(&world.keyring)
            .clock(ManualClock::at(time))
            .random(SeededRandom::new(9))
            .budget(inline_budget())
            .build()
            .await
            .expect("it opens");
        store.reset_calls();
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).from(5));
        let error = program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err("it dies");
        let id: PointId = error.context("point").expect("it says which").parse().expect("a point");
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        for wait in [Duration::ZERO, 6 * DAY] {
            world.clock.advance(wait);
            let (plan, report) = sweep(&backstay).await;
            assert!(report.voided.is_empty() && report.objects == 0, "{time}: {plan}");
        }
        world.clock.advance(dies);
        let (plan, report) = sweep(&backstay).await;
        assert_eq!(report.voided, [id], "{time}: {plan}");
        assert_eq!(restored(backstay.vault(), &good).await.expect("whole")[0].1, TEXT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_was_emptied_is_not_swept() {
    let world = World::new(3).await;
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .tier(Tier::new("weekly").keep(Keep::last(9)))
        .build()
        .expect("well formed");
    let mut points = Vec::new();
    for tier in ["weekly", "daily", "daily", "daily", "daily"] {
        points.push(backstay.backup(tier).await.expect("a backup").id);
        world.clock.advance(Duration::from_secs(3600));
    }
    world.clock.advance(DEAD);
    // Half of a tier's manifests, the whole tier's, and all of them: what they named stays.
    for gone in [&points[1..3], &points[3..5], &points[..1]] {
        for point in gone {
            world.remove(&format!("points/{point}.json")).await;
        }
        let before = world.keys("").await;
        for _ in 0..2 {
            match backstay.sweep().plan().await {
                Ok(plan) => {
                    assert!(
                        plan.steps.iter().all(|s| s.id.tier != points[1].tier || s.action != SweepAction::Void),
                        "{plan}"
                    );
                    plan.apply().await.expect("what is not in question");
                }
                Err(error) => {
                    assert_eq!(gone.len(), 1, "{error}");
                    assert!(error.kind() == ErrorKind::Refused && error.to_string().contains("no point"), "{error}");
                }
            }
            world.clock.advance(DEAD);
        }
        let left = world.keys("").await;
        let lost: Vec<&String> = before.iter().filter(|key| !left.contains(key) && !key.starts_with("runs/")).collect();
        assert_eq!(lost, [""; 0]);
    }
    // Another vault in its place, and one that asks for what we do not know.
    let marker = world.json("backstay-1.json").await;
    for (field, value, kind) in [
        ("vault", json!("a".repeat(26)), ErrorKind::Refused),
        ("requires_delete", json!(["chunks-v2"]), ErrorKind::Unsupported),
    ] {
        let mut changed = marker.clone();
        changed[field] = value;
        world.overwrite("backstay-1.json", serde_json::to_vec(&changed).expect("JSON")).await;
        assert_eq!(backstay.sweep().plan().await.expect_err(field).kind(), kind, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_is_trusted_for_it_gives_a_run_up() {
    let (world, good, dead) = died_at(5).await;
    let writer = SigningKey::generate(&SeededRandom::new(77));
    let mut trust: AllowedSigners = world.keyring.allowed_signers().clone();
    trust.add(AllowedSigner::new("writer", writer.public()).namespaces([Purpose::Point.namespace()])).expect("a line");
    let open = || {
        let builder = Vault::open(world.store.clone()).keyring(&world.keyring).trust(trust.clone());
        builder.clock(world.clock.clone()).random(SeededRandom::new(9)).budget(inline_budget())
    };
    world.clock.advance(DEAD);
    // A writer's sweep is refused before it writes anything.
    let before = world.keys("").await;
    let by_writer = program(open().sign_with(writer.clone()).build().await.expect("it opens"), exporter(&[]));
    let error = by_writer.sweep().plan().await.expect_err("a writer");
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("backstay-void-v1"), "{error}");
    assert_eq!(world.keys("").await, before);
    // What a writer signs as a void, in either way, is none: nothing goes on its word, and a person hears of it.
    let reader = program(open().build().await.expect("it opens"), exporter(&[]));
    let mut void = world.json(&format!("points/{good}.json")).await;
    (void["id"], void["status"], void["components"]) = (json!(dead.run), json!("void"), json!([]));
    void.as_object_mut().expect("an object").remove("details");
    let bytes = serde_json::to_vec(&void).expect("JSON");
    world.overwrite(&format!("points/{dead}.void"), "").await;
    world.overwrite(&format!("points/{dead}.json"), bytes.clone()).await;
    for (purpose, what) in [(Purpose::Void, "void"), (Purpose::Point, "point")] {
        let place = support::signature_key(&format!("sigs/{dead}.{what}"), &bytes, &writer.public().id());
        world.overwrite(&place, writer.sign(purpose.namespace(), &bytes)).await;
        let error = reader.vault().points().get(&dead).await.expect_err("no point");
        assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
        let (plan, report) = sweep(&reader).await;
        assert!(report.voided.is_empty() && report.objects == 0, "{plan}");
        assert_eq!(plan.strange.len(), 1, "{plan}");
    }
}
