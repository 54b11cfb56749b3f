//! Delete markers: found, and taken off the files that make a vault.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ListEntry, ListOptions, ObjectMeta, ObjectRef, ObjectStore, Prefix};
use crate::vault::layout;
use crate::vault::settle::delete_all;

/// Brings back what makes a vault: marker and beacon, sealed keys, retirements, with what is signed beside them. What was
/// deleted before `since` stays deleted: it may be a custodian that was removed.
pub(crate) async fn undelete_files(store: &dyn ObjectStore, since: Timestamp) -> Result<()> {
    let mut places = vec![layout::signatures_under("keys")?, layout::epoch_keys()?];
    let retired = delete_markers(store, &layout::retired_sources()?, since, |_| true).await?;
    for source in retired.iter().filter_map(|marker| marker.key.as_str().split('/').nth(1)).collect::<BTreeSet<_>>() {
        places.push(layout::signatures_under(&format!("{source}/retired"))?);
    }
    // Signatures before what they sign; the beacon, which makes it a vault, last.
    places.extend([layout::retired_sources()?, layout::marker_prefix()?]);
    for place in places {
        delete_all(store, &delete_markers(store, &place, since, |_| true).await?).await?;
    }
    Ok(())
}

/// The delete markers, all later than `since`, on keys under `prefix` that have a content below them.
pub(crate) async fn delete_markers(
    store: &dyn ObjectStore,
    prefix: &Prefix,
    since: Timestamp,
    wanted: impl Fn(&Key) -> bool,
) -> Result<Vec<ObjectRef>> {
    let (mut found, mut pile) = (Vec::new(), Vec::<ObjectMeta>::new());
    let mut decided: Option<Key> = None;
    let mut lines = store.list(prefix, &ListOptions::versions());
    // The newest version of each key comes first.
    while let Some(line) = lines.try_next().await? {
        let ListEntry::Object(meta) = line else { continue };
        if decided.as_ref() == Some(&meta.key) || !wanted(&meta.key) {
            continue;
        }
        if pile.first().is_some_and(|marker| marker.key != meta.key) {
            pile.clear();
        }
        if meta.delete_marker {
            pile.push(meta);
            continue;
        }
        decided = Some(meta.key);
        if pile.iter().all(|marker| marker.last_modified > since) {
            for marker in pile.drain(..) {
                let version = marker.version.ok_or_else(|| {
                    Error::new(ErrorKind::Other, "the store told no version of a delete marker")
                        .with("key", &marker.key)
                })?;
                found.push(ObjectRef::version(marker.key, version));
            }
        }
        pile.clear();
    }
    Ok(found)
}
