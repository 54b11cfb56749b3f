//! A store that allows what a role may do and denies everything else, as a bucket's policy does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backstay_core::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutMode, PutOptions, Thaw, ThawState, Upload,
    UploadRef,
};
use backstay_core::vault::{Grant, Right, Role};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

/// Wraps a store and answers with [`Denied`](ErrorKind::Denied) whatever is not [granted](Role::grants), each object of a
/// delete by itself. It notes which grants were needed and what was denied. Clones share them.
///
/// ```
/// use std::sync::Arc;
/// use backstay_core::ErrorKind;
/// use backstay_core::store::{MemoryStore, ObjectStoreExt};
/// use backstay_core::vault::Role;
/// use backstay_testkit::RightsStore;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = RightsStore::new(Arc::new(MemoryStore::new()), Role::Writer);
/// let key = "items/prod-eu/daily/x".parse().unwrap();
/// store.put_new(&key, "x").await.unwrap();
/// assert_eq!(store.get_bytes(&key, 1).await.unwrap_err().kind(), ErrorKind::Denied);
/// assert_eq!(store.denied(), ["get items/prod-eu/daily/x"]);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct RightsStore {
    store: Arc<dyn ObjectStore>,
    rights: Rights,
}

impl RightsStore {
    /// A store with the rights of one role.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, role: Role) -> Self {
        let state = State { grants: role.grants().to_vec(), used: BTreeSet::new(), denied: Vec::new() };
        Self { store, rights: Rights(Arc::new(Mutex::new(state))) }
    }

    /// Takes one right away.
    #[must_use]
    pub fn without(self, grant: &Grant) -> Self {
        self.rights.state().grants.retain(|kept| kept != grant);
        self
    }

    /// The grants that calls needed so far.
    #[must_use]
    pub fn used(&self) -> BTreeSet<Grant> {
        self.rights.state().used.clone()
    }

    /// What was denied so far, each as the right and the key.
    #[must_use]
    pub fn denied(&self) -> Vec<String> {
        self.rights.state().denied.clone()
    }
}

#[derive(Clone, Debug)]
struct Rights(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    grants: Vec<Grant>,
    used: BTreeSet<Grant>,
    denied: Vec<String>,
}

impl Rights {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, operation: Operation, mode: PutMode, key: &str) -> Result<()> {
        let Some(right) = Right::of(operation, mode) else { return Ok(()) };
        let mut state = self.state();
        if let Some(grant) = state.grants.iter().find(|grant| grant.covers(right, key)).copied() {
            state.used.insert(grant);
            return Ok(());
        }
        state.denied.push(format!("{right} {key}"));
        Err(Error::new(ErrorKind::Denied, "the store's policy does not allow it")
            .operation(operation.name())
            .with("key", key))
    }

    fn check_read(&self, operation: Operation, key: &str) -> Result<()> {
        self.check(operation, PutMode::Create, key)
    }
}

/// The lines, or the denial as the only one.
fn lines<T: Send + 'static>(
    allowed: Result<()>,
    inner: impl FnOnce() -> BoxStream<'static, Result<T>>,
) -> BoxStream<'static, Result<T>> {
    match allowed {
        Ok(()) => inner(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for RightsStore {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        self.rights.check(Operation::Put, options.mode, key.as_str())?;
        self.store.put(key, data, options).await
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        self.rights.check(Operation::Upload, options.mode, key.as_str())?;
        let upload = self.store.upload(key, options).await?;
        Ok(Box::new(RightsUpload { upload, rights: self.rights.clone(), key: key.clone(), mode: options.mode }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        lines(self.rights.check_read(Operation::Uploads, prefix.as_str()), || self.store.uploads(prefix))
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.rights.check_read(Operation::AbortUpload, upload.key.as_str())?;
        self.store.abort_upload(upload).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.rights.check_read(Operation::Get, key.as_str())?;
        self.store.get(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.rights.check_read(Operation::Head, key.as_str())?;
        self.store.head(key, options).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        lines(self.rights.check_read(Operation::List, prefix.as_str()), || self.store.list(prefix, options))
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        let mut outcomes = Vec::new();
        for object in what {
            match self.rights.check_read(Operation::Delete, object.key.as_str()) {
                Ok(()) => outcomes.extend(self.store.delete(std::slice::from_ref(object)).await?),
                Err(error) => outcomes.push(DeleteOutcome::new(object.clone(), Err(error))),
            }
        }
        Ok(outcomes)
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.rights.check_read(Operation::Protect, what.key.as_str())?;
        self.store.protect(what, lock).await
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        self.rights.check_read(Operation::Thaw, what.key.as_str())?;
        self.store.thaw(what, thaw).await
    }

    fn locate(&self, key: &Key) -> Option<Location> {
        self.store.locate(key)
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        self.rights.check(Operation::CopyIn, options.mode, to.as_str())?;
        self.store.copy_in(from, to, options).await
    }
}

impl fmt::Display for RightsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({})", self.store)
    }
}

#[derive(Debug)]
struct RightsUpload {
    upload: Box<dyn Upload>,
    rights: Rights,
    key: Key,
    mode: PutMode,
}

#[async_trait]
impl Upload for RightsUpload {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        match self.rights.check(Operation::Part, self.mode, self.key.as_str()) {
            Ok(()) => self.upload.part(data),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        self.rights.check(Operation::Complete, self.mode, self.key.as_str())?;
        self.upload.complete().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.rights.check(Operation::Abort, self.mode, self.key.as_str())?;
        self.upload.abort().await
    }
}
