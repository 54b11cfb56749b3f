//! The published suite of stores on real servers. What a server lacks is named here, in one place.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backstay::aws::{Encryption, S3Store};
use backstay::store::{ObjectStoreExt as _, Prefix};
use backstay_test_s3::Bucket;
use backstay_test_servers::s3::{Minio, Server, Versitygw};
use backstay_testkit::conformance::store::run;
use support::own_s3;
use support::s3::{Kind, builder, make, open};

/// An ability that the bucket has not, and the cases that a server fails for what it does otherwise than Amazon.
struct Lacks {
    abilities: &'static [&'static str],
    cases: &'static [&'static str],
    /// A case that it fails only when a second passes at the wrong moment.
    at_times: &'static [&'static str],
}

/// A new bucket of a server.
async fn conforms(server: &Server, bucket: &str, kind: Kind, lacks: Lacks) {
    make(server, &[(bucket, kind)]);
    store_conforms(open(server, bucket).await, lacks).await;
}

/// A folder of its own in the bucket for each case.
async fn store_conforms(store: S3Store, lacks: Lacks) {
    let cases = AtomicUsize::new(0);
    let report = run(|_| {
        // Short: a case uses nearly all that a key may have.
        let prefix = Prefix::new(format!("{}/", cases.fetch_add(1, Ordering::Relaxed)))?;
        Ok(Arc::new(store.clone().prefixed(prefix)?))
    })
    .await;
    let failed = report.failed.iter().map(|(case, _)| *case).filter(|case| !lacks.at_times.contains(case));
    let failed: Vec<_> = failed.collect();
    assert_eq!(failed, lacks.cases, "{report}");
    let mut missing: Vec<_> = report.skipped.iter().map(|(_, why)| *why).collect();
    missing.dedup();
    assert_eq!(missing, lacks.abilities, "{report}");
}

const PLAIN: &[&str] = &["versions", "locks"];
const LOCKED: &[&str] = &["locks without versions"];
/// MinIO tells no digest of what it copies.
const PLAIN_UNPROVED: &[&str] = &["versions", "locks", "proved copies"];
const LOCKED_UNPROVED: &[&str] = &["locks without versions", "proved copies"];

#[tokio::test(flavor = "multi_thread")]
async fn versitygw() {
    let server = Versitygw::start();
    conforms(&server, "plain", Kind::Plain, Lacks { abilities: PLAIN, cases: &[], at_times: &[] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_with_versions_and_locks() {
    let server = Versitygw::with_versions_and_users();
    let cases = &[
        // With versions, what is the folder of a key cannot be deleted as the absent key that it is: 500.
        "what_is_absent_is_deleted_with_success",
        // A key whose newest version is a delete marker is taken: 412.
        "a_deleted_key_can_be_created_again",
        // The lock of an older version holds, and a HEAD of that version does not tell it.
        "an_older_version_can_be_locked",
    ];
    // A version bears the time at which a delete marker was put over it, and the marker that of the version.
    let at_times = &["versions_are_told_with_their_times"];
    conforms(&server, "locked", Kind::Locked, Lacks { abilities: LOCKED, cases, at_times }).await;
}

/// MinIO lists unfinished uploads of one key alone: those under a prefix are found by nobody. It ends them itself after a day.
const MINIO: &[&str] = &["a_dropped_upload_is_found_and_aborted"];

#[tokio::test(flavor = "multi_thread")]
async fn minio() {
    let server = Minio::start();
    conforms(&server, "plain", Kind::Plain, Lacks { abilities: PLAIN_UNPROVED, cases: MINIO, at_times: &[] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_with_versions_and_locks() {
    let server = Minio::start();
    conforms(&server, "locked", Kind::Locked, Lacks { abilities: LOCKED_UNPROVED, cases: MINIO, at_times: &[] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_that_encrypts_by_a_key_service() {
    let server = Minio::with_kms();
    make(&server, &[("sealed", Kind::Locked)]);
    let store = builder(&server, "sealed").encryption(Encryption::kms(Minio::KMS_KEY)).build().await.expect("it opens");
    store_conforms(store, Lacks { abilities: LOCKED_UNPROVED, cases: MINIO, at_times: &[] }).await;
}

/// The server that plays the faults of other tests is right when it plays none.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_our_own() {
    let server = backstay_test_s3::Server::start();
    for (name, bucket, abilities) in [
        ("plain", Bucket::unversioned(), PLAIN),
        ("opaque", Bucket::unversioned().opaque_etags(), PLAIN),
        ("locked", Bucket::versioned().with_object_lock(), LOCKED),
    ] {
        server.create_bucket(name, bucket);
        store_conforms(own_s3::open(&server, name).await, Lacks { abilities, cases: &[], at_times: &[] }).await;
    }
}
