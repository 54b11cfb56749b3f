//! Names of objects: what every store can hold, so that a vault moves between stores unchanged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Longest key in bytes: the limit of Amazon S3.
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest segment in bytes: file systems, and servers built on them, refuse longer ones (measured on versitygw and `MinIO`).
pub const MAX_SEGMENT_BYTES: usize = 255;

/// The name of one object: segments joined by `/`, none empty, `.` or `..`, without control characters, at most
/// [`MAX_KEY_BYTES`] long, each segment at most [`MAX_SEGMENT_BYTES`].
///
/// No key of a store may be the folder of another (`a` beside `a/b`): several servers refuse it or hide one of them.
///
/// ```
/// use backstay_core::store::Key;
///
/// let key: Key = "points/prod/daily/x.json".parse()?;
/// assert_eq!(key.file_name(), "x.json");
/// assert!("points/../x".parse::<Key>().is_err());
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the rule that it breaks.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        match flaw(&name) {
            None => Ok(Self(name)),
            Some(flaw) => Err(Error::new(ErrorKind::Invalid, flaw).with("key", name)),
        }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The name without `prefix`, if it lies under it.
    #[must_use]
    pub fn strip(&self, prefix: &Prefix) -> Option<&str> {
        self.0.strip_prefix(prefix.as_str())
    }
}

fn flaw(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a key is empty");
    }
    if name.len() > MAX_KEY_BYTES {
        return Some("a key has more than 1,024 bytes");
    }
    if name.chars().any(char::is_control) {
        return Some("a key has a control character");
    }
    name.split('/').find_map(|segment| match segment {
        "" => Some("a key has an empty segment"),
        "." | ".." => Some("a key has a segment `.` or `..`"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("a key has a segment of more than 255 bytes"),
        _ => None,
    })
}

/// The beginning of keys: empty, or whole segments each followed by `/`, or those plus the start of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Checks and takes a prefix: the same rules as for a [`Key`], but for its end.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the rule that it breaks.
    pub fn new(prefix: impl Into<String>) -> Result<Self> {
        let prefix = prefix.into();
        match flaw(prefix.strip_suffix('/').unwrap_or(&prefix)) {
            Some(flaw) if !prefix.is_empty() => Err(Error::new(ErrorKind::Invalid, flaw).with("prefix", prefix)),
            _ => Ok(Self(prefix)),
        }
    }

    /// The whole prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` begins with it.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.0.starts_with(&self.0)
    }

    /// The folder below this prefix that `key` lies in; none if it lies directly below.
    pub(crate) fn folder_of(&self, key: &str) -> Option<Self> {
        let end = self.0.len() + key.strip_prefix(&self.0)?.find('/')? + 1;
        Some(Self(key[..end].to_owned()))
    }

    /// The key `self` + `rest`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if the result is not a key.
    pub fn key(&self, rest: &str) -> Result<Key> {
        Key::new(format!("{}{rest}", self.0))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.0)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}
