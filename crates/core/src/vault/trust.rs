//! Trust: which keys may sign what, and when. The file is OpenSSH's `allowed_signers`, so that `ssh-keygen -Y verify`
//! decides by the same text.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::{Error, ErrorKind, Result};
use crate::vault::sign::{ParsedSignature, PublicKey};

/// The keys that a program trusts. They come from the program, never from a vault.
///
/// ```
/// use backstay_core::clock::SystemRandom;
/// use backstay_core::vault::{AllowedSigners, SigningKey};
///
/// let key = SigningKey::generate(&SystemRandom);
/// let trusted: AllowedSigners = format!("backup namespaces=\"backstay-point-v1\" {}", key.public()).parse()?;
/// let signature = key.sign("backstay-point-v1", b"manifest");
/// let now = "2026-11-20T06:42:00Z".parse().unwrap();
/// assert_eq!(trusted.verify(&signature, "backstay-point-v1", b"manifest", now)?.principal, "backup");
/// assert!(trusted.verify(&signature, "backstay-delete-v1", b"manifest", now).is_err());
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    signers: Vec<AllowedSigner>,
}

/// One line of [`AllowedSigners`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllowedSigner {
    /// Who holds the key; a name for people, `ssh-keygen -Y verify -I` asks for it.
    pub principal: String,
    /// The key.
    pub key: PublicKey,
    /// The uses that its signatures count for; every use if empty.
    pub namespaces: Vec<String>,
    /// Signatures count from then on.
    pub valid_after: Option<Timestamp>,
    /// Signatures count until then.
    pub valid_before: Option<Timestamp>,
}

/// Whose signature it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signer {
    /// The trusted line's principal.
    pub principal: String,
    /// The key's short name, [`PublicKey::id`].
    pub key_id: String,
}

impl AllowedSigners {
    /// Adds a line.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a principal or namespace that the file cannot hold.
    pub fn add(&mut self, signer: AllowedSigner) -> Result<()> {
        let names = std::iter::once(&signer.principal).chain(&signer.namespaces);
        for name in names {
            if !is_plain(name) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "a principal or namespace is one word without \" , # * ? !",
                )
                .with("got", name));
            }
        }
        self.signers.push(signer);
        Ok(())
    }

    /// The lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = &AllowedSigner> {
        self.signers.iter()
    }

    /// The IDs of their keys.
    pub(crate) fn key_ids(&self) -> HashSet<String> {
        self.signers.iter().map(|line| line.key.id()).collect()
    }

    /// Those of them who are trusted for `namespace`, for nothing else.
    pub(crate) fn limited_to(&self, namespace: &str) -> impl Iterator<Item = AllowedSigner> {
        self.signers
            .iter()
            .filter(move |line| line.is_for(namespace))
            .map(move |line| AllowedSigner { namespaces: vec![namespace.to_owned()], ..line.clone() })
    }

    /// Checks that `signature`, the text of a `.sig` file, is one of `message` for the use `namespace`, by a key that is
    /// trusted for that use at the time `at`.
    ///
    /// # Errors
    /// [`Untrusted`](ErrorKind::Untrusted); the message says which of these does not hold.
    pub fn verify(&self, signature: &str, namespace: &str, message: &[u8], at: Timestamp) -> Result<Signer> {
        let untrusted = |why: &'static str| Error::new(ErrorKind::Untrusted, why);
        let parsed = ParsedSignature::parse(signature)
            .ok_or_else(|| untrusted("the signature is malformed").advise("expected an ed25519 SSH SIGNATURE"))?;
        let place = |error: Error| error.with("namespace", namespace).with("key", parsed.key.fingerprint());
        let decide = || {
            if !parsed.is_of(message) {
                return Err(untrusted("the signature is wrong: the content or the signature was changed"));
            }
            if parsed.namespace != namespace {
                return Err(untrusted("the signature was made for another use").with("made for", &parsed.namespace));
            }
            self.find(&parsed.key, namespace, at)
        };
        decide().map_err(place)
    }

    /// The line that trusts `key`, or why none does.
    pub(crate) fn find(&self, key: &PublicKey, namespace: &str, at: Timestamp) -> Result<Signer> {
        let mut refusal = Error::new(ErrorKind::Untrusted, "the signing key is unknown")
            .advise("add its line to the allowed signers if it may sign this");
        for line in self.signers.iter().filter(|line| line.key == *key) {
            let why = if !line.is_for(namespace) {
                "the signing key is not trusted for this use"
            } else if line.valid_after.is_some_and(|start| at < start) {
                "the signing key is not yet valid at that time"
            } else if line.valid_before.is_some_and(|end| at >= end) {
                "the signing key is no longer valid at that time"
            } else {
                return Ok(Signer { principal: line.principal.clone(), key_id: key.id() });
            };
            refusal = Error::new(ErrorKind::Untrusted, why).with("principal", &line.principal).with("at", at);
        }
        Err(refusal)
    }
}

