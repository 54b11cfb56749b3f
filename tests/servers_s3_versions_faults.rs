//! Versioned objects while servers go wrong: locks whose answers are lost, digests that are not written.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use backstay::aws::s3_versions::ObjectVersion;
use backstay::aws::{LockTable, VersionedObjects};
use backstay::store::{Key, ObjectStore as _, PutOptions};
use backstay::{ErrorKind, Secret};
use backstay_test_s3::{Bucket, Fault, Op, Server};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use support::own_s3;
use support::scripted::{Scripted, Table, table};

const BUCKET: &str = "acme";
const KEY: &str = "net/terraform.tfstate";
const LOCK: &str = "net/terraform.tfstate.tflock";

/// A bucket with two states, a table, and the older of the states.
struct Backend {
    s3: Server,
    dynamodb: Scripted,
    items: Table,
    states: VersionedObjects,
    key: Key,
    old: String,
}

impl Backend {
    async fn new() -> Self {
        let (s3, items) = (Server::start(), Table::default());
        s3.create_bucket(BUCKET, Bucket::versioned());
        let dynamodb = Scripted::start(table(&items));
        let store = own_s3::open(&s3, BUCKET).await;
        let key: Key = KEY.parse().unwrap();
        for serial in [1, 2] {
            store.put(&key, state(serial).into(), &PutOptions::overwrite()).await.unwrap();
        }
        let locks = LockTable::beside(&store, "locks").endpoint(dynamodb.endpoint()).attempts(3);
        let locks = locks.credentials("any", Secret::new("any".to_owned())).build().await.unwrap();
        let states = VersionedObjects::terraform(store, key.clone()).lock_table(locks);
        let old = versions(&states).await.remove(1).version;
        Self { s3, dynamodb, items, states, key, old }
    }

    fn item(&self, name: &str) -> Option<Value> {
        self.items.lock().unwrap().get(name).cloned()
    }

    fn lock(&self) -> Option<Value> {
        self.item(&format!("{BUCKET}/{KEY}"))
    }

    fn digest(&self) -> Option<String> {
        self.item(&format!("{BUCKET}/{KEY}-md5")).map(|item| item["Digest"]["S"].as_str().unwrap().to_owned())
    }

    /// As if somebody had put this for the digest, or its item were not there.
    fn put_digest(&self, item: &str, digest: &Value) {
        let put = match digest {
            Value::Object(none) if none.is_empty() => json!({ "LockID": { "S": item } }),
            digest => json!({ "LockID": { "S": item }, "Digest": digest }),
        };
        let mut items = self.items.lock().unwrap();
        items.remove(item);
        if !digest.is_null() {
            items.insert(item.to_owned(), put);
        }
    }

    /// The serial of what is current.
    async fn serial(&self) -> u64 {
        versions(&self.states).await.remove(0).state.unwrap().serial.unwrap()
    }
}

fn state(serial: u64) -> String {
    let outputs = json!({ "of": { "value": serial, "type": "number" } });
    json!({ "version": 4, "serial": serial, "lineage": "one", "outputs": outputs, "resources": [] }).to_string()
}

async fn versions(objects: &VersionedObjects) -> Vec<ObjectVersion> {
    objects.versions().try_collect().await.expect("it lists")
}

