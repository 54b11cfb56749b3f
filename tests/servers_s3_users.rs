//! Each role as a user of versitygw, which judges by its bucket's policy and knows nothing of ours. It knows no conditions, so
//! these are off: whoever may put may replace.

mod support;

use std::collections::BTreeMap;

use backstay::aws::{RolePolicy, S3Store};
use backstay::store::{GetOptions, Key, ObjectRef, ObjectStore, ObjectStoreExt as _, PutOptions};
use backstay::vault::Role;
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, PointId, Tier, Vault};
use backstay_test_servers::s3::{Minio, Versitygw};
use backstay_testkit::mock::MockExporter;
use bytes::Bytes;
use serde_json::{Value, json};
use support::s3::{Kind, boto, builder_of, make, open};
use support::{all, denied, large, restored};

const BUCKET: &str = "acme";
const ROLES: [Role; 5] = [Role::Writer, Role::Restorer, Role::Verifier, Role::Keeper, Role::Pruner];

/// A vault in a bucket with versions, with a user for each role, who may do what the role's policy says.
struct Place {
    server: Versitygw,
    keyring: Keyring,
    secrets: Vec<(Role, String)>,
}

impl Place {
    async fn new() -> Self {
        let server = Versitygw::with_versions_and_users();
        make(&server, &[(BUCKET, Kind::Versioned)]);
        let secrets: Vec<(Role, String)> = ROLES.map(|role| (role, server.user(role.name()).1)).into();
        boto(&server, &format!("s3.put_bucket_policy(Bucket='{BUCKET}', Policy={:?})", policy_of_all()));
        let keyring = Keyring::generate().expect("fresh keys");
        Vault::create(open(&server, BUCKET).await).keyring(&keyring).build().await.expect("a vault");
        Self { server, keyring, secrets }
    }

    async fn vault(&mut self, role: Role) -> (Vault, S3Store) {
        let name = role.name().parse().expect("a name");
        let keys = self.keyring.issue(role, &name).expect("issued");
        if let Some(identity) = keys.custodian() {
            let administrator = Vault::open(open(&self.server, BUCKET).await).keyring(&self.keyring).build().await;
            administrator.expect("it opens").add_custodian(&name, identity.recipient()).await.expect("added");
        }
        let (_, secret) = self.secrets.iter().find(|(user, _)| *user == role).expect("a user");
        let store = builder_of(&self.server, BUCKET, role.name(), secret).versions(true).locks(false).build().await;
        let store = store.expect("it need not look");
        let vault = Vault::open_as(role, store.clone()).keys(&keys).build().await;
        (vault.expect("the policy is enough to open"), store)
    }
}

/// What several roles are allowed alike is said once: the gateway keeps a policy in an attribute of a file, which takes 4 KiB.
fn policy_of_all() -> String {
    let mut allowed: BTreeMap<String, (Value, Vec<&str>)> = BTreeMap::new();
    for role in ROLES {
        let policy = RolePolicy::new(role, BUCKET).bucket(role.name());
        for statement in policy["Statement"].as_array().expect("statements") {
            if statement["Effect"] == "Allow" {
                let what = format!("{}{}", statement["Action"], statement["Resource"]);
                allowed.entry(what).or_insert_with(|| (statement.clone(), Vec::new())).1.push(role.name());
            }
        }
    }
    let statements = allowed.into_values().map(|(mut statement, roles)| {
        statement["Principal"] = json!(roles);
        statement
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() }).to_string()
}

fn program(vault: Vault) -> Backstay {
    let items = [("large", large()), ("small", b"a row".to_vec())];
    let tier = Tier::new("daily").keep(Keep::last(1)).covers(["db"]);
    Backstay::builder("prod-eu", vault).export("db", MockExporter::new(items)).tier(tier).build().expect("well formed")
}

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

