//! The promises, each with something that tries to break it, on a store in memory and a clock that tests move.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PruneReport};
use backstay::store::{ObjectStoreExt, Operation};
use backstay::vault::Outcome;
use backstay::{Backstay, BackupReport, Clock, ErrorKind, Event, Keep, SystemClock, Tier, Vault};
use backstay_testkit::EventLog;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{Calls, ExportFault, ExportScript, MockExporter, MockHook};
use support::{World, exporter, program, restored, three_points};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

fn dying() -> ExportScript {
    ExportScript::new([("rows", TEXT)]).fault(ExportFault::After(3, ErrorKind::Unavailable))
}

#[tokio::test(start_paused = true)]
async fn no_way_of_failing_is_taken_for_success() {
    let script = || ExportScript::new([("rows", TEXT)]);
    let faults = [
        ("at the start", script().fault(ExportFault::AtStart(ErrorKind::Denied))),
        ("late", dying()),
        ("after the last item", script().fault(ExportFault::AtEnd(ErrorKind::Unavailable))),
        ("a writer dropped", script().fault(ExportFault::DropWriter)),
        (
            "the second writer dropped",
            ExportScript::new([("good", TEXT), ("rows", TEXT)]).fault(ExportFault::DropWriter),
        ),
        ("a panic", script().fault(ExportFault::Panic)),
    ];
    for (what, script) in faults {
        let world = World::new(3).await;
        let backstay = program(world.vault().await, MockExporter::scripted(script));
        backstay.backup("daily").await.map(drop).expect_err(what);
        assert_eq!(world.keys("points/").await, [""; 0], "{what}");
        assert_eq!(world.keys("runs/").await.iter().filter(|key| key.ends_with(".end.json")).count(), 1, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_component_that_fails_makes_the_point_partial_and_does_not_stop_the_others() {
    let world = World::new(3).await;
    let log = EventLog::default();
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .export("files", MockExporter::scripted(dying()))
        .export("torn", MockExporter::scripted(ExportScript::new([("rows", TEXT)]).problem("a/b", "it vanished")))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    let error = backstay.backup("daily").await.expect_err("partial");
    assert_eq!(error.kind(), ErrorKind::Partial);
    assert!(error.to_string().contains("files") && error.to_string().contains("a/b: it vanished"), "{error}");
    let report: &BackupReport = error.payload().expect("the report comes along");
    let outcomes: Vec<Outcome> = report.components.iter().map(|component| component.outcome).collect();
    assert_eq!(outcomes, [Outcome::Good, Outcome::Failed, Outcome::Incomplete]);
    assert_eq!(restored(backstay.vault(), &report.id).await.expect("db is whole")[0].1, TEXT);
    let failed = backstay
        .restore(&report.id)
        .component("files")
        .into(backstay_testkit::mock::MockImporter::default())
        .plan()
        .await;
    assert_eq!(failed.expect_err("nothing of it").kind(), ErrorKind::NotFound);
    log.assert_order(["backup_started", "committed"]);
    assert!(log.all().iter().any(|event| matches!(event, Event::Committed { partial: true, .. })));
    assert!(world.keys("points/").await.iter().any(|key| key.ends_with(".partial")));

    let verified = backstay.verify(&report.id).depth(backstay::Depth::Decoded).await.expect("what is there is intact");
    assert!(verified.unproved.iter().any(|text| text.contains("a/b")), "{:?}", verified.unproved);
    backstay.backup("daily").allow_partial().await.expect("allowed");
    backstay.backup("daily").only(["db"]).await.expect("complete without the others");
}

#[tokio::test(start_paused = true)]
async fn the_newest_good_item_of_each_component_survives_however_nights_fail() {
    let world = World::new(3).await;
    // `even` fails in odd nights, `odd` in even ones: after the first two nights no point is ever complete.
    let script = |fails: bool| if fails { dying() } else { ExportScript::new([("rows", TEXT)]) };
    let (mut even, mut odd) = (MockExporter::scripted(script(false)), MockExporter::scripted(script(false)));
    for night in 1..12 {
        (even, odd) = (even.then(script(night % 2 == 1)), odd.then(script(night % 2 == 0)));
    }
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("even", even)
        .export("odd", odd)
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    for _ in 0..12 {
        backstay.backup("daily").allow_partial().await.expect("partial is allowed");
        world.clock.advance(DAY);
        backstay
            .prune("daily")
            .danger_allow_mass_expiry()
            .plan()
            .await
            .expect("a plan")
            .apply()
            .await
            .expect("it goes");
        for component in ["even", "odd"] {
            let point = backstay.vault().points().latest(component).await.expect(component);
            let name = component.parse().expect("a name");
            assert_eq!(point.manifest.component(&name).expect(component).outcome, Outcome::Good);
        }
    }
}

async fn prune(backstay: &Backstay) -> PruneReport {
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies")
}

#[tokio::test(start_paused = true)]
async fn a_deletion_takes_two_steps_and_can_be_taken_back_between_them() {
    let (world, backstay, points) = three_points(TEXT).await;
    assert_eq!(prune(&backstay).await.tombstoned, [points[0].clone()]);
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!((plan.count(PruneAction::Wait), plan.count(PruneAction::Delete)), (1, 0), "{plan}");
    assert_eq!(plan.apply().await.expect("it waits").deleted, []);
    backstay.vault().undelete(&points[0]).await.expect("within the grace");
    assert_eq!(prune(&backstay).await.tombstoned, [points[0].clone()]);

    world.clock.advance(DAY - Duration::from_secs(1800));
    let late = backstay.vault().undelete(&points[0]).await.expect_err("in the last hour");
    assert_eq!(late.kind(), ErrorKind::Refused, "{late}");
    world.clock.advance(Duration::from_secs(1801));
    let report = prune(&backstay).await;
    assert_eq!(report.deleted, [points[0].clone()]);
    assert!(report.bytes > 0);
    let left = world.keys("").await;
    let left: Vec<_> =
        left.iter().filter(|key| key.contains(&points[0].run.to_string()) && !key.starts_with("runs/")).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(restored(backstay.vault(), &points[1]).await.expect("the others stay")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_hold_stops_a_deletion_before_and_after_the_tombstone() {
    let (world, backstay, points) = three_points(TEXT).await;
    let audit = "audit".parse().expect("a name");
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    backstay.vault().hold(&points[0], &audit, "the auditors want it").await.expect("held");
    let report = plan.apply().await.expect("it applies");
    assert_eq!((report.tombstoned.len(), report.left.len()), (0, 1), "a hold after the plan wins");
    assert!(report.left[0].why.contains("the auditors want it"));
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Tombstone), 0, "{plan}");

    backstay.vault().release(&points[0], &audit, "they have seen it").await.expect("released");
    assert_eq!(prune(&backstay).await.tombstoned.len(), 1);
    backstay.vault().hold(&points[0], &"second".parse().expect("a name"), "wait").await.expect("held again");
    world.clock.advance(DAY * 2);
    let report = prune(&backstay).await;
    assert_eq!((report.deleted.len(), report.undeleted.len()), (0, 1), "a hold in the grace wins");
    restored(backstay.vault(), &points[0]).await.expect("nothing of it is gone");
}

#[tokio::test(start_paused = true)]
async fn retirement_by_name_lets_the_last_item_of_a_component_go() {
    let world = World::new(3).await;
    let both = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .export("legacy", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    let first = both.backup("daily").await.expect("a backup").id;
    let backstay = program(both.vault().clone(), exporter(&[("rows", TEXT)]));
    for _ in 0..3 {
        world.clock.advance(DAY);
        backstay.backup("daily").await.expect("a backup");
    }
    let keeps_first = || async {
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        plan.steps
            .iter()
            .any(|step| step.id == first && step.action == PruneAction::Keep && step.reason.contains("legacy"))
    };
    assert!(keeps_first().await);
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.tiers[0].components.len(), 1);
    world.clock.advance(Duration::from_secs(60));
    let source = "prod-eu".parse().expect("a name");
    backstay.vault().retire(&source, &"legacy".parse().expect("a name"), "gone for good").await.expect("retired");
    assert!(!keeps_first().await);
}

#[tokio::test(start_paused = true)]
async fn prune_refuses_what_looks_like_a_mistake_or_an_attack() {
    let (world, backstay, _) = three_points(TEXT).await;
    world.clock.jump(jiff::SignedDuration::from_hours(24 * 365));
    let store = FaultyStore::new(Arc::new(backstay::MemoryStore::new()));
    drop(store);
    // The store's clock is the world's; a program whose own clock is a year ahead disagrees with it.
    let ahead = backstay_testkit::ManualClock::at("2030-01-01T00:00:00Z");
    let vault = Vault::open(world.store.clone()).keyring(&world.keyring).clock(ahead).build().await.expect("it opens");
    let error = program(vault, exporter(&[])).prune("daily").plan().await.expect_err("the clocks disagree");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("clock"), "{error}");
    drop(backstay);

    let (world, backstay, points) = three_points(TEXT).await;
    for _ in 0..5 {
        backstay.backup("daily").await.expect("a backup");
        world.clock.advance(DAY);
    }
    let error = backstay.prune("daily").plan().await.expect_err("six of eight");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("half"), "{error}");
    drop(backstay.prune("daily").danger_allow_mass_expiry().plan().await.expect("allowed by name"));

    for key in world.keys("points/").await {
        world.remove(&key).await;
    }
    let error = backstay.prune("daily").plan().await.expect_err("emptied");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("no point at all"), "{error}");
    assert!(world.keys("items/").await.iter().any(|key| key.contains(&points[0].run.to_string())));
}

