use jiff::ToSpan;
use serde_json::{Value, json};

use super::*;
use crate::retention::Keep;

fn daily() -> Tier {
    Tier::new("daily").keep(Keep::daily(30).weekly(8).monthly(12)).rto(1.hour())
}

fn of(tier: &Tier) -> Lifecycle {
    Lifecycle::new("prod-eu".parse().unwrap()).tier(tier)
}

fn prefixes(json: &Value) -> Vec<String> {
    match json {
        Value::Object(map) => {
            let here = map.iter().filter(|(key, _)| *key == "Prefix" || *key == "prefixMatch");
            let here = here.flat_map(|(_, value)| match value {
                Value::Array(all) => all.clone(),
                one => vec![one.clone()],
            });
            let here: Vec<String> = here.filter_map(|value| value.as_str().map(str::to_owned)).collect();
            here.into_iter().chain(map.values().flat_map(prefixes)).collect()
        }
        Value::Array(all) => all.iter().flat_map(prefixes).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_rules_for_s3_are_these() {
    let rendered = of(&daily()).under("backups/").s3().unwrap();
    let expected = json!({ "Rules": [
        {
            "ID": "backstay-prod-eu-daily-classes-484579e3",
            "Status": "Enabled",
            "Filter": { "And": { "Prefix": "backups/items/prod-eu/daily/", "ObjectSizeGreaterThan": 131_072 } },
            "Transitions": [
                { "Days": 30, "StorageClass": "STANDARD_IA" },
                { "Days": 90, "StorageClass": "GLACIER" },
            ],
        },
        {
            "ID": "backstay-prod-eu-daily-ends-484579e3",
            "Status": "Enabled",
            "Filter": { "Prefix": "backups/items/prod-eu/daily/" },
            "NoncurrentVersionExpiration": { "NoncurrentDays": 30 },
            "Expiration": { "ExpiredObjectDeleteMarker": true },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 8 },
        },
    ] });
    assert_eq!(rendered.json, expected, "{rendered}");
}

#[test]
fn the_rules_for_azure_are_these() {
    let rendered = of(&daily()).under("vault/eu").azure().unwrap();
    let expected = json!({ "rules": [{
        "enabled": true,
        "name": "backstay-prod-eu-daily-items-20fb2454",
        "type": "Lifecycle",
        "definition": {
            "filters": { "blobTypes": ["blockBlob"], "prefixMatch": ["vault/eu/items/prod-eu/daily/"] },
            "actions": {
                "baseBlob": {
                    "tierToCool": { "daysAfterModificationGreaterThan": 30 },
                    "tierToArchive": {
                        "daysAfterModificationGreaterThan": 90,
                        "daysAfterLastTierChangeGreaterThan": 8,
                    },
                },
                "version": { "delete": { "daysAfterCreationGreaterThan": 395 } },
                "snapshot": { "delete": { "daysAfterCreationGreaterThan": 395 } },
            },
        },
    }] });
    assert_eq!(rendered.json, expected, "{rendered}");
    let error = of(&daily()).azure().unwrap_err();
    assert!(error.to_string().contains("container"), "{error}");
}

/// An upload that a run may still complete is not ended, and what a restore may still read is not archived again.
#[test]
fn nothing_that_a_run_may_still_need_is_taken_from_it() {
    const DAY: u64 = 24 * 3600;
    let table = [
        (Duration::ZERO, 1),
        (Duration::from_secs(DAY), 2),
        (Duration::new(DAY, 1), 3),
        (Duration::from_secs(7 * DAY), 8),
        (Duration::from_secs(20 * DAY + 1), 22),
        (Duration::MAX, 2_147_483_647),
    ];
    for (longest_run, days) in table {
        let lifecycle = of(&daily()).under("c").longest_run(longest_run);
        let ended = &lifecycle.s3().unwrap().json["Rules"][1]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"];
        assert_eq!(*ended, json!(days), "{longest_run:?}");
        let moved = &lifecycle.azure().unwrap().json["rules"][0]["definition"]["actions"]["baseBlob"];
        assert_eq!(moved["tierToArchive"]["daysAfterLastTierChangeGreaterThan"], json!(days), "{longest_run:?}");
        assert_eq!(moved["tierToCool"], json!({ "daysAfterModificationGreaterThan": 30 }), "it is never thawed");
    }
}

/// An account has one list of rules for all its containers, and a bucket one for all its vaults.
#[test]
fn no_two_places_share_a_rules_name() {
    let named = |source: &str, tier: &str, place: &str| {
        let lifecycle =
            Lifecycle::new(source.parse().unwrap()).tier(&Tier::new(tier).keep(Keep::daily(3))).under(place);
        let rules = [lifecycle.s3().unwrap().json["Rules"].clone(), lifecycle.azure().unwrap().json["rules"].clone()];
        let name = |rule: &Value| rule["ID"].as_str().or(rule["name"].as_str()).unwrap().to_owned();
        rules.iter().flat_map(|rules| rules.as_array().unwrap().iter().map(name)).collect::<Vec<_>>()
    };
    let all =
        [("prod", "eu-daily", "c"), ("prod-eu", "daily", "c"), ("prod-eu", "daily", "d"), ("prod-eu", "daily", "c/x")];
    let all: Vec<String> = all.into_iter().flat_map(|(source, tier, place)| named(source, tier, place)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:#?}");
}

/// Azure counts from when a version was written: an old item that an attacker overwrites must not lose its good content at
/// the next run of the rules.
#[test]
fn an_earlier_content_outlives_an_overwrite_of_the_oldest_item_that_is_kept() {
    let version = |tier: &Tier| {
        let rendered = of(tier).earlier_contents(7).moves([]).under("c").azure().unwrap();
        let days =
            &rendered.json["rules"][0]["definition"]["actions"]["version"]["delete"]["daysAfterCreationGreaterThan"];
        (days.as_u64(), rendered.warnings)
    };
    let (days, warnings) = version(&Tier::new("daily").keep(Keep::daily(30).weekly(52)));
    assert_eq!(days, Some(364 + 7));
    assert!(warnings.len() == 1 && warnings[0].contains("371 days"), "{warnings:?}");
    for ageless in [Keep::last(3), Keep::daily(30).at_least(2)] {
        let (days, warnings) = version(&Tier::new("daily").keep(ageless));
        assert_eq!(days, None);
        assert!(warnings.len() == 1 && warnings[0].contains("no rule ends earlier contents"), "{warnings:?}");
    }
    let own = Tier::new("daily").keep(Keep::daily(30)).keep_also(Keep::last(1));
    assert_eq!(version(&own).0, None);
    assert_eq!(of(&own).s3().unwrap().json["Rules"][1]["NoncurrentVersionExpiration"]["NoncurrentDays"], 30);
}

#[test]
fn nothing_but_items_is_touched_and_nothing_current_expires() {
    let lifecycle = of(&daily()).tier(&Tier::new("hourly").keep(Keep::hourly(24))).under("c");
    for rendered in [lifecycle.s3().unwrap(), lifecycle.azure().unwrap()] {
        let places = prefixes(&rendered.json);
        assert!(places.len() >= 2 && places.iter().all(|place| place.starts_with("c/items/prod-eu/")), "{places:?}");
        let text = rendered.to_string();
        let expires = rendered.json["Rules"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|rule| rule["Expiration"].as_object().is_some_and(|expiration| expiration.contains_key("Days")));
        assert!(!expires && !text.contains("\"baseBlob\": {\n          \"delete\""), "{text}");
        assert!(!rendered.warnings.iter().any(|warning| warning.contains("RISK")));
    }
}

#[test]
fn expiry_without_guards_tells_its_risk_first() {
    let lifecycle = of(&daily()).under("c").expire_without_guards(400);
    for rendered in [lifecycle.s3().unwrap(), lifecycle.azure().unwrap()] {
        assert!(rendered.warnings[0].starts_with("RISK: ") && rendered.warnings[0].contains("400 days"));
        let places = prefixes(&rendered.json);
        assert!(places.contains(&"c/points/prod-eu/daily/".to_owned()), "{places:?}");
        assert!(!places.iter().any(|place| place.contains("/keys/") || place.contains("/retired/")), "{places:?}");
    }
}

#[test]
fn a_class_that_costs_more_than_it_saves_or_breaks_an_objective_is_told() {
    let warnings = of(&daily()).s3().unwrap().warnings;
    // Eight weeks are 56 days: 26 after the move, of 30 that are billed.
    assert!(warnings.iter().any(|text| text.contains("weekly 8") && text.contains("STANDARD_IA")), "{warnings:#?}");
    assert!(warnings.iter().any(|text| text.contains("GLACIER") && text.contains("objective is 1h")), "{warnings:#?}");
    let monthly = Tier::new("monthly").keep(Keep::monthly(120)).rto(2.days());
    assert_eq!(of(&monthly).s3().unwrap().warnings, Vec::<String>::new());
    let azure = of(&monthly).under("c").azure().unwrap().warnings;
    assert!(azure.len() == 2 && azure[1].contains("small objects"), "{azure:#?}");
}

#[test]
fn what_the_platform_would_refuse_is_refused_with_every_mistake() {
    use StorageClass::{Archive, DeepArchive, Infrequent};
    let error = of(&daily()).moves([(Infrequent, 7), (Archive, 10), (DeepArchive, 400)]).s3().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("STANDARD_IA at 7 days") && text.contains("GLACIER at 10 days"), "{text}");
    assert!(!text.contains("DEEP_ARCHIVE"), "{text}");
    let twice = of(&daily()).moves([(Archive, 90), (Infrequent, 200)]).s3().unwrap_err();
    assert!(twice.to_string().contains("as cold"), "{twice}");
    for class in [Infrequent, Archive] {
        let same = of(&daily()).under("c").moves([(class, 60), (class, 120)]);
        for error in [same.s3().unwrap_err(), same.azure().unwrap_err()] {
            assert!(error.to_string().contains("twice, at 60 and at 120 days: leave one out"), "{error}");
        }
    }
    let archives = of(&daily()).under("c").moves([(Archive, 90), (DeepArchive, 180)]);
    let one_class = archives.azure().unwrap_err().to_string();
    assert!(one_class.contains("items move to Archive twice, at 90 and at 180 days"), "{one_class}");
    assert!(archives.s3().is_ok(), "there they are two");
    let none = Lifecycle::new("prod-eu".parse().unwrap()).earlier_contents(0).s3().unwrap_err().to_string();
    assert!(none.contains("no tier") && none.contains("no days"), "{none}");
    for place in ["/c", "c//d", "c/../d"] {
        let nowhere = of(&daily()).under(place).s3().unwrap_err().to_string();
        assert!(nowhere.contains(&format!("no vault lies under {place:?}")), "{nowhere}");
    }
    let twice = of(&daily()).tier(&daily()).azure().unwrap_err().to_string();
    assert!(twice.contains("the tier daily is there twice"), "{twice}");
    let at_once = of(&daily()).under("c").expire_without_guards(0);
    for error in [at_once.s3().unwrap_err(), at_once.azure().unwrap_err()] {
        assert!(error.to_string().contains("no days"), "{error}");
    }
    assert!(of(&daily()).moves([(Archive, 90), (Infrequent, 30)]).s3().is_ok(), "in whatever order they are named");
    assert_eq!(of(&daily()).moves([]).s3().unwrap().json["Rules"].as_array().map(Vec::len), Some(1));
    let unmoved = of(&daily()).under("c").moves([]).azure().unwrap();
    assert!(!unmoved.to_string().contains("baseBlob"), "{unmoved}");
    assert!(!unmoved.warnings.iter().any(|warning| warning.contains("small objects")), "{:?}", unmoved.warnings);
}
