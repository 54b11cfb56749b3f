//! Copies that the server makes, also under a policy that denies plain overwrites: parts copied, then a conditional end.
//! Where a digest is announced, there is one part: the server tells its SHA-256 before the end.

use std::sync::atomic::Ordering;

use aws_sdk_s3::config::{Builder, Region};
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_types::base64;
use backstay_core::store::{Key, Location, ObjectMeta, PutOptions, Upload as _};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::bucket::escaped;
use super::head::size;
use super::store::{S3Store, to};
use super::upload::{S3Upload, Sent};
use crate::error::{Call, Told};

const LOOK: Call = Call { name: "copy_in", api: "HeadObject", right: "s3:GetObject" };
const COPY: Call = Call { name: "copy_in", api: "UploadPartCopy", right: "s3:PutObject" };
const SCHEME: &str = "s3";
/// Bytes of one part, unless the object is too large for it.
const PART: u64 = 256 << 20;
/// The largest part that servers take.
pub(super) const LARGEST_PART: u64 = 5 << 30;
/// Parts on their way at once.
const IN_FLIGHT: usize = 4;

/// What is copied.
pub(super) struct Source {
    pub(super) bucket: String,
    pub(super) key: String,
    /// None for what is current.
    pub(super) version: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) size: u64,
    /// Whether the server keeps a SHA-256 with it.
    pub(super) kept_sha256: bool,
}

