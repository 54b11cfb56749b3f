//! The content of one file, as long as its header said, whatever happens to the file meanwhile.

use std::os::fd::BorrowedFd;

use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::Errno;

use super::entry::{Entry, Extent, Inode, Kind};
use super::pack::Pack;
use super::tar::padding;
use crate::error::Result;

/// Most extents of a sparse file; what lies beyond them is stored with its zeros.
const MAX_EXTENTS: usize = 65_536;

/// Where `file` holds data, if it has holes.
pub(super) fn extents(file: BorrowedFd<'_>, inode: &Inode) -> Option<Vec<Extent>> {
    if inode.allocated >= inode.size {
        return None;
    }
    let mut extents = Vec::new();
    let mut end = 0;
    while end < inode.size {
        let offset = match seek(file, SeekFrom::Data(end)) {
            Ok(offset) => offset.min(inode.size),
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            // The file system does not tell.
            Err(_) => return None,
        };
        if extents.len() == MAX_EXTENTS {
            extents.push(Extent { offset, length: inode.size - offset });
            break;
        }
        end = seek(file, SeekFrom::Hole(offset)).ok()?.min(inode.size);
        // The file shrinks while we ask; reading it will say so.
        if end <= offset {
            break;
        }
        extents.push(Extent { offset, length: end - offset });
    }
    let whole = [Extent { offset: 0, length: inode.size }];
    if extents == whole {
        return None;
    }
    // GNU tar marks the length of a file that ends in a hole by an empty extent.
    if extents.last().is_none_or(|last| last.offset + last.length < inode.size) {
        extents.push(Extent { offset: inode.size, length: 0 });
    }
    Some(extents)
}

/// Appends the content that the header of `entry` announced, and the padding. Says what is wrong with it, if anything.
pub(super) fn copy(pack: &mut Pack, file: BorrowedFd<'_>, entry: &Entry, before: &Inode) -> Result<Option<String>> {
    let mut problem = None;
    match &entry.kind {
        Kind::File(Some(extents)) => {
            for extent in extents {
                copy_extent(pack, file, *extent, &mut problem)?;
            }
        }
        _ => copy_extent(pack, file, Extent { offset: 0, length: entry.size }, &mut problem)?,
    }
    pack.put_zeros(padding(entry.stored()) as u64)?;
    Ok(problem.or_else(|| match fstat(file).map(Inode::from) {
        Ok(after) if after.size != before.size => {
            Some(format!("changed from {} to {} bytes while it was read", before.size, after.size))
        }
        Ok(after) if after.times() != before.times() => Some("changed while it was read".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("cannot be looked at again: {error}")),
    }))
}

fn copy_extent(pack: &mut Pack, file: BorrowedFd<'_>, extent: Extent, problem: &mut Option<String>) -> Result<()> {
    let mut done = 0;
    while done < extent.length && problem.is_none() {
        let at = extent.offset + done;
        match pack.read(file, at, extent.length - done)? {
            Ok(0) => *problem = Some(format!("shrank to {at} bytes while it was read; zeros stand for the rest")),
            Ok(read) => done += read,
            Err(error) => {
                *problem = Some(format!("cannot be read from byte {at} on: {error}; zeros stand for the rest"));
            }
        }
    }
    pack.put_zeros(extent.length - done)
}
