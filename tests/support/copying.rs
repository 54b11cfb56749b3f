//! Stores in memory that copy from one another by themselves, as the buckets of one server do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backstay::store::{
    BoxStream, Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, Key, ListEntry, ListOptions, Location,
    Lock, MemoryStore, ObjectMeta, ObjectRef, ObjectStore, ObjectStoreExt as _, Prefix, PutOptions, Upload, UploadRef,
};
use backstay::{ErrorKind, Result};
use bytes::Bytes;

const SCHEME: &str = "mock";

/// The stores of one server, by the names of their places.
#[derive(Clone, Default)]
pub struct Server {
    places: Arc<Mutex<BTreeMap<&'static str, MemoryStore>>>,
    can: Arc<Mutex<Can>>,
}

/// What becomes of copies for which a digest is announced.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Can {
    #[default]
    Prove,
    /// It cannot prove them, and says so.
    NotProve,
    /// It has the bytes wrong on the way, and sees it.
    Damage,
    /// It does not look at the digest, and says that it did.
    NotLook,
    /// Somebody else puts the same there just before, or as many other bytes.
    BeOvertaken { by_a_twin: bool },
    /// It looks in a place that has the same name and is another.
    LookElsewhere,
}

impl Server {
    pub fn store(&self, place: &'static str, store: MemoryStore) -> Copying {
        self.places.lock().expect("no panic").insert(place, store.clone());
        Copying { server: self.clone(), place, store }
    }

    pub fn can(&self, can: Can) {
        *self.can.lock().expect("no panic") = can;
    }
}

/// One of them.
#[derive(Clone)]
pub struct Copying {
    server: Server,
    place: &'static str,
    store: MemoryStore,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Copying({})", self.place)
    }
}

impl fmt::Display for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "copying({})", self.place)
    }
}

#[async_trait]
impl ObjectStore for Copying {
    fn locate(&self, key: &Key) -> Option<Location> {
        Some(Location::new(SCHEME, self.place, key.as_str()))
    }

    async fn copy_in(&self, from: &Location, to: &Key, options: &PutOptions) -> Result<Option<ObjectMeta>> {
        let peer = self.server.places.lock().expect("no panic").get(&*from.place).cloned();
        let (Some(peer), true) = (peer, from.scheme == SCHEME) else { return Ok(None) };
        let can = *self.server.can.lock().expect("no panic");
        if can == Can::LookElsewhere {
            return Err(backstay::Error::new(ErrorKind::NotFound, "there is no such object").with("key", &from.key));
        }
        if options.sha256.is_some() && can == Can::NotProve {
            return Ok(None);
        }
        let mut content = peer.get_bytes(&from.key.parse()?, 1 << 30).await?.to_vec();
        if let (Can::Damage, Some(byte)) = (can, content.last_mut()) {
            *byte ^= 1;
        }
        if let Can::BeOvertaken { by_a_twin } = can {
            let theirs = if by_a_twin { content.clone() } else { vec![0; content.len()] };
            self.store.put_new(to, theirs).await?;
        }
        let mut options = options.clone();
        options.sha256 = options.sha256.filter(|_| can != Can::NotLook);
        self.store.put(to, content.into(), &options).await.map(Some)
    }

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

    async fn now(&self) -> Result<jiff::Timestamp> {
        self.store.now().await
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        self.store.get(key, options).await
    }

    async fn head(&self, key: &Key, options: &HeadOptions) -> Result<ObjectMeta> {
        self.store.head(key, options).await
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        self.store.list(prefix, options)
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        self.store.delete(what).await
    }

    async fn protect(&self, what: &ObjectRef, lock: &Lock) -> Result<()> {
        self.store.protect(what, lock).await
    }
}
