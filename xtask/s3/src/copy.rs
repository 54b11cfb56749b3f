//! Copies within the server. No bytes are copied.

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag, ETagCondition};
use s3s::{S3Request, S3Response};

use crate::clock::to_s3;
use crate::error::{Result, fail, precondition_failed};
use crate::get::frozen;
use crate::object::Content;
use crate::put::{Conditions, hex, tell_encryption};
use crate::said::said_of;
use crate::service::Api;
use crate::sums::{self, Algorithm, full_object, tell_sums};
use crate::world::{Current, World};

/// What is copied.
pub(crate) struct Source {
    pub(crate) content: Content,
    pub(crate) version: Option<String>,
}

/// Finds what is to be copied, if the caller may read it and it is as wanted.
pub(crate) fn source(
    world: &World,
    call: &Current,
    source: &CopySource,
    (same, other): (Option<&ETagCondition>, Option<&ETagCondition>),
) -> Result<Source> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(fail(501, "NotImplemented", "Copies from access points are not played here."));
    };
    let action = if version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    world.authorize(call, action, bucket, key)?;
    let stored = world.bucket(bucket)?;
    let version = stored.find(key, version_id.as_deref())?;
    let content = version.content.clone().ok_or_else(|| fail(404, "NoSuchKey", "The specified key does not exist."))?;
    let is = |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.value() == content.etag);
    if same.is_some_and(|it| !is(it)) || other.is_some_and(is) {
        return Err(precondition_failed());
    }
    if content.about.class.is_frozen(world.clock.now()) {
        return Err(frozen());
    }
    Ok(Source { content, version: stored.settings.versioning.map(|_| version.id.clone()) })
}

impl Api {
    pub(crate) fn copy(&self, mut request: S3Request<CopyObjectInput>) -> Result<S3Response<CopyObjectOutput>> {
        let call = Current::of(&request.extensions);
        let header = |name| request.headers.get(name).map(|it| ETagCondition::parse_http_header(it.as_bytes()));
        let condition =
            |name| header(name).transpose().map_err(|_| fail(400, "InvalidArgument", "A condition is wrong"));
        let conditions = Conditions { none: condition("if-none-match")?, some: condition("if-match")? };
        let input = &mut request.input;
        let _under_way = conditions.begin(&self.0, &input.bucket, &input.key)?;
        let mut world = self.0.world();
        let now = world.clock.now();
        let wanted = (input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref());
        let Source { content: old, version } = source(&world, &call, &input.copy_source, wanted)?;
        let replaces = input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == "REPLACE");
        let new_tags = input.tagging_directive.as_ref().is_some_and(|it| it.as_str() == "REPLACE");
        let changes = replaces || input.storage_class.is_some() || input.server_side_encryption.is_some();
        if let CopySource::Bucket { bucket, key, version_id: None } = &input.copy_source
            && (&**bucket, &**key) == (input.bucket.as_str(), input.key.as_str())
            && !changes
        {
            let message = "This copy request is illegal because it is trying to copy an object to itself without changing \
                           the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(fail(400, "InvalidRequest", message));
        }
        let asked = input.checksum_algorithm.take().map(|it| Algorithm::named(it.as_str())).transpose()?;
        let bucket = world.bucket(&input.bucket)?;
        conditions.check(bucket, &input.key, &call)?;
        let mut about = said_of!(input).settle(bucket, now)?;
        if !replaces {
            let said = about;
            about = old.about.clone();
            (about.class, about.encryption, about.lock, about.tags) =
                (said.class, said.encryption, said.lock, said.tags);
        }
        if !new_tags {
            about.tags.clone_from(&old.about.tags);
        }
        let sums = match asked.or_else(|| Algorithm::in_use(&old.sums)) {
            Some(algorithm) if asked.is_some() || !old.parts.is_empty() => sums::compute(algorithm, old.data.iter()),
            _ => old.sums.clone(),
        };
        let etag = match bucket.settings.opaque_etags {
            true => world.version_id(),
            false => {
                let mut digest = Md5::new();
                old.data.iter().for_each(|chunk| digest.update(chunk));
                hex(&digest.finalize())
            }
        };
        let content =
            Content { data: old.data, size: old.size, etag, sums: full_object(sums), parts: Vec::new(), about };
        let mut result = CopyObjectResult {
            e_tag: Some(ETag::Strong(content.etag.clone())),
            last_modified: Some(to_s3(now)),
            checksum_type: content.sums.checksum_type.clone(),
            ..CopyObjectResult::default()
        };
        tell_sums!(result, content.sums);
        let mut output = CopyObjectOutput {
            copy_object_result: Some(result),
            copy_source_version_id: version,
            ..CopyObjectOutput::default()
        };
        tell_encryption!(output, content.about);
        output.version_id = world.add(&input.bucket, &input.key, content)?;
        Ok(S3Response::new(output))
    }
}
