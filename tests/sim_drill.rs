//! Drills: what they restore, measure and prove; and that nothing of them stays, however they end.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{DrillPhase, DrillReport, Proof};
use backstay::jiff::{SignedDuration, ToSpan};
use backstay::vault::{Act, HistoryRecord, Logged};
use backstay::{Backstay, Clock, ErrorKind, Event, Keep, PointId, SystemClock, Tier, Vault};
use backstay_testkit::EventLog;
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{Calls, DrillFault, MockDrillTarget, MockImporter};
use support::pair::Pair;
use support::steps::{dies_at, slow};
use support::{World, exporter};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const TEXT: &[u8] = b"what the table holds";

fn daily() -> Tier {
    Tier::new("daily").keep(Keep::last(2))
}

fn program(vault: Vault, tiers: impl IntoIterator<Item = Tier>, events: &EventLog) -> Backstay {
    let builder = Backstay::builder("prod-eu", vault).export("db", exporter(&[("rows", TEXT)])).observe(events.clone());
    tiers.into_iter().fold(builder, backstay::engine::BackstayBuilder::tier).build().expect("well formed")
}

/// A world with one point, an hour old.
async fn one_point(tier: Tier) -> (World, Backstay, PointId, EventLog) {
    let (world, events) = (World::new(3).await, EventLog::default());
    let backstay = program(world.vault().await, [tier], &events);
    let point = backstay.backup("daily").await.expect("a backup").id;
    world.clock.advance(HOUR);
    (world, backstay, point, events)
}

async fn proofs(backstay: &Backstay, point: &PointId) -> Vec<Proof> {
    backstay.vault().proofs(point).await.expect("a list")
}

/// The record of the newest drill, and what its log says that is no event.
async fn record(backstay: &Backstay) -> (HistoryRecord, Vec<Logged>) {
    let history = backstay.vault().history("prod-eu".parse().expect("a name"));
    let entries = history.list().await.expect("a listing");
    let entry = entries.iter().rev().find(|entry| entry.act == Act::Drill).expect("a drill was written down");
    let record = history.get(entry).await.expect("signed");
    let log = history.log(&record).await.expect("the key is here");
    (record, log.into_iter().map(|line| line.what).filter(|what| !matches!(what, Logged::Event(_))).collect())
}

#[tokio::test(start_paused = true)]
async fn a_drill_restores_checks_measures_and_leaves_a_proof_and_nothing_else() {
    let (world, backstay, point, events) = one_point(daily().rpo(2.hours()).rto(5.seconds())).await;
    let calls = Calls::default();
    let target = MockDrillTarget::default().takes(SECOND).record(&calls).check("newest row", Ok("a minute old"));
    let report = backstay.drill("db").into(target.clone()).await.expect("it comes back");
    assert!(report.passed() && report.met() && report.error.is_none() && report.left.is_none(), "{report}");
    assert_eq!((&report.point, report.bytes), (&point, TEXT.len() as u64));
    assert_eq!(calls.all(), ["sweep", "prepare", "importer", "validate", "remove"]);
    assert_eq!(target.standing(), [""; 0]);
    let second = SignedDuration::from_secs(1);
    use DrillPhase::{Pick, Plan, Prepare, Remove, Restore, Sweep, Validate};
    let zero = SignedDuration::ZERO;
    let phases = [
        (Pick, zero),
        (Sweep, second),
        (Prepare, second),
        (Plan, zero),
        (Restore, zero),
        (Validate, second),
        (Remove, second),
    ];
    assert_eq!(report.phases, BTreeMap::from(phases));
    let rto = report.rto.expect("it was recovered");
    assert_eq!((rto.achieved, rto.allowed, rto.met), (second * 2, Some(second * 5), Some(true)));
    let rpo = report.rpo;
    assert_eq!((rpo.achieved, rpo.allowed), (SignedDuration::from_hours(1), Some(SignedDuration::from_hours(2))));
    events.assert_order(["drill_started", "restore_started", "restore_done", "drill_done"]);
    assert_eq!((events.count("objective_missed"), events.count("warning")), (0, 0));
    for text in ["PASSED", "newest row", "a minute old", "data loss    1h", "recovery     2s", "5s, met"] {
        assert!(report.to_string().contains(text), "{text} is not in\n{report}");
    }
    let json = serde_json::to_string(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<DrillReport>(&json).expect("the same").to_string(), report.to_string());

    let proofs = proofs(&backstay, &point).await;
    let [Proof { drill: Some(drill), reached: None, damages: 0, .. }] = &proofs[..] else { panic!("{proofs:?}") };
    assert!(drill.passed && drill.error.is_none());
    assert_eq!((drill.checks, drill.failed, drill.bytes), (2, 0, report.bytes));
    assert_eq!((&drill.phases, drill.rpo, drill.rto), (&report.phases, report.rpo, report.rto));
    let (record, said) = record(&backstay).await;
    assert_eq!((record.point.as_ref(), record.bytes, record.error.as_ref()), (Some(&point), report.bytes, None));
    assert_eq!(record.took, SECOND * 2);
    assert_eq!(said, [Logged::Validation(report.validation.clone().expect("checked"))]);
    // A restore of the drill's is no restore of its own in the history.
    let history = world.keys("history/").await;
    assert!(history.iter().all(|key| key.contains(".drill.")) && history.len() == 2, "{history:?}");
}

