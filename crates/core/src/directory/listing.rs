//! The names in a directory, a bounded portion at a time, each portion sorted.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use rustix::fs::{FileType, RawDir};
use rustix::io;

/// Names in one portion, roughly. A larger directory is sorted portion by portion.
const PORTION: usize = 65_536;
/// What one call to the system may return.
const BUFFER: usize = 32 << 10;

/// A directory's names, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    text: Vec<u8>,
    names: Vec<(std::ops::Range<usize>, FileType)>,
    next: usize,
    ended: bool,
}

impl Listing {
    /// Nothing was read yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// No name at all.
    pub(super) fn of_nothing() -> Self {
        Self { ended: true, ..Self::default() }
    }

    /// One name and no more.
    pub(super) fn of(name: &[u8], kind: FileType) -> Self {
        Self { text: name.to_vec(), names: vec![(0..name.len(), kind)], next: 0, ended: true }
    }

    /// The next name of this portion; the type is unknown where the file system does not tell.
    pub(super) fn next(&mut self) -> Option<(&[u8], FileType)> {
        let (range, kind) = self.names.get(self.next)?;
        self.next += 1;
        Some((&self.text[range.clone()], *kind))
    }

    /// Regular files among the names of this portion that are still to come.
    pub(super) fn files_to_come(&self) -> impl Iterator<Item = &[u8]> {
        let rest = self.names.get(self.next..).unwrap_or_default().iter();
        rest.filter(|(_, kind)| *kind == FileType::RegularFile).map(|(range, _)| &self.text[range.clone()])
    }

    /// Whether a file of this name is in this portion.
    pub(super) fn has_file(&self, name: &[u8]) -> bool {
        let found = self.names.binary_search_by(|(range, _)| self.text[range.clone()].cmp(name));
        found.is_ok_and(|i| matches!(self.names[i].1, FileType::RegularFile | FileType::Unknown))
    }

    /// Whether this portion is the last.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Gives up.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Reads the next portion, from where `dir` stands.
    pub(super) fn read(&mut self, dir: impl AsFd) -> io::Result<()> {
        self.text.clear();
        self.names.clear();
        self.next = 0;
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(dir, &mut buffer);
        loop {
            // Entries in the buffer would be lost: stop only between two calls.
            if entries.is_buffer_empty() && self.names.len() >= PORTION {
                break;
            }
            let Some(entry) = entries.next() else {
                self.ended = true;
                break;
            };
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let start = self.text.len();
                self.text.extend_from_slice(name);
                self.names.push((start..self.text.len(), entry.file_type()));
            }
        }
        let text = &self.text;
        self.names.sort_unstable_by(|(a, _), (b, _)| text[a.clone()].cmp(&text[b.clone()]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_directory_is_listed_whole_in_sorted_portions() {
        let place = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(place.path()).unwrap();
        let count = PORTION + 3000;
        for i in 0..count {
            rustix::fs::mknodat(&dir, format!("{i:07}"), FileType::RegularFile, 0o600.into(), 0).unwrap();
        }
        let mut listing = Listing::new();
        let mut all = std::collections::BTreeSet::new();
        let mut portions = 0;
        while !listing.is_ended() {
            listing.read(&dir).unwrap();
            portions += 1;
            let mut last = Vec::new();
            while let Some((name, kind)) = listing.next() {
                assert!(*name > *last && kind == FileType::RegularFile);
                last = name.to_vec();
                assert!(all.insert(last.clone()));
            }
        }
        assert_eq!((all.len(), portions), (count, 2));
    }
}
