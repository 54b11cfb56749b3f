//! The payload of an age file: chunks of 64 KiB, each sealed alone, so that many are at work at once and any can be read
//! without the others. Follows the specification at <https://age-encryption.org/v1>.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::vault::age_header::FileKey;

/// Plain bytes of every chunk but the last.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Bytes that sealing adds to a chunk.
pub(crate) const TAG: usize = 16;
/// Stored bytes of every chunk but the last.
pub(crate) const SEALED_CHUNK: usize = CHUNK + TAG;
/// Random bytes between header and first chunk, which make the payload's key unique.
pub(crate) const NONCE: usize = 16;

/// The key of one payload.
#[derive(Clone)]
pub(crate) struct StreamKey(ChaCha20Poly1305);

impl StreamKey {
    pub(crate) fn new(file_key: &FileKey, nonce: &[u8; NONCE]) -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(nonce), file_key.expose())
            .expand(b"payload", key.as_mut())
            .map_err(|error| Error::new(ErrorKind::Other, "no payload key can be derived").because(error))?;
        Ok(Self(ChaCha20Poly1305::new((&*key).into())))
    }

    /// Seals the chunk `index` where it stands and returns the tag that follows it.
    pub(crate) fn seal(&self, index: u64, last: bool, chunk: &mut [u8]) -> Result<[u8; TAG]> {
        let tag = self.0.encrypt_inout_detached(&nonce(index, last), b"", chunk.into());
        // Only a chunk of 256 GiB is too long for the cipher.
        tag.map(Into::into).map_err(|error| Error::new(ErrorKind::Invalid, "the chunk is too long").because(error))
    }

    /// Opens the sealed chunk `index` where it stands; the plain bytes are all but the last [`TAG`].
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if it is not what was sealed as that chunk.
    pub(crate) fn open(&self, index: u64, last: bool, chunk: &mut [u8]) -> Result<()> {
        let damaged = || Error::new(ErrorKind::Corrupt, "a sealed chunk is damaged or misplaced").with("chunk", index);
        let (bytes, tag) = chunk.split_last_chunk_mut::<TAG>().ok_or_else(damaged)?;
        // The format has one way to write a payload: an empty chunk stands only where nothing else does.
        if bytes.is_empty() && index > 0 {
            return Err(damaged());
        }
        let tag = Tag::from(*tag);
        self.0.decrypt_inout_detached(&nonce(index, last), b"", bytes.into(), &tag).map_err(|_| damaged())
    }
}

impl std::fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamKey(..)")
    }
}

/// How many plain bytes a payload of `sealed` bytes holds; none if no payload has that length.
pub(crate) fn plain_len(sealed: u64) -> Option<u64> {
    let chunks = sealed.div_ceil(SEALED_CHUNK as u64);
    let last = sealed.checked_sub(chunks.checked_sub(1)? * SEALED_CHUNK as u64)?;
    let shortest = if chunks == 1 { TAG } else { TAG + 1 };
    (last >= shortest as u64).then(|| sealed - chunks * TAG as u64)
}

/// 11 bytes of counter and one that marks the last chunk.
fn nonce(index: u64, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = last.into();
    nonce.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn key() -> StreamKey {
        StreamKey::new(&Secret::new([7; 16]), &[9; NONCE]).unwrap()
    }

    #[test]
    fn a_chunk_opens_only_as_what_it_was_sealed_as() {
        let mut sealed = b"plain".to_vec();
        let tag = key().seal(3, false, &mut sealed).unwrap();
        sealed.extend_from_slice(&tag);
        for (index, last, opens) in [(3, false, true), (3, true, false), (2, false, false), (4, false, false)] {
            let mut copy = sealed.clone();
            assert_eq!(key().open(index, last, &mut copy).is_ok(), opens, "{index} {last}");
            assert_eq!(&copy[..5] == b"plain", opens);
        }
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert_eq!(key().open(3, false, &mut flipped).unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
        }
    }

    #[test]
    fn an_empty_chunk_is_only_ever_the_first() {
        for (index, opens) in [(0, true), (1, false)] {
            let mut sealed = key().seal(index, true, &mut []).unwrap();
            assert_eq!(key().open(index, true, &mut sealed).is_ok(), opens);
        }
        assert!(key().open(0, true, &mut [0; TAG - 1]).is_err());
    }

    #[test]
    fn lengths_follow_from_each_other() {
        let chunk = CHUNK as u64;
        for plain in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 7] {
            let chunks = plain.div_ceil(chunk).max(1);
            assert_eq!(plain_len(plain + 16 * chunks), Some(plain));
        }
        for impossible in [0, 1, 15, SEALED_CHUNK as u64 + 1, SEALED_CHUNK as u64 + 16] {
            assert_eq!(plain_len(impossible), None, "{impossible}");
        }
    }
}
