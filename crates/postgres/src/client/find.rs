//! Where the client programs are, and which of them fits a server.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use backstay_core::{Error, ErrorKind, Result};

/// A client program and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) version: Version,
}

/// A release: 15.18, 18.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// Folders that packages put the programs of one version each in: Debian, Red Hat, Homebrew.
const PLACES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "bin"),
];

/// The oldest release of each major whose `pg_restore` and `psql` do not run what a foreign archive smuggles in
/// (CVE-2025-8714 and CVE-2025-8715, <https://www.postgresql.org/support/security/CVE-2025-8714/>).
const SAFE_TO_RESTORE: [Version; 5] = [
    Version { major: 13, minor: 22 },
    Version { major: 14, minor: 19 },
    Version { major: 15, minor: 14 },
    Version { major: 16, minor: 10 },
    Version { major: 17, minor: 6 },
];

/// The program `name` that fits a server of major version `server`: of the same version, else the next newer one. `folder`
/// says where to look, and then nowhere else is looked.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if there is none; [`Unsupported`](ErrorKind::Unsupported) if all are older than the
/// server: an older `pg_dump` cannot know what it leaves out.
pub(crate) async fn find(name: &str, server: u32, folder: Option<&Path>) -> Result<Program> {
    let mut found = BTreeMap::new();
    for path in candidates(name, folder) {
        if let Some(version) = version_of(&path).await {
            found.entry(version.major).or_insert(Program { path, version });
        }
    }
    let missing = |kind, what: String| {
        Error::new(kind, what).with("program", name).with("server", server).advise(format!(
            "install PostgreSQL's client programs of version {server} or newer, or say where they are by `programs_in`"
        ))
    };
    if let Some((_, program)) = found.range(server..).next() {
        return Ok(program.clone());
    }
    match found.into_values().next_back() {
        None => Err(missing(ErrorKind::NotFound, format!("{name} is not installed"))),
        Some(newest) => {
            Err(missing(ErrorKind::Unsupported, format!("{name} {} is older than the server", newest.version)))
        }
    }
}

fn candidates(name: &str, folder: Option<&Path>) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    match folder {
        Some(folder) => paths.push(folder.join(name)),
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            paths.extend(std::env::split_paths(&path).map(|folder| folder.join(name)));
            for (parent, inner) in PLACES {
                let Ok(entries) = std::fs::read_dir(parent) else { continue };
                let mut versions: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
                versions.sort();
                paths.extend(versions.into_iter().map(|version| version.join(inner).join(name)));
            }
        }
    }
    paths.retain(|path| path.is_file() && !is_wrapper(path, name));
    paths
}

/// Debian's `/usr/bin/pg_dump` is a link to a script, which runs the version that it likes.
fn is_wrapper(path: &Path, name: &str) -> bool {
    path.canonicalize().is_ok_and(|path| path.file_name().is_some_and(|file| file != name))
}

async fn version_of(path: &Path) -> Option<Version> {
    let output = tokio::process::Command::new(path).arg("--version").kill_on_drop(true).output().await.ok()?;
    parse(std::str::from_utf8(&output.stdout).ok()?)
}

/// Reads `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; before a release it is `18beta1`.
fn parse(text: &str) -> Option<Version> {
    let word = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let mut numbers = word.split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some(Version { major, minor: numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0) })
}

impl Version {
    /// The version as `server_version_num` has it: 150018.
    pub(crate) fn of_number(number: u32) -> Self {
        Self { major: number / 10_000, minor: number % 10_000 }
    }

    /// Whether a restore by this version may run what a foreign archive smuggles in.
    pub(crate) fn is_unsafe_to_restore(self) -> bool {
        self.major < SAFE_TO_RESTORE[0].major
            || SAFE_TO_RESTORE.iter().any(|safe| safe.major == self.major && self.minor < safe.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(folder: &Path, version: &str) {
        let path = folder.join("pg_dump");
        std::fs::write(&path, format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_older_than_the_server_is_refused_before_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let find = |server| find("pg_dump", server, Some(folder.path()));
        assert_eq!(find(15).await.unwrap_err().kind(), ErrorKind::NotFound);
        program(folder.path(), "15.18 (Debian 15.18-0+deb12u1)");
        assert_eq!(find(15).await.unwrap().version, Version { major: 15, minor: 18 });
        assert_eq!(find(12).await.unwrap().version.to_string(), "15.18");
        let error = find(16).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("pg_dump 15.18 is older than the server"), "{error}");
    }

    #[tokio::test]
    async fn a_wrapper_that_chooses_a_version_itself_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "15.18");
        std::fs::rename(folder.path().join("pg_dump"), folder.path().join("pg_wrapper")).unwrap();
        std::os::unix::fs::symlink("pg_wrapper", folder.path().join("pg_dump")).unwrap();
        assert_eq!(find("pg_dump", 15, Some(folder.path())).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn versions_as_the_programs_tell_them() {
        assert_eq!(parse("pg_dump (PostgreSQL) 18beta1"), Some(Version { major: 18, minor: 0 }));
        assert_eq!(parse("psql 9"), None);
        assert_eq!(Version::of_number(180_004).to_string(), "18.4");
    }

    #[test]
    fn releases_with_the_hole_are_told() {
        let has_hole = |major, minor| Version { major, minor }.is_unsafe_to_restore();
        assert!(has_hole(15, 13) && !has_hole(15, 14) && has_hole(12, 99) && !has_hole(18, 0));
    }
}
