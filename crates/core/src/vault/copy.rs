//! Copies: one stored object moved from store to store without being opened, and the record that a point was copied.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::budget::Budget;
use crate::buffer::Lane;
use crate::digest::{Blake3, Sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::store::{ListEntry, ListOptions, ObjectStore, PutOptions};
use crate::task::Task;
use crate::vault::cut::Part;
use crate::vault::fetch::WAITING;
use crate::vault::points::CLOCK_TOLERANCE;
use crate::vault::prove::prove_object;
use crate::vault::read::read_range;
use crate::vault::send::{Sender, hash};
use crate::vault::signed::Purpose;
use crate::vault::stored::PART;
use crate::vault::wary::Wary;
use crate::vault::{ObjectEntry, Vault, VaultId, layout};

const MAX_COPY_BYTES: u64 = 64 << 10;

/// The statement, on a replica, that a point was copied whole. Two replicators with one key write the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CopyRecord {
    /// The replica that it is for.
    pub(crate) vault: VaultId,
    pub(crate) point: PointId,
    /// The vault that the point was copied from.
    pub(crate) origin: VaultId,
    /// Digest of the manifest that it is about.
    pub(crate) manifest: Sha256,
    /// When the first vault took the manifest in, by its store's clock.
    pub(crate) last_modified: Timestamp,
    /// Everything that the manifest names was here, proved, when this was written.
    pub(crate) complete: bool,
}

impl Vault {
    /// Signs and stores a copy record.
    pub(crate) async fn put_copy(&self, record: &CopyRecord) -> Result<()> {
        let key = layout::copy(&record.point, &record.origin)?;
        let what = layout::signed_copy(&record.origin);
        let signatures = |digest: &Sha256| layout::signatures(&record.point, &what, digest);
        self.put_signed_json(&key, record, MAX_COPY_BYTES, Purpose::Copy, signatures).await.map(drop)
    }

