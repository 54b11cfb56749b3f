//! What a caller may ask of a store, and what the store answers.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::store::loan::Loan;
use crate::store::{ByteStream, Key, Prefix};

/// What a store can do. Checked when a vault is opened, so that nothing fails as unsupported in the middle of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A put or upload with [`PutMode::Create`] has exactly one winner, across processes and hosts.
    pub create_if_absent: bool,
    /// Older contents of a key are kept and can be listed, read and deleted one by one.
    pub versions: bool,
    /// Objects can be locked against deletion.
    pub locks: bool,
    /// Names of storage classes accepted in [`PutOptions::class`]; empty if there are none to choose.
    pub classes: Vec<String>,
    /// Largest object in bytes.
    pub max_object_bytes: u64,
    /// Smallest part of an upload in bytes, but for the last one.
    pub min_part_bytes: u64,
    /// Most parts of an upload.
    pub max_parts: u32,
}

impl Default for Capabilities {
    /// A store with create-if-absent and no limit worth naming; nothing else.
    fn default() -> Self {
        Self {
            create_if_absent: true,
            versions: false,
            locks: false,
            classes: Vec::new(),
            max_object_bytes: u64::MAX,
            min_part_bytes: 0,
            max_parts: u32::MAX,
        }
    }
}

/// What happens when the key is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutMode {
    /// Fails with [`AlreadyExists`](crate::ErrorKind::AlreadyExists) and changes nothing.
    #[default]
    Create,
    /// The new content replaces the old at once.
    Overwrite,
}

/// Options of [`put`](crate::store::ObjectStore::put) and [`upload`](crate::store::ObjectStore::upload).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// Create (the default) or overwrite.
    pub mode: PutMode,
    /// The content's digest; a store that can check it refuses other bytes as [`Corrupt`](crate::ErrorKind::Corrupt). To
    /// [`copy_in`](crate::store::ObjectStore::copy_in) it is a condition: a store that cannot check it copies nothing.
    pub sha256: Option<Sha256>,
    /// Storage class, one of [`Capabilities::classes`].
    pub class: Option<String>,
    /// Lock that holds from the first moment.
    pub lock: Option<Lock>,
    /// Tags for the platform's own rules and bills.
    pub tags: BTreeMap<String, String>,
}

impl PutOptions {
    /// Replace what is there.
    #[must_use]
    pub fn overwrite() -> Self {
        Self { mode: PutMode::Overwrite, ..Self::default() }
    }

    /// Locks the object from its first moment.
    #[must_use]
    pub fn with_lock(mut self, lock: Lock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Names the digest that the content must have.
    #[must_use]
    pub fn with_sha256(mut self, digest: Sha256) -> Self {
        self.sha256 = Some(digest);
        self
    }

    /// Refuses content other than the named one. For authors of stores.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if [`sha256`](Self::sha256) is given and is not that of `data`.
    pub fn check(&self, data: &[u8]) -> Result<()> {
        match self.sha256 {
            Some(expected) => expect(expected, Sha256::of(data)),
            None => Ok(()),
        }
    }
}

pub(super) fn expect(expected: Sha256, got: Sha256) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "the content is not the one that was announced")
        .with("expected", expected)
        .with("got", got))
}

/// Options of [`get`](crate::store::ObjectStore::get).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GetOptions {
    /// Bytes wanted; all of them if absent. A range that begins at or after the end is [`Invalid`](crate::ErrorKind::Invalid);
    /// one that ends after it is cut.
    pub range: Option<Range<u64>>,
    /// A version other than the newest.
    pub version: Option<VersionId>,
    /// Fail with [`Conflict`](crate::ErrorKind::Conflict) unless the object has this etag.
    pub if_match: Option<String>,
    /// Memory for the answer.
    pub(crate) loan: Option<Loan>,
}

impl GetOptions {
    /// Only these bytes.
    #[must_use]
    pub fn range(range: Range<u64>) -> Self {
        Self { range: Some(range), ..Self::default() }
    }

    /// Only if it is this version.
    #[must_use]
    pub fn with_version(mut self, version: VersionId) -> Self {
        self.version = Some(version);
        self
    }

