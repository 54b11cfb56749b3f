//! Where proofs lie: beside each other by point, those of drills with the component in their names.

use jiff::Timestamp;

use super::SIGNED_PROOF;
use crate::error::Result;
use crate::name::{Name, PointId, compact_time, parse_compact_time};
use crate::store::{Key, Prefix};

/// All proofs of one run.
pub(crate) fn proofs_of(id: &PointId) -> Result<Prefix> {
    Prefix::new(format!("proofs/{id}."))
}

/// All proofs of a tier.
pub(crate) fn proofs_of_tier(source: &Name, tier: &Name) -> Result<Prefix> {
    Prefix::new(format!("proofs/{source}/{tier}/"))
}

/// The name of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProofFile {
    pub(crate) point: PointId,
    pub(crate) at: Timestamp,
    /// Of a drill, the component that was restored: a listing tells the newest drill of each.
    pub(crate) drilled: Option<Name>,
}

impl ProofFile {
    pub(crate) fn key(&self) -> Result<Key> {
        let drilled = self.drilled.as_ref().map(|component| format!(".drill-{component}")).unwrap_or_default();
        Key::new(format!("proofs/{}.{}{drilled}.json", self.point, compact_time(self.at)))
    }

    /// What its signature stands for, as it is written into its key.
    pub(crate) fn signed(&self) -> String {
        match &self.drilled {
            Some(component) => format!("drill-{component}.{}", compact_time(self.at)),
            None => SIGNED_PROOF.to_owned(),
        }
    }

    /// Reads the key of a proof; none if it is not ours.
    pub(crate) fn parse(key: &Key) -> Option<Self> {
        let (point, rest) = key.as_str().strip_prefix("proofs/")?.strip_suffix(".json")?.split_once('.')?;
        let (at, drilled) = match rest.split_once('.') {
            Some((at, drilled)) => (at, Some(drilled.strip_prefix("drill-")?.parse().ok()?)),
            None => (rest, None),
        };
        Some(Self { point: point.parse().ok()?, at: parse_compact_time(at)?, drilled })
    }
}
