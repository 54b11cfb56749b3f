//! Objects that are no states: compared by content, and put back in pieces.

use backstay_core::source::{ImportAction, ImportOptions, ItemInfo, ItemSource};
use backstay_core::store::{ByteStream, GetOptions, Key, ObjectStore as _, PutOptions};
use backstay_core::{ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt as _;

use super::import::Decision;
use super::objects::VersionedObjects;

/// Bytes of one part of an upload; what is not longer goes in one piece.
const PART: usize = 16 << 20;

impl VersionedObjects {
    pub(super) async fn decide_object(
        &self,
        items: &dyn ItemSource,
        key: &Key,
        item: &ItemInfo,
        options: &ImportOptions,
    ) -> Result<Decision> {
        let mut decision = Decision::new(ImportAction::Create, item.bytes);
        let Some(there) = self.head(key).await? else { return Ok(decision) };
        if there.size == item.bytes && self.is_same(items, key, item).await? {
            return Ok(Decision::new(ImportAction::Unchanged, 0));
        }
        decision.why = format!("{} bytes of {} are there", there.size, there.last_modified);
        match options.overwrite {
            true => decision.action = ImportAction::Overwrite,
            false => (decision.action, decision.bytes) = (ImportAction::Conflict, 0),
        }
        Ok(decision)
    }

    async fn is_same(&self, items: &dyn ItemSource, key: &Key, item: &ItemInfo) -> Result<bool> {
        let mut other = match self.store.get(key, &GetOptions::default()).await {
            Ok(got) => got.body,
            // Nobody can tell before it is thawed.
            Err(error) if error.kind() == ErrorKind::Archived => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut one = items.open(item).await?;
        let (mut a, mut b) = (Bytes::new(), Bytes::new());
        loop {
            if !more(&mut one, &mut a).await? | !more(&mut other, &mut b).await? {
                return Ok(a.is_empty() && b.is_empty());
            }
            let both = a.len().min(b.len());
            if a.split_to(both) != b.split_to(both) {
                return Ok(false);
            }
        }
    }

    pub(super) async fn put_object(
        &self,
        items: &dyn ItemSource,
        key: &Key,
        item: &ItemInfo,
        overwrite: bool,
    ) -> Result<()> {
        let options = if overwrite { PutOptions::overwrite() } else { PutOptions::default() };
        let mut body = items.open(item).await?;
        if item.bytes <= PART as u64 {
            let content = body.try_collect::<Vec<_>>().await?.concat();
            return self.store.put(key, content.into(), &options).await.map(drop);
        }
        let mut upload = self.store.upload(key, &options).await?;
        let sent: Result<()> = async {
            let mut part = BytesMut::new();
            while let Some(chunk) = body.try_next().await? {
                part.extend_from_slice(&chunk);
                while part.len() >= PART {
                    upload.part(part.split_to(PART).freeze()).await?;
                }
            }
            if !part.is_empty() {
                upload.part(part.freeze()).await?;
            }
            Ok(())
        }
        .await;
        match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => {
                if let Err(left) = upload.abort().await {
                    tracing::debug!(error = %left, "an upload could not be aborted");
                }
                Err(error)
            }
        }
    }
}

/// Whether there is something, after the next chunk if need be.
async fn more(body: &mut ByteStream, chunk: &mut Bytes) -> Result<bool> {
    while chunk.is_empty() {
        match body.try_next().await? {
            Some(next) => *chunk = next,
            None => return Ok(false),
        }
    }
    Ok(true)
}
