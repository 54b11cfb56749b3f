//! What the server knows of an object.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use backstay_core::store::{Key, ObjectMeta, VersionId};
use backstay_core::{ErrorKind, Result};
use jiff::Timestamp;

use super::answer::time;
use super::lock;
use super::put::etag;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

pub(super) const HEAD: Call = Call { name: "head", api: "HeadObject", right: "s3:GetObject" };

impl S3Store {
    pub(super) async fn head_object(&self, key: &Key, version: Option<&VersionId>) -> Result<ObjectMeta> {
        let found = self.head_version(HEAD, key, version).await?;
        let mut meta = ObjectMeta::new(key.clone(), size(found.content_length()), moment(found.last_modified()));
        meta.etag = found.e_tag().map(etag);
        meta.version = found.version_id().map(|id| VersionId(id.to_owned()));
        meta.class = found.storage_class().map(|class| class.as_str().to_owned());
        meta.lock = lock::told(
            found.object_lock_mode(),
            found.object_lock_retain_until_date(),
            found.object_lock_legal_hold_status(),
        );
        if let Some(version) = version {
            // The answer does not tell; that of the key does.
            let newest = self.head_version(HEAD, key, None).await;
            meta.latest = newest.is_ok_and(|newest| newest.version_id() == Some(version.0.as_str()));
        }
        Ok(meta)
    }

    pub(super) async fn head_version(
        &self,
        call: Call,
        key: &Key,
        version: Option<&VersionId>,
    ) -> Result<HeadObjectOutput> {
        let id = version.map(|version| version.0.clone());
        let told = to!(self, head_object).key(key.as_str()).set_version_id(id).send().await.map_err(Told::of);
        told.map_err(|told| self.unread(told, call, key, version))
    }

    /// Why a version cannot be read.
    pub(super) fn unread(
        &self,
        told: Told,
        call: Call,
        key: &Key,
        version: Option<&VersionId>,
    ) -> backstay_core::Error {
        if version.is_some() && told.is_marker() {
            return self
                .fault(call, ErrorKind::NotFound, "the version is a delete marker", key.as_str())
                .with("version", version.map_or("", |version| &version.0));
        }
        // Some servers call an ID invalid that they never gave, or no longer know.
        if version.is_some() && (told.is("InvalidVersionId") || told.is("NoSuchVersion")) {
            return self
                .fault(call, ErrorKind::NotFound, "there is no such version", key.as_str())
                .with("version", version.map_or("", |version| &version.0));
        }
        self.error(told, call, key.as_str())
    }
}

pub(super) fn size(told: Option<i64>) -> u64 {
    told.and_then(|size| u64::try_from(size).ok()).unwrap_or_default()
}

pub(super) fn moment(told: Option<&aws_smithy_types::DateTime>) -> Timestamp {
    told.copied().and_then(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Whether objects of this class must be thawed before they are read.
pub(crate) fn is_archive(class: Option<&str>) -> bool {
    matches!(class, Some("GLACIER" | "DEEP_ARCHIVE"))
}
