//! Open directories from a root to where the work is, with a bounded number of file descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io;

use super::entry::Inode;

/// Directories kept open near the top; those between the root and them are opened again by `..` on the way back.
const OPEN: usize = 64;

/// Flags to open a directory by one name without following a link.
pub(super) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A path of directories, each with data of its own. The top one is always open.
#[derive(Debug)]
pub(super) struct Stack<T>(Vec<Level<T>>);

#[derive(Debug)]
struct Level<T> {
    /// None while closed, or while there is no such directory yet (a plan's view).
    fd: Option<OwnedFd>,
    id: (u64, u64),
    /// Its position in the listing matters: not to be closed.
    pinned: bool,
    data: T,
}

/// What came off the stack.
#[derive(Debug)]
pub(super) struct Popped<T> {
    /// The data of the directory that was left.
    pub(super) data: T,
    /// Data of directories above it that cannot be reached any more, innermost first: somebody moved them.
    pub(super) lost: Vec<T>,
}

impl<T> Stack<T> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The top directory, if there is one and it exists.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.last()?.fd.as_ref().map(AsFd::as_fd)
    }

    /// The root, if it exists.
    pub(super) fn root(&self) -> Option<BorrowedFd<'_>> {
        self.0.first()?.fd.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn top(&self) -> Option<&T> {
        self.0.last().map(|level| &level.data)
    }

    pub(super) fn top_mut(&mut self) -> Option<&mut T> {
        self.0.last_mut().map(|level| &mut level.data)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|level| &level.data)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|level| &mut level.data)
    }

    /// Keeps the top directory open as long as it is on the stack.
    pub(super) fn pin(&mut self) {
        if let Some(top) = self.0.last_mut() {
            top.pinned = true;
        }
    }

    /// Enters a directory below the top one.
    pub(super) fn push(&mut self, fd: OwnedFd, id: (u64, u64), data: T) {
        self.0.push(Level { fd: Some(fd), id, pinned: false, data });
        // The root stays open: it is where lost ones are counted from.
        if let Some(old) = self.0.len().checked_sub(OPEN + 1).filter(|i| *i > 0) {
            let level = &mut self.0[old];
            if !level.pinned {
                level.fd = None;
            }
        }
    }

    /// Enters a directory that does not exist yet.
    pub(super) fn push_absent(&mut self, data: T) {
        self.0.push(Level { fd: None, id: (0, 0), pinned: false, data });
    }

    /// Leaves the top directory.
    pub(super) fn pop(&mut self) -> Option<Popped<T>> {
        let gone = self.0.pop()?;
        let mut lost = Vec::new();
        if let (Some(below), Some(parent)) = (&gone.fd, self.0.last_mut())
            && parent.fd.is_none()
        {
            parent.fd = parent_of(below.as_fd(), parent.id).ok();
            while self.0.last().is_some_and(|level| level.fd.is_none()) {
                lost.extend(self.0.pop().map(|level| level.data));
            }
        }
        Some(Popped { data: gone.data, lost })
    }
}

/// Opens `..` if it is still the directory that we came from.
fn parent_of(fd: BorrowedFd<'_>, id: (u64, u64)) -> io::Result<OwnedFd> {
    let parent = openat(fd, "..", DIRECTORY, Mode::empty())?;
    let found = Inode::from(fstat(&parent)?);
    if found.id == id { Ok(parent) } else { Err(io::Errno::STALE) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Pushes `depth` directories named `d` below `root`, creating them.
    fn descend(root: &std::path::Path, depth: usize) -> Stack<usize> {
        let mut stack = Stack::new();
        let fd = OwnedFd::from(fs::File::open(root).unwrap());
        let id = Inode::from(fstat(&fd).unwrap()).id;
        stack.push(fd, id, 0);
        for level in 1..=depth {
            let top = stack.fd().unwrap();
            rustix::fs::mkdirat(top, "d", Mode::RWXU).unwrap();
            let fd = openat(top, "d", DIRECTORY, Mode::empty()).unwrap();
            let id = Inode::from(fstat(&fd).unwrap()).id;
            stack.push(fd, id, level);
        }
        stack
    }

    #[test]
    fn few_directories_are_open_and_the_way_back_is_found() {
        let place = tempfile::tempdir().unwrap();
        let mut stack = descend(place.path(), 300);
        assert!(stack.0.iter().filter(|level| level.fd.is_some()).count() <= OPEN + 1);
        for level in (0..=300).rev() {
            assert!(stack.fd().is_some());
            let popped = stack.pop().unwrap();
            assert_eq!((popped.data, popped.lost.len()), (level, 0));
        }
    }

    #[test]
    fn a_directory_that_was_moved_away_is_lost_and_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let mut stack = descend(place.path(), 100);
        // d/d/d moves to the root: `..` of its child is still right, its own `..` is not the one we came from.
        fs::rename(place.path().join("d/d/d"), place.path().join("moved")).unwrap();
        let mut lost = Vec::new();
        while let Some(popped) = stack.pop() {
            lost.extend(popped.lost);
        }
        assert_eq!(lost, [2, 1]);
    }
}
