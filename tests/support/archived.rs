//! A store whose lifecycle moved what is older than a moment into an archive class.

use async_trait::async_trait;
use backstay::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions,
    MemoryStore, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Upload, UploadRef,
};
use backstay::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;

/// Under `items/` whatever is older than `before` lies in the class GLACIER.
#[derive(Clone, Debug)]
pub struct Archived {
    pub store: MemoryStore,
    pub before: Timestamp,
}

impl Archived {
    fn moved(&self, mut meta: ObjectMeta) -> ObjectMeta {
        let moved = meta.key.as_str().starts_with("items/") && meta.last_modified < self.before;
        meta.class = moved.then(|| "GLACIER".to_owned());
        meta
    }
}

#[async_trait]
impl ObjectStore for Archived {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.store.put(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        self.store.upload(key, options).await
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.store.uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.store.abort_upload(upload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let got = self.store.get(key, options).await?;
        match self.moved(got.meta.clone()).class {
            Some(class) => Err(Error::new(ErrorKind::Archived, format!("the object lies in the class {class}"))
                .with("key", key)
                .advise("thaw it first")),
            None => Ok(got),
        }
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        Ok(self.moved(self.store.head(key, options).await?))
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let this = self.clone();
        let moved = move |entry| match entry {
            ListEntry::Object(meta) => ListEntry::Object(this.moved(meta)),
            other => other,
        };
        self.store.list(prefix, options).map(move |entry| entry.map(&moved)).boxed()
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        self.store.delete(what).await
    }
}

impl std::fmt::Display for Archived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archived({})", self.store)
    }
}
