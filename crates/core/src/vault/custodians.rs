//! Who can open the vault: epoch keys sealed to custodians, and the proof that each still can.

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, to_the_second};
use crate::store::{Key, ListEntry, ListOptions, PutOptions};
use crate::vault::handle::{Sealing, Vault};
use crate::vault::layout::{self, KeyFile};
use crate::vault::signed::Purpose;
use crate::vault::{Epoch, Identity, Recipient, VaultId};

const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

/// Somebody for whom an epoch's key is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Custodian {
    /// The epoch.
    pub epoch: Name,
    /// The custodian.
    pub name: Name,
    /// When the custodian last proved to be able to open it, by a signed canary.
    pub proved: Option<Timestamp>,
}

/// The statement of a canary.
#[derive(Debug, Serialize, Deserialize)]
struct Canary {
    vault: VaultId,
    epoch: Epoch,
    custodian: Name,
    at: Timestamp,
}

impl Vault {
    /// Everybody for whom an epoch's key is sealed here. That a file stands here does not prove that it opens:
    /// [`check_custodian`](Self::check_custodian) does.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn custodians(&self) -> Result<Vec<Custodian>> {
        let mut found: Vec<Custodian> = Vec::new();
        let mut canaries = Vec::new();
        let mut listing = self.store().list(&layout::epoch_keys()?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            match layout::key_file(&meta.key) {
                Some(KeyFile::Sealed { epoch, custodian }) => {
                    found.push(Custodian { epoch, name: custodian, proved: None })
                }
                Some(KeyFile::Canary { epoch, custodian, time }) => canaries.push((epoch, custodian, time, meta.key)),
                None => tracing::warn!(key = %meta.key, "not a key file of ours"),
            }
        }
        for custodian in &mut found {
            // The newest that counts: an unsigned one proves nothing.
            let of_him =
                canaries.iter().rev().filter(|(epoch, name, ..)| *epoch == custodian.epoch && *name == custodian.name);
            for (.., time, key) in of_him {
                if self.canary_counts(key, custodian, *time).await? {
                    custodian.proved = Some(*time);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Seals the epoch's key to one more custodian: one small new file, after which every point of the epoch opens for them.
    /// Needs the identity of a present custodian.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if no identity given opens the epoch, [`AlreadyExists`](ErrorKind::AlreadyExists) for a
    /// name that is taken.
    pub async fn add_custodian(&self, name: &Name, recipient: &Recipient) -> Result<()> {
        let epoch = self.sealed_epoch()?;
        let identity = self.open_epoch(epoch).await?;
        let sealed = epoch.seal(&identity, recipient, &**self.random())?;
        let key = layout::epoch_key(&epoch.name, name)?;
        self.store().put(&key, Bytes::from(sealed), &PutOptions::default()).await.map(drop).map_err(|error| match error
            .kind()
        {
            ErrorKind::AlreadyExists => error.advise("this custodian has a key already; choose another name"),
            _ => error,
        })
    }

    /// Opens the epoch's key with the identity given, as this custodian would, and records a signed canary that it worked.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if the identity does not open this custodian's file, [`Untrusted`](ErrorKind::Untrusted)
    /// if what it yields is not the epoch's key.
    pub async fn check_custodian(&self, name: &Name, identity: &Identity) -> Result<()> {
        let epoch = self.sealed_epoch()?;
        let key = layout::epoch_key(&epoch.name, name)?;
        self.open_key_file(&key, epoch, identity).await?;
        let at = to_the_second(self.clock().now());
        let canary = Canary { vault: self.id().clone(), epoch: epoch.clone(), custodian: name.clone(), at };
        let key = layout::canary(&epoch.name, name, at)?;
        self.put_signed_json(&key, &canary, MAX_KEY_FILE_BYTES, Purpose::Canary, canary_signatures(&key))
            .await
            .map(drop)
    }

    /// The identity that opens items of `epoch`; opened once, then remembered.
    pub(crate) async fn unlock(&self, epoch: Option<&Epoch>) -> Result<Option<Identity>> {
        match epoch {
            None => Ok(None),
            Some(epoch) => self.open_epoch(epoch).await.map(Some),
        }
    }

    async fn open_epoch(&self, epoch: &Epoch) -> Result<Identity> {
        if let Some(known) = self.known_epoch(epoch) {
            return Ok(known);
        }
        let mut files = Vec::new();
        let mut listing = self.store().list(&layout::epoch_keys()?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            match layout::key_file(&meta.key) {
                Some(KeyFile::Sealed { epoch: name, custodian }) if name == epoch.name => files.push((meta, custodian)),
                _ => {}
            }
        }
        // The oldest first: whatever is planted now lies behind what was there before.
        files.sort_by_key(|(meta, _)| meta.last_modified);
        let mut tried = Vec::new();
        for (meta, custodian) in files {
            for identity in self.identities() {
                match self.open_key_file(&meta.key, epoch, identity).await {
                    Ok(opened) => {
                        self.learn_epoch(epoch.clone(), opened.clone());
                        return Ok(opened);
                    }
                    // A planted file must not keep us from the real one.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::Denied | ErrorKind::Corrupt | ErrorKind::Untrusted | ErrorKind::Invalid
                        ) =>
                    {
                        tracing::debug!(key = %meta.key, %error, "does not open the epoch");
                    }
                    Err(error) => return Err(error),
                }
            }
            tried.push(custodian.to_string());
        }
        let error = if tried.is_empty() {
            Error::new(ErrorKind::NotFound, "the vault has no key file of this epoch")
        } else {
            Error::new(ErrorKind::Denied, format!("none of {} identities given opens it", self.identities().len()))
                .advise(format!("ask one of its custodians: {}", tried.join(", ")))
        };
        Err(error.operation("unlock").with("epoch", &epoch.name))
    }

    /// Opens one key file; what it yields must be the key that the epoch's recipient belongs to.
    async fn open_key_file(&self, key: &Key, epoch: &Epoch, identity: &Identity) -> Result<Identity> {
        let (_, sealed) = self.get_small(key, MAX_KEY_FILE_BYTES).await?;
        epoch.open(&sealed, identity).map_err(|error| error.with("key", key))
    }

    fn sealed_epoch(&self) -> Result<&Epoch> {
        match self.sealing() {
            Sealing::To(epoch) => Ok(epoch),
            Sealing::Nothing => Err(Error::new(
                ErrorKind::Invalid,
                "the vault was opened without an epoch: it has no custodians to speak of",
            )),
        }
    }

    async fn canary_counts(&self, key: &Key, custodian: &Custodian, time: Timestamp) -> Result<bool> {
        let verified = match self.get_signed(key, MAX_KEY_FILE_BYTES, Purpose::Canary, canary_signatures(key)).await {
            Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt | ErrorKind::NotFound) => {
                return Ok(false);
            }
            other => other?,
        };
        let canary: Canary = verified.read()?;
        let of_this =
            canary.vault == *self.id() && canary.epoch.name == custodian.epoch && canary.custodian == custodian.name;
        Ok(of_this && canary.at == time)
    }
}

fn canary_signatures(key: &Key) -> impl Fn(&Sha256) -> Result<crate::store::Prefix> + '_ {
    move |digest| layout::signatures_beside(key.as_str(), digest)
}
