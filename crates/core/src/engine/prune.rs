//! Planning what a tier's retention lets go.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::prune_apply::{self, PruneReport};
use crate::engine::prune_facts::{Dying, TierFacts, may_go_from, retired, tampering};
use crate::engine::replicas::{Awaited, TierReplica};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::{
    Action, Decision, NewestGood, PointState, PointSummary, RetentionPolicy, check_mass_expiry, decide,
};
use crate::tier::Tier;
use crate::vault::{Purpose, VaultId};

/// The grace in which a deletion can be taken back, if nothing else is said.
const GRACE: Duration = Duration::from_secs(24 * 3600);
const SHORTEST_GRACE: Duration = Duration::from_secs(2 * 3600);

/// A prune that is asked for: make its plan, look at it, apply it.
#[must_use = "nothing is deleted before a plan is applied"]
pub struct PruneRequest {
    backstay: Arc<Inner>,
    tier: String,
    grace: Duration,
    no_grace: bool,
    mass_expiry: bool,
}

/// What a prune would do, with reasons.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PrunePlan {
    /// In which vault.
    pub vault: VaultId,
    /// Of which source.
    pub source: Name,
    /// In which tier.
    pub tier: Name,
    /// When it was made, by the store's clock.
    pub made_at: Timestamp,
    /// How long a deletion that begins now can be taken back.
    pub grace: Duration,
    /// Whether points go whose grace is not over.
    pub no_grace: bool,
    /// One step per point, oldest first.
    pub steps: Vec<PruneStep>,
    /// What a person should look at: keys that are nobody's, marks that do not count.
    pub strange: Vec<String>,
}

/// What would be done with one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PruneStep {
    /// With which point.
    pub id: PointId,
    /// What.
    pub action: PruneAction,
    /// Why.
    pub reason: String,
}

/// What is done with a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PruneAction {
    /// It stays.
    Keep,
    /// It gets a tombstone; its bytes stay until the grace is over.
    Tombstone,
    /// It has one, and the grace is not over; or a replica that would keep it cannot be asked.
    Wait,
    /// Its grace is over: its bytes go.
    Delete,
    /// The deletion is taken back: somebody holds it now, or its grace is over and what stood for it is gone or damaged, or
    /// a replica that would keep it lacks it.
    Undelete,
}

/// A plan together with what it takes to apply it.
#[must_use = "nothing is deleted before the plan is applied"]
pub struct PlannedPrune {
    plan: PrunePlan,
    backstay: Arc<Inner>,
}

impl PruneRequest {
    pub(crate) fn new(backstay: Arc<Inner>, tier: String) -> Self {
        Self { backstay, tier, grace: GRACE, no_grace: false, mass_expiry: false }
    }

    /// How long a deletion that begins now can be taken back. Default: 24 hours; at least 2, because in the last hour it
    /// cannot be taken back any more.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Lets the bytes of every point that has a tombstone go at once, whatever grace it was given.
    pub fn danger_no_grace(mut self) -> Self {
        self.grace = Duration::ZERO;
        self.no_grace = true;
        self
    }

    /// Lets more than half of the tier go at once.
    pub fn danger_allow_mass_expiry(mut self) -> Self {
        self.mass_expiry = true;
        self
    }

    /// Decides, and changes nothing.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a grace that is too short; [`Refused`](ErrorKind::Refused) if the clocks disagree,
    /// the vault has no point, is another one or asks for unknown features, or if more than half of the tier would go at
    /// once; each with the way on.
    pub async fn plan(self) -> Result<PlannedPrune> {
        let place = self.tier.clone();
        self.make_plan().await.map_err(|error| error.operation("plan prune").with("tier", place))
    }

