//! Where one comparison writes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::data::{self, remove};
use super::side::pipe;
use crate::result::{Doing, Result};
use crate::tools;

/// A folder for one comparison, gone when it is over, with a key for the age program.
pub(super) struct Place {
    folder: PathBuf,
    /// Of the identity in the file `key`.
    pub(super) recipient: String,
}

impl Place {
    pub(super) fn new() -> Result<Self> {
        tools::ensure()?;
        let folder = data::folder()?.join("run");
        remove(&folder)?;
        fs::create_dir_all(&folder).doing(folder.display())?;
        pipe(r#"age-keygen -o "$1" 2> /dev/null"#, &[folder.join("key")])?;
        let mut command = Command::new("age-keygen");
        let output =
            command.arg("-y").arg(folder.join("key")).stderr(Stdio::inherit()).output().doing("run age-keygen")?;
        let recipient = String::from_utf8(output.stdout).doing("read the recipient")?.trim_end().to_owned();
        Ok(Self { folder, recipient })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A path where nothing is: what an earlier run left there is removed and what the kernel still writes is written,
    /// outside the time that is taken.
    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.file(name);
        remove(&path)?;
        pipe("sync", &[] as &[&str])?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            eprintln!("{error}");
        }
    }
}
