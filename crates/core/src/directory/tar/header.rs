//! The 512-byte header of the `ustar` format, and what GNU tar puts into the same fields.

use super::BLOCK;

/// One header.
#[derive(Clone)]
pub(super) struct Header(pub(super) [u8; BLOCK]);

/// Where a field lies.
type Field = std::ops::Range<usize>;

pub(super) const NAME: Field = 0..100;
pub(super) const MODE: Field = 100..108;
pub(super) const UID: Field = 108..116;
pub(super) const GID: Field = 116..124;
pub(super) const SIZE: Field = 124..136;
pub(super) const MTIME: Field = 136..148;
const CHECKSUM: Field = 148..156;
const TYPE: usize = 156;
pub(super) const LINK: Field = 157..257;
pub(super) const UNAME: Field = 265..297;
pub(super) const GNAME: Field = 297..329;
pub(super) const MAJOR: Field = 329..337;
pub(super) const MINOR: Field = 337..345;
const PREFIX: Field = 345..500;

impl Header {
    /// An empty `ustar` header of this type.
    pub(super) fn new(type_flag: u8) -> Self {
        let mut block = [0; BLOCK];
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[TYPE] = type_flag;
        Self(block)
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[TYPE]
    }

    /// Writes text. What does not fit is cut; the caller has a pax record for it.
    pub(super) fn set_text(&mut self, field: Field, text: &[u8]) {
        let length = text.len().min(field.len());
        self.0[field.start..field.start + length].copy_from_slice(&text[..length]);
    }

    /// Writes a number in octal. One that does not fit is written in binary as GNU tar does; the caller has a pax record
    /// for readers that do not know this.
    pub(super) fn set_number(&mut self, field: Field, value: u64) {
        let digits = field.len() - 1;
        self.0[field.clone()].fill(0);
        if value >> (3 * digits) == 0 {
            let mut rest = value;
            for byte in self.0[field.start..field.start + digits].iter_mut().rev() {
                *byte = b'0' + (rest & 7) as u8;
                rest >>= 3;
            }
        } else {
            let bytes = value.to_be_bytes();
            let length = bytes.len().min(digits);
            self.0[field.start] = 0x80;
            self.0[field.end - length..field.end].copy_from_slice(&bytes[bytes.len() - length..]);
        }
    }

    /// Writes the checksum: the last thing to do.
    pub(super) fn seal(&mut self) {
        let sum = self.sum();
        self.set_number(CHECKSUM.start..CHECKSUM.end - 1, sum);
        self.0[CHECKSUM.end - 1] = b' ';
    }

    /// Whether the checksum is right.
    pub(super) fn is_intact(&self) -> bool {
        self.number(CHECKSUM).is_some_and(|stored| stored >= 0 && stored.unsigned_abs() == self.sum())
    }

    /// The sum of all bytes, those of the checksum taken as spaces.
    fn sum(&self) -> u64 {
        let all: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        let own: u32 = self.0[CHECKSUM].iter().map(|b| u32::from(*b)).sum();
        u64::from(all - own) + 8 * u64::from(b' ')
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    /// Text up to the first zero byte.
    pub(super) fn text(&self, field: Field) -> &[u8] {
        let bytes = &self.0[field];
        &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
    }

    /// A number, octal or as GNU tar writes large and negative ones. None if it is neither or does not fit.
    pub(super) fn number(&self, field: Field) -> Option<i64> {
        let bytes = &self.0[field];
        match bytes {
            [first @ (0x80 | 0xff), rest @ ..] => {
                let start = if *first == 0xff { -1_i64 } else { 0 };
                rest.iter().try_fold(start, |n, b| n.checked_mul(256)?.checked_add(i64::from(*b)))
            }
            _ => {
                let digits = bytes.trim_ascii_start();
                let end = digits.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(digits.len());
                digits[..end].iter().try_fold(0_i64, |n, b| match b {
                    b'0'..=b'7' => n.checked_mul(8)?.checked_add(i64::from(b - b'0')),
                    _ => None,
                })
            }
        }
    }

    /// The path: the prefix belongs to it in `ustar` headers, while GNU tar keeps other things in that place.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = if &self.0[257..263] == b"ustar\0" { self.text(PREFIX) } else { b"" };
        let name = self.text(NAME);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        let mut header = Header::new(b'0');
        for value in [0, 1, 0o7_777_777, 0o10_000_000, u64::from(u32::MAX)] {
            header.set_number(UID, value);
            assert_eq!(header.number(UID).unwrap().unsigned_abs(), value);
        }
        for value in [0o77_777_777_777, 0o100_000_000_000, 1 << 50] {
            header.set_number(SIZE, value);
            assert_eq!(header.number(SIZE).unwrap().unsigned_abs(), value);
        }
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let mut header = Header::new(b'0');
        for (bytes, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"0000648\0", None),
            (b"-000001\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff", Some(0xff_ffff_ffff_ffff)),
        ] {
            header.0[UID].copy_from_slice(bytes);
            assert_eq!(header.number(UID), expected, "{bytes:?}");
        }
        header.0[SIZE].copy_from_slice(b"\x80\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(header.number(SIZE), None);
    }

    #[test]
    fn one_changed_byte_breaks_the_checksum() {
        let mut header = Header::new(b'0');
        header.set_text(NAME, b"a");
        header.seal();
        assert!(header.is_intact());
        header.0[0] = b'b';
        assert!(!header.is_intact());
    }
}
