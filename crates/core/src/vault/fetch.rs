//! Fetches an item's stored parts and proves each before anything else sees it.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::budget::Budget;
use crate::buffer::{Buffer, Lane};
use crate::digest::{Blake3, Sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::store::ObjectStore;
use crate::task::Task;
use crate::vault::read::read_range;
use crate::vault::stored::{PART, StoredObject};

/// A part on its way.
pub(crate) type Fetching = Task<Result<Buffer>>;

/// An item as it is stored: its objects, joined.
#[derive(Debug)]
pub(crate) struct StoredItem {
    /// Where its parts may be, the first place first.
    places: Vec<Arc<dyn ObjectStore>>,
    objects: Vec<StoredObject>,
    bytes: u64,
}

impl StoredItem {
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if the description of the objects contradicts itself.
    pub(crate) fn new(places: Vec<Arc<dyn ObjectStore>>, objects: Vec<StoredObject>) -> Result<Self> {
        let Some((_, whole)) = objects.split_last() else {
            return Err(Error::new(ErrorKind::Corrupt, "no object is recorded for the item"));
        };
        objects.iter().try_for_each(StoredObject::check)?;
        if let Some(short) = whole.iter().find(|object| object.bytes % PART as u64 != 0) {
            return Err(Error::new(ErrorKind::Corrupt, "an object before the last ends within a part")
                .with("key", &short.key)
                .with("bytes", short.bytes));
        }
        let bytes = objects.iter().map(|object| object.bytes).sum();
        Ok(Self { places, objects, bytes })
    }

    /// Stored bytes of all objects.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds where in the store an error lies.
    pub(crate) fn place(&self, part: u64, error: Error) -> Error {
        match self.locate(part) {
            Some((object, index)) => error.with("key", &object.key).with("part", index).with("offset", index * PART),
            None => error.with("part", part),
        }
    }

    /// Fetches part `part`, counted through all objects, into an empty buffer: from the first place that has it intact.
    ///
    /// # Errors
    /// Those of the first place: [`Corrupt`](ErrorKind::Corrupt) if it is not what was stored,
    /// [`NotFound`](ErrorKind::NotFound) if its object is gone.
    pub(crate) async fn fetch(&self, part: u64, buffer: Buffer, budget: &Budget) -> Result<Buffer> {
        let fetched = self.fetch_unplaced(part, buffer, budget).await;
        fetched.map_err(|error| self.place(part, error.operation("read a stored part")))
    }

    async fn fetch_unplaced(&self, part: u64, mut buffer: Buffer, budget: &Budget) -> Result<Buffer> {
        let (object, index) = self.locate(part).ok_or_else(|| corrupt("there is no such part"))?;
        let recorded = object.parts[index];
        let mut first = None;
        for place in &self.places {
            let error = match read_part(&**place, object, index, &mut buffer).await {
                Ok(()) => {
                    let prove = move || Ok((Blake3::of(&buffer) == recorded, buffer));
                    let proved;
                    (proved, buffer) = budget.run(prove).await?;
                    if proved {
                        if let Some(error) = first {
                            tracing::warn!(key = %object.key, part = index, %place, %error, "a part was read in another place");
                        }
                        return Ok(buffer);
                    }
                    corrupt("the bytes were changed")
                }
                Err(error) => error,
            };
            first.get_or_insert(error);
        }
        Err(first.unwrap_or_else(|| corrupt("the item is nowhere")))
    }

    /// How many parts all objects have together.
    pub(crate) fn parts(&self) -> u64 {
        self.objects.iter().map(|object| object.parts.len() as u64).sum()
    }

    /// The SHA-256 that was signed for the object that this part ends, if it ends one.
    pub(crate) fn signed_at_end(&self, part: u64) -> Option<Sha256> {
        self.locate(part).filter(|(object, index)| index + 1 == object.parts.len()).map(|(object, _)| object.sha256)
    }

    /// The object that holds a part, and the part's index there.
    fn locate(&self, part: u64) -> Option<(&StoredObject, usize)> {
        let mut part = usize::try_from(part).ok()?;
        for object in &self.objects {
            if part < object.parts.len() {
                return Some((object, part));
            }
            part -= object.parts.len();
        }
        None
    }
}

async fn read_part(store: &dyn ObjectStore, object: &StoredObject, index: usize, buffer: &mut Buffer) -> Result<()> {
    let start = (index * PART) as u64;
    let end = object.bytes.min(start + PART as u64);
    read_range(store, &object.key, object.bytes, start..end, buffer).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.advise("a stored object is missing; restore from a copy if there is one"),
        _ => error,
    })
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}

/// Fetches `parts` in order, several at a time, to `out`. `first` is the first of them if it is there already.
pub(crate) async fn fetch_all(
    item: Arc<StoredItem>,
    parts: Range<u64>,
    mut first: Option<Buffer>,
    lane: Lane,
    budget: Budget,
    out: mpsc::Sender<Fetching>,
) -> Result<()> {
    for part in parts {
        let fetching = match first.take() {
            Some(first) => Task::spawn(async { Ok(first) }),
            None => {
                let (item, budget) = (Arc::clone(&item), budget.clone());
                let buffer = lane.buffer().await?;
                Task::spawn(async move { item.fetch(part, buffer, &budget).await })
            }
        };
        out.send(fetching).await.map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))?;
    }
    Ok(())
}

/// Parts that wait between two steps. One more waits on each side: enough to hide a store's latency, and the steps after
/// this one find room in the budget too.
pub(crate) const WAITING: usize = 1;
