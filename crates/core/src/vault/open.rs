//! From stored parts to the compressed stream: opens the sealed chunks of each part, many at once.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::budget::{Budget, Job};
use crate::buffer::{Buffer, Lane};
use crate::error::{Error, ErrorKind, Result};
use crate::vault::age_stream::{CHUNK, SEALED_CHUNK, StreamKey, TAG, plain_len};
use crate::vault::fetch::{Fetching, StoredItem, WAITING, fetch_all};
use crate::vault::seal::{Identity, unlock};
use crate::vault::stored::PART;
use crate::vault::whole_object::WholeObjects;

/// How an item's stored bytes hold its compressed stream.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    key: Option<StreamKey>,
    /// Where the payload begins.
    start: u64,
    stored: u64,
    /// Length of the compressed stream.
    pub(crate) len: u64,
}

impl Form {
    /// Reads the form off an item's first part. Without an identity the item must be bare.
    pub(crate) fn of(first: &[u8], stored: u64, identity: Option<&Identity>) -> Result<Self> {
        let Some(identity) = identity else {
            if first.starts_with(b"age-encryption.org/") {
                return Err(Error::new(ErrorKind::Denied, "the item is sealed and no identity is at hand")
                    .advise("open the vault with a custodian's identity"));
            }
            return Ok(Self { key: None, start: 0, stored, len: stored });
        };
        let (key, start) = unlock(first, &[identity])?;
        let start = start as u64;
        let len = plain_len(stored - start)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the sealed item has a length that none can have"))?;
        Ok(Self { key: Some(key), start, stored, len })
    }

    /// The stored bytes that hold `range` of the stream, which is not empty; whole chunks.
    fn stored_range(&self, range: &Range<u64>) -> Range<u64> {
        if self.key.is_none() {
            return range.clone();
        }
        let chunk = |at: u64| self.start + at / CHUNK as u64 * SEALED_CHUNK as u64;
        chunk(range.start)..self.stored.min(chunk(range.end - 1) + SEALED_CHUNK as u64)
    }
}

/// What a part holds of the stream: maybe the rest of a chunk that began in the part before, then what lies in it.
pub(crate) struct Opened {
    across: Vec<u8>,
    part: Buffer,
    pieces: Vec<Range<usize>>,
}

/// A range of an item's compressed stream, on its way.
pub(crate) struct Reading {
    parts: mpsc::Receiver<Job<Opened>>,
    /// Bytes of the first chunk that lie before the range.
    skip: usize,
    left: u64,
}

impl Reading {
    /// Prepares to read `range`, which is not empty; the future does the work and must be polled beside the reading.
    /// `objects` are proved on the way; then the range must be all of the stream.
    pub(crate) fn new(
        item: Arc<StoredItem>,
        form: Form,
        range: Range<u64>,
        first: Option<Buffer>,
        lane: Lane,
        budget: Budget,
        objects: Option<WholeObjects>,
    ) -> (Self, impl Future<Output = Result<()>> + Send) {
        let (out, parts) = mpsc::channel(WAITING);
        let skip = if form.key.is_some() { (range.start % CHUNK as u64) as usize } else { 0 };
        let reading = Self { parts, skip, left: range.end - range.start };
        let work = async move {
            let stored = form.stored_range(&range);
            let wanted = stored.start / PART as u64..stored.end.div_ceil(PART as u64);
            let first = first.filter(|_| wanted.start == 0);
            let (fetched, fetching) = mpsc::channel(WAITING);
            let opener = Opener {
                item: Arc::clone(&item),
                form,
                at: stored.start,
                end: stored.end,
                across: Vec::new(),
                objects,
            };
            let fetch = fetch_all(item, wanted, first, lane, budget.clone(), fetched);
            tokio::try_join!(fetch, opener.open_all(fetching, budget, out)).map(|_| ())
        };
        (reading, work)
    }

    /// The next pieces of the stream, in one part; none at the end of the range.
    pub(crate) async fn next(&mut self) -> Result<Option<Opened>> {
        match self.parts.recv().await {
            Some(job) => job.await.map(Some),
            None if self.left == 0 => Ok(None),
            None => Err(Error::new(ErrorKind::Corrupt, "the item ends too early")),
        }
    }

