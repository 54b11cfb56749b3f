//! Makes one entry, from its beginning to its name.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::ftruncate;
use rustix::io::{self, Errno};

use super::entry::{Entry, Extent, Kind};
use super::tar::reader::{Input, Reader};
use super::write;
use crate::error::Result;
use crate::limits::LONGEST_WRITE;

/// Writes a file. Nothing of it stays if it fails.
pub(super) fn file<I: Input>(
    dir: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    archive: &mut Reader<I>,
    replace: bool,
) -> Result<io::Result<write::Lacks>> {
    let file = match write::partial_file(dir) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let written = content(file.as_fd(), entry, archive);
    let settled = match written {
        Ok(Ok(())) => Ok(write::describe_file(file.as_fd(), entry)
            .and_then(|lacks| write::settle(dir, name, replace).map(|()| lacks))),
        Ok(Err(error)) => Ok(Err(error)),
        Err(error) => Err(error),
    };
    if !matches!(settled, Ok(Ok(_))) {
        // What went wrong counts; if this fails too, the next restore removes it.
        let _ = write::discard(dir);
    }
    settled
}

fn content<I: Input>(file: BorrowedFd<'_>, entry: &Entry, archive: &mut Reader<I>) -> Result<io::Result<()>> {
    let written = pieces(entry, archive, |mut offset, mut piece| {
        while !piece.is_empty() {
            let length = piece.len().min(LONGEST_WRITE);
            let written = io::retry_on_intr(|| io::pwrite(file, &piece[..length], offset))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            piece = &piece[written..];
            offset += written as u64;
        }
        Ok(())
    })?;
    let sparse = matches!(entry.kind, Kind::File(Some(_)));
    Ok(written.and_then(|()| if sparse { ftruncate(file, entry.size) } else { Ok(()) }))
}

/// Takes an entry's content from the archive and hands each piece of it on, with its place in the file.
pub(super) fn pieces<I: Input>(
    entry: &Entry,
    archive: &mut Reader<I>,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<io::Result<()>> {
    let whole = [Extent { offset: 0, length: entry.size }];
    let extents = match &entry.kind {
        Kind::File(Some(extents)) => &extents[..],
        _ => &whole,
    };
    let mut extents = extents.iter().copied().filter(|extent| extent.length > 0);
    let mut at = extents.next().unwrap_or_default();
    while let Some(mut chunk) = archive.content()? {
        while !chunk.is_empty() {
            let length = usize::try_from(at.length).unwrap_or(usize::MAX).min(chunk.len());
            if length == 0 {
                return Ok(Err(Errno::IO));
            }
            if let Err(error) = take(at.offset, &chunk.split_to(length)) {
                return Ok(Err(error));
            }
            at.offset += length as u64;
            at.length -= length as u64;
            if at.length == 0 {
                at = extents.next().unwrap_or_default();
            }
        }
    }
    Ok(Ok(()))
}

/// Makes what has no content.
pub(super) fn other(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry, replace: bool) -> io::Result<write::Lacks> {
    write::partial_other(dir, entry)?;
    let done = write::describe_other(dir, entry).and_then(|lacks| write::settle(dir, name, replace).map(|()| lacks));
    if done.is_err() {
        let _ = write::discard(dir);
    }
    done
}