    /// The bytes wanted of the object `meta`, cut to its size. For authors of stores.
    ///
    /// # Errors
    /// [`Conflict`](ErrorKind::Conflict) if it is not the object of [`if_match`](Self::if_match),
    /// [`Invalid`](ErrorKind::Invalid) if the range is empty or begins at or after the end.
    pub fn bytes_of(&self, meta: &ObjectMeta) -> Result<Range<u64>> {
        if self.if_match.is_some() && self.if_match != meta.etag {
            let error = Error::new(ErrorKind::Conflict, "the object is not the one that was meant");
            return Err(error.with("key", &meta.key).advise("look at it again with head"));
        }
        match self.range.clone() {
            None => Ok(0..meta.size),
            Some(range) if range.start < range.end.min(meta.size) => Ok(range.start..range.end.min(meta.size)),
            Some(range) => Err(Error::new(ErrorKind::Invalid, "no byte of the object lies in the range")
                .with("key", &meta.key)
                .with("range", format!("{}..{}", range.start, range.end))
                .with("size", meta.size)),
        }
    }
}

/// Options of [`head`](crate::store::ObjectStore::head).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HeadOptions {
    /// A version other than the newest.
    pub version: Option<VersionId>,
}

/// Options of [`list`](crate::store::ObjectStore::list).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// Only keys after this one. It need not exist; it may be a key in full or the beginning of one.
    pub start_after: Option<String>,
    /// Fold what lies deeper than the next `/` after the prefix into one [`ListEntry::Folder`].
    pub folders: bool,
    /// All versions and delete markers, the newest of each key first.
    pub versions: bool,
}

impl ListOptions {
    /// Only keys after `bound`.
    #[must_use]
    pub fn after(bound: impl Into<String>) -> Self {
        Self { start_after: Some(bound.into()), ..Self::default() }
    }

    /// Fold deeper keys into folders.
    #[must_use]
    pub fn folders() -> Self {
        Self { folders: true, ..Self::default() }
    }

    /// All versions and delete markers.
    #[must_use]
    pub fn versions() -> Self {
        Self { versions: true, ..Self::default() }
    }
}

/// One content among those that a key had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId(pub String);

/// A store's own statement about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Its name.
    pub key: Key,
    /// Its length in bytes.
    pub size: u64,
    /// When its content was put, by the store's clock.
    pub last_modified: Timestamp,
    /// Changes with the content.
    pub etag: Option<String>,
    /// Which version this is, on a store that has them.
    pub version: Option<VersionId>,
    /// Whether the version is the newest of its key.
    pub latest: bool,
    /// Whether the version says "deleted".
    pub delete_marker: bool,
    /// Its storage class.
    pub class: Option<String>,
    /// Its lock, where the store told.
    pub lock: Option<Lock>,
}

impl ObjectMeta {
    /// The newest version of `key`, with nothing but what every store knows.
    #[must_use]
    pub fn new(key: Key, size: u64, last_modified: Timestamp) -> Self {
        Self {
            key,
            size,
            last_modified,
            etag: None,
            version: None,
            latest: true,
            delete_marker: false,
            class: None,
            lock: None,
        }
    }

    /// Adds the etag.
    #[must_use]
    pub fn with_etag(mut self, etag: impl Into<String>) -> Self {
        self.etag = Some(etag.into());
        self
    }
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListEntry {
    /// An object, or one version of it.
    Object(ObjectMeta),
    /// All keys that begin so, folded into one line.
    Folder(Prefix),
}

/// The answer to a get: meta at once, content as a stream.
pub struct GetOutcome {
    /// The object that is read.
    pub meta: ObjectMeta,
    /// The bytes that follow, after the range was cut to the object's size.
    pub range: Range<u64>,
    /// The content. Ends early only with an error.
    pub body: ByteStream,
}

impl std::fmt::Debug for GetOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetOutcome").field("meta", &self.meta).field("range", &self.range).finish_non_exhaustive()
    }
}

/// An object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct ObjectRef {
    /// Its name.
    pub key: Key,
    /// The version meant; the newest if absent.
    pub version: Option<VersionId>,
}

