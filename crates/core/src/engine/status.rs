//! How old the newest good item of each component is, and what else a person should know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{TierFacts, good_components, retired, tampering};
use crate::engine::replicas::{ReplicaStatus, TierReplica};
use crate::engine::status_drill::{DrillStatus, drills};
use crate::engine::status_watch::{NativeBackup, WatchStatus, watched};
use crate::engine::sweep_facts::SweepFacts;
use crate::error::Result;
use crate::name::{Name, PointId};
use crate::retention::PointState;
use crate::store::{ListEntry, ListOptions};
use crate::tier::Tier;
use crate::vault::layout;
use crate::vault::prove::not_listed;

/// A status that is asked for; await it.
#[must_use = "nothing is looked at before this is awaited"]
pub struct StatusRequest {
    backstay: Arc<Inner>,
    bytes: bool,
    copies: bool,
}

/// The state of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// Which source.
    pub source: Name,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// Its tiers.
    pub tiers: Vec<TierStatus>,
    /// What the platforms say that are watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<WatchStatus>,
    /// What lies in the vault and is in no configured source, tier or component; it is never touched.
    pub unmanaged: Vec<String>,
    /// What a person should look at: keys that are nobody's, marks that do not count, bytes that a point lacks that would be
    /// the newest good one, what dead runs left that no record names.
    pub strange: Vec<String>,
    /// What is to be done so that somebody can open the vault on the day: too few custodians, or none who tried lately.
    pub custody: Vec<String>,
}

/// The state of a tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TierStatus {
    /// Which tier.
    pub tier: Name,
    /// Its components.
    pub components: Vec<ComponentStatus>,
    /// Points that stand.
    pub points: u64,
    /// Those of them that are partial.
    pub partial: u64,
    /// Those of them that are doubtful: all whose clocks contradict each other, and those by content that were met in the
    /// search for the newest good ones.
    pub doubtful: u64,
    /// Why, of each.
    pub doubts: Vec<String>,
    /// Points that wait for the end of their grace.
    pub dying: u64,
    /// How far its replicas are behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaStatus>,
    /// When its components were drilled last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drills: Vec<DrillStatus>,
    /// Stored bytes of all its items, if asked for.
    pub bytes: Option<u64>,
}

/// The state of a component in a tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComponentStatus {
    /// Which component.
    pub component: Name,
    /// The newest point that holds it good, and of which the vault lists all bytes.
    pub newest: Option<PointId>,
    /// How old that point is.
    pub age: Option<SignedDuration>,
    /// The newest of the platform's own backups, if it is watched and has one in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeBackup>,
    /// Whether it is watched, not exported, and in none of the points that were looked at: only the platform's own backups
    /// count.
    #[serde(default)]
    pub only_watched: bool,
    /// Whether the newer of both is older than the tier's RPO, or missing although there is one.
    pub late: bool,
    /// How many points were looked at, from the newest back: a component that none of them has is said not to be there.
    pub searched: u64,
}

/// So many points are read in search of a good one. Who has been without one for so long knows it, and a status stays cheap.
const SEARCHED: usize = 64;

/// So many doubts of a tier are printed, the newest ones.
const SHOWN: usize = 5;

impl StatusRequest {
    pub(crate) fn new(backstay: Arc<Inner>) -> Self {
        Self { backstay, bytes: false, copies: false }
    }

    /// Sums up the stored bytes too, which lists every object.
    pub fn bytes(mut self) -> Self {
        self.bytes = true;
        self
    }

    /// Looks in the replicas for every object of every point, not of the newest alone, which lists all objects here and
    /// there. A platform that copies on its own may bring a manifest long before what it names.
    pub fn copies(mut self) -> Self {
        self.copies = true;
        self
    }

    async fn run(self) -> Result<Status> {
        let (vault, source) = (&self.backstay.vault, &self.backstay.source);
        let at = vault.store().now().await?;
        let mut strange = Vec::new();
        let retired = retired(vault, source, &mut strange).await?;
        let watched = watched(&self.backstay, at).await;
        let (mut tiers, mut held) = (Vec::new(), BTreeSet::new());
        for tier in &self.backstay.tiers {
            let (status, found) = self.tier(tier, at, (&retired, &watched), &mut strange).await?;
            held.extend(found);
            tiers.push(status);
        }
        let mut unmanaged = Vec::new();
        let all = vault.points();
        for other in all.sources().await?.iter().filter(|other| *other != source) {
            unmanaged.push(format!("source {other}"));
        }
        for other in all.tiers(source).await? {
            if !self.backstay.tiers.iter().any(|tier| tier.name == other.as_str()) {
                unmanaged.push(format!("tier {other}"));
            }
        }
        let known = |name: &Name| {
            let configured = self.backstay.components.iter().any(|component| component.name == *name);
            let told = || tiers.iter().flat_map(|tier| &tier.components);
            configured || told().any(|told| told.component == *name && !told.only_watched)
        };
        for component in held.iter().filter(|name| !known(name)) {
            let end = if retired.contains_key(component) { " (retired)" } else { "" };
            unmanaged.push(format!("component {component}{end}"));
        }
        let custody = vault.custody(at).await?;
        tampering(&self.backstay.observers, &strange);
        Ok(Status { source: source.clone(), at, tiers, watched, unmanaged, strange, custody })
    }

