//! Objects that others keep in a versioned bucket: listed, exported, brought back; and the contracts of exporter and importer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod support;

use std::sync::Arc;

use backstay::aws::VersionedObjects;
use backstay::aws::s3_versions::{Chosen, ObjectVersion};
use backstay::source::{ImportAction, ImportOptions};
use backstay::store::{Key, ObjectStore as _, Prefix, PutOptions};
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Tier, Vault};
use backstay_test_s3::{Fault, Op};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::s3::{Minio, Server, Versitygw};
use backstay_test_servers::until;
use backstay_testkit::conformance::source::{self, ImporterSetup};
use backstay_testkit::items::Items;
use futures_util::TryStreamExt;
use support::own_s3;
use support::s3::{Kind, boto, make, open};

const BUCKET: &str = "acme";

async fn versions(objects: &VersionedObjects) -> Vec<ObjectVersion> {
    objects.versions().try_collect().await.expect("it lists")
}

fn body(server: &Server, key: &str) -> String {
    boto(server, &format!("print(s3.get_object(Bucket='{BUCKET}', Key='{key}')['Body'].read().decode())"))
}

/// What others keep there may be a secret: states of Terraform have passwords in them.
#[tokio::test]
async fn a_vault_that_is_not_encrypted_takes_no_objects_of_others() {
    let server = backstay_test_s3::Server::start();
    server.create_bucket(BUCKET, backstay_test_s3::Bucket::versioned());
    let store = own_s3::open(&server, BUCKET).await;
    let keys = Keyring::generate().unwrap();
    let vault = Vault::create(MemoryStore::new()).keyring(&keys).danger_unencrypted().build().await.unwrap();
    let refused = Backstay::builder("prod-eu", vault)
        .export("states", VersionedObjects::prefix(store, Prefix::new("").unwrap()))
        .tier(Tier::new("daily").keep(Keep::last(3)))
        .build()
        .expect_err("it holds secrets");
    assert!(refused.to_string().contains("not encrypted"), "{refused}");
}

#[tokio::test]
async fn an_earlier_version_of_any_object_comes_back_on_versitygw() {
    any_object(&Versitygw::with_versions_and_users(), false).await;
}

#[tokio::test]
async fn an_earlier_version_of_any_object_comes_back_on_minio() {
    any_object(&Minio::start(), true).await;
}