    async fn make_plan(self) -> Result<PlannedPrune> {
        let (tier_name, tier) = self.backstay.tier(&self.tier)?;
        let (vault, source) = (&self.backstay.vault, &self.backstay.source);
        if self.grace < SHORTEST_GRACE && !self.no_grace {
            return Err(Error::new(ErrorKind::Invalid, "so short a grace leaves no time to take a deletion back")
                .with("grace", format!("{:?}", self.grace))
                .advise("give it 2 hours at least; `danger_no_grace` deletes at once"));
        }
        vault.signer(Purpose::Delete)?;
        vault.check_may_delete().await?;
        let now = vault.agreed_time().await?;
        let mut facts = TierFacts::gather(vault, source, &tier_name).await?;
        if facts.points.is_empty() && facts.dying.is_empty() && vault.points().sources().await?.is_empty() {
            return Err(Error::new(ErrorKind::Refused, "the vault has no point at all").with("vault", vault).advise(
                "if it had some, find out who emptied it before anything is deleted; if it is new, make a backup first",
            ));
        }
        let zoned = now.to_zoned(tier.zone()?);
        let policy = tier.policy();
        let retired = retired(vault, source, &mut facts.strange).await?;
        let mut lookback = facts.lookback(vault);
        let (decisions, last_words, awaited) = loop {
            let proposals = policy.propose(&facts.points, &zoned);
            let mut decisions = decide(&facts.points, proposals, now, &facts.protected);
            if facts.unmask(&mut lookback, &policy, &zoned, &decisions).await?
                || facts.find_locked(vault, now, &decisions).await?
            {
                continue;
            }
            // What was marked before is guarded once more: the point that stood for it may be gone or damaged since.
            let (mut guarded, due, count) = (facts.points.clone(), self.due(&facts, now), decisions.len());
            guarded.extend(due.iter().map(|(summary, _)| summary.clone()));
            decisions.extend(due.into_iter().map(|(_, decision)| decision));
            let mut guard = NewestGood::new(&guarded, &decisions, now, retired.clone());
            if !facts.guard(vault, &mut guard, &mut lookback, &decisions).await? {
                guard.finish(&mut decisions);
                let awaited = self.awaited(tier, (&guarded, &decisions), count, &zoned).await?;
                let last_words = decisions.split_off(count);
                for decision in &mut decisions {
                    awaited.get(&decision.id).into_iter().for_each(|awaited| decision.veto(&awaited.why));
                }
                break (decisions, last_words, awaited);
            }
        };
        if !self.mass_expiry {
            check_mass_expiry(&decisions)?;
        }
        let mut steps: Vec<PruneStep> = decisions
            .into_iter()
            .map(|decision| PruneStep {
                action: if decision.action == Action::Expire { PruneAction::Tombstone } else { PruneAction::Keep },
                reason: match facts.doubts.get(&decision.id) {
                    Some(doubt) if decision.veto.is_none() => format!("{}: {doubt}", decision.why()),
                    _ => decision.why(),
                },
                id: decision.id,
            })
            .collect();
        for dying in &facts.dying {
            let Dying { id, tombstone, .. } = dying;
            let last_word = last_words.iter().find(|decision| decision.id == *id);
            let veto = dying.held.as_ref().or(last_word.and_then(|decision| decision.veto.as_ref()));
            let waits = awaited.get(id);
            let action = match (veto, waits) {
                (Some(_), _) => PruneAction::Undelete,
                // So that it is copied; retention marks it again when that is done.
                (None, Some(Awaited { lacks: true, .. })) => PruneAction::Undelete,
                (None, None) if self.is_over(dying, now) => PruneAction::Delete,
                (None, _) => PruneAction::Wait,
            };
            let until = may_go_from(tombstone).map_or_else(String::new, |from| format!(", grace until {from}"));
            let but = veto.or(waits.map(|waits| &waits.why)).map_or_else(String::new, |but| format!("; but {but}"));
            let (signer, at) = (&tombstone.signer.principal, tombstone.meta.last_modified);
            let reason = format!("marked by {signer} at {at}{until}{but}");
            steps.push(PruneStep { id: id.clone(), action, reason });
        }
        steps.sort_by(|a, b| a.id.run.cmp(&b.id.run));
        tampering(&self.backstay.observers, &facts.strange);
        let plan = PrunePlan {
            vault: vault.id().clone(),
            source: source.clone(),
            tier: tier_name,
            made_at: now,
            grace: self.grace,
            no_grace: self.no_grace,
            steps,
            strange: facts.strange,
        };
        Ok(PlannedPrune { plan, backstay: self.backstay.clone() })
    }

