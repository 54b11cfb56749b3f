//! What an S3 server does wrong, scripted: nothing is lost, nothing is half visible, and what cannot be done is said.

mod support;

use std::time::Duration;

use backstay::aws::S3Store;
use backstay::store::{
    HeadOptions, ListEntry, ListOptions, Lock, ObjectRef, ObjectStore, ObjectStoreExt as _, Prefix, PutOptions, Thaw,
};
use backstay::{Backstay, Clock as _, Depth, ErrorKind, Keep, Keyring, Sha256, SystemClock, Tier, Vault};
use backstay_test_s3::{Bucket, Fault, Op, Server};
use backstay_testkit::ManualClock;
use backstay_testkit::mock::MockExporter;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use support::own_s3::{builder, open};
use support::{large, restored};

const BUCKET: &str = "acme";

fn server() -> Server {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned());
    server
}

fn key(name: &str) -> backstay::store::Key {
    name.parse().expect("a key")
}

async fn program(server: &Server) -> Backstay {
    let keyring = Keyring::generate().expect("fresh keys");
    program_of(Vault::create(open(server, BUCKET).await).keyring(&keyring).build().await.expect("a vault"))
}

fn program_of(vault: Vault) -> Backstay {
    Backstay::builder("prod-eu", vault)
        .export("db", MockExporter::new([("large", large()), ("small", b"a row".to_vec())]))
        .tier(Tier::new("daily").keep(Keep::last(3)))
        .build()
        .expect("well formed")
}

