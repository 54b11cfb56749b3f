//! What Secrets Manager tells of a secret.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, ReplicationStatusType, RotationRulesType, Tag};
use aws_smithy_types::DateTime;
use backstay_core::{Error, ErrorKind, Result, Secret};
use jiff::Timestamp;

use super::choice::SecretChoice;
use super::document::{CURRENT, PENDING, Replica, Rotation, Value};
use super::open::SecretsManager;
use crate::error::{Call, Carries, Told};

/// Secrets on a page of the listing; the most that there can be.
const PAGE: i32 = 100;

const LIST: Call = Call { name: "list secrets", api: "ListSecrets", right: "secretsmanager:ListSecrets" };
const DESCRIBE: Call = Call { name: "read secret", api: "DescribeSecret", right: "secretsmanager:DescribeSecret" };
const VALUE: Call = Call { name: "read secret", api: "GetSecretValue", right: "secretsmanager:GetSecretValue" };
const POLICY: Call = Call { name: "read secret", api: "GetResourcePolicy", right: "secretsmanager:GetResourcePolicy" };

/// A secret without its values and its policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) description: String,
    pub(super) kms_key: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) rotation: Option<Rotation>,
    pub(super) replicas: Vec<Replicated>,
    /// The service that keeps it for its own use, if one does.
    pub(super) owner: Option<String>,
    /// The region of the secret that this is a copy of, if it is one.
    pub(super) copy_of: Option<String>,
    pub(super) created: Option<Timestamp>,
    /// Until when it can be brought back, if it is deleted.
    pub(super) deleted: Option<Timestamp>,
    /// The stages of each version that has any.
    pub(super) versions: BTreeMap<String, Vec<String>>,
}

/// A replica as its primary sees it.
#[derive(Clone, Debug)]
pub(super) struct Replicated {
    pub(super) replica: Replica,
    pub(super) status: String,
    pub(super) message: String,
}

/// A page of the listing.
pub(super) struct Page {
    pub(super) found: Vec<Found>,
    pub(super) next: Option<String>,
}

impl SecretsManager {
    pub(super) fn error(&self, told: Told, call: Call, secret: &str, carries: Carries) -> Error {
        told.secret_error(call, self.region(), secret, carries)
    }

    /// A page of what the choice may take; it still has to look at each.
    pub(super) async fn page(&self, choice: &SecretChoice, next: Option<String>) -> Result<Page> {
        let filter = |key, values: Vec<String>| {
            let usable = !values.is_empty() && values.len() <= 10 && values.iter().all(|value| !value.starts_with('!'));
            usable.then(|| Filter::builder().key(key).set_values(Some(values)).build())
        };
        let filters = [
            filter(FilterNameStringType::Name, choice.prefixes.clone()),
            filter(FilterNameStringType::TagKey, choice.tags.keys().take(1).cloned().collect()),
        ];
        let call = self.client().list_secrets().max_results(PAGE).set_next_token(next);
        let call = call.set_filters(Some(filters.into_iter().flatten().collect()));
        let page = call.send().await.map_err(|e| self.error(Told::of(e), LIST, "", Carries::Nothing))?;
        let found = page.secret_list.unwrap_or_default().into_iter().map(|entry| {
            let own = Found {
                name: entry.name.unwrap_or_default(),
                arn: entry.arn.unwrap_or_default(),
                tags: tags(entry.tags),
                owner: entry.owning_service,
                copy_of: entry.primary_region,
                ..Found::default()
            };
            self.seen(own)
        });
        Ok(Page { found: found.collect(), next: page.next_token.filter(|next| !next.is_empty()) })
    }

    /// The secret; none if there is none of this name or ARN.
    pub(super) async fn find(&self, id: &str) -> Result<Option<Found>> {
        match self.client().describe_secret().secret_id(id).send().await.map_err(Told::of) {
            Ok(told) => Ok(Some(self.seen(found(told)))),
            Err(told) if told.secret_kind() == ErrorKind::NotFound => Ok(None),
            Err(told) => Err(self.error(told, DESCRIBE, id, Carries::Nothing)),
        }
    }

