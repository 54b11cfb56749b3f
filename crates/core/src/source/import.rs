//! The way back: an importer puts items into a live system again, by a plan.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::ops::Range;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Blake3;
use crate::error::{Error, ErrorKind, Result};
use crate::source::{Facts, Problem};
use crate::store::{BoxStream, ByteStream};

/// Conflicts, and entries that cannot be done, that a plan lists one by one; the rest is counted.
const LISTED: u64 = 1_000;

/// Puts items back into a live system.
///
/// # Contract
/// * **Plan, then do.** `check` and `plan` change nothing. `apply` does what the plan lists, decides each entry again on
///   what it finds then, and is never more destructive than planned.
/// * **No overwriting** unless [`ImportOptions::overwrite`] says so.
/// * **Resumable.** `apply` after an `apply` that was interrupted finishes the work and repeats what is done already at no harm.
/// * **Foreign content.** Items may come from a system that somebody else wrote; names and links in them lead nowhere
///   outside the target.
/// * **Cancel safety.** Any future may be dropped; what `apply` did so far stays and a later one goes on.
#[async_trait]
pub trait ResourceImporter: Debug + Display + Send + Sync + 'static {
    /// Whether this importer can read the item.
    fn accepts(&self, item: &ItemInfo) -> bool;

    /// Reads the items to their end and proves that they are well formed. Restores nothing.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) where an item is not what its format says.
    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport>;

    /// Says what [`apply`](Self::apply) would do.
    ///
    /// # Errors
    /// What makes a restore impossible from the start.
    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan>;

    /// Does it.
    ///
    /// # Errors
    /// What ended it, with the report of what was done as [`Error::payload`](crate::Error::payload) if there is one; entries that
    /// failed one by one are in the report.
    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport>;
}

/// Items to restore: a point's, a foreign bucket's, a test's. All content it hands out is proved before it is seen.
#[async_trait]
pub trait ItemSource: Send + Sync {
    /// The items, in the order they were opened at the export.
    fn list(&self) -> BoxStream<'_, Result<ItemInfo>>;

    /// The item's content. The last chunk is withheld until length and digest of the whole are proved.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); here and in the stream [`Corrupt`](ErrorKind::Corrupt) with the place.
    async fn open(&self, item: &ItemInfo) -> Result<ByteStream>;

    /// A range of the item's content, read without the rest.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Invalid`](ErrorKind::Invalid) for a range beyond the end.
    async fn open_range(&self, item: &ItemInfo, range: Range<u64>) -> Result<ByteStream>;

    /// Proves that all of the item is there and not a bit of it damaged: for an importer that must know so before it begins. A
    /// source that keeps digests of what is stored need not decode it.
    ///
    /// # Errors
    /// As [`open`](Self::open) and its stream.
    async fn prove(&self, item: &ItemInfo) -> Result<()> {
        let mut content = self.open(item).await?;
        while content.next().await.transpose()?.is_some() {}
        Ok(())
    }
}

/// An item as it was exported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ItemInfo {
    /// The component that it belongs to.
    pub component: String,
    /// The kind of that component.
    pub kind: String,
    /// Its name within the component.
    pub name: String,
    /// What its bytes are.
    pub format: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The digest of its bytes, where the source of the items knows it beforehand.
    #[serde(default)]
    pub digest: Option<Blake3>,
    /// The exporter's facts about it.
    pub facts: Facts,
}

impl ItemInfo {
    /// An item of unknown digest with no facts.
    #[must_use]
    pub fn new(component: &str, kind: &str, name: &str, format: &str, bytes: u64) -> Self {
        let [component, kind, name, format] = [component, kind, name, format].map(str::to_owned);
        Self { component, kind, name, format, bytes, digest: None, facts: Facts::new() }
    }

    /// Adds the digest.
    #[must_use]
    pub fn with_digest(mut self, digest: Blake3) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Adds the facts.
    #[must_use]
    pub fn with_facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }
}

/// What an importer found by reading items to their end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckReport {
    /// How many entries (files, tables, objects) were seen.
    pub entries: u64,
    /// What is wrong without being unreadable.
    pub problems: Vec<Problem>,
    /// What the importer could not prove, in words.
    pub unproved: Vec<String>,
}

/// What a caller asks of a restore.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ImportOptions {
    /// Replace what is there. Without it a restore into something that is not empty does nothing to what it finds.
    pub overwrite: bool,
    /// Only entries that match one of these globs; all if empty. The importer's docs say what they match. A glob that
    /// matches nothing is an error of the plan.
    pub only: Vec<String>,
    /// Compare content where the importer otherwise takes what looks equal (a file's size and time) for equal. Reads all
    /// of what is there; an importer that always compares content has no use for it.
    pub compare_content: bool,
}

impl ImportOptions {
    /// Replace what is there.
    #[must_use]
    pub fn danger_overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// Only entries that match one of these globs.
    #[must_use]
    pub fn only<S: Into<String>>(mut self, globs: impl IntoIterator<Item = S>) -> Self {
        self.only.extend(globs.into_iter().map(Into::into));
        self
    }

    /// Compare content where looking at sizes and times would do otherwise.
    #[must_use]
    pub fn compare_content(mut self) -> Self {
        self.compare_content = true;
        self
    }
}

