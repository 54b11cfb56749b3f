//! Terraform, or OpenTofu, which is the same to those who read its state.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::program::Program;

/// What `cargo xtask test` builds where the system has neither.
pub fn program() -> Program {
    Program::new("tofu", "1.12.6")
}

/// The system's `terraform` or `tofu`.
pub fn of_the_system() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let files = ["terraform", "tofu"].into_iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

/// The program, by no setting of ours: it asks nothing, and asks nobody for newer versions of itself.
///
/// # Panics
///
/// If it is not there.
pub fn command() -> Command {
    let mut command = Command::new(of_the_system().unwrap_or_else(|| program().file("bin/tofu")));
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"TF_") {
            command.env_remove(name);
        }
    }
    command.env("TF_IN_AUTOMATION", "1").env("TF_INPUT", "0").env("CHECKPOINT_DISABLE", "1");
    command
}
