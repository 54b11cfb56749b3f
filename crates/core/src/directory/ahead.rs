//! Reads ahead of the walk where files are not in memory: a disk answers many requests almost as fast as one.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Files opened ahead.
const FILES: usize = 32;
/// Bytes asked for of each; of longer files the system itself reads ahead.
const BYTES: Option<NonZeroU64> = NonZeroU64::new(256 << 10);
/// While files are found in memory, only one in so many is asked.
const EVERY: usize = 8;

/// Files of the present directory that were opened ahead, in order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    files: VecDeque<(Vec<u8>, OwnedFd)>,
    since_asked: usize,
    /// Takes every file for one that is not in memory.
    #[cfg(test)]
    pub(super) always: bool,
}

impl Ahead {
    /// Another directory: what was opened is let go. The next file is asked whether it is in memory.
    pub(super) fn clear(&mut self) {
        self.files.clear();
        self.since_asked = EVERY;
    }

    /// The file of this name, if it was opened. Those before it are let go.
    pub(super) fn take(&mut self, name: &[u8]) -> Option<OwnedFd> {
        while let Some((opened, file)) = self.files.pop_front() {
            if opened == name {
                return Some(file);
            }
            // The walk goes in the same order: this name was passed over, or is still to come.
            if opened.as_slice() > name {
                self.files.push_front((opened, file));
                return None;
            }
        }
        None
    }

    /// The name after which to open more files, and how many, if reading ahead is worth while now.
    pub(super) fn wanted(&mut self, present: BorrowedFd<'_>) -> Option<(Vec<u8>, usize)> {
        if self.files.is_empty() {
            self.since_asked += 1;
            if self.since_asked <= EVERY {
                return None;
            }
            self.since_asked = 0;
            #[cfg(test)]
            let always = self.always;
            #[cfg(not(test))]
            let always = false;
            if !always && is_in_memory(present) {
                return None;
            }
        } else if self.files.len() > FILES / 2 {
            return None;
        }
        let count = FILES - self.files.len();
        Some((self.files.back().map_or_else(Vec::new, |(name, _)| name.clone()), count))
    }

    /// Keeps a file that was opened, and has the system fetch it.
    pub(super) fn put(&mut self, name: &[u8], file: OwnedFd) {
        // Advice only: a system that does not take it reads later.
        let _ = fadvise(&file, 0, BYTES, Advice::WillNeed);
        self.files.push_back((name.to_vec(), file));
    }
}

/// Whether the file's first byte can be had at once. True as well where the file system does not tell.
fn is_in_memory(file: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    preadv2(file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;

    #[test]
    fn files_are_taken_in_order_and_what_was_passed_over_is_let_go() {
        let file = || OwnedFd::from(tempfile::tempfile().unwrap());
        let mut ahead = Ahead { always: true, ..Ahead::default() };
        ahead.clear();
        assert_eq!(ahead.wanted(file().as_fd()), Some((vec![], FILES)));
        let opened = ["b", "d", "f"].map(|name| (name, file()));
        let numbers = opened.each_ref().map(|(_, file)| file.as_raw_fd());
        for (name, file) in opened {
            ahead.put(name.as_bytes(), file);
        }
        let mut take = |name: &str| ahead.take(name.as_bytes()).map(|file| file.as_raw_fd());
        assert_eq!(
            [take("a"), take("b"), take("c"), take("f"), take("g")],
            [None, Some(numbers[0]), None, Some(numbers[2]), None]
        );
    }

    #[test]
    fn only_some_files_are_asked_while_they_are_in_memory() {
        let mut ahead = Ahead { always: true, ..Ahead::default() };
        let file = tempfile::tempfile().unwrap();
        let asked = (0..3 * (EVERY + 1)).filter(|_| ahead.wanted(file.as_fd()).is_some()).count();
        assert_eq!(asked, 3);
    }
}
