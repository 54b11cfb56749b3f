//! The contract of a store, kept by Blob Storage as Azurite plays it.

mod support;

use std::sync::Arc;

use backstay::store::ObjectStore;
use backstay_test_servers::azure::Azurite;
use backstay_testkit::conformance;
use support::azure::made;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// What Azurite lacks. Those of these calls that a store makes are tested on a server of our own: `sim_azure_fake`.
const LACKS: [(&str, &str); 18] = [
    ("older_contents_stay_readable", "versions"),
    ("versions_are_listed_the_newest_first", "versions"),
    ("versions_are_told_with_their_times", "versions"),
    ("a_delete_adds_a_marker", "versions"),
    ("a_version_is_deleted_by_its_id_for_good", "versions"),
    ("a_lock_holds_from_the_put_on", "locks"),
    ("an_upload_can_be_locked", "locks"),
    ("an_object_can_be_locked_later", "locks"),
    ("a_lock_is_never_shortened", "locks"),
    ("a_locked_object_is_not_overwritten", "locks"),
    ("a_locked_version_stays_under_others", "locks"),
    ("an_older_version_can_be_locked", "locks"),
    ("a_lock_on_nothing_is_not_found", "locks"),
    ("a_copy_has_the_bytes_of_its_source", "copies"),
    ("a_copy_is_what_was_announced", "proved copies"),
    ("a_copy_of_other_content_than_announced_is_refused", "proved copies"),
    ("a_copy_replaces_nothing", "copies"),
    ("a_copy_of_nothing_is_not_found", "copies"),
];

/// Where Azurite is not like Azure: it takes blocks that are staged and not committed for a blob, where one is to be put.
const DIFFERS: [&str; 1] = ["an_upload_overwrites_only_when_told"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_of_azurite_keeps_the_contract_of_a_store() {
    let server = Azurite::start();
    let fresh = |case: &'static str| {
        let name = case.replace('_', "-");
        let store = block_in_place(|| Handle::current().block_on(made(&server, &name)));
        Ok(Arc::new(store) as Arc<dyn ObjectStore>)
    };
    let report = conformance::store::run(fresh).await;
    let failed: Vec<_> = report.failed.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, DIFFERS, "{report}");
    assert_eq!(report.skipped, LACKS, "{report}");
}
