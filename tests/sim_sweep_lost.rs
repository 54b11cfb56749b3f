//! Runs whose commit was signed and is gone, and uploads that nobody finishes: what a sweep leaves to a person, and what not.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::SweepAction;
use backstay::store::{ObjectStore, Operation, Prefix};
use backstay::{Backstay, Budget, ErrorKind, Keyring, Limits, LocalStore, PointId, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use futures_util::TryStreamExt;
use support::dead::{DEAD, TEXT, begin, died_at, of, sweep};
use support::pair::Pair;
use support::{World, exporter, program};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a sweep planned for a run, and why.
async fn planned(backstay: &Backstay, id: &PointId) -> (SweepAction, String) {
    let plan = backstay.sweep().plan().await.expect("a plan");
    let step = plan.steps.iter().find(|step| step.id == *id).expect("a step");
    (step.action, step.reason.clone())
}

#[tokio::test(start_paused = true)]
async fn bytes_of_a_point_whose_manifest_was_taken_away_stay() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let mut points = Vec::new();
    for _ in 0..4 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(Duration::from_secs(3600));
    }
    // One of four, by hand: too few to look like an attack.
    let key = format!("points/{}.json", points[1]);
    let manifest = world.read(&key).await;
    world.remove(&key).await;
    let before = world.keys("").await;
    for _ in 0..4 {
        world.clock.advance(DEAD);
        let (action, reason) = planned(&backstay, &points[1]).await;
        assert!(action == SweepAction::Keep && reason.contains("its commit was signed and is gone"), "{reason}");
        sweep(&backstay).await;
    }
    assert_eq!(of(&world.keys("").await, &points[1]), of(&before, &points[1]));
    world.overwrite(&key, manifest).await;
    backstay.vault().accept(&points[1], "it was brought back by hand").await.expect("it stands again");
    assert_eq!(support::restored(backstay.vault(), &points[1]).await.expect("whole")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_died_just_before_its_commit_goes_when_a_person_says_so() {
    let (world, good, dead) = died_at(6).await;
    assert!(!world.keys(&format!("sigs/{dead}.point.")).await.is_empty());
    world.clock.advance(DEAD);
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let (action, reason) = planned(&backstay, &dead).await;
    assert!(action == SweepAction::Keep && reason.contains("danger_made_no_point"), "{reason}");
    // The name of another run changes nothing, nor does this one's while it may be alive.
    let plan = backstay.sweep().danger_made_no_point(&good).plan().await.expect("a plan");
    assert_eq!((plan.count(SweepAction::Void), plan.count(SweepAction::Keep)), (0, 1), "{plan}");
    let patient = backstay.sweep().grace(9 * DAY).danger_made_no_point(&dead).plan().await.expect("a plan");
    assert_eq!(patient.count(SweepAction::Void), 0, "{patient}");

    let report =
        backstay.sweep().danger_made_no_point(&dead).plan().await.expect("a plan").apply().await.expect("it goes");
    assert_eq!(report.voided, std::slice::from_ref(&dead));
    world.clock.advance(DEAD);
    assert_eq!(sweep(&backstay).await.1.forgotten, std::slice::from_ref(&dead));
    assert_eq!(of(&world.keys("").await, &dead), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_only_the_signature_is_left_is_not_forgotten_unasked() {
    let (world, _, dead) = died_at(6).await;
    for key in of(&world.keys("").await, &dead) {
        if key.starts_with("items/") || key.starts_with("details/") {
            world.remove(key).await;
        }
    }
    world.clock.advance(2 * DEAD);
    let backstay = world.backstay(&[]).await;
    assert_eq!(planned(&backstay, &dead).await.0, SweepAction::Keep);
    let plan = backstay.sweep().danger_made_no_point(&dead).plan().await.expect("a plan");
    assert_eq!(plan.apply().await.expect("it goes").forgotten, [dead]);
}

async fn unfinished(store: &dyn ObjectStore) -> Vec<String> {
    let found: Vec<_> = store.uploads(&Prefix::all()).try_collect().await.expect("a listing");
    let mut keys: Vec<String> = found.into_iter().map(|upload| upload.key.to_string()).collect();
    keys.sort();
    keys
}

/// A key of every kind, of a run that has no record.
fn of_every_kind(source: &str) -> Vec<String> {
    let id = format!("{source}/daily/20261120t064200z-abcdefgh");
    let mut keys = vec![
        format!("items/{id}/abcdefgh/000000-db.zst.age"),
        format!("details/{id}.abcdefgh.jsonl.zst.age"),
        format!("copies/{id}.origin.json"),
        format!("history/{source}/20261120t064200z-abcdefgh.prune.json"),
        format!("points/{id}.json"),
        format!("proofs/{id}.20261120t064200z.json"),
        format!("retired/{source}/db.20261120t064200z.json"),
        format!("runs/{id}.abcdefgh.until-20261127t064200z.json"),
        format!("sigs/{id}.point.x.y.sig"),
    ];
    keys.sort();
    keys
}

#[tokio::test(start_paused = true)]
async fn uploads_that_nobody_finishes_are_aborted_under_every_key() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let good = backstay.backup("daily").await.expect("a backup").id;
    let own = ["backstay-1.json", "keys/epoch-9.ann.age", "probe", "sigs/keys/epoch-9.ann.x.y.sig"].map(str::to_owned);
    begin(&world.store, &[of_every_kind("prod-eu"), own.to_vec(), of_every_kind("prod-us")].concat()).await;
    // A planted record lets what it names live longer; that it is alive no sweep can tell.
    let alive = format!("items/{good}/rivalaaa/000000-db.zst.age");
    world.overwrite(&format!("runs/{good}.rivalaaa.until-20991127t064200z.json"), "{}").await;
    begin(&world.store, std::slice::from_ref(&alive)).await;
    world.clock.advance(8 * DAY - Duration::from_secs(1));
    let young = unfinished(&world.store).await;
    assert_eq!(sweep(&backstay).await.1.uploads, 0);
    assert_eq!(unfinished(&world.store).await, young, "the longest run and the grace are not over");
    world.clock.advance(Duration::from_secs(1));
    begin(&world.store, &["probe".to_owned()]).await;
    let (plan, report) = sweep(&backstay).await;
    assert_eq!((plan.uploads.len(), report.uploads), (13, 13), "{plan}");
    assert!(plan.to_string().contains("abort  13 uploads that nobody finishes, the oldest since 2026-11-20"), "{plan}");
    let mut left = [of_every_kind("prod-us"), vec![alive, "probe".to_owned()]].concat();
    left.sort();
    assert_eq!(unfinished(&world.store).await, left, "another source's, what may be alive, what is young");
    let read: backstay::engine::SweepPlan =
        serde_json::from_str(&serde_json::to_string(&plan).expect("JSON")).expect("a plan");
    assert_eq!(read.to_string(), plan.to_string());
}

#[tokio::test(start_paused = true)]
async fn rules_for_the_platform_end_no_upload_before_a_sweep_would() {
    let world = World::new(3).await;
    for (longest_run, days) in [(7 * DAY, 8), (20 * DAY + Duration::from_secs(1), 22)] {
        let mut limits = Limits::default();
        limits.longest_run = longest_run;
        let vault = Vault::open(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
        let vault = vault.budget(Budget::inline(limits)).build().await.expect("it opens");
        let rules = program(vault, exporter(&[("rows", TEXT)])).lifecycle().s3().expect("rules").json;
        let ends =
            rules["Rules"].as_array().expect("some").iter().find(|rule| rule["ID"].to_string().contains("-ends-"));
        let ends = &ends.expect("its uploads end")["AbortIncompleteMultipartUpload"];
        assert_eq!(ends["DaysAfterInitiation"], days, "{rules}");
    }
}

/// On Azure the rights of a pruner do not reach: blocks go by themselves, and the run's objects do not wait for them.
#[tokio::test(start_paused = true)]
async fn uploads_that_may_not_be_given_up_keep_nothing_else() {
    let (world, _, dead) = died_at(5).await;
    let record = world.keys(&format!("runs/{dead}.")).await.remove(0);
    let attempt =
        record.trim_start_matches(&format!("runs/{dead}.")).split('.').next().expect("its attempt").to_owned();
    let upload = format!("items/{dead}/{attempt}/000009-db.zst.age");
    begin(&world.store, std::slice::from_ref(&upload)).await;
    world.clock.advance(DEAD);
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::AbortUpload]));
    let sweeper = program(world.open(store, 9).await.expect("it opens"), exporter(&[]));
    let (_, report) = sweep(&sweeper).await;
    assert_eq!((report.voided, report.uploads), (vec![dead.clone()], 0));
    assert_eq!(report.left.iter().map(|left| left.what.as_str()).collect::<Vec<_>>(), [upload]);
    assert_eq!(world.keys(&format!("items/{dead}")).await, [""; 0], "what lies there stays");
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_replicator_had_begun_is_aborted_at_the_replica() {
    let (pair, _) = Pair::with_points(3, 2, TEXT).await;
    pair.replicate().await;
    begin(&pair.store, &of_every_kind("prod-eu")).await;
    pair.world.clock.advance(DEAD);
    let (_, report) = sweep(&pair.pruner(pair.store.clone()).await.expect("it opens")).await;
    assert_eq!(report.uploads, 9);
    assert!(unfinished(&pair.store).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn half_a_copy_is_told_and_the_next_replication_makes_it_whole() {
    let (pair, points) = Pair::with_points(3, 1, TEXT).await;
    pair.replicate().await;
    pair.world.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup");
    let store = FaultyStore::new(Arc::new(pair.store.clone()));
    let died = Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Put]);
    store.add(died.under("points/"));
    pair.copy(pair.world.store.clone(), store).await.expect_err("it dies before its commit");
    pair.world.clock.advance(DEAD);
    let backstay = pair.pruner(pair.store.clone()).await.expect("it opens");
    let before = pair.keys("").await;
    let (plan, _) = sweep(&backstay).await;
    assert!(plan.strange.len() == 1 && plan.strange[0].contains("replicate again"), "{plan}");
    assert_eq!(pair.keys("").await, before);
    assert_eq!(pair.replicate().await.copied.len(), 1);
    assert_eq!(sweep(&backstay).await.0.strange, [""; 0]);
    assert_eq!(pair.left().await.points().latest("db").await.expect("whole").manifest.source, points[0].source);
}

#[tokio::test]
async fn what_a_killed_process_left_in_a_folder_is_found_and_goes() {
    let place = tempfile::tempdir().expect("a folder");
    let keyring = Keyring::generate().expect("fresh keys fit");
    let store = LocalStore::create(place.path().join("vault")).expect("a store");
    Vault::create(store.clone()).keyring(&keyring).build().await.expect("made");
    let backstay = program(
        Vault::open(store.clone()).keyring(&keyring).build().await.expect("it opens"),
        exporter(&[("rows", TEXT)]),
    );
    backstay.backup("daily").await.expect("a backup");
    let keys = of_every_kind("prod-eu");
    begin(&store, &keys).await;
    assert_eq!(sweep(&backstay).await.1.uploads, 0);
    // A clock cannot be moved here; a file's time can.
    let old: std::time::SystemTime = (store.now().await.expect("a time") - DEAD).into();
    for entry in std::fs::read_dir(place.path().join("vault/.backstay-tmp")).expect("the area") {
        std::fs::File::open(entry.expect("a file").path()).expect("it opens").set_modified(old).expect("it is ours");
    }
    begin(&store, &keys[..1]).await;
    assert_eq!(sweep(&backstay).await.1.uploads, 9);
    assert_eq!(unfinished(&store).await, keys[..1]);
}