#[tokio::test(start_paused = true)]
async fn forged_and_replayed_marks_change_nothing_and_are_reported() {
    let (world, backstay, points) = three_points(TEXT).await;
    // Unsigned tombstones and holds on every point.
    for point in &points {
        world.overwrite(&format!("points/{point}.deleted"), "{}").await;
        world.overwrite(&format!("points/{point}.hold-thief"), "{}").await;
    }
    // A true tombstone of one point, replayed onto another.
    world.overwrite(&format!("points/{}.void", points[1]), "").await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Tombstone), 1, "{plan}");
    assert_eq!(plan.count(PruneAction::Delete) + plan.count(PruneAction::Wait), 0, "{plan}");
    assert_eq!(plan.strange.len(), 6, "{plan}");
    let latest = backstay.vault().points().latest("db").await.expect("not hidden by a plant");
    assert_eq!(latest.id, points[2]);
    let status = backstay.status().await.expect("a status");
    assert!(!status.is_good() && status.strange.len() == 6);

    world.remove(&format!("points/{}.deleted", points[0])).await;
    world.remove(&format!("points/{}.hold-thief", points[0])).await;
    prune(&backstay).await;
    let from = format!("points/{}.deleted", points[0]);
    world.overwrite(&format!("points/{}.deleted", points[2]), world.read(&from).await).await;
    let signature = world.keys(&format!("sigs/{}.deleted", points[0])).await.remove(0);
    let moved = signature.replace(&points[0].run.to_string(), &points[2].run.to_string());
    world.overwrite(&moved, world.read(&signature).await).await;
    world.clock.advance(DAY * 3);
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert!(plan.steps.iter().all(|step| step.id != points[2] || step.action == PruneAction::Keep), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn points_whose_time_contradicts_the_stores_fill_no_slot_until_accepted() {
    let world = World::new(3).await;
    let real = world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup").id;
    // A host a year behind, and one a year ahead.
    for start in ["2025-11-20T06:42:00Z", "2027-11-20T06:42:00Z"] {
        let clock = backstay_testkit::ManualClock::at(start);
        let vault =
            Vault::open(world.store.clone()).keyring(&world.keyring).clock(clock).build().await.expect("it opens");
        program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err("its clock is wrong");
    }
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    assert_eq!(backstay.vault().points().latest("db").await.expect("the real one").id, real);
    let status = backstay.status().await.expect("a status");
    assert_eq!((status.tiers[0].points, status.tiers[0].doubtful), (3, 2));
    assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(&real));
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Keep), 3, "{plan}");
    let doubtful = plan.steps.iter().find(|step| step.reason.contains("doubtful")).expect("shown").id.clone();
    backstay.vault().accept(&doubtful, "the host's clock was wrong").await.expect("accepted");
    assert_eq!(backstay.status().await.expect("a status").tiers[0].doubtful, 1);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_undone_once_whatever_happens_between() {
    let cases: [(&str, MockExporter); 4] = [
        ("all is well", exporter(&[("rows", TEXT)])),
        ("the export fails", MockExporter::scripted(dying())),
        ("the export panics", MockExporter::scripted(ExportScript::new([("rows", TEXT)]).fault(ExportFault::Panic))),
        (
            "the export hangs and is cancelled",
            MockExporter::scripted(ExportScript::new([("rows", TEXT)]).fault(ExportFault::Hang)),
        ),
    ];
    for (what, exporter) in cases {
        let world = World::new(3).await;
        let calls = Calls::default();
        let backstay = Backstay::builder("prod-eu", world.vault().await)
            .export("db", exporter)
            .hook(["db"], MockHook::new("outer").record(&calls))
            .hook(["db"], MockHook::new("inner").record(&calls))
            .tier(Tier::new("daily").keep(Keep::last(2)))
            .build()
            .expect("well formed");
        let handle = backstay.backup("daily").start();
        SystemClock.sleep(Duration::from_secs(1)).await;
        drop(handle);
        backstay.shutdown().await;
        assert_eq!(calls.all(), ["outer.before", "inner.before", "inner.after", "outer.after"], "{what}");
        let refused = backstay.backup("daily").await.expect_err("after a shutdown");
        assert_eq!(refused.kind(), ErrorKind::Cancelled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_or_hangs_fails_its_components_and_is_still_undone() {
    for hook in [MockHook::new("freeze").fail_before(ErrorKind::Denied), MockHook::new("freeze").hang_before()] {
        let world = World::new(3).await;
        let calls = Calls::default();
        let backstay = Backstay::builder("prod-eu", world.vault().await)
            .export("db", exporter(&[("rows", TEXT)]))
            .export("other", exporter(&[("rows", TEXT)]))
            .hook(["db"], hook.record(&calls))
            .tier(Tier::new("daily").keep(Keep::last(2)))
            .build()
            .expect("well formed");
        let error = backstay.backup("daily").await.expect_err("db failed");
        let report: &BackupReport = error.payload().expect("partial");
        let outcomes: Vec<Outcome> = report.components.iter().map(|component| component.outcome).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Good]);
        assert_eq!(calls.all(), ["freeze.before", "freeze.after"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_needs_to_list_and_to_create_and_nothing_else() {
    let world = World::new(3).await;
    let store = FaultyStore::new(Arc::new(world.store.clone()))
        .with(Rule::new(Fault::FailBefore(ErrorKind::Denied)).overwrites())
        .with(Rule::new(Fault::FailBefore(ErrorKind::Denied)).except([
            Operation::Put,
            Operation::List,
            Operation::Upload,
            Operation::Part,
            Operation::Complete,
            Operation::Now,
        ]));
    let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let id = backstay.backup("daily").await.expect("nothing more is needed").id;
    assert_eq!(restored(&world.vault().await, &id).await.expect("whole")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_small_point_costs_five_writes_two_lists_and_no_read() {
    let world = World::new(3).await;
    for existing in 0..3 {
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let backstay =
            program(world.open(store.clone(), 50 + existing).await.expect("it opens"), exporter(&[("rows", TEXT)]));
        store.reset_calls();
        backstay.backup("daily").await.expect("a backup");
        assert_eq!(store.calls(Operation::Put), 5);
        assert!(store.calls(Operation::List) <= 2, "{} lists", store.calls(Operation::List));
        assert_eq!(store.all_calls(), store.calls(Operation::Put) + store.calls(Operation::List));
        world.clock.advance(DAY);
    }
}

#[tokio::test(start_paused = true)]
async fn deciding_over_a_hundred_thousand_points_lists_and_does_not_read() {
    let world = World::new(3).await;
    let random = backstay_testkit::SeededRandom::new(5);
    for _ in 0..100_000 {
        let run = backstay::RunId::new(Clock::now(&world.clock), &random);
        let key = format!("points/prod-eu/daily/{run}.json").parse().expect("a key");
        world.store.put_new(&key, "{}").await.expect("memory takes it");
        world.clock.advance(Duration::from_secs(60));
    }
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = Backstay::builder("prod-eu", world.open(store.clone(), 5).await.expect("it opens"))
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(100_000)))
        .build()
        .expect("well formed");
    store.reset_calls();
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Keep), 100_000);
    // The tier's listing and that of retirements; of reads only the vault's marker.
    assert_eq!((store.calls(Operation::List), store.calls(Operation::Get)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_create_if_absent_is_refused() {
    let world = World::new(3).await;
    world.remove("probe").await;
    let careless = FaultyStore::new(Arc::new(world.store.clone())).with(Rule::new(Fault::IgnoreCreate));
    let error = world.open(careless, 5).await.expect_err("two creates of one key");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("create-if-absent"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_component_that_shrank_or_is_another_is_told_at_once() {
    let world = World::new(3).await;
    let log = EventLog::default();
    let script = |identity: &str, bytes: usize| ExportScript::new([("rows", vec![b'x'; bytes])]).identity(identity);
    let exporter =
        MockExporter::scripted(script("system-1", 1000)).then(script("system-1", 499)).then(script("system-2", 499));
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter)
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .observe(log.clone())
        .build()
        .expect("well formed");
    for warnings in 0..3 {
        backstay.backup("daily").await.expect("a backup");
        world.clock.advance(DAY);
        assert_eq!(log.count("warning"), warnings);
    }
}

#[tokio::test(start_paused = true)]
async fn custodians_are_added_by_one_small_file_and_checked_by_opening_it() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let id = backstay.backup("daily").await.expect("a backup").id;
    let random = backstay_testkit::SeededRandom::new(9);
    let paper = backstay::vault::Identity::generate(&random);
    let (vault, name) = (backstay.vault(), "paper-in-safe".parse().expect("a name"));
    let before = world.keys("").await.len();
    vault.add_custodian(&name, paper.recipient()).await.expect("added");
    assert_eq!(world.keys("").await.len(), before + 1);
    let again = vault.add_custodian(&name, paper.recipient()).await.expect_err("taken");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    let stranger = backstay::vault::Identity::generate(&random);
    assert_eq!(vault.check_custodian(&name, &stranger).await.expect_err("a stranger").kind(), ErrorKind::Denied);
    let proved =
        |all: Vec<backstay::vault::Custodian>| all.into_iter().find(|c| c.name == name).expect("listed").proved;
    assert_eq!(proved(vault.custodians().await.expect("a list")), None);
    vault.check_custodian(&name, &paper).await.expect("it opens");
    assert!(proved(vault.custodians().await.expect("a list")).is_some());

    let reader =
        Vault::open_read_only(world.store.clone()).trust(world.keyring.allowed_signers().clone()).unlock_with(paper);
    let reader = reader.build().await.expect("it opens");
    assert_eq!(restored(&reader, &id).await.expect("an old point opens")[0].1, TEXT);
}
