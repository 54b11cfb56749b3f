//! Reading where anybody may have planted: a flood of plants costs one listing, not a read for each.

use std::collections::HashSet;

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{ListEntry, ListOptions, Prefix};
use crate::vault::handle::Vault;
use crate::vault::layout::{self, MarkName};
use crate::vault::mark::VerifiedMark;
use crate::vault::points::Point;
use crate::vault::signed::is_tampering;

/// So many plants are read before the signatures are listed. A vault without plants pays nothing.
const FEW: usize = 8;

/// Reads points and marks of one tier, or retirements of one source. After a few that turned out to be plants it lists
/// the signatures, and reads only what bears one in the name of a trusted key.
///
/// Make it after the listing that shows what is to be read: a signature is stored before what it signs, so none that
/// counts is overlooked.
#[derive(Debug, Default)]
pub(crate) struct Wary {
    planted: usize,
    /// Keys of what is signed in a trusted name, without digest and key ID.
    signed: Option<HashSet<String>>,
}

impl Wary {
    /// As [`Points::get`](crate::vault::Points::get).
    pub(crate) async fn point(&mut self, vault: &Vault, id: &PointId) -> Result<Point> {
        self.check(vault, &layout::signatures_of_tier(&id.source, &id.tier)?, || {
            layout::signed_name(id, layout::SIGNED_POINT)
        })
        .await?;
        let read = vault.points().get(id).await;
        self.learn(read)
    }

    /// Whether a listing showed already that no trusted key has signed this point.
    pub(crate) fn is_plant(&self, id: &PointId) -> bool {
        self.signed.as_ref().is_some_and(|signed| !signed.contains(&layout::signed_name(id, layout::SIGNED_POINT)))
    }

    /// As [`Vault::get_mark`].
    pub(crate) async fn mark(&mut self, vault: &Vault, id: &PointId, name: &MarkName) -> Result<VerifiedMark> {
        let signatures = layout::signatures_of_tier(&id.source, &id.tier)?;
        self.check(vault, &signatures, || layout::signed_name(id, &name.to_string())).await?;
        let read = vault.get_mark(id, name).await;
        self.learn(read)
    }

    /// As [`Vault::get_retirement`].
    pub(crate) async fn retirement(
        &mut self,
        vault: &Vault,
        source: &Name,
        component: &Name,
        at: Timestamp,
    ) -> Result<Timestamp> {
        let signatures = layout::signatures_of_retirements(source)?;
        self.check(vault, &signatures, || layout::signed_retirement(source, component, at)).await?;
        let read = vault.get_retirement(source, component, at).await;
        self.learn(read)
    }

    async fn check(&mut self, vault: &Vault, signatures: &Prefix, name: impl FnOnce() -> String) -> Result<()> {
        if self.planted < FEW {
            return Ok(());
        }
        if self.signed.is_none() {
            self.signed = Some(signed_in_trusted_names(vault, signatures).await?);
        }
        let name = name();
        if self.signed.as_ref().is_some_and(|signed| signed.contains(&name)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Untrusted, "no signature by a trusted key stands beside it").with("place", name))
    }

    fn learn<T>(&mut self, read: Result<T>) -> Result<T> {
        self.planted += usize::from(read.as_ref().is_err_and(|error| is_tampering(error.kind())));
        read
    }
}

async fn signed_in_trusted_names(vault: &Vault, signatures: &Prefix) -> Result<HashSet<String>> {
    let trusted: HashSet<String> = vault.trust().iter().map(|line| line.key.id()).collect();
    let mut signed = HashSet::new();
    let mut listing = vault.store().list(signatures, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        if let ListEntry::Object(meta) = entry?
            && let Some((name, key_id)) = layout::parse_signature(&meta.key)
            && trusted.contains(key_id)
        {
            signed.insert(name.to_owned());
        }
    }
    Ok(signed)
}
