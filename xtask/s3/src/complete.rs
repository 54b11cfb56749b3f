//! The end of an upload: its parts become one object.

use std::sync::Arc;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, ETag};
use s3s::{S3Request, S3Response};

use crate::error::{Result, fail};
use crate::object::Content;
use crate::put::{Conditions, hex, tell_encryption};
use crate::service::Api;
use crate::sums::{self, Algorithm, sums_of, tell_sums};
use crate::upload::{Part, Pending, no_such_upload};
use crate::world::Current;

/// What AWS asks of all parts but the last.
const MIN_PART: u64 = 5 << 20;

impl Api {
    pub(crate) fn complete(
        &self,
        mut request: S3Request<CompleteMultipartUploadInput>,
    ) -> Result<S3Response<CompleteMultipartUploadOutput>> {
        let call = Current::of(&request.extensions);
        let input = &mut request.input;
        let conditions = Conditions { none: input.if_none_match.take(), some: input.if_match.take() };
        let _under_way = conditions.begin(&self.0, &input.bucket, &input.key)?;
        let claimed = sums_of!(input);
        let named = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();

        let mut world = self.0.world();
        let bucket = world.bucket(&input.bucket)?;
        let upload = bucket.upload(&input.key, &input.upload_id)?;
        let parts = chosen(upload, &named, bucket.settings.small_parts)?;
        let size = parts.iter().map(|part| part.size).sum();
        if input.mpu_object_size.is_some_and(|claimed| u64::try_from(claimed) != Ok(size)) {
            let message =
                format!("The provided 'x-amz-mp-object-size' header does not match what was computed: {size}");
            return Err(fail(400, "InvalidRequest", message));
        }
        let sums = whole(upload, &parts, &claimed)?;
        conditions.check(bucket, &input.key, &call)?;
        let digests: Option<Vec<_>> = parts.iter().map(|part| part.md5).collect();
        let md5 = digests.map(|digests| hex(&Md5::checksum(&digests.concat())));
        let mut content = Content {
            data: Arc::new(parts.iter().flat_map(|part| part.data.iter().cloned()).collect()),
            size,
            etag: String::new(),
            sums,
            parts: parts.iter().map(|part| part.size).collect(),
            about: upload.about.clone(),
        };
        let stem = md5.unwrap_or_else(|| world.version_id());
        content.etag = format!("{stem}-{}", content.parts.len());
        let upload = world.bucket_mut(&input.bucket)?.uploads.remove(&input.upload_id);
        upload.ok_or_else(no_such_upload)?;
        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(content.etag.clone())),
            checksum_type: content.sums.checksum_type.clone(),
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            ..Default::default()
        };
        tell_sums!(output, content.sums);
        tell_encryption!(output, content.about);
        output.version_id = world.add(&input.bucket, &input.key, content)?;
        Ok(S3Response::new(output))
    }
}

/// The parts that the request names, if they are what it says.
fn chosen<'a>(upload: &'a Pending, named: &[CompletedPart], small: bool) -> Result<Vec<&'a Part>> {
    if named.is_empty() {
        return Err(fail(400, "MalformedXML", "You must specify at least one part"));
    }
    let mut parts = Vec::with_capacity(named.len());
    let mut before = 0;
    for one in named {
        let number = one.part_number.unwrap_or_default();
        if number <= before {
            return Err(fail(400, "InvalidPartOrder", "The list of parts was not in ascending order."));
        }
        before = number;
        let same = |part: &&Part| one.e_tag.as_ref().is_some_and(|etag| etag.value() == part.etag);
        let part = upload.parts.get(&number).filter(same).ok_or_else(invalid_part)?;
        if let Some(algorithm) = upload.algorithm {
            let told = match algorithm {
                Algorithm::Crc32 => &one.checksum_crc32,
                Algorithm::Crc32c => &one.checksum_crc32c,
                Algorithm::Crc64Nvme => &one.checksum_crc64nvme,
                Algorithm::Sha1 => &one.checksum_sha1,
                Algorithm::Sha256 => &one.checksum_sha256,
            };
            match told {
                None if !upload.full => {
                    let name = algorithm.name().to_lowercase();
                    let message = format!(
                        "The upload was created using a {name} checksum. The complete request must include the checksum \
                         for each part. It was missing for part {number} in the request."
                    );
                    return Err(fail(400, "InvalidRequest", message));
                }
                Some(told) if Some(told) != algorithm.of(&part.sums) => return Err(invalid_part()),
                _ => {}
            }
        }
        parts.push(part);
    }
    let all_but_last = parts.len() - 1;
    if !small && parts[..all_but_last].iter().any(|part| part.size < MIN_PART) {
        return Err(fail(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"));
    }
    Ok(parts)
}

fn invalid_part() -> s3s::S3Error {
    let message = "One or more of the specified parts could not be found. The part may not have been uploaded, or the \
                   specified entity tag may not match the part's entity tag.";
    fail(400, "InvalidPart", message)
}

/// The checksum of the whole, held against what the request says of it.
fn whole(upload: &Pending, parts: &[&Part], claimed: &Checksum) -> Result<Checksum> {
    let Some(algorithm) = upload.algorithm.or_else(|| Algorithm::in_use(claimed)) else {
        return Ok(Checksum::default());
    };
    let of_parts: Vec<_> = parts.iter().map(|part| (&part.sums, part.size)).collect();
    let mut sums = Checksum::default();
    if upload.full || upload.algorithm.is_none() {
        let value = sums::combine(algorithm, &of_parts);
        let value = value.or_else(|| {
            let computed = sums::compute(algorithm, parts.iter().flat_map(|part| part.data.iter()));
            algorithm.of(&computed).cloned()
        });
        algorithm.set(&mut sums, value.unwrap_or_default());
        sums = sums::full_object(sums);
    } else {
        algorithm.set(&mut sums, sums::composite(algorithm, &of_parts).unwrap_or_default());
        sums.checksum_type = upload.kind();
    }
    sums::verify(claimed, &sums)?;
    Ok(sums)
}
