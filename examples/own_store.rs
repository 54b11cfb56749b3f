//! A store of one's own, and the published suite that says whether a vault can rest on it.
//! This one keeps everything in a map; in its place could stand any service that has create-if-absent.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock, SystemRandom};
use backstay_core::store::*;
use backstay_core::{Error, ErrorKind, Result, Sha256, Tag};
use backstay_testkit::conformance;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::stream;
use jiff::Timestamp;

#[derive(Clone, Debug, Default)]
struct Shelf(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    objects: BTreeMap<String, (ObjectMeta, Bytes)>,
    uploads: BTreeMap<String, UploadRef>,
}

impl Shelf {
    fn with<T>(&self, act: impl FnOnce(&mut Content) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ObjectStore for Shelf {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn put(&self, key: &Key, data: Bytes, options: &PutOptions) -> Result<ObjectMeta> {
        options.check(&data)?;
        self.with(|content| {
            if options.mode == PutMode::Create && content.objects.contains_key(key.as_str()) {
                return Err(Error::new(ErrorKind::AlreadyExists, "the key is taken").with("key", key));
            }
            let meta = ObjectMeta::new(key.clone(), data.len() as u64, SystemClock.now());
            let meta = meta.with_etag(Sha256::of(&data).to_string());
            content.objects.insert(key.to_string(), (meta.clone(), data));
            Ok(meta)
        })
    }

    async fn upload(&self, key: &Key, options: &PutOptions) -> Result<Box<dyn Upload>> {
        let upload = UploadRef::new(key.clone(), Tag::new(&SystemRandom).as_str(), SystemClock.now());
        self.with(|content| content.uploads.insert(upload.id.clone(), upload.clone()));
        Ok(Box::new(Parts { shelf: self.clone(), upload, options: options.clone(), data: Vec::new() }))
    }

    fn uploads(&self, prefix: &Prefix) -> BoxStream<'static, Result<UploadRef>> {
        let mut all: Vec<_> = self.with(|content| content.uploads.values().cloned().collect());
        all.retain(|upload| prefix.contains(&upload.key));
        Box::pin(stream::iter(all.into_iter().map(Ok)))
    }

    async fn abort_upload(&self, upload: &UploadRef) -> Result<()> {
        self.with(|content| content.uploads.remove(&upload.id));
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(SystemClock.now())
    }

    async fn get(&self, key: &Key, options: &GetOptions) -> Result<GetOutcome> {
        let found = self.with(|content| content.objects.get(key.as_str()).cloned());
        let (meta, data) = found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such object").with("key", key))?;
        let range = options.bytes_of(&meta)?;
        let body = data.slice(range.start as usize..range.end as usize);
        Ok(GetOutcome { meta, range, body: Box::pin(stream::iter([Ok(body)])) })
    }

    async fn head(&self, key: &Key, _options: &HeadOptions) -> Result<ObjectMeta> {
        Ok(self.get(key, &GetOptions::default()).await?.meta)
    }

    /// One step per line: a listing holds nothing but its place.
    fn list(&self, prefix: &Prefix, options: &ListOptions) -> BoxStream<'static, Result<ListEntry>> {
        let (shelf, prefix, folders) = (self.clone(), prefix.to_string(), options.folders);
        let start = Excluded(options.start_after.clone().unwrap_or_default());
        Box::pin(stream::unfold(start, move |place| {
            let line = shelf.with(|content| {
                let mut later = content.objects.range((place, Unbounded));
                later.find(|(key, _)| key.starts_with(&prefix)).map(|(key, (meta, _))| (key.clone(), meta.clone()))
            });
            std::future::ready(line.map(|(key, meta)| match key[prefix.len()..].find('/').filter(|_| folders) {
                None => (Ok(ListEntry::Object(meta)), Excluded(key)),
                Some(slash) => {
                    let (folder, _) = key.split_at(prefix.len() + slash);
                    // `0` is the byte after `/`.
                    (Prefix::new(format!("{folder}/")).map(ListEntry::Folder), Included(format!("{folder}0")))
                }
            }))
        }))
    }

    async fn delete(&self, what: &[ObjectRef]) -> Result<Vec<DeleteOutcome>> {
        self.with(|content| what.iter().for_each(|object| drop(content.objects.remove(object.key.as_str()))));
        Ok(what.iter().map(|object| DeleteOutcome::new(object.clone(), Ok(()))).collect())
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf")
    }
}

#[derive(Debug)]
struct Parts {
    shelf: Shelf,
    upload: UploadRef,
    options: PutOptions,
    data: Vec<u8>,
}

#[async_trait]
impl Upload for Parts {
    fn part(&mut self, data: Bytes) -> BoxFuture<'static, Result<()>> {
        self.data.extend_from_slice(&data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(self: Box<Self>) -> Result<ObjectMeta> {
        self.shelf.abort_upload(&self.upload).await?;
        self.shelf.put(&self.upload.key, self.data.into(), &self.options).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.shelf.abort_upload(&self.upload).await
    }
}

#[tokio::main]
async fn main() {
    let report = conformance::store::run(|_case| Ok(Arc::new(Shelf::default()))).await;
    println!("{report}");
    report.assert();
}
