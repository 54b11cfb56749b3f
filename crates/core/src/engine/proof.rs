//! Proofs: what a verification found, signed and kept beside the point.

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::verify::{Depth, VerifyReport};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{PointId, to_the_second};
use crate::store::{Key, ListEntry, ListOptions};
use crate::vault::layout;
use crate::vault::{Purpose, Vault, VaultId};

const MAX_PROOF_BYTES: u64 = 1 << 20;
/// So many damaged objects are named.
const MOST_NAMED: usize = 1000;

/// The signed statement of what a verification found. It can be read without a key, so it names no items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// The vault.
    pub vault: VaultId,
    /// The point.
    pub point: PointId,
    /// Digest of the manifest that it is about.
    pub manifest: Sha256,
    /// When, by the verifier's clock, to the second.
    pub at: Timestamp,
    /// The depth that was proved; none if not even the objects were all there.
    pub reached: Option<Depth>,
    /// How many objects were looked at.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: SignedDuration,
    /// How much was found damaged or missing.
    pub damages: u64,
    /// The first of the objects that are damaged or missing.
    pub damaged: Vec<Key>,
}

impl Vault {
    /// The proofs of a point that count, oldest first: signed for just this point by a key that is trusted for it. Others
    /// are passed over with a warning in the log.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn proofs(&self, point: &PointId) -> Result<Vec<Proof>> {
        let mut proofs = Vec::new();
        let mut listing = self.store().list(&layout::proofs_of(point)?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            match self.get_proof(point, &meta.key).await {
                Ok(proof) => proofs.push(proof),
                Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt) => {
                    tracing::warn!(%point, %error, "a proof that does not count");
                }
                // Deleted with its point since the listing.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(proofs)
    }

    /// Signs and stores what a verification found.
    pub(crate) async fn put_proof(&self, report: &VerifyReport, manifest: Sha256, took: SignedDuration) -> Result<()> {
        let point = &report.point;
        let proof = Proof {
            vault: self.id().clone(),
            point: point.clone(),
            manifest,
            at: to_the_second(self.clock().now()),
            reached: report.reached,
            objects: report.objects,
            bytes: report.bytes,
            took,
            damages: report.findings.len() as u64,
            damaged: report.findings.iter().filter_map(|finding| finding.key.clone()).take(MOST_NAMED).collect(),
        };
        let key = layout::proof(point, proof.at)?;
        let signatures = |digest: &Sha256| layout::signatures(point, layout::SIGNED_PROOF, digest);
        self.put_signed_json(&key, &proof, MAX_PROOF_BYTES, Purpose::Proof, signatures).await.map(drop)
    }

    async fn get_proof(&self, point: &PointId, key: &Key) -> Result<Proof> {
        let signatures = |digest: &Sha256| layout::signatures(point, layout::SIGNED_PROOF, digest);
        let verified = self.get_signed(key, MAX_PROOF_BYTES, Purpose::Proof, signatures).await?;
        let proof: Proof = verified.read()?;
        if proof.vault != *self.id() || proof.point != *point || layout::proof(point, proof.at)? != *key {
            return Err(Error::new(ErrorKind::Untrusted, "a proof that was signed for another place was put here")
                .with("key", key));
        }
        Ok(proof)
    }
}