/// Every answer to a write of one kind is lost once, though it was carried out; or a server is busy, or fails, for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_through_what_passes() {
    let lost = |op| Fault::reset().done_first().on(op).nth(1);
    let faults: [(&str, Fault); 9] = [
        ("a lost answer to a put", lost(Op::PutObject).under("items/")),
        ("a lost answer to a commit", lost(Op::PutObject).under("points/")),
        ("a lost answer to a part", lost(Op::UploadPart)),
        ("a lost answer to a complete", lost(Op::CompleteMultipartUpload)),
        ("503 before a put", Fault::slow_down(Duration::from_millis(10)).on(Op::PutObject).first(2)),
        ("500 in a complete", Fault::status(500).on(Op::CompleteMultipartUpload).first(1)),
        ("409 of another create", Fault::error(409, "ConditionalRequestConflict").on(Op::PutObject).first(2)),
        ("a part that is cut", Fault::cut_upload(1 << 20).on(Op::UploadPart).nth(1)),
        ("a part that is changed on its way", Fault::flip_upload(1000).on(Op::UploadPart).nth(1)),
    ];
    for (what, fault) in faults {
        let server = server();
        let backstay = program(&server).await;
        server.fault(fault);
        match backstay.backup("daily").await {
            Ok(point) => {
                server.heal();
                backstay
                    .verify(&point.id)
                    .depth(Depth::Decoded)
                    .await
                    .unwrap_or_else(|error| panic!("{what}: {error:?}"));
                let back = restored(backstay.vault(), &point.id).await.expect("it restores");
                assert!(back.iter().any(|(name, content)| name == "large" && *content == large()), "{what}");
            }
            // No false success: what failed is nowhere to be seen, and the next run is good.
            Err(error) => {
                assert!(what.contains("changed") || what.contains("500"), "{what}: {error:?}");
                server.heal();
                let visible = server.keys_in(BUCKET).into_iter().any(|key| key.starts_with("points/"));
                assert!(!visible, "{what}: a point is visible");
            }
        }
        server.heal();
        backstay.backup("daily").await.unwrap_or_else(|error| panic!("after {what}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_fails_with_a_kind_and_words() {
    let server = server();
    let store =
        builder(&server, BUCKET, server.keys()).timeout(Duration::from_secs(2)).build().await.expect("it opens");
    let cases: [(&str, Fault, ErrorKind, &str); 9] = [
        ("busy", Fault::slow_down(Duration::from_millis(10)), ErrorKind::Throttled, "fewer calls"),
        ("broken", Fault::status(500), ErrorKind::Unavailable, "500"),
        ("expired", Fault::expired_token(), ErrorKind::Denied, "expired"),
        ("elsewhere", Fault::redirect(301, "eu-west-1", "http://127.0.0.1:9"), ErrorKind::Invalid, "eu-west-1"),
        ("elsewhere for now", Fault::redirect(307, "eu-west-1", "http://127.0.0.1:9"), ErrorKind::Invalid, "eu-west-1"),
        ("a key that is off", Fault::error(400, "KMS.DisabledException"), ErrorKind::Conflict, "enabled"),
        ("a key that goes", Fault::error(400, "KMS.KMSInvalidStateException"), ErrorKind::Conflict, "enabled"),
        ("silent", Fault::hang(), ErrorKind::Timeout, "no answer"),
        ("cut off", Fault::reset(), ErrorKind::Unavailable, "reached"),
    ];
    for (what, fault, kind, words) in cases {
        server.fault(fault.on(Op::PutObject));
        let (key, options) = (key(&format!("of/{}", what.replace(' ', "-"))), PutOptions::default());
        let put = store.put(&key, Bytes::from("x"), &options);
        let error = tokio::time::timeout(Duration::from_secs(60), put).await.expect("no hang").expect_err(what);
        let text = format!("{error:?}");
        assert!(error.kind() == kind && text.contains(words) && text.contains(BUCKET), "{what}: {text}");
        server.heal();
    }
    assert!(server.keys_in(BUCKET).is_empty(), "something is half visible");
}

/// One call after the other is denied, whatever else is allowed: its error names the right, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn each_call_that_is_denied_names_its_right() {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned().with_object_lock());
    let store = open(&server, BUCKET).await;
    let (a, b, new) = (key("a"), key("b"), PutOptions::default());
    store.put_new(&a, "kept").await.expect("put");
    let cases = [
        (Op::PutObject, "s3:PutObject"),
        (Op::CreateMultipartUpload, "s3:PutObject"),
        (Op::UploadPart, "s3:PutObject"),
        (Op::CompleteMultipartUpload, "s3:PutObject"),
        (Op::AbortMultipartUpload, "s3:AbortMultipartUpload"),
        (Op::ListMultipartUploads, "s3:ListBucketMultipartUploads"),
        (Op::ListObjectsV2, "s3:ListBucket"),
        (Op::ListObjectVersions, "s3:ListBucketVersions"),
        (Op::GetObject, "s3:GetObject"),
        (Op::HeadObject, "s3:GetObject"),
        (Op::RestoreObject, "s3:RestoreObject"),
        (Op::DeleteObjects, "s3:DeleteObject"),
        (Op::PutObjectRetention, "s3:PutObjectRetention"),
        (Op::PutObjectLegalHold, "s3:PutObjectLegalHold"),
    ];
    for (op, right) in cases {
        server.fault(Fault::status(403).on([op]));
        let error = match op {
            Op::PutObject => store.put(&b, Bytes::from("x"), &new).await.map(drop),
            Op::CreateMultipartUpload => store.upload(&b, &new).await.map(drop),
            Op::UploadPart | Op::CompleteMultipartUpload | Op::AbortMultipartUpload => {
                let mut upload = store.upload(&b, &new).await.expect("it begins");
                match (op, upload.part(Bytes::from("x")).await) {
                    (Op::UploadPart, sent) => sent,
                    (Op::AbortMultipartUpload, _) => upload.abort().await,
                    _ => upload.complete().await.map(drop),
                }
            }
            Op::ListMultipartUploads => store.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.map(drop),
            Op::ListObjectsV2 => store.list(&Prefix::all(), &ListOptions::default()).try_next().await.map(drop),
            Op::ListObjectVersions => store.list(&Prefix::all(), &ListOptions::versions()).try_next().await.map(drop),
            Op::GetObject => store.get_bytes(&a, 10).await.map(drop),
            Op::HeadObject => store.head(&a, &HeadOptions::default()).await.map(drop),
            Op::RestoreObject => {
                server.move_to_class(BUCKET, "a", "GLACIER");
                store.thaw(&a.clone().into(), &Thaw::default()).await.map(drop)
            }
            Op::DeleteObjects => store.delete(&[a.clone().into()]).await.and_then(|mut told| told.remove(0).result),
            _ => {
                let mut lock = Lock::until(server.now() + Duration::from_secs(3600));
                lock.hold = op == Op::PutObjectLegalHold;
                store.protect(&a.clone().into(), &lock).await
            }
        };
        server.heal();
        let Err(error) = error else { panic!("{op:?}: it went well") };
        let text = format!("{error:?}");
        assert_eq!(error.kind(), ErrorKind::Denied, "{op:?}: {text}");
        assert!(text.contains(right) && text.contains(BUCKET), "{op:?}: {text}");
        server.move_to_class(BUCKET, "a", "STANDARD");
        assert_eq!(server.keys_in(BUCKET), ["a"], "{op:?}");
    }
    assert_eq!(store.get_bytes(&a, 10).await.expect("it is kept"), "kept");
}

/// Its vault is gone with it: who opens or prunes hears of it, and nothing is made anew unasked.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_was_made_anew_has_no_vault() {
    let server = server();
    let keyring = Keyring::generate().expect("fresh keys");
    let clock = ManualClock::new(SystemClock.now());
    let vault = Vault::create(open(&server, BUCKET).await).keyring(&keyring).clock(clock.clone());
    let backstay = program_of(vault.build().await.expect("a vault"));
    backstay.backup("daily").await.expect("a backup");
    clock.advance(Duration::from_secs(120));
    server.create_bucket(BUCKET, Bucket::versioned());
    let error = backstay.backup("daily").await.expect_err("there is none to back up to");
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("there is no vault here"), "{error}");
    let exported = |key: &String| ["items/", "details/", "points/"].iter().any(|place| key.starts_with(place));
    assert!(!server.keys_in(BUCKET).iter().any(exported), "{:?}", server.keys_in(BUCKET));
    server.create_bucket(BUCKET, Bucket::versioned());
    let opened = Vault::open(open(&server, BUCKET).await).keyring(&keyring).build().await.expect_err("there is none");
    assert_eq!(opened.kind(), ErrorKind::NotFound, "{opened:?}");
    let plan = backstay.prune("daily").plan().await.map(drop).expect_err("nothing there is its own");
    assert!(matches!(plan.kind(), ErrorKind::NotFound | ErrorKind::Refused), "{plan:?}");
    assert_eq!(server.keys_in(BUCKET), [""; 0], "neither makes anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_cut_or_short_on_the_way_back_is_never_taken_for_whole() {
    let server = server();
    let backstay = program(&server).await;
    let point = backstay.backup("daily").await.expect("a backup").id;
    // Cut once: the read goes on where it broke off.
    server.fault(Fault::cut_download(1 << 20).on(Op::GetObject).under("items/").nth(1));
    assert!(
        restored(backstay.vault(), &point).await.expect("it goes on").iter().any(|(_, content)| *content == large())
    );
    server.heal();
    for fault in [Fault::flip_download(2000), Fault::truncate_download(1000)] {
        server.fault(fault.on(Op::GetObject).under("items/"));
        let error = restored(backstay.vault(), &point).await.expect_err("other bytes than were put");
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unavailable | ErrorKind::Other), "{error:?}");
        server.heal();
    }
    // What refuses to be read says nothing of what is there.
    for (status, code) in [(400, "InvalidRequest"), (405, "MethodNotAllowed")] {
        server.fault(Fault::error(status, code).on(Op::GetObject).under("items/"));
        let error = restored(backstay.vault(), &point).await.expect_err("nothing can be read");
        assert!(error.kind() != ErrorKind::Corrupt && error.to_string().contains(code), "{error:?}");
        server.heal();
    }
    // On the disk itself.
    let item = server.keys_in(BUCKET).into_iter().find(|key| key.starts_with("items/")).expect("an item");
    server.flip_stored(BUCKET, &item, 100);
    let error = backstay.verify(&point).await.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_whole_however_short_the_pages() {
    let server = server();
    let store = open(&server, BUCKET).await;
    server.put_empty(BUCKET, (0..2500).map(|n| format!("k/{n:05}")));
    let all = |store: S3Store| async move {
        let listed = store.list(&Prefix::new("k/").expect("a prefix"), &ListOptions::default());
        let listed: Vec<ListEntry> = listed.try_collect().await.expect("a listing");
        listed.len()
    };
    assert_eq!(all(store.clone()).await, 2500);
    server.fault(Fault::short_pages(7).on(Op::ListObjectsV2));
    assert_eq!(all(store).await, 2500);
}

