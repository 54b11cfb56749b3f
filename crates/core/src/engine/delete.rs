//! What every deletion needs: a time that both clocks agree on, and the keys that go, with all their versions.

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, ListEntry, ListOptions, ObjectRef, Prefix};
use crate::vault::Vault;
use crate::vault::points::CLOCK_TOLERANCE;
use crate::vault::settle::delete_all;

impl Vault {
    /// The store's time, if ours agrees with it: a wrong clock would let everything look old.
    pub(crate) async fn agreed_time(&self) -> Result<Timestamp> {
        let (store, ours) = (self.store().now().await?, self.clock().now());
        let apart: SignedDuration = store.duration_since(ours).abs();
        if apart <= CLOCK_TOLERANCE {
            return Ok(store);
        }
        Err(Error::new(ErrorKind::Refused, format!("this host's clock says {ours}, the store's {store}"))
            .advise("set the wrong one of them; what is old cannot be told before"))
    }

    /// Deletes keys in order, on a versioned store every version of each.
    pub(crate) async fn delete_keys(&self, keys: impl IntoIterator<Item = Key>) -> Result<()> {
        let versioned = self.store().capabilities().versions;
        let mut all: Vec<ObjectRef> = Vec::new();
        for key in keys {
            if versioned {
                all.extend(self.versions(&key).await?);
            } else {
                all.push(key.into());
            }
        }
        self.delete_all(all).await
    }

    /// Deletes objects, all that can be; the first that stays is the error.
    pub(crate) async fn delete_all(&self, what: Vec<ObjectRef>) -> Result<()> {
        self.check_writable()?;
        delete_all(self.store(), &what).await
    }

    async fn versions(&self, key: &Key) -> Result<Vec<ObjectRef>> {
        let mut found = Vec::new();
        let mut listing = self.store().list(&Prefix::new(key.as_str())?, &ListOptions::versions());
        while let Some(entry) = listing.next().await {
            match entry? {
                ListEntry::Object(meta) if meta.key == *key => {
                    found.extend(meta.version.map(|version| ObjectRef::version(meta.key, version)));
                }
                _ => {}
            }
        }
        Ok(found)
    }
}
