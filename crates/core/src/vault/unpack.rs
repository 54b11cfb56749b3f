//! From the compressed stream to plain frames: finds each frame's end and has it decompressed.

use tokio::sync::mpsc;

use crate::budget::{Budget, Job};
use crate::buffer::{Buffer, Lane};
use crate::error::{Error, ErrorKind, Result};
use crate::vault::frame::{self, Walked, Walker};
use crate::vault::open::Reading;
use crate::vault::seek_table::SeekTable;

/// What comes out, in order.
pub(crate) enum Plain {
    Frame(Job<Buffer>),
    /// All frames were found, and everything after them is as it must be. A queue that closes without it ended early.
    End,
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
    frame: Option<(Walker, Buffer)>,
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
            let (mut walker, mut packed) = match self.frame.take() {
                Some(frame) => frame,
                None => (Walker::new(), self.packed.buffer().await?),
            };
            let (taken, rest) = piece.split_at(piece.len().min(walker.need() - packed.len()));
            packed.extend_from_slice(taken);
            piece = rest;
            let mut found = Walked::Go;
            // An empty block or header part may need no more bytes.
            while packed.len() == walker.need() && found == Walked::Go {
                found = walker.advance(&packed, self.table.encoded_len())?;
            }
            match found {
                Walked::Go => self.frame = Some((walker, packed)),
                Walked::Frame(len) => self.end_frame(packed, len).await?,
                Walked::Skippable => self.end_table(&packed)?,
            }
        }
        Ok(())
    }

    async fn end_frame(&mut self, packed: Buffer, len: usize) -> Result<()> {
        if len == 0 && self.limit > 0 {
            return Err(corrupt("a frame is empty"));
        }
        let offset = self.seen;
        self.seen += len as u64;
        if self.seen > self.limit {
            return Err(corrupt("the item holds more bytes than recorded").with("recorded", self.limit));
        }
        self.table.push(packed.len(), len)?;
        let mut plain = self.plain.buffer().await?;
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
