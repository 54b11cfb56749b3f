//! Each role under the very policy that is rendered for it, on a server that judges by it.

mod support;

use std::time::Duration;

use backstay::aws::{RolePolicy, S3Store};
use backstay::engine::{PruneAction, Replicator};
use backstay::store::{Key, ListOptions, Lock, ObjectRef, ObjectStore, ObjectStoreExt as _, Prefix, PutOptions};
use backstay::vault::{Role, RoleKeys};
use backstay::{
    Backstay, Clock as _, Depth, ErrorKind, Keep, Keyring, LockMode, PointId, Result, SystemClock, Tier, Vault,
};
use backstay_test_s3::{Bucket, Keys, Op, Server};
use backstay_testkit::ManualClock;
use backstay_testkit::mock::MockExporter;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, ToSpan as _};
use support::own_s3::{builder, open};
use support::{all, denied, large, restored};

const BUCKET: &str = "acme";

/// A vault in a bucket with versions and locks, made by an administrator.
struct Place {
    server: Server,
    keyring: Keyring,
}

impl Place {
    async fn new() -> Self {
        let server = Server::start();
        server.create_bucket(BUCKET, Bucket::versioned().with_object_lock());
        let keyring = Keyring::generate().expect("fresh keys");
        Vault::create(open(&server, BUCKET).await).keyring(&keyring).build().await.expect("a vault");
        Self { server, keyring }
    }

    async fn administrator(&self) -> Vault {
        Vault::open(open(&self.server, BUCKET).await).keyring(&self.keyring).build().await.expect("it opens")
    }

    /// The store of a user that may do what the role's policy says.
    async fn store(&self, role: Role) -> S3Store {
        let keys = self.server.user(role.name());
        let policy = RolePolicy::new(role, BUCKET).longest_lock_days(35).identity();
        self.server.allow(&keys, &policy.to_string());
        builder(&self.server, BUCKET, &keys).build().await.expect("the policy lets it look")
    }

    async fn keys(&mut self, role: Role) -> RoleKeys {
        let name = role.name().parse().expect("a name");
        let keys = self.keyring.issue(role, &name).expect("issued");
        if let Some(identity) = keys.custodian() {
            let vault = self.administrator().await;
            vault.add_custodian(&name, identity.recipient()).await.expect("added");
        }
        keys
    }

    async fn vault(&mut self, role: Role) -> (Vault, S3Store) {
        let keys = self.keys(role).await;
        let store = self.store(role).await;
        let vault = Vault::open_as(role, store.clone()).keys(&keys).build().await;
        (vault.expect("the policy is enough to open"), store)
    }
}

fn tier() -> Tier {
    Tier::new("daily").keep(Keep::last(1))
}

fn program(vault: Vault, tier: Tier) -> Backstay {
    let items = [("large", large()), ("small", b"a row".to_vec())];
    Backstay::builder("prod-eu", vault).export("db", MockExporter::new(items)).tier(tier).build().expect("well formed")
}

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

