//! Buckets and their configuration.

use s3s::dto::{self, BucketVersioningStatus};
use s3s::{S3Error, S3Request, S3Response};

use crate::bucket::{Bucket, Stored};
use crate::clock::to_s3;
use crate::error::{Result, fail};
use crate::list::owner;
use crate::service::Api;

fn none(code: &str) -> S3Error {
    fail(404, code, "The configuration does not exist")
}

/// What S3 does with new objects where a bucket says nothing.
fn default_encryption() -> dto::ServerSideEncryptionConfiguration {
    let algorithm = dto::ServerSideEncryption::from_static(dto::ServerSideEncryption::AES256);
    let default = dto::ServerSideEncryptionByDefault { kms_master_key_id: None, sse_algorithm: algorithm };
    let rule = dto::ServerSideEncryptionRule {
        apply_server_side_encryption_by_default: Some(default),
        bucket_key_enabled: Some(false),
    };
    dto::ServerSideEncryptionConfiguration { rules: vec![rule] }
}

/// Whether a policy lets everyone in, which is all that a policy's status says.
fn is_public(policy: &str) -> bool {
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap_or_default();
    let statements = policy["Statement"].as_array().cloned().unwrap_or_else(|| vec![policy["Statement"].clone()]);
    let everyone = |it: &serde_json::Value| it["Principal"] == "*" || it["Principal"]["AWS"] == "*";
    statements.iter().any(|it| it["Effect"] == "Allow" && everyone(it) && it["Condition"].is_null())
}

/// A call that keeps, gives back or drops one field of the configuration.
macro_rules! configuration {
    ($($name:ident($input:ident) -> $output:ident = |$bucket:ident, $in:ident| $body:expr;)*) => {
        impl Api {
            $(pub(crate) fn $name(&self, request: S3Request<dto::$input>) -> Result<S3Response<dto::$output>> {
                let mut world = self.0.world();
                let $bucket: &mut Stored = world.bucket_mut(&request.input.bucket)?;
                let $in = request.input;
                let _ = &$in;
                Ok(S3Response::new($body))
            })*
        }
    };
}

