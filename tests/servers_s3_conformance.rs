//! The published suite of stores on real servers. What a server lacks is named here, in one place.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backstay::store::{ObjectStoreExt as _, Prefix};
use backstay_test_servers::s3::{Minio, Server, Versitygw};
use backstay_testkit::conformance::store::run;
use support::s3::{Kind, make, open};

/// An ability that the bucket has not, and the cases that a server fails for what it does otherwise than Amazon.
struct Lacks {
    abilities: &'static [&'static str],
    cases: &'static [&'static str],
    /// A case that it fails only when a second passes at the wrong moment.
    at_times: &'static [&'static str],
}

/// A folder of its own in the bucket for each case.
async fn conforms(server: &Server, bucket: &str, kind: Kind, lacks: Lacks) {
    make(server, &[(bucket, kind)]);
    let store = open(server, bucket).await;
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
