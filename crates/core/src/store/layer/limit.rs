//! Bounds on bandwidth and on calls at a time.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// Bounds of a [`Limit`]. What is absent is not bounded.
///
/// ```
/// use backstay_core::store::layer::LimitOptions;
///
/// let options: LimitOptions = serde_json::from_str(r#"{ "send_bytes_per_second": 1000000, "calls": 4 }"#)?;
/// assert_eq!(options.receive_bytes_per_second, None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitOptions {
    /// Bytes sent per second, on average. A burst of one second's worth passes at once.
    pub send_bytes_per_second: Option<NonZeroU64>,
    /// Bytes received per second, likewise.
    pub receive_bytes_per_second: Option<NonZeroU64>,
    /// Calls under way at a time. A read counts until its answer begins, a listing does not count.
    pub calls: Option<NonZeroUsize>,
}

/// Makes calls wait their turn. Clones share the bounds.
#[derive(Clone, Debug)]
pub struct Limit {
    store: Arc<dyn ObjectStore>,
    bounds: Arc<Bounds>,
}

impl Limit {
    /// Calls on `store` within `options`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, options: LimitOptions) -> Self {
        Self::with_clock(store, options, Arc::new(SystemClock))
    }

    /// As [`new`](Self::new), in the time of `clock`.
    #[must_use]
    pub fn with_clock(store: Arc<dyn ObjectStore>, options: LimitOptions, clock: Arc<dyn Clock>) -> Self {
        let bucket = |rate: NonZeroU64| Bucket { clock: Arc::clone(&clock), rate, free_at: Mutex::default() };
        let bounds = Bounds {
            send: options.send_bytes_per_second.map(bucket),
            receive: options.receive_bytes_per_second.map(bucket),
            calls: options.calls.map(|calls| Semaphore::new(calls.get().min(Semaphore::MAX_PERMITS))),
        };
        Self { store, bounds: Arc::new(bounds) }
    }
}

#[derive(Debug)]
struct Bounds {
    send: Option<Bucket>,
    receive: Option<Bucket>,
    calls: Option<Semaphore>,
}

impl Bounds {
    /// Waits for a place among the calls, then for the bandwidth of `sent` bytes.
    async fn enter(&self, sent: usize) -> Option<SemaphorePermit<'_>> {
        let permit = match &self.calls {
            // The semaphore is never closed, so `ok` loses nothing.
            Some(calls) => calls.acquire().await.ok(),
            None => None,
        };
        if let Some(bucket) = &self.send {
            bucket.take(sent).await;
        }
        permit
    }
}

/// A token bucket, kept as the moment at which the line is free again.
#[derive(Debug)]
struct Bucket {
    clock: Arc<dyn Clock>,
    rate: NonZeroU64,
    free_at: Mutex<Duration>,
}

impl Bucket {
    const BURST: Duration = Duration::from_secs(1);

    /// Waits until `bytes` fit. A waiter that is dropped has used its turn: the bound errs on the slow side.
    async fn take(&self, bytes: usize) {
        let wait = {
            let now = self.clock.monotonic();
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate.get());
            let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            *free_at = free_at.max(now).saturating_add(cost);
            free_at.saturating_sub(now).saturating_sub(Self::BURST)
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
    }
}

#[derive(Debug)]
struct LimitedUpload {
    upload: Box<dyn Upload>,
    bounds: Arc<Bounds>,
}

