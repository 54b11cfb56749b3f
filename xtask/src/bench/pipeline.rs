//! The byte path against `zstd -3 -T0 | age`, and back.

use std::path::{Path, PathBuf};

use super::compare::{Ratio, alternate};
use super::data;
use super::place::Place;
use super::side::{OurSide, pipe};
use crate::result::Result;

// `$1` is the input, `$2` the recipient or the identity file, `$3` the output.
const SEAL_FILE: &str = r#"zstd -3 -T0 -q -c "$1" | age -r "$2" > "$3"; sync "$3""#;
const OPEN_FILE: &str = r#"age -d -i "$2" "$1" | zstd -d -q > "$3"; sync "$3""#;
const SEAL_TREE: &str = r#"tar -C "$1" -c . | zstd -3 -T0 -q | age -r "$2" > "$3"; sync "$3""#;

pub(super) fn backup() -> Result<Ratio> {
    seal("backup_stream", SEAL_FILE, data::text)
}

pub(super) fn incompressible() -> Result<Ratio> {
    seal("backup_stream", SEAL_FILE, data::random)
}

pub(super) fn small_files() -> Result<Ratio> {
    seal("backup_directory", SEAL_TREE, data::small_files)
}

pub(super) fn large_files() -> Result<Ratio> {
    seal("backup_directory", SEAL_TREE, data::large_files)
}

pub(super) fn restore() -> Result<Ratio> {
    let (ours_in, ours_out) = (OurSide::build("backup_stream")?, OurSide::build("restore_stream")?);
    let (input, place) = (data::text()?, Place::new()?);
    let (key, theirs, out) = (place.file("key"), place.file("theirs"), place.file("out"));
    let vault = place.fresh("ours")?;
    ours_in.run(&[&input, &vault])?;
    pipe(SEAL_FILE, &[input.as_os_str(), place.recipient.as_ref(), theirs.as_os_str()])?;
    alternate(
        data::bytes_in(&input)?,
        || {
            let run = ours_out.run(&[&vault, &place.fresh("out")?])?.run;
            same(&input, &out)?;
            Ok(run)
        },
        || {
            place.fresh("out")?;
            pipe(OPEN_FILE, &[&theirs, &key, &out])
        },
    )
}

/// What independent frames cost: bytes of the vault against bytes of the pipe's one frame.
pub(super) fn size() -> Result<f64> {
    let side = OurSide::build("backup_stream")?;
    let (input, place) = (data::text()?, Place::new()?);
    let (ours, theirs) = (place.fresh("ours")?, place.fresh("theirs")?);
    side.run(&[&input, &ours])?;
    pipe(SEAL_FILE, &[input.as_os_str(), place.recipient.as_ref(), theirs.as_os_str()])?;
    Ok(data::bytes_in(&ours)? as f64 / data::bytes_in(&theirs)? as f64)
}

/// The most memory of a process that has 64 workers and the default budget, in MiB.
pub(super) fn peak_64_workers() -> Result<f64> {
    let side = OurSide::build("backup_stream")?;
    let (input, place) = (data::text()?, Place::new()?);
    let vault = place.fresh("ours")?;
    Ok(side.run(&[input.as_os_str(), vault.as_os_str(), "64".as_ref()])?.value("peak_kib")? / 1024.0)
}

fn seal(name: &'static str, script: &str, input: fn() -> Result<PathBuf>) -> Result<Ratio> {
    let side = OurSide::build(name)?;
    let (input, place) = (input()?, Place::new()?);
    alternate(
        data::bytes_in(&input)?,
        || Ok(side.run(&[&input, &place.fresh("ours")?])?.run),
        || pipe(script, &[input.as_os_str(), place.recipient.as_ref(), place.fresh("theirs")?.as_os_str()]),
    )
}

/// A restore that is fast and wrong is not a result.
fn same(a: &Path, b: &Path) -> Result<()> {
    pipe(r#"cmp "$1" "$2""#, &[a, b]).map(|_| ())
}
