//! A state out of the bucket and into it, as `terraform state pull` and `terraform state push` do.

use backstay_core::store::Key;
use backstay_core::{Error, ErrorKind, Result, Secret};
use bytes::Bytes;

use super::apply::RestoreVersionReport;
use super::locks::digest_id;
use super::objects::VersionedObjects;
use super::plan::{From, RestoreVersionPlan, understood};
use crate::s3::integrity::md5_hex;

impl VersionedObjects {
    /// The current state at a key, or an earlier version of it, byte for byte.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Corrupt`](ErrorKind::Corrupt) if it is no state, or the current one is not the
    /// one whose digest Terraform kept; what the servers answer.
    pub async fn pull(&self, key: &Key, version: Option<&str>) -> Result<Secret<Vec<u8>>> {
        self.meant(key)?;
        let missing = || Error::new(ErrorKind::NotFound, "there is no state").with("key", key);
        let (_, content) = self.read(key, version).await?.ok_or_else(missing)?;
        understood(&content, key)?;
        if let (None, Some(table)) = (version, &self.locks.table) {
            let (item, found) = (digest_id(&self.store, key), md5_hex(&content));
            if let Some(kept) = table.digest(&item).await?.filter(|kept| !kept.is_empty() && *kept != found) {
                return Err(Error::new(ErrorKind::Corrupt, "the state is not the one whose digest is kept")
                    .with("key", key)
                    .with("digest", found)
                    .with("kept", kept)
                    .advise("somebody wrote the object and not the digest: bring the version back that is meant"));
            }
        }
        Ok(Secret::new(content.to_vec()))
    }

    /// Says what a push would do. Refused is what `terraform state push` refuses: another lineage, an older serial, another
    /// state with the same serial; over an empty state anything goes.
    ///
    /// # Errors
    /// As [`plan_bring_back`](Self::plan_bring_back).
    pub async fn plan_push(&self, key: &Key, state: &[u8]) -> Result<RestoreVersionPlan> {
        let plan = self.states_only()?.plan_state(key, From::Push, Bytes::copy_from_slice(state)).await?;
        Ok(plan.0)
    }

    /// Pushes the state that the plan was made for, byte for byte: Terraform's own push counts the serial up besides.
    ///
    /// # Errors
    /// As [`bring_back`](Self::bring_back); [`Conflict`](ErrorKind::Conflict) for another state than the planned one.
    pub async fn push(&self, plan: RestoreVersionPlan, state: &[u8]) -> Result<RestoreVersionReport> {
        if plan.version.is_some() {
            return Err(Error::new(ErrorKind::Invalid, "the plan is not one of a push"));
        }
        self.states_only()?.write(plan, Some(Bytes::copy_from_slice(state))).await
    }

    pub(super) fn states_only(&self) -> Result<&Self> {
        match self.are_states() {
            true => Ok(self),
            false => Err(Error::new(ErrorKind::Invalid, "these objects are no Terraform states").with("objects", self)),
        }
    }
}