/// The process is gone in the middle of an upload: what it left is named, and freed by the sweep.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_completes_is_found() {
    let server = server();
    let store = open(&server, BUCKET).await;
    let mut upload = store.upload(&key("items/x"), &PutOptions::default()).await.expect("begun");
    upload.part(Bytes::from(vec![1_u8; 5 << 20])).await.expect("sent");
    drop(upload);
    assert!(server.keys_in(BUCKET).is_empty(), "half an object is visible");
    let left: Vec<_> = store.uploads(&Prefix::new("items/").expect("a prefix")).try_collect().await.expect("a listing");
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["items/x"]);
    store.abort_upload(&left[0]).await.expect("freed");
    store.abort_upload(&left[0]).await.expect("gone is success");
    assert!(server.uploads_in(BUCKET).is_empty());
}

/// What a caller does wrong is told before the server is asked, which may look at none of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_is_refused_and_leaves_nothing() {
    let server = server();
    let store = open(&server, BUCKET).await;
    server.reset_calls();
    let other = PutOptions::default().with_sha256(Sha256::of(b"announced"));
    let error = store.put(&key("a"), Bytes::from("sent"), &other).await.expect_err("other bytes than were announced");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let mut tagged = PutOptions::default();
    tagged.tags = (0..11).map(|n| (format!("tag-{n}"), String::new())).collect();
    let error = store.put(&key("a"), Bytes::new(), &tagged).await.expect_err("more tags than there can be");
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("at most 10"), "{error:?}");
    assert_eq!(server.all_calls(), 0);
    for parts in [[5, 6, 0], [6, 5, 5]] {
        let mut upload = store.upload(&key("a"), &PutOptions::default()).await.expect("begun");
        let [first, second, third] = parts.map(|size| Bytes::from(vec![1_u8; size << 20]));
        upload.part(first).await.expect("the first has any size");
        let mut result = upload.part(second).await;
        if result.is_ok() {
            result = upload.part(third).await;
        }
        let error = result.expect_err("a part of another size that is not the last");
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("one size"), "{error:?}");
        upload.abort().await.expect("freed");
    }
    let mut upload = store.upload(&key("a"), &PutOptions::default()).await.expect("begun");
    upload.part(Bytes::from(vec![1_u8; 5 << 20])).await.expect("sent");
    drop(upload.part(Bytes::from("never sent")));
    let error = upload.complete().await.expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(server.keys_in(BUCKET).is_empty() && server.uploads_in(BUCKET).is_empty(), "something is left");
}