impl S3Store {
    pub(super) fn location(&self, key: &Key) -> Location {
        let place = match &self.0.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.0.bucket),
            None => self.0.bucket.clone(),
        };
        Location::new(SCHEME, place, key.as_str())
    }

    /// The bucket that a location lies in, if this server has it.
    fn bucket_of<'a>(&self, from: &'a Location) -> Option<&'a str> {
        let place = match &self.0.endpoint {
            Some(endpoint) => from.place.strip_prefix(endpoint.trim_end_matches('/'))?.strip_prefix('/')?,
            None => &from.place,
        };
        (from.scheme == SCHEME && super::bucket::flaw(place).is_none()).then_some(place)
    }

    pub(super) async fn copy_object(
        &self,
        from: &Location,
        to: &Key,
        options: &PutOptions,
    ) -> Result<Option<ObjectMeta>> {
        let Some(bucket) = self.bucket_of(from) else { return Ok(None) };
        let announced = options.sha256.is_some();
        if announced && self.0.copies_unproved.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let source = match self.look_at(bucket, &from.key).await {
            Ok(source) => source,
            // Somebody else's credential may read it, and what it reads can be streamed.
            Err(told) if cannot(told.kind()) => return Ok(None),
            Err(told) => return Err(told.error(LOOK, bucket, &from.key)),
        };
        if source.size == 0 {
            return self.put_object(to, Bytes::new(), options).await.map(Some);
        }
        // What versitygw tells of a copy is what it kept of the source, if it kept the same: that proves nothing of the bytes.
        if announced && source.kept_sha256 {
            return Ok(None);
        }
        let most = u64::from(self.0.capabilities.max_parts);
        let Some(bytes) = bytes_of_parts(source.size, most, announced) else { return Ok(None) };
        let mut upload = self.begin_copy(to, options).await?;
        let copied = match self.copy_parts(&upload, &source, bytes).await {
            Ok(parts) => self.proved(parts, &upload, &source),
            Err(error) if cannot(error.kind()) => Ok(None),
            Err(error) => Err(error),
        };
        let Ok(Some(parts)) = copied else {
            if let Err(left) = Box::new(upload).abort().await {
                tracing::debug!(error = %left, "an upload could not be aborted; a sweep will find it");
            }
            return copied.map(|_| None);
        };
        parts.into_iter().for_each(|part| upload.take(part));
        Box::new(upload).complete().await.map(Some)
    }

    async fn look_at(&self, bucket: &str, key: &str) -> Result<Source, Told> {
        let call = self.0.client.head_object().bucket(bucket).key(key).set_request_payer(self.0.payer.clone());
        let call = call.checksum_mode(ChecksumMode::Enabled);
        let mut found = call.clone().send().await.map_err(Told::of);
        // A copy may come from another region, a look must be taken there.
        if let Some(region) = found.as_ref().err().and_then(Told::elsewhere) {
            let there = Builder::new().region(Region::new(region.to_owned()));
            found = call.customize().config_override(there).send().await.map_err(Told::of);
        }
        let found = found?;
        Ok(Source {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version: None,
            etag: found.e_tag().map(str::to_owned),
            size: size(found.content_length()),
            kept_sha256: found.checksum_sha256().is_some(),
        })
    }

    pub(super) async fn copy_parts(&self, upload: &S3Upload, source: &Source, bytes: u64) -> Result<Vec<Sent>> {
        let parts = source.size.div_ceil(bytes);
        let copies = (0..parts).map(|index| {
            let (start, end) = (index * bytes, source.size.min((index + 1) * bytes));
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            self.copy_part(upload, source, number, (parts > 1).then_some((start, end - 1)), end - start)
        });
        stream::iter(copies).buffer_unordered(IN_FLIGHT).try_collect().await
    }

    async fn copy_part(
        &self,
        upload: &S3Upload,
        source: &Source,
        number: i32,
        range: Option<(u64, u64)>,
        bytes: u64,
    ) -> Result<Sent> {
        let call = to!(self, upload_part_copy)
            .key(upload.key.as_str())
            .upload_id(&upload.id)
            .part_number(number)
            .copy_source(source.header())
            .set_copy_source_if_match(source.etag.clone())
            .set_copy_source_range(range.map(|(first, last)| format!("bytes={first}-{last}")));
        let told = call.customize().config_override(self.slow()).send().await.map_err(Told::of);
        let copied = told.map_err(|told| {
            if told.is_precondition() {
                return self.fault(COPY, ErrorKind::Conflict, "the object changed while it was copied", &source.key);
            }
            self.error(told, COPY, upload.key.as_str()).with("from", &source.key)
        })?;
        let part = copied.copy_part_result();
        let etag = part.and_then(|part| part.e_tag()).map(str::to_owned);
        let sha256 = part.and_then(|part| part.checksum_sha256()).map(str::to_owned);
        Ok(Sent { number, etag, crc: None, sha256, bytes })
    }

    /// The parts, if they are what was announced; none if the server does not tell, which it will not the next time either.
    fn proved(&self, parts: Vec<Sent>, upload: &S3Upload, source: &Source) -> Result<Option<Vec<Sent>>> {
        let Some(announced) = upload.options.sha256 else { return Ok(Some(parts)) };
        let [Sent { sha256: Some(told), .. }] = &parts[..] else {
            self.0.copies_unproved.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        let expected = base64::encode(announced.0);
        if *told == expected {
            return Ok(Some(parts));
        }
        let message = "the content is not the one that was announced";
        let error = self.fault(COPY, ErrorKind::Corrupt, message, upload.key.as_str());
        let from = format!("{}/{}", source.bucket, source.key);
        Err(error.with("from", from).with("expected", expected).with("got", told))
    }
}

impl Source {
    /// As `x-amz-copy-source` names it.
    pub(super) fn header(&self) -> String {
        let path = self.key.split('/').map(escaped).collect::<Vec<_>>().join("/");
        let version = self.version.as_ref().map(|version| format!("?versionId={}", escaped(version)));
        format!("{}/{path}{}", self.bucket, version.unwrap_or_default())
    }
}

/// Whether who asks here cannot copy from there, and the caller has to stream.
fn cannot(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Unsupported | ErrorKind::Invalid)
}

/// How large the parts of a copy are; none if it takes several and the whole has to be proved.
pub(super) fn bytes_of_parts(size: u64, most: u64, announced: bool) -> Option<u64> {
    if announced { (size <= LARGEST_PART).then_some(size) } else { Some(PART.max(size.div_ceil(most))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proved_is_copied_as_one_part() {
        assert_eq!(bytes_of_parts(5 << 30, 10_000, true), Some(5 << 30));
        assert_eq!(bytes_of_parts((5 << 30) + 1, 10_000, true), None);
        assert_eq!(bytes_of_parts((5 << 30) + 1, 10_000, false), Some(PART));
        assert_eq!(bytes_of_parts(5 << 40, 10_000, false), Some(549_755_814));
    }
}
