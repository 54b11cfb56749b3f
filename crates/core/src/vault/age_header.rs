//! The header of an age file: the file's key, sealed to each recipient. Follows the specification at
//! <https://age-encryption.org/v1>; of the recipient types only X25519 is ours, others are passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::vault::seal::{Identity, Recipient};

/// The key of one age file.
pub(crate) type FileKey = Secret<[u8; 16]>;

/// Longest header that is read. Room for some 600 recipients; a file that claims more is not one of ours.
pub(crate) const MAX_HEADER: usize = 64 * 1024;

const VERSION: &[u8] = b"age-encryption.org/v1\n";
const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const COLUMNS: usize = 64;

/// Writes a header that seals `file_key` to every one of `recipients`.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) without a recipient, or for one that no secret belongs to.
pub(crate) fn write(file_key: &FileKey, recipients: &[Recipient], random: &dyn Random) -> Result<Vec<u8>> {
    if recipients.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "sealing needs at least one recipient"));
    }
    let mut header = VERSION.to_vec();
    for recipient in recipients {
        let mut ephemeral = Zeroizing::new([0; 32]);
        random.fill(ephemeral.as_mut());
        let ephemeral = StaticSecret::from(*ephemeral);
        let share = PublicKey::from(&ephemeral);
        let key = wrap_key(&ephemeral, recipient.key(), &share, recipient.key())
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "not a usable recipient").with("recipient", recipient))?;
        let mut body = file_key.expose().to_vec();
        let tag = key
            .encrypt_inout_detached(&Nonce::default(), b"", body.as_mut_slice().into())
            .map_err(|error| Error::new(ErrorKind::Other, "the file key cannot be sealed").because(error))?;
        body.extend_from_slice(&tag);
        header.extend_from_slice(format!("-> X25519 {}\n", BASE64.encode(share)).as_bytes());
        // 32 bytes are 43 characters: one line, shorter than the longest, which ends the body.
        header.extend_from_slice(format!("{}\n", BASE64.encode(body)).as_bytes());
    }
    header.extend_from_slice(b"---");
    let mac = mac(file_key, &header)?.finalize().into_bytes();
    header.extend_from_slice(format!(" {}\n", BASE64.encode(mac)).as_bytes());
    Ok(header)
}

/// A header that was read; nothing in it is proved before [`unlock`](Header::unlock).
pub(crate) struct Header<'a> {
    stanzas: Vec<Stanza>,
    covered: &'a [u8],
    mac: [u8; 32],
    /// Its length; the payload follows.
    pub(crate) len: usize,
}

/// The file key sealed to one X25519 recipient.
struct Stanza {
    share: PublicKey,
    body: [u8; 32],
}

impl<'a> Header<'a> {
    /// Reads the header that `file` begins with.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) if there is none, or not exactly as the format says.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self> {
        let mut lines = Lines { file, at: 0 };
        if lines.next()? != VERSION.trim_ascii_end() {
            return Err(malformed("it does not begin as an age v1 file"));
        }
        let mut stanzas = Vec::new();
        loop {
            let start = lines.at;
            let line = lines.next()?;
            if let Some(mac) = line.strip_prefix(b"---") {
                let mac = mac.strip_prefix(b" ").and_then(decode).ok_or_else(|| malformed("its MAC is malformed"))?;
                return Ok(Self { stanzas, covered: &file[..start + 3], mac, len: lines.at });
            }
            let arguments = line.strip_prefix(b"-> ").ok_or_else(|| malformed("a stanza is expected"))?;
            stanzas.extend(lines.stanza(arguments)?);
        }
    }

    /// The file key, if one of `identities` is among the recipients.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if none is, [`Corrupt`](ErrorKind::Corrupt) if the header was changed.
    pub(crate) fn unlock(&self, identities: &[&Identity]) -> Result<FileKey> {
        for stanza in &self.stanzas {
            for identity in identities {
                if let Some(file_key) = stanza.unwrap(identity)? {
                    let proof = mac(&file_key, self.covered)?.verify_slice(&self.mac);
                    return match proof {
                        Ok(()) => Ok(file_key),
                        Err(_) => Err(malformed("its MAC does not match: it was changed")),
                    };
                }
            }
        }
        Err(Error::new(ErrorKind::Denied, "sealed to other keys than the ones at hand")
            .advise("use the identity whose recipient it was sealed to"))
    }
}

impl Stanza {
    /// The file key, if it was sealed to `identity`.
    fn unwrap(&self, identity: &Identity) -> Result<Option<FileKey>> {
        let secret = StaticSecret::from(*identity.secret());
        let key = wrap_key(&secret, &self.share, &self.share, identity.recipient().key())
            .ok_or_else(|| malformed("a stanza's share is a point of low order"))?;
        let mut body = Zeroizing::new(self.body);
        let (bytes, tag) = body.split_at_mut(16);
        let tag: &[u8; 16] = (&*tag).try_into().map_err(|_| malformed("a stanza's body is too short"))?;
        if key.decrypt_inout_detached(&Nonce::default(), b"", (&mut *bytes).into(), tag.into()).is_err() {
            return Ok(None);
        }
        let mut file_key = [0; 16];
        file_key.copy_from_slice(bytes);
        Ok(Some(Secret::new(file_key)))
    }
}

