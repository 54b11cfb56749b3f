//! What platforms back up by themselves counts for the RPO, and for nothing else.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::PruneAction;
use backstay::source::Selector;
use backstay::source::snapshot::{Origin, ProviderInfo, Resource, Snapshot, SnapshotState, TimeWindow};
use backstay::store::Operation;
use backstay::{Backstay, ErrorKind, Keep, Status, Tier, Vault};
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{Calls, ExportFault, ExportScript, MockExporter, MockSnapshots};
use jiff::{SignedDuration, Timestamp, ToSpan};
use support::{START, World, exporter, restored};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"what the table holds";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn platform(world: &World) -> MockSnapshots {
    let platform = MockSnapshots::new(Arc::new(world.clock.clone())).resource(Resource::new("users"));
    platform.info(ProviderInfo::new("mock.rds", "eu-1"))
}

fn daily() -> Tier {
    Tier::new("daily").keep(Keep::last(2)).rpo(25.hours())
}

/// A program that exports `db` and watches `users` as the same component.
fn both(vault: Vault, platform: MockSnapshots) -> Backstay {
    let builder = Backstay::builder("prod-eu", vault).export("db", exporter(&[("rows", TEXT)]));
    builder.watch("db", platform, Selector::id("users")).tier(daily()).build().expect("well formed")
}

/// A program that watches this as `users-db`, and exports something else that is never late.
async fn only_watching(world: &World, platform: MockSnapshots, selector: Selector) -> Backstay {
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("files", exporter(&[("tree", TEXT)]))
        .watch("users-db", platform, selector)
        .tier(Tier::new("weekly").covers(["files"]).keep(Keep::last(2)))
        .tier(daily().covers(["users-db"]))
        .build()
        .expect("well formed");
    if world.keys("points/").await.is_empty() {
        backstay.backup("weekly").await.expect("a backup");
    }
    backstay
}

async fn status_of(world: &World, platform: MockSnapshots) -> Status {
    only_watching(world, platform, Selector::id("users")).await.status().await.expect("a status")
}

fn component<'a>(status: &'a Status, name: &str) -> &'a backstay::engine::ComponentStatus {
    let mut all = status.tiers.iter().flat_map(|tier| &tier.components);
    all.find(|component| component.component.as_str() == name).unwrap_or_else(|| panic!("{status}"))
}

#[tokio::test(start_paused = true)]
async fn the_newer_of_point_and_native_backup_decides_whether_it_is_late() {
    let world = World::new(3).await;
    let at_noon = |s: &mut Snapshot| s.cut_at = Some(time("2026-11-20T12:42:00Z"));
    let point = both(world.vault().await, platform(&world)).backup("daily").await.expect("a backup").id;
    world.clock.advance(24 * HOUR);
    for (hours, with, without) in [(0, false, false), (2, false, true), (4, false, true), (2, true, true)] {
        world.clock.advance(HOUR * hours);
        let status = both(world.vault().await, platform(&world)).status().await.expect("a status");
        assert_eq!(component(&status, "db").late, without, "{hours}: {status}");
        let status = both(world.vault().await, platform(&world).native_as("users", at_noon)).status().await;
        let status = status.expect("a status");
        let db = component(&status, "db");
        assert_eq!((db.late, status.is_good()), (with, !with), "{hours}: {status}");
        assert_eq!(db.newest, Some(point.clone()));
        let native = db.native.as_ref().expect("it is watched");
        assert_eq!((&*native.place, native.shows), ("mock.rds in eu-1", time("2026-11-20T12:42:00Z")));
        assert_eq!(db.age.map(|age| age - native.age), Some(SignedDuration::from_hours(6)), "{status}");
        assert!(status.to_string().contains("; mock.rds in eu-1 has it as of 2026-11-20T12:42:00Z"), "{status}");
    }
    // The point counts where it is the newer one.
    both(world.vault().await, platform(&world)).backup("daily").await.expect("a backup");
    let status = both(world.vault().await, platform(&world).native_as("users", at_noon)).status().await;
    assert!(!component(&status.expect("a status"), "db").late);
}

