//! Makes a secret as it is to be, or brings one that is there to that state.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::types::{ReplicaRegionType, RotationRulesType, Tag};
use backstay_core::{Blake3, Error, ErrorKind, Result};

use super::compare::{Difference, is_same_json, missing, rotates};
use super::document::{CURRENT, PREVIOUS, Replica, Version, own_tags};
use super::open::SecretsManager;
use super::read::Found;
use super::wanted::{UNFINISHED, Wanted};
use crate::error::{Call, Carries, Told};

/// Tags that a secret may have: <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>.
const TAGS: usize = 50;

macro_rules! call {
    ($api:literal) => {
        Call { name: "restore secret", api: $api, right: concat!("secretsmanager:", $api) }
    };
}

const CREATE: Call = call!("CreateSecret");
const RESTORE: Call = call!("RestoreSecret");
const PUT: Call = call!("PutSecretValue");
const STAGE: Call = call!("UpdateSecretVersionStage");
const UPDATE: Call = call!("UpdateSecret");
const TAG: Call = call!("TagResource");
const UNTAG: Call = call!("UntagResource");
const PUT_POLICY: Call = call!("PutResourcePolicy");
const DELETE_POLICY: Call = call!("DeleteResourcePolicy");
const REPLICATE: Call = call!("ReplicateSecretToRegions");
const ROTATE: Call = call!("RotateSecret");

impl SecretsManager {
    /// Makes it. Until it is whole it bears a mark, by which a later run knows it for its own.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if somebody was faster.
    pub(super) async fn create(&self, wanted: &Wanted) -> Result<()> {
        let tags: BTreeMap<String, String> = wanted.tags.clone().into_iter().take(TAGS - 1).collect();
        let mut marked = tags.clone();
        marked.insert(UNFINISHED.to_owned(), wanted.mark.clone());
        let first = wanted.versions.first();
        let (text, bytes) = first.map(|version| version.value.parts()).unwrap_or_default();
        // The id of the version is the token: an answer that was lost makes no second one.
        let token = first.map_or_else(|| wanted.mark.clone(), |version| version.id.clone());
        let replicas = wanted.replicas.iter().map(replica).collect::<Vec<_>>();
        let call = self.client().create_secret().name(&wanted.name).client_request_token(token);
        let call = call.set_secret_string(text).set_secret_binary(bytes).set_kms_key_id(wanted.kms_key.clone());
        let call = call.set_tags(Some(list(&marked))).force_overwrite_replica_secret(false);
        let call = call.set_description(Some(wanted.description.clone()).filter(|text| !text.is_empty()));
        let call = call.set_add_replica_regions((!replicas.is_empty()).then_some(replicas));
        let told = call.send().await.map_err(|e| self.error(Told::of(e), CREATE, &wanted.name, Carries::Value))?;
        let found = Found {
            name: wanted.name.clone(),
            arn: told.arn.unwrap_or_else(|| wanted.name.clone()),
            description: wanted.description.clone(),
            kms_key: wanted.kms_key.clone(),
            tags: marked,
            replicas: wanted.replicas.iter().map(|replica| super::read::Replicated::begun(replica.clone())).collect(),
            versions: first.map(|first| (first.id.clone(), vec![CURRENT.to_owned()])).into_iter().collect(),
            ..Found::default()
        };
        let there = first.map(|first| (first.id.clone(), first.id.clone())).into_iter().collect();
        self.bring(wanted, Difference { found, policy: None, there, what: Vec::new() }).await
    }

    /// Ends a deletion.
    pub(super) async fn undelete(&self, found: &Found) -> Result<()> {
        let told = self.client().restore_secret().secret_id(&found.arn).send().await;
        told.map_err(|error| self.error(Told::of(error), RESTORE, &found.name, Carries::Nothing))?;
        Ok(())
    }

