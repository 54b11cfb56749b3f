//! One zstd frame: compressing it, finding its end in a stream, and decompressing it within bounds.

use std::cell::RefCell;

use zstd::zstd_safe::{CCtx, CParameter, DCtx, ResetDirective, compress_bound, get_error_name};

use crate::error::{Error, ErrorKind, Result};

/// Most plain bytes of a frame. A frame that claims more is not one of ours, and is refused before a byte of it is
/// decompressed.
pub(crate) const MAX_PLAIN: usize = 8 << 20;

const MAGIC: u32 = 0xFD2F_B528;
const BLOCK: usize = 128 << 10;

thread_local! {
    // A context is a megabyte of tables: made once for each thread that compresses.
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

/// Room that the frame of `plain` bytes may need.
pub(crate) fn packed_capacity(plain: usize) -> usize {
    compress_bound(plain)
}

/// Compresses `plain` into one frame that tells its size and has a checksum. `packed` is empty and has room.
pub(crate) fn compress(plain: &[u8], level: i32, packed: &mut Vec<u8>) -> Result<()> {
    let failed = |code| Error::new(ErrorKind::Other, "compression failed").with("reason", get_error_name(code));
    COMPRESSOR.with_borrow_mut(|context| {
        context.reset(ResetDirective::SessionAndParameters).map_err(failed)?;
        context.set_parameter(CParameter::CompressionLevel(level)).map_err(failed)?;
        context.set_parameter(CParameter::ChecksumFlag(true)).map_err(failed)?;
        context.compress2(packed, plain).map_err(failed)?;
        Ok(())
    })
}

/// Decompresses one whole frame that says it holds `len` bytes. `plain` is empty and has room for [`MAX_PLAIN`].
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) if it is damaged or holds another number of bytes.
pub(crate) fn decompress(packed: &[u8], len: usize, plain: &mut Vec<u8>) -> Result<()> {
    let corrupt = |reason: &str| Error::new(ErrorKind::Corrupt, "a frame is damaged").with("reason", reason);
    DECOMPRESSOR
        .with_borrow_mut(|context| context.decompress(plain, packed))
        .map_err(|c| corrupt(get_error_name(c)))?;
    if plain.len() == len { Ok(()) } else { Err(corrupt("it holds another number of bytes than it says")) }
}

/// Walks through a frame as its bytes arrive: says how many are needed before more can be said.
#[derive(Debug)]
pub(crate) struct Walker {
    need: usize,
    next: Next,
    plain: usize,
    checksum: bool,
}

#[derive(Debug)]
enum Next {
    /// Magic number and descriptor.
    Descriptor,
    /// The rest of the header, of which the last so many bytes tell the content's size.
    Header { size_bytes: usize },
    /// The header of a block.
    Block,
    /// Nothing: the last block and the checksum.
    End,
    /// The length of a skippable frame.
    Skippable,
}

/// What a walker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    /// More bytes are needed.
    Go,
    /// The frame is whole and says that it holds so many plain bytes.
    Frame(usize),
    /// A skippable frame is whole.
    Skippable,
}

impl Walker {
    pub(crate) fn new() -> Self {
        Self { need: 5, next: Next::Descriptor, plain: 0, checksum: false }
    }

    /// How many bytes of the frame must be there for the next [`advance`](Self::advance).
    pub(crate) fn need(&self) -> usize {
        self.need
    }

    /// Plain bytes that the frame says it holds, as soon as it has said so.
    pub(crate) fn claimed(&self) -> Option<usize> {
        matches!(self.next, Next::Block | Next::End).then_some(self.plain)
    }

    /// Looks at the frame's first [`need`](Self::need) bytes. A skippable frame may be `longest_skippable` bytes long.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if they are not part of a frame as this library writes them.
    pub(crate) fn advance(&mut self, frame: &[u8], longest_skippable: usize) -> Result<Walked> {
        let here = frame.get(..self.need).ok_or_else(|| corrupt("it ends too early"))?;
        match self.next {
            Next::Descriptor => self.descriptor(little_endian(&here[..4]), here[4])?,
            Next::Header { size_bytes } => {
                let size = little_endian(&here[here.len() - size_bytes..]);
                // Two bytes count from 256: smaller sizes have one.
                let size = if size_bytes == 2 { size + 256 } else { size };
                self.plain = usize::try_from(size)
                    .ok()
                    .filter(|size| *size <= MAX_PLAIN)
                    .ok_or_else(|| corrupt("it claims more than 8 MiB").with("claimed", size))?;
                self.next = Next::Block;
                self.need += 3;
            }
            Next::Block => self.block(little_endian(&here[here.len() - 3..]))?,
            Next::End => return Ok(Walked::Frame(self.plain)),
            Next::Skippable if self.need == 8 => {
                let size = usize::try_from(little_endian(&here[4..])).unwrap_or(usize::MAX).saturating_add(8);
                if !(9..=longest_skippable).contains(&size) {
                    return Err(corrupt("a skippable frame is not as long as the table of frames"));
                }
                self.need = size;
            }
            Next::Skippable => return Ok(Walked::Skippable),
        }
        if self.claimed().is_some_and(|plain| self.need > packed_capacity(plain)) {
            return Err(corrupt("it is longer than what it claims to hold can become"));
        }
        Ok(Walked::Go)
    }

