//! Adopting dead runs: what their hooks began is undone by the hooks of the process that comes next.
//!
//! Only this program's own configuration is acted on: of a dead run nothing counts but that its record is there. The bytes
//! that it left are the sweep's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::hooks::RunHooks;
use crate::error::Result;
use crate::event::Event;
use crate::name::{Name, PointId, Tag};
use crate::source::Problem;
use crate::tier::Tier;
use crate::vault::layout;
use crate::vault::points::list_tier;
use crate::vault::runs::{RecordedRun, list_attempts};

/// So many dead attempts are recorded as ended at once, the newest first. Records can be planted; the rest is for the next.
const AT_ONCE: usize = 100;

/// What an adoption did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdoptReport {
    /// Dead runs whose hooks are undone; oldest first.
    pub adopted: Vec<PointId>,
    /// Dead runs that are left for the next adoption, each with the reason.
    pub left: Vec<Problem>,
}

/// An attempt that neither committed nor said how it ended.
struct Open {
    point: PointId,
    attempt: Tag,
    /// The components that its tier covers, by the present configuration.
    components: BTreeSet<Name>,
    dead: bool,
}

/// Undoes the hooks of dead runs. `own` is the attempt that asks, if one does.
pub(crate) async fn adopt(backstay: &Arc<Inner>, own: Option<&Tag>) -> Result<AdoptReport> {
    let mut report = AdoptReport::default();
    if backstay.hooks.is_empty() {
        return Ok(report);
    }
    let open = open_attempts(backstay, own).await?;
    let (mut dead, alive): (Vec<Open>, Vec<Open>) = open.into_iter().partition(|open| open.dead);
    let late = dead.len().saturating_sub(AT_ONCE);
    dead.drain(..late);
    let Some(newest) = dead.last() else { return Ok(report) };

    let concerned: BTreeSet<&Name> = dead.iter().flat_map(|open| &open.components).collect();
    let busy: BTreeSet<&Name> = alive.iter().flat_map(|open| &open.components).collect();
    let mut hooks = RunHooks::new(backstay.clone(), newest.point.clone(), backstay.observers.clone());
    let mut not_undone: BTreeMap<Name, String> = BTreeMap::new();
    for hook in &backstay.hooks {
        let of_hook = |set: &BTreeSet<&Name>| -> Vec<Name> {
            hook.components.iter().filter(|name| set.contains(name)).cloned().collect()
        };
        let components = of_hook(&concerned);
        if components.is_empty() {
            continue;
        }
        // A thaw now would let a living run cut what is not still.
        if of_hook(&busy).is_empty() {
            hooks.owe(hook.clone(), components);
        } else {
            not_undone.extend(components.into_iter().map(|name| (name, "another run of it may be alive".to_owned())));
        }
    }
    for (components, error) in hooks.finish().await {
        not_undone.extend(components.into_iter().map(|name| (name, error.to_string())));
    }
    for Open { point, attempt, components, .. } in dead {
        if let Some(why) = components.iter().find_map(|name| not_undone.get(name)) {
            report.left.push(Problem::new(point.to_string(), why));
            continue;
        }
        backstay.vault.record_run_end(&point, &attempt, "adopted").await?;
        backstay.observers.emit(&Event::Adopted { point: point.clone() });
        report.adopted.push(point);
    }
    Ok(report)
}

/// Whether hooks of this program may be begun for a run, and nobody has undone them: then its records must stay.
pub(crate) fn waits_for_undo(backstay: &Inner, run: &RecordedRun) -> bool {
    let tier = backstay.tiers.iter().find(|tier| tier.name == run.id.tier.as_str());
    run.attempts.values().any(|attempt| !attempt.ended) && tier.is_some_and(|tier| is_hooked(backstay, tier))
}

fn is_hooked(backstay: &Inner, tier: &Tier) -> bool {
    let covered = backstay.covered(tier);
    backstay.hooks.iter().flat_map(|hook| &hook.components).any(|name| covered.iter().any(|c| c.name == *name))
}

/// The attempts of this source that may have left a hook begun, oldest first.
async fn open_attempts(backstay: &Inner, own: Option<&Tag>) -> Result<Vec<Open>> {
    let open = recorded_attempts(backstay, own).await?;
    if !open.iter().any(|open| open.dead) {
        return Ok(Vec::new());
    }
    // A run that committed had undone its hooks before.
    let mut committed = BTreeSet::new();
    let tiers: BTreeSet<&Name> = open.iter().map(|open| &open.point.tier).collect();
    for tier in tiers {
        let first = open.iter().filter(|open| open.point.tier == *tier).map(|open| open.point.run.time()).min();
        let listed = list_tier(&backstay.vault, &backstay.source, tier, first, None).await?;
        committed.extend(listed.into_iter().filter(|run| run.manifest.is_some() && !run.void_hint).map(|run| run.id));
    }
    // Once more and last, so that a run that began meanwhile is seen before anything is thawed.
    let mut open = recorded_attempts(backstay, own).await?;
    open.retain(|open| !committed.contains(&open.point));
    open.sort_by(|a, b| a.point.run.cmp(&b.point.run));
    Ok(open)
}

/// The attempts of this source in tiers with hooks that did not say how they ended.
async fn recorded_attempts(backstay: &Inner, own: Option<&Tag>) -> Result<Vec<Open>> {
    let (vault, source) = (&backstay.vault, &backstay.source);
    let (now, longest_run) = (vault.store_time(), vault.budget().limits().longest_run);
    let (runs, _) = list_attempts(vault, &layout::runs_of_source(source)?).await?;
    let mut open = Vec::new();
    for tier in &backstay.tiers {
        let name: Name = tier.name.parse()?;
        let components: BTreeSet<Name> = backstay.covered(tier).iter().map(|covered| covered.name.clone()).collect();
        let hooked = is_hooked(backstay, tier);
        for run in runs.values().filter(|run| hooked && run.id.tier == name) {
            for (tag, attempt) in run.attempts.iter().filter(|(tag, attempt)| !attempt.ended && Some(*tag) != own) {
                open.push(Open {
                    point: run.id.clone(),
                    attempt: tag.clone(),
                    components: components.clone(),
                    dead: run.attempt_dead_from(attempt, longest_run) < now,
                });
            }
        }
    }
    Ok(open)
}
