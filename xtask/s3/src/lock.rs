//! Object Lock, tags and thaws: what changes about a version after it was made.

use jiff::SignedDuration;
use s3s::dto::{
    self, DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectRetentionInput, GetObjectRetentionOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode,
    PutObjectLegalHoldInput, PutObjectLegalHoldOutput, PutObjectRetentionInput, PutObjectRetentionOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, RestoreObjectInput, RestoreObjectOutput,
};
use s3s::{S3Error, S3Request, S3Response};

use crate::clock::{from_s3, to_s3};
use crate::error::{Result, denied, fail};
use crate::gate::lock_facts;
use crate::object::{About, Thaw, Version};
use crate::said;
use crate::service::{Api, Status};
use crate::world::{Current, World};

fn about(version: &mut Version) -> Result<&mut About> {
    let content = version.content.as_mut().map(|content| &mut content.about);
    content.ok_or_else(|| fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource."))
}

/// Locks are only where they are switched on.
fn lockable(found: (&mut Version, bool)) -> Result<&mut About> {
    match found {
        (version, true) => about(version),
        _ => Err(fail(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")),
    }
}

fn no_lock() -> S3Error {
    fail(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
}

fn malformed() -> S3Error {
    fail(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// Of a version, whatever it is.
fn of_version<'a>(world: &'a mut World, bucket: &str, key: &str, id: Option<&str>) -> Result<&'a mut About> {
    about(world.bucket_mut(bucket)?.find_mut(key, id)?.0)
}

impl Api {
    pub(crate) fn put_retention(
        &self,
        request: S3Request<PutObjectRetentionInput>,
    ) -> Result<S3Response<PutObjectRetentionOutput>> {
        let mut call = Current::of(&request.extensions);
        let input = request.input;
        let asked = input.retention.ok_or_else(malformed)?;
        let (Some(mode), Some(until)) = (asked.mode, asked.retain_until_date) else { return Err(malformed()) };
        let bypass = input.bypass_governance_retention.unwrap_or_default();
        let mut world = self.0.world();
        let now = world.clock.now();
        let new = said::retention(mode.as_str(), from_s3(&until), now)?;
        // What is in the body the gate has not seen.
        call.facts.extend(lock_facts(Some(new.mode()), new.until, now));
        world.authorize(&call, "s3:PutObjectRetention", &input.bucket, &input.key)?;
        let bucket = world.bucket_mut(&input.bucket)?;
        let about = lockable(bucket.find_mut(&input.key, input.version_id.as_deref())?)?;
        let extends = |old: &crate::object::Retention| new.compliance == old.compliance && new.until >= old.until;
        match about.lock.retention.filter(|old| now < old.until) {
            Some(old) if !extends(&old) && (old.compliance || !bypass) => {
                return Err(denied("s3:PutObjectRetention: the object is protected by object lock"));
            }
            _ => about.lock.retention = Some(new),
        }
        Ok(S3Response::new(PutObjectRetentionOutput::default()))
    }

    pub(crate) fn get_retention(
        &self,
        request: S3Request<GetObjectRetentionInput>,
    ) -> Result<S3Response<GetObjectRetentionOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        let bucket = world.bucket_mut(&input.bucket)?;
        let about = lockable(bucket.find_mut(&input.key, input.version_id.as_deref())?)?;
        let retention = about.lock.retention.ok_or_else(no_lock)?;
        Ok(S3Response::new(GetObjectRetentionOutput {
            retention: Some(ObjectLockRetention {
                mode: Some(ObjectLockRetentionMode::from_static(retention.mode())),
                retain_until_date: Some(to_s3(retention.until)),
            }),
        }))
    }

    pub(crate) fn put_hold(
        &self,
        request: S3Request<PutObjectLegalHoldInput>,
    ) -> Result<S3Response<PutObjectLegalHoldOutput>> {
        let input = request.input;
        let status = input.legal_hold.and_then(|hold| hold.status).ok_or_else(malformed)?;
        let mut world = self.0.world();
        let bucket = world.bucket_mut(&input.bucket)?;
        let about = lockable(bucket.find_mut(&input.key, input.version_id.as_deref())?)?;
        about.lock.hold = Some(status.as_str() == "ON");
        Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
    }

    pub(crate) fn get_hold(
        &self,
        request: S3Request<GetObjectLegalHoldInput>,
    ) -> Result<S3Response<GetObjectLegalHoldOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        let bucket = world.bucket_mut(&input.bucket)?;
        let about = lockable(bucket.find_mut(&input.key, input.version_id.as_deref())?)?;
        let status = if about.lock.hold.ok_or_else(no_lock)? { "ON" } else { "OFF" };
        let status = Some(ObjectLockLegalHoldStatus::from_static(status));
        Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) }))
    }

    pub(crate) fn get_tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> Result<S3Response<GetObjectTaggingOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        let about = of_version(&mut world, &input.bucket, &input.key, input.version_id.as_deref())?;
        let output = GetObjectTaggingOutput { tag_set: about.tags.clone(), version_id: input.version_id };
        Ok(S3Response::new(output))
    }

    pub(crate) fn put_tags(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> Result<S3Response<PutObjectTaggingOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        of_version(&mut world, &input.bucket, &input.key, input.version_id.as_deref())?.tags = input.tagging.tag_set;
        Ok(S3Response::new(PutObjectTaggingOutput { version_id: input.version_id }))
    }

    pub(crate) fn delete_tags(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = request.input;
        let mut world = self.0.world();
        of_version(&mut world, &input.bucket, &input.key, input.version_id.as_deref())?.tags.clear();
        Ok(S3Response::new(DeleteObjectTaggingOutput { version_id: input.version_id }))
    }

    /// Begins a thaw. It ends when the test says so.
    pub(crate) fn restore(&self, request: S3Request<RestoreObjectInput>) -> Result<S3Response<RestoreObjectOutput>> {
        let input = request.input;
        let asked = input.restore_request.ok_or_else(malformed)?;
        let days = asked.days.filter(|days| *days > 0).ok_or_else(malformed)?;
        let tier = asked.glacier_job_parameters.map(|it| it.tier).or(asked.tier);
        let mut world = self.0.world();
        let now = world.clock.now();
        let about = of_version(&mut world, &input.bucket, &input.key, input.version_id.as_deref())?;
        let class = &mut about.class;
        if !class.is_archive() {
            let message = "Restore is not allowed for the object's current storage class";
            return Err(fail(403, "InvalidObjectState", message));
        }
        if class.name.as_deref() == Some("DEEP_ARCHIVE") && tier.is_some_and(|tier| tier.as_str() == "Expedited") {
            return Err(fail(400, "InvalidArgument", "Retrieval option is not supported by this storage class"));
        }
        let status = match class.thaw {
            Thaw::Ongoing { .. } => {
                return Err(fail(409, "RestoreAlreadyInProgress", "Object restore is already in progress"));
            }
            Thaw::Until(until) if now < until => {
                class.thaw = Thaw::Until(now + SignedDuration::from_hours(24 * i64::from(days)));
                hyper::StatusCode::OK
            }
            _ => {
                class.thaw = Thaw::Ongoing { days };
                hyper::StatusCode::ACCEPTED
            }
        };
        let mut response = S3Response::new(RestoreObjectOutput::default());
        response.extensions.insert(Status(status));
        Ok(response)
    }
}