/// versitygw does not tell who wrote a version.
async fn any_object(server: &Server, tells_owners: bool) {
    make(server, &[(BUCKET, Kind::Versioned)]);
    boto(
        server,
        &format!(
            "for text in ['one', 'two', 'three']:
    s3.put_object(Bucket='{BUCKET}', Key='logs/a b+c', Body=text.encode(), Metadata={{'of': text}}, ContentType='text/plain')
s3.put_object(Bucket='{BUCKET}', Key='logs/gone', Body=b'was here')
s3.delete_object(Bucket='{BUCKET}', Key='logs/gone')
s3.put_object(Bucket='{BUCKET}', Key='other', Body=b'x')"
        ),
    );
    let store = open(server, BUCKET).await;
    let objects = VersionedObjects::prefix(store.clone(), Prefix::new("logs/").unwrap());
    let found = versions(&objects).await;
    let told: Vec<_> =
        found.iter().map(|found| (found.key.as_str(), found.size, found.latest, found.deleted)).collect();
    let expected = [
        ("logs/a b+c", 5, true, false),
        ("logs/a b+c", 3, false, false),
        ("logs/a b+c", 3, false, false),
        ("logs/gone", 0, true, true),
        ("logs/gone", 8, false, false),
    ];
    assert_eq!(told, expected);
    assert_eq!(found[0].owner.is_some(), tells_owners, "{found:?}");
    let key: Key = "logs/a b+c".parse().unwrap();

    let plan = objects.plan_bring_back(&key, &found[2].version).await.unwrap();
    let stale = objects.plan_bring_back(&key, &found[1].version).await.unwrap();
    objects.bring_back(plan).await.unwrap();
    assert_eq!(body(server, "logs/a b+c"), "one");
    let kept = format!(
        "got = s3.head_object(Bucket='{BUCKET}', Key='{key}'); print(got['Metadata']['of'], got['ContentType'])"
    );
    assert_eq!(boto(server, &kept), "one text/plain");
    assert_eq!(objects.bring_back(stale).await.unwrap_err().kind(), ErrorKind::Conflict);
    let current = versions(&objects).await.remove(0).version;
    assert!(objects.plan_bring_back(&key, &current).await.unwrap().is_empty());

    let gone: Key = "logs/gone".parse().unwrap();
    let plan = objects.plan_bring_back(&gone, &found[4].version).await.unwrap();
    assert!(plan.current.is_none(), "{plan}");
    objects.bring_back(plan).await.unwrap();
    assert_eq!(body(server, "logs/gone"), "was here");

    for (key, version, kind) in [
        (&key, found[3].version.as_str(), ErrorKind::NotFound),
        (&gone, &found[3].version, ErrorKind::NotFound),
        (&"other".parse().unwrap(), &found[0].version, ErrorKind::Invalid),
    ] {
        let error = objects.plan_bring_back(key, version).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn chosen_versions_go_into_a_vault_and_the_newest_comes_back() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[(BUCKET, Kind::Versioned)]);
    // More than goes in one piece.
    boto(
        &server,
        &format!(
            "for text in [b'one', b'two', b'three']:
    s3.put_object(Bucket='{BUCKET}', Key='small', Body=text)
s3.put_object(Bucket='{BUCKET}', Key='large', Body=bytes(range(251)) * 140000)"
        ),
    );
    let store = open(&server, BUCKET).await;
    let objects = VersionedObjects::prefix(store, Prefix::all());
    let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().unwrap()).build().await.unwrap();
    let backstay = Backstay::builder("prod-eu", vault)
        .export("objects", objects.clone().choose(Chosen::Newest(2)))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .unwrap();
    let point = backstay.backup("daily").await.unwrap().id;
    backstay.verify(&point).check("objects", objects.clone()).await.unwrap();
    let restore = |options| backstay.restore(&point).component("objects").into(objects.clone()).options(options);
    let plan = restore(ImportOptions::default()).plan().await.unwrap();
    assert_eq!(plan.import.count(ImportAction::Unchanged), 2, "{plan}");

    boto(
        &server,
        &format!(
            "for found in s3.list_object_versions(Bucket='{BUCKET}')['Versions']:
    s3.delete_object(Bucket='{BUCKET}', Key=found['Key'], VersionId=found['VersionId'])
s3.put_object(Bucket='{BUCKET}', Key='small', Body=b'else')"
        ),
    );
    let plan = restore(ImportOptions::default()).plan().await.unwrap();
    assert_eq!((plan.import.count(ImportAction::Create), plan.import.count(ImportAction::Conflict)), (1, 1), "{plan}");
    let plan = restore(ImportOptions::default().danger_overwrite()).plan().await.unwrap();
    plan.apply().await.unwrap();
    assert_eq!(body(&server, "small"), "three");
    let same =
        format!("print(s3.get_object(Bucket='{BUCKET}', Key='large')['Body'].read() == bytes(range(251)) * 140000)");
    assert_eq!(boto(&server, &same), "True");
    // One of the earlier versions, by its name.
    let older = versions(&objects).await;
    assert_eq!(older.iter().filter(|found| found.key == "small").count(), 2);
    let error = restore(ImportOptions::default().only(["nothing*"])).plan().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let plan = restore(ImportOptions::default().only(["small"])).plan().await.unwrap();
    assert_eq!(plan.import.count(ImportAction::Unchanged), 1, "{plan}");
}

/// `a//b` can be an object in a bucket and nothing in a vault: a point without it is not taken for whole.
#[tokio::test]
async fn an_object_whose_name_is_no_key_is_told_as_missing() {
    let server = Moto::start();
    make(&server, &[(BUCKET, Kind::Versioned)]);
    let put = |names: &str| {
        boto(&server, &format!("for key in {names}: s3.put_object(Bucket='{BUCKET}', Key=key, Body=b'x')"))
    };
    put("['a/b']");
    boto(&server, &format!("s3.put_object(Bucket='{BUCKET}', Key='a/')"));
    let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().unwrap()).build().await.unwrap();
    let backstay = Backstay::builder("prod-eu", vault)
        .export("objects", VersionedObjects::prefix(open(&server, BUCKET).await, Prefix::all()))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .unwrap();
    // What shows a folder is nothing that could be lost.
    backstay.backup("daily").await.unwrap();
    put("['a//b', 'a/b']");
    let error = backstay.backup("daily").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Partial && error.to_string().contains("a//b"), "{error}");
}

