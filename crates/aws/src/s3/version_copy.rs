//! An earlier version becomes the current one, by a copy at the server with its metadata and tags: one call where that is
//! enough, else by parts.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use backstay_core::store::{Key, ObjectMeta, PutOptions, Upload as _, VersionId};
use backstay_core::{ErrorKind, Result};

use super::bucket::tagging;
use super::copy::{LARGEST_PART, Source, bytes_of_parts};
use super::head::size;
use super::store::{S3Store, to};
use super::thaw::is_frozen;
use super::upload::{S3Upload, Sent};
use super::versions::Over;
use crate::error::{Call, Told};

const LOOK: Call = Call { name: "copy", api: "HeadObject", right: "s3:GetObjectVersion" };
const TAGS: Call = Call { name: "copy", api: "GetObjectTagging", right: "s3:GetObjectVersionTagging" };
const COPY: Call = Call { name: "copy", api: "CopyObject", right: "s3:PutObject" };
const BEGIN: Call = Call { name: "copy", api: "CreateMultipartUpload", right: "s3:PutObject" };
const COMPLETE: Call = Call { name: "copy", api: "CompleteMultipartUpload", right: "s3:PutObject" };
/// Bytes that one CopyObject takes.
const MOST_COPIED: u64 = 5 << 30;

impl S3Store {
    /// Fails if the server cannot copy this version: [`Archived`](ErrorKind::Archived) until it is thawed,
    /// [`Unsupported`](ErrorKind::Unsupported) if it is too large.
    pub(crate) async fn check_copy(&self, key: &Key, version: &VersionId) -> Result<()> {
        let found = self.head_version(LOOK, key, Some(version)).await?;
        if is_frozen(&found) {
            let message = "the version lies in an archive class, and a copy has to read it";
            return Err(self.fault(COPY, ErrorKind::Archived, message, key.as_str()));
        }
        self.copied_parts(key, size(found.content_length())).map(drop)
    }

    /// Makes an earlier version the current one.
    pub(crate) async fn copy_version(&self, from: &ObjectMeta, version: &VersionId, over: Over<'_>) -> Result<()> {
        let key = &from.key;
        let source = Source {
            bucket: self.0.bucket.clone(),
            key: key.to_string(),
            version: Some(version.0.clone()),
            etag: from.etag.as_ref().map(|etag| format!("\"{etag}\"")),
            size: from.size,
            kept_sha256: false,
        };
        if let Some(bytes) = self.copied_parts(key, from.size)? {
            return self.copy_by_parts(key, version, &source, bytes, over).await;
        }
        let (encryption, (if_match, if_none_match)) = (self.0.encryption.headers(), over.headers());
        let call = to!(self, copy_object)
            .key(key.as_str())
            .copy_source(source.header())
            .set_copy_source_if_match(source.etag)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key);
        let told = call.customize().config_override(self.slow()).send().await.map_err(Told::of);
        told.map(drop).map_err(|told| self.not_written(told, COPY, key))
    }

    /// Bytes of each part; none if one call is enough.
    fn copied_parts(&self, key: &Key, size: u64) -> Result<Option<u64>> {
        if size <= MOST_COPIED {
            return Ok(None);
        }
        let most = self.0.capabilities.max_parts;
        match bytes_of_parts(size, u64::from(most), false) {
            Some(bytes) if bytes <= LARGEST_PART => Ok(Some(bytes)),
            _ => {
                let message = format!("the version has {size} bytes, more than {most} parts of {LARGEST_PART}");
                Err(self.fault(COPY, ErrorKind::Unsupported, message, key.as_str()))
            }
        }
    }

    async fn copy_by_parts(
        &self,
        key: &Key,
        version: &VersionId,
        source: &Source,
        bytes: u64,
        over: Over<'_>,
    ) -> Result<()> {
        let upload = self.begin_like(key, version).await?;
        let copied = async {
            let mut parts = self.copy_parts(&upload, source, bytes).await?;
            parts.sort_unstable_by_key(|part| part.number);
            self.end_over(&upload, parts, source.size, over).await
        };
        let done = copied.await;
        if done.is_err()
            && let Err(left) = Box::new(upload).abort().await
        {
            tracing::debug!(error = %left, "an upload could not be aborted");
        }
        done
    }

    /// Begins an upload with what a copy in one call would take over by itself.
    async fn begin_like(&self, key: &Key, version: &VersionId) -> Result<S3Upload> {
        let found = self.head_version(LOOK, key, Some(version)).await?;
        let tags = to!(self, get_object_tagging).key(key.as_str()).version_id(&version.0).send().await;
        let tags = tags.map_err(Told::of).map_err(|told| self.unread(told, TAGS, key, Some(version)))?;
        let tags = tags.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
        let call = to!(self, create_multipart_upload)
            .key(key.as_str())
            .set_cache_control(found.cache_control().map(str::to_owned))
            .set_content_disposition(found.content_disposition().map(str::to_owned))
            .set_content_encoding(found.content_encoding().map(str::to_owned))
            .set_content_language(found.content_language().map(str::to_owned))
            .set_content_type(found.content_type().map(str::to_owned))
            .set_expires(found.expires_string().and_then(http_date))
            .set_metadata(found.metadata().cloned())
            .set_website_redirect_location(found.website_redirect_location().map(str::to_owned))
            .set_tagging(tagging(&tags));
        self.begun(call, BEGIN, key, &PutOptions::default()).await
    }

    async fn end_over(&self, upload: &S3Upload, parts: Vec<Sent>, size: u64, over: Over<'_>) -> Result<()> {
        let parts = parts
            .into_iter()
            .map(|part| CompletedPart::builder().part_number(part.number).set_e_tag(part.etag).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let (if_match, if_none_match) = over.headers();
        let call = to!(self, complete_multipart_upload)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_mpu_object_size(i64::try_from(size).ok());
        let told = call.customize().config_override(self.slow()).send().await.map_err(Told::of);
        told.map(drop).map_err(|told| self.not_written(told, COMPLETE, &upload.key))
    }
}

fn http_date(text: &str) -> Option<aws_smithy_types::DateTime> {
    aws_smithy_types::DateTime::from_str(text, aws_smithy_types::date_time::Format::HttpDate).ok()
}
