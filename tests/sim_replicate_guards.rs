//! What must not mislead a replicator: plants and deletions at the replica between plan and copy, records of other copies.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PlannedReplication, ReplicationReport, Replicator};
use backstay::store::layer::Limit;
use backstay::store::{ObjectStoreExt, Operation};
use backstay::{Clock, ErrorKind, Keyring, MemoryStore, PointId, Random, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::{EventLog, SeededRandom};
use support::gate::Gates;
use support::pair::Pair;
use support::saved::SavedPair;
use support::whole::Whole;
use support::{exporter, inline_budget, program, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// A plan over the pair as it is now, to be applied later.
async fn plan(pair: &Pair, log: &EventLog) -> PlannedReplication {
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let here = pair.replica(pair.store.clone()).await.expect("it opens");
    Replicator::new(origin, here).observe(log.clone()).plan().await.expect("a plan")
}

/// Why the only point that was planned was left.
async fn left(plan: PlannedReplication) -> String {
    let error = plan.apply().await.expect_err("it is left");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert_eq!((report.copied.len(), report.left.len(), report.bytes), (0, 1, 0), "{report:?}");
    report.left[0].why.clone()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_of_a_point_whose_deletion_here_has_begun() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let waiting = plan(&pair, &EventLog::default()).await;
    let later = program(pair.world.vault().await, exporter(&[("rows", TEXT)]));
    for _ in 0..2 {
        later.backup("daily").await.expect("a backup");
        pair.world.clock.advance(DAY);
    }
    pair.replicate().await;
    let store = FaultyStore::new(Arc::new(pair.store.clone()));
    let pruner = pair.pruner(store.clone()).await.expect("well formed");
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    pair.world.clock.advance(2 * DAY);
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Delete]).under("copies/"));
    pruner.prune("daily").plan().await.expect("a plan").apply().await.expect_err("it stops on its way");
    let items = format!("items/{}/", points[0]);
    assert_eq!(pair.keys(&items).await, [""; 0], "the bytes are gone, the tombstone is there");
    let why = left(waiting).await;
    assert!(why.contains("being deleted"), "{why}");
    assert_eq!(pair.keys(&items).await, [""; 0], "what nobody would clear away");
}

#[tokio::test(start_paused = true)]
async fn another_manifest_at_the_replica_is_not_taken_for_the_copy() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let waiting = plan(&pair, &EventLog::default()).await;
    let key = format!("points/{}.json", points[0]);
    let length = pair.world.read(&key).await.len();
    pair.overwrite(&key, vec![b' '; length]).await;
    let error = waiting.apply().await.expect_err("the key is taken");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert!(report.copied.is_empty() && report.left[0].why.contains("another manifest of this name"), "{report:?}");
}

/// The manifest that was planned with, and no other: what was exchanged, or given up, is for a person.
#[tokio::test(start_paused = true)]
async fn another_manifest_at_the_origin_is_not_copied() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let waiting = plan(&pair, &EventLog::default()).await;
    let key = format!("points/{}.json", points[0]);
    let mut manifest = pair.world.json(&key).await;
    manifest["labels"]["why"] = "signed all the same".into();
    let place = format!("sigs/{}.point", points[0]);
    pair.world.put_signed(&key, &place, backstay::vault::Purpose::Point, &manifest).await;
    let why = left(waiting).await;
    assert!(why.contains("another manifest"), "{why}");
    assert_eq!(pair.keys("points/").await, [""; 0]);
}

/// It may only make the copy's age doubtful.
#[tokio::test(start_paused = true)]
async fn a_planted_copy_record_keeps_no_point_away() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    pair.overwrite(&format!("copies/{}.{}.json", points[0], pair.world.keyring.vault_id()), "{}").await;
    let log = EventLog::default();
    assert_eq!(plan(&pair, &log).await.apply().await.expect("copied").copied, points);
    assert_eq!(log.count("warning"), 1, "its age may be doubted, and that is said");
    assert_eq!(restored(&pair.left().await, &points[0]).await.expect("whole")[0].1, TEXT);
}

/// A signer whom the origin trusts and the replica does not: what it signed would count for nothing there.
#[tokio::test(start_paused = true)]
async fn a_point_that_would_not_count_here_is_not_copied() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let origin = pair.origin(pair.world.store.clone()).await.expect("it opens");
    let stranger = Keyring::generate_from(&SeededRandom::new(77)).expect("keys");
    let here = Vault::open(pair.store.clone())
        .keyring(&pair.keyring)
        .origin(pair.world.keyring.vault_id().clone(), stranger.allowed_signers())
        .clock(pair.world.clock.clone())
        .budget(inline_budget());
    let here = here.build().await.expect("it opens");
    let why = left(Replicator::new(origin, here).plan().await.expect("a plan")).await;
    assert!(why.contains("trust"), "{why}");
    assert!(!pair.keys("").await.iter().any(|key| key.contains(&points[0].run.to_string())), "nothing of it");
}