async fn all_of(store: &S3Store) -> Result<usize> {
    Ok(store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_backs_up_by_put_and_list_alone_and_its_thief_can_do_nothing_else() {
    let mut place = Place::new().await;
    let (vault, _) = place.vault(Role::Writer).await;
    place.server.reset_calls();
    let point = program(vault, tier().lock(LockMode::Governance, 1.days()))
        .backup("daily")
        .await
        .expect("put and list are enough")
        .id;
    let server = &place.server;
    assert_eq!(
        (server.calls(Op::GetObject), server.calls(Op::DeleteObjects), server.calls(Op::DeleteObject)),
        (0, 0, 0)
    );
    assert!(server.calls(Op::CompleteMultipartUpload) > 0, "no item went in parts");

    // Whoever stole the credential.
    let keys = Keys { access_key: "AKIA-writer".to_owned(), secret_key: "the-secret-key-of-writer".to_owned() };
    let thief = builder(server, BUCKET, &keys).versions(true).locks(true).build().await.expect("it lists");
    let manifest = key(&format!("points/{point}.json"));
    denied(thief.get(&manifest, &Default::default()).await.map(drop));
    denied(thief.put(&manifest, Bytes::from("{}"), &PutOptions::overwrite()).await);
    let taken = thief.put(&manifest, Bytes::from("{}"), &PutOptions::default()).await.expect_err("it is taken");
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken:?}");
    for outcome in thief.delete(&[manifest.clone().into()]).await.expect("each is told") {
        denied(outcome.result);
    }
    let mut upload = thief.upload(&manifest, &PutOptions::overwrite()).await.expect("parts are exempt");
    upload.part(Bytes::from("{}")).await.expect("parts are exempt");
    denied(upload.complete().await);
    denied(thief.put(&key("keys/x.y.age"), Bytes::from("x"), &PutOptions::default()).await);
    // What nobody could delete for a hundred years.
    let now = thief.now().await.expect("the store's time");
    let days = |days: i64| Lock::until(now + SignedDuration::from_hours(24 * days));
    let long = days(36_500);
    denied(thief.put(&key("items/x"), Bytes::from("x"), &PutOptions::default().with_lock(long)).await);
    let month = days(30);
    thief
        .put(&key("items/x"), Bytes::from("x"), &PutOptions::default().with_lock(month))
        .await
        .expect("within the cap");

    let vault = place.administrator().await;
    let back = restored(&vault, &point).await.expect("it restores");
    assert!(back.iter().any(|(name, content)| name == "large" && *content == large()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_role_does_its_work_under_its_policy() {
    let mut place = Place::new().await;
    let backstay = program(place.administrator().await, tier());
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
    }

    let status = async |vault: &Vault| {
        let looking =
            Backstay::builder("prod-eu", vault.clone()).tier(tier().covers(["db"])).build().expect("well formed");
        looking.status().await.unwrap_or_else(|error| panic!("{error:?}"))
    };
    let (restorer, store) = place.vault(Role::Restorer).await;
    status(&restorer).await;
    assert!(restored(&restorer, &points[2]).await.expect("it reads").iter().any(|(name, _)| name == "small"));
    denied(store.put(&key("items/y"), Bytes::new(), &PutOptions::default()).await);

    let (verifier, store) = place.vault(Role::Verifier).await;
    status(&verifier).await;
    verifier.verify(&points[2]).depth(Depth::Stored).record().await.expect("it proves and says so");
    denied(store.put(&key("points/y"), Bytes::new(), &PutOptions::default()).await);

    let (keeper, store) = place.vault(Role::Keeper).await;
    status(&keeper).await;
    keeper.hold(&points[0], &"audit".parse().expect("a name"), "why").await.expect("it holds");
    let all_keys = all(&open(&place.server, BUCKET).await).await;
    let item = all_keys.iter().find(|key| key.as_str().starts_with("items/")).expect("an item").clone();
    for outcome in store.delete(&[ObjectRef::from(item)]).await.expect("each is told") {
        denied(outcome.result);
    }

    let (pruner, _) = place.vault(Role::Pruner).await;
    status(&pruner).await;
    let pruning = Backstay::builder("prod-eu", pruner).tier(tier().covers(["db"])).build().expect("well formed");
    let report = pruning.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    assert_eq!(report.tombstoned, [points[1].clone()], "the held one and the newest stay: {report:?}");
}

/// The server tells a lock only to who may ask for it, and takes a deletion that only hides: a pruner that saw no locks would
/// put a tombstone on what is to stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_pruner_sees_under_its_policy_what_is_locked() {
    let mut place = Place::new().await;
    let locking = tier().lock(LockMode::Compliance, 10.days());
    let backstay = program(place.administrator().await, locking.clone());
    for _ in 0..2 {
        backstay.backup("daily").await.expect("a backup");
    }
    let (pruner, store) = place.vault(Role::Pruner).await;
    assert!(store.capabilities().versions && store.capabilities().locks, "{:?}", store.capabilities());
    let pruning = Backstay::builder("prod-eu", pruner).tier(locking.covers(["db"])).build().expect("well formed");
    let plan = pruning.prune("daily").plan().await.expect("a plan");
    assert!(plan.count(PruneAction::Tombstone) == 0 && plan.to_string().contains("locked until"), "{plan}");
}

/// In a bucket that others use too: no role sees or touches what is theirs.
#[tokio::test(flavor = "multi_thread")]
async fn roles_work_under_their_prefix_and_nowhere_else() {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned());
    let administrator = open(&server, BUCKET).await;
    administrator.put_new(&key("w/theirs"), "others'").await.expect("put");
    let place = Prefix::new("v/").expect("a prefix");
    let mut keyring = Keyring::generate().expect("fresh keys");
    let whole = administrator.clone().prefixed(place.clone()).expect("a place");
    Vault::create(whole.clone()).keyring(&keyring).build().await.expect("a vault");
    let clock = ManualClock::new(SystemClock.now());
    let mut open_as = async |role: Role| {
        let user = server.user(role.name());
        server.allow(&user, &RolePolicy::new(role, BUCKET).under("v/").identity().to_string());
        let store = builder(&server, BUCKET, &user).build().await.expect("the policy lets it look");
        denied(store.get_bytes(&key("w/theirs"), 10).await);
        denied(store.put_new(&key("w/ours"), "x").await);
        denied(all_of(&store).await);
        let keys = keyring.issue(role, &role.name().parse().expect("a name")).expect("issued");
        let store = store.prefixed(place.clone()).expect("a place");
        let vault = Vault::open_as(role, store).keys(&keys).clock(clock.clone());
        vault.build().await.expect("the policy is enough to open")
    };
    let backstay = program(open_as(Role::Writer).await, tier());
    let mut points = Vec::new();
    for _ in 0..2 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
    }
    drop(administrator.upload(&key("v/probe"), &PutOptions::default()).await.expect("begun"));
    drop(administrator.upload(&key("w/probe"), &PutOptions::default()).await.expect("begun"));
    let pruning = Backstay::builder("prod-eu", open_as(Role::Pruner).await).tier(tier().covers(["db"])).build();
    let pruning = pruning.expect("well formed");
    let report = pruning.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    assert_eq!(report.tombstoned, points[..1]);
    let later = Duration::from_secs(9 * 24 * 3600);
    server.advance(later);
    clock.advance(later);
    let report = pruning.sweep().plan().await.expect("a plan").apply().await.expect("a sweep");
    assert_eq!(report.uploads, 1);
    let left: Vec<String> = server.uploads_in(BUCKET).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["w/probe"]);
    let administered = Vault::open_read_only(whole).keyring(&keyring).build().await.expect("it opens");
    assert!(restored(&administered, &points[1]).await.expect("it restores").iter().any(|(name, _)| name == "large"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicator_copies_with_read_there_and_create_here() {
    let place = Place::new().await;
    let backstay = program(place.administrator().await, tier());
    let first = backstay.backup("daily").await.expect("a backup").id;
    place.server.create_bucket("replica", Bucket::versioned());
    let (origin_id, signers) = (place.keyring.vault_id().clone(), place.keyring.allowed_signers().clone());
    let mut own = Keyring::generate().expect("fresh keys");
    let made = Vault::create(open(&place.server, "replica").await).keyring(&own).origin(origin_id.clone(), &signers);
    made.build().await.expect("a replica");
    let copying = own.issue(Role::Replicator, &"copier".parse().expect("a name")).expect("issued");

    // One credential with both policies, by which the server copies what is large; or two, of which neither may do that.
    let (reader, writer, both) =
        (place.server.user("reader"), place.server.user("creator"), place.server.user("copier"));
    let (there, here) =
        (RolePolicy::new(Role::Restorer, BUCKET).identity(), RolePolicy::new(Role::Replicator, "replica").identity());
    let mut policy = here.clone();
    let statements = policy["Statement"].as_array_mut().expect("statements");
    statements.extend(there["Statement"].as_array().expect("statements").clone());
    for (keys, policy) in [(&reader, there), (&writer, here), (&both, policy)] {
        place.server.allow(keys, &policy.to_string());
    }
    let copy = |there: Keys, here: Keys| {
        let (server, signers, copying, origin_id) = (&place.server, &signers, &copying, &origin_id);
        async move {
            server.reset_calls();
            let there = builder(server, BUCKET, &there).versions(true).build().await.expect("it reads there");
            let here = builder(server, "replica", &here).versions(true).build().await.expect("it creates here");
            let there = Vault::open_read_only(there).trust(signers.clone()).build().await.expect("it opens");
            let here = Vault::open_as(Role::Replicator, here).keys(copying).origin(origin_id.clone(), signers);
            let replicator = Replicator::new(there, here.build().await.expect("it opens"));
            let report = replicator.plan().await.expect("a plan").apply().await.expect("copied");
            (report.copied, server.calls(Op::UploadPart), server.calls(Op::UploadPartCopy))
        }
    };
    assert_eq!(copy(both.clone(), both).await, (vec![first], 0, 1));
    let second = backstay.backup("daily").await.expect("a backup").id;
    let (copied, sent, by_the_server) = copy(reader, writer).await;
    assert_eq!((copied, by_the_server), (vec![second], 0));
    assert!(sent > 0, "it was streamed");
}

/// The worst day: no condition in the policy, the writer's credential stolen, and an administrator's too.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_over_and_deleted_by_everybody_is_read_as_of_before() {
    let mut place = Place::new().await;
    let backstay = program(place.vault(Role::Writer).await.0, tier());
    let mut points: Vec<PointId> = Vec::new();
    for _ in 0..2 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
    }
    let administrator = open(&place.server, BUCKET).await;
    let before = administrator.now().await.expect("the store's time");
    place.server.advance(Duration::from_secs(60));

    let keys = Keys { access_key: "AKIA-writer".to_owned(), secret_key: "the-secret-key-of-writer".to_owned() };
    let mut policy = RolePolicy::new(Role::Writer, BUCKET).identity();
    let statements = policy["Statement"].as_array_mut().expect("statements");
    statements.retain(|statement| statement["Effect"] == "Allow");
    place.server.allow(&keys, &policy.to_string());
    let thief = builder(&place.server, BUCKET, &keys).versions(true).build().await.expect("it lists");
    let mut replaced = 0;
    for key in all(&administrator).await {
        replaced += usize::from(thief.put(&key, Bytes::from("gone"), &PutOptions::overwrite()).await.is_ok());
    }
    assert!(replaced > 8, "only {replaced} objects were put over");
    place.server.advance(Duration::from_secs(60));
    let everything: Vec<ObjectRef> = all(&administrator).await.into_iter().map(ObjectRef::from).collect();
    for outcome in administrator.delete(&everything).await.expect("each is told") {
        outcome.result.expect("an administrator may");
    }
    assert!(all(&administrator).await.is_empty());

    let view = administrator.as_of(before).expect("it has versions");
    let then = Vault::open_read_only(view).keyring(&place.keyring).build().await.expect("as it was");
    for point in &points {
        let back = restored(&then, point).await.expect("every point restores");
        assert!(back.iter().any(|(name, content)| name == "large" && *content == large()), "{point}");
    }
}
