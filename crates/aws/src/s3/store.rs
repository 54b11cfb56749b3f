//! The store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::types::RequestPayer;
use backstay_core::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use jiff::Timestamp;

use super::answer::Answer;
use super::integrity::md5_hex;
use super::{Encryption, S3Builder};
use crate::connect::Connect;
use crate::error::{Call, Told};

/// Bytes that are sent in a second at the least: what takes longer is given up.
const SLOWEST: u64 = 128 << 10;
/// A server may take so long to join or copy large objects.
const SLOW_CALL: Duration = Duration::from_secs(15 * 60);

const NOW: Call = Call { name: "now", api: "HeadBucket", right: "s3:ListBucket" };

/// A bucket of Amazon S3, or of a server that speaks its protocol. Clones share it.
///
/// * **Create-only** by `If-None-Match` on `PutObject` and `CompleteMultipartUpload`. Where the newest version is a delete
///   marker, Amazon and MinIO let a key be created again; versitygw answers that it is taken. A server that ignores the
///   header is refused when a vault is opened to write.
/// * **Integrity.** Each part and the whole go with their CRC64NVME, an object that is put in one piece with its SHA-256
///   where the caller names it: the server refuses other bytes as [`Corrupt`](ErrorKind::Corrupt). Reads are checked for
///   length and range, and go on under the same etag where they broke off.
/// * **Copies** by the server, of up to 5 GiB, are visible only with the SHA-256 that the caller names: the server tells
///   that of what it copied before the end is asked for. The credential here must be allowed to read there. Where it may
///   not, where the server tells no digest (MinIO, which is asked once) or may tell one that it kept of the source (a copy of
///   a copy), the caller streams.
/// * **Retries** are its own: do not put a layer of them around it.
/// * **Times** are the server's, to the second: of a put the moment of the answer. Amazon dates what came in parts by when its
///   upload began: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>.
/// * **Versions and locks** are seen when it is opened if the credential may look, else as
///   [declared](S3Builder::versions).
/// * **Listings** leave out what is no [`Key`], such as the empty objects `folder/` that consoles make.
/// * [`get`](ObjectStore::get) of a version does not look whether it is the newest; [`head`](ObjectStore::head) does.
///
/// ```no_run
/// use backstay_aws::S3Store;
/// use backstay_core::Secret;
///
/// # async fn open(secret: Secret<String>) -> backstay_core::Result<()> {
/// // Region and credential from environment, profile or role, as AWS's own programs find them.
/// let store = S3Store::from_env("acme-backups").await?;
///
/// let own = S3Store::builder("acme-backups")
///     .endpoint("https://minio.acme.example")
///     .credentials("backup", secret)
///     .build()
///     .await?;
/// # let _ = (store, own);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct S3Store(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) bucket: String,
    /// The server, where it is not Amazon's own.
    pub(super) endpoint: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) payer: Option<RequestPayer>,
    pub(super) encryption: Encryption,
    pub(super) class: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) capabilities: Capabilities,
    pub(super) connect: Connect,
    /// Whether signatures cover bodies too: where no TLS protects them on their way.
    pub(super) signs_bodies: bool,
    pub(super) etags: Mutex<Etags>,
    /// Whether this server was seen to tell no digest of what it copies.
    pub(super) copies_unproved: AtomicBool,
}

/// Whether this server's etags are the MD5 of what is put in one piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Etags {
    #[default]
    Unknown,
    Md5,
    Other,
}

/// A request of this kind, for the bucket: `to!(store, put_object)`.
macro_rules! to {
    ($store:expr, $call:ident) => {{
        let shared = &$store.0;
        let call = shared.client.$call().bucket(&shared.bucket);
        call.set_expected_bucket_owner(shared.owner.clone()).set_request_payer(shared.payer.clone())
    }};
}
pub(super) use to;

impl S3Store {
    /// The bucket, with region and credential as AWS's own programs find them: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_PROFILE`, `AWS_ENDPOINT_URL_S3` and the like.
    ///
    /// # Errors
    /// As [`S3Builder::build`].
    pub async fn from_env(bucket: impl Into<String>) -> Result<Self> {
        Self::builder(bucket).build().await
    }

