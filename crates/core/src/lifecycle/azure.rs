//! Rules for a storage account of Azure.

use serde_json::{Map, Value, json};

use super::class::{ClassFacts, Platform};
use super::{Lifecycle, OF_TIERS, TierFacts};

pub(super) const PLATFORM: Platform = Platform {
    infrequent: class("Cool", 30, None),
    instant_archive: class("Cold", 90, None),
    archive: class("Archive", 180, Some(15)),
    deep_archive: class("Archive", 180, Some(15)),
    filters_by_size: false,
    counts_from_replacement: false,
};

const fn class(name: &'static str, billed_days: u32, thaw_hours: Option<i64>) -> ClassFacts {
    ClassFacts { name, earliest_days: 1, days_after_warmer: 1, billed_days, thaw_hours }
}

pub(super) fn render(lifecycle: &Lifecycle) -> Value {
    let rules: Vec<Value> = lifecycle.tiers.iter().flat_map(|tier| of_tier(lifecycle, tier)).collect();
    json!({ "rules": rules })
}

/// The age at which earlier contents of a tier's items end; none where it cannot be told. The platform counts from when a
/// version was written and not from when it became an earlier one: counted as S3 does, an overwrite of an old item would take
/// the good content with it within a day.
pub(super) fn earlier_days(lifecycle: &Lifecycle, tier: &TierFacts) -> Option<u64> {
    let longest = tier.lifetimes.iter().map(|(_, days)| *days).reduce(f64::max)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count of days")]
    let longest = longest.ceil() as u64;
    (!tier.ageless).then(|| longest + u64::from(lifecycle.earlier_days))
}

fn of_tier(lifecycle: &Lifecycle, tier: &TierFacts) -> Vec<Value> {
    let mut actions = Map::new();
    if !lifecycle.moves.is_empty() {
        let moves = lifecycle.moves.iter().map(|(class, days)| {
            let facts = PLATFORM.facts(*class);
            let mut condition = json!({ "daysAfterModificationGreaterThan": days });
            if facts.thaw_hours.is_some() {
                // A blob that was thawed is as old as before: without this the next daily run archives it again.
                condition["daysAfterLastTierChangeGreaterThan"] = lifecycle.days_of_a_run().into();
            }
            (format!("tierTo{}", facts.name), condition)
        });
        actions.insert("baseBlob".to_owned(), Value::Object(moves.collect()));
    }
    if let Some(days) = earlier_days(lifecycle, tier) {
        for earlier in ["version", "snapshot"] {
            actions.insert(earlier.to_owned(), json!({ "delete": { "daysAfterCreationGreaterThan": days } }));
        }
    }
    let mut rules = Vec::new();
    if !actions.is_empty() {
        rules.push(rule(lifecycle, tier, "items", vec![lifecycle.items(tier)], Value::Object(actions)));
    }
    rules.extend(lifecycle.expire_days.map(|days| {
        let places = OF_TIERS.iter().map(|folder| lifecycle.place(folder, tier)).collect();
        let actions = json!({ "baseBlob": { "delete": { "daysAfterModificationGreaterThan": days } } });
        rule(lifecycle, tier, "expire", places, actions)
    }));
    rules
}

fn rule(lifecycle: &Lifecycle, tier: &TierFacts, what: &str, places: Vec<String>, actions: Value) -> Value {
    json!({
        "enabled": true,
        "name": lifecycle.rule_name(tier, what),
        "type": "Lifecycle",
        "definition": {
            "filters": { "blobTypes": ["blockBlob"], "prefixMatch": places },
            "actions": actions,
        },
    })
}
