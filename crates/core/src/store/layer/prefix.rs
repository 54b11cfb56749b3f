//! A folder of a store as a store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// Puts a prefix before every key, and takes it off again in every answer. Nothing outside of it can be named.
///
/// A key that is too long with the prefix is [`Invalid`](ErrorKind::Invalid). Errors name the key with its prefix.
#[derive(Clone, Debug)]
pub struct Prefixed {
    store: Arc<dyn ObjectStore>,
    prefix: Prefix,
}

impl Prefixed {
    /// The part of `store` under `prefix`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if `prefix` is neither empty nor ends in `/`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Prefix) -> Result<Self> {
        if prefix.as_str().is_empty() || prefix.as_str().ends_with('/') {
            return Ok(Self { store, prefix });
        }
        Err(Error::new(ErrorKind::Invalid, "a store's prefix ends in `/`").with("prefix", prefix))
    }

    fn outer(&self, key: &Key) -> Result<Key> {
        self.prefix.key(key.as_str())
    }

    fn outer_ref(&self, what: &ObjectRef) -> Result<ObjectRef> {
        Ok(ObjectRef { key: self.outer(&what.key)?, version: what.version.clone() })
    }

    fn outer_prefix(&self, prefix: &Prefix) -> Result<Prefix> {
        Prefix::new(format!("{}{prefix}", self.prefix))
    }
}

/// Takes the prefix off. A store that answers with a key of another place breaks its contract.
fn inner(prefix: &Prefix, key: &Key) -> Result<Key> {
    let inner = key.strip(prefix).map(Key::new);
    inner.unwrap_or_else(|| Err(Error::new(ErrorKind::Other, "the store answered with another key").with("key", key)))
}

fn inner_meta(prefix: &Prefix, meta: ObjectMeta) -> Result<ObjectMeta> {
    Ok(ObjectMeta { key: inner(prefix, &meta.key)?, ..meta })
}

fn inner_entry(prefix: &Prefix, entry: ListEntry) -> Result<ListEntry> {
    match entry {
        ListEntry::Object(meta) => inner_meta(prefix, meta).map(ListEntry::Object),
        ListEntry::Folder(folder) => {
            let rest = folder.as_str().strip_prefix(prefix.as_str()).map(Prefix::new);
            let foreign =
                || Error::new(ErrorKind::Other, "the store answered with another folder").with("folder", &folder);
            rest.unwrap_or_else(|| Err(foreign())).map(ListEntry::Folder)
        }
    }
}

#[derive(Debug)]
struct PrefixedUpload {
    upload: Box<dyn Upload>,
    prefix: Prefix,
}

#[async_trait]
impl Upload for PrefixedUpload {
    fn part(&mut self, data: Bytes) -> futures_core::future::BoxFuture<'static, Result<()>> {
        self.upload.part(data)
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        inner_meta(&self.prefix, self.upload.complete().await?)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.upload.abort().await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Prefixed {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        inner_meta(&self.prefix, self.store.put(&self.outer(key)?, data, options).await?)
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let upload = self.store.upload(&self.outer(key)?, options).await?;
        Ok(Box::new(PrefixedUpload { upload, prefix: self.prefix.clone() }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let own = self.prefix.clone();
        match self.outer_prefix(prefix) {
            Ok(prefix) => Box::pin(self.store.uploads(&prefix).map(move |upload| {
                let upload = upload?;
                Ok(UploadRef { key: inner(&own, &upload.key)?, ..upload })
            })),
            Err(error) => failed(error),
        }
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        let upload = UploadRef { key: self.outer(&upload.key)?, ..upload.clone() };
        self.store.abort_upload(&upload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let outcome = self.store.get(&self.outer(key)?, options).await?;
        Ok(GetOutcome { meta: inner_meta(&self.prefix, outcome.meta)?, ..outcome })
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        inner_meta(&self.prefix, self.store.head(&self.outer(key)?, options).await?)
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let own = self.prefix.clone();
        let start_after = options.start_after.as_ref().map(|after| format!("{own}{after}"));
        let options = ListOptions { start_after, ..options.clone() };
        match self.outer_prefix(prefix) {
            Ok(prefix) => Box::pin(self.store.list(&prefix, &options).map(move |entry| inner_entry(&own, entry?))),
            Err(error) => failed(error),
        }
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let outer = what.iter().map(|object| self.outer_ref(object)).collect::<Result<Vec<_>>>()?;
        let outcomes = self.store.delete(&outer).await?;
        Ok(outcomes.into_iter().zip(what).map(|(o, object)| DeleteOutcome::new(object.clone(), o.result)).collect())
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.store.protect(&self.outer_ref(what)?, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.store.thaw(&self.outer_ref(what)?, thaw).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(&self.outer(key).ok()?)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let copied = self.store.copy_in(from, &self.outer(to)?, options).await?;
        copied.map(|meta| inner_meta(&self.prefix, meta)).transpose()
    }
}

fn failed<T: Send + 'static>(error: Error) -> BoxStream<'static, Result<T>> {
    Box::pin(futures_util::stream::iter([Err(error)]))
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({}, {})", self.prefix, self.store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, ObjectStoreExt};

    #[tokio::test]
    async fn what_lies_outside_is_not_seen_and_what_lies_inside_has_the_prefix() {
        let outside = MemoryStore::new();
        for name in ["a", "ab/x", "b/x"] {
            outside.put_new(&name.parse().unwrap(), "out").await.unwrap();
        }
        let store = outside.clone().prefixed(Prefix::new("a-b/").unwrap()).unwrap();
        store.put_new(&"x/y".parse().unwrap(), "in").await.unwrap();
        let names: Vec<_> = store.list(&Prefix::all(), &ListOptions::folders()).collect().await;
        assert_eq!(names.len(), 1);
        assert_eq!(*names[0].as_ref().unwrap(), ListEntry::Folder(Prefix::new("x/").unwrap()));
        assert_eq!(outside.get_bytes(&"a-b/x/y".parse().unwrap(), 10).await.unwrap(), "in");
    }

    #[tokio::test]
    async fn a_key_too_long_with_its_prefix_and_a_prefix_without_slash_are_refused() {
        assert_eq!(MemoryStore::new().prefixed(Prefix::new("a").unwrap()).unwrap_err().kind(), ErrorKind::Invalid);
        let store = MemoryStore::new().prefixed(Prefix::new("a/").unwrap()).unwrap();
        let long: Key = format!("{}x", "segment/".repeat(127)).parse().unwrap();
        let longest: Key = format!("{}1234567", "segment/".repeat(127)).parse().unwrap();
        assert!(store.put_new(&long, "").await.is_ok());
        assert_eq!(store.put_new(&longest, "").await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
