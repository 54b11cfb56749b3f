//! Replication: which points a second vault lacks, by a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::replicate_apply::{self, ReplicationReport};
use crate::engine::replicate_tier::compare;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Observer, Observers};
use crate::name::{Name, PointId};
use crate::retention::RetentionPolicy;
use crate::source::Problem;
use crate::vault::points::Point;
use crate::vault::{Purpose, Vault, VaultId};

/// Copies points from a vault into a second one, from which everything can be restored when the first is lost.
///
/// It runs at the destination. There it lists, gets and creates; at the origin it lists and gets, so the origin need not
/// trust it. Stored bytes move as they are: no key that opens anything is needed. Every byte is proved on the way against
/// the signed manifest, and a point is committed here last, so that damage at the origin never becomes a good-looking copy.
///
/// * Complete and partial points are copied, the newest first. Points whose clocks contradict each other wait until they are
///   accepted at the origin. Unsigned, forged and damaged ones are reported and never copied.
/// * Deletions, holds, acceptances and every other mark of the origin stay there: the replica has its own.
/// * What is here at its size is not sent again; what was lost here since is. Two replicators at once do no harm.
/// * Snapshots on platforms stay where they are: only what the manifest says of them is copied.
///
/// Bandwidth is bounded by a [`Limit`](crate::store::layer::Limit) around either store, memory by the replica's budget.
///
/// ```
/// use backstay_core::engine::Replicator;
/// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
/// # use backstay_core::directory::Directory;
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let (keys, dr_keys) = (Keyring::generate()?, Keyring::generate()?);
/// # let (store, dr_store) = (MemoryStore::new(), MemoryStore::new());
/// # let vault = Vault::create(store.clone()).keyring(&keys).build().await?;
/// # let backstay = Backstay::builder("prod-eu", vault)
/// #     .export("files", Directory::new(std::env::current_dir()?.join("src/engine")))
/// #     .tier(Tier::new("daily").keep(Keep::daily(30)))
/// #     .build()?;
/// # backstay.backup("daily").await?;
/// let origin = Vault::open_read_only(store).keyring(&keys).build().await?;
/// let replica = Vault::create(dr_store)
///     .keyring(&dr_keys)
///     .origin(origin.id().clone(), keys.allowed_signers())
///     .build()
///     .await?;
/// let plan = Replicator::new(origin, replica).keep("daily", Keep::daily(90)).plan().await?;
/// println!("{plan}");
/// assert_eq!(plan.apply().await?.copied.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is copied before a plan is applied"]
pub struct Replicator {
    pub(crate) origin: Vault,
    pub(crate) here: Vault,
    source: Option<Name>,
    keep: BTreeMap<String, Arc<dyn RetentionPolicy>>,
    time_zone: TimeZone,
    pub(crate) observers: Observers,
}

/// What a replication would copy, with reasons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicationPlan {
    /// From which vault.
    pub origin: VaultId,
    /// Into which vault.
    pub replica: VaultId,
    /// When it was made, by the replica's store's clock.
    pub made_at: Timestamp,
    /// One step for each point to copy, newest first.
    pub steps: Vec<ReplicationStep>,
    /// Points of the origin that are here, with everything that belongs to them, as far as listings tell.
    pub present: u64,
    /// Points of the origin that the replica's retention would not keep.
    pub unwanted: u64,
    /// Points that are not copied, each with the reason: doubtful, unsigned, damaged.
    pub left: Vec<Problem>,
    /// What a person should look at, in either vault: keys that are nobody's, marks that do not count.
    pub strange: Vec<String>,
}

/// A point to copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicationStep {
    /// Which.
    pub id: PointId,
    /// Digest of its manifest: another one is not copied.
    pub manifest: Sha256,
    /// The epoch that its items are sealed to, whose keys are copied too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Name>,
    /// Its stored bytes; fewer are sent if some are here.
    pub bytes: u64,
    /// Why the replica would keep it.
    pub reason: String,
}

/// A plan together with what it takes to apply it.
#[must_use = "nothing is copied before the plan is applied"]
pub struct PlannedReplication {
    plan: ReplicationPlan,
    replicator: Replicator,
}

impl Replicator {
    /// Copies from `origin` into `here`, which was opened to write and by [`origin`](crate::vault::VaultBuilder::origin).
    pub fn new(origin: Vault, here: Vault) -> Self {
        let (origin, here, keep) = (origin.alone(), here.alone(), BTreeMap::new());
        Self { origin, here, source: None, keep, time_zone: TimeZone::UTC, observers: Observers::default() }
    }

    /// Only this source's points; every source's if not said.
    pub fn source(mut self, source: Name) -> Self {
        self.source = Some(source);
        self
    }

