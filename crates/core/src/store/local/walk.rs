//! A listing in the byte order of the keys, holding one folder per level in memory.
//!
//! Folders are sorted with a `/` behind their name, because `a-b` comes before `a/b` although `a` comes before `a-b`.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::folder::{self, Folder};
use super::name;
use crate::error::{Error, Result};
use crate::store::{Key, ListEntry, ListOptions, Prefix};

pub(super) struct Walk {
    root: Arc<Folder>,
    prefix: String,
    after: String,
    fold: bool,
    /// The folder that the prefix lies in, until it is opened.
    start: Option<String>,
    levels: Vec<Level>,
}

struct Level {
    fd: OwnedFd,
    /// Its keys' beginning: empty, or ending in `/`.
    path: String,
    /// Decoded names, those of folders with `/` at the end, the last one first.
    names: Vec<String>,
}

impl Walk {
    pub(super) fn new(root: Arc<Folder>, prefix: &Prefix, options: &ListOptions) -> Self {
        let prefix = prefix.as_str().to_owned();
        let start = prefix.rfind('/').map_or_else(String::new, |slash| prefix[..=slash].to_owned());
        let after = options.start_after.clone().unwrap_or_default();
        Self { root, prefix, after, fold: options.folders, start: Some(start), levels: Vec::new() }
    }

    /// The next `limit` lines; fewer only at the end.
    pub(super) fn page(&mut self, limit: usize) -> Result<Vec<ListEntry>> {
        let mut page = Vec::new();
        while page.len() < limit {
            match self.next()? {
                Some(entry) => page.push(entry),
                None => break,
            }
        }
        Ok(page)
    }

    fn next(&mut self) -> Result<Option<ListEntry>> {
        if let Some(start) = self.start.take() {
            let names: Vec<String> = start.split_terminator('/').map(name::encode).collect();
            let opened = self.root.walk(&names).and_then(|folder| folder.as_fd().try_clone_to_owned().map_err(errno));
            self.enter(opened, start)?;
        }
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let path = format!("{}{name}", level.path);
            if let Some(folder) = name.strip_suffix('/') {
                let opened = folder::open_folder(level.fd.as_fd(), &name::encode(folder));
                self.enter(opened, path)?;
            } else if let Some(entry) = self.line(&name, path)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Goes down into a folder. One that vanished has no keys any more.
    fn enter(&mut self, opened: Result<OwnedFd, Errno>, path: String) -> Result<()> {
        let level = opened.and_then(|fd| self.read(&fd, &path).map(|names| (fd, names)));
        match level {
            Ok((fd, names)) => self.levels.push(Level { fd, path, names }),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {}
            Err(error) => return Err(self.failed(&path, error)),
        }
        Ok(())
    }

    fn read(&self, fd: &OwnedFd, path: &str) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(fd)? {
            let entry = entry?;
            let Some((raw, mut name)) = entry.file_name().to_str().ok().and_then(|raw| Some((raw, name::decode(raw)?)))
            else {
                continue;
            };
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                kind = match rustix::fs::statat(fd, raw, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => FileType::from_raw_mode(stat?.st_mode),
                };
            }
            match kind {
                FileType::Directory => name.push('/'),
                FileType::RegularFile => {}
                // It may stand for a whole folder of keys: leaving it out in silence would make them look deleted.
                FileType::Symlink if format!("{path}{name}/").starts_with(&self.prefix) => return Err(Errno::LOOP),
                _ => continue,
            }
            let key = format!("{path}{name}");
            let later = key > self.after || (key.ends_with('/') && self.after.starts_with(&key));
            if later && key.starts_with(&self.prefix) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(names)
    }

    fn line(&mut self, name: &str, path: String) -> Result<Option<ListEntry>> {
        // What is no key was put here by somebody else.
        let Ok(key) = Key::new(path) else { return Ok(None) };
        let folder = key.as_str()[self.prefix.len()..].find('/').filter(|_| self.fold);
        if let Some(slash) = folder {
            self.levels.truncate(1);
            return Prefix::new(&key.as_str()[..=self.prefix.len() + slash])
                .map(|folder| Some(ListEntry::Folder(folder)));
        }
        let Some(level) = self.levels.last() else { return Ok(None) };
        match rustix::fs::statat(&level.fd, name::encode(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {
                folder::meta(key, &stat).map(|meta| Some(ListEntry::Object(meta)))
            }
            // Deleted, or replaced by a folder, since the folder was read.
            Ok(_) | Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed(key.as_str(), error)),
        }
    }

    fn failed(&self, path: &str, error: Errno) -> Error {
        self.root.failed("list", path.trim_end_matches('/'), error.into())
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