    fn descriptor(&mut self, magic: u64, descriptor: u8) -> Result<()> {
        if magic & 0xFFFF_FFF0 == 0x184D_2A50 {
            self.next = Next::Skippable;
            self.need = 8;
            return Ok(());
        }
        if magic != u64::from(MAGIC) {
            return Err(corrupt("it does not begin as one"));
        }
        let single_segment = descriptor & 0x20 != 0;
        let size_bytes = match (descriptor >> 6, single_segment) {
            (0, true) => 1,
            (0, false) => return Err(corrupt("it does not tell its size")),
            (1, _) => 2,
            (2, _) => 4,
            _ => 8,
        };
        if descriptor & 0x0B != 0 {
            return Err(corrupt("it needs a dictionary or a newer format"));
        }
        self.checksum = descriptor & 0x04 != 0;
        self.next = Next::Header { size_bytes };
        self.need += usize::from(!single_segment) + size_bytes;
        Ok(())
    }

    fn block(&mut self, header: u64) -> Result<()> {
        let size = usize::try_from(header >> 3).unwrap_or(usize::MAX);
        if size > BLOCK {
            return Err(corrupt("a block is longer than 128 KiB"));
        }
        self.need += match header >> 1 & 3 {
            1 => 1,
            0 | 2 => size,
            _ => return Err(corrupt("a block has a reserved type")),
        };
        if header & 1 == 1 {
            self.next = Next::End;
            self.need += if self.checksum { 4 } else { 0 };
        } else {
            self.need += 3;
        }
        Ok(())
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "a frame is not as it must be").with("reason", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(packed_capacity(plain.len()));
        compress(plain, 3, &mut packed).unwrap();
        packed
    }

    /// Walks with the bytes that are asked for, no more.
    fn walk(stream: &[u8]) -> Result<(usize, Walked)> {
        let mut walker = Walker::new();
        loop {
            let available = &stream[..stream.len().min(walker.need())];
            match walker.advance(available, 1000)? {
                Walked::Go => {}
                found => return Ok((walker.need(), found)),
            }
        }
    }

    fn texts() -> Vec<Vec<u8>> {
        let mixed = |len: usize| {
            (0..len as u64).map(|i| (i.wrapping_mul(i).wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>()
        };
        [0, 1, 255, 256, 257, 65_535 + 256, 65_536 + 256, BLOCK, BLOCK + 1, 1 << 20]
            .into_iter()
            .flat_map(|len| [vec![b'a'; len], mixed(len)])
            .collect()
    }

    #[test]
    fn a_frame_ends_where_its_headers_say() {
        for plain in texts() {
            let frame = packed(&plain);
            let followed = [&frame[..], &frame[..]].concat();
            assert_eq!(walk(&followed).unwrap(), (frame.len(), Walked::Frame(plain.len())));
            let mut back = Vec::with_capacity(MAX_PLAIN);
            decompress(&frame, plain.len(), &mut back).unwrap();
            assert_eq!(back, plain);
            assert!(walk(&frame[..frame.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_frame_longer_than_its_content_can_become_is_refused() {
        // Raw blocks of no bytes, over and over, as a way to make a reader collect without end.
        let mut frame = MAGIC.to_le_bytes().to_vec();
        frame.extend_from_slice(&[0x20, 1]);
        frame.resize(1000, 0);
        assert!(walk(&frame).unwrap_err().to_string().contains("longer than"), "{:?}", walk(&frame));
    }

    #[test]
    fn what_claims_too_much_is_refused_before_it_is_decompressed() {
        for (size, refused) in [(MAX_PLAIN, false), (MAX_PLAIN + 1, true)] {
            let bomb = zstd::bulk::compress(&vec![0; size], 3).unwrap();
            assert!(bomb.len() < 2000);
            assert_eq!(walk(&bomb).is_err(), refused, "{size}");
        }
        let untold = zstd::stream::encode_all(&b"no size in the header"[..], 3).unwrap();
        assert!(walk(&untold).unwrap_err().to_string().contains("does not tell its size"));
    }

    #[test]
    fn a_frame_that_lies_about_its_size_is_refused() {
        let frame = packed(b"twenty bytes, or so..");
        assert!(decompress(&frame, 20, &mut Vec::with_capacity(MAX_PLAIN)).is_err());
        for at in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 1;
            let mut plain = Vec::with_capacity(MAX_PLAIN);
            let read = walk(&flipped).and_then(|(len, found)| match found {
                Walked::Frame(size) => decompress(&flipped[..len], size, &mut plain),
                _ => Err(corrupt("not a frame")),
            });
            // A bit of the header is unused, and ignored by zstd too: the content is the same.
            assert!(read.is_err() || plain == b"twenty bytes, or so..", "byte {at}");
        }
    }

    #[test]
    fn random_bytes_are_no_frame() {
        for seed in 0..1000_u32 {
            let bytes: Vec<u8> = (0..64).map(|i| (seed.wrapping_mul(2_654_435_761) >> (i % 24)) as u8).collect();
            assert!(walk(&bytes).is_err(), "{seed}");
        }
    }

    #[test]
    fn a_skippable_frame_is_bounded() {
        let mut frame = 0x184D_2A5E_u32.to_le_bytes().to_vec();
        frame.extend_from_slice(&992_u32.to_le_bytes());
        frame.resize(1000, 0);
        assert_eq!(walk(&frame).unwrap(), (1000, Walked::Skippable));
        frame[4..8].copy_from_slice(&993_u32.to_le_bytes());
        assert!(walk(&frame).is_err());
    }
}
