//! Randomness that replays a seed.

use std::sync::atomic::{AtomicU64, Ordering};

use backstay_core::clock::Random;

/// The same seed gives the same bytes, call by call. For tests only: whoever knows the seed knows every key made of it.
///
/// The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
///
/// ```
/// use backstay_core::RunId;
/// use backstay_testkit::SeededRandom;
///
/// let time = "2026-11-20T06:42:00Z".parse()?;
/// assert_eq!(RunId::new(time, &SeededRandom::new(7)), RunId::new(time, &SeededRandom::new(7)));
/// assert_ne!(RunId::new(time, &SeededRandom::new(7)), RunId::new(time, &SeededRandom::new(8)));
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// A generator at the beginning of its sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_published_sequence() {
        let random = SeededRandom::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next_u64(), random.next_u64(), random.next_u64()], expected);
        let mut bytes = [0; 11];
        SeededRandom::new(1_234_567).fill(&mut bytes);
        assert_eq!(bytes[..8], expected[0].to_le_bytes());
        assert_eq!(bytes[8..], expected[1].to_le_bytes()[..3]);
    }
}
