//! A bucket: what a test asks for, and what is in it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use s3s::dto;

use crate::error::{Result, fail};
use crate::object::{Content, NULL, Version};
use crate::upload::Pending;

/// The account that owns the buckets, unless told otherwise.
pub const ACCOUNT: &str = "111122223333";

/// How a bucket is to be. Made as AWS makes one: not versioned, encrypted with SSE-S3, public access blocked.
#[derive(Clone, Debug)]
pub struct Bucket {
    pub(crate) versioning: Option<&'static str>,
    pub(crate) lock: bool,
    pub(crate) owner: String,
    pub(crate) region: String,
    pub(crate) opaque_etags: bool,
    pub(crate) small_parts: bool,
    pub(crate) conflicts: bool,
    pub(crate) drops_class: bool,
    pub(crate) drops_encryption: bool,
    pub(crate) unproved_copies: bool,
}

impl Bucket {
    /// Keeps one version of each key.
    #[must_use]
    pub fn unversioned() -> Self {
        Self {
            versioning: None,
            lock: false,
            owner: ACCOUNT.to_owned(),
            region: crate::REGION.to_owned(),
            opaque_etags: false,
            small_parts: false,
            conflicts: false,
            drops_class: false,
            drops_encryption: false,
            unproved_copies: false,
        }
    }

    /// Keeps all versions.
    #[must_use]
    pub fn versioned() -> Self {
        Self { versioning: Some(dto::BucketVersioningStatus::ENABLED), ..Self::unversioned() }
    }

    /// Versions can be locked. Such a bucket is versioned.
    #[must_use]
    pub fn with_object_lock(self) -> Self {
        Self { lock: true, versioning: Some(dto::BucketVersioningStatus::ENABLED), ..self }
    }

    /// Another account's: `x-amz-expected-bucket-owner` with any other is denied.
    #[must_use]
    pub fn owned_by(self, account: impl Into<String>) -> Self {
        Self { owner: account.into(), ..self }
    }

    /// In another region than [`REGION`](crate::REGION): calls signed for a wrong one are refused, and told the right one.
    #[must_use]
    pub fn in_region(self, region: impl Into<String>) -> Self {
        Self { region: region.into(), ..self }
    }

    /// ETags are not the MD5 of the bytes, as with SSE-KMS. Much quicker: for benchmarks.
    #[must_use]
    pub fn opaque_etags(self) -> Self {
        Self { opaque_etags: true, ..self }
    }

    /// Parts of an upload may be smaller than 5 MiB, so that a test of many parts needs few bytes.
    #[must_use]
    pub fn small_parts(self) -> Self {
        Self { small_parts: true, ..self }
    }

    /// A conditional write is refused with 409 while another one for the same key is under way. Else the one that ends
    /// first wins and the other is told 412.
    #[must_use]
    pub fn conflicts(self) -> Self {
        Self { conflicts: true, ..self }
    }

    /// Storage classes are accepted and dropped in silence, as some servers do.
    #[must_use]
    pub fn drops_class(self) -> Self {
        Self { drops_class: true, ..self }
    }

    /// Encryption headers are accepted and dropped in silence, as some servers do.
    #[must_use]
    pub fn drops_encryption(self) -> Self {
        Self { drops_encryption: true, ..self }
    }

    /// Copied parts get no checksum, whatever their upload was begun with, as on MinIO.
    #[must_use]
    pub fn unproved_copies(self) -> Self {
        Self { unproved_copies: true, ..self }
    }
}

/// A bucket and what is in it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) settings: Bucket,
    pub(crate) made: Timestamp,
    /// By key in byte order, each with its versions, the newest last. None is empty.
    pub(crate) objects: BTreeMap<String, Vec<Version>>,
    /// By upload id, which grows with time.
    pub(crate) uploads: BTreeMap<String, Pending>,
    /// How many conditional writes of a key are under way.
    pub(crate) under_way: BTreeMap<String, usize>,
    pub(crate) config: Config,
}

