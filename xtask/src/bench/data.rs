//! The files that the benchmarks read: made once, kept in the target folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::content::{Noise, SplitMix, Text};
use crate::result::{Doing, Result};
use crate::workspace::target_dir;

const GIB: u64 = 1 << 30;

/// Where inputs and runs lie. The number changes with what the generators write.
pub(super) fn folder() -> Result<PathBuf> {
    Ok(target_dir()?.join("bench-1"))
}

/// 1 GiB that reads and compresses like the dump of a table.
pub(super) fn text() -> Result<PathBuf> {
    made("text", |path| write_file(path, &mut Text::new(1), GIB))
}

/// 1 GiB that does not compress.
pub(super) fn random() -> Result<PathBuf> {
    made("random", |path| write_file(path, &mut Noise::new(2), GIB))
}

/// 256 MiB of it.
pub(super) fn random_quarter() -> Result<PathBuf> {
    made("random-quarter", |path| write_file(path, &mut Noise::new(2), GIB / 4))
}

/// 100,000 files of 1 to 20 KB, 100 to a folder.
pub(super) fn small_files() -> Result<PathBuf> {
    made("small", |path| {
        let (mut text, mut lengths) = (Text::new(3), SplitMix(4));
        for n in 0..100_000 {
            let folder = path.join(format!("{:03}", n / 100));
            if n % 100 == 0 {
                fs::create_dir_all(&folder)?;
            }
            write_file(&folder.join(format!("{n:05}.txt")), &mut text, 1_000 + lengths.below(19_001))?;
        }
        Ok(())
    })
}

/// 10,000 files of 10 KiB that do not compress.
pub(super) fn tiny_files() -> Result<PathBuf> {
    made("tiny", |path| {
        let mut noise = Noise::new(6);
        fs::create_dir_all(path)?;
        (0..10_000).try_for_each(|n| write_file(&path.join(format!("{n:05}")), &mut noise, 10 << 10))
    })
}

/// Four files of 256 MiB.
pub(super) fn large_files() -> Result<PathBuf> {
    made("large", |path| {
        let mut text = Text::new(5);
        fs::create_dir_all(path)?;
        (0..4).try_for_each(|n| write_file(&path.join(format!("{n}.txt")), &mut text, GIB / 4))
    })
}

/// Bytes of a file, or of all files below a folder.
pub(super) fn bytes_in(path: &Path) -> Result<u64> {
    let mut total = 0;
    each_file(path, &mut |file| {
        total += file.metadata()?.len();
        Ok(())
    })
    .doing(path.display())?;
    Ok(total)
}

/// Removes a file, or a folder with all that is in it. Nothing there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path).doing(path.display())?;
    } else if path.exists() {
        fs::remove_file(path).doing(path.display())?;
    }
    Ok(())
}

/// Makes what is not there yet, whole or not at all, and reads it once: no side shall pay for a cold disk.
fn made(name: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf> {
    let path = folder()?.join(name);
    let partial = path.with_extension("partial");
    if !path.exists() {
        eprintln!("  making {}", path.display());
        fs::create_dir_all(folder()?).doing(partial.display())?;
        remove(&partial)?;
        make(&partial).doing(partial.display())?;
        fs::rename(&partial, &path).doing(path.display())?;
    }
    each_file(&path, &mut |mut file| io::copy(&mut file, &mut io::sink()).map(|_| ())).doing(path.display())?;
    Ok(path)
}

fn each_file(path: &Path, visit: &mut impl FnMut(File) -> io::Result<()>) -> io::Result<()> {
    if !path.is_dir() {
        return visit(File::open(path)?);
    }
    for entry in fs::read_dir(path)? {
        each_file(&entry?.path(), visit)?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &mut impl Read, bytes: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    io::copy(&mut content.take(bytes), &mut file)?;
    file.flush()
}
