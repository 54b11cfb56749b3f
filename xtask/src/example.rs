//! `cargo xtask example`: run one example.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::result::{Doing, Result};
use crate::workspace::{cargo, root, targets_in};

/// Runs the example that the first argument names, with the rest as its arguments. No example needs a server at present,
/// so there is nothing to start first.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let known = names()?;
    let Some((name, args)) = args.split_first() else {
        return Err(format!("which example? There are {known:?}").into());
    };
    if !known.contains(name) {
        return Err(format!("there is no example {name:?}; there are {known:?}").into());
    }
    Ok(command(name).arg("--").args(args).status().doing("run cargo")?.success())
}

/// The examples.
pub(crate) fn names() -> Result<BTreeSet<String>> {
    targets_in(&root().join("examples"))
}

/// Runs an example as a test: no arguments, no input, its story shown only if it fails.
pub(crate) fn holds(name: &str) -> Result<bool> {
    let output = command(name).stdin(Stdio::null()).output().doing("run cargo")?;
    let held = output.status.success();
    println!("example {name} ... {}", if held { "ok" } else { "FAILED" });
    if !held {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(held)
}

fn command(name: &str) -> Command {
    let mut command = cargo("run");
    command.args(["--quiet", "--example", name]);
    command
}
