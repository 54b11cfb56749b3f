//! One entry of a tree, as the archive and the file system both know it.

use rustix::fs::{FileType, Stat, Timespec};

/// A name in a tree with everything but its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Names joined by `/`, relative to the root; the root itself is empty.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    /// A file's length in bytes, holes included; else 0.
    pub(super) size: u64,
    pub(super) xattrs: Vec<Xattr>,
}

/// Name and value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Directory,
    /// With the extents that hold data, if the file has holes.
    File(Option<Vec<Extent>>),
    Symlink(Vec<u8>),
    /// Another name of an entry that came before.
    HardLink(Vec<u8>),
    Fifo,
    /// Major and minor number.
    Character(u32, u32),
    Block(u32, u32),
}

/// A stretch of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A point in time: seconds since 1970, which may be negative, plus nanoseconds, which are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

/// What the file system says of an inode: the fields that we use, in the types that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) id: (u64, u64),
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: (u32, u32),
    pub(super) size: u64,
    /// Bytes on disk.
    pub(super) allocated: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
}

impl Entry {
    /// Takes over what `inode` says; path, kind and attributes stay.
    pub(super) fn describe(&mut self, inode: &Inode) {
        self.mode = inode.mode;
        self.uid = inode.uid;
        self.gid = inode.gid;
        self.mtime = inode.mtime;
        self.size = 0;
    }

    /// The mode, as far as it can be restored: set-user-ID and set-group-ID are worth nothing, or dangerous, on a file of
    /// another owner than its own.
    pub(super) fn mode_of(&self, is_owned: bool) -> u32 {
        let dropped = if is_owned || self.kind == Kind::Directory { 0 } else { 0o6000 };
        self.mode & !dropped
    }

    /// How much memory the extended attributes take.
    pub(super) fn attribute_bytes(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Bytes of content that follow the entry in an archive, without a sparse file's map and without padding.
    pub(super) fn stored(&self) -> u64 {
        match &self.kind {
            Kind::File(Some(extents)) => extents.iter().map(|e| e.length).sum(),
            Kind::File(None) => self.size,
            _ => 0,
        }
    }
}

impl From<Stat> for Inode {
    #[allow(
        clippy::allow_attributes,
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the fields' types differ between architectures; their values fit"
    )]
    fn from(s: Stat) -> Self {
        Self {
            id: (s.st_dev as u64, s.st_ino as u64),
            kind: FileType::from_raw_mode(s.st_mode),
            mode: s.st_mode & 0o7777,
            links: s.st_nlink as u64,
            uid: s.st_uid,
            gid: s.st_gid,
            device: (rustix::fs::major(s.st_rdev), rustix::fs::minor(s.st_rdev)),
            size: s.st_size as u64,
            allocated: s.st_blocks as u64 * 512,
            mtime: Time { seconds: s.st_mtime as i64, nanos: s.st_mtime_nsec as u32 },
            ctime: Time { seconds: s.st_ctime as i64, nanos: s.st_ctime_nsec as u32 },
        }
    }
}

impl Inode {
    /// When its content and when anything of it changed last.
    pub(super) fn times(&self) -> (Time, Time) {
        (self.mtime, self.ctime)
    }
}

impl From<jiff::Timestamp> for Time {
    fn from(time: jiff::Timestamp) -> Self {
        // Before 1970 the fraction is negative, and lost.
        Self { seconds: time.as_second(), nanos: u32::try_from(time.subsec_nanosecond()).unwrap_or(0) }
    }
}

impl From<Time> for Timespec {
    fn from(time: Time) -> Self {
        Self { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
    }
}

/// A path for people and plans: text as it is, other bytes as `\xNN`, a backslash doubled, so that no two paths look alike.
pub(super) fn show(path: &[u8]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_paths_are_readable_and_never_alike() {
        for (path, shown) in [
            (&b""[..], "."),
            (b"a/b c", "a/b c"),
            ("gr\u{fc}n".as_bytes(), "gr\u{fc}n"),
            (b"a\xffb", "a\\xffb"),
            (b"a\\xffb", "a\\\\xffb"),
            (b"a\nb", "a\\nb"),
        ] {
            assert_eq!(show(path), shown);
        }
    }
}
