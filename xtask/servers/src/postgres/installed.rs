//! Which majors there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{base, run};

/// Majors of PostgreSQL whose server and client programs are there, in order.
///
/// # Panics
///
/// If there is none: `cargo xtask test` installs them.
pub fn majors() -> Vec<u32> {
    installed().into_keys().collect()
}

/// The folder of the programs of a major: `postgres`, `initdb`, `psql`, `pg_dump` and the others.
///
/// # Panics
///
/// If the major is not there.
pub fn bin(major: u32) -> PathBuf {
    let mut installed = installed();
    installed.remove(&major).unwrap_or_else(|| {
        panic!("no PostgreSQL {major} is here, only {:?}: `cargo xtask test` installs it", installed.keys())
    })
}

/// Whether servers of this major speak TLS. What is fetched as a Python wheel is built without.
pub fn can_tls(major: u32) -> bool {
    let built = run(Command::new(bin(major).join("pg_config")).arg("--configure"));
    built.contains("openssl")
}

/// Where `cargo xtask test` puts majors that the system has no package of: a folder with one folder per major, each with
/// a link `bin`. Anyone can enter it.
pub fn fetched() -> PathBuf {
    base().join("postgresql")
}

fn installed() -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    for folder in [Path::new("/usr/lib/postgresql"), &fetched()] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let major = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let bin = entry.path().join("bin");
            let whole = ["postgres", "initdb", "psql", "pg_dump", "pg_restore", "pg_basebackup", "pg_config"];
            if let Some(major) = major
                && whole.iter().all(|program| bin.join(program).is_file())
            {
                found.entry(major).or_insert(bin);
            }
        }
    }
    assert!(!found.is_empty(), "no PostgreSQL server is here: `cargo xtask test` installs what the tests need");
    found
}
