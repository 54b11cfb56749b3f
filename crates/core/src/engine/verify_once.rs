//! One reading of a point for all depths: an item that goes through it whole is proved as it is stored, as it decodes, and, if
//! its importer is the one who reads, as its format. What does not is left to the depths, each of which says what is wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;

use crate::digest::Blake3;
use crate::engine::verify::{VerifyRequest, drain, is_damage, restorable};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::source::{CheckReport, ItemInfo, ItemSource};
use crate::store::{BoxStream, ByteStream, Key};
use crate::vault::details::ItemLine;
use crate::vault::items::PointItems;
use crate::vault::points::Point;

/// What one reading came to.
#[derive(Default)]
pub(super) struct ReadOnce {
    pub(super) whole: Whole,
    /// What the importers answered.
    pub(super) checked: BTreeMap<Name, Result<CheckReport>>,
}

/// The objects of items that were read to their end, each with the digest of the line by which it was read: two lines may
/// name the same object and tell different things of it.
#[derive(Clone, Default)]
pub(super) struct Whole(Arc<Mutex<BTreeMap<Key, Blake3>>>);

impl Whole {
    pub(super) fn has(&self, key: &Key) -> bool {
        self.objects().contains_key(key)
    }

    pub(super) fn has_item(&self, line: &ItemLine) -> Result<bool> {
        let (digest, objects) = (digest_of(line)?, self.objects());
        let read = |key| objects.get(key).is_some_and(|by| *by == digest);
        Ok(!line.objects.is_empty() && line.objects.iter().all(|object| read(&object.key)))
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Blake3>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VerifyRequest {
    /// Has the importers read what they are given for, and reads the rest. Errors are no findings yet: after what says
    /// nothing about the point no more is read.
    pub(super) async fn read_once(&self, point: &Point) -> ReadOnce {
        let mut once = ReadOnce::default();
        for component in restorable(point) {
            if let Err(error) = self.read_component(point, &component.name, &mut once).await {
                tracing::debug!(%error, "a point was not read to its end");
                break;
            }
        }
        once
    }

    async fn read_component(&self, point: &Point, component: &Name, once: &mut ReadOnce) -> Result<()> {
        let items = NotedItems {
            request: self,
            point,
            items: PointItems::new(&self.vault, point, component)?,
            whole: once.whole.clone(),
        };
        if let Some(importer) = self.importers.get(component.as_str()) {
            once.checked.insert(component.clone(), importer.check(&items).await);
        }
        let mut lines = items.items.lines();
        while let Some(line) = lines.next().await {
            let line = line?;
            if once.whole.has_item(&line)? {
                continue;
            }
            match drain(items.open_line(line).await).await {
                Err(error) if !is_damage(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Items that note which of them were read to their end, where all of them is proved.
struct NotedItems<'a> {
    request: &'a VerifyRequest,
    point: &'a Point,
    items: PointItems,
    whole: Whole,
}

impl NotedItems<'_> {
    async fn open_line(&self, line: ItemLine) -> Result<ByteStream> {
        let content = self.items.open_line_proving_objects(&line).await?;
        let (whole, digest) = (self.whole.clone(), digest_of(&line)?);
        let tell = self.request.told(self.point, line.component.as_str(), &line.name, line.bytes);
        let end = move || {
            whole.objects().extend(line.objects.into_iter().map(|object| (object.key, digest)));
            tell();
        };
        // An error ends it: what follows one is no end.
        Ok(Box::pin(try_unfold((content, end), |(mut content, end)| async move {
            match content.next().await {
                Some(chunk) => Ok(Some((chunk?, (content, end)))),
                None => {
                    end();
                    Ok(None)
                }
            }
        })))
    }
}

#[async_trait]
impl ItemSource for NotedItems<'_> {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        self.items.list()
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        self.open_line(self.items.find(item).await?).await
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        self.items.open_range(item, range).await
    }
}

fn digest_of(line: &ItemLine) -> Result<Blake3> {
    let json = serde_json::to_vec(line);
    json.map(|json| Blake3::of(&json))
        .map_err(|error| Error::new(ErrorKind::Other, "a line of details cannot be written as JSON").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Facts;
    use crate::vault::details::StoredParts;

    #[test]
    fn an_item_counts_only_by_the_very_line_that_was_read() {
        let stored = |key: &str| StoredParts { key: key.parse().unwrap(), parts: vec![Blake3::of(b"x")] };
        let read = ItemLine {
            component: "db".parse().unwrap(),
            name: "rows".into(),
            format: "mock".into(),
            bytes: 1,
            blake3: Blake3::of(b"x"),
            facts: Facts::new(),
            objects: vec![stored("items/a")],
        };
        let whole = Whole::default();
        whole.objects().insert(read.objects[0].key.clone(), digest_of(&read).unwrap());
        assert!(whole.has(&read.objects[0].key) && whole.has_item(&read).unwrap());
        for (what, other) in [
            ("of another length", ItemLine { bytes: 2, ..read.clone() }),
            ("of no object", ItemLine { objects: Vec::new(), ..read.clone() }),
            ("of one object more", ItemLine { objects: vec![stored("items/a"), stored("items/b")], ..read.clone() }),
        ] {
            assert!(!whole.has_item(&other).unwrap(), "{what}");
        }
    }
}
