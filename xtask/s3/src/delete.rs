//! Deletes, of one and of many.

use s3s::dto::{
    self, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETagCondition,
};
use s3s::{S3Request, S3Response};

use crate::error::{Result, fail, precondition_failed};
use crate::fault::What;
use crate::object::NULL;
use crate::service::Api;
use crate::world::{Current, World};

/// What became of a delete.
struct Deleted {
    /// Whether a marker was made, or was what went.
    marker: bool,
    version: Option<String>,
}

impl Api {
    pub(crate) fn delete(&self, request: S3Request<DeleteObjectInput>) -> Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        if let Some(condition) = &input.if_match {
            let current = world.bucket(&input.bucket)?.current(&input.key).map(|(_, content)| content.etag.as_str());
            match (condition, current) {
                (_, None) => return Err(fail(404, "NoSuchKey", "The specified key does not exist.")),
                (ETagCondition::ETag(wanted), Some(etag)) if wanted.value() != etag => {
                    return Err(precondition_failed());
                }
                _ => {}
            }
        }
        let bypass = input.bypass_governance_retention.unwrap_or_default();
        let deleted = world.delete(&input.bucket, &input.key, input.version_id.as_deref(), bypass)?;
        Ok(S3Response::new(DeleteObjectOutput {
            delete_marker: deleted.marker.then_some(true),
            version_id: deleted.version,
            ..DeleteObjectOutput::default()
        }))
    }

    pub(crate) fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> Result<S3Response<DeleteObjectsOutput>> {
        let call = Current::of(&request.extensions);
        let input = request.input;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > 1000 {
            return Err(fail(400, "MalformedXML", "The XML you provided was not well-formed"));
        }
        let bypass = input.bypass_governance_retention.unwrap_or_default();
        let quiet = input.delete.quiet.unwrap_or_default();
        let mut world = self.0.world();
        world.bucket(&input.bucket)?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        let busy = if let Some(What::BusyObjects(busy)) = call.fault { busy } else { 0 };
        for (place, object) in objects.into_iter().enumerate() {
            let is_busy = || fail(503, "SlowDown", "Please reduce your request rate.");
            let action = if object.version_id.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
            let rights = [Some(action), bypass.then_some("s3:BypassGovernanceRetention")];
            let outcome = rights
                .into_iter()
                .flatten()
                .try_for_each(|action| world.authorize(&call, action, &input.bucket, &object.key))
                .and_then(|()| if place < busy { Err(is_busy()) } else { Ok(()) })
                .and_then(|()| world.delete(&input.bucket, &object.key, object.version_id.as_deref(), bypass));
            match outcome {
                Ok(_) if quiet => {}
                Ok(done) => deleted.push(DeletedObject {
                    delete_marker: done.marker.then_some(true),
                    delete_marker_version_id: done.version.filter(|_| done.marker),
                    key: Some(object.key),
                    version_id: object.version_id,
                }),
                Err(error) => errors.push(dto::Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: object.version_id,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}

impl World {
    fn delete(&mut self, bucket: &str, key: &str, version: Option<&str>, bypass: bool) -> Result<Deleted> {
        let (now, id) = (self.clock.now(), self.version_id());
        let stored = self.bucket_mut(bucket)?;
        let Some(version) = version else {
            // A marker, or without versions the end of the only one.
            if stored.settings.versioning.is_none() {
                stored.objects.remove(key);
                return Ok(Deleted { marker: false, version: None });
            }
            let version = stored.add(key.to_owned(), now, None, id);
            return Ok(Deleted { marker: true, version });
        };
        let Some(versions) = stored.objects.get_mut(key) else {
            return Ok(Deleted { marker: false, version: Some(version.to_owned()) });
        };
        let at = versions.iter().position(|it| it.id == version);
        let mut marker = false;
        if let Some(at) = at {
            let lock = versions[at].content.as_ref().map(|content| &content.about.lock);
            if lock.is_some_and(|lock| lock.forbids(now, bypass)) {
                return Err(fail(403, "AccessDenied", "Access Denied because object protected by object lock."));
            }
            marker = versions.remove(at).is_marker();
        }
        if versions.is_empty() {
            stored.objects.remove(key);
        }
        let told = stored.settings.versioning.is_some() || version != NULL;
        Ok(Deleted { marker, version: told.then(|| version.to_owned()) })
    }
}
