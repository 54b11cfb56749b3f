//! Stores on Azurite.

use std::time::Duration;

use backstay::Secret;
use backstay::azure::{BlobStore, BlobStoreBuilder, Credential};
use backstay_test_servers::azure::Azurite;

/// Azurite's account key.
pub fn key() -> Credential {
    Credential::shared_key(Secret::new(Azurite::KEY.to_owned()))
}

/// A container of this server, by its key. Calls that fail are not tried for long.
pub fn container(server: &Azurite, name: &str) -> BlobStoreBuilder {
    BlobStore::at(&format!("{}/{name}", server.endpoint())).credential(key()).retries(2, Duration::from_secs(2))
}

/// The same, made.
pub async fn made(server: &Azurite, name: &str) -> BlobStore {
    let store = container(server, name).build().expect("it is well described");
    store.create_container().await.expect("the server makes containers");
    store
}
