//! What the component of versioned objects asks of a bucket beside what a store does.

use aws_sdk_s3::primitives::ByteStream;
use backstay_core::store::Key;
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;

use super::integrity::Crc;
use super::store::{S3Store, to};
use crate::connect::Connect;
use crate::error::{Call, Told};

const PUT: Call = Call { name: "put", api: "PutObject", right: "s3:PutObject" };

/// What a key must hold for a write to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// Nothing.
    Nothing,
    /// The object of this etag.
    Etag(&'a str),
    /// It does not matter.
    Anything,
}

impl Over<'_> {
    pub(crate) fn is_nothing(self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The headers If-Match and If-None-Match.
    pub(super) fn headers(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Nothing => (None, Some("*".to_owned())),
            Self::Etag(etag) => (Some(format!("\"{etag}\"")), None),
            Self::Anything => (None, None),
        }
    }
}

impl S3Store {
    pub(crate) fn bucket(&self) -> &str {
        &self.0.bucket
    }

    pub(crate) fn connect(&self) -> &Connect {
        &self.0.connect
    }

    /// Puts JSON, if the key holds what is said. [`Conflict`](ErrorKind::Conflict) if it does not.
    pub(crate) async fn put_json(&self, key: &Key, data: Bytes, over: Over<'_>) -> Result<()> {
        let (encryption, (if_match, if_none_match)) = (self.0.encryption.headers(), over.headers());
        let call = to!(self, put_object)
            .key(key.as_str())
            .content_type("application/json")
            .checksum_crc64_nvme(Crc::of(&data).header())
            .body(ByteStream::from(data.clone()))
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key)
            .customize()
            .config_override(self.patient(data.len() as u64));
        let call = if self.0.signs_bodies { call } else { call.disable_payload_signing() };
        call.send().await.map_err(Told::of).map(drop).map_err(|told| self.not_written(told, PUT, key))
    }

    pub(super) fn not_written(&self, told: Told, call: Call, key: &Key) -> backstay_core::Error {
        if told.is_precondition() {
            return self
                .fault(call, ErrorKind::Conflict, "the key no longer holds what was seen", key.as_str())
                .advise("somebody else wrote it meanwhile: make a new plan");
        }
        self.error(told, call, key.as_str())
    }
}
