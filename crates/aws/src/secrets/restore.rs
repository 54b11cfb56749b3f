//! The importer: secrets are made again, or brought to the state of a backup, by a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use async_trait::async_trait;
use backstay_core::source::{
    CheckReport, Facts, ImportAction, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem,
    ResourceImporter,
};
use backstay_core::{Blake3, Error, ErrorKind, Result, Secret};
use futures_util::StreamExt as _;

use super::compare::Verdict;
use super::document::Document;
use super::open::SecretsManager;
use super::wanted::Wanted;
use super::write::is_of_one;
use super::{FORMAT, KIND};

/// Longest item: twenty versions of 64 KiB, each byte written as six.
const LONGEST: u64 = 16 << 20;
/// Most notes that a plan lists.
const NOTES: usize = 1_000;
/// Which deleted secrets a plan brings back.
const UNDELETE: &str = "undelete";

/// Restores secrets into AWS Secrets Manager.
///
/// * What is not there is made, with its versions, stages, tags, policy, key and replicas. A version keeps its id. What an
///   interrupted restore began bears the tag `backstay:unfinished`, and the next one goes on with it.
/// * What is there and differs stays, unless [overwriting](ImportOptions::danger_overwrite) is asked for: then it is
///   brought to the state of the backup. The versions that it had lose their stages, and AWS removes them in time. Replicas
///   that it has besides stay; rotation goes on if it is on.
/// * What is deleted and still in its recovery window is brought back (`RestoreSecret`) if it is as in the backup.
/// * Rotation is restored where its function is in the same account and region; nothing is rotated by that.
/// * A secret with a key of its own, which is not in this region, cannot be restored unless [`kms_key`](Self::kms_key)
///   names one; nor one where what is there may not be looked at. The plan says so. A policy that lets everybody in is
///   refused.
/// * A secret that never had a value comes back without one.
/// * Where the service fails in the middle, the [`ImportReport`] of what was done is the error's [payload](Error::payload).
///
/// [`ImportOptions::only`] matches names as they were; `*` stands for any characters.
///
/// The credential needs `secretsmanager:` `DescribeSecret`, `GetSecretValue`, `GetResourcePolicy`, `CreateSecret`,
/// `TagResource`, `UntagResource`, `PutSecretValue`, `UpdateSecretVersionStage`, `PutResourcePolicy`, `RestoreSecret`; with
/// replicas `ReplicateSecretToRegions`, with rotation `RotateSecret` and `lambda:InvokeFunction` on its function; to overwrite
/// `UpdateSecret`, `DeleteResourcePolicy`; for secrets with a key of their own `kms:GenerateDataKey` and `kms:Decrypt` on it.
#[derive(Clone, Debug)]
pub struct SecretsRestore {
    pub(super) manager: SecretsManager,
    pub(super) prefix: String,
    pub(super) names: BTreeMap<String, String>,
    pub(super) kms_key: Option<String>,
    pub(super) replicas: bool,
    pub(super) rotation: bool,
}

impl SecretsRestore {
    /// Each under its own name.
    #[must_use]
    pub fn new(manager: &SecretsManager) -> Self {
        let (prefix, names) = (String::new(), BTreeMap::new());
        Self { manager: manager.clone(), prefix, names, kms_key: None, replicas: true, rotation: true }
    }

    /// Beside what is there: `restored/` makes `restored/prod/db` of `prod/db`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// This one under another name; a plan fails if the backup has no secret of this name. The [`prefix`](Self::prefix) is
    /// not for it.
    #[must_use]
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.names.insert(from.into(), to.into());
        self
    }

    /// The key for all that had one of their own: an id, ARN or alias of this region.
    #[must_use]
    pub fn kms_key(mut self, key: impl Into<String>) -> Self {
        self.kms_key = Some(key.into());
        self
    }

    /// Makes no replicas.
    #[must_use]
    pub fn without_replicas(mut self) -> Self {
        self.replicas = false;
        self
    }

    /// Sets no rotation.
    #[must_use]
    pub fn without_rotation(mut self) -> Self {
        self.rotation = false;
        self
    }
}

impl fmt::Display for SecretsRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.manager)?;
        if !self.prefix.is_empty() {
            write!(f, " under {}*", self.prefix)?;
        }
        if !self.names.is_empty() {
            write!(f, ", {} under other names", self.names.len())?;
        }
        Ok(())
    }
}

