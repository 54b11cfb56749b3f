//! Where the project lies, its cargo, and the time that things take.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::result::{Doing, Result};

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The folder that cargo builds into, whoever set it: this program lies in it as `debug/xtask`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let exe = env::current_exe().doing("find this program")?;
    let target = exe.ancestors().nth(2).ok_or("this program does not lie in a target folder")?;
    Ok(target.to_owned())
}

/// `cargo SUBCOMMAND` at the root, by the lock file as it is.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(root()).args([subcommand, "--locked"]);
    command
}

/// The cargo that runs this.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Names of the programs in `folder`, as cargo finds them: `NAME.rs` and `NAME/main.rs`. None if there is no such folder.
pub(crate) fn targets_in(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if !folder.exists() {
        return Ok(names);
    }
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").is_file() {
            names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    Ok(names)
}

/// Runs `work` and says how long it took.
#[expect(clippy::disallowed_methods, reason = "tasks measure real time; nothing here is replayed")]
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}
