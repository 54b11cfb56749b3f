//! Blob Storage where Azurite has nothing: versions, locks, copies from URLs, thawing that takes time, and faults. All on a
//! fake of our own, `azure_fake`, so it proves what our side does with what the service is documented to answer.

mod azure_fake;

use std::sync::Arc;

use azure_fake::{Account, AzureFake, Fault};
use backstay::ErrorKind;
use backstay::azure::{BlobStore, Credential};
use backstay::doctor::Health;
use backstay::store::{
    GetOptions, HeadOptions, Key, ListEntry, ListOptions, Lock, ObjectRef, ObjectStore, ObjectStoreExt, Prefix,
    PutOptions, Thaw, ThawState,
};
use backstay_testkit::conformance;
use bytes::Bytes;
use futures_util::TryStreamExt;

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

fn account() -> Account {
    Account { versions: true, locks: true, soft_delete: true, ..Account::default() }
}

fn store(fake: &AzureFake) -> BlobStore {
    fake.store().versions(true).locks(true).build().expect("well described")
}

async fn names(store: &BlobStore, prefix: &str, options: &ListOptions) -> Vec<String> {
    let lines = store.list(&Prefix::new(prefix).expect("a prefix"), options);
    let name = |line| match line {
        ListEntry::Object(meta) => meta.key.to_string(),
        ListEntry::Folder(folder) => folder.to_string(),
        other => format!("{other:?}"),
    };
    lines.map_ok(name).try_collect().await.expect("a listing")
}

async fn read(store: &BlobStore, options: &GetOptions) -> backstay::Result<Vec<u8>> {
    let body: Vec<Bytes> = store.get(&key("a"), options).await?.body.try_collect().await?;
    Ok(body.concat())
}

