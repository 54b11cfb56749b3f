//! Where a rule costs more than it saves, breaks an objective or endangers points.

use super::class::Platform;
use super::{Lifecycle, TierFacts, azure};

pub(super) fn warnings(lifecycle: &Lifecycle, platform: &Platform) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(days) = lifecycle.expire_days {
        warnings.push(format!(
            "RISK: everything of these tiers is deleted at {days} days, whatever its state. No guard of prune stands before \
             it: when no new point was made for {days} days, for whatever reason, the last good one is gone; holds are not \
             looked at; a point that is read at its last moment may lose bytes under the reader"
        ));
    }
    for tier in &lifecycle.tiers {
        for (class, days) in &lifecycle.moves {
            let facts = platform.facts(*class);
            warnings.extend(slow(tier, facts.name, *days, facts.thaw_hours));
            warnings.extend(costly(tier, facts.name, *days, facts.billed_days));
        }
    }
    if !platform.counts_from_replacement {
        warnings.extend(lifecycle.tiers.iter().map(|tier| early(lifecycle, tier)));
    }
    if !platform.filters_by_size && !lifecycle.moves.is_empty() {
        warnings.push(
            "rules of this platform cannot leave out small objects: moving one costs a write each, which a small object \
             never saves; if most items are below 128 KiB, leave the classes out"
                .to_owned(),
        );
    }
    warnings
}

/// An archive from which nothing is read in time.
fn slow(tier: &TierFacts, class: &str, days: u32, thaw_hours: Option<i64>) -> Option<String> {
    let (rto, hours) = (tier.rto?, thaw_hours?);
    (rto.as_hours() < hours).then(|| {
        format!(
            "tier {}: what is older than {days} days lies in {class} and takes up to {hours} hours to thaw before the first \
             byte is read; its recovery time objective is {rto:#}",
            tier.name
        )
    })
}

/// What is deleted before the class has saved what it costs.
fn costly(tier: &TierFacts, class: &str, days: u32, billed: u32) -> Option<String> {
    let (moved, paid) = (f64::from(days), f64::from(days + billed));
    let (rule, lifetime) = tier.lifetimes.iter().find(|(_, lifetime)| *lifetime > moved && *lifetime < paid)?;
    Some(format!(
        "tier {}: what `{rule}` keeps goes at about {lifetime:.0} days, {:.0} days after it came to {class}, which bills \
         {billed} days in any case",
        tier.name,
        lifetime - moved,
    ))
}

/// Earlier contents whose age is counted from when they were written.
fn early(lifecycle: &Lifecycle, tier: &TierFacts) -> String {
    let name = &tier.name;
    match azure::earlier_days(lifecycle, tier) {
        Some(days) => format!(
            "tier {name}: this platform counts the age of an earlier content from when it was written: of an item that is \
             kept for longer than {days} days, by a hold or because nothing newer is good, it ends at once when somebody \
             overwrites or deletes the item"
        ),
        None => format!(
            "tier {name}: no rule ends earlier contents: this platform counts their age from when they were written, and it \
             cannot be told how old a point gets"
        ),
    }
}
