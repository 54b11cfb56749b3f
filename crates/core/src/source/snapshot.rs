//! Snapshots that a platform takes on its own side. **Experimental**: the shape is settled when the first platforms
//! implement it; until then the testkit's mock is the only provider and the engine takes none. It only
//! [watches](crate::engine::BackstayBuilder::watch) what platforms take by themselves.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::Result;
use crate::name::{Name, PointId, base32};
use crate::source::{BackendOptions, Facts, Selector};
use crate::store::BoxStream;
use crate::vault::VaultId;

/// Asks a platform to snapshot resources on its own side; no bytes pass through us.
///
/// # Contract
/// * **Idempotent.** `create` with a token that was used before returns the snapshot of then, also where the platform's
///   API has no such notion. Tokens derive from vault, source, run, component and resource.
/// * **Returns at once.** Waiting is the caller's, by `describe`.
/// * **Tagged.** What it creates bears the vault, source and run from its first moment.
/// * **Listed page by page.** `targets` and `list` hold no more than a page: a resource may have 100,000 snapshots.
/// * **One name.** A resource bears the ID by which a selector means it. `list` by that ID tells its snapshots also when the
///   resource itself is gone.
/// * **Delete** of something that is gone is success; of something the platform made itself it is refused.
#[async_trait]
pub trait SnapshotProvider: Debug + Display + Send + Sync + 'static {
    /// What this provider is and can do.
    fn info(&self) -> &ProviderInfo;
    /// The resources that the selector means.
    fn targets(&self, selector: &Selector) -> BoxStream<'static, Result<Resource>>;
    /// Starts snapshots, as one set where the platform can and `consistency` asks for it; one result per request, in order.
    async fn create(&self, requests: &[CreateSnapshot], consistency: Consistency) -> Result<Vec<Result<Snapshot>>>;
    /// The present state of snapshots, as few calls as the platform allows. Those that are gone are left out.
    async fn describe(&self, refs: &[SnapshotRef]) -> Result<Vec<Snapshot>>;
    /// Snapshots that the filter means.
    fn list(&self, filter: &SnapshotFilter) -> BoxStream<'static, Result<Snapshot>>;
    /// Starts a copy to another place.
    async fn copy(&self, from: &SnapshotRef, to: &CopyTarget) -> Result<Snapshot>;
    /// Deletes snapshots that we made; one result per snapshot, in order.
    async fn delete(&self, refs: &[SnapshotRef]) -> Result<Vec<Result<()>>>;
    /// Between which moments the resource can be restored to any second; none if that cannot be done, or there is no such
    /// resource.
    async fn window(&self, resource: &ResourceId) -> Result<Option<TimeWindow>>;
    /// Starts a restore from a snapshot or a moment, into a new resource unless told otherwise.
    async fn restore(&self, request: &RestoreRequest) -> Result<RestoreJob>;
    /// The present state of a restore.
    async fn describe_restore(&self, job: &RestoreJobId) -> Result<RestoreJob>;
}

/// What a provider is and can do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProviderInfo {
    /// Its name in manifests: "aws.ebs".
    pub name: String,
    /// Where it works: region and account, cluster.
    pub location: String,
    /// Whether several resources can be cut at one moment.
    pub sets: bool,
    /// Most snapshots under way at once.
    pub concurrent: Option<u32>,
}

impl ProviderInfo {
    /// A provider that takes snapshots one by one.
    #[must_use]
    pub fn new(name: impl Into<String>, location: impl Into<String>) -> Self {
        Self { name: name.into(), location: location.into(), ..Self::default() }
    }
}

macro_rules! text {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);
    )*};
}

text! {
    /// The platform's name of a resource.
    ResourceId,
    /// The platform's name of a restore under way.
    RestoreJobId
}

/// A resource that can be snapshotted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resource {
    /// The platform's name.
    pub id: ResourceId,
    /// Its tags or labels.
    pub tags: BTreeMap<String, String>,
    /// Its size in bytes, where known.
    pub bytes: Option<u64>,
}

impl Resource {
    /// A resource without tags.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: ResourceId(id.into()), tags: BTreeMap::new(), bytes: None }
    }
}

/// Asks for one snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateSnapshot {
    /// Of what.
    pub resource: ResourceId,
    /// The same token never makes a second snapshot.
    pub token: String,
    /// Tags from the first moment: vault, source, run at least.
    pub tags: BTreeMap<String, String>,
}

impl CreateSnapshot {
    /// A request without tags.
    #[must_use]
    pub fn new(resource: ResourceId, token: impl Into<String>) -> Self {
        Self { resource, token: token.into(), tags: BTreeMap::new() }
    }

    /// The token of a resource's snapshot in a point: 32 lower-case base32 characters of a digest of vault, point,
    /// component and resource. Whoever makes the same point, also after a crash, asks with the same token and takes nothing
    /// twice.
    ///
    /// ```
    /// use backstay_core::source::snapshot::{CreateSnapshot, ResourceId};
    ///
    /// # let (vault, volume) = ("abcdefghijklmnopqrstuvwxyz".parse()?, ResourceId("vol-1".to_owned()));
    /// let point = "prod-eu/daily/20261120t064200z-abcdefgh".parse()?;
    /// let token = CreateSnapshot::token(&vault, &point, &"volumes".parse()?, &volume);
    /// assert_eq!(token.len(), 32);
    /// # Ok::<(), backstay_core::Error>(())
    /// ```
    #[must_use]
    pub fn token(vault: &VaultId, point: &PointId, component: &Name, resource: &ResourceId) -> String {
        // A line each; only the last one is free text, so no two differ and read the same.
        let text = format!("{vault}\n{point}\n{component}\n{}", resource.0);
        base32(&Sha256::of(text.as_bytes()).0[..20])
    }
}

