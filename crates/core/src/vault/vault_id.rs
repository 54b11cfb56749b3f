//! The identity of a vault.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::name::base32;

/// Which vault: 26 lower-case base32 characters, 128 random bits. Points of another vault are never taken for its own.
///
/// ```
/// use backstay_core::{clock::SystemRandom, vault::VaultId};
///
/// let id = VaultId::new(&SystemRandom);
/// assert_eq!(id.to_string().parse::<VaultId>()?, id);
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultId(String);

impl VaultId {
    /// A fresh one.
    #[must_use]
    pub fn new(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(base32(&bytes))
    }

    /// The 26 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VaultId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() == 26 && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(ErrorKind::Invalid, "a vault's id has 26 characters out of a-z and 2-7").with("got", text))
        }
    }
}

impl TryFrom<String> for VaultId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VaultId> for String {
    fn from(id: VaultId) -> Self {
        id.0
    }
}

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
