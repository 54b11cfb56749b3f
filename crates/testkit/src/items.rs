//! Items in memory: where an exporter writes them and an importer finds them again, without a vault.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backstay_core::source::{Facts, ItemInfo, ItemSink, ItemSource, ItemSpec, ItemWriter, Problem};
use backstay_core::store::{BoxStream, ByteStream};
use backstay_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::stream;

/// A component's items in memory: an [`ItemSink`] to export into and an [`ItemSource`] to import from.
///
/// ```
/// use backstay_core::source::{Facts, ItemSink, ItemSpec};
/// use backstay_testkit::items::Items;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let items = Items::new("config", "demo");
/// let mut item = items.item(ItemSpec::new("settings", "toml")).await?;
/// item.write("a = 1".into()).await?;
/// item.finish(Facts::new()).await?;
/// assert_eq!(items.content("settings").unwrap(), "a = 1");
/// assert!(items.unfinished().is_empty());
/// # Ok::<(), backstay_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Items {
    component: String,
    kind: String,
    state: Arc<Mutex<State>>,
    chunk: usize,
    cut: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    opened: Vec<String>,
    finished: Vec<(ItemInfo, Bytes)>,
    abandoned: Vec<(String, Problem)>,
}

impl Items {
    /// None yet, of a component of this name and kind.
    #[must_use]
    pub fn new(component: &str, kind: &str) -> Self {
        let [component, kind] = [component, kind].map(str::to_owned);
        Self { component, kind, state: Arc::default(), chunk: 64 << 10, cut: None }
    }

    /// Adds a finished item.
    pub fn add(&self, name: &str, format: &str, content: impl Into<Bytes>) {
        self.put(ItemSpec::new(name, format), content.into(), Facts::new());
    }

    /// Content is read in chunks of this many bytes. Default: 64 KiB.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk = bytes.max(1);
        self
    }

    /// Reading an item fails as [`Unavailable`](ErrorKind::Unavailable) after this many bytes.
    #[must_use]
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// A finished item's content.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Bytes> {
        self.state().finished.iter().find(|(info, _)| info.name == name).map(|(_, content)| content.clone())
    }

    /// The finished items.
    #[must_use]
    pub fn infos(&self) -> Vec<ItemInfo> {
        self.state().finished.iter().map(|(info, _)| info.clone()).collect()
    }

    /// Names of items that were abandoned, and why.
    #[must_use]
    pub fn abandoned(&self) -> Vec<(String, Problem)> {
        self.state().abandoned.clone()
    }

    /// Names of items that were opened, and neither finished nor abandoned.
    #[must_use]
    pub fn unfinished(&self) -> Vec<String> {
        let state = self.state();
        let done = |name: &String| {
            state.finished.iter().any(|(info, _)| info.name == *name) || state.abandoned.iter().any(|(n, _)| n == name)
        };
        state.opened.iter().filter(|name| !done(name)).cloned().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, spec: ItemSpec, content: Bytes, facts: Facts) {
        let info = ItemInfo::new(&self.component, &self.kind, &spec.name, &spec.format, content.len() as u64);
        self.state().finished.push((info.with_facts(facts), content));
    }

    fn read(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        let content = self.content(&item.name);
        let content =
            content.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such item").with("item", &item.name))?;
        let length = content.len() as u64;
        if range.start > range.end || range.end > length {
            return Err(Error::new(ErrorKind::Invalid, "the range lies beyond the end").with("item", &item.name));
        }
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let whole = content.slice(place(range.start)..place(range.end));
        let mut content = whole.clone();
        let cut = self.cut.map(place).filter(|cut| *cut < whole.len());
        if let Some(cut) = cut {
            content.truncate(cut);
        }
        let mut chunks: Vec<Result<Bytes>> = Vec::new();
        while !content.is_empty() {
            let length = content.len().min(self.chunk);
            chunks.push(Ok(content.split_to(length)));
        }
        if cut.is_some() {
            chunks.push(Err(Error::new(ErrorKind::Unavailable, "cut off, as asked for").with("item", &item.name)));
        }
        Ok(Box::pin(stream::iter(chunks)))
    }
}

#[async_trait]
impl ItemSink for Items {
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        let mut state = self.state();
        if state.opened.contains(&spec.name) {
            return Err(Error::new(ErrorKind::Invalid, "this name was used before").with("item", spec.name));
        }
        state.opened.push(spec.name.clone());
        Ok(Box::new(Writer { items: self.clone(), spec, content: Vec::new() }))
    }
}

#[async_trait]
impl ItemSource for Items {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        Box::pin(stream::iter(self.infos().into_iter().map(Ok)))
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        let length = self.content(&item.name).map_or(0, |content| content.len() as u64);
        self.read(item, 0..length)
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        self.read(item, range)
    }
}

struct Writer {
    items: Items,
    spec: ItemSpec,
    content: Vec<u8>,
}

#[async_trait]
impl ItemWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.content.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>, facts: Facts) -> Result<()> {
        self.items.put(self.spec, self.content.into(), facts);
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.content.clear();
        Ok(())
    }

    async fn abandon(self: Box<Self>, problem: Problem) {
        self.items.state().abandoned.push((self.spec.name, problem));
    }
}
