//! The pax interchange format (POSIX.1-2001, `pax`), with the records that GNU tar and star added to it.

pub(super) mod header;
mod pax;
pub(super) mod reader;
pub(super) mod writer;

/// Everything in an archive is a multiple of this.
pub(super) const BLOCK: usize = 512;

/// Zero bytes from `length` to the next block.
pub(super) fn padding(length: u64) -> usize {
    let over = usize::try_from(length % BLOCK as u64).unwrap_or(0);
    (BLOCK - over) % BLOCK
}
