//! Extended attributes, POSIX ACLs and capabilities among them.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lsetxattr};
use rustix::io::{self, Errno};

use super::entry::Xattr;

/// The largest value and the longest list that Linux allows.
const MAX: usize = 65_536;

/// Reads attributes; keeps its buffer from one file to the next.
pub(super) struct Reader {
    list: Vec<u8>,
    value: Vec<u8>,
}

/// What has attributes.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// An open file or directory.
    File(BorrowedFd<'a>),
    /// A name in an open directory, not followed if it is a symbolic link.
    Name(BorrowedFd<'a>, &'a [u8]),
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { list: vec![0; MAX], value: Vec::new() }
    }

    /// Replaces `xattrs` with those of `subject`, sorted by name. A file system without attributes has none.
    pub(super) fn read(&mut self, subject: Subject<'_>, xattrs: &mut Vec<Xattr>) -> io::Result<()> {
        xattrs.clear();
        let list = &mut self.list[..];
        let length = match subject {
            Subject::File(fd) => flistxattr(fd, list),
            Subject::Name(dir, name) => llistxattr(&through_proc(dir, name)[..], list),
        };
        let length = match length {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in self.list[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
            self.value.resize(MAX, 0);
            let value = &mut self.value[..];
            let read = match subject {
                Subject::File(fd) => fgetxattr(fd, name, value),
                Subject::Name(dir, own) => lgetxattr(&through_proc(dir, own)[..], name, value),
            };
            match read {
                Ok(length) => xattrs.push((name.to_vec(), self.value[..length].to_vec())),
                // Removed since, or one of those that are listed and have no value.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        xattrs.sort_unstable();
        Ok(())
    }
}

/// Sets one attribute.
pub(super) fn set(subject: Subject<'_>, (name, value): &Xattr) -> io::Result<()> {
    match subject {
        Subject::File(fd) => fsetxattr(fd, &name[..], value, XattrFlags::empty()),
        Subject::Name(dir, own) => lsetxattr(&through_proc(dir, own)[..], &name[..], value, XattrFlags::empty()),
    }
}

/// There are no calls for a name in an open directory; `/proc` leads to it without a path that somebody could move.
fn through_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat()
}
