//! The table of frames at the end of an item: where each frame begins, stored and plain. It is a skippable frame of the
//! zstd seekable format, so `zstd -d` passes over it. The format is described in zstd's `contrib/seekable_format`.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};

const MAGIC: u32 = 0x184D_2A5E;
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
const HEADER: usize = 8;
const ENTRY: usize = 8;
/// Bytes at the very end, which say how long the table is.
pub(crate) const FOOTER: usize = 9;

/// Sizes of an item's frames, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeekTable(Vec<Frame>);

/// One frame's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) packed: u32,
    pub(crate) plain: u32,
}

/// The frames that hold a range of plain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where they lie in the compressed stream.
    pub(crate) packed: Range<u64>,
    /// Plain bytes of the first frame before the range.
    pub(crate) skip: u64,
}

impl SeekTable {
    pub(crate) fn push(&mut self, packed: usize, plain: usize) -> Result<()> {
        let size = |bytes: usize| {
            u32::try_from(bytes).map_err(|error| Error::new(ErrorKind::Invalid, "a frame is too long").because(error))
        };
        self.0.push(Frame { packed: size(packed)?, plain: size(plain)? });
        Ok(())
    }

    /// The table's length as it is written.
    pub(crate) fn encoded_len(&self) -> usize {
        HEADER + ENTRY * self.0.len() + FOOTER
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let too_many = |error| Error::new(ErrorKind::Invalid, "the item has too many frames").because(error);
        let len = u32::try_from(self.encoded_len() - HEADER).map_err(too_many)?;
        let count = u32::try_from(self.0.len()).map_err(too_many)?;
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        for frame in &self.0 {
            out.extend_from_slice(&frame.packed.to_le_bytes());
            out.extend_from_slice(&frame.plain.to_le_bytes());
        }
        out.extend_from_slice(&count.to_le_bytes());
        // No checksums beside the frames: each frame has its own.
        out.push(0);
        out.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
        Ok(out)
    }

    /// The length of the table that ends with `footer`.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is no footer.
    pub(crate) fn len_from_footer(footer: &[u8]) -> Result<u64> {
        match footer.split_first_chunk::<4>() {
            Some((count, [0, magic @ ..])) if *magic == FOOTER_MAGIC.to_le_bytes() => {
                Ok(HEADER as u64 + ENTRY as u64 * u64::from(u32::from_le_bytes(*count)) + FOOTER as u64)
            }
            _ => Err(corrupt("it does not end as one")),
        }
    }

    /// Reads a table: the whole skippable frame and nothing else.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let footer = bytes.len().checked_sub(FOOTER).and_then(|at| bytes.get(at..)).unwrap_or_default();
        if Self::len_from_footer(footer)? != bytes.len() as u64 {
            return Err(corrupt("its length does not fit its number of frames"));
        }
        let table = Self(
            bytes[HEADER..bytes.len() - FOOTER]
                .as_chunks::<ENTRY>()
                .0
                .iter()
                .map(|[a, b, c, d, e, f, g, h]| Frame {
                    packed: u32::from_le_bytes([*a, *b, *c, *d]),
                    plain: u32::from_le_bytes([*e, *f, *g, *h]),
                })
                .collect(),
        );
        // Written again it must be the same, which settles the header too.
        if table.encode()? == bytes { Ok(table) } else { Err(corrupt("its header is wrong")) }
    }

    /// Compressed and plain bytes of all frames.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.0
            .iter()
            .fold((0, 0), |(packed, plain), frame| (packed + u64::from(frame.packed), plain + u64::from(frame.plain)))
    }

    /// The frames that hold the plain bytes `range`, which is not empty and lies within the item.
    pub(crate) fn span(&self, range: &Range<u64>) -> Span {
        let (mut packed, mut plain) = (0, 0);
        let mut start = None;
        for frame in &self.0 {
            if plain >= range.end {
                break;
            }
            let next = plain + u64::from(frame.plain);
            if next > range.start {
                start.get_or_insert_with(|| (packed, range.start - plain));
            }
            packed += u64::from(frame.packed);
            plain = next;
        }
        let (start, skip) = start.unwrap_or((packed, 0));
        Span { packed: start..packed, skip }
    }
}

fn corrupt(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "the table of frames is damaged").with("reason", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> SeekTable {
        let mut table = SeekTable::default();
        for (packed, plain) in [(10, 100), (5, 100), (7, 50)] {
            table.push(packed, plain).unwrap();
        }
        table
    }

    #[test]
    fn a_table_is_read_back_and_every_flipped_byte_is_noticed_or_changes_it() {
        let encoded = table().encode().unwrap();
        assert_eq!(encoded.len(), table().encoded_len());
        assert_eq!(SeekTable::decode(&encoded).unwrap(), table());
        assert_eq!(SeekTable::len_from_footer(&encoded[encoded.len() - FOOTER..]).unwrap(), encoded.len() as u64);
        for at in 0..encoded.len() {
            let mut flipped = encoded.clone();
            flipped[at] ^= 1;
            assert_ne!(SeekTable::decode(&flipped).ok(), Some(table()), "byte {at}");
            let in_entries = (HEADER..encoded.len() - FOOTER).contains(&at);
            assert_eq!(SeekTable::decode(&flipped).is_ok(), in_entries, "byte {at}");
            assert!(SeekTable::decode(&encoded[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_range_takes_the_frames_that_hold_it_and_no_other() {
        for (range, packed, skip) in [
            (0..1, 0..10, 0),
            (0..100, 0..10, 0),
            (99..101, 0..15, 99),
            (100..200, 10..15, 0),
            (199..201, 10..22, 99),
            (249..250, 15..22, 49),
            (0..250, 0..22, 0),
        ] {
            assert_eq!(table().span(&range), Span { packed, skip }, "{range:?}");
        }
        assert_eq!(table().totals(), (22, 250));
    }
}
