//! Whether what is restored fits, where that can be known.

use std::path::Path;

use backstay_core::source::{ImportPlan, ItemInfo};
use backstay_core::{Error, ErrorKind, Result};
use rustix::fs::statvfs;

use super::PgRestore;
use super::target::Target;

/// Compares sizes with free space. What cannot be compared is told as notes.
///
/// # Errors
/// [`Exhausted`](ErrorKind::Exhausted) for what cannot fit.
pub(super) fn check(restore: &PgRestore, target: &Target, plan: &ImportPlan, item: &ItemInfo) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    // Only what is behind a socket of this host is surely a folder of this host.
    let data = target.data.as_deref().filter(|_| restore.server().is_socket()).and_then(|data| free(Path::new(data)));
    match data {
        Some(free) if free < plan.bytes => return Err(full("the target", plan.bytes, free)),
        Some(_) => {}
        None => notes.push(format!("free space at the target is not known; about {} bytes are needed", plan.bytes)),
    }
    if restore.asked().jobs > 1 {
        let folder = restore.scratch_folder();
        if let Some(free) = free(&folder).filter(|free| *free < item.bytes) {
            return Err(full("the scratch folder", item.bytes, free).with("folder", folder.display()));
        }
    }
    Ok(notes)
}

fn free(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn full(place: &str, needed: u64, free: u64) -> Error {
    Error::new(ErrorKind::Exhausted, format!("{place} has too little free space"))
        .with("needed", needed)
        .with("free", free)
        .advise("make room, restore elsewhere, or choose less with `only`")
}
