//! Checksums: which are claimed, whether they are right, and those of a whole that came in parts.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use hyper::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::Checksum as _;
use s3s::dto::{Checksum, ChecksumType};

use crate::error::{Result, fail};

/// One algorithm, by S3's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// The checksums of an input.
macro_rules! sums_of {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.take(),
            checksum_crc32c: $input.checksum_crc32c.take(),
            checksum_crc64nvme: $input.checksum_crc64nvme.take(),
            checksum_sha1: $input.checksum_sha1.take(),
            checksum_sha256: $input.checksum_sha256.take(),
            checksum_type: None,
        }
    };
}
pub(crate) use sums_of;

/// Puts checksums into an output.
macro_rules! tell_sums {
    ($output:expr, $sums:expr) => {
        $output.checksum_crc32.clone_from(&$sums.checksum_crc32);
        $output.checksum_crc32c.clone_from(&$sums.checksum_crc32c);
        $output.checksum_crc64nvme.clone_from(&$sums.checksum_crc64nvme);
        $output.checksum_sha1.clone_from(&$sums.checksum_sha1);
        $output.checksum_sha256.clone_from(&$sums.checksum_sha256);
    };
}
pub(crate) use tell_sums;

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| fail(400, "InvalidRequest", format!("Checksum algorithm {name} is not played here.")))
    }

    fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_lowercase())
    }

    pub(crate) fn of(self, sums: &Checksum) -> Option<&String> {
        match self {
            Self::Crc32 => sums.checksum_crc32.as_ref(),
            Self::Crc32c => sums.checksum_crc32c.as_ref(),
            Self::Crc64Nvme => sums.checksum_crc64nvme.as_ref(),
            Self::Sha1 => sums.checksum_sha1.as_ref(),
            Self::Sha256 => sums.checksum_sha256.as_ref(),
        }
    }

    pub(crate) fn set(self, sums: &mut Checksum, value: String) {
        let place = match self {
            Self::Crc32 => &mut sums.checksum_crc32,
            Self::Crc32c => &mut sums.checksum_crc32c,
            Self::Crc64Nvme => &mut sums.checksum_crc64nvme,
            Self::Sha1 => &mut sums.checksum_sha1,
            Self::Sha256 => &mut sums.checksum_sha256,
        };
        *place = Some(value);
    }

    /// The one that `sums` has.
    pub(crate) fn in_use(sums: &Checksum) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.of(sums).is_some())
    }

    /// Those that a request announces for after its body.
    pub(crate) fn in_trailer(headers: &HeaderMap) -> Vec<Self> {
        let names = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named = |name: &str| Self::ALL.into_iter().find(|it| it.header().eq_ignore_ascii_case(name.trim()));
        names.split(',').filter_map(named).collect()
    }

    pub(crate) fn in_headers(self, headers: &HeaderMap) -> Option<String> {
        headers.get(self.header()).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    fn crc(self) -> Option<(CrcAlgorithm, usize)> {
        match self {
            Self::Crc32 => Some((CrcAlgorithm::Crc32IsoHdlc, 4)),
            Self::Crc32c => Some((CrcAlgorithm::Crc32Iscsi, 4)),
            Self::Crc64Nvme => Some((CrcAlgorithm::Crc64Nvme, 8)),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// Computes these and no others.
pub(crate) fn hasher(algorithms: &[Algorithm]) -> ChecksumHasher {
    let mut hasher = ChecksumHasher::default();
    for algorithm in algorithms {
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(s3s::crypto::Crc32::new()),
            Algorithm::Crc32c => hasher.crc32c = Some(s3s::crypto::Crc32c::new()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(s3s::crypto::Crc64Nvme::new()),
            Algorithm::Sha1 => hasher.sha1 = Some(s3s::crypto::Sha1::new()),
            Algorithm::Sha256 => hasher.sha256 = Some(s3s::crypto::Sha256::new()),
        }
    }
    hasher
}

pub(crate) fn compute<'a>(algorithm: Algorithm, data: impl IntoIterator<Item = &'a Bytes>) -> Checksum {
    let mut hasher = hasher(&[algorithm]);
    data.into_iter().for_each(|chunk| hasher.update(chunk));
    hasher.finalize()
}

/// Refuses a claim that does not hold.
pub(crate) fn verify(claimed: &Checksum, computed: &Checksum) -> Result<()> {
    for algorithm in Algorithm::ALL {
        match (algorithm.of(claimed), algorithm.of(computed)) {
            (Some(claimed), Some(computed)) if claimed != computed => {
                let name = algorithm.name();
                let message = format!("The {name} you specified did not match the calculated checksum.");
                return Err(fail(400, "BadDigest", message));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn full_object(mut sums: Checksum) -> Checksum {
    sums.checksum_type = Algorithm::in_use(&sums).map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    sums
}

/// The checksum of a whole from those of its parts, each with its size. Nothing if it cannot be told from them.
pub(crate) fn combine(algorithm: Algorithm, parts: &[(&Checksum, u64)]) -> Option<String> {
    let (crc, width) = algorithm.crc()?;
    let mut whole: Option<u64> = None;
    for (sums, size) in parts {
        let bytes = BASE64_STANDARD.decode(algorithm.of(sums)?).ok()?;
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        whole = Some(whole.map_or(value, |so_far| crc_fast::checksum_combine(crc, so_far, value, *size)));
    }
    Some(BASE64_STANDARD.encode(&whole?.to_be_bytes()[8 - width..]))
}

/// The checksum of the parts' checksums, and their number.
pub(crate) fn composite(algorithm: Algorithm, parts: &[(&Checksum, u64)]) -> Option<String> {
    let mut joined = Vec::new();
    for (sums, _) in parts {
        joined.extend(BASE64_STANDARD.decode(algorithm.of(sums)?).ok()?);
    }
    let sums = compute(algorithm, [&Bytes::from(joined)]);
    algorithm.of(&sums).map(|value| format!("{value}-{}", parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_combine_to_the_whole() {
        let whole = Bytes::from((0..10_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let pieces = [whole.slice(..7), whole.slice(7..7), whole.slice(7..30_001), whole.slice(30_001..)];
            let sums = pieces.each_ref().map(|piece| (compute(algorithm, [piece]), piece.len() as u64));
            let parts: Vec<_> = sums.iter().map(|(sums, size)| (sums, *size)).collect();
            let expected = compute(algorithm, [&whole]);
            assert_eq!(combine(algorithm, &parts).as_ref(), algorithm.of(&expected), "{algorithm:?}");
        }
        assert_eq!(combine(Algorithm::Sha256, &[]), None);
    }
}
