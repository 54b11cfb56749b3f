//! What the file system's errors mean.

use std::path::Path;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// The error of `operation` on `path`.
pub(super) fn failure(operation: &'static str, path: &Path, cause: std::io::Error) -> Error {
    let (kind, message, advice) = match Errno::from_io_error(&cause) {
        Some(Errno::NOENT) => (ErrorKind::NotFound, "there is no such file", ""),
        Some(Errno::EXIST) => (ErrorKind::AlreadyExists, "the name is taken", ""),
        Some(Errno::NOSPC) => (ErrorKind::Exhausted, "the disk is full", "free space or use a larger disk"),
        Some(Errno::DQUOT) => (ErrorKind::Exhausted, "the disk quota is used up", "free space or raise the quota"),
        Some(Errno::FBIG) => (ErrorKind::Exhausted, "the file is larger than the file system allows", ""),
        Some(Errno::MFILE | Errno::NFILE) => {
            (ErrorKind::Exhausted, "too many files are open", "raise the limit of open files")
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            (ErrorKind::Denied, "the file system denies it", "check the owner and mode of the folder")
        }
        Some(Errno::ROFS) => (ErrorKind::Denied, "the file system is read-only", "mount it writable"),
        Some(Errno::LOOP) => (
            ErrorKind::Refused,
            "a symbolic link stands in the store and is not followed",
            "replace it by what it points to, or mount that there",
        ),
        Some(Errno::NOTDIR | Errno::ISDIR) => {
            (ErrorKind::Conflict, "a file and a folder have one name", "a key cannot be the folder of another")
        }
        Some(Errno::NAMETOOLONG) => (
            ErrorKind::Invalid,
            "a name is longer than the file system allows",
            "use shorter names, of lower-case ASCII letters and digits",
        ),
        Some(Errno::XDEV) => (
            ErrorKind::Unsupported,
            "a folder of the store lies on another file system",
            "keep the whole store on one file system",
        ),
        Some(Errno::OPNOTSUPP) => (ErrorKind::Unsupported, "the file system cannot do this", "use one with hard links"),
        Some(Errno::BUSY) => (ErrorKind::Busy, "the file system is busy with it", ""),
        Some(Errno::TIMEDOUT) => (ErrorKind::Timeout, "the file system did not answer in time", ""),
        _ => (ErrorKind::Other, "the file system failed", "look into the system's log"),
    };
    let error = Error::new(kind, message).operation(operation).with("path", path.display()).because(cause);
    if advice.is_empty() { error } else { error.advise(advice) }
}