configuration! {
    head_bucket(HeadBucketInput) -> HeadBucketOutput = |bucket, input| dto::HeadBucketOutput {
        bucket_region: Some(bucket.settings.region.clone()),
        ..Default::default()
    };
    get_location(GetBucketLocationInput) -> GetBucketLocationOutput = |bucket, input| {
        let region = Some(bucket.settings.region.clone()).filter(|region| region != "us-east-1");
        dto::GetBucketLocationOutput { location_constraint: region.map(dto::BucketLocationConstraint::from) }
    };
    get_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = |bucket, input| {
        let status = bucket.settings.versioning.map(BucketVersioningStatus::from_static);
        dto::GetBucketVersioningOutput { mfa_delete: None, status }
    };
    put_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = |bucket, input| {
        let status = input.versioning_configuration.status;
        let enabled = status.is_some_and(|status| status.as_str() == BucketVersioningStatus::ENABLED);
        if bucket.settings.lock && !enabled {
            let message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
            return Err(fail(409, "InvalidBucketState", message));
        }
        let status = if enabled { BucketVersioningStatus::ENABLED } else { BucketVersioningStatus::SUSPENDED };
        bucket.settings.versioning = Some(status);
        dto::PutBucketVersioningOutput::default()
    };
    get_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = |bucket, input| {
        let config = bucket.config.encryption.clone().unwrap_or_else(default_encryption);
        dto::GetBucketEncryptionOutput { server_side_encryption_configuration: Some(config) }
    };
    put_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = |bucket, input| {
        bucket.config.encryption = Some(input.server_side_encryption_configuration);
        dto::PutBucketEncryptionOutput::default()
    };
    delete_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = |bucket, input| {
        bucket.config.encryption = None;
        dto::DeleteBucketEncryptionOutput::default()
    };
    get_lifecycle(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = |bucket, input| {
        let rules = bucket.config.lifecycle.clone().ok_or_else(|| none("NoSuchLifecycleConfiguration"))?;
        dto::GetBucketLifecycleConfigurationOutput { rules: Some(rules), ..Default::default() }
    };
    put_lifecycle(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = |bucket, input| {
        bucket.config.lifecycle = input.lifecycle_configuration.map(|config| config.rules);
        dto::PutBucketLifecycleConfigurationOutput::default()
    };
    delete_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = |bucket, input| {
        bucket.config.lifecycle = None;
        dto::DeleteBucketLifecycleOutput::default()
    };
    get_public_access(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = |bucket, input| {
        let config = bucket.config.public_access.clone();
        let config = config.ok_or_else(|| none("NoSuchPublicAccessBlockConfiguration"))?;
        dto::GetPublicAccessBlockOutput { public_access_block_configuration: Some(config) }
    };
    put_public_access(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = |bucket, input| {
        bucket.config.public_access = Some(input.public_access_block_configuration);
        dto::PutPublicAccessBlockOutput::default()
    };
    delete_public_access(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = |bucket, input| {
        bucket.config.public_access = None;
        dto::DeletePublicAccessBlockOutput::default()
    };
    get_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = |bucket, input| {
        let config = bucket.config.replication.clone();
        let config = config.ok_or_else(|| none("ReplicationConfigurationNotFoundError"))?;
        dto::GetBucketReplicationOutput { replication_configuration: Some(config) }
    };
    put_replication(PutBucketReplicationInput) -> PutBucketReplicationOutput = |bucket, input| {
        bucket.config.replication = Some(input.replication_configuration);
        dto::PutBucketReplicationOutput::default()
    };
    delete_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput = |bucket, input| {
        bucket.config.replication = None;
        dto::DeleteBucketReplicationOutput::default()
    };
    get_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = |bucket, input| {
        let policy = bucket.config.policy.clone().ok_or_else(|| none("NoSuchBucketPolicy"))?;
        dto::GetBucketPolicyOutput { policy: Some(policy) }
    };
    get_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = |bucket, input| {
        let policy = bucket.config.policy.as_ref().ok_or_else(|| none("NoSuchBucketPolicy"))?;
        let policy_status = Some(dto::PolicyStatus { is_public: Some(is_public(policy)) });
        dto::GetBucketPolicyStatusOutput { policy_status }
    };
    put_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = |bucket, input| {
        bucket.config.policy = Some(input.policy);
        dto::PutBucketPolicyOutput::default()
    };
    delete_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = |bucket, input| {
        bucket.config.policy = None;
        dto::DeleteBucketPolicyOutput::default()
    };
}

impl Api {
    pub(crate) fn create_bucket(
        &self,
        request: S3Request<dto::CreateBucketInput>,
    ) -> Result<S3Response<dto::CreateBucketOutput>> {
        let input = request.input;
        let mut settings = Bucket::unversioned();
        if input.object_lock_enabled_for_bucket.unwrap_or_default() {
            settings = settings.with_object_lock();
        }
        if let Some(region) = input.create_bucket_configuration.and_then(|config| config.location_constraint) {
            settings = settings.in_region(region.as_str());
        }
        let mut world = self.0.world();
        let now = world.clock.now();
        if world.buckets.contains_key(&input.bucket) {
            let message = "Your previous request to create the named bucket succeeded and you already own it.";
            return Err(fail(409, "BucketAlreadyOwnedByYou", message));
        }
        let location = Some(format!("/{}", input.bucket));
        world.buckets.insert(input.bucket, Stored::new(settings, now));
        Ok(S3Response::new(dto::CreateBucketOutput { location }))
    }

    pub(crate) fn delete_bucket(
        &self,
        request: S3Request<dto::DeleteBucketInput>,
    ) -> Result<S3Response<dto::DeleteBucketOutput>> {
        let mut world = self.0.world();
        if !world.bucket(&request.input.bucket)?.objects.is_empty() {
            return Err(fail(409, "BucketNotEmpty", "The bucket you tried to delete is not empty"));
        }
        world.buckets.remove(&request.input.bucket);
        Ok(S3Response::new(dto::DeleteBucketOutput::default()))
    }

    pub(crate) fn list_buckets(
        &self,
        _request: S3Request<dto::ListBucketsInput>,
    ) -> Result<S3Response<dto::ListBucketsOutput>> {
        let world = self.0.world();
        let buckets = world.buckets.iter().map(|(name, bucket)| dto::Bucket {
            bucket_region: Some(bucket.settings.region.clone()),
            creation_date: Some(to_s3(bucket.made)),
            name: Some(name.clone()),
        });
        Ok(S3Response::new(dto::ListBucketsOutput {
            buckets: Some(buckets.collect()),
            owner: Some(owner(crate::ACCOUNT)),
            ..Default::default()
        }))
    }
}