impl World {
    /// Ends a thaw that goes on.
    pub(crate) fn thawed(&mut self, bucket: &str, key: &str) -> Result<()> {
        let now = self.clock.now();
        let thaw = &mut of_version(self, bucket, key, None)?.class.thaw;
        match *thaw {
            Thaw::Ongoing { days } => *thaw = Thaw::Until(now + SignedDuration::from_hours(24 * i64::from(days))),
            other => panic!("nobody asked to restore {key}: {other:?}"),
        }
        Ok(())
    }

    pub(crate) fn set_class(&mut self, bucket: &str, key: &str, class: &str) -> Result<()> {
        let class = said::class(Some(class))?;
        of_version(self, bucket, key, None)?.class = class;
        Ok(())
    }
}

/// The default retention of a bucket.
impl Api {
    pub(crate) fn get_lock_config(
        &self,
        request: S3Request<dto::GetObjectLockConfigurationInput>,
    ) -> Result<S3Response<dto::GetObjectLockConfigurationOutput>> {
        let world = self.0.world();
        let bucket = world.bucket(&request.input.bucket)?;
        if !bucket.settings.lock {
            let message = "Object Lock configuration does not exist for this bucket";
            return Err(fail(404, "ObjectLockConfigurationNotFoundError", message));
        }
        let default = bucket.config.default_retention.clone();
        Ok(S3Response::new(dto::GetObjectLockConfigurationOutput {
            object_lock_configuration: Some(dto::ObjectLockConfiguration {
                object_lock_enabled: Some(dto::ObjectLockEnabled::from_static("Enabled")),
                rule: default.map(|it| dto::ObjectLockRule { default_retention: Some(it) }),
            }),
        }))
    }

    pub(crate) fn put_lock_config(
        &self,
        request: S3Request<dto::PutObjectLockConfigurationInput>,
    ) -> Result<S3Response<dto::PutObjectLockConfigurationOutput>> {
        let input = request.input;
        let config = input.object_lock_configuration.ok_or_else(malformed)?;
        let mut world = self.0.world();
        let bucket = world.bucket_mut(&input.bucket)?;
        if bucket.settings.versioning != Some(dto::BucketVersioningStatus::ENABLED) {
            let message = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
            return Err(fail(409, "InvalidBucketState", message));
        }
        bucket.settings.lock = true;
        bucket.config.default_retention = config.rule.and_then(|rule| rule.default_retention);
        Ok(S3Response::new(dto::PutObjectLockConfigurationOutput::default()))
    }
}
