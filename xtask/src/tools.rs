//! The independent programs that tests compare with: there, recent enough, or installed.

use std::process::{Command, Output};

use crate::result::{Doing, Result};

struct Tool {
    program: &'static str,
    /// What makes it say its version.
    ask: &'static str,
    /// The oldest version with all that the tests ask of it.
    oldest: [u32; 2],
    /// Its package on Debian and Ubuntu.
    package: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool { program: "age", ask: "--version", oldest: [1, 0], package: "age" },
    Tool { program: "zstd", ask: "--version", oldest: [1, 4], package: "zstd" },
    // `ssh-keygen` has no version of its own to tell; `-Y verify` with validity times came with OpenSSH 8.9 at the latest.
    Tool { program: "ssh", ask: "-V", oldest: [8, 9], package: "openssh-client" },
    Tool { program: "tar", ask: "--version", oldest: [1, 30], package: "tar" },
    Tool { program: "sha256sum", ask: "--version", oldest: [8, 30], package: "coreutils" },
];

/// Installs what is missing with apt-get, then proves that each program answers with a version that will do. Says
/// which ones these are, a line each.
pub(crate) fn ensure() -> Result<Vec<String>> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| tool.answer().is_err()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
        install(&packages).doing(format_args!("install {}", packages.join(" ")))?;
    }
    TOOLS.iter().map(|tool| tool.check(&tool.answer()?)).collect()
}

impl Tool {
    fn answer(&self) -> Result<String> {
        let output = Command::new(self.program).arg(self.ask).output().doing(self.program)?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        if output.status.success() { Ok(text) } else { Err(format!("{}: {text}", self.program).into()) }
    }

    fn check(&self, answer: &str) -> Result<String> {
        let (program, [major, minor]) = (self.program, self.oldest);
        let first = answer.lines().next().unwrap_or_default();
        match version_in(answer) {
            Some(found) if found >= self.oldest => Ok(format!("{program}: {first}")),
            Some(_) => Err(format!("{program} is too old: {first:?}; at least {major}.{minor} is needed").into()),
            None => Err(format!("{program} does not say its version: {first:?}").into()),
        }
    }
}

/// Installs packages with apt-get. The package lists are fetched only where they turn out to be absent or out of date.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(" "));
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"])?;
    if command.args(packages).output().doing("run apt-get")?.status.success() {
        return Ok(());
    }
    succeeded(&apt_get(&["update"])?.output().doing("run apt-get")?)?;
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends"])?;
    succeeded(&command.args(packages).output().doing("run apt-get")?)
}

/// Runs a command to its end. What it printed is shown only if it fails.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let name = format!("{:?}", command.get_program());
    let output = command.output().doing(&name)?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(format!("{name} ended with {}: {told}", output.status).into())
}

fn apt_get(args: &[&str]) -> Result<Command> {
    let id = Command::new("id").arg("-u").output().doing("run id")?;
    let root = id.stdout.trim_ascii() == b"0";
    let mut command = Command::new(if root { "env" } else { "sudo" });
    if !root {
        command.arg("env");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(args);
    Ok(command)
}

fn succeeded(output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("apt-get ended with {}\n{out}{err}", output.status).into())
}

/// The first `N.N` in what a program says of itself.
fn version_in(text: &str) -> Option<[u32; 2]> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let (major, rest) = word.split_once('.')?;
        Some([major.parse().ok()?, rest.split('.').next()?.parse().ok()?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_programs_tell_them() {
        for (text, version) in [
            ("1.1.1\n", Some([1, 1])),
            ("v1.2.0\n", Some([1, 2])),
            ("*** Zstandard CLI (64-bit) v1.5.4, by Yann Collet ***", Some([1, 5])),
            ("OpenSSH_9.2p1 Debian-2+deb12u6, OpenSSL 3.0.17 1 Jul 2025", Some([9, 2])),
            ("tar (GNU tar) 1.34\n", Some([1, 34])),
            ("(devel)\n", None),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }

    #[test]
    fn a_program_that_is_too_old_or_silent_is_refused() {
        let tool = Tool { program: "age", ask: "--version", oldest: [1, 10], package: "age" };
        assert!(tool.check("1.10.0").is_ok());
        assert!(tool.check("1.9.9").unwrap_err().to_string().contains("at least 1.10"));
        assert!(tool.check("(devel)").is_err());
    }
}
