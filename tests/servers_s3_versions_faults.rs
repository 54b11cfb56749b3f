//! Versioned objects while servers go wrong: locks whose answers are lost, digests that are not written, objects that are
//! archived or too large for one copy.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use backstay::aws::s3_versions::{Chosen, ObjectVersion};
use backstay::aws::{LockTable, VersionedObjects};
use backstay::source::{ImportAction, ImportOptions, ImportReport, ResourceImporter as _};
use backstay::store::{HeadOptions, Key, ObjectRef, ObjectStore as _, Prefix, PutOptions, Thaw, VersionId};
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Secret, Tier, Vault};
use backstay_test_s3::{Bucket, Fault, Op, Server};
use backstay_test_servers::until;
use backstay_testkit::items::Items;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use support::own_s3;
use support::s3::boto_by;
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
    backend.s3.heal();
    // Something on the way answers in their stead.
    let plan = backend.states.plan_bring_back(&backend.key, &backend.old).await.unwrap();
    backend.dynamodb.garble("PutItem", 3);
    backend.dynamodb.garble("GetItem", 3);
    let error = backend.states.bring_back(plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
    assert_eq!((backend.serial().await, backend.lock()), (2, None));
}

/// Neither a copy of our own is taken for somebody else's, nor the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_answer_was_lost_is_known_for_our_own() {
    for lost in [1, 3] {
        let s3 = Server::start();
        s3.create_bucket(BUCKET, Bucket::versioned());
        let (store, key) = (own_s3::open(&s3, BUCKET).await, "a".parse::<Key>().unwrap());
        for content in ["old", "new"] {
            store.put(&key, content.into(), &PutOptions::overwrite()).await.unwrap();
        }
        let objects = VersionedObjects::key(store.clone(), key.clone());
        let old = versions(&objects).await.remove(1).version;
        let plan = objects.plan_bring_back(&key, &old).await.unwrap();
        s3.fault(Fault::reset().done_first().on([Op::CopyObject]).first(lost));
        let report = objects.bring_back(plan.clone()).await.unwrap_or_else(|error| panic!("{lost}: {error:?}"));
        assert!(report.written && s3.bytes_of(BUCKET, "a").as_deref() == Some(b"old"), "{lost}");
        assert_eq!(versions(&objects).await.len(), 3, "{lost}: it was done more than once");
        s3.heal();
        store.put(&key, "theirs".into(), &PutOptions::overwrite()).await.unwrap();
        let plan = objects.plan_bring_back(&key, &old).await.unwrap();
        s3.fault(Fault::status(412).on([Op::CopyObject]));
        assert_eq!(objects.bring_back(plan).await.unwrap_err().kind(), ErrorKind::Conflict, "{lost}");
    }
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

/// Who wrote what when is told of all; what is in it only of those that can be read.
#[tokio::test(flavor = "multi_thread")]
async fn an_archived_version_is_listed_and_told_how_to_thaw() {
    let backend = Backend::new().await;
    let Backend { s3, states, key, .. } = &backend;
    let store = own_s3::open(s3, BUCKET).await;
    s3.move_to_class(BUCKET, KEY, "GLACIER");
    let put = async || store.put(key, state(3).into(), &PutOptions::overwrite()).await.unwrap().version.unwrap();
    let newest = put().await;
    let found = versions(states).await;
    assert_eq!(found.iter().map(|found| found.archived).collect::<Vec<_>>(), [false, true, false]);
    let old = &found[1].version;
    assert!(found[0].state.is_some() && found[1].state.is_none() && found[1].size > 0, "{found:?}");
    assert!(found[1].to_string().contains("archived"), "{}", found[1]);
    let objects = VersionedObjects::key(store.clone(), key.clone());
    assert_eq!(versions(&objects).await.iter().filter(|found| found.archived).count(), 1);

    for objects in [states, &objects] {
        let error = objects.plan_bring_back(key, old).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Archived, "{error}");
        assert!(error.to_string().contains(&format!("--version-id {old}")), "{error}");
        let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().unwrap()).build().await.unwrap();
        let backstay = Backstay::builder("prod-eu", vault)
            .export("objects", objects.clone().choose(Chosen::All))
            .tier(Tier::new("daily").keep(Keep::last(2)))
            .build()
            .unwrap();
        let error = backstay.backup("daily").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Partial, "{error}");
        assert!(error.to_string().contains("restore-object"), "{error}");
    }

    // The server thaws what is newest.
    store.thaw(&ObjectRef::version(key.clone(), VersionId(old.clone())), &Thaw::default()).await.unwrap();
    store.delete(&[ObjectRef::version(key.clone(), newest)]).await.unwrap().remove(0).result.unwrap();
    s3.thawed(BUCKET, KEY);
    put().await;
    let found = versions(states).await;
    assert!(!found[1].archived && found[1].state.is_some(), "{found:?}");
    for objects in [&objects, states] {
        let plan = objects.plan_bring_back(key, old).await.unwrap();
        objects.bring_back(plan).await.unwrap();
    }
}

