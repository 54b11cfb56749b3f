//! A whole vault in a bucket: everything that an application does, on servers that are not ours.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use backstay::aws::S3Store;
use backstay::engine::Replicator;
use backstay::store::{ObjectStore, ObjectStoreExt as _, Operation, Prefix};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, LocalStore, PointId, Tier, Vault};
use backstay_test_servers::s3::{Minio, Rclone, Server, Versitygw};
use backstay_testkit::mock::MockExporter;
use support::s3::{Kind, make, open};
use support::{large, restored};

fn program(vault: Vault, items: &[(&str, Vec<u8>)]) -> Backstay {
    Backstay::builder("prod-eu", vault)
        .export("db", MockExporter::new(items.iter().map(|(name, content)| (*name, content.clone()))))
        .tier(Tier::new("daily").keep(Keep::last(3)))
        .build()
        .expect("well formed")
}

async fn new_vault(store: impl ObjectStore, keyring: &Keyring) -> Vault {
    Vault::create(store).keyring(keyring).build().await.expect("the bucket is empty")
}

async fn points(vault: &Vault, of: &PointId) -> Vec<PointId> {
    vault.points().list(&of.source, &of.tier).await.expect("a listing")
}

/// Whether a key whose newest version is a delete marker can be created again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deleted {
    IsFree,
    IsTaken,
}

async fn lives_in(server: &Server, kind: Kind, deleted: Deleted) {
    make(server, &[("acme", kind)]);
    let store = open(server, "acme").await;
    let keyring = Keyring::generate().expect("fresh keys");
    let vault =
        new_vault(store.prefixed(Prefix::new("vaults/eu/").expect("a prefix")).expect("a folder"), &keyring).await;
    let (large, small) = (large(), b"a row".to_vec());
    let backstay = program(vault.clone(), &[("large", large.clone()), ("small", small.clone())]);
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(backstay.backup("daily").await.expect("a backup").id);
    }
    assert_eq!(points(&vault, &made[0]).await, made);
    for id in [&made[0], &made[3]] {
        backstay.verify(id).depth(Depth::Decoded).await.expect("whole");
        let back: BTreeMap<_, _> = restored(&vault, id).await.expect("it restores").into_iter().collect();
        assert!(back["large"] == large && back["small"] == small, "other bytes came back");
    }
    // A deletion is taken back in its grace, and made for good without one.
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    vault.undelete(&made[0]).await.expect("in the grace");
    assert_eq!(points(&vault, &made[0]).await, made);
    let first = made.remove(0);
    for _ in ["a tombstone", "and its work"] {
        let plan = backstay.prune("daily").danger_no_grace().plan().await.expect("a plan");
        match plan.apply().await {
            Ok(report) => assert!(report.deleted.iter().all(|id| *id == first), "{report:?}"),
            // The key of the tombstone that was taken back stays taken: the point cannot go any more, and is kept.
            Err(error) => assert!(deleted == Deleted::IsTaken && error.kind() == ErrorKind::Partial, "{error:?}"),
        }
    }
    if deleted == Deleted::IsFree {
        assert_eq!(points(&vault, &made[0]).await, made);
    }
    for id in &made {
        backstay.verify(id).depth(Depth::Decoded).await.expect("whole");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_lives_on_versitygw() {
    lives_in(&Versitygw::start(), Kind::Plain, Deleted::IsFree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_lives_on_versitygw_with_versions() {
    lives_in(&Versitygw::with_versions_and_users(), Kind::Versioned, Deleted::IsTaken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_lives_on_minio_with_versions() {
    lives_in(&Minio::start(), Kind::Versioned, Deleted::IsFree).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_vault_is_copied_into_a_bucket_and_restores_from_there() {
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let folder = tempfile::tempdir().expect("a folder");
    let (keyring, keyring_there) = (Keyring::generate().expect("fresh keys"), Keyring::generate().expect("fresh keys"));
    let vault = new_vault(LocalStore::open(folder.path()).expect("a folder"), &keyring).await;
    let large = large();
    let id = program(vault.clone(), &[("large", large.clone())]).backup("daily").await.expect("a backup").id;

    let store = open(&server, "acme").await;
    new_vault(store.clone(), &keyring_there).await;
    let replica = Vault::open(store)
        .keyring(&keyring_there)
        .unlock_with(keyring.custodian().clone())
        .origin(keyring.vault_id().clone(), keyring.allowed_signers());
    let replica = replica.build().await.expect("it opens");
    let report = Replicator::new(vault, replica.clone()).plan().await.expect("a plan").apply().await.expect("copied");
    assert_eq!(report.copied, std::slice::from_ref(&id));
    drop(folder);
    assert!(restored(&replica, &id).await.expect("it restores")[0].1 == large, "other bytes came back");
}

/// It takes conditional writes and ignores the condition: two runs could commit one point.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_create_only_is_refused() {
    let server = Rclone::start();
    make(&server, &[("acme", Kind::Plain)]);
    let keyring = Keyring::generate().expect("fresh keys");
    let made = Vault::create(open(&server, "acme").await).keyring(&keyring).build().await;
    let error = made.expect_err("it took two creates");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.to_string().contains("create-if-absent"), "{error}");
    let opened = Vault::open(open(&server, "acme").await).keyring(&keyring).build().await;
    // By now the probe is there, and a create that wins is the second one.
    assert!(opened.is_err_and(|error| error.kind() == ErrorKind::Refused));
}

#[derive(Clone, Default)]
struct Counted(Arc<Mutex<BTreeMap<Operation, usize>>>);

impl Counted {
    fn store(&self, store: S3Store) -> impl ObjectStore {
        let counted = self.clone();
        store.observed(move |call| *counted.0.lock().expect("no panic").entry(call.operation).or_default() += 1)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_point_takes_five_writes_two_lists_and_no_read() {
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let (keyring, counted) = (Keyring::generate().expect("fresh keys"), Counted::default());
    let vault = new_vault(counted.store(open(&server, "acme").await), &keyring).await;
    let backstay = program(vault, &[("rows", b"a row".to_vec())]);
    for _ in 0..2 {
        counted.0.lock().expect("no panic").clear();
        backstay.backup("daily").await.expect("a backup");
        let calls = counted.0.lock().expect("no panic").clone();
        let of = |operation| calls.get(&operation).copied().unwrap_or_default();
        assert!(of(Operation::Put) <= 5 && of(Operation::List) <= 2, "{calls:?}");
        let others = calls.keys().filter(|call| !matches!(call, Operation::Put | Operation::List));
        assert_eq!(others.count(), 0, "{calls:?}");
    }
}
