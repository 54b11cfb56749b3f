//! Gets and heads.

use std::io;

use futures_util::stream;
use jiff::Timestamp;
use s3s::dto::{
    ChecksumMode, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    ObjectLockMode, Range, StorageClass, StreamingBlob,
};
use s3s::{S3Error, S3Request, S3Response};

use crate::clock::to_s3;
use crate::error::{Result, denied, fail, precondition_failed};
use crate::object::{Content, Version};
use crate::put::{not_after, tell_encryption};
use crate::service::Api;
use crate::sums::tell_sums;
use crate::world::{Current, World};

/// Which object, and under which conditions.
struct Wanted<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    if_modified_since: Option<&'a s3s::dto::Timestamp>,
    if_unmodified_since: Option<&'a s3s::dto::Timestamp>,
    part: Option<i32>,
    range: Option<&'a Range>,
}

struct Found {
    /// As the answer tells it.
    version: Option<String>,
    made: Timestamp,
    now: Timestamp,
    content: Content,
    /// The bytes asked for, if not all.
    range: Option<(u64, u64)>,
}

macro_rules! wanted {
    ($input:expr) => {
        Wanted {
            bucket: &$input.bucket,
            key: &$input.key,
            version: $input.version_id.as_deref(),
            if_match: $input.if_match.as_ref(),
            if_none_match: $input.if_none_match.as_ref(),
            if_modified_since: $input.if_modified_since.as_ref(),
            if_unmodified_since: $input.if_unmodified_since.as_ref(),
            part: $input.part_number,
            range: $input.range.as_ref(),
        }
    };
}

/// What both answers tell of an object.
macro_rules! tell {
    ($output:ty, $found:expr, $mode:expr) => {{
        let Found { version, made, now, content, range } = $found;
        let about = &content.about;
        let (from, to) = range.unwrap_or((0, content.size));
        let mut output = <$output>::default();
        output.accept_ranges = Some("bytes".to_owned());
        output.content_length = i64::try_from(to - from).ok();
        output.content_range = range.map(|_| format!("bytes {from}-{}/{}", to.saturating_sub(1), content.size));
        output.e_tag = Some(ETag::Strong(content.etag.clone()));
        output.last_modified = Some(to_s3(*made));
        output.version_id.clone_from(version);
        output.cache_control.clone_from(&about.cache_control);
        output.content_disposition.clone_from(&about.content_disposition);
        output.content_encoding.clone_from(&about.content_encoding);
        output.content_language.clone_from(&about.content_language);
        output.content_type = Some(about.content_type.clone().unwrap_or("binary/octet-stream".to_owned()));
        output.expires.clone_from(&about.expires);
        output.metadata.clone_from(&about.metadata);
        output.storage_class = about.class.name.clone().map(StorageClass::from);
        output.restore = about.class.restore(*now);
        if let Some(retention) = about.lock.retention {
            output.object_lock_mode = Some(ObjectLockMode::from_static(retention.mode()));
            output.object_lock_retain_until_date = Some(to_s3(retention.until));
        }
        let hold = about.lock.hold.map(|on| if on { "ON" } else { "OFF" });
        output.object_lock_legal_hold_status = hold.map(s3s::dto::ObjectLockLegalHoldStatus::from_static);
        tell_encryption!(output, about);
        if $mode.is_some_and(|mode: ChecksumMode| mode.as_str() == "ENABLED") && (from, to) == (0, content.size) {
            tell_sums!(output, content.sums);
            output.checksum_type.clone_from(&content.sums.checksum_type);
        }
        output
    }};
}

