//! What the inputs are made of: the same bytes for the same seed, on every machine.

use std::io::{self, Read, Write};

/// Rows of an orders table: a key, a time that moves on, words of which few are frequent, an amount.
pub(super) struct Text {
    random: SplitMix,
    words: Vec<String>,
    rows: u64,
    line: Vec<u8>,
    read: usize,
}

impl Text {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let words = random.words(2_000);
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

/// Bytes without any pattern.
pub(super) struct Noise(SplitMix);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(SplitMix(seed))
    }
}

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(buffer.len())
    }
}

/// The SplitMix64 generator: small, quick, and far from any pattern that zstd would find.
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Small numbers often, large ones seldom, as with words in a text.
    pub(super) fn skewed(&mut self, limit: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((limit + 1) as f64).powf(unit) as usize - 1
    }

    pub(super) fn words(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.word()).collect()
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
        assert_eq!(first(Noise::new(2)), first(Noise::new(2)));
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
