//! Objects that arrive in parts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use backstay_core::store::{Key, ObjectMeta, PutOptions, Upload, VersionId};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_core::future::BoxFuture;
use jiff::Timestamp;

use super::answer::Answer;
use super::integrity::Crc;
use super::put::etag;
use super::store::{S3Store, to};
use crate::error::{Call, Told};

const BEGIN: Call = Call { name: "upload", api: "CreateMultipartUpload", right: "s3:PutObject" };
const PART: Call = Call { name: "part", api: "UploadPart", right: "s3:PutObject" };
const COMPLETE: Call = Call { name: "complete", api: "CompleteMultipartUpload", right: "s3:PutObject" };

/// An upload that has begun. Its parts are sent as their futures are polled; nothing is buffered here.
#[derive(Debug)]
pub(super) struct S3Upload {
    pub(super) store: S3Store,
    pub(super) key: Key,
    pub(super) id: String,
    pub(super) options: PutOptions,
    /// Parts handed in.
    handed: i32,
    /// Bytes of the first part, and whether a later one was smaller.
    size: Option<(usize, bool)>,
    /// Parts that the server has.
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// A part that the server has.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) number: i32,
    pub(super) etag: Option<String>,
    /// Its checksum; none where the server made the part.
    pub(super) crc: Option<Crc>,
    /// Its SHA-256 as headers have it, where the server made the part and told.
    pub(super) sha256: Option<String>,
    pub(super) bytes: u64,
}

impl S3Store {
    pub(super) async fn begin(&self, key: &Key, options: &PutOptions) -> Result<S3Upload> {
        self.begin_with(key, options, Some((ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject))).await
    }

    /// Begins an upload whose parts the server makes, and tells the SHA-256 of each if one is wanted. MinIO cannot end one
    /// of copied parts for which a checksum was named: it gives them none.
    pub(super) async fn begin_copy(&self, key: &Key, options: &PutOptions) -> Result<S3Upload> {
        let proved = options.sha256.map(|_| (ChecksumAlgorithm::Sha256, ChecksumType::Composite));
        self.begin_with(key, options, proved).await
    }

    async fn begin_with(
        &self,
        key: &Key,
        options: &PutOptions,
        checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    ) -> Result<S3Upload> {
        let making = self.making(BEGIN, key, options)?;
        let (algorithm, of) = checksum.unzip();
        let call = to!(self, create_multipart_upload)
            .key(key.as_str())
            .set_checksum_type(of)
            .set_checksum_algorithm(algorithm)
            .set_storage_class(making.class)
            .set_tagging(making.tagging)
            .set_object_lock_mode(making.lock.mode)
            .set_object_lock_retain_until_date(making.lock.until)
            .set_object_lock_legal_hold_status(making.lock.hold);
        self.begun(call, BEGIN, key, options).await
    }

    /// Makes the call that begins an upload, with the store's encryption.
    pub(super) async fn begun(
        &self,
        call: CreateMultipartUploadFluentBuilder,
        what: Call,
        key: &Key,
        options: &PutOptions,
    ) -> Result<S3Upload> {
        let encryption = self.0.encryption.headers();
        let call = call
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.key)
            .set_ssekms_encryption_context(encryption.context)
            .set_bucket_key_enabled(encryption.bucket_key);
        let begun = call.send().await.map_err(Told::of).map_err(|told| self.error(told, what, key.as_str()))?;
        let id = begun.upload_id().filter(|id| !id.is_empty()).map(str::to_owned);
        let id = id.ok_or_else(|| self.fault(what, ErrorKind::Other, "the server gave no upload ID", key.as_str()))?;
        let (key, options) = (key.clone(), options.clone());
        Ok(S3Upload { store: self.clone(), key, id, options, handed: 0, size: None, sent: Arc::default() })
    }

    /// Ends an upload; one that is gone is ended.
    pub(super) async fn end_upload(&self, name: &'static str, key: &str, id: &str) -> Result<()> {
        let call = Call { name, api: "AbortMultipartUpload", right: "s3:AbortMultipartUpload" };
        match to!(self, abort_multipart_upload).key(key).upload_id(id).send().await.map_err(Told::of) {
            Err(told) if told.kind() != ErrorKind::NotFound || told.is("NoSuchBucket") => {
                Err(self.error(told, call, key))
            }
            _ => Ok(()),
        }
    }

    async fn send_part(&self, key: &Key, id: &str, number: i32, data: Bytes) -> Result<Sent> {
        let (crc, bytes) = (Crc::of(&data), data.len() as u64);
        let call = to!(self, upload_part)
            .key(key.as_str())
            .upload_id(id)
            .part_number(number)
            .checksum_crc64_nvme(crc.header())
            .body(ByteStream::from(data))
            .customize()
            .config_override(self.patient(bytes));
        let call = if self.0.signs_bodies { call } else { call.disable_payload_signing() };
        let part = call.send().await.map_err(Told::of);
        let part = part.map_err(|told| self.error(told, PART, key.as_str()).with("part", number))?;
        Ok(Sent { number, etag: part.e_tag().map(str::to_owned), crc: Some(crc), sha256: None, bytes })
    }
}

