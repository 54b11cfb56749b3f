//! A vault that is replicated between buckets of one server: what is large does not pass us, and what is not what was
//! signed is not visible.

mod support;

use backstay::aws::S3Store;
use backstay::engine::{ReplicationReport, Replicator};
use backstay::store::{ObjectStore as _, ObjectStoreExt as _, PutOptions};
use backstay::{Backstay, ErrorKind, Keep, Keyring, PointId, Result, Sha256, Tier, Vault};
use backstay_test_s3::{Bucket, Fault, Op, Server};
use backstay_test_servers::s3::Versitygw;
use backstay_testkit::mock::MockExporter;
use bytes::Bytes;
use support::own_s3::{builder, open};
use support::s3::{self, Kind};
use support::{large, restored};

/// A vault with a point whose one item is larger than a part, and an empty replica.
struct Place {
    server: Server,
    region: &'static str,
    keyring: Keyring,
    keyring_there: Keyring,
    point: PointId,
    item: String,
}

impl Place {
    async fn new(region: &'static str, replica: Bucket) -> Self {
        let server = Server::start();
        server.create_bucket("acme", Bucket::versioned().in_region(region));
        server.create_bucket("replica", replica);
        let (keyring, keyring_there) =
            (Keyring::generate().expect("fresh keys"), Keyring::generate().expect("fresh keys"));
        let origin = builder(&server, "acme", server.keys()).region(region).build().await.expect("it opens");
        let vault = Vault::create(origin).keyring(&keyring).build().await.expect("a vault");
        let backstay = Backstay::builder("prod-eu", vault)
            .export("db", MockExporter::new([("large", large())]))
            .tier(Tier::new("daily").keep(Keep::last(3)))
            .build()
            .expect("well formed");
        let point = backstay.backup("daily").await.expect("a backup").id;
        let there = Vault::create(open(&server, "replica").await).keyring(&keyring_there);
        there.build().await.expect("a replica");
        let mut items = server.keys_in("acme").into_iter().filter(|key| key.starts_with("items/"));
        let item = items.next().expect("an item");
        server.reset_calls();
        Self { server, region, keyring, keyring_there, point, item }
    }

    async fn usual() -> Self {
        Self::new("us-east-1", Bucket::versioned()).await
    }

    async fn origin(&self) -> S3Store {
        let origin = builder(&self.server, "acme", self.server.keys()).region(self.region);
        origin.build().await.expect("it opens")
    }

    async fn replica(&self) -> Vault {
        let replica = Vault::open(open(&self.server, "replica").await)
            .keyring(&self.keyring_there)
            .unlock_with(self.keyring.custodian().clone())
            .origin(self.keyring.vault_id().clone(), self.keyring.allowed_signers());
        replica.build().await.expect("it opens")
    }

    async fn replicate(&self) -> Result<ReplicationReport> {
        let origin = Vault::open_read_only(self.origin().await).trust(self.keyring.allowed_signers().clone());
        let origin = origin.build().await.expect("it opens");
        Replicator::new(origin, self.replica().await).plan().await.expect("a plan").apply().await
    }

