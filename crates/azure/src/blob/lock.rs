//! Locks: a policy until a time, and a legal hold. Both only grow here.

use azure_storage_blob::models::{BlobClientSetImmutabilityPolicyOptions, BlobClientSetLegalHoldOptions};
use backstay_core::store::{Lock, ObjectRef, Operation};
use backstay_core::{Error, ErrorKind, Result};

use super::BlobStore;
use super::put::{expiry, mode_of};

impl BlobStore {
    pub(super) async fn lock_blob(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        let operation = Operation::Protect;
        let key = &what.key;
        self.needs_locks(operation, key)?;
        let there = self.head_blob(key, what.version.as_ref(), operation).await?.lock.unwrap_or_default();
        let failed = |error: azure_core::Error| self.failed(operation, key, &error);
        let blob = self.blob(key);
        let version = what.version.as_ref().map(|version| version.0.clone());
        if let Some(until) = lock.until {
            // The service takes a shorter policy in place of one that is not locked, and so an end of the lock.
            let lasts = there.until.is_some_and(|there| there > self.0.clock.now());
            let weaker = there.until > Some(until) || (lock.bypassable && !there.bypassable);
            if lasts && weaker {
                let error = Error::new(ErrorKind::Locked, "a lock is never weakened").with("there", there);
                return Err(self.placed(operation, error).with("key", key));
            }
            let options = BlobClientSetImmutabilityPolicyOptions {
                immutability_policy_mode: Some(mode_of(lock)),
                version_id: version.clone(),
                ..Default::default()
            };
            blob.set_immutability_policy(&expiry(until)?, Some(options)).await.map_err(failed)?;
        }
        if lock.hold && !there.hold {
            let options = BlobClientSetLegalHoldOptions { version_id: version, ..Default::default() };
            blob.set_legal_hold(true, Some(options)).await.map_err(failed)?;
        }
        Ok(())
    }
}
