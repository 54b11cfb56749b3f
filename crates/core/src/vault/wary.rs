//! Reading where anybody may have planted: a flood of plants costs one listing, not a read for each.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{ListEntry, ListOptions, Prefix};
use crate::vault::VaultId;
use crate::vault::commit::Commit;
use crate::vault::copy::CopyRecord;
use crate::vault::handle::Vault;
use crate::vault::layout::{self, MarkName};
use crate::vault::mark::VerifiedMark;
use crate::vault::points::{Listed, Point};
use crate::vault::signed::is_tampering;

/// So many plants are read before the signatures are listed. A vault without plants pays nothing.
const FEW: usize = 8;

/// What is said of a plant.
pub(crate) const UNSIGNED: &str = "no signature by a trusted key stands beside it";

/// Reads points, marks and proofs of one tier, copy records of one point, or retirements of one source. After a few that turned
/// out to be plants it lists the signatures, and reads only what bears one in the name of a trusted key.
///
/// Make it after the listing that shows what is to be read: a signature is stored before what it signs, so none that
/// counts is overlooked.
#[derive(Debug, Default)]
pub(crate) struct Wary {
    planted: usize,
    signed: Option<Signed>,
}

/// What a listing of signatures shows.
#[derive(Debug, Default)]
struct Signed {
    /// Keys of what is signed in a trusted name, without digest and key ID.
    trusted: HashSet<String>,
    /// Holds that are signed in the name of an unknown key, and its ID.
    strangers: HashMap<String, String>,
}

impl Wary {
    /// As [`Vault::read_point`].
    pub(crate) async fn point(&mut self, vault: &Vault, id: &PointId) -> Result<Point> {
        self.check(vault, &layout::signatures_of_tier(&id.source, &id.tier)?, || signed_commits(id)).await?;
        let read = vault.read_point(id).await;
        self.learn(read)
    }

    /// As [`Vault::commit_of`].
    pub(crate) async fn commit(&mut self, vault: &Vault, id: &PointId) -> Result<Option<Commit>> {
        self.check(vault, &layout::signatures_of_tier(&id.source, &id.tier)?, || signed_commits(id)).await?;
        let read = vault.commit_of(id).await;
        self.learn(read)
    }

    /// As [`Vault::get_copy`].
    pub(crate) async fn copy(&mut self, vault: &Vault, id: &PointId, origin: &VaultId) -> Result<CopyRecord> {
        self.check(vault, &layout::signatures_of(id)?, || [layout::signed_name(id, &layout::signed_copy(origin))])
            .await?;
        let read = vault.get_copy(id, origin).await;
        self.learn(read)
    }

    /// Whether a listing showed already that no trusted key has signed this point, or its void.
    pub(crate) fn is_plant(&self, id: &PointId) -> bool {
        self.signed.as_ref().is_some_and(|signed| !signed_commits(id).iter().any(|name| signed.trusted.contains(name)))
    }

    /// As [`Vault::get_mark`].
    pub(crate) async fn mark(&mut self, vault: &Vault, id: &PointId, name: &MarkName) -> Result<VerifiedMark> {
        let signatures = layout::signatures_of_tier(&id.source, &id.tier)?;
        self.check(vault, &signatures, || [layout::signed_name(id, &name.to_string())]).await?;
        let read = vault.get_mark(id, name).await;
        self.learn(read)
    }

    /// The mark beside the point, if it is signed for it. A forged one changes nothing.
    pub(crate) async fn mark_that_counts(
        &mut self,
        vault: &Vault,
        listed: &Listed,
        name: &MarkName,
    ) -> Result<Option<VerifiedMark>> {
        if !listed.marks.contains(name) {
            return Ok(None);
        }
        match self.mark(vault, &listed.id, name).await {
            Ok(mark) => Ok(Some(mark)),
            Err(error) if is_tampering(error.kind()) => {
                tracing::warn!(point = %listed.id, mark = %name, %error, "a mark that does not count");
                Ok(None)
            }
            // It was taken back between the listing and now.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Vault::stranger`], of a hold. In a flood of plants the name of a signature says it alone: what cannot be told
    /// for little is kept.
    pub(crate) async fn stranger(&self, vault: &Vault, id: &PointId, name: &MarkName) -> Result<Option<String>> {
        match &self.signed {
            Some(signed) => Ok(signed.strangers.get(&layout::signed_name(id, &name.to_string())).cloned()),
            None => vault.stranger(id, name).await,
        }
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
        self.check(vault, &signatures, || [layout::signed_retirement(source, component, at)]).await?;
        let read = vault.get_retirement(source, component, at).await;
        self.learn(read)
    }

    /// What `read` gives of a document that is signed as `name`, one of the signatures under a prefix.
    pub(crate) async fn signed<T>(
        &mut self,
        vault: &Vault,
        signatures: &Prefix,
        name: &str,
        read: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.check(vault, signatures, || [name.to_owned()]).await?;
        let read = read.await;
        self.learn(read)
    }

    /// Whether a listing showed already that no trusted key has signed anything as `name`.
    pub(crate) fn is_unsigned(&self, name: &str) -> bool {
        self.signed.as_ref().is_some_and(|signed| !signed.trusted.contains(name))
    }

    /// Refuses what is signed under none of the names, once the signatures were listed.
    async fn check<const N: usize>(
        &mut self,
        vault: &Vault,
        signatures: &Prefix,
        names: impl FnOnce() -> [String; N],
    ) -> Result<()> {
        if self.planted < FEW {
            return Ok(());
        }
        if self.signed.is_none() {
            self.signed = Some(Signed::list(vault, signatures).await?);
        }
        let names = names();
        if self.signed.as_ref().is_some_and(|signed| names.iter().any(|name| signed.trusted.contains(name))) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Untrusted, UNSIGNED).with("place", &names[0]))
    }

    fn learn<T>(&mut self, read: Result<T>) -> Result<T> {
        self.planted += usize::from(read.as_ref().is_err_and(|error| is_tampering(error.kind())));
        read
    }
}

/// What may stand at a commit key.
fn signed_commits(id: &PointId) -> [String; 2] {
    [layout::SIGNED_POINT, layout::SIGNED_VOID].map(|what| layout::signed_name(id, what))
}

impl Signed {
    async fn list(vault: &Vault, signatures: &Prefix) -> Result<Self> {
        let known = vault.trust().key_ids();
        let mut signed = Self::default();
        let mut listing = vault.store().list(signatures, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            let Some((name, key_id)) = layout::signed_by(&meta.key) else { continue };
            if known.contains(key_id) {
                signed.trusted.insert(name.to_owned());
            } else if layout::is_signed_hold(name) {
                signed.strangers.insert(name.to_owned(), key_id.to_owned());
            }
        }
        Ok(signed)
    }
}