#[async_trait]
impl ResourceImporter for SecretsRestore {
    fn accepts(&self, item: &ItemInfo) -> bool {
        item.kind == KIND && item.format == FORMAT
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        let mut items = Chosen::new(self, items, &ImportOptions::default());
        while let Some(document) = items.next().await? {
            report.entries += 1;
            if document.versions.is_empty() {
                report.unproved.push(format!("{}: whether it ever had a value", document.name));
            }
        }
        report.unproved.push("whether the values still open what they are for".to_owned());
        Ok(report)
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        let mut plan = ImportPlan::new(self.to_string(), options);
        let (mut seen, mut targets, mut undelete) = (String::new(), BTreeSet::new(), Vec::new());
        let mut items = Chosen::new(self, items, options);
        while let Some(document) = items.next().await? {
            let mut wanted = self.wanted(document);
            let decision = self.decide(&mut wanted, &mut targets, options.overwrite).await?;
            let (action, why) = (decision.action, decision.why);
            if let Step::Undelete(_) = decision.step {
                wanted.notes.push(format!("{}: {why}", wanted.name));
                undelete.push(wanted.name.clone());
            }
            if matches!(action, ImportAction::Create | ImportAction::Overwrite) {
                plan.bytes += wanted.bytes;
                plan.notes.append(&mut wanted.notes);
            }
            seen.push_str(&format!("{action} {:?} {why:?}\n", wanted.name));
            plan.add(action, wanted.name, why);
        }
        items.all_matched()?;
        if plan.notes.len() > NOTES {
            let more = plan.notes.len() - NOTES;
            plan.notes.truncate(NOTES);
            plan.notes.push(format!("and {more} more"));
        }
        plan.fingerprint = Blake3::of(seen.as_bytes()).to_string();
        plan.extra = Facts::new().with(UNDELETE, undelete);
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        if plan.target != self.to_string() {
            return Err(Error::new(ErrorKind::Invalid, "the plan was made for another target")
                .with("planned", &plan.target)
                .with("target", self));
        }
        let undelete: BTreeSet<String> = plan.extra.get(UNDELETE)?.unwrap_or_default();
        let replacing = plan.entries.into_iter().filter(|entry| entry.action == ImportAction::Overwrite);
        let planned: BTreeSet<(String, String)> = replacing.map(|entry| (entry.what, entry.why)).collect();
        let agreed = Agreed { options: plan.options, planned, undelete };
        let mut report = ImportReport::default();
        match self.apply_to(items, &agreed, &mut report).await {
            Ok(()) => Ok(report),
            Err(error) => Err(error.with_payload(report)),
        }
    }
}

/// What the plan said that somebody agreed to.
struct Agreed {
    options: ImportOptions,
    /// What is overwritten, and why.
    planned: BTreeSet<(String, String)>,
    undelete: BTreeSet<String>,
}

/// What is done about a secret, and why.
struct Decision {
    action: ImportAction,
    why: String,
    step: Step,
}

enum Step {
    Nothing,
    Create(Option<Box<super::compare::Difference>>),
    Undelete(Box<super::read::Found>),
    Bring(Box<super::compare::Difference>),
}

impl Decision {
    fn none(action: ImportAction, why: impl Into<String>) -> Self {
        Self { action, why: why.into(), step: Step::Nothing }
    }
}

