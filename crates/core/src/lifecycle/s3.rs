//! Rules for a bucket of S3.

use serde_json::{Value, json};

use super::class::{ClassFacts, Platform};
use super::{Lifecycle, OF_TIERS, TierFacts};

/// Smaller objects are billed as if they had this size in the infrequent classes, and carry 40 KiB of names in the archives.
const SMALLEST_MOVED: u64 = 128 << 10;

pub(super) const PLATFORM: Platform = Platform {
    infrequent: class("STANDARD_IA", 30, 30, None),
    instant_archive: class("GLACIER_IR", 1, 90, None),
    archive: class("GLACIER", 1, 90, Some(5)),
    deep_archive: class("DEEP_ARCHIVE", 1, 180, Some(12)),
    filters_by_size: true,
    counts_from_replacement: true,
};

const fn class(name: &'static str, earliest_days: u32, billed_days: u32, thaw_hours: Option<i64>) -> ClassFacts {
    // A rule that moves an object twice leaves it 30 days in the first class.
    ClassFacts { name, earliest_days, days_after_warmer: 30, billed_days, thaw_hours }
}

pub(super) fn render(lifecycle: &Lifecycle) -> Value {
    let rules: Vec<Value> = lifecycle.tiers.iter().flat_map(|tier| of_tier(lifecycle, tier)).collect();
    json!({ "Rules": rules })
}

fn of_tier(lifecycle: &Lifecycle, tier: &TierFacts) -> Vec<Value> {
    let items = lifecycle.items(tier);
    let name = |what: &str| lifecycle.rule_name(tier, what);
    let mut rules = Vec::new();
    if !lifecycle.moves.is_empty() {
        let moves = lifecycle.moves.iter();
        let moves = moves.map(|(class, days)| json!({ "Days": days, "StorageClass": PLATFORM.facts(*class).name }));
        rules.push(json!({
            "ID": name("classes"),
            "Status": "Enabled",
            "Filter": { "And": { "Prefix": items, "ObjectSizeGreaterThan": SMALLEST_MOVED } },
            "Transitions": moves.collect::<Vec<_>>(),
        }));
    }
    // A rule that ends uploads cannot choose by size.
    rules.push(json!({
        "ID": name("ends"),
        "Status": "Enabled",
        "Filter": { "Prefix": items },
        "NoncurrentVersionExpiration": { "NoncurrentDays": lifecycle.earlier_days },
        "Expiration": { "ExpiredObjectDeleteMarker": true },
        "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": lifecycle.days_of_a_run() },
    }));
    let expired = lifecycle.expire_days.into_iter().flat_map(|days| {
        OF_TIERS.iter().map(move |folder| {
            json!({
                "ID": name(&format!("expire-{}", folder.trim_end_matches('/'))),
                "Status": "Enabled",
                "Filter": { "Prefix": lifecycle.place(folder, tier) },
                "Expiration": { "Days": days },
            })
        })
    });
    rules.extend(expired);
    rules
}
