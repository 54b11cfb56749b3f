//! A store that cannot be changed.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// Answers every call that would change an object, a lock or an upload with [`Denied`](ErrorKind::Denied).
///
/// Thawing an archived object passes: it is how such an object is read.
///
/// ```
/// use backstay_core::ErrorKind;
/// use backstay_core::store::{MemoryStore, ObjectStoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new().read_only();
/// let denied = store.put_new(&"a".parse().unwrap(), "x").await.unwrap_err();
/// assert_eq!(denied.kind(), ErrorKind::Denied);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnly(Arc<dyn ObjectStore>);

impl ReadOnly {
    /// Reads of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }

    fn denied(&self, operation: Operation) -> Error {
        Error::new(ErrorKind::Denied, "the store was opened to read only")
            .operation(operation.name())
            .with("store", &self.0)
            .advise("open it without the read-only layer to change it")
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for ReadOnly {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn put(&self, key: &Key, _data: Bytes, _options: &PutOptions) -> Result<ObjectMeta> {
        Err(self.denied(Operation::Put).with("key", key))
    }

    async fn upload(&self, key: &Key, _options: &PutOptions) -> Result<Box<dyn Upload>> {
        Err(self.denied(Operation::Upload).with("key", key))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.0.uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        Err(self.denied(Operation::AbortUpload).with("key", &upload.key))
    }

    async fn now(&self) -> Result<Timestamp> {
        self.0.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.0.get(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.0.head(key, options).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.0.list(prefix, options)
    }

    async fn delete(&self, _what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        Err(self.denied(Operation::Delete))
    }

    async fn protect(&self, what: &ObjectRef, _lock: &Lock) -> Result<()> {
        Err(self.denied(Operation::Protect).with("key", &what.key))
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.0.thaw(what, thaw).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.0.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.0.locate(key)
    }

    async fn copy_in(&self, _from: &Location, to: &Key, _options: &PutOptions) -> Result<Option<ObjectMeta>> {
        Err(self.denied(Operation::CopyIn).with("key", to))
    }
}

impl fmt::Display for ReadOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnly({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, ObjectStoreExt};

    #[tokio::test]
    async fn every_write_is_denied_and_changes_nothing() {
        let inner = MemoryStore::new();
        let (a, b): (Key, Key) = ("a".parse().unwrap(), "b".parse().unwrap());
        let meta = inner.put_new(&a, "x").await.unwrap();
        drop(inner.upload(&b, &PutOptions::default()).await.unwrap());
        let store = inner.clone().read_only();
        let location = Location { scheme: "x".to_owned(), place: "x".to_owned(), key: "x".to_owned() };
        let upload = UploadRef::new(b.clone(), "u0000000000000002", meta.last_modified);
        let errors = [
            store.put(&a, Bytes::new(), &PutOptions::overwrite()).await.unwrap_err(),
            store.upload(&b, &PutOptions::default()).await.unwrap_err(),
            store.abort_upload(&upload).await.unwrap_err(),
            store.delete(&[a.clone().into()]).await.unwrap_err(),
            store.protect(&a.clone().into(), &Lock { hold: true, ..Lock::default() }).await.unwrap_err(),
            store.copy_in(&location, &b, &PutOptions::default()).await.unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Denied));
        assert_eq!(store.head(&a, &HeadOptions::default()).await.unwrap(), meta);
        assert_eq!(store.get_bytes(&a, 10).await.unwrap(), "x");
        let uploads: Vec<_> = futures_util::TryStreamExt::try_collect(inner.uploads(&Prefix::all())).await.unwrap();
        assert_eq!(uploads.len(), 1);
    }
}