/// What Azure itself lacks: it has no delete markers, so it does not tell when a key was deleted; and where the newest
/// version is deleted for good, the one before it is not the newest then, and is read by its id alone.
const LACKS: [&str; 4] = [
    "versions_are_told_with_their_times",
    "a_delete_adds_a_marker",
    "a_version_is_deleted_by_its_id_for_good",
    "an_older_version_can_be_locked",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_fake_with_versions_and_locks_the_contract_is_kept_but_for_what_azure_lacks() {
    let report = conformance::store::run(|_| {
        let fake = AzureFake::start(Account { page: Some(300), ..account() });
        Ok(Arc::new(store(&fake)))
    })
    .await;
    let failed: Vec<_> = report.failed.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, LACKS, "{report}");
    assert_eq!(report.skipped[0], ("a_locked_object_is_not_overwritten", "locks without versions"));
    // It copies what it has a SAS for, and proves no SHA-256 of it.
    let copies: Vec<_> = report.skipped[1..].iter().map(|(_, ability)| *ability).collect();
    assert_eq!(copies, ["copies", "proved copies", "proved copies", "copies", "copies"], "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_old_fake_that_cannot_begin_a_listing_within_the_contract_is_kept() {
    let report = conformance::store::run(|_| {
        let fake = AzureFake::start(Account { page: Some(7), old: true, locks: true, ..Account::default() });
        Ok(Arc::new(fake.store().locks(true).build().expect("well described")))
    })
    .await;
    report.assert();
}

#[tokio::test]
async fn on_a_fake_a_version_is_deleted_for_good_and_no_other() {
    let fake = AzureFake::start(account());
    let store = store(&fake);
    let old = store.put_new(&key("a"), "old").await.expect("room").version.expect("a version");
    let new = store.put(&key("a"), Bytes::from_static(b"new"), &PutOptions::overwrite()).await.expect("room").version;
    let new = new.expect("a version");
    for _ in 0..2 {
        let newest = ObjectRef::version(key("a"), new.clone());
        store.delete(&[newest]).await.expect("answered").remove(0).result.expect("gone, or it was");
    }
    let gone = read(&store, &GetOptions::default().with_version(new)).await.expect_err("gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(read(&store, &GetOptions::default().with_version(old.clone())).await.expect("there"), b"old");
    // A point of the past is read through what was deleted.
    let past =
        store.clone().as_of(store.now().await.expect("a time") + std::time::Duration::from_secs(1)).expect("versions");
    assert_eq!(past.get_bytes(&key("a"), 10).await.expect("there"), "old");
    store.delete(&[ObjectRef::version(key("a"), old)]).await.expect("answered").remove(0).result.expect("gone");
    assert!(names(&store, "", &ListOptions::versions()).await.is_empty());

    // Somebody puts another one just before ours is made an older one: theirs stays the newest.
    let ours = store.put_new(&key("a"), "ours").await.expect("room").version.expect("a version");
    fake.account().faults.extend([Fault::Good, Fault::Good, Fault::Raced("vault/a", "theirs")]);
    store.delete(&[ObjectRef::version(key("a"), ours)]).await.expect("answered").remove(0).result.expect("gone");
    assert_eq!(store.get_bytes(&key("a"), 10).await.expect("there"), "theirs");
    assert_eq!(names(&store, "", &ListOptions::versions()).await, ["a"]);
}

#[tokio::test]
async fn on_a_fake_a_listing_begins_where_it_is_asked_to() {
    let fake = AzureFake::start(Account { page: Some(10), ..Account::default() });
    let store = fake.store().build().expect("well described");
    for i in 0..40 {
        store.put_new(&key(&format!("p/{i:02}")), "").await.expect("room");
    }
    fake.account().take_requests();
    assert_eq!(names(&store, "p/", &ListOptions::after("p/37")).await, ["p/38", "p/39"]);
    assert_eq!(fake.account().take_requests().len(), 1, "the pages before are not read");
    assert_eq!(names(&store, "", &ListOptions::folders()).await, ["p/"]);
    assert_eq!(fake.account().take_requests().len(), 1, "what is folded is not read");
}

#[tokio::test]
async fn on_a_fake_of_a_hierarchical_account_a_listing_out_of_order_is_refused() {
    let fake = AzureFake::start(account());
    let store = store(&fake);
    fake.account().out_of_order = true;
    let error =
        store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await.expect_err("out of order");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("hierarchical namespace"), "{error}");
}

#[tokio::test]
async fn on_a_fake_one_container_copies_from_another_and_no_byte_passes_us() {
    let fake = AzureFake::start(account());
    let origin = fake.store().build().expect("well described");
    let replica = BlobStore::at(&fake.url("replica"))
        .credential(backstay::azure::Credential::sas(backstay::Secret::new("sig=good".to_owned())));
    let sas = || backstay::Secret::new("sv=1&sig=good".to_owned());
    let replica = replica.copies_from(fake.url("vault"), sas()).build().expect("well described");
    origin.put_new(&key("a"), "content").await.expect("room");
    let from = origin.locate(&key("a")).expect("it has a place");
    assert!(!format!("{from:?}").contains("sig"), "{from:?}");
    fake.account().take_requests();

    let copied = replica.copy_in(&from, &key("b"), &PutOptions::default()).await.expect("copied").expect("on its side");
    assert_eq!(copied.size, 7);
    assert!(fake.account().take_requests().iter().all(|request| request.body.is_empty() && request.method != "GET"));
    assert_eq!(replica.get_bytes(&key("b"), 10).await.expect("there"), "content");
    let again = replica.copy_in(&from, &key("b"), &PutOptions::default()).await.expect_err("taken");
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    // Too large for one call: blocks, all of one content.
    fake.account().claim("vault/a", (600 << 20) + 1);
    fake.account().take_requests();
    replica.copy_in(&from, &key("large"), &PutOptions::default()).await.expect("copied").expect("on its side");
    let requests = fake.account().take_requests();
    let ranges: Vec<_> = requests.iter().filter_map(|request| request.header("x-ms-source-range")).collect();
    assert_eq!(ranges, ["bytes=0-268435455", "bytes=268435456-536870911", "bytes=536870912-629145600"]);
    let pins = requests.iter().filter(|request| request.header("x-ms-source-if-match").is_some()).count();
    assert_eq!(pins, 3);

    // Of what it copies the service proves no SHA-256, so nothing is copied where one is announced.
    let announced = PutOptions::default().with_sha256(backstay::Sha256::of(b"content"));
    assert!(replica.copy_in(&from, &key("proved"), &announced).await.expect("no error").is_none());
    assert!(!replica.exists(&key("proved")).await.expect("answered"));
    let absent = origin.locate(&key("absent")).expect("a place");
    assert_eq!(
        replica.copy_in(&absent, &key("c"), &PutOptions::default()).await.expect_err("absent").kind(),
        ErrorKind::NotFound
    );
    // Who is not known to be readable is streamed by the caller.
    let stranger = fake.store().build().expect("well described");
    assert!(stranger.copy_in(&from, &key("d"), &PutOptions::default()).await.expect("no error").is_none());
    let wrong = BlobStore::at(&fake.url("replica"))
        .credential(backstay::azure::Credential::sas(sas()))
        .copies_from(fake.url("vault"), backstay::Secret::new("sig=wrong".to_owned()))
        .build()
        .expect("well described");
    assert!(wrong.copy_in(&from, &key("d"), &PutOptions::default()).await.expect("no error").is_none());
}

#[tokio::test]
async fn on_a_fake_a_copy_replaces_nothing_drops_no_lock_and_shows_no_secret_to_others() {
    let fake = AzureFake::start(account());
    let origin = fake.store().build().expect("well described");
    let sas = || backstay::Secret::new("sv=1&sig=good".to_owned());
    let by =
        |credential| BlobStore::at(&fake.url("replica")).credential(credential).copies_from(fake.url("vault"), sas());
    let replica = by(Credential::sas(sas())).locks(true).build().expect("well described");
    origin.put_new(&key("a"), "content").await.expect("room");
    let from = origin.locate(&key("a")).expect("it has a place");
    fake.account().take_requests();
    // Nobody is asked about a place whose SAS is not known: another one's would go there.
    let elsewhere =
        BlobStore::at(&fake.url("third")).credential(Credential::sas(sas())).build().expect("well described");
    let mut other = from.clone();
    other.scheme = "s3".into();
    for place in [elsewhere.locate(&key("a")).expect("it has a place"), other] {
        assert!(replica.copy_in(&place, &key("b"), &PutOptions::default()).await.expect("no error").is_none());
    }
    // A copy has no lock until another call sets it: the caller streams.
    let mut hold = Lock::default();
    hold.hold = true;
    let held = PutOptions::default().with_lock(hold);
    assert!(replica.copy_in(&from, &key("b"), &held).await.expect("no error").is_none());
    assert!(fake.account().take_requests().is_empty());

    replica.copy_in(&from, &key("b"), &PutOptions::default()).await.expect("copied").expect("on its side");
    let pinned = |fake: &AzureFake| {
        let requests = fake.account().take_requests();
        requests.iter().filter(|request| request.header("x-ms-source-if-match").is_some()).count()
    };
    assert_eq!(pinned(&fake), 1, "what was looked at is what is copied");
    for size in [7, (300 << 20) + 1] {
        fake.account().claim("vault/a", size);
        let taken = replica.copy_in(&from, &key("b"), &PutOptions::default()).await.expect_err("taken");
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{size}: {taken}");
        fake.account().faults.extend([Fault::Good, Fault::Status(403, "CannotVerifyCopySource")]);
        let copied = replica.copy_in(&from, &key("c"), &PutOptions::default()).await;
        assert!(copied.expect("no error").is_none(), "{size}: the caller may read it");
    }
    fake.account().take_requests();
    let key_of_ours = by(Credential::shared_key(backstay::Secret::new("UExBTlRFRA==".to_owned())));
    let replica = key_of_ours.build().expect("well described");
    drop(replica.copy_in(&from, &key("d"), &PutOptions::default()).await);
    let looked = fake.account().take_requests().remove(0);
    assert!(looked.method == "HEAD" && looked.header("authorization").is_none(), "a key of ours is none at the source");
}

#[tokio::test]
async fn on_a_fake_thawing_takes_its_time_and_says_so() {
    let fake = AzureFake::start(account());
    let store = store(&fake);
    let mut archived = PutOptions::default();
    archived.class = Some("Archive".to_owned());
    store.put(&key("a"), Bytes::from_static(b"cold"), &archived).await.expect("room");
    let error = store.get(&key("a"), &GetOptions::default()).await.expect_err("archived");
    assert_eq!(error.kind(), ErrorKind::Archived, "{error}");
    assert!(error.to_string().contains("thaw"), "{error}");
    let mut high = Thaw::default();
    high.speed = Some("High".to_owned());
    for _ in 0..2 {
        assert_eq!(store.thaw(&key("a").into(), &high).await.expect("asked"), ThawState::Thawing);
    }
    let asked: Vec<_> = fake.account().take_requests();
    let tiers = asked.iter().filter(|request| request.query("comp") == Some("tier"));
    let priorities: Vec<_> = tiers.map(|request| request.header("x-ms-rehydrate-priority")).collect();
    assert_eq!(priorities, [Some("High")], "it is asked for once");
    fake.account().thaw_all();
    assert_eq!(store.thaw(&key("a").into(), &Thaw::default()).await.expect("there"), ThawState::Ready(None));
    assert_eq!(store.get_bytes(&key("a"), 10).await.expect("thawed"), "cold");
    high.speed = Some("yesterday".to_owned());
    assert_eq!(store.thaw(&key("a").into(), &high).await.expect_err("no such").kind(), ErrorKind::Invalid);
    let absent = store.thaw(&key("absent").into(), &Thaw::default()).await.expect_err("absent");
    assert_eq!(absent.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn on_a_fake_a_hold_and_a_policy_only_grow() {
    let fake = AzureFake::start(Account { versions: false, ..account() });
    let store = fake.store().locks(true).build().expect("well described");
    store.put_new(&key("a"), "kept").await.expect("room");
    let now = store.now().await.expect("a time");
    let mut weak = Lock::until(now + std::time::Duration::from_secs(600));
    weak.bypassable = true;
    let strict = Lock::until(now + std::time::Duration::from_secs(600));
    store.protect(&key("a").into(), &weak).await.expect("locked");
    // The service itself would take it: this mode can be shortened.
    let mut shorter = Lock::until(now + std::time::Duration::from_secs(60));
    shorter.bypassable = true;
    assert_eq!(store.protect(&key("a").into(), &shorter).await.expect_err("shorter").kind(), ErrorKind::Locked);
    store.protect(&key("a").into(), &strict).await.expect("locked harder");
    assert_eq!(store.protect(&key("a").into(), &weak).await.expect_err("weaker").kind(), ErrorKind::Locked);
    let mut hold = Lock::default();
    hold.hold = true;
    store.protect(&key("a").into(), &hold).await.expect("held");
    let lock = store.head(&key("a"), &HeadOptions::default()).await.expect("there").lock.expect("locked");
    assert!(lock.hold && !lock.bypassable && lock.until.is_some(), "{lock:?}");
    // A store that was not told of locks refuses them, and does not drop them.
    let plain = fake.store().build().expect("well described");
    let refused =
        plain.put(&key("b"), Bytes::new(), &PutOptions::default().with_lock(hold)).await.expect_err("no locks");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn on_a_fake_the_version_that_is_meant_is_locked_and_no_other() {
    let fake = AzureFake::start(account());
    let store = store(&fake);
    let old = store.put_new(&key("a"), "old").await.expect("room").version.expect("a version");
    store.put(&key("a"), Bytes::from_static(b"new"), &PutOptions::overwrite()).await.expect("room");
    let mut lock = Lock::until(store.now().await.expect("a time") + std::time::Duration::from_secs(600));
    lock.hold = true;
    store.protect(&ObjectRef::version(key("a"), old.clone()), &lock).await.expect("locked");
    let mut of_old = HeadOptions::default();
    of_old.version = Some(old);
    let told = store.head(&key("a"), &of_old).await.expect("there");
    assert!(told.lock.is_some_and(|lock| lock.hold && lock.until.is_some()) && !told.latest, "{told:?}");
    assert_eq!(store.head(&key("a"), &HeadOptions::default()).await.expect("there").lock, None);
    let plain = fake.store().versions(true).build().expect("well described");
    assert_eq!(plain.protect(&key("a").into(), &lock).await.expect_err("no locks").kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn on_a_fake_the_doctor_tells_what_it_may_not_see_and_leaves_nothing() {
    let health = |report: &backstay::doctor::DoctorReport, what: &str| report.of(what).map(|found| found.health);
    let denied = Fault::Status(403, "AuthorizationPermissionMismatch");
    let fake = AzureFake::start(Account { versions: false, ..account() });
    let locking = fake.store().locks(true).build().expect("well described");
    fake.account().faults.push_back(Fault::Status(404, "ContainerNotFound"));
    let report = locking.doctor().await;
    assert_eq!(health(&report, "container"), Some(Health::Critical), "{report}");
    assert_eq!(report.findings.len(), 1, "of what is not there nothing else is told: {report}");
    fake.account().faults.push_back(denied.clone());
    let report = locking.doctor().await;
    assert_eq!(health(&report, "container"), Some(Health::Unknown), "it can be listed: {report}");
    assert_eq!(health(&report, "immutability"), Some(Health::Fine), "{report}");
    assert!(fake.account().blobs.is_empty(), "a probe stays");
    // Container, account's properties, kind, listing: then the delete that shows whether a probe could be removed.
    fake.account().take_requests();
    fake.account().faults.extend([Fault::Good, Fault::Good, Fault::Good, Fault::Good, denied]);
    let report = locking.doctor().await;
    assert_eq!(health(&report, "immutability"), Some(Health::Unknown), "{report}");
    let mut archived = PutOptions::default();
    archived.class = Some("Archive".to_owned());
    let plain = fake.store().build().expect("well described");
    let report = plain.doctor().await;
    assert_eq!(health(&report, "immutability"), Some(Health::Missing), "{report}");
    assert!(fake.account().take_requests().iter().all(|request| request.method != "PUT"), "a probe was put");
    plain.put(&key("a"), Bytes::new(), &archived).await.expect("room");
    assert_eq!(health(&plain.doctor().await, "class"), Some(Health::Risky));

    // What mends it is pasted into a shell.
    let text = format!("AccountName=it's $1;BlobEndpoint={};SharedAccessSignature=sv=1&sig=good", fake.url(""));
    let named =
        BlobStore::from_connection_string(&backstay::Secret::new(text), "vault").build().expect("it is well said");
    let report = named.doctor().await;
    let told = report.to_string();
    assert!(told.contains(r"--account-name 'it'\''s $1' --enable-versioning true"), "{told}");
}

#[tokio::test]
async fn on_a_fake_the_doctor_proves_locks_and_finds_what_is_wrong() {
    let fake = AzureFake::start(account());
    let report = store(&fake).doctor().await;
    assert_eq!(report.of("immutability").expect("looked at").health, Health::Fine, "{report}");
    assert_eq!(report.of("soft delete").expect("looked at").health, Health::Fine, "{report}");
    assert!(names(&store(&fake), "", &ListOptions::versions()).await.is_empty(), "the probe is gone");
    store(&fake).put_new(&key("a"), "").await.expect("room");
    let report = store(&fake).doctor().await;
    assert_eq!(report.worst(), Health::Fine, "{report}");

    let bad = Account { hierarchical: true, public: true, versions: false, locks: false, ..Account::default() };
    let fake = AzureFake::start(bad);
    store(&fake).put_new(&key("a"), "").await.expect("room");
    let report = store(&fake).doctor().await;
    let health = |what: &str| report.of(what).map(|found| found.health);
    assert_eq!(health("account"), Some(Health::Critical), "{report}");
    assert_eq!(health("public access"), Some(Health::Risky));
    assert_eq!(health("soft delete"), Some(Health::Missing));
    assert_eq!(health("versions"), Some(Health::Risky));
    assert_eq!(health("immutability"), Some(Health::Risky), "a lock that is dropped in silence is found");
}

#[tokio::test]
async fn on_a_fake_a_read_that_ends_early_goes_on_where_it_ended_and_never_short() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    let content: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
    store.put_new(&key("a"), content.clone()).await.expect("room");
    fake.account().faults.extend([Fault::Short(300), Fault::Cut, Fault::Short(1)]);
    assert_eq!(read(&store, &GetOptions::default()).await.expect("it goes on"), content);
    fake.account().faults.extend([Fault::Short(10)]);
    assert_eq!(read(&store, &GetOptions::range(500..600)).await.expect("it goes on"), content[500..600]);
    let pins = fake.account().take_requests();
    let pins = pins.iter().filter(|request| request.method == "GET" && request.header("if-match").is_some()).count();
    assert!(pins >= 3, "what goes on is bound to the same content: {pins}");

    // For ever short: an error, not an end.
    fake.account().faults.extend((0..50).map(|_| Fault::Short(1)));
    let error = read(&store, &GetOptions::default()).await.expect_err("short");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("missing: 994"), "{error}");
    fake.account().faults.clear();

    // Another content in the middle: no mixture of two.
    let mut body = store.get(&key("a"), &GetOptions::default()).await.expect("there").body;
    fake.account().faults.clear();
    drop(body.try_next().await);
    fake.account().faults.push_back(Fault::Short(300));
    let reading = store.get(&key("a"), &GetOptions::default()).await.expect("there").body;
    store.put(&key("a"), vec![0; 1000].into(), &PutOptions::overwrite()).await.expect("replaced");
    let error = reading.try_collect::<Vec<_>>().await.expect_err("another content");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn on_a_fake_other_bytes_than_were_asked_for_are_refused() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    store.put_new(&key("a"), "content").await.expect("room");
    let says = |range| Fault::Says("content-range", range);
    for (faults, options, words) in [
        (vec![says("bytes 1-4/7")], GetOptions::range(0..4), "other bytes"),
        (vec![says("bytes 0-2/3")], GetOptions::default(), "sent more"),
        (vec![Fault::Short(3), says("bytes 0-6/7")], GetOptions::default(), "other bytes"),
    ] {
        fake.account().faults.extend(faults);
        let error = read(&store, &options).await.expect_err(words);
        assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn on_a_fake_that_throttles_calls_are_tried_again_for_as_long_as_was_said() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    fake.account().faults.extend([Fault::Status(503, "ServerBusy"), Fault::Status(500, "InternalError")]);
    store.put_new(&key("a"), "x").await.expect("after two tries");
    fake.account().faults.extend((0..20).map(|_| Fault::Status(503, "ServerBusy")));
    let error = store.put_new(&key("b"), "x").await.expect_err("busy for ever");
    assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
    assert!(!error.is_retryable(), "the SDK has tried");
    assert_eq!(fake.account().faults.len(), 17, "twice again, as was said");
    let text = error.to_string();
    assert!(text.contains("put: ") && text.contains("key: b") && text.contains("azblob://127.0.0.1"), "{text}");
    fake.account().faults.clear();

    // An answer that is lost: the second try finds what the first one made.
    fake.account().faults.push_back(Fault::After(500, "InternalError"));
    let error = store.put_new(&key("c"), "x").await.expect_err("it is there, and may be another's");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(store.get_bytes(&key("c"), 10).await.expect("there"), "x");
}

#[tokio::test]
async fn on_a_fake_every_body_is_sent_with_its_digest_and_every_create_with_its_condition() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    store.put_new(&key("a"), "x").await.expect("room");
    let mut upload = store.upload(&key("b"), &PutOptions::default()).await.expect("begun");
    for part in [vec![1; 100_000], vec![2; 5]] {
        upload.part(part.into()).await.expect("staged");
    }
    upload.complete().await.expect("committed");
    let requests = fake.account().take_requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|request| {
            let has = |name: &str| request.header(name).is_some();
            (request.query("comp"), has("content-md5"), request.header("if-none-match"))
        })
        .collect();
    let block = (Some("block"), true, None);
    assert_eq!(seen, [(None, true, Some("*")), block, block, (Some("blocklist"), false, Some("*"))]);
    assert!(requests.iter().all(|request| request.header("x-ms-version") == Some("2025-11-05")));
}

#[tokio::test]
async fn on_a_fake_who_may_not_delete_leaves_no_empty_blob_when_an_upload_is_given_up() {
    let fake = AzureFake::start(Account::default());
    let store = fake.store().build().expect("well described");
    let mut upload = store.upload(&key("a"), &PutOptions::default()).await.expect("begun");
    upload.part(Bytes::from_static(b"x")).await.expect("staged");
    fake.account().faults.push_back(Fault::Status(403, "AuthorizationPermissionMismatch"));
    let error = upload.abort().await.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("a week"), "{error}");
    assert!(names(&store, "", &ListOptions::default()).await.is_empty());
}
