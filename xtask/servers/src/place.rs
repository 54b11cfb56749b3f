//! Where servers keep their files, and who they run as.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A new empty folder that everyone can enter, also the user whom the servers run as. Those of the system are not so
/// where a test runs as root.
pub fn folder() -> Folder {
    Folder::new("folder-")
}

/// The folder below which all of this lies. It outlives the tests: what takes long to make is made once.
///
/// Servers refuse to run as root, and the user whom they run as instead cannot enter root's home.
pub(crate) fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let base = match rustix::process::geteuid().is_root() {
            true => PathBuf::from("/var/cache/backstay-test"),
            false => home_cache().join("backstay-test"),
        };
        made(&base);
        base
    })
}

fn home_cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cache"))).expect("a home folder: set HOME or XDG_CACHE_HOME")
}

/// The folder `path`, made if it is not there. Everyone may enter it, whatever our umask.
pub(crate) fn made(path: &Path) -> &Path {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// Waits for the lock of this name and holds it until the file is dropped. A process that dies lets go of it.
pub(crate) fn lock(name: &str) -> File {
    let path = base().join(format!("{name}.lock"));
    let file = File::create(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.lock().unwrap_or_else(|e| panic!("lock {}: {e}", path.display()));
    file
}

/// Makes the folder `path` unless it is there, by `make`, which gets another one to fill: only what is whole has the name that
/// is looked for. Whoever comes meanwhile, from another checkout too, waits and finds it made.
///
/// # Errors
///
/// Those of `make`. What it made by then is removed.
pub fn once<E>(path: &Path, make: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let name = path.file_name().expect("a folder has a name").to_string_lossy().into_owned();
    let _alone = lock(&name);
    if path.exists() {
        return Ok(());
    }
    let new = path.with_file_name(format!("{name}.new"));
    let clear = || {
        if new.exists() {
            fs::remove_dir_all(&new).unwrap_or_else(|e| panic!("{}: {e}", new.display()));
        }
    };
    clear();
    make(made(&new)).inspect_err(|_| clear())?;
    fs::rename(&new, path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Ok(())
}

/// A folder that is removed when dropped. That of a process which ended otherwise is removed by the next one.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _outer: TempDir,
    /// Held as long as the folder is in use. Whose lock nobody holds is a dead process's, and swept.
    _lock: File,
}

impl Folder {
    pub(crate) fn new(prefix: &str) -> Self {
        let all = base().join("servers");
        let _alone = lock("servers");
        sweep(made(&all));
        let outer = tempfile::Builder::new().prefix(prefix).tempdir_in(&all);
        let outer = outer.unwrap_or_else(|e| panic!("no folder in {}: {e}", all.display()));
        let lock = File::create(outer.path().join("lock")).expect("a lock file");
        lock.lock().expect("a lock of our own");
        Self { path: made(&made(outer.path()).join("own")).to_owned(), _outer: outer, _lock: lock }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the folders of processes that ended without doing so.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).expect("it was made").flatten() {
        let lock = File::open(entry.path().join("lock"));
        if lock.map_or(true, |lock| lock.try_lock().is_ok()) {
            // A server may still be about to end; then the next sweep removes what is left.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The user whom servers run as where we are root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The user postgres, who is made if he is not there. None where we are not root: then servers run as we do.
    pub(crate) fn postgres() -> Option<Self> {
        static FOUND: OnceLock<Option<Account>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            if !rustix::process::geteuid().is_root() {
                return None;
            }
            let _alone = lock("user");
            Self::find().or_else(|| {
                let mut useradd = Command::new("useradd");
                useradd.args(["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]);
                run(useradd.arg("postgres"));
                Some(Self::find().expect("the user postgres was made"))
            })
        })
    }

    fn find() -> Option<Self> {
        let id = |flag| {
            let output = Command::new("id").args([flag, "postgres"]).output().expect("`id` runs");
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        Some(Self { uid: id("-u")?, gid: id("-g")? })
    }

    /// Gives him `path` and all below.
    pub(crate) fn own(self, path: &Path) {
        let found = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if (found.uid(), found.gid()) != (self.uid, self.gid) {
            chown(path, Some(self.uid), Some(self.gid)).unwrap_or_else(|e| panic!("chown {}: {e}", path.display()));
        }
        if found.is_dir() {
            for entry in fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) {
                self.own(&entry.expect("an entry").path());
            }
        }
    }

    /// The options that make `setpriv` run a program as him.
    pub(crate) fn options(self) -> [String; 3] {
        [format!("--reuid={}", self.uid), format!("--regid={}", self.gid), "--clear-groups".to_owned()]
    }
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
///
/// If it fails, with what it said.
pub(crate) fn run(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|e| panic!("{name} does not run: {e}"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{told}{}", output.status, stderr(&output.stderr));
    told
}

fn stderr(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Letters and digits that nobody guesses.
pub(crate) fn new_password() -> String {
    random::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut source = File::open("/dev/urandom").expect("a source of randomness");
    source.read_exact(&mut bytes).expect("a source of randomness has no end");
    bytes
}