async fn whole(vault: &Vault, id: &PointId) {
    let back = restored(vault, id).await.expect("it restores");
    assert!(back == [("large".to_owned(), large()), ("small".to_owned(), b"a row".to_vec())], "{id}: other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_its_work_and_is_denied_the_others() {
    let mut place = Place::new().await;
    let (writer, store) = place.vault(Role::Writer).await;
    let backstay = program(writer);
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("put and list are enough").id);
    }
    let manifest = key(&format!("points/{}.json", points[2]));
    let item = all(&store).await.into_iter().find(|key| key.as_str().starts_with("items/")).expect("an item");
    for name in [&manifest, &item] {
        denied(store.get(name, &GetOptions::default()).await.map(drop));
        for outcome in store.delete(&[ObjectRef::from(name.clone())]).await.expect("each is told") {
            denied(outcome.result);
        }
    }
    denied(store.put(&key("keys/x.y.age"), Bytes::from("x"), &PutOptions::default()).await);

    let (restorer, store) = place.vault(Role::Restorer).await;
    whole(&restorer, &points[2]).await;
    denied(store.put(&key("items/y"), Bytes::new(), &PutOptions::default()).await);
    for outcome in store.delete(&[ObjectRef::from(item.clone())]).await.expect("each is told") {
        denied(outcome.result);
    }

    let (verifier, store) = place.vault(Role::Verifier).await;
    verifier.verify(&points[2]).depth(Depth::Stored).record().await.expect("it proves and says so");
    denied(store.put(&key("points/y"), Bytes::new(), &PutOptions::default()).await);

    let (keeper, store) = place.vault(Role::Keeper).await;
    keeper.hold(&points[0], &"audit".parse().expect("a name"), "why").await.expect("it holds");
    for outcome in store.delete(&[ObjectRef::from(item.clone())]).await.expect("each is told") {
        denied(outcome.result);
    }

    let (pruner, store) = place.vault(Role::Pruner).await;
    let pruning = program(pruner);
    for _ in ["a tombstone", "and its work"] {
        let plan = pruning.prune("daily").danger_no_grace().plan().await.expect("a plan");
        let report = plan.apply().await.expect("it deletes");
        assert!(report.deleted.iter().all(|id| *id == points[1]), "the held one and the newest stay: {report:?}");
    }
    let left = all(&store).await;
    let gone = points[1].run.to_string();
    assert!(!left.iter().any(|key| key.as_str().starts_with("items/") && key.as_str().contains(&gone)), "{left:?}");
    denied(store.put(&key("items/y"), Bytes::new(), &PutOptions::default()).await);
    whole(&restorer, &points[0]).await;
    whole(&restorer, &points[2]).await;
}

/// On MinIO, where one user may do everything: versitygw tells a version's time as that at which it was put over.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_over_and_deleted_is_read_as_of_before_on_a_server_that_is_not_ours() {
    let server = Minio::start();
    make(&server, &[(BUCKET, Kind::Versioned)]);
    let (store, keyring) = (open(&server, BUCKET).await, Keyring::generate().expect("fresh keys"));
    let vault = Vault::create(store.clone()).keyring(&keyring).build().await.expect("a vault");
    let backstay = program(vault.clone());
    let points = [backstay.backup("daily").await, backstay.backup("daily").await];
    let points = points.map(|made| made.expect("a backup").id);
    let before = store.now().await.expect("the store's time");
    // Times are told in seconds: what comes now has to come in a later one.
    while store.now().await.expect("the store's time") <= before {}

    let names = all(&store).await;
    for name in &names {
        store.put(name, Bytes::from("gone"), &PutOptions::overwrite()).await.expect("it may");
    }
    let error = restored(&vault, &points[1]).await.expect_err("it was put over");
    assert!(matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt), "{error:?}");
    // Half of it lies under delete markers as well.
    let deleted: Vec<ObjectRef> = names.into_iter().step_by(2).map(ObjectRef::from).collect();
    for outcome in store.delete(&deleted).await.expect("each is told") {
        outcome.result.expect("it may");
    }

    let then = store.as_of(before).expect("it has versions");
    let then = Vault::open_read_only(then).keyring(&keyring).build().await.expect("as it was");
    for id in &points {
        whole(&then, id).await;
    }
}