/// The key between one secret and one public key; none where they share nothing.
fn wrap_key(
    mine: &StaticSecret,
    theirs: &PublicKey,
    share: &PublicKey,
    recipient: &PublicKey,
) -> Option<ChaCha20Poly1305> {
    let shared = mine.diffie_hellman(theirs);
    let salt = [share.to_bytes(), recipient.to_bytes()].concat();
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&salt), shared.as_bytes()).expand(WRAP_INFO, key.as_mut()).ok()?;
    shared.was_contributory().then(|| ChaCha20Poly1305::new((&*key).into()))
}

fn mac(file_key: &FileKey, covered: &[u8]) -> Result<Hmac<Sha256>> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, file_key.expose())
        .expand(b"header", key.as_mut())
        .map_err(|error| Error::new(ErrorKind::Other, "no header key can be derived").because(error))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_ref())
        .map_err(|error| Error::new(ErrorKind::Other, "no header key can be used").because(error))?;
    mac.update(covered);
    Ok(mac)
}

/// The lines of a header.
struct Lines<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8]> {
        let window = &self.file[self.at..self.file.len().min(MAX_HEADER)];
        let Some(len) = window.iter().position(|byte| *byte == b'\n') else {
            let short = self.file.len() < MAX_HEADER;
            return Err(malformed(if short { "it ends too early" } else { "it is longer than 64 KiB" }));
        };
        self.at += len + 1;
        Ok(&window[..len])
    }

    /// Reads the body that belongs to `arguments`; none for a type that is not ours.
    fn stanza(&mut self, arguments: &[u8]) -> Result<Option<Stanza>> {
        let arguments: Vec<&[u8]> = arguments.split(|byte| *byte == b' ').collect();
        if arguments.iter().any(|word| word.is_empty() || !word.iter().all(u8::is_ascii_graphic)) {
            return Err(malformed("a stanza's arguments are malformed"));
        }
        let mut body = Vec::new();
        loop {
            let line = self.next()?;
            if line.len() > COLUMNS {
                return Err(malformed("a stanza's body has a line of more than 64 characters"));
            }
            body.extend_from_slice(line);
            if line.len() < COLUMNS {
                break;
            }
        }
        let body = BASE64.decode(body).map_err(|_| malformed("a stanza's body is not base64"))?;
        match arguments[..] {
            [b"X25519", share] => match (decode::<32>(share), body.try_into()) {
                (Some(share), Ok(body)) => Ok(Some(Stanza { share: share.into(), body })),
                _ => Err(malformed("an X25519 stanza is malformed")),
            },
            [b"X25519", ..] => Err(malformed("an X25519 stanza is malformed")),
            _ => Ok(None),
        }
    }
}

fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn malformed(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "the age header is not valid").with("reason", why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    #[test]
    fn every_flipped_byte_of_a_header_is_noticed() {
        let identity = Identity::generate(&SystemRandom);
        let key: FileKey = Secret::new([3; 16]);
        let others: Vec<Recipient> = (0..3).map(|_| Identity::generate(&SystemRandom).recipient().clone()).collect();
        let recipients = [&others[..], &[identity.recipient().clone()]].concat();
        let header = write(&key, &recipients, &SystemRandom).unwrap();
        let opened = Header::parse(&header).unwrap();
        assert_eq!(opened.len, header.len());
        assert_eq!(opened.unlock(&[&identity]).unwrap().expose(), key.expose());
        for at in 0..header.len() {
            let mut flipped = header.clone();
            flipped[at] ^= 1;
            let opened = Header::parse(&flipped).and_then(|header| header.unlock(&[&identity]));
            assert!(opened.is_err(), "byte {at}");
            let cut = Header::parse(&header[..at]).map(|_| ());
            assert_eq!(cut.unwrap_err().kind(), ErrorKind::Corrupt, "cut at {at}");
        }
    }

    #[test]
    fn a_header_without_end_is_not_read_for_ever() {
        let mut endless = VERSION.to_vec();
        while endless.len() < 2 * MAX_HEADER {
            endless.extend_from_slice(b"-> grease\n\n");
        }
        let error = Header::parse(&endless).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("longer than 64 KiB"), "{error}");
        assert!(write(&Secret::new([0; 16]), &[], &SystemRandom).is_err());
    }

    #[test]
    fn a_recipient_that_no_secret_belongs_to_is_refused() {
        let nobody: Recipient = bech32::encode_lower::<bech32::Bech32>(bech32::Hrp::parse_unchecked("age"), &[0; 32])
            .unwrap()
            .parse()
            .unwrap();
        let error = write(&Secret::new([0; 16]), &[nobody], &SystemRandom).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
