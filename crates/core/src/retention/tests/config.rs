//! Rules and tiers as configuration.

use jiff::ToSpan;

use crate::Tier;
use crate::retention::{Keep, KeepRules, RetentionPolicy};

#[test]
fn rules_are_the_same_from_toml_json_and_code() {
    let rules = Keep::last(1).hourly(2).daily(3).weekly(4).monthly(5).yearly(6).within(7.days()).at_least(8);
    let toml = toml::to_string(&rules).unwrap();
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(json, r#"{"last":1,"hourly":2,"daily":3,"weekly":4,"monthly":5,"yearly":6,"within":"7d","at_least":8}"#);
    let [from_toml, from_json]: [KeepRules; 2] = [toml::from_str(&toml).unwrap(), serde_json::from_str(&json).unwrap()];
    assert_eq!(format!("{from_toml:?}"), format!("{rules:?}"));
    assert_eq!(format!("{from_json:?}"), format!("{rules:?}"));
    assert_eq!(serde_json::to_string(&Keep::daily(30)).unwrap(), r#"{"daily":30}"#);
}

#[test]
fn a_tier_is_the_same_from_toml_json_and_code() {
    let tier = Tier::new("daily")
        .covers(["orders-db", "files"])
        .keep(Keep::daily(30).weekly(8).within(14.days()))
        .rpo(1.hour())
        .rto(90.minutes())
        .time_zone("Europe/Berlin");
    let written = r#"
        name = "daily"
        covers = ["orders-db", "files"]
        keep = { daily = 30, weekly = 8, within = "14d" }
        rpo = "1h"
        rto = "90m"
        time_zone = "Europe/Berlin"
    "#;
    let json = serde_json::to_string(&tier).unwrap();
    let tiers: [Tier; 3] = [
        toml::from_str(written).unwrap(),
        toml::from_str(&toml::to_string(&tier).unwrap()).unwrap(),
        serde_json::from_str(&json).unwrap(),
    ];
    for same in tiers {
        assert_eq!(format!("{same:?}"), format!("{tier:?}"));
        assert!(same.problems().is_empty());
    }
}

#[test]
fn errors_in_configuration_name_the_field_and_what_it_accepts() {
    let table = [
        (r#"{ "name": "t", "keep": { "dayly": 3 } }"#, ["`keep`", "`dayly`", "`daily`"]),
        (r#"{ "name": "t", "keep": { "daily": "many" } }"#, ["`keep`", "`daily`", "a number of days"]),
        (r#"{ "name": "t", "keep": { "daily": -1 } }"#, ["`keep`", "`daily`", "-1"]),
        (r#"{ "name": "t", "keep": { "within": "14 moons" } }"#, ["`keep`", "`within`", "\"14d\""]),
        (r#"{ "name": "t", "rpo": 7 }"#, ["`rpo`", "\"1h\"", "7"]),
        (r#"{ "name": "t", "time_zone": 7 }"#, ["`time_zone`", "\"Europe/Berlin\"", "7"]),
        (r#"{ "name": "t", "covers": "db" }"#, ["`covers`", "a list of components", "db"]),
        (r#"{ "name": "t", "every": "1h" }"#, ["`every`", "`covers`", "`keep`"]),
        (r#"{ "covers": [] }"#, ["missing", "field", "`name`"]),
    ];
    for (json, words) in table {
        let from_json = serde_json::from_str::<Tier>(json).unwrap_err().to_string();
        let value: toml::Table = serde_json::from_str(json).unwrap();
        let from_toml = toml::from_str::<Tier>(&value.to_string()).unwrap_err().to_string();
        for error in [from_json, from_toml] {
            for word in words {
                assert!(error.contains(word), "{word} is not in: {error}");
            }
        }
    }
}

#[test]
fn every_problem_of_a_tier_is_told_at_once() {
    let fields = |tier: &Tier| -> Vec<String> {
        let problems = tier.problems();
        assert!(problems.iter().all(|problem| problem.context("tier") == Some(&tier.name)));
        problems.iter().map(|problem| problem.context("field").unwrap().to_owned()).collect()
    };
    let tier = Tier::new("Daily!").covers(["ok", ""]).rpo(0.hours()).rto(-1.hour()).time_zone("Mars/Olympus");
    assert_eq!(fields(&tier), ["name", "covers", "keep", "rpo", "rto", "time_zone"]);
    let tier = Tier::new("daily").keep(Keep::daily(3).at_least(0).within(0.days()));
    assert_eq!(fields(&tier), ["keep.at_least", "keep.within"]);
    assert_eq!(fields(&Tier::new("daily").keep(Keep::daily(0))), ["keep"]);
    assert_eq!(fields(&Tier::new("daily").keep_also(Keep::daily(3))), [""; 0]);
}

#[test]
fn a_tier_without_names_covers_everything() {
    let name = "files".parse().unwrap();
    assert!(Tier::new("t").covers_component(&name));
    assert!(Tier::new("t").covers(["files", "db"]).covers_component(&name));
    assert!(!Tier::new("t").covers(["db"]).covers_component(&name));
}

#[test]
fn a_tier_adds_its_rules_and_its_own_policies_up() {
    let points = super::berlin(&["2026-11-18T06:00", "2026-11-19T06:00", "2026-11-20T06:00"]);
    let now = super::now("2026-11-20T12:00");
    let kept = |tier: &Tier| super::kept(&tier.policy(), &points, &now).len();
    assert_eq!(kept(&Tier::new("t").keep(Keep::last(1))), 1);
    assert_eq!(kept(&Tier::new("t").keep(Keep::last(1)).keep_also(Keep::daily(2))), 2);
    assert_eq!(kept(&Tier::new("t").keep_also(Keep::daily(2))), 2);
    assert!(Tier::new("t").policy().propose(&points, &now).is_empty());
}
