//! The way in: an item's plain bytes become stored objects, in bounded memory and on all cores.
//!
//! ```text
//! write -> frame buffer -> compress (parallel) -> chunks -> seal, BLAKE3 (parallel) -> SHA-256 -> upload (parallel)
//!          plain BLAKE3                           in order                              in order
//! ```
//!
//! Order is kept by queues of jobs: a job starts when it is queued and is awaited when its turn comes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::budget::{Budget, Job};
use crate::buffer::{Buffer, Lane};
use crate::clock::Random;
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ObjectStore, PutOptions};
use crate::task::Task;
use crate::vault::cut::Cutter;
use crate::vault::frame::{self, packed_capacity};
use crate::vault::seal::{self, Recipient};
use crate::vault::seek_table::SeekTable;
use crate::vault::send::{Sender, hash};
use crate::vault::stored::{OBJECT, PART, StoredObject};

/// Plain bytes of a frame. Half of what a reader accepts: it costs 0.4 percent in size, and twice as many frames are at
/// work in the same budget.
const FRAME: usize = 4 << 20;
/// Frames of items that are said to be small. Not less: an item may turn out larger than it was said to be.
const SMALLEST_FRAME: usize = 1 << 20;
/// BLAKE3 works on many blocks side by side; so it is fed in pieces, which are still in the core's cache.
const HASH_STEP: usize = 128 << 10;

/// How an item is encoded.
#[derive(Clone, Debug)]
pub(crate) struct EncodeOptions {
    /// Whom to seal to; without one the stored form is a bare zstd file.
    pub(crate) recipient: Option<Recipient>,
    /// Level of zstd.
    pub(crate) level: i32,
    /// Plain bytes to expect; may be wrong.
    pub(crate) size_hint: Option<u64>,
    /// Largest object; a multiple of [`PART`].
    pub(crate) object_bytes: u64,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { recipient: None, level: 3, size_hint: None, object_bytes: OBJECT }
    }
}

/// An item that was stored.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    /// Plain bytes.
    pub(crate) bytes: u64,
    /// Digest of the plain bytes.
    pub(crate) blake3: Blake3,
    /// What holds them, in order.
    pub(crate) objects: Vec<StoredObject>,
}

/// Takes one item's bytes. Dropped before [`finish`](Self::finish) it stops, and no object of it becomes visible but those
/// of [`EncodeOptions::object_bytes`] that were whole already.
#[derive(Debug)]
pub(crate) struct Encoder {
    budget: Budget,
    level: i32,
    frame_bytes: usize,
    plain: Lane,
    packed: Lane,
    frame: Option<Buffer>,
    hashed: usize,
    blake3: blake3::Hasher,
    bytes: u64,
    frames: mpsc::Sender<Step>,
    /// Dropped to say that the item is given up.
    want: oneshot::Sender<Infallible>,
    /// The task behind; none once its end was taken.
    stored: Option<Task<Result<Vec<StoredObject>>>>,
}

/// A compressed frame, and how many plain bytes it holds.
struct Packed {
    content: Buffer,
    plain: usize,
}

enum Step {
    Frame(Job<Packed>),
    /// The item is whole.
    End,
}