impl AllowedSigner {
    /// Trusts `key` for every use and at all times.
    #[must_use]
    pub fn new(principal: impl Into<String>, key: PublicKey) -> Self {
        Self { principal: principal.into(), key, namespaces: Vec::new(), valid_after: None, valid_before: None }
    }

    /// Trusts it for these uses only.
    #[must_use]
    pub fn namespaces<S: Into<String>>(mut self, namespaces: impl IntoIterator<Item = S>) -> Self {
        self.namespaces.extend(namespaces.into_iter().map(Into::into));
        self
    }

    /// Whether it trusts the key for this use, whatever the time.
    pub(super) fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == namespace)
    }

    fn parse(line: &str) -> Result<Self> {
        let invalid = |why: &'static str| Error::new(ErrorKind::Invalid, why);
        let (principal, rest) =
            line.split_once([' ', '\t']).ok_or_else(|| invalid("a line is `principal [options] ssh-ed25519 KEY`"))?;
        let rest = rest.trim_start();
        let (options, key) = if rest.starts_with("ssh-") { ("", rest) } else { split_options(rest) };
        let mut signer = Self::new(principal, key.parse()?);
        for option in split(options, ',').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            match name.to_ascii_lowercase().as_str() {
                "namespaces" => signer.namespaces = value.split(',').map(str::to_owned).collect(),
                "valid-after" => signer.valid_after = Some(parse_time(value)?),
                "valid-before" => signer.valid_before = Some(parse_time(value)?),
                "cert-authority" => {
                    return Err(Error::new(ErrorKind::Unsupported, "certificate authorities cannot be trusted here")
                        .advise("list the signing keys themselves"));
                }
                _ => return Err(invalid("an option is none of namespaces, valid-after, valid-before")),
            }
        }
        Ok(signer)
    }
}

impl FromStr for AllowedSigners {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut signers = Self::default();
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if !line.is_empty() && !line.starts_with('#') {
                let added = AllowedSigner::parse(line).and_then(|signer| signers.add(signer));
                added.map_err(|error| error.operation("read allowed signers").with("line", number as u32))?;
            }
        }
        Ok(signers)
    }
}

impl fmt::Display for AllowedSigners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.signers.iter().try_for_each(|signer| writeln!(f, "{signer}"))
    }
}

impl fmt::Display for AllowedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if !self.namespaces.is_empty() {
            options.push(format!("namespaces=\"{}\"", self.namespaces.join(",")));
        }
        for (name, time) in [("valid-after", self.valid_after), ("valid-before", self.valid_before)] {
            options.extend(time.map(|time| format!("{name}=\"{}\"", time.strftime("%Y%m%d%H%M%SZ"))));
        }
        let space = if options.is_empty() { "" } else { " " };
        write!(f, "{}{space}{} {}", self.principal, options.join(","), self.key)
    }
}

/// Patterns and lists of principals are OpenSSH's; here a name is a name.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"\",#*?!".contains(c))
}

