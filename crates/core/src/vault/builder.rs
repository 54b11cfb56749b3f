//! Opening and making vaults.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Budget;
use crate::clock::{Clock, Random, SystemClock, SystemRandom};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::store::{Key, ObjectStore, PutOptions};
use crate::vault::beacon::{beacons, recognise};
use crate::vault::explain::Explained;
use crate::vault::handle::{Access, Inner, Sealing, Vault};
use crate::vault::layout;
use crate::vault::settle::put_new;
use crate::vault::undelete::undelete_files;
use crate::vault::{AllowedSigners, Epoch, Identity, Keyring, Purpose, Right, Role, RoleKeys, SigningKey, VaultId};

/// The marker document.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    vault: VaultId,
    created: Timestamp,
    /// Features without which nothing may be read.
    #[serde(default)]
    requires_read: Vec<String>,
    /// Features without which nothing may be deleted.
    #[serde(default)]
    requires_delete: Vec<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

const MAX_MARKER_BYTES: u64 = 1 << 20;

/// Puts a vault together from a store and keys; [`build`](Self::build) reports everything that is wrong at once.
#[derive(Debug)]
#[must_use]
pub struct VaultBuilder {
    store: Arc<dyn ObjectStore>,
    create: bool,
    access: Access,
    role: Option<Role>,
    id: Option<VaultId>,
    origin: Option<(VaultId, AllowedSigners)>,
    /// Pinned epochs; new items are sealed to the last.
    epochs: Vec<Epoch>,
    sealed_epoch: Option<(Key, Bytes)>,
    unencrypted: bool,
    undelete_since: Option<Timestamp>,
    identities: Vec<Identity>,
    signer: Option<SigningKey>,
    trust: Option<AllowedSigners>,
    budget: Option<Budget>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl VaultBuilder {
    pub(crate) fn open(store: Arc<dyn ObjectStore>, access: Access) -> Self {
        Self {
            store: Arc::new(Explained::new(store)),
            create: false,
            access,
            role: None,
            id: None,
            origin: None,
            epochs: Vec::new(),
            sealed_epoch: None,
            unencrypted: false,
            undelete_since: None,
            identities: Vec::new(),
            signer: None,
            trust: None,
            budget: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }

    pub(crate) fn open_as(role: Role, store: Arc<dyn ObjectStore>) -> Self {
        let access = if role == Role::Restorer { Access::Read } else { Access::Write };
        Self { role: Some(role), ..Self::open(store, access) }
    }

    pub(crate) fn create(store: Arc<dyn ObjectStore>) -> Self {
        Self { create: true, ..Self::open(store, Access::Write) }
    }

    /// Which vault it must be. Another one, or none, in that place is an error.
    pub fn id(mut self, id: VaultId) -> Self {
        self.id = Some(id);
        self
    }

    /// Says that this vault is a replica: it holds points of the vault `origin`, signed by whom `signers` trusts to commit
    /// points. For anything else those signers count for nothing here. They are the origin's `allowed_signers` as they are
    /// now: points of a key that is issued later count here when the list is given again. A replica takes no backups of its
    /// own.
    pub fn origin(mut self, origin: VaultId, signers: &AllowedSigners) -> Self {
        self.origin = Some((origin, signers.clone()));
        self
    }

    /// Takes everything from a keyring: the vault's ID, the epoch, the custodian's identity, the signing key, the trusted
    /// signers.
    pub fn keyring(mut self, keyring: &Keyring) -> Self {
        self.id = Some(keyring.vault_id().clone());
        self.epochs = keyring.epochs();
        self.sealed_epoch = layout::epoch_key(&keyring.epoch().name, keyring.custodian_name())
            .map(|key| (key, Bytes::copy_from_slice(keyring.sealed_epoch())))
            .ok();
        self.identities.push(keyring.custodian().clone());
        self.signer = Some(keyring.signing_key().clone());
        self.trust = Some(keyring.allowed_signers().clone());
        self
    }

    /// Takes everything from the keys that were issued for a role.
    pub fn keys(mut self, keys: &RoleKeys) -> Self {
        self.id = Some(keys.vault_id().clone());
        self.trust = Some(keys.allowed_signers().clone());
        self.epochs = keys.epochs().to_vec();
        self.signer = keys.signing_key().cloned();
        self.identities.extend(keys.custodian().cloned());
        self
    }

    /// Seals new items to this epoch. It is pinned here and never taken from the store, where a thief could change it. Given
    /// several times, the last counts; those before it are the older ones that a keeper's acts see to as well.
    pub fn encrypt_to(mut self, epoch: Epoch) -> Self {
        self.epochs.push(epoch);
        self
    }

    /// Writes items that anybody can read who can read the store.
    pub fn danger_unencrypted(mut self) -> Self {
        self.unencrypted = true;
        self
    }

    /// First takes the delete markers off the vault's own files that were put on them after `time` of the store's clock:
    /// the way back into an emptied bucket with versions. Needs the right to delete. Points come back one by one, by
    /// [`Vault::undelete`].
    pub fn undelete_since(mut self, time: Timestamp) -> Self {
        self.undelete_since = Some(time);
        self
    }

    /// Opens epoch keys with this custodian's identity, to read.
    pub fn unlock_with(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }

    /// Signs points and marks with this key.
    pub fn sign_with(mut self, key: SigningKey) -> Self {
        self.signer = Some(key);
        self
    }

    /// Whose points and marks count, for which purposes and how long.
    pub fn trust(mut self, signers: AllowedSigners) -> Self {
        self.trust = Some(signers);
        self
    }

    /// Shares a budget with other vaults of the program.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Takes the time from here.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Takes random bytes from here.
    pub fn random(mut self, random: impl Random) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Opens or makes the vault. Opening to write needs to list and to create; opening read-only, to list and get;
    /// opening for a role, what the role has.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with every mistake in the configuration; [`NotFound`](ErrorKind::NotFound) where no
    /// vault is; [`Refused`](ErrorKind::Refused) for another vault than asked for, and for a store that accepts a second
    /// create of a key; [`AlreadyExists`](ErrorKind::AlreadyExists) when creating over a vault;
    /// [`Unsupported`](ErrorKind::Unsupported) for a vault of a newer format.
    pub async fn build(mut self) -> Result<Vault> {
        let origin = match self.origin.take() {
            Some((origin, signers)) => {
                let trust = self.trust.get_or_insert_default();
                signers.limited_to(Purpose::Point.namespace()).try_for_each(|signer| trust.add(signer))?;
                Some(origin)
            }
            None => None,
        };
        self.check(origin.is_some())?;
        if self.create {
            self.make().await?;
        }
        if let Some(since) = self.undelete_since {
            undelete_files(&*self.store, since).await.map_err(|error| error.operation("open vault"))?;
        }
        let id = recognise(&*self.store, self.id.as_ref()).await.map_err(|error| error.operation("open vault"))?;
        if self.access == Access::Read || self.role.is_some_and(|role| role.may(Right::Get, layout::MARKER)) {
            self.read_marker(&id).await?;
        }
        let sealing = match self.epochs.last() {
            Some(epoch) if !self.unencrypted => Sealing::To(epoch.clone()),
            _ => Sealing::Nothing,
        };
        let vault = Vault::new(Inner {
            opened: self.clock.now(),
            store: self.store,
            id,
            origin,
            access: self.access,
            role: self.role,
            sealing,
            unencrypted: self.unencrypted,
            pinned: self.epochs,
            identities: self.identities,
            signer: self.signer,
            trust: self.trust.unwrap_or_default(),
            budget: self.budget.unwrap_or_else(|| Budget::new(Limits::default())),
            clock: self.clock,
            random: self.random,
            skew: AtomicI64::new(0),
            epochs: Mutex::default(),
        });
        let commits = self.role.is_none_or(|role| role.may(Right::Create, layout::PROBE));
        if commits && vault.check_writable().is_ok() {
            prove_create_if_absent(&vault).await?;
        }
        Ok(vault)
    }

    /// Everything that can be told wrong without asking the store, at once.
    fn check(&self, replica: bool) -> Result<()> {
        let mut problems = Vec::new();
        let mut wrong = |condition: bool, text: &str| {
            if condition {
                problems.push(text.to_owned());
            }
        };
        let trust = self.trust.as_ref().is_some_and(|trust| trust.iter().next().is_some());
        wrong(!trust, "no trusted signers: give them by `trust`, `keys` or `keyring`");
        let seals_items = self.role.map_or(self.access == Access::Write, Role::needs_epoch);
        wrong(
            seals_items && !replica && self.epochs.is_empty() && !self.unencrypted,
            "nothing to seal to: `encrypt_to`, `keys`, `keyring` or `danger_unencrypted`",
        );
        wrong(
            self.role.is_some_and(Role::opens) && self.identities.is_empty() && !self.unencrypted,
            "no custodian's identity: `unlock_with`, `keys`, `keyring` or `danger_unencrypted`",
        );
        if self.access == Access::Write {
            wrong(
                !self.store.capabilities().create_if_absent,
                "the store has no create-if-absent, on which every promise rests",
            );
            match (&self.signer, &self.trust) {
                (None, _) => wrong(true, "no signing key: give one by `sign_with`, `keys` or `keyring`"),
                (Some(key), Some(trust)) => {
                    let lines: Vec<_> = trust.iter().filter(|line| line.key == key.public()).collect();
                    wrong(
                        lines.is_empty(),
                        "the signing key is not among the trusted signers, so nothing it signs would count",
                    );
                    for purpose in self.role.into_iter().flat_map(Role::purposes) {
                        let trusted = lines.is_empty() || lines.iter().any(|line| line.is_for(purpose.namespace()));
                        wrong(!trusted, &format!("the signing key is not trusted for {}", purpose.namespace()));
                    }
                }
                (Some(_), None) => {}
            }
        }
        wrong(
            self.undelete_since.is_some() && (self.create || self.access == Access::Read),
            "`undelete_since` changes a vault: use it with `Vault::open`",
        );
        wrong(
            self.undelete_since.is_some() && !self.store.capabilities().versions,
            "the store keeps no versions, so nothing that was deleted can come back",
        );
        wrong(self.create && self.id.is_none(), "a new vault needs an ID: `id` or `keyring`");
        wrong(
            self.create && !self.unencrypted && self.sealed_epoch.is_none(),
            "a new vault needs an epoch sealed to a custodian: `keyring`, or `danger_unencrypted`",
        );
        if problems.is_empty() {
            return Ok(());
        }
        let what = self.role.map_or_else(|| " so".to_owned(), |role| format!(" as {role}"));
        Err(Error::new(ErrorKind::Invalid, format!("the vault cannot be opened{what}: {}", problems.join("; ")))
            .operation("open vault"))
    }

    /// Lays a new vault out. The beacon comes last: until then there is no vault, and making it can be tried again.
    async fn make(&self) -> Result<()> {
        let Some(id) = &self.id else { return Ok(()) };
        if let Some(found) = beacons(&*self.store).await?.first() {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("there is a vault already: {found}"))
                .operation("create vault")
                .with("store", &self.store)
                .advise("open it, or take another prefix"));
        }
        if let (Some((key, sealed)), false) = (&self.sealed_epoch, self.unencrypted) {
            put_new(&*self.store, key, sealed.clone(), &PutOptions::default()).await?;
        }
        let marker = Marker {
            vault: id.clone(),
            created: self.clock.now(),
            requires_read: Vec::new(),
            requires_delete: Vec::new(),
            extra: Map::new(),
        };
        let bytes = serde_json::to_vec_pretty(&marker)
            .map_err(|error| Error::new(ErrorKind::Other, "the marker cannot be written as JSON").because(error))?;
        match self.store.put(&layout::marker()?, bytes.into(), &PutOptions::default()).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            // Of an earlier try; what it says is checked below.
            Ok(_) | Err(_) => self.read_marker(id).await?,
        }
        put_new(&*self.store, &layout::beacon(id)?, Bytes::new(), &PutOptions::default()).await?;
        Ok(())
    }

    /// Reads the marker and refuses what this version does not know.
    async fn read_marker(&self, id: &VaultId) -> Result<()> {
        let marker = read_marker(&*self.store).await?;
        let key = layout::marker()?;
        if marker.vault != *id {
            return Err(Error::new(ErrorKind::Corrupt, format!("the marker is that of vault {}", marker.vault))
                .with("key", key));
        }
        refuse_unknown(&marker.requires_read, "read", &key)
    }
}

