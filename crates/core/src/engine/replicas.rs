//! The declared replicas as prune and status see them: what each has, what it lacks and would keep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::StreamExt;
use jiff::{SignedDuration, Unit, Zoned};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{TierFacts, is_tampering};
use crate::engine::replicate_tier::would_keep;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::{KeepRules, PointState, PointSummary};
use crate::store::{ListOptions, Prefix};
use crate::tier::Tier;
use crate::vault::Vault;
use crate::vault::layout;
use crate::vault::lookback::Lookback;
use crate::vault::points::Point;
use crate::vault::prove::{not_listed, stored_by_run};
use crate::vault::wary::Wary;

/// Objects and bytes by run.
type Stored = BTreeMap<PointId, (u64, u64)>;

/// How far a replica is behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicaStatus {
    /// Which.
    pub replica: String,
    /// Points that it would keep and does not have, or not whole: the newest is looked at closely, the others if
    /// [asked for](crate::engine::StatusRequest::copies).
    pub pending: u64,
    /// How old the oldest of them is.
    pub lag: Option<SignedDuration>,
    /// Whether it is more behind than the tier's RPO allows.
    pub late: bool,
    /// The newest point that is there, with all its objects; of one that the origin has no more they are not looked at.
    pub newest: Option<PointId>,
    /// Its newest point, if it is newer than any here: this vault was emptied, or set back.
    pub ahead: Option<PointId>,
    /// Why nothing can be said of it, if so.
    pub error: Option<String>,
}

/// Why a point must stay at the origin: the replica would keep it, and does not have it whole or cannot be asked.
pub(crate) struct Awaited {
    pub(crate) why: String,
    /// It was asked: replicating helps.
    pub(crate) lacks: bool,
}

/// A replica of a tier.
pub(crate) struct TierReplica<'a> {
    place: Place<'a>,
    /// What is there; an error if it cannot be reached.
    found: Result<Found<'a>>,
}

#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    vault: &'a Vault,
    keep: &'a KeepRules,
}

struct Found<'a> {
    facts: TierFacts,
    lookback: Lookback<'a>,
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
            let found = found.map(|mut facts| Found { lookback: facts.lookback(vault), facts });
            all.push(Self { place: Place { name, vault, keep }, found });
        }
        Ok(all)
    }

    /// Of these points, which are proved, those that must stay at the origin for this replica's sake.
    pub(crate) async fn awaited(
        &mut self,
        origin: &Vault,
        points: &[PointSummary],
        now: &Zoned,
    ) -> BTreeMap<PointId, Awaited> {
        let place = self.place;
        let silent = |error: &Error| {
            let why = format!("the replica {} cannot be asked whether it has it: {error}", place.name);
            Awaited { why, lacks: false }
        };
        let all_silent = |error: &Error| points.iter().map(|point| (point.id.clone(), silent(error))).collect();
        let found = match &mut self.found {
            Ok(found) => found,
            Err(error) => return all_silent(error),
        };
        let wanted = match place.wanted(found, points, now).await {
            Ok(wanted) => wanted,
            Err(error) => return all_silent(&error),
        };
        let mut awaited = BTreeMap::new();
        for point in points.iter().filter(|point| wanted.contains_key(&point.id)) {
            let why = match place.lacks(origin, found, &point.id).await {
                Ok(None) => continue,
                Ok(Some(what)) => Awaited { why: format!("not yet copied to {}: {what}", place.name), lacks: true },
                Err(error) => silent(&error),
            };
            awaited.insert(point.id.clone(), why);
        }
        awaited
    }

    /// How far it is behind these points of the origin. Whoever copies may be a platform, which knows no order: so all of
    /// the newest one's objects must be there, and if `every` is asked for, of every other's.
    pub(crate) async fn status(self, origin: &Vault, facts: &TierFacts, now: &Zoned, every: bool) -> ReplicaStatus {
        let mut status = ReplicaStatus {
            replica: self.place.name.to_owned(),
            pending: 0,
            lag: None,
            late: false,
            newest: None,
            ahead: None,
            error: None,
        };
        let compared = match self.found {
            Ok(found) => self.place.compare(origin, found, facts, now, every, &mut status).await,
            Err(error) => Err(error),
        };
        status.error = compared.err().map(|error| error.to_string());
        status
    }
}

