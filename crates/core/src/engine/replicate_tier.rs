//! One tier of two vaults compared: what the second lacks and would keep, what it lost, what is wrong in either.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Zoned;

use crate::engine::prune_facts::{TierFacts, is_tampering};
use crate::engine::replicas::{ahead, lacks};
use crate::engine::replicate::{ReplicationPlan, ReplicationStep};
use crate::error::{ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::{Action, PointState, PointSummary, RetentionPolicy};
use crate::source::Problem;
use crate::vault::lookback::Lookback;
use crate::vault::prove::stored_by_run;
use crate::vault::{Status, Vault};

/// What stands in one of the two vaults.
struct Side<'a> {
    vault: &'a Vault,
    facts: TierFacts,
    lookback: Lookback<'a>,
}

impl<'a> Side<'a> {
    async fn gather(vault: &'a Vault, source: &Name, tier: &Name) -> Result<Self> {
        let mut facts = TierFacts::gather(vault, source, tier).await?;
        let lookback = facts.lookback(vault);
        Ok(Self { vault, facts, lookback })
    }

    /// The length of a point's manifest.
    fn manifest_bytes(&self, id: &PointId) -> Option<u64> {
        Some(self.lookback.run(self.lookback.place(id)?).manifest.as_ref()?.size)
    }
}

/// Adds to the plan what is to be said of a tier.
pub(crate) async fn compare(
    (origin, here): (&Vault, &Vault),
    (source, tier): (&Name, &Name),
    policy: Option<&dyn RetentionPolicy>,
    now: &Zoned,
    plan: &mut ReplicationPlan,
) -> Result<()> {
    let mut there = Side::gather(origin, source, tier).await?;
    let mut here = Side::gather(here, source, tier).await?;
    let stands: BTreeSet<PointId> = here.facts.points.iter().map(|point| point.id.clone()).collect();
    let goes: BTreeSet<PointId> = here.facts.dying.iter().map(|dying| dying.id.clone()).collect();
    let (known, new): (Vec<_>, Vec<_>) = there
        .facts
        .points
        .clone()
        .into_iter()
        .filter(|point| !goes.contains(&point.id))
        .partition(|point| stands.contains(&point.id));
    let (doubtful, mut new): (Vec<_>, Vec<_>) = new.into_iter().partition(|point| point.state == PointState::Doubtful);
    for point in doubtful {
        let why = there.facts.protected.get(&point.id).map_or("doubtful", String::as_str);
        plan.left.push(Problem::new(point.id.to_string(), why));
    }
    let mut read: BTreeMap<PointId, ReplicationStep> = BTreeMap::new();
    let chosen = loop {
        let mut points = here.facts.points.clone();
        points.extend(new.iter().cloned());
        points.sort_unstable_by(|a, b| a.id.run.cmp(&b.id.run));
        let wanted = would_keep(policy, &points, now);
        // Anybody who may create objects in either vault can plant what looks like a point; it must not take the place of a
        // true one.
        let unread = new.iter().map(|point| &point.id).filter(|id| wanted.contains_key(*id) && !read.contains_key(*id));
        let unread: Vec<PointId> = unread.cloned().collect();
        let is_wanted = |id: &PointId| policy.is_some() && wanted.contains_key(id);
        if !here.facts.prove(&mut here.lookback, is_wanted).await? && unread.is_empty() {
            plan.unwanted += new.iter().filter(|point| !wanted.contains_key(&point.id)).count() as u64;
            break wanted;
        }
        for id in unread {
            there.read(&id, &mut new, &mut read, plan).await?;
        }
    };
    plan.steps.extend(read.into_iter().filter_map(|(id, step)| {
        let reason = chosen.get(&id)?.clone();
        Some(ReplicationStep { reason, ..step })
    }));
    let lost = lost(&there, &here, &known).await?;
    plan.present += (known.len() - lost.len()) as u64;
    // What the policy lets go need not be mended; what turned out to be none is not in it, and must be told.
    let is_kept = |id: &PointId| chosen.contains_key(id) || is_doubtful(&here.facts, id);
    plan.steps.extend(lost.into_iter().filter(|step| is_kept(&step.id)));
    if let Some(newest) = ahead(&there.facts, &here.facts) {
        let what = "is newer than any point at the origin: was the origin emptied, or set back?";
        plan.strange.push(format!("{newest} {what}"));
    }
    plan.strange.extend(there.facts.strange.into_iter().chain(here.facts.strange));
    Ok(())
}

