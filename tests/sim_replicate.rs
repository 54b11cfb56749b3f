//! A second vault: what it holds restores when the first is lost, and nothing bad at the first gets into it.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::store::Operation;
use backstay::vault::{AllowedSigner, AllowedSigners, Purpose, SigningKey};
use backstay::{Backstay, BackupReport, ErrorKind, Keep, PointId, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{ExportScript, MockExporter};
use backstay_testkit::{EventLog, ManualClock, SeededRandom};
use support::pair::Pair;
use support::{exporter, inline_budget, program, restored, signature_key};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

#[tokio::test(start_paused = true)]
async fn the_replica_alone_restores_what_the_lost_vault_held() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    // A month passes before the first copy: the origin's time counts, so no point is doubtful for its age.
    pair.world.clock.advance(30 * DAY);
    let report = pair.replicate().await;
    assert_eq!(report.copied, points.iter().rev().cloned().collect::<Vec<_>>(), "newest first");
    for key in pair.world.keys("").await {
        pair.world.remove(&key).await;
    }
    let left = pair.left().await;
    assert_eq!(left.points().latest("db").await.expect("the newest").id, points[2]);
    for id in &points {
        assert_eq!(restored(&left, id).await.expect("it restores")[0].1, TEXT);
        left.verify(id).depth(backstay::Depth::Decoded).await.expect("whole");
    }
    let listed = left.points().list(&points[0].source, &points[0].tier).await.expect("a listing");
    assert_eq!(listed, points);
}