/// What an import would do: what it replaces in full, what needs a person's eye as far as one can take it in, the rest
/// counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportPlan {
    /// Where it would go, in words.
    pub target: String,
    /// The options it was made with.
    pub options: ImportOptions,
    /// Number of entries per action.
    pub counts: BTreeMap<ImportAction, u64>,
    /// Every entry that overwrites, and the first 1,000 that conflict and that cannot be done. All others are only counted.
    pub entries: Vec<ImportEntry>,
    /// Bytes that would be written.
    pub bytes: u64,
    /// What a person should know before: rights that are missing, attributes that cannot be kept.
    pub notes: Vec<String>,
    /// A digest of the state that it saw; `apply` notices when the world moved on.
    pub fingerprint: String,
    /// What the importer needs besides; it defines the shape.
    pub extra: Facts,
}

impl ImportPlan {
    /// An empty plan for `target`.
    #[must_use]
    pub fn new(target: impl Into<String>, options: &ImportOptions) -> Self {
        Self { target: target.into(), options: options.clone(), ..Self::default() }
    }

    /// Counts an entry and keeps it where a person should see it.
    pub fn add(&mut self, action: ImportAction, what: impl Into<String>, why: impl Display) {
        let count = self.counts.entry(action).or_default();
        *count += 1;
        let listed = match action {
            ImportAction::Create | ImportAction::Unchanged => false,
            // `apply` replaces nothing else.
            ImportAction::Overwrite => true,
            ImportAction::Conflict | ImportAction::Impossible => *count <= LISTED,
        };
        if listed {
            self.entries.push(ImportEntry { action, what: what.into(), why: why.to_string() });
        }
    }

    /// How many entries have this action.
    #[must_use]
    pub fn count(&self, action: ImportAction) -> u64 {
        self.counts.get(&action).copied().unwrap_or(0)
    }
}

impl Display for ImportPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "restore into {}:", self.target)?;
        write_counts(f, &self.counts, self.bytes)?;
        for entry in &self.entries {
            write!(f, "\n  {} {:?}: {}", entry.action, entry.what, entry.why)?;
        }
        for action in [ImportAction::Conflict, ImportAction::Impossible] {
            let more = self.count(action).saturating_sub(LISTED);
            if more > 0 {
                write!(f, "\n  and {more} more: {action}")?;
            }
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

/// What would happen to one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportEntry {
    /// What is done.
    pub action: ImportAction,
    /// To what.
    pub what: String,
    /// For what reason.
    pub why: String,
}

/// What is done to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImportAction {
    /// It is not there and will be made.
    Create,
    /// It is there and equal; nothing to do.
    Unchanged,
    /// It is there, differs, and will be replaced.
    Overwrite,
    /// It is there, differs, and stays: replacing was not asked for.
    Conflict,
    /// It cannot be restored here.
    Impossible,
}

impl Display for ImportAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Unchanged => "unchanged",
            Self::Overwrite => "overwrite",
            Self::Conflict => "conflict",
            Self::Impossible => "impossible",
        })
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Number of entries per action, as done.
    pub counts: BTreeMap<ImportAction, u64>,
    /// Bytes written.
    pub bytes: u64,
    /// Entries that could not be restored.
    pub problems: Vec<Problem>,
    /// What is not as it was and cannot be here, such as owners that only the super-user can restore.
    pub notes: Vec<String>,
}

impl ImportReport {
    /// Counts an entry.
    pub fn add(&mut self, action: ImportAction) {
        *self.counts.entry(action).or_default() += 1;
    }
}

impl Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("restored:")?;
        write_counts(f, &self.counts, self.bytes)?;
        let listed = usize::try_from(LISTED).unwrap_or(usize::MAX);
        for problem in self.problems.iter().take(listed) {
            write!(f, "\n  NOT RESTORED {:?}: {}", problem.what, problem.why)?;
        }
        if let Some(more) = self.problems.len().checked_sub(listed).filter(|more| *more > 0) {
            write!(f, "\n  and {more} more: NOT RESTORED")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n  note: {note}"))
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<ImportAction, u64>, bytes: u64) -> fmt::Result {
    counts.iter().try_for_each(|(action, count)| write!(f, " {count} {action},"))?;
    write!(f, " {bytes} bytes")
}

/// Options that a backend defines, as a value that travels through plans: made from a typed struct, read back as one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackendOptions(Value);

impl BackendOptions {
    /// Takes a backend's options in.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if JSON cannot hold it.
    pub fn new(options: &impl Serialize) -> Result<Self> {
        serde_json::to_value(options)
            .map(Self)
            .map_err(|error| Error::new(ErrorKind::Invalid, "these options cannot be written as JSON").because(error))
    }

    /// Reads them back; the type should have `deny_unknown_fields`.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the field that does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.0)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("these options do not fit the backend: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_and_what_did_not_come_back() {
        let mut report = ImportReport { bytes: 42, ..ImportReport::default() };
        assert_eq!(report.to_string(), "restored: 42 bytes");
        for action in [ImportAction::Create, ImportAction::Overwrite, ImportAction::Create] {
            report.add(action);
        }
        report.notes.push("no owners".to_owned());
        report.problems.push(Problem::new("a\nb", "no room"));
        let told = "restored: 2 create, 1 overwrite, 42 bytes\n  NOT RESTORED \"a\\nb\": no room\n  note: no owners";
        assert_eq!(report.to_string(), told);
        report.problems = vec![Problem::new("x", "no room"); 1_003];
        let told = report.to_string();
        assert!(told.contains("and 3 more") && told.lines().count() == 1_003, "{told}");
    }
}