fn is_doubtful(facts: &TierFacts, id: &PointId) -> bool {
    facts.points.iter().any(|point| point.id == *id && point.state == PointState::Doubtful)
}

impl Side<'_> {
    /// Reads a point that is to be copied; one that is none, or whose age nobody can tell, is left.
    async fn read(
        &mut self,
        id: &PointId,
        new: &mut Vec<PointSummary>,
        read: &mut BTreeMap<PointId, ReplicationStep>,
        plan: &mut ReplicationPlan,
    ) -> Result<()> {
        let leave = |new: &mut Vec<PointSummary>| new.retain(|point| point.id != *id);
        let point = match self.lookback.get(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                leave(new);
                return Ok(());
            }
            Err(error) if is_tampering(error.kind()) => {
                plan.left.push(Problem::new(id.to_string(), &error));
                leave(new);
                return Ok(());
            }
            point => point?,
        };
        if let Some(i) = self.lookback.place(id)
            && !self.facts.accepted.contains(&i)
            && let Some(doubt) = self.lookback.run(i).proved_clock_doubt(self.vault).await?
        {
            let way = "if it was copied there, open the origin with the signers of its copies; else accept it there";
            plan.left.push(Problem::new(id.to_string(), format!("doubtful: {doubt}; {way}")));
            leave(new);
            return Ok(());
        }
        if point.manifest.status == Status::Partial {
            new.iter_mut().filter(|p| p.id == *id).for_each(|p| p.state = PointState::Partial);
        }
        // Manifests may be large and many: what the plan says of them is enough.
        read.insert(id.clone(), ReplicationStep::new(point, String::new()));
        Ok(())
    }
}

/// Points that stand in both vaults, and of which something was lost here since. Only those are read of which the listings
/// of the two vaults differ.
async fn lost(there: &Side<'_>, here: &Side<'_>, known: &[PointSummary]) -> Result<Vec<ReplicationStep>> {
    let mut lost = Vec::new();
    let Some(PointSummary { id: PointId { source, tier, .. }, .. }) = known.first() else { return Ok(lost) };
    let stored_there = stored_by_run(there.vault.store(), source, tier).await?;
    let stored_here = stored_by_run(here.vault.store(), source, tier).await?;
    let copied = here.vault.copied_runs(source, tier, None).await?;
    for PointSummary { id, .. } in known {
        let is_equal = stored_here.get(id) == stored_there.get(id)
            && here.manifest_bytes(id) == there.manifest_bytes(id)
            && !is_doubtful(&here.facts, id);
        if is_equal && copied.contains(id) {
            continue;
        }
        let point = match there.vault.read_point(id).await {
            // What is wrong at the origin is told there.
            Err(error) if is_tampering(error.kind()) || error.kind() == ErrorKind::NotFound => continue,
            point => point?,
        };
        let what = match lacks(here.vault, &point).await? {
            None if copied.contains(id) => continue,
            None => "its copy record".to_owned(),
            Some(what) => what,
        };
        lost.push(ReplicationStep::new(point, format!("it is not whole here any more: {what}")));
    }
    Ok(lost)
}

/// The points that a replica with this retention would keep, each with the reason; doubtful ones are for nobody.
pub(crate) fn would_keep(
    policy: Option<&dyn RetentionPolicy>,
    points: &[PointSummary],
    now: &Zoned,
) -> BTreeMap<PointId, String> {
    let sure = points.iter().filter(|point| point.state != PointState::Doubtful);
    let unsaid = if policy.is_some() { "the policy says nothing about it" } else { "every point is copied" };
    let mut wanted: BTreeMap<PointId, String> = sure.map(|point| (point.id.clone(), unsaid.to_owned())).collect();
    for proposal in policy.map(|policy| policy.propose(points, now)).unwrap_or_default() {
        match (proposal.action, wanted.get_mut(&proposal.id)) {
            (Action::Keep, Some(why)) => *why = proposal.reasons.join(", "),
            (Action::Keep, None) => {}
            (Action::Expire, _) => drop(wanted.remove(&proposal.id)),
        }
    }
    wanted
}
