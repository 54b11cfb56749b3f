//! History: what failed, what was deleted and what was restored can be read back, and writing it down harms nothing.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::store::Operation;
use backstay::vault::{Act, History, HistoryEntry, Logged, Role};
use backstay::{Backstay, Clock, ErrorKind, Event, Keep, Name, PointId, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};
use support::pair::Pair;
use support::steps::dies_at;
use support::{World, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"what the table holds";

fn source() -> Name {
    "prod-eu".parse().expect("a name")
}

fn good() -> ExportScript {
    ExportScript::new([("secret-table", TEXT)])
}

fn dying() -> MockExporter {
    MockExporter::scripted(good().fault(ExportFault::AtEnd(ErrorKind::Unavailable)))
}

async fn listed(vault: &Vault) -> (History, Vec<HistoryEntry>) {
    let history = vault.history(source());
    let entries = history.list().await.expect("a listing");
    (history, entries)
}

/// A world with three points of which the tier keeps two.
async fn three_points() -> (World, Backstay, Vec<PointId>) {
    let world = World::new(3).await;
    let backstay = program(world.vault().await, MockExporter::scripted(good()));
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(DAY);
    }
    (world, backstay, points)
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_leaves_a_signed_end_and_a_sealed_log() {
    let world = World::new(3).await;
    let backstay = program(world.vault().await, dying());
    let error = backstay.backup("daily").await.expect_err("it fails late");
    let (history, entries) = listed(backstay.vault()).await;
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry.act, Act::Backup);
    assert!(error.to_string().contains(&entry.id.to_string()), "the run's own ID: {error}");
    let record = history.get(entry).await.expect("signed");
    assert_eq!((record.error.as_deref(), record.tier.as_ref().map(Name::as_str)), (Some("unavailable"), Some("daily")));
    assert!(record.to_string().ends_with("unavailable"), "{record}");

    let log = history.log(&record).await.expect("the key is here");
    let names: Vec<&str> = log
        .iter()
        .filter_map(|line| if let Logged::Event(event) = &line.what { Some(event.name()) } else { None })
        .collect();
    assert_eq!(names, ["backup_started", "item_done", "component_done", "backup_failed"]);
    assert!(matches!(&log[1].what, Logged::Event(Event::ItemDone { item, .. }) if item == "secret-table"));
    assert!(matches!(&log[4].what, Logged::Error(text) if text.contains("no component could be exported")), "{log:?}");

    // Without the key neither item names nor the error's text are seen.
    for key in world.keys("history/").await {
        let stored = world.read(&key).await;
        let text = String::from_utf8_lossy(&stored);
        assert!(!text.contains("secret-table") && !text.contains("exported"), "{key}");
    }
    let reader = Vault::open_read_only(world.store.clone()).trust(world.keyring.allowed_signers().clone());
    let reader = reader.build().await.expect("it opens").history(source());
    let record = reader.get(entry).await.expect("the end can be read");
    assert_eq!(reader.log(&record).await.expect_err("the log cannot").kind(), ErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn prunes_and_restores_are_written_down_and_what_changed_nothing_is_not() {
    let (world, backstay, points) = three_points().await;
    assert!(listed(backstay.vault()).await.1.is_empty(), "a good backup has its point");
    let prune = || async { backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies") };
    prune().await;
    prune().await;
    assert_eq!(listed(backstay.vault()).await.1.len(), 1, "the second one only waits");
    world.clock.advance(DAY * 2);
    let freed = prune().await.bytes;
    world.clock.advance(DAY);
    restored(backstay.vault(), &points[2]).await.expect("whole");

    let (history, entries) = listed(backstay.vault()).await;
    let acts: Vec<Act> = entries.iter().map(|entry| entry.act).collect();
    assert_eq!(acts, [Act::Prune, Act::Prune, Act::Restore]);
    let deleted = history.get(&entries[1]).await.expect("signed");
    assert_eq!((deleted.bytes, deleted.error.clone()), (freed, None));
    let log = history.log(&deleted).await.expect("a log");
    assert!(matches!(&log[0].what, Logged::Event(Event::Deleted { point, .. }) if *point == points[0]), "{log:?}");
    let restore = history.get(&entries[2]).await.expect("signed");
    assert_eq!((restore.bytes, restore.point.as_ref()), (TEXT.len() as u64, Some(&points[2])));
    let log = history.log(&restore).await.expect("a log");
    let done = |line: &backstay::vault::LogLine| matches!(&line.what, Logged::Event(Event::RestoreDone { bytes, error: None, .. }) if *bytes == TEXT.len() as u64);
    assert!(log.iter().any(done), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restorer_who_may_not_write_restores_and_leaves_nothing() {
    let (world, _, points) = three_points().await;
    let reader = Vault::open_read_only(world.store.clone())
        .trust(world.keyring.allowed_signers().clone())
        .unlock_with(world.keyring.custodian().clone())
        .build()
        .await
        .expect("it opens");
    restored(&reader, &points[0]).await.expect("whole");
    assert!(listed(&reader).await.1.is_empty());
}

/// Everything in history/ is a signed record or sealed.
fn assert_nothing_plain(keys: &[String]) {
    let plain: Vec<_> = keys.iter().filter(|key| !key.ends_with(".json") && !key.ends_with(".age")).collect();
    assert!(plain.is_empty(), "written in plain: {plain:?}");
}

#[tokio::test(start_paused = true)]
async fn who_knows_no_epoch_leaves_a_record_and_no_log() {
    let (world, _, points) = three_points().await;
    let mut keyring = (*world.keyring).clone();
    let keys = keyring.issue(Role::Pruner, &"night".parse().expect("a name")).expect("issued");
    let open = || Vault::open_as(Role::Pruner, world.store.clone()).clock(world.clock.clone()).budget(inline_budget());
    let pruner = async |vault: Vault| {
        let tier = Tier::new("daily").covers(["db"]).keep(Keep::last(2));
        let backstay = Backstay::builder("prod-eu", vault).tier(tier).build().expect("well formed");
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies")
    };
    let blind = open()
        .id(keys.vault_id().clone())
        .trust(keyring.allowed_signers().clone())
        .sign_with(keys.signing_key().expect("it signs").clone());
    assert_eq!(pruner(blind.build().await.expect("it opens")).await.tombstoned, points[..1]);
    assert_nothing_plain(&world.keys("history/").await);
    let reader = Vault::open_read_only(world.store.clone()).trust(keyring.allowed_signers().clone());
    let reader = reader.unlock_with(keyring.custodian().clone()).build().await.expect("it opens");
    let (history, entries) = listed(&reader).await;
    let record = history.get(&entries[0]).await.expect("the end is signed");
    assert_eq!((record.entry.act, &record.log, &record.epoch, record.error.as_ref()), (Act::Prune, &None, &None, None));
    let error = history.log(&record).await.expect_err("there is none");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("epoch"), "{error}");

    // With the keys that a keyring issues its log is sealed, and a custodian reads it.
    world.clock.advance(DAY * 2);
    pruner(open().keys(&keys).build().await.expect("it opens")).await;
    assert_nothing_plain(&world.keys("history/").await);
    let (history, entries) = listed(&reader).await;
    let record = history.get(&entries[1]).await.expect("signed");
    let log = history.log(&record).await.expect("a sealed log");
    assert!(matches!(&log[0].what, Logged::Event(Event::Deleted { point, .. }) if *point == points[0]), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_opened_without_an_epoch_gets_no_plain_log() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    pair.replicate().await;
    let vault = Vault::open(pair.store.clone())
        .id(pair.keyring.vault_id().clone())
        .trust(pair.keyring.allowed_signers().clone())
        .sign_with(pair.keyring.signing_key().clone())
        .unlock_with(pair.world.keyring.custodian().clone())
        .origin(pair.world.keyring.vault_id().clone(), pair.world.keyring.allowed_signers())
        .clock(pair.world.clock.clone())
        .budget(inline_budget());
    let vault = vault.build().await.expect("it opens");
    let tier = Tier::new("daily").keep(Keep::last(2));
    let backstay = Backstay::builder("prod-eu", vault.clone()).tier(tier).build().expect("well formed");
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies");
    restored(&vault, &points[2]).await.expect("whole");
    assert_nothing_plain(&pair.keys("history/").await);
    assert_eq!(listed(&vault).await.1.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_unencrypted_by_choice_has_plain_logs() {
    let (world, _, points) = three_points().await;
    let vault = Vault::open(world.store.clone()).keyring(&world.keyring).danger_unencrypted();
    let vault = vault.clock(world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
    restored(&vault, &points[2]).await.expect("whole");
    let (history, entries) = listed(&vault).await;
    let record = history.get(&entries[0]).await.expect("signed");
    assert!(!history.log(&record).await.expect("a log").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_writer_needs_to_list_and_to_create_for_it_and_nothing_else() {
    let world = World::new(3).await;
    let denied = Rule::new(Fault::FailBefore(ErrorKind::Denied));
    let writes = [Operation::Put, Operation::Upload, Operation::Part, Operation::Complete];
    let store = FaultyStore::new(Arc::new(world.store.clone()))
        .with(denied.clone().overwrites())
        .with(denied.except(writes.into_iter().chain([Operation::List, Operation::Now])));
    program(world.open(store, 5).await.expect("it opens"), dying()).backup("daily").await.expect_err("it fails late");
    let (history, entries) = listed(&world.vault().await).await;
    let record = history.get(&entries[0]).await.expect("signed");
    assert!(!history.log(&record).await.expect("a log").is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_act_fails_or_changes_because_its_history_cannot_be_written() {
    for fault in [Fault::FailBefore(ErrorKind::Denied), Fault::FailAfter(ErrorKind::Unavailable), Fault::Hang] {
        for k in 1..=4 {
            let (world, _, points) = three_points().await;
            let rule = || Rule::new(fault.clone()).on([Operation::Put, Operation::Upload, Operation::List]).nth(k);
            let store = FaultyStore::new(Arc::new(world.store.clone()))
                .with(rule().under("history/"))
                .with(rule().under("sigs/prod-eu/history/"));
            let backstay = program(world.open(store, 5).await.expect("it opens"), dying());
            let began = world.clock.monotonic();
            let error = backstay.backup("daily").await.expect_err("it fails late");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?} {k}: {error}");
            assert!(error.to_string().contains("no component could be exported"), "{fault:?} {k}: {error}");
            let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies");
            assert_eq!(report.tombstoned, points[..1], "{fault:?} {k}");
            restored(backstay.vault(), &points[1]).await.expect("whole");
            let took = world.clock.monotonic() - began;
            assert!(took <= 3 * Duration::from_secs(60), "{fault:?} {k}: three acts waited {took:?} for their history");
            check_whole(&world, &format!("{fault:?} {k}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_program_that_dies_at_any_store_call_leaves_is_whole_or_absent() {
    for lost_answer in [false, true] {
        for k in 1.. {
            let (world, _, points) = three_points().await;
            let store = FaultyStore::new(Arc::new(world.store.clone()));
            let backstay = program(world.open(store.clone(), 5).await.expect("it opens"), dying());
            store.reset_calls();
            dies_at(&store, k, lost_answer);
            backstay.backup("daily").await.expect_err("it fails anyway");
            let pruned = async { backstay.prune("daily").plan().await?.apply().await };
            let all_well = pruned.await.is_ok() & restored(backstay.vault(), &points[1]).await.is_ok();
            check_whole(&world, &format!("call {k}, lost answer: {lost_answer}")).await;
            if all_well && store.all_calls() < k {
                assert_eq!(listed(&world.vault().await).await.1.len(), 3);
                break;
            }
        }
    }
}

/// Every record that stands is signed and its log opens: the log comes first.
async fn check_whole(world: &World, place: &str) {
    let (history, entries) = listed(&world.vault().await).await;
    for entry in &entries {
        let record = history.get(entry).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        history.log(&record).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_trusted_signed_or_that_was_moved_says_nothing() {
    let world = World::new(3).await;
    let backstay = program(world.vault().await, dying());
    backstay.backup("daily").await.expect_err("it fails late");
    world.clock.advance(DAY);
    backstay.backup("daily").await.expect_err("it fails late");
    let (history, entries) = listed(backstay.vault()).await;
    let [first, second] = [&entries[0], &entries[1]].map(|entry| format!("history/prod-eu/{}.backup.json", entry.id));
    let signature = world.keys(&format!("sigs/prod-eu/history/{}.", entries[0].id)).await.remove(0);
    let moved = signature.replace(&entries[0].id.to_string(), &entries[1].id.to_string());
    world.overwrite(&second, world.read(&first).await).await;
    world.overwrite(&moved, world.read(&signature).await).await;
    let error = history.get(&entries[1]).await.expect_err("signed for another place");
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    assert!(error.to_string().contains("another place"), "{error}");
    world.overwrite(&second, "{}").await;
    assert_eq!(history.get(&entries[1]).await.expect_err("unsigned").kind(), ErrorKind::Untrusted);
    // Signed by who may, and each word of its place is another's.
    let good = world.json(&first).await;
    let place = format!("sigs/prod-eu/history/{}.backup", entries[0].id);
    let mut other_log = good["log"].clone();
    other_log["key"] = serde_json::json!(world.keys(&format!("history/prod-eu/{}.", entries[1].id)).await[0]);
    for (field, value) in [
        ("vault", serde_json::json!("a".repeat(26))),
        ("source", serde_json::json!("prod-us")),
        ("id", serde_json::json!(entries[1].id)),
        ("act", serde_json::json!("prune")),
        ("log", other_log),
    ] {
        let mut changed = good.clone();
        changed[field] = value;
        world.put_signed(&first, &place, backstay::vault::Purpose::History, &changed).await;
        let error = history.get(&entries[0]).await.expect_err(field);
        assert!(
            error.kind() == ErrorKind::Untrusted && error.to_string().contains("another place"),
            "{field}: {error}"
        );
    }
    world.put_signed(&first, &place, backstay::vault::Purpose::History, &good).await;
    history.get(&entries[0]).await.expect("its own");
}
