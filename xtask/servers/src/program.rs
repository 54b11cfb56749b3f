//! Programs of one version that no package of the system offers.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::place::{base, made, once};

/// A program, or several made together, in a folder that is named after it and its version. `cargo xtask test` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    name: &'static str,
    version: String,
}

impl Program {
    /// The program of this name and version.
    pub fn new(name: &'static str, version: impl Into<String>) -> Self {
        Self { name, version: version.into() }
    }

    /// Its version, as its registry has it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its folder, or where that will be.
    pub fn folder(&self) -> PathBuf {
        made(&base().join("programs")).join(self.to_string())
    }

    /// Makes its folder unless it is there: [`once`].
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn make<E>(&self, make: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
        once(&self.folder(), make)
    }

    /// A file of it.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub fn file(&self, path: &str) -> PathBuf {
        let file = self.folder().join(path);
        assert!(file.exists(), "{self} is not here: `cargo xtask test` installs what the tests need");
        file
    }
}

/// Name and version.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.name, self.version)
    }
}
