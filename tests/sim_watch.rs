//! What platforms back up by themselves: how it is watched, and what it adds to the options of a recovery.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{RecoveryOptions, RecoverySource};
use backstay::source::Selector;
use backstay::source::snapshot::{Origin, ProviderInfo, Resource, SnapshotState, TimeWindow};
use backstay::vault::Outcome;
use backstay::{Backstay, ErrorKind, Keep, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{Calls, MockHook, MockSnapshots};
use jiff::{SignedDuration, Timestamp};
use support::{START, World, exporter};

const HOUR: Duration = Duration::from_secs(3600);
const TEXT: &[u8] = b"what the table holds";
const PLACE: &str = "mock.rds in eu-1";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn cut(text: &str) -> Option<Timestamp> {
    Some(time(text))
}

fn window(earliest: &str, latest: &str) -> TimeWindow {
    TimeWindow::new(time(earliest), time(latest))
}

/// A platform with a database called `users`.
fn platform(world: &World) -> MockSnapshots {
    let platform = MockSnapshots::new(Arc::new(world.clock.clone())).resource(Resource::new("users"));
    platform.info(ProviderInfo::new("mock.rds", "eu-1"))
}

/// A program that exports `db` and watches `users` as the same component.
fn program(vault: Vault, platform: MockSnapshots) -> Backstay {
    Backstay::builder("prod-eu", vault)
        .export("db", exporter(&[("rows", TEXT)]))
        .watch("db", platform, Selector::id("users"))
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .build()
        .expect("well formed")
}

/// A program that only watches this, and exports something else.
fn watching(component: &str, platform: MockSnapshots, selector: Selector, vault: Vault) -> Backstay {
    let builder = Backstay::builder("prod-eu", vault).export("files", exporter(&[("tree", TEXT)]));
    let builder = builder.watch(component, platform, selector);
    builder.tier(Tier::new("daily").keep(Keep::last(2))).build().expect("well formed")
}

/// A volume that is to be backed up.
fn volume(id: &str) -> Resource {
    let mut volume = Resource::new(id);
    volume.tags.insert("backup".to_owned(), "true".to_owned());
    volume
}

/// From what each option is restored, in few words, newest first.
fn told(options: &RecoveryOptions) -> Vec<String> {
    let short = |from: &RecoverySource| match from {
        RecoverySource::Point(_) => "point".to_owned(),
        RecoverySource::Snapshot { snapshot, .. } => snapshot.id.clone(),
        RecoverySource::Moment { resource, .. } => format!("moment of {}", resource.0),
        other => panic!("{other}"),
    };
    options.options.iter().map(|option| short(&option.from)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_builder_tells_every_mistake_of_a_watch_at_once() {
    let world = World::new(3).await;
    let built = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[]))
        .watch("Users DB", platform(&world), Selector::id("users"))
        .watch("users-db", platform(&world), Selector::id("users"))
        .watch("users-db", platform(&world), Selector::id("users"))
        .watch("empty", platform(&world), Selector::default())
        .hook(["users-db"], MockHook::new("freeze"))
        .tier(Tier::new("daily").covers(["users-dc"]).keep(Keep::last(2)))
        .build();
    let error = built.expect_err("full of mistakes");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for part in [
        "component \"Users DB\"",
        "users-db is watched twice on mock.rds in eu-1 by id users",
        "the watch of \"empty\" by MockSnapshots(eu-1) has an empty selector",
        "hook freeze names the component \"users-db\", which is not there; there are: db",
        "tier \"daily\" names the component \"users-dc\", which is not there; there are: Users DB, db, empty, users-db",
    ] {
        assert!(error.to_string().contains(part), "{part} is not told: {error}");
    }

    // A platform has several things of one name, and several platforms have it.
    Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[]))
        .watch("db", platform(&world), Selector::id("users"))
        .watch("db", platform(&world), Selector::tag("of", "users"))
        .watch("db", platform(&world).info(ProviderInfo::new("mock.rds", "eu-2")), Selector::id("users"))
        .watch("dc", platform(&world), Selector::id("users"))
        .tier(Tier::new("daily").covers(["db", "dc"]).keep(Keep::last(2)))
        .build()
        .expect("well formed");

    let watches = |vault| {
        let builder = Backstay::builder("prod-eu", vault).watch("users-db", platform(&world), Selector::id("users"));
        builder.tier(Tier::new("daily").covers(["users-db"]).keep(Keep::last(2))).build()
    };
    let error = watches(world.vault().await).expect_err("it could make points, and has nothing to make them of");
    assert!(error.to_string().contains("no component: what is only watched makes no points"), "{error}");
    let reader = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).build().await.expect("it opens");
    watches(reader).expect("who only looks needs no exporter");
}

