//! The whole story on real input and without a server: protect a directory, prove the point, lose the directory, get it
//! back, damage the vault and have the damage found, add a point, prune.
//!
//! ```text
//! cargo run --example quickstart [PATH]
//! ```
//!
//! It works on a copy: nothing under PATH is touched. It ends non-zero if anything is not as it should be.

mod progress;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    match story::tell(&path).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe story broke off: {error}");
            ExitCode::FAILURE
        }
    }
}
