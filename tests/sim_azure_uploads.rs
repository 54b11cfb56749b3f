//! Uploads to Blob Storage, all of whose blocks lie under the key alone: none takes another's, and giving one up touches no
//! blob. On a fake of our own, `azure_fake`.

mod azure_fake;

use std::time::Duration;

use azure_fake::{Account, AzureFake, Fault};
use backstay::azure::BlobStore;
use backstay::store::{
    HeadOptions, Key, ListOptions, Lock, ObjectStore, ObjectStoreExt, Prefix, PutOptions, Upload, UploadRef,
};
use backstay::{Backstay, Budget, ErrorKind, Keep, Keyring, Limits, Tier, Vault};
use backstay_testkit::mock::MockExporter;
use bytes::Bytes;
use futures_util::TryStreamExt;

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

async fn staged(store: &BlobStore, name: &str, content: &'static str) -> Box<dyn Upload> {
    let mut upload = store.upload(&key(name), &PutOptions::default()).await.expect("begun");
    upload.part(Bytes::from_static(content.as_bytes())).await.expect("staged");
    upload
}

async fn read(store: &BlobStore, name: &str) -> Bytes {
    store.get_bytes(&key(name), 100).await.expect("it is there")
}

#[tokio::test]
async fn two_uploads_of_a_key_do_not_mix() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    let (two, one) = (staged(&store, "a", "two").await, staged(&store, "a", "one").await);
    store.put_new(&key("ab"), "a longer name").await.expect("room");
    two.complete().await.expect("committed");
    assert_eq!(read(&store, "a").await, "two");
    // The service let the blocks of both go.
    assert_eq!(one.complete().await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
    let gone = staged(&store, "a/b", "gone").await;
    store.put_new(&key("a/bc"), "a longer name").await.expect("room");
    fake.account().blocks.clear();
    assert_eq!(gone.complete().await.expect_err("aborted").kind(), ErrorKind::NotFound);

    let mut upload = store.upload(&key("c"), &PutOptions::default()).await.expect("begun");
    drop(upload.part(Bytes::from_static(b"never sent")));
    assert_eq!(upload.complete().await.expect_err("a part is missing").kind(), ErrorKind::Invalid);
    store.put_new(&key("c"), "theirs").await.expect("room");
    let taken = staged(&store, "c", "ours").await;
    assert_eq!(taken.complete().await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
    assert_eq!(read(&store, "c").await, "theirs");
}

/// Some servers answer a create by 412, and a credential that may only create is refused an overwrite by 409.
#[tokio::test]
async fn what_is_refused_is_told_by_what_was_asked_for() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    fake.account().faults.push_back(Fault::Status(412, "ConditionNotMet"));
    assert_eq!(store.put_new(&key("a"), "x").await.expect_err("taken").kind(), ErrorKind::AlreadyExists);
    fake.account().faults.push_back(Fault::Status(409, "UnauthorizedBlobOverwrite"));
    let over = store.put(&key("a"), Bytes::new(), &PutOptions::overwrite()).await.expect_err("it may not");
    assert_eq!(over.kind(), ErrorKind::Denied, "{over}");
}

#[tokio::test]
async fn giving_an_upload_up_touches_no_blob() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    let upload = staged(&store, "a", "ours").await;
    store.put_new(&key("a"), "theirs").await.expect("room");
    upload.abort().await.expect("freed by them");
    assert_eq!(read(&store, "a").await, "theirs");

    // Somebody puts over the empty blob that frees the blocks, before it is deleted.
    let upload = staged(&store, "b", "ours").await;
    fake.account().faults.extend([Fault::Good, Fault::Good, Fault::Raced("vault/b", "theirs")]);
    upload.abort().await.expect("freed");
    assert_eq!(read(&store, "b").await, "theirs");

    store.put_new(&key("empty"), "").await.expect("room");
    drop(staged(&store, "left", "ours").await);
    let left: Vec<UploadRef> = store.uploads(&Prefix::all()).try_collect().await.expect("a listing");
    let told: Vec<_> = left.iter().map(|upload| (upload.key.as_str(), upload.started)).collect();
    assert_eq!(told, [("left", None)], "the service does not tell when blocks came");
    fake.account().faults.push_back(Fault::Status(404, "ContainerNotFound"));
    let error = store.abort_upload(&left[0]).await.expect_err("the container is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    store.abort_upload(&left[0]).await.expect("freed");
    assert!(fake.account().blocks.is_empty() && !store.exists(&key("left")).await.expect("answered"));

    let fake = AzureFake::start(Account { versions: true, ..Account::default() });
    let store = fake.store().versions(true).build().expect("well described");
    staged(&store, "a", "ours").await.abort().await.expect("freed");
    let kept: Vec<_> = store.list(&Prefix::all(), &ListOptions::versions()).try_collect().await.expect("a listing");
    assert!(kept.is_empty(), "the empty blob is kept as an older version: {kept:?}");
}

