//! Sends stored parts: an object of one part by one put, a larger one as an upload.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sha2::Digest as _;
use tokio::sync::mpsc;

use crate::budget::Budget;
use crate::digest::{Blake3, Sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ObjectMeta, ObjectStore, PutOptions, Upload};
use crate::vault::cut::Part;
use crate::vault::settle::settle;
use crate::vault::stored::{StoredObject, object_key};

/// Parts of one item on their way at once.
const IN_FLIGHT: usize = 4;

/// A part, and with an object's last one the digest of the whole.
pub(crate) struct Hashed {
    part: Part,
    sha256: Option<Sha256>,
}

/// Hashes each object's parts in order.
pub(crate) async fn hash(
    mut parts: mpsc::Receiver<impl Future<Output = Result<Part>>>,
    out: mpsc::Sender<Hashed>,
    budget: Budget,
) -> Result<()> {
    let mut hasher = sha2::Sha256::new();
    while let Some(part) = parts.recv().await {
        let part = part.await?;
        let content = part.content.clone();
        hasher = budget
            .run(move || {
                hasher.update(&content);
                Ok(hasher)
            })
            .await?;
        let sha256 = part.last.then(|| Sha256(hasher.finalize_reset().into()));
        let sent = out.send(Hashed { part, sha256 }).await;
        sent.map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))?;
    }
    Ok(())
}

/// Sends an item's parts to the store.
pub(crate) struct Sender {
    store: Arc<dyn ObjectStore>,
    base: Key,
    options: PutOptions,
    /// What the object is known to be, where it is a copy.
    expected: Option<Sha256>,
    objects: Vec<StoredObject>,
    bytes: u64,
    parts: Vec<Blake3>,
    upload: Option<Box<dyn Upload>>,
}

impl Sender {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, base: Key, options: PutOptions) -> Self {
        Self { store, base, options, expected: None, objects: Vec::new(), bytes: 0, parts: Vec::new(), upload: None }
    }

    /// Sends one object and makes it visible only if it has this digest. Whether a create that failed was carried out is
    /// then for the caller to prove: the key is known to everybody.
    pub(crate) fn expecting(mut self, sha256: Sha256) -> Self {
        self.expected = Some(sha256);
        self
    }

    /// Sends all parts, until there are no more.
    pub(crate) async fn send_all(&mut self, mut parts: mpsc::Receiver<Hashed>) -> Result<()> {
        let mut in_flight: FuturesUnordered<BoxFuture<'static, Result<()>>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(arrived) = in_flight.next() => arrived?,
                next = parts.recv(), if in_flight.len() < IN_FLIGHT => match next {
                    Some(Hashed { part, sha256 }) => {
                        self.bytes += part.content.len() as u64;
                        self.parts.extend(part.blake3);
                        match sha256 {
                            None => {
                                let sending = self.send(part).await?;
                                in_flight.push(sending);
                            }
                            Some(sha256) => self.end_object(part, sha256, &mut in_flight).await?,
                        }
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// What was stored.
    pub(crate) fn into_objects(self) -> Vec<StoredObject> {
        self.objects
    }

    /// Frees what the store holds of an upload that will not be completed.
    pub(crate) async fn abort(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(key = %self.base, %error, "an upload could not be aborted; a sweep will find it");
        }
    }

    async fn end_object(
        &mut self,
        part: Part,
        sha256: Sha256,
        in_flight: &mut FuturesUnordered<BoxFuture<'static, Result<()>>>,
    ) -> Result<()> {
        let key = object_key(&self.base, self.objects.len())?;
        if self.expected.is_some_and(|expected| expected != sha256) {
            return Err(
                Error::new(ErrorKind::Corrupt, "the object's SHA-256 is not the one that was signed").with("key", key)
            );
        }
        if self.upload.is_none() {
            let bytes = part.content.len() as u64;
            let put = self.store.put(&key, part.content, &self.options.clone().with_sha256(sha256)).await;
            self.settled(&key, bytes, put).await?;
        } else {
            let sending = self.send(part).await?;
            in_flight.push(sending);
            while let Some(arrived) = in_flight.next().await {
                arrived?;
            }
            if let Some(upload) = self.upload.take() {
                self.settled(&key, self.bytes, upload.complete().await).await?;
            }
        }
        let (bytes, parts) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.parts));
        self.objects.push(StoredObject { key, bytes, sha256, parts });
        Ok(())
    }

    async fn settled(&mut self, key: &Key, bytes: u64, result: Result<ObjectMeta>) -> Result<()> {
        match self.expected {
            Some(_) => result.map(drop),
            None => settle(&*self.store, key, bytes, result).await.map(drop),
        }
    }

    /// Hands a part to the object's upload, which begins with its first one.
    async fn send(&mut self, part: Part) -> Result<BoxFuture<'static, Result<()>>> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let key = object_key(&self.base, self.objects.len())?;
                none.insert(self.store.upload(&key, &self.options).await?)
            }
        };
        let (sending, lease) = (upload.part(part.content), part.lease);
        Ok(Box::pin(async move {
            let sent = sending.await;
            drop(lease);
            sent
        }))
    }
}
