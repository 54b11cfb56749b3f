//! Comforts for every store.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::layer::{AsOf, Limit, LimitOptions, Observe, Prefixed, ReadOnly, Retry, RetryOptions, StoreCall};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// What a caller of a store often wants, made of the calls of [`ObjectStore`]. Every store has it.
///
/// ```
/// use backstay_core::store::layer::RetryOptions;
/// use backstay_core::store::{MemoryStore, ObjectStoreExt, Prefix};
///
/// let store = MemoryStore::new().prefixed(Prefix::new("acme/")?)?.retrying(RetryOptions::default());
/// assert_eq!(store.to_string(), "Retry(Prefix(acme/, memory))");
/// # Ok::<(), backstay_core::Error>(())
/// ```
pub trait ObjectStoreExt: ObjectStore {
    /// Puts an object that must not exist yet.
    ///
    /// # Errors
    /// As [`ObjectStore::put`] with [`PutMode::Create`](crate::store::PutMode::Create).
    fn put_new(&self, key: &Key, data: impl Into<Bytes> + Send) -> impl Future<Output = Result<ObjectMeta>> + Send {
        let data = data.into();
        async move { self.put(key, data, &PutOptions::default()).await }
    }

    /// Reads a whole object of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it is larger, else as [`ObjectStore::get`].
    fn get_bytes(&self, key: &Key, limit: u64) -> impl Future<Output = Result<Bytes>> + Send {
        async move {
            let too_large = |size: u64| {
                Error::new(ErrorKind::Invalid, "the object is larger than it may be")
                    .with("key", key)
                    .with("size", size)
                    .with("limit", limit)
            };
            let GetOutcome { meta, mut body, .. } = self.get(key, &GetOptions::default()).await?;
            if meta.size > limit {
                return Err(too_large(meta.size));
            }
            let mut whole = BytesMut::new();
            while let Some(chunk) = body.try_next().await? {
                whole.extend_from_slice(&chunk);
                // The store's word on the size is not trusted with our memory.
                if whole.len() as u64 > limit {
                    return Err(too_large(whole.len() as u64));
                }
            }
            Ok(whole.freeze())
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// As [`ObjectStore::head`], but for [`NotFound`](ErrorKind::NotFound).
    fn exists(&self, key: &Key) -> impl Future<Output = Result<bool>> + Send {
        async move {
            match self.head(key, &HeadOptions::default()).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
    }

    /// Repeats calls that failed for the moment: see [`Retry`].
    fn retrying(self, options: RetryOptions) -> Retry
    where
        Self: Sized,
    {
        Retry::new(Arc::new(self), options)
    }

    /// Bounds bandwidth and calls at a time: see [`Limit`].
    fn limited(self, options: LimitOptions) -> Limit
    where
        Self: Sized,
    {
        Limit::new(Arc::new(self), options)
    }

    /// Keeps everything under a folder of the store: see [`Prefixed`].
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if `prefix` does not end in `/`.
    fn prefixed(self, prefix: Prefix) -> Result<Prefixed>
    where
        Self: Sized,
    {
        Prefixed::new(Arc::new(self), prefix)
    }

    /// Refuses every write: see [`ReadOnly`].
    fn read_only(self) -> ReadOnly
    where
        Self: Sized,
    {
        ReadOnly::new(Arc::new(self))
    }

    /// Shows a store with versions as it was at `time`: see [`AsOf`].
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a store without versions.
    #[expect(clippy::wrong_self_convention, reason = "\"as of\" is one word, and every layer takes its store")]
    fn as_of(self, time: Timestamp) -> Result<AsOf>
    where
        Self: Sized,
    {
        AsOf::new(Arc::new(self), time)
    }

    /// Tells `observer` of every call: see [`Observe`].
    fn observed(self, observer: impl Fn(&StoreCall) + Send + Sync + 'static) -> Observe
    where
        Self: Sized,
    {
        Observe::new(Arc::new(self), observer)
    }
}

impl<T: ObjectStore + ?Sized> ObjectStoreExt for T {}

/// A shared store is a store, so that layers go around an `Arc<dyn ObjectStore>` too.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: ObjectStore + ?Sized> ObjectStore for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        (**self).put(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        (**self).upload(key, options).await
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        (**self).uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        (**self).abort_upload(upload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        (**self).now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        (**self).get(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        (**self).head(key, options).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        (**self).list(prefix, options)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        (**self).delete(what).await
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        (**self).protect(what, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        (**self).thaw(what, thaw).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        (**self).etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        (**self).locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        (**self).copy_in(from, to, options).await
    }
}