async fn read_marker(store: &dyn ObjectStore) -> Result<Marker> {
    let key = layout::marker()?;
    let mut got = store.get(&key, &crate::store::GetOptions::default()).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = got.body.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 > MAX_MARKER_BYTES {
            return Err(Error::new(ErrorKind::Corrupt, "the vault's marker has more than 1 MiB").with("key", key));
        }
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("not a vault's marker: {error}")).with("key", key))
}

fn refuse_unknown(features: &[String], act: &str, key: &Key) -> Result<()> {
    match features.first() {
        None => Ok(()),
        Some(feature) => Err(Error::new(ErrorKind::Unsupported, format!("to {act} here one must know {feature:?}"))
            .with("key", key)
            .advise("use a version of Backstay that knows it")),
    }
}

impl Vault {
    /// Refuses to delete in a vault that asks for what this version does not know.
    pub(crate) async fn check_may_delete(&self) -> Result<()> {
        let marker = read_marker(self.store()).await?;
        if marker.vault != *self.id() {
            return Err(Error::new(ErrorKind::Refused, format!("the marker is that of vault {}", marker.vault))
                .with("store", self.store())
                .advise("the place was exchanged under the program; check what is mounted there"));
        }
        let key = layout::marker()?;
        refuse_unknown(&marker.requires_read, "read", &key)?;
        refuse_unknown(&marker.requires_delete, "delete", &key)
    }
}

/// Creates the probe until a create loses. A store where the second one wins would let two runs commit the same point.
async fn prove_create_if_absent(vault: &Vault) -> Result<()> {
    let key = layout::probe()?;
    let options = PutOptions::default();
    let put = || vault.store().put(&key, Bytes::new(), &options);
    let lost = |result: Result<_>| match result {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
        other => other.map(Some),
    };
    match lost(put().await)? {
        None => vault.saw_store_time(vault.store().now().await?),
        Some(meta) => {
            let meta: crate::store::ObjectMeta = meta;
            vault.saw_store_time(meta.last_modified);
            if lost(put().await)?.is_some() {
                return Err(Error::new(
                    ErrorKind::Refused,
                    "the store took two creates of one key: it ignores create-if-absent",
                )
                .operation("open vault")
                .with("store", vault.store())
                .with("key", &key)
                .advise("points would not be safe from each other; use a store that honours it"));
            }
        }
    }
    Ok(())
}
