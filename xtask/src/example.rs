//! `cargo xtask example`: run one example.

use std::collections::BTreeSet;
use std::env;
use std::iter;
use std::process::{Command, Stdio};

use crate::families;
use crate::result::{Doing, Result};
use crate::servers::ForExample;
use crate::workspace::{cargo, root, targets_in};

/// Runs the example that the first argument names, with the rest as its arguments and the server that it needs.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let known = names()?;
    let Some((name, args)) = args.split_first() else {
        return Err(format!("which example? There are {known:?}").into());
    };
    if !known.contains(name) {
        return Err(format!("there is no example {name:?}; there are {known:?}").into());
    }
    families::ensure([name.as_str()])?;
    let server = ForExample::start(name)?;
    Ok(command(name, server.as_ref())?.arg("--").args(args).status().doing("run cargo")?.success())
}

/// The examples.
pub(crate) fn names() -> Result<BTreeSet<String>> {
    targets_in(&root().join("examples"))
}

/// Runs an example as a test: no arguments, no input, its story shown only if it fails.
pub(crate) fn holds(name: &str) -> Result<bool> {
    let server = ForExample::start(name)?;
    let output = command(name, server.as_ref())?.stdin(Stdio::null()).output().doing("run cargo")?;
    let held = output.status.success();
    println!("example {name} ... {}", if held { "ok" } else { "FAILED" });
    if !held {
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(held)
}

fn command(name: &str, server: Option<&ForExample>) -> Result<Command> {
    let mut command = cargo("run");
    command.args(["--quiet", "--all-features", "--example", name]);
    if let Some(server) = server {
        command.envs(server.env());
        if let Some(bin) = server.bin() {
            let path = env::var_os("PATH").unwrap_or_default();
            let path = env::join_paths(iter::once(bin).chain(env::split_paths(&path))).doing("PATH")?;
            command.env("PATH", path);
        }
    }
    Ok(command)
}
