//! Listings that are taken whole.

use futures_util::StreamExt;

use crate::error::Result;
use crate::store::{Key, ListEntry, ListOptions, ObjectMeta, ObjectStore, Prefix};
use crate::vault::Vault;

/// Every object under a prefix, in the order of the listing.
pub(crate) async fn objects(store: &dyn ObjectStore, prefix: &Prefix) -> Result<Vec<ObjectMeta>> {
    let mut objects = Vec::new();
    let mut listing = store.list(prefix, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        if let ListEntry::Object(meta) = entry? {
            objects.push(meta);
        }
    }
    Ok(objects)
}

impl Vault {
    /// Every key under a prefix.
    pub(crate) async fn keys(&self, prefix: &Prefix) -> Result<Vec<Key>> {
        let objects = objects(self.store(), prefix).await?;
        Ok(objects.into_iter().map(|meta| meta.key).collect())
    }
}
