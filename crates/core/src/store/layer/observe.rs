//! Calls as facts: for metrics, logs, cost.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::clock::{Clock, SystemClock};
use crate::error::{ErrorKind, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// A call on a store that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// Which kind.
    pub operation: Operation,
    /// The key or prefix that it was for; empty where there is none, or many.
    pub key: String,
    /// From the call to its answer; of a read and a listing to the end of the stream.
    pub took: Duration,
    /// Bytes of content handed to the store.
    pub sent: u64,
    /// Bytes of content that the store gave.
    pub received: u64,
    /// Lines that a listing gave. What a store answers in pages takes a request for each.
    pub lines: u64,
    /// How it failed, if it did. [`Cancelled`](ErrorKind::Cancelled) also says that the caller dropped it before its end.
    pub error: Option<ErrorKind>,
}

/// Tells a function of every call. The function runs on the calling task: be quick and do not block.
///
/// ```
/// use backstay_core::store::{MemoryStore, ObjectStoreExt};
///
/// let store = MemoryStore::new().observed(|call| println!("{} {} {:?}", call.operation, call.key, call.took));
/// # let _ = store;
/// ```
#[derive(Clone)]
pub struct Observe {
    store: Arc<dyn ObjectStore>,
    watch: Watch,
}

#[derive(Clone)]
struct Watch {
    observer: Arc<dyn Fn(&StoreCall) + Send + Sync>,
    clock: Arc<dyn Clock>,
}

impl Observe {
    /// Tells `observer` of the calls on `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, observer: impl Fn(&StoreCall) + Send + Sync + 'static) -> Self {
        Self { store, watch: Watch { observer: Arc::new(observer), clock: Arc::new(SystemClock) } }
    }

    /// Measures durations by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.watch.clock = clock;
        self
    }
}

impl Watch {
    fn begin(&self, operation: Operation, key: impl fmt::Display, sent: usize) -> Running {
        let call = StoreCall {
            operation,
            key: key.to_string(),
            took: self.clock.monotonic(),
            sent: sent as u64,
            received: 0,
            lines: 0,
            error: Some(ErrorKind::Cancelled),
        };
        Running { watch: self.clone(), call }
    }

    fn stream<T: Send + 'static>(
        &self,
        running: Running,
        inner: BoxStream<'static, Result<T>>,
        count: fn(&T, &mut StoreCall),
    ) -> BoxStream<'static, Result<T>> {
        Box::pin(stream::unfold(Some((inner, running)), move |state| async move {
            let (mut inner, mut running) = state?;
            match inner.next().await {
                Some(Ok(item)) => {
                    count(&item, &mut running.call);
                    Some((Ok(item), Some((inner, running))))
                }
                Some(Err(error)) => Some((running.end(Err(error)), None)),
                None => {
                    running.call.error = None;
                    None
                }
            }
        }))
    }
}

/// Reports when it goes: a call that was dropped too.
struct Running {
    watch: Watch,
    /// `took` holds the beginning until the end is known.
    call: StoreCall,
}

impl Running {
    fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.call.error = result.as_ref().err().map(crate::Error::kind);
        result
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.call.took = self.watch.clock.monotonic().saturating_sub(self.call.took);
        (self.watch.observer)(&self.call);
    }
}

struct ObservedUpload {
    upload: Box<dyn Upload>,
    watch: Watch,
    key: Key,
}

impl fmt::Debug for ObservedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.upload.fmt(f)
    }
}

#[async_trait]
impl Upload for ObservedUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let (watch, key, bytes) = (self.watch.clone(), self.key.clone(), data.len());
        let part = self.upload.part(data);
        Box::pin(async move {
            let running = watch.begin(Operation::Part, key, bytes);
            running.end(part.await)
        })
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        let running = self.watch.begin(Operation::Complete, &self.key, 0);
        running.end(self.upload.complete().await)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let running = self.watch.begin(Operation::Abort, &self.key, 0);
        running.end(self.upload.abort().await)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Observe {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let running = self.watch.begin(Operation::Put, key, data.len());
        running.end(self.store.put(key, data, options).await)
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let running = self.watch.begin(Operation::Upload, key, 0);
        let upload = running.end(self.store.upload(key, options).await)?;
        Ok(Box::new(ObservedUpload { upload, watch: self.watch.clone(), key: key.clone() }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let running = self.watch.begin(Operation::Uploads, prefix, 0);
        self.watch.stream(running, self.store.uploads(prefix), |_, call| call.lines += 1)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        let running = self.watch.begin(Operation::AbortUpload, &upload.key, 0);
        running.end(self.store.abort_upload(upload).await)
    }

    async fn now(&self) -> Result<Timestamp> {
        let running = self.watch.begin(Operation::Now, "", 0);
        running.end(self.store.now().await)
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let running = self.watch.begin(Operation::Get, key, 0);
        match self.store.get(key, options).await {
            Ok(outcome) => {
                let body = self.watch.stream(running, outcome.body, |chunk, call| call.received += chunk.len() as u64);
                Ok(GetOutcome { body, ..outcome })
            }
            Err(error) => running.end(Err(error)),
        }
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        let running = self.watch.begin(Operation::Head, key, 0);
        running.end(self.store.head(key, options).await)
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let running = self.watch.begin(Operation::List, prefix, 0);
        self.watch.stream(running, self.store.list(prefix, options), |_, call| call.lines += 1)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let only = if let [one] = what { one.key.as_str() } else { "" };
        let running = self.watch.begin(Operation::Delete, only, 0);
        running.end(self.store.delete(what).await)
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        let running = self.watch.begin(Operation::Protect, &what.key, 0);
        running.end(self.store.protect(what, lock).await)
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        let running = self.watch.begin(Operation::Thaw, &what.key, 0);
        running.end(self.store.thaw(what, thaw).await)
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let running = self.watch.begin(Operation::CopyIn, to, 0);
        running.end(self.store.copy_in(from, to, options).await)
    }
}

impl fmt::Display for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observe({})", self.store)
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observe").field(&self.store).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::{MemoryStore, ObjectStoreExt};

    #[tokio::test]
    async fn every_call_is_told_once_with_its_bytes_and_its_end() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&calls);
        let store = MemoryStore::new().observed(move |call| {
            told.lock().unwrap().push((call.operation.name(), call.key.clone(), call.sent, call.received, call.error));
        });
        let key: Key = "a".parse().unwrap();
        store.put_new(&key, "four").await.unwrap();
        store.put_new(&key, "again").await.unwrap_err();
        store.get_bytes(&key, 10).await.unwrap();
        drop(store.get(&key, &GetOptions::default()).await.unwrap());
        let mut upload = store.upload(&"u".parse().unwrap(), &PutOptions::default()).await.unwrap();
        upload.part(Bytes::from_static(b"xyz")).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(store.list(&Prefix::all(), &ListOptions::default()).count().await, 2);
        let row = |operation, key: &str, sent, received, error| (operation, key.to_owned(), sent, received, error);
        let expected = [
            row("put", "a", 4, 0, None),
            row("put", "a", 5, 0, Some(ErrorKind::AlreadyExists)),
            row("get", "a", 0, 4, None),
            row("get", "a", 0, 0, Some(ErrorKind::Cancelled)),
            row("upload", "u", 0, 0, None),
            row("part", "u", 3, 0, None),
            row("complete", "u", 0, 0, None),
            row("list", "", 0, 0, None),
        ];
        assert_eq!(*calls.lock().unwrap(), expected);
    }
}
