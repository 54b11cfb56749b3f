//! Our sides of the comparisons that `cargo xtask bench` makes. Each run is a process of its own:
//!
//! ```text
//! sides backup_stream FILE FOLDER [WORKERS]    FILE as one item into a new vault in FOLDER, where the keys lie too
//! sides restore_stream FOLDER FILE             that item into a new FILE, ended by fsync
//! sides backup_directory DIRECTORY FOLDER      DIRECTORY as a component into a new vault in FOLDER
//! sides postgres_dump URL FOLDER               the database into a new vault in FOLDER; `full` only, as the next two
//! sides postgres_verify URL FOLDER             proves that point to the end of its format
//! sides postgres_restore URL FOLDER DATABASE   that point into a new DATABASE
//! sides s3_upload FILE BUCKET KEY               FILE as an object in parts; `full` only, as all of S3 and Azure. The server is the environment's
//! sides s3_download BUCKET KEY                  that object by ranges
//! sides s3_small FOLDER BUCKET                  each file of FOLDER as an object
//! sides s3_backup FILE BUCKET FOLDER            FILE as one item into a new vault in BUCKET, its keys into FOLDER
//! sides s3_point URL BUCKET FOLDER              the database likewise
//! sides azure_upload FILE URL KEY               FILE as a blob of the container of URL, which has a SAS
//! sides replica_create FOLDER FOLDER           a second vault for that of `backup_stream`
//! sides replicate_local FOLDER FOLDER          that vault into the second one
//! sides requests_100k                          asks a tier of a hundred thousand points, and tells `status=` and `options=`
//! sides retention_million                      decides over a million points and tells `seconds=`
//! ```
//!
//! A side is a function and a row of `SIDES`. What it tells goes to standard output as `key=value`; the most memory that
//! the process ever held is told for each.

#[cfg(feature = "azure")]
mod azure;
mod backup;
mod file;
#[cfg(any(feature = "aws", feature = "azure"))]
mod objects;
#[cfg(feature = "postgres")]
mod postgres;
mod replicate;
mod requests;
mod restore;
mod retention;
#[cfg(feature = "aws")]
mod s3;

use std::error::Error;
use std::process::ExitCode;
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;
type Side = fn(&[String]) -> Result<()>;

const SIDES: &[(&str, Side)] = &[
    ("backup_stream", backup::stream),
    ("restore_stream", restore::stream),
    ("backup_directory", backup::directory),
    #[cfg(feature = "postgres")]
    ("postgres_dump", postgres::dump),
    #[cfg(feature = "postgres")]
    ("postgres_verify", postgres::verify),
    #[cfg(feature = "postgres")]
    ("postgres_restore", postgres::restore),
    #[cfg(feature = "aws")]
    ("s3_upload", s3::upload),
    #[cfg(feature = "aws")]
    ("s3_download", s3::download),
    #[cfg(feature = "aws")]
    ("s3_small", s3::small),
    #[cfg(feature = "aws")]
    ("s3_backup", s3::backup),
    #[cfg(all(feature = "aws", feature = "postgres"))]
    ("s3_point", s3::point),
    #[cfg(feature = "azure")]
    ("azure_upload", azure::upload),
    ("replica_create", replicate::create),
    ("replicate_local", replicate::local),
    ("requests_100k", requests::hundred_thousand),
    ("retention_million", retention::million),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sides: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    match args {
        // Cargo adds a flag of its own behind these two.
        [ask, name, ..] if ask == "where" => {
            side(name)?;
            println!("{}", env::current_exe()?.display());
        }
        [name, args @ ..] => {
            side(name)?(args)?;
            println!("peak_kib={}", peak_kib()?);
        }
        [] => return Err("these are run by `cargo xtask bench`".into()),
    }
    Ok(())
}

/// What a side runs on.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn side(name: &str) -> Result<Side> {
    let side = SIDES.iter().find(|(known, _)| *known == name);
    side.map(|(_, side)| *side).ok_or_else(|| format!("our side {name:?} is not built yet").into())
}

/// The kernel's high-water mark of this process.
fn peak_kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim_end().parse()?)
}
