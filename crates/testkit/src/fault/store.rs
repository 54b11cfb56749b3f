//! A store that goes wrong as told.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock};
use backstay_core::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutMode, PutOptions, Thaw, ThawState, Upload,
    UploadRef,
};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::body;
use super::upload::FaultyUpload;
use super::{Call, Fault, Rule};

/// Wraps a store, counts its calls and lets them meet [faults](Fault) by [rules](Rule). Clones share rules and counts.
///
/// Every call of [`ObjectStore`] and [`Upload`] counts once, when it is made; a listing counts once, however long it is.
/// [`capabilities`](ObjectStore::capabilities) and [`locate`](ObjectStore::locate) ask nothing of a store and do not count.
///
/// ```
/// use std::sync::Arc;
/// use backstay_core::ErrorKind;
/// use backstay_core::store::{MemoryStore, ObjectStoreExt, Operation};
/// use backstay_testkit::fault::{Fault, FaultyStore, Rule};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let lost_answer = Rule::new(Fault::FailAfter(ErrorKind::Timeout)).on([Operation::Put]).nth(1);
/// let store = FaultyStore::new(Arc::new(MemoryStore::new())).with(lost_answer);
/// let key = "a".parse().unwrap();
/// assert_eq!(store.put_new(&key, "x").await.unwrap_err().kind(), ErrorKind::Timeout);
/// assert_eq!(store.get_bytes(&key, 1).await.unwrap(), "x");
/// assert_eq!(store.calls(Operation::Put), 1);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStore {
    store: Arc<dyn ObjectStore>,
    script: Script,
}

impl FaultyStore {
    /// No faults yet.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, script: Script { clock: Arc::new(SystemClock), state: Arc::default() } }
    }

    /// [Delays](Fault::Delay) pass by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.script.clock = clock;
        self
    }

    /// Adds a rule.
    #[must_use]
    pub fn with(self, rule: Rule) -> Self {
        self.add(rule);
        self
    }

    /// Adds a rule in the middle of a test.
    pub fn add(&self, rule: Rule) {
        self.script.state().rules.push((rule, 0));
    }

    /// Takes all rules away: the store is well again.
    pub fn heal(&self) {
        self.script.state().rules.clear();
    }

    /// How many calls of this kind were made.
    #[must_use]
    pub fn calls(&self, operation: Operation) -> u64 {
        self.script.state().calls.get(&operation).copied().unwrap_or_default()
    }

    /// How many calls were made.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.script.state().calls.values().sum()
    }

    /// Counts from zero again. Rules go on counting.
    pub fn reset_calls(&self) {
        self.script.state().calls.clear();
    }
}

/// The error of a fault.
pub(super) fn injected(kind: ErrorKind) -> Error {
    Error::new(kind, "a fault was injected")
}

#[derive(Clone, Debug)]
pub(super) struct Script {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the number of calls that it matched.
    rules: Vec<(Rule, u64)>,
    calls: BTreeMap<Operation, u64>,
}

/// What a call is to meet.
pub(super) struct Fate {
    clock: Arc<dyn Clock>,
    delay: Duration,
    fault: Option<Fault>,
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and decides on it. Rules see every call that they match, also where an earlier rule acts.
    pub(super) fn call(&self, operation: Operation, keys: &[&str], overwrites: bool) -> Fate {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        let call = Call { operation, keys, overwrites };
        let mut fate = Fate { clock: Arc::clone(&self.clock), delay: Duration::ZERO, fault: None };
        for (rule, count) in &mut state.rules {
            if !rule.matches(&call) {
                continue;
            }
            *count += 1;
            match &rule.fault {
                _ if !rule.when.applies(*count) => {}
                Fault::Delay(delay) => fate.delay += *delay,
                fault => {
                    fate.fault.get_or_insert_with(|| fault.clone());
                }
            }
        }
        fate
    }

    pub(super) fn call_one(&self, operation: Operation, key: &Key) -> Fate {
        self.call(operation, &[key.as_str()], false)
    }
}

