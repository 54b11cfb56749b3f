//! Which file system a directory lies on, so that another disk mounted there, or none, is noticed.

use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::fstatvfs;

use super::entry::Inode;

/// What the tree at `root` truly is: the file system, by the most lasting name that it has, and the path.
pub(super) fn of(root: &Path, fd: BorrowedFd<'_>, inode: &Inode) -> String {
    let path = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    format!("{} {}", file_system(fd, inode.id.0), path.display())
}

fn file_system(fd: BorrowedFd<'_>, device: u64) -> String {
    if let Some(uuid) = uuid(device) {
        return format!("uuid={uuid}");
    }
    match fstatvfs(fd) {
        Ok(stat) if stat.f_fsid != 0 => format!("fsid={:016x}", stat.f_fsid),
        _ => format!("device={device}"),
    }
}

/// The file system's UUID, where the system keeps links by UUID to block devices.
fn uuid(device: u64) -> Option<String> {
    let mut links = std::fs::read_dir("/dev/disk/by-uuid").ok()?.flatten();
    let link = links.find(|link| std::fs::metadata(link.path()).is_ok_and(|m| m.rdev() == device))?;
    link.file_name().into_string().ok()
}
