//! Documents of many lines, sealed and encoded as items are: details and logs.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, PutOptions};
use crate::vault::encode::{EncodeOptions, Encoder};
use crate::vault::layout::Wrapping;
use crate::vault::{DetailsRef, Epoch, Vault};

impl Vault {
    /// Opens an encoder for a new object, or several.
    pub(crate) async fn encoder(&self, key: Key, put: PutOptions, size_hint: Option<u64>) -> Result<Encoder> {
        let recipient = self.seals_to()?.map(|epoch| epoch.recipient.clone());
        let options = EncodeOptions { recipient, size_hint, ..EncodeOptions::default() };
        Encoder::open(self.shared_store(), key, put, options, self.budget(), &**self.random()).await
    }

    /// How what this vault writes is wrapped.
    ///
    /// # Errors
    /// As [`seals_to`](Self::seals_to).
    pub(crate) fn wrapping(&self) -> Result<Wrapping> {
        self.seals_to().map(wrapping_of)
    }

    /// Stores lines as one object; each ends with a line feed.
    pub(crate) async fn put_lines(
        &self,
        key: Key,
        put: PutOptions,
        size_hint: u64,
        lines: impl Iterator<Item = Result<Vec<u8>>>,
    ) -> Result<DetailsRef> {
        let mut encoder = self.encoder(key, put, Some(size_hint)).await?;
        for line in lines {
            encoder.write(line?.into()).await?;
        }
        let mut encoded = encoder.finish().await?;
        match (encoded.objects.pop(), encoded.objects.is_empty()) {
            (Some(object), true) => {
                let (bytes, plain_bytes) = (object.bytes, encoded.bytes);
                Ok(DetailsRef { key: object.key, bytes, sha256: object.sha256, parts: object.parts, plain_bytes })
            }
            _ => Err(Error::new(ErrorKind::Exhausted, "the details of one point do not fit one object")),
        }
    }
}

/// How something sealed to this epoch is wrapped.
pub(crate) fn wrapping_of(epoch: Option<&Epoch>) -> Wrapping {
    Wrapping { sealed: epoch.is_some() }
}
