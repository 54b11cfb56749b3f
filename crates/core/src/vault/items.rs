//! A point's items as an importer reads them: names from the details, content proved before it is seen.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::StreamExt;

use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::source::{ItemInfo, ItemSource};
use crate::store::{BoxStream, ByteStream};
use crate::vault::Epoch;
use crate::vault::decode::ItemReader;
use crate::vault::details::{DetailLine, ItemLine};
use crate::vault::handle::Vault;
use crate::vault::manifest::DetailsRef;
use crate::vault::manifest::{Component, Manifest, Outcome};
use crate::vault::points::Point;
use crate::vault::stored::StoredObject;

/// Longest line of details. An item of 1 TiB takes 9 MB.
const MAX_LINE_BYTES: usize = 256 << 20;

/// How many lines of details are kept after a search, and how many digests in them.
const WINDOW: usize = 1024;
const WINDOW_DIGESTS: usize = 32 << 10;

/// The items of one component of a point.
#[derive(Clone, Debug)]
pub(crate) struct PointItems {
    vault: Vault,
    point: Point,
    component: Component,
    /// The line that was searched last and those after it: items are mostly opened in order, and without them each opening
    /// would read the details from their beginning.
    window: Arc<Mutex<HashMap<String, ItemLine>>>,
}

impl PointItems {
    /// The component's items.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the point has no such component or nothing of it.
    pub(crate) fn new(vault: &Vault, point: &Point, component: &Name) -> Result<Self> {
        let missing = |text: String, advice: String| {
            Error::new(ErrorKind::NotFound, text).with("point", &point.id).with("component", component).advise(advice)
        };
        let names = || point.manifest.components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = point
            .manifest
            .component(component)
            .ok_or_else(|| missing("the point has no such component".into(), format!("it has: {}", names())))?;
        if found.outcome == Outcome::Failed {
            return Err(missing(
                "the component failed in this point".into(),
                "`points().latest(component)` finds one that has it".into(),
            ));
        }
        let window = Arc::default();
        Ok(Self { vault: vault.clone(), point: point.clone(), component: found.clone(), window })
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    fn reader(&self, line: &ItemLine) -> Result<ItemReader> {
        let objects = line.objects.iter().map(|stored| {
            let entry = self.component.objects.iter().find(|entry| entry.key == stored.key).ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "the details name an object that the manifest does not")
                    .with("key", &stored.key)
            })?;
            Ok(StoredObject {
                key: entry.key.clone(),
                bytes: entry.bytes,
                sha256: entry.sha256,
                parts: stored.parts.clone(),
            })
        });
        let recorded = (line.bytes, Some(line.blake3));
        reader(&self.vault, self.point.manifest.epoch.as_ref(), &line.name, objects.collect::<Result<_>>()?, recorded)
    }

    pub(crate) async fn find(&self, item: &ItemInfo) -> Result<ItemLine> {
        if let Some(line) = self.window().get(&item.name) {
            return Ok(line.clone());
        }
        let (mut window, mut digests) = (HashMap::new(), 0);
        let mut lines = self.lines();
        while let Some(line) = lines.next().await {
            let line = line?;
            if window.is_empty() && line.name != item.name {
                continue;
            }
            digests += line.objects.iter().map(|object| object.parts.len()).sum::<usize>();
            window.insert(line.name.clone(), line);
            if window.len() == WINDOW || digests > WINDOW_DIGESTS {
                break;
            }
        }
        if let Some(line) = window.get(&item.name).cloned() {
            *self.window() = window;
            return Ok(line);
        }
        Err(Error::new(ErrorKind::NotFound, "the component has no such item")
            .with("point", &self.point.id)
            .with("component", &self.component.name)
            .with("item", &item.name))
    }

    fn window(&self) -> MutexGuard<'_, HashMap<String, ItemLine>> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The component's items as the details tell them.
    pub(crate) fn lines(&self) -> BoxStream<'_, Result<ItemLine>> {
        Box::pin(details(&self.vault, &self.point.manifest).filter_map(|line| async {
            match line {
                Ok(DetailLine::Item(item)) if item.component == self.component.name => Some(Ok(item)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            }
        }))
    }

    /// Opens an item that was read from [`lines`](Self::lines).
    pub(crate) async fn open_line(&self, line: &ItemLine) -> Result<ByteStream> {
        self.unlock().await?;
        self.stream(self.reader(line)?).await
    }

    /// The same, and proves each of its objects as a whole on the way.
    pub(crate) async fn open_line_proving_objects(&self, line: &ItemLine) -> Result<ByteStream> {
        self.unlock().await?;
        self.stream(self.reader(line)?.proving_objects()).await
    }

    async fn stream(&self, reader: ItemReader) -> Result<ByteStream> {
        let named = self.named();
        let stream = reader.stream().await.map_err(&named)?;
        Ok(Box::pin(stream.map(move |chunk| chunk.map_err(&named))))
    }

    /// Adds to an error whose item it is.
    fn named(&self) -> impl Fn(Error) -> Error + Send + use<> {
        let (point, component) = (self.point.id.clone(), self.component.name.clone());
        move |error| error.with("component", &component).with("point", &point)
    }

    async fn unlock(&self) -> Result<()> {
        self.vault.unlock(self.point.manifest.epoch.as_ref()).await.map(drop)
    }
}

#[async_trait]
impl ItemSource for PointItems {
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>> {
        let kind = &self.component.kind;
        Box::pin(self.lines().map(move |line| {
            line.map(|line| {
                ItemInfo::new(line.component.as_str(), kind, &line.name, &line.format, line.bytes)
                    .with_digest(line.blake3)
                    .with_facts(line.facts)
            })
        }))
    }

