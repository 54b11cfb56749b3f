//! A store in memory: for tests, examples and the first steps.

use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};
use crate::digest::Blake3;
use crate::error::Result;
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Lock,
    ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Upload, UploadRef,
};

mod state;
mod upload;

use state::State;
use upload::MemoryUpload;

/// Keys that a listing takes under one lock.
const PAGE: usize = 1000;

/// A store that forgets everything when its last clone is dropped. Clones share their content.
///
/// It is as strict as the strictest real store: it refuses a key that is the folder of another, parts of uneven size, and
/// a lock that is weaker than the one that holds.
///
/// ```
/// use backstay_core::store::{MemoryStore, ObjectStoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// store.put_new(&"points/a".parse()?, "content").await?;
/// assert_eq!(store.get_bytes(&"points/a".parse()?, 100).await?, "content");
/// # Ok::<(), backstay_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    versioned: bool,
}

impl MemoryStore {
    /// An empty store. Objects can be locked; there are no versions.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), clock: Arc::new(SystemClock), versioned: false }
    }

    /// An empty store that keeps every content of a key, and deletes by adding a delete marker.
    #[must_use]
    pub fn versioned() -> Self {
        Self { versioned: true, ..Self::new() }
    }

    /// Takes the store's time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        options.check(&data).map_err(|error| error.with("key", key))?;
        let etag = Blake3::of(&data).to_string();
        self.state().put(key, data, etag, options, self.versioned, self.clock.now())
    }

    fn page(&self, prefix: &Prefix, options: &ListOptions, from: &Bound<String>) -> Vec<ListEntry> {
        self.state().page(prefix, options, from, PAGE)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities { versions: self.versioned, locks: true, ..Capabilities::default() }
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        state::no_classes(options)?;
        self.commit(key, data, options)
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        state::no_classes(options)?;
        let id = self.state().begin(key, self.clock.now());
        Ok(Box::new(MemoryUpload::new(self.clone(), id, key.clone(), options.clone())))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        Box::pin(stream::iter(self.state().unfinished(prefix).into_iter().map(Ok)))
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.state().end(&upload.id);
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let (meta, data) = self.state().find(key, options.version.as_ref())?;
        let range = options.bytes_of(&meta)?;
        // The object is in memory, so its length fits a usize.
        let body = data.slice(range.start as usize..range.end as usize);
        let body: Vec<_> = (!body.is_empty()).then_some(Ok(body)).into_iter().collect();
        Ok(GetOutcome { meta, range, body: Box::pin(stream::iter(body)) })
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.state().find(key, options.version.as_ref()).map(|(meta, _)| meta)
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let (store, prefix, options) = (self.clone(), prefix.clone(), options.clone());
        let after = options.start_after.clone().filter(|after| after.as_str() >= prefix.as_str());
        let start = after.map_or_else(|| Bound::Included(prefix.as_str().to_owned()), Bound::Excluded);
        let pages = stream::unfold(start, move |from| {
            let page = store.page(&prefix, &options, &from);
            let next = page.last().map(|entry| match entry {
                ListEntry::Object(meta) => Bound::Excluded(meta.key.as_str().to_owned()),
                ListEntry::Folder(folder) => Bound::Included(state::after_folder(folder.as_str())),
            });
            std::future::ready(next.map(|next| (stream::iter(page.into_iter().map(Ok)), next)))
        });
        Box::pin(futures_util::StreamExt::flatten(pages))
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        Some(Blake3::of(data).to_string())
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let now = self.clock.now();
        let mut state = self.state();
        let outcome = |object: &ObjectRef| state.delete(object, self.versioned, now);
        Ok(what.iter().map(outcome).zip(what).map(|(r, object)| DeleteOutcome::new(object.clone(), r)).collect())
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.state().protect(what, lock, self.clock.now())
    }
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("versioned", &self.versioned).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
