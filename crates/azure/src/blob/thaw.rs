//! Archived blobs made readable: moved to a class that is.

use azure_core::http::Response;
use azure_storage_blob::models::{BlobClientSetTierOptions, RehydratePriority};
use backstay_core::store::{ObjectRef, Operation, Thaw, ThawState};
use backstay_core::{Error, ErrorKind, Result};

use super::meta::{self, CLASSES};
use super::{BlobStore, told};
use crate::error::code;

impl BlobStore {
    /// Asks for it, or tells how far it is. Azure moves a blob for good: [`Thaw::days`] has no meaning here.
    pub(super) async fn thaw_blob(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        let operation = Operation::Thaw;
        let key = &what.key;
        let priority = match thaw.speed.as_deref() {
            None => None,
            Some(speed) if speed.eq_ignore_ascii_case("standard") => Some(RehydratePriority::Standard),
            Some(speed) if speed.eq_ignore_ascii_case("high") => Some(RehydratePriority::High),
            Some(speed) => {
                let error = Error::new(ErrorKind::Invalid, "there is no such priority").with("speed", speed);
                return Err(self.placed(operation, error).with("key", key).advise("say Standard or High"));
            }
        };
        let (blob, headers) = self.properties(key, what.version.as_ref(), operation).await?;
        let pending = meta::header(&headers, "x-ms-archive-status");
        if pending.is_some_and(|status| status.starts_with("rehydrate-pending")) {
            return Ok(ThawState::Thawing);
        }
        if blob.class.as_deref() != Some("Archive") {
            return Ok(ThawState::Ready(None));
        }
        let options = BlobClientSetTierOptions {
            rehydrate_priority: priority,
            version_id: what.version.as_ref().map(|version| version.0.clone()),
            ..Default::default()
        };
        let tier = CLASSES.iter().find(|(name, _)| *name == self.0.thaw_to).map(|(_, tier)| tier.clone());
        let tier = tier.ok_or_else(|| Error::new(ErrorKind::Other, "the class to thaw to is none"))?;
        match self.blob(key).set_tier(tier, Some(options)).await {
            // 202: begun. 200: done, which only an emulator is.
            Ok(answer) if is_done(&answer) => Ok(ThawState::Ready(None)),
            Ok(_) => Ok(ThawState::Thawing),
            Err(error) if code(&error) == Some("BlobBeingRehydrated") => Ok(ThawState::Thawing),
            Err(error) => Err(self.placed(operation, told(&error)).with("key", key)),
        }
    }
}

fn is_done<T, F>(answer: &Response<T, F>) -> bool {
    u16::from(answer.status()) == 200
}
