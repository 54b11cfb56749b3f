//! Uploads in parts: begun, filled, listed, given up. `complete.rs` ends them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType, CopyPartResult,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, StorageClass, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response};

use crate::bucket::Stored;
use crate::clock::to_s3;
use crate::copy::source;
use crate::error::{Result, fail};
use crate::list::owner;
use crate::object::About;
use crate::put::{etag, tell_encryption};
use crate::query::encode;
use crate::receive::{Claims, Received, receive};
use crate::said::said_of;
use crate::service::Api;
use crate::sums::{self, Algorithm, sums_of, tell_sums};
use crate::world::Current;

/// An upload that is not complete.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) key: String,
    pub(crate) made: Timestamp,
    pub(crate) about: About,
    pub(crate) algorithm: Option<Algorithm>,
    /// Whether the whole has a checksum of all its bytes, not one of its parts' checksums.
    pub(crate) full: bool,
    pub(crate) parts: BTreeMap<i32, Part>,
}

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) data: Arc<Vec<Bytes>>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) md5: Option<[u8; 16]>,
    pub(crate) sums: dto::Checksum,
    pub(crate) made: Timestamp,
}

pub(crate) fn no_such_upload() -> S3Error {
    let message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted \
                   or completed.";
    fail(404, "NoSuchUpload", message)
}

impl Stored {
    pub(crate) fn upload(&self, key: &str, id: &str) -> Result<&Pending> {
        self.uploads.get(id).filter(|upload| upload.key == key).ok_or_else(no_such_upload)
    }
}

impl Pending {
    fn algorithm_name(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm.map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name()))
    }

    pub(crate) fn kind(&self) -> Option<ChecksumType> {
        let kind = if self.full { ChecksumType::FULL_OBJECT } else { ChecksumType::COMPOSITE };
        self.algorithm.map(|_| ChecksumType::from_static(kind))
    }
}