impl ObjectRef {
    /// The version `version` of `key`.
    #[must_use]
    pub fn version(key: Key, version: VersionId) -> Self {
        Self { key, version: Some(version) }
    }
}

impl From<Key> for ObjectRef {
    fn from(key: Key) -> Self {
        Self { key, version: None }
    }
}

/// What became of one object that was to be deleted. Absent before is success.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeleteOutcome {
    /// What was to be deleted.
    pub object: ObjectRef,
    /// Why it still stands, if it does.
    pub result: Result<()>,
}

impl DeleteOutcome {
    /// An outcome.
    #[must_use]
    pub fn new(object: ObjectRef, result: Result<()>) -> Self {
        Self { object, result }
    }
}

/// A lock against deletion and replacement. A lock is only ever extended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lock {
    /// Locked until then, by the store's clock.
    pub until: Option<Timestamp>,
    /// Whether an administrator of the store may lift it (`false`: nobody may).
    pub bypassable: bool,
    /// Locked until the hold is taken off.
    pub hold: bool,
}

impl Lock {
    /// Locked until `time`; nobody may lift it.
    #[must_use]
    pub fn until(time: Timestamp) -> Self {
        Self { until: Some(time), ..Self::default() }
    }

    /// Whether it forbids deletion at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.hold || self.until.is_some_and(|until| until > now)
    }

    /// The stricter of both in every respect. Whether it can be lifted is a matter of locks with an end alone: of a hold it
    /// is not told.
    #[must_use]
    pub fn extended_by(&self, other: &Self) -> Self {
        let bypassable = match (self.until, other.until) {
            (None, Some(_)) => other.bypassable,
            (Some(_), None) => self.bypassable,
            _ => self.bypassable && other.bypassable,
        };
        Self { until: self.until.max(other.until), bypassable, hold: self.hold || other.hold }
    }
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.until, self.hold) {
            (_, true) => f.write_str("locked until its hold is taken off"),
            (Some(until), false) => write!(f, "locked until {until}"),
            (None, false) => f.write_str("not locked"),
        }
    }
}

/// An upload that began and neither completed nor aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UploadRef {
    /// Where it would have become visible.
    pub key: Key,
    /// The store's name for it.
    pub id: String,
    /// When it began, by the store's clock; none where the store does not tell: it may have begun just now.
    pub started: Option<Timestamp>,
}

impl UploadRef {
    /// A reference.
    #[must_use]
    pub fn new(key: Key, id: impl Into<String>, started: impl Into<Option<Timestamp>>) -> Self {
        Self { key, id: id.into(), started: started.into() }
    }
}

/// How an archived object is made readable.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Thaw {
    /// How long it stays readable, in days; the store's choice if absent.
    pub days: Option<u32>,
    /// The store's word for how fast ("Standard", "Bulk", "High").
    pub speed: Option<String>,
}

/// Whether an archived object can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThawState {
    /// It can be read, until then where a time is given.
    Ready(Option<Timestamp>),
    /// The store is at it.
    Thawing,
}

/// Where a peer store may copy from without passing bytes through us.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Location {
    /// Kind of store ("s3", "azblob").
    pub scheme: String,
    /// Bucket or container, with the endpoint where it is not the usual one.
    pub place: String,
    /// Key within the place.
    pub key: String,
}

impl Location {
    /// A location. For authors of stores.
    #[must_use]
    pub fn new(scheme: impl Into<String>, place: impl Into<String>, key: impl Into<String>) -> Self {
        Self { scheme: scheme.into(), place: place.into(), key: key.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_says_nothing_of_whether_an_end_can_be_lifted() {
        let end: Timestamp = "2026-11-20T06:42:00Z".parse().unwrap();
        let (hold, strict) = (Lock { hold: true, ..Lock::default() }, Lock::until(end));
        let lax = Lock { bypassable: true, ..strict };
        for (one, other) in [(hold, lax), (lax, hold)] {
            assert_eq!(one.extended_by(&other), Lock { hold: true, ..lax });
        }
        for (one, other) in [(strict, lax), (lax, strict)] {
            assert_eq!(one.extended_by(&other), strict);
        }
        assert_eq!(hold.extended_by(&strict), Lock { hold: true, ..strict });
    }
}