#[async_trait]
impl Upload for LimitedUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        let (bounds, bytes) = (Arc::clone(&self.bounds), data.len());
        let part = self.upload.part(data);
        Box::pin(async move {
            let _permit = bounds.enter(bytes).await;
            part.await
        })
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        let _permit = self.bounds.enter(0).await;
        self.upload.complete().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let _permit = self.bounds.enter(0).await;
        self.upload.abort().await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Limit {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let _permit = self.bounds.enter(data.len()).await;
        self.store.put(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let _permit = self.bounds.enter(0).await;
        let upload = self.store.upload(key, options).await?;
        Ok(Box::new(LimitedUpload { upload, bounds: Arc::clone(&self.bounds) }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.store.uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        let _permit = self.bounds.enter(0).await;
        self.store.abort_upload(upload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        let _permit = self.bounds.enter(0).await;
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let _permit = self.bounds.enter(0).await;
        let outcome = self.store.get(key, options).await?;
        let bounds = Arc::clone(&self.bounds);
        let body = outcome.body.then(move |chunk| {
            let bounds = Arc::clone(&bounds);
            async move {
                if let (Some(bucket), Ok(chunk)) = (&bounds.receive, &chunk) {
                    bucket.take(chunk.len()).await;
                }
                chunk
            }
        });
        Ok(GetOutcome { body: Box::pin(body), ..outcome })
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        let _permit = self.bounds.enter(0).await;
        self.store.head(key, options).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.store.list(prefix, options)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let _permit = self.bounds.enter(0).await;
        self.store.delete(what).await
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        let _permit = self.bounds.enter(0).await;
        self.store.protect(what, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        let _permit = self.bounds.enter(0).await;
        self.store.thaw(what, thaw).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let _permit = self.bounds.enter(0).await;
        self.store.copy_in(from, to, options).await
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({})", self.store)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;
    use crate::store::{MemoryStore, ObjectStoreExt};

    fn limited(send: u64, receive: u64, calls: usize) -> Limit {
        let options = LimitOptions {
            send_bytes_per_second: NonZeroU64::new(send),
            receive_bytes_per_second: NonZeroU64::new(receive),
            calls: NonZeroUsize::new(calls),
        };
        Limit::with_clock(Arc::new(MemoryStore::new()), options, Arc::new(TokioClock::new()))
    }

    /// Tokio's clock, which a paused runtime moves.
    #[derive(Debug)]
    struct TokioClock(tokio::time::Instant);

    impl TokioClock {
        fn new() -> Self {
            Self(tokio::time::Instant::now())
        }
    }

    #[async_trait]
    impl Clock for TokioClock {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn monotonic(&self) -> Duration {
            self.0.elapsed()
        }

        #[expect(clippy::disallowed_methods, reason = "a paused runtime moves this clock")]
        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_once_the_burst_is_spent_in_both_directions() {
        let (store, start) = (limited(1000, 500, 0), tokio::time::Instant::now());
        for i in 0..10 {
            store.put_new(&format!("k{i}").parse().unwrap(), vec![0; 1000]).await.unwrap();
        }
        assert_eq!(start.elapsed().as_secs(), 9);
        let mut upload = store.upload(&"u".parse().unwrap(), &PutOptions::default()).await.unwrap();
        upload.part(vec![0; 5000].into()).await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 14);
        store
            .get(&"u".parse().unwrap(), &GetOptions::default())
            .await
            .unwrap()
            .body
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        assert_eq!(start.elapsed().as_secs(), 14 + 9);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_than_allowed_are_under_way() {
        let store = limited(1, 0, 2);
        let key = |i| format!("k{i}").parse::<Key>().unwrap();
        let mut puts: Vec<_> = (0..3)
            .map(|i| {
                let store = store.clone();
                Box::pin(async move { store.put_new(&key(i), vec![0; 100]).await })
            })
            .collect();
        for put in &mut puts {
            assert!(futures_util::FutureExt::now_or_never(put).is_none());
        }
        assert_eq!(store.bounds.calls.as_ref().unwrap().available_permits(), 0);
        // Two wait for bandwidth, the third for a place: it has not been charged yet.
        assert_eq!(*store.bounds.send.as_ref().unwrap().free_at.lock().unwrap(), Duration::from_secs(200));
        futures_util::future::try_join_all(puts).await.unwrap();
        assert_eq!(store.bounds.calls.as_ref().unwrap().available_permits(), 2);
    }
}