/// Configuration that is kept and given back. Of it the default retention and encryption act.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) default_retention: Option<dto::DefaultRetention>,
    pub(crate) encryption: Option<dto::ServerSideEncryptionConfiguration>,
    pub(crate) lifecycle: Option<dto::LifecycleRules>,
    pub(crate) policy: Option<String>,
    pub(crate) public_access: Option<dto::PublicAccessBlockConfiguration>,
    pub(crate) replication: Option<dto::ReplicationConfiguration>,
}

impl Stored {
    pub(crate) fn new(settings: Bucket, made: Timestamp) -> Self {
        let config = Config {
            public_access: Some(dto::PublicAccessBlockConfiguration {
                block_public_acls: Some(true),
                block_public_policy: Some(true),
                ignore_public_acls: Some(true),
                restrict_public_buckets: Some(true),
            }),
            ..Config::default()
        };
        let (objects, uploads, under_way) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { settings, made, objects, uploads, under_way, config }
    }

    /// The newest version, if it is not a delete marker.
    pub(crate) fn current(&self, key: &str) -> Option<(&Version, &Content)> {
        let version = self.objects.get(key)?.last()?;
        version.content.as_ref().map(|content| (version, content))
    }

    /// The version that is asked for, or the newest one. Delete markers are told as AWS does.
    pub(crate) fn find(&self, key: &str, id: Option<&str>) -> Result<&Version> {
        let versions = self.objects.get(key).map(Vec::as_slice).unwrap_or_default();
        match id {
            None => versions.last().filter(|it| !it.is_marker()).ok_or_else(|| no_such_key(versions.last())),
            Some(id) => {
                let version = versions.iter().find(|it| it.id == id).ok_or_else(no_such_version)?;
                match version.content {
                    Some(_) => Ok(version),
                    None => Err(marker_named(version)),
                }
            }
        }
    }

    /// The same, to change what is known of it.
    pub(crate) fn find_mut(&mut self, key: &str, id: Option<&str>) -> Result<(&mut Version, bool)> {
        let id = self.find(key, id)?.id.clone();
        let lock = self.settings.lock;
        let versions = self.objects.get_mut(key).ok_or_else(no_such_version)?;
        versions.iter_mut().find(|it| it.id == id).map(|it| (it, lock)).ok_or_else(no_such_version)
    }

    /// Makes it the newest version of its key; its id, if the bucket has versions.
    pub(crate) fn add(&mut self, key: String, made: Timestamp, content: Option<Content>, id: String) -> Option<String> {
        let enabled = self.settings.versioning == Some(dto::BucketVersioningStatus::ENABLED);
        let versions = self.objects.entry(key).or_default();
        if !enabled {
            versions.retain(|version| version.id != NULL);
        }
        let id = if enabled { id } else { NULL.to_owned() };
        versions.push(Version { id: id.clone(), made, content });
        self.settings.versioning.map(|_| id)
    }
}

fn no_such_version() -> s3s::S3Error {
    fail(404, "NoSuchVersion", "The specified version does not exist.")
}

fn no_such_key(newest: Option<&Version>) -> s3s::S3Error {
    let mut error = fail(404, "NoSuchKey", "The specified key does not exist.");
    if let Some(marker) = newest {
        error.set_headers(marker_headers(marker));
    }
    error
}

fn marker_named(marker: &Version) -> s3s::S3Error {
    let mut error = fail(405, "MethodNotAllowed", "The specified method is not allowed against this resource.");
    error.set_headers(marker_headers(marker));
    error
}

fn marker_headers(marker: &Version) -> hyper::HeaderMap {
    let mut headers = hyper::HeaderMap::new();
    headers.insert("x-amz-delete-marker", hyper::header::HeaderValue::from_static("true"));
    if let Ok(id) = hyper::header::HeaderValue::from_str(&marker.id) {
        headers.insert("x-amz-version-id", id);
    }
    headers
}
