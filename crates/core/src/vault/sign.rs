//! Signing: SSHSIG with ed25519, which `ssh-keygen -Y verify` checks with the same keys. The format is
//! PROTOCOL.sshsig of OpenSSH.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::name::base32;
use crate::secret::Secret;
use crate::vault::ssh::{self, Reader, put};

const ARMOR: &str = "SSH SIGNATURE";
const MAGIC: &[u8] = b"SSHSIG";
const HASH: &str = "sha512";

/// The key that signs. It has no `Display`, and `Debug` shows only the public half.
///
/// ```
/// use backstay_core::clock::SystemRandom;
/// use backstay_core::vault::SigningKey;
///
/// let key = SigningKey::generate(&SystemRandom);
/// let signature = key.sign("backstay-point-v1", b"manifest");
/// assert!(signature.starts_with("-----BEGIN SSH SIGNATURE-----"));
/// ```
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

/// The key that a signature is checked by; written as the line `ssh-ed25519 AAAA...`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl SigningKey {
    /// A fresh one.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut());
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads an OpenSSH private key file that has no passphrase.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if it has one, [`Invalid`](ErrorKind::Invalid) if it is not such a file. The
    /// error does not repeat the text.
    pub fn from_openssh(text: &str) -> Result<Self> {
        let seed = ssh::read_private_file(text)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// The text of an OpenSSH private key file without a passphrase.
    #[must_use]
    pub fn to_openssh(&self, comment: &str, random: &dyn Random) -> Secret<String> {
        ssh::private_file(self.0.as_bytes(), &self.public().0, comment, random)
    }

    /// The key that its signatures are checked by.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for one use, named by `namespace`: a signature for one use is none for another. The result is the
    /// text of a `.sig` file.
    #[must_use]
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let signed = signed_data(namespace, HASH, &Sha512::digest(message));
        let mut signature = Vec::new();
        put(&mut signature, ssh::KEY_TYPE.as_bytes());
        put(&mut signature, &self.0.sign(&signed).to_bytes());
        let mut blob = [MAGIC, &1_u32.to_be_bytes()].concat();
        put(&mut blob, &ssh::public_blob(&self.public().0));
        for field in [namespace.as_bytes(), b"", HASH.as_bytes(), &signature] {
            put(&mut blob, field);
        }
        ssh::armor(ARMOR, &blob)
    }
}

impl PublicKey {
    /// The fingerprint as `ssh-keygen -l` prints it: `SHA256:` and base64.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(self.digest()))
    }

    /// A short name for keys and logs: 16 lower-case base32 characters of the same digest as the fingerprint.
    #[must_use]
    pub fn id(&self) -> String {
        base32(&self.digest()[..10])
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(ssh::public_blob(&self.0)).into()
    }
}

/// What a `.sig` file says: whose it is, for which use, and the signature itself. Nothing in it is proved.
pub(super) struct ParsedSignature {
    pub(super) key: PublicKey,
    pub(super) namespace: String,
    hash: String,
    signature: Signature,
}

impl ParsedSignature {
    /// Reads a `.sig` file; none if it is not a signature of a known kind.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let blob = ssh::dearmor(ARMOR, text)?;
        let mut reader = Reader(blob.strip_prefix(MAGIC)?);
        let version = reader.number()?;
        let key = PublicKey(ssh::read_public_blob(reader.string()?)?);
        let mut text = || String::from_utf8(reader.string()?.to_vec()).ok();
        let (namespace, _reserved, hash) = (text()?, text()?, text()?);
        let mut inner = Reader(reader.string()?);
        reader.end()?;
        let kind = inner.string()?;
        let signature = Signature::from_bytes(inner.string()?.try_into().ok()?);
        inner.end()?;
        (version == 1 && kind == ssh::KEY_TYPE.as_bytes()).then_some(Self { key, namespace, hash, signature })
    }

    /// Whether the key signed `message` for this use.
    pub(super) fn is_for(&self, namespace: &str, message: &[u8]) -> bool {
        self.namespace == namespace && self.is_of(message)
    }

    /// Whether the key signed `message` for the namespace that the signature names.
    pub(super) fn is_of(&self, message: &[u8]) -> bool {
        let digest = match self.hash.as_str() {
            "sha512" => Sha512::digest(message).to_vec(),
            "sha256" => Sha256::digest(message).to_vec(),
            _ => return false,
        };
        let signed = signed_data(&self.namespace, &self.hash, &digest);
        // Strict: a key or signature that would hold for several messages holds for none.
        VerifyingKey::from_bytes(&self.key.0).is_ok_and(|key| key.verify_strict(&signed, &self.signature).is_ok())
    }
}

fn signed_data(namespace: &str, hash: &str, digest: &[u8]) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    for field in [namespace.as_bytes(), b"", hash.as_bytes(), digest] {
        put(&mut data, field);
    }
    data
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        ssh::read_public_line(line).map(|(key, _)| Self(key)).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this is not a public key of type ssh-ed25519").with("got", line)
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ssh::public_line(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public().fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;

    #[test]
    fn a_private_key_file_is_read_back() {
        for comment in ["", "a", "backup@host-1", "a longer comment for the padding"] {
            let key = SigningKey::generate(&SystemRandom);
            let text = key.to_openssh(comment, &SystemRandom);
            assert_eq!(SigningKey::from_openssh(text.expose()).unwrap().public(), key.public(), "{comment}");
        }
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_not_repeated() {
        let text = SigningKey::generate(&SystemRandom).to_openssh("", &SystemRandom);
        let text = text.expose();
        for wrong in ["", &text[..text.len() - 80], &text.replace("OPENSSH", "RSA"), &text.replacen("AAAA", "AAAB", 1)]
        {
            let error = SigningKey::from_openssh(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(!format!("{error:?}").contains(&text[200..230]));
        }
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = SigningKey::from_openssh(
            SigningKey(ed25519_dalek::SigningKey::from_bytes(&[0x42; 32])).to_openssh("", &SystemRandom).expose(),
        )
        .unwrap();
        let debug = format!("{key:?}");
        assert!(debug.starts_with("SigningKey(of SHA256:") && !debug.contains("66, 66"), "{debug}");
    }

    #[test]
    fn public_keys_are_read_back_as_written() {
        let key = SigningKey::generate(&SystemRandom).public();
        assert_eq!(format!("{key} some comment").parse::<PublicKey>().unwrap(), key);
        assert_eq!(key.id().len(), 16);
        for wrong in ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2E="] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