/// The origin is emptied, or its marker is gone too, while a deletion is due at the replica: what stays there stays.
#[tokio::test(start_paused = true)]
async fn a_lost_origin_takes_nothing_of_the_replica_with_it() {
    for marker_too in [false, true] {
        let (pair, points) = Pair::with_points(1, 3, TEXT).await;
        pair.replicate().await;
        let pruner = pair.pruner(pair.store.clone()).await.expect("well formed");
        pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        pair.world.clock.advance(2 * DAY);
        let program = pair.program(pair.replica(pair.store.clone()).await.expect("it opens")).await;
        for key in pair.world.keys("").await.iter().filter(|key| marker_too || !key.starts_with("backstay-1")) {
            pair.world.remove(key).await;
        }
        // The replicator finds nothing, and deletes nothing.
        let before = pair.keys("").await;
        match pair.copy(pair.world.store.clone(), pair.store.clone()).await {
            Ok(report) => assert!(!marker_too && report.copied.is_empty(), "{report:?}"),
            Err(error) => assert!(marker_too && error.kind() == ErrorKind::NotFound, "{error}"),
        }
        assert_eq!(pair.keys("").await, before);
        program.prune("daily").plan().await.expect_err("nothing is left to prune");
        assert_eq!(pair.keys("").await, before);
        // What was due goes by the replica's own plan, the newest never, however few they are.
        let report = pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("it goes");
        assert_eq!(report.deleted, points[..1]);
        let last = Backstay::builder("prod-eu", pair.replica(pair.store.clone()).await.expect("it opens"));
        let last = last.tier(Tier::new("daily").keep(Keep::last(1))).build().expect("well formed");
        for _ in 0..2 {
            last.prune("daily").plan().await.expect("a plan").apply().await.expect("it works");
            pair.world.clock.advance(2 * DAY);
        }
        let left = pair.left().await;
        let listed = left.points().list(&points[0].source, &points[0].tier).await.expect("a listing");
        assert_eq!(listed, points[2..]);
        assert_eq!(restored(&left, &points[2]).await.expect("it restores")[0].1, TEXT);
        assert_eq!(program.vault().points().latest("db").await.expect("in the replica").id, points[2]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_not_sent_again() {
    let (pair, _) = Pair::with_points(1, 3, TEXT).await;
    let (from, to) =
        (FaultyStore::new(Arc::new(pair.world.store.clone())), FaultyStore::new(Arc::new(pair.store.clone())));
    let first = pair.copy(from.clone(), to.clone()).await.expect("copied");
    assert_eq!((first.copied.len(), first.keys), (3, 1));
    assert!(first.bytes > 0);
    from.reset_calls();
    to.reset_calls();
    let again = pair.copy(from.clone(), to.clone()).await.expect("nothing to do");
    assert_eq!((again.copied.len(), again.bytes, again.keys), (0, 0, 0));
    assert_eq!(from.calls(Operation::Get), 2, "the marker, and a sealed key");
    assert_eq!(to.calls(Operation::Put), 1, "the probe");
    // A custodian who comes later is one small file more.
    let paper = backstay::vault::Identity::generate(&SeededRandom::new(9));
    pair.world.vault().await.add_custodian(&"paper".parse().expect("a name"), paper.recipient()).await.expect("added");
    assert_eq!(pair.replicate().await.keys, 1);
}

#[tokio::test(start_paused = true)]
async fn retention_is_the_replicas_own_and_no_mark_travels() {
    let (pair, points) = Pair::with_points(1, 4, TEXT).await;
    let vault = pair.world.vault().await;
    vault.hold(&points[3], &"audit".parse().expect("a name"), "the auditors want it").await.expect("held");
    let replicator = || async {
        let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
        Replicator::new(origin, pair.replica(pair.store.clone()).await.expect("it opens")).keep("daily", Keep::last(3))
    };
    let plan = replicator().await.plan().await.expect("a plan");
    assert_eq!((plan.steps.len(), plan.unwanted), (3, 1), "{plan}");
    let text = serde_json::to_string(&*plan).expect("it can be stored");
    assert!(text.contains("last 1 of 3"), "{text}");
    plan.apply().await.expect("copied");
    // The origin lets two go; the replica, by a retention of its own, one.
    let here = program(vault, exporter(&[]));
    here.prune("daily").plan().await.expect("a plan").apply().await.expect("tombstones");
    pair.replicate().await;
    let marks = |keys: Vec<String>| keys.into_iter().filter(|key| !key.ends_with(".json")).count();
    assert_eq!(marks(pair.keys("points/").await), 0);
    assert!(marks(pair.world.keys("points/").await) >= 2);
    let there = pair.pruner(pair.store.clone()).await.expect("well formed");
    for _ in 0..2 {
        there.prune("daily").plan().await.expect("a plan").apply().await.expect("it works");
        pair.world.clock.advance(2 * DAY);
    }
    let kept = pair.left().await.points().list(&points[0].source, &points[0].tier).await.expect("a listing");
    assert_eq!(kept, points[2..]);
    let gone = pair.keys("").await.into_iter().filter(|key| key.contains(&points[1].run.to_string())).count();
    assert_eq!(gone, 0, "its copy record went too");
    // What the replica let go does not come back.
    let plan = replicator().await.keep("daily", Keep::last(2)).plan().await.expect("a plan");
    assert_eq!(plan.steps.len(), 0, "{plan}");
    // It is no place for backups.
    let error = there.backup("daily").await.expect_err("a replica");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_point_that_may_be_partial_or_doubtful_is_told_so_at_the_replica_too() {
    let pair = Pair::new(1).await;
    let script = ExportScript::new([("rows", TEXT)]).problem("a row", "it was locked");
    let partial = program(pair.world.vault().await, MockExporter::scripted(script));
    let partial = partial.backup("daily").allow_partial().await.expect("allowed").id;
    // A host whose clock is three days ahead.
    let ahead = ManualClock::at("2026-11-23T06:42:00Z");
    let vault = Vault::open(pair.world.store.clone())
        .keyring(&pair.world.keyring)
        .clock(ahead)
        .random(SeededRandom::new(70))
        .budget(inline_budget())
        .build()
        .await
        .expect("it opens");
    let doubtful = program(vault, exporter(&[("rows", TEXT)])).backup("daily").await.expect_err("its clock is wrong");
    let doubtful = doubtful.payload::<BackupReport>().expect("a point all the same").id.clone();
    pair.world.clock.advance(10 * DAY);
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    let plan = Replicator::new(origin, here).plan().await.expect("a plan");
    assert!(plan.left.len() == 1 && plan.left[0].what == doubtful.to_string(), "{plan}");
    assert!(plan.left[0].why.starts_with("doubtful: its ID says"), "{plan}");
    let report = plan.apply().await.expect("copied");
    assert_eq!(
        report.copied,
        std::slice::from_ref(&partial),
        "by now its ID is no longer in the future, and still it waits"
    );
    assert!(pair.keys("points/").await.contains(&format!("points/{partial}.partial")));
    pair.world.vault().await.accept(&doubtful, "the clock was wrong").await.expect("accepted");
    assert_eq!(pair.replicate().await.copied, std::slice::from_ref(&doubtful));
}

#[tokio::test(start_paused = true)]
async fn only_a_true_copy_record_takes_a_doubt_away() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let id = &points[0];
    pair.world.clock.advance(30 * DAY);
    pair.replicate().await;
    let (origin, own) = (pair.world.keyring.vault_id(), pair.keyring.vault_id());
    let record = format!("copies/{id}.{origin}.json");
    let place = format!("sigs/{id}.copy-{origin}");
    let good: serde_json::Value = serde_json::from_slice(&pair.read(&record).await).expect("JSON");
    assert_eq!(good["vault"], own.as_str());
    let changed = |field: &str, value: &str| {
        let mut changed = good.clone();
        changed[field] = value.into();
        serde_json::to_vec_pretty(&changed).expect("JSON")
    };
    let text = serde_json::to_vec_pretty(&good).expect("JSON");
    let (copier, writer) = (pair.keyring.signing_key(), pair.world.keyring.signing_key());
    let stranger = SigningKey::generate(&SeededRandom::new(3));
    let namespace = Purpose::Copy.namespace();
    let mut half = good.clone();
    half["complete"] = false.into();
    let half = serde_json::to_vec_pretty(&half).expect("JSON");
    let cases: [(&str, Vec<u8>, &SigningKey, &str); 8] = [
        ("of a copy that was not complete", half, copier, namespace),
        ("by a stranger", text.clone(), &stranger, namespace),
        ("by the origin's writer", text.clone(), writer, namespace),
        ("for another purpose", text.clone(), copier, "backstay-proof-v1"),
        ("for another vault", changed("vault", origin.as_str()), copier, namespace),
        ("from another origin", changed("origin", own.as_str()), copier, namespace),
        ("for another point", changed("point", &id.to_string().replace("daily", "hourly")), copier, namespace),
        ("younger than the copy", changed("last_modified", "2027-06-01T00:00:00Z"), copier, namespace),
    ];
    for key in pair.keys("sigs/").await.into_iter().filter(|key| key.contains(".copy-")) {
        pair.remove(&key).await;
    }
    for (what, bytes, key, namespace) in cases {
        let signature = signature_key(&place, &bytes, &key.public().id());
        pair.overwrite(&signature, key.sign(namespace, &bytes)).await;
        pair.overwrite(&record, bytes).await;
        let error = pair.left().await.points().latest("db").await.map(drop).expect_err(what);
        assert_eq!(error.context("doubtful"), Some("1"), "{what}: {error}");
        pair.remove(&signature).await;
    }
    pair.overwrite(&signature_key(&place, &text, &copier.public().id()), copier.sign(namespace, &text)).await;
    pair.overwrite(&record, text).await;
    assert_eq!(pair.left().await.points().latest("db").await.expect("sure again").id, *id);
}

/// A signer's line may end; what was taken in before is good for ever, in the replica too.
#[tokio::test(start_paused = true)]
async fn a_key_that_was_good_when_the_origin_took_the_point_in_is_good_at_the_replica() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    pair.world.clock.advance(3 * DAY);
    let mut line = AllowedSigner::new("backup", pair.world.keyring.signing_key().public());
    line.valid_before = Some("2026-11-21T00:00:00Z".parse().expect("a time"));
    let mut signers = AllowedSigners::default();
    signers.add(line).expect("a line");
    let open = |builder: backstay::vault::VaultBuilder| builder.clock(pair.world.clock.clone()).budget(inline_budget());
    let copy = || async {
        let origin = open(Vault::open_read_only(pair.world.store.clone())).trust(signers.clone()).build().await?;
        let replica = open(Vault::open(pair.store.clone()))
            .keyring(&pair.keyring)
            .origin(pair.world.keyring.vault_id().clone(), &signers)
            .build()
            .await?;
        Ok::<_, backstay::Error>((Replicator::new(origin, replica.clone()).plan().await?.apply().await?, replica))
    };
    let (report, replica) = copy().await.expect("it was good then");
    assert_eq!(report.copied, points);
    replica.points().get(&points[0]).await.expect("it counts");
    // Signed by the same key after its end: the origin refuses it, and so it is not copied.
    program(pair.world.vault().await, exporter(&[("rows", TEXT)])).backup("daily").await.expect("a backup");
    let (report, replica) = copy().await.expect("nothing to copy");
    assert_eq!(report.copied, []);
    // Without the copy record the store's time counts, and that is too late.
    let (origin, id) = (pair.world.keyring.vault_id(), &points[0]);
    let key = format!("copies/{id}.{origin}.json");
    let mut record: serde_json::Value = serde_json::from_slice(&pair.read(&key).await).expect("JSON");
    pair.remove(&key).await;
    assert_eq!(replica.points().get(&points[0]).await.expect_err("too late").kind(), ErrorKind::Untrusted);
    // Nor does a record help that is about another manifest.
    record["manifest"] = "00".repeat(32).into();
    let (bytes, copier) = (serde_json::to_vec_pretty(&record).expect("JSON"), pair.keyring.signing_key());
    let signature = signature_key(&format!("sigs/{id}.copy-{origin}"), &bytes, &copier.public().id());
    pair.overwrite(&signature, copier.sign(Purpose::Copy.namespace(), &bytes)).await;
    pair.overwrite(&key, bytes).await;
    assert_eq!(replica.points().get(id).await.expect_err("another").kind(), ErrorKind::Untrusted);
}

#[tokio::test(start_paused = true)]
async fn damage_and_forgery_at_the_origin_are_reported_and_never_copied() {
    let (pair, points) = Pair::with_points(1, 5, &[7; 100_000]).await;
    let world = &pair.world;
    let items = |id: &PointId| format!("items/{id}/");
    let item = |id: PointId| async move { world.keys(&items(&id)).await.remove(0) };
    // A flipped byte; an object that grew; one that is gone; a manifest without a true signature.
    let flipped = item(points[0].clone()).await;
    let mut bytes = world.read(&flipped).await;
    bytes[50] ^= 1;
    world.overwrite(&flipped, bytes).await;
    world.overwrite(&item(points[1].clone()).await, vec![0; 20 << 20]).await;
    world.remove(&item(points[2].clone()).await).await;
    let forged = format!("points/{}.json", points[3]);
    let manifest = String::from_utf8(world.read(&forged).await).expect("text");
    world.overwrite(&forged, manifest.replace("\"complete\"", "\"partial\"")).await;
    // Plants: what looks like newer points, one of them huge; and a key file that is none.
    world.overwrite("points/prod-eu/daily/20261124t070000z-aaaaaaaa.json", "{}").await;
    world.overwrite("points/prod-eu/daily/20261124t080000z-aaaaaaaa.json", vec![b' '; (64 << 20) + 1]).await;
    world.overwrite("points/nobody/daily/20261124t080000z-aaaaaaaa.json", "{}").await;
    world.overwrite(&format!("keys/{}.plant.age", world.keyring.epoch().name), vec![0; 1 << 20]).await;

    let log = EventLog::default();
    let (origin, here) = (pair.origin(world.store.clone()).await, pair.replica(pair.store.clone()).await);
    let plan = Replicator::new(origin.expect("it opens"), here.expect("it opens")).observe(log.clone()).plan().await;
    let plan = plan.expect("a plan");
    let left: Vec<&str> = plan.left.iter().map(|left| left.what.as_str()).collect();
    assert_eq!(left.len(), 4, "{plan}");
    assert!(left.contains(&points[3].to_string().as_str()), "{plan}");
    let error = plan.apply().await.expect_err("some are damaged");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert_eq!(report.copied, [points[4].clone()]);
    assert_eq!(report.left.len(), 3, "{report:?}");
    assert_eq!(log.count("warning"), 4, "three points and the key file");
    assert_eq!(pair.keys("points/").await, [format!("points/{}.json", points[4])]);
    let damaged: Vec<String> = points[..4].iter().map(ToString::to_string).collect();
    let copied = pair.keys("items/").await;
    assert!(copied.iter().all(|key| !damaged.iter().any(|id| key.contains(id))), "{copied:?}");
    assert_eq!(restored(&pair.left().await, &points[4]).await.expect("the good one")[0].1.len(), 100_000);
}

/// Whoever may create at the origin can name a point of the same day, later; it must not take the true one's place.
#[tokio::test(start_paused = true)]
async fn a_plant_takes_no_points_place() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    for n in 100..500 {
        pair.world.overwrite(&format!("points/prod-eu/daily/20261121t235959z-aaaaa{}.json", letters(n)), "{}").await;
    }
    let store = FaultyStore::new(Arc::new(pair.world.store.clone()));
    let origin = pair.origin(store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    let plan = Replicator::new(origin, here).keep("daily", Keep::daily(2)).plan().await.expect("a plan");
    assert_eq!(plan.left.len(), 400);
    // After a few of them the listing of signatures says what is worth reading.
    let (gets, lists) = (store.calls(Operation::Get), store.calls(Operation::List));
    assert!(gets < 20 && lists < 60, "{gets} reads, {lists} listings");
    assert_eq!(plan.apply().await.expect("copied").copied.len(), points.len());
}

#[tokio::test(start_paused = true)]
async fn planted_copy_records_cost_few_reads_and_hide_no_true_one() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    for n in 100..500 {
        let origin = format!("{}{}", "a".repeat(23), letters(n));
        pair.world.overwrite(&format!("copies/{}.{origin}.json", points[0]), "{}").await;
        pair.overwrite(&format!("copies/{}.{origin}.json", points[0]), "{}").await;
    }
    pair.world.clock.advance(30 * DAY);
    let (from, to) = [&pair.world.store, &pair.store].map(|store| FaultyStore::new(Arc::new(store.clone()))).into();
    pair.copy(from.clone(), to.clone()).await.expect("copied");
    let reads = from.calls(Operation::Get) + to.calls(Operation::Get);
    let by = [&from, &to].map(|s| (s.calls(Operation::Get), s.calls(Operation::List)));
    assert!(reads < 60, "{reads} reads: {by:?}");
    assert_eq!(pair.left().await.points().latest("db").await.expect("its record counts").id, points[0]);
}

/// Three letters that stand for a number.
fn letters(n: u32) -> String {
    (0..3).map(|i| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(n >> (5 * i)) as usize % 32])).collect()
}

