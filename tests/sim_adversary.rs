//! A thief with the writer's rights and the writer's signing key: he lists, he creates, he signs points. Whatever he
//! puts, every earlier point stays, restores, and is found; and what he put is told.

mod adversary;
mod support;

use std::sync::Arc;
use std::time::Duration;

use adversary::{DAY, EARLIER, Scene, TEXT, destroys, odd_name};
use backstay::engine::PruneAction;
use backstay::store::Operation;
use backstay::vault::Purpose;
use backstay::{Clock, Keep, PointId, RunId};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::FaultyStore;
use serde_json::{Value, json};
use support::restored;

const SEEDS: u64 = 24;
const PLANTS: usize = 40;

#[tokio::test(start_paused = true)]
async fn nothing_that_a_thief_puts_costs_an_earlier_point() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed, !seed.is_multiple_of(2)).await;
        let dice = SeededRandom::new(seed + 7000);
        let mut told = Vec::new();
        let mut thief = scene.thief();
        for _ in 0..PLANTS {
            told.extend(thief.plant(&dice).await);
        }
        let place = format!("seed {seed}");
        let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
        scene.check(&admin, &place).await;
        // Twice, with no grace at all, as a pruner in a hurry would.
        for _ in 0..2 {
            let plan = admin.prune("daily").danger_no_grace().plan().await;
            let plan = plan.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(!destroys(&plan, &scene.points), "{place}: {plan}");
            for told in &told {
                assert!(plan.strange.iter().any(|strange| strange.contains(told)), "{place}: {told:?}: {plan}");
            }
            plan.apply().await.unwrap_or_else(|error| panic!("{place}: {error}"));
            scene.check(&admin, &place).await;
            scene.world.clock.advance(Duration::from_secs(3600));
            scene.sweep(&admin, &place, true).await;
            scene.replicate(&scene.world.store, &place).await;
            scene.check(&admin, &place).await;
            scene.check_replica(&place).await;
        }
        let status = admin.status().await.expect("a status");
        for told in &told {
            assert!(status.strange.iter().any(|strange| strange.contains(told)), "{place}: {told:?}: {status}");
        }
        // Two weeks later whatever he planted as a run counts as dead, and so does the one that was alive.
        scene.world.clock.advance(16 * DAY);
        for _ in 0..2 {
            scene.sweep(&admin, &place, false).await;
            scene.replicate(&scene.world.store, &place).await;
            scene.check(&admin, &place).await;
            scene.check_replica(&place).await;
        }
        // The next backup works, counts, and lets the oldest go as it should.
        let writing = scene.program(scene.vault(&scene.world.store, Some(&scene.writer)).await, Keep::last(EARLIER));
        let next = writing.backup("daily").await.unwrap_or_else(|error| panic!("{place}: {error}")).id;
        let plan = admin.prune("daily").plan().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        let marked: Vec<_> = plan.steps.iter().filter(|step| step.action == PruneAction::Tombstone).collect();
        assert!(marked.iter().all(|step| step.id == scene.points[0]), "{place}: {plan}");
        restored(admin.vault(), &next).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

/// What a newer version may have written is passed over and told: the way to block `latest` would be open otherwise.
#[tokio::test(start_paused = true)]
async fn a_signed_point_that_asks_for_the_unknown_blocks_nobody() {
    let scene = Scene::new(1, false).await;
    let thief = scene.thief();
    let id = PointId { run: thief.run(0, &SeededRandom::new(3)), ..scene.points[0].clone() };
    assert!(thief.point(&scene.points[0], &id, |manifest| manifest["requires"] = json!(["time-travel"])).await);
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    scene.check(&admin, "asks for the unknown").await;
    let status = admin.status().await.expect("a status");
    assert!(!status.is_good() && status.to_string().contains("time-travel"), "{status}");
}

/// They are doubtful by the listing alone, so that `latest` need not read them, however well they are signed.
#[tokio::test(start_paused = true)]
async fn signed_points_from_the_future_cost_no_read() {
    let scene = Scene::new(1, false).await;
    let thief = scene.thief();
    for n in 1..=40 {
        let id = PointId { run: thief.run(n, &SeededRandom::new(3)), ..scene.points[0].clone() };
        assert!(thief.point(&scene.points[0], &id, |manifest| manifest["details"] = json!(null)).await);
    }
    let store = FaultyStore::new(Arc::new(scene.world.store.clone()));
    let vault = scene.vault(&store, None).await;
    store.reset_calls();
    let latest = vault.points().latest("db").await.expect("the newest that is no plant");
    assert_eq!(Some(&latest.id), scene.points.last());
    let gets = store.calls(Operation::Get);
    assert!(gets <= 2 * (1 + u64::from(EARLIER)), "its manifest and signature, and what it is compared with: {gets}");
}