/// How several snapshots relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// Each has a moment of its own.
    #[default]
    Each,
    /// All show one moment, or the call fails.
    Set,
}

/// Names a snapshot on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotRef {
    /// The provider, by [`ProviderInfo::name`].
    pub provider: String,
    /// Where it lies.
    pub location: String,
    /// The platform's name of it.
    pub id: String,
}

impl SnapshotRef {
    /// A reference.
    #[must_use]
    pub fn new(provider: impl Into<String>, location: impl Into<String>, id: impl Into<String>) -> Self {
        Self { provider: provider.into(), location: location.into(), id: id.into() }
    }
}

/// A snapshot as the platform describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name.
    pub reference: SnapshotRef,
    /// Of what it is.
    pub resource: ResourceId,
    /// Where it stands.
    pub state: SnapshotState,
    /// Percent done, where told.
    pub progress: Option<u8>,
    /// The moment it shows.
    pub cut_at: Option<Timestamp>,
    /// Who made it.
    pub origin: Origin,
    /// When the platform deletes it by itself.
    pub expires_at: Option<Timestamp>,
    /// The set that it belongs to.
    pub set: Option<String>,
    /// Snapshots that it is composed of.
    pub children: Vec<SnapshotRef>,
    /// Its size in bytes, where known.
    pub bytes: Option<u64>,
    /// What else is worth keeping.
    pub facts: Facts,
    /// The platform's own words about a failure.
    pub message: Option<String>,
}

impl Snapshot {
    /// A snapshot of ours in `state`.
    #[must_use]
    pub fn new(reference: SnapshotRef, resource: ResourceId, state: SnapshotState) -> Self {
        Self {
            reference,
            resource,
            state,
            progress: None,
            cut_at: None,
            origin: Origin::Ours,
            expires_at: None,
            set: None,
            children: Vec::new(),
            bytes: None,
            facts: Facts::new(),
            message: None,
        }
    }
}

/// Where a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SnapshotState {
    /// Under way.
    Pending,
    /// Whole.
    Ready,
    /// Whole in part: some children failed.
    Partial,
    /// Failed for good.
    Failed,
}

/// Who made a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// We did; retention may delete it.
    Ours,
    /// The platform did; it counts for the RPO and is never deleted by us.
    Native,
}

/// Which snapshots are listed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SnapshotFilter {
    /// Of this resource only.
    pub resource: Option<ResourceId>,
    /// With all of these tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a copy goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CopyTarget {
    /// Region, account or vault, in the provider's form.
    pub location: String,
    /// The key that the copy is encrypted with.
    pub key: Option<String>,
}

/// A span in which any second can be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TimeWindow {
    /// The first restorable moment.
    pub earliest: Timestamp,
    /// The last one.
    pub latest: Timestamp,
}

impl TimeWindow {
    /// From `earliest` to `latest`.
    #[must_use]
    pub fn new(earliest: Timestamp, latest: Timestamp) -> Self {
        Self { earliest, latest }
    }
}

/// Asks for a restore on the platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreRequest {
    /// From what.
    pub from: RestoreFrom,
    /// The same token never starts a second restore.
    pub token: String,
    /// What only this provider understands.
    pub options: BackendOptions,
}

/// From what a platform restores.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestoreFrom {
    /// A snapshot.
    Snapshot(SnapshotRef),
    /// A resource as it was at a moment.
    Moment(ResourceId, Timestamp),
}

/// A restore under way or done.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreJob {
    /// The platform's name of it.
    pub id: RestoreJobId,
    /// Where it stands.
    pub state: SnapshotState,
    /// What it made.
    pub resource: Option<ResourceId>,
    /// The platform's own words.
    pub message: Option<String>,
}

impl RestoreRequest {
    /// A request with the provider's defaults.
    #[must_use]
    pub fn new(from: RestoreFrom, token: impl Into<String>) -> Self {
        Self { from, token: token.into(), options: BackendOptions::default() }
    }
}

impl RestoreJob {
    /// A job in `state`.
    #[must_use]
    pub fn new(id: RestoreJobId, state: SnapshotState) -> Self {
        Self { id, state, resource: None, message: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_all_that_names_a_snapshot_and_of_nothing_else() {
        let token = |vault: &str, point: &str, component: &str, resource: &str| {
            let resource = ResourceId(resource.to_owned());
            CreateSnapshot::token(
                &vault.parse().unwrap(),
                &point.parse().unwrap(),
                &component.parse().unwrap(),
                &resource,
            )
        };
        let (vault, point) = ("abcdefghijklmnopqrstuvwxyz", "prod-eu/daily/20261120t064200z-abcdefgh");
        let one = token(vault, point, "volumes", "vol-1");
        // Written down: another version of this program must find what this one began.
        assert_eq!(one, "p7nt2wmqish54qhlruqyvb7ugkrtjida");
        let others = [
            token("bbcdefghijklmnopqrstuvwxyz", point, "volumes", "vol-1"),
            token(vault, "prod-us/daily/20261120t064200z-abcdefgh", "volumes", "vol-1"),
            token(vault, "prod-eu/daily/20261120t064200z-abcdefga", "volumes", "vol-1"),
            token(vault, point, "volume", "vol-1"),
            token(vault, point, "volumes", "vol-2"),
            token(vault, point, "volumes", "vol-1\n"),
        ];
        assert!(!others.contains(&one));
    }
}
