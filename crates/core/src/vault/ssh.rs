//! The encodings of OpenSSH that signing needs: length-prefixed strings, armor, public key lines and private key files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;

/// The one key type that is used here.
pub(super) const KEY_TYPE: &str = "ssh-ed25519";

const COLUMNS: usize = 70;
const PRIVATE_KEY: &str = "OPENSSH PRIVATE KEY";
const PRIVATE_MAGIC: &[u8] = b"openssh-key-v1\0";

/// Appends a string with its length, as everything in these formats is written.
pub(super) fn put(out: &mut Vec<u8>, string: &[u8]) {
    // No string here is near the 4 GiB that the length can say.
    out.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(string);
}

/// Takes such strings off the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.number()?;
        self.bytes(len.try_into().ok()?)
    }

    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Wraps bytes between `-----BEGIN LABEL-----` and its end.
pub(super) fn armor(label: &str, bytes: &[u8]) -> String {
    let coded = Zeroizing::new(BASE64.encode(bytes));
    // Room from the start: a text that moves leaves a copy of itself behind, and it may be a secret.
    let mut text = String::with_capacity(coded.len() / COLUMNS * (COLUMNS + 1) + 2 * label.len() + 160);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(COLUMNS));
        text.extend([line, "\n"]);
        rest = more;
    }
    text.extend(["-----END ", label, "-----\n"]);
    text
}

/// The reverse of [`armor`].
pub(super) fn dearmor(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim().strip_prefix("-----BEGIN ")?.strip_prefix(label)?.strip_prefix("-----")?;
    let body = body.strip_suffix("-----")?.strip_suffix(label)?.strip_suffix("-----END ")?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    BASE64.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

/// A public key as these formats hold it.
pub(super) fn public_blob(key: &[u8; 32]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(51);
    put(&mut blob, KEY_TYPE.as_bytes());
    put(&mut blob, key);
    blob
}

/// The reverse of [`public_blob`].
pub(super) fn read_public_blob(blob: &[u8]) -> Option<[u8; 32]> {
    let mut reader = Reader(blob);
    let kind = reader.string()?;
    let key = reader.string()?.try_into().ok()?;
    reader.end()?;
    (kind == KEY_TYPE.as_bytes()).then_some(key)
}

/// The key of a line `ssh-ed25519 AAAA... comment`, and the comment.
pub(super) fn read_public_line(line: &str) -> Option<([u8; 32], &str)> {
    let (kind, rest) = line.trim().split_once(' ')?;
    let (blob, comment) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
    let key = read_public_blob(&BASE64.decode(blob).ok()?)?;
    (kind == KEY_TYPE).then_some((key, comment.trim()))
}

/// The line of a public key file.
pub(super) fn public_line(key: &[u8; 32]) -> String {
    format!("{KEY_TYPE} {}", BASE64.encode(public_blob(key)))
}

/// An unencrypted private key file, as `ssh-keygen` writes it.
pub(super) fn private_file(seed: &[u8; 32], public: &[u8; 32], comment: &str, random: &dyn Random) -> Secret<String> {
    let mut check = [0; 4];
    random.fill(&mut check);
    let mut inner = Zeroizing::new(Vec::with_capacity(256 + comment.len()));
    inner.extend_from_slice(&check);
    inner.extend_from_slice(&check);
    put(&mut inner, KEY_TYPE.as_bytes());
    put(&mut inner, public);
    put(&mut inner, Zeroizing::new([*seed, *public].concat()).as_slice());
    put(&mut inner, comment.as_bytes());
    let padding = inner.len().wrapping_neg() % 8;
    inner.extend((1..=8).take(padding));
    let mut file = Zeroizing::new(Vec::with_capacity(512 + comment.len()));
    file.extend_from_slice(PRIVATE_MAGIC);
    for plain in ["none", "none", ""] {
        put(&mut file, plain.as_bytes());
    }
    file.extend_from_slice(&1_u32.to_be_bytes());
    put(&mut file, &public_blob(public));
    put(&mut file, &inner);
    Secret::new(armor(PRIVATE_KEY, &file))
}

/// The seed of an unencrypted private key file.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for an encrypted one, [`Invalid`](ErrorKind::Invalid) for what is none.
pub(super) fn read_private_file(text: &str) -> Result<Zeroizing<[u8; 32]>> {
    let invalid = || {
        Error::new(ErrorKind::Invalid, "this is not an OpenSSH private key of type ed25519")
            .advise("`ssh-keygen -t ed25519 -N ''` makes one")
    };
    let file = dearmor(PRIVATE_KEY, text).ok_or_else(invalid)?;
    let mut reader = Reader(file.strip_prefix(PRIVATE_MAGIC).ok_or_else(invalid)?);
    let cipher = reader.string().ok_or_else(invalid)?;
    if cipher != b"none" {
        return Err(Error::new(ErrorKind::Unsupported, "the private key is protected by a passphrase")
            .advise("take the passphrase off a copy with `ssh-keygen -p -N ''`, or use a key of its own"));
    }
    read_seed(&mut reader).ok_or_else(invalid)
}

fn read_seed(reader: &mut Reader<'_>) -> Option<Zeroizing<[u8; 32]>> {
    let (_kdf, _options) = (reader.string()?, reader.string()?);
    let one_key = reader.number()? == 1;
    let public = read_public_blob(reader.string()?)?;
    let mut inner = Reader(reader.string()?);
    reader.end()?;
    let checked = inner.number()? == inner.number()?;
    let kind = inner.string()?;
    let same = inner.string()? == public;
    let (seed, again) = inner.string()?.split_first_chunk::<32>()?;
    let _comment = inner.string()?;
    let padded = inner.0.len() < 8 && inner.0.iter().zip(1..).all(|(byte, expected)| *byte == expected);
    let whole = one_key && checked && same && again == public && padded && kind == KEY_TYPE.as_bytes();
    whole.then(|| Zeroizing::new(*seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armor_is_read_back_at_every_length() {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let text = armor("THING", &bytes);
            assert!(text.lines().all(|line| line.len() <= COLUMNS), "{text}");
            assert_eq!(*dearmor("THING", &text).unwrap(), bytes, "{len}");
            assert!(dearmor("OTHER", &text).is_none());
        }
        assert!(dearmor("THING", "-----BEGIN THING-----\n!\n-----END THING-----\n").is_none());
        assert!(dearmor("THING", "-----BEGIN THING-----\n").is_none());
    }

    #[test]
    fn a_length_beyond_the_end_is_not_followed() {
        assert!(Reader(&[0xff, 0xff, 0xff, 0xff, 1]).string().is_none());
        assert!(Reader(&[0, 0]).number().is_none());
        let blob = public_blob(&[5; 32]);
        assert_eq!(read_public_blob(&blob), Some([5; 32]));
        for cut in 0..blob.len() {
            assert!(read_public_blob(&blob[..cut]).is_none(), "{cut}");
        }
        assert!(read_public_blob(&[&blob[..], &[0]].concat()).is_none());
    }
}
