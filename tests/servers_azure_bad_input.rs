//! What people and networks get wrong, on Azurite: an error of the kind that fits, with operation and place, in time.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use backstay::azure::{BlobStore, Credential};
use backstay::doctor::Health;
use backstay::store::{
    GetOptions, HeadOptions, Key, ListOptions, Lock, ObjectStore, ObjectStoreExt, Prefix, PutOptions, Thaw, ThawState,
};
use backstay::{Backstay, Clock, Depth, Error, ErrorKind, Keep, Keyring, Secret, SystemClock, Tier, Vault};
use backstay_test_servers::azure::Azurite;
use backstay_test_servers::proxy::Proxy;
use bytes::Bytes;
use futures_util::TryStreamExt;
use support::azure::{container, key as account_key, made, sas, theirs};
use support::large;

fn key(name: &str) -> Key {
    name.parse().expect("a key")
}

/// Every call on a store that cannot work.
async fn all_fail(store: &BlobStore, expected: &[ErrorKind], place: &str) {
    let name = key("a");
    let mut upload = store.upload(&name, &PutOptions::default()).await.expect("nothing is asked yet");
    let errors: Vec<(&str, Error)> = vec![
        ("put", store.put_new(&name, "x").await.expect_err("put")),
        ("part", upload.part(Bytes::from_static(b"x")).await.expect_err("part")),
        ("get", store.get(&name, &GetOptions::default()).await.expect_err("get")),
        ("head", store.head(&name, &HeadOptions::default()).await.expect_err("head")),
        ("list", store.list(&Prefix::all(), &ListOptions::default()).try_next().await.expect_err("list")),
        ("uploads", store.uploads(&Prefix::all()).try_next().await.expect_err("uploads")),
        (
            "delete",
            store.delete(&[name.clone().into()]).await.expect("each its own").remove(0).result.expect_err("delete"),
        ),
        ("thaw", store.thaw(&name.into(), &Thaw::default()).await.expect_err("thaw")),
    ];
    for (operation, error) in errors {
        let text = error.to_string();
        assert!(expected.contains(&error.kind()), "{operation}: {error:?}");
        assert!(text.starts_with(&format!("{operation}: ")) && text.contains(place), "{text}");
    }
    let report = store.doctor().await;
    assert_eq!(report.worst(), Health::Critical, "{report}");
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_told_with_operation_and_place() {
    let server = Azurite::start();
    let absent = container(&server, "absent").build().expect("well described");
    all_fail(&absent, &[ErrorKind::NotFound], "/devstoreaccount1/absent").await;
    let advice = absent.put_new(&key("a"), "x").await.expect_err("absent").to_string();
    assert!(advice.contains("make the container"), "{advice}");

    made(&server, "vault").await;
    let wrong = Credential::shared_key(Secret::new("UExBTlRFRA==".to_owned()));
    let wrong = container(&server, "vault").credential(wrong).build().expect("well described");
    all_fail(&wrong, &[ErrorKind::Denied], "/devstoreaccount1/vault").await;

    let expired = Credential::sas(sas("vault", "rcwdl", SystemClock.now() - Duration::from_secs(60)));
    let expired = container(&server, "vault").credential(expired).build().expect("well described");
    all_fail(&expired, &[ErrorKind::Denied], "/devstoreaccount1/vault").await;

    let unknown = server.endpoint().replace(Azurite::ACCOUNT, "nobody");
    let unknown = BlobStore::at(&format!("{unknown}/vault"))
        .credential(account_key())
        .attempts(2)
        .retry_for(Duration::from_secs(1));
    all_fail(&unknown.build().expect("well described"), &[ErrorKind::NotFound, ErrorKind::Denied], "/nobody/vault")
        .await;

    let gone = BlobStore::builder("no-such-account".replace('-', ""), "vault")
        .endpoint_suffix("invalid")
        .credential(account_key())
        .attempts(2)
        .retry_for(Duration::from_secs(1));
    all_fail(&gone.build().expect("well described"), &[ErrorKind::Unavailable], "nosuchaccount.blob.invalid/vault")
        .await;
}

#[tokio::test]
async fn an_endpoint_that_goes_down_is_unavailable_and_comes_back() {
    let server = Azurite::start();
    let direct = made(&server, "vault").await;
    let proxy = Proxy::to(server.port());
    let store = BlobStore::at(&format!("{}/vault", server.endpoint_by(proxy.port())));
    let store =
        store.credential(account_key()).attempts(2).retry_for(Duration::from_secs(1)).build().expect("well described");
    store.put_new(&key("a"), vec![7; 3_000_000]).await.expect("up");
    proxy.cut();
    all_fail(&store, &[ErrorKind::Unavailable, ErrorKind::Timeout], "/devstoreaccount1/vault").await;
    proxy.resume();
    store.put_new(&key("b"), "x").await.expect("up again");
    // In the middle of an answer it ends with an error, and never short.
    proxy.cut_after(1_000_000);
    let body = store.get(&key("a"), &GetOptions::default()).await.expect("its beginning comes").body;
    let error = body.try_collect::<Vec<_>>().await.expect_err("its end does not");
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{error:?}");
    proxy.resume();
    assert_eq!(direct.get_bytes(&key("a"), 3_000_000).await.expect("there"), vec![7; 3_000_000]);
}

#[tokio::test]
async fn names_and_sizes_that_cannot_be_are_invalid_and_odd_ones_are_kept() {
    let server = Azurite::start();
    let store = made(&server, "vault").await;
    for name in ["a\\b", "a.", "a./b"] {
        let error = store.put_new(&key(name), "x").await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        let upload = store.upload(&key(name), &PutOptions::default()).await.expect_err(name);
        assert_eq!(upload.kind(), ErrorKind::Invalid, "{upload}");
    }
    assert_eq!(Key::new("k".repeat(1025)).expect_err("too long").kind(), ErrorKind::Invalid);
    let longest = [(); 4].map(|()| "s".repeat(255)).join("/");
    store.put_new(&key(&longest), "").await.expect("as long as can be, and empty");
    let mut class = PutOptions::default();
    class.class = Some("Freezing".to_owned());
    assert_eq!(store.put(&key("a"), Bytes::new(), &class).await.expect_err("no tier").kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn an_archived_blob_says_so_and_is_readable_once_thawed() {
    let server = Azurite::start();
    let store = made(&server, "vault").await;
    let mut archived = PutOptions::default();
    archived.class = Some("Archive".to_owned());
    store.put(&key("a"), Bytes::from_static(b"cold"), &archived).await.expect("room");
    assert_eq!(store.head(&key("a"), &HeadOptions::default()).await.expect("there").class.as_deref(), Some("Archive"));
    let error = store.get(&key("a"), &GetOptions::default()).await.expect_err("archived");
    assert_eq!(error.kind(), ErrorKind::Archived, "{error}");
    // Azurite has no waiting: it is done when it is asked for, though it says that it has begun.
    store.thaw(&key("a").into(), &Thaw::default()).await.expect("asked");
    assert_eq!(store.thaw(&key("a").into(), &Thaw::default()).await.expect("thawed"), ThawState::Ready(None));
    assert_eq!(store.get_bytes(&key("a"), 10).await.expect("thawed"), "cold");
}

#[tokio::test]
async fn azurite_takes_locks_and_drops_them_and_the_doctor_finds_it() {
    let server = Azurite::start();
    made(&server, "vault").await;
    let store = container(&server, "vault").locks(true).build().expect("well described");
    let report = store.doctor().await;
    assert_eq!(report.of("immutability").expect("looked at").health, Health::Risky, "{report}");
    assert!(report.to_string().contains("does not hold"), "{report}");
    assert_eq!(report.of("container").expect("looked at").health, Health::Fine, "{report}");
    assert_eq!(report.of("soft delete").expect("looked at").health, Health::Missing, "{report}");
    let left = store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await.expect("listed");
    assert!(left.is_empty(), "{left:?}");
}

/// A SAS lacks one letter after the other: the call that needs it is denied, and nothing is lost.
#[tokio::test]
async fn each_call_that_is_denied_says_so_and_costs_nothing() {
    let server = Azurite::start();
    let all = made(&server, "vault").await;
    all.put_new(&key("a"), "kept").await.expect("put");
    // Azurite gives tags to who may not set any.
    let cases = [("create", "rld"), ("read", "cwld"), ("list", "rcwd"), ("delete", "rcwl")];
    for (what, letters) in cases {
        let sas = Credential::sas(sas("vault", letters, SystemClock.now() + Duration::from_secs(3600)));
        let store = container(&server, "vault").credential(sas).build().expect("well described");
        let (a, b) = (key("a"), key("b"));
        let errors = match what {
            "create" => {
                let mut upload = store.upload(&b, &PutOptions::default()).await.expect("nothing is asked yet");
                let part = upload.part(Bytes::from_static(b"x")).await;
                vec![store.put_new(&b, "x").await.map(drop), part]
            }
            "read" => vec![
                store.get(&a, &GetOptions::default()).await.map(drop),
                store.head(&a, &HeadOptions::default()).await.map(drop),
            ],
            "list" => vec![
                store.list(&Prefix::all(), &ListOptions::default()).try_next().await.map(drop),
                store.uploads(&Prefix::all()).try_next().await.map(drop),
            ],
            _ => vec![store.delete(&[a.into()]).await.expect("each its own").remove(0).result],
        };
        for error in errors {
            let error = error.expect_err(what);
            let text = error.to_string();
            assert!(error.kind() == ErrorKind::Denied && text.contains("/devstoreaccount1/vault"), "{what}: {error:?}");
        }
        assert!(!all.exists(&key("b")).await.expect("answered"), "{what}");
        assert_eq!(all.get_bytes(&key("a"), 10).await.expect("there"), "kept", "{what}");
    }
}

/// What is neither there nor a name, and what this container cannot do.
#[tokio::test]
async fn a_container_that_went_is_not_found_and_good_when_it_is_made_anew() {
    let server = Azurite::start();
    for name in ["Acme_Backups", "a", "two--dashes", "-x"] {
        let error = container(&server, name).build().expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
    }
    let store = made(&server, "vault").await;
    store.put_new(&key("a"), "x").await.expect("put");
    theirs(&server, "vault", None, "blobs.delete_container()");
    all_fail(&store, &[ErrorKind::NotFound], "/devstoreaccount1/vault").await;
    made(&server, "vault").await;
    assert!(!store.exists(&key("a")).await.expect("answered"), "it went with its container");
    store.put_new(&key("a"), "y").await.expect("it is there again");

    let now = store.now().await.expect("a date");
    assert_eq!(store.clone().as_of(now).expect_err("no versions").kind(), ErrorKind::Unsupported);
    let locked = PutOptions::default().with_lock(Lock::until(now + Duration::from_secs(60)));
    let error = store.put(&key("b"), Bytes::new(), &locked).await.expect_err("no locks");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = store.upload(&key("b"), &locked).await.expect_err("no locks");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

/// An endpoint that goes in the middle of a backup and stays away: no point, and the next run is good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_whose_endpoint_goes_leaves_no_point_and_the_next_one_is_good() {
    let server = Azurite::start();
    let direct = made(&server, "vault").await;
    let keyring = Keyring::generate().expect("fresh keys");
    Vault::create(direct.clone()).keyring(&keyring).build().await.expect("a vault");
    let proxy = Proxy::to(server.port());
    let store = BlobStore::at(&format!("{}/vault", server.endpoint_by(proxy.port())));
    let store =
        store.credential(account_key()).attempts(2).retry_for(Duration::from_secs(1)).build().expect("well described");
    let vault = Vault::open(store).keyring(&keyring).build().await.expect("it opens");
    let backstay = Backstay::builder("prod-eu", vault)
        .export("db", support::exporter(&[("large", &large()), ("small", b"a row")]))
        .tier(Tier::new("daily").keep(Keep::last(3)))
        .build()
        .expect("well formed");
    // Some answers come, and then none.
    for answers in [200, 1_500, 3_000] {
        proxy.cut_after(answers);
        let error = backstay.backup("daily").await.expect_err("nobody is there");
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{answers}: {error:?}");
        let shown = direct.list(&Prefix::new("points/").expect("a prefix"), &ListOptions::default());
        assert_eq!(shown.try_collect::<Vec<_>>().await.expect("listed").len(), 0, "{answers}");
        proxy.resume();
    }
    let id = backstay.backup("daily").await.expect("the next run is good").id;
    backstay.verify(&id).depth(Depth::Decoded).await.expect("whole");
}

/// Forwards to a port, and changes one byte of what it was told to look for.
fn changing(port: u16, what: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let own = listener.local_addr().expect("it listens").port();
    let pump = |mut from: TcpStream, mut to: TcpStream, what: &'static [u8]| {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read) = from.read(&mut buffer) {
            let chunk = &mut buffer[..read];
            if let Some(at) = chunk.windows(what.len().max(1)).position(|window| !what.is_empty() && window == what) {
                chunk[at] ^= 1;
            }
            if read == 0 || to.write_all(chunk).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).expect("the server");
            let (to, from) = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
            thread::spawn(move || pump(from, to, what));
            thread::spawn(move || pump(server, client, b""));
        }
    });
    own
}

#[tokio::test]
async fn bytes_that_change_on_their_way_are_refused_by_the_server() {
    let server = Azurite::start();
    let direct = made(&server, "vault").await;
    let port = changing(server.port(), b"flip-me");
    let store = BlobStore::at(&format!("{}/vault", server.endpoint_by(port)));
    let store =
        store.credential(account_key()).attempts(1).retry_for(Duration::from_secs(1)).build().expect("well described");
    store.put_new(&key("good"), "as it is").await.expect("unchanged");
    let error = store.put_new(&key("a"), "flip-me").await.expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(!direct.exists(&key("a")).await.expect("answered"), "it is kept all the same");
    let mut upload = store.upload(&key("b"), &PutOptions::default()).await.expect("begun");
    let error = upload.part(Bytes::from_static(b"flip-me")).await.expect_err("changed");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(upload.complete().await.expect_err("a part is missing").kind(), ErrorKind::Invalid);
}
