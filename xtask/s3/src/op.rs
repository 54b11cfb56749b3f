//! The operations that the server knows, and the right that each needs.

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident => $action:literal, $of:ident;)*) => {
        /// An operation, by the name that AWS gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Op {
            $($(#[$doc])* #[doc = concat!("`", stringify!($name), "`, which needs `", $action, "`.")] $name,)*
            /// Any other, which is answered with 501.
            Other,
        }

        impl Op {
            pub(crate) fn named(name: &str) -> Self {
                match name {
                    $(stringify!($name) => Self::$name,)*
                    _ => Self::Other,
                }
            }

            /// The action that a policy has to allow.
            pub(crate) fn action(self, version: bool) -> &'static str {
                match (self, version) {
                    (Self::GetObject | Self::HeadObject, true) => "s3:GetObjectVersion",
                    (Self::DeleteObject, true) => "s3:DeleteObjectVersion",
                    (Self::GetObjectTagging, true) => "s3:GetObjectVersionTagging",
                    (Self::PutObjectTagging, true) => "s3:PutObjectVersionTagging",
                    (Self::DeleteObjectTagging, true) => "s3:DeleteObjectVersionTagging",
                    $((Self::$name, _) => $action,)*
                    (Self::Other, _) => "s3:Other",
                }
            }

            /// Whether the action is over the bucket, not over an object.
            pub(crate) fn of_bucket(self) -> bool {
                match self {
                    $(Self::$name => operations!(@ $of),)*
                    Self::Other => true,
                }
            }
        }
    };
    (@ bucket) => { true };
    (@ object) => { false };
}

operations! {
    AbortMultipartUpload => "s3:AbortMultipartUpload", object;
    CompleteMultipartUpload => "s3:PutObject", object;
    CopyObject => "s3:PutObject", object;
    CreateBucket => "s3:CreateBucket", bucket;
    CreateMultipartUpload => "s3:PutObject", object;
    DeleteBucket => "s3:DeleteBucket", bucket;
    DeleteBucketEncryption => "s3:PutEncryptionConfiguration", bucket;
    DeleteBucketLifecycle => "s3:PutLifecycleConfiguration", bucket;
    DeleteBucketPolicy => "s3:DeleteBucketPolicy", bucket;
    DeleteBucketReplication => "s3:PutReplicationConfiguration", bucket;
    DeletePublicAccessBlock => "s3:PutBucketPublicAccessBlock", bucket;
    DeleteObject => "s3:DeleteObject", object;
    DeleteObjects => "s3:DeleteObject", object;
    DeleteObjectTagging => "s3:DeleteObjectTagging", object;
    GetBucketEncryption => "s3:GetEncryptionConfiguration", bucket;
    GetBucketLifecycleConfiguration => "s3:GetLifecycleConfiguration", bucket;
    GetBucketLocation => "s3:GetBucketLocation", bucket;
    GetBucketPolicy => "s3:GetBucketPolicy", bucket;
    GetBucketPolicyStatus => "s3:GetBucketPolicyStatus", bucket;
    GetBucketReplication => "s3:GetReplicationConfiguration", bucket;
    GetBucketVersioning => "s3:GetBucketVersioning", bucket;
    GetObject => "s3:GetObject", object;
    GetObjectLegalHold => "s3:GetObjectLegalHold", object;
    GetObjectLockConfiguration => "s3:GetBucketObjectLockConfiguration", bucket;
    GetObjectRetention => "s3:GetObjectRetention", object;
    GetObjectTagging => "s3:GetObjectTagging", object;
    GetPublicAccessBlock => "s3:GetBucketPublicAccessBlock", bucket;
    HeadBucket => "s3:ListBucket", bucket;
    HeadObject => "s3:GetObject", object;
    ListBuckets => "s3:ListAllMyBuckets", bucket;
    ListMultipartUploads => "s3:ListBucketMultipartUploads", bucket;
    ListObjectsV2 => "s3:ListBucket", bucket;
    ListObjectVersions => "s3:ListBucketVersions", bucket;
    ListParts => "s3:ListMultipartUploadParts", object;
    PutBucketEncryption => "s3:PutEncryptionConfiguration", bucket;
    PutBucketLifecycleConfiguration => "s3:PutLifecycleConfiguration", bucket;
    PutBucketPolicy => "s3:PutBucketPolicy", bucket;
    PutBucketReplication => "s3:PutReplicationConfiguration", bucket;
    PutBucketVersioning => "s3:PutBucketVersioning", bucket;
    PutObject => "s3:PutObject", object;
    PutObjectLegalHold => "s3:PutObjectLegalHold", object;
    PutObjectLockConfiguration => "s3:PutBucketObjectLockConfiguration", bucket;
    PutObjectRetention => "s3:PutObjectRetention", object;
    PutObjectTagging => "s3:PutObjectTagging", object;
    PutPublicAccessBlock => "s3:PutBucketPublicAccessBlock", bucket;
    RestoreObject => "s3:RestoreObject", object;
    UploadPart => "s3:PutObject", object;
    UploadPartCopy => "s3:PutObject", object;
}

/// One operation is a list of one, so that a fault is `on(Op::PutObject)` and `on([Op::PutObject, Op::UploadPart])`.
impl IntoIterator for Op {
    type Item = Self;
    type IntoIter = std::iter::Once<Self>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self)
    }
}
