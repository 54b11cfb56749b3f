//! Three in the morning: what can serve, what is known of a point, and the page in the safe.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::RecoveryOptions;
use backstay::store::Operation;
use backstay::vault::Outcome;
use backstay::{Backstay, ErrorKind, Keep, PointId, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter, MockHook, MockImporter};
use jiff::{SignedDuration, Timestamp};
use support::archived::Archived;
use support::{World, exporter, hundred_thousand_plants, program};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"what the table holds";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

async fn nights(world: &World, backstay: &Backstay, count: usize) -> Vec<PointId> {
    let mut points = Vec::new();
    for _ in 0..count {
        points.push(backstay.backup("daily").allow_partial().await.expect("a backup").id);
        world.clock.advance(DAY);
    }
    points
}

fn shown(options: &RecoveryOptions) -> Vec<PointId> {
    options.options.iter().filter_map(|option| option.point().cloned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_point_that_could_serve_is_told_with_what_it_loses_and_what_speaks_against_it() {
    let world = World::new(3).await;
    let script = |bytes: usize| ExportScript::new([("rows", vec![b'x'; bytes])]).identity("system-1");
    let nights_of_db = MockExporter::scripted(script(1000))
        .then(script(1000))
        .then(script(1000).problem("a row", "it was locked"))
        .then(script(1000).fault(ExportFault::AtEnd(ErrorKind::Denied)))
        .then(script(1000))
        .then(script(10));
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", nights_of_db)
        .export("files", exporter(&[("tree", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .build()
        .expect("well formed");
    let points = nights(&world, &backstay, 6).await;
    let vault = backstay.vault();
    vault.hold(&points[1], &"audit".parse().expect("a name"), "the auditors want it").await.expect("held");

    let asked = time("2026-11-26T00:00:00Z");
    let options = backstay.options("db").before(asked).await.expect("options");
    // Night 3 has nothing of it.
    let expected: Vec<PointId> = [5, 4, 2, 1, 0].iter().map(|i: &usize| points[*i].clone()).collect();
    assert_eq!(shown(&options), expected, "{options}");
    let [small, good, torn, held, _] = &options.options[..] else { panic!("{options}") };
    assert!(small.doubt.as_deref().is_some_and(|doubt| doubt.contains("db has 10 bytes")), "{options}");
    assert_eq!(good.loss, SignedDuration::from_secs(17 * 3600 + 18 * 60 + 24 * 3600), "{options}");
    assert!(
        good.is_good() && good.key == Some(true) && !good.thaw && good.bytes == Some(1000) && good.stored > Some(0),
        "{options}"
    );
    assert_eq!(torn.outcome, Outcome::Incomplete);
    assert!(held.held.as_deref().is_some_and(|held| held.contains("the auditors want it")), "{options}");
    assert_eq!(options.best().and_then(|best| best.point()), Some(&points[4]), "{options}");
    let text = options.to_string();
    assert!(text.contains("DOUBTFUL") && text.contains("incomplete") && text.contains("unknown"), "{text}");

    // What is later than the moment asked for cannot show it.
    let earlier = backstay.options("db").before(points[1].run.time()).await.expect("options");
    assert_eq!(shown(&earlier), [points[1].clone(), points[0].clone()]);
    assert_eq!(earlier.options[0].loss, SignedDuration::ZERO);
    let nothing = backstay.options("db").before(time("2020-01-01T00:00:00Z")).await.expect("none");
    assert!(nothing.best().is_none() && nothing.to_string().contains("nothing can serve"));
    let few = backstay.options("db").newest(2).await.expect("options");
    assert_eq!((few.options.len(), few.older), (2, 4), "{few}");

    let json = serde_json::to_string(&options).expect("JSON");
    let read: RecoveryOptions = serde_json::from_str(&json).expect("the same");
    assert_eq!(read.to_string(), text);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_thawed_is_told_and_is_never_the_best() {
    let world = World::new(3).await;
    let backstay = program(world.vault().await, exporter(&[("rows", TEXT)]));
    let points = nights(&world, &backstay, 2).await;
    let archived = Archived { store: world.store.clone(), before: points[1].run.time() };
    let backstay = program(world.open(archived.clone(), 5).await.expect("it opens"), exporter(&[]));

    let options = backstay.options("db").await.expect("options");
    let thaw: Vec<bool> = options.options.iter().map(|option| option.thaw).collect();
    assert_eq!((shown(&options), thaw), (vec![points[1].clone(), points[0].clone()], vec![false, true]), "{options}");
    assert_eq!(options.best().and_then(|best| best.point()), Some(&points[1]), "{options}");
    assert!(options.to_string().contains("must be thawed"), "{options}");
    let early = backstay.options("db").before(points[0].run.time()).await.expect("options");
    assert!(early.options.len() == 1 && early.best().is_none(), "{early}");

    // Whoever restores it all the same is told by the store what to do first.
    let error = support::restored(backstay.vault(), &points[0]).await.expect_err("it cannot be read");
    assert!(error.kind() == ErrorKind::Archived && error.to_string().contains("thaw"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn deletion_key_and_speed_are_told() {
    let world = World::new(3).await;
    let backstay = program(world.vault().await, exporter(&[("rows", &[b'x'; 1000])]));
    let points = nights(&world, &backstay, 3).await;
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    // The store takes five seconds for an item, and its clock is the program's.
    let slow = FaultyStore::new(Arc::new(world.store.clone()))
        .with_clock(Arc::new(world.clock.clone()))
        .with(Rule::new(Fault::Delay(Duration::from_secs(5))).on([Operation::Get]).under("items/"));
    let vault = world.open(slow, 5).await.expect("it opens");
    let plan = vault.restore(&points[2]).component("db").into(MockImporter::default()).plan().await.expect("a plan");
    plan.apply().await.expect("whole");
    let record = {
        let history = vault.history("prod-eu".parse().expect("a name"));
        let entry = history.list().await.expect("a listing").pop().expect("the restore");
        history.get(&entry).await.expect("signed")
    };
    assert_eq!((record.bytes, record.took), (1000, Duration::from_secs(5)), "{record}");
    let options = backstay.options("db").await.expect("options");
    assert_eq!(options.options[0].takes, Some(Duration::from_secs(5)), "{options}");
    let dying = &options.options[2];
    assert!(dying.goes.is_some() && !dying.is_good() && options.to_string().contains("being deleted"), "{options}");

    let blind = Vault::open(world.store.clone())
        .id(world.keyring.vault_id().clone())
        .encrypt_to(world.keyring.epoch().clone())
        .trust(world.keyring.allowed_signers().clone())
        .sign_with(world.keyring.signing_key().clone())
        .clock(world.clock.clone());
    let blind = program(blind.build().await.expect("it opens"), exporter(&[]));
    let options = blind.options("db").await.expect("options");
    assert!(options.best().is_none() && options.to_string().contains("NO KEY"), "{options}");
    let explained = blind.explain(&points[2]).await.expect("an explanation");
    assert!(!explained.key && explained.configuration.is_none(), "{explained}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_down_does_not_hide_the_others() {
    let world = World::new(3).await;
    let down = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world.open(down.clone(), 5).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let points = nights(&world, &backstay, 2).await;
    let replica = world.vault().await;
    let both = backstay.options("db").place("dr", replica.clone()).await.expect("options");
    assert_eq!(both.options.len(), 4);
    down.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)));
    let options = backstay.options("db").place("dr", replica).await.expect("the replica answers");
    assert_eq!(options.best().map(|best| (&*best.place, best.point())), Some(("dr", Some(&points[1]))), "{options}");
    assert!(options.problems.len() == 1 && options.problems[0].starts_with("vault: "), "{options}");
    assert_eq!(backstay.options("db").await.expect_err("nothing answers").kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn options_over_a_hundred_thousand_points_list_and_read_few() {
    let world = hundred_thousand_plants().await;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), exporter(&[("rows", TEXT)]));
    let points = nights(&world, &backstay, 70).await;
    store.reset_calls();
    let options = backstay.options("db").await.expect("options");
    assert_eq!(options.options.len(), 20);
    assert_eq!((options.options[0].point(), options.older), (Some(&points[69]), 100_050));
    let (lists, gets) = (store.calls(Operation::List), store.calls(Operation::Get));
    // The tier, the tiers and the history; of each point its signature, its items and its details, and for the comparison
    // five more and one at each doubling, which are plants here; the key once.
    assert!(gets <= 2 * 25 + 17 + 1 && lists <= 5 + 3 * 20 + 5 + 3 * 17, "{gets} reads, {lists} lists");

    store.reset_calls();
    let nothing = backstay.options("never").await.expect("none");
    assert!(nothing.options.is_empty() && nothing.older > 99_000);
    assert!(store.calls(Operation::Get) <= 2 * 64, "{} reads", store.calls(Operation::Get));
}

#[tokio::test(start_paused = true)]
async fn a_point_is_explained_in_words() {
    let world = World::new(3).await;
    let script = ExportScript::new([("rows", TEXT)]).identity("system-1").problem("a row", "it was locked");
    let script = script.note("no rows of: logs").fact("databases", "orders");
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", MockExporter::scripted(script))
        .hook(["db"], MockHook::new("freeze"))
        .tier(Tier::new("daily").keep(Keep::daily(7)).rpo(jiff::ToSpan::hours(25)))
        .build()
        .expect("well formed");
    let id = backstay.backup("daily").only(["db"]).label("why", "before 4.2").allow_partial().await.expect("made").id;
    world.clock.advance(HOUR);
    let vault = backstay.vault();
    vault.hold(&id, &"audit".parse().expect("a name"), "the auditors want it").await.expect("held");
    world.overwrite(&format!("points/{id}.accepted"), "{}").await;
    let explained = backstay.explain(&id).await.expect("an explanation");
    let text = explained.to_string();
    for expected in [
        "partial, signed by keyring",
        "the store took it in at 2026-11-20T06:42:00Z",
        "component db (mock): incomplete, 20 bytes",
        "of system-1",
        "missing or torn: db: a row: it was locked",
        "note: db: no rows of: logs",
        "db tells: {\"databases\":\"orders\"}",
        "label why: before 4.2",
        &format!("sealed to {}, which an identity given opens", world.keyring.epoch().name),
        "hold-audit by keyring at 2026-11-20T07:42:00Z: the auditors want it",
        "retention: keep",
        "proofs: none",
        "accepted does not count",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in {text}");
    }
    // The configuration is whole: what protected it, around it, how long it stays, what was allowed.
    let configuration = explained.configuration.expect("the key is here").to_string();
    for expected in
        ["\"hooks\":[\"freeze\"]", "\"daily\":7", "\"rpo\":\"25h\"", "longest_run", "only db", "exporter", "host"]
    {
        assert!(configuration.contains(expected), "{expected:?} is missing in {configuration}");
    }
    let missing =
        vault.explain(&format!("prod-eu/daily/{}", "20200101t000000z-abcdefgh").parse().expect("an ID")).await;
    assert_eq!(missing.expect_err("no such point").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn the_kit_says_everything_but_secrets() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    backstay.backup("daily").await.expect("a backup");
    let custodian = world.keyring.custodian();
    backstay.vault().check_custodian(world.keyring.custodian_name(), custodian).await.expect("it opens");
    let kit = backstay.recovery_kit().keys_at("keyring", "the safe of the Berlin office").await.expect("a page");
    let (page, json) = (kit.to_string(), serde_json::to_string(&kit).expect("JSON"));
    for expected in [
        world.keyring.vault_id().to_string(),
        world.keyring.signing_key().public().fingerprint(),
        world.keyring.allowed_signers().to_string(),
        format!("keyring opens {}, proved at 2026-11-20T06:42:00Z", world.keyring.epoch().name),
        "the safe of the Berlin office".to_owned(),
        world.store.to_string(),
        "age --decrypt".to_owned(),
    ] {
        assert!(page.contains(&expected), "{expected:?} is missing in {page}");
    }
    // The commands are those that a test runs.
    let format = include_str!("../FORMAT.md");
    let commands = format.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
    assert!(page.contains(commands), "FORMAT.md has other commands");

    let secrets = [
        custodian.to_text(),
        world.keyring.signing_key().to_openssh("", &backstay::SystemRandom),
        world.keyring.unlock().expect("it opens").to_text(),
    ];
    let long = |line: &&str| line.len() > 40 && !line.starts_with('#');
    let lines = secrets.iter().flat_map(|secret| secret.expose().lines().filter(long));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.len() > 5);
    assert!(lines.iter().all(|line| !page.contains(line) && !json.contains(line)), "a secret is on the page");
    assert!(!page.contains("AGE-SECRET-KEY") && !json.contains("AGE-SECRET-KEY"));
}