/// From a copy that is a month old a second one is made: the time of the very first vault goes along.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_copy_is_as_old_as_the_point() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    for _ in 0..2 {
        pair.world.clock.advance(30 * DAY);
        pair.replicate().await;
    }
    let (of, signers) = (pair.world.keyring.vault_id(), pair.world.keyring.allowed_signers());
    let keyring = Keyring::generate_from(&SeededRandom::new(900)).expect("keys");
    let store = MemoryStore::new().with_clock(Arc::new(pair.world.clock.clone()));
    let open = |builder: backstay::vault::VaultBuilder| {
        builder.origin(of.clone(), signers).clock(pair.world.clock.clone()).budget(inline_budget()).build()
    };
    let first = Vault::open_read_only(pair.store.clone()).trust(pair.keyring.allowed_signers().clone());
    let first = open(first).await.expect("it opens");
    let third = Vault::create(store).keyring(&keyring).unlock_with(pair.world.keyring.custodian().clone());
    let third = open(third).await.expect("it is made");
    let report = Replicator::new(first, third.clone()).plan().await.expect("a plan").apply().await.expect("copied");
    assert_eq!(report.copied.len(), 2);
    let newest: PointId = third.points().latest("db").await.expect("in no doubt").id;
    assert_eq!(newest, points[1]);
    assert_eq!(restored(&third, &newest).await.expect("whole")[0].1, TEXT);
}

/// While the bytes were on their way another replicator was faster, and the replica let the point go again.
#[tokio::test(start_paused = true)]
async fn what_was_marked_here_meanwhile_is_not_called_copied() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let gates = Gates::default();
    let copying = {
        let (pair, to) = (pair.clone(), gates.store(&pair.store, 0));
        tokio::spawn(async move { pair.copy(pair.world.store.clone(), to).await })
    };
    while pair.keys("copies/").await.is_empty() {
        gates.step_all().await;
    }
    let later = program(pair.world.vault().await, exporter(&[("rows", TEXT)]));
    for _ in 0..2 {
        later.backup("daily").await.expect("a backup");
        pair.world.clock.advance(DAY);
    }
    pair.replicate().await;
    let pruner = pair.pruner(pair.store.clone()).await.expect("well formed");
    let report = pruner.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    assert_eq!(report.tombstoned, points);
    gates.open();
    let error = copying.await.expect("no panic").expect_err("it is on its way out");
    let report: &ReplicationReport = error.payload().expect("a report");
    assert!(report.copied.is_empty() && report.left[0].why.contains("being deleted"), "{report:?}");
}

/// Somebody puts other bytes at an item's key, as many as it has, at any moment of the copying.
#[tokio::test(start_paused = true)]
async fn a_plant_at_any_step_becomes_part_of_no_copy() {
    let (pair, points) = Pair::with_points(1, 1, TEXT).await;
    let (saved, mut whole, mut refused) = (SavedPair::of(pair).await, Whole::default(), 0);
    for k in 0.. {
        let pair = saved.load().await;
        let gates = Gates::default();
        let copying = {
            let (pair, to) = (pair.clone(), gates.store(&pair.store, 0));
            tokio::spawn(async move { pair.copy(pair.world.store.clone(), to).await })
        };
        let taken = gates.take(0, k).await;
        let item = pair.world.keys(&format!("items/{}/", points[0])).await.remove(0);
        let length = pair.world.read(&item).await.len();
        let planted = pair.store.put_new(&item.parse().expect("a key"), vec![7; length]).await.is_ok();
        gates.open();
        let copied = copying.await.expect("no panic");
        assert_eq!(copied.is_err(), planted, "{k}: {copied:?}");
        let shown = whole.shown(&pair.left().await, &pair.store, |_| TEXT.to_vec(), &format!("{k}")).await;
        assert_eq!(shown.len(), usize::from(!planted), "{k}");
        refused += usize::from(planted);
        if taken < k {
            break;
        }
    }
    assert!(refused > 5, "only {refused} plants came in time");
}

#[tokio::test(start_paused = true)]
async fn a_replication_keeps_to_the_bandwidth_that_it_is_given() {
    let mut content = vec![0; 1 << 20];
    SeededRandom::new(5).fill(&mut content);
    let (pair, points) = Pair::with_points(1, 1, &content).await;
    let options = serde_json::from_str(r#"{ "receive_bytes_per_second": 100000 }"#).expect("options");
    let clock = pair.world.clock.clone();
    let origin = Limit::with_clock(Arc::new(pair.world.store.clone()), options, Arc::new(clock.clone()));
    let began = clock.monotonic();
    let report = pair.copy(origin, pair.store.clone()).await.expect("slow, and well");
    let took = clock.monotonic() - began;
    assert_eq!(report.copied, points);
    // Ten seconds and a half, less a burst of one.
    assert!((9..20).contains(&took.as_secs()), "{took:?}");
}