#[tokio::test(start_paused = true)]
async fn a_plant_at_the_replica_is_not_taken_for_a_copy() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let item = pair.world.keys(&format!("items/{}/", points[0])).await.remove(0);
    let size = pair.world.read(&item).await.len();
    pair.overwrite(&item, vec![0; size]).await;
    let other = pair.world.keys(&format!("details/{}.", points[1])).await.remove(0);
    pair.overwrite(&other, "short").await;
    let error = pair.copy(pair.world.store.clone(), pair.store.clone()).await.expect_err("two keys are taken");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert_eq!((report.copied.len(), report.left.len()), (0, 2), "{report:?}");
    assert_eq!(pair.keys("points/").await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn replication_needs_to_read_there_and_to_read_and_create_here() {
    let denied = Fault::FailBefore(ErrorKind::Denied);
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let from = FaultyStore::new(Arc::new(pair.world.store.clone()))
        .with(Rule::new(denied.clone()).except([Operation::List, Operation::Get]));
    let to = FaultyStore::new(Arc::new(pair.store.clone())).with(Rule::new(denied.clone()).overwrites()).with(
        Rule::new(denied.clone()).except([
            Operation::List,
            Operation::Get,
            Operation::Put,
            Operation::Upload,
            Operation::Part,
            Operation::Complete,
            Operation::Now,
        ]),
    );
    assert_eq!(pair.copy(from.clone(), to).await.expect("these rights suffice").copied.len(), points.len());
    let (pair, _) = Pair::with_points(2, 2, TEXT).await;
    for (place, prefix) in [("items", "items/"), ("commit", "points/"), ("signature", "sigs/")] {
        let to = FaultyStore::new(Arc::new(pair.store.clone()));
        to.add(Rule::new(denied.clone()).on([Operation::Put]).under(prefix));
        let error = pair.copy(pair.world.store.clone(), to).await.expect_err(place);
        let report: &ReplicationReport = error.payload().expect("a report");
        assert_eq!(report.left.len(), 2, "{place}");
        assert!(report.left[0].why.contains("a fault was injected"), "{place}: {report:?}");
        assert_eq!(pair.keys("points/").await, [""; 0], "{place}");
    }
    assert_eq!(pair.replicate().await.copied.len(), 2, "with the right given it goes on");
}

/// Both vaults rest on the same words; a replica that was not opened as one is told at once.
#[tokio::test(start_paused = true)]
async fn a_replica_says_whose_it_is() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let here = Vault::open(pair.store.clone()).keyring(&pair.keyring).clock(pair.world.clock.clone()).build();
    let here = here.await.expect("it opens");
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let error = Replicator::new(origin, here.clone()).plan().await.expect_err("not as a replica");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    pair.replicate().await;
    assert_eq!(here.points().get(&points[0]).await.expect_err("whose?").kind(), ErrorKind::Untrusted);
    // The origin's signers may commit points here, and nothing else: their tombstone is no tombstone.
    let id = &points[0];
    let manifest = pair.read(&format!("points/{id}.json")).await;
    let tombstone = serde_json::json!({
        "vault": pair.keyring.vault_id(), "point": id, "manifest": backstay::Sha256::of(&manifest), "reason": "",
        "says": { "deletion": { "not_before": "2026-11-20T00:00:00Z", "objects": [], "bytes": 0 } },
        "at": "2026-11-21T06:42:00Z",
    });
    let bytes = serde_json::to_vec_pretty(&tombstone).expect("JSON");
    for (key, counts) in [(pair.world.keyring.signing_key(), false), (pair.keyring.signing_key(), true)] {
        let signature = signature_key(&format!("sigs/{id}.deleted"), &bytes, &key.public().id());
        pair.overwrite(&signature, key.sign(Purpose::Delete.namespace(), &bytes)).await;
        pair.overwrite(&format!("points/{id}.deleted"), bytes.clone()).await;
        let listed = pair.left().await.points().list(&id.source, &id.tier).await.expect("a listing");
        assert_eq!(listed.is_empty(), counts);
    }
}
