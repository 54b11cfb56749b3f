//! Calls that failed for the moment are made again.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use jiff::Timestamp;

use super::retry_policy::{Policy, RetryOptions};
use super::retry_stream;
use crate::clock::{Clock, Random, SystemClock, SystemRandom};
use crate::error::{Error, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Prefix, PutMode, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// Repeats calls whose error [is retryable](Error::is_retryable), with exponential backoff and full jitter, within the
/// bounds of [`RetryOptions`]. A wait that the store named ([`Error::retry_after`]) is kept. For stores that do not
/// retry on their own.
///
/// * **Reads and listings** that break off go on where they stopped: a read under the same etag or version only.
/// * **A create** is repeated too. When a later attempt finds the key taken, an earlier one whose answer was lost may have
///   done it. The layer cannot know, so it does not answer [`AlreadyExists`](crate::ErrorKind::AlreadyExists) but with the
///   lost attempt's own error, which means "may have happened"; its context `then` names the later answer. The caller
///   lists the key to settle it. The same holds for every other refusal that follows a lost answer.
/// * **Parts, `complete` and `abort`** of an upload are not repeated: a part handed in again would be one more part, and
///   `complete` takes the upload with it. A store with uploads over a network repeats them itself.
/// * **What it gave up on** is marked: above the layer such an error is not retryable any more.
///
/// Clones share the budget.
#[derive(Clone, Debug)]
pub struct Retry {
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
}

impl Retry {
    /// Repeats calls on `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, options: RetryOptions) -> Self {
        Self { store, policy: Arc::new(Policy::new(options, Arc::new(SystemClock), Arc::new(SystemRandom))) }
    }

    /// As [`new`](Self::new), in the time of `clock` and with jitter from `random`.
    #[must_use]
    pub fn with_clock(
        store: Arc<dyn ObjectStore>,
        options: RetryOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self { store, policy: Arc::new(Policy::new(options, clock, random)) }
    }

    /// Repeats a put or copy so that the answer is never surer than what is known.
    async fn write<'a, T>(
        &self,
        key: &Key,
        mode: PutMode,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let mut lost: Option<Error> = None;
        let mut attempts = self.policy.attempts();
        loop {
            let error = match call().await {
                Ok(value) => {
                    self.policy.earn();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if attempts.again(&error).await {
                lost.get_or_insert(error);
                continue;
            }
            return Err(match lost {
                Some(lost) if mode == PutMode::Create && !error.is_retryable() => lost
                    .with("key", key)
                    .with("then", error.kind())
                    .advise("an earlier attempt may have made the object; list the key to settle it")
                    .no_more_retries(),
                _ => attempts.last(error),
            });
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for Retry {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.write(key, options.mode, || self.store.put(key, data.clone(), options)).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        // An upload whose answer was lost is invisible, so a taken key is somebody else's; the sweep frees its space.
        self.policy.run(|| self.store.upload(key, options)).await
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        retry_stream::uploads(Arc::clone(&self.store), Arc::clone(&self.policy), prefix.clone())
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.policy.run(|| self.store.abort_upload(upload)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.policy.run(|| self.store.now()).await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let outcome = self.policy.run(|| self.store.get(key, options)).await?;
        Ok(retry_stream::body(Arc::clone(&self.store), Arc::clone(&self.policy), outcome))
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.policy.run(|| self.store.head(key, options)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        retry_stream::list(Arc::clone(&self.store), Arc::clone(&self.policy), prefix.clone(), options.clone())
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let mut outcomes = self.policy.run(|| self.store.delete(what)).await?;
        let mut attempts = self.policy.attempts();
        loop {
            let retryable = |i: &usize| outcomes[*i].result.as_ref().is_err_and(Error::is_retryable);
            let failed: Vec<usize> = (0..outcomes.len()).filter(retryable).collect();
            let Some(Err(error)) = failed.first().map(|i| &outcomes[*i].result) else { return Ok(outcomes) };
            if !attempts.again(error).await {
                for i in failed {
                    let result = std::mem::replace(&mut outcomes[i].result, Ok(()));
                    outcomes[i].result = result.map_err(|error| attempts.last(error));
                }
                return Ok(outcomes);
            }
            let rest: Vec<ObjectRef> = failed.iter().map(|i| what[*i].clone()).collect();
            match self.store.delete(&rest).await {
                Ok(again) => failed.into_iter().zip(again).for_each(|(i, outcome)| outcomes[i] = outcome),
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.policy.run(|| self.store.protect(what, lock)).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.policy.run(|| self.store.thaw(what, thaw)).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        self.write(to, options.mode, || self.store.copy_in(from, to, options)).await
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({})", self.store)
    }
}
