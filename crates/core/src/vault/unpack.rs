//! From the compressed stream to plain frames: finds each frame's end and has it decompressed.

use tokio::sync::mpsc;

use crate::budget::{Budget, Job};
use crate::buffer::{Buffer, Lane};
use crate::error::{Error, ErrorKind, Result};
use crate::vault::frame::{self, Walked, Walker, packed_capacity};
use crate::vault::open::Reading;
use crate::vault::seek_table::SeekTable;

/// What comes out, in order.
pub(crate) enum Plain {
    Frame(Job<Buffer>),
    /// All frames were found, and everything after them is as it must be. A queue that closes without it ended early.
    End,
}

/// A frame that has not ended.
struct Partial {
    walker: Walker,
    /// Its first bytes, until they have said how much it holds. A table of frames is collected here as a whole.
    head: Vec<u8>,
    packed: Option<Buffer>,
}

/// Splits a compressed stream into frames.
pub(crate) struct Unpacker {
    reading: Reading,
    packed: Lane,
    plain: Lane,
    budget: Budget,
    out: mpsc::Sender<Plain>,
    /// Whether the table of frames must follow the last one.
    whole: bool,
    /// Plain bytes that the frames may hold together.
    limit: u64,
    seen: u64,
    table: SeekTable,
    table_found: bool,
    frame: Option<Partial>,
}

impl Unpacker {
    /// All frames of an item of `bytes` plain bytes, and their table.
    pub(crate) fn whole(
        reading: Reading,
        packed: Lane,
        plain: Lane,
        budget: Budget,
        bytes: u64,
        out: mpsc::Sender<Plain>,
    ) -> Self {
        Self {
            reading,
            packed,
            plain,
            budget,
            out,
            whole: true,
            limit: bytes,
            seen: 0,
            table: SeekTable::default(),
            table_found: false,
            frame: None,
        }
    }

    /// Some of an item's frames, of at most `limit` plain bytes together.
    pub(crate) fn frames(
        reading: Reading,
        packed: Lane,
        plain: Lane,
        budget: Budget,
        limit: u64,
        out: mpsc::Sender<Plain>,
    ) -> Self {
        Self { whole: false, ..Self::whole(reading, packed, plain, budget, limit, out) }
    }

    /// Works until the stream ends.
    pub(crate) async fn run(mut self) -> Result<()> {
        while let Some(opened) = self.reading.next().await? {
            for piece in self.reading.pieces(&opened) {
                self.take(piece).await.map_err(|error| error.with("plain offset", self.seen))?;
            }
        }
        if self.frame.is_some() || self.whole != self.table_found {
            return Err(corrupt("the compressed stream ends too early").with("plain offset", self.seen));
        }
        self.send(Plain::End).await
    }

    async fn take(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            if self.table_found {
                return Err(corrupt("something follows the table of frames"));
            }
            let new = || Partial { walker: Walker::new(), head: Vec::new(), packed: None };
            let mut frame = self.frame.take().unwrap_or_else(new);
            let bytes = frame.packed.as_deref_mut().unwrap_or(&mut frame.head);
            let (taken, rest) = piece.split_at(piece.len().min(frame.walker.need() - bytes.len()));
            bytes.extend_from_slice(taken);
            piece = rest;
            let mut found = Walked::Go;
            // An empty block needs no more bytes.
            while bytes.len() == frame.walker.need() && found == Walked::Go {
                found = frame.walker.advance(bytes, self.table.encoded_len())?;
            }
            if let (None, Some(plain)) = (&frame.packed, frame.walker.claimed()) {
                self.check(plain)?;
                let mut packed = self.packed.buffer_of(packed_capacity(plain)).await?;
                packed.extend_from_slice(&frame.head);
                frame.packed = Some(packed);
            }
            match (found, frame.packed) {
                (Walked::Go, packed) => self.frame = Some(Partial { packed, ..frame }),
                (Walked::Frame(len), Some(packed)) => self.end_frame(packed, len).await?,
                (_, _) => self.end_table(&frame.head)?,
            }
        }
        Ok(())
    }

    /// Whether the item has room for a frame of `len` plain bytes.
    fn check(&self, len: usize) -> Result<()> {
        if len == 0 && self.limit > 0 {
            return Err(corrupt("a frame is empty"));
        }
        if self.seen + len as u64 > self.limit {
            return Err(corrupt("the item holds more bytes than recorded").with("recorded", self.limit));
        }
        Ok(())
    }

    async fn end_frame(&mut self, packed: Buffer, len: usize) -> Result<()> {
        let offset = self.seen;
        self.seen += len as u64;
        self.table.push(packed.len(), len)?;
        let mut plain = self.plain.buffer_of(len).await?;
        let job = self.budget.run(move || {
            frame::decompress(&packed, len, &mut plain).map_err(|error| error.with("plain offset", offset))?;
            Ok(plain)
        });
        self.send(Plain::Frame(job)).await
    }

    fn end_table(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.whole || SeekTable::decode(bytes)? != self.table {
            return Err(corrupt("the table of frames does not fit the frames"));
        }
        self.table_found = true;
        Ok(())
    }

    async fn send(&self, plain: Plain) -> Result<()> {
        self.out.send(plain).await.map_err(|_| Error::new(ErrorKind::Cancelled, "a later step failed"))
    }
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
}
