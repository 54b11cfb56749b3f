//! Many files deleted with one forced write per folder.

use std::collections::BTreeMap;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::folder::{Folder, Opened};
use super::{name, no_version};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{DeleteOutcome, ObjectRef};

pub(super) fn delete(root: &Folder, what: Vec<ObjectRef>) -> Vec<DeleteOutcome> {
    let mut results: Vec<Result<()>> = Vec::with_capacity(what.len());
    let mut by_folder: BTreeMap<Vec<String>, Vec<(usize, String)>> = BTreeMap::new();
    for (i, object) in what.iter().enumerate() {
        results.push(no_version(&object.key, object.version.as_ref()));
        if results[i].is_ok() {
            let (folders, name) = name::path(object.key.as_str());
            by_folder.entry(folders).or_default().push((i, name));
        }
    }
    for (folders, names) in by_folder {
        let failed = |i: usize, error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Ok(()),
            error => Err(root.failed("delete", what[i].key.as_str(), error.into())),
        };
        match root.walk(&folders) {
            Err(error) => names.iter().for_each(|(i, _)| results[*i] = failed(*i, error)),
            Ok(folder) => {
                for (i, name) in &names {
                    results[*i] = unlink(&folder, name).or_else(|error| failed(*i, error));
                }
                // A delete that is not on disk could come undone after a later one that relied on it.
                if let Err(error) = rustix::fs::fsync(&folder) {
                    names
                        .iter()
                        .for_each(|(i, _)| results[*i] = failed(*i, error).and_then(|()| Err(undone(&what[*i]))));
                }
            }
        }
        root.prune(&folders, 0);
    }
    what.into_iter().zip(results).map(|(object, result)| DeleteOutcome::new(object, result)).collect()
}

/// A folder is no object, so there is nothing of that key to delete.
fn unlink(folder: &Opened<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(error @ (Errno::ISDIR | Errno::PERM)) => {
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() { Ok(()) } else { Err(error) }
        }
        done => done,
    }
}

fn undone(object: &ObjectRef) -> Error {
    Error::new(ErrorKind::Other, "the delete could not be forced to disk").with("key", &object.key)
}
