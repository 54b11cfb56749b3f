//! Where an exporter's items go: each through an encoder of its own into the vault.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId, Tag};
use crate::source::{Facts, ItemSink, ItemSpec, ItemWriter, Problem};
use crate::store::PutOptions;
use crate::tier::Tier;
use crate::vault::details::{ItemLine, StoredParts};
use crate::vault::encode::Encoder;
use crate::vault::handle::Vault;
use crate::vault::layout;
use crate::vault::stored::StoredObject;

/// How often an item tells how far it is.
const PROGRESS_STEP: u64 = 8 << 20;

/// What all components of a run write through.
#[derive(Debug)]
pub(crate) struct RunSink {
    pub(crate) vault: Vault,
    pub(crate) point: PointId,
    pub(crate) attempt: Tag,
    pub(crate) observers: Observers,
    tier: Tier,
    next_item: AtomicU32,
}

impl RunSink {
    pub(crate) fn new(vault: Vault, point: PointId, attempt: Tag, observers: Observers, tier: Tier) -> Self {
        Self { vault, point, attempt, observers, tier, next_item: AtomicU32::new(0) }
    }

    /// How what belongs to the point is put: locked from then on as the tier says. The manifest comes last, so no lock of
    /// the point ends after its manifest's.
    pub(crate) fn put_options(&self) -> Result<PutOptions> {
        Ok(PutOptions { lock: self.tier.lock_from(self.vault.store_time())?, ..PutOptions::default() })
    }
}

/// One component's items.
#[derive(Clone, Debug)]
pub(crate) struct ComponentSink(Arc<State>);

#[derive(Debug)]
struct State {
    run: Arc<RunSink>,
    component: Name,
    items: std::sync::Mutex<Items>,
}

#[derive(Debug, Default)]
struct Items {
    names: HashSet<String>,
    open: Vec<(String, OpenItem)>,
    done: Vec<FinishedItem>,
    abandoned: Vec<Problem>,
}

/// An encoder that the writer and the clean-up share; none once it is finished.
type OpenItem = Arc<Mutex<Option<Encoder>>>;

/// An item that is whole and stored.
#[derive(Debug)]
pub(crate) struct FinishedItem {
    pub(crate) line: ItemLine,
    pub(crate) objects: Vec<StoredObject>,
}

impl ComponentSink {
    pub(crate) fn new(run: Arc<RunSink>, component: Name) -> Self {
        Self(Arc::new(State { run, component, items: std::sync::Mutex::default() }))
    }

    /// Ends what is still open and gives what was finished, and what became of the items that were abandoned. An item that
    /// was opened and never ended makes this an error: the exporter may have lost it.
    pub(crate) async fn close(&self) -> (Result<Vec<FinishedItem>>, Vec<Problem>) {
        let items = std::mem::take(&mut *self.items());
        let unfinished = items.open.first().map(|(name, _)| name.clone());
        for (_, open) in items.open {
            if let Some(encoder) = open.lock().await.take() {
                encoder.abort().await;
            }
        }
        let done = match unfinished {
            None => Ok(items.done),
            Some(item) => Err(Error::new(ErrorKind::Other, "the exporter left an item unfinished").with("item", item)),
        };
        (done, items.abandoned)
    }

    /// An encoder for the component's next item, under a key that nothing was written to yet.
    async fn encoder(&self, spec: &ItemSpec) -> Result<Encoder> {
        let run = &self.0.run;
        let number = run.next_item.fetch_add(1, Ordering::Relaxed);
        let key = layout::item(&run.point, &run.attempt, number, &self.0.component, run.vault.wrapping()?)?;
        run.vault.encoder(key, run.put_options()?, spec.size_hint).await
    }

    fn items(&self) -> std::sync::MutexGuard<'_, Items> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ItemSink for ComponentSink {
    async fn item(&self, spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        if !self.items().names.insert(spec.name.clone()) {
            return Err(Error::new(ErrorKind::Invalid, "the component has an item of this name already")
                .with("item", spec.name));
        }
        let encoder = Arc::new(Mutex::new(Some(self.encoder(&spec).await?)));
        self.items().open.push((spec.name.clone(), encoder.clone()));
        Ok(Box::new(Writer { sink: self.clone(), spec, encoder, bytes: 0, told: 0 }))
    }
}

struct Writer {
    sink: ComponentSink,
    spec: ItemSpec,
    encoder: OpenItem,
    bytes: u64,
    told: u64,
}

impl Writer {
    fn given_up(&self) -> Error {
        Error::new(ErrorKind::Cancelled, "the item was given up").with("item", &self.spec.name)
    }
}

#[async_trait]
impl ItemWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        let mut place = self.encoder.lock().await;
        // Out of its place meanwhile: a call that is dropped in the middle may have lost bytes, so the item goes with it.
        let mut encoder = place.take().ok_or_else(|| self.given_up())?;
        encoder.write(data).await?;
        *place = Some(encoder);
        drop(place);
        self.bytes += length;
        if self.bytes - self.told >= PROGRESS_STEP {
            self.told = self.bytes;
            let (component, item) = (self.sink.0.component.clone(), self.spec.name.clone());
            self.sink.0.run.observers.emit(&Event::ItemProgress { component, item, bytes: self.bytes });
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, facts: Facts) -> Result<()> {
        let encoder = self.encoder.lock().await.take().ok_or_else(|| self.given_up())?;
        let encoded = encoder.finish().await?;
        let State { run, component, .. } = &*self.sink.0;
        let line = ItemLine {
            component: component.clone(),
            name: self.spec.name.clone(),
            format: self.spec.format.clone(),
            bytes: encoded.bytes,
            blake3: encoded.blake3,
            facts,
            objects: encoded
                .objects
                .iter()
                .map(|o| StoredParts { key: o.key.clone(), parts: o.parts.clone() })
                .collect(),
        };
        let stored = encoded.objects.iter().map(|object| object.bytes).sum();
        let mut items = self.sink.items();
        items.open.retain(|(name, _)| *name != self.spec.name);
        items.done.push(FinishedItem { line, objects: encoded.objects });
        drop(items);
        run.observers.emit(&Event::ItemDone {
            component: component.clone(),
            item: self.spec.name.clone(),
            bytes: encoded.bytes,
            stored,
        });
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        let mut place = self.encoder.lock().await;
        // Given back to the budget first: an item that kept it while it waits for more could wait for ever.
        place.take().ok_or_else(|| self.given_up())?.abort().await;
        *place = Some(self.sink.encoder(&self.spec).await?);
        drop(place);
        (self.bytes, self.told) = (0, 0);
        Ok(())
    }

    async fn abandon(self: Box<Self>, problem: Problem) {
        let encoder = self.encoder.lock().await.take();
        {
            let mut items = self.sink.items();
            items.open.retain(|(name, _)| *name != self.spec.name);
            items.abandoned.push(problem);
        }
        if let Some(encoder) = encoder {
            encoder.abort().await;
        }
    }
}
