//! Which vault is here, by listing alone: who may not read knows it by the empty object that bears its ID.

use futures_util::StreamExt;
use jiff::SignedDuration;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{ListEntry, ListOptions, ObjectStore};
use crate::vault::settle::find;
use crate::vault::{Vault, VaultId, layout};

/// What was seen so lately is not looked at again.
const LATELY: SignedDuration = SignedDuration::from_secs(60);

impl Vault {
    /// Refuses to go on where the vault has gone since it was opened: a bucket that was removed and made anew takes whatever is
    /// written. Costs a listing, unless it was opened within the last minute.
    pub(crate) async fn is_still_here(&self) -> Result<()> {
        let open = self.clock().now().duration_since(self.opened());
        if (SignedDuration::ZERO..=LATELY).contains(&open) {
            return Ok(());
        }
        recognise(self.store(), Some(self.id())).await.map(drop)
    }
}

/// The vault that is here; where several claim to be, the one of this ID.
pub(crate) async fn recognise(store: &dyn ObjectStore, id: Option<&VaultId>) -> Result<VaultId> {
    let found = beacons(store).await?;
    let error = |kind, text: String| Error::new(kind, text).with("store", store);
    match (found.as_slice(), id) {
        ([], _) if find(store, &layout::marker()?).await?.is_some() => {
            Err(error(ErrorKind::Corrupt, "here is a vault's marker without the empty beacon beside it".into()).advise(
                "somebody removed the beacon: read the ID in backstay-1.json, and put an empty backstay-1.ID back",
            ))
        }
        ([], _) => {
            Err(error(ErrorKind::NotFound, "there is no vault here".into()).advise(if store.capabilities().versions {
                "check the prefix; if it was emptied, `as_of` of the store shows what was, and `undelete_since` opens it"
            } else {
                "check that the place is mounted and the prefix right; `Vault::create` makes a new one"
            }))
        }
        ([one], None) => one.parse(),
        ([one], Some(id)) if *one == id.to_string() => Ok(id.clone()),
        ([other], Some(id)) => Err(error(ErrorKind::Refused, format!("here is vault {other}, not {id}"))
            .advise("check the place and the keyring: they belong to two vaults")),
        (many, Some(id)) if many.contains(&id.to_string()) => {
            // Whoever may add objects can plant one; our own is pinned.
            tracing::warn!(%store, beacons = many.join(", "), "somebody put the beacon of another vault here");
            Ok(id.clone())
        }
        (many, _) => Err(error(ErrorKind::Refused, format!("two vaults claim this place: {}", many.join(", ")))
            .advise("somebody put a second marker: name yours by `id` or `keyring`, and remove the other")),
    }
}

/// The vaults whose beacons stand here.
pub(crate) async fn beacons(store: &dyn ObjectStore) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut listing = store.list(&layout::marker_prefix()?, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        if let ListEntry::Object(meta) = entry? {
            found.extend(layout::beacon_of(&meta.key).map(str::to_owned));
        }
    }
    Ok(found)
}