#[tokio::test(start_paused = true)]
async fn however_it_fails_it_says_so_everywhere_and_takes_its_place_away() {
    let target = MockDrillTarget::default;
    let importing = |importer: MockImporter| target().importer(importer);
    let cases = [
        ("a check fails", target().check("newest row", Err("a year old")), ErrorKind::Conflict, "newest row"),
        ("nothing is checked", target().check_nothing(), ErrorKind::Conflict, "nothing of the restored was checked"),
        ("no place", target().fault(DrillFault::Prepare), ErrorKind::Unavailable, "told to fail"),
        ("it cannot check", target().fault(DrillFault::Validate), ErrorKind::Unavailable, "told to fail"),
        (
            "the restore breaks off",
            importing(MockImporter::default().fail_apply_after(0, ErrorKind::Exhausted)),
            ErrorKind::Exhausted,
            "told to fail",
        ),
        (
            "the restore is partial",
            importing(MockImporter::default().apply_problem("a row", "no room")),
            ErrorKind::Partial,
            "a row",
        ),
        (
            "the importer reads none of it",
            importing(MockImporter::default().kind("another")),
            ErrorKind::Unsupported,
            "cannot read",
        ),
        ("the importer panics", importing(MockImporter::default().panic_in_apply()), ErrorKind::Other, "panicked"),
        ("the sweep panics", target().fault(DrillFault::Panic("sweep")), ErrorKind::Other, "panicked"),
        (
            "making the place panics",
            target().fault(DrillFault::Panic("prepare")),
            ErrorKind::Other,
            "did not come back",
        ),
        ("giving the importer panics", target().fault(DrillFault::Panic("importer")), ErrorKind::Other, "panicked"),
        ("the validation panics", target().fault(DrillFault::Panic("validate")), ErrorKind::Other, "panicked"),
        ("the validation hangs", target().fault(DrillFault::Hang("validate")), ErrorKind::Timeout, "longer than"),
    ];
    for (case, target, kind, text) in cases {
        let (world, backstay, point, events) = one_point(daily().rto(1.hour())).await;
        let error = backstay.drill("db").into(target.clone()).await.expect_err(case);
        assert_eq!(error.kind(), kind, "{case}: {error:?}");
        assert!(format!("{error:?}").contains(text), "{case}: {error:?}");
        let report: &DrillReport = error.payload().expect(case);
        assert!(!report.passed() && report.rto.is_none() && report.to_string().contains("FAILED"), "{case}: {report}");
        assert!(report.error.as_ref().is_some_and(|error| error.contains(text)), "{case}: {report}");
        // A panic in the making is the target's own to clean up: nobody was given the place.
        let left = usize::from(case == "making the place panics");
        assert_eq!(target.standing().len(), left, "{case}");
        let proofs = proofs(&backstay, &point).await;
        let [Proof { drill: Some(drill), .. }] = &proofs[..] else { panic!("{case}: {proofs:?}") };
        assert!(!drill.passed && proofs[0].damages > 0 && drill.rto.is_none(), "{case}: {drill:?}");
        assert_eq!(drill.error.as_deref(), Some(kind.to_string().as_str()), "{case}");
        let (record, _) = record(&backstay).await;
        assert_eq!(record.error.as_deref(), Some(kind.to_string().as_str()), "{case}: {record}");
        let done =
            |event: &Event| matches!(event, Event::DrillDone { error: Some(error), rto: None, .. } if *error == kind);
        assert!(events.all().iter().any(done), "{case}");

        world.clock.advance(HOUR * 25);
        let good = MockDrillTarget::default();
        backstay.drill("db").into(good).await.unwrap_or_else(|error| panic!("{case}: the next drill fails: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_cannot_be_removed_is_told_and_left_to_the_sweep() {
    for fault in [DrillFault::Remove, DrillFault::Panic("remove"), DrillFault::Hang("remove")] {
        let (world, backstay, _, events) = one_point(daily()).await;
        let target = MockDrillTarget::default();
        let report = backstay.drill("db").into(target.clone().fault(fault)).await.expect("it was restored");
        assert!(report.passed() && report.left.is_some() && report.to_string().contains("LEFT BEHIND"), "{report}");
        assert_eq!((target.standing().len(), events.count("warning")), (1, 1), "{fault:?}");
        world.clock.advance(HOUR * 23);
        let report = backstay.drill("db").into(target.clone()).await.expect("good");
        assert_eq!((report.swept.len(), target.standing().len()), (0, 1), "its time is not over");
        world.clock.advance(HOUR * 2);
        let report = backstay.drill("db").into(target.clone()).await.expect("good");
        assert_eq!((report.swept.len(), target.standing().len()), (1, 0), "{fault:?}");
    }
    // That it cannot sweep is told, and is no fault of this drill.
    let (_, backstay, _, events) = one_point(daily()).await;
    let report = backstay.drill("db").into(MockDrillTarget::default().fault(DrillFault::Sweep)).await.expect("good");
    assert_eq!((report.notes.len(), events.count("warning")), (1, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_goes_when_its_time_is_over() {
    let (world, backstay, _, _) = one_point(daily()).await;
    let target = MockDrillTarget::default().holding("production");
    let process = std::thread::spawn({
        let (target, world) = (target.clone(), world.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let drill = runtime.block_on(async {
                let vault = world.open(world.store.clone(), 5).await.expect("it opens");
                let (backstay, calls) = (program(vault, [daily()], &EventLog::default()), Calls::default());
                let target = target.fault(DrillFault::Hang("validate")).record(&calls);
                let drill = backstay.drill("db").into(target).start();
                while calls.count("validate") == 0 {
                    tokio::task::yield_now().await;
                }
                [drill]
            });
            // The end of the process: no task of it is polled again.
            drop(runtime);
            drop(drill);
        }
    });
    process.join().expect("it was killed while it waited");
    assert_eq!(target.standing().len(), 2);
    for (hours, standing) in [(23, 2), (2, 1)] {
        world.clock.advance(HOUR * hours);
        let report = backstay.drill("db").into(target.clone()).await.expect("good");
        assert_eq!((report.swept.len(), target.standing().len()), (2 - standing, standing), "{report}");
    }
    assert_eq!(target.standing(), ["production"]);
}

#[tokio::test(start_paused = true)]
async fn a_drill_that_is_dropped_at_any_poll_leaves_no_place_and_the_next_one_works() {
    let mut dropped = 0;
    for n in 1.. {
        let world = World::new(3).await;
        let events = EventLog::default();
        let backstay = program(world.open(slow(&world.store), 5).await.expect("it opens"), [daily()], &events);
        backstay.backup("daily").await.expect("a backup");
        let calls = Calls::default();
        let target = MockDrillTarget::default().takes(Duration::from_millis(1)).record(&calls);
        // The handle waits in one place: what ends it comes after so many milliseconds instead.
        let drill = backstay.drill("db").into(target.clone()).start();
        let ended = tokio::time::timeout(Duration::from_millis(n), drill).await;
        backstay.shutdown().await;
        assert_eq!(target.standing(), [""; 0], "{n}");
        assert_eq!(calls.count("prepare"), calls.count("remove"), "{n}: {:?}", calls.all());
        world.clock.advance(HOUR);
        let again = program(world.vault().await, [daily()], &events);
        again.drill("db").into(MockDrillTarget::default()).await.unwrap_or_else(|error| panic!("{n}: {error}"));
        if let Ok(done) = ended {
            done.expect("nothing is wrong");
            break;
        }
        dropped += 1;
    }
    assert!(dropped > 10, "dropped only {dropped} times");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_dies_at_any_call_leaves_no_place_and_no_proof_that_lies() {
    for lost_answer in [false, true] {
        for k in 1.. {
            let (world, _, point, events) = one_point(daily()).await;
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), [daily()], &events);
            store.reset_calls();
            dies_at(&store, k, lost_answer);
            let target = MockDrillTarget::default();
            let drilled = backstay.drill("db").into(target.clone()).await;
            assert_eq!(target.standing(), [""; 0], "call {k}");
            let well = program(world.vault().await, [daily()], &events);
            let proofs = proofs(&well, &point).await;
            let passed = proofs.iter().any(|proof| proof.drill.as_ref().is_some_and(|drill| drill.passed));
            match &drilled {
                Ok(report) => assert!(report.passed() && passed, "call {k}: {report}"),
                // Only that the proof is stored may have been lost.
                Err(error) => {
                    assert!(!passed || error.payload::<DrillReport>().is_some_and(|r| r.validation.is_some()))
                }
            }
            well.drill("db").into(target).await.unwrap_or_else(|error| panic!("call {k}: {error}"));
            if store.all_calls() < k {
                drilled.expect("no fault");
                assert!(k > 8, "met only {k} faults");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn told_to_end_it_removes_its_place_and_proves_nothing() {
    for how in ["cancel", "shutdown"] {
        let (_, backstay, point, _) = one_point(daily()).await;
        let target = MockDrillTarget::default().takes(SECOND);
        let drill = backstay.drill("db").into(target.clone()).start();
        SystemClock.sleep(Duration::from_millis(2500)).await;
        assert_eq!(target.standing().len(), 1, "it is at its validation");
        match how {
            "cancel" => drill.cancel(),
            _ => backstay.shutdown().await,
        }
        let error = drill.await.expect_err("told to end");
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{how}: {error}");
        let report: &DrillReport = error.payload().expect("the report so far");
        assert!(report.phases.contains_key(&DrillPhase::Remove) && report.validation.is_none(), "{how}: {report}");
        assert_eq!(target.standing(), [""; 0], "{how}");
        assert_eq!(proofs(&backstay, &point).await, [], "{how}: that somebody ended it says nothing about the point");
        assert_eq!(record(&backstay).await.0.error.as_deref(), Some("cancelled"), "{how}");
    }
    let (_, backstay, ..) = one_point(daily()).await;
    backstay.shutdown().await;
    let calls = Calls::default();
    let late = backstay.drill("db").into(MockDrillTarget::default().record(&calls)).await.expect_err("it is down");
    assert_eq!((late.kind(), calls.all().len()), (ErrorKind::Cancelled, 0));
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_never_ready_does_not_keep_the_drill_for_ever() {
    let (_, backstay, ..) = one_point(daily()).await;
    let target = MockDrillTarget::default().fault(DrillFault::Hang("prepare"));
    let error = backstay.drill("db").into(target).time_to_live(HOUR).await.expect_err("it hangs");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.payload::<DrillReport>().is_some_and(|report| report.left.is_some()), "{error}");
    backstay.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_missed_objective_is_no_error_and_is_told() {
    let (_, backstay, point, events) = one_point(daily().rpo(30.minutes()).rto(1.seconds())).await;
    let report = backstay.drill("db").into(MockDrillTarget::default().takes(SECOND)).await.expect("it was restored");
    assert!(report.passed() && !report.met() && report.to_string().contains("MISSED"), "{report}");
    let missed: Vec<String> = events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::ObjectiveMissed { objective, achieved, allowed, .. } => {
                Some(format!("{objective} {achieved} {allowed}"))
            }
            _ => None,
        })
        .collect();
    assert_eq!(missed, ["rpo PT1H PT30M", "rto PT2S PT1S"]);
    let proof = proofs(&backstay, &point).await.remove(0).drill.expect("a drill's");
    assert_eq!((proof.passed, proof.rpo.met, proof.rto.and_then(|rto| rto.met)), (true, Some(false), Some(false)));
    // Without objectives nothing is met or missed.
    let (_, backstay, _, events) = one_point(daily()).await;
    let report = backstay.drill("db").into(MockDrillTarget::default()).await.expect("good");
    assert_eq!((report.rpo.met, report.rto.and_then(|rto| rto.met), events.count("objective_missed")), (None, None, 0));
}

#[tokio::test(start_paused = true)]
async fn it_picks_what_a_restore_would_take_or_what_it_is_told() {
    let (world, events) = (World::new(3).await, EventLog::default());
    let tiers = || [daily().rto(1.hour()), Tier::new("hourly").keep(Keep::last(2)).rto(1.minute())];
    let backstay = program(world.vault().await, tiers(), &events);
    let mut points = Vec::new();
    for tier in ["daily", "hourly"] {
        points.push(backstay.backup(tier).await.expect("a backup").id);
        world.clock.advance(HOUR);
    }
    let target = MockDrillTarget::default;
    let picked = async |report: DrillReport| (report.point, report.rto.and_then(|rto| rto.allowed));
    let report = backstay.drill("db").into(target()).await.expect("good");
    assert_eq!(picked(report).await, (points[1].clone(), Some(SignedDuration::from_mins(1))), "the newest");
    let report = backstay.drill("db").into(target()).tier("daily").await.expect("good");
    assert_eq!(picked(report).await, (points[0].clone(), Some(SignedDuration::from_hours(1))), "of this tier");
    let report = backstay.drill("db").into(target()).point(&points[0]).await.expect("good");
    assert_eq!(picked(report).await.0, points[0]);

    let other: PointId = "prod-us/daily/20261120t064200z-abcdefgh".parse().expect("an ID");
    let cases = [
        (backstay.drill("db"), ErrorKind::Invalid),
        (backstay.drill("db").into(target()).point(&other), ErrorKind::Invalid),
        (backstay.drill("db").into(target()).tier("yearly"), ErrorKind::NotFound),
        (backstay.drill("never").into(target()), ErrorKind::NotFound),
        (backstay.drill("never").into(target()).point(&points[0]), ErrorKind::NotFound),
    ];
    for (i, (request, kind)) in cases.into_iter().enumerate() {
        let error = request.await.expect_err("nothing to drill");
        assert_eq!(error.kind(), kind, "{i}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_component_that_the_point_lacks_in_part_does_not_pass() {
    use backstay_testkit::mock::{ExportScript, MockExporter};
    let world = World::new(3).await;
    let torn = MockExporter::scripted(ExportScript::new([("rows", TEXT)]).problem("a row", "it was locked"));
    let backstay = support::program(world.vault().await, torn);
    let point = backstay.backup("daily").allow_partial().await.expect("partial").id;
    let error = backstay.drill("db").into(MockDrillTarget::default()).await.expect_err("no good point");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = backstay.drill("db").into(MockDrillTarget::default()).point(&point).await.expect_err("incomplete");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    let report: &DrillReport = error.payload().expect("a report");
    assert!(report.incomplete && !report.passed() && report.to_string().contains("INCOMPLETE"), "{report}");
    assert!(!proofs(&backstay, &point).await[0].drill.as_ref().expect("a drill's").passed);
}

#[tokio::test(start_paused = true)]
async fn what_the_vault_lost_is_drilled_from_its_replica() {
    let (pair, points) = Pair::with_points(3, 2, TEXT).await;
    pair.replicate().await;
    for key in pair.world.keys(&format!("items/{}", points[1])).await {
        pair.world.remove(&key).await;
    }
    pair.world.remove(&format!("points/{}.json", points[1])).await;
    let backstay = pair.program(pair.left().await).await;
    let report = backstay.drill("db").into(MockDrillTarget::default()).await.expect("the replica has it");
    assert_eq!(report.point, points[1]);
    assert!(proofs(&backstay, &points[1]).await[0].drill.as_ref().is_some_and(|drill| drill.passed));
}
