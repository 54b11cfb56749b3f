//! Replicas: made, checked, promoted.

use std::fmt;

use backstay_core::source::Problem;
use backstay_core::{Error, ErrorKind, Result};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::choice::SecretChoice;
use super::document::{CURRENT, Replica};
use super::open::SecretsManager;
use super::read::Found;
use super::write::{is_of_one, replica};
use crate::error::{Call, Carries, Told};

const REPLICATE: Call = Call {
    name: "replicate secret",
    api: "ReplicateSecretToRegions",
    right: "secretsmanager:ReplicateSecretToRegions",
};
const PROMOTE: Call =
    Call { name: "promote secret", api: "StopReplicationToReplica", right: "secretsmanager:StopReplicationToReplica" };
/// Secrets that are asked for at once.
const AT_ONCE: usize = 8;

/// A region that secrets are replicated to.
#[derive(Clone, Debug)]
pub struct ReplicaRegion(Replica);

impl ReplicaRegion {
    /// Encrypted there by the account's own key for secrets.
    #[must_use]
    pub fn new(region: impl Into<String>) -> Self {
        Self(Replica { region: region.into(), kms_key: None })
    }

    /// Encrypted there by this key of that region.
    #[must_use]
    pub fn kms_key(mut self, key: impl Into<String>) -> Self {
        self.0.kms_key = Some(key.into());
        self
    }
}

/// What [`SecretsManager::replicate`] did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ReplicateReport {
    /// The secrets, each with the regions that it was not replicated to before.
    pub added: Vec<(String, Vec<String>)>,
    /// Secrets that are replicated to all of them already.
    pub unchanged: u64,
    /// What could not be done.
    pub problems: Vec<Problem>,
}

/// What [`SecretsManager::check_replicas`] found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ReplicaReport {
    /// The replicas.
    pub replicas: Vec<ReplicaState>,
    /// Secrets that were not found, or are in no region where they should be.
    pub problems: Vec<Problem>,
}

/// A replica.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[non_exhaustive]
pub struct ReplicaState {
    /// The secret.
    pub secret: String,
    /// The replica's region.
    pub region: String,
    /// What its primary says of it: `InSync`, `InProgress`, `Failed`.
    pub status: String,
    /// Its current version is the primary's.
    pub in_step: bool,
    /// Its current value can be read there, by this credential.
    pub readable: bool,
    /// What is wrong, if anything is.
    pub problem: Option<String>,
}

impl ReplicaReport {
    /// Whether there is a replica and nothing is wrong with any.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.replicas.is_empty() && self.problems.is_empty() && self.replicas.iter().all(|one| one.problem.is_none())
    }
}

impl SecretsManager {
    /// Replicates the secrets to these regions. Those that are replicated there stay as they are, and a secret of the same
    /// name in such a region is not replaced. AWS copies in the background: [`check_replicas`](Self::check_replicas) tells.
    ///
    /// # Errors
    /// If secrets cannot be listed, or the service fails in the middle: then the report of what was done is the error's
    /// [payload](Error::payload). What concerns one secret is in the report.
    pub async fn replicate(&self, choice: &SecretChoice, to: &[ReplicaRegion]) -> Result<ReplicateReport> {
        let mut report = ReplicateReport::default();
        for (name, found) in self.chosen(choice).await? {
            let added = match found {
                Ok(found) => self.replicate_one(&found, to).await,
                Err(error) => Err(error),
            };
            match added {
                Ok(regions) if regions.is_empty() => report.unchanged += 1,
                Ok(regions) => report.added.push((name, regions)),
                Err(error) if is_of_one(&error) => report.problems.push(Problem::new(name, error.with_causes())),
                Err(error) => return Err(error.with_payload(report)),
            }
        }
        Ok(report)
    }

    async fn replicate_one(&self, found: &Found, to: &[ReplicaRegion]) -> Result<Vec<String>> {
        let is_new = |region: &&ReplicaRegion| {
            region.0.region != self.region() && !found.replicas.iter().any(|r| r.replica.region == region.0.region)
        };
        let new: Vec<&ReplicaRegion> = to.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let regions = new.iter().map(|region| replica(&region.0)).collect();
        let call =
            self.client().replicate_secret_to_regions().secret_id(&found.arn).set_add_replica_regions(Some(regions));
        let told = call.force_overwrite_replica_secret(false).send().await;
        told.map_err(|error| self.error(Told::of(error), REPLICATE, &found.name, Carries::Nothing))?;
        Ok(new.into_iter().map(|region| region.0.region.clone()).collect())
    }

