//! A server that is too busy, or away, for a while in the middle of a backup; and one whose clock is another.

mod support;

use std::time::Duration;

use backstay::store::{Key, ObjectStoreExt as _};
use backstay::{Backstay, Depth, Error, ErrorKind, Keep, Keyring, PointId, Tier, Vault};
use backstay_test_s3::{Bucket, Fault, Op, Server};
use backstay_test_servers::until;
use backstay_testkit::mock::MockExporter;
use futures_util::future::try_join_all;
use jiff::SignedDuration;
use support::own_s3::{builder, open};
use support::{large, restored};

const BUCKET: &str = "acme";
/// As many attempts as a store makes that is not told otherwise.
const PATIENT: u32 = 20;

struct Place {
    server: Server,
    backstay: Backstay,
}

impl Place {
    /// A vault, and a program that tries each call so often.
    async fn new(attempts: u32) -> Self {
        let server = Server::start();
        server.create_bucket(BUCKET, Bucket::versioned());
        let keyring = Keyring::generate().expect("fresh keys");
        Vault::create(open(&server, BUCKET).await).keyring(&keyring).build().await.expect("a vault");
        let store = builder(&server, BUCKET, server.keys()).attempts(attempts).build().await.expect("it opens");
        let vault = Vault::open(store).keyring(&keyring).build().await.expect("it opens");
        let backstay = Backstay::builder("prod-eu", vault)
            .export("db", MockExporter::new([("large", large()), ("small", b"a row".to_vec())]))
            .tier(Tier::new("daily").keep(Keep::last(3)))
            .build()
            .expect("well formed");
        Self { server, backstay }
    }

    fn shown(&self) -> Vec<String> {
        self.server.keys_in(BUCKET).into_iter().filter(|key| key.starts_with("points/")).collect()
    }

    /// The point is there, once, and whole.
    async fn has(&self, id: &PointId) {
        let manifest = format!("points/{id}.json");
        assert_eq!(self.shown().iter().filter(|key| **key == manifest).count(), 1, "{:?}", self.shown());
        self.backstay.verify(id).depth(Depth::Decoded).await.expect("whole");
        let back = restored(self.backstay.vault(), id).await.expect("it restores");
        assert!(back.iter().any(|(name, content)| name == "large" && *content == large()), "{id}: other bytes");
    }

    /// What failed is nowhere to be seen, and the next run is good.
    async fn has_nothing_of(&self, failed: &Error) {
        assert_eq!(self.shown(), [""; 0], "{failed:?}");
        let next = self.backstay.backup("daily").await.expect("the next run is good").id;
        assert_eq!(self.shown().len(), 1, "{:?}", self.shown());
        self.has(&next).await;
    }
}

