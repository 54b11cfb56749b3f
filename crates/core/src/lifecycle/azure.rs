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
};

const fn class(name: &'static str, billed_days: u32, thaw_hours: Option<i64>) -> ClassFacts {
    ClassFacts { name, earliest_days: 1, days_after_warmer: 1, billed_days, thaw_hours }
}

/// Blocks that were never committed need no rule: the platform drops them after a week.
pub(super) fn render(lifecycle: &Lifecycle) -> Value {
    let rules: Vec<Value> = lifecycle.tiers.iter().flat_map(|tier| of_tier(lifecycle, tier)).collect();
    json!({ "rules": rules })
}

fn of_tier(lifecycle: &Lifecycle, tier: &TierFacts) -> Vec<Value> {
    let mut actions = Map::new();
    if !lifecycle.moves.is_empty() {
        let moves = lifecycle.moves.iter().map(|(class, days)| {
            let action = format!("tierTo{}", PLATFORM.facts(*class).name);
            (action, json!({ "daysAfterModificationGreaterThan": days }))
        });
        actions.insert("baseBlob".to_owned(), Value::Object(moves.collect()));
    }
    for earlier in ["version", "snapshot"] {
        let delete = json!({ "delete": { "daysAfterCreationGreaterThan": lifecycle.earlier_days } });
        actions.insert(earlier.to_owned(), delete);
    }
    let mut rules = vec![rule(lifecycle, tier, "items", vec![lifecycle.items(tier)], Value::Object(actions))];
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
        "name": format!("backstay-{}-{}-{what}", lifecycle.source, tier.name),
        "type": "Lifecycle",
        "definition": {
            "filters": { "blobTypes": ["blockBlob"], "prefixMatch": places },
            "actions": actions,
        },
    })
}
