//! Marks that are replayed, planted, made twice or made too late: what is told is what is so, and nothing goes by them.

mod support;

use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan, PruneReport};
use backstay::vault::Purpose;
use backstay::{Backstay, BackupReport, ErrorKind, Keep, Name, PointId, Result, Tier, Vault};
use backstay_testkit::ManualClock;
use support::{World, exporter, program, restored, three_points};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

async fn prune(backstay: &Backstay) -> Result<PruneReport> {
    backstay.prune("daily").plan().await?.apply().await
}

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

fn action(plan: &PrunePlan, point: &PointId) -> PruneAction {
    plan.steps.iter().find(|step| step.id == *point).expect("every point has a step").action
}

async fn of_point(world: &World, point: &PointId) -> Vec<String> {
    let mut keys = world.keys("").await;
    keys.retain(|key| key.contains(&point.run.to_string()) && !key.starts_with("runs/"));
    keys
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_does_not_stand_is_not_called_success() {
    let (world, backstay, points) = three_points(TEXT).await;
    let vault = backstay.vault();
    vault.hold(&points[0], &name("audit"), "why").await.expect("held");
    vault.release(&points[0], &name("audit"), "seen").await.expect("released");
    world.clock.advance(HOUR);
    let again = vault.hold(&points[0], &name("audit"), "why").await.expect_err("the name was used and released");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{again}");

    // Something as long as a hold is stands where one is to be put.
    let length = world.read(&format!("points/{}.hold-audit", points[0])).await.len();
    world.overwrite(&format!("points/{}.hold-audit", points[1]), vec![b' '; length]).await;
    let planted = vault.hold(&points[1], &name("audit"), "why").await.expect_err("the name is taken by a plant");
    assert_eq!(planted.kind(), ErrorKind::AlreadyExists, "{planted}");
}

#[tokio::test(start_paused = true)]
async fn a_planted_tombstone_is_not_taken_for_ours() {
    let (world, backstay, points) = three_points(TEXT).await;
    world.overwrite(&format!("points/{}.deleted", points[0]), "{}").await;
    let error = prune(&backstay).await.expect_err("no tombstone can be put");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    let report: &PruneReport = error.payload().expect("the report comes along");
    assert_eq!((report.tombstoned.len(), report.left.len()), (0, 1), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hold_ends_a_deletion_whose_grace_is_over() {
    let (world, backstay, points) = three_points(TEXT).await;
    let listing =
        || async { backstay.vault().points().list(&name("prod-eu"), &name("daily")).await.expect("a listing") };
    prune(&backstay).await.expect("a tombstone");
    assert!(!listing().await.contains(&points[0]), "it does not show while it is being deleted");
    world.clock.advance(2 * DAY);
    let [stale, other] = [(); 2].map(|()| backstay.prune("daily").plan());
    let (stale, other) = (stale.await.expect("a plan that deletes"), other.await.expect("another"));
    assert_eq!(action(&stale, &points[0]), PruneAction::Delete);
    backstay.vault().hold(&points[0], &name("audit"), "why").await.expect_err("it may be too late");
    let report = other.apply().await.expect("the hold wins");
    assert_eq!((report.deleted.len(), report.left.len()), (0, 1));
    assert!(listing().await.contains(&points[0]), "a point whose deletion ended stands like any other");

    // After the release it gets a grace of its own again, whatever an old plan says.
    backstay.vault().release(&points[0], &name("audit"), "seen").await.expect("released");
    assert_eq!(prune(&backstay).await.expect("a plan").tombstoned, [points[0].clone()]);
    let report = stale.apply().await.expect("the old plan applies");
    assert_eq!((report.deleted.len(), report.left.len()), (0, 1), "{report:?}");
    assert_eq!(restored(backstay.vault(), &points[0]).await.expect("nothing of it is gone")[0].1, TEXT);
    backstay.vault().undelete(&points[0]).await.expect("there is time");
}

#[tokio::test(start_paused = true)]
async fn a_hold_in_the_last_hour_of_a_grace_says_that_it_may_be_too_late() {
    let (world, backstay, points) = three_points(TEXT).await;
    prune(&backstay).await.expect("a tombstone");
    world.clock.advance(DAY - HOUR / 2);
    let late = backstay.vault().hold(&points[0], &name("audit"), "why").await.expect_err("a pruner may be at it");
    assert_eq!(late.kind(), ErrorKind::Refused, "{late}");
    world.clock.advance(HOUR);
    let report = prune(&backstay).await.expect("it applies");
    assert_eq!((report.deleted.len(), report.undeleted.len()), (0, 1), "where none was, it holds all the same");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_has_begun_goes_through_whatever_marks_came_meanwhile() {
    let (world, backstay, points) = three_points(TEXT).await;
    prune(&backstay).await.expect("a tombstone");
    backstay.vault().hold(&points[0], &name("audit"), "why").await.expect("held");
    // The pruner that had listed just before the hold took the manifest away and died.
    world.remove(&format!("points/{}.json", points[0])).await;
    let late = backstay.vault().undelete(&points[0]).await.expect_err("there is no point to come back");
    assert_eq!(late.kind(), ErrorKind::Refused, "{late}");
    let gone = backstay.vault().hold(&points[0], &name("second"), "why").await.expect_err("there is no point to hold");
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    world.clock.advance(2 * DAY);
    assert_eq!(prune(&backstay).await.expect("it goes on").deleted, [points[0].clone()]);
    assert_eq!(of_point(&world, &points[0]).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_put_back_after_an_undelete_does_not_count() {
    let (world, backstay, points) = three_points(TEXT).await;
    prune(&backstay).await.expect("a tombstone");
    let key = format!("points/{}.deleted", points[0]);
    let tombstone = world.read(&key).await;
    backstay.vault().undelete(&points[0]).await.expect("in time");
    world.clock.advance(2 * DAY);
    world.overwrite(&key, tombstone).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_ne!(action(&plan, &points[0]), PruneAction::Delete, "{plan}");
    assert!(plan.strange.iter().any(|strange| strange.contains("deleted")), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_says_nothing_of_another_manifest_under_the_same_id() {
    let (world, backstay, points) = three_points(TEXT).await;
    let mut other = backstay.vault().points().get(&points[0]).await.expect("a point").manifest;
    prune(&backstay).await.expect("a tombstone");
    world.clock.advance(2 * DAY);
    other.labels.insert("another".into(), "one".into());
    let (key, place) = (format!("points/{}.json", points[0]), format!("sigs/{}.point", points[0]));
    world.put_signed(&key, &place, Purpose::Point, &other).await;
    let error = prune(&backstay).await.expect_err("not what was marked");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    assert_eq!(restored(backstay.vault(), &points[0]).await.expect("it stays")[0].1, TEXT);
}

/// A world whose first point alone has `legacy`, and a program that keeps one point and protects only `db`.
async fn legacy() -> (World, Backstay, PointId) {
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
    (world, backstay, first)
}

#[tokio::test(start_paused = true)]
async fn a_component_that_never_was_is_not_retired() {
    let (world, backstay, first) = legacy().await;
    // What is none of ours names nothing.
    world.overwrite(&format!("points/prod-eu/daily/{}.json", "20261120t000000z-abcdefgh"), "{}").await;
    let before = world.keys("").await;
    let (vault, source) = (backstay.vault(), name("prod-eu"));
    let typo = vault.retire(&source, &name("legcay"), "gone").await.expect_err("a typing error");
    assert_eq!((typo.kind(), typo.context("there are")), (ErrorKind::NotFound, Some("db, legacy")), "{typo}");
    let typo = vault.retire(&name("prod-us"), &name("legacy"), "gone").await.expect_err("of another source");
    assert_eq!((typo.kind(), typo.context("there are")), (ErrorKind::NotFound, Some("none")), "{typo}");
    assert_eq!(world.keys("").await, before);
    vault.retire(&source, &name("legacy"), "gone").await.expect("the oldest point has it");
    let plan = backstay.prune("daily").danger_allow_mass_expiry().plan().await.expect("a plan");
    assert_eq!(action(&plan, &first), PruneAction::Tombstone, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_retirement_replayed_under_a_later_time_does_not_count() {
    let (world, backstay, first) = legacy().await;
    world.clock.jump(jiff::SignedDuration::from_hours(-24 * 10));
    let early = Vault::open(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
    let early = early.build().await.expect("it opens");
    early.retire(&name("prod-eu"), &name("legacy"), "gone").await.expect("retired before the component came back");
    world.clock.jump(jiff::SignedDuration::from_hours(24 * 10));
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(action(&plan, &first), PruneAction::Keep, "{plan}");

    let document = world.keys("retired/").await.remove(0);
    let signature = world.keys("sigs/prod-eu/retired/").await.remove(0);
    let time = document.split('.').nth(1).expect("COMPONENT.TIME.json");
    let (content, signed) = (world.read(&document).await, world.read(&signature).await);
    world.clock.advance(HOUR);
    let later = "20261124t064200z";
    world.overwrite(&document.replace(time, later), content).await;
    world.overwrite(&signature.replace(time, later), signed).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(action(&plan, &first), PruneAction::Keep, "{plan}");
    assert_eq!(plan.strange.len(), 1, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_retirement_made_by_a_clock_that_is_ahead_covers_nothing_that_comes_after_it() {
    let (world, backstay, _) = legacy().await;
    let ahead = ManualClock::at("2036-01-01T00:00:00Z");
    let vault = Vault::open(world.store.clone()).keyring(&world.keyring).clock(ahead).build().await.expect("it opens");
    vault.retire(&name("prod-eu"), &name("legacy"), "gone").await.expect("retired");
    world.clock.advance(HOUR);
    let both = Backstay::builder("prod-eu", world.vault().await)
        .export("legacy", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    let back = both.backup("daily").await.expect("it came back").id;
    for _ in 0..3 {
        world.clock.advance(DAY);
        backstay.backup("daily").await.expect("a backup");
    }
    let plan = backstay.prune("daily").danger_allow_mass_expiry().plan().await.expect("a plan");
    assert_eq!(action(&plan, &back), PruneAction::Keep, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_point_that_was_accepted_may_be_the_newest() {
    let world = World::new(3).await;
    let behind = ManualClock::at("2025-11-20T06:42:00Z");
    let vault = Vault::open(world.store.clone()).keyring(&world.keyring).clock(behind).build().await.expect("it opens");
    let error = program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err("its clock is wrong");
    let id = error.payload::<BackupReport>().expect("a point all the same").id.clone();
    let vault = world.vault().await;
    let error = vault.points().latest("db").await.expect_err("doubtful");
    assert!(error.to_string().contains("doubtful"), "{error}");
    vault.accept(&id, "the host's clock was wrong").await.expect("accepted");
    assert_eq!(vault.points().latest("db").await.expect("accepted").id, id);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_back_is_not_written() {
    let (world, backstay, points) = three_points(TEXT).await;
    let endless = "x".repeat(65 << 20);
    let error = backstay.vault().hold(&points[0], &name("audit"), &endless).await.expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    let before = world.keys("points/").await;
    let error = backstay.backup("daily").label("why", &endless).await.expect_err("no reader would take it");
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    assert_eq!(world.keys("points/").await, before);
}
