//! The exporter: one item for each secret, page by page.

use std::fmt;

use async_trait::async_trait;
use backstay_core::source::{
    ExportReport, ExportRequest, ExporterInfo, Facts, ItemSink, ItemSpec, Problem, ResourceExporter,
};
use backstay_core::{ErrorKind, Result};
use futures_util::{StreamExt as _, stream};

use super::choice::SecretChoice;
use super::document::{CURRENT, Document, PREVIOUS, Version};
use super::open::SecretsManager;
use super::write::is_of_one;
use super::{FORMAT, KIND};

/// Secrets that are read at once. Each has at most a few megabytes.
const AT_ONCE: usize = 8;

/// Secrets of AWS Secrets Manager as a component: names, descriptions, tags, policies, keys, rotation, replicas, and the
/// values of their versions. A program takes it only into a vault that is encrypted.
///
/// Each secret is an item by its name. One that cannot be read in full is not in the point, which is then partial. The
/// versions with `AWSCURRENT` and `AWSPREVIOUS` are read, or [all that have a stage](Self::all_versions). A rotation that is
/// under way is told as a note: the value that is read may be about to go.
///
/// The credential needs `secretsmanager:` `ListSecrets`, `DescribeSecret`, `GetSecretValue`, `GetResourcePolicy`, and
/// `kms:Decrypt` where secrets have keys of their own.
#[derive(Clone, Debug)]
pub struct Secrets {
    manager: SecretsManager,
    choice: SecretChoice,
    all_versions: bool,
    info: ExporterInfo,
}

impl Secrets {
    /// All secrets of the region.
    #[must_use]
    pub fn new(manager: &SecretsManager) -> Self {
        let info = ExporterInfo::new(KIND).secret();
        Self { manager: manager.clone(), choice: SecretChoice::all(), all_versions: false, info }
    }

    /// Only these.
    #[must_use]
    pub fn choose(mut self, choice: SecretChoice) -> Self {
        self.choice = choice;
        self
    }

    /// Every version that has a stage, not only the current and the previous one.
    #[must_use]
    pub fn all_versions(mut self) -> Self {
        self.all_versions = true;
        self
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.choice, self.manager.region())
    }
}

#[async_trait]
impl ResourceExporter for Secrets {
    fn info(&self) -> &ExporterInfo {
        &self.info
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut tally = Tally::default();
        let named: Vec<String> = self.choice.names.iter().cloned().collect();
        self.write(named, out, &mut tally).await?;
        let (mut owned, mut copies, mut next) = (0_u64, 0_u64, None);
        while self.choice.searches() {
            let page = self.manager.page(&self.choice, next).await?;
            let mut chosen = Vec::new();
            for found in page.found.into_iter().filter(|found| self.choice.takes(found)) {
                match (&found.owner, &found.copy_of) {
                    (Some(_), _) => owned += 1,
                    (None, Some(_)) => copies += 1,
                    (None, None) => chosen.push(found.name),
                }
            }
            self.write(chosen, out, &mut tally).await?;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let mut report = ExportReport::default();
        report.identity = Some(format!("account {} in {}", self.manager.account(), self.manager.region()));
        report.facts = Facts::new()
            .with("account", self.manager.account())
            .with("region", self.manager.region())
            .with("secrets", tally.secrets)
            .with("versions", tally.versions);
        (report.problems, report.notes) = (tally.problems, tally.notes);
        for (count, what) in [
            (owned, "belong to other AWS services, which keep them for their own use"),
            (copies, "are replicas of secrets of other regions: export those there, or these by name"),
        ] {
            if count > 0 {
                report.notes.push(format!("{count} secrets are left out: they {what}"));
            }
        }
        Ok(report)
    }
}

#[derive(Default)]
struct Tally {
    secrets: u64,
    versions: u64,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Secrets {
    /// Reads the secrets, several at once, and writes them one after the other.
    async fn write(&self, names: Vec<String>, out: &dyn ItemSink, tally: &mut Tally) -> Result<()> {
        let read = |name: String| read(self.manager.clone(), name, self.all_versions);
        let mut documents = stream::iter(names.into_iter().map(read)).buffered(AT_ONCE);
        while let Some((name, document)) = documents.next().await {
            let (document, notes) = match document {
                Ok(read) => read,
                Err(error) if is_of_one(&error) => {
                    tally.problems.push(Problem::new(name, error.with_causes()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            tally.notes.extend(notes);
            let bytes = document.to_bytes()?;
            let mut item = out.item(ItemSpec::new(&document.name, FORMAT).size_hint(bytes.len() as u64)).await?;
            item.write(bytes).await?;
            item.finish(Facts::new().with("versions", document.versions.len())).await?;
            tally.secrets += 1;
            tally.versions += document.versions.len() as u64;
        }
        Ok(())
    }
}

/// A secret, and what is to be told of it.
type Read = Result<(Document, Vec<String>)>;

async fn read(manager: SecretsManager, name: String, all: bool) -> (String, Read) {
    let document = document(&manager, &name, all).await;
    (name, document)
}

async fn document(manager: &SecretsManager, name: &str, all: bool) -> Read {
    let found = manager.describe(name).await?;
    if let Some(until) = found.deleted {
        return Err(backstay_core::Error::new(ErrorKind::Conflict, "the secret is deleted")
            .operation("read secret")
            .with("secret", name)
            .with("until", until)
            .advise("RestoreSecret brings it back until then"));
    }
    let pending = found.pending().map(str::to_owned);
    let mut notes = Vec::new();
    notes.extend(pending.as_ref().map(|id| {
        format!("{}: a rotation is under way (AWSPENDING: version {id}): soon it may have another value", found.name)
    }));
    let mut document = Document::new(found.name.clone(), found.arn.clone());
    let is_chosen = |stages: &[String]| all || stages.iter().any(|stage| stage == CURRENT || stage == PREVIOUS);
    for (id, stages) in found.versions.into_iter().filter(|(_, stages)| is_chosen(stages)) {
        let (value, created) = match manager.value(&found.arn, &id).await {
            Ok(read) => read,
            // The function has not put one yet.
            Err(error) if error.kind() == ErrorKind::NotFound && pending.as_ref() == Some(&id) => continue,
            Err(error) => return Err(error),
        };
        document.versions.push(Version { id, stages, created, value });
    }
    if document.versions.is_empty() {
        notes.push(format!("{}: nobody has given it a value yet", document.name));
    }
    document.policy = manager.policy(&found.arn).await?;
    document.description = found.description;
    document.kms_key = found.kms_key;
    document.tags = found.tags;
    document.rotation = found.rotation;
    document.replicas = found.replicas.into_iter().map(|replicated| replicated.replica).collect();
    document.created = found.created;
    document.sort();
    Ok((document, notes))
}
