//! Planning which locks are extended, so that the newest good points stay locked while newer runs fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{TierFacts, retired};
use crate::engine::roll_locks_apply::{self, RollReport, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::PointState;
use crate::tier::Tier;
use crate::vault::VaultId;
use crate::vault::manifest::Outcome;

/// A roll of locks that is asked for: make its plan, look at it, apply it.
#[must_use = "no lock is extended before a plan is applied"]
pub struct RollRequest(Arc<Inner>);

/// Which locks would be extended, with reasons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RollPlan {
    /// In which vault.
    pub vault: VaultId,
    /// Of which source.
    pub source: Name,
    /// When it was made, by the store's clock.
    pub made_at: Timestamp,
    /// One step per point that is the newest good one of a component in its tier.
    pub steps: Vec<RollStep>,
    /// What a person should look at: objects that are missing or not as long as signed, components without a good point,
    /// keys that are nobody's, marks that do not count.
    pub strange: Vec<String>,
}

/// What would be done with one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RollStep {
    /// With which point.
    pub id: PointId,
    /// When the first of its locks ends; none if an object has no lock.
    pub locked_until: Option<Timestamp>,
    /// Until when all of them are to hold; none if they last long enough.
    pub extend_to: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// A plan together with what it takes to apply it.
#[must_use = "no lock is extended before the plan is applied"]
pub struct PlannedRoll {
    plan: RollPlan,
    backstay: Arc<Inner>,
}

impl RollRequest {
    pub(crate) fn new(backstay: Arc<Inner>) -> Self {
        Self(backstay)
    }

    /// Looks at every tier that has a lock, and changes nothing. A lock is extended when less than half of the tier's time
    /// is left, so that a component is never without a point that is locked for half of it.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if no tier has a lock; else what the store answers.
    pub async fn plan(self) -> Result<PlannedRoll> {
        match self.make_plan().await {
            Ok(plan) => Ok(PlannedRoll { plan, backstay: self.0 }),
            Err(error) => Err(error.operation("plan locks")),
        }
    }

    async fn make_plan(&self) -> Result<RollPlan> {
        let (vault, source) = (&self.0.vault, &self.0.source);
        vault.check_writable()?;
        if self.0.tiers.iter().all(|tier| tier.lock.is_none()) {
            return Err(
                Error::new(ErrorKind::Invalid, "no tier has a lock").advise("give one its lock by `Tier::lock`")
            );
        }
        let (vault_id, source, made_at) = (vault.id().clone(), source.clone(), vault.store().now().await?);
        let mut plan = RollPlan { vault: vault_id, source, made_at, steps: Vec::new(), strange: Vec::new() };
        let retired = retired(vault, &plan.source, &mut plan.strange).await?;
        for tier in &self.0.tiers {
            self.plan_tier(tier, &retired, &mut plan).await?;
        }
        Ok(plan)
    }

    /// Reads points from the newest back until each component was found good, in a point that is all there, or retired.
    async fn plan_tier(&self, tier: &Tier, retired: &BTreeMap<Name, Timestamp>, plan: &mut RollPlan) -> Result<()> {
        let (vault, now) = (&self.0.vault, plan.made_at);
        let Some(until) = tier.lock_from(now)?.and_then(|lock| lock.until) else { return Ok(()) };
        let half = now.saturating_add(until.duration_since(now) / 2).unwrap_or(until);
        let mut facts = TierFacts::gather(vault, &plan.source, &tier.name.parse()?).await?;
        let mut lookback = facts.lookback(vault);
        let covered = facts.components(&self.0, tier, &mut lookback).await?;
        let mut missing: BTreeSet<&Name> = covered.iter().collect();
        for i in (0..lookback.len()).rev() {
            let made = facts.points[i].id.run.time();
            missing.retain(|name| retired.get(*name).is_none_or(|from| made > *from));
            if missing.is_empty() {
                break;
            }
            if facts.points[i].state == PointState::Doubtful {
                continue;
            }
            facts.look(&mut lookback, i).await?;
            let Some(point) = lookback.again(i).await? else { continue };
            let good =
                |name: &&Name| point.manifest.component(name).is_some_and(|found| found.outcome == Outcome::Good);
            let good: Vec<&Name> = missing.iter().copied().filter(good).collect();
            if good.is_empty() || lookback.judge(i).await?.is_some() {
                continue;
            }
            let stored = Stored::of(vault, &point).await?;
            let names = good.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            let mut reason = format!("the newest good point of {names}");
            if stored.problems.is_empty() {
                missing.retain(|name| !good.contains(name));
            } else {
                reason.push_str(", but damaged, so the one before is locked as well");
                plan.strange.extend(stored.problems.iter().map(|problem| format!("{}: {problem}", point.id)));
            }
            let locked_until = stored.locked_until();
            let extend_to = locked_until.is_none_or(|locked| locked < half).then_some(until);
            plan.steps.push(RollStep { id: point.id.clone(), locked_until, extend_to, reason });
        }
        plan.strange.append(&mut facts.strange);
        let missing = missing.into_iter().filter(|name| !retired.contains_key(*name));
        plan.strange.extend(missing.map(|name| format!("tier {}: no good point of {name} to lock", tier.name)));
        Ok(())
    }
}

impl PlannedRoll {
    /// Extends the locks that the plan names, the manifest's first; looks again before each step, leaves what is being
    /// deleted, and never locks for longer than was planned. May be interrupted: a later plan goes on where it stopped.
    ///
    /// # Errors
    /// What ended it; [`Denied`](ErrorKind::Denied) without the right to set locks. Points that could not be locked whole
    /// make it [`Partial`](ErrorKind::Partial), with the report as [`Error::payload`].
    pub async fn apply(self) -> Result<RollReport> {
        roll_locks_apply::apply(&self.backstay, self.plan).await.map_err(|error| error.operation("roll locks forward"))
    }
}

impl Deref for PlannedRoll {
    type Target = RollPlan;

    fn deref(&self) -> &RollPlan {
        &self.plan
    }
}

impl fmt::Display for RollPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extend = self.steps.iter().filter(|step| step.extend_to.is_some()).count();
        write!(f, "locks of {}: {extend} extend, {} stay", self.source, self.steps.len() - extend)?;
        for RollStep { id, locked_until, extend_to, reason } in &self.steps {
            let now = locked_until.map_or_else(|| "not locked".to_owned(), |until| format!("locked until {until}"));
            let then = extend_to.map_or_else(String::new, |until| format!(", then until {until}"));
            write!(f, "\n  {id}: {now}{then}: {reason}")?;
        }
        self.strange.iter().try_for_each(|strange| write!(f, "\n  look at {strange}"))
    }
}

impl fmt::Display for PlannedRoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl fmt::Debug for PlannedRoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedRoll").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for RollRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RollRequest").field("source", &self.0.source).finish_non_exhaustive()
    }
}
