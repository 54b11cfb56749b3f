//! The manifest: the one document whose existence makes a point exist.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::{Blake3, Sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, RunId, Tag};
use crate::store::Key;
use crate::vault::{Epoch, VaultId, layout};

/// Largest manifest that is read. One object takes about 200 bytes of it.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// What one run produced. Written once, last, and never changed.
///
/// Unknown fields are kept in `extra`, so that a newer writer's manifest survives an older program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The vault that it was written into.
    pub vault: VaultId,
    /// The source, as in its key.
    pub source: Name,
    /// The tier, as in its key.
    pub tier: Name,
    /// The run, as in its key.
    pub id: RunId,
    /// The attempt that committed.
    pub attempt: Tag,
    /// Whether every component is in it.
    pub status: Status,
    /// Features that a reader must know; one that does not refuses the point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// What the items are sealed to; none in a vault that is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The newest point of the tier when the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RunId>,
    /// When the run began, by its host's clock.
    pub started: Timestamp,
    /// When its last byte was stored, by its host's clock.
    pub completed: Timestamp,
    /// The caller's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What was to be protected, and what became of it.
    pub components: Vec<Component>,
    /// Where the names, facts and plain digests are; none in a void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<DetailsRef>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Whether a point is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Every component is good.
    Complete,
    /// Some component is not.
    Partial,
    /// Not a point: the key was taken so that no late writer can commit.
    Void,
}

/// A component of a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Component {
    /// Its name.
    pub name: Name,
    /// What kind it is: "directory", "postgres.dump".
    pub kind: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The moment that its items show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_at: Option<Timestamp>,
    /// What it truly is, whatever it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Plain bytes of its items.
    pub bytes: u64,
    /// Its stored bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectEntry>,
    /// Its snapshots on platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotEntry>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How a component ended in a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything that was asked for is there.
    Good,
    /// Its items can be restored, but something is missing or may be torn; the details name it.
    Incomplete,
    /// Nothing of it can be restored.
    Failed,
}

/// One stored object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ObjectEntry {
    /// Where it lies.
    pub key: Key,
    /// Its length as stored.
    pub bytes: u64,
    /// Its digest as stored: checked without any key.
    pub sha256: Sha256,
}

/// One snapshot on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotEntry {
    /// The provider: "aws.ebs".
    pub provider: String,
    /// Region and account, cluster.
    pub location: String,
    /// The platform's name of it.
    pub id: String,
    /// Of what it is.
    pub resource: String,
    /// Its size, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Where a point's details lie and how they are proved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DetailsRef {
    /// Where they lie.
    pub key: Key,
    /// Their length as stored.
    pub bytes: u64,
    /// Their digest as stored.
    pub sha256: Sha256,
    /// The digest of each 8 MiB of them, as stored.
    pub parts: Vec<Blake3>,
    /// Their plain length. There is no plain digest: it could confirm a guess of what they say.
    pub plain_bytes: u64,
}

impl Manifest {
    /// The point that it stands for.
    #[must_use]
    pub fn point(&self) -> PointId {
        PointId { source: self.source.clone(), tier: self.tier.clone(), run: self.id.clone() }
    }

    /// A component by name.
    #[must_use]
    pub fn component(&self, name: &Name) -> Option<&Component> {
        self.components.iter().find(|component| component.name == *name)
    }

    /// Every stored object that the point needs: its items' and its details.
    pub fn objects(&self) -> impl Iterator<Item = ObjectEntry> + '_ {
        self.components.iter().flat_map(|c| c.objects.iter().cloned()).chain(self.details_object())
    }

    /// The details, as a stored object.
    pub(crate) fn details_object(&self) -> Option<ObjectEntry> {
        self.details.as_ref().map(|d| ObjectEntry { key: d.key.clone(), bytes: d.bytes, sha256: d.sha256 })
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::new(ErrorKind::Other, "the manifest cannot be written as JSON").because(error))
    }

    /// Reads a manifest and checks that it says of itself what its key says of it.
    pub(crate) fn parse(
        bytes: &[u8],
        may_be_of: impl FnOnce(&VaultId) -> bool,
        key: &Key,
        point: &PointId,
    ) -> Result<Self> {
        let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what).with("key", key);
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| corrupt(format!("not a manifest: {error}")))?;
        if let Some(feature) = manifest.requires.first() {
            return Err(Error::new(ErrorKind::Unsupported, format!("the point needs the feature {feature:?}"))
                .with("key", key)
                .advise("use a version of Backstay that knows it"));
        }
        if !may_be_of(&manifest.vault) {
            let text = format!("the manifest was written for vault {}, which this is not", manifest.vault);
            return Err(corrupt(text).advise("if this is a replica of that vault, open it by `origin`"));
        }
        if manifest.point() != *point {
            return Err(corrupt(format!("the manifest is that of {}", manifest.point())));
        }
        manifest.objects().try_for_each(|object| layout::check_own(point, &object.key))?;
        Ok(manifest)
    }
}