/// Whoever uses lock files takes no lock in a table, and the other way round: both count up to the write.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_file_that_came_after_the_plan_holds_where_only_a_table_is_named() {
    let backend = Backend::new().await;
    let plan = backend.states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
    let theirs = r#"{"ID":"1","Operation":"OperationTypeApply","Who":"them@host"}"#;
    let lock: Key = LOCK.parse().unwrap();
    let store = own_s3::open(&backend.s3, BUCKET).await;
    store.put(&lock, theirs.into(), &PutOptions::default()).await.unwrap();
    let error = backend.states.bring_back(plan.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.context("who")), (ErrorKind::Busy, Some("them@host")), "{error}");
    assert_eq!((backend.serial().await, backend.lock()), (2, None), "the table's lock was given back");
    store.delete(&[lock.into()]).await.unwrap().remove(0).result.unwrap();
    assert!(backend.states.bring_back(plan).await.unwrap().written);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_answer_was_lost_is_known_for_our_own() {
    // Once, and the SDK's next attempt finds it taken; or each time.
    for lost in [1, 3] {
        let backend = Backend::new().await;
        let states = backend.states.clone().use_lockfile();
        let plan = states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
        backend.s3.fault(Fault::reset().done_first().on([Op::PutObject]).under(LOCK).first(lost));
        backend.dynamodb.lose("PutItem", usize::try_from(lost).unwrap());
        let report = states.bring_back(plan).await.unwrap_or_else(|error| panic!("{lost}: {error:?}"));
        assert!(report.written && report.digest, "{lost}: {report:?}");
        assert_eq!(backend.serial().await, 1);
        assert!(backend.lock().is_none() && backend.s3.bytes_of(BUCKET, LOCK).is_none(), "{lost}: a lock is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_given_back_though_the_answer_to_that_is_lost() {
    for lost in [1, 3] {
        let backend = Backend::new().await;
        let states = backend.states.clone().use_lockfile();
        let plan = states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
        backend.s3.fault(Fault::reset().done_first().on([Op::DeleteObject, Op::DeleteObjects]).first(lost));
        backend.dynamodb.lose("DeleteItem", usize::try_from(lost).unwrap());
        let report = states.bring_back(plan).await.unwrap_or_else(|error| panic!("{lost}: {error:?}"));
        assert!(report.written && backend.lock().is_none(), "{lost}");
    }
}

/// It was taken, and neither that nor whose it is was heard: it does not stay for others to break.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_may_have_been_taken_is_given_back() {
    let backend = Backend::new().await;
    let plan = backend.states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
    backend.dynamodb.lose("PutItem", 3);
    backend.dynamodb.lose("GetItem", 3);
    let error = backend.states.bring_back(plan.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!((backend.serial().await, backend.lock()), (2, None));
    let states = backend.states.clone().use_lockfile();
    backend.s3.fault(Fault::reset().done_first().on([Op::PutObject]).under(LOCK).first(3));
    backend.s3.fault(Fault::reset().on([Op::GetObject]).under(LOCK).first(3));
    let error = states.bring_back(plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(backend.s3.bytes_of(BUCKET, LOCK).is_none(), "the lock file stays");
}

/// The state is written and its digest is not: the same call again, with a plan of its own, does what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_was_not_written_is_mended_by_the_next_run() {
    for bump in [false, true] {
        let backend = Backend::new().await;
        let states = if bump { backend.states.clone().bump_serial() } else { backend.states.clone() };
        let serial = if bump { 3 } else { 1 };
        let bring_back = async || {
            let plan = states.plan_bring_back(&backend.key, &backend.old).await?;
            states.bring_back(plan).await
        };
        assert!(bring_back().await.unwrap().written);
        let good = backend.digest();
        // As if it had died before the digest; or somebody wrote another one, or none that counts.
        let item = format!("{BUCKET}/{KEY}-md5");
        for wrong in [Value::Null, json!({}), json!({ "S": "" }), json!({ "S": "00000000000000000000000000000000" })] {
            backend.put_digest(&item, &wrong);
            let report = bring_back().await.unwrap_or_else(|error| panic!("{bump} {wrong}: {error}"));
            assert!(report.digest && !report.written, "{bump} {wrong}: {report:?}");
            assert_eq!((backend.digest(), backend.serial().await), (good.clone(), serial), "{bump} {wrong}");
            assert!(states.plan_bring_back(&backend.key, &backend.old).await.unwrap().is_empty());
        }
    }
}

/// A put whose answers are all lost is looked for, and the digest follows it.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_whose_answer_was_lost_gets_its_digest() {
    let backend = Backend::new().await;
    let plan = backend.states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
    let digest = plan.digest.clone().unwrap().new;
    backend.s3.fault(Fault::reset().done_first().on([Op::PutObject]).under(KEY).first(3));
    // The lock is put first.
    assert!(backend.states.bring_back(plan).await.unwrap().written);
    assert_eq!(backend.digest(), Some(digest));
}