#[tokio::test]
async fn exporter_and_importer_keep_their_contracts() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[(BUCKET, Kind::Versioned)]);
    boto(
        &server,
        &format!(
            "for serial in range(1, 4):
    s3.put_object(Bucket='{BUCKET}', Key='kept', Body=json.dumps({{'version': 4, 'serial': serial, 'lineage': 'x',
        'outputs': {{'o': {{'value': 'y' * 5000, 'type': 'string'}}}}, 'resources': []}}).encode())"
        ),
    );
    let store = open(&server, BUCKET).await;
    let kept: Key = "kept".parse().unwrap();
    for objects in
        [VersionedObjects::key(store.clone(), kept.clone()), VersionedObjects::terraform(store.clone(), kept)]
    {
        let exporter = Arc::new(objects.choose(Chosen::All));
        source::exporter(|_| Ok(exporter.clone())).await.assert();
    }
    let state = |serial: u64, letter: &str| {
        let output = letter.repeat(5_000);
        format!(
            "{{\"version\": 4, \"serial\": {serial}, \"lineage\": \"x\", \"outputs\": {{\"o\": {{\"value\": \"{output}\", \
             \"type\": \"string\"}}}}, \"resources\": []}}"
        )
    };
    for states in [false, true] {
        let format = if states { "terraform state" } else { "object" };
        let setup = |case: &str| {
            let key: Key = format!("{case}-{states}").parse()?;
            let items = |content: String| {
                let items = Items::new("objects", "aws.s3_versions");
                items.add(&format!("{key}?versionId=1"), format, content);
                items
            };
            let (items, other) = (items(state(1, "a")), items(state(2, "b")));
            let importer: Arc<VersionedObjects> = Arc::new(match states {
                true => VersionedObjects::terraform(store.clone(), key),
                false => VersionedObjects::key(store.clone(), key),
            });
            Ok(ImporterSetup { importer, items, other })
        };
        source::importer(setup).await.assert();
    }
}

/// Somebody may write between the look and the write: the server is asked to write only over what was seen. This user may
/// not put without such a condition.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_goes_over_nothing_but_what_was_seen() {
    let server = backstay_test_s3::Server::start();
    server.create_bucket(BUCKET, backstay_test_s3::Bucket::versioned());
    let user = server.user("restorer");
    server.allow(
        &user,
        r#"{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*",
             "Condition": {"Null": {"s3:if-match": "true", "s3:if-none-match": "true"}}}]}"#,
    );
    let owner = own_s3::open(&server, BUCKET).await;
    let key: Key = "net/terraform.tfstate".parse().unwrap();
    let put = async |serial: u64| {
        let state =
            serde_json::json!({ "version": 4, "serial": serial, "lineage": "one", "outputs": {}, "resources": [] });
        let put = owner.put(&key, state.to_string().into(), &PutOptions::overwrite()).await;
        put.unwrap().version.unwrap().0
    };
    let (old, _) = (put(1).await, put(2).await);
    let store = own_s3::builder(&server, BUCKET, &user).build().await.unwrap();
    let states = VersionedObjects::terraform(store.clone(), key.clone());
    for deleted in [false, true] {
        if deleted {
            owner.delete(&[key.clone().into()]).await.unwrap().remove(0).result.unwrap();
        }
        let plan = states.plan_bring_back(&key, &old).await.unwrap();
        assert!(states.bring_back(plan).await.expect("a conditional put").written);
    }
    let newest = put(3).await;
    let objects = VersionedObjects::key(store, key.clone());
    for deleted in [false, true] {
        if deleted {
            owner.delete(&[key.clone().into()]).await.unwrap().remove(0).result.unwrap();
        }
        let plan = objects.plan_bring_back(&key, &old).await.unwrap();
        let seen = plan.current.as_ref().map(|current| current.version.as_ref().unwrap());
        assert_eq!(seen, (!deleted).then_some(&newest));
        assert!(objects.bring_back(plan).await.expect("a conditional copy").written);
    }
}

/// While the state is being written its lock is forced open and taken by somebody else: theirs stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_another_s_by_then_is_not_given_back() {
    let server = backstay_test_s3::Server::start();
    server.create_bucket(BUCKET, backstay_test_s3::Bucket::versioned());
    let store = own_s3::open(&server, BUCKET).await;
    let key: Key = "net/terraform.tfstate".parse().unwrap();
    let lock: Key = format!("{key}.tflock").parse().unwrap();
    for serial in [1, 2] {
        let state =
            serde_json::json!({ "version": 4, "serial": serial, "lineage": "one", "outputs": {}, "resources": [] });
        store.put(&key, state.to_string().into(), &PutOptions::overwrite()).await.unwrap();
    }
    let states = VersionedObjects::terraform(store.clone(), key.clone()).use_lockfile();
    let old = versions(&states).await.remove(1).version;
    let plan = states.plan_bring_back(&key, &old).await.unwrap();
    // The lock is the first put, the state the second: it is done and its answer does not come.
    server.fault(Fault::hang().done_first().on(Op::PutObject).under(key.as_str()).nth(2));
    server.reset_calls();
    let writing = tokio::spawn(async move { states.bring_back(plan).await });
    tokio::task::block_in_place(|| until("the state's put", || (server.calls(Op::PutObject) == 2).then_some(())));
    store.put(&lock, "theirs".into(), &PutOptions::overwrite()).await.unwrap();
    server.down();
    server.up();
    assert!(writing.await.unwrap().unwrap().written);
    assert_eq!(server.bytes_of(BUCKET, lock.as_str()).unwrap(), b"theirs");
}
