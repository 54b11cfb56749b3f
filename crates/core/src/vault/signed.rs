//! Signed documents: the signature is stored before what it signs, so that nothing is ever visible unsigned.

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{GetOptions, Key, ListEntry, ListOptions, ObjectMeta, Prefix, PutOptions};
use crate::vault::Signer;
use crate::vault::Vault;
use crate::vault::settle::{find, put_new};

/// What a signature is for. A key is trusted for each purpose by itself, through the SSHSIG namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Purpose {
    /// Committing points.
    Point,
    /// Giving up runs that are dead, so that they cannot commit any more.
    Void,
    /// Marking points for deletion.
    Delete,
    /// Holding points against deletion.
    Hold,
    /// Ending holds.
    Release,
    /// Accepting doubtful points.
    Accept,
    /// Retiring components.
    Retire,
    /// Stating that a point was verified or restored.
    Proof,
    /// Stating that a copy is complete.
    Copy,
    /// Stating that a custodian can open an epoch's key.
    Canary,
    /// Stating how an act ended.
    History,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 11] = [
        Self::Point,
        Self::Void,
        Self::Delete,
        Self::Hold,
        Self::Release,
        Self::Accept,
        Self::Retire,
        Self::Proof,
        Self::Copy,
        Self::Canary,
        Self::History,
    ];

    /// The SSHSIG namespace, as `ssh-keygen -Y verify -n` and `allowed_signers` take it.
    #[must_use]
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Point => "backstay-point-v1",
            Self::Void => "backstay-void-v1",
            Self::Delete => "backstay-delete-v1",
            Self::Hold => "backstay-hold-v1",
            Self::Release => "backstay-release-v1",
            Self::Accept => "backstay-accept-v1",
            Self::Retire => "backstay-retire-v1",
            Self::Proof => "backstay-proof-v1",
            Self::Copy => "backstay-copy-v1",
            Self::Canary => "backstay-canary-v1",
            Self::History => "backstay-history-v1",
        }
    }
}

/// A document whose signature was checked.
pub(crate) struct Verified {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: Sha256,
    pub(crate) meta: ObjectMeta,
    pub(crate) signer: Signer,
}

impl Verified {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("signed, but not what it should be: {error}"))
                .with("key", &self.meta.key)
        })
    }
}

impl Vault {
    /// Stores the signature of a document that follows.
    pub(crate) async fn put_signature(
        &self,
        bytes: &[u8],
        purpose: Purpose,
        signatures: impl Fn(&Sha256) -> Result<Prefix>,
        options: &PutOptions,
    ) -> Result<ObjectMeta> {
        let signer = self.signer(purpose)?;
        let armored = signer.sign(purpose.namespace(), bytes);
        let key = crate::vault::layout::signature(&signatures(&Sha256::of(bytes))?, &signer.public().id())?;
        put_new(self.store(), &key, armored.into_bytes().into(), options).await
    }

    /// Serializes a document and stores the signature, then the document, both create-only. `signatures` gives the prefix
    /// for a digest.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if another document stands there, [`Exhausted`](ErrorKind::Exhausted) if
    /// it has more than `limit` bytes.
    pub(crate) async fn put_signed_json(
        &self,
        key: &Key,
        document: &impl Serialize,
        limit: u64,
        purpose: Purpose,
        signatures: impl Fn(&Sha256) -> Result<Prefix>,
    ) -> Result<ObjectMeta> {
        let bytes = serde_json::to_vec_pretty(document)
            .map_err(|error| Error::new(ErrorKind::Other, "a document cannot be written as JSON").because(error))?;
        check_length(&bytes, limit, key)?;
        self.put_signature(&bytes, purpose, signatures, &PutOptions::default()).await?;
        self.put_known(key, &bytes.into(), limit, &PutOptions::default(), "another document stands there").await
    }