#[tokio::test(start_paused = true)]
async fn what_is_only_watched_is_in_no_backup() {
    let world = World::new(3).await;
    let calls = Calls::default();
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .watch("users-db", platform(&world).native("users").record(&calls), Selector::id("users"))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .tier(Tier::new("both").covers(["db", "users-db"]).keep(Keep::last(2)))
        .tier(Tier::new("native").covers(["users-db"]).keep(Keep::last(2)))
        .build()
        .expect("well formed");
    for tier in ["daily", "both"] {
        let planned = backstay.backup(tier).plan().expect("a plan");
        assert_eq!(planned.components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["db"]);
        let report = backstay.backup(tier).await.expect("nothing is missing in it");
        assert_eq!(report.components.len(), 1, "{report:?}");
    }
    let before = world.keys("").await;
    let nothing = backstay.backup("native").await.expect_err("zero targets");
    assert_eq!(nothing.kind(), ErrorKind::Invalid, "{nothing}");
    assert!(nothing.to_string().contains("only watched"), "{nothing}");
    let error = backstay.backup("both").only(["users-db"]).await.expect_err("it is not exported");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(world.keys("").await, before);
    assert_eq!(calls.all(), [""; 0], "a backup has nothing to ask the platform");
}

#[tokio::test(start_paused = true)]
async fn options_tell_what_the_platform_has_beside_the_points() {
    let world = World::new(3).await;
    let soon = time("2026-11-21T06:00:00Z");
    let platform = platform(&world)
        .native_as("users", |s| (s.cut_at, s.bytes) = (cut("2026-11-20T01:00:00Z"), Some(700)))
        .native_as("users", |s| (s.cut_at, s.expires_at) = (cut("2026-11-20T02:00:00Z"), Some(soon)))
        .native_as("users", |s| (s.cut_at, s.expires_at) = (cut("2026-11-20T03:00:00Z"), cut("2026-11-20T06:42:00Z")))
        .native_as("users", |s| (s.cut_at, s.state) = (cut("2026-11-20T04:00:00Z"), SnapshotState::Partial))
        .native_as("users", |s| (s.cut_at, s.origin) = (cut("2026-11-20T05:00:00Z"), Origin::Ours))
        .native_as("users", |s| (s.cut_at, s.state) = (cut("2026-11-20T06:00:00Z"), SnapshotState::Pending))
        .native_as("users", |s| (s.cut_at, s.state) = (cut("2026-11-20T06:10:00Z"), SnapshotState::Failed))
        .native_as("users", |s| (s.cut_at, s.state) = (None, SnapshotState::Failed))
        .native_as("users", |s| s.cut_at = None)
        .native_as("users", |s| s.cut_at = cut("2026-11-20T07:00:00Z"))
        .native_as("other", |s| s.cut_at = cut("2026-11-20T01:30:00Z"));
    let backstay = program(world.vault().await, platform);
    let point = backstay.backup("daily").await.expect("a backup").id;
    let options = backstay.options("db").await.expect("options");
    assert_eq!(told(&options), ["point", "snap-5", "snap-4", "snap-3", "snap-2", "snap-1"], "{options}");
    let [_, ours, partial, expired, expiring, plain] = &options.options[..] else { panic!("{options}") };
    assert_eq!(options.best().and_then(|best| best.point()), Some(&point));
    assert_eq!(plain.loss, SignedDuration::from_secs(5 * 3600 + 42 * 60), "{options}");
    assert_eq!(
        (&*plain.place, plain.bytes, plain.stored, plain.takes, plain.key),
        (PLACE, Some(700), None, None, None)
    );
    assert!(plain.is_good() && expiring.is_good() && ours.is_good(), "{options}");
    assert!(partial.outcome == Outcome::Incomplete && !partial.is_good(), "{options}");
    assert!(expired.goes == cut("2026-11-20T06:42:00Z") && !expired.is_good(), "{options}");
    let RecoverySource::Snapshot { resource, origin, expires_at, .. } = &expiring.from else { panic!("{options}") };
    assert_eq!((&*resource.0, *origin, *expires_at), ("users", Origin::Native, Some(soon)));
    assert_eq!(
        options.problems,
        [
            "mock.rds in eu-1: users: the newest snapshot, snap-7, failed: the platform does not say why",
            "mock.rds in eu-1: users: 1 snapshots, such as snap-10, say that they are of the future",
            "mock.rds in eu-1: users: 1 snapshots tell no time, and are not shown",
        ],
        "{options}"
    );
    let text = options.to_string();
    for row in [
        "mock.rds in eu-1          700    unknown  snapshot snap-1 of users, the platform's, good, key not tried",
        "snapshot snap-2 of users, the platform's, expires 2026-11-21T06:00:00Z, good",
        "being deleted from 2026-11-20T06:42:00Z on",
        "snapshot snap-4 of users, the platform's, incomplete",
        "snapshot snap-5 of users, ours, good",
    ] {
        assert!(text.contains(row), "{row:?} is missing in {text}");
    }
    let json = serde_json::to_string(&options).expect("JSON");
    assert_eq!(serde_json::from_str::<RecoveryOptions>(&json).expect("the same").to_string(), text);

    // What failed later than the moment asked for, or is newer, says nothing of it.
    let earlier = backstay.options("db").before(time("2026-11-20T02:30:00Z")).await.expect("options");
    assert_eq!(told(&earlier), ["snap-2", "snap-1"], "{earlier}");
    assert!(!earlier.to_string().contains("failed"), "{earlier}");
    let one = backstay.options("db").before(time("2026-11-20T02:00:00Z")).await.expect("options");
    assert_eq!((told(&one)[0].as_str(), one.options[0].loss), ("snap-2", SignedDuration::ZERO), "{one}");
}