/// What the writer's key signs is a point, and retention counts it: within the grace everything can be had back, once the
/// key is trusted for no more than the time before it was stolen.
#[tokio::test(start_paused = true)]
async fn what_a_stolen_key_pushes_out_comes_back_within_the_grace() {
    let mut scene = Scene::new(1, false).await;
    let stolen_at = scene.world.clock.now();
    scene.world.clock.advance(Duration::from_secs(60));
    let (thief, random) = (scene.thief(), SeededRandom::new(3));
    for day in 0..i64::from(EARLIER) {
        let [first, ..] = scene.points.as_slice() else { unreachable!("there are some") };
        let id = PointId { run: thief.run(-day.min(6), &random), ..first.clone() };
        // As large as the true ones, or nobody would take them for the same component.
        let mut objects = thief.manifest(first).await["components"][0]["objects"].clone();
        for object in objects.as_array_mut().expect("objects") {
            let key = object["key"].as_str().expect("a key").replace(&first.run.to_string(), &id.run.to_string());
            let garbage = vec![b'x'; usize::try_from(object["bytes"].as_u64().expect("a number")).expect("small")];
            assert!(thief.put(&key, garbage).await);
            object["key"] = json!(key);
        }
        let garbage = |manifest: &mut Value| {
            manifest["components"][0]["objects"] = objects;
            manifest["details"] = json!(null);
        };
        assert!(thief.point(first, &id, garbage).await);
    }
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    let plan = admin.prune("daily").plan().await.expect("a plan");
    assert!(destroys(&plan, &scene.points), "retention would count them: {plan}");
    let report = plan.apply().await.expect("it applies");
    for id in &scene.points {
        assert_eq!(restored(admin.vault(), id).await.expect("it is all there")[0].1, TEXT);
    }
    // The next morning somebody sees it, and says until when the key was his.
    scene.world.clock.advance(DAY / 2);
    scene.stolen_at = Some(stolen_at);
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    for id in &report.tombstoned {
        if scene.points.contains(id) {
            admin.vault().undelete(id).await.expect("in the grace");
        }
    }
    scene.check(&admin, "the key is trusted no more").await;
    let plan = admin.prune("daily").plan().await.expect("a plan");
    assert!(!destroys(&plan, &scene.points), "{plan}");
}

/// Larger than any manifest may be, and well signed: whoever meets it reads no more than it may have.
#[tokio::test(start_paused = true)]
async fn an_oversized_manifest_costs_nobody_a_point() {
    let scene = Scene::new(1, false).await;
    let thief = scene.thief();
    let id = PointId { run: thief.run(0, &SeededRandom::new(3)), ..scene.points[0].clone() };
    let (key, place) = (format!("points/{id}.json"), format!("sigs/{id}.point"));
    assert!(thief.put_signed(&key, &place, Purpose::Point, vec![b' '; (64 << 20) + 1]).await);
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    scene.check(&admin, "oversized").await;
    let plan = admin.prune("daily").danger_no_grace().plan().await.expect("a plan");
    assert!(!destroys(&plan, &scene.points) && plan.strange.iter().any(|told| told.contains(&key)), "{plan}");
    plan.apply().await.expect("a prune");
    scene.sweep(&admin, "oversized", true).await;
    scene.replicate(&scene.world.store, "oversized").await;
    scene.check(&admin, "oversized").await;
    scene.check_replica("oversized").await;
}