impl Api {
    pub(crate) fn get(&self, request: S3Request<GetObjectInput>) -> Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let found = self.find(&Current::of(&request.extensions), &wanted!(input))?;
        if found.content.about.class.is_frozen(found.now) {
            return Err(frozen());
        }
        let mut output = tell!(GetObjectOutput, &found, input.checksum_mode);
        let content = &found.content;
        let parts = i32::try_from(content.parts.len()).ok().filter(|_| input.part_number.is_some());
        output.parts_count = parts.filter(|parts| *parts > 0);
        output.tag_count = i32::try_from(content.about.tags.len()).ok().filter(|count| *count > 0);
        let (from, to) = found.range.unwrap_or((0, content.size));
        let chunks = content.slice(from, to).into_iter().map(Ok::<_, io::Error>);
        output.body = Some(StreamingBlob::wrap(stream::iter(chunks)));
        let mut response = S3Response::new(output);
        for (name, value) in [
            ("content-type", input.response_content_type),
            ("content-disposition", input.response_content_disposition),
            ("content-encoding", input.response_content_encoding),
            ("cache-control", input.response_cache_control),
        ] {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                response.headers.insert(name, value);
            }
        }
        Ok(response)
    }

    pub(crate) fn head(&self, request: S3Request<HeadObjectInput>) -> Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        let found = self.find(&Current::of(&request.extensions), &wanted!(input))?;
        let mut output = tell!(HeadObjectOutput, &found, input.checksum_mode);
        let parts = i32::try_from(found.content.parts.len()).ok().filter(|_| input.part_number.is_some());
        output.parts_count = parts.filter(|parts| *parts > 0);
        Ok(S3Response::new(output))
    }

    fn find(&self, call: &Current, wanted: &Wanted<'_>) -> Result<Found> {
        let world = self.0.world();
        let bucket = world.bucket(wanted.bucket)?;
        let version =
            bucket.find(wanted.key, wanted.version).map_err(|error| hide(&world, call, wanted.bucket, error))?;
        let Version { id, made, content: Some(content) } = version else {
            return Err(fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource."));
        };
        check(wanted, &content.etag, *made)?;
        let mut content = content.clone();
        // A lock is told to those alone who may ask for it.
        let may = |action| world.authorize(call, action, wanted.bucket, wanted.key).is_ok();
        content.about.lock.retention = content.about.lock.retention.filter(|_| may("s3:GetObjectRetention"));
        content.about.lock.hold = content.about.lock.hold.filter(|_| may("s3:GetObjectLegalHold"));
        Ok(Found {
            version: bucket.settings.versioning.map(|_| id.clone()),
            made: *made,
            now: world.clock.now(),
            range: range(wanted, &content)?,
            content,
        })
    }
}

pub(crate) fn frozen() -> S3Error {
    fail(403, "InvalidObjectState", "The operation is not valid for the object's storage class")
}

/// Who may not list is not told that a key does not exist.
fn hide(world: &World, call: &Current, bucket: &str, error: S3Error) -> S3Error {
    let missing = matches!(error.code(), s3s::S3ErrorCode::NoSuchKey);
    match missing && !world.may(&call.access_key, "s3:ListBucket", bucket, None, &call.facts) {
        true => denied("s3:ListBucket"),
        false => error,
    }
}

fn check(wanted: &Wanted<'_>, etag: &str, made: Timestamp) -> Result<()> {
    let is = |condition: &ETagCondition| condition.as_etag().is_none_or(|wanted| wanted.value() == etag);
    let not_modified = || fail(304, "NotModified", "Not Modified");
    match (wanted.if_match, wanted.if_unmodified_since) {
        (Some(condition), _) if !is(condition) => return Err(precondition_failed()),
        (None, Some(limit)) if !not_after(limit, made) => return Err(precondition_failed()),
        _ => {}
    }
    match (wanted.if_none_match, wanted.if_modified_since) {
        (Some(condition), _) if is(condition) => Err(not_modified()),
        (None, Some(limit)) if not_after(limit, made) => Err(not_modified()),
        _ => Ok(()),
    }
}

fn range(wanted: &Wanted<'_>, content: &Content) -> Result<Option<(u64, u64)>> {
    let invalid = || fail(416, "InvalidRange", "The requested range is not satisfiable");
    if let Some(number) = wanted.part {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or_else(invalid)?;
        let Some(size) = content.parts.get(index) else {
            return if content.parts.is_empty() && index == 0 { Ok(None) } else { Err(invalid()) };
        };
        let from: u64 = content.parts[..index].iter().sum();
        return Ok(Some((from, from + size)));
    }
    match wanted.range {
        None => Ok(None),
        Some(range) => range.check(content.size).map(|range| Some((range.start, range.end))).map_err(|_| invalid()),
    }
}
