//! Sealing: age v1 files, which the program `age` opens with the same keys.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::vault::age_header::{self, FileKey, Header};
use crate::vault::age_stream::{CHUNK, NONCE, SEALED_CHUNK, StreamKey, TAG, plain_len};

/// Whom bytes are sealed to: the public half of an [`Identity`], written `age1...`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recipient(PublicKey);

/// Who can open what was sealed to its [`Recipient`]; written `AGE-SECRET-KEY-1...`, as `age-keygen` makes them.
///
/// ```
/// use backstay_core::clock::SystemRandom;
/// use backstay_core::vault::{Identity, open_bytes, seal_bytes};
///
/// let identity = Identity::generate(&SystemRandom);
/// let sealed = seal_bytes(b"words", &[identity.recipient().clone()], &SystemRandom)?;
/// assert_eq!(open_bytes(&sealed, &[&identity])?.expose(), b"words");
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Identity {
    secret: Secret<[u8; 32]>,
    recipient: Recipient,
}

impl Identity {
    /// A fresh one.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut());
        Self::from_secret(*secret)
    }

    /// Reads an identity, alone or in a file of one with comment lines, as `age-keygen` writes it.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if there is none, more than one, or another kind. The error does not repeat the text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::decode(line),
            _ => None,
        }
        .ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this is not one age identity")
                .advise("an identity begins with AGE-SECRET-KEY-1; `age-keygen` makes them")
        })
    }

    /// The text of an identity file, as `age-keygen` writes it.
    #[must_use]
    pub fn to_text(&self) -> Secret<String> {
        let mut text = format!("# public key: {}\n", self.recipient);
        // Room for the line from the start: a text that moves leaves a copy of itself behind.
        text.reserve(128);
        // 32 bytes are never too long for the code, and a string takes any text.
        let _ = bech32::encode_upper_to_fmt::<Bech32, _>(&mut text, IDENTITY, self.secret.expose());
        text.push('\n');
        Secret::new(text)
    }

    /// Whom to seal to, so that this identity can open it.
    #[must_use]
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    pub(super) fn secret(&self) -> &[u8; 32] {
        self.secret.expose()
    }

    fn from_secret(secret: [u8; 32]) -> Self {
        let recipient = Recipient(PublicKey::from(&StaticSecret::from(secret)));
        Self { secret: Secret::new(secret), recipient }
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = text.starts_with("AGE-SECRET-KEY-1").then(|| decode(IDENTITY, text)).flatten()?;
        Some(Self::from_secret(*bytes))
    }
}

/// Seals `plain` to all `recipients`. The result is an age file; it is held in memory whole.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) without a recipient.
pub fn seal_bytes(plain: &[u8], recipients: &[Recipient], random: &dyn Random) -> Result<Vec<u8>> {
    let (mut sealed, key) = begin(recipients, random)?;
    let chunks = plain.len().div_ceil(CHUNK).max(1);
    for index in 0..chunks {
        let chunk = &plain[index * CHUNK..plain.len().min((index + 1) * CHUNK)];
        let start = sealed.len();
        sealed.extend_from_slice(chunk);
        let tag = key.seal(index as u64, index + 1 == chunks, &mut sealed[start..])?;
        sealed.extend_from_slice(&tag);
    }
    Ok(sealed)
}

/// Opens an age file that is sealed to one of `identities`.
///
/// # Errors
/// [`Denied`](ErrorKind::Denied) if it is sealed to others, [`Corrupt`](ErrorKind::Corrupt) if it is damaged, cut or not
/// an age file.
pub fn open_bytes(sealed: &[u8], identities: &[&Identity]) -> Result<Secret<Vec<u8>>> {
    let (key, start) = unlock(sealed, identities)?;
    let mut chunks = Zeroizing::new(sealed[start..].to_vec());
    if plain_len(chunks.len() as u64).is_none() {
        return Err(Error::new(ErrorKind::Corrupt, "the age file ends too early"));
    }
    let count = chunks.len().div_ceil(SEALED_CHUNK);
    let mut plain = Zeroizing::new(Vec::with_capacity(chunks.len()));
    for (index, chunk) in chunks.chunks_mut(SEALED_CHUNK).enumerate() {
        key.open(index as u64, index + 1 == count, chunk)?;
        plain.extend_from_slice(&chunk[..chunk.len() - TAG]);
    }
    Ok(Secret::new(std::mem::take(&mut plain)))
}

