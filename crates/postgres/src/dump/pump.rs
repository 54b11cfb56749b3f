//! The bytes of `pg_dump` on their way into an item.

use backstay_core::source::ItemWriter;
use backstay_core::{Error, ErrorKind, Result};
use bytes::BytesMut;
use tokio::io::AsyncReadExt;

use crate::client::Child;
use crate::connect::Session;

/// What is read at once, and how much a pipe may hold.
const CHUNK: usize = 1 << 20;
/// A buffer with less room is not worth a read.
const LEAST: usize = 64 << 10;
/// How an archive begins.
const MAGIC: &[u8] = b"PGDMP";
/// What comes before the table of contents: magic, version, sizes, format.
const HEADER: u64 = 11;

/// Which side failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The database, `pg_dump`, or the way to them: this item is lost.
    Source(Error),
    /// Where the items go: everything is.
    Sink(Error),
}

/// Hands all of `pg_dump`'s output on. Ends early if the session that holds the snapshot does.
pub(super) async fn pump(child: &mut Child, item: &mut dyn ItemWriter, session: &mut Session) -> Result<Head, Failed> {
    let mut head = Head::default();
    let Some(stdout) = &mut child.stdout else { return Ok(head) };
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < LEAST {
            buffer.reserve(CHUNK);
        }
        // Only the read is given up half way: a write that was would have lost bytes.
        let read = tokio::select! {
            biased;
            read = stdout.read_buf(&mut buffer) => read.map_err(|error| Failed::Source(unreadable(error)))?,
            error = session.lost() => return Err(Failed::Source(lost(error))),
        };
        if read == 0 {
            return Ok(head);
        }
        head.see(&buffer);
        item.write(buffer.split().freeze()).await.map_err(Failed::Sink)?;
    }
}

/// How an archive began, and how long it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    first: Vec<u8>,
    bytes: u64,
}

impl Head {
    fn see(&mut self, bytes: &[u8]) {
        let missing = MAGIC.len() - self.first.len();
        self.first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        self.bytes += bytes.len() as u64;
    }

    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no archive.
    pub(super) fn is_archive(&self) -> Result<()> {
        if self.first == MAGIC && self.bytes > HEADER {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "what pg_dump wrote is no archive").with("bytes", self.bytes))
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, "the output of pg_dump cannot be read").because(error)
}

fn lost(error: Error) -> Error {
    Error::new(error.kind(), "the session that holds the snapshot ended during the dump").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[&[u8]]) -> Result<()> {
        let mut head = Head::default();
        pieces.iter().for_each(|piece| head.see(piece));
        head.is_archive()
    }

    #[test]
    fn only_an_archive_with_something_after_its_header_is_one() {
        seen(&[b"PG", b"", b"DMP\x01\x0e\x00\x04\x08", b"\x01\x00"]).unwrap();
        for pieces in
            [&[b"".as_slice()][..], &[b"PGDMP\x01\x0e\x00\x04\x08\x01"], &[b"-- PostgreSQL database dump"], &[b"PG"]]
        {
            assert_eq!(seen(pieces).unwrap_err().kind(), ErrorKind::Corrupt, "{pieces:?}");
        }
    }
}
