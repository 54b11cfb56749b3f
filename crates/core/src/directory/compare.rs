//! Compares an entry with what is there: by what can be seen and, for those who do not trust that, by content.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::openat;
use rustix::io;

use super::decide::{self, Found};
use super::entry::{Entry, Kind};
use super::make::pieces;
use super::place::{join, names};
use super::restore::{Mode, Record, Restore};
use super::tar::reader::{Input, Reader};
use super::walk::READ;
use crate::error::Result;

/// Why a file is replaced, or stays, that looks equal.
const CONTENT: &str = "the content differs, though size and time are equal";

/// Bytes of a file that are read at once.
const BUFFER: usize = 64 << 10;

impl<R: Record> Restore<R> {
    /// How what lies at the entry's place differs from it, which may take reading it.
    pub(super) fn difference<I: Input>(
        &self,
        name: &[u8],
        entry: &Entry,
        found: &Found,
        archive: &mut Reader<I>,
    ) -> Result<io::Result<Option<String>>> {
        let linked = match &entry.kind {
            Kind::HardLink(to) => found.linked && !names(to).is_ok_and(|to| self.replaced.contains(&join(&to))),
            _ => false,
        };
        let seen = decide::difference(entry, &Found { linked, ..found.clone() }).or_else(|| {
            // In a directory that it made itself, a restore set what it could when it made the entry. Directories have
            // rules of their own.
            let counts = !self.target.is_ours() && entry.kind != Kind::Directory;
            if counts { decide::attributes(entry, &found.inode, self.privileged) } else { None }
        });
        let (Kind::File(_), None, true, Some(dir)) = (&entry.kind, &seen, self.compare_content, self.target.dir())
        else {
            return Ok(Ok(seen));
        };
        let differs = || Some(CONTENT.to_owned());
        // To be replaced: the archive gives its content once, and it is needed for that.
        if matches!(self.mode, Mode::Apply(_)) && self.overwrite && self.is_planned(&entry.path, CONTENT) {
            return Ok(Ok(differs()));
        }
        let file = match openat(dir, name, READ, rustix::fs::Mode::empty()) {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let equal = is_equal(file.as_fd(), entry, archive)?;
        Ok(equal.map(|equal| if equal { None } else { differs() }))
    }
}

/// Whether `file`, which has the entry's length, has its content. Takes the content from the archive.
fn is_equal<I: Input>(file: BorrowedFd<'_>, entry: &Entry, archive: &mut Reader<I>) -> Result<io::Result<bool>> {
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
