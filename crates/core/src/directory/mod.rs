//! The built-in source: a directory tree as one pax tar archive, and back.
//!
//! The data's way out: `walk` finds entries, `content` reads files, `tar::writer` turns both into bytes, `pack` hands them
//! over in large buffers. The way in: `tar::reader` takes entries out of a stream, `place` reads where they go, `target` goes
//! there without ever following a link, `decide` and `compare` compare, `restore` chooses what to do, `make` and `write` do it.

mod ahead;
mod compare;
mod content;
mod decide;
mod drill;
mod drill_check;
mod entry;
mod errno;
mod export;
mod globs;
mod identity;
mod import;
mod links;
mod listing;
mod make;
mod owner;
mod pack;
mod place;
mod restore;
mod stack;
mod tally;
mod tar;
mod target;
mod walk;
mod write;
mod xattr;

#[cfg(test)]
mod tests;

pub use drill::DirectoryDrill;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::source::ExporterInfo;

/// The kind of component, as manifests name it.
const KIND: &str = "directory";
/// The one item of an export.
const ITEM: &str = "tree";
/// What the item's bytes are.
const FORMAT: &str = "tar";

/// A directory tree: exported as one item `tree` of format `tar`, and restored from it.
///
/// # Export
/// The item is a pax archive (POSIX.1-2001) that GNU tar opens. It keeps mode, owner (numbers and names), modification
/// time to the nanosecond, symbolic and hard links, extended attributes with POSIX ACLs and capabilities, holes of sparse
/// files, FIFOs, devices, and names as the bytes they are. Sockets have no place in a tar archive; they are counted in the
/// report's notes. Entries of a directory are sorted by name, in portions of 65,536.
///
/// An unreadable file, and one that changes, shrinks or vanishes while it is read, is a problem in the report: the
/// component is then incomplete. So is a directory in which entries came or went while it was read, or since the export
/// began: what moved in that time may be in neither place. A tree that is written to all the time is exported from a
/// snapshot of its file system, or while a [hook](crate::source::Hook) holds its writers. A file of a name that restores
/// reserve (`.backstay-partial`, `.backstay-unfinished`) and the vault that all this goes into are problems too, unless they
/// are excluded. A missing directory is an error, and so in a backup is one that has nothing but directories in it: see
/// [`ExportReport::empty`](crate::source::ExportReport).
///
/// # Import
/// The target is created if it is absent (its parent must exist). Entries are compared by type, mode and, if this is the
/// super-user, owner; files by size and modification time, and by content if
/// [`ImportOptions::compare_content`](crate::source::ImportOptions) asks for it; symbolic links by target, devices by
/// number. What is equal stays, what differs is a conflict and stays too, unless
/// [`ImportOptions::overwrite`](crate::source::ImportOptions) replaces it; a directory that is not empty is never replaced.
/// Directories that were there keep their attributes unless overwriting. Extended attributes are not compared. If an
/// archive names a path twice, the first stays.
///
/// A file appears under its name only when it is whole. An interrupted import is finished by running it again; until then
/// the target takes no other one. The super-user restores owners by number; anybody else becomes the owner, set-user-ID and
/// set-group-ID bits are then dropped, and the report says so. [`ImportOptions::only`](crate::source::ImportOptions) takes
/// globs as [`DirectoryOptions::exclude`] does.
///
/// Nothing is written through a symbolic link or outside the target, whatever the archive says.
///
/// ```
/// use backstay_core::directory::Directory;
///
/// let source = Directory::new("/srv/app").exclude(["*.tmp", "cache/**"]).one_file_system();
/// assert_eq!(source.to_string(), "directory /srv/app");
/// ```
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
    options: DirectoryOptions,
    info: ExporterInfo,
}

/// What of a tree is exported. It has no meaning for an import.
///
/// ```
/// use backstay_core::directory::DirectoryOptions;
///
/// let options: DirectoryOptions = serde_json::from_str(r#"{ "exclude": ["target"], "one_file_system": true }"#)?;
/// assert!(options.one_file_system && options.include.is_empty());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DirectoryOptions {
    /// Only what matches one of these globs, and what lies below it; everything if empty. Directories on the way are kept.
    /// One without wildcards that matches nothing is a problem: what it names is missing.
    pub include: Vec<String>,
    /// Not what matches one of these globs, nor what lies below it; stronger than `include`. What is left out is counted.
    ///
    /// A glob with a `/` is matched with the whole path relative to the root (`var/cache`, `logs/**/*.gz`), one without
    /// with the last name at any depth (`*.tmp`, `node_modules`). `*` and `?` do not match a `/`; `**` matches any number
    /// of directories; `[a-z]` and `{a,b}` work as in a shell. Case counts. The root itself is never left out.
    pub exclude: Vec<String>,
    /// Do not go into other file systems. The directory on which one is mounted is kept, empty, and noted.
    pub one_file_system: bool,
    /// Of a directory that is marked by a `CACHEDIR.TAG` (<https://bford.info/cachedir/>) keep only itself and the mark.
    pub skip_caches: bool,
}

impl Directory {
    /// The tree at `root`. Nothing is read yet. A symbolic link in `root` itself is followed.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), options: DirectoryOptions::default(), info: ExporterInfo::new(KIND) }
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: DirectoryOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds globs to [`DirectoryOptions::include`].
    #[must_use]
    pub fn include<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        self.options.include.extend(globs.into_iter().map(Into::into));
        self
    }

    /// Adds globs to [`DirectoryOptions::exclude`].
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        self.options.exclude.extend(globs.into_iter().map(Into::into));
        self
    }

    /// Sets [`DirectoryOptions::one_file_system`].
    #[must_use]
    pub fn one_file_system(mut self) -> Self {
        self.options.one_file_system = true;
        self
    }

    /// Sets [`DirectoryOptions::skip_caches`].
    #[must_use]
    pub fn skip_caches(mut self) -> Self {
        self.options.skip_caches = true;
        self
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND} {}", self.root.display())
    }
}
