//! Objects that are put in one piece.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;
use backstay_core::clock::{Clock as _, SystemClock};
use backstay_core::store::{Key, ObjectMeta, PutMode, PutOptions, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;

use super::answer::Answer;
use super::bucket::tagging;
use super::integrity::Crc;
use super::lock::LockHeaders;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

const PUT: Call = Call { name: "put", api: "PutObject", right: "s3:PutObject" };
/// Waits before a create that met another is tried again.
const CONFLICT_WAITS: [u64; 5] = [50, 100, 200, 400, 800];
/// Larger contents are not hashed to learn what etags are.
const LEARN_FROM: usize = 64 << 10;

/// What an object is made with, beside its content.
pub(super) struct Making {
    pub(super) class: Option<StorageClass>,
    pub(super) tagging: Option<String>,
    pub(super) lock: LockHeaders,
    pub(super) only_if_absent: Option<String>,
}

impl S3Store {
    /// Checks the options, and puts them as headers have them.
    pub(super) fn making(&self, call: Call, key: &Key, options: &PutOptions) -> Result<Making> {
        let classes = &self.0.capabilities.classes;
        if let Some(class) = options.class.as_ref().filter(|class| !classes.contains(class)) {
            let known = if classes.is_empty() { "none".to_owned() } else { classes.join(", ") };
            let message = format!("the store has no storage class {class:?}");
            let error = self.fault(call, ErrorKind::Unsupported, message, key.as_str());
            return Err(error.advise(format!("it has: {known}; `classes` of the builder says what a server has")));
        }
        let mut tags = self.0.tags.clone();
        tags.extend(options.tags.clone());
        if let Some(flaw) = super::bucket::flaw_of_tags(&tags) {
            return Err(self.fault(call, ErrorKind::Invalid, flaw, key.as_str()));
        }
        if options.lock.is_some() && !self.0.capabilities.locks {
            return Err(self.without_locks(call, key.as_str()));
        }
        Ok(Making {
            class: options.class.as_ref().or(self.0.class.as_ref()).map(|class| StorageClass::from(class.as_str())),
            tagging: tagging(&tags),
            lock: LockHeaders::of(options.lock.as_ref()),
            only_if_absent: (options.mode == PutMode::Create).then(|| "*".to_owned()),
        })
    }

    pub(super) async fn put_object(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let making = self.making(PUT, key, options)?;
        // A server may look at no checksum at all.
        options.check(&data).map_err(|error| self.placed(error, PUT, key))?;
        let mut waits = CONFLICT_WAITS.iter();
        loop {
            let answer = Answer::default();
            let told = match self.put_once(key, &data, options, &making, &answer).await {
                Ok(meta) => return Ok(meta),
                Err(told) => told,
            };
            // Another create is under way: it wins or fails, and then the answer is clear.
            if told.is("ConditionalRequestConflict")
                && let Some(wait) = waits.next()
            {
                SystemClock.sleep(Duration::from_millis(*wait)).await;
                continue;
            }
            return Err(self.refused(told, PUT, key, options, answer.attempts()));
        }
    }

    async fn put_once(
        &self,
        key: &Key,
        data: &Bytes,
        options: &PutOptions,
        making: &Making,
        answer: &Answer,
    ) -> Result<ObjectMeta, Told> {
        let (encryption, lock) = (self.0.encryption.headers(), making.lock.clone());
        let sha256 = options.sha256.map(|digest| aws_smithy_types::base64::encode(digest.0));
        let crc = sha256.is_none().then(|| Crc::of(data).header());
        let call = to!(self, put_object)
            .key(key.as_str())
            .body(ByteStream::from(data.clone()))
            .set_checksum_sha256(sha256)
            .set_checksum_crc64_nvme(crc)
            .set_if_none_match(making.only_if_absent.clone())
            .set_storage_class(making.class.clone())
            .set_tagging(making.tagging.clone())
            .set_object_lock_mode(lock.mode)
            .set_object_lock_retain_until_date(lock.until)
            .set_object_lock_legal_hold_status(lock.hold)
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key)
            .customize()
            .config_override(self.patient(data.len() as u64))
            .interceptor(answer.clone());
        let call = if self.0.signs_bodies { call } else { call.disable_payload_signing() };
        let put = call.send().await.map_err(Told::of)?;
        let mut meta = ObjectMeta::new(key.clone(), data.len() as u64, answer.date().unwrap_or(Timestamp::UNIX_EPOCH));
        meta.etag = put.e_tag().map(etag);
        meta.version = put.version_id().map(|id| VersionId(id.to_owned()));
        meta.class = making.class.as_ref().map(|class| class.as_str().to_owned());
        meta.lock = options.lock;
        if data.len() <= LEARN_FROM {
            self.saw_etag(data, meta.etag.as_deref());
        }
        Ok(meta)
    }

    /// The error of a create or overwrite that failed. Where an earlier attempt's answer was lost, that attempt may have
    /// made what the later one found: then nothing is sure.
    pub(super) fn refused(&self, told: Told, call: Call, key: &Key, options: &PutOptions, attempts: u32) -> Error {
        let create = options.mode == PutMode::Create;
        let taken = create && told.is_precondition();
        if attempts > 1 && (taken || told.is("NoSuchUpload")) {
            let message = "an answer was lost, and the attempt after it found the key taken or the upload gone";
            return self
                .fault(call, ErrorKind::Unavailable, message, key.as_str())
                .with("attempts", attempts)
                .with("then", told.kind())
                .advise("an earlier attempt may have made the object; list the key to settle it")
                .no_more_retries();
        }
        if taken {
            return self.fault(call, ErrorKind::AlreadyExists, "the key is taken", key.as_str());
        }
        self.error(told, call, key.as_str())
    }

    pub(super) fn placed(&self, error: Error, call: Call, key: &Key) -> Error {
        error.operation(call.name).with("bucket", &self.0.bucket).with("key", key)
    }
}

/// An etag without its quotes.
pub(super) fn etag(quoted: &str) -> String {
    quoted.trim_matches('"').to_owned()
}