/// The end of an upload: what was refused for good leaves nothing, what may have been done is not taken away.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_not_sure_is_told_so_and_frees_nothing() {
    let server = server();
    let store = open(&server, BUCKET).await;
    let begun = async |name: &str| {
        let mut upload = store.upload(&key(name), &PutOptions::default()).await.expect("begun");
        upload.part(Bytes::from("ours")).await.expect("sent");
        upload
    };
    let upload = begun("lost").await;
    server.fault(Fault::reset().done_first().on(Op::CompleteMultipartUpload).nth(1));
    let error = upload.complete().await.expect_err("the answer was lost, and the upload is gone");
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("was lost"), "{error:?}");
    assert_eq!(server.bytes_of(BUCKET, "lost").as_deref(), Some(&b"ours"[..]));
    server.heal();

    let upload = begun("unsure").await;
    server.fault(Fault::status(500).on(Op::CompleteMultipartUpload));
    let error = upload.complete().await.expect_err("the server fails");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.heal();
    let left: Vec<_> = store.uploads(&Prefix::all()).try_collect().await.expect("a listing");
    assert_eq!(left.iter().map(|upload| upload.key.as_str()).collect::<Vec<_>>(), ["unsure"], "a sweep looks at it");
    store.abort_upload(&left[0]).await.expect("freed");

    let upload = begun("lost").await;
    let error = upload.complete().await.expect_err("the key is taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
    assert!(server.uploads_in(BUCKET).is_empty(), "refused for good, and not freed");
    server.remove_bucket(BUCKET);
    let error = store.abort_upload(&left[0]).await.expect_err("there is no such bucket");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

/// A server may answer that it deleted some and was busy with others.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_was_too_busy_to_delete_is_asked_for_again() {
    let server = server();
    let store = open(&server, BUCKET).await;
    let names: Vec<String> = (0..10).map(|n| format!("k/{n}")).collect();
    server.put_empty(BUCKET, names.iter().cloned());
    let what: Vec<ObjectRef> = names.iter().map(|name| key(name).into()).collect();
    server.fault(Fault::busy_objects(4).on([Op::DeleteObjects]).first(2));
    for outcome in store.delete(&what).await.expect("each is told") {
        outcome.result.expect("it is deleted");
    }
    assert_eq!((server.keys_in(BUCKET).len(), server.calls(Op::DeleteObjects)), (0, 3));
    server.heal();
    server.put_empty(BUCKET, names.iter().cloned());
    server.fault(Fault::busy_objects(1).on([Op::DeleteObjects]));
    let told = store.delete(&what).await.expect("each is told");
    let left: Vec<_> =
        told.iter().filter_map(|outcome| outcome.result.as_ref().err()).map(|error| error.kind()).collect();
    assert_eq!(left, [ErrorKind::Throttled]);
    assert_eq!(server.keys_in(BUCKET), names[..1]);
    // What was said of the others counts, though nothing more can be asked.
    server.heal();
    server.put_empty(BUCKET, names.iter().cloned());
    server.fault(Fault::busy_objects(4).on([Op::DeleteObjects]).first(1));
    server.fault(Fault::status(403).on([Op::DeleteObjects]).from(2));
    let told = store.delete(&what).await.expect("each is told");
    assert_eq!(told.iter().filter(|outcome| outcome.result.is_ok()).count(), 6);
}