    /// Brings what is there to the state of the backup. Versions that are there stay, without their stages.
    pub(super) async fn bring(&self, wanted: &Wanted, from: Difference) -> Result<()> {
        let Difference { found, policy, there, .. } = from;
        let id = found.arn.as_str();
        let fail = |call: Call| move |told: Told| self.error(told, call, &wanted.name, Carries::Nothing);
        // First of all: the key, which encrypts what is put from then on.
        if (&wanted.description, &wanted.kms_key) != (&found.description, &found.kms_key) {
            let key = wanted
                .kms_key
                .clone()
                .or_else(|| found.kms_key.as_ref().map(|_| "alias/aws/secretsmanager".to_owned()));
            let call = self.client().update_secret().secret_id(id).description(&wanted.description).set_kms_key_id(key);
            call.send().await.map_err(Told::of).map_err(fail(UPDATE))?;
        }
        self.versions(wanted, id, there, &found).await?;
        if !is_same_json(wanted.policy.as_deref(), policy.as_deref()) {
            match &wanted.policy {
                Some(policy) => {
                    let call = self.client().put_resource_policy().secret_id(id).resource_policy(policy);
                    call.block_public_policy(true)
                        .send()
                        .await
                        .map_err(Told::of)
                        .map_err(fail(PUT_POLICY))
                        .map(drop)?;
                }
                None => {
                    let call = self.client().delete_resource_policy().secret_id(id);
                    call.send().await.map_err(Told::of).map_err(fail(DELETE_POLICY)).map(drop)?;
                }
            }
        }
        let missing: Vec<ReplicaRegionType> = missing(wanted, &found).iter().map(replica).collect();
        if !missing.is_empty() {
            let call = self.client().replicate_secret_to_regions().secret_id(id).set_add_replica_regions(Some(missing));
            let call = call.force_overwrite_replica_secret(false);
            call.send().await.map_err(Told::of).map_err(fail(REPLICATE))?;
        }
        if let Some(rotation) = &wanted.rotation
            && !rotates(wanted, &found)
        {
            let rules = RotationRulesType::builder().set_schedule_expression(rotation.schedule.clone());
            let days = rotation.after_days.filter(|_| rotation.schedule.is_none());
            let rules = rules.set_automatically_after_days(days).set_duration(rotation.window.clone()).build();
            let call = self.client().rotate_secret().secret_id(id).rotation_rules(rules).rotate_immediately(false);
            let call = call.set_rotation_lambda_arn(rotation.function.clone());
            call.send().await.map_err(Told::of).map_err(fail(ROTATE))?;
        }
        // Last: the mark goes when all else is done.
        let have = own_tags(&found.tags);
        let gone: Vec<String> = have.keys().filter(|name| !wanted.tags.contains_key(*name)).cloned().collect();
        if !gone.is_empty() {
            let call = self.client().untag_resource().secret_id(id).set_tag_keys(Some(gone));
            call.send().await.map_err(Told::of).map_err(fail(UNTAG))?;
        }
        let new: BTreeMap<_, _> = wanted.tags.clone().into_iter().filter(|(n, v)| have.get(n) != Some(v)).collect();
        if !new.is_empty() {
            let call = self.client().tag_resource().secret_id(id).set_tags(Some(list(&new)));
            call.send().await.map_err(Told::of).map_err(fail(TAG))?;
        }
        Ok(())
    }

    /// Puts the versions that are missing, in their order, and moves the stages to where they were.
    async fn versions(
        &self,
        wanted: &Wanted,
        id: &str,
        mut there: BTreeMap<String, String>,
        found: &Found,
    ) -> Result<()> {
        let mut holders: BTreeMap<String, String> = BTreeMap::new();
        for (version, stages) in &found.versions {
            holders.extend(stages.iter().map(|stage| (stage.clone(), version.clone())));
        }
        for version in wanted.versions.iter().filter(|version| !there.contains_key(&version.id)).collect::<Vec<_>>() {
            let (put, stages) = self.put(wanted, id, version).await?;
            if stages.iter().any(|stage| stage == CURRENT)
                && let Some(before) = holders.get(CURRENT).filter(|before| **before != put)
            {
                holders.insert(PREVIOUS.to_owned(), before.clone());
            }
            holders.extend(stages.into_iter().map(|stage| (stage, put.clone())));
            there.insert(version.id.clone(), put);
        }
        // The current one first: the previous one moves with it.
        for version in wanted.versions.iter().rev() {
            let Some(to) = there.get(&version.id) else { continue };
            for stage in version.stages.iter().filter(|stage| !(version.has(CURRENT) && *stage == PREVIOUS)) {
                let from = holders.get(stage).cloned();
                if from.as_ref() == Some(to) {
                    continue;
                }
                let call = self.client().update_secret_version_stage().secret_id(id).version_stage(stage);
                let call = call.move_to_version_id(to).set_remove_from_version_id(from.clone());
                call.send().await.map_err(|e| self.error(Told::of(e), STAGE, &wanted.name, Carries::Nothing))?;
                if stage == CURRENT
                    && let Some(from) = from
                {
                    holders.insert(PREVIOUS.to_owned(), from);
                }
                holders.insert(stage.clone(), to.clone());
            }
        }
        Ok(())
    }

    /// Puts a version. Returns its id and the stages that it has then.
    async fn put(&self, wanted: &Wanted, id: &str, version: &Version) -> Result<(String, Vec<String>)> {
        let stages = if version.has(CURRENT) { vec![CURRENT.to_owned()] } else { version.stages.clone() };
        let mut token = version.id.clone();
        loop {
            let (text, bytes) = version.value.parts();
            let call = self.client().put_secret_value().secret_id(id).client_request_token(&token);
            let call = call.set_secret_string(text).set_secret_binary(bytes).set_version_stages(Some(stages.clone()));
            match call.send().await.map_err(Told::of) {
                Ok(told) => return Ok((told.version_id.unwrap_or(token), told.version_stages.unwrap_or_default())),
                // Another value has this id: one that follows from it, so that trying again makes no third.
                Err(told) if told.secret_kind() == ErrorKind::AlreadyExists && token == version.id => {
                    token = Blake3::of(format!("backstay {}", version.id).as_bytes()).to_string();
                }
                Err(told) => return Err(self.error(told, PUT, &wanted.name, Carries::Value)),
            }
        }
    }
}

fn list(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(name, value)| Tag::builder().key(name).value(value).build()).collect()
}

pub(super) fn replica(replica: &Replica) -> ReplicaRegionType {
    ReplicaRegionType::builder().region(&replica.region).set_kms_key_id(replica.kms_key.clone()).build()
}

/// Whether the error is one secret's: then the others go on. What was tried in vain is not tried for each of them.
pub(super) fn is_of_one(error: &Error) -> bool {
    let kind = error.kind();
    !kind.is_transient() && !matches!(kind, ErrorKind::Cancelled | ErrorKind::Corrupt)
}
