//! Cuts the compressed stream of an item into stored parts and has them sealed.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::budget::{Budget, Job};
use crate::buffer::{Buffer, Lane, Lease};
use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::vault::age_stream::{CHUNK, SEALED_CHUNK, StreamKey, TAG};
use crate::vault::stored::PART;

/// A stored part, ready to be sent.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) content: Bytes,
    /// What it holds of the budget until the store has it.
    pub(crate) lease: Option<Lease>,
    /// Its digest; a copy of what nobody here can open has none recorded.
    pub(crate) blake3: Option<Blake3>,
    /// Whether its object ends with it.
    pub(crate) last: bool,
}

/// Puts the stream where it will stand in the stored parts, with gaps for the tags, so that a part's chunks are sealed in
/// place and all at once. A chunk that lies across two parts is sealed here.
pub(crate) struct Cutter {
    parts: Lane,
    budget: Budget,
    out: mpsc::Sender<Job<Part>>,
    parts_per_object: u64,
    made: u64,
    part: Option<Buffer>,
    seal: Option<Sealing>,
}

/// The chunk that is being filled, and those of the part that wait for sealing.
struct Sealing {
    /// Header and nonce, until the first part has them.
    start: Vec<u8>,
    key: StreamKey,
    index: u64,
    filled: usize,
    /// The chunk's bytes, if it does not fit into the part as a whole.
    across: Option<Vec<u8>>,
    waiting: Vec<Chunk>,
}

/// A chunk that lies in a part: where, and as what it is sealed.
struct Chunk {
    at: usize,
    len: usize,
    index: u64,
    last: bool,
}

impl Cutter {
    /// Parts of an item, in order, to `out`. `seal` is what [`begin`](crate::vault::seal::begin) gave.
    pub(crate) fn new(
        seal: Option<(Vec<u8>, StreamKey)>,
        parts: Lane,
        object_bytes: u64,
        budget: Budget,
        out: mpsc::Sender<Job<Part>>,
    ) -> Self {
        let seal =
            seal.map(|(start, key)| Sealing { start, key, index: 0, filled: 0, across: None, waiting: Vec::new() });
        let parts_per_object = (object_bytes / PART as u64).max(1);
        Self { parts, budget, out, parts_per_object, made: 0, part: None, seal }
    }

    /// Takes the next bytes of the stream.
    pub(crate) async fn append(&mut self, mut data: &[u8]) -> Result<()> {
        if self.seal.is_none() {
            return self.put(data).await;
        }
        while !data.is_empty() {
            if self.seal.as_ref().is_some_and(|seal| seal.filled == CHUNK) {
                self.end_chunk(false).await?;
            }
            if self.seal.as_ref().is_some_and(|seal| seal.filled == 0) {
                self.begin_chunk().await?;
            }
            let (Some(seal), Some(part)) = (&mut self.seal, &mut self.part) else { return Err(unready()) };
            let (piece, rest) = data.split_at(data.len().min(CHUNK - seal.filled));
            seal.across.as_mut().unwrap_or(part).extend_from_slice(piece);
            seal.filled += piece.len();
            data = rest;
        }
        Ok(())
    }

    /// Ends the stream and sends what is left.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if self.seal.is_some() {
            self.end_chunk(true).await?;
        }
        self.end_part(true).await
    }

    /// Makes sure that the part has room, and decides whether the next chunk fits into it.
    async fn begin_chunk(&mut self) -> Result<()> {
        let start = self.seal.as_mut().map(|seal| std::mem::take(&mut seal.start)).unwrap_or_default();
        self.put(&start).await?;
        self.room().await?;
        let (Some(seal), Some(part)) = (&mut self.seal, &self.part) else { return Err(unready()) };
        seal.across = (PART - part.len() < SEALED_CHUNK).then(|| Vec::with_capacity(SEALED_CHUNK));
        Ok(())
    }

    async fn end_chunk(&mut self, last: bool) -> Result<()> {
        let (Some(seal), Some(part)) = (&mut self.seal, &mut self.part) else { return Err(unready()) };
        let (index, len) = (seal.index, seal.filled);
        seal.index += 1;
        seal.filled = 0;
        match seal.across.take() {
            Some(mut chunk) => {
                let tag = seal.key.seal(index, last, &mut chunk)?;
                chunk.extend_from_slice(&tag);
                self.put(&chunk).await
            }
            None => {
                seal.waiting.push(Chunk { at: part.len() - len, len, index, last });
                let end = part.len() + TAG;
                part.resize(end, 0);
                Ok(())
            }
        }
    }

    /// Appends bytes that are stored as they are.
    async fn put(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let part = self.room().await?;
            let (piece, rest) = data.split_at(data.len().min(PART - part.len()));
            part.extend_from_slice(piece);
            data = rest;
        }
        Ok(())
    }

    /// The part to fill, which is not full. A full one is sent only now: that more follows is known only now.
    async fn room(&mut self) -> Result<&mut Buffer> {
        if self.part.as_ref().is_some_and(|part| part.len() == PART) {
            self.end_part(false).await?;
        }
        match &mut self.part {
            Some(part) => Ok(part),
            none => Ok(none.insert(self.parts.buffer().await?)),
        }
    }

    async fn end_part(&mut self, end: bool) -> Result<()> {
        let Some(mut part) = self.part.take() else { return Err(unready()) };
        self.made += 1;
        let last = end || self.made.is_multiple_of(self.parts_per_object);
        let seal = self.seal.as_mut().map(|seal| (seal.key.clone(), std::mem::take(&mut seal.waiting)));
        let job = self.budget.run(move || {
            if let Some((key, chunks)) = seal {
                for chunk in chunks {
                    let (bytes, after) = part[chunk.at..].split_at_mut(chunk.len);
                    after[..TAG].copy_from_slice(&key.seal(chunk.index, chunk.last, bytes)?);
                }
            }
            let blake3 = Some(Blake3::of(&part));
            let (content, lease) = part.hand_out();
            Ok(Part { content, lease, blake3, last })
        });
        // The receiver is gone when a later step failed; its error is the one that counts.
        self.out.send(job).await.map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))
    }
}

/// A step was called before the one that it builds on: a mistake in this file.
fn unready() -> Error {
    Error::new(ErrorKind::Other, "a part was to be cut before it began")
}
