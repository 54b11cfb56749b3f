//! One object by one call.

use std::num::NonZero;

use azure_core::http::{Body, ClientMethodOptions};
use azure_core::time::OffsetDateTime;
use azure_storage_blob::models::{
    AccessTier, BlobContainerClientGetPropertiesOptions, BlockBlobClientUploadOptions, ImmutabilityPolicyMode,
};
use backstay_core::store::{Key, Lock, ObjectMeta, Operation, PutMode, PutOptions};
use backstay_core::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::meta::{self, CLASSES};
use super::{BlobStore, told};
use crate::error::{code, is_status};
use crate::extra::Extra;

/// So much is hashed where it is asked for; more goes to a thread of its own.
const SMALL: usize = 64 << 10;

/// What a put's options become in a call.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) create: bool,
    pub(super) tier: Option<AccessTier>,
    pub(super) until: Option<OffsetDateTime>,
    pub(super) mode: Option<ImmutabilityPolicyMode>,
    pub(super) hold: Option<bool>,
    pub(super) tags: Option<String>,
}

impl BlobStore {
    pub(super) async fn put_blob(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let operation = Operation::Put;
        let terms = self.terms(operation, key, options)?;
        options.check(&data).map_err(|error| self.placed(operation, error).with("key", key))?;
        let size = data.len() as u64;
        let md5 = md5_of(data.clone()).await?;
        // All of it in one call, whatever its size.
        let mut all = BlockBlobClientUploadOptions { partition_size: NonZero::new(size.max(1)), ..Default::default() };
        // The SDK sends none of its own, and the server checks it before it keeps a byte.
        all.method_options =
            ClientMethodOptions { context: Extra::default().header("content-md5", STANDARD.encode(md5)).context() };
        all.if_none_match = terms.create.then(|| "*".into());
        all.tier = terms.tier;
        all.immutability_policy_expiry = terms.until;
        all.immutability_policy_mode = terms.mode;
        all.legal_hold = terms.hold;
        all.blob_tags_string = terms.tags;
        let answer = self.blob(key).upload(Body::Bytes(data).into(), Some(all)).await;
        let answer = answer.map_err(|error| self.refused(operation, key, options.mode, &error))?;
        let meta = meta::of_headers(key, size, answer.raw_response.headers());
        let mut meta = meta.map_err(|error| self.placed(operation, error))?;
        meta.class = options.class.clone();
        meta.lock = options.lock;
        Ok(meta)
    }

    /// The terms of a put, or why it cannot be had.
    pub(super) fn terms(&self, operation: Operation, key: &Key, options: &PutOptions) -> Result<Terms> {
        self.check_name(operation, key)?;
        let tier = options.class.as_ref().map(|class| {
            let tier = CLASSES.iter().find(|(name, _)| name == class).map(|(_, tier)| tier.clone());
            tier.ok_or_else(|| {
                let error = Error::new(ErrorKind::Unsupported, "there is no such class").with("class", class);
                self.placed(operation, error).advise("name Hot, Cool, Cold or Archive")
            })
        });
        let tier = tier.transpose()?;
        let (mut until, mut mode, mut hold) = (None, None, None);
        if let Some(lock) = &options.lock {
            // A container without it takes the headers and drops them.
            self.needs_locks(operation, key)?;
            until = lock.until.map(expiry).transpose()?;
            mode = until.map(|_| mode_of(lock));
            hold = lock.hold.then_some(true);
        }
        let encode = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tags: Vec<String> =
            options.tags.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let tags = (!tags.is_empty()).then(|| tags.join("&"));
        Ok(Terms { create: options.mode == PutMode::Create, tier, until, mode, hold, tags })
    }

    pub(super) fn needs_locks(&self, operation: Operation, key: &Key) -> Result<()> {
        if self.0.locks {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Unsupported, "the store was not told that its container can lock objects");
        Err(self
            .placed(operation, error)
            .with("key", key)
            .advise("enable version-level immutability on the container, and say locks(true) to the builder"))
    }

    /// Why a put or a commit was refused.
    pub(super) fn refused(&self, operation: Operation, key: &Key, mode: PutMode, error: &azure_core::Error) -> Error {
        let told = told(error);
        let told = match (mode, told.kind()) {
            // 409 says so by itself; some servers answer a condition that does not hold by 412.
            (PutMode::Create, ErrorKind::Conflict) if is_status(error, 412) => {
                Error::new(ErrorKind::AlreadyExists, "the key is taken").because(told)
            }
            // A credential that may only create was asked to overwrite.
            (PutMode::Overwrite, ErrorKind::AlreadyExists) => {
                Error::new(ErrorKind::Denied, "the credential may create and not overwrite").because(told)
            }
            _ => told,
        };
        self.placed(operation, told).with("key", key)
    }

    /// The service's clock: the date of an answer.
    pub(super) async fn service_time(&self) -> Result<Timestamp> {
        let operation = Operation::Now;
        let answer = self.0.container.get_properties(Some(BlobContainerClientGetPropertiesOptions::default())).await;
        // A refusal has a date too, and the right to look at the container is not asked for here.
        let date = match &answer {
            Ok(answer) => meta::header(answer.headers(), "date").map(str::to_owned),
            Err(error) => match error.kind() {
                azure_core::error::ErrorKind::HttpResponse { raw_response: Some(refusal), .. }
                    if is_status(error, 403) && code(error).is_some_and(|code| code.starts_with("Authorization")) =>
                {
                    meta::header(refusal.headers(), "date").map(str::to_owned)
                }
                _ => return Err(self.placed(operation, told(error))),
            },
        };
        let date = date.ok_or_else(|| Error::new(ErrorKind::Other, "the service did not tell its time"));
        date.and_then(|date| meta::time(&date)).map_err(|error| self.placed(operation, error))
    }
}

/// The mode of a lock's policy.
pub(super) fn mode_of(lock: &Lock) -> ImmutabilityPolicyMode {
    if lock.bypassable { ImmutabilityPolicyMode::Unlocked } else { ImmutabilityPolicyMode::Locked }
}

/// A time for a policy; by the second, and never too early.
pub(super) fn expiry(until: Timestamp) -> Result<OffsetDateTime> {
    let up = i64::from(until.subsec_nanosecond() > 0);
    OffsetDateTime::from_unix_timestamp(until.as_second() + up).map_err(|error| {
        Error::new(ErrorKind::Invalid, "no lock can last until then").with("until", until).because(error)
    })
}

/// The MD5 of a body.
pub(super) async fn md5_of(data: Bytes) -> Result<[u8; 16]> {
    if data.len() <= SMALL {
        return Ok(Md5::digest(&data).into());
    }
    let hashed = tokio::task::spawn_blocking(move || Md5::digest(&data).into()).await;
    hashed.map_err(|error| Error::new(ErrorKind::Other, "a hash was not finished").because(error))
}
