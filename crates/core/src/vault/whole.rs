//! Whether everything that a manifest names is there, by listing alone.

use std::collections::BTreeMap;

use futures_util::StreamExt;

use crate::error::Result;
use crate::name::PointId;
use crate::store::{Key, ListEntry, ListOptions, Prefix};
use crate::vault::{Manifest, ObjectEntry, Vault, layout};

/// The objects of a point that are not in `vault` at their size, each with what is wrong. Two listings, whatever the number
/// of objects.
pub(crate) async fn missing(vault: &Vault, manifest: &Manifest) -> Result<Vec<(ObjectEntry, String)>> {
    let there = stored(vault, &manifest.point()).await?;
    let wrong = |object: ObjectEntry| {
        let what = match there.get(&object.key) {
            None => "the object is missing".to_owned(),
            Some(size) if *size != object.bytes => format!("the object has {size} bytes instead of {}", object.bytes),
            Some(_) => return None,
        };
        Some((object, what))
    };
    Ok(manifest.objects().filter_map(wrong).collect())
}

/// What is stored of a run's items and details, and its size, whichever attempt wrote it.
pub(crate) async fn stored(vault: &Vault, id: &PointId) -> Result<BTreeMap<Key, u64>> {
    let mut there = BTreeMap::new();
    for prefix in [layout::items_of(id)?, layout::details_of(id)?] {
        let mut listing = vault.store().list(&prefix, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            if let ListEntry::Object(meta) = entry? {
                there.insert(meta.key, meta.size);
            }
        }
    }
    Ok(there)
}

/// Whether anything lies under `prefix`.
pub(crate) async fn any(vault: &Vault, prefix: &Prefix) -> Result<bool> {
    let mut listing = vault.store().list(prefix, &ListOptions::default());
    listing.next().await.transpose().map(|entry| entry.is_some())
}