impl Api {
    pub(crate) fn create_upload(
        &self,
        mut request: S3Request<CreateMultipartUploadInput>,
    ) -> Result<S3Response<CreateMultipartUploadOutput>> {
        let input = &mut request.input;
        let mut world = self.0.world();
        let (now, id) = (world.clock.now(), world.next());
        let bucket = world.bucket_mut(&input.bucket)?;
        let algorithm = input.checksum_algorithm.as_ref().map(|it| Algorithm::named(it.as_str())).transpose()?;
        let full = match (algorithm, input.checksum_type.as_ref().map(ChecksumType::as_str)) {
            (None, Some(_)) => return Err(wrong_type("none")),
            (Some(Algorithm::Crc64Nvme), Some("COMPOSITE")) => return Err(wrong_type("COMPOSITE")),
            (Some(Algorithm::Sha1 | Algorithm::Sha256), Some("FULL_OBJECT")) => return Err(wrong_type("FULL_OBJECT")),
            (_, Some(kind)) => kind == ChecksumType::FULL_OBJECT,
            (algorithm, None) => algorithm == Some(Algorithm::Crc64Nvme),
        };
        let about = said_of!(input).settle(bucket, now)?;
        let key = input.key.clone();
        let upload = Pending { key, made: now, about, algorithm, full, parts: BTreeMap::new() };
        // Ids sort by time, which no client may rely on but our listing does.
        let id = format!("{id:016x}.backstay");
        let mut output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(id.clone()),
            checksum_algorithm: upload.algorithm_name(),
            checksum_type: upload.kind(),
            ..Default::default()
        };
        tell_encryption!(output, upload.about);
        bucket.uploads.insert(id, upload);
        Ok(S3Response::new(output))
    }

    pub(crate) async fn upload_part(
        &self,
        mut request: S3Request<UploadPartInput>,
    ) -> Result<S3Response<UploadPartOutput>> {
        let call = Current::of(&request.extensions);
        let input = &mut request.input;
        let (md5, algorithm) = self.before_part(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
        let claims = Claims {
            sums: sums_of!(input),
            md5: input.content_md5.take(),
            length: input.content_length,
            headers: &request.headers,
            trailer: request.trailing_headers.take(),
        };
        let sent = Algorithm::in_use(&claims.sums).or_else(|| Algorithm::in_trailer(&request.headers).first().copied());
        if let (Some(expected), Some(sent)) = (algorithm, sent)
            && expected != sent
        {
            let (expected, sent) = (expected.name().to_lowercase(), sent.name().to_lowercase());
            let message = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {sent}"
            );
            return Err(fail(400, "InvalidRequest", message));
        }
        let received = receive(input.body.take(), claims, call.fault.as_ref(), md5, algorithm).await?;
        let part = self.keep(&input.bucket, &input.key, &input.upload_id, input.part_number, received)?;
        let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.0)), ..Default::default() };
        tell_sums!(output, part.1);
        Ok(S3Response::new(output))
    }

    pub(crate) fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Result<S3Response<UploadPartCopyOutput>> {
        let call = Current::of(&request.extensions);
        let input = request.input;
        let (md5, algorithm) = self.before_part(&input.bucket, &input.key, &input.upload_id, input.part_number)?;
        let conditions = (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        let (found, unproved) = {
            let world = self.0.world();
            let unproved = world.bucket(&input.bucket)?.settings.unproved_copies;
            (source(&world, &call, &input.copy_source, conditions)?, unproved)
        };
        let algorithm = algorithm.filter(|_| !unproved);
        let content = found.content;
        let (from, to) = match &input.copy_source_range {
            None => (0, content.size),
            Some(range) => copied_range(range, content.size)?,
        };
        let data = content.slice(from, to);
        let computed = algorithm.map(|algorithm| sums::compute(algorithm, &data)).unwrap_or_default();
        let md5 = md5.then(|| {
            let mut digest = Md5::new();
            data.iter().for_each(|chunk| digest.update(chunk));
            digest.finalize()
        });
        let received = Received { data, size: to - from, md5, sums: computed };
        let (etag, sums, made) = self.keep(&input.bucket, &input.key, &input.upload_id, input.part_number, received)?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(etag)),
            last_modified: Some(to_s3(made)),
            ..CopyPartResult::default()
        };
        tell_sums!(result, sums);
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: found.version,
            ..UploadPartCopyOutput::default()
        }))
    }

    /// Whether a part's MD5 is needed, and which checksum.
    fn before_part(&self, bucket: &str, key: &str, id: &str, number: i32) -> Result<(bool, Option<Algorithm>)> {
        let world = self.0.world();
        let bucket = world.bucket(bucket)?;
        let upload = bucket.upload(key, id)?;
        if !(1..=10_000).contains(&number) {
            return Err(fail(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive"));
        }
        Ok((!bucket.settings.opaque_etags, upload.algorithm))
    }

    /// Keeps a part, if its upload still is. Its etag, checksums and time.
    fn keep(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        number: i32,
        received: Received,
    ) -> Result<(String, dto::Checksum, Timestamp)> {
        let mut world = self.0.world();
        let (made, etag) = (world.clock.now(), etag(&mut world, received.md5));
        let bucket = world.bucket_mut(bucket)?;
        bucket.upload(key, id)?;
        let Received { data, size, md5, sums } = received;
        let part = Part { data: Arc::new(data), size, etag: etag.clone(), md5, sums: sums.clone(), made };
        let upload = bucket.uploads.get_mut(id).ok_or_else(no_such_upload)?;
        upload.parts.insert(number, part);
        Ok((etag, sums, made))
    }

    pub(crate) fn abort(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        let bucket = world.bucket_mut(&input.bucket)?;
        bucket.upload(&input.key, &input.upload_id)?;
        bucket.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    pub(crate) fn list_parts(&self, request: S3Request<ListPartsInput>) -> Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let limit = Current::of(&request.extensions).page(input.max_parts);
        let world = self.0.world();
        let bucket = world.bucket(&input.bucket)?;
        let upload = bucket.upload(&input.key, &input.upload_id)?;
        let after = input.part_number_marker.unwrap_or_default();
        let mut rest = upload.parts.range(after + 1..);
        let parts: Vec<dto::Part> = rest.by_ref().take(limit).map(|(number, part)| listed(*number, part)).collect();
        let truncated = rest.next().is_some();
        Ok(S3Response::new(ListPartsOutput {
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            parts: Some(parts),
            part_number_marker: Some(after),
            max_parts: Some(input.max_parts.unwrap_or(1000)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            checksum_algorithm: upload.algorithm_name(),
            checksum_type: upload.kind(),
            owner: Some(owner(&bucket.settings.owner)),
            storage_class: upload.about.class.name.clone().map(StorageClass::from),
            ..ListPartsOutput::default()
        }))
    }

    pub(crate) fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let limit = Current::of(&request.extensions).page(input.max_uploads);
        let encoding = input.encoding_type.as_ref();
        let world = self.0.world();
        let bucket = world.bucket(&input.bucket)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut all: Vec<(&str, &str, &Pending)> =
            bucket.uploads.iter().map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload)).collect();
        all.sort_by_key(|(key, id, _)| (*key, *id));
        let behind = |key: &str, id: &str| match (input.key_marker.as_deref(), input.upload_id_marker.as_deref()) {
            (None | Some(""), _) => true,
            (Some(marker), None | Some("")) => key > marker,
            (Some(marker), Some(id_marker)) => (key, id) > (marker, id_marker),
        };
        let mut rest = all.into_iter().filter(|(key, id, _)| key.starts_with(&prefix) && behind(key, id));
        let page: Vec<_> = rest.by_ref().take(limit).collect();
        let truncated = rest.next().is_some();
        let last = page.last().filter(|_| truncated).map(|(key, id, _)| (encode(key, encoding), (*id).to_owned()));
        let uploads = page.into_iter().map(|(key, id, upload)| MultipartUpload {
            checksum_algorithm: upload.algorithm_name(),
            checksum_type: upload.kind(),
            initiated: Some(to_s3(upload.made)),
            initiator: None,
            key: Some(encode(key, encoding)),
            owner: Some(owner(&bucket.settings.owner)),
            storage_class: Some(StorageClass::from(upload.about.class.name.clone().unwrap_or("STANDARD".to_owned()))),
            upload_id: Some(id.to_owned()),
        });
        let (next_key_marker, next_upload_id_marker) = last.unzip();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            is_truncated: Some(truncated),
            next_key_marker,
            next_upload_id_marker,
            max_uploads: Some(input.max_uploads.unwrap_or(1000)),
            bucket: Some(input.bucket),
            prefix: Some(encode(&prefix, encoding)),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn listed(number: i32, part: &Part) -> dto::Part {
    let mut listed = dto::Part {
        e_tag: Some(ETag::Strong(part.etag.clone())),
        last_modified: Some(to_s3(part.made)),
        part_number: Some(number),
        size: i64::try_from(part.size).ok(),
        ..dto::Part::default()
    };
    tell_sums!(listed, part.sums);
    listed
}

fn wrong_type(kind: &str) -> S3Error {
    fail(400, "InvalidRequest", format!("The {kind} checksum type cannot be used with this checksum algorithm."))
}

fn copied_range(text: &str, size: u64) -> Result<(u64, u64)> {
    let range =
        dto::Range::parse(text).map_err(|_| fail(400, "InvalidArgument", "The range is not bytes=first-last"))?;
    let inside = range.check(size).ok().filter(|_| match range {
        dto::Range::Int { last: Some(last), .. } => last < size,
        _ => false,
    });
    let message = format!("Range specified is not valid for source object of size: {size}");
    inside.map(|range| (range.start, range.end)).ok_or_else(|| fail(400, "InvalidArgument", message))
}
