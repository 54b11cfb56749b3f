//! The recovery kit: a page to print, which says where everything is and how to open it without us. It holds no secret.

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::vault::{Vault, VaultId};

/// FORMAT.md has the same commands, and a test runs them there.
const BY_HAND: &str = include_str!("recovery_kit.sh");

/// What the commands need, and which point to take.
const BY_HAND_NEEDS: &str = "\
By hand, with age, age-keygen, zstd, sha256sum, ssh-keygen, cat and GNU date, as a script in bash. VAULT is a folder with the
objects of one of these places, each file with the time that its store tells; KEYS one with custodian.txt and that place's
allowed_signers; OUT an empty folder; POINT is SOURCE/TIER/ID. The newest is the last ID.json in points/SOURCE/TIER whose ID
lies no more than five minutes after its file's time. ID.void beside it says that it is none, ID.deleted that it is being
deleted, ID.partial that something is missing; anybody may have put these. If the commands refuse it, take the one before.
";

/// A recovery kit that is asked for; await it.
#[must_use = "nothing is looked up before this is awaited"]
pub struct RecoveryKitRequest {
    backstay: Arc<Inner>,
    places: Vec<(String, Vault)>,
    keys_at: BTreeMap<String, String>,
}

/// What a person needs who has nothing but this page and a custodian's key. `Display` is the page.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveryKit {
    /// Of which source.
    pub source: Name,
    /// When it was made, by the vault's clock.
    pub made: Timestamp,
    /// Its tiers.
    pub tiers: Vec<String>,
    /// Its components, each with what exports it.
    pub components: Vec<String>,
    /// What platforms back up by themselves, each with what is meant and whom to ask; nothing of it lies in these places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<String>,
    /// The vault, its replicas, and those that were named besides.
    pub places: Vec<KitPlace>,
    /// Where keys are kept, as the program said.
    pub keys_at: BTreeMap<String, String>,
}

/// One vault of a recovery kit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KitPlace {
    /// "vault", or the name that the other place was given.
    pub name: String,
    /// The store, as it displays itself.
    pub store: String,
    /// The vault's ID.
    pub vault: VaultId,
    /// Who can open which epoch, each with the time when that was last proved. Or why that could not be looked up.
    pub custodians: Vec<String>,
    /// The lines of its `allowed_signers`: public keys.
    pub allowed_signers: Vec<String>,
    /// Fingerprints of these keys, to be compared by eye.
    pub fingerprints: Vec<String>,
}

impl RecoveryKitRequest {
    pub(crate) fn new(backstay: Arc<Inner>) -> Self {
        Self { backstay, places: Vec::new(), keys_at: BTreeMap::new() }
    }

    /// Names another vault: a replica that the builder was not told of.
    pub fn place(mut self, name: impl Into<String>, vault: Vault) -> Self {
        self.places.push((name.into(), vault));
        self
    }

    /// Says where a key is kept: of a custodian or a signer, such as "paper" in "the safe of the Berlin office". Never the
    /// key itself.
    pub fn keys_at(mut self, whose: impl Into<String>, place: impl Into<String>) -> Self {
        self.keys_at.insert(whose.into(), place.into());
        self
    }

    async fn run(self) -> Result<RecoveryKit> {
        let Inner { source, vault, components, watched, tiers, .. } = &*self.backstay;
        let mut places = vec![place("vault", vault).await];
        for replica in self.backstay.everywhere().replicas() {
            places.push(place(replica.name.as_str(), &replica.vault).await);
        }
        for (name, vault) in &self.places {
            places.push(place(name, vault).await);
        }
        Ok(RecoveryKit {
            source: source.clone(),
            made: vault.store_time(),
            tiers: tiers.iter().map(|tier| tier.name.clone()).collect(),
            components: components.iter().map(|component| format!("{component:?}")).collect(),
            watched: watched.iter().map(|watched| format!("{watched:?}, {}", watched.place())).collect(),
            places,
            keys_at: self.keys_at,
        })
    }
}

/// A place that is down is on the page all the same.
async fn place(name: &str, vault: &Vault) -> KitPlace {
    let custodians = match vault.custodians().await {
        Ok(custodians) => custodians
            .into_iter()
            .map(|custodian| {
                let proved = custodian.proved.map_or_else(|| "never proved".to_owned(), |at| format!("proved at {at}"));
                format!("{} opens {}, {proved}", custodian.name, custodian.epoch)
            })
            .collect(),
        Err(error) => vec![format!("not known: {error}")],
    };
    let signers = || vault.trust().iter();
    KitPlace {
        name: name.to_owned(),
        store: vault.store().to_string(),
        vault: vault.id().clone(),
        custodians,
        allowed_signers: signers().map(ToString::to_string).collect(),
        fingerprints: signers().map(|line| format!("{} {}", line.principal, line.key.fingerprint())).collect(),
    }
}

impl IntoFuture for RecoveryKitRequest {
    type Output = Result<RecoveryKit>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.run().await.map_err(|error: Error| error.operation("recovery kit")) })
    }
}

impl fmt::Display for RecoveryKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "RECOVERY KIT of {}, made {}", self.source, self.made)?;
        writeln!(f, "Print it, keep it apart from the system it is for, and make a new one when keys change.")?;
        writeln!(f, "\nProtected: {}; tiers: {}", self.components.join(", "), self.tiers.join(", "))?;
        for watched in &self.watched {
            writeln!(f, "Backed up by its platform, whose own console restores it: {watched}")?;
        }
        for KitPlace { name, store, vault, custodians, fingerprints, .. } in &self.places {
            writeln!(f, "\n{name}: {store}\n  ID {vault}")?;
            custodians.iter().try_for_each(|custodian| writeln!(f, "  {custodian}"))?;
            writeln!(f, "  signed by one of these, and by nobody else:")?;
            fingerprints.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        writeln!(f, "\nWhere keys are kept:")?;
        if self.keys_at.is_empty() {
            writeln!(f, "  (not told: write it here by hand)")?;
        }
        self.keys_at.iter().try_for_each(|(whose, place)| writeln!(f, "  {whose}: {place}"))?;
        for KitPlace { name, allowed_signers, .. } in &self.places {
            writeln!(f, "\nThe file allowed_signers of {name}:")?;
            allowed_signers.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        writeln!(f, "\n{BY_HAND_NEEDS}\n{BY_HAND}")
    }
}

impl fmt::Debug for RecoveryKitRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryKitRequest").field("keys_at", &self.keys_at).finish_non_exhaustive()
    }
}
