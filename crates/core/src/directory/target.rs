//! The target as far as a restore has come: where it stands, and what is there. It never follows a link below the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, readlinkat, statat};
use rustix::io::{self, Errno};

use super::decide::Found;
use super::entry::{Entry, Inode, Kind, show};
use super::listing::Listing;
use super::place::{UNFINISHED, join, names};
use super::stack::{DIRECTORY, Stack};
use super::walk::READ;
use super::{errno, write};
use crate::error::{Error, ErrorKind, Result};

/// Attributes of directories that wait until those are left; an archive that asks for more is a bomb.
pub(super) const MAX_WAITING: usize = 64 << 20;

/// A place in the target.
pub(super) struct Target {
    stack: Stack<Level>,
    waiting: usize,
    /// What an unfinished directory of this restore is marked with.
    mark: String,
}

/// A directory on the way to the place.
#[derive(Debug, Default)]
struct Level {
    name: Vec<u8>,
    /// Made by this restore or an interrupted one before, which has not finished it.
    ours: bool,
    /// What to set on it when it is left.
    entry: Option<Entry>,
}

/// Why a place cannot be reached.
pub(super) enum Blocked {
    /// What lies there does not let the restore in, for this reason.
    Conflict(&'static str),
    System(Errno),
}

impl Target {
    /// The target's root; it may be absent. With `make` it is created, and marked as unfinished if it is ours: absent
    /// before, empty, or left by an interrupted restore with the same `mark`. One that another restore left is refused.
    pub(super) fn open(root: &Path, make: bool, mark: String) -> Result<Self> {
        let failed = |e| errno::error(e, "open target", root.display());
        let open = || rustix::fs::open(root, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty());
        let mut fd = open();
        if make && matches!(fd, Err(Errno::NOENT)) {
            match rustix::fs::mkdir(root, Mode::RWXU) {
                // Another restore was faster; which of the two goes first is for the lock to say.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => {
                    return Err(errno::error(error, "create target", root.display())
                        .advise("create the directory in which it is to lie"));
                }
            }
            fd = open();
        }
        let mut target = Self { stack: Stack::new(), waiting: 0, mark };
        let level = Level { ours: true, ..Level::default() };
        match fd {
            Err(Errno::NOENT) => {
                let parent = root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if !parent.is_dir() {
                    return Err(failed(Errno::NOENT).advise("create the directory in which it is to lie"));
                }
                target.stack.push_absent(level);
            }
            Err(error) => return Err(failed(error)),
            Ok(fd) => {
                let id = fstat(&fd).map(Inode::from).map_err(failed)?.id;
                if make {
                    lock(fd.as_fd(), root)?;
                }
                let ours = match unfinished(fd.as_fd(), &target.mark).map_err(failed)? {
                    Unfinished::No => is_empty(fd.as_fd()).map_err(failed)?,
                    Unfinished::Ours => true,
                    Unfinished::Others => return Err(not_ours(root)),
                };
                if ours && make {
                    let file = write::mark_unfinished(fd.as_fd(), &target.mark).map_err(failed)?;
                    // Should the machine stop, whatever else was written must not outlive the mark.
                    fsync(file).map_err(failed)?;
                }
                target.stack.push(fd, id, Level { ours, ..level });
            }
        }
        Ok(target)
    }