#[tokio::test(start_paused = true)]
async fn within_the_window_any_second_loses_nothing() {
    let world = World::new(3).await;
    let platform = platform(&world)
        .restorable("users", window("2026-11-13T00:00:00Z", "2026-11-20T06:37:00Z"))
        .native_as("users", |s| s.cut_at = cut("2026-11-20T01:00:00Z"));
    let backstay = program(world.vault().await, platform);
    for (before, expected, shows, loss) in [
        ("2026-11-20T06:42:00Z", &["moment of users", "snap-1"][..], "2026-11-20T06:37:00Z", 300),
        ("2026-11-20T06:37:00Z", &["moment of users", "snap-1"], "2026-11-20T06:37:00Z", 0),
        ("2026-11-20T03:33:33Z", &["moment of users", "snap-1"], "2026-11-20T03:33:33Z", 0),
        ("2026-11-14T00:00:00Z", &["moment of users"], "2026-11-14T00:00:00Z", 0),
        ("2026-11-12T00:00:00Z", &[], "", 0),
    ] {
        let options = backstay.options("db").before(time(before)).await.expect("options");
        assert_eq!(told(&options), expected, "{before}: {options}");
        if let Some(best) = options.best() {
            assert_eq!((best.shows, best.loss), (time(shows), SignedDuration::from_secs(loss)), "{before}: {options}");
            assert!(best.key.is_none() && best.takes.is_none() && best.bytes.is_none());
        }
    }
    let newest = backstay.options("db").await.expect("options");
    assert_eq!(newest.options[0].shows, time("2026-11-20T06:37:00Z"), "{newest}");
    assert!(newest.to_string().contains("any second of users from 2026-11-13T00:00:00Z to 2026-11-20T06:37:00Z, good"));
}

