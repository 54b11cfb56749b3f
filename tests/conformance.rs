//! The published suite on every store and layer of our own, and on stores that break a clause: each must be caught.

mod support;

use std::sync::Arc;

use backstay_core::ErrorKind;
use backstay_core::store::layer::{LimitOptions, RetryOptions};
use backstay_core::store::{LocalStore, MemoryStore, ObjectStore, ObjectStoreExt, Operation, Prefix};
use backstay_testkit::conformance::store::run;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use futures_util::FutureExt;
use support::copying::{Can, Server};

/// Abilities that a store lacks are named, so that no case goes missing unnoticed.
async fn conforms(skipped: &[&str], fresh: impl Fn() -> Arc<dyn ObjectStore>) {
    let report = run(|_| Ok(fresh())).await;
    report.assert();
    let mut missing: Vec<_> = report.skipped.iter().map(|(_, why)| *why).collect();
    missing.dedup();
    assert_eq!(missing, skipped, "{report}");
}

const UNVERSIONED: &[&str] = &["versions", "copies"];
const VERSIONED: &[&str] = &["locks without versions", "copies"];
const PLAIN: &[&str] = &["versions", "locks", "copies"];

#[tokio::test]
async fn memory() {
    conforms(UNVERSIONED, || Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn memory_versioned() {
    conforms(VERSIONED, || Arc::new(MemoryStore::versioned())).await;
}

#[tokio::test]
async fn local() {
    let folder = tempfile::tempdir().unwrap();
    conforms(PLAIN, || {
        let fresh = tempfile::tempdir_in(folder.path()).unwrap().keep();
        Arc::new(LocalStore::open(fresh).unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_on_many_threads() {
    let folder = tempfile::tempdir().unwrap();
    conforms(PLAIN, || {
        let fresh = tempfile::tempdir_in(folder.path()).unwrap().keep();
        Arc::new(LocalStore::open(fresh).unwrap())
    })
    .await;
}

#[tokio::test]
async fn retry() {
    conforms(VERSIONED, || Arc::new(MemoryStore::versioned().retrying(RetryOptions::default()))).await;
}

#[tokio::test]
async fn limit() {
    let mut options = LimitOptions::default();
    options.calls = std::num::NonZeroUsize::new(3);
    options.send_bytes_per_second = std::num::NonZeroU64::new(1 << 40);
    options.receive_bytes_per_second = std::num::NonZeroU64::new(1 << 40);
    conforms(VERSIONED, || Arc::new(MemoryStore::versioned().limited(options.clone()))).await;
}

#[tokio::test]
async fn prefix() {
    conforms(VERSIONED, || {
        // Neighbours on both sides must not be seen.
        let outside = MemoryStore::versioned();
        for neighbour in ["a", "p-", "p0/x", "p/inner-/x", "p/inner0"] {
            let key = neighbour.parse().unwrap();
            outside.put_new(&key, "outside").now_or_never().unwrap().unwrap();
        }
        Arc::new(outside.prefixed(Prefix::new("p/inner/").unwrap()).unwrap())
    })
    .await;
}

#[tokio::test]
async fn observe() {
    conforms(VERSIONED, || Arc::new(MemoryStore::versioned().observed(|_| ()))).await;
}

#[tokio::test]
async fn faulty_without_faults() {
    conforms(VERSIONED, || Arc::new(FaultyStore::new(Arc::new(MemoryStore::versioned())))).await;
}

#[tokio::test]
async fn layers_on_layers() {
    conforms(UNVERSIONED, || {
        let store = MemoryStore::new().prefixed(Prefix::new("a/").unwrap()).unwrap().observed(|_| ());
        Arc::new(store.limited(LimitOptions::default()).retrying(RetryOptions::default()))
    })
    .await;
}

/// A copy passes every layer, in and out.
#[tokio::test]
async fn layers_over_a_store_that_copies() {
    const COPIES: &[&str] = &["locks without versions"];
    let fresh = || Server::default().store("acme", MemoryStore::versioned());
    conforms(COPIES, || Arc::new(fresh())).await;
    conforms(COPIES, || Arc::new(fresh().prefixed(Prefix::new("a/").unwrap()).unwrap())).await;
    conforms(COPIES, || Arc::new(fresh().retrying(RetryOptions::default()))).await;
    conforms(COPIES, || Arc::new(fresh().limited(LimitOptions::default()).observed(|_| ()))).await;
    conforms(COPIES, || Arc::new(FaultyStore::new(Arc::new(fresh())))).await;
}

#[tokio::test]
async fn a_store_that_cannot_prove_a_copy_says_so() {
    conforms(&["locks without versions", "proved copies"], || {
        let server = Server::default();
        server.can(Can::NotProve);
        Arc::new(server.store("acme", MemoryStore::versioned()))
    })
    .await;
}

/// One that copies first and looks later, or not at all.
#[tokio::test]
async fn a_store_that_shows_a_copy_unproved_is_caught() {
    let report = run(|_| {
        let server = Server::default();
        server.can(Can::NotLook);
        Ok(Arc::new(server.store("acme", MemoryStore::versioned())))
    })
    .await;
    let failed: Vec<_> = report.failed.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, ["a_copy_of_other_content_than_announced_is_refused"], "{report}");
}

#[tokio::test]
async fn read_only_refuses_what_the_suite_would_put() {
    let report = run(|_| Ok(Arc::new(MemoryStore::new().read_only()))).await;
    assert_eq!(report.passed, ["an_empty_store_lists_nothing"], "{report}");
}

/// A suite that passes a broken store proves nothing.
#[tokio::test]
async fn broken_stores_are_caught() {
    let all = [Operation::Put, Operation::Upload];
    let broken = [
        (Rule::new(Fault::IgnoreCreate).on(all), "of_sixteen_creates_one_wins"),
        (Rule::new(Fault::IgnoreCreate).on([Operation::Upload]), "of_uploads_that_complete_together_one_wins"),
        (Rule::new(Fault::BreakOff(1000, ErrorKind::Other)).on([Operation::List]), "many_keys_are_all_listed"),
        (Rule::new(Fault::FlipBit(2)).on([Operation::Get]), "what_is_put_is_read_back"),
        (
            Rule::new(Fault::FailAfter(ErrorKind::NotFound)).on([Operation::Delete]),
            "what_is_absent_is_deleted_with_success",
        ),
        (
            Rule::new(Fault::FailBefore(ErrorKind::Denied)).on([Operation::Uploads]),
            "a_dropped_upload_is_found_and_aborted",
        ),
        (Rule::new(Fault::FailBefore(ErrorKind::Other)).on([Operation::Protect]), "an_object_can_be_locked_later"),
    ];
    for (rule, case) in broken {
        let report = run(|_| Ok(Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())).with(rule.clone())))).await;
        assert!(report.failed.iter().any(|(name, _)| *name == case), "{case} passes {rule:?}: {report}");
    }
}

#[tokio::test]
#[should_panic(expected = "a_second_create_changes_nothing")]
async fn the_comfort_panics_and_names_what_failed() {
    let rule = Rule::new(Fault::IgnoreCreate);
    run(|_| Ok(Arc::new(FaultyStore::new(Arc::new(MemoryStore::new())).with(rule.clone())))).await.assert();
}
