//! A store with versions as it was.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, ObjectMeta, ObjectRef, ObjectStore, Operation, Prefix, PutOptions, Thaw, ThawState, Upload, UploadRef,
};

/// Shows what a store with versions held at one moment, through every overwrite and delete marker that came later, as
/// long as the store keeps the versions. Its clock stands still at that moment; every write is
/// [`Denied`](ErrorKind::Denied).
///
/// A read costs a listing of the key's versions besides. Listings pass all versions by, in bounded memory.
///
/// The times are the store's, and some date an object by when its upload began. So take a moment before whoever did the damage
/// got in, not just before it showed. A version of his that is read all the same is damage, which signatures tell.
///
/// ```
/// use backstay_core::ErrorKind;
/// use backstay_core::store::{HeadOptions, MemoryStore, ObjectStore, ObjectStoreExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (store, key) = (MemoryStore::versioned(), "a".parse()?);
/// let put = store.put_new(&key, "ours").await?.last_modified;
/// assert_eq!(store.clone().as_of(put)?.get_bytes(&key, 100).await?, "ours");
///
/// let before = store.as_of(put - std::time::Duration::from_secs(1))?;
/// assert_eq!(before.head(&key, &HeadOptions::default()).await.unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), backstay_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct AsOf {
    store: Arc<dyn ObjectStore>,
    moment: Moment,
}

/// Which version of each key is meant.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The newest that was there then.
    At(Timestamp),
    /// The newest that is no delete marker.
    LastContent,
}

impl AsOf {
    /// `store` as it was at `time`, by its own clock.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if it keeps no versions.
    pub fn new(store: Arc<dyn ObjectStore>, time: Timestamp) -> Result<Self> {
        Self::over(store, Moment::At(time))
    }

    /// `store` as if nothing had been deleted.
    pub(crate) fn last_content(store: Arc<dyn ObjectStore>) -> Result<Self> {
        Self::over(store, Moment::LastContent)
    }

    fn over(store: Arc<dyn ObjectStore>, moment: Moment) -> Result<Self> {
        if store.capabilities().versions {
            return Ok(Self { store, moment });
        }
        Err(Error::new(ErrorKind::Unsupported, "the store keeps no versions, so it cannot show what was")
            .with("store", &store)
            .advise("look for the object in a replica"))
    }

    /// The version of `key` that is meant.
    async fn find(&self, key: &Key) -> Result<ObjectMeta> {
        let mut chosen = self.chosen(&Prefix::new(key.as_str())?, None);
        // The key itself comes before all that begin with it.
        match chosen.try_next().await? {
            Some(meta) if meta.key == *key => Ok(meta),
            _ => Err(Error::new(ErrorKind::NotFound, "no such object at that time").with("key", key)),
        }
    }

    /// The version meant of each key under `prefix` that had one.
    fn chosen(&self, prefix: &Prefix, start_after: Option<String>) -> BoxStream<'static, Result<ObjectMeta>> {
        let lines = self.store.list(prefix, &ListOptions { start_after, ..ListOptions::versions() });
        let (moment, mut decided) = (self.moment, None::<Key>);
        // The newest version of each key comes first.
        let chosen = lines.try_filter_map(move |line| {
            let meta = match line {
                ListEntry::Object(meta) if decided.as_ref() != Some(&meta.key) && moment.takes(&meta) => meta,
                _ => return ready(Ok(None)),
            };
            decided = Some(meta.key.clone());
            ready(Ok((!meta.delete_marker).then_some(ObjectMeta { latest: true, ..meta })))
        });
        chosen.boxed()
    }

    fn denied(&self, operation: Operation) -> Error {
        Error::new(ErrorKind::Denied, "what was cannot be changed")
            .operation(operation.name())
            .with("store", self)
            .advise("change the store itself, without the as-of layer")
    }
}

impl Moment {
    fn takes(self, meta: &ObjectMeta) -> bool {
        match self {
            Self::At(time) => meta.last_modified <= time,
            Self::LastContent => !meta.delete_marker,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for AsOf {
    fn capabilities(&self) -> Capabilities {
        Capabilities { versions: false, ..self.store.capabilities() }
    }

    fn etag_of(&self, data: &Bytes) -> Option<String> {
        self.store.etag_of(data)
    }

    async fn put(&self, key: &Key, _data: Bytes, _options: &PutOptions) -> Result<ObjectMeta> {
        Err(self.denied(Operation::Put).with("key", key))
    }

    async fn upload(&self, key: &Key, _options: &PutOptions) -> Result<Box<dyn Upload>> {
        Err(self.denied(Operation::Upload).with("key", key))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        self.store.uploads(prefix)
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        Err(self.denied(Operation::AbortUpload).with("key", &upload.key))
    }

    async fn now(&self) -> Result<Timestamp> {
        match self.moment {
            Moment::At(time) => Ok(time),
            Moment::LastContent => self.store.now().await,
        }
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let version = self.find(key).await?.version;
        let mut got = self.store.get(key, &GetOptions { version, ..options.clone() }).await?;
        got.meta.latest = true;
        Ok(got)
    }

    async fn head(&self, key: &Key, _options: &HeadOptions) -> Result<ObjectMeta> {
        let version = self.find(key).await?.version;
        let meta = self.store.head(key, &HeadOptions { version }).await?;
        Ok(ObjectMeta { latest: true, ..meta })
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let chosen = self.chosen(prefix, options.start_after.clone());
        if !options.folders {
            return chosen.map_ok(ListEntry::Object).boxed();
        }
        // Folded here: the store would name folders that hold only what came later.
        let (prefix, mut told) = (prefix.clone(), None::<Prefix>);
        let folded = chosen.try_filter_map(move |meta| {
            let Some(folder) = prefix.folder_of(meta.key.as_str()) else {
                return ready(Ok(Some(ListEntry::Object(meta))));
            };
            if told.as_ref() == Some(&folder) {
                return ready(Ok(None));
            }
            told = Some(folder.clone());
            ready(Ok(Some(ListEntry::Folder(folder))))
        });
        folded.boxed()
    }

    async fn delete(&self, _what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        Err(self.denied(Operation::Delete))
    }

    async fn protect(&self, what: &ObjectRef, _lock: &Lock) -> Result<()> {
        Err(self.denied(Operation::Protect).with("key", &what.key))
    }

    async fn thaw(&self, what: &ObjectRef, thaw: &Thaw) -> Result<ThawState> {
        let version = self.find(&what.key).await?.version;
        self.store.thaw(&ObjectRef { key: what.key.clone(), version }, thaw).await
    }

    /// None: a peer would copy the newest version.
    fn locate(&self, _key: &Key) -> Option<Location> {
        None
    }

    async fn copy_in(&self, _from: &Location, to: &Key, _options: &PutOptions) -> Result<Option<ObjectMeta>> {
        Err(self.denied(Operation::CopyIn).with("key", to))
    }
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.moment {
            Moment::At(time) => write!(f, "AsOf({time}, {})", self.store),
            Moment::LastContent => write!(f, "LastContent({})", self.store),
        }
    }
}
