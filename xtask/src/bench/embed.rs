//! What it costs to depend on Backstay.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::compare::{RUNS, median};
use super::data;
use crate::result::{Doing, Result};
use crate::workspace::{cargo, cargo_program, root, timed};

/// Distinct crates in the facade's normal dependency tree with default features, itself among them.
pub(super) fn crates() -> Result<f64> {
    let mut command = cargo("tree");
    command.args(["--package", "backstay", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = command.stderr(Stdio::inherit()).output().doing("run cargo tree")?;
    if !output.status.success() {
        return Err(format!("cargo tree ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout).doing("read cargo tree")?;
    let names: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(names.len() as f64)
}

/// A clean debug build of a program that depends on the facade by path, everything downloaded before, in seconds.
pub(super) fn build_seconds() -> Result<f64> {
    let folder = data::folder()?.join("embed");
    write_program(&folder)?;
    succeed(at(&folder, "fetch"))?;
    let mut seconds = Vec::new();
    for _ in 0..RUNS {
        let target = folder.join("target");
        data::remove(&target)?;
        let mut build = at(&folder, "build");
        build.arg("--offline").env("CARGO_TARGET_DIR", &target);
        let (outcome, took) = timed(|| succeed(build));
        outcome?;
        eprintln!("  {:.1} s", took.as_secs_f64());
        seconds.push(took.as_secs_f64());
    }
    Ok(median(seconds))
}

/// With a workspace and a copy of the lock file of its own, so that the versions are ours and nothing else is.
fn write_program(folder: &Path) -> Result<()> {
    let manifest = format!(
        "[package]\nname = \"embed\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nbackstay = {{ path = {:?} }}\n\n[workspace]\n",
        root()
    );
    let main = "//! Depends on Backstay, to time its build.\nuse backstay as _;\nfn main() {}\n";
    fs::create_dir_all(folder.join("src")).doing(folder.display())?;
    fs::write(folder.join("Cargo.toml"), manifest).doing(folder.display())?;
    fs::write(folder.join("src/main.rs"), main).doing(folder.display())?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).doing("copy Cargo.lock")?;
    Ok(())
}

/// Cargo in `folder`. A compiler cache would time itself.
fn at(folder: &Path, subcommand: &str) -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(folder).args([subcommand, "--quiet"]).env_remove("RUSTC_WRAPPER").stdout(Stdio::null());
    command
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.status().doing("run cargo")?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