impl Place<'_> {
    async fn compare(
        &self,
        origin: &Vault,
        mut found: Found<'_>,
        facts: &TierFacts,
        now: &Zoned,
        every: bool,
        status: &mut ReplicaStatus,
    ) -> Result<()> {
        let points = &facts.points;
        let wanted = self.wanted(&mut found, points, now).await?;
        let there: BTreeSet<&PointId> = found.facts.points.iter().map(|point| &point.id).collect();
        let (mut stored, mut pending) = (None, Vec::new());
        for point in points.iter().rev().filter(|point| wanted.contains_key(&point.id)) {
            let is_whole = match (there.contains(&point.id), &status.newest) {
                (false, _) => false,
                (true, Some(_)) if !every => true,
                (true, None) => self.is_whole(origin, &found, &point.id).await?,
                (true, Some(_)) => {
                    if stored.is_none() {
                        stored = Some(self.stored(origin, &point.id).await?);
                    }
                    let equal =
                        stored.as_ref().is_some_and(|(ours, theirs)| ours.get(&point.id) == theirs.get(&point.id));
                    equal || self.is_whole(origin, &found, &point.id).await?
                }
            };
            if is_whole {
                status.newest.get_or_insert_with(|| point.id.clone());
            } else {
                pending.push(point);
            }
        }
        // The oldest that is a point at all tells how far it is behind: what somebody planted at the origin is none.
        let mut wary = Wary::default();
        while let Some(oldest) = pending.last() {
            match wary.point(origin, &oldest.id).await {
                Err(error) if is_tampering(error.kind()) || error.kind() == ErrorKind::NotFound => drop(pending.pop()),
                read => {
                    read?;
                    status.lag = Some(now.timestamp().duration_since(oldest.time));
                    break;
                }
            }
        }
        status.pending = pending.len() as u64;
        status.ahead = ahead(facts, &found.facts).cloned();
        // What the origin has no more is for the replica to keep.
        let newest = newest_sure(&found.facts).filter(|newest| !points.iter().any(|point| point.id == **newest));
        status.newest = newest.cloned().or(status.newest.take());
        Ok(())
    }

    /// What two listings of the tier tell of each run, in the origin and in the replica.
    async fn stored(&self, origin: &Vault, PointId { source, tier, .. }: &PointId) -> Result<(Stored, Stored)> {
        let ours = stored_by_run(origin.store(), source, tier).await?;
        Ok((ours, stored_by_run(self.vault.store(), source, tier).await?))
    }

    async fn is_whole(&self, origin: &Vault, found: &Found<'_>, id: &PointId) -> Result<bool> {
        match self.lacks(origin, found, id).await {
            // It cannot be trusted at the origin, which is told there.
            Err(error) if is_tampering(error.kind()) || error.kind() == ErrorKind::NotFound => Ok(true),
            lacks => Ok(lacks?.is_none()),
        }
    }

    /// What the replica would keep if it had these points besides its own. What is in it takes a slot only if it is proved
    /// there: anybody who may create objects in it can plant what looks like a point.
    async fn wanted(
        &self,
        found: &mut Found<'_>,
        points: &[PointSummary],
        now: &Zoned,
    ) -> Result<BTreeMap<PointId, String>> {
        let asked: BTreeSet<&PointId> = points.iter().map(|point| &point.id).collect();
        loop {
            let own = found.facts.points.iter().filter(|point| !asked.contains(&point.id));
            let mut all: Vec<PointSummary> = own.chain(points).cloned().collect();
            all.sort_unstable_by(|a, b| a.id.run.cmp(&b.id.run));
            let wanted = would_keep(Some(self.keep), &all, now);
            let is_wanted = |id: &PointId| wanted.contains_key(id) && !asked.contains(id);
            if !found.facts.prove(&mut found.lookback, is_wanted).await? {
                return Ok(wanted);
            }
        }
    }

    /// Why a point is not safe there; nothing if it is.
    async fn lacks(&self, origin: &Vault, found: &Found<'_>, id: &PointId) -> Result<Option<String>> {
        if found.facts.dying.iter().any(|dying| dying.id == *id) {
            return Ok(Some("it is being deleted there".to_owned()));
        }
        if !found.facts.points.iter().any(|point| point.id == *id) {
            return Ok(Some("it is not there".to_owned()));
        }
        lacks(self.vault, &origin.read_point(id).await?).await
    }
}

/// The replica's newest point, where the origin had later than anything that it has now: it was emptied, or set back.
pub(crate) fn ahead<'a>(origin: &TierFacts, replica: &'a TierFacts) -> Option<&'a PointId> {
    let newest = newest_sure(replica)?;
    let is_there =
        origin.points.iter().any(|point| point.id == *newest) || origin.dying.iter().any(|d| d.id == *newest);
    (!is_there && newest_sure(origin).is_none_or(|last| last.run < newest.run)).then_some(newest)
}

fn newest_sure(facts: &TierFacts) -> Option<&PointId> {
    let sure = facts.points.iter().filter(|point| point.state != PointState::Doubtful);
    sure.map(|point| &point.id).next_back()
}

/// What a replica lacks of a point, its manifest and signature proved there, its objects by listing; nothing if it is whole.
pub(crate) async fn lacks(replica: &Vault, point: &Point) -> Result<Option<String>> {
    let way = "remove it there, and replicate again";
    match replica.read_point(&point.id).await {
        Ok(there) if there.sha256 == point.sha256 => {}
        Ok(_) => return Ok(Some(format!("another manifest is there; {way}"))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some("it is not there".to_owned())),
        Err(error) if error.kind() == ErrorKind::Untrusted => {
            return Ok(Some(format!("its signature is missing there, or another manifest stands there: {error}")));
        }
        Err(error) if is_tampering(error.kind()) => return Ok(Some(format!("{error}; {way}"))),
        Err(error) => return Err(error),
    }
    if let Some((key, what)) = not_listed(replica.store(), &point.manifest).await?.into_iter().next() {
        return Ok(Some(format!("{what} ({key})")));
    }
    if let Some(epoch) = &point.manifest.epoch
        && !any(replica, &layout::keys_of_epoch(&epoch.name)?).await?
    {
        return Ok(Some(format!("no key of {} is there", epoch.name)));
    }
    Ok(None)
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
        }?;
        if self.late {
            f.write_str("  LATE")?;
        }
        if let Some(ahead) = &self.ahead {
            write!(f, "; AHEAD: {} is newer than any point here; was this vault emptied, or set back?", ahead.run)?;
        }
        Ok(())
    }
}

/// Whether anything lies under `prefix`.
async fn any(vault: &Vault, prefix: &Prefix) -> Result<bool> {
    let mut listing = vault.store().list(prefix, &ListOptions::default());
    listing.next().await.transpose().map(|entry| entry.is_some())
}