impl SecretsRestore {
    async fn apply_to(&self, items: &dyn ItemSource, agreed: &Agreed, report: &mut ImportReport) -> Result<()> {
        let mut targets = BTreeSet::new();
        let mut items = Chosen::new(self, items, &agreed.options);
        while let Some(document) = items.next().await? {
            let mut wanted = self.wanted(document);
            let name = wanted.name.clone();
            let mut decision = self.decide(&mut wanted, &mut targets, agreed.options.overwrite).await?;
            let is_planned = match &decision.step {
                Step::Bring(_) => agreed.planned.contains(&(name.clone(), decision.why.clone())),
                Step::Undelete(_) => agreed.undelete.contains(&name),
                Step::Nothing | Step::Create(_) => true,
            };
            if !is_planned {
                decision = Decision::none(ImportAction::Conflict, format!("not as it was planned: {}", decision.why));
            }
            match self.act(&wanted, decision.step).await {
                Ok(problem) => report.problems.extend(problem.map(|why| Problem::new(&name, why))),
                Err(error) if is_of_one(&error) => {
                    report.problems.push(Problem::new(&name, error.with_causes()));
                    continue;
                }
                Err(error) => return Err(error),
            }
            report.add(decision.action);
            match decision.action {
                ImportAction::Create | ImportAction::Overwrite => {
                    report.bytes += wanted.bytes;
                    let room = NOTES.saturating_sub(report.notes.len());
                    report.notes.extend(wanted.notes.into_iter().take(room));
                }
                ImportAction::Conflict | ImportAction::Impossible => {
                    report.problems.push(Problem::new(name, format!("{}: {}", decision.action, decision.why)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn decide(&self, wanted: &mut Wanted, targets: &mut BTreeSet<String>, overwrite: bool) -> Result<Decision> {
        if !targets.insert(wanted.name.clone()) {
            wanted.impossible = Some("another secret of the backup goes under this name".to_owned());
        }
        let verdict = match self.verdict(wanted).await {
            // By its message alone: the rest changes from call to call, and plans are compared.
            Err(error) if is_of_one(&error) => {
                Verdict::Impossible(format!("what is there cannot be looked at: {}", error.message()))
            }
            verdict => verdict?,
        };
        Ok(match verdict {
            Verdict::Create(begun) => {
                let why = if begun.is_some() { "its restore was interrupted" } else { "it is not there" };
                Decision { action: ImportAction::Create, why: why.to_owned(), step: Step::Create(begun) }
            }
            Verdict::Undelete(until, found) => {
                let why = format!("it is deleted and is brought back, which is possible until {until}");
                Decision { action: ImportAction::Create, why, step: Step::Undelete(found) }
            }
            Verdict::Unchanged => Decision::none(ImportAction::Unchanged, "it is there and equal"),
            Verdict::Differs(why, difference) if overwrite => {
                Decision { action: ImportAction::Overwrite, why, step: Step::Bring(difference) }
            }
            Verdict::Differs(why, _) => Decision::none(ImportAction::Conflict, why),
            Verdict::Impossible(why) => Decision::none(ImportAction::Impossible, why),
        })
    }

    /// Does it. What is left is told in words.
    async fn act(&self, wanted: &Wanted, step: Step) -> Result<Option<String>> {
        match step {
            Step::Nothing => {}
            Step::Create(None) => self.manager.create(wanted).await?,
            Step::Create(Some(begun)) => self.manager.bring(wanted, *begun).await?,
            Step::Undelete(found) => {
                self.manager.undelete(&found).await?;
                let left = self.difference(wanted, self.manager.describe(&found.arn).await?).await?;
                return Ok((!left.what.is_empty()).then(|| {
                    let what = left.what.join(", ");
                    format!(
                        "it was brought back and differs from the backup in {what}; plan once more to overwrite that"
                    )
                }));
            }
            Step::Bring(difference) if difference.found.deleted.is_some() => {
                self.manager.undelete(&difference.found).await?;
                let now = self.manager.describe(&difference.found.arn).await?;
                self.manager.bring(wanted, self.difference(wanted, now).await?).await?;
            }
            Step::Bring(difference) => self.manager.bring(wanted, *difference).await?,
        }
        Ok(None)
    }
}

/// The secrets among the items that are asked for.
struct Chosen<'a> {
    restore: &'a SecretsRestore,
    source: &'a dyn ItemSource,
    list: backstay_core::store::BoxStream<'a, Result<ItemInfo>>,
    only: Vec<(String, bool)>,
    /// Names that were given another and were not seen: left alone, a mistyped one would be restored over what lives.
    renamed: BTreeSet<String>,
    any: bool,
}

impl<'a> Chosen<'a> {
    fn new(restore: &'a SecretsRestore, source: &'a dyn ItemSource, options: &ImportOptions) -> Self {
        let only = options.only.iter().map(|glob| (glob.clone(), false)).collect();
        let renamed = restore.names.keys().cloned().collect();
        Self { restore, source, list: source.list(), only, renamed, any: false }
    }

    async fn next(&mut self) -> Result<Option<Document>> {
        while let Some(item) = self.list.next().await.transpose()? {
            if !self.restore.accepts(&item) {
                return Err(Error::new(ErrorKind::Invalid, "an item is no secret of Secrets Manager")
                    .with("item", item.name)
                    .with("format", item.format)
                    .advise("choose the importer for this kind of component"));
            }
            self.any = true;
            self.renamed.remove(&item.name);
            let mut chosen = self.only.is_empty();
            for (glob, matched) in &mut self.only {
                if crate::glob::matches(glob, &item.name) {
                    (*matched, chosen) = (true, true);
                }
            }
            if chosen {
                return read(self.source, &item).await.map(Some);
            }
        }
        if !self.any {
            return Err(Error::new(ErrorKind::NotFound, "there is no item to restore"));
        }
        Ok(None)
    }

    fn all_matched(&self) -> Result<()> {
        if let Some(name) = self.renamed.first() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "no secret of the backup has the name that is to be another one",
            )
            .with("field", "rename")
            .with("got", name));
        }
        let Some((glob, _)) = self.only.iter().find(|(_, matched)| !matched) else { return Ok(()) };
        Err(Error::new(ErrorKind::Invalid, "a glob chooses nothing").with("field", "only").with("got", glob))
    }
}

async fn read(source: &dyn ItemSource, item: &ItemInfo) -> Result<Document> {
    let too_long = || Error::new(ErrorKind::Invalid, "the item is too long for a secret").with("item", &item.name);
    if item.bytes > LONGEST {
        return Err(too_long());
    }
    let mut content = source.open(item).await?;
    let (mut chunks, mut length) = (Vec::new(), 0);
    while let Some(chunk) = content.next().await.transpose()? {
        length += chunk.len();
        if length as u64 > LONGEST {
            return Err(too_long());
        }
        chunks.push(chunk);
    }
    // In one piece of its length: what grows leaves copies behind.
    let text = Secret::new(chunks.concat());
    Document::parse(text.expose(), &item.name)
}
