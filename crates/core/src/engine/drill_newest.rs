//! The newest drills of a tier, for one listing and a few reads: anybody who may create objects may have planted proofs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::engine::proof::{DrillProof, Proof};
use crate::error::{ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::Key;
use crate::vault::Vault;
use crate::vault::layout::{self, ProofFile};
use crate::vault::list::objects;
use crate::vault::signed::is_tampering;
use crate::vault::wary::Wary;

/// So many proofs are read before the search ends: one of each component is enough, unless somebody plants.
const SEARCHED: usize = 64;

/// The newest drill of each component that counts.
#[derive(Debug, Default)]
pub(crate) struct NewestDrills {
    pub(crate) found: BTreeMap<Name, Drilled>,
    /// Proofs that were read and do not count, in words.
    pub(crate) strange: Vec<String>,
}

/// A drill that counts.
#[derive(Debug)]
pub(crate) struct Drilled {
    pub(crate) file: ProofFile,
    pub(crate) at: Timestamp,
    pub(crate) drill: DrillProof,
}

impl NewestDrills {
    /// Searches a tier's drills of some components, from the newest back.
    pub(crate) async fn of(
        vault: &Vault,
        (source, tier): (&Name, &Name),
        wanted: impl Fn(&Name) -> bool,
    ) -> Result<Self> {
        let mut listed: Vec<(Timestamp, Name, ProofFile)> = Vec::new();
        for meta in objects(vault.store(), &layout::proofs_of_tier(source, tier)?).await? {
            let Some(file) = ProofFile::parse(&meta.key) else { continue };
            let Some(component) = file.drilled.clone().filter(&wanted) else { continue };
            // Neither clock alone makes a drill younger than it is.
            listed.push((file.at.min(meta.last_modified), component, file));
        }
        listed.sort_unstable_by(|a, b| (b.0, b.2.at, &b.2.point.run).cmp(&(a.0, a.2.at, &a.2.point.run)));
        let mut missing: BTreeSet<Name> = listed.iter().map(|(_, component, _)| component.clone()).collect();
        let signatures = layout::signatures_of_tier(source, tier)?;
        let (mut wary, mut newest, mut read) = (Wary::default(), Self::default(), 0);
        for (at, component, file) in listed {
            if missing.is_empty() || read == SEARCHED {
                break;
            }
            if !missing.contains(&component) {
                continue;
            }
            let name = layout::signed_name(&file.point, &file.signed());
            match wary.signed(vault, &signatures, &name, vault.get_proof(&file)).await {
                Ok(Proof { drill: Some(drill), .. }) => {
                    missing.remove(&component);
                    newest.found.insert(component, Drilled { file, at, drill });
                }
                Ok(_) => {}
                // What costs nothing does not count, or a flood of plants would hide all that is good.
                Err(error) if is_tampering(error.kind()) && wary.is_unsigned(&name) => continue,
                Err(error) if is_tampering(error.kind()) => newest.strange.push(error.to_string()),
                // Deleted with its point since the listing.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            read += 1;
        }
        Ok(newest)
    }

    /// Of what lies beside a point that is deleted, all but the newest drills: how long ago a component was drilled is known
    /// for longer than a point may be kept.
    pub(crate) async fn spare(vault: &Vault, id: &PointId, mut beside: Vec<Key>) -> Result<Vec<Key>> {
        let is_drill = |key: &Key| ProofFile::parse(key).is_some_and(|file| file.drilled.is_some());
        if !beside.iter().any(is_drill) {
            return Ok(beside);
        }
        let newest = Self::of(vault, (&id.source, &id.tier), |_| true).await?;
        for Drilled { file, .. } in newest.found.values().filter(|drilled| drilled.file.point == *id) {
            let (key, signed) = (file.key()?, layout::signed_name(id, &file.signed()));
            beside.retain(|beside| *beside != key && layout::signed_by(beside).is_none_or(|(name, _)| name != signed));
        }
        Ok(beside)
    }
}