impl Fate {
    /// Waits, hangs or fails where that comes first.
    async fn begin(&self) -> Result<()> {
        if !self.delay.is_zero() {
            self.clock.sleep(self.delay).await;
        }
        match self.fault {
            Some(Fault::FailBefore(kind)) => Err(injected(kind)),
            Some(Fault::Throttle(wait)) => Err(injected(ErrorKind::Throttled).wait(wait)),
            Some(Fault::Hang) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    /// Does the call in between.
    pub(super) async fn around<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.begin().await?;
        let result = call.await;
        match self.fault {
            Some(Fault::FailAfter(kind)) => result.and(Err(injected(kind))),
            _ => result,
        }
    }

    fn options(&self, options: &PutOptions) -> PutOptions {
        let mut options = options.clone();
        if self.fault == Some(Fault::IgnoreCreate) {
            options.mode = PutMode::Overwrite;
        }
        options
    }

    fn body(&self, outcome: GetOutcome) -> GetOutcome {
        let GetOutcome { meta, range, body } = outcome;
        let body = match self.fault {
            Some(Fault::BreakOff(bytes, kind)) => body::break_off(body, bytes, kind, body::cut_chunk),
            Some(Fault::FlipBit(at)) => body::flip_bit(body, range.start, at),
            _ => body,
        };
        GetOutcome { meta, range, body }
    }

    /// The lines of a listing, which begins when it is first asked.
    fn lines<T: Send + 'static>(self, inner: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let inner = match self.fault {
            Some(Fault::BreakOff(lines, kind)) => body::break_off(inner, lines, kind, body::cut_line),
            Some(Fault::FailAfter(kind)) => inner.chain(stream::iter([Err(injected(kind))])).boxed(),
            _ => inner,
        };
        let begun = async move {
            match self.begin().await {
                Ok(()) => inner,
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(begun).flatten().boxed()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for FaultyStore {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        let fate = self.script.call(Operation::Put, &[key.as_str()], options.mode == PutMode::Overwrite);
        fate.around(self.store.put(key, data, &fate.options(options))).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let fate = self.script.call(Operation::Upload, &[key.as_str()], options.mode == PutMode::Overwrite);
        let upload = fate.around(self.store.upload(key, &fate.options(options))).await?;
        Ok(Box::new(FaultyUpload { upload, script: self.script.clone(), key: key.clone() }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.script.call(Operation::Uploads, &[prefix.as_str()], false).lines(self.store.uploads(prefix))
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        let fate = self.script.call_one(Operation::AbortUpload, &upload.key);
        fate.around(self.store.abort_upload(upload)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.script.call(Operation::Now, &[], false).around(self.store.now()).await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let fate = self.script.call_one(Operation::Get, key);
        Ok(fate.body(fate.around(self.store.get(key, options)).await?))
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.script.call_one(Operation::Head, key).around(self.store.head(key, options)).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.script.call(Operation::List, &[prefix.as_str()], false).lines(self.store.list(prefix, options))
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let keys: Vec<&str> = what.iter().map(|object| object.key.as_str()).collect();
        let fate = self.script.call(Operation::Delete, &keys, false);
        match (&fate.fault, what) {
            (Some(Fault::FailFirst(kind)), [first, rest @ ..]) => {
                let mut outcomes = vec![DeleteOutcome::new(first.clone(), Err(injected(*kind)))];
                outcomes.extend(fate.around(self.store.delete(rest)).await?);
                Ok(outcomes)
            }
            _ => fate.around(self.store.delete(what)).await,
        }
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.script.call_one(Operation::Protect, &what.key).around(self.store.protect(what, lock)).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.script.call_one(Operation::Thaw, &what.key).around(self.store.thaw(what, thaw)).await
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let fate = self.script.call(Operation::CopyIn, &[to.as_str()], options.mode == PutMode::Overwrite);
        fate.around(self.store.copy_in(from, to, &fate.options(options))).await
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.store)
    }
}