    /// As [`find`](Self::find), where it is an error if there is none.
    pub(super) async fn describe(&self, id: &str) -> Result<Found> {
        self.find(id).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such secret")
                .operation(DESCRIBE.name)
                .with("region", self.region())
                .with("secret", id)
        })
    }

    /// The value of a version, and when that was made.
    pub(super) async fn value(&self, id: &str, version: &str) -> Result<(Value, Option<Timestamp>)> {
        let told = self.client().get_secret_value().secret_id(id).version_id(version).send().await;
        let told = told.map_err(|e| self.error(Told::of(e), VALUE, id, Carries::Value).with("version", version))?;
        let created = told.created_date.as_ref().and_then(moment);
        let value = match (told.secret_string, told.secret_binary) {
            (Some(text), _) => Value::String(Secret::new(text)),
            (None, Some(bytes)) => Value::binary(Secret::new(bytes.into_inner()).expose()),
            (None, None) => {
                return Err(Error::new(ErrorKind::NotFound, "the version has no value")
                    .operation(VALUE.name)
                    .with("region", self.region())
                    .with("secret", id)
                    .with("version", version));
            }
        };
        Ok((value, created))
    }

    pub(super) async fn policy(&self, id: &str) -> Result<Option<String>> {
        let told = self.client().get_resource_policy().secret_id(id).send().await;
        let told = told.map_err(|error| self.error(Told::of(error), POLICY, id, Carries::Nothing))?;
        Ok(told.resource_policy.filter(|policy| !policy.is_empty()))
    }

    /// A primary names its own region.
    fn seen(&self, mut found: Found) -> Found {
        found.copy_of = found.copy_of.filter(|region| region != self.region());
        found
    }
}

impl Found {
    /// The version that has the stage.
    pub(super) fn holder(&self, stage: &str) -> Option<&str> {
        let has = |stages: &[String]| stages.iter().any(|have| have == stage);
        self.versions.iter().find(|(_, stages)| has(stages)).map(|(id, _)| id.as_str())
    }

    /// The version that a rotation has begun and not made current.
    pub(super) fn pending(&self) -> Option<&str> {
        self.holder(PENDING).filter(|id| self.holder(CURRENT) != Some(id))
    }
}

pub(super) fn moment(time: &DateTime) -> Option<Timestamp> {
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanos).ok()
}

fn tags(tags: Option<Vec<Tag>>) -> BTreeMap<String, String> {
    let pair = |tag: Tag| Some((tag.key?, tag.value.unwrap_or_default()));
    tags.unwrap_or_default().into_iter().filter_map(pair).collect()
}

fn found(told: DescribeSecretOutput) -> Found {
    let rules = told.rotation_rules.unwrap_or_else(|| RotationRulesType::builder().build());
    let function = told.rotation_lambda_arn.filter(|arn| !arn.is_empty());
    let enabled = told.rotation_enabled.unwrap_or(false);
    let rotation = (enabled || function.is_some()).then(|| Rotation {
        enabled,
        function,
        after_days: rules.automatically_after_days,
        schedule: rules.schedule_expression,
        window: rules.duration,
        last: told.last_rotated_date.as_ref().and_then(moment),
        next: told.next_rotation_date.as_ref().and_then(moment),
    });
    let replicated = |status: ReplicationStatusType| {
        let replica = Replica { region: status.region?, kms_key: own_key(status.kms_key_id) };
        let name = status.status.map(|status| status.as_str().to_owned()).unwrap_or_default();
        Some(Replicated { replica, status: name, message: status.status_message.unwrap_or_default() })
    };
    Found {
        name: told.name.unwrap_or_default(),
        arn: told.arn.unwrap_or_default(),
        description: told.description.unwrap_or_default(),
        kms_key: own_key(told.kms_key_id),
        tags: tags(told.tags),
        rotation,
        replicas: told.replication_status.unwrap_or_default().into_iter().filter_map(replicated).collect(),
        owner: told.owning_service,
        copy_of: told.primary_region,
        created: told.created_date.as_ref().and_then(moment),
        deleted: told.deleted_date.as_ref().and_then(moment),
        versions: told.version_ids_to_stages.unwrap_or_default().into_iter().filter(|(_, s)| !s.is_empty()).collect(),
    }
}

/// None for the account's own key for secrets, which has the same name in each region.
fn own_key(key: Option<String>) -> Option<String> {
    key.filter(|key| !key.is_empty() && !key.ends_with("alias/aws/secretsmanager"))
}

impl Replicated {
    /// One that was asked for just now.
    pub(super) fn begun(replica: Replica) -> Self {
        Self { replica, status: "InProgress".to_owned(), message: String::new() }
    }
}
