//! Content that is not an object yet: files in `.backstay-tmp/` whose names tell which key they are for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::folder::{self, Folder, Opened, race};
use super::name;
use crate::clock::SystemRandom;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::LONGEST_WRITE;
use crate::name::Tag;
use crate::store::{Key, ObjectMeta, Prefix, PutMode, UploadRef, folder_conflict, upload_gone};

/// The store's own folder. No key is written with a leading dot, so it is never listed.
const AREA: &str = ".backstay-tmp";
/// File systems take 255 bytes. What is longer goes on in folders.
const PIECE: usize = 200;

/// A file on its way to become the object `key`. Dropped, it stays for the sweep.
#[derive(Debug)]
pub(super) struct Temp {
    root: Arc<Folder>,
    pub(super) key: Key,
    pub(super) file: File,
    folders: Vec<String>,
    name: String,
}

impl Temp {
    pub(super) fn create(root: &Arc<Folder>, key: &Key) -> Result<Self> {
        // Told before any byte is written.
        if key.as_str().split('/').any(|segment| name::encode(segment).len() > 255) {
            return Err(root.failed("put", key.as_str(), Errno::NAMETOOLONG.into()));
        }
        let (folders, name) = place(key, &Tag::new(&SystemRandom));
        let file = make(root, &folders, &name).map_err(|error| root.failed("put", key.as_str(), error.into()))?;
        Ok(Self { root: Arc::clone(root), key: key.clone(), file, folders, name })
    }

    pub(super) fn failed(&self, operation: &'static str, cause: std::io::Error) -> Error {
        self.root.failed(operation, self.key.as_str(), cause)
    }

    /// Writes `data` at `at`.
    pub(super) fn write(&self, data: &[u8], at: u64) -> std::io::Result<()> {
        let places = (at..).step_by(LONGEST_WRITE);
        data.chunks(LONGEST_WRITE).zip(places).try_for_each(|(piece, at)| self.file.write_all_at(piece, at))
    }

    /// Has the kernel begin to put what was written there to disk, so that the commit finds little left to wait for. A hint:
    /// where it is not taken the commit waits longer.
    pub(super) fn start_writeback(&self, at: u64, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(bytes) = std::num::NonZeroU64::new(bytes as u64) {
            // Linux starts to write dirty pages that are said not to be needed, and drops only clean ones.
            let _ = rustix::fs::fadvise(&self.file, at, Some(bytes), rustix::fs::Advice::DontNeed);
        }
    }

    /// Makes it the object, durably.
    pub(super) fn commit(&self, mode: PutMode) -> Result<ObjectMeta> {
        let fail = |error: Errno| self.failed("put", error.into());
        rustix::fs::fsync(&self.file).map_err(fail)?;
        let stat = rustix::fs::fstat(&self.file).map_err(fail)?;
        let meta = folder::meta(self.key.clone(), &stat)?;
        let (folders, name) = name::path(self.key.as_str());
        let placed = race(|| {
            let to = self.root.ensure(&folders)?;
            match self.place(&to, &name, mode) {
                Err(Errno::EXIST | Errno::ISDIR | Errno::NOTEMPTY) if is_folder(&to, &name) => {
                    // An empty folder is left over from keys that are gone; a full one is in the way.
                    rustix::fs::unlinkat(&to, &name, AtFlags::REMOVEDIR).or_else(vanished)?;
                    Err(Errno::NOENT)
                }
                Ok(()) => rustix::fs::fsync(&to),
                refused => refused,
            }
        });
        match placed {
            Ok(()) => {
                self.discard();
                Ok(meta)
            }
            Err(Errno::EXIST) => Err(Error::new(ErrorKind::AlreadyExists, "the key is taken").with("key", &self.key)),
            Err(Errno::NOTEMPTY | Errno::NOTDIR) => {
                Err(folder_conflict(&self.key).with("store", self.root.path().display()))
            }
            Err(Errno::NOENT) => Err(upload_gone(&self.key)),
            Err(Errno::PERM) if mode == PutMode::Create => Err(self.failed("put", Errno::PERM.into()).advise(
                "a create needs hard links: check that the file system has them and that the folder may be written",
            )),
            Err(error) => Err(fail(error)),
        }
    }