    /// Reads points from the newest back until each component of the tier was found good, or the search goes too far.
    async fn tier(
        &self,
        tier: &Tier,
        at: Timestamp,
        (retired, watched): (&BTreeMap<Name, Timestamp>, &[WatchStatus]),
        strange: &mut Vec<String>,
    ) -> Result<(TierStatus, BTreeSet<Name>)> {
        let vault = &self.backstay.vault;
        let name: Name = tier.name.parse()?;
        let sweep = SweepFacts::gather(&self.backstay, &name).await?;
        let mut facts = TierFacts::of(vault, sweep.listed.into_values(), sweep.strangers).await?;
        let mut lookback = facts.lookback(vault);
        let mut covered = facts.components(&self.backstay, tier, &mut lookback).await?;
        if self.backstay.components.is_empty() {
            covered.retain(|name| !retired.contains_key(name));
        }
        let mut missing: BTreeSet<&Name> = covered.iter().collect();
        let (mut newest, mut held) = (BTreeMap::new(), BTreeSet::new());
        let (mut searched, mut read) = (0, 0);
        for i in (0..lookback.len()).rev() {
            if missing.is_empty() || read == SEARCHED {
                break;
            }
            searched += 1;
            if facts.points[i].state == PointState::Doubtful {
                continue;
            }
            facts.look(&mut lookback, i).await?;
            // What costs nothing does not count, or a flood of plants would hide all that is good.
            read += usize::from(!lookback.is_plant(i));
            let Some(point) = lookback.read(i).await?.cloned() else { continue };
            held.extend(point.components.iter().cloned());
            let mut found: Vec<Name> = point.good().filter(|name| missing.contains(name)).cloned().collect();
            if found.is_empty() {
                continue;
            }
            if let Some(why) = lookback.judge(i).await? {
                facts.doubt(i, why);
                continue;
            }
            // What a manifest says is not enough: its bytes may be gone.
            let Some(point) = lookback.again(i).await? else { continue };
            let id = &lookback.run(i).id;
            if let Some((key, what)) = not_listed(vault.store(), &point.manifest).await?.into_iter().next() {
                facts.strange.push(format!("{id}: {what}: {key}"));
                let good = good_components(vault, point, true).await?;
                found.retain(|name| good.contains(name));
            }
            for component in found {
                missing.remove(&component);
                newest.insert(component, id.clone());
            }
        }
        strange.append(&mut facts.strange);
        strange.extend(sweep.strange);
        let now = at.to_zoned(tier.zone()?);
        let bound = tier.rpo.and_then(|rpo| now.checked_sub(rpo).ok()).map(|bound| bound.timestamp());
        let component = |component: &Name| {
            let newest = newest.get(component).cloned();
            let time = newest.as_ref().map(|id: &PointId| id.run.time());
            let native = NativeBackup::newest(component, watched, at);
            let newer = time.max(native.as_ref().map(|native| native.shows));
            let late = bound.is_some_and(|bound| newer.is_none_or(|time| time < bound));
            let age = time.map(|time| at.duration_since(time));
            let exported = covered.contains(component);
            // A program that exports nothing does not know what another one exports, but by the points.
            let perhaps = self.backstay.components.is_empty() && !held.contains(component);
            let is_watched = watched.iter().any(|watched| watched.component == *component);
            let only_watched = is_watched && (!exported || perhaps);
            let searched = if exported { searched } else { 0 };
            ComponentStatus { component: component.clone(), newest, age, native, only_watched, late, searched }
        };
        let beside = watched.iter().map(|watched| &watched.component);
        let beside: BTreeSet<_> =
            beside.filter(|name| tier.covers_component(name) && !covered.contains(name)).collect();
        let mut replicas = Vec::new();
        for replica in TierReplica::all(&self.backstay, tier).await? {
            let told = replica.status(vault, &facts, &now, self.copies).await;
            let behind = bound.and_then(|bound| told.lag.map(|lag| at.duration_since(bound) < lag));
            replicas.push(ReplicaStatus { late: behind == Some(true), ..told });
        }
        let count = |state| facts.points.iter().filter(|point| point.state == state).count() as u64;
        let status = TierStatus {
            components: covered.iter().chain(beside).map(component).collect(),
            points: facts.points.len() as u64,
            partial: count(PointState::Partial),
            doubtful: count(PointState::Doubtful),
            doubts: facts.doubts.iter().map(|(id, why)| format!("{}: {why}", id.run)).collect(),
            dying: facts.dying.len() as u64,
            replicas,
            drills: drills(&self.backstay, tier, &covered, at, strange).await?,
            bytes: if self.bytes { Some(self.stored_bytes(&name).await?) } else { None },
            tier: name,
        };
        Ok((status, held))
    }

