//! From a directory to an archive: finds entries in order and writes each. Runs on a thread of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use rustix::io::{self, Errno};

use super::ahead::Ahead;
use super::entry::{Entry, Inode, Kind, Time};
use super::globs::Globs;
use super::links::{Links, Name};
use super::listing::Listing;
use super::owner::Owners;
use super::pack::Pack;
use super::place::is_reserved;
use super::stack::{DIRECTORY, Stack};
use super::tally::Tally;
use super::tar::writer::{END, Writer};
use super::{DirectoryOptions, content, errno, identity, xattr};
use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, ErrorKind, Result};

/// Flags to read a file: without following a link, waiting for a FIFO's other end or becoming a terminal's owner.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// The content of a `CACHEDIR.TAG` begins so.
const CACHE_MARK: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
const CACHE_FILE: &[u8] = b"CACHEDIR.TAG";

/// The walk and everything that it carries along, so that no file costs an allocation.
pub(super) struct Walk<'a> {
    options: &'a DirectoryOptions,
    include: Globs,
    exclude: Globs,
    owners: Owners,
    pack: Pack,
    writer: Writer,
    head: Vec<u8>,
    xattrs: xattr::Reader,
    pub(super) ahead: Ahead,
    stack: Stack<Level>,
    /// Directories on the stack that are not written yet because nothing in them was.
    pending: usize,
    /// The path of the entry at hand.
    path: Vec<u8>,
    entry: Entry,
    links: Links,
    device: u64,
    /// When the walk began.
    began: Time,
    /// A file that marks the folder of the vault that all this goes into.
    pub(super) beacon: Option<String>,
    tally: Tally,
    /// Called between looking at a file and reading it.
    #[cfg(test)]
    pub(super) before_read: Option<BeforeRead>,
}

#[cfg(test)]
type BeforeRead = Box<dyn FnMut(&[u8]) + Send>;

/// A directory on the way.
struct Level {
    listing: Listing,
    /// How much of the path is its own.
    path_len: usize,
    /// Whether everything in it is wanted, as far as `include` goes.
    included: bool,
    /// Its own entry, not written yet.
    pending: Option<Box<Entry>>,
    /// Its times when it was entered; none if a change of them says nothing new.
    times: Option<(Time, Time)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(options: &'a DirectoryOptions, pack: Pack) -> Result<Self> {
        Ok(Self {
            options,
            include: Globs::new("include", &options.include)?,
            exclude: Globs::new("exclude", &options.exclude)?,
            owners: Owners::of_this_machine(),
            pack,
            writer: Writer::default(),
            head: Vec::new(),
            xattrs: xattr::Reader::new(),
            ahead: Ahead::default(),
            stack: Stack::new(),
            pending: 0,
            path: Vec::new(),
            entry: Entry::default(),
            links: Links::default(),
            device: 0,
            beacon: None,
            began: now(),
            tally: Tally::default(),
            #[cfg(test)]
            before_read: None,
        })
    }

