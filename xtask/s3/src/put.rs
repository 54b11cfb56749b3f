//! Puts, and the conditions of all writes.

use std::fmt::Write;
use std::sync::Arc;

use s3s::dto::{ETag, ETagCondition, PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response};

use crate::bucket::Stored;
use crate::clock::from_s3;
use crate::error::{Result, fail, precondition_failed};
use crate::fault::What;
use crate::object::Content;
use crate::receive::{Claims, receive};
use crate::said::said_of;
use crate::service::Api;
use crate::sums::{Algorithm, full_object, sums_of, tell_sums};
use crate::world::{Current, Shared, World};

/// `If-None-Match` and `If-Match` of a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) none: Option<ETagCondition>,
    pub(crate) some: Option<ETagCondition>,
}

impl Conditions {
    /// Refuses a write that must not be done to what is there now. A delete marker counts as nothing.
    pub(crate) fn check(&self, bucket: &Stored, key: &str, call: &Current) -> Result<()> {
        if matches!(call.fault, Some(What::IgnoreConditions)) {
            return Ok(());
        }
        let current = bucket.current(key).map(|(_, content)| content.etag.as_str());
        match (&self.none, current) {
            (Some(ETagCondition::Any), Some(_)) => return Err(precondition_failed()),
            (Some(ETagCondition::ETag(_)), _) => {
                let message = "A header you provided implies functionality that is not implemented";
                return Err(fail(501, "NotImplemented", message));
            }
            _ => {}
        }
        match (&self.some, current) {
            (Some(_), None) => Err(fail(404, "NoSuchKey", "The specified key does not exist.")),
            (Some(ETagCondition::ETag(wanted)), Some(etag)) if wanted.value() != etag => Err(precondition_failed()),
            _ => Ok(()),
        }
    }

    /// Marks the write as under way until the mark is dropped; refuses it if another one is and the bucket minds.
    pub(crate) fn begin(&self, shared: &Arc<Shared>, bucket: &str, key: &str) -> Result<Option<UnderWay>> {
        if self.none.is_none() && self.some.is_none() {
            return Ok(None);
        }
        let mut world = shared.world();
        let stored = world.bucket_mut(bucket)?;
        let count = stored.under_way.entry(key.to_owned()).or_default();
        if *count > 0 && stored.settings.conflicts {
            let message =
                "The conditional request cannot succeed due to a conflicting operation against this resource.";
            return Err(fail(409, "ConditionalRequestConflict", message));
        }
        *count += 1;
        Ok(Some(UnderWay { shared: Arc::clone(shared), bucket: bucket.to_owned(), key: key.to_owned() }))
    }
}

/// A conditional write that is not done yet.
pub(crate) struct UnderWay {
    shared: Arc<Shared>,
    bucket: String,
    key: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut world = self.shared.world();
        let Ok(bucket) = world.bucket_mut(&self.bucket) else { return };
        if let Some(count) = bucket.under_way.get_mut(&self.key) {
            *count -= 1;
        }
        bucket.under_way.retain(|_, count| *count > 0);
    }
}

impl Api {
    pub(crate) async fn put(&self, mut request: S3Request<PutObjectInput>) -> Result<S3Response<PutObjectOutput>> {
        let call = Current::of(&request.extensions);
        let input = &mut request.input;
        let md5 = !self.0.world().bucket(&input.bucket)?.settings.opaque_etags;
        let conditions = Conditions { none: input.if_none_match.take(), some: input.if_match.take() };
        let _under_way = conditions.begin(&self.0, &input.bucket, &input.key)?;
        let claims = Claims {
            sums: sums_of!(input),
            md5: input.content_md5.take(),
            length: input.content_length,
            headers: &request.headers,
            trailer: request.trailing_headers.take(),
        };
        let said = said_of!(input);
        let checked = claims.md5.is_some() || Algorithm::in_use(&claims.sums).is_some();
        if said.locks() && !checked && Algorithm::in_trailer(&request.headers).is_empty() {
            let message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock \
                           parameters";
            return Err(fail(400, "InvalidRequest", message));
        }
        let received = receive(input.body.take(), claims, call.fault.as_ref(), md5, None).await?;

        let mut world = self.0.world();
        let now = world.clock.now();
        let bucket = world.bucket(&input.bucket)?;
        conditions.check(bucket, &input.key, &call)?;
        let content = Content {
            about: said.settle(bucket, now)?,
            data: Arc::new(received.data),
            size: received.size,
            etag: etag(&mut world, received.md5),
            sums: full_object(received.sums),
            parts: Vec::new(),
        };
        let mut output = PutObjectOutput {
            e_tag: Some(ETag::Strong(content.etag.clone())),
            checksum_type: content.sums.checksum_type.clone(),
            ..PutObjectOutput::default()
        };
        tell_sums!(output, content.sums);
        tell_encryption!(output, content.about);
        output.ssekms_encryption_context.clone_from(&content.about.encryption.context);
        output.version_id = world.add(&input.bucket, &input.key, content)?;
        Ok(S3Response::new(output))
    }
}

impl World {
    /// Makes an object the newest version of its key.
    pub(crate) fn add(&mut self, bucket: &str, key: &str, content: Content) -> Result<Option<String>> {
        let (now, id) = (self.clock.now(), self.version_id());
        Ok(self.bucket_mut(bucket)?.add(key.to_owned(), now, Some(content), id))
    }
}

/// The MD5 of the bytes, or something of the same looks.
pub(crate) fn etag(world: &mut World, md5: Option<[u8; 16]>) -> String {
    match md5 {
        Some(md5) => hex(&md5),
        None => world.version_id(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Puts what is known of an object's encryption into an output.
macro_rules! tell_encryption {
    ($output:expr, $about:expr) => {
        let encryption = &$about.encryption;
        $output.server_side_encryption = encryption.algorithm.clone().map(s3s::dto::ServerSideEncryption::from);
        $output.ssekms_key_id.clone_from(&encryption.key);
        $output.bucket_key_enabled = encryption.bucket_key;
    };
}
pub(crate) use tell_encryption;

/// Whether a condition over the time of the last change holds.
pub(crate) fn not_after(limit: &s3s::dto::Timestamp, made: jiff::Timestamp) -> bool {
    made <= from_s3(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Bucket;

    #[test]
    fn a_condition_conflicts_with_one_under_way() {
        let shared = Arc::new(Shared::default());
        let create = Conditions { none: Some(ETagCondition::Any), some: None };
        for (bucket, conflicts) in [(Bucket::unversioned(), false), (Bucket::unversioned().conflicts(), true)] {
            let stored = Stored::new(bucket, jiff::Timestamp::UNIX_EPOCH);
            shared.world().buckets.insert("b".to_owned(), stored);
            let first = create.begin(&shared, "b", "k").unwrap();
            assert!(create.begin(&shared, "b", "other").is_ok());
            let second = create.begin(&shared, "b", "k").map(drop).map_err(|error| error.code().as_str().to_owned());
            assert_eq!(second.err(), conflicts.then(|| "ConditionalRequestConflict".to_owned()));
            assert!(Conditions::default().begin(&shared, "b", "k").unwrap().is_none());
            drop(first);
            assert!(create.begin(&shared, "b", "k").is_ok());
        }
    }
}
