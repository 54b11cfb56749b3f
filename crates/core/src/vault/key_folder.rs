//! A folder of keys: every file readable by its owner only, a secret that others can read refused, nothing half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::vault::epoch::Epoch;
use crate::vault::sign::SigningKey;

pub(super) const VAULT_ID: &str = "vault-id";
pub(super) const SIGNING_KEY: &str = "signing-key";
pub(super) const PUBLIC_KEY: &str = "signing-key.pub";
pub(super) const ALLOWED_SIGNERS: &str = "allowed_signers";
pub(super) const CUSTODIAN: &str = "custodian.txt";
pub(super) const EPOCH: &str = "epoch";

/// No file of keys is near it.
const LONGEST_FILE: u64 = 1 << 20;

pub(super) struct Folder<'a> {
    path: &'a Path,
    operation: &'static str,
}

impl<'a> Folder<'a> {
    pub(super) fn new(path: &'a Path, operation: &'static str) -> Self {
        Self { path, operation }
    }

    /// Makes the folder, which must not be there, with these files.
    pub(super) fn create(&self, files: &[(&str, &[u8])]) -> Result<()> {
        let made = || -> io::Result<()> {
            DirBuilder::new().mode(0o700).create(self.path)?;
            files.iter().try_for_each(|(name, content)| write_new(&self.path.join(name), content))?;
            File::open(self.path)?.sync_all()
        };
        made().map_err(|error| self.failed(error, self.path))
    }

    /// Puts a file in the place of another, or of none: readers see the one or the other, whole.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<()> {
        let (place, fresh) = (self.file(name), self.file(&format!("{name}.new")));
        let replaced = || -> io::Result<()> {
            match fs::remove_file(&fresh) {
                // Of a try that was broken off.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            write_new(&fresh, content)?;
            fs::rename(&fresh, &place)?;
            File::open(self.path)?.sync_all()
        };
        replaced().map_err(|error| self.failed(error, &place))
    }

    pub(super) fn parse<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        self.text(name, false, parse)
    }

    pub(super) fn parse_secret<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        self.text(name, true, parse)
    }

    pub(super) fn read(&self, name: &str, secret: bool) -> Result<Vec<u8>> {
        let path = self.file(name);
        let at = |error| self.failed(error, &path);
        let file = File::open(&path).map_err(at)?;
        let meta = file.metadata().map_err(at)?;
        if secret && meta.mode() & 0o077 != 0 {
            return Err(Error::new(ErrorKind::Refused, "others than its owner can read or write this secret")
                .operation(self.operation)
                .with("path", path.display())
                .with("mode", format!("{:o}", meta.mode() & 0o777))
                .advise("run `chmod 600` on it; if others may have read it, make a new one"));
        }
        // Room from the start: a buffer that moves leaves a copy of the secret behind.
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(LONGEST_FILE)).unwrap_or(0) + 1);
        file.take(LONGEST_FILE).read_to_end(&mut bytes).map_err(at)?;
        Ok(bytes)
    }

    fn text<T>(&self, name: &str, secret: bool, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        let bytes = zeroize::Zeroizing::new(self.read(name, secret)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::new(ErrorKind::Invalid, "the file is not text"));
        text.and_then(parse).map_err(|error| error.operation(self.operation).with("path", self.file(name).display()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn failed(&self, error: io::Error, path: &Path) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::StorageFull => ErrorKind::Exhausted,
            _ => ErrorKind::Other,
        };
        Error::new(kind, error.to_string()).operation(self.operation).with("path", path.display()).because(error)
    }
}

/// The lines of the file `epoch`: `NAME RECIPIENT`, the one in use last.
pub(super) fn epoch_lines(epochs: &[Epoch]) -> String {
    epochs.iter().map(|epoch| format!("{} {}\n", epoch.name, epoch.recipient)).collect()
}

/// Reads what [`epoch_lines`] wrote.
pub(super) fn parse_epochs(text: &str) -> Result<Vec<Epoch>> {
    let epoch = |line: &str| {
        let (name, recipient) = line
            .split_once(' ')
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "an epoch is written `NAME RECIPIENT`"))?;
        Ok(Epoch::new(name.parse()?, recipient.trim().parse()?))
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(epoch).collect()
}

/// The line of a public key file.
pub(super) fn public_line(key: &SigningKey, holder: &str) -> String {
    format!("{} {holder}\n", key.public())
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}
