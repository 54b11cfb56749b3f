//! The system's errors as ours.

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// What the system answered to `operation` at `path`.
pub(super) fn error(errno: Errno, operation: &'static str, path: impl std::fmt::Display) -> Error {
    let (kind, advice) = match errno {
        Errno::NOENT => (ErrorKind::NotFound, None),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => (ErrorKind::Denied, None),
        Errno::EXIST | Errno::NOTEMPTY => (ErrorKind::AlreadyExists, None),
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => (ErrorKind::Invalid, None),
        Errno::NOSPC | Errno::DQUOT => (ErrorKind::Exhausted, Some("make room and run it again; what is done stays")),
        Errno::MFILE | Errno::NFILE => (ErrorKind::Exhausted, Some("raise the limit of open files")),
        _ => (ErrorKind::Other, None),
    };
    let error = Error::new(kind, "the system refused").operation(operation).with("path", path);
    let error = if let Some(advice) = advice { error.advise(advice) } else { error };
    error.with("reason", std::io::Error::from(errno)).because(std::io::Error::from(errno))
}