    /// The directory that the restore stands in; none if it is yet to be made.
    pub(super) fn dir(&self) -> Option<BorrowedFd<'_>> {
        self.stack.fd()
    }

    /// What an unfinished directory is to be marked with.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    pub(super) fn root(&self) -> Option<BorrowedFd<'_>> {
        self.stack.root()
    }

    /// Whether the directory that the restore stands in was made by it, or by an interrupted one before.
    pub(super) fn is_ours(&self) -> bool {
        self.stack.top().is_some_and(|level| level.ours)
    }

    /// How many directories of `names` the restore stands in already.
    pub(super) fn common(&self, names: &[&[u8]]) -> usize {
        let inside = self.stack.iter().skip(1);
        inside.zip(names).take_while(|(level, name)| level.name == **name).count()
    }

    /// How many directories below the root the restore stands in.
    pub(super) fn depth(&self) -> usize {
        self.stack.len().saturating_sub(1)
    }

    /// The path of the present directory.
    pub(super) fn path(&self) -> Vec<u8> {
        join(&self.stack.iter().skip(1).map(|level| &level.name[..]).collect::<Vec<_>>())
    }

    /// What lies under `name` in the present directory.
    pub(super) fn look(&self, name: &[u8]) -> io::Result<Option<Inode>> {
        let Some(dir) = self.dir() else { return Ok(None) };
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat.into())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, with what a comparison with `entry` needs.
    pub(super) fn find(&self, name: &[u8], entry: &Entry) -> io::Result<Option<Found>> {
        let Some(inode) = self.look(name)? else { return Ok(None) };
        let mut found = Found { inode, target: Vec::new(), linked: false };
        if inode.kind == FileType::Symlink
            && let Some(dir) = self.dir()
        {
            found.target = readlinkat(dir, name, Vec::new())?.into_bytes();
        }
        if let Kind::HardLink(target) = &entry.kind
            && let Ok(Some((_, _, other))) = self.resolve(target)
        {
            found.linked = other.id == inode.id;
        }
        Ok(Some(found))
    }

    /// Enters the directory `name`; `made` if it was made just now.
    pub(super) fn enter(&mut self, name: &[u8], made: Option<OwnedFd>) -> Result<(), Blocked> {
        let Some(dir) = self.dir() else {
            self.enter_absent(name);
            return Ok(());
        };
        let ours = made.is_some();
        let fd = match made.map_or_else(|| openat(dir, name, DIRECTORY, Mode::empty()), Ok) {
            Ok(fd) => fd,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Blocked::Conflict("something that is no directory lies on its path"));
            }
            Err(error) => return Err(Blocked::System(error)),
        };
        let id = fstat(&fd).map(Inode::from).map_err(Blocked::System)?.id;
        let ours = match unfinished(fd.as_fd(), &self.mark).map_err(Blocked::System)? {
            Unfinished::No => ours,
            Unfinished::Ours => true,
            Unfinished::Others => {
                return Err(Blocked::Conflict(
                    "an unfinished restore of something else lies on its path; finish or remove that",
                ));
            }
        };
        self.stack.push(fd, id, Level { name: name.to_vec(), ours, entry: None });
        Ok(())
    }

    /// Enters a directory that is yet to be made: for a plan.
    pub(super) fn enter_absent(&mut self, name: &[u8]) {
        self.stack.push_absent(Level { name: name.to_vec(), ours: true, entry: None });
    }

    /// Keeps what is to be set on the present directory when it is left.
    pub(super) fn describe(&mut self, mut entry: Entry) -> Result<()> {
        self.take_description();
        entry.path = Vec::new();
        self.waiting += entry.attribute_bytes();
        if self.waiting > MAX_WAITING {
            return Err(too_many_attributes());
        }
        if let Some(level) = self.stack.top_mut() {
            level.entry = Some(entry);
        }
        Ok(())
    }

    /// Takes what [`describe`](Self::describe) kept.
    pub(super) fn take_description(&mut self) -> Option<Entry> {
        let entry = self.stack.top_mut()?.entry.take()?;
        self.waiting -= entry.attribute_bytes();
        Some(entry)
    }

    /// Leaves the present directory.
    pub(super) fn leave(&mut self) -> Result<()> {
        let Some(popped) = self.stack.pop() else { return Ok(()) };
        if popped.lost.is_empty() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Conflict, "a directory was moved away while it was restored")
                .with("path", show(&popped.data.name))
                .advise("leave the target alone and run it again"))
        }
    }

    /// The directory, name and inode that an archive's path leads to, if it exists.
    pub(super) fn resolve(&self, path: &[u8]) -> io::Result<Option<(OwnedFd, Vec<u8>, Inode)>> {
        let Ok(names) = names(path) else { return Ok(None) };
        let (Some(root), Some((last, above))) = (self.root(), names.split_last()) else { return Ok(None) };
        let mut dir = root.try_clone_to_owned().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        for name in above {
            dir = match openat(&dir, *name, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        match statat(&dir, *last, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((dir, last.to_vec(), stat.into()))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// One restore at a time: two would take each other's unfinished files for leftovers. A restore whose caller gave it up
/// ends within moments, so this waits for some. The lock ends with the last descriptor of the root.
fn lock(dir: BorrowedFd<'_>, root: &Path) -> Result<()> {
    let mut waits = 600;
    loop {
        match flock(dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if waits > 0 => std::thread::sleep(std::time::Duration::from_millis(50)),
            Err(Errno::WOULDBLOCK) => {
                return Err(Error::new(ErrorKind::Busy, "another restore works on the target")
                    .with("path", root.display())
                    .advise("wait until it has ended, or end it"));
            }
            // Without locks in the file system it is the callers' business.
            Ok(()) | Err(_) => return Ok(()),
        }
        waits -= 1;
    }
}

pub(super) fn too_many_attributes() -> Error {
    Error::new(ErrorKind::Refused, "directories in one another have more than 64 MiB of extended attributes")
        .advise("this is no tree that anybody made; look where the archive comes from")
}

fn not_ours(root: &Path) -> Error {
    Error::new(ErrorKind::Refused, "a restore of something else was begun in the target and is not finished")
        .with("path", root.display())
        .advise("run that one again, restore into another folder, or remove this one with all that is in it")
}

/// Whose unfinished work a directory is.
enum Unfinished {
    No,
    Ours,
    Others,
}

fn unfinished(dir: BorrowedFd<'_>, mark: &str) -> io::Result<Unfinished> {
    let file = match openat(dir, UNFINISHED, READ, Mode::empty()) {
        Ok(file) if Inode::from(fstat(&file)?).kind == FileType::RegularFile => file,
        Ok(_) | Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(Unfinished::No),
        // Only its maker may read it.
        Err(Errno::ACCESS) => return Ok(Unfinished::Others),
        Err(error) => return Err(error),
    };
    // One byte more than ours has.
    let mut found = vec![0; mark.len() + 1];
    let length = io::retry_on_intr(|| io::read(&file, &mut found))?;
    // An empty one was cut off by a stop of the machine: nothing was put beside it yet, or nothing is known.
    Ok(if length == 0 || found[..length] == *mark.as_bytes() { Unfinished::Ours } else { Unfinished::Others })
}

pub(super) fn is_empty(dir: BorrowedFd<'_>) -> io::Result<bool> {
    // Opened anew: reading moves the position of the one that was given.
    let mut listing = Listing::new();
    listing.read(openat(dir, ".", DIRECTORY, Mode::empty())?)?;
    Ok(listing.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_restore_waits_for_the_first() {
        let place = tempfile::tempdir().unwrap();
        let first = Target::open(place.path(), true, "mark".to_owned()).unwrap();
        let (opened, second) = mpsc::channel();
        let root = place.path().to_owned();
        let thread =
            std::thread::spawn(move || opened.send(Target::open(&root, true, "mark".to_owned()).map(drop)).unwrap());
        assert!(matches!(second.recv_timeout(Duration::from_millis(200)), Err(mpsc::RecvTimeoutError::Timeout)));
        drop(first);
        second.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn a_plan_does_not_lock() {
        let place = tempfile::tempdir().unwrap();
        let _restore = Target::open(place.path(), true, "mark".to_owned()).unwrap();
        assert!(Target::open(place.path(), false, "mark".to_owned()).is_ok());
    }
}