/// Splits where `separator` stands outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// The options and what follows them.
fn split_options(text: &str) -> (&str, &str) {
    let options = split(text, ' ').next().unwrap_or(text);
    (options, text[options.len()..].trim_start())
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, each with a `Z`.
fn parse_time(text: &str) -> Result<Timestamp> {
    let invalid = || {
        Error::new(ErrorKind::Invalid, "a validity time is YYYYMMDD[HHMM[SS]]Z")
            .with("got", text)
            .advise("end it with Z: without it the time would depend on the zone of the machine that reads it")
    };
    let digits =
        text.strip_suffix('Z').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).ok_or_else(invalid)?;
    let digits = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        14 => digits.to_owned(),
        _ => return Err(invalid()),
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", digits).and_then(|time| time.to_zoned(TimeZone::UTC));
    time.map(|time| time.timestamp()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemRandom;
    use crate::vault::sign::SigningKey;

    const POINT: &str = "backstay-point-v1";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn each_reason_to_distrust_is_told_apart() {
        let [backup, admin, stranger] = [0; 3].map(|_| SigningKey::generate(&SystemRandom));
        let trusted: AllowedSigners = format!(
            "# who may sign\n\nbackup namespaces=\"{POINT},backstay-hold-v1\",valid-after=\"20260101Z\",valid-before=\"202612312359Z\" {} old comment\nadmin {}\n",
            backup.public(),
            admin.public()
        )
        .parse()
        .unwrap();
        let good = backup.sign(POINT, b"message");
        let now = time("2026-11-20T00:00:00Z");
        let other_use = backup.sign("backstay-delete-v1", b"message");
        let cut = &good[..good.len() / 2];
        let cases: [(&str, &str, &[u8], Timestamp, &str); 9] = [
            (&good, POINT, b"message", now, ""),
            (&admin.sign(POINT, b"message"), POINT, b"message", time("1999-01-01T00:00:00Z"), ""),
            (&stranger.sign(POINT, b"message"), POINT, b"message", now, "the signing key is unknown"),
            (&other_use, "backstay-delete-v1", b"message", now, "not trusted for this use"),
            (&other_use, POINT, b"message", now, "made for another use"),
            (&good, POINT, b"message", time("2025-12-31T23:59:59Z"), "not yet valid"),
            (&good, POINT, b"message", time("2026-12-31T23:59:00Z"), "no longer valid"),
            (&good, POINT, b"massage", now, "the signature is wrong"),
            (cut, POINT, b"message", now, "malformed"),
        ];
        for (signature, namespace, message, at, expected) in cases {
            match trusted.verify(signature, namespace, message, at) {
                Ok(signer) => assert!(expected.is_empty() && signer.key_id.len() == 16, "{expected}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Untrusted);
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_later_line_for_the_same_key_counts_too() {
        let key = SigningKey::generate(&SystemRandom);
        let text = format!("old namespaces=\"x\" {0}\nnew namespaces=\"{POINT}\" {0}\n", key.public());
        let trusted: AllowedSigners = text.parse().unwrap();
        let signer = trusted.verify(&key.sign(POINT, b""), POINT, b"", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(signer.principal, "new");
    }

    #[test]
    fn every_changed_byte_of_a_signature_is_noticed() {
        let key = SigningKey::generate(&SystemRandom);
        let mut trusted = AllowedSigners::default();
        trusted.add(AllowedSigner::new("me", key.public())).unwrap();
        let good = key.sign(POINT, b"message");
        let body = 30..good.len() - 30;
        for at in body.filter(|at| good.as_bytes()[*at] != b'\n') {
            let mut changed = good.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(trusted.verify(&changed, POINT, b"message", Timestamp::UNIX_EPOCH).is_err(), "byte {at}");
        }
    }

    #[test]
    fn lines_are_read_back_as_written_and_odd_ones_are_refused_with_their_number() {
        let key = SigningKey::generate(&SystemRandom).public();
        let mut signer = AllowedSigner::new("backup@host", key).namespaces(["a", "b"]);
        signer.valid_after = Some(time("2026-01-02T03:04:05Z"));
        let mut signers = AllowedSigners::default();
        signers.add(signer).unwrap();
        signers.add(AllowedSigner::new("plain", key)).unwrap();
        assert_eq!(signers.to_string().parse::<AllowedSigners>().unwrap(), signers);
        for (wrong, expected) in [
            ("only".to_owned(), "a line is"),
            (format!("a cert-authority {key}"), "certificate authorities"),
            (format!("a magic=\"1\" {key}"), "an option is none of"),
            (format!("a valid-after=\"20260101\" {key}"), "end it with Z"),
            (format!("a valid-after=\"20261301Z\" {key}"), "a validity time"),
            (format!("a namespaces=\"backstay-*\" {key}"), "one word without"),
            (format!("a,b {key}"), "one word without"),
            ("a ssh-rsa AAAAB3NzaC1yc2E=".to_owned(), "ssh-ed25519"),
        ] {
            let error = format!("# comment\n{wrong}\n").parse::<AllowedSigners>().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.context("line"), Some("2"), "{error}");
        }
    }
}