    /// Creates a document that others may create with just these bytes. Whether it stands is settled by reading: another
    /// one may well be as long. `other` is said if it is another.
    pub(crate) async fn put_known(
        &self,
        key: &Key,
        bytes: &Bytes,
        limit: u64,
        options: &PutOptions,
        other: &'static str,
    ) -> Result<ObjectMeta> {
        match self.store().put(key, bytes.clone(), options).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists || error.kind().is_unsure() => {
                match self.get_small(key, limit).await {
                    Ok((meta, found)) if found == *bytes => Ok(meta),
                    Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, other).with("key", key).because(error)),
                    // What cannot be settled stays as unsure as it was.
                    Err(_) => Err(error),
                }
            }
            settled => settled,
        }
    }

    /// Reads a document and the signatures beside it; one of them must be by a key that is trusted for `purpose` at the
    /// time when the store took the document in.
    ///
    /// # Errors
    /// [`Untrusted`](ErrorKind::Untrusted) without such a signature, [`Corrupt`](ErrorKind::Corrupt) beyond `limit` bytes.
    pub(crate) async fn get_signed(
        &self,
        key: &Key,
        limit: u64,
        purpose: Purpose,
        signatures: impl Fn(&Sha256) -> Result<Prefix>,
    ) -> Result<Verified> {
        let (meta, bytes) = self.get_small(key, limit).await?;
        self.prove_signed(meta, bytes, purpose, signatures, None).await
    }

    /// As [`get_signed`](Self::get_signed), for a document that was read already; `then` is when another vault took it in
    /// first, if one did.
    pub(crate) async fn prove_signed(
        &self,
        meta: ObjectMeta,
        bytes: Bytes,
        purpose: Purpose,
        signatures: impl Fn(&Sha256) -> Result<Prefix>,
        then: Option<Timestamp>,
    ) -> Result<Verified> {
        let sha256 = Sha256::of(&bytes);
        let prefix = signatures(&sha256)?;
        let mut refusal =
            Error::new(ErrorKind::Untrusted, "no signature by a trusted key stands beside it").advise(format!(
                "somebody else wrote it, or the signer's key is missing in the trusted ones for {}",
                purpose.namespace()
            ));
        let trusted = self.trust().key_ids();
        let mut found = self.store().list(&prefix, &ListOptions::default());
        while let Some(entry) = found.next().await {
            let ListEntry::Object(signature) = entry? else { continue };
            // Anybody who may write can plant signatures by keys of his own: only those worth checking are read.
            let Some(key_id) = crate::vault::layout::signature_key_id(&prefix, &signature.key) else { continue };
            if !trusted.contains(key_id) {
                continue;
            }
            let armored = match self.get_small(&signature.key, MAX_SIGNATURE_BYTES).await {
                Ok((_, armored)) => armored,
                // A plant, or deleted meanwhile.
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound) => continue,
                Err(error) => return Err(error),
            };
            match self.trust().verify(
                &String::from_utf8_lossy(&armored),
                purpose.namespace(),
                &bytes,
                then.unwrap_or(meta.last_modified),
            ) {
                Ok(signer) => return Ok(Verified { bytes, sha256, meta, signer }),
                Err(error) => refusal = error,
            }
        }
        // Signatures go after what they sign: a deletion between the two reads is no forgery.
        match find(self.store(), &meta.key).await? {
            Some(_) => Err(refusal.with("key", &meta.key)),
            None => Err(Error::new(ErrorKind::NotFound, "it was deleted meanwhile").with("key", &meta.key)),
        }
    }

    /// Reads an object that is small or refused.
    pub(crate) async fn get_small(&self, key: &Key, limit: u64) -> Result<(ObjectMeta, Bytes)> {
        let mut got = self.store().get(key, &GetOptions::default()).await?;
        if got.meta.size > limit {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} bytes are more than the {limit} that it may have", got.meta.size),
            )
            .with("key", key));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(got.meta.size).unwrap_or_default());
        while let Some(chunk) = got.body.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > limit {
                return Err(
                    Error::new(ErrorKind::Corrupt, "the store sends more bytes than it announced").with("key", key)
                );
            }
        }
        Ok((got.meta, bytes.into()))
    }
}

/// Whether what was read is such as anybody who may add objects can plant: it changes nothing, is told, and gets in
/// nobody's way.
pub(crate) fn is_tampering(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Untrusted | ErrorKind::Corrupt | ErrorKind::Unsupported)
}

/// Refuses to write what no reader would take.
pub(crate) fn check_length(bytes: &[u8], limit: u64, key: &Key) -> Result<()> {
    match bytes.len() as u64 {
        length if length > limit => {
            Err(Error::new(ErrorKind::Exhausted, format!("{length} bytes are more than the {limit} that it may have"))
                .with("key", key))
        }
        _ => Ok(()),
    }
}

pub(crate) const MAX_SIGNATURE_BYTES: u64 = 16 << 10;