    async fn stored_bytes(&self, tier: &Name) -> Result<u64> {
        let mut sum = 0;
        let prefix = layout::items_of_tier(&self.backstay.source, tier)?;
        let mut listing = self.backstay.vault.store().list(&prefix, &ListOptions::default());
        while let Some(entry) = listing.next().await {
            if let ListEntry::Object(meta) = entry? {
                sum += meta.size;
            }
        }
        Ok(sum)
    }
}

impl Status {
    /// Whether each component has a good point in some tier, or a backup of its platform's if it is only watched, every
    /// objective is met, no drill is late, every replica answers, is no more behind than the tier's RPO and not ahead, every
    /// platform answers without a problem, and nothing strange was found. What is to be done with keys is apart:
    /// [`custody`](Self::custody).
    #[must_use]
    pub fn is_good(&self) -> bool {
        let all = || self.tiers.iter().flat_map(|tier| &tier.components);
        let has_one = |c: &&ComponentStatus| c.newest.is_some() || (c.only_watched && c.native.is_some());
        let somewhere: BTreeSet<&Name> = all().filter(has_one).map(|c| &c.component).collect();
        let well =
            !somewhere.is_empty() && all().all(|component| !component.late && somewhere.contains(&component.component));
        let replicas = || self.tiers.iter().flat_map(|tier| &tier.replicas);
        let bad = replicas().any(|replica| replica.error.is_some() || replica.late || replica.ahead.is_some());
        let undrilled = self.tiers.iter().flat_map(|tier| &tier.drills).any(|drill| drill.late);
        let platforms = self.watched.iter().all(|watched| watched.problems.is_empty());
        let odd = !self.strange.is_empty() || self.tiers.iter().any(|tier| tier.doubtful > 0);
        well && !bad && !undrilled && platforms && !odd
    }
}

impl IntoFuture for StatusRequest {
    type Output = Result<Status>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.run().await.map_err(|error| error.operation("status")) })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.source, self.at)?;
        for tier in &self.tiers {
            write!(f, "\n  tier {}: {} points", tier.tier, tier.points)?;
            for (count, what) in [(tier.partial, "partial"), (tier.doubtful, "doubtful"), (tier.dying, "being deleted")]
            {
                if count > 0 {
                    write!(f, ", {count} {what}")?;
                }
            }
            tier.bytes.iter().try_for_each(|bytes| write!(f, ", {bytes} bytes"))?;
            for component in &tier.components {
                write!(f, "\n    {}: ", component.component)?;
                component.write(f, tier.points)?;
            }
            for doubt in tier.doubts.iter().rev().take(SHOWN) {
                write!(f, "\n    doubtful, until accepted: {doubt}")?;
            }
            tier.drills.iter().try_for_each(|drill| write!(f, "\n    {drill}"))?;
            tier.replicas.iter().try_for_each(|replica| write!(f, "\n    {replica}"))?;
        }
        for WatchStatus { component, place, problems, .. } in &self.watched {
            problems.iter().try_for_each(|problem| write!(f, "\n  look at: {component} on {place}: {problem}"))?;
        }
        self.unmanaged.iter().try_for_each(|what| write!(f, "\n  unmanaged: {what}"))?;
        self.strange.iter().try_for_each(|what| write!(f, "\n  look at: {what}"))?;
        self.custody.iter().try_for_each(|what| write!(f, "\n  keys: {what}"))
    }
}

impl ComponentStatus {
    fn write(&self, f: &mut fmt::Formatter<'_>, points: u64) -> fmt::Result {
        match (&self.newest, self.age) {
            (Some(newest), Some(age)) => {
                let age = age.round(Unit::Second).unwrap_or(age);
                write!(f, "newest good {}, {age:#} old", newest.run)?;
            }
            _ if self.only_watched => f.write_str("only watched")?,
            _ if self.searched == points => f.write_str("never")?,
            _ => write!(f, "none in the newest {}", self.searched)?,
        }
        match &self.native {
            Some(native) => write!(f, "; {native}")?,
            None if self.only_watched => f.write_str("; no platform has it in full")?,
            None => {}
        }
        f.write_str(if self.late { "  LATE" } else { "" })
    }
}

impl fmt::Debug for StatusRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusRequest").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
