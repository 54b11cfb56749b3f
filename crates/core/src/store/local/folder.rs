//! The folder that a store lives in, and ways to its files that no symbolic link leads astray.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::failure::failure;
use super::name;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ObjectMeta};

const OPEN_ROOT: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const OPEN_FOLDER: OFlags = OPEN_ROOT.union(OFlags::NOFOLLOW);
/// `NONBLOCK` so that a FIFO does not hold up the open; it says nothing to regular files.
const OPEN_FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// How often a race with a process that removes empty folders is run again. Each turn that is lost is one that another
/// process won.
const TURNS: usize = 1000;

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

/// An open folder, or the root itself.
pub(super) enum Opened<'a> {
    Root(&'a OwnedFd),
    Inner(OwnedFd),
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => fd.as_fd(),
            Self::Inner(fd) => fd.as_fd(),
        }
    }
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        match rustix::fs::open(path, OPEN_ROOT, Mode::empty()) {
            Ok(fd) => Ok(Self { path: path.to_owned(), fd }),
            Err(Errno::NOENT) => Err(Error::new(ErrorKind::NotFound, "the folder of the store does not exist")
                .operation("open")
                .with("path", path.display())
                .advise("mount its disk, or make a new store with `LocalStore::create`")),
            Err(Errno::NOTDIR) => Err(Error::new(ErrorKind::Invalid, "the store's path is not a folder")
                .operation("open")
                .with("path", path.display())),
            Err(error) => Err(failure("open", path, error.into())),
        }
    }

    pub(super) fn make(path: &Path) -> Result<()> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                // Links on the way to the store are the caller's own and are followed.
                let sync = || rustix::fs::fsync(rustix::fs::open(parent, OPEN_ROOT, Mode::empty())?);
                sync().map_err(|error| failure("create", parent, error.into()))
            }
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(failure("create", path, error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, operation: &'static str, key: &str, cause: std::io::Error) -> Error {
        let path = key.split('/').map(name::encode).fold(self.path.clone(), |path, name| path.join(name));
        failure(operation, &path, cause).with("key", key)
    }

    /// Opens the folder that `names` lead to.
    pub(super) fn walk(&self, names: &[String]) -> Result<Opened<'_>, Errno> {
        let mut folder = Opened::Root(&self.fd);
        for name in names {
            folder = Opened::Inner(open_folder(folder.as_fd(), name)?);
        }
        Ok(folder)
    }

    /// As [`walk`](Self::walk), but makes what is missing. What it makes is durable when it returns. To be run in a
    /// [`race`], as a folder may be removed while it is on its way.
    pub(super) fn ensure(&self, names: &[String]) -> Result<Opened<'_>, Errno> {
        let mut folder = Opened::Root(&self.fd);
        for name in names {
            folder = Opened::Inner(match open_folder(folder.as_fd(), name) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&folder, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
                        // Whoever saw it missing forces it to disk: the other process may not have come to it yet.
                        Ok(()) | Err(Errno::EXIST) => rustix::fs::fsync(&folder)?,
                        Err(error) => return Err(error),
                    }
                    open_folder(folder.as_fd(), name)?
                }
                opened => opened?,
            });
        }
        Ok(folder)
    }

    /// Removes the last of `names` and those above it, as long as they are empty, but for the first `keep`.
    pub(super) fn prune(&self, names: &[String], keep: usize) {
        for depth in (keep + 1..=names.len()).rev() {
            let removed = self
                .walk(&names[..depth - 1])
                .and_then(|parent| rustix::fs::unlinkat(&parent, &names[depth - 1], AtFlags::REMOVEDIR));
            match removed {
                Ok(()) | Err(Errno::NOENT) => {}
                // It is not empty, or it may not be removed: an empty folder harms nobody.
                Err(_) => return,
            }
        }
    }

    /// Opens an object to read.
    pub(super) fn read(&self, key: &Key) -> Result<(File, ObjectMeta)> {
        let (folders, name) = name::path(key.as_str());
        let opened = self.walk(&folders).and_then(|folder| {
            let file = File::from(rustix::fs::openat(&folder, name, OPEN_FILE, Mode::empty())?);
            let stat = rustix::fs::fstat(&file)?;
            Ok((file, stat))
        });
        let (file, stat) = opened.map_err(|error| self.absent_or("get", key, error))?;
        Ok((file, self.meta("get", key, &stat)?))
    }

    /// What is known of an object without opening it.
    pub(super) fn object(&self, key: &Key) -> Result<ObjectMeta> {
        let (folders, name) = name::path(key.as_str());
        let stat = self.walk(&folders).and_then(|f| rustix::fs::statat(&f, name, AtFlags::SYMLINK_NOFOLLOW));
        let stat = stat.map_err(|error| self.absent_or("head", key, error))?;
        self.meta("head", key, &stat)
    }

    fn meta(&self, operation: &'static str, key: &Key, stat: &Stat) -> Result<ObjectMeta> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => meta(key.clone(), stat),
            FileType::Symlink => Err(self.absent_or(operation, key, Errno::LOOP)),
            _ => Err(self.absent_or(operation, key, Errno::NOENT)),
        }
    }

    /// A key that cannot be written here names no object, like one that is merely absent.
    fn absent_or(&self, operation: &'static str, key: &Key, error: Errno) -> Error {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {
                Error::new(ErrorKind::NotFound, "no such object").operation(operation).with("key", key)
            }
            error => self.failed(operation, key.as_str(), error.into()),
        }
    }
}

/// Opens a folder of `parent`; a symbolic link is [`Errno::LOOP`].
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(parent, name, OPEN_FOLDER, Mode::empty()) {
        Err(Errno::NOTDIR) => match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_symlink() => Err(Errno::LOOP),
            _ => Err(Errno::NOTDIR),
        },
        opened => opened,
    }
}

/// Runs `act` again when a folder on its way vanished between two steps.
pub(super) fn race<T>(mut act: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut result = act();
    for _ in 1..TURNS {
        match result {
            Err(Errno::NOENT) => result = act(),
            done => return done,
        }
    }
    result
}

pub(super) fn meta(key: Key, stat: &Stat) -> Result<ObjectMeta> {
    let modified = modified(stat).map_err(|error| error.with("key", &key))?;
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    let etag = format!("{:x}-{:x}-{size:x}", stat.st_ino, modified.as_nanosecond());
    Ok(ObjectMeta::new(key, size, modified).with_etag(etag))
}

#[expect(clippy::useless_conversion, reason = "the types differ by platform")]
pub(super) fn modified(stat: &Stat) -> Result<Timestamp> {
    let nanos = i32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    Timestamp::new(i64::from(stat.st_mtime), nanos)
        .map_err(|error| Error::new(ErrorKind::Invalid, "the file's time cannot be told").because(error))
}