    /// What would go and must stay until a replica has it. All of these points were read, and their signatures proved, when
    /// it was decided that they go. Those from `count` on were marked before: each is asked for by itself, so that it takes
    /// the place of no point that stands.
    async fn awaited(
        &self,
        tier: &Tier,
        (points, decisions): (&[PointSummary], &[Decision]),
        count: usize,
        now: &Zoned,
    ) -> Result<BTreeMap<PointId, Awaited>> {
        let vault = &self.backstay.vault;
        let goes =
            |(point, decision): (&PointSummary, &Decision)| (decision.action == Action::Expire).then(|| point.clone());
        let standing: Vec<_> = points[..count].iter().zip(&decisions[..count]).filter_map(goes).collect();
        let due: Vec<_> = points[count..].iter().zip(&decisions[count..]).filter_map(goes).collect();
        let mut awaited: BTreeMap<PointId, Awaited> = BTreeMap::new();
        for mut replica in TierReplica::all(&self.backstay, tier).await? {
            let mut found = replica.awaited(vault, &standing, now).await;
            for point in &due {
                found.extend(replica.awaited(vault, std::slice::from_ref(point), now).await);
            }
            for (id, why) in found {
                match awaited.entry(id) {
                    Entry::Occupied(mut known) => known.get_mut().lacks |= why.lacks,
                    Entry::Vacant(free) => drop(free.insert(why)),
                }
            }
        }
        Ok(awaited)
    }

    fn is_over(&self, dying: &Dying, now: Timestamp) -> bool {
        may_go_from(&dying.tombstone).is_some_and(|from| self.no_grace || from <= now)
    }

    /// The marked points that would be deleted now, as the guard takes them.
    fn due(&self, facts: &TierFacts, now: Timestamp) -> Vec<(PointSummary, Decision)> {
        let due = facts.dying.iter().filter(|dying| dying.stands && dying.held.is_none() && self.is_over(dying, now));
        due.map(|Dying { id, .. }| {
            let summary = PointSummary::new(id.clone(), id.run.time(), PointState::Complete);
            (summary, Decision { id: id.clone(), action: Action::Expire, reasons: Vec::new(), veto: None })
        })
        .collect()
    }
}

impl PlannedPrune {
    /// Does what the plan says, point by point; looks again before each step and leaves what is held or locked meanwhile.
    /// May be interrupted: a later plan goes on where it stopped.
    ///
    /// # Errors
    /// What ended it. Points that could not be deleted make it [`Partial`](ErrorKind::Partial), with the report as
    /// [`Error::payload`].
    pub async fn apply(self) -> Result<PruneReport> {
        let place = self.plan.tier.clone();
        prune_apply::apply(&self.backstay, self.plan)
            .await
            .map_err(|error| error.operation("prune").with("tier", place))
    }
}

impl PrunePlan {
    /// How many points are to be treated so.
    #[must_use]
    pub fn count(&self, action: PruneAction) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }
}

impl Deref for PlannedPrune {
    type Target = PrunePlan;

    fn deref(&self) -> &PrunePlan {
        &self.plan
    }
}

impl fmt::Display for PruneAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Keep => "keep",
            Self::Tombstone => "tombstone",
            Self::Wait => "wait",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
        })
    }
}

impl fmt::Display for PrunePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |action| self.count(action);
        write!(
            f,
            "prune {}/{}: {} keep, {} tombstone, {} wait, {} delete",
            self.source,
            self.tier,
            count(PruneAction::Keep),
            count(PruneAction::Tombstone),
            count(PruneAction::Wait),
            count(PruneAction::Delete)
        )?;
        for step in &self.steps {
            write!(f, "\n  {:9} {}: {}", step.action, step.id.run, step.reason)?;
        }
        self.strange.iter().try_for_each(|strange| write!(f, "\n  look at  {strange}"))
    }
}

impl fmt::Display for PlannedPrune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl fmt::Debug for PlannedPrune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedPrune").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for PruneRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PruneRequest").field("tier", &self.tier).field("grace", &self.grace).finish_non_exhaustive()
    }
}
