//! Checksums that the server proves: CRC64NVME of every part and of the whole.

use aws_smithy_types::base64;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use md5::{Digest as _, Md5};

/// The CRC64NVME of some bytes, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Crc {
    value: u64,
    pub(super) bytes: u64,
}

impl Crc {
    pub(super) fn of(data: &[u8]) -> Self {
        Self { value: crc_fast::checksum(Crc64Nvme, data), bytes: data.len() as u64 }
    }

    /// That of these bytes and the next ones.
    pub(super) fn then(self, next: Self) -> Self {
        let value = crc_fast::checksum_combine(Crc64Nvme, self.value, next.value, next.bytes);
        Self { value, bytes: self.bytes + next.bytes }
    }

    /// As headers have it.
    pub(super) fn header(self) -> String {
        base64::encode(self.value.to_be_bytes())
    }
}

/// As etags of objects that are put in one piece have it, where the server makes them of the content; and as Terraform keeps
/// the digest of a state.
pub(crate) fn md5_hex(data: &[u8]) -> String {
    Md5::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_has_the_checksum_of_its_parts() {
        // The check value of the catalogue of CRCs.
        assert_eq!(Crc::of(b"123456789").value, 0xae8b_1486_0a79_9888);
        let whole = Crc::of(b"123456789");
        let joined = [&b"1234"[..], b"", b"56789"].into_iter().map(Crc::of).fold(Crc::default(), Crc::then);
        assert_eq!(joined, whole);
        assert_eq!(whole.header(), "rosUhgp5mIg=");
        assert_eq!(Crc::of(b"").header(), Crc::default().header());
    }

    #[test]
    fn an_etag_is_the_md5_of_the_content() {
        assert_eq!(md5_hex(b"hello"), "5d41402abc4b2a76b9719d911017c592");
    }
}
