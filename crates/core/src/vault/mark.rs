//! Marks: small signed records about a point or a component.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{Key, ObjectMeta};
use crate::vault::handle::Vault;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::points::CLOCK_TOLERANCE;
use crate::vault::signed::{Purpose, Verified};
use crate::vault::{Signer, VaultId};

/// Largest mark that is read; a tombstone's work list is the longest.
pub(crate) const MAX_MARK_BYTES: u64 = 64 << 20;

/// What a mark beside a point says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mark {
    /// The vault that it is for.
    pub vault: VaultId,
    /// The point that it is for.
    pub point: PointId,
    /// Digest of the manifest that it is about: a mark says nothing of any other.
    pub manifest: Sha256,
    /// What it says.
    pub says: MarkKind,
    /// When it was made, by its maker's clock.
    pub at: Timestamp,
    /// Why, in its maker's words.
    pub reason: String,
}

/// The kinds of marks beside a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MarkKind {
    /// The point is to be deleted when the grace is over.
    Deletion(WorkList),
    /// The point must not be deleted while this hold stands.
    Hold {
        /// The hold's name.
        name: Name,
    },
    /// The hold of this name is over.
    Release {
        /// The hold's name.
        name: Name,
    },
    /// A person looked at a doubtful point and takes it.
    Acceptance,
}

/// What a deletion takes away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkList {
    /// Nothing is deleted before this time of the store's clock.
    pub not_before: Timestamp,
    /// The point's stored objects, the manifest and sidecars excepted.
    pub objects: Vec<Key>,
    /// Their bytes.
    pub bytes: u64,
}

impl MarkKind {
    pub(crate) fn name(&self) -> MarkName {
        match self {
            Self::Deletion(_) => MarkName::Deleted,
            Self::Hold { name } => MarkName::Hold(name.clone()),
            Self::Release { name } => MarkName::Release(name.clone()),
            Self::Acceptance => MarkName::Accepted,
        }
    }
}

impl MarkName {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Deleted => Purpose::Delete,
            Self::Hold(_) => Purpose::Hold,
            Self::Release(_) => Purpose::Release,
            Self::Accepted => Purpose::Accept,
        }
    }
}

impl Mark {
    /// Whether it was made for just this place.
    pub(crate) fn is_for(&self, vault: &VaultId, point: &PointId, name: &MarkName) -> bool {
        self.vault == *vault && self.point == *point && self.says.name() == *name
    }
}

/// A mark whose signature was checked.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedMark {
    pub(crate) mark: Mark,
    pub(crate) meta: ObjectMeta,
    pub(crate) sha256: Sha256,
    pub(crate) signer: Signer,
}

impl Vault {
    /// Signs and stores a mark beside its point.
    pub(crate) async fn put_mark(&self, mark: &Mark) -> Result<ObjectMeta> {
        let name = mark.says.name();
        let key = layout::point_file(&mark.point, &PointFile::Mark(name.clone()))?;
        let signatures = |digest: &Sha256| layout::signatures(&mark.point, &name.to_string(), digest);
        self.put_signed_json(&key, mark, MAX_MARK_BYTES, name.purpose(), signatures).await
    }

    /// Reads a mark; it counts only if it is signed for its kind and for just this place.
    ///
    /// # Errors
    /// [`Untrusted`](ErrorKind::Untrusted) for a forged or replayed one: it changes nothing and should be reported.
    pub(crate) async fn get_mark(&self, point: &PointId, name: &MarkName) -> Result<VerifiedMark> {
        let key = layout::point_file(point, &PointFile::Mark(name.clone()))?;
        let signatures = |digest: &Sha256| layout::signatures(point, &name.to_string(), digest);
        let verified = self.get_signed(&key, MAX_MARK_BYTES, name.purpose(), signatures).await?;
        let mark: Mark = verified.read()?;
        if !mark.is_for(self.id(), point, name) {
            return Err(Error::new(ErrorKind::Untrusted, "a mark that was signed for another place was put here")
                .with("key", key));
        }
        // A tombstone alone is ever taken away again, so it alone can be put back by somebody who kept a copy.
        let age = verified.meta.last_modified.duration_since(mark.at).abs();
        if *name == MarkName::Deleted && age > CLOCK_TOLERANCE.saturating_mul(2) {
            return Err(Error::new(
                ErrorKind::Untrusted,
                format!("a tombstone made at {} was put here at {}", mark.at, verified.meta.last_modified),
            )
            .with("key", key)
            .advise("it was taken back before; remove it"));
        }
        Ok(VerifiedMark { mark, meta: verified.meta, sha256: verified.sha256, signer: verified.signer })
    }
}

/// A component that will not come back: its newest good item may expire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Retirement {
    /// The vault that it is for.
    pub vault: VaultId,
    /// The source of the component.
    pub source: Name,
    /// The component.
    pub component: Name,
    /// When, by the maker's clock, to the second.
    pub at: Timestamp,
    /// Why, in its maker's words.
    pub reason: String,
}

impl Vault {
    /// Signs and stores a retirement.
    pub(crate) async fn put_retirement(&self, retirement: &Retirement) -> Result<ObjectMeta> {
        let Retirement { source, component, at, .. } = retirement;
        let key = layout::retirement(source, component, *at)?;
        self.put_signed_json(&key, retirement, MAX_MARK_BYTES, Purpose::Retire, retirement_signatures(&key)).await
    }

    /// Reads a retirement, signed for just this place. Gives the moment from which it counts: that of its maker's clock or
    /// of the store's, whichever is earlier, so that a clock that is ahead retires nothing that comes later.
    pub(crate) async fn get_retirement(&self, source: &Name, component: &Name, at: Timestamp) -> Result<Timestamp> {
        let key = layout::retirement(source, component, at)?;
        let verified: Verified =
            self.get_signed(&key, MAX_MARK_BYTES, Purpose::Retire, retirement_signatures(&key)).await?;
        let found: Retirement = verified.read()?;
        if found.vault != *self.id() || found.source != *source || found.component != *component || found.at != at {
            return Err(Error::new(
                ErrorKind::Untrusted,
                "a retirement that was signed for another place was put here",
            )
            .with("key", key));
        }
        Ok(at.min(verified.meta.last_modified))
    }
}

fn retirement_signatures(key: &Key) -> impl Fn(&Sha256) -> Result<crate::store::Prefix> + '_ {
    // `retired/prod/db.20261120t064200z.json` is signed in `sigs/prod/retired/db.20261120t064200z.DIGEST.KEYID.sig`.
    move |digest| {
        let place = key.as_str().trim_start_matches("retired/").trim_end_matches(".json");
        let (source, file) = place.split_once('/').unwrap_or(("", place));
        layout::signatures_beside(&format!("{source}/retired/{file}"), digest)
    }
}
