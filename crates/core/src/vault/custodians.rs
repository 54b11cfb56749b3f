//! Who can open the vault: epoch keys sealed to custodians, and the proof that each still can.

use std::collections::{BTreeMap, BTreeSet};

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

pub(crate) const MAX_KEY_FILE_BYTES: u64 = 64 << 10;

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

/// What the removal of a custodian came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removal {
    /// Epochs whose key is no longer sealed to the custodian here.
    pub removed: Vec<Name>,
    /// Epochs with files of a custodian of this name that the vault was not opened with: they were not touched.
    pub untouched: Vec<Name>,
}

/// What lies under `keys/` in one custodian's name.
#[derive(Debug, Default)]
struct FilesOf {
    /// Of the epochs that the vault was opened with.
    known: BTreeMap<Name, Vec<Key>>,
    /// The other epochs.
    unknown: BTreeSet<Name>,
}

fn no_such_custodian(name: &Name, unknown: &BTreeSet<Name>) -> Error {
    let error = Error::new(ErrorKind::NotFound, "the epochs that the vault was opened with have no such custodian")
        .with("custodian", name);
    if unknown.is_empty() {
        return error.advise("`custodians` lists those that there are");
    }
    let unknown = unknown.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
    error
        .with("not touched", unknown)
        .advise("to act on the files of those epochs, open the vault with their recipients (`encrypt_to`)")
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
                if let Some(proved) = self.canary_counts(key, custodian, *time).await? {
                    custodian.proved = Some(proved);
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Seals the epoch's key to one more custodian: one small new file, after which every point of the epoch opens for them.
    /// With older epochs [known](crate::vault::VaultBuilder::encrypt_to) it makes one file for each, the one in use last.
    /// Needs the identity of a present custodian.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if no identity given opens an epoch, [`AlreadyExists`](ErrorKind::AlreadyExists) for a
    /// name that is taken.
    pub async fn add_custodian(&self, name: &Name, recipient: &Recipient) -> Result<()> {
        self.signer(Purpose::Canary)?;
        let in_use = self.sealed_epoch()?;
        for epoch in self.pinned_epochs() {
            let identity = self.open_epoch(epoch).await?;
            let sealed = epoch.seal(&identity, recipient, &**self.random())?;
            let key = layout::epoch_key(&epoch.name, name)?;
            match self.store().put(&key, Bytes::from(sealed), &PutOptions::default()).await {
                // Of a try that was broken off, or planted: `check_custodian` tells.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && epoch != in_use => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(error.advise("this custodian has a key already; choose another name"));
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Opens the epoch's key with the identity given, as this custodian would, and records a signed canary that it worked;
    /// the same for each older epoch known that is sealed to this custodian.
    ///
    /// # Errors
    /// [`Denied`](ErrorKind::Denied) if the identity does not open this custodian's file, [`Untrusted`](ErrorKind::Untrusted)
    /// if what it yields is not the epoch's key, [`NotFound`](ErrorKind::NotFound) if the epoch in use has no such custodian.
    pub async fn check_custodian(&self, name: &Name, identity: &Identity) -> Result<()> {
        self.signer(Purpose::Canary)?;
        let in_use = self.sealed_epoch()?;
        for epoch in self.pinned_epochs() {
            match self.open_key_file(&layout::epoch_key(&epoch.name, name)?, epoch, identity).await {
                Err(error) if error.kind() == ErrorKind::NotFound && epoch != in_use => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let unknown = self.files_of(name).await?.unknown;
                    return Err(no_such_custodian(name, &unknown).operation("check custodian").because(error));
                }
                opened => drop(opened?),
            }
            let at = to_the_second(self.clock().now());
            let canary = Canary { vault: self.id().clone(), epoch: epoch.clone(), custodian: name.clone(), at };
            let key = layout::canary(&epoch.name, name, at)?;
            self.put_signed_json(&key, &canary, MAX_KEY_FILE_BYTES, Purpose::Canary, canary_signatures(&key)).await?;
        }
        Ok(())
    }

    /// Takes a custodian's key files and canaries away, of the epochs that this vault was opened with, and of no other: a
    /// replica also keeps its origin's. Whoever kept a copy of the file, or opened the epoch's key before, can still read its
    /// points: [`rotate`](Self::rotate) shuts them out of those to come.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) unless an identity given opens each epoch by another custodian's file: nothing is
    /// taken away before; [`NotFound`](ErrorKind::NotFound) if these epochs have no such custodian.
    pub async fn remove_custodian(&self, name: &Name) -> Result<Removal> {
        self.signer(Purpose::Canary)?;
        let FilesOf { known, unknown } = self.files_of(name).await?;
        if known.is_empty() {
            return Err(no_such_custodian(name, &unknown).operation("remove custodian"));
        }
        for epoch in self.pinned_epochs().iter().filter(|epoch| known.contains_key(&epoch.name)) {
            self.alone().open_by_file(epoch, Some(name)).await.map_err(|why| {
                Error::new(ErrorKind::Refused, "nobody here can open the epoch by the file of another custodian")
                    .operation("remove custodian")
                    .with("epoch", &epoch.name)
                    .with("custodian", name)
                    .advise("add another custodian first, and open the vault with that one's identity")
                    .because(why)
            })?;
        }
        let (removed, files): (Vec<Name>, Vec<Vec<Key>>) = known.into_iter().unzip();
        self.delete_all(files.into_iter().flatten().map(Key::into).collect()).await?;
        Ok(Removal { removed, untouched: unknown.into_iter().collect() })
    }

    /// What lies under `keys/` in a custodian's name.
    async fn files_of(&self, name: &Name) -> Result<FilesOf> {
        let mut found = FilesOf::default();
        let mut listing = self.store().list(&layout::epoch_keys()?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            match layout::key_file(&meta.key) {
                Some(KeyFile::Sealed { epoch, custodian } | KeyFile::Canary { epoch, custodian, .. })
                    if custodian == *name =>
                {
                    if self.pinned_epochs().iter().any(|known| known.name == epoch) {
                        found.known.entry(epoch).or_default().push(meta.key);
                    } else {
                        found.unknown.insert(epoch);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
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
        let opened = self.open_by_file(epoch, None).await?;
        self.learn_epoch(epoch.clone(), opened.clone());
        Ok(opened)
    }

    /// Opens an epoch by the key file of any custodian but `except`, that stands here or in a replica.
    async fn open_by_file(&self, epoch: &Epoch, except: Option<&Name>) -> Result<Identity> {
        let (mut tried, mut unreachable) = (Vec::new(), None);
        for place in std::iter::once(self).chain(self.replicas().iter().map(|replica| &replica.vault)) {
            match self.open_by_file_in(place, epoch, except, &mut tried).await {
                Ok(Some(opened)) => return Ok(opened),
                Ok(None) => {}
                // A replica may still have the key.
                Err(error) => drop(unreachable.get_or_insert(error)),
            }
        }
        if let Some(error) = unreachable {
            return Err(error);
        }
        let error = if tried.is_empty() {
            Error::new(ErrorKind::NotFound, "the vault has no key file of this epoch")
        } else {
            Error::new(ErrorKind::Denied, format!("none of {} identities given opens it", self.identities().len()))
                .advise(format!("ask one of its custodians: {}", tried.join(", ")))
        };
        Err(error.operation("unlock").with("epoch", &epoch.name))
    }

    async fn open_by_file_in(
        &self,
        place: &Self,
        epoch: &Epoch,
        except: Option<&Name>,
        tried: &mut Vec<String>,
    ) -> Result<Option<Identity>> {
        let mut files = Vec::new();
        let mut listing = place.store().list(&layout::epoch_keys()?, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            let ListEntry::Object(meta) = entry? else { continue };
            match layout::key_file(&meta.key) {
                Some(KeyFile::Sealed { epoch: name, custodian })
                    if name == epoch.name && except != Some(&custodian) =>
                {
                    files.push((meta, custodian));
                }
                _ => {}
            }
        }
        // The oldest first: whatever is planted now lies behind what was there before.
        files.sort_by_key(|(meta, _)| meta.last_modified);
        for (meta, custodian) in files {
            for identity in self.identities() {
                match place.open_key_file(&meta.key, epoch, identity).await {
                    Ok(opened) => return Ok(Some(opened)),
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
        Ok(None)
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

    /// Since when a canary counts, if it does: by its maker's clock or the store's, whichever is earlier.
    async fn canary_counts(&self, key: &Key, custodian: &Custodian, time: Timestamp) -> Result<Option<Timestamp>> {
        let verified = match self.get_signed(key, MAX_KEY_FILE_BYTES, Purpose::Canary, canary_signatures(key)).await {
            Err(error) if matches!(error.kind(), ErrorKind::Untrusted | ErrorKind::Corrupt | ErrorKind::NotFound) => {
                return Ok(None);
            }
            other => other?,
        };
        let canary: Canary = verified.read()?;
        let of_this =
            canary.vault == *self.id() && canary.epoch.name == custodian.epoch && canary.custodian == custodian.name;
        Ok((of_this && canary.at == time).then(|| time.min(verified.meta.last_modified)))
    }
}

fn canary_signatures(key: &Key) -> impl Fn(&Sha256) -> Result<crate::store::Prefix> + '_ {
    move |digest| layout::signatures_beside(key.as_str(), digest)
}
