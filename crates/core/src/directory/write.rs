//! The acts of a restore on one directory: each entry is made under another name and renamed when it is whole.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat,
    fchmod, fchown, futimens, linkat, mkdirat, mknodat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
    utimensat,
};
use rustix::io::{self, Errno};

use super::entry::{Entry, Kind, Xattr};
use super::place::{PARTIAL, UNFINISHED};
use super::stack::DIRECTORY;
use super::xattr;

/// What could not be set on an entry that was made.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    pub(super) owner: bool,
    pub(super) xattrs: Vec<(Vec<u8>, Errno)>,
}

/// Begins a file.
pub(super) fn partial_file(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    afresh(dir, || openat(dir, PARTIAL, flags, Mode::RUSR | Mode::WUSR))
}

/// Begins an entry that is neither file nor directory.
pub(super) fn partial_other(dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<()> {
    let node =
        |kind, (major, minor)| mknodat(dir, PARTIAL, kind, Mode::RUSR | Mode::WUSR, rustix::fs::makedev(major, minor));
    afresh(dir, || match &entry.kind {
        Kind::Symlink(target) => symlinkat(&target[..], dir, PARTIAL),
        Kind::Fifo => node(FileType::Fifo, (0, 0)),
        Kind::Character(major, minor) => node(FileType::CharacterDevice, (*major, *minor)),
        Kind::Block(major, minor) => node(FileType::BlockDevice, (*major, *minor)),
        Kind::File(_) | Kind::Directory | Kind::HardLink(_) => Err(Errno::INVAL),
    })
}

/// Gives `target` in `target_dir` another name.
pub(super) fn link(
    target_dir: BorrowedFd<'_>,
    target: &[u8],
    dir: BorrowedFd<'_>,
    name: &[u8],
    replace: bool,
) -> io::Result<()> {
    if !replace {
        return linkat(target_dir, target, dir, name, AtFlags::empty());
    }
    afresh(dir, || linkat(target_dir, target, dir, PARTIAL, AtFlags::empty()))?;
    settle(dir, name, true)
}

/// Makes a directory that is marked as unfinished from its first moment, for its owner only.
pub(super) fn directory(dir: BorrowedFd<'_>, name: &[u8], mark: &str) -> io::Result<OwnedFd> {
    afresh(dir, || mkdirat(dir, PARTIAL, Mode::RWXU))?;
    let made = openat(dir, PARTIAL, DIRECTORY, Mode::empty())?;
    mark_unfinished(made.as_fd(), mark)?;
    settle(dir, name, false)?;
    Ok(made)
}

/// Marks a directory as one that a restore works on; `mark` tells which. Gives back the file that does it.
pub(super) fn mark_unfinished(dir: BorrowedFd<'_>, mark: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(dir, UNFINISHED, flags, Mode::RUSR | Mode::WUSR)?;
    let written = io::retry_on_intr(|| io::write(&file, mark.as_bytes()))?;
    if written == mark.len() { Ok(file) } else { Err(Errno::NOSPC) }
}

/// Gives the entry that was begun its name.
pub(super) fn settle(dir: BorrowedFd<'_>, name: &[u8], replace: bool) -> io::Result<()> {
    if replace {
        return match renameat(dir, PARTIAL, dir, name) {
            // Only an empty directory may be replaced: removing it fails otherwise.
            Err(Errno::ISDIR) => {
                unlinkat(dir, name, AtFlags::REMOVEDIR)?;
                renameat(dir, PARTIAL, dir, name)
            }
            other => other,
        };
    }
    match renameat_with(dir, PARTIAL, dir, name, RenameFlags::NOREPLACE) {
        // The file system cannot do it in one step.
        Err(Errno::INVAL | Errno::NOSYS) => match linkat(dir, PARTIAL, dir, name, AtFlags::empty()) {
            Ok(()) => unlinkat(dir, PARTIAL, AtFlags::empty()),
            // A directory; and a directory can only replace an empty one.
            Err(Errno::PERM) if statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|e| e == Errno::NOENT) => {
                renameat(dir, PARTIAL, dir, name)
            }
            Err(error) => Err(error),
        },
        other => other,
    }
}

