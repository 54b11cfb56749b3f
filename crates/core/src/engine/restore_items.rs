//! Items on their way to the importer of a restore: how far it has read them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;

use crate::engine::drill_report::DrillPart;
use crate::error::Result;
use crate::event::{Event, Observers};
use crate::name::PointId;
use crate::source::{ItemInfo, ItemSource};
use crate::store::{BoxStream, ByteStream};
use crate::vault::items::PointItems;

/// Items that tell how far the importer has read.
pub(super) struct ObservedItems {
    pub(super) inner: PointItems,
    pub(super) point: PointId,
    pub(super) observers: Observers,
    read: ReadBytes,
}

/// Plain bytes that were read, each once: an importer may read all of an item to prove it, and then again to restore it.
#[derive(Clone, Default)]
pub(crate) struct ReadBytes(Arc<Mutex<Marks>>);

#[derive(Default)]
struct Marks {
    bytes: u64,
    /// How far each item was read at most.
    furthest: HashMap<String, u64>,
}

impl ReadBytes {
    pub(crate) fn bytes(&self) -> u64 {
        self.marks().bytes
    }

    /// Counts what of this range of an item lies beyond all that was read of it, and gives the new sum.
    fn add(&self, item: &str, range: Range<u64>) -> u64 {
        let mut marks = self.marks();
        let furthest = marks.furthest.entry(item.to_owned()).or_default();
        let new = range.end.saturating_sub(range.start.max(*furthest));
        *furthest = range.end.max(*furthest);
        marks.bytes += new;
        marks.bytes
    }

    /// Whether it was read to its end; one without content if it was opened.
    fn has_whole(&self, item: &ItemInfo) -> bool {
        self.marks().furthest.get(&item.name).is_some_and(|furthest| *furthest >= item.bytes)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObservedItems {
    pub(super) fn new(inner: PointItems, point: PointId, observers: Observers) -> Self {
        Self { inner, point, observers, read: ReadBytes::default() }
    }

    /// Counts from here on, and tells these.
    pub(super) fn begin(&mut self, observers: Observers) {
        *self.read.marks() = Marks::default();
        self.observers = observers;
    }

    pub(super) fn read(&self) -> ReadBytes {
        self.read.clone()
    }

    /// Which part of the items the importer has read to their ends; none if it is all of them.
    pub(super) async fn part(&self) -> Result<Option<DrillPart>> {
        let mut part = DrillPart { restored: 0, of: 0 };
        let mut listed = self.inner.list();
        while let Some(item) = listed.next().await.transpose()? {
            part.of += 1;
            part.restored += u64::from(self.read.has_whole(&item));
        }
        Ok((part.restored < part.of).then_some(part))
    }

    fn watch(&self, item: &ItemInfo, start: u64, content: ByteStream) -> ByteStream {
        let (point, observers, read) = (self.point.clone(), self.observers.clone(), self.read.clone());
        let (name, mut at) = (item.name.clone(), start);
        read.add(&name, start..start);
        Box::pin(content.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                let end = at + chunk.len() as u64;
                let bytes = read.add(&name, at..end);
                at = end;
                observers.emit(&Event::RestoreProgress { point: point.clone(), bytes });
            }
        }))
    }
}

#[async_trait]
impl ItemSource for ObservedItems {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        self.inner.list()
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        self.inner.open(item).await.map(|content| self.watch(item, 0, content))
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        let start = range.start;
        self.inner.open_range(item, range).await.map(|content| self.watch(item, start, content))
    }

    async fn prove(&self, item: &ItemInfo) -> Result<()> {
        self.inner.prove(item).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_again_is_not_counted_again() {
        let read = ReadBytes::default();
        for (item, range, sum) in
            [("a", 0..10, 10), ("a", 0..4, 10), ("a", 4..12, 12), ("b", 5..7, 14), ("a", 20..21, 15), ("a", 12..20, 15)]
        {
            assert_eq!(read.add(item, range), sum, "{item}");
        }
    }
}