    fn place(&self, to: &Opened<'_>, name: &str, mode: PutMode) -> Result<(), Errno> {
        let from = self.root.walk(&self.folders)?;
        match mode {
            PutMode::Create => rustix::fs::linkat(&from, &self.name, to, name, AtFlags::empty()),
            PutMode::Overwrite => rustix::fs::renameat(&from, &self.name, to, name),
        }
    }

    /// Takes the temporary name away, if it is still there. A name that stays is found by the sweep.
    pub(super) fn discard(&self) {
        if let Err(error) = remove(&self.root, &self.folders, &self.name) {
            tracing::debug!(key = %self.key, %error, "a temporary file stays for the sweep");
        }
    }

    pub(super) fn abort(&self) -> Result<()> {
        remove(&self.root, &self.folders, &self.name).map_err(|error| self.failed("abort", error.into()))
    }
}

/// Where the file `tag` for `key` lies: the key and the tag in one name, cut into folders where it is long.
fn place(key: &Key, tag: &Tag) -> (Vec<String>, String) {
    let key: Vec<String> = key.as_str().split('/').map(name::encode).collect();
    let whole = format!("{},{}", key.join("%2f"), tag.as_str());
    let mut pieces: Vec<String> = vec![AREA.to_owned()];
    // Written names are ASCII, so every index is a boundary.
    pieces.extend((0..whole.len()).step_by(PIECE).map(|at| whole[at..whole.len().min(at + PIECE)].to_owned()));
    let name = pieces.pop().unwrap_or_default();
    (pieces, name)
}

fn make(root: &Folder, folders: &[String], name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
    race(|| rustix::fs::openat(root.ensure(folders)?, name, flags, mode)).map(File::from)
}

fn remove(root: &Folder, folders: &[String], name: &str) -> Result<(), Errno> {
    root.walk(folders).and_then(|folder| rustix::fs::unlinkat(&folder, name, AtFlags::empty())).or_else(vanished)?;
    // The area itself stays.
    root.prune(folders, 1);
    Ok(())
}

fn vanished(error: Errno) -> Result<(), Errno> {
    if error == Errno::NOENT { Ok(()) } else { Err(error) }
}

fn is_folder(parent: &Opened<'_>, name: &str) -> bool {
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// The time that a file gets which is made now.
pub(super) fn touch(root: &Folder) -> Result<Timestamp> {
    let folders = [AREA.to_owned()];
    let name = format!("now,{}", Tag::new(&SystemRandom).as_str());
    let stat = make(root, &folders, &name).and_then(|file| {
        let stat = rustix::fs::fstat(file);
        remove(root, &folders, &name)?;
        stat
    });
    folder::modified(&stat.map_err(|error| root.failed("now", AREA, error.into()))?)
}

pub(super) fn abort(root: &Folder, upload: &UploadRef) -> Result<()> {
    let (folders, name) = place(&upload.key, &upload.id.parse()?);
    remove(root, &folders, &name).map_err(|error| root.failed("abort_upload", upload.key.as_str(), error.into()))
}

/// What lies in the area. Its time is that of its last write: at or after its beginning, so a sweep errs on the late side.
pub(super) fn unfinished(root: &Folder, prefix: &Prefix) -> Result<Vec<UploadRef>> {
    let mut found = Vec::new();
    let mut folders = vec![vec![AREA.to_owned()]];
    while let Some(names) = folders.pop() {
        let mut read = || -> Result<(), Errno> {
            let folder = root.walk(&names)?;
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().to_str() else { continue };
                if name == "." || name == ".." {
                    continue;
                }
                let stat = match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => stat?,
                };
                let whole = [&names[1..].concat(), name].concat();
                if FileType::from_raw_mode(stat.st_mode).is_dir() {
                    folders.push(names.iter().cloned().chain([name.to_owned()]).collect());
                } else if let Some((key, tag)) = parse(&whole).filter(|(key, _)| prefix.contains(key)) {
                    let started = folder::modified(&stat).unwrap_or_default();
                    found.push(UploadRef::new(key, tag.as_str(), started));
                }
            }
            Ok(())
        };
        read().or_else(vanished).map_err(|error| root.failed("uploads", AREA, error.into()))?;
    }
    Ok(found)
}

fn parse(name: &str) -> Option<(Key, Tag)> {
    let (key, tag) = name.rsplit_once(',')?;
    Some((Key::new(name::unescape(key)?).ok()?, tag.parse().ok()?))
}