#[tokio::test(start_paused = true)]
async fn that_the_platform_has_it_does_not_hide_that_an_export_never_worked() {
    let world = World::new(3).await;
    let status = both(world.vault().await, platform(&world).native("users")).status().await.expect("a status");
    let db = component(&status, "db");
    assert!(!db.late && db.native.is_some() && db.newest.is_none() && !db.only_watched, "{status}");
    assert!(!status.is_good() && status.to_string().contains("db: never; mock.rds"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn only_whole_backups_that_the_platform_made_and_keeps_count() {
    let world = World::new(3).await;
    let changed = |change: fn(&mut Snapshot)| platform(&world).native_as("users", change);
    let now = time(START);
    let hour_ahead = platform(&world).native_as("users", |s| s.cut_at = Some(now + 1.hour()));
    let minute_ahead = platform(&world).native_as("users", |s| s.cut_at = Some(now + 1.minute()));
    let expired = platform(&world).native_as("users", |s| s.expires_at = Some(now));
    let kept = platform(&world).native_as("users", |s| s.expires_at = Some(now + 1.hour()));
    let window = |from: Timestamp, to: Timestamp| platform(&world).restorable("users", TimeWindow::new(from, to));
    for (what, platform, counts) in [
        ("ready", changed(|_| ()), true),
        ("kept for now", kept, true),
        ("a clock that is a little ahead", minute_ahead, true),
        ("none", platform(&world), false),
        ("pending", changed(|s| s.state = SnapshotState::Pending), false),
        ("partial", changed(|s| s.state = SnapshotState::Partial), false),
        ("failed", changed(|s| s.state = SnapshotState::Failed), false),
        ("of no time", changed(|s| s.cut_at = None), false),
        ("of the future", hour_ahead, false),
        ("expired", expired, false),
        ("in no point of ours", changed(|s| s.origin = Origin::Ours), false),
        ("of another", platform(&world).native("orders"), false),
        ("a window", window(now - 7.hours(), now - 5.minutes()), true),
        ("a window that is said to end later", window(now - 7.hours(), now + 7.hours()), true),
        ("a window that ended", window(now - 70.hours(), now - 30.hours()), false),
        ("a window that begins after its end", window(now - 5.minutes(), now - 7.hours()), false),
    ] {
        let status = status_of(&world, platform).await;
        let users = component(&status, "users-db");
        assert_eq!((users.late, status.is_good()), (!counts, counts), "{what}: {status}");
        assert!(users.only_watched && users.newest.is_none() && users.searched == 0, "{what}: {status}");
        assert!(users.native.as_ref().is_none_or(|native| native.age >= SignedDuration::ZERO), "{what}: {status}");
        assert!(status.to_string().contains("users-db: only watched; "), "{what}: {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_last_is_told_until_something_newer_is_there() {
    let world = World::new(3).await;
    let failed = |s: &mut Snapshot| {
        s.state = SnapshotState::Failed;
        s.message = Some("the key is disabled".to_owned());
    };
    let earlier = |s: &mut Snapshot| s.cut_at = Some(time(START) - 1.hour());
    let status = status_of(&world, platform(&world).native_as("users", earlier).native_as("users", failed)).await;
    assert!(!component(&status, "users-db").late && !status.is_good(), "{status}");
    let told = "look at: users-db on mock.rds in eu-1: users: the newest snapshot, snap-2, failed: the key is disabled";
    assert!(status.to_string().contains(told), "{status}");

    let earlier_failed = |s: &mut Snapshot| {
        failed(s);
        earlier(s);
    };
    let status = status_of(&world, platform(&world).native_as("users", earlier_failed).native("users")).await;
    assert!(status.is_good(), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_component_of_several_resources_is_as_old_as_the_oldest_of_their_newest() {
    let world = World::new(3).await;
    let mut volumes = Selector::id("vol-1");
    volumes.ids.push("vol-2".to_owned());
    let two = || {
        let platform = MockSnapshots::new(Arc::new(world.clock.clone()));
        let platform = platform.resource(Resource::new("vol-1")).resource(Resource::new("vol-2"));
        let old = |s: &mut Snapshot| s.cut_at = Some(time("2026-11-18T06:42:00Z"));
        platform.native("vol-1").native_as("vol-1", old).native_as("vol-2", old)
    };
    let one = || {
        let platform = MockSnapshots::new(Arc::new(world.clock.clone()));
        platform.resource(Resource::new("vol-1")).native("vol-1")
    };
    let newer = |s: &mut Snapshot| s.cut_at = Some(time("2026-11-20T05:42:00Z"));
    for (platform, newest, problem) in [
        (two(), Some("2026-11-18T06:42:00Z"), None),
        (two().native_as("vol-2", newer), Some("2026-11-20T05:42:00Z"), None),
        (two().resource(Resource::new("vol-3")), Some("2026-11-18T06:42:00Z"), None),
        (two().fail_list_after("vol-2", 0, ErrorKind::Denied), None, Some("vol-2: its snapshots could not be asked")),
        (two().fail_targets_after(1, ErrorKind::Denied), None, Some("could not be asked")),
        (two().fail_targets_after(0, ErrorKind::Denied), None, Some("could not be asked")),
        (one(), None, Some("there is no resource vol-2, or no more")),
    ] {
        let status = only_watching(&world, platform, volumes.clone()).await.status().await;
        let status = status.expect("a platform that is down is no failure");
        assert_eq!(status.watched[0].newest, newest.map(time), "{status}");
        let found = component(&status, "users-db");
        assert_eq!(found.native.as_ref().map(|native| native.shows), newest.map(time), "{status}");
        assert_eq!(found.late, newest.is_none_or(|newest| newest < "2026-11-19"), "{status}");
        assert_eq!(status.watched[0].problems.is_empty(), problem.is_none(), "{status}");
        assert!(problem.is_none_or(|problem| status.to_string().contains(problem)), "{problem:?}: {status}");
        assert_eq!(status.is_good(), !found.late && problem.is_none(), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_is_down_makes_a_status_bad_though_nothing_is_late() {
    let world = World::new(3).await;
    let down = platform(&world).fail_targets_after(0, ErrorKind::Unavailable);
    let backstay = both(world.vault().await, down);
    backstay.backup("daily").await.expect("a backup");
    let status = backstay.status().await.expect("no failure of the whole");
    assert!(!component(&status, "db").late && !status.is_good(), "{status}");
    assert!(status.to_string().contains("look at: db on mock.rds in eu-1: what id users means could not"), "{status}");
    assert!(both(world.vault().await, platform(&world).native("users")).status().await.expect("a status").is_good());
}

#[tokio::test(start_paused = true)]
async fn several_watches_are_several_ways_and_the_newest_counts() {
    let world = World::new(3).await;
    let other = |hours: i64| {
        let shows = time(START) - hours.hours();
        let other = platform(&world).info(ProviderInfo::new("mock.vault", "eu-1"));
        other.native_as("users", move |s: &mut Snapshot| s.cut_at = Some(shows))
    };
    for (hours, place) in [(1, "mock.vault in eu-1"), (3, "mock.rds in eu-1")] {
        let two = platform(&world).native_as("users", |s| s.cut_at = Some(time(START) - 2.hours()));
        let status = Backstay::builder("prod-eu", world.vault().await)
            .export("files", exporter(&[("tree", TEXT)]))
            .watch("users-db", two, Selector::id("users"))
            .watch("users-db", other(hours), Selector::id("users"))
            .tier(daily())
            .build()
            .expect("well formed")
            .status()
            .await
            .expect("a status");
        assert_eq!(status.tiers[0].components.len(), 2, "{status}");
        assert_eq!(
            component(&status, "users-db").native.as_ref().map(|native| &*native.place),
            Some(place),
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_exports_nothing_goes_by_the_points() {
    let world = World::new(3).await;
    let reader = || async {
        let vault = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
        Backstay::builder("prod-eu", vault.build().await.expect("it opens"))
            .watch("users-db", platform(&world).native("users"), Selector::id("users"))
            .tier(daily().covers(["files", "users-db"]))
            .build()
            .expect("well formed")
    };
    let files = Backstay::builder("prod-eu", world.vault().await)
        .export("files", exporter(&[("tree", TEXT)]))
        .tier(daily())
        .build()
        .expect("well formed");
    files.backup("daily").await.expect("a backup");
    let status = reader().await.status().await.expect("a status");
    assert!(component(&status, "users-db").only_watched && !component(&status, "files").only_watched, "{status}");
    assert!(status.is_good(), "{status}");

    // Somebody exports it, and that never works.
    world.clock.advance(HOUR);
    let broken = ExportScript::new([("rows", TEXT)]).fault(ExportFault::AtEnd(ErrorKind::Denied));
    let fails = Backstay::builder("prod-eu", world.vault().await)
        .export("files", exporter(&[("tree", TEXT)]))
        .export("users-db", MockExporter::scripted(broken))
        .tier(daily())
        .build()
        .expect("well formed");
    fails.backup("daily").allow_partial().await.expect("partial is allowed");
    let status = reader().await.status().await.expect("a status");
    assert!(!component(&status, "users-db").only_watched && !status.is_good(), "{status}");
}

#[tokio::test(start_paused = true)]
async fn points_of_what_is_only_watched_now_are_told_as_nobodys() {
    let world = World::new(3).await;
    let exported = both(world.vault().await, platform(&world).native("users"));
    exported.backup("daily").await.expect("a backup");
    assert_eq!(exported.status().await.expect("a status").unmanaged, [""; 0]);
    world.clock.advance(HOUR);
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("files", exporter(&[("tree", TEXT)]))
        .watch("db", platform(&world).native("users"), Selector::id("users"))
        .tier(daily())
        .build()
        .expect("well formed");
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.unmanaged, ["component db"], "{status}");
    assert!(component(&status, "db").only_watched && !component(&status, "db").late, "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_status_asks_a_platform_once_and_reads_no_point_for_what_is_only_watched() {
    let world = World::new(3).await;
    let calls = Calls::default();
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let plain = |vault| {
        let builder = Backstay::builder("prod-eu", vault).export("files", exporter(&[("tree", TEXT)]));
        builder.tier(daily()).tier(Tier::new("hourly").keep(Keep::last(2)))
    };
    let backstay = plain(world.open(store.clone(), 5).await.expect("it opens")).build().expect("well formed");
    for _ in 0..9 {
        backstay.backup("daily").await.expect("a backup");
        world.clock.advance(HOUR);
    }
    store.reset_calls();
    let status = backstay.status().await.expect("a status");
    let read = |store: &FaultyStore| (store.calls(Operation::Get), store.calls(Operation::List));
    let without = read(&store);
    let platform = platform(&world).native("users").record(&calls);
    let watching = plain(world.open(store.clone(), 6).await.expect("it opens"));
    let watching = watching.watch("users-db", platform, Selector::id("users")).build().expect("well formed");
    store.reset_calls();
    let with = watching.status().await.expect("a status");
    assert_eq!(read(&store), without, "{with}");
    assert_eq!(calls.all(), ["targets", "list users", "window users"]);

    // A page that another version wrote can be read.
    let json = serde_json::to_string(&status).expect("JSON").replace("\"only_watched\":false,", "");
    assert!(!json.contains("watched") && !json.contains("native"), "{json}");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("a status").to_string(), status.to_string());
    let json = serde_json::to_string(&with).expect("JSON");
    assert_eq!(serde_json::from_str::<Status>(&json).expect("a status").to_string(), with.to_string());
}

#[tokio::test(start_paused = true)]
async fn native_backups_let_no_point_go_and_are_never_deleted() {
    let world = World::new(3).await;
    let calls = Calls::default();
    let mut platform = platform(&world).record(&calls);
    for night in 0..9 {
        let shows = time(START) + (24 * night).hours();
        let made_at = move |s: &mut Snapshot| (s.cut_at, s.expires_at) = (Some(shows), Some(shows + 1.hour()));
        platform = platform.native_as("users", made_at);
    }
    let there = platform.all().len();
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("files", exporter(&[("tree", TEXT)]))
        .export("db", exporter(&[("rows", TEXT)]))
        .watch("db", platform.clone(), Selector::id("users"))
        .tier(daily())
        .build()
        .expect("well formed");
    let only = backstay.backup("daily").await.expect("a backup").id;
    world.clock.advance(DAY);
    for _ in 0..4 {
        backstay.backup("daily").only(["files"]).await.expect("a backup");
        world.clock.advance(DAY);
    }
    for (action, count) in [(PruneAction::Tombstone, 2), (PruneAction::Delete, 2)] {
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        assert_eq!(plan.count(action), count, "{plan}");
        let first = plan.steps.iter().find(|step| step.id == only).expect("it is there");
        assert!(first.action == PruneAction::Keep && first.reason.contains("db"), "{plan}");
        plan.apply().await.expect("it applies");
        world.clock.advance(DAY * 2);
    }
    backstay.sweep().plan().await.expect("a plan").apply().await.expect("it applies");
    assert_eq!(restored(backstay.vault(), &only).await.expect("the newest good one")[0].1, TEXT);
    assert_eq!((calls.all(), platform.all().len()), (Vec::new(), there), "nobody asked the platform for anything");
}
