//! Compares an entry of the archive with what lies at its place.

use jiff::Timestamp;
use rustix::fs::FileType;

use super::entry::{Entry, Inode, Kind, Time, show};

/// What lies at an entry's place.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) inode: Inode,
    /// Where a symbolic link leads.
    pub(super) target: Vec<u8>,
    /// For a hard link's place: whether it is the inode that the link is to name.
    pub(super) linked: bool,
}

/// How what was found differs from the entry as far as can be seen without reading it; none if it is equal. Attributes do
/// not count here.
pub(super) fn difference(entry: &Entry, found: &Found) -> Option<String> {
    let inode = &found.inode;
    let here = kind_name(inode.kind);
    match (&entry.kind, inode.kind) {
        (Kind::Directory, FileType::Directory) | (Kind::Fifo, FileType::Fifo) => None,
        (Kind::File(_), FileType::RegularFile) => {
            let equal = entry.size == inode.size && same_time(entry.mtime, inode.mtime);
            (!equal).then(|| {
                let (here, there) = (moment(inode.mtime), moment(entry.mtime));
                format!("{} bytes of {here} are there, the archive has {} of {there}", inode.size, entry.size)
            })
        }
        (Kind::Symlink(target), FileType::Symlink) => {
            (*target != found.target).then(|| format!("a symbolic link to {:?} is there", show(&found.target)))
        }
        (Kind::Character(major, minor), FileType::CharacterDevice)
        | (Kind::Block(major, minor), FileType::BlockDevice) => {
            ((*major, *minor) != inode.device).then(|| format!("device {}:{} is there", inode.device.0, inode.device.1))
        }
        (Kind::HardLink(target), _) => (!found.linked).then(|| {
            format!(
                "{here} of {} bytes and {} is there, not a link to {}",
                inode.size,
                moment(inode.mtime),
                show(target)
            )
        }),
        _ => Some(format!("{here} of {} bytes and {} is there", inode.size, moment(inode.mtime))),
    }
}

/// How the attributes that every system tells differ from the entry's: mode; owner, if those can be restored; and a
/// directory's time. A hard link has those of its first name.
pub(super) fn attributes(entry: &Entry, inode: &Inode, owners: bool) -> Option<String> {
    if matches!(entry.kind, Kind::HardLink(_)) {
        return None;
    }
    let mut differ = Vec::new();
    let same_owner = (entry.uid, entry.gid) == (inode.uid, inode.gid);
    let mode = entry.mode_of(owners || same_owner);
    if mode != inode.mode && !matches!(entry.kind, Kind::Symlink(_)) {
        differ.push(format!("mode {:o}, not {mode:o}", inode.mode));
    }
    if owners && !same_owner {
        differ.push(format!("owner {}:{}, not {}:{}", inode.uid, inode.gid, entry.uid, entry.gid));
    }
    if entry.kind == Kind::Directory && !same_time(entry.mtime, inode.mtime) {
        differ.push(format!("time {}, not {}", moment(inode.mtime), moment(entry.mtime)));
    }
    (!differ.is_empty()).then(|| format!("{} there has {}", kind_name(inode.kind), differ.join("; ")))
}

/// Some file systems keep whole seconds only.
pub(super) fn same_time(archived: Time, found: Time) -> bool {
    archived.seconds == found.seconds && (archived.nanos == found.nanos || found.nanos == 0)
}

fn moment(time: Time) -> String {
    Timestamp::new(time.seconds, i32::try_from(time.nanos).unwrap_or(0))
        .map_or_else(|_| format!("second {}", time.seconds), |time| time.to_string())
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_count_as_far_as_they_can_be_restored() {
        let time = Time { seconds: 5, nanos: 7 };
        let inode = |mode, uid| Inode {
            id: (1, 1),
            kind: FileType::RegularFile,
            mode,
            links: 1,
            uid,
            gid: 0,
            device: (0, 0),
            size: 0,
            allocated: 0,
            mtime: Time::default(),
            ctime: time,
        };
        let entry = |kind, mode| Entry { kind, mode, uid: 1, ..Entry::default() };
        let (file, link) = (Kind::File(None), Kind::Symlink(b"t".to_vec()));
        for (entry, found, owners, equal) in [
            (entry(file.clone(), 0o644), inode(0o644, 1), true, true),
            (entry(file.clone(), 0o644), inode(0o600, 1), true, false),
            (entry(file.clone(), 0o644), inode(0o600, 1), false, false),
            (entry(file.clone(), 0o644), inode(0o644, 2), true, false),
            (entry(file.clone(), 0o644), inode(0o644, 2), false, true),
            // Restored by somebody who may not give files away: without the bit.
            (entry(file.clone(), 0o4755), inode(0o755, 2), false, true),
            (entry(file.clone(), 0o4755), inode(0o4755, 2), false, false),
            (entry(file, 0o4755), inode(0o755, 1), false, false),
            (entry(link.clone(), 0o777), inode(0o700, 1), true, true),
            (entry(link, 0o777), inode(0o777, 2), true, false),
            (entry(Kind::HardLink(b"t".to_vec()), 0o644), inode(0o600, 2), true, true),
        ] {
            assert_eq!(attributes(&entry, &found, owners).is_none(), equal, "{entry:?} {found:?}");
        }
    }

    #[test]
    fn equal_is_what_the_documentation_says() {
        let time = Time { seconds: 5, nanos: 7 };
        let inode = Inode {
            id: (1, 1),
            kind: FileType::RegularFile,
            mode: 0o600,
            links: 1,
            uid: 0,
            gid: 0,
            device: (1, 3),
            size: 10,
            allocated: 4096,
            mtime: time,
            ctime: time,
        };
        let of = |kind| Found { inode: Inode { kind, ..inode }, target: b"t".to_vec(), linked: false };
        let entry = |kind| Entry { kind, size: 10, mtime: time, mode: 0o644, ..Entry::default() };
        let file = of(FileType::RegularFile);
        let linked = Found { linked: true, ..file.clone() };
        let whole_seconds = Found { inode: Inode { mtime: Time { seconds: 5, nanos: 0 }, ..inode }, ..file.clone() };
        let longer = Found { inode: Inode { size: 11, ..inode }, ..file.clone() };
        let later = Found { inode: Inode { mtime: Time { seconds: 5, nanos: 8 }, ..inode }, ..file.clone() };
        for (kind, found, equal) in [
            (Kind::File(None), &file, true),
            (Kind::File(None), &whole_seconds, true),
            (Kind::File(None), &longer, false),
            (Kind::File(None), &later, false),
            (Kind::File(None), &of(FileType::Directory), false),
            (Kind::Directory, &of(FileType::Directory), true),
            (Kind::Directory, &of(FileType::Symlink), false),
            (Kind::Symlink(b"t".to_vec()), &of(FileType::Symlink), true),
            (Kind::Symlink(b"u".to_vec()), &of(FileType::Symlink), false),
            (Kind::Character(1, 3), &of(FileType::CharacterDevice), true),
            (Kind::Character(1, 5), &of(FileType::CharacterDevice), false),
            (Kind::Block(1, 3), &of(FileType::CharacterDevice), false),
            (Kind::Fifo, &of(FileType::Fifo), true),
            (Kind::HardLink(b"x".to_vec()), &file, false),
            (Kind::HardLink(b"x".to_vec()), &linked, true),
        ] {
            assert_eq!(difference(&entry(kind.clone()), found).is_none(), equal, "{kind:?} {found:?}");
        }
    }
}