    /// The record that a point was copied here, if one counts: signed for just this place by who may, and no younger than
    /// the copy. A vault that was rebuilt from its replica has such records too.
    pub(crate) async fn copied(&self, point: &PointId, here: Timestamp) -> Result<Option<CopyRecord>> {
        let records = self.keys(&layout::copies_of(point)?).await?;
        let mut wary = Wary::default();
        for origin in records.iter().filter_map(|key| layout::copy_origin::<VaultId>(point, key)) {
            match wary.copy(self, point, &origin).await {
                Ok(record) if record.last_modified <= here.saturating_add(CLOCK_TOLERANCE).unwrap_or(here) => {
                    return Ok(Some(record));
                }
                Ok(_) => tracing::warn!(%point, %origin, "a copy record that is younger than the copy"),
                Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt) => {
                    tracing::warn!(%point, %origin, %error, "a copy record that does not count");
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The runs of a tier from `first` on that have a copy record; whether it counts shows when it is read.
    pub(crate) async fn copied_runs(
        &self,
        source: &Name,
        tier: &Name,
        first: Option<&PointId>,
    ) -> Result<BTreeSet<PointId>> {
        let after = first.map(layout::copies_of).transpose()?;
        let options = after.map_or_else(ListOptions::default, |after| ListOptions::after(after.to_string()));
        let mut copied = BTreeSet::new();
        let mut listing = self.store().list(&layout::copies_of_tier(source, tier)?, &options);
        while let Some(entry) = listing.next().await {
            if let ListEntry::Object(meta) = entry? {
                copied.extend(layout::copied_run(&meta.key));
            }
        }
        Ok(copied)
    }

    pub(crate) async fn get_copy(&self, point: &PointId, origin: &VaultId) -> Result<CopyRecord> {
        let (key, what) = (layout::copy(point, origin)?, layout::signed_copy(origin));
        let signatures = |digest: &Sha256| layout::signatures(point, &what, digest);
        let record: CopyRecord = self.get_signed(&key, MAX_COPY_BYTES, Purpose::Copy, signatures).await?.read()?;
        let of_this = record.vault == *self.id() && record.point == *point && record.origin == *origin;
        if of_this && record.complete {
            return Ok(record);
        }
        Err(Error::new(ErrorKind::Untrusted, "a copy record that was signed for another place was put here")
            .with("key", key))
    }
}

/// A part on its way.
type Reading = BoxFuture<'static, Result<Part>>;

/// Moves one object. It is visible at its new place only if it is what was signed; `parts` are the digests of its parts
/// where they are known. Dropped in the middle it leaves an upload that stays invisible.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) or [`NotFound`](ErrorKind::NotFound) with the key, and what the stores answer.
pub(crate) async fn copy_object(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    object: &ObjectEntry,
    parts: Option<&[Blake3]>,
    budget: &Budget,
) -> Result<()> {
    let moved = match copied_by_store(&**from, &**to, object).await {
        Ok(false) => stream_object(from, to, object, parts, budget).await,
        copied => copied.map(drop),
    };
    let Err(error) = moved else { return Ok(()) };
    if error.kind() != ErrorKind::AlreadyExists && !error.kind().is_unsure() {
        return Err(error.with("key", &object.key));
    }
    // Another replicator was faster, or the answer was lost; or somebody put something else there.
    prove_object(&**to, object, budget).await.map_err(|found| match found.kind() {
        ErrorKind::NotFound => error.with("key", &object.key),
        _ => found,
    })
}

/// Whether the store fetched the object from its peer by itself, and proved it. What fits one part is sooner sent.
async fn copied_by_store(from: &dyn ObjectStore, to: &dyn ObjectStore, object: &ObjectEntry) -> Result<bool> {
    let large = object.bytes > PART as u64;
    let Some(place) = large.then(|| from.locate(&object.key)).flatten() else { return Ok(false) };
    match to.copy_in(&place, &object.key, &PutOptions::default().with_sha256(object.sha256)).await {
        // Under this name there may be another place where the store looked; the origin itself knows.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        copied => Ok(copied?.is_some()),
    }
}

/// Sends the object through this process.
async fn stream_object(
    from: &Arc<dyn ObjectStore>,
    to: &Arc<dyn ObjectStore>,
    object: &ObjectEntry,
    parts: Option<&[Blake3]>,
    budget: &Budget,
) -> Result<()> {
    let room = usize::try_from(object.bytes).unwrap_or(PART).clamp(1, PART);
    let lane = Lane::new(&Arc::new(budget.reserve(room).await?), room, budget);
    let (read, to_hash) = mpsc::channel(WAITING);
    let (hashed, to_send) = mpsc::channel(1);
    let mut sender = Sender::new(Arc::clone(to), object.key.clone(), PutOptions::default()).expecting(object.sha256);
    let work = async {
        let steps = (
            read_parts(Arc::clone(from), object, parts, lane, budget, read),
            hash(to_hash, hashed, budget.clone()),
            sender.send_all(to_send),
        );
        tokio::try_join!(steps.0, steps.1, steps.2).map(|_| ())
    };
    let sent = work.await;
    if sent.is_err() {
        sender.abort().await;
    }
    sent
}

/// Reads the parts in order, several at a time, to `out`.
async fn read_parts(
    from: Arc<dyn ObjectStore>,
    object: &ObjectEntry,
    digests: Option<&[Blake3]>,
    lane: Lane,
    budget: &Budget,
    out: mpsc::Sender<Reading>,
) -> Result<()> {
    let parts = object.bytes.div_ceil(PART as u64).max(1);
    for index in 0..parts {
        let start = index * PART as u64;
        let (range, last) = (start..object.bytes.min(start + PART as u64), index + 1 == parts);
        let recorded = digests.and_then(|digests| digests.get(index as usize).copied());
        let (from, key, size, budget) = (Arc::clone(&from), object.key.clone(), object.bytes, budget.clone());
        let mut buffer = lane.buffer().await?;
        let reading = Task::spawn(async move {
            read_range(&*from, &key, size, range, &mut buffer).await?;
            if let Some(recorded) = recorded {
                let proved;
                (proved, buffer) = budget.run(move || Ok((Blake3::of(&buffer) == recorded, buffer))).await?;
                if !proved {
                    return Err(Error::new(ErrorKind::Corrupt, "the bytes were changed").with("part", index));
                }
            }
            let (content, lease) = buffer.hand_out();
            Ok(Part { content, lease, blake3: recorded, last })
        });
        out.send(Box::pin(async { reading.join().await? }))
            .await
            .map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))?;
    }
    Ok(())
}
