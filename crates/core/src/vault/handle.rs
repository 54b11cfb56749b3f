//! The vault: a store, keys, and what the bytes on it mean.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::budget::Budget;
use crate::clock::{Clock, Random};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::store::ObjectStore;
use crate::store::layer::AsOf;
use crate::vault::builder::VaultBuilder;
use crate::vault::points::Points;
use crate::vault::{AllowedSigners, Epoch, Identity, Purpose, Role, SigningKey, VaultId};

/// A vault that was opened. Cheap to clone; clones are the same vault.
///
/// ```
/// use backstay_core::store::MemoryStore;
/// use backstay_core::vault::{Keyring, Vault};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let keyring = Keyring::generate()?;
/// Vault::create(store.clone()).keyring(&keyring).build().await?;
///
/// let vault = Vault::open(store).keyring(&keyring).build().await?;
/// assert_eq!(vault.id(), keyring.vault_id());
/// # Ok::<(), backstay_core::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Vault(Arc<Inner>, Arc<[Replica]>);

/// Another vault that has points of this one.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) name: Name,
    pub(crate) vault: Vault,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) id: VaultId,
    /// Whose points these are, if this is a replica.
    pub(crate) origin: Option<VaultId>,
    pub(crate) access: Access,
    /// The one role that it was opened for; every role whose keys are there if none.
    pub(crate) role: Option<Role>,
    pub(crate) sealing: Sealing,
    /// Whether writing in plain was chosen, by a name with danger in it.
    pub(crate) unencrypted: bool,
    /// The epochs that the program knows, the one in use last.
    pub(crate) pinned: Vec<Epoch>,
    pub(crate) identities: Vec<Identity>,
    pub(crate) signer: Option<SigningKey>,
    pub(crate) trust: AllowedSigners,
    pub(crate) budget: Budget,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    /// When it was seen to be there, by our clock.
    pub(crate) opened: Timestamp,
    /// How far the store's clock is ahead of ours, in milliseconds, as last seen.
    pub(crate) skew: AtomicI64,
    /// Epoch identities opened so far.
    pub(crate) epochs: Mutex<Vec<(Epoch, Identity)>>,
}

/// What the vault was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What new items are sealed to.
#[derive(Clone, Debug)]
pub(crate) enum Sealing {
    To(Epoch),
    /// No epoch is known or wanted: [`Vault::seals_to`] tells which.
    Nothing,
}

impl Vault {
    /// Makes a new vault on `store`; ends with the vault open to write. Fails where there is one already.
    pub fn create(store: impl ObjectStore) -> VaultBuilder {
        VaultBuilder::create(Arc::new(store))
    }

    /// Opens a vault to do everything that the keys given allow, for a place where one program does it all. Never makes one:
    /// an empty place is an error, because it is most likely a disk that is not mounted.
    pub fn open(store: impl ObjectStore) -> VaultBuilder {
        VaultBuilder::open(Arc::new(store), Access::Write)
    }