    async fn open(&self, item: &ItemInfo) -> Result<ByteStream> {
        let line = self.find(item).await?;
        self.open_line(&line).await
    }

    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream> {
        let line = self.find(item).await?;
        self.unlock().await?;
        self.reader(&line)?.range(range).await
    }

    async fn prove(&self, item: &ItemInfo) -> Result<()> {
        let line = self.find(item).await?;
        self.unlock().await?;
        self.reader(&line)?.prove_parts().await.map_err(self.named())
    }
}

fn reader(
    vault: &Vault,
    epoch: Option<&Epoch>,
    name: &str,
    objects: Vec<StoredObject>,
    recorded: (u64, Option<Blake3>),
) -> Result<ItemReader> {
    let identity = match epoch {
        None => None,
        Some(epoch) => {
            Some(vault.known_epoch(epoch).ok_or_else(|| Error::new(ErrorKind::Denied, "the epoch is not unlocked"))?)
        }
    };
    ItemReader::new(name, vault.places(), objects, identity, recorded, vault.budget())
}

/// The lines of a point's details, in order.
pub(crate) fn details<'a>(vault: &'a Vault, manifest: &'a Manifest) -> BoxStream<'a, Result<DetailLine>> {
    let Some(details) = &manifest.details else {
        let error = Error::new(ErrorKind::Corrupt, "the manifest names no details").with("point", manifest.point());
        return Box::pin(futures_util::stream::iter([Err(error)]));
    };
    Box::pin(lines(vault, manifest.epoch.as_ref(), details).map(|line| DetailLine::parse(&line?)))
}

/// The lines of a document that is sealed as items are, in order.
pub(crate) fn lines<'a>(
    vault: &'a Vault,
    epoch: Option<&'a Epoch>,
    document: &'a DetailsRef,
) -> BoxStream<'a, Result<BytesMut>> {
    let lines = async move {
        vault.unlock(epoch).await?;
        let object = StoredObject {
            key: document.key.clone(),
            bytes: document.bytes,
            sha256: document.sha256,
            parts: document.parts.clone(),
        };
        let recorded = (document.plain_bytes, None);
        Ok(split_lines(reader(vault, epoch, "details", vec![object], recorded)?.stream().await?))
    };
    Box::pin(futures_util::stream::once(lines).flat_map(|opened| match opened {
        Ok(lines) => lines,
        Err(error) => Box::pin(futures_util::stream::iter([Err(error)])),
    }))
}

fn split_lines(body: ByteStream) -> BoxStream<'static, Result<BytesMut>> {
    let state = (body, BytesMut::new());
    Box::pin(futures_util::stream::try_unfold(state, |(mut body, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end + 1);
                return Ok(Some((line, (body, buffer))));
            }
            if buffer.len() > MAX_LINE_BYTES {
                return Err(Error::new(ErrorKind::Corrupt, "a line of the details has no end"));
            }
            match body.next().await {
                Some(chunk) => buffer.extend_from_slice(&chunk?),
                None if buffer.is_empty() => return Ok(None),
                None => return Err(Error::new(ErrorKind::Corrupt, "the details end in the middle of a line")),
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Blake3, Sha256};
    use crate::store::MemoryStore;
    use crate::vault::details::StoredParts;
    use crate::vault::{Keyring, Status};

    #[tokio::test]
    async fn lines_may_arrive_in_pieces_but_not_end_in_the_middle() {
        let line = b"{\"component\":{\"name\":\"db\"}}\n";
        let split = |bytes: &[u8], at: usize| {
            let pieces = [&bytes[..at], &bytes[at..]].map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)));
            split_lines(Box::pin(futures_util::stream::iter(pieces))).collect::<Vec<_>>()
        };
        let two = [line.as_slice(), line].concat();
        for at in 0..two.len() {
            assert!(split(&two, at).await.iter().all(Result::is_ok));
            let cut = split(&two[..two.len() - 1], at.min(two.len() - 1)).await;
            assert_eq!((cut.len(), cut[1].as_ref().unwrap_err().kind()), (2, ErrorKind::Corrupt));
        }
    }

    #[tokio::test]
    async fn the_details_reach_no_object_that_the_manifest_does_not_name() {
        let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().unwrap()).build().await.unwrap();
        let own = "items/prod/daily/20261120t064200z-abcdefgh/abcdefgh/000000-db.zst";
        let manifest: Manifest = serde_json::from_value(serde_json::json!({
            "vault": vault.id(), "source": "prod", "tier": "daily", "id": "20261120t064200z-abcdefgh",
            "attempt": "abcdefgh", "status": "complete", "started": "2026-11-20T06:42:00Z",
            "completed": "2026-11-20T06:42:00Z", "components": [{ "name": "db", "kind": "mock", "outcome": "good",
            "bytes": 1, "objects": [{ "key": own, "bytes": 1, "sha256": Sha256::of(b"x") }] }],
        }))
        .unwrap();
        let (id, committed) = (manifest.point(), manifest.completed);
        let point = Point { id, manifest, sha256: Sha256::of(b""), signer: "me".into(), committed };
        let items = PointItems::new(&vault, &point, &"db".parse().unwrap()).unwrap();
        let line = |key: &str| ItemLine {
            component: "db".parse().unwrap(),
            name: "rows".into(),
            format: "mock".into(),
            bytes: 1,
            blake3: Blake3::of(b"x"),
            facts: crate::source::Facts::new(),
            objects: vec![StoredParts { key: key.parse().unwrap(), parts: vec![Blake3::of(b"x")] }],
        };
        assert_eq!(point.manifest.status, Status::Complete);
        assert!(items.reader(&line(own)).is_ok());
        let foreign = items.reader(&line(&own.replace("000000", "000001"))).err().unwrap();
        assert_eq!(foreign.kind(), ErrorKind::Corrupt);
    }
}
