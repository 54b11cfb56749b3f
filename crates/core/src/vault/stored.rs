//! What is known of an item's stored bytes.

use serde::{Deserialize, Serialize};

use crate::digest::{Blake3, Sha256};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Key;

/// Stored bytes that are proved by one digest, and sent and fetched as one part. The last part of an object may be shorter.
pub(crate) const PART: usize = 8 << 20;
/// Largest object; an item that is larger when stored becomes several, and `cat` joins them.
pub(crate) const OBJECT: u64 = 64 << 30;

/// One object that holds an item's stored bytes, or the next 64 GiB of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredObject {
    pub(crate) key: Key,
    /// Its length.
    pub(crate) bytes: u64,
    /// The digest of the whole, for `sha256sum`.
    pub(crate) sha256: Sha256,
    /// The digest of each part, in order.
    pub(crate) parts: Vec<Blake3>,
}

impl StoredObject {
    /// Refuses a description that contradicts itself.
    pub(crate) fn check(&self) -> Result<()> {
        if self.bytes > 0 && self.bytes.div_ceil(PART as u64) == self.parts.len() as u64 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "the number of part digests does not fit the object's length")
            .with("key", &self.key)
            .with("bytes", self.bytes)
            .with("digests", self.parts.len()))
    }
}

/// The key of an item's object `index`: the item's key, then `.001`, `.002`.
pub(crate) fn object_key(base: &Key, index: usize) -> Result<Key> {
    if index == 0 { Ok(base.clone()) } else { Key::new(format!("{base}.{index:03}")) }
}
