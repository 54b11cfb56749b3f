//! Puts an archive's entries into the target one by one, or says what would become of them.

use std::collections::{BTreeMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::{self, Errno};

use super::decide::{self, Found};
use super::entry::{Entry, Inode, Kind, show};
use super::globs::Globs;
use super::place::{join, names};
use super::tar::reader::{Input, Reader};
use super::target::{Blocked, MAX_WAITING, Target, too_many_attributes};
use super::{errno, make, write};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{ImportAction, ImportOptions};

/// Different attributes that could not be set and are named one by one.
const MAX_NOTES: usize = 100;

/// Where outcomes go: a plan or a report.
pub(super) trait Record: Send {
    /// What was, or would be, done to the entry at `path`.
    fn entry(&mut self, action: ImportAction, path: &[u8], why: &str, bytes: u64) -> Result<()>;
    /// An entry was restored, but for something.
    fn lack(&mut self, path: &[u8], why: String);
}

/// What a restore may do to what it finds.
pub(super) enum Mode {
    /// Nothing at all: it plans.
    Plan,
    /// Replace what the plan lists, with the reasons that it gave.
    Apply(HashSet<(String, String)>),
}

/// A restore under way.
pub(super) struct Restore<R> {
    pub(super) target: Target,
    pub(super) mode: Mode,
    pub(super) overwrite: bool,
    pub(super) compare_content: bool,
    only: Globs,
    /// Files that a plan replaces: their other names will not be names of the new ones.
    pub(super) replaced: HashSet<Vec<u8>>,
    /// Whether this is the super-user, who can restore owners and devices.
    pub(super) privileged: bool,
    /// Directories that `only` did not choose, as long as something in them may be, outermost first: the length of each
    /// one's path, which is the beginning of `passed_path`.
    passed: Vec<(usize, Entry)>,
    passed_path: Vec<u8>,
    /// How many entries were restored without their owner, or without an attribute, by its name and the reason.
    ownerless: u64,
    unset: BTreeMap<String, u64>,
    pub(super) record: R,
}

impl<R: Record> Restore<R> {
    /// `mark` tells restores of different items apart.
    pub(super) fn new(root: &Path, options: &ImportOptions, mode: Mode, mark: String, record: R) -> Result<Self> {
        Ok(Self {
            only: Globs::new("only", &options.only)?,
            target: Target::open(root, matches!(mode, Mode::Apply(_)), mark)?,
            overwrite: options.overwrite,
            compare_content: options.compare_content,
            replaced: HashSet::new(),
            mode,
            privileged: rustix::process::geteuid().is_root(),
            passed: Vec::new(),
            passed_path: Vec::new(),
            ownerless: 0,
            unset: BTreeMap::new(),
            record,
        })
    }

    /// Restores a whole archive.
    pub(super) fn run<I: Input>(&mut self, mut archive: Reader<I>) -> Result<()> {
        while let Some(entry) = archive.next()? {
            self.entry(entry, &mut archive)?;
        }
        self.climb(0)?;
        if archive.finish()? {
            self.record.lack(b"", "something follows the end of the archive; it was not looked at".to_owned());
        }
        Ok(())
    }

    /// Leaves the root and waits until everything rests on disk. Gives back the record and notes for people.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if a glob chose nothing: whoever wrote it misses something.
    pub(super) fn finish(mut self) -> Result<(R, Vec<String>)> {
        if let Some(glob) = self.only.unmatched().next() {
            return Err(Error::new(ErrorKind::NotFound, "a glob chooses nothing of what is to be restored")
                .with("field", "only")
                .with("got", glob)
                .advise("check how it is written, or leave it out; `tar -t` lists what is in the item"));
        }
        if matches!(self.mode, Mode::Apply(_)) {
            let failed = |e| errno::error(e, "write to disk", "the target's file system");
            let flags = super::stack::DIRECTORY;
            // Opened anew, so that the lock on the root ends here and not with a disk that takes its time.
            let root = self.target.root().map(|root| rustix::fs::openat(root, ".", flags, rustix::fs::Mode::empty()));
            let root = root.transpose().map_err(failed)?;
            self.leave()?;
            if let Some(root) = root {
                rustix::fs::syncfs(root).map_err(failed)?;
            }
        }
        let mut notes = Vec::new();
        if self.ownerless > 0 {
            notes.push(format!(
                "{} entries belong to this process's user: it may not give them to their owners",
                self.ownerless
            ));
        }
        notes.extend(
            self.unset.into_iter().map(|(what, count)| format!("{count} entries were restored without {what}")),
        );
        Ok((self.record, notes))
    }

    fn entry<I: Input>(&mut self, entry: Entry, archive: &mut Reader<I>) -> Result<()> {
        let path = entry.path.clone();
        let names = match names(&path) {
            Ok(names) => names,
            Err(why) => return self.record.entry(ImportAction::Impossible, &path, why, 0),
        };
        if !self.is_wanted(&names, &entry)? {
            return Ok(());
        }
        let Some((name, above)) = names.split_last() else { return self.root(entry) };
        let result = match self.go(above)? {
            Err(Blocked::Conflict(why)) => return self.record.entry(ImportAction::Conflict, &path, why, 0),
            Err(Blocked::System(error)) => Err(error),
            Ok(()) => match self.target.find(name, &entry) {
                Ok(found) => self.place(name, entry, found, archive)?,
                Err(error) => Err(error),
            },
        };
        result.or_else(|error| self.failed(&path, error))
    }

    /// Whether `only` chooses it. A directory that it does not choose may still lie above something that it does.
    fn is_wanted(&mut self, names: &[&[u8]], entry: &Entry) -> Result<bool> {
        if self.only.is_empty() || names.is_empty() {
            return Ok(true);
        }
        let path = join(names);
        let above = &self.passed_path;
        self.passed.retain(|(length, _)| path.starts_with(&above[..*length]) && path.get(*length) == Some(&b'/'));
        let wanted = self.only.covers(&path);
        if !wanted && entry.kind == Kind::Directory {
            self.passed.push((path.len(), Entry { path: Vec::new(), ..entry.clone() }));
            self.passed_path = path;
            if self.passed.iter().map(|(_, entry)| entry.attribute_bytes()).sum::<usize>() > MAX_WAITING {
                return Err(too_many_attributes());
            }
        }
        Ok(wanted)
    }

    /// The archive's entry for the root itself.
    fn root(&mut self, entry: Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return self.record.entry(ImportAction::Impossible, b"", "the root of the archive is no directory", 0);
        }
        self.climb(0)?;
        let inode = self.target.dir().map(rustix::fs::fstat).transpose();
        let inode = inode.map_err(|e| errno::error(e, "look at", "the target"))?.map(Into::into);
        let ours = self.target.is_ours();
        let (action, why) = match (inode, ours) {
            (_, true) | (None, false) => (ImportAction::Create, String::new()),
            (Some(inode), false) => self.directory_attributes(&entry, &inode, b""),
        };
        if action != ImportAction::Unchanged {
            self.target.describe(entry)?;
        }
        self.record.entry(action, b"", &why, 0)
    }

    /// What is to happen to the attributes of a directory that is there.
    fn directory_attributes(&self, entry: &Entry, inode: &Inode, path: &[u8]) -> (ImportAction, String) {
        match decide::attributes(entry, inode, self.privileged) {
            Some(why) if self.overwrite && self.is_planned(path, &why) => (ImportAction::Overwrite, why),
            _ => (ImportAction::Unchanged, String::new()),
        }
    }

    /// Whether the plan lists this replacement. While planning, everything is.
    pub(super) fn is_planned(&self, path: &[u8], why: &str) -> bool {
        match &self.mode {
            Mode::Plan => true,
            Mode::Apply(planned) => planned.contains(&(show(path), why.to_owned())),
        }
    }

    /// Goes to the directory `names`, making what is missing on the way.
    fn go(&mut self, names: &[&[u8]]) -> Result<Result<(), Blocked>> {
        let common = self.target.common(names);
        self.climb(common)?;
        for (depth, name) in names.iter().enumerate().skip(common) {
            if let Err(blocked) = self.step(names, depth, name)? {
                return Ok(Err(blocked));
            }
        }
        Ok(Ok(()))
    }

    /// Enters one directory on the way to an entry; the archive has not told of it, or `only` passed it over.
    fn step(&mut self, names: &[&[u8]], depth: usize, name: &[u8]) -> Result<Result<(), Blocked>> {
        match self.target.look(name) {
            Err(error) => return Ok(Err(Blocked::System(error))),
            Ok(Some(_)) => {
                let entered = self.target.enter(name, None);
                if entered.is_err() {
                    return Ok(entered);
                }
            }
            Ok(None) => {
                if let Err(error) = self.make_directory(name)? {
                    return Ok(Err(Blocked::System(error)));
                }
            }
        }
        if self.target.is_ours() {
            let path = join(&names[..=depth]);
            let known =
                self.passed.iter().find(|(length, _)| *length == path.len() && self.passed_path.starts_with(&path));
            if let Some((_, entry)) = known {
                self.target.describe(entry.clone())?;
            }
        }
        Ok(Ok(()))
    }

    /// Makes a directory and enters it.
    fn make_directory(&mut self, name: &[u8]) -> Result<io::Result<()>> {
        let made = match (&self.mode, self.target.dir()) {
            (Mode::Apply(_), Some(dir)) => match write::directory(dir, name, self.target.mark()) {
                Ok(made) => made,
                Err(error) => return Ok(Err(error)),
            },
            _ => {
                self.target.enter_absent(name);
                return Ok(Ok(()));
            }
        };
        Ok(self.target.enter(name, Some(made)).map_err(|blocked| match blocked {
            Blocked::Conflict(_) => Errno::NOTDIR,
            Blocked::System(error) => error,
        }))
    }

    /// Leaves directories until `depth` are left below the root.
    fn climb(&mut self, depth: usize) -> Result<()> {
        while self.target.depth() > depth {
            self.leave()?;
        }
        Ok(())
    }

    /// Leaves one directory, with its attributes set.
    fn leave(&mut self) -> Result<()> {
        let applying = matches!(self.mode, Mode::Apply(_));
        let (ours, root, entry) = (self.target.is_ours(), self.target.depth() == 0, self.target.take_description());
        if let (true, Some(dir)) = (applying, self.target.dir()) {
            let done = match &entry {
                Some(entry) => write::describe_directory(dir, entry),
                // The archive does not tell; the mode of one that was empty is its owner's business.
                None if ours && root => write::finish_directory(dir).map(|()| write::Lacks::default()),
                None if ours => rustix::fs::fchmod(dir, 0o755.into())
                    .and_then(|()| write::finish_directory(dir))
                    .map(|()| write::Lacks::default()),
                None => Ok(write::Lacks::default()),
            };
            match done {
                Ok(lacks) => self.lacks(&self.target.path(), lacks),
                Err(error) => self.failed(&self.target.path(), error)?,
            }
        }
        self.target.leave()
    }

    /// Decides what becomes of one entry and does it.
    fn place<I: Input>(
        &mut self,
        name: &[u8],
        entry: Entry,
        found: Option<Found>,
        archive: &mut Reader<I>,
    ) -> Result<io::Result<()>> {
        let path = entry.path.clone();
        let bytes = entry.stored();
        let (mut action, mut why) = match &found {
            None => (ImportAction::Create, String::new()),
            Some(found) => match self.difference(name, &entry, found, archive)? {
                Err(error) => return Ok(Err(error)),
                Ok(None) => (ImportAction::Unchanged, String::new()),
                Ok(Some(why)) if self.overwrite && self.is_planned(&path, &why) => (ImportAction::Overwrite, why),
                Ok(Some(why)) => (ImportAction::Conflict, why),
            },
        };
        if action == ImportAction::Overwrite
            && found.as_ref().is_some_and(|found| found.inode.kind == rustix::fs::FileType::Directory)
            && !self.is_empty_directory(name)
        {
            action = ImportAction::Conflict;
            why = "a directory that is not empty is never replaced".to_owned();
        }
        if entry.kind == Kind::Directory {
            return self.directory(name, entry, found, action, why);
        }
        if let (Kind::HardLink(to), true) =
            (&entry.kind, matches!(action, ImportAction::Create | ImportAction::Overwrite))
            && let Some(obstacle) = self.obstacle(to, &entry)?
        {
            action = ImportAction::Impossible;
            why = obstacle;
        }
        if matches!(entry.kind, Kind::Character(..) | Kind::Block(..))
            && !self.privileged
            && matches!(action, ImportAction::Create | ImportAction::Overwrite)
        {
            action = ImportAction::Impossible;
            why = "only the super-user can make a device".to_owned();
        }
        let replace = action == ImportAction::Overwrite;
        if replace && matches!(self.mode, Mode::Plan) && matches!(entry.kind, Kind::File(_)) {
            self.replaced.extend(names(&path).map(|names| join(&names)));
        }
        if matches!(action, ImportAction::Create | ImportAction::Overwrite)
            && matches!(self.mode, Mode::Apply(_))
            && let Some(dir) = self.target.dir()
        {
            let made = match &entry.kind {
                Kind::File(_) => make::file(dir, name, &entry, archive, replace)?,
                Kind::HardLink(to) => self.link(dir, name, to, replace).map(|()| write::Lacks::default()),
                _ => make::other(dir, name, &entry, replace),
            };
            match made {
                Ok(lacks) => self.lacks(&path, lacks),
                Err(error) => return Ok(Err(error)),
            }
        }
        let written = if matches!(action, ImportAction::Create | ImportAction::Overwrite) { bytes } else { 0 };
        self.record.entry(action, &path, &why, written)?;
        Ok(Ok(()))
    }

    fn directory(
        &mut self,
        name: &[u8],
        entry: Entry,
        found: Option<Found>,
        mut action: ImportAction,
        mut why: String,
    ) -> Result<io::Result<()>> {
        let path = entry.path.clone();
        match (action, found) {
            (ImportAction::Unchanged, Some(found)) => {
                match self.target.enter(name, None) {
                    Ok(()) => {}
                    Err(Blocked::Conflict(why)) => {
                        return self.record.entry(ImportAction::Conflict, &path, why, 0).map(Ok);
                    }
                    Err(Blocked::System(error)) => return Ok(Err(error)),
                }
                if self.target.is_ours() {
                    action = ImportAction::Create;
                } else {
                    (action, why) = self.directory_attributes(&entry, &found.inode, &path);
                }
            }
            (ImportAction::Overwrite, _) => {
                if let (Mode::Apply(_), Some(dir)) = (&self.mode, self.target.dir()) {
                    if let Err(error) = unlinkat(dir, name, AtFlags::empty()) {
                        return Ok(Err(error));
                    }
                    if let Err(error) = self.make_directory(name)? {
                        return Ok(Err(error));
                    }
                } else {
                    self.target.enter_absent(name);
                }
            }
            (ImportAction::Create, _) => {
                if let Err(error) = self.make_directory(name)? {
                    return Ok(Err(error));
                }
            }
            _ => {}
        }
        if matches!(action, ImportAction::Create | ImportAction::Overwrite) {
            self.target.describe(entry)?;
        }
        self.record.entry(action, &path, &why, 0)?;
        Ok(Ok(()))
    }

    fn is_empty_directory(&self, name: &[u8]) -> bool {
        let flags = super::stack::DIRECTORY;
        let opened = self.target.dir().map(|dir| rustix::fs::openat(dir, name, flags, rustix::fs::Mode::empty()));
        opened.is_some_and(|fd| fd.is_ok_and(|fd| super::target::is_empty(fd.as_fd()).unwrap_or(false)))
    }

    /// Why a hard link cannot be made.
    fn obstacle(&self, to: &[u8], entry: &Entry) -> Result<Option<String>> {
        if let Err(why) = names(to) {
            return Ok(Some(format!("what it links to cannot be: {why}")));
        }
        if matches!(self.mode, Mode::Plan) {
            return Ok(None);
        }
        let found = self.target.resolve(to).map_err(|e| errno::error(e, "look at", show(to)))?;
        Ok(match found {
            None => Some(format!("it links to {}, which was not restored", show(to))),
            Some((_, _, inode)) if inode.kind == rustix::fs::FileType::Directory => {
                Some(format!("it links to {}, which is a directory", show(to)))
            }
            // A link's header has the time of the file: what lies there is another one that stayed.
            Some((_, _, inode)) if !decide::same_time(entry.mtime, inode.mtime) => {
                Some(format!("it links to {}, which is not the archive's", show(to)))
            }
            Some(_) => None,
        })
    }

    fn link(&self, dir: BorrowedFd<'_>, name: &[u8], to: &[u8], replace: bool) -> io::Result<()> {
        let (to_dir, to_name, _) = self.target.resolve(to)?.ok_or(Errno::NOENT)?;
        write::link(to_dir.as_fd(), &to_name, dir, name, replace)
    }

    /// Notes what could not be set: expected for ordinary users, a problem for the super-user.
    fn lacks(&mut self, path: &[u8], lacks: write::Lacks) {
        self.ownerless += u64::from(lacks.owner);
        for (name, error) in lacks.xattrs {
            let what = format!("attribute {}: {error}", show(&name));
            if self.privileged && error != Errno::OPNOTSUPP {
                self.record.lack(path, format!("restored without {what}"));
            } else if self.unset.len() < MAX_NOTES || self.unset.contains_key(&what) {
                *self.unset.entry(what).or_default() += 1;
            } else {
                *self.unset.entry("some other attribute".to_owned()).or_default() += 1;
            }
        }
    }

    /// One entry failed. Some failures end everything: no other entry would fare better.
    fn failed(&mut self, path: &[u8], error: Errno) -> Result<()> {
        match error {
            Errno::EXIST => self.record.entry(ImportAction::Conflict, path, "something appeared there meanwhile", 0),
            Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO | Errno::MFILE | Errno::NFILE => {
                Err(errno::error(error, "restore", show(path)))
            }
            error => self.record.entry(ImportAction::Impossible, path, &error.to_string(), 0),
        }
    }
}
