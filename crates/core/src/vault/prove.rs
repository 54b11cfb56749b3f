//! Proving stored bytes without any key: length and SHA-256 against the signed manifest.

use futures_util::StreamExt;
use sha2::Digest as _;

use crate::budget::Budget;
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{GetOptions, ObjectStore};
use crate::vault::ObjectEntry;

/// Reads the object once and compares it with what was signed.
///
/// # Errors
/// [`Corrupt`](ErrorKind::Corrupt) or [`NotFound`](ErrorKind::NotFound) with the key, and what the store answers.
pub(crate) async fn prove_object(store: &dyn ObjectStore, object: &ObjectEntry, budget: &Budget) -> Result<()> {
    let corrupt = |text: String| Error::new(ErrorKind::Corrupt, text).with("key", &object.key);
    let mut got = store.get(&object.key, &GetOptions::default()).await?;
    if got.meta.size != object.bytes {
        return Err(corrupt(format!("the object has {} bytes instead of {}", got.meta.size, object.bytes)));
    }
    let (mut hasher, mut bytes) = (sha2::Sha256::new(), 0);
    while let Some(chunk) = got.body.next().await {
        let chunk = chunk?;
        bytes += chunk.len() as u64;
        let hash = move || {
            hasher.update(&chunk);
            Ok(hasher)
        };
        hasher = budget.run(hash).await?;
    }
    if bytes != object.bytes {
        return Err(corrupt(format!("the store sent {bytes} bytes instead of {}", object.bytes)));
    }
    let found = Sha256(hasher.finalize().into());
    if found == object.sha256 {
        return Ok(());
    }
    Err(corrupt(format!("the object's SHA-256 is {found} instead of {}", object.sha256)))
}
