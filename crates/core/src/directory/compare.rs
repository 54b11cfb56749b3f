//! Compares the content of a file that is there with the archive's, for those who do not trust size and time.

use std::os::fd::BorrowedFd;

use rustix::io;

use super::entry::Entry;
use super::make::pieces;
use super::tar::reader::{Input, Reader};
use crate::error::Result;

/// Bytes of a file that are read at once.
const BUFFER: usize = 64 << 10;

/// Whether `file`, which has the entry's length, has its content. Takes the content from the archive.
pub(super) fn is_equal<I: Input>(
    file: BorrowedFd<'_>,
    entry: &Entry,
    archive: &mut Reader<I>,
) -> Result<io::Result<bool>> {
    let mut there = There { file, at: 0, equal: true, buffer: vec![0; BUFFER] };
    let compared = pieces(entry, archive, |offset, piece| {
        there.has_zeros_to(offset)?;
        there.has(piece)
    })?;
    Ok(compared.and_then(|()| there.has_zeros_to(entry.size)).map(|()| there.equal))
}

/// A file that is read once, front to back, until it differs.
struct There<'f> {
    file: BorrowedFd<'f>,
    at: u64,
    equal: bool,
    buffer: Vec<u8>,
}

impl There<'_> {
    fn has(&mut self, mut expected: &[u8]) -> io::Result<()> {
        while self.equal && !expected.is_empty() {
            let read = self.read(expected.len())?;
            let (piece, rest) = expected.split_at(read);
            self.equal = read > 0 && self.buffer[..read] == *piece;
            expected = rest;
        }
        Ok(())
    }

    /// A hole of the archive's file, up to `end`.
    fn has_zeros_to(&mut self, end: u64) -> io::Result<()> {
        while self.equal && self.at < end {
            let read = self.read(usize::try_from(end - self.at).unwrap_or(usize::MAX))?;
            self.equal = read > 0 && self.buffer[..read].iter().all(|byte| *byte == 0);
        }
        Ok(())
    }

    /// At most so many bytes; none at the end.
    fn read(&mut self, length: usize) -> io::Result<usize> {
        let buffer = &mut self.buffer[..length.min(BUFFER)];
        let read = io::retry_on_intr(|| io::pread(self.file, &mut *buffer, self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}
