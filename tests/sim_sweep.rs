//! What dead runs left goes, at whatever moment a sweep is stopped; what lives, stands or is nobody's does not.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PlannedSweep, SweepAction, SweepPlan, SweepReport};
use backstay::store::{Key, ObjectStore, ObjectStoreExt, Operation, PutOptions};
use backstay::vault::Purpose;
use backstay::{Backstay, ErrorKind, Event, Keep, PointId, Result, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::{ManualClock, SeededRandom};
use serde_json::json;
use support::dead::{DEAD, TEXT, crash, died_at, of, sweep};
use support::steps::{dies_at, polled, slow};
use support::{World, exporter, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The good point stands whole, the dead one is none, and a reader is not led astray.
async fn check_promises(world: &World, good: &PointId, place: &str) {
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let vault = backstay.vault();
    let listed = vault.points().list(&good.source, &good.tier).await.expect("a listing");
    assert_eq!(listed, std::slice::from_ref(good), "{place}");
    assert_eq!(restored(vault, good).await.expect("whole")[0].1, TEXT, "{place}");
    assert_eq!(vault.points().latest("db").await.expect("the good one").id, *good, "{place}");
    let status = backstay.status().await.expect("a status");
    assert_eq!((status.tiers[0].points, &status.strange), (1, &Vec::new()), "{place}");
    assert_eq!(backstay.prune("daily").plan().await.expect("a plan").steps.len(), 1, "{place}");
}

#[tokio::test(start_paused = true)]
async fn what_a_run_left_that_died_anywhere_goes_and_nothing_else() {
    let mut voided = 0;
    for k in 2..=5 {
        let (world, good, dead) = died_at(k).await;
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        let place = format!("died at call {k}");
        // It may be alive, then its grace lasts: nothing goes.
        let before = world.keys("").await;
        for days in [6, 1] {
            world.clock.advance(days * DAY);
            let (plan, report) = sweep(&backstay).await;
            assert!(report.cleaned.is_empty() && plan.steps.iter().all(|s| s.action == SweepAction::Keep), "{plan}");
            assert_eq!(world.keys("").await, before, "{place}: {plan}");
        }
        world.clock.advance(2 * DAY);
        let (plan, report) = sweep(&backstay).await;
        let left = world.keys("").await;
        assert!(
            of(&left, &dead).iter().all(|key| !key.starts_with("items") && !key.starts_with("details")),
            "{left:?}"
        );
        let wrote = of(&before, &dead).iter().any(|key| key.starts_with("items"));
        assert_eq!(report.voided, if wrote { vec![dead.clone()] } else { Vec::new() }, "{place}: {plan}");
        assert_eq!(of(&left, &dead).iter().any(|key| key.ends_with(".void")), wrote, "{place}: {left:?}");
        assert_eq!(backstay.vault().points().get(&dead).await.expect_err("no point").kind(), ErrorKind::NotFound);
        voided += usize::from(wrote);
        check_promises(&world, &good, &place).await;
        // The point's own record has served.
        assert!(!world.keys("runs/").await.iter().any(|key| key.contains(&good.run.to_string())), "{place}");
        // The void stays until no writer is as late, and then nothing is left.
        let again = sweep(&backstay).await.0;
        assert!(again.steps.iter().all(|step| step.action == SweepAction::Keep), "{again}");
        world.clock.advance(6 * DAY);
        let (plan, report) = sweep(&backstay).await;
        assert_eq!(report.forgotten, std::slice::from_ref(&dead), "{plan}");
        assert_eq!(of(&world.keys("").await, &dead), [""; 0]);
        check_promises(&world, &good, &place).await;
        assert_eq!(sweep(&backstay).await.0.steps.len(), 0);
    }
    assert_eq!(voided, 2, "the item, the details");
}

/// What a sweep is about to do when it is interrupted.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Void,
    Clean,
    GiveUp,
    Forget,
}

impl Phase {
    /// Plans such a sweep.
    async fn plan(self, backstay: &Backstay, dead: &PointId) -> Result<PlannedSweep> {
        let request = backstay.sweep();
        if matches!(self, Self::GiveUp) { request.danger_made_no_point(dead) } else { request }.plan().await
    }
}

/// A world in which the next sweep does just this.
async fn prepared(phase: Phase) -> (World, PointId, PointId) {
    let signed = matches!(phase, Phase::GiveUp | Phase::Forget);
    let (world, good, dead) = died_at(if signed { 6 } else { 5 }).await;
    let upload = format!("items/{dead}/{}/000009-db.zst.age", attempt_of(&world, &dead).await);
    drop(world.store.upload(&upload.parse().expect("a key"), &PutOptions::default()).await.expect("it begins"));
    if matches!(phase, Phase::Clean) {
        rival(&world, &good).await;
    }
    world.clock.advance(DEAD);
    if matches!(phase, Phase::Forget) {
        let plan = Phase::GiveUp.plan(&world.backstay(&[]).await, &dead).await.expect("a plan");
        assert_eq!(plan.apply().await.expect("given up").voided, std::slice::from_ref(&dead));
        world.clock.advance(DEAD);
    }
    (world, good, dead)
}

async fn attempt_of(world: &World, id: &PointId) -> String {
    let record = world.keys(&format!("runs/{id}.")).await.remove(0);
    record.trim_start_matches(&format!("runs/{id}.")).split('.').next().expect("an attempt").to_owned()
}

/// Another attempt at a run that committed: its record, an item, details.
async fn rival(world: &World, id: &PointId) -> [String; 2] {
    world.overwrite(&format!("runs/{id}.rivalaaa.until-20261127t064200z.json"), "{}").await;
    let left = [format!("items/{id}/rivalaaa/000000-db.zst.age"), format!("details/{id}.rivalaaa.jsonl.zst.age")];
    for key in &left {
        world.overwrite(key, "what the loser wrote").await;
    }
    left
}

/// After a later sweep nothing is left but what should be.
async fn finish(world: &World, good: &PointId, dead: &PointId, phase: Phase, place: &str) {
    phase.plan(&world.backstay(&[]).await, dead).await.expect("a plan").apply().await.expect("a sweep");
    check_promises(world, good, place).await;
    let keys = world.keys("").await;
    let left: Vec<&String> = of(&keys, dead).into_iter().filter(|key| !key.starts_with("runs/")).collect();
    match phase {
        Phase::Forget => assert_eq!(of(&keys, dead), [""; 0], "{place}"),
        _ => {
            assert!(left.iter().all(|key| key.starts_with("points/") || key.starts_with("sigs/")), "{place}: {left:?}")
        }
    }
    assert!(!keys.iter().any(|key| key.contains("rivalaaa")), "{place}: {keys:?}");
    let uploads =
        futures_util::TryStreamExt::try_collect::<Vec<_>>(world.store.uploads(&backstay::store::Prefix::all()));
    assert!(uploads.await.expect("a listing").is_empty(), "{place}");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_stopped_at_any_store_call_is_finished_by_the_next() {
    for phase in [Phase::Void, Phase::Clean, Phase::GiveUp, Phase::Forget] {
        for lost_answer in [false, true] {
            for k in 1.. {
                let (world, good, dead) = prepared(phase).await;
                let store = FaultyStore::new(Arc::new(world.store.clone()));
                let backstay = program(world.open(store.clone(), 9).await.expect("it opens"), exporter(&[]));
                store.reset_calls();
                let place = format!("{phase:?}, call {k}, lost answer: {lost_answer}");
                dies_at(&store, k, lost_answer);
                let stopped = match phase.plan(&backstay, &dead).await {
                    Ok(plan) => plan.apply().await.map(drop),
                    Err(error) => Err(error),
                };
                check_promises(&world, &good, &place).await;
                finish(&world, &good, &dead, phase, &place).await;
                if store.all_calls() < k {
                    stopped.unwrap_or_else(|error| panic!("{place}: no fault, but {error}"));
                    assert!(k > 15, "{phase:?} met only {k} faults");
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_dropped_after_any_poll_is_finished_by_the_next() {
    for phase in [Phase::Void, Phase::Clean, Phase::GiveUp, Phase::Forget] {
        for n in 1.. {
            let (world, good, dead) = prepared(phase).await;
            let backstay = program(world.open(slow(&world.store), 9).await.expect("it opens"), exporter(&[]));
            let done = polled(n, async { phase.plan(&backstay, &dead).await?.apply().await }).await;
            let place = format!("{phase:?}, dropped after {n} polls");
            check_promises(&world, &good, &place).await;
            finish(&world, &good, &dead, phase, &place).await;
            if let Some(result) = done {
                result.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert!(n > 15, "{phase:?} met only {n} polls");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_attempts_the_one_that_lost_goes_and_never_what_the_point_names() {
    let (world, good, _) = died_at(2).await;
    // A record that calls the point's own objects a dead attempt's.
    let own = attempt_of(&world, &good).await;
    let loser = rival(&world, &good).await;
    world.overwrite(&format!("runs/{good}.{own}.until-20200101t000000z.json"), "{}").await;
    let point = of(&world.keys("").await, &good).into_iter().filter(|key| !key.starts_with("runs/")).count();
    world.clock.advance(DEAD);
    let (plan, report) = sweep(&world.backstay(&[]).await).await;
    assert_eq!((plan.count(SweepAction::Clean), report.objects), (1, 2), "{plan}");
    let keys = world.keys("").await;
    assert!(loser.iter().all(|key| !keys.contains(key)), "{keys:?}");
    assert_eq!(of(&keys, &good).len(), point - loser.len(), "{keys:?}");
    check_promises(&world, &good, "after the loser went").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_point_names_stays_whichever_attempt_wrote_it() {
    let (world, good, _) = died_at(2).await;
    let written = rival(&world, &good).await;
    let mut manifest = world.json(&format!("points/{good}.json")).await;
    let mut object = manifest["components"][0]["objects"][0].clone();
    object["key"] = json!(written[0]);
    manifest["components"][0]["objects"].as_array_mut().expect("a list").push(object);
    world.put_signed(&format!("points/{good}.json"), &format!("sigs/{good}.point"), Purpose::Point, &manifest).await;
    world.clock.advance(DEAD);
    let (plan, report) = sweep(&world.backstay(&[]).await).await;
    assert_eq!(report.objects, 1, "{plan}");
    let keys = world.keys("").await;
    assert!(keys.contains(&written[0]) && !keys.contains(&written[1]), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_as_it_was_planned_is_left() {
    for change in ["another attempt", "a point", "a tombstone"] {
        let (world, good, dead) = died_at(5).await;
        world.clock.advance(DEAD);
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        let plan = backstay.sweep().plan().await.expect("a plan");
        assert_eq!(plan.count(SweepAction::Void), 1, "{plan}");
        let (key, place) = (format!("points/{dead}"), format!("sigs/{dead}"));
        if change == "another attempt" {
            world.overwrite(&format!("runs/{dead}.rivalaaa.until-20261127t064200z.json"), "{}").await;
        } else if change == "a point" {
            let mut manifest = world.json(&format!("points/{good}.json")).await;
            (manifest["id"], manifest["components"]) = (json!(dead.run), json!([]));
            manifest.as_object_mut().expect("an object").remove("details");
            world.put_signed(&format!("{key}.json"), &format!("{place}.point"), Purpose::Point, &manifest).await;
        } else {
            let mark = json!({
                "vault": world.keyring.vault_id(), "point": dead, "manifest": "00".repeat(32),
                "says": { "deletion": { "not_before": "2026-11-29T00:00:00Z", "objects": [], "bytes": 0 } },
                "at": backstay::Clock::now(&world.clock), "reason": "it was to go",
            });
            world.put_signed(&format!("{key}.deleted"), &format!("{place}.deleted"), Purpose::Delete, &mark).await;
        }
        let before = world.keys("").await;
        let report = plan.apply().await.expect("a sweep");
        assert!(report.left.len() == 1 && report.left[0].what == dead.to_string(), "{change}: {report:?}");
        let left = world.keys("").await;
        assert_eq!(of(&left, &dead), of(&before, &dead), "{change}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_record_names_is_told_and_stays() {
    let (world, good, dead) = died_at(5).await;
    for record in world.keys(&format!("runs/{dead}.")).await {
        world.remove(&record).await;
    }
    let planted = "items/prod-eu/daily/20200101t000000z-abcdefgh/abcdefgh/000000-db.zst.age";
    world.overwrite(planted, "whose is it?").await;
    world.overwrite("items/prod-eu/daily/notes.txt", "nobody's").await;
    world.clock.advance(30 * DAY);
    let before = world.keys("").await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let (plan, report) = sweep(&backstay).await;
    assert_eq!(plan.strange.len(), 3, "{plan}");
    assert!(report.voided.is_empty() && report.objects == 0, "{plan}");
    let left = world.keys("").await;
    let gone: Vec<&String> = before.iter().filter(|key| !left.contains(key)).collect();
    assert!(gone.len() == 1 && gone[0].starts_with(&format!("runs/{good}.")), "{gone:?}");
    assert_eq!(backstay.status().await.expect("a status").strange, plan.strange);
    // A flood of it is counted, not told one by one.
    for i in 0..300_u32 {
        let random = SeededRandom::new(u64::from(i));
        let id = backstay::RunId::new(backstay::Clock::now(&world.clock), &random);
        world.overwrite(&planted.replace("20200101t000000z-abcdefgh", &id.to_string()), "x").await;
    }
    let plan = backstay.sweep().plan().await.expect("a plan");
    assert!(plan.strange.len() == 101 && plan.strange[100].contains("203 more"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_sweep_tells_what_it_does_and_a_locked_object_keeps_only_its_own_run() {
    let (world, _, dead) = died_at(5).await;
    world.clock.advance(Duration::from_secs(60));
    let other = crash(&world, 5, 6).await;
    let locked: Key = of(&world.keys("items/").await, &dead)[0].parse().expect("a key");
    let mut lock = backstay::store::Lock::default();
    lock.hold = true;
    world.store.protect(&locked.clone().into(), &lock).await.expect("locked");
    world.clock.advance(DEAD);
    let log = backstay_testkit::EventLog::default();
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    let plan = backstay.sweep().plan().await.expect("a plan");
    let text = plan.to_string();
    assert!(text.starts_with("sweep prod-eu: 2 void, 1 clean, 0 forget, 0 keep\n"), "{text}");
    let read: SweepPlan = serde_json::from_str(&serde_json::to_string(&*plan).expect("JSON")).expect("a plan");
    assert_eq!(read.to_string(), text);
    let error = plan.apply().await.expect_err("one object is locked");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    let report: &SweepReport = error.payload().expect("the report comes along");
    assert!(report.left.len() == 1 && report.left[0].what == dead.to_string(), "{report:?}");
    assert!(report.cleaned.contains(&other), "{report:?}");
    assert!(world.store.exists(&locked).await.expect("an answer"));
    let swept = |event: &Event| matches!(event, Event::Swept { point, bytes } if *point == other && *bytes > 0);
    assert!(log.all().iter().any(swept));
    assert_eq!(log.all().iter().filter(|event| matches!(event, Event::Voided { .. })).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn versions_of_what_is_swept_go_too() -> Result<()> {
    let clock = ManualClock::at(support::START);
    let store = backstay::MemoryStore::versioned().with_clock(Arc::new(clock.clone()));
    let keyring = Arc::new(backstay::Keyring::generate_from(&SeededRandom::new(3))?);
    let world = World { store: store.clone(), keyring, clock, seed: 3 };
    Vault::create(store.clone())
        .keyring(&world.keyring)
        .clock(world.clock.clone())
        .random(SeededRandom::new(4))
        .budget(inline_budget())
        .build()
        .await?;
    world.backstay(&[("rows", TEXT)]).await.backup("daily").await?;
    world.clock.advance(DAY);
    let dead = crash(&world, 5, 5).await;
    let backstay = world.backstay(&[]).await;
    for _ in 0..2 {
        world.clock.advance(DEAD);
        sweep(&backstay).await;
    }
    let mut versions = store.list(&backstay::store::Prefix::all(), &backstay::store::ListOptions::versions());
    while let Some(entry) = futures_util::StreamExt::next(&mut versions).await {
        let shown = format!("{:?}", entry?);
        assert!(!shown.contains(&dead.run.to_string()), "a version is left: {shown}");
    }
    Ok(())
}

/// The very last that a prune takes away is the signature of its tombstone; the point's record may be gone long before.
#[tokio::test(start_paused = true)]
async fn a_prune_that_stops_before_its_last_call_leaves_nothing_for_good() {
    let (world, backstay, points) = support::three_points(TEXT).await;
    world.clock.advance(DEAD);
    sweep(&backstay).await;
    assert_eq!(world.keys("runs/").await, [""; 0]);
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    world.clock.advance(2 * DAY);
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let pruner = program(world.open(store.clone(), 9).await.expect("it opens"), exporter(&[]));
    let rule = Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Delete]);
    store.add(rule.under(format!("sigs/{}.deleted", points[0])));
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect_err("it stops");
    assert_eq!(of(&world.keys("").await, &points[0]).len(), 1, "the signature");
    world.clock.advance(DEAD);
    let (plan, report) = sweep(&backstay).await;
    assert_eq!(report.forgotten, points[..1], "{plan}");
    assert_eq!(of(&world.keys("").await, &points[0]), [""; 0]);
    assert_eq!(restored(backstay.vault(), &points[1]).await.expect("whole")[0].1, TEXT);
}
