//! moto, and the clients of others: boto3, azure-storage-blob and `aws`, in one virtual environment.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use backstay_test_servers::python::{PACKAGES, programs};

use crate::result::{Doing, Result};
use crate::tools::{done, install};
use crate::workspace::timed;

/// What `pip` would write names a folder that it does not lie in later.
const AWS: &str = "#!/bin/sh\nexec \"$(dirname \"$0\")/python\" -m awscli \"$@\"\n";

/// Installs it if it is missing.
pub(crate) fn ensure() -> Result<()> {
    programs().make(|new| {
        eprintln!("installing moto, boto3, azure-storage-blob and awscli from PyPI");
        let (made, took) = timed(|| {
            let wanted = new.join("packages.txt");
            fs::write(&wanted, PACKAGES).doing(wanted.display())?;
            let mut pip = pip(&["--python"])?;
            done(Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(new))?;
            pip.arg(new.join("bin/python")).args(["install", "--no-deps", "--no-compile", "--requirement"]);
            done(pip.arg(wanted))?;
            let aws = new.join("bin/aws");
            fs::write(&aws, AWS).doing(aws.display())?;
            fs::set_permissions(&aws, Permissions::from_mode(0o755)).doing(aws.display())
        });
        made?;
        eprintln!("{}: {} s", programs(), took.as_secs());
        done(Command::new(new.join("bin/python")).args(["-c", "import boto3, azure.storage.blob, awscli, moto.server"]))
    })
}

/// The system's `pip`, which is installed if it is missing.
pub(crate) fn pip(args: &[&str]) -> Result<Command> {
    let pip = || {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip"]);
        pip
    };
    if !pip().arg("--version").output().is_ok_and(|output| output.status.success()) {
        install(&["python3-pip"])?;
    }
    let mut command = pip();
    command.args(["--quiet", "--disable-pip-version-check"]).args(args);
    Ok(command)
}
