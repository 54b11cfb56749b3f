//! Proofs: what a verification or a drill found, signed and kept beside the point.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::drill_report::{DrillPart, DrillPhase, Measured};
use crate::engine::verify::{Depth, VerifyReport};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, to_the_second};
use crate::store::Key;
use crate::vault::layout::{self, ProofFile};
use crate::vault::{Purpose, Vault, VaultId};

const MAX_PROOF_BYTES: u64 = 1 << 20;
/// So many damaged objects are named.
const MOST_NAMED: usize = 1000;

/// The signed statement of what a verification or a drill found. It can be read without a key, so it names no items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proof {
    /// The vault.
    pub vault: VaultId,
    /// The point.
    pub point: PointId,
    /// Digest of the manifest that it is about.
    pub manifest: Sha256,
    /// When, by the verifier's clock, to the second; of a drill, its end.
    pub at: Timestamp,
    /// The depth that was proved; none if not even the objects were all there, and of a drill, which proves a component.
    pub reached: Option<Depth>,
    /// How many objects were looked at.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// How long it took.
    pub took: SignedDuration,
    /// How much was found damaged or missing; of a drill that did not pass, the checks that failed, and one if none did.
    pub damages: u64,
    /// The first of the objects that are damaged or missing.
    pub damaged: Vec<Key>,
    /// What a drill found; none for a verification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillProof>,
}

/// What a [`Proof`] says of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillProof {
    /// The component that was restored.
    pub component: Name,
    /// Whether all that was to be restored was, whole, and everything checked was as it should be.
    pub passed: bool,
    /// The kind of failure that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Plain bytes that were restored.
    pub bytes: u64,
    /// Which part of the component that was; none if all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DrillPart>,
    /// How long each phase took that was begun.
    pub phases: BTreeMap<DrillPhase, SignedDuration>,
    /// How old the restored state was when the drill began, against the tier's recovery point objective.
    pub rpo: Measured,
    /// How long the recovery took, against the tier's recovery time objective; none if it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<Measured>,
    /// How many checks were made.
    pub checks: u64,
    /// How many of them failed.
    pub failed: u64,
}

impl Vault {
    /// The proofs of a point that count, of drills too, oldest first: signed for just this point by a key that is trusted for
    /// it. Others are passed over with a warning in the log.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn proofs(&self, point: &PointId) -> Result<Vec<Proof>> {
        let mut proofs = Vec::new();
        for key in self.keys(&layout::proofs_of(point)?).await? {
            let Some(file) = ProofFile::parse(&key) else { continue };
            match self.get_proof(&file).await {
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
    pub(crate) async fn prove_verified(
        &self,
        report: &VerifyReport,
        manifest: Sha256,
        took: SignedDuration,
    ) -> Result<()> {
        let damaged = report.findings.iter().filter_map(|finding| finding.key.clone());
        self.put_proof(&Proof {
            vault: self.id().clone(),
            point: report.point.clone(),
            manifest,
            at: to_the_second(self.clock().now()),
            reached: report.reached,
            objects: report.objects,
            bytes: report.bytes,
            took,
            damages: report.findings.len() as u64,
            damaged: damaged.take(MOST_NAMED).collect(),
            drill: None,
        })
        .await
    }

    /// Signs and stores a proof.
    pub(crate) async fn put_proof(&self, proof: &Proof) -> Result<()> {
        let file = proof.file();
        let signatures = |digest: &Sha256| layout::signatures(&proof.point, &file.signed(), digest);
        self.put_signed_json(&file.key()?, proof, MAX_PROOF_BYTES, Purpose::Proof, signatures).await.map(drop)
    }

    /// Reads a proof and proves its signature.
    pub(crate) async fn get_proof(&self, file: &ProofFile) -> Result<Proof> {
        let key = file.key()?;
        let signatures = |digest: &Sha256| layout::signatures(&file.point, &file.signed(), digest);
        let verified = self.get_signed(&key, MAX_PROOF_BYTES, Purpose::Proof, signatures).await?;
        let proof: Proof = verified.read()?;
        if proof.vault != *self.id() || proof.file() != *file {
            return Err(Error::new(ErrorKind::Untrusted, "a proof that was signed for another place was put here")
                .with("key", key));
        }
        Ok(proof)
    }
}

impl Proof {
    /// Its name.
    fn file(&self) -> ProofFile {
        let drilled = self.drill.as_ref().map(|drill| drill.component.clone());
        ProofFile { point: self.point.clone(), at: self.at, drilled }
    }
}