fn busy() -> Fault {
    Fault::slow_down(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_survives_a_server_that_is_too_busy_for_a_while() {
    let place = Place::new(PATIENT).await;
    // Each kind of call in turn, and the commit once more.
    let calls =
        [Op::ListObjectsV2, Op::CreateMultipartUpload, Op::UploadPart, Op::CompleteMultipartUpload, Op::PutObject];
    for op in calls {
        place.server.fault(busy().on([op]).first(4));
    }
    place.server.fault(busy().on([Op::PutObject]).under("points/").first(4));
    let id = place.backstay.backup("daily").await.expect("it waits").id;
    assert_eq!(place.shown().len(), 1, "{:?}", place.shown());
    place.has(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_outlasts_all_patience_fails_the_backup_and_leaves_no_point() {
    let commit = |fault: Fault| fault.on([Op::PutObject]).under("points/");
    let cases = [
        ("busy", busy(), ErrorKind::Throttled),
        ("busy at the commit", commit(busy()), ErrorKind::Throttled),
        ("busy for parts", busy().on([Op::UploadPart]), ErrorKind::Throttled),
        ("denied at the commit", commit(Fault::status(403)), ErrorKind::Denied),
        ("denied parts", Fault::status(403).on([Op::UploadPart]), ErrorKind::Denied),
        ("expired in the middle", Fault::expired_token().on([Op::UploadPart]).from(2), ErrorKind::Denied),
        ("a key that is off", Fault::error(400, "KMS.DisabledException"), ErrorKind::Conflict),
        ("moved", Fault::redirect(301, "eu-west-1", "http://127.0.0.1:9"), ErrorKind::Invalid),
    ];
    for (what, fault, kind) in cases {
        let place = Place::new(3).await;
        place.server.fault(fault);
        let error = place.backstay.backup("daily").await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        place.server.heal();
        place.has_nothing_of(&error).await;
    }
}

/// What one call is refused takes no attempts away from the others, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_pays_for_the_attempts_of_others() {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned());
    let store = builder(&server, BUCKET, server.keys()).attempts(PATIENT).build().await.expect("it opens");
    server.fault(busy().on([Op::PutObject]).first(200));
    let keys: Vec<Key> = (0..64).map(|n| format!("k/{n}").parse().expect("a key")).collect();
    try_join_all(keys.iter().map(|key| store.put_new(key, "x"))).await.expect("each is let in at last");
    assert_eq!(server.keys_in(BUCKET).len(), 64);
}

/// A wrong endpoint is told soon, and a server that is only too busy is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_has_reached_yet_is_given_up_sooner_than_a_busy_one() {
    let server = Server::start();
    server.create_bucket(BUCKET, Bucket::versioned());
    let patient = || builder(&server, BUCKET, server.keys()).attempts(PATIENT);
    server.fault(Fault::reset());
    let error = patient().build().await.expect_err("no answer ever came");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("check the endpoint"), "{error}");
    assert_eq!(server.calls(Op::GetBucketVersioning), 6);
    server.heal();
    server.fault(busy().first(8));
    patient().build().await.expect("it waits");
}

/// Whatever was under way when the server went away is done again when it is back, in the same run.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_and_comes_back_costs_nothing() {
    for (op, under) in [(Op::UploadPart, "items/"), (Op::PutObject, "items/"), (Op::PutObject, "points/")] {
        let place = Place::new(PATIENT).await;
        let (server, backstay) = (&place.server, place.backstay.clone());
        server.reset_calls();
        server.fault(Fault::hang().on([op]).under(under).nth(1));
        let run = tokio::spawn(async move { backstay.backup("daily").await });
        gone_while(server, op).await;
        server.up();
        let id = run.await.expect("no panic").expect("it goes on").id;
        place.has(&id).await;
        assert_eq!(place.shown().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_fails_the_backup_and_the_next_one_is_good() {
    let place = Place::new(3).await;
    let (server, backstay) = (&place.server, place.backstay.clone());
    server.fault(Fault::hang().on([Op::UploadPart]));
    let run = tokio::spawn(async move { backstay.backup("daily").await });
    gone_while(server, Op::UploadPart).await;
    let error = run.await.expect("no panic").expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.up();
    place.has_nothing_of(&error).await;
}

/// Takes the server away when this call is under way, and with it the fault that held the call.
async fn gone_while(server: &Server, op: Op) {
    tokio::task::block_in_place(|| until("the call", || (server.calls(op) > 0).then_some(())));
    server.down();
    server.heal();
}

/// The SDK learns the server's time from its refusal; who makes one attempt alone is told to set the clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_hours_off_is_corrected_or_told() {
    for hours in [-2, 2] {
        let place = Place::new(3).await;
        let once = builder(&place.server, BUCKET, place.server.keys()).attempts(1).build().await.expect("it opens");
        place.server.skew(SignedDuration::from_hours(hours));
        let key: Key = "skewed".parse().expect("a key");
        let error = once.put_new(&key, "x").await.expect_err("a signature of another time");
        let text = format!("{error:?}");
        assert!(error.kind() == ErrorKind::Denied && text.contains("set the clock"), "{text}");
        assert!(!place.server.keys_in(BUCKET).contains(&"skewed".to_owned()), "it was made all the same");
        once.put_new(&key, "x").await.expect("its time is known by now");

        // All that is needed gets there. A point from the future is doubtful, and a person's to settle; a late one is not.
        match place.backstay.backup("daily").await {
            Ok(report) => assert!(hours > 0, "{report:?}"),
            Err(error) => assert!(hours < 0 && error.kind() == ErrorKind::Partial, "{error:?}"),
        }
        assert_eq!(place.shown().len(), 1, "{:?}", place.shown());
        place.server.skew(SignedDuration::ZERO);
        // A clock that is set right jumps as well, and the SDK may take that for a wrong signature once.
        if let Err(error) = place.backstay.backup("daily").await {
            assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("set the clock"), "{error:?}");
        }
        let id = place.backstay.backup("daily").await.expect("the next run is good").id;
        place.has(&id).await;
    }
}
