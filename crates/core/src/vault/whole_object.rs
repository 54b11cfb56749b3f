//! Proves each object as a whole, by the digest that its manifest signed, while an item's parts go by in order.

use std::mem::take;
use std::sync::Arc;

use sha2::Digest as _;

use crate::budget::Budget;
use crate::buffer::Buffer;
use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::vault::fetch::StoredItem;

pub(crate) struct WholeObjects {
    item: Arc<StoredItem>,
    part: u64,
    hasher: sha2::Sha256,
}

impl WholeObjects {
    pub(crate) fn new(item: &Arc<StoredItem>) -> Self {
        Self { item: Arc::clone(item), part: 0, hasher: sha2::Sha256::default() }
    }

    /// The next part. It comes back when it is hashed.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) at the end of an object that is not the one that was signed.
    pub(crate) async fn add(&mut self, part: Buffer, budget: &Budget) -> Result<Buffer> {
        let mut hasher = take(&mut self.hasher);
        let hash = move || {
            hasher.update(&part);
            Ok((hasher, part))
        };
        let (hasher, part) = budget.run(hash).await?;
        self.hasher = hasher;
        if let Some(signed) = self.item.signed_at_end(self.part)
            && Sha256(take(&mut self.hasher).finalize().into()) != signed
        {
            let error = Error::new(ErrorKind::Corrupt, "the object has another SHA-256 than was signed");
            return Err(self.item.place(self.part, error));
        }
        self.part += 1;
        Ok(part)
    }
}
