//! Python with boto3, azure-storage-blob, the `aws` program and moto: programs that know nothing of us and must agree with us.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use crate::program::Program;

/// Its packages, a line each with its version, as `pip` reads it.
pub const PACKAGES: &str = include_str!("python.txt");

/// By which AWS's own clients read no files of whoever runs them, and ask no service of a machine at Amazon's.
pub const ALONE: [(&str, &str); 3] = [
    ("AWS_CONFIG_FILE", "/dev/null"),
    ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// The virtual environment. Its version changes with [`PACKAGES`].
pub fn programs() -> Program {
    let mut hash = DefaultHasher::new();
    PACKAGES.hash(&mut hash);
    Program::new("python", format!("{:016x}", hash.finish()))
}

/// The folder of `python` and `aws`, for a `PATH`.
///
/// # Panics
///
/// If they are not there, as the others here.
pub fn bin() -> PathBuf {
    programs().file("bin")
}

/// Python, by no setting of ours.
pub fn python() -> Command {
    without_settings("python")
}

/// AWS's command line program, by no setting of ours.
pub fn aws() -> Command {
    without_settings("aws")
}

fn without_settings(program: &str) -> Command {
    let mut command = Command::new(bin().join(program));
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "AZURE_", "PYTHON"].iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    command.envs(ALONE);
    command
}
