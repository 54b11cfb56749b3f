//! `cargo xtask test`: the one test command.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::result::{Doing, Result};
use crate::rings::{Ring, test_files};
use crate::workspace::{cargo, timed};
use crate::{example, families, tools};

/// Runs the rings that `args` choose and says per ring what ran. True if nothing failed and nothing was missing.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let chosen = Ring::chosen(args)?;
    let mut table = String::new();
    let mut total = Counts::default();
    let mut left_out = Vec::new();
    for ring in Ring::ALL {
        let row = if chosen.contains(&ring) {
            println!("\n== {}", ring.name());
            let (outcome, took) = timed(|| run_ring(ring, &mut left_out));
            let counts = outcome.unwrap_or_else(|error| {
                println!("{}: {error}", ring.name());
                Some(Counts { failed: 1, ..Counts::default() })
            });
            total.add(counts.unwrap_or_default());
            row(counts, took)
        } else {
            "left out by --rings".to_owned()
        };
        table.push_str(&format!("{:<9} {row}\n", ring.name()));
    }
    let left_out: BTreeSet<String> = left_out.into_iter().map(|what| format!("LEFT OUT: {what}\n")).collect();
    let left_out: String = left_out.into_iter().collect();
    println!("\n{table}{left_out}{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

/// None where the ring has no tests at present.
fn run_ring(ring: Ring, left_out: &mut Vec<String>) -> Result<Option<Counts>> {
    if ring == Ring::Examples {
        return run_examples(left_out);
    }
    let files = test_files(ring)?;
    if files.is_empty() && ring != Ring::Pure {
        return Ok(None);
    }
    if ring == Ring::Tools {
        println!("{}", tools::ensure()?.join("\n"));
    }
    if ring == Ring::Servers {
        left_out.append(&mut families::ensure(files.iter().map(String::as_str))?);
    }
    let mut command = cargo_test();
    for file in &files {
        command.args(["--test", file]);
    }
    if ring == Ring::Pure {
        command.args(["--lib", "--bins"]);
    }
    let mut counts = cargo_counts(&mut command)?;
    if ring == Ring::Pure {
        counts.add(cargo_counts(cargo_test().arg("--doc"))?);
    }
    if counts == Counts::default() {
        return Err(format!("{files:?} hold no tests").into());
    }
    Ok(Some(counts))
}

/// The tests inside the examples, and the examples themselves.
fn run_examples(left_out: &mut Vec<String>) -> Result<Option<Counts>> {
    let names = example::names()?;
    if names.is_empty() {
        return Ok(None);
    }
    left_out.append(&mut families::ensure(names.iter().map(String::as_str))?);
    let mut counts = cargo_counts(cargo_test().arg("--examples"))?;
    for name in &names {
        let held = example::holds(name)?;
        counts.add(Counts { passed: held.into(), failed: (!held).into() });
    }
    Ok(Some(counts))
}

/// Always the whole workspace with all features, so that cargo builds each crate once for all rings.
fn cargo_test() -> Command {
    let mut command = cargo("test");
    command.args(["--workspace", "--all-features", "--no-fail-fast"]);
    command
}

fn cargo_counts(command: &mut Command) -> Result<Counts> {
    let mut child = command.stdout(Stdio::piped()).spawn().doing("run cargo")?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.doing("read cargo's output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counts.add(Counts::of(&line)?);
        }
    }
    let status = child.wait().doing("wait for cargo")?;
    if !status.success() && counts.failed == 0 {
        // A build that failed, or a test program that died before it could count.
        println!("cargo test ended with {status}");
        counts.failed = 1;
    }
    Ok(counts)
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
    }

    /// What a line of a test program's output adds. An ignored test counts as failed: none is left out in silence.
    fn of(line: &str) -> Result<Self> {
        let Some(summary) = line.strip_prefix("test result: ") else { return Ok(Self::default()) };
        let figure = |what: &str| -> Result<u64> {
            summary
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(what))
                .find_map(|number| number.trim().parse().ok())
                .ok_or_else(|| format!("no figure for {what:?} in {line:?}").into())
        };
        Ok(Self { passed: figure("passed")?, failed: figure("failed")? + figure("ignored")? })
    }
}

fn row(counts: Option<Counts>, took: Duration) -> String {
    match counts {
        Some(Counts { passed, failed }) => format!("{passed} passed, {failed} failed, {} s", took.as_secs()),
        None => "has no tests at present".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted_and_ignored_tests_fail() {
        let line = |text: &str| Counts::of(text).unwrap();
        let ok = "test result: ok. 41 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(line(ok), Counts { passed: 41, failed: 0 });
        let bad = "test result: FAILED. 2 passed; 3 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.20s";
        assert_eq!(line(bad), Counts { passed: 2, failed: 7 });
        assert_eq!(line("test store::key::tests::odd ... ok"), Counts::default());
        assert!(Counts::of("test result: ok. many passed").is_err());
    }

    #[test]
    fn a_program_that_dies_without_counting_is_a_failure() {
        let counts = |script: &str| cargo_counts(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(counts("exit 101"), Counts { passed: 0, failed: 1 });
        assert_eq!(counts("echo 'test result: ok. 2 passed; 0 failed; 0 ignored;'"), Counts { passed: 2, failed: 0 });
        assert_eq!(
            counts("echo 'test result: ok. 2 passed; 0 failed; 0 ignored;'; kill -9 $$"),
            Counts { passed: 2, failed: 1 }
        );
    }
}
