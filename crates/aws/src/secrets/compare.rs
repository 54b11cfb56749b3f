//! Compares a secret of a backup with what is there.

use std::collections::BTreeMap;

use backstay_core::{Blake3, ErrorKind, Result};
use jiff::Timestamp;

use super::document::{Replica, Rotation, own_tags};
use super::read::Found;
use super::restore::SecretsRestore;
use super::wanted::{UNFINISHED, Wanted};

/// What is to be done about a secret.
pub(super) enum Verdict {
    /// There is none of the name, or one whose making was interrupted.
    Create(Option<Box<Difference>>),
    /// It is deleted and can be brought back, as it was in the backup.
    Undelete(Timestamp, Box<Found>),
    Unchanged,
    /// It is there and differs.
    Differs(String, Box<Difference>),
    Impossible(String),
}

/// How what is there differs.
pub(super) struct Difference {
    pub(super) found: Found,
    pub(super) policy: Option<String>,
    /// For each version of the backup that is there, by which id.
    pub(super) there: BTreeMap<String, String>,
    /// In words.
    pub(super) what: Vec<String>,
}

impl SecretsRestore {
    pub(super) async fn verdict(&self, wanted: &Wanted) -> Result<Verdict> {
        if let Some(why) = &wanted.impossible {
            return Ok(Verdict::Impossible(why.clone()));
        }
        let Some(found) = self.manager.find(&wanted.name).await? else {
            return Ok(Verdict::Create(None));
        };
        if let Some(owner) = &found.owner {
            return Ok(Verdict::Impossible(format!("the secret there belongs to the service {owner}")));
        }
        if let Some(until) = found.deleted {
            return Ok(deleted(wanted, found, until));
        }
        if let Some(region) = found.copy_of.clone() {
            let (_, differ) = self.values(wanted, &found).await?;
            return Ok(match differ.is_empty() {
                true => Verdict::Unchanged,
                false => Verdict::Impossible(format!(
                    "a replica of the secret in {region} is there: restore it in that region, or promote the replica"
                )),
            });
        }
        let difference = self.difference(wanted, found).await?;
        if difference.found.tags.contains_key(UNFINISHED) && is_ours(wanted, &difference) {
            return Ok(Verdict::Create(Some(Box::new(difference))));
        }
        if difference.what.is_empty() {
            return Ok(Verdict::Unchanged);
        }
        let state = state(&difference.found, difference.policy.as_deref());
        let why = format!("it differs in {} (state {state})", difference.what.join(", "));
        Ok(Verdict::Differs(why, Box::new(difference)))
    }

    /// How a secret that is not deleted differs.
    pub(super) async fn difference(&self, wanted: &Wanted, found: Found) -> Result<Difference> {
        let policy = self.manager.policy(&found.arn).await?;
        let (there, mut what) = self.values(wanted, &found).await?;
        what.extend(attributes(wanted, &found).into_iter().map(str::to_owned));
        if !is_same_json(wanted.policy.as_deref(), policy.as_deref()) {
            what.push("policy".to_owned());
        }
        Ok(Difference { found, policy, there, what })
    }

    /// Which versions are there, and the stages that have another value.
    async fn values(&self, wanted: &Wanted, found: &Found) -> Result<(BTreeMap<String, String>, Vec<String>)> {
        let (mut there, mut differ) = (BTreeMap::new(), Vec::new());
        for version in &wanted.versions {
            // The same version, or another one with the same value in its place.
            let own = found.versions.contains_key(&version.id).then_some(version.id.as_str());
            let place = version.stages.first().and_then(|stage| found.holder(stage));
            for id in [own, place].into_iter().flatten() {
                let value = match self.manager.value(&found.arn, id).await {
                    Ok((value, _)) => value,
                    // One that a rotation has begun, for instance.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                if value.is_same(&version.value) {
                    there.insert(version.id.clone(), id.to_owned());
                    break;
                }
            }
            let id = there.get(&version.id).map(String::as_str);
            for stage in &version.stages {
                let holder = found.holder(stage);
                if id.is_none() || holder != id {
                    let now = holder.map_or_else(|| "none".to_owned(), |holder| format!("version {holder}"));
                    differ.push(format!("the value at {stage} (there: {now})"));
                }
            }
        }
        Ok((there, differ))
    }
}

/// The same versions at the same stages: their values cannot have changed, which nobody can read while it is deleted.
fn deleted(wanted: &Wanted, found: Found, until: Timestamp) -> Verdict {
    let mut what: Vec<String> = attributes(wanted, &found).into_iter().map(str::to_owned).collect();
    for version in &wanted.versions {
        let differ = version.stages.iter().filter(|stage| found.holder(stage) != Some(version.id.as_str()));
        what.extend(differ.map(|stage| format!("the version at {stage}")));
    }
    if what.is_empty() {
        return Verdict::Undelete(until, Box::new(found));
    }
    let state = state(&found, None);
    let why =
        format!("it is deleted, can be brought back until {until}, and differs in {} (state {state})", what.join(", "));
    Verdict::Differs(why, Box::new(Difference { found, policy: None, there: BTreeMap::new(), what }))
}

fn attributes(wanted: &Wanted, found: &Found) -> Vec<&'static str> {
    let mut tags = own_tags(&found.tags);
    tags.remove(UNFINISHED);
    [
        (wanted.description == found.description, "its description"),
        (wanted.kms_key == found.kms_key, "its key"),
        (wanted.tags == tags, "its tags"),
        (missing(wanted, found).is_empty(), "its replicas"),
        (rotates(wanted, found), "its rotation"),
    ]
    .into_iter()
    .filter_map(|(same, what)| (!same).then_some(what))
    .collect()
}

/// Whether it is rotated as it was, if it was.
pub(super) fn rotates(wanted: &Wanted, found: &Found) -> bool {
    let rules = |r: &Rotation| (r.enabled, r.function.clone(), r.after_days, r.schedule.clone(), r.window.clone());
    wanted.rotation.as_ref().is_none_or(|wanted| found.rotation.as_ref().map(rules) == Some(rules(wanted)))
}

/// The replicas that are not there. Others that are there stay.
pub(super) fn missing(wanted: &Wanted, found: &Found) -> Vec<Replica> {
    let is_there = |replica: &Replica| found.replicas.iter().any(|there| there.replica.region == replica.region);
    wanted.replicas.iter().filter(|replica| !is_there(replica)).cloned().collect()
}

/// Whether the unfinished secret there is this one, and nobody has put a value of another one into it.
fn is_ours(wanted: &Wanted, difference: &Difference) -> bool {
    let ids = || difference.there.values();
    difference.found.tags.get(UNFINISHED) == Some(&wanted.mark)
        && difference.found.versions.keys().all(|id| ids().any(|own| own == id))
}

/// Tells one state of what is there from another. The ids of versions stand for their values.
fn state(found: &Found, policy: Option<&str>) -> String {
    let mut versions = found.versions.clone();
    versions.values_mut().for_each(|stages| stages.sort());
    let Found { arn, description, kms_key, tags, deleted, .. } = found;
    let seen = format!("{arn} {description:?} {kms_key:?} {tags:?} {deleted:?} {versions:?} {policy:?}");
    Blake3::of(seen.as_bytes()).to_string().chars().take(12).collect()
}

pub(super) fn is_same_json(a: Option<&str>, b: Option<&str>) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match (a, b) {
        (Some(a), Some(b)) => a == b || parse(a).is_some_and(|a| Some(a) == parse(b)),
        (a, b) => a == b,
    }
}
