//! The trait of a store: where bytes rest.

use std::fmt::{Debug, Display};
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location, Lock,
    ObjectMeta, ObjectRef, Prefix, PutOptions, Thaw, ThawState, UploadRef,
};

/// Content that arrives in pieces.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;
/// Things that arrive one by one.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// A flat space of named, immutable byte strings.
///
/// # Contract
/// * **Atomic.** An object is visible whole or not at all; a reader never sees half of it, nor a mixture of two contents.
/// * **Durable.** When a put or a complete returns, the object survives a crash of the store.
/// * **Exclusive.** With [`PutMode::Create`](crate::store::PutMode::Create) at most one of any number of concurrent calls
///   for a key succeeds, across processes and hosts; the others get [`AlreadyExists`](ErrorKind::AlreadyExists) and
///   change nothing. A store that cannot do this says so in [`Capabilities::create_if_absent`].
/// * **Ordered.** A listing is in the byte order of the keys, holds every object that was put before it began and is not
///   deleted meanwhile, and streams: its memory does not grow with the number of keys.
/// * **Retries** are the store's own or a layer's, never both. A call that failed with a retryable error may have happened.
/// * **Cancel safety.** Dropping a future leaves the object as it was or as the call would have made it.
/// * **Wrappers** forward every method and keep every clause.
///
/// The testkit's `conformance::store` has a named case for each clause.
#[async_trait]
pub trait ObjectStore: Debug + Display + Send + Sync + 'static {
    /// What this store can do. Constant for the life of the value.
    fn capabilities(&self) -> Capabilities;

    /// Puts one object of known content.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if created and taken, [`Corrupt`](ErrorKind::Corrupt) if the content is
    /// not that of [`PutOptions::sha256`], [`Locked`](ErrorKind::Locked) if overwriting is forbidden.
    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta>;

    /// Begins an object that arrives in parts. Nothing is visible before [`Upload::complete`].
    ///
    /// # Errors
    /// As [`put`](Self::put); a taken key may be reported here or by `complete`.
    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>>;

    /// Uploads that began and neither completed nor aborted, of keys under `prefix`. One whose beginning the store does not
    /// tell is among them without a time.
    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>>;

    /// Ends such an upload and frees its space. One that is gone is success.
    ///
    /// # Errors
    /// What the store answers.
    async fn abort_upload(&self, upload: &UploadRef) -> Result<()>;

    /// The store's clock, the one that [`ObjectMeta::last_modified`] is taken from.
    ///
    /// # Errors
    /// What the store answers.
    async fn now(&self) -> Result<Timestamp>;

    /// Reads an object, or a range of it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Archived`](ErrorKind::Archived), [`Conflict`](ErrorKind::Conflict) for another
    /// etag, [`Invalid`](ErrorKind::Invalid) for a range beyond the end.
    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome>;

    /// What the store knows of an object.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), also when the newest version is a delete marker.
    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta>;

    /// Lists keys under `prefix`, in byte order.
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>>;

    /// Deletes many. Absent is success; each object has its own outcome, in the order asked.
    ///
    /// # Errors
    /// Only where nothing can be said of any of them.
    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>>;

    /// Locks an object, or extends its lock. Never shortens one.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a store without [`Capabilities::locks`].
    async fn protect(&self, what: &ObjectRef, _lock: &Lock) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, format!("{self} has no locks")).with("key", &what.key))
    }

    /// Makes an archived object readable.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    async fn thaw(&self, what: &ObjectRef, _thaw: &Thaw) -> Result<ThawState> {
        self.head(&what.key, &HeadOptions { version: what.version.clone() }).await.map(|_| ThawState::Ready(None))
    }

    /// The etag that [`put`](Self::put) gives this content, where the store makes it of the content alone and so that no
    /// other content gets it; else none. By it somebody who may list but not read tells his own content from another's.
    fn etag_of(&self, _data: &Bytes) -> Option<String> {
        None
    }

    /// Where a peer store may copy this key from; none if it cannot.
    fn locate(&self, _key: &Key) -> Option<Location> {
        None
    }

    /// Copies from a peer on the server's side. `None` says that it cannot and the caller streams instead.
    ///
    /// With [`PutOptions::sha256`] the store proves that digest before the object is visible, of the bytes that it copied
    /// and not of what its peer says of them. One that cannot prove it answers `None`.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`NotFound`](ErrorKind::NotFound) if nothing is there to be copied.
    async fn copy_in(&self, _from: &Location, _to: &Key, _options: &PutOptions) -> Result<Option<ObjectMeta>> {
        Ok(None)
    }
}

/// An object that arrives in parts.
///
/// Dropped without [`complete`](Self::complete) it stays invisible; its space is freed by [`abort`](Self::abort) or by a
/// later sweep over [`ObjectStore::uploads`].
#[async_trait]
pub trait Upload: Debug + Send {
    /// Sends the next part. Parts are joined in the order of these calls; the futures may run side by side. All parts but
    /// the last have one size.
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>>;

    /// Makes the object visible, all at once, if the key is free or may be overwritten. Call it after every part's future
    /// has succeeded.
    ///
    /// # Errors
    /// As [`ObjectStore::put`].
    async fn complete(self: Box<Self>) -> Result<ObjectMeta>;

    /// Gives the upload up and frees its space.
    ///
    /// # Errors
    /// What the store answers; the sweep finds what stays.
    async fn abort(self: Box<Self>) -> Result<()>;
}
