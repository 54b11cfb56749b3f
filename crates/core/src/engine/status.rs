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
use crate::engine::prune_facts::{TierFacts, is_tampering, retired};
use crate::error::{ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::PointState;
use crate::store::{ListEntry, ListOptions};
use crate::tier::Tier;
use crate::vault::layout;
use crate::vault::manifest::Outcome;

/// A status that is asked for; await it.
#[must_use = "nothing is looked at before this is awaited"]
pub struct StatusRequest {
    backstay: Arc<Inner>,
    bytes: bool,
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
    /// What lies in the vault and is in no configured source, tier or component; it is never touched.
    pub unmanaged: Vec<String>,
    /// What a person should look at: keys that are nobody's, marks that do not count.
    pub strange: Vec<String>,
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
    /// Those of them that are doubtful.
    pub doubtful: u64,
    /// Points that wait for the end of their grace.
    pub dying: u64,
    /// Stored bytes of all its items, if asked for.
    pub bytes: Option<u64>,
}

/// The state of a component in a tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComponentStatus {
    /// Which component.
    pub component: Name,
    /// The newest point that holds it good.
    pub newest: Option<PointId>,
    /// How old that point is.
    pub age: Option<SignedDuration>,
    /// Whether it is older than the tier's RPO, or missing although there is one.
    pub late: bool,
}

impl StatusRequest {
    pub(crate) fn new(backstay: Arc<Inner>) -> Self {
        Self { backstay, bytes: false }
    }

    /// Sums up the stored bytes too, which lists every object.
    pub fn bytes(mut self) -> Self {
        self.bytes = true;
        self
    }

    async fn run(self) -> Result<Status> {
        let (vault, source) = (&self.backstay.vault, &self.backstay.source);
        let at = vault.store().now().await?;
        let mut strange = Vec::new();
        let retired = retired(vault, source, &mut strange).await?;
        let (mut tiers, mut held) = (Vec::new(), BTreeSet::new());
        for tier in &self.backstay.tiers {
            let (status, found) = self.tier(tier, at, &mut strange).await?;
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
        let configured = |name: &Name| self.backstay.components.iter().any(|component| component.name == *name);
        for component in held.iter().filter(|name| !configured(name)) {
            let end = if retired.contains_key(component) { " (retired)" } else { "" };
            unmanaged.push(format!("component {component}{end}"));
        }
        Ok(Status { source: source.clone(), at, tiers, unmanaged, strange })
    }

    /// Reads points from the newest back until each component of the tier was found good.
    async fn tier(
        &self,
        tier: &Tier,
        at: Timestamp,
        strange: &mut Vec<String>,
    ) -> Result<(TierStatus, BTreeSet<Name>)> {
        let vault = &self.backstay.vault;
        let name: Name = tier.name.parse()?;
        let mut facts = TierFacts::gather(vault, &self.backstay.source, &name, at).await?;
        strange.append(&mut facts.strange);
        let covered = self.backstay.covered(tier);
        let mut missing: BTreeSet<&Name> = covered.iter().map(|component| &component.name).collect();
        let (mut newest, mut held) = (BTreeMap::new(), BTreeSet::new());
        for summary in facts.points.iter().rev().filter(|point| point.state != PointState::Doubtful) {
            if missing.is_empty() {
                break;
            }
            let point = match facts.wary.point(vault, &summary.id).await {
                Ok(point) => point,
                Err(error) if is_tampering(error.kind()) => {
                    strange.push(format!("{}: {error}", summary.id));
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for component in &point.manifest.components {
                held.insert(component.name.clone());
                if component.outcome == Outcome::Good && missing.remove(&component.name) {
                    newest.insert(component.name.clone(), summary.id.clone());
                }
            }
        }
        let now = at.to_zoned(tier.zone()?);
        let bound = tier.rpo.and_then(|rpo| now.checked_sub(rpo).ok()).map(|bound| bound.timestamp());
        let component = |component: &Name| {
            let newest = newest.get(component).cloned();
            let time = newest.as_ref().map(|id: &PointId| id.run.time());
            let late = bound.is_some_and(|bound| time.is_none_or(|time| time < bound));
            let age = time.map(|time| at.duration_since(time));
            ComponentStatus { component: component.clone(), newest, age, late }
        };
        let count = |state| facts.points.iter().filter(|point| point.state == state).count() as u64;
        let status = TierStatus {
            components: covered.iter().map(|configured| component(&configured.name)).collect(),
            points: facts.points.len() as u64,
            partial: count(PointState::Partial),
            doubtful: count(PointState::Doubtful),
            dying: facts.dying.len() as u64,
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
    /// Whether every objective is met and nothing strange was found.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let late = self.tiers.iter().flat_map(|tier| &tier.components).any(|component| component.late);
        !late && self.strange.is_empty() && self.tiers.iter().all(|tier| tier.doubtful == 0)
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
                let late = if component.late { "  LATE" } else { "" };
                match (&component.newest, component.age) {
                    (Some(newest), Some(age)) => {
                        let age = age.round(Unit::Second).unwrap_or(age);
                        write!(f, "\n    {}: newest good {}, {age:#} old{late}", component.component, newest.run)?;
                    }
                    _ => write!(f, "\n    {}: never{late}", component.component)?,
                }
            }
        }
        self.unmanaged.iter().try_for_each(|what| write!(f, "\n  unmanaged: {what}"))?;
        self.strange.iter().try_for_each(|what| write!(f, "\n  look at: {what}"))
    }
}

impl fmt::Debug for StatusRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusRequest").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
