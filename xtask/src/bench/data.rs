//! The inputs: made once, the same on every machine, kept in the target folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

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
    made("random", |path| write_file(path, &mut Noise(SplitMix(2)), GIB))
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

/// Makes what is not there yet, whole or not at all, and reads it once: no side shall pay for a cold disk.
fn made(name: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf> {
    let path = folder()?.join(name);
    let partial = path.with_extension("partial");
    if !path.exists() {
        eprintln!("  making {}", path.display());
        clear(&partial).doing(partial.display())?;
        make(&partial).doing(partial.display())?;
        fs::rename(&partial, &path).doing(path.display())?;
    }
    each_file(&path, &mut |mut file| io::copy(&mut file, &mut io::sink()).map(|_| ())).doing(path.display())?;
    Ok(path)
}

fn clear(partial: &Path) -> io::Result<()> {
    if partial.is_dir() {
        fs::remove_dir_all(partial)?;
    }
    partial.parent().map_or(Ok(()), fs::create_dir_all)
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

/// Rows of an orders table: a key, a time that moves on, words of which few are frequent, an amount.
struct Text {
    random: SplitMix,
    words: Vec<String>,
    rows: u64,
    line: Vec<u8>,
    read: usize,
}

impl Text {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let words = (0..2_000).map(|_| random.word()).collect();
        Self { random, words, rows: 0, line: Vec::new(), read: 0 }
    }

    fn next_line(&mut self) -> io::Result<()> {
        self.rows += 1;
        self.read = 0;
        self.line.clear();
        let (random, second) = (&mut self.random, self.rows / 3);
        let (hour, minute, key) = (second / 3_600 % 24, second / 60 % 60, random.below(1_000_000_000));
        write!(self.line, "{key}\t2026-11-{:02} {hour:02}:{minute:02}:{:02}\t", second / 86_400 % 28 + 1, second % 60)?;
        for _ in 0..8 + random.below(8) {
            self.line.extend_from_slice(self.words[random.skewed(self.words.len())].as_bytes());
            self.line.push(b' ');
        }
        writeln!(self.line, "\t{}.{:02}", random.below(1_000), random.below(100))
    }
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.line.len() {
            self.next_line()?;
        }
        let n = (&self.line[self.read..]).read(buffer)?;
        self.read += n;
        Ok(n)
    }
}

struct Noise(SplitMix);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

/// The SplitMix64 generator: small, quick, and far from any pattern that zstd would find.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Small numbers often, large ones seldom, as with words in a text.
    fn skewed(&mut self, limit: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((limit + 1) as f64).powf(unit) as usize - 1
    }

    fn word(&mut self) -> String {
        (0..2 + self.below(9)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(content: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.take(1 << 16).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn inputs_are_the_same_each_time() {
        assert_eq!(first(Text::new(1)), first(Text::new(1)));
        assert_ne!(first(Text::new(1)), first(Text::new(2)));
        assert_eq!(first(Noise(SplitMix(2))), first(Noise(SplitMix(2))));
    }

    #[test]
    fn words_are_all_used_and_the_first_most() {
        let mut random = SplitMix(7);
        let mut counts = [0; 50];
        (0..50_000).for_each(|_| counts[random.skewed(50)] += 1);
        assert!(counts.iter().all(|n| *n > 0), "{counts:?}");
        assert!(counts[0] > 10 * counts[40], "{counts:?}");
    }
}