/// Two thousand keys of one kind cost a listing and a few reads, whatever is asked.
#[tokio::test(start_paused = true)]
async fn a_flood_costs_listings_and_a_few_reads() {
    const FLOOD: u64 = 2_000;
    type Plant = fn(&Scene, u64, &RunId) -> Vec<String>;
    let floods: [(&str, Plant); 14] = [
        ("odd keys", |_, n, _| vec![format!("points/prod-eu/daily/{}", odd_name(n))]),
        ("commits", |_, _, run| vec![format!("points/prod-eu/daily/{run}.json")]),
        ("future commits", |scene, n, _| {
            let time = scene.world.clock.now() + jiff::SignedDuration::from_secs(3600 + n as i64);
            vec![format!("points/prod-eu/daily/{}.json", RunId::new(time, &SeededRandom::new(n)))]
        }),
        ("partial commits", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.partial"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("void commits", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.void"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("tombstones of nothing", |_, _, run| vec![format!("points/prod-eu/daily/{run}.deleted")]),
        ("tombstones", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.deleted"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("holds", |scene, n, _| vec![format!("points/{}.hold-x{n}", scene.points[0])]),
        ("retirements", |_, _, run| {
            let time = run.to_string();
            vec![format!("retired/prod-eu/db.{}.json", time.split('-').next().expect("a time"))]
        }),
        ("records of runs", |scene, n, run| {
            let run = if n.is_multiple_of(2) { format!("prod-eu/daily/{run}") } else { scene.living.0.to_string() };
            vec![format!("runs/{run}.{}.until-20200101t000000z.json", tag(n))]
        }),
        ("dead runs", |_, n, run| {
            let old = RunId::new("2026-06-01T00:00:00Z".parse().expect("a time"), &SeededRandom::new(n));
            let run = if n.is_multiple_of(2) { run } else { &old };
            vec![
                format!("runs/prod-eu/daily/{run}.abcdefgh.until-20200101t000000z.json"),
                format!("items/prod-eu/daily/{run}/abcdefgh/000000-db.zst.age"),
            ]
        }),
        ("copy records", |scene, n, run| {
            let origin = scene.world.keyring.vault_id();
            let earlier = &scene.points[n as usize % scene.points.len()];
            vec![
                format!("copies/prod-eu/daily/{run}.{origin}.json"),
                format!("copies/{earlier}.{}{}.json", "a".repeat(18), tag(n)),
            ]
        }),
        ("histories", |_, _, run| vec![format!("history/prod-eu/{run}.restore.json")]),
        ("key files", |scene, n, _| vec![format!("keys/{}.a{n}.age", scene.world.keyring.epoch().name)]),
    ];
    for (what, keys) in floods {
        let scene = Scene::new(1, false).await;
        let (thief, random) = (scene.thief(), SeededRandom::new(3));
        for n in 0..FLOOD {
            // Within the last two days, so that nothing else makes them doubtful.
            let time = scene.world.clock.now() - jiff::SignedDuration::from_secs(n as i64 * 80);
            for key in keys(&scene, n, &RunId::new(time, &random)) {
                thief.put(&key, "{}").await;
            }
        }
        let store = FaultyStore::new(Arc::new(scene.world.store.clone()));
        let admin = scene.program(scene.vault(&store, None).await, Keep::last(EARLIER));
        let calls = |act: &str| {
            let (gets, lists) = (store.calls(Operation::Get), store.calls(Operation::List));
            println!("{what}: {act}: {gets} reads, {lists} listings");
            let most = match act {
                // Who cannot open a sealed key cannot tell it from a plant: all of them are copied.
                "replicate" if what == "key files" => 200 + FLOOD,
                "options" | "replicate" => 200,
                // It also looks for drills, and whether the newest point's bytes are there.
                "status" => 63,
                _ => 60,
            };
            assert!(gets <= most && lists <= most, "{what}: {act}: {gets} reads, {lists} listings");
            store.reset_calls();
        };
        store.reset_calls();
        let plan = admin.prune("daily").plan().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("plan");
        assert!(!destroys(&plan, &scene.points), "{what}");
        let doubtful = plan.steps.iter().filter(|step| step.reason.contains("doubtful"));
        let told = (plan.strange.len() + doubtful.count()) as u64;
        let not_of_points = ["records of runs", "dead runs", "copy records", "histories", "key files"];
        assert!(told >= FLOOD - FLOOD / 10 || not_of_points.contains(&what), "{what}: {told} told");
        plan.apply().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("apply");
        admin.status().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("status");
        let newest = scene.points.last().expect("some");
        let source = newest.source.clone();
        let points = admin.vault().points().source(source.clone());
        assert_eq!(points.latest("db").await.unwrap_or_else(|error| panic!("{what}: {error}")).id, *newest, "{what}");
        calls("latest");
        points.list(&source, &newest.tier).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("list");
        admin.options("db").await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("options");
        scene.sweep(&admin, what, true).await;
        calls("sweep");
        // Eight points of two objects each, with four documents.
        scene.replicate(&store, what).await;
        calls("replicate");
        scene.check_replica(what).await;
        restored(admin.vault(), &scene.points[0]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("restore");
    }
}

/// The name of an attempt.
fn tag(n: u64) -> String {
    let digit = |i: u32| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(n >> (5 * i)) as usize % 32]);
    (0..8).map(digit).collect()
}
