//! Which method answers which operation.

use std::sync::Arc;

use s3s::dto;
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::world::Shared;

/// The operations, each in the file of what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Api(pub(crate) Arc<Shared>);

/// A status other than the operation's usual one, for the layer outside: s3s does not pass one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status(pub(crate) hyper::StatusCode);

macro_rules! answers {
    ($($operation:ident: $input:ident -> $output:ident = $method:ident $($wait:ident)?;)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(async fn $operation(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                answers!(@ self, $method, request $(, $wait)?)
            })*
        }
    };
    (@ $api:ident, $method:ident, $request:ident) => { $api.$method($request) };
    (@ $api:ident, $method:ident, $request:ident, waits) => { $api.$method($request).await };
}

answers! {
    abort_multipart_upload: AbortMultipartUploadInput -> AbortMultipartUploadOutput = abort;
    complete_multipart_upload: CompleteMultipartUploadInput -> CompleteMultipartUploadOutput = complete;
    copy_object: CopyObjectInput -> CopyObjectOutput = copy;
    create_bucket: CreateBucketInput -> CreateBucketOutput = create_bucket;
    create_multipart_upload: CreateMultipartUploadInput -> CreateMultipartUploadOutput = create_upload;
    delete_bucket: DeleteBucketInput -> DeleteBucketOutput = delete_bucket;
    delete_bucket_encryption: DeleteBucketEncryptionInput -> DeleteBucketEncryptionOutput = delete_encryption;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput -> DeleteBucketLifecycleOutput = delete_lifecycle;
    delete_bucket_policy: DeleteBucketPolicyInput -> DeleteBucketPolicyOutput = delete_policy;
    delete_bucket_replication: DeleteBucketReplicationInput -> DeleteBucketReplicationOutput = delete_replication;
    delete_public_access_block: DeletePublicAccessBlockInput -> DeletePublicAccessBlockOutput = delete_public_access;
    delete_object: DeleteObjectInput -> DeleteObjectOutput = delete;
    delete_objects: DeleteObjectsInput -> DeleteObjectsOutput = delete_many;
    delete_object_tagging: DeleteObjectTaggingInput -> DeleteObjectTaggingOutput = delete_tags;
    get_bucket_encryption: GetBucketEncryptionInput -> GetBucketEncryptionOutput = get_encryption;
    get_bucket_lifecycle_configuration:
        GetBucketLifecycleConfigurationInput -> GetBucketLifecycleConfigurationOutput = get_lifecycle;
    get_bucket_location: GetBucketLocationInput -> GetBucketLocationOutput = get_location;
    get_bucket_policy: GetBucketPolicyInput -> GetBucketPolicyOutput = get_policy;
    get_bucket_policy_status: GetBucketPolicyStatusInput -> GetBucketPolicyStatusOutput = get_policy_status;
    get_bucket_replication: GetBucketReplicationInput -> GetBucketReplicationOutput = get_replication;
    get_bucket_versioning: GetBucketVersioningInput -> GetBucketVersioningOutput = get_versioning;
    get_object: GetObjectInput -> GetObjectOutput = get;
    get_object_legal_hold: GetObjectLegalHoldInput -> GetObjectLegalHoldOutput = get_hold;
    get_object_lock_configuration: GetObjectLockConfigurationInput -> GetObjectLockConfigurationOutput = get_lock_config;
    get_object_retention: GetObjectRetentionInput -> GetObjectRetentionOutput = get_retention;
    get_object_tagging: GetObjectTaggingInput -> GetObjectTaggingOutput = get_tags;
    get_public_access_block: GetPublicAccessBlockInput -> GetPublicAccessBlockOutput = get_public_access;
    head_bucket: HeadBucketInput -> HeadBucketOutput = head_bucket;
    head_object: HeadObjectInput -> HeadObjectOutput = head;
    list_buckets: ListBucketsInput -> ListBucketsOutput = list_buckets;
    list_multipart_uploads: ListMultipartUploadsInput -> ListMultipartUploadsOutput = list_uploads;
    list_objects_v2: ListObjectsV2Input -> ListObjectsV2Output = list;
    list_object_versions: ListObjectVersionsInput -> ListObjectVersionsOutput = list_versions;
    list_parts: ListPartsInput -> ListPartsOutput = list_parts;
    put_bucket_encryption: PutBucketEncryptionInput -> PutBucketEncryptionOutput = put_encryption;
    put_bucket_lifecycle_configuration:
        PutBucketLifecycleConfigurationInput -> PutBucketLifecycleConfigurationOutput = put_lifecycle;
    put_bucket_policy: PutBucketPolicyInput -> PutBucketPolicyOutput = put_policy;
    put_bucket_replication: PutBucketReplicationInput -> PutBucketReplicationOutput = put_replication;
    put_bucket_versioning: PutBucketVersioningInput -> PutBucketVersioningOutput = put_versioning;
    put_object: PutObjectInput -> PutObjectOutput = put waits;
    put_object_legal_hold: PutObjectLegalHoldInput -> PutObjectLegalHoldOutput = put_hold;
    put_object_lock_configuration: PutObjectLockConfigurationInput -> PutObjectLockConfigurationOutput = put_lock_config;
    put_object_retention: PutObjectRetentionInput -> PutObjectRetentionOutput = put_retention;
    put_object_tagging: PutObjectTaggingInput -> PutObjectTaggingOutput = put_tags;
    put_public_access_block: PutPublicAccessBlockInput -> PutPublicAccessBlockOutput = put_public_access;
    restore_object: RestoreObjectInput -> RestoreObjectOutput = restore;
    upload_part: UploadPartInput -> UploadPartOutput = upload_part waits;
    upload_part_copy: UploadPartCopyInput -> UploadPartCopyOutput = upload_part_copy;
}
