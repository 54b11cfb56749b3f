//! Names and IDs that become parts of keys.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};

/// The name of a source, tier, component or custodian: 1 to 63 of `a-z`, `0-9`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the rule.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=63).contains(&name.len()) && name.chars().all(legal) {
            Ok(Self(name.into()))
        } else {
            Err(Error::new(ErrorKind::Invalid, "a name has 1 to 63 characters out of a-z, 0-9 and `-`")
                .with("got", name))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ID of a run and of the point that it commits: `20261120t064200z-` and 8 base32 characters.
///
/// IDs sort by time, to the millisecond: the first 2 of the 8 characters count the milliseconds of the second, the others
/// are random and keep those of several hosts apart.
///
/// ```
/// use backstay_core::RunId;
///
/// let id: RunId = "20261120t064200z-abcdefgh".parse()?;
/// assert_eq!(id.time().to_string(), "2026-11-20T06:42:00Z");
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    time: Timestamp,
    tag: Tag,
}

/// 8 lower-case base32 characters (RFC 4648, 40 bits): the random part of a [`RunId`], or an attempt at one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tag(Arc<str>);

/// Everything that names a point: whose it is, which tier, which run. Written `SOURCE/TIER/ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PointId {
    /// The source that it belongs to.
    pub source: Name,
    /// The tier that it was made for.
    pub tier: Name,
    /// The run that made it.
    pub run: RunId,
}

impl RunId {
    /// An ID for a run that begins at `time`.
    #[must_use]
    pub fn new(time: Timestamp, random: &dyn Random) -> Self {
        let second = time.as_second();
        let millisecond = usize::try_from(time.as_millisecond() - second * 1000).unwrap_or_default();
        let mut tag: String =
            [millisecond / 32, millisecond % 32].iter().map(|d| char::from(IN_ORDER[d % 32])).collect();
        tag.push_str(&Tag::new(random).0[2..]);
        Self { time: to_the_second(time), tag: Tag(tag.into()) }
    }

    /// When the run began, by the clock of the host that ran it, to the second.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }
}

impl Tag {
    /// A fresh one.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 5];
        random.fill(&mut bytes);
        Self(base32(&bytes).into())
    }

    /// The 8 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The same characters in the order in which keys sort.
const IN_ORDER: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// Lower-case base32 of RFC 4648 without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in bytes {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(buffer >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(buffer << (5 - bits) & 31) as usize]));
    }
    out
}

/// The time as it stands in keys: `20261120t064200z`.
pub(crate) fn compact_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y%m%dt%H%M%Sz").to_string()
}

/// The time as [`compact_time`] keeps it.
pub(crate) fn to_the_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The reverse of [`compact_time`].
pub(crate) fn parse_compact_time(text: &str) -> Option<Timestamp> {
    let digits_and_letters = text.len() == 16 && text.as_bytes()[8] == b't' && text.ends_with('z');
    let time = jiff::civil::DateTime::strptime("%Y%m%dt%H%M%Sz", text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    (digits_and_letters && compact_time(time) == text).then_some(time)
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('-')
            .and_then(|(time, tag)| Some(Self { time: parse_compact_time(time)?, tag: tag.parse().ok()? }));
        parsed.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "a run's ID looks like 20261120t064200z-abcdefgh").with("got", text)
        })
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() == 8 && text.bytes().all(|b| ALPHABET.contains(&b)) {
            Ok(Self(text.into()))
        } else {
            Err(Error::new(ErrorKind::Invalid, "expected 8 characters out of a-z and 2-7").with("got", text))
        }
    }
}

impl FromStr for PointId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(source), Some(tier), Some(run)) => {
                Ok(Self { source: source.parse()?, tier: tier.parse()?, run: run.parse()? })
            }
            _ => Err(Error::new(ErrorKind::Invalid, "a point is named SOURCE/TIER/ID").with("got", text)),
        }
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", compact_time(self.time), self.tag)
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.source, self.tier, self.run)
    }
}

macro_rules! through_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    )*};
}

through_text!(Name, Tag, RunId, PointId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_as_written_and_nothing_else_is_an_id() {
        let id: RunId = "20261120t064200z-abcdefgh".parse().unwrap();
        assert_eq!(id.to_string(), "20261120t064200z-abcdefgh");
        for wrong in [
            "",
            "20261120t064200z",
            "20261120t064200z-ABCDEFGH",
            "20261320t064200z-abcdefgh",
            "20261120t064200z-abcdefg1",
        ] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_of_one_second_sort_by_the_millisecond() {
        #[derive(Debug)]
        struct Constant;
        impl Random for Constant {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(0xa5);
            }
        }
        let at = |ms: i64| RunId::new(Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap(), &Constant);
        let ids: Vec<RunId> = (0..2000).map(at).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0].to_string() < pair[1].to_string()));
        assert_eq!(ids[7].to_string().parse::<RunId>().unwrap(), ids[7]);
    }

    #[test]
    fn base32_follows_the_vectors_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(base32(plain.as_bytes()), coded);
        }
    }
}
