//! Proving stored bytes without any key: presence, length and SHA-256 against the signed manifest.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use sha2::Digest as _;

use crate::budget::Budget;
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{GetOptions, Key, ListEntry, ListOptions, ObjectMeta, ObjectStore};
use crate::vault::layout;
use crate::vault::list::objects;
use crate::vault::manifest::{Manifest, ObjectEntry};

/// What a point needs and the store does not list at its size, in words. Two listings, whatever the number of objects.
pub(crate) async fn not_listed(store: &dyn ObjectStore, manifest: &Manifest) -> Result<Vec<(Key, String)>> {
    let there = listed_objects(store, &manifest.point()).await?;
    Ok(manifest.objects().filter_map(|object| unlike(&there, &object).map(|what| (object.key, what))).collect())
}

/// What the store lists of a point's items, then details. Two listings.
pub(crate) async fn stored_objects(store: &dyn ObjectStore, id: &PointId) -> Result<Vec<ObjectMeta>> {
    let mut stored = objects(store, &layout::items_of(id)?).await?;
    stored.extend(objects(store, &layout::details_of(id)?).await?);
    Ok(stored)
}

/// The same by key.
pub(crate) async fn listed_objects(store: &dyn ObjectStore, id: &PointId) -> Result<BTreeMap<Key, ObjectMeta>> {
    Ok(stored_objects(store, id).await?.into_iter().map(|meta| (meta.key.clone(), meta)).collect())
}

/// Why the listing says that an object is not what was signed, in words.
pub(crate) fn unlike(there: &BTreeMap<Key, ObjectMeta>, object: &ObjectEntry) -> Option<String> {
    match there.get(&object.key) {
        Some(meta) if meta.size == object.bytes => None,
        Some(meta) => Some(format!("the object has {} bytes instead of {}", meta.size, object.bytes)),
        None => Some("the object is missing".to_owned()),
    }
}

/// How many objects and signatures each run of a tier has stored, and their bytes: what tells for little whether two vaults
/// may differ.
pub(crate) async fn stored_by_run(
    store: &dyn ObjectStore,
    source: &Name,
    tier: &Name,
) -> Result<BTreeMap<PointId, (u64, u64)>> {
    let mut runs = BTreeMap::<PointId, (u64, u64)>::new();
    let details = layout::details_of_tier(source, tier)?;
    for prefix in [layout::items_of_tier(source, tier)?, details, layout::signatures_of_tier(source, tier)?] {
        let mut listing = store.list(&prefix, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            let stored = layout::parse_stored(&meta.key).map(|(id, _)| id);
            let signature = layout::parse_signature(&meta.key).filter(|(_, what)| *what == layout::SIGNED_POINT);
            if let Some(id) = stored.or(signature.map(|(id, _)| id)) {
                let (objects, bytes) = runs.entry(id).or_default();
                (*objects, *bytes) = (*objects + 1, *bytes + meta.size);
            }
        }
    }
    Ok(runs)
}

/// Reads the object once and compares it with what was signed.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) or [`NotFound`](ErrorKind::NotFound) with the key, and what the store answers.
pub(crate) async fn prove_object(store: &dyn ObjectStore, object: &ObjectEntry, budget: &Budget) -> Result<()> {
    let corrupt = |text: String| Error::new(ErrorKind::Corrupt, text).with("key", &object.key);
    let mut got = store.get(&object.key, &GetOptions::default()).await?;
    if got.meta.size != object.bytes {
        return Err(corrupt(format!("the object has {} bytes instead of {}", got.meta.size, object.bytes)));
    }
    let (mut hasher, mut bytes) = (sha2::Sha256::new(), 0);
    while let Some(chunk) = got.body.next().await {
        let chunk = chunk?;
        bytes += chunk.len() as u64;
        let hash = move || {
            hasher.update(&chunk);
            Ok(hasher)
        };
        hasher = budget.run(hash).await?;
    }
    if bytes != object.bytes {
        return Err(corrupt(format!("the store sent {bytes} bytes instead of {}", object.bytes)));
    }
    let found = Sha256(hasher.finalize().into());
    if found == object.sha256 {
        return Ok(());
    }
    Err(corrupt(format!("the object's SHA-256 is {found} instead of {}", object.sha256)))
}