    /// Looks at each replica in its region: is it there, is its current version the primary's, can it be read? `regions` are
    /// those where each secret must have one.
    ///
    /// # Errors
    /// If secrets cannot be listed, or the service fails in the middle: then the report of what was seen is the error's
    /// [payload](Error::payload). What concerns one secret is in the report.
    pub async fn check_replicas(&self, choice: &SecretChoice, regions: &[&str]) -> Result<ReplicaReport> {
        let mut report = ReplicaReport::default();
        for (name, found) in self.chosen(choice).await? {
            let found = match found {
                Ok(found) => found,
                Err(error) if is_of_one(&error) => {
                    report.problems.push(Problem::new(name, error.with_causes()));
                    continue;
                }
                Err(error) => return Err(error.with_payload(report)),
            };
            let has = |region: &str| found.replicas.iter().any(|there| there.replica.region == region);
            for region in regions.iter().filter(|region| **region != self.region() && !has(region)) {
                report.problems.push(Problem::new(&name, format!("it has no replica in {region}")));
            }
            for there in &found.replicas {
                let mut state = ReplicaState {
                    secret: name.clone(),
                    region: there.replica.region.clone(),
                    status: there.status.clone(),
                    ..ReplicaState::default()
                };
                self.look(&found, &mut state).await;
                if state.problem.is_none() && state.status != "InSync" {
                    state.problem = Some(match there.message.as_str() {
                        "" => format!("it is {}", state.status),
                        message => format!("it is {}: {message}", state.status),
                    });
                }
                report.replicas.push(state);
            }
        }
        Ok(report)
    }

    async fn look(&self, primary: &Found, state: &mut ReplicaState) {
        let there = self.in_region(&state.region);
        let looked = async {
            let found = there.describe(&primary.name).await?;
            if found.copy_of.as_deref() != Some(self.region()) {
                return Err(Error::new(ErrorKind::Conflict, "another secret of this name is there, no replica"));
            }
            let current = found.holder(CURRENT).map(str::to_owned);
            state.in_step = current.as_deref() == primary.holder(CURRENT);
            if let Some(current) = &current {
                there.value(&found.arn, current).await?;
            }
            state.readable = current.is_some();
            Ok(())
        };
        state.problem = match looked.await {
            Err(error) => Some(error.with_causes()),
            Ok(()) if !state.in_step => Some("it has another current version than its primary".to_owned()),
            Ok(()) if !state.readable => Some("it has no value".to_owned()),
            Ok(()) => None,
        };
    }

    /// Makes a replica of this region a secret of its own, to which values can be put: what is left to do when the primary's
    /// region is lost. It cannot be undone; the primary forgets the replica.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if it is no replica; what the server answers.
    pub async fn promote(&self, name: &str) -> Result<()> {
        let told = self.client().stop_replication_to_replica().secret_id(name).send().await;
        told.map_err(|error| self.error(Told::of(error), PROMOTE, name, Carries::Nothing)).map(drop)
    }

    /// The secrets that are chosen, or why one cannot be looked at.
    pub(super) async fn chosen(&self, choice: &SecretChoice) -> Result<Vec<(String, Result<Found>)>> {
        let mut names: Vec<String> = choice.names.iter().cloned().collect();
        let mut next = None;
        while choice.searches() {
            let page = self.page(choice, next).await?;
            let own = |found: &Found| choice.takes(found) && found.owner.is_none() && found.copy_of.is_none();
            names.extend(page.found.into_iter().filter(own).map(|found| found.name));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let look = |name: String| {
            let manager = self.clone();
            async move {
                let found = manager.describe(&name).await;
                (name, found)
            }
        };
        Ok(stream::iter(names.into_iter().map(look)).buffered(AT_ONCE).collect().await)
    }
}

impl fmt::Display for ReplicateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets replicated, {} unchanged", self.added.len(), self.unchanged)?;
        for (name, regions) in &self.added {
            write!(f, "\n  {name}: to {}", regions.join(", "))?;
        }
        problems(f, &self.problems)
    }
}

impl fmt::Display for ReplicaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = self.replicas.iter().filter(|one| one.problem.is_none()).count();
        write!(f, "{good} of {} replicas are in step and readable", self.replicas.len())?;
        for one in &self.replicas {
            if let Some(problem) = &one.problem {
                write!(f, "\n  {} in {}: {problem}", one.secret, one.region)?;
            }
        }
        problems(f, &self.problems)
    }
}

pub(super) fn problems(f: &mut fmt::Formatter<'_>, problems: &[Problem]) -> fmt::Result {
    problems.iter().try_for_each(|problem| write!(f, "\n  {}: {}", problem.what, problem.why))
}