    /// The bucket, with more to say.
    pub fn builder(bucket: impl Into<String>) -> S3Builder {
        S3Builder::new(bucket)
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(super) fn error(&self, told: Told, call: Call, key: &str) -> Error {
        told.error(call, &self.0.bucket, key)
    }

    /// An error of our own making.
    pub(super) fn fault(&self, call: Call, kind: ErrorKind, message: impl Into<String>, key: &str) -> Error {
        let error = Error::new(kind, message.into()).operation(call.name).with("bucket", &self.0.bucket);
        if key.is_empty() { error } else { error.with("key", key) }
    }

    /// The limits of a call that sends so many bytes.
    pub(super) fn patient(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        self.waits(Duration::from_secs(bytes / SLOWEST))
    }

    /// The limits of a call in which the server joins or copies large objects. It may send the head of its answer at once
    /// and be silent while it works, which looks like a stall and is none.
    pub(super) fn slow(&self) -> aws_sdk_s3::config::Builder {
        self.waits(SLOW_CALL).stalled_stream_protection(StalledStreamProtectionConfig::disabled())
    }

    /// The limits of a call that takes `more` than usual.
    fn waits(&self, more: Duration) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::config::Builder::new().timeout_config(self.0.connect.timeouts(more))
    }

    /// Learns from an answered put what etags are. One that is something else settles it: a bucket can be told to encrypt
    /// by a key while we look.
    pub(super) fn saw_etag(&self, data: &Bytes, etag: Option<&str>) {
        let mut etags = self.0.etags.lock().unwrap_or_else(PoisonError::into_inner);
        if *etags != Etags::Other
            && let Some(etag) = etag
        {
            *etags = if md5_hex(data) == etag { Etags::Md5 } else { Etags::Other };
        }
    }
}

/// What every server has: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
pub(super) fn limits() -> Capabilities {
    let mut limits = Capabilities::default();
    limits.max_object_bytes = 5 << 40;
    limits.min_part_bytes = 5 << 20;
    limits.max_parts = 10_000;
    limits
}

#[async_trait]
impl ObjectStore for S3Store {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities.clone()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.put_object(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.begin(key, options).await?))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.list_uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.end_upload("abort_upload", upload.key.as_str(), &upload.id).await
    }

    /// The time of the server's answer: the end of the second that it names, for what was before it must not seem to be
    /// later. Whoever may list the bucket may ask; a refusal tells the time as well.
    async fn now(&self) -> Result<Timestamp> {
        let answer = Answer::default();
        let shared = &self.0;
        let call = shared.client.head_bucket().bucket(&shared.bucket).set_expected_bucket_owner(shared.owner.clone());
        let told = call.customize().interceptor(answer.clone()).send().await.map_err(Told::of);
        let date = answer.date().map(|second| second.saturating_add(Duration::from_millis(999)).unwrap_or(second));
        match (told.map(drop), date) {
            (Ok(()), Some(date)) => Ok(date),
            (Ok(()), None) => Err(self.fault(NOW, ErrorKind::Other, "the server's answer has no date", "")),
            (Err(told), date) => {
                let error = self.error(told, NOW, "");
                date.filter(|_| error.kind() == ErrorKind::Denied).ok_or(error)
            }
        }
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.get_object(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.head_object(key, options.version.as_ref()).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.list_objects(prefix, options)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        self.delete_objects(what).await
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.lock_object(what, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.thaw_object(what, thaw).await
    }

    /// The content's MD5, once an answered put has shown that this server's etags are that. Not with SSE-KMS.
    fn etag_of(&self, data: &Bytes) -> Option<String> {
        let etags = *self.0.etags.lock().unwrap_or_else(PoisonError::into_inner);
        (etags == Etags::Md5 && !self.0.encryption.is_kms()).then(|| md5_hex(data))
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        Some(self.location(key))
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        self.copy_object(from, to, options).await
    }
}

impl fmt::Display for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.endpoint {
            Some(endpoint) => write!(f, "s3({}/{})", endpoint.trim_end_matches('/'), self.0.bucket),
            None => write!(f, "s3({})", self.0.bucket),
        }
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("bucket", &self.0.bucket)
            .field("endpoint", &self.0.endpoint)
            .field("owner", &self.0.owner)
            .field("encryption", &self.0.encryption)
            .field("capabilities", &self.0.capabilities)
            .finish_non_exhaustive()
    }
}

/// A store of a server that is not there.
#[cfg(test)]
pub(super) fn offline() -> S3Store {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::v2026_01_12())
        .region(aws_sdk_s3::config::Region::new("us-east-1"))
        .endpoint_url("http://127.0.0.1:9");
    S3Store::new(Shared {
        client: Client::from_conf(config.build()),
        bucket: "acme".to_owned(),
        endpoint: None,
        owner: None,
        payer: None,
        encryption: Encryption::default(),
        class: None,
        tags: BTreeMap::new(),
        capabilities: limits(),
        connect: Connect::new("S3", "open store"),
        signs_bodies: false,
        etags: Mutex::default(),
        copies_unproved: AtomicBool::default(),
    })
}