/// Removes what was begun, by this restore or one before.
pub(super) fn discard(dir: BorrowedFd<'_>) -> io::Result<()> {
    match unlinkat(dir, PARTIAL, AtFlags::empty()) {
        Err(Errno::ISDIR) => {
            let made = openat(dir, PARTIAL, DIRECTORY, Mode::empty())?;
            match unlinkat(&made, UNFINISHED, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => unlinkat(dir, PARTIAL, AtFlags::REMOVEDIR),
                Err(error) => Err(error),
            }
        }
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Runs `make`, a second time after removing what an interrupted restore left.
fn afresh<T>(dir: BorrowedFd<'_>, make: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            discard(dir)?;
            make()
        }
        other => other,
    }
}

/// Sets owner, attributes, mode and time of an open file.
pub(super) fn describe_file(file: BorrowedFd<'_>, entry: &Entry) -> io::Result<Lacks> {
    let lacks = describe(file, entry)?;
    futimens(file, &times(entry))?;
    Ok(lacks)
}

/// The same for a directory, which stops being unfinished.
pub(super) fn describe_directory(dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Lacks> {
    let lacks = describe(dir, entry)?;
    match finish_directory(dir) {
        // The mode forbids it to everybody but the super-user.
        Err(Errno::ACCESS) => {
            fchmod(dir, Mode::RWXU)?;
            finish_directory(dir)?;
            fchmod(dir, mode(entry, &lacks))?;
        }
        other => other?,
    }
    futimens(dir, &times(entry))?;
    Ok(lacks)
}

/// Takes the mark off a directory.
pub(super) fn finish_directory(dir: BorrowedFd<'_>) -> io::Result<()> {
    match unlinkat(dir, UNFINISHED, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

fn describe(file: BorrowedFd<'_>, entry: &Entry) -> io::Result<Lacks> {
    let mut lacks = Lacks::default();
    // A new owner takes set-ID bits and capabilities away, so it comes first. Attributes come before the mode: it may
    // forbid writing them.
    let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    lacks.owner = is_lacking(fchown(file, Some(owner), Some(group)))?;
    set_xattrs(xattr::Subject::File(file), &entry.xattrs, &mut lacks);
    fchmod(file, mode(entry, &lacks))?;
    Ok(lacks)
}

/// The same for the entry that was begun in `dir`, which is neither file nor directory.
pub(super) fn describe_other(dir: BorrowedFd<'_>, entry: &Entry) -> io::Result<Lacks> {
    let mut lacks = Lacks::default();
    let (owner, group) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    lacks.owner = is_lacking(chownat(dir, PARTIAL, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW))?;
    set_xattrs(xattr::Subject::Name(dir, PARTIAL), &entry.xattrs, &mut lacks);
    if !matches!(entry.kind, Kind::Symlink(_)) {
        // By way of an open file, so that a link put there in between is not followed.
        let node = openat(dir, PARTIAL, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        chmodat(CWD, format!("/proc/self/fd/{}", node.as_raw_fd()), mode(entry, &lacks), AtFlags::empty())?;
    }
    utimensat(dir, PARTIAL, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(lacks)
}

/// Whether an owner could not be given: by us, or in this user namespace by anybody.
fn is_lacking(chown: io::Result<()>) -> io::Result<bool> {
    match chown {
        Ok(()) => Ok(false),
        Err(Errno::PERM | Errno::INVAL) => Ok(true),
        Err(error) => Err(error),
    }
}

fn set_xattrs(subject: xattr::Subject<'_>, xattrs: &[Xattr], lacks: &mut Lacks) {
    for attribute in xattrs {
        if let Err(error) = xattr::set(subject, attribute) {
            lacks.xattrs.push((attribute.0.clone(), error));
        }
    }
}

fn mode(entry: &Entry, lacks: &Lacks) -> Mode {
    Mode::from_raw_mode(entry.mode_of(!lacks.owner))
}

fn times(entry: &Entry) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: entry.mtime.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_a_name_that_is_taken_only_when_it_may() {
        let place = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(place.path()).unwrap();
        std::fs::write(place.path().join("name"), "old").unwrap();
        for (replace, expected, content) in [(false, Err(Errno::EXIST), "old"), (true, Ok(()), "")] {
            discard(dir.as_fd()).unwrap();
            partial_file(dir.as_fd()).unwrap();
            assert_eq!(settle(dir.as_fd(), b"name", replace), expected);
            assert_eq!(std::fs::read_to_string(place.path().join("name")).unwrap(), content);
        }
        assert_eq!(directory(dir.as_fd(), b"name", "mark").err(), Some(Errno::EXIST));
    }
}
