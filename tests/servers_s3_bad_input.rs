//! What goes wrong with buckets: a kind that fits, words with the place, no hang, and nothing lost.

mod support;

use std::time::Duration;

use backstay::aws::{Encryption, S3Store};
use backstay::store::{
    GetOptions, HeadOptions, Key, ListEntry, ListOptions, Lock, ObjectRef, ObjectStore, ObjectStoreExt as _, Prefix,
    PutOptions, Thaw, ThawState,
};
use backstay::{Error, ErrorKind, Result, Secret};
use backstay_test_servers::moto::Moto;
use backstay_test_servers::proxy::Proxy;
use backstay_test_servers::s3::{Minio, Versitygw};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use support::s3::{Kind, boto, builder, builder_of, make, open};

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

/// The error of a call that ends within a minute, of this kind and with these words.
async fn fails<T>(kind: ErrorKind, words: &[&str], call: impl Future<Output = Result<T>>) -> Error {
    let result = tokio::time::timeout(Duration::from_secs(60), call).await.expect("no hang");
    let Err(error) = result else { panic!("{kind:?} {words:?}: it went well") };
    let text = format!("{error:?}");
    assert_eq!(error.kind(), kind, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    error
}

async fn read(store: &S3Store, name: &str) -> Result<Bytes> {
    store.get_bytes(&key(name), 1 << 30).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_opened_says_why() {
    let gateway = Versitygw::with_versions_and_users();
    let minio = Minio::start();
    for server in [&*gateway, &*minio] {
        make(server, &[("acme", Kind::Plain)]);
        let secret = || Secret::new(server.secret_key().to_owned());
        fails(ErrorKind::NotFound, &["nothing-here", "no such bucket"], builder(server, "nothing-here").build()).await;
        let wrong = builder(server, "acme").credentials("nobody", secret()).build();
        let error = fails(ErrorKind::Denied, &["does not know the access key", "acme"], wrong).await;
        assert_eq!(error.context("credential"), Some("not accepted"));
        let wrong = builder_of(server, "acme", server.access_key(), "another").build();
        fails(ErrorKind::Denied, &["secret key", "acme"], wrong).await;
    }
    // MinIO takes any region for its own.
    let wrong = builder(&gateway, "acme").region("eu-west-1").build();
    fails(ErrorKind::Invalid, &["us-east-1", "acme", "region"], wrong).await;
    let name = builder(&gateway, "Acme_Backups").build();
    fails(ErrorKind::Invalid, &["not the name of a bucket", "Acme_Backups"], name).await;
    let nobody = builder(&gateway, "acme").endpoint("http://127.0.0.1:9").build();
    fails(ErrorKind::Unavailable, &["cannot be reached", "acme"], nobody).await;
}

/// Its name may be taken over by another account while we look away.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_another_account_is_not_written_to() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[("acme", Kind::Plain)]);
    let own = builder(&server, "acme").owner(server.access_key()).build().await.expect("its owner is named");
    own.put_new(&key("a"), "x").await.expect("it is the owner's");
    let other = builder(&server, "acme").owner("somebody-else").versions(false).locks(false).build();
    match other.await {
        Ok(other) => {
            fails(ErrorKind::Denied, &["acme"], other.put_new(&key("b"), "x")).await;
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}"),
    }
    assert!(!own.exists(&key("b")).await.expect("it can be asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_gone_is_not_found_until_it_is_made_again() {
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let store = open(&server, "acme").await;
    boto(&server, "s3.delete_bucket(Bucket='acme')");
    fails(ErrorKind::NotFound, &["acme", "no such bucket"], store.put_new(&key("a"), "x")).await;
    fails(ErrorKind::NotFound, &["acme"], store.upload(&key("a"), &PutOptions::default())).await;
    let listed = store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>();
    fails(ErrorKind::NotFound, &["acme", "no such bucket"], listed).await;
    make(&server, &[("acme", Kind::Plain)]);
    store.put_new(&key("a"), "x").await.expect("it is there again");
}

/// Each call names the right that it lacks.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_nothing_is_told_what_is_missing() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[("acme", Kind::Locked)]);
    let all = open(&server, "acme").await;
    all.put_new(&key("a"), "x").await.expect("the first user may");
    let (access, secret) = server.user("nobody");
    let store = builder_of(&server, "acme", &access, &secret).versions(true).locks(true);
    let store = store.build().await.expect("what it may not see is declared");
    assert!(store.capabilities().versions && store.capabilities().locks);
    let (a, b) = (key("a"), key("b"));
    let denied = ErrorKind::Denied;
    fails(denied, &["s3:PutObject", "acme", "put"], store.put_new(&b, "x")).await;
    fails(denied, &["s3:PutObject", "acme", "upload"], store.upload(&b, &PutOptions::default())).await;
    fails(denied, &["s3:GetObject", "acme"], store.get(&a, &GetOptions::default())).await;
    fails(denied, &["s3:GetObject", "acme"], store.head(&a, &HeadOptions::default())).await;
    fails(denied, &["s3:GetObject", "acme"], store.thaw(&a.clone().into(), &Thaw::default())).await;
    let mut lock = Lock::default();
    lock.hold = true;
    fails(denied, &["acme"], store.protect(&a.clone().into(), &lock)).await;
    for (options, right) in
        [(ListOptions::default(), "s3:ListBucket"), (ListOptions::versions(), "s3:ListBucketVersions")]
    {
        let listed = store.list(&Prefix::all(), &options).try_collect::<Vec<_>>();
        fails(denied, &[right, "acme"], listed).await;
    }
    let uploads = store.uploads(&Prefix::all()).try_collect::<Vec<_>>();
    fails(denied, &["s3:ListBucketMultipartUploads", "acme"], uploads).await;
    let deleted = store.delete(&[a.clone().into()]).await.map(|mut outcomes| outcomes.remove(0).result);
    fails(denied, &["s3:DeleteObject", "acme"], async { deleted.and_then(|result| result) }).await;
    let from = all.locate(&a).expect("a location");
    assert!(store.copy_in(&from, &b, &PutOptions::default()).await.expect("the caller streams").is_none());
    // A refusal tells the time as well.
    let apart = store.now().await.expect("a date").as_second() - all.now().await.expect("a date").as_second();
    assert!(apart.abs() <= 2, "{apart}");
    assert_eq!(read(&all, "a").await.expect("nothing is lost"), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_unavailable_and_good_when_it_is_up_again() {
    let mut server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let store = builder(&server, "acme").attempts(2).build().await.expect("it is up");
    store.put_new(&key("a"), "kept").await.expect("it is up");
    server.kill();
    fails(ErrorKind::Unavailable, &["acme", "b", "cannot be reached"], store.put_new(&key("b"), "x")).await;
    fails(ErrorKind::Unavailable, &["acme"], store.now()).await;
    server.start_again();
    store.put_new(&key("b"), "x").await.expect("it is up again");
    assert_eq!(read(&store, "a").await.expect("it was kept"), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let proxy = Proxy::to(server.port());
    let through = builder(&server, "acme").endpoint(server.endpoint_by(proxy.port())).attempts(2);
    let store = through.timeout(Duration::from_secs(1)).build().await.expect("it answers");
    proxy.stall();
    fails(ErrorKind::Timeout, &["acme", "no answer in time"], store.put_new(&key("a"), "x")).await;
    fails(ErrorKind::Timeout, &["acme"], store.get(&key("a"), &GetOptions::default())).await;
}

/// The connection breaks in the middle: the rest of the same content is asked for, and nothing half is passed on as whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_goes_on_or_fails() {
    const SIZE: usize = 8 << 20;
    let content: Vec<u8> = (0..SIZE).map(|i| (i / 7 % 251) as u8).collect();
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let proxy = Proxy::to(server.port());
    let through = builder(&server, "acme").endpoint(server.endpoint_by(proxy.port()));
    let store = through.build().await.expect("it answers");
    store.put_new(&key("a"), content.clone()).await.expect("it is up");
    proxy.cut_after(3 << 20);
    let mut body = store.get(&key("a"), &GetOptions::default()).await.expect("it begins").body;
    let mut whole = Vec::new();
    while let Some(chunk) = body.try_next().await.expect("it goes on") {
        whole.extend_from_slice(&chunk);
        if proxy.is_cut() {
            proxy.resume();
        }
    }
    assert!(whole == content, "{} of {SIZE} bytes, or others", whole.len());
    // Another content took its place meanwhile: its rest is not this one's.
    proxy.cut_after(3 << 20);
    let mut body = store.get(&key("a"), &GetOptions::default()).await.expect("it begins").body;
    body.try_next().await.expect("it goes on");
    let direct = open(&server, "acme").await;
    direct.put(&key("a"), Bytes::from(vec![1; SIZE]), &PutOptions::overwrite()).await.expect("overwritten");
    let rest = async {
        while body.try_next().await?.is_some() {
            if proxy.is_cut() {
                proxy.resume();
            }
        }
        Ok(())
    };
    fails(ErrorKind::Conflict, &["acme", "not the one that was meant"], rest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_an_object_and_too_long_a_key_is_none() {
    for (server, name) in [(&*Versitygw::start(), "versitygw"), (&*Minio::start(), "minio")] {
        make(server, &[("acme", Kind::Plain)]);
        let store = open(server, "acme").await;
        store.put_new(&key("put"), "").await.expect(name);
        let upload = store.upload(&key("upload"), &PutOptions::default()).await.expect(name);
        upload.complete().await.expect(name);
        let from = store.locate(&key("put")).expect("a location");
        store.copy_in(&from, &key("copied"), &PutOptions::default()).await.expect(name).expect("the same server");
        for empty in ["put", "upload", "copied"] {
            assert!(read(&store, empty).await.expect(name).is_empty(), "{name}: {empty}");
        }
        assert_eq!("x".repeat(256).parse::<Key>().expect_err("too long").kind(), ErrorKind::Invalid);
        let deep = store.clone().prefixed(Prefix::new("p".repeat(200) + "/").expect("a prefix")).expect("a folder");
        let long = key(&vec!["s".repeat(250); 4].join("/"));
        fails(ErrorKind::Invalid, &["1,024 bytes"], deep.put_new(&long, "x")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_versions_nothing_of_the_past_is_promised() {
    let server = Versitygw::with_versions_and_users();
    make(&server, &[("acme", Kind::Plain)]);
    let store = open(&server, "acme").await;
    assert!(!store.capabilities().versions && !store.capabilities().locks);
    let now = store.now().await.expect("a date");
    assert_eq!(store.clone().as_of(now).expect_err("no versions").kind(), ErrorKind::Unsupported);
    let lock = Lock::until(now + Duration::from_secs(60));
    let locked = PutOptions::default().with_lock(lock);
    fails(ErrorKind::Unsupported, &["no object lock", "acme"], store.put(&key("a"), Bytes::new(), &locked)).await;
    fails(ErrorKind::Unsupported, &["no object lock"], store.upload(&key("a"), &locked)).await;
    fails(ErrorKind::Unsupported, &["no object lock"], store.protect(&key("a").into(), &lock)).await;
    let mut classed = PutOptions::default();
    classed.class = Some("GLACIER".to_owned());
    fails(ErrorKind::Unsupported, &["GLACIER"], store.put(&key("a"), Bytes::new(), &classed)).await;
}

/// Deleted by its version, a locked object stays; the lock of an upload was set when it began.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_stays_and_says_so() {
    let (gateway, minio) = (Versitygw::with_versions_and_users(), Minio::start());
    for server in [&*gateway, &*minio] {
        make(server, &[("acme", Kind::Locked)]);
        let store = open(server, "acme").await;
        let lock = Lock::until(store.now().await.expect("a date") + Duration::from_secs(300));
        for (name, bypassable) in [("compliance", false), ("governance", true)] {
            let mut lock = lock;
            lock.bypassable = bypassable;
            let mut upload = store.upload(&key(name), &PutOptions::default().with_lock(lock)).await.expect("it begins");
            upload.part(Bytes::from_static(b"kept")).await.expect("a part");
            let version = upload.complete().await.expect("it ends").version.expect("versions");
            let told = store.head(&key(name), &HeadOptions::default()).await.expect("it is there").lock;
            let told = told.expect("it is locked from its first moment");
            assert_eq!(told.bypassable, bypassable);
            let what = [ObjectRef::version(key(name), version.clone())];
            let outcome = store.delete(&what).await.expect("an answer").remove(0).result;
            fails(ErrorKind::Locked, &["acme", name, &version.0], async { outcome }).await;
        }
        // An older version can be locked too, whatever a HEAD of it tells.
        let old = store.put_new(&key("old"), "old").await.expect("put").version.expect("versions");
        store.put(&key("old"), Bytes::from_static(b"new"), &PutOptions::overwrite()).await.expect("put");
        let old = ObjectRef::version(key("old"), old);
        store.protect(&old, &lock).await.expect("locked");
        let outcome = store.delete(std::slice::from_ref(&old)).await.expect("an answer").remove(0).result;
        fails(ErrorKind::Locked, &["acme", "old"], async { outcome }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_object_says_so_and_comes_back_when_thawed() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Plain)]);
    let store = builder(&server, "acme").classes(["STANDARD", "GLACIER", "DEEP_ARCHIVE"]).build().await.expect("open");
    let mut archive = PutOptions::default();
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        archive.class = Some(class.to_owned());
        store.put(&key(class), Bytes::from_static(b"cold"), &archive).await.expect("put");
        assert_eq!(store.head(&key(class), &HeadOptions::default()).await.expect("head").class.as_deref(), Some(class));
        fails(ErrorKind::Archived, &["acme", class, "thaw"], store.get(&key(class), &GetOptions::default())).await;
        let mut thaw = Thaw::default();
        (thaw.days, thaw.speed) = (Some(2), Some("Standard".to_owned()));
        assert_eq!(store.thaw(&key(class).into(), &thaw).await.expect("asked for"), ThawState::Thawing);
        let state = store.thaw(&key(class).into(), &thaw).await.expect("looked at");
        assert!(matches!(state, ThawState::Ready(Some(_)) | ThawState::Thawing), "{state:?}");
    }
    store.put_new(&key("warm"), "x").await.expect("put");
    let warm = store.thaw(&key("warm").into(), &Thaw::default()).await.expect("nothing to do");
    assert_eq!(warm, ThawState::Ready(None));
    fails(ErrorKind::NotFound, &["acme"], store.thaw(&key("absent").into(), &Thaw::default())).await;
}

/// The server keeps the checksums that it proved: of an upload that of the whole.
#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_proved_by_the_server() {
    let server = Versitygw::start();
    make(&server, &[("acme", Kind::Plain)]);
    let store = open(&server, "acme").await;
    store.put_new(&key("crc"), "123456789").await.expect("put");
    let sha256 = PutOptions::default().with_sha256(backstay::Sha256::of(b"123456789"));
    store.put(&key("sha"), Bytes::from_static(b"123456789"), &sha256).await.expect("put");
    let mut upload = store.upload(&key("upload"), &PutOptions::default()).await.expect("it begins");
    for part in [vec![1_u8; 5 << 20], vec![2; 5 << 20], vec![3; 7]] {
        upload.part(part.into()).await.expect("a part");
    }
    upload.complete().await.expect("it ends");
    let from = store.locate(&key("upload")).expect("a location");
    let copy = store.copy_in(&from, &key("copy"), &PutOptions::default()).await.expect("copied").expect("here");
    assert_eq!(copy.size, (10 << 20) + 7);
    let lines = "for k in ['crc', 'sha', 'upload']:\n\
                 \x20   h = s3.head_object(Bucket='acme', Key=k, ChecksumMode='ENABLED')\n\
                 \x20   print(k, h.get('ChecksumCRC64NVME'), h.get('ChecksumSHA256') is not None, h.get('ChecksumType'))";
    let told = boto(&server, lines);
    let told: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    // The check value of CRC-64/NVME, in Base64.
    assert_eq!(told[0], ["crc", "rosUhgp5mIg=", "False", "FULL_OBJECT"]);
    assert_eq!(told[1], ["sha", "None", "True", "FULL_OBJECT"]);
    assert_eq!((told[2][1].len(), told[2][3]), (12, "FULL_OBJECT"));
}

/// Only on a free key, also where the source is large and the server does the work.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_by_the_server_replaces_nothing() {
    for server in [&*Versitygw::start(), &*Minio::start()] {
        make(server, &[("acme", Kind::Plain), ("other", Kind::Plain)]);
        let (from, to) = (open(server, "acme").await, open(server, "other").await);
        from.put_new(&key("odd/a b+c é%41"), "content").await.expect("put");
        let place = from.locate(&key("odd/a b+c é%41")).expect("a location");
        let copied = to.copy_in(&place, &key("here"), &PutOptions::default()).await.expect("copied");
        assert_eq!(copied.expect("the same server").size, 7);
        assert_eq!(read(&to, "here").await.expect("it is there"), "content");
        to.put_new(&key("taken"), "first").await.expect("put");
        fails(ErrorKind::AlreadyExists, &["other", "taken"], to.copy_in(&place, &key("taken"), &PutOptions::default()))
            .await;
        assert_eq!(read(&to, "taken").await.expect("it is there"), "first");
        let absent = from.locate(&key("absent")).expect("a location");
        fails(ErrorKind::NotFound, &["acme", "absent"], to.copy_in(&absent, &key("b"), &PutOptions::default())).await;
        let mut elsewhere = place.clone();
        elsewhere.place = "https://other.example/acme".to_owned();
        assert!(to.copy_in(&elsewhere, &key("b"), &PutOptions::default()).await.expect("the caller streams").is_none());
        assert!(to.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.expect("a listing").is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_key_service_is_used_and_one_that_is_not_there_is_told() {
    let server = Minio::with_kms();
    make(&server, &[("acme", Kind::Plain)]);
    let sealed = Encryption::kms(Minio::KMS_KEY).context("vault", "acme");
    let store = builder(&server, "acme").encryption(sealed).build().await.expect("open");
    store.put_new(&key("a"), "sealed").await.expect("put");
    assert_eq!(store.etag_of(&Bytes::from_static(b"sealed")), None, "under a key an etag proves nothing");
    assert_eq!(read(&store, "a").await.expect("it opens"), "sealed");
    let told = boto(&server, "print(s3.head_object(Bucket='acme', Key='a')['ServerSideEncryption'])");
    assert_eq!(told, "aws:kms");
    let wrong = builder(&server, "acme").encryption(Encryption::kms("no-such-key")).build().await.expect("open");
    fails(ErrorKind::Conflict, &["acme", "key service"], wrong.put_new(&key("b"), "x")).await;
    fails(ErrorKind::Conflict, &["acme", "key service"], wrong.upload(&key("b"), &PutOptions::default())).await;
    let plain = builder(&server, "acme").encryption(Encryption::s3()).build().await.expect("open");
    plain.put_new(&key("c"), "x").await.expect("put");
    let told = boto(&server, "print(s3.head_object(Bucket='acme', Key='c')['ServerSideEncryption'])");
    assert_eq!(told, "AES256");
}

/// What consoles make, and names that no key has, do not end a listing.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_no_keys_are_left_out_of_listings() {
    let server = Moto::start();
    make(&server, &[("acme", Kind::Plain)]);
    boto(&server, "for k in ['a/', 'a//b', 'a/c', 'x\\ty', 'z']: s3.put_object(Bucket='acme', Key=k)");
    let store = open(&server, "acme").await;
    let lines: Vec<ListEntry> =
        store.list(&Prefix::all(), &ListOptions::default()).try_collect().await.expect("a listing");
    let names = lines.iter().map(|line| if let ListEntry::Object(meta) = line { meta.key.as_str() } else { "" });
    assert_eq!(names.collect::<Vec<_>>(), ["a/c", "z"]);
}
