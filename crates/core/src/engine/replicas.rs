//! The declared replicas as prune and status see them: what each has, what it lacks and would keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::StreamExt;
use jiff::{SignedDuration, Unit, Zoned};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{TierFacts, is_tampering};
use crate::engine::replicate::would_keep;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::{KeepRules, PointSummary};
use crate::store::{ListOptions, Prefix};
use crate::tier::Tier;
use crate::vault::Vault;
use crate::vault::layout;
use crate::vault::points::{Listed, list_run};
use crate::vault::prove::{not_listed, stored_by_run};

/// Objects and bytes by run.
type Stored = BTreeMap<PointId, (u64, u64)>;

/// How far a replica is behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Which.
    pub replica: String,
    /// Points that it would keep and does not have, or not whole.
    pub pending: u64,
    /// How old the oldest of them is.
    pub lag: Option<SignedDuration>,
    /// The newest point that is there, with all its objects.
    pub newest: Option<PointId>,
    /// Why nothing can be said of it, if so.
    pub error: Option<String>,
}

/// A replica of a tier.
pub(crate) struct TierReplica<'a> {
    name: &'a str,
    vault: &'a Vault,
    keep: &'a KeepRules,
    /// What is there; an error if it cannot be reached.
    found: Result<TierFacts>,
}

impl<'a> TierReplica<'a> {
    /// All that are declared for the tier. One that cannot be reached is no failure: it is told where it matters.
    pub(crate) async fn all(backstay: &'a Inner, tier: &'a Tier) -> Result<Vec<Self>> {
        let tier_name: Name = tier.name.parse()?;
        let mut all = Vec::new();
        for (name, keep) in &tier.replicate_to {
            let Some(replica) = backstay.everywhere().replicas().iter().find(|replica| replica.name.as_str() == name)
            else {
                return Err(Error::new(ErrorKind::NotFound, "no such replica").with("replica", name));
            };
            let vault = &replica.vault;
            let found = TierFacts::gather(vault, &backstay.source, &tier_name).await;
            all.push(Self { name, vault, keep, found });
        }
        Ok(all)
    }

    /// Of these points, which are proved, those that must stay at the origin for this replica's sake, each with the reason:
    /// it would keep them and does not have them whole, or cannot be asked.
    pub(crate) async fn awaited(
        &self,
        origin: &Vault,
        points: &[PointSummary],
        now: &Zoned,
    ) -> Result<BTreeMap<PointId, String>> {
        let mut awaited = BTreeMap::new();
        let found = match &self.found {
            Ok(found) => found,
            Err(error) => {
                let why = format!("the replica {} cannot be asked whether it has it: {error}", self.name);
                return Ok(points.iter().map(|point| (point.id.clone(), why.clone())).collect());
            }
        };
        let wanted = self.wanted(found, points, now);
        for point in points.iter().filter(|point| wanted.contains_key(&point.id)) {
            let why = match self.lacks(origin, found, &point.id).await {
                Ok(None) => continue,
                Ok(Some(what)) => format!("not yet copied to {}: {what}", self.name),
                Err(error) => format!("the replica {} cannot be asked whether it has it: {error}", self.name),
            };
            awaited.insert(point.id.clone(), why);
        }
        Ok(awaited)
    }

    /// How far it is behind these points of the origin. Whoever copies may be a platform, which knows no order: so all of
    /// the newest one's objects must be there, and if `every` is asked for, of every other's.
    pub(crate) async fn status(
        &self,
        origin: &Vault,
        points: &[PointSummary],
        now: &Zoned,
        every: bool,
    ) -> ReplicaStatus {
        let mut status = ReplicaStatus {
            replica: self.name.to_owned(),
            pending: 0,
            lag: None,
            newest: None,
            error: self.found.as_ref().err().map(ToString::to_string),
        };
        if let Ok(found) = &self.found
            && let Err(error) = self.compare(origin, found, points, now, every, &mut status).await
        {
            status.error = Some(error.to_string());
        }
        status
    }