#[tokio::test(start_paused = true)]
async fn a_moment_that_is_still_to_come_is_no_option() {
    let world = World::new(3).await;
    for (earliest, expected) in [("2026-11-13T00:00:00Z", Some(START)), ("2026-11-20T07:00:00Z", None)] {
        let platform = platform(&world).restorable("users", window(earliest, "2026-11-21T00:00:00Z"));
        let options = program(world.vault().await, platform).options("db").before(time("2026-11-20T18:00:00Z"));
        let options = options.await.expect("options");
        assert_eq!(options.best().map(|best| best.shows), expected.map(time), "{options}");
        assert!(options.best().is_none_or(|best| best.loss > SignedDuration::from_hours(11)), "{options}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_resource_of_several_is_not_the_component() {
    let world = World::new(3).await;
    let two = || {
        MockSnapshots::new(Arc::new(world.clock.clone()))
            .resource(volume("vol-1"))
            .resource(volume("vol-2"))
            .resource(volume("vol-2"))
            .native("vol-1")
            .native_as("vol-2", |s| s.cut_at = cut("2026-11-20T05:42:00Z"))
            .restorable("vol-2", window("2026-11-13T00:00:00Z", "2026-11-20T06:42:00Z"))
    };
    let watch = |platform, vault| watching("volumes", platform, Selector::tag("backup", "true"), vault);
    let options = watch(two(), world.vault().await).options("volumes").await.expect("options");
    assert_eq!(told(&options), ["snap-1", "moment of vol-2", "snap-2"], "{options}");
    assert!(options.best().is_none() && options.options.iter().all(|option| option.one_of == 2), "{options}");
    assert!(options.to_string().contains("snapshot snap-2 of vol-2, the platform's, good, ONE OF 2 RESOURCES"));

    // That only one is known does not make it all.
    let broken = two().fail_targets_after(1, ErrorKind::Throttled);
    let options = watch(broken, world.vault().await).options("volumes").await.expect("options");
    assert_eq!((told(&options), options.best().is_none()), (vec!["snap-1".to_owned()], true), "{options}");
    assert!(options.options[0].doubt.as_deref().is_some_and(|doubt| doubt.contains("what else")), "{options}");
    assert!(options.problems[0].contains("what backup=true means could not be asked"), "{options}");

    let none = MockSnapshots::new(Arc::new(world.clock.clone()));
    let options = watch(none, world.vault().await).options("volumes").await.expect("the vault answers");
    assert!(options.options.is_empty() && options.problems[0].contains("backup=true means no resource"), "{options}");
}

#[tokio::test(start_paused = true)]
async fn of_a_resource_that_is_gone_the_backups_are_told() {
    let world = World::new(3).await;
    let gone = MockSnapshots::new(Arc::new(world.clock.clone())).native("users");
    let backstay = program(world.vault().await, gone);
    let options = backstay.options("db").await.expect("options");
    assert_eq!((told(&options), options.best().is_some()), (vec!["snap-1".to_owned()], true), "{options}");
    assert!(options.problems[0].contains("there is no resource users, or no more"), "{options}");

    // With a part of it gone, the rest is not all of it.
    let mut both = Selector::id("users");
    both.ids.push("orders".to_owned());
    let backstay = watching("db", platform(&world).native("users"), both, world.vault().await);
    let options = backstay.options("db").await.expect("options");
    assert!(options.options.len() == 1 && options.best().is_none(), "{options}");
    assert!(options.problems[0].contains("there is no resource orders, or no more"), "{options}");

    // What is meant only if it bears a tag may be there and not be meant.
    let tagged = platform(&world).resource(volume("vol-1")).resource(Resource::new("vol-2")).native("vol-1");
    let mut selector = Selector::tag("backup", "true");
    selector.ids = vec!["vol-1".to_owned(), "vol-2".to_owned()];
    let options = watching("volumes", tagged, selector, world.vault().await).options("volumes").await.expect("options");
    assert!(options.best().is_some() && options.problems.is_empty(), "{options}");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_fails_hides_nothing_and_is_told() {
    let world = World::new(3).await;
    let two = || {
        platform(&world)
            .native("users")
            .native_as("users", |s| s.cut_at = cut("2026-11-20T05:42:00Z"))
            .restorable("users", window("2026-11-13T00:00:00Z", "2026-11-20T06:37:00Z"))
    };
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let denied = ErrorKind::Denied;
    for (platform, expected, problems) in [
        (two(), &["point", "snap-1", "moment of users", "snap-2"][..], &[][..]),
        (two().fail_targets_after(0, denied), &["point"], &["what id users means could not be asked"]),
        (two().fail_list_after("users", 0, denied), &["point", "moment of users"], &["users: its snapshots could"]),
        (two().fail_list_after("users", 1, denied), &["point", "snap-1", "moment of users"], &["users: its snapshots"]),
        (two().fail_window("users", denied), &["point", "snap-1", "snap-2"], &["users: its window could not be asked"]),
        (
            two().fail_list_after("users", 0, denied).fail_window("users", denied),
            &["point"],
            &["users: its snapshots could", "users: its window could"],
        ),
    ] {
        store.heal();
        let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), platform);
        if world.keys("points/").await.is_empty() {
            backstay.backup("daily").await.expect("a backup");
        }
        let options = backstay.options("db").await.expect("the vault answers");
        assert_eq!(told(&options), expected, "{options}");
        assert_eq!(options.problems.len(), problems.len(), "{options}");
        for (problem, expected) in options.problems.iter().zip(problems) {
            assert!(problem.starts_with(&format!("{PLACE}: {expected}")), "{problem}");
        }
        // Nor does a vault that is down hide what the platform has.
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)));
        match (backstay.options("db").await, expected.len()) {
            (Ok(options), more) if more > 1 => {
                assert_eq!(told(&options), expected[1..], "{options}");
                assert!(options.problems[0].starts_with("vault: "), "{options}");
            }
            (Err(error), 1) => assert_eq!(error.kind(), ErrorKind::Unavailable, "the first: {error}"),
            (other, _) => panic!("{expected:?}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn options_over_a_hundred_thousand_snapshots_ask_once_and_push_out_no_point() {
    let world = World::new(3).await;
    let calls = Calls::default();
    let mut many = platform(&world).record(&calls);
    for i in 0..100_000 {
        let second = time("2026-11-19T00:00:00Z").as_second() + i * 7919 % 100_000;
        many = many.native_as("users", |s| s.cut_at = Some(Timestamp::from_second(second).expect("a time")));
    }
    let backstay = program(world.vault().await, many);
    backstay.backup("daily").await.expect("a backup");
    world.clock.advance(24 * HOUR);
    let newest = time("2026-11-20T03:46:39Z");
    for (count, expected) in [(None, 20), (Some(3), 3), (Some(0), 0)] {
        let before = calls.all().len();
        let asked = backstay.options("db");
        let options = if let Some(count) = count { asked.newest(count) } else { asked }.await.expect("options");
        assert_eq!(calls.all()[before..], ["targets", "list users", "window users"]);
        let snapshots: Vec<Timestamp> =
            options.options.iter().filter(|option| option.point().is_none()).map(|option| option.shows).collect();
        let seconds = |i: i64| newest.saturating_sub(SignedDuration::from_secs(i)).expect("a time");
        assert_eq!(snapshots, (0..expected).map(seconds).collect::<Vec<_>>());
        let points = options.options.len() - snapshots.len();
        assert_eq!(points, usize::from(expected > 0), "{options}");
        assert_eq!(options.older, 100_001 - options.options.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn the_kit_says_what_is_watched_and_whom_to_ask() {
    let world = World::new(3).await;
    let backstay = watching("users-db", platform(&world), Selector::id("users"), world.vault().await);
    let kit = backstay.recovery_kit().await.expect("a page");
    assert_eq!(kit.watched, ["users-db: id users on MockSnapshots(eu-1), mock.rds in eu-1"]);
    assert!(kit.to_string().contains(&kit.watched[0]), "{kit}");
    let kit = world.backstay(&[]).await.recovery_kit().await.expect("a page");
    assert!(!serde_json::to_string(&kit).expect("JSON").contains("watched"), "nothing is");
}