/// Keys are others' to choose, and people paste what they are advised.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_thaw_is_a_command_whatever_the_key() {
    let s3 = Server::start();
    s3.create_bucket(BUCKET, Bucket::versioned());
    let (store, key) = (own_s3::open(&s3, BUCKET).await, "reports/$(id) of may".parse::<Key>().unwrap());
    for content in ["old", "new"] {
        store.put(&key, content.into(), &PutOptions::overwrite()).await.unwrap();
        s3.move_to_class(BUCKET, key.as_str(), "GLACIER");
    }
    let objects = VersionedObjects::key(store, key.clone());
    let old = versions(&objects).await.remove(1).version;
    let error = objects.plan_bring_back(&key, &old).await.unwrap_err().to_string();
    assert!(error.contains("--key 'reports/$(id) of may' --version-id"), "{error}");
}

/// What is there and archived cannot be compared: it stays, and the rest of the plan is made.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_over_what_is_archived_is_planned_so() {
    let backend = Backend::new().await;
    backend.s3.move_to_class(BUCKET, KEY, "DEEP_ARCHIVE");
    let objects = VersionedObjects::key(own_s3::open(&backend.s3, BUCKET).await, backend.key.clone());
    let size = versions(&objects).await.remove(0).size;
    for (importer, format, action) in
        [(&backend.states, "terraform state", ImportAction::Impossible), (&objects, "object", ImportAction::Conflict)]
    {
        let items = Items::new("objects", "aws.s3_versions");
        assert_eq!(state(1).len() as u64, size);
        items.add(&format!("{KEY}?versionId=1"), format, state(1));
        let plan = importer.plan(&items, &ImportOptions::default()).await.unwrap();
        assert_eq!(plan.count(action), 1, "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_ends_in_the_middle_tells_what_it_did() {
    let s3 = Server::start();
    s3.create_bucket(BUCKET, Bucket::versioned());
    let objects = VersionedObjects::prefix(own_s3::open(&s3, BUCKET).await, Prefix::all());
    let items = Items::new("objects", "aws.s3_versions");
    for name in ["a", "b", "c"] {
        items.add(&format!("{name}?versionId=1"), "object", "content");
    }
    let plan = objects.plan(&items, &ImportOptions::default()).await.unwrap();
    s3.fault(Fault::status(500).on(Op::PutObject).under("b"));
    let error = objects.apply(&items, plan).await.unwrap_err();
    let done = error.payload::<ImportReport>().expect("a report");
    assert_eq!((done.counts[&ImportAction::Create], done.bytes), (1, 7), "{error:?} {done:?}");
}

const LARGE: u64 = 6 << 30;

/// More than one CopyObject takes: parts, with all that a copy in one call takes over by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_more_than_five_gib_comes_back_by_parts() {
    let s3 = Server::start();
    s3.create_bucket(BUCKET, Bucket::versioned().opaque_etags());
    s3.put_repeated(BUCKET, "large", vec![7; 64 << 20], 96);
    let with = "ContentType='text/x', Metadata={'of': 'old'}, Tagging='team=a%20b'";
    let from = format!("CopySource={{'Bucket': '{BUCKET}', 'Key': 'large'}}");
    let replace = "MetadataDirective='REPLACE', TaggingDirective='REPLACE'";
    boto_by(s3.env(), &format!("s3.copy_object(Bucket='{BUCKET}', Key='large', {from}, {with}, {replace})"));
    s3.reset_calls();
    let store = own_s3::open(&s3, BUCKET).await;
    let key: Key = "large".parse().unwrap();
    let objects = VersionedObjects::key(store.clone(), key.clone());
    let old = versions(&objects).await.remove(0).version;
    let put = async || store.put(&key, "small".into(), &PutOptions::overwrite()).await.unwrap();
    put().await;
    let plan = objects.plan_bring_back(&key, &old).await.unwrap();
    assert_eq!(plan.bytes, LARGE);
    let stale = plan.clone();
    objects.bring_back(plan).await.unwrap();
    let head = async || store.head(&key, &HeadOptions::default()).await.unwrap().size;
    assert_eq!((head().await, s3.calls(Op::CopyObject)), (LARGE, 0));
    assert!(s3.calls(Op::UploadPartCopy) > 1 && s3.uploads_in(BUCKET).is_empty());
    let kept = format!(
        "about = s3.head_object(Bucket='{BUCKET}', Key='large')
tags = s3.get_object_tagging(Bucket='{BUCKET}', Key='large')['TagSet']
print(about['ContentType'], about['Metadata'], tags)"
    );
    assert_eq!(boto_by(s3.env(), &kept), "text/x {'of': 'old'} [{'Key': 'team', 'Value': 'a b'}]");
    assert_eq!(objects.bring_back(stale).await.unwrap_err().kind(), ErrorKind::Conflict);

    // Somebody writes while the parts are copied: theirs stays, and no parts do.
    put().await;
    let plan = objects.plan_bring_back(&key, &old).await.unwrap();
    s3.fault(Fault::hang().on(Op::CompleteMultipartUpload).first(1));
    s3.reset_calls();
    let writing = tokio::spawn(async move { objects.bring_back(plan).await });
    let begun = || (s3.calls(Op::CompleteMultipartUpload) == 1).then_some(());
    tokio::task::block_in_place(|| until("the end of the upload", begun));
    put().await;
    s3.down();
    s3.up();
    assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    assert!(head().await == 5 && s3.uploads_in(BUCKET).is_empty());
}
