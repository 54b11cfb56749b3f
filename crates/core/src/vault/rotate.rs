//! A new epoch: from now on items are sealed to another key, while old points stay readable by the old one.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::store::{ListOptions, PutOptions};
use crate::vault::handle::Vault;
use crate::vault::layout;
use crate::vault::signed::Purpose;
use crate::vault::{Epoch, Recipient};

/// A new epoch and its identity as it was sealed to each custodian.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rotation {
    /// The epoch. Its recipient is public; give it to the writers, each of which pins it in its own configuration.
    pub epoch: Epoch,
    sealed: Vec<(Name, Vec<u8>)>,
}

impl Rotation {
    /// The epoch's identity as it is sealed to this custodian: the content of `keys/EPOCH.CUSTODIAN.age`.
    #[must_use]
    pub fn sealed_to(&self, custodian: &Name) -> Option<&[u8]> {
        self.sealed.iter().find(|(name, _)| name == custodian).map(|(_, sealed)| sealed.as_slice())
    }
}

impl Vault {
    /// Makes a new epoch, sealed to these custodians and to nobody else: the way to shut out a custodian who left, and
    /// what to do when an epoch's key may be known to others. Old points stay as they are, readable by whoever could read
    /// them. Nothing is sealed to the new epoch before writers are given it: see
    /// [`Keyring::take_epoch`](crate::vault::Keyring::take_epoch) and [`RoleKeys::pin_epoch`](crate::vault::RoleKeys::pin_epoch).
    ///
    /// Dropped in the middle, it leaves an epoch that nobody uses; choose another name then.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) without custodians or with one named twice,
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that an epoch had.
    pub async fn rotate(&self, name: &Name, custodians: &[(Name, Recipient)]) -> Result<Rotation> {
        self.make_epoch(name, custodians).await.map_err(|error| error.operation("rotate").with("epoch", name))
    }

    async fn make_epoch(&self, name: &Name, custodians: &[(Name, Recipient)]) -> Result<Rotation> {
        self.signer(Purpose::Canary)?;
        let twice = |(i, (name, _)): (usize, &(Name, _))| custodians[..i].iter().any(|(other, _)| other == name);
        if custodians.is_empty() || custodians.iter().enumerate().any(twice) {
            return Err(Error::new(ErrorKind::Invalid, "an epoch is sealed to custodians of different names")
                .advise("name two at least: with one, a lost key is a lost vault"));
        }
        let mut listing = self.store().list(&layout::keys_of_epoch(name)?, &ListOptions::default());
        if let Some(found) = listing.next().await.transpose()? {
            return Err(Error::new(ErrorKind::AlreadyExists, "there are keys of an epoch of this name")
                .with("found", format!("{found:?}"))
                .advise("choose another name"));
        }
        let (epoch, identity) = Epoch::generate(name.clone(), &**self.random());
        let mut sealed = Vec::new();
        for (custodian, recipient) in custodians {
            sealed.push((custodian.clone(), epoch.seal(&identity, recipient, &**self.random())?));
        }
        for (custodian, content) in &sealed {
            let key = layout::epoch_key(name, custodian)?;
            self.store().put(&key, Bytes::copy_from_slice(content), &PutOptions::default()).await?;
        }
        Ok(Rotation { epoch, sealed })
    }
}
