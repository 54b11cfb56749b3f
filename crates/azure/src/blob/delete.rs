//! Deletes, many side by side. Azure's batch call would save calls and is not in the SDK.

use azure_storage_blob::models::{BlobClientDeleteOptions, DeleteSnapshotsOptionType};
use backstay_core::store::{DeleteOutcome, Key, ObjectRef, Operation, VersionId};
use backstay_core::{ErrorKind, Result};
use futures_util::{StreamExt as _, stream};

use super::meta::quoted;
use super::{BlobStore, told};
use crate::error::code;

/// Deletes on their way at once.
const AT_ONCE: usize = 16;

impl BlobStore {
    pub(super) async fn delete_blobs(&self, what: &[ObjectRef]) -> Vec<DeleteOutcome> {
        let one = |object: ObjectRef| async move {
            let result = match &object.version {
                None => self.delete_key(&object.key).await,
                Some(version) => self.delete_version(&object.key, version, Operation::Delete).await,
            };
            DeleteOutcome::new(object, result)
        };
        stream::iter(what.to_vec()).map(one).buffered(AT_ONCE).collect().await
    }

    async fn delete_key(&self, key: &Key) -> Result<()> {
        match self.delete_call(key, BlobClientDeleteOptions::default()).await {
            Err(error) if code(&error) == Some("SnapshotsPresent") => {
                let all = BlobClientDeleteOptions {
                    delete_snapshots: Some(DeleteSnapshotsOptionType::Include),
                    ..Default::default()
                };
                self.gone(key, self.delete_call(key, all).await, Operation::Delete)
            }
            answer => self.gone(key, answer, Operation::Delete),
        }
    }

    /// Deletes one version for good. The current one is made an older one first: the service deletes no other.
    pub(super) async fn delete_version(&self, key: &Key, version: &VersionId, operation: Operation) -> Result<()> {
        let of_version = || BlobClientDeleteOptions { version_id: Some(version.0.clone()), ..Default::default() };
        match self.delete_call(key, of_version()).await {
            Err(error) if code(&error) == Some("OperationNotAllowedOnRootBlob") => {
                let current = match self.head_blob(key, Some(version), operation).await {
                    Ok(current) => current,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(error),
                };
                let options = BlobClientDeleteOptions {
                    // Only this one: somebody may have put another since.
                    if_match: current.etag.as_deref().map(|etag| quoted(etag).into()),
                    ..Default::default()
                };
                match self.delete_call(key, options).await {
                    // Another one is the current version by now.
                    Err(error) if told(&error).kind() == ErrorKind::Conflict => {}
                    answer => self.gone(key, answer, operation)?,
                }
                self.gone(key, self.delete_call(key, of_version()).await, operation)
            }
            answer => self.gone(key, answer, operation),
        }
    }

    async fn delete_call(&self, key: &Key, options: BlobClientDeleteOptions<'_>) -> azure_core::Result<()> {
        self.blob(key).delete(Some(options)).await.map(drop)
    }

    /// An absent blob is success; an absent container or account is not.
    fn gone(&self, key: &Key, answer: azure_core::Result<()>, operation: Operation) -> Result<()> {
        match answer {
            Ok(()) => Ok(()),
            Err(error) if code(&error) == Some("BlobNotFound") => Ok(()),
            Err(error) => Err(self.failed(operation, key, &error)),
        }
    }
}