impl Encoder {
    /// Begins an item under `key`. Waits until the budget has room for it: twice a frame of 4 MiB (or less, by the size
    /// hint) and a part.
    ///
    /// # Errors
    /// [`Exhausted`](ErrorKind::Exhausted) if the budget is too small for any item.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        key: Key,
        put: PutOptions,
        options: EncodeOptions,
        budget: &Budget,
        random: &dyn Random,
    ) -> Result<Self> {
        let hint = options.size_hint.and_then(|hint| usize::try_from(hint).ok()).unwrap_or(FRAME).min(FRAME);
        let frame_bytes = hint.next_power_of_two().max(SMALLEST_FRAME);
        let packed_bytes = packed_capacity(frame_bytes);
        // Sealing starts with random bytes: taken here, so that a replayed seed gives the same file.
        let seal = options.recipient.as_ref().map(|r| seal::begin(std::slice::from_ref(r), random)).transpose()?;

        let reserved = Arc::new(budget.reserve(frame_bytes + packed_bytes + PART).await?);
        let plain = Lane::new(&reserved, frame_bytes, budget);
        let packed = Lane::new(&reserved, packed_bytes, budget);
        let parts = Lane::new(&reserved, PART, budget);

        // Frames that wait take a quarter of the budget at most, so that parts find room too: a store that is far away
        // needs several on their way.
        let room = usize::try_from(budget.limits().bytes).unwrap_or(usize::MAX) / 4 / (frame_bytes + packed_bytes);
        let queue = budget.limits().workers.get().min(room.max(1));
        let (frames, steps) = mpsc::channel(queue);
        let (sealed, to_hash) = mpsc::channel(queue);
        let (hashed, to_send) = mpsc::channel(1);
        let cutter = Cutter::new(seal, parts, options.object_bytes, budget.clone(), sealed);
        let mut sender = Sender::new(store, key, put);
        let hasher = budget.clone();
        let (want, wanted) = oneshot::channel::<Infallible>();
        let stored = Task::spawn(async move {
            let work = async {
                tokio::try_join!(cut(steps, cutter), hash(to_hash, hashed, hasher), sender.send_all(to_send))
                    .map(|_| ())
            };
            let ended = tokio::select! {
                biased;
                _ = wanted => Err(Error::new(ErrorKind::Cancelled, "the item was given up")),
                ended = work => ended,
            };
            match ended {
                Ok(()) => Ok(sender.into_objects()),
                Err(error) => {
                    sender.abort().await;
                    Err(error)
                }
            }
        });
        Ok(Self {
            budget: budget.clone(),
            level: options.level,
            frame_bytes,
            plain,
            packed,
            frame: None,
            hashed: 0,
            blake3: blake3::Hasher::new(),
            bytes: 0,
            frames,
            want,
            stored: Some(stored),
        })
    }

    /// Takes the next bytes; waits while what came before is still on its way. Not cancel safe: give the item up after a
    /// call that was dropped.
    ///
    /// # Errors
    /// What went wrong on the way to the store; every later call fails too.
    pub(crate) async fn write(&mut self, mut data: Bytes) -> Result<()> {
        while !data.is_empty() {
            if self.frames.is_closed() {
                return Err(self.failure().await);
            }
            let frame = match &mut self.frame {
                Some(frame) => frame,
                None => self.frame.insert(self.plain.buffer().await?),
            };
            let piece = data.split_to(data.len().min(self.frame_bytes - frame.len()).min(HASH_STEP));
            frame.extend_from_slice(&piece);
            self.bytes += piece.len() as u64;
            if frame.len() - self.hashed >= HASH_STEP {
                self.blake3.update(&frame[self.hashed..]);
                self.hashed = frame.len();
            }
            if frame.len() == self.frame_bytes {
                self.end_frame().await?;
            }
        }
        Ok(())
    }

    /// Stores what is left and waits until everything is stored.
    ///
    /// # Errors
    /// As [`write`](Self::write); no object of the item is visible then.
    pub(crate) async fn finish(mut self) -> Result<Encoded> {
        if self.bytes == 0 {
            // One empty frame: what holds nothing is a valid zstd file too.
            self.frame = Some(self.plain.buffer().await?);
        }
        if self.frame.is_some() {
            self.end_frame().await?;
        }
        if self.frames.send(Step::End).await.is_err() {
            return Err(self.failure().await);
        }
        let objects = self.end().await?;
        Ok(Encoded { bytes: self.bytes, blake3: Blake3(*self.blake3.finalize().as_bytes()), objects })
    }

    /// Gives the item up and frees what the store holds of it.
    pub(crate) async fn abort(self) {
        let Self { want, stored, .. } = self;
        drop(want);
        if let Some(stored) = stored {
            // That it was given up is the expected end, and a failure before it was reported by a write.
            let _ = stored.join().await;
        }
    }

    async fn end_frame(&mut self) -> Result<()> {
        let Some(plain) = self.frame.take() else { return Ok(()) };
        self.blake3.update(&plain[self.hashed..]);
        self.hashed = 0;
        let mut content = self.packed.buffer().await?;
        let level = self.level;
        let job = self.budget.run(move || {
            frame::compress(&plain, level, &mut content)?;
            Ok(Packed { content, plain: plain.len() })
        });
        if self.frames.send(Step::Frame(job)).await.is_err() {
            return Err(self.failure().await);
        }
        Ok(())
    }

    /// Why the task behind ended early.
    async fn failure(&mut self) -> Error {
        match self.end().await {
            Err(error) => error,
            Ok(_) => Error::new(ErrorKind::Other, "the item ended before its content"),
        }
    }

    async fn end(&mut self) -> Result<Vec<StoredObject>> {
        match self.stored.take() {
            Some(stored) => stored.join().await?,
            None => Err(Error::new(ErrorKind::Other, "the item failed before")),
        }
    }
}

/// Takes compressed frames in order, and adds the table at the end.
async fn cut(mut steps: mpsc::Receiver<Step>, mut cutter: Cutter) -> Result<()> {
    let mut table = SeekTable::default();
    loop {
        match steps.recv().await {
            Some(Step::Frame(job)) => {
                let packed = job.await?;
                table.push(packed.content.len(), packed.plain)?;
                cutter.append(&packed.content).await?;
            }
            Some(Step::End) => {
                cutter.append(&table.encode()?).await?;
                return cutter.finish().await;
            }
            None => return Err(Error::new(ErrorKind::Cancelled, "the item was given up")),
        }
    }
}