    async fn compare(
        &self,
        origin: &Vault,
        found: &TierFacts,
        points: &[PointSummary],
        now: &Zoned,
        every: bool,
        status: &mut ReplicaStatus,
    ) -> Result<()> {
        let there = present(found);
        let wanted = self.wanted(found, points, now);
        let mut stored = None;
        for point in points.iter().rev().filter(|point| wanted.contains_key(&point.id)) {
            let is_whole = match (there.contains(&point.id), &status.newest) {
                (false, _) => false,
                (true, Some(_)) if !every => true,
                (true, None) => self.is_whole(origin, found, &point.id).await?,
                (true, Some(_)) => {
                    if stored.is_none() {
                        stored = Some(self.stored(origin, &point.id).await?);
                    }
                    let equal =
                        stored.as_ref().is_some_and(|(ours, theirs)| ours.get(&point.id) == theirs.get(&point.id));
                    equal || self.is_whole(origin, found, &point.id).await?
                }
            };
            if is_whole {
                status.newest.get_or_insert_with(|| point.id.clone());
            } else {
                status.pending += 1;
                status.lag = Some(now.timestamp().duration_since(point.time));
            }
        }
        // What the origin has no more is for the replica to keep.
        let newest = found.points.iter().map(|point| &point.id).max_by_key(|id| &id.run);
        let is_only_there = |id: &&PointId| !points.iter().any(|point| point.id == **id);
        status.newest = newest.filter(is_only_there).cloned().or(status.newest.take());
        Ok(())
    }

    /// What two listings of the tier tell of each run, in the origin and in the replica.
    async fn stored(&self, origin: &Vault, PointId { source, tier, .. }: &PointId) -> Result<(Stored, Stored)> {
        let ours = stored_by_run(origin.store(), source, tier).await?;
        Ok((ours, stored_by_run(self.vault.store(), source, tier).await?))
    }

    async fn is_whole(&self, origin: &Vault, found: &TierFacts, id: &PointId) -> Result<bool> {
        match self.lacks(origin, found, id).await {
            // It cannot be trusted at the origin, which is told there.
            Err(error) if is_tampering(error.kind()) || error.kind() == ErrorKind::NotFound => Ok(true),
            lacks => Ok(lacks?.is_none()),
        }
    }

    /// What the replica would keep if it had these points besides its own.
    fn wanted(&self, found: &TierFacts, points: &[PointSummary], now: &Zoned) -> BTreeMap<PointId, String> {
        let there = present(found);
        let mut all = found.points.clone();
        all.extend(points.iter().filter(|point| !there.contains(&point.id)).cloned());
        all.sort_unstable_by(|a, b| a.id.run.cmp(&b.id.run));
        would_keep(Some(self.keep), &all, now)
    }

    /// What is missing of a point there, by listing; nothing if it is whole. What the replica itself lets go lacks nothing.
    async fn lacks(&self, origin: &Vault, found: &TierFacts, id: &PointId) -> Result<Option<String>> {
        if !found.points.iter().any(|point| point.id == *id) {
            return Ok(Some("it is not there".to_owned()));
        }
        let point = origin.read_point(id).await?;
        let size = |run: Option<Listed>| Some(run?.manifest?.size);
        if size(list_run(self.vault, id).await?) != size(list_run(origin, id).await?) {
            return Ok(Some("another manifest is there".to_owned()));
        }
        if let Some((key, what)) = not_listed(self.vault.store(), &point.manifest).await?.into_iter().next() {
            return Ok(Some(format!("{what} ({key})")));
        }
        if !any(self.vault, &layout::signatures(id, layout::SIGNED_POINT, &point.sha256)?).await? {
            return Ok(Some("its signature is missing".to_owned()));
        }
        if let Some(epoch) = &point.manifest.epoch
            && !any(self.vault, &layout::sealed_keys(&epoch.name)?).await?
        {
            return Ok(Some(format!("no key of {} is there", epoch.name)));
        }
        Ok(None)
    }
}

impl fmt::Display for ReplicaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica {}: ", self.replica)?;
        if let Some(error) = &self.error {
            return write!(f, "cannot be asked: {error}");
        }
        match &self.newest {
            Some(newest) => write!(f, "newest {}", newest.run)?,
            None => f.write_str("no point yet")?,
        }
        match self.lag {
            Some(lag) => write!(f, ", {} pending, {:#} behind", self.pending, lag.round(Unit::Second).unwrap_or(lag)),
            None => f.write_str(", none pending"),
        }
    }
}

/// Whether anything lies under `prefix`.
async fn any(vault: &Vault, prefix: &Prefix) -> Result<bool> {
    let mut listing = vault.store().list(prefix, &ListOptions::default());
    listing.next().await.transpose().map(|entry| entry.is_some())
}

fn present(found: &TierFacts) -> BTreeSet<&PointId> {
    found.points.iter().map(|point| &point.id).chain(found.dying.iter().map(|dying| &dying.id)).collect()
}
