//! Drills of directories: restored into a new folder beside others, looked at, taken away.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::Directory;
use super::drill_check::{Checks, NamedCheck};
use super::import::on_thread;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::source::{DrillPlace, DrillTarget, ItemSource, ResourceImporter, Scratch, Validation};

/// The file that tells a drill's folder from one that only has such a name.
const MARKER: &str = "BACKSTAY-DRILL";
/// What is restored lies beside the marker.
const TREE: &str = "tree";
/// A restore that was broken off may still write for a moment, and so keep a folder from going.
const TRIES: usize = 40;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Restores a directory into a new folder below `parent`, checks it there and removes it.
///
/// The folder is called `backstay-drill-UNTIL-` and 8 characters, is open to this user alone and holds a marker
/// `BACKSTAY-DRILL` beside the restored `tree`. A sweep removes folders of this name with this marker whose time is over:
/// no link, no folder without it. (A process that is killed between making the folder and its marker leaves it empty.)
///
/// Always checked: as many entries as the archive says, and as many bytes. The rest is the application's to say.
///
/// ```
/// use std::time::Duration;
/// use backstay_core::directory::DirectoryDrill;
///
/// let drill = DirectoryDrill::new("/srv/drills")
///     .exists(["etc/app.conf", "data"])
///     .newest_within(Duration::from_secs(24 * 3600))
///     .check("the configuration can be read", |tree| {
///         let text = std::fs::read_to_string(tree.join("etc/app.conf"))?;
///         Ok(format!("{} lines", text.lines().count()))
///     });
/// assert_eq!(drill.to_string(), "folders for drills in /srv/drills");
/// ```
#[derive(Clone)]
pub struct DirectoryDrill {
    parent: PathBuf,
    checks: Checks,
}

impl DirectoryDrill {
    /// Restores below this folder, which must be there and should lie on a disk of its own: a drill takes as much room as the
    /// component. A symbolic link in `parent` itself is followed.
    #[must_use]
    pub fn new(parent: impl Into<PathBuf>) -> Self {
        Self { parent: parent.into(), checks: Checks::default() }
    }

    /// These paths, relative to the tree, must be there.
    #[must_use]
    pub fn exists<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.checks.exist.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The file that was changed last must not have been older than this when the drill began.
    #[must_use]
    pub fn newest_within(mut self, age: Duration) -> Self {
        self.checks.newest_within = Some(age);
        self
    }

    /// A check of the application's own, with the path of the restored tree: `Ok` says what was found, an error what is wrong.
    /// It runs on a thread that may block, and should only read.
    #[must_use]
    pub fn check(
        mut self,
        name: impl Into<String>,
        check: impl Fn(&Path) -> Result<String, Box<dyn std::error::Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        self.checks.named.push(NamedCheck { name: name.into(), check: Arc::new(check) });
        self
    }
}

#[async_trait]
impl DrillTarget for DirectoryDrill {
    async fn prepare(&self, place: &DrillPlace) -> Result<Box<dyn Scratch>> {
        let (name, began, checks) = (place.scratch_name(), place.began, self.checks.clone());
        let folder = self.parent.join(&name);
        on_thread(move || {
            DirBuilder::new().mode(0o700).create(&folder).map_err(|error| failed(error, "create", &folder))?;
            if let Err(error) = mark(&folder, &name) {
                drop(fs::remove_dir_all(&folder));
                return Err(failed(error, "mark", &folder));
            }
            Ok(Box::new(ScratchFolder { folder, began, checks }) as Box<dyn Scratch>)
        })
        .await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<String>> {
        let parent = self.parent.clone();
        let over = on_thread(move || {
            let listed = fs::read_dir(&parent).map_err(|error| failed(error, "list", &parent))?;
            let mut over = Vec::new();
            for entry in listed {
                let path = entry.map_err(|error| failed(error, "list", &parent))?.path();
                if is_over(&path, now) {
                    over.push(path);
                }
            }
            Ok(over)
        })
        .await?;
        let mut swept = Vec::new();
        for folder in over {
            remove(&folder).await?;
            swept.push(folder.display().to_string());
        }
        Ok(swept)
    }
}

/// A folder that a drill restores into.
struct ScratchFolder {
    folder: PathBuf,
    began: Timestamp,
    checks: Checks,
}

#[async_trait]
impl Scratch for ScratchFolder {
    fn importer(&self) -> Arc<dyn ResourceImporter> {
        Arc::new(Directory::new(self.folder.join(TREE)))
    }

    async fn validate(&self, items: &dyn ItemSource) -> Result<Validation> {
        self.checks.run(&self.folder.join(TREE), items, self.began).await
    }

    async fn remove(&self) -> Result<()> {
        remove(&self.folder).await
    }
}

fn mark(folder: &Path, name: &str) -> io::Result<()> {
    let mut file = fs::File::create_new(folder.join(MARKER))?;
    file.write_all(marker(name).as_bytes())
}

/// It says the folder's name, so that a copy under another name is nobody's.
fn marker(name: &str) -> String {
    format!(
        "A Backstay drill restores into this folder and removes it; a later drill may once its time is over.\n{name}\n"
    )
}

/// Whether this is a folder of a drill, and its time is over.
fn is_over(path: &Path, now: Timestamp) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let is = |path: &Path, is: fn(&fs::Metadata) -> bool| fs::symlink_metadata(path).is_ok_and(|meta| is(&meta));
    let own = path.join(MARKER);
    DrillPlace::until_of(name).is_some_and(|until| until < now)
        && is(path, fs::Metadata::is_dir)
        && is(&own, fs::Metadata::is_file)
        && fs::read_to_string(&own).is_ok_and(|text| text == marker(name))
}

/// Takes a folder away with all that is in it; one that is gone already is no error. Links are removed, never followed. The
/// marker goes last, so that what is left of a removal that failed can still be swept.
async fn remove(folder: &Path) -> Result<()> {
    for attempt in 1.. {
        let path = folder.to_owned();
        match on_thread(move || Ok(remove_once(&path))).await? {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && attempt < TRIES => {
                SystemClock.sleep(BETWEEN_TRIES).await;
            }
            Err(error) => return Err(failed(error, "remove", folder)),
        }
    }
    Ok(())
}

fn remove_once(folder: &Path) -> io::Result<()> {
    let tree = folder.join(TREE);
    gone(match fs::remove_dir_all(&tree) {
        // Directories that were restored without the right to change them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(&tree)?;
            fs::remove_dir_all(&tree)
        }
        result => result,
    })?;
    gone(fs::remove_dir_all(folder))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Lets this user into every directory of a tree and change it.
pub(super) fn open_up(tree: &Path) -> io::Result<()> {
    let mut waiting = vec![tree.to_owned()];
    while let Some(directory) = waiting.pop() {
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}

fn failed(error: io::Error, operation: &'static str, path: &Path) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        _ => ErrorKind::Other,
    };
    Error::new(kind, format!("the folder of a drill: {error}"))
        .operation(operation)
        .with("path", path.display())
        .because(error)
}

impl fmt::Display for DirectoryDrill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folders for drills in {}", self.parent.display())
    }
}

impl fmt::Debug for DirectoryDrill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryDrill").field("parent", &self.parent).field("checks", &self.checks).finish()
    }
}

impl fmt::Display for ScratchFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "folder {}", self.folder.display())
    }
}

impl fmt::Debug for ScratchFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