/// What may have begun just now is nobody's to end: the service lets it go by itself.
#[tokio::test]
async fn a_sweep_leaves_an_upload_of_which_nobody_knows_when_it_began() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    let keyring = Keyring::generate().expect("fresh keys fit");
    let program = |vault| {
        let tier = Tier::new("daily").keep(Keep::last(2));
        Backstay::builder("shop", vault).export("db", MockExporter::new([("rows", "1,2")])).tier(tier).build()
    };
    let vault = Vault::create(store.clone()).keyring(&keyring).build().await.expect("made");
    program(vault).expect("well formed").backup("daily").await.expect("a backup");
    let name = "items/shop/daily/20261120t064200z-abcdefgh/abcdefgh/000000-db.zst.age";
    let living = staged(&store, name, "ours").await;

    // Whatever has a time is too old for it.
    let mut limits = Limits::default();
    limits.longest_run = Duration::ZERO;
    let vault = Vault::open(store.clone()).keyring(&keyring).budget(Budget::new(limits)).build().await.expect("opened");
    let plan = program(vault).expect("well formed").sweep().grace(Duration::ZERO).plan().await.expect("a plan");
    let told = format!("{name}: the first of 1 uploads of which the store does not tell when they began");
    assert!(plan.uploads.is_empty() && plan.strange.contains(&told), "{plan}");
    assert_eq!(plan.apply().await.expect("a sweep").uploads, 0);
    living.complete().await.expect("its blocks are there");
}

#[tokio::test]
async fn a_listing_that_does_not_tell_when_a_blob_was_put_fails_by_its_name() {
    let fake = AzureFake::start(Account { untimed: true, ..Account::default() });
    let store = fake.store().build().expect("well described");
    store.put_new(&key("a"), "x").await.expect("room");
    let listed = store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await;
    let error = listed.expect_err("nothing can be decided on it");
    assert!(error.kind() == ErrorKind::Other && error.to_string().contains("key: a"), "{error}");
}

#[tokio::test]
async fn a_lock_a_hold_and_a_tier_are_there_from_the_first_moment() {
    let fake = AzureFake::start(Account { locks: true, ..Account::default() });
    let store = fake.store().locks(true).build().expect("well described");
    let mut options = PutOptions::default();
    let mut lock = Lock::until(store.now().await.expect("a time") + Duration::from_millis(600_500));
    lock.hold = true;
    (options.lock, options.class) = (Some(lock), Some("Cool".to_owned()));
    options.tags.insert("of".to_owned(), "a tier".to_owned());
    fake.account().take_requests();
    store.put(&key("put"), Bytes::from_static(b"x"), &options).await.expect("room");
    let mut upload = store.upload(&key("upload"), &options).await.expect("begun");
    upload.part(Bytes::from_static(b"x")).await.expect("staged");
    upload.complete().await.expect("committed");
    let tagged = fake.account().take_requests();
    assert_eq!(tagged.iter().filter(|request| request.header("x-ms-tags") == Some("of=a%20tier")).count(), 2);
    for name in ["put", "upload"] {
        let told = store.head(&key(name), &HeadOptions::default()).await.expect("there");
        let held = told.lock.expect("locked");
        assert!(held.hold && !held.bypassable && held.until >= lock.until, "{name}: {held:?}");
        assert_eq!(told.class.as_deref(), Some("Cool"), "{name}");
    }
}