/// What an age file to `recipients` begins with, and the key for the chunks that follow.
pub(crate) fn begin(recipients: &[Recipient], random: &dyn Random) -> Result<(Vec<u8>, StreamKey)> {
    let mut file_key = Zeroizing::new([0; 16]);
    random.fill(file_key.as_mut());
    let file_key: FileKey = Secret::new(*file_key);
    let mut start = age_header::write(&file_key, recipients, random)?;
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce);
    start.extend_from_slice(&nonce);
    Ok((start, StreamKey::new(&file_key, &nonce)?))
}

/// The key for the chunks of an age file, and where the first one begins.
pub(crate) fn unlock(file: &[u8], identities: &[&Identity]) -> Result<(StreamKey, usize)> {
    let header = Header::parse(file)?;
    let file_key = header.unlock(identities)?;
    let nonce = file[header.len..]
        .first_chunk::<NONCE>()
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "the age file ends within its nonce"))?;
    Ok((StreamKey::new(&file_key, nonce)?, header.len + NONCE))
}

impl Recipient {
    pub(super) fn key(&self) -> &PublicKey {
        &self.0
    }
}

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bytes = text.starts_with("age1").then(|| decode(RECIPIENT, text)).flatten();
        bytes.map(|bytes| Self(PublicKey::from(*bytes))).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this is not an age recipient")
                .with("got", text)
                .advise("a recipient begins with age1; `age-keygen -y` prints that of an identity")
        })
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32, _>(f, RECIPIENT, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl TryFrom<String> for Recipient {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Recipient> for String {
    fn from(recipient: Recipient) -> Self {
        recipient.to_string()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.recipient)
    }
}

const RECIPIENT: Hrp = Hrp::parse_unchecked("age");
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");

fn decode(kind: Hrp, text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let parsed = CheckedHrpstring::new::<Bech32>(text).ok()?;
    let bytes = Zeroizing::new(parsed.byte_iter().collect::<Vec<u8>>());
    (parsed.hrp() == kind).then(|| bytes.as_slice().try_into().ok().map(Zeroizing::new)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    #[test]
    fn keys_are_read_back_as_written() {
        let identity = Identity::generate(&SystemRandom);
        let text = identity.to_text();
        assert_eq!(Identity::parse(text.expose()).unwrap().recipient(), identity.recipient());
        let recipient = identity.recipient().to_string();
        assert_eq!(recipient.len(), 62);
        assert_eq!(recipient.parse::<Recipient>().unwrap(), *identity.recipient());
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_a_secret_is_not_repeated() {
        let identity = Identity::generate(&SystemRandom);
        let text = identity.to_text().expose().clone();
        let secret = text.lines().last().unwrap();
        let mut flipped = secret.to_owned();
        flipped.replace_range(30..31, if &secret[30..31] == "Q" { "P" } else { "Q" });
        let twice = format!("{secret}\n{secret}\n");
        let lower = secret.to_lowercase();
        for wrong in ["", "# only a comment", &flipped, &twice, &lower, &secret[..70]] {
            let error = Identity::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!format!("{error:?}").contains("SECRET-KEY-1Q"), "{error:?}");
            assert!(wrong.len() < 40 || !format!("{error:?}").contains(&wrong[20..40]), "{error:?}");
        }
        for wrong in ["", "age1", secret, &identity.recipient().to_string().to_uppercase()] {
            assert!(wrong.parse::<Recipient>().is_err(), "a recipient was read from something else");
        }
        assert!(!format!("{identity:?}").contains(&secret[16..40]));
    }

    #[test]
    fn any_recipient_opens_and_nobody_else() {
        let [a, b, c] = [0; 3].map(|_| Identity::generate(&SystemRandom));
        let recipients = [a.recipient().clone(), b.recipient().clone()];
        for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5] {
            let plain: Vec<u8> = (0..size).map(|i| (i * 7 % 251) as u8).collect();
            let sealed = seal_bytes(&plain, &recipients, &SystemRandom).unwrap();
            for identity in [&a, &b] {
                assert_eq!(*open_bytes(&sealed, &[&c, identity]).unwrap().expose(), plain, "{size}");
            }
            assert_eq!(open_bytes(&sealed, &[&c]).unwrap_err().kind(), ErrorKind::Denied);
            for cut in [sealed.len() - 1, sealed.len() - 16, sealed.len() - 17, sealed.len() / 2] {
                let error = open_bytes(&sealed[..cut], &[&a]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{size} cut to {cut}");
            }
            let longer = [&sealed[..], &[0]].concat();
            assert_eq!(open_bytes(&longer, &[&a]).unwrap_err().kind(), ErrorKind::Corrupt, "{size}");
        }
    }
}
