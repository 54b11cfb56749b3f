//! Azurite, and the Node.js that runs it.

use std::process::Command;

use backstay_test_servers::azure::Azurite;

use crate::result::{Doing, Result};
use crate::tools::{done, install};
use crate::workspace::timed;

/// Installs what is missing.
pub(crate) fn ensure() -> Result<()> {
    let runs = |name, ask| Command::new(name).arg(ask).output().is_ok_and(|output| output.status.success());
    if !runs("node", "--version") {
        install(&["nodejs"]).doing("nodejs")?;
    }
    if !runs("openssl", "version") {
        install(&["openssl"]).doing("openssl")?;
    }
    let program = Azurite::program();
    program.make(|new| {
        if !runs("npm", "--version") {
            install(&["npm"]).doing("npm")?;
        }
        eprintln!("installing {program} from npm");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(new);
        let (installed, took) = timed(|| done(npm.arg(format!("azurite@{}", program.version()))));
        installed?;
        eprintln!("{program}: {} s", took.as_secs());
        Ok(())
    })
}
