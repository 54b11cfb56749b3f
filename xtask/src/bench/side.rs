//! The processes that run: ours from `benches/sides/`, theirs as a shell pipe.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::compare::Run;
use crate::result::{Doing, Result};
use crate::workspace::{cargo, target_dir, timed};

/// Environment lines for a side or a pipe.
pub(super) type Env = [(String, String)];

/// One function of `benches/sides/`, built for speed.
pub(super) struct OurSide {
    name: &'static str,
    program: PathBuf,
}

/// What a run of ours tells of itself, as `key=value` lines.
pub(super) struct Told {
    pub(super) run: Run,
    lines: String,
}

impl OurSide {
    /// Builds it. An error if there is no such side.
    pub(super) fn build(name: &'static str) -> Result<Self> {
        let mut command = cargo("bench");
        command.args(["--quiet", "--features=full", "--bench", "sides", "--", "where", name]).stderr(Stdio::inherit());
        let output = command.output().doing("run cargo")?;
        let path = String::from_utf8(output.stdout).doing("read where the sides are")?;
        if !output.status.success() {
            return Err(format!("our side {name:?} is not there or does not build").into());
        }
        Ok(Self { name, program: path.trim_end().into() })
    }

    /// Runs it in a process of its own.
    pub(super) fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Result<Told> {
        self.run_in(&[], args)
    }

    /// The same, with these lines in its environment.
    pub(super) fn run_in<A: AsRef<OsStr>>(&self, env: &Env, args: &[A]) -> Result<Told> {
        let mut command = Command::new(&self.program);
        command.arg(self.name).args(args).envs(env.iter().cloned()).stderr(Stdio::inherit());
        let (output, took) = timed(|| command.output());
        let output = output.doing(self.name)?;
        if !output.status.success() {
            return Err(format!("{} ended with {}", self.name, output.status).into());
        }
        let lines = String::from_utf8(output.stdout).doing(self.name)?;
        let peak_kib = value_of(&lines, "peak_kib").map(|kib| kib.parse().doing("read peak_kib")).transpose()?;
        Ok(Told { run: Run { took, peak_kib }, lines })
    }
}

impl Told {
    /// The value told as `key=value`.
    pub(super) fn value(&self, key: &str) -> Result<f64> {
        let value = value_of(&self.lines, key).ok_or_else(|| format!("our side did not tell {key:?}"))?;
        value.parse().doing(format_args!("read {key}={value}"))
    }
}

/// Runs a pipe of theirs in bash, with `args` as `$1`, `$2`, and so on. It fails if any part of it does.
pub(super) fn pipe<A: AsRef<OsStr>>(script: &str, args: &[A]) -> Result<Run> {
    pipe_in(&[], script, args)
}

/// The same, with these lines in its environment.
pub(super) fn pipe_in<A: AsRef<OsStr>>(env: &Env, script: &str, args: &[A]) -> Result<Run> {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script, "pipe"]).args(args).envs(env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (status, took) = timed(|| command.status());
    let status = status.doing("run bash")?;
    if status.success() { Ok(Run { took, peak_kib: None }) } else { Err(format!("{script}: {status}").into()) }
}

/// A program of the workspace, built for speed.
pub(super) fn built(package: &str, name: &str) -> Result<PathBuf> {
    let status = cargo("build").args(["--quiet", "--release", "-p", package, "--bin", name]).status();
    let built = status.doing("run cargo")?.success();
    let program = target_dir()?.join("release").join(name);
    if built { Ok(program) } else { Err(format!("{name} does not build").into()) }
}

/// The loops over the SDKs alone.
pub(super) fn bare() -> Result<PathBuf> {
    built("backstay-bench-bare", "backstay-bench-bare")
}

fn value_of<'a>(lines: &'a str, key: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_fails_with_any_of_its_parts() {
        assert!(pipe("true | true", &[] as &[&str]).is_ok());
        assert!(pipe("false | true", &[] as &[&str]).is_err());
        assert!(pipe("test \"$1\" = 'a b'", &["a b"]).is_ok());
    }

    #[test]
    fn values_are_found_by_their_whole_key() {
        let lines = "peak_kib_of_others=1\npeak_kib=42\nseconds=0.5\n";
        assert_eq!(value_of(lines, "peak_kib"), Some("42"));
        assert_eq!(value_of(lines, "second"), None);
    }
}