impl S3Upload {
    /// Takes a part in that the server made.
    pub(super) fn take(&mut self, part: Sent) {
        self.handed = self.handed.max(part.number);
        self.sent().push(part);
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, Vec<Sent>> {
        // Nothing panics while it is locked.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers the next part of so many bytes, if it may come.
    fn next_number(&mut self, bytes: usize) -> Result<i32> {
        let (size, ended) = *self.size.get_or_insert((bytes, false));
        if ended || bytes > size {
            return Err(self.wrong("all parts but the last have one size"));
        }
        self.size = Some((size, bytes < size));
        if i64::from(self.handed) >= i64::from(self.store.0.capabilities.max_parts) {
            return Err(self.wrong("an upload has at most 10,000 parts"));
        }
        self.handed += 1;
        Ok(self.handed)
    }

    fn wrong(&self, message: &'static str) -> Error {
        self.store.fault(PART, ErrorKind::Invalid, message, self.key.as_str())
    }

    async fn join(&self, parts: &[Sent]) -> Result<ObjectMeta> {
        let (store, key) = (&self.store, &self.key);
        let size: u64 = parts.iter().map(|part| part.bytes).sum();
        let whole = parts.iter().try_fold(Crc::default(), |whole, part| part.crc.map(|crc| whole.then(crc)));
        let only_if_absent = store.making(COMPLETE, key, &self.options)?.only_if_absent;
        let completed = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .set_e_tag(part.etag.clone())
                .set_checksum_crc64_nvme(part.crc.map(Crc::header))
                .set_checksum_sha256(part.sha256.clone())
                .build()
        });
        let upload = CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let answer = Answer::default();
        let call = to!(store, complete_multipart_upload)
            .key(key.as_str())
            .upload_id(&self.id)
            .multipart_upload(upload)
            .set_if_none_match(only_if_absent)
            .set_mpu_object_size(i64::try_from(size).ok())
            .set_checksum_crc64_nvme(whole.map(Crc::header))
            .set_checksum_type(whole.map(|_| ChecksumType::FullObject))
            .customize()
            .config_override(store.slow())
            .interceptor(answer.clone());
        let told = call.send().await.map_err(Told::of);
        let done = told.map_err(|told| store.refused(told, COMPLETE, key, &self.options, answer.attempts()))?;
        let mut meta = ObjectMeta::new(key.clone(), size, answer.date().unwrap_or(Timestamp::UNIX_EPOCH));
        meta.etag = done.e_tag().map(etag);
        meta.version = done.version_id().map(|id| VersionId(id.to_owned()));
        meta.class = self.options.class.clone().or_else(|| store.0.class.clone());
        meta.lock = self.options.lock;
        Ok(meta)
    }

    /// Frees the space of an upload that cannot become an object any more.
    async fn give_up(&self) {
        if let Err(error) = self.store.end_upload("complete", self.key.as_str(), &self.id).await {
            tracing::debug!(%error, "an upload could not be aborted; a sweep will find it");
        }
    }
}

#[async_trait]
impl Upload for S3Upload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let number = match self.next_number(data.len()) {
            Ok(number) => number,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let (store, key, id, sent) = (self.store.clone(), self.key.clone(), self.id.clone(), Arc::clone(&self.sent));
        Box::pin(async move {
            let part = store.send_part(&key, &id, number, data).await?;
            sent.lock().unwrap_or_else(PoisonError::into_inner).push(part);
            Ok(())
        })
    }

    /// Where another upload of the key ends at the same moment, servers may refuse both for now
    /// ([`Unavailable`](ErrorKind::Unavailable)): all parts must be sent again then.
    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        let mut parts = self.sent().clone();
        parts.sort_unstable_by_key(|part| part.number);
        if i64::from(self.handed) != parts.len() as i64 {
            self.give_up().await;
            let message = "a part of the upload did not arrive";
            let error = self.store.fault(COMPLETE, ErrorKind::Invalid, message, self.key.as_str());
            return Err(error.advise("complete an upload only after every part has succeeded"));
        }
        if parts.is_empty() {
            // Servers want a part.
            self.give_up().await;
            return self.store.put_object(&self.key, Bytes::new(), &self.options).await;
        }
        let joined = self.join(&parts).await;
        // What was refused for good leaves nothing behind; where it is not sure, a sweep will look.
        if joined.as_ref().is_err_and(|error| !error.kind().is_unsure()) {
            self.give_up().await;
        }
        joined
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.store.end_upload("abort", self.key.as_str(), &self.id).await
    }
}