    /// The pieces of an opened part, without what lies before and after the range.
    pub(crate) fn pieces<'a>(&mut self, opened: &'a Opened) -> Vec<&'a [u8]> {
        let inside = opened.pieces.iter().map(|piece| &opened.part[piece.clone()]);
        let all = std::iter::once(opened.across.as_slice()).chain(inside);
        all.map(|piece| {
            let (before, piece) = piece.split_at(self.skip.min(piece.len()));
            self.skip -= before.len();
            let piece = &piece[..piece.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
            self.left -= piece.len() as u64;
            piece
        })
        .collect()
    }
}

/// Finds the chunks in the parts and has them opened.
struct Opener {
    item: Arc<StoredItem>,
    form: Form,
    /// Next stored byte, and the end of those wanted.
    at: u64,
    end: u64,
    /// The beginning of a chunk whose rest lies in the next part.
    across: Vec<u8>,
    objects: Option<WholeObjects>,
}

/// What to open of one part.
struct Work {
    across: Option<(u64, Vec<u8>)>,
    chunks: Vec<(u64, Range<usize>)>,
}

impl Opener {
    async fn open_all(
        mut self,
        mut parts: mpsc::Receiver<Fetching>,
        budget: Budget,
        out: mpsc::Sender<Job<Opened>>,
    ) -> Result<()> {
        while let Some(fetching) = parts.recv().await {
            let mut part = fetching.join().await??;
            if let Some(objects) = &mut self.objects {
                part = objects.add(part, &budget).await?;
            }
            let number = self.at / PART as u64;
            let begin = (self.at % PART as u64) as usize;
            let end = part.len().min(begin + usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
            let job = match self.form.key.clone() {
                None => {
                    self.at += (end - begin) as u64;
                    let pieces = std::iter::once(begin..end).collect();
                    budget.run(move || Ok(Opened { across: Vec::new(), part, pieces }))
                }
                Some(key) => {
                    let work = self.find_chunks(&part[begin..end], begin);
                    let (item, last) = (Arc::clone(&self.item), self.last_chunk());
                    budget.run(move || {
                        let opened = open(&key, last, work, &mut part);
                        let (across, pieces) = opened.map_err(|error| item.place(number, error))?;
                        Ok(Opened { across, part, pieces })
                    })
                }
            };
            out.send(job).await.map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))?;
        }
        Ok(())
    }

    /// Finds the chunks in the next stored bytes, which begin at `offset` of their part.
    fn find_chunks(&mut self, bytes: &[u8], offset: usize) -> Work {
        let mut work = Work { across: None, chunks: Vec::new() };
        let mut done = 0;
        if !self.across.is_empty() {
            let start = self.at - self.across.len() as u64;
            let (index, len) = self.chunk_at(start);
            done = bytes.len().min(len - self.across.len());
            self.across.extend_from_slice(&bytes[..done]);
            if self.across.len() == len {
                work.across = Some((index, std::mem::take(&mut self.across)));
            }
        }
        while done < bytes.len() {
            let (index, len) = self.chunk_at(self.at + done as u64);
            if len > bytes.len() - done {
                self.across.extend_from_slice(&bytes[done..]);
                break;
            }
            work.chunks.push((index, offset + done..offset + done + len));
            done += len;
        }
        self.at += bytes.len() as u64;
        work
    }

    /// Index and length of the chunk that is stored from `at` on.
    fn chunk_at(&self, at: u64) -> (u64, usize) {
        let len = (self.form.stored - at).min(SEALED_CHUNK as u64);
        ((at - self.form.start) / SEALED_CHUNK as u64, len as usize)
    }

    fn last_chunk(&self) -> u64 {
        (self.form.stored - self.form.start - 1) / SEALED_CHUNK as u64
    }
}

/// Opens the chunks of one part where they stand.
fn open(key: &StreamKey, last: u64, work: Work, part: &mut [u8]) -> Result<(Vec<u8>, Vec<Range<usize>>)> {
    let mut across = Vec::new();
    if let Some((index, mut chunk)) = work.across {
        key.open(index, index == last, &mut chunk)?;
        chunk.truncate(chunk.len() - TAG);
        across = chunk;
    }
    let mut pieces = Vec::with_capacity(work.chunks.len());
    for (index, place) in work.chunks {
        key.open(index, index == last, &mut part[place.clone()])?;
        pieces.push(place.start..place.end - TAG);
    }
    Ok((across, pieces))
}