    async fn is_whole(&self, why: &str) {
        let back = restored(&self.replica().await, &self.point).await.expect(why);
        assert!(back.iter().any(|(name, content)| name == "large" && *content == large()), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_large_does_not_pass_us_from_whatever_region() {
    for region in ["us-east-1", "eu-west-1"] {
        let place = Place::new(region, Bucket::versioned()).await;
        place.server.fault(Fault::status(403).on(Op::GetObject).under("items/"));
        let report = place.replicate().await.expect(region);
        assert_eq!(report.copied, std::slice::from_ref(&place.point));
        assert!(report.bytes > 8 << 20, "{report:?}");
        let calls = |op| place.server.calls(op);
        assert_eq!((calls(Op::UploadPart), calls(Op::UploadPartCopy)), (0, 1), "{region}");
        assert_eq!(calls(Op::CompleteMultipartUpload), 1, "{region}");
        place.server.heal();
        place.is_whole(region).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_at_the_origin_is_told_and_not_visible_at_the_replica() {
    let place = Place::usual().await;
    place.server.flip_stored("acme", &place.item, 5000);
    let error = place.replicate().await.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Partial, "{error:?}");
    let report: &ReplicationReport = error.payload().expect("a report");
    let why = &report.left[0].why;
    assert!(why.contains("not the one that was announced") && why.contains(&place.item), "{why}");
    assert_eq!(place.server.calls(Op::CompleteMultipartUpload), 0, "it was never asked to show it");
    assert!(!place.server.keys_in("replica").contains(&place.item));
    assert!(place.server.uploads_in("replica").is_empty(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_through_what_passes() {
    let cases = [
        ("a lost answer to a complete", Fault::reset().done_first().on(Op::CompleteMultipartUpload).nth(1)),
        ("a lost answer to a copy", Fault::reset().done_first().on(Op::UploadPartCopy).nth(1)),
        ("an error after the head of the answer", Fault::error(200, "InternalError").on(Op::UploadPartCopy).nth(1)),
        ("a busy server", Fault::slow_down(std::time::Duration::ZERO).on(Op::UploadPartCopy).nth(1)),
    ];
    for (what, fault) in cases {
        let place = Place::usual().await;
        place.server.fault(fault);
        assert_eq!(place.replicate().await.expect(what).copied.len(), 1, "{what}");
        assert_eq!(place.server.calls(Op::UploadPart), 0, "{what}");
        place.is_whole(what).await;
    }
}

/// What the server cannot copy, or cannot prove, is streamed; and what it cannot prove once it is not asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_proves_no_copies_is_asked_once() {
    let place = Place::new("us-east-1", Bucket::versioned().unproved_copies()).await;
    assert_eq!(place.replicate().await.expect("streamed").copied.len(), 1);
    place.is_whole("streamed").await;
    assert!(place.server.uploads_in("replica").is_empty(), "nothing is left behind");

    let (origin, replica) = (place.origin().await, open(&place.server, "replica").await);
    origin.put_new(&"a".parse().expect("a key"), "content").await.expect("put");
    let from = origin.locate(&"a".parse().expect("a key")).expect("a place");
    let announced = PutOptions::default().with_sha256(Sha256::of(b"content"));
    place.server.reset_calls();
    for n in 0..3 {
        let to = format!("copy-{n}").parse().expect("a key");
        assert!(replica.copy_in(&from, &to, &announced).await.expect("the caller streams").is_none());
    }
    let calls = |op| place.server.calls(op);
    assert_eq!((calls(Op::HeadObject), calls(Op::UploadPartCopy)), (1, 1));
    assert!(!place.server.keys_in("replica").iter().any(|key| key.starts_with("copy-")));
    // Where nothing is announced it copies as before.
    let plain = replica.copy_in(&from, &"plain".parse().expect("a key"), &PutOptions::default()).await;
    assert_eq!(plain.expect("copied").expect("by the server").size, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_to_copy_is_streamed() {
    for (status, code) in [(403, "AccessDenied"), (400, "InvalidRequest"), (501, "NotImplemented")] {
        let place = Place::usual().await;
        place.server.fault(Fault::error(status, code).on(Op::UploadPartCopy));
        assert_eq!(place.replicate().await.expect(code).copied.len(), 1, "{code}");
        assert!(place.server.uploads_in("replica").is_empty(), "{code}: nothing is left behind");
        place.is_whole(code).await;
    }
}

/// versitygw looks at the bytes that it copies, unless it has kept a digest of the kind that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_the_server_kept_proves_nothing() {
    let server = Versitygw::start();
    s3::make(&server, &[("acme", Kind::Plain), ("replica", Kind::Plain)]);
    let (origin, replica) = (s3::open(&server, "acme").await, s3::open(&server, "replica").await);
    let content = Bytes::from(vec![7; 1 << 20]);
    let announced = PutOptions::default().with_sha256(Sha256::of(&content));
    let key = |name: &str| name.parse().expect("a key");
    origin.put(&key("crc"), content.clone(), &PutOptions::default()).await.expect("put");
    origin.put(&key("sha256"), content.clone(), &announced).await.expect("put");
    let place = |name| origin.locate(&key(name)).expect("a place");
    // Of the copy it keeps a digest of digests, which is none of its bytes.
    replica.copy_in(&place("crc"), &key("composite"), &announced).await.expect("copied").expect("by the server");

    server.flip_stored("acme", "crc", 5000);
    server.flip_stored("acme", "sha256", 5000);
    let error = replica.copy_in(&place("crc"), &key("damaged"), &announced).await.expect_err("it was looked at");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(replica.copy_in(&place("sha256"), &key("damaged"), &announced).await.expect("no error").is_none());
    let place = replica.locate(&key("composite")).expect("a place");
    assert!(origin.copy_in(&place, &key("damaged"), &announced).await.expect("no error").is_none());
    for store in [&origin, &replica] {
        assert!(!store.exists(&key("damaged")).await.expect("an answer"), "{store}");
    }
}
