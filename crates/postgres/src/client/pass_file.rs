//! The password on its way to a client program: in a file of memory that only this user can open, never in arguments or
//! environments, which others can see.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use backstay_core::{Error, ErrorKind, Result, Secret};

/// A file as libpq's `~/.pgpass`, for one connection. Gone when dropped, also with a killed process.
#[derive(Debug)]
pub(crate) struct PassFile {
    file: File,
    /// Kept for its drop.
    _named: Option<tempfile::TempPath>,
    path: PathBuf,
}

impl PassFile {
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a password that such a file cannot hold.
    pub(crate) fn new(password: &Secret<String>) -> Result<Self> {
        let password = password.expose();
        if password.contains(['\n', '\r', '\0']) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a password with a line break in it cannot be given to pg_dump",
            ));
        }
        let mut made = Self::make().map_err(failed)?;
        let mut line = zeroize::Zeroizing::new(String::from("*:*:*:*:"));
        for c in password.chars() {
            if matches!(c, ':' | '\\') {
                line.push('\\');
            }
            line.push(c);
        }
        line.push('\n');
        made.file.write_all(line.as_bytes()).map_err(failed)?;
        Ok(made)
    }

    /// What `PGPASSFILE` is set to.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    #[cfg(target_os = "linux")]
    fn make() -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;

        use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

        let file = File::from(memfd_create("backstay-password", MemfdFlags::CLOEXEC)?);
        // libpq refuses a file that others may read.
        fchmod(&file, Mode::RUSR | Mode::WUSR)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Ok(Self { file, _named: None, path: path.into() })
    }

    #[cfg(not(target_os = "linux"))]
    fn make() -> std::io::Result<Self> {
        let (file, named) = tempfile::NamedTempFile::new()?.into_parts();
        Ok(Self { file, path: named.to_path_buf(), _named: Some(named) })
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Other, "the password cannot be handed to the client program").because(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_holds_the_line_that_libpq_reads_and_nobody_else_may_open_it() {
        let file = PassFile::new(&Secret::new(r"a:b\c".to_owned())).unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        let metadata = std::fs::metadata(file.path()).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        let path = file.path().clone();
        drop(file);
        assert!(!path.exists());
        assert!(PassFile::new(&Secret::new("a\nb".to_owned())).is_err());
    }
}
