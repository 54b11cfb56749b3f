//! How the server encrypts what it keeps.

use std::collections::BTreeMap;

use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_types::base64;

/// How the server encrypts what it keeps. That is beside the vault's own encryption, whose keys no server has.
///
/// ```
/// use backstay_aws::Encryption;
///
/// let key = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
/// let encryption = Encryption::kms(key).context("vault", "acme").bucket_key();
/// # let _ = encryption;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Encryption(How);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum How {
    #[default]
    Bucket,
    S3,
    Kms {
        key: String,
        context: BTreeMap<String, String>,
        bucket_key: bool,
    },
}

/// What the headers of a request say of it.
pub(super) struct Headers {
    pub(super) algorithm: Option<ServerSideEncryption>,
    pub(super) key: Option<String>,
    pub(super) context: Option<String>,
    pub(super) bucket_key: Option<bool>,
}

impl Encryption {
    /// As the bucket's default says: nothing is asked for.
    pub fn bucket_default() -> Self {
        Self(How::Bucket)
    }

    /// With a key of the server's own (SSE-S3).
    pub fn s3() -> Self {
        Self(How::S3)
    }

    /// With a key of the key service (SSE-KMS): its ID, ARN or alias. Readers need the right to use it.
    pub fn kms(key: impl Into<String>) -> Self {
        Self(How::Kms { key: key.into(), context: BTreeMap::new(), bucket_key: false })
    }

    /// Adds a pair to the encryption context, which the key service logs and policies can ask for. Only with
    /// [`kms`](Self::kms). It is no secret.
    pub fn context(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let How::Kms { context, .. } = &mut self.0 {
            context.insert(name.into(), value.into());
        }
        self
    }

    /// Uses a bucket key: fewer calls of the key service, which cost and are throttled. Only with [`kms`](Self::kms).
    pub fn bucket_key(mut self) -> Self {
        if let How::Kms { bucket_key, .. } = &mut self.0 {
            *bucket_key = true;
        }
        self
    }

    /// Whether an etag may be something other than the content's MD5 by this.
    pub(super) fn is_kms(&self) -> bool {
        matches!(self.0, How::Kms { .. })
    }

    pub(super) fn flaw(&self) -> Option<&'static str> {
        match &self.0 {
            How::Kms { key, .. } if key.is_empty() => Some("the key of the key service has no name"),
            _ => None,
        }
    }

    pub(super) fn headers(&self) -> Headers {
        let none = Headers { algorithm: None, key: None, context: None, bucket_key: None };
        match &self.0 {
            How::Bucket => none,
            How::S3 => Headers { algorithm: Some(ServerSideEncryption::Aes256), ..none },
            How::Kms { key, context, bucket_key } => Headers {
                algorithm: Some(ServerSideEncryption::AwsKms),
                key: Some(key.clone()),
                // A map of strings is always JSON.
                context: (!context.is_empty()).then(|| base64::encode(serde_json::to_vec(context).unwrap_or_default())),
                bucket_key: bucket_key.then_some(true),
            },
        }
    }
}