    /// Opens a vault for one role: what the role need not do is refused, whatever keys are given, and what it needs is
    /// asked for at once.
    ///
    /// ```
    /// use backstay_core::store::MemoryStore;
    /// use backstay_core::vault::{Keyring, Role, Vault};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let store = MemoryStore::new();
    /// let mut keyring = Keyring::generate()?;
    /// Vault::create(store.clone()).keyring(&keyring).build().await?;
    ///
    /// let keys = keyring.issue(Role::Writer, &"host-7".parse()?)?;
    /// let vault = Vault::open_as(Role::Writer, store).keys(&keys).build().await?;
    /// let error = vault.retire(&"prod-eu".parse()?, &"db".parse()?, "gone").await.unwrap_err();
    /// assert!(error.to_string().contains("keeper"), "{error}");
    /// # Ok::<(), backstay_core::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_as(role: Role, store: impl ObjectStore) -> VaultBuilder {
        VaultBuilder::open_as(role, Arc::new(store))
    }

    /// Opens a vault to list, verify and restore. Needs no right to write and writes nothing.
    pub fn open_read_only(store: impl ObjectStore) -> VaultBuilder {
        VaultBuilder::open(Arc::new(store), Access::Read)
    }

    /// The vault as it was at `time` of the store's clock, to read: points can be listed, verified and restored through a
    /// flood of overwrites and delete markers, as long as the store keeps the versions. See [`AsOf`].
    ///
    /// Where even the marker is gone, open a view of the store: `Vault::open_read_only(store.as_of(time)?)`.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) on a store without versions.
    pub fn as_of(&self, time: Timestamp) -> Result<Self> {
        AsOf::new(self.shared_store(), time).map(|store| self.read_through(store))
    }

    /// Which vault this is.
    #[must_use]
    pub fn id(&self) -> &VaultId {
        &self.0.id
    }

    /// The points in it.
    #[must_use]
    pub fn points(&self) -> Points {
        Points::new(self.clone())
    }

    /// The budget that everything on this vault shares.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The role that it was opened for; none for every role whose keys are there.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.0.role
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner), Arc::default())
    }

    /// This vault, and `replica` for what it lost: points that are missing or damaged here are read there, and so is each
    /// stored part of a restore, with a warning in the log. Nothing but reading uses the replica. Open it by
    /// [`origin`](VaultBuilder::origin).
    #[must_use]
    pub fn with_replica(self, name: Name, replica: Vault) -> Self {
        let replica = Replica { name, vault: replica.alone() };
        Self(self.0, self.1.iter().cloned().chain([replica]).collect())
    }

    /// The vault by itself: what decides about its own points must not see another's.
    pub(crate) fn alone(&self) -> Self {
        Self(self.0.clone(), Arc::default())
    }

    pub(crate) fn replicas(&self) -> &[Replica] {
        &self.1
    }

    /// The vault whose points these are, if this is a replica.
    pub(crate) fn origin(&self) -> Option<&VaultId> {
        self.0.origin.as_ref()
    }

    /// Whether a manifest that names `vault` may stand here.
    pub(crate) fn holds_points_of(&self, vault: &VaultId) -> bool {
        self.0.id == *vault || self.origin() == Some(vault)
    }

    /// The same vault through a view of its store, to read only.
    pub(crate) fn read_through(&self, view: impl ObjectStore) -> Self {
        let Inner {
            id,
            origin,
            role,
            sealing,
            unencrypted,
            pinned,
            identities,
            trust,
            budget,
            clock,
            random,
            opened,
            skew,
            epochs,
            ..
        } = &*self.0;
        let epochs = epochs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self::new(Inner {
            store: Arc::new(view),
            id: id.clone(),
            origin: origin.clone(),
            access: Access::Read,
            role: *role,
            sealing: sealing.clone(),
            unencrypted: *unencrypted,
            pinned: pinned.clone(),
            identities: identities.clone(),
            signer: None,
            trust: trust.clone(),
            budget: budget.clone(),
            clock: clock.clone(),
            random: random.clone(),
            opened: *opened,
            skew: AtomicI64::new(skew.load(Ordering::Relaxed)),
            epochs: Mutex::new(epochs),
        })
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        &*self.0.store
    }

    pub(crate) fn shared_store(&self) -> Arc<dyn ObjectStore> {
        self.0.store.clone()
    }

    /// The store, then those of the replicas: where a stored part may be.
    pub(crate) fn places(&self) -> Vec<Arc<dyn ObjectStore>> {
        let replicas = self.replicas().iter().map(|replica| replica.vault.shared_store());
        std::iter::once(self.shared_store()).chain(replicas).collect()
    }

    pub(crate) fn trust(&self) -> &AllowedSigners {
        &self.0.trust
    }

    pub(crate) fn identities(&self) -> &[Identity] {
        &self.0.identities
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        &self.0.sealing
    }

    /// What is written from now on is sealed to this epoch; to none only where somebody chose that.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if no epoch is known: nothing is written in plain because of that.
    pub(crate) fn seals_to(&self) -> Result<Option<&Epoch>> {
        match &self.0.sealing {
            Sealing::To(epoch) => Ok(Some(epoch)),
            Sealing::Nothing if self.0.unencrypted => Ok(None),
            Sealing::Nothing => Err(Error::new(ErrorKind::Invalid, "the vault was opened without an epoch to seal to")
                .with("vault", self)
                .advise("give it by `encrypt_to`, `keys` or `keyring`")),
        }
    }

    pub(crate) fn pinned_epochs(&self) -> &[Epoch] {
        &self.0.pinned
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub(crate) fn random(&self) -> &Arc<dyn Random> {
        &self.0.random
    }

    /// The key that signs for `purpose`, if this vault was opened to do that. What others would not count is not even made.
    ///
    /// # Errors
    /// [`Refused`](ErrorKind::Refused) for a vault that was opened read-only, [`Denied`](ErrorKind::Denied) for another role
    /// or a key that is not trusted for this, [`Invalid`](ErrorKind::Invalid) without a key.
    pub(crate) fn signer(&self, purpose: Purpose) -> Result<&SigningKey> {
        let namespace = purpose.namespace();
        if let Some(role) = self.0.role.filter(|role| !purpose.roles().contains(role)) {
            return Err(Error::new(
                ErrorKind::Denied,
                format!("the vault was opened as {role}, which does not do this"),
            )
            .with("right", namespace)
            .advise(format!("it is for the {}: open the vault as that", purpose.role_names())));
        }
        self.check_writable()?;
        let key = self.0.signer.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this act is signed and the vault was opened without a signing key")
                .advise("give one by `sign_with`, `keys` or `keyring`")
        })?;
        match self.0.trust.find(&key.public(), namespace, self.store_time()) {
            Ok(_) => Ok(key),
            Err(why) => {
                Err(Error::new(ErrorKind::Denied, "the signing key is not trusted for this, so it would not count")
                    .with("right", namespace)
                    .advise(format!("it is for the {}: sign with that role's key", purpose.role_names()))
                    .because(why))
            }
        }
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.0.access == Access::Write {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Refused, "the vault was opened read-only").advise("open it by `Vault::open`"))
    }

    pub(crate) fn opened(&self) -> Timestamp {
        self.0.opened
    }

    /// The store's time, from our clock and the difference last seen; costs no call.
    pub(crate) fn store_time(&self) -> Timestamp {
        let skew = SignedDuration::from_millis(self.0.skew.load(Ordering::Relaxed));
        self.0.clock.now().saturating_add(skew).unwrap_or_else(|_| self.0.clock.now())
    }

    /// Learns the store's time from something that it has just done.
    pub(crate) fn saw_store_time(&self, time: Timestamp) {
        let skew = time.duration_since(self.0.clock.now()).as_millis();
        self.0.skew.store(i64::try_from(skew).unwrap_or_default(), Ordering::Relaxed);
    }

    pub(crate) fn known_epoch(&self, epoch: &Epoch) -> Option<Identity> {
        let epochs = self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.iter().find(|(known, _)| known == epoch).map(|(_, identity)| identity.clone())
    }

    pub(crate) fn learn_epoch(&self, epoch: Epoch, identity: Identity) {
        self.0.epochs.lock().unwrap_or_else(PoisonError::into_inner).push((epoch, identity));
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vault {} on {}", self.0.id, self.0.store)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("id", &self.0.id)
            .field("store", &self.0.store)
            .field("access", &self.0.access)
            .field("role", &self.0.role)
            .finish_non_exhaustive()
    }
}
