//! Marks that are signed well, by a key that this reader does not know: it may have an old list of signers.

use futures_util::StreamExt;

use crate::digest::Sha256;
use crate::error::{ErrorKind, Result};
use crate::name::PointId;
use crate::store::{ListEntry, ListOptions};
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::mark::{MAX_MARK_BYTES, Mark};
use crate::vault::sign::ParsedSignature;
use crate::vault::signed::MAX_SIGNATURE_BYTES;

/// So many signatures of unknown keys are read beside one mark; that there are more is answer enough.
const FEW: usize = 8;

impl Vault {
    /// The ID of a key that signed this very mark for its use and has no line at all in the trusted signers; none if
    /// nobody did. Anybody who may create objects can make such a mark, with a key of his own: it may keep something, and
    /// must never let anything go.
    pub(crate) async fn stranger(&self, point: &PointId, name: &MarkName) -> Result<Option<String>> {
        let key = layout::point_file(point, &PointFile::Mark(name.clone()))?;
        let bytes = match self.get_small(&key, MAX_MARK_BYTES).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => return Ok(None),
            read => read?.1,
        };
        if !serde_json::from_slice::<Mark>(&bytes).is_ok_and(|mark| mark.is_for(self.id(), point, name)) {
            return Ok(None);
        }
        let known = self.trust().key_ids();
        let prefix = layout::signatures(point, &name.to_string(), &Sha256::of(&bytes))?;
        let (mut listing, mut read) = (self.store().list(&prefix, &ListOptions::default()), 0);
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            let Some(key_id) = layout::signature_key_id(&prefix, &meta.key) else { continue };
            if known.contains(key_id) {
                continue;
            }
            if read == FEW {
                return Ok(Some(key_id.to_owned()));
            }
            read += 1;
            let text = match self.get_small(&meta.key, MAX_SIGNATURE_BYTES).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => continue,
                text => text?.1,
            };
            let signature = ParsedSignature::parse(&String::from_utf8_lossy(&text));
            // The name of a signature is anybody's to choose: what counts is the key in it.
            let signer = signature.filter(|signature| signature.is_for(name.purpose().namespace(), &bytes));
            if let Some(signer) = signer.map(|signature| signature.key.id()).filter(|id| !known.contains(id)) {
                return Ok(Some(signer));
            }
        }
        Ok(None)
    }
}