    /// Copies of this tier what `policy` would keep here. Tiers that are not named are then left out; if none is named,
    /// every point of every tier is copied. Give it the retention by which the replica is pruned: what was pruned here and
    /// still stands at the origin is otherwise copied again.
    pub fn keep(mut self, tier: impl Into<String>, policy: impl RetentionPolicy) -> Self {
        self.keep.insert(tier.into(), Arc::new(policy));
        self
    }

    /// Whose calendar retention goes by. Default: UTC. Give it the tier's own.
    pub fn time_zone(mut self, zone: TimeZone) -> Self {
        self.time_zone = zone;
        self
    }

    /// Tells `observer` of every event.
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.add(observer);
        self
    }

    /// Compares the two vaults, and changes nothing. Lists both; reads the manifests of the points that are to be copied and,
    /// where there is a retention, of those here that it keeps: what is planted takes no point's place.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if the replica was not opened as one of this origin; what the stores answer.
    pub async fn plan(self) -> Result<PlannedReplication> {
        self.make_plan().await.map_err(|error| error.operation("plan replication"))
    }

    async fn make_plan(self) -> Result<PlannedReplication> {
        self.here.signer(Purpose::Copy)?;
        let of = self.origin.origin().unwrap_or(self.origin.id());
        if !self.here.holds_points_of(of) {
            return Err(Error::new(ErrorKind::Invalid, format!("the replica was not opened as one of the vault {of}"))
                .with("replica", &self.here)
                .advise("open it by `origin`, with the signers whom the origin trusts"));
        }
        let now = self.here.store_time();
        let mut plan = ReplicationPlan {
            origin: self.origin.id().clone(),
            replica: self.here.id().clone(),
            made_at: now,
            steps: Vec::new(),
            present: 0,
            unwanted: 0,
            left: Vec::new(),
            strange: Vec::new(),
        };
        let zoned = now.to_zoned(self.time_zone.clone());
        let mut unseen: BTreeSet<&str> = self.keep.keys().map(String::as_str).collect();
        // What is here and not there any more is looked at too: the origin may have lost it.
        let both = [&self.origin, &self.here];
        let mut sources: BTreeSet<Name> = self.source.iter().cloned().collect();
        if sources.is_empty() {
            for vault in both {
                sources.extend(vault.points().sources().await?);
            }
        }
        for source in sources {
            let mut tiers = BTreeSet::new();
            for vault in both {
                tiers.extend(vault.points().tiers(&source).await?);
            }
            for tier in tiers {
                unseen.remove(tier.as_str());
                if self.keep.is_empty() || self.keep.contains_key(tier.as_str()) {
                    let policy = self.keep.get(tier.as_str()).map(|policy| &**policy);
                    compare((&self.origin, &self.here), (&source, &tier), policy, &zoned, &mut plan).await?;
                }
            }
        }
        plan.strange.extend(unseen.into_iter().map(|tier| format!("neither vault has a tier {tier:?}")));
        plan.steps.sort_by(|a, b| b.id.run.cmp(&a.id.run));
        Ok(PlannedReplication { plan, replicator: self })
    }
}

impl ReplicationStep {
    pub(crate) fn new(Point { id, manifest, sha256, .. }: Point, reason: String) -> Self {
        let bytes = manifest.objects().map(|object| object.bytes).sum();
        Self { id, manifest: sha256, epoch: manifest.epoch.map(|epoch| epoch.name), bytes, reason }
    }
}

impl PlannedReplication {
    /// Copies what the plan says, point by point. May be interrupted; making the plan anew and applying it goes on where it
    /// stopped.
    ///
    /// # Errors
    /// What ended it. Points that could not be copied make it [`Partial`](ErrorKind::Partial), with the report as
    /// [`Error::payload`].
    pub async fn apply(self) -> Result<ReplicationReport> {
        let place = self.replicator.here.to_string();
        let applied = replicate_apply::apply(&self.replicator, self.plan).await;
        applied.map_err(|error| error.operation("replicate").with("replica", place))
    }
}

impl Deref for PlannedReplication {
    type Target = ReplicationPlan;

    fn deref(&self) -> &ReplicationPlan {
        &self.plan
    }
}

impl fmt::Display for ReplicationPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: u64 = self.steps.iter().map(|step| step.bytes).sum();
        let (copy, present, unwanted) = (self.steps.len(), self.present, self.unwanted);
        write!(f, "replicate: {copy} points to copy, {bytes} bytes; {present} are here, {unwanted} are not kept here")?;
        for step in &self.steps {
            write!(f, "\n  copy {}, {} bytes: {}", step.id, step.bytes, step.reason)?;
        }
        self.left.iter().try_for_each(|left| write!(f, "\n  leave {}: {}", left.what, left.why))?;
        self.strange.iter().try_for_each(|strange| write!(f, "\n  look at {strange}"))
    }
}

impl fmt::Display for PlannedReplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl fmt::Debug for PlannedReplication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedReplication").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for Replicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicator").field("origin", &self.origin).field("here", &self.here).finish_non_exhaustive()
    }
}
