//! The whole story on real input and without a server: protect a directory, prove the point, lose the directory, get it
//! back, damage the vault and have the damage found, add a point, prune.
//!
//! ```text
//! cargo run --example quickstart [PATH]
//! cargo run --features postgres --example quickstart -- [PATH] --postgres postgres://USER@HOST/DATABASE
//! ```
//!
//! It works on a copy: nothing under PATH is touched. Of a database it makes a second one at the server and drops it again. It ends non-zero if anything is not as it should be.

#[cfg(feature = "postgres")]
mod database;
#[cfg(not(feature = "postgres"))]
#[path = "no_database.rs"]
mod database;
mod progress;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (mut args, mut url) = (std::env::args_os().skip(1), None);
    while let Some(arg) = args.next() {
        if arg == "--postgres" {
            url = Some(args.next().and_then(|url| url.into_string().ok()).unwrap_or_default());
        } else {
            path = PathBuf::from(arg);
        }
    }
    match story::tell(&path, url.as_deref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe story broke off: {error}");
            ExitCode::FAILURE
        }
    }
}