    /// Writes the whole tree.
    pub(super) fn run(mut self, root: &Path) -> Result<Tally> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(|e| bad_root(e, root))?;
        let inode = fstat(&fd).map(Inode::from).map_err(|e| bad_root(e, root))?;
        self.device = inode.id.0;
        self.tally.identity = identity::of(root, fd.as_fd(), &inode);
        let everything = self.include.is_empty();
        self.directory(fd, inode, everything)?;
        while let Some(level) = self.stack.top_mut() {
            self.path.truncate(level.path_len);
            if let Some((name, kind)) = level.listing.next() {
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(name);
                self.visit(kind)?;
            } else if level.listing.is_ended() {
                self.leave();
            } else {
                self.list().map_err(|error| error.with("path", root.display()))?;
                if self.pack.is_closed() {
                    return Err(Error::new(ErrorKind::Cancelled, "nobody takes the export any more"));
                }
            }
        }
        for glob in self.include.unmatched() {
            // Without wildcards it is the name of something.
            if glob.contains(['*', '?', '[', '{']) {
                self.tally.note("matched nothing of what was to be included", glob.as_bytes());
            } else {
                self.tally.problem(glob.as_bytes(), "was to be included and is not there");
            }
        }
        self.pack.put(&END)?;
        self.pack.finish()?;
        Ok(self.tally)
    }

    /// The next portion of the top directory.
    fn list(&mut self) -> Result<()> {
        self.ahead.clear();
        let Some(fd) = self.stack.fd() else { return Ok(()) };
        let fd = fd.try_clone_to_owned();
        let Some(level) = self.stack.top_mut() else { return Ok(()) };
        let result = match &fd {
            Ok(fd) => level.listing.read(fd),
            Err(error) => Err(Errno::from_io_error(error).unwrap_or(Errno::IO)),
        };
        let more = !level.listing.is_ended();
        match result {
            Ok(()) if self.beacon.as_ref().is_some_and(|beacon| level.listing.has_file(beacon.as_bytes())) => {
                return self.vault();
            }
            Ok(()) if more => self.stack.pin(),
            Ok(()) => {}
            Err(error) => {
                level.listing.end();
                self.tally.problem(&self.path, format!("cannot be listed to its end: {error}"));
            }
        }
        Ok(())
    }

    /// The top directory holds the vault that all this goes into: it would double with every backup.
    fn vault(&mut self) -> Result<()> {
        let Some(level) = self.stack.top_mut() else { return Ok(()) };
        level.listing = Listing::of_nothing();
        level.times = None;
        let included = level.included;
        if self.path.is_empty() {
            return Err(Error::new(ErrorKind::Refused, "the directory is the vault of this backup")
                .advise("name the directory that holds what is to be protected; a vault is copied by replication"));
        }
        if included {
            self.tally.problem(
                &self.path,
                "is the vault of this backup and was not entered; `exclude` it, or let it lie elsewhere",
            );
        } else {
            self.tally.note("is the vault of this backup and was not entered", &self.path);
        }
        Ok(())
    }

    fn leave(&mut self) {
        if let (Some(dir), Some(Level { times: Some(before), .. })) = (self.stack.fd(), self.stack.top()) {
            match fstat(dir).map(Inode::from) {
                Ok(after) if after.times() == *before => {}
                Ok(_) => self.tally.problem(&self.path, "entries came or went while it was read"),
                Err(error) => self.tally.problem(&self.path, format!("cannot be looked at again: {error}")),
            }
        }
        let Some(popped) = self.stack.pop() else { return };
        for level in std::iter::once(&popped.data).chain(&popped.lost) {
            if level.pending.is_some() {
                self.pending -= 1;
            }
        }
        for level in &popped.lost {
            let path = &self.path[..level.path_len];
            self.tally.problem(path, "was moved while it was read; its later entries are missing");
        }
    }

    /// Deals with the entry at `path`.
    fn visit(&mut self, kind: FileType) -> Result<()> {
        if self.exclude.matches(&self.path) {
            self.tally.excluded += 1;
            return Ok(());
        }
        if is_reserved(self.name()) {
            let why = "is not stored: its name is reserved for unfinished restores and would be refused by one; finish \
                       or remove the restore that left it, rename it, or `exclude` it";
            self.tally.problem(&self.path, why);
            return Ok(());
        }
        let above = self.stack.top().is_some_and(|level| level.included);
        let included = above || self.include.matches(&self.path);
        let result: io::Result<()> = match self.known(kind) {
            Ok(FileType::Directory) => match self.open(DIRECTORY) {
                Ok((fd, inode)) => return self.directory(fd, inode, included),
                Err(error) => Err(error),
            },
            Ok(_) if !included => {
                self.tally.excluded += 1;
                return Ok(());
            }
            Ok(FileType::RegularFile) => match self.open(READ) {
                Ok((fd, inode)) if inode.kind == FileType::RegularFile => return self.file(&fd, &inode),
                Ok(_) => Err(Errno::STALE),
                Err(error) => Err(error),
            },
            Ok(kind) => return self.other(kind),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.unreadable(error);
        }
        Ok(())
    }

    /// The type, asked for where the listing did not tell.
    fn known(&self, kind: FileType) -> io::Result<FileType> {
        if kind == FileType::Unknown { self.look().map(|inode| inode.kind) } else { Ok(kind) }
    }

    fn look(&self) -> io::Result<Inode> {
        let dir = self.stack.fd().ok_or(Errno::BADF)?;
        statat(dir, self.name(), AtFlags::SYMLINK_NOFOLLOW).map(Inode::from)
    }

    fn open(&mut self, flags: OFlags) -> io::Result<(OwnedFd, Inode)> {
        let ahead = if flags == READ { self.ahead.take(name_in(&self.path, &self.stack)) } else { None };
        let fd = match ahead {
            Some(fd) => fd,
            None => open_at(self.stack.fd().ok_or(Errno::BADF)?, self.name(), flags)?,
        };
        let inode = fstat(&fd)?.into();
        Ok((fd, inode))
    }

    /// Opens files that come after this one, if the disk should fetch them meanwhile.
    fn look_ahead(&mut self, present: &OwnedFd) {
        let Some((last, count)) = self.ahead.wanted(present.as_fd()) else { return };
        let (Some(dir), Some(level)) = (self.stack.fd(), self.stack.top()) else { return };
        let mut path = self.path[..level.path_len].to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        let start = path.len();
        for name in level.listing.files_to_come().filter(|name| **name > last[..]).take(count) {
            path.truncate(start);
            path.extend_from_slice(name);
            let wanted = level.included || self.include.matches(&path);
            // What cannot be opened now is asked again, and reported, in its turn.
            if wanted
                && !self.exclude.matches(&path)
                && let Ok(file) = open_at(dir, name, READ)
            {
                self.ahead.put(name, file);
            }
        }
    }

    /// The last name of the path.
    fn name(&self) -> &[u8] {
        name_in(&self.path, &self.stack)
    }

    fn unreadable(&mut self, error: Errno) {
        let why = match error {
            Errno::NOENT => "vanished before it was read".to_owned(),
            Errno::STALE | Errno::LOOP | Errno::NOTDIR => "became something else before it was read".to_owned(),
            error => format!("cannot be read: {error}"),
        };
        self.tally.problem(&self.path, why);
    }

    fn directory(&mut self, fd: OwnedFd, inode: Inode, included: bool) -> Result<()> {
        self.begin(&inode, Kind::Directory);
        self.attributes(&fd);
        let times = Some(inode.times());
        let level = Level { listing: Listing::new(), path_len: self.path.len(), included, pending: None, times };
        let wanted = included || self.path.is_empty();
        if wanted {
            self.write_head()?;
        }
        if self.options.one_file_system && inode.id.0 != self.device {
            self.tally.note("is another file system and was not entered", &self.path);
            return Ok(());
        }
        self.stack.push(fd, inode.id, level);
        self.ahead.clear();
        if !wanted {
            self.pending += 1;
            if let Some(level) = self.stack.top_mut() {
                level.pending = Some(Box::new(self.entry.clone()));
            }
        }
        if self.options.skip_caches && self.is_cache() {
            self.tally.note("is marked as a cache; only its mark is kept", &self.path);
            if let Some(level) = self.stack.top_mut() {
                level.listing = Listing::of(CACHE_FILE, FileType::RegularFile);
                level.times = None;
            }
        } else if self.began < inode.ctime && inode.ctime <= now() {
            let why = "entries came or went after the export began; what was moved from here may be missing";
            self.tally.problem(&self.path, why);
            if let Some(level) = self.stack.top_mut() {
                level.times = None;
            }
        }
        Ok(())
    }

    fn is_cache(&self) -> bool {
        let mark = self.stack.fd().and_then(|dir| openat(dir, CACHE_FILE, READ, Mode::empty()).ok());
        let mut begin = [0; CACHE_MARK.len()];
        mark.is_some_and(|mark| io::read(mark, &mut begin) == Ok(begin.len()) && begin == CACHE_MARK)
    }

    fn file(&mut self, fd: &OwnedFd, inode: &Inode) -> Result<()> {
        if self.seen_before(inode)? {
            return Ok(());
        }
        let extents = content::extents(fd.as_fd(), inode);
        self.begin(inode, Kind::File(extents));
        self.entry.size = inode.size;
        self.attributes(fd);
        self.write_head()?;
        self.look_ahead(fd);
        #[cfg(test)]
        if let Some(hook) = &mut self.before_read {
            hook(&self.path);
        }
        self.tally.bytes += self.entry.stored();
        if let Some(problem) = content::copy(&mut self.pack, fd.as_fd(), &self.entry, inode)? {
            self.tally.problem(&self.path, problem);
        }
        Ok(())
    }

    /// What has no content.
    fn other(&mut self, kind: FileType) -> Result<()> {
        if kind == FileType::Socket {
            self.tally.sockets += 1;
            self.tally.note("is a socket, which an archive cannot hold", &self.path);
            return Ok(());
        }
        let found = self.look().and_then(|inode| match inode.kind {
            FileType::Symlink => {
                let dir = self.stack.fd().ok_or(Errno::BADF)?;
                let target = readlinkat(dir, self.name(), Vec::new())?;
                Ok((inode, Kind::Symlink(target.into_bytes())))
            }
            FileType::Fifo => Ok((inode, Kind::Fifo)),
            FileType::CharacterDevice => Ok((inode, Kind::Character(inode.device.0, inode.device.1))),
            FileType::BlockDevice => Ok((inode, Kind::Block(inode.device.0, inode.device.1))),
            _ => Err(Errno::STALE),
        });
        let (inode, kind) = match found {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(error);
                return Ok(());
            }
        };
        if self.seen_before(&inode)? {
            return Ok(());
        }
        self.begin(&inode, kind);
        let start = self.path.len() - self.name().len();
        if let Some(dir) = self.stack.fd() {
            let read = self.xattrs.read(xattr::Subject::Name(dir, &self.path[start..]), &mut self.entry.xattrs);
            self.checked(read);
        }
        self.write_head()
    }

    /// Writes a hard link if another name of the inode is in the archive already.
    fn seen_before(&mut self, inode: &Inode) -> Result<bool> {
        let target = match self.links.name(&self.path, inode) {
            Name::Link(target) => target,
            Name::First => return Ok(false),
            Name::Changed => {
                self.tally.note("changed since another name of it was read, and is stored apart", &self.path);
                return Ok(false);
            }
        };
        self.begin(inode, Kind::HardLink(target));
        self.entry.xattrs.clear();
        self.write_head()?;
        Ok(true)
    }

    /// Starts the entry at hand.
    fn begin(&mut self, inode: &Inode, kind: Kind) {
        self.entry.path.clear();
        self.entry.path.extend_from_slice(&self.path);
        self.entry.describe(inode);
        self.entry.kind = kind;
    }

    fn attributes(&mut self, fd: &OwnedFd) {
        let read = self.xattrs.read(xattr::Subject::File(fd.as_fd()), &mut self.entry.xattrs);
        self.checked(read);
    }

    fn checked(&mut self, attributes: io::Result<()>) {
        if let Err(error) = attributes {
            self.tally.problem(&self.path, format!("its attributes cannot be read: {error}"));
        }
    }

    /// Writes the entry at hand, after the directories above it that still wait.
    fn write_head(&mut self) -> Result<()> {
        self.head.clear();
        if self.pending > 0 {
            self.pending = 0;
            for entry in self.stack.iter_mut().filter_map(|level| level.pending.take()) {
                self.tally.count(&entry.kind);
                let (user, group) = (self.owners.user(entry.uid), self.owners.group(entry.gid));
                self.writer.head(&mut self.head, &entry, user, group);
            }
        }
        self.tally.count(&self.entry.kind);
        let (user, group) = (self.owners.user(self.entry.uid), self.owners.group(self.entry.gid));
        self.writer.head(&mut self.head, &self.entry, user, group);
        self.pack.put(&self.head)
    }
}

/// The time by the machine's own clock, for that is what file systems stamp with.
fn now() -> Time {
    SystemClock.now().into()
}

/// The last name of `path`, which lies in the top directory.
fn name_in<'p>(path: &'p [u8], stack: &Stack<Level>) -> &'p [u8] {
    let start = stack.top().map_or(0, |level| level.path_len);
    if start == 0 { path } else { &path[start + 1..] }
}

fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    match openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may leave the access time alone.
        Err(Errno::PERM) => openat(dir, name, flags, Mode::empty()),
        other => other,
    }
}

fn bad_root(error: Errno, root: &Path) -> Error {
    let advice = match error {
        Errno::NOENT => "check the path, and whether the file system that holds it is mounted",
        Errno::NOTDIR => "name a directory",
        _ => "check the rights on it",
    };
    errno::error(error, "export directory", root.display()).advise(advice)
}
