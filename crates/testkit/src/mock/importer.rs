//! An importer that collects what it gets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backstay_core::source::{
    CheckReport, ImportAction, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem, ResourceImporter,
};
use backstay_core::{ErrorKind, Result};
use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::mock::{Calls, scripted};

/// Restores into memory, under the importer's contract: it overwrites nothing unless told to, and goes on where an
/// earlier `apply` stopped.
///
/// ```
/// use backstay_testkit::mock::MockImporter;
///
/// let importer = MockImporter::default().holding("dump", "what is there already");
/// assert_eq!(importer.content("dump").unwrap(), "what is there already");
/// ```
#[derive(Clone, Debug, Default)]
pub struct MockImporter {
    kind: Option<String>,
    only: Option<String>,
    items: Arc<Mutex<BTreeMap<String, Bytes>>>,
    check_error: Option<ErrorKind>,
    check_problems: Vec<Problem>,
    apply_error: Option<(usize, ErrorKind)>,
    apply_panics: bool,
    apply_problems: Vec<Problem>,
    calls: Calls,
}

impl MockImporter {
    /// Accepts items of components of this kind only. Default: all.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Restores this item and leaves the others, as an importer of one database of several does.
    #[must_use]
    pub fn only(mut self, item: impl Into<String>) -> Self {
        self.only = Some(item.into());
        self
    }

    /// Has an item already.
    #[must_use]
    pub fn holding(self, name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.items().insert(name.into(), content.into());
        self
    }

    /// `check` reads everything, then fails.
    #[must_use]
    pub fn fail_check(mut self, kind: ErrorKind) -> Self {
        self.check_error = Some(kind);
        self
    }

    /// `check` reports something wrong.
    #[must_use]
    pub fn check_problem(mut self, what: &str, why: &str) -> Self {
        self.check_problems.push(Problem::new(what, why));
        self
    }

    /// `apply` fails when so many items are read.
    #[must_use]
    pub fn fail_apply_after(mut self, items: usize, kind: ErrorKind) -> Self {
        self.apply_error = Some((items, kind));
        self
    }

    /// `apply` panics.
    #[must_use]
    pub fn panic_in_apply(mut self) -> Self {
        self.apply_panics = true;
        self
    }

    /// `apply` reports something that could not be restored.
    #[must_use]
    pub fn apply_problem(mut self, what: &str, why: &str) -> Self {
        self.apply_problems.push(Problem::new(what, why));
        self
    }

    /// The same target, and nothing goes wrong any more: for the attempt after a failed one.
    #[must_use]
    pub fn healed(&self) -> Self {
        let (kind, only, calls) = (self.kind.clone(), self.only.clone(), self.calls.clone());
        Self { kind, only, items: self.items.clone(), calls, ..Self::default() }
    }

    /// One like it in another, empty place.
    pub(crate) fn emptied(&self) -> Self {
        Self { items: Arc::default(), ..self.clone() }
    }

    /// Notes its calls, as `check`, `plan` and `apply`, in this list.
    #[must_use]
    pub fn record(mut self, calls: &Calls) -> Self {
        self.calls = calls.clone();
        self
    }

    /// What it holds under this name.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Bytes> {
        self.items().get(name).cloned()
    }

    /// The names of what it holds.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.items().keys().cloned().collect()
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The items that it restores.
    pub(crate) async fn chosen(&self, items: &dyn ItemSource) -> Result<Vec<ItemInfo>> {
        let all: Vec<ItemInfo> = items.list().try_collect().await?;
        let is_chosen =
            |item: &ItemInfo| self.accepts(item) && self.only.as_ref().is_none_or(|only| *only == item.name);
        Ok(all.into_iter().filter(is_chosen).collect())
    }

    /// What is to be done with an item of this content.
    fn decide(&self, item: &ItemInfo, content: &Bytes, options: &ImportOptions) -> ImportAction {
        match self.items().get(&item.name) {
            None => ImportAction::Create,
            Some(present) if present == content => ImportAction::Unchanged,
            Some(_) if options.overwrite => ImportAction::Overwrite,
            Some(_) => ImportAction::Conflict,
        }
    }
}

#[async_trait]
impl ResourceImporter for MockImporter {
    fn accepts(&self, item: &ItemInfo) -> bool {
        self.kind.as_ref().is_none_or(|kind| *kind == item.kind)
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        self.calls.add("check");
        let mut report = CheckReport::default();
        for item in self.chosen(items).await? {
            read(items, &item).await?;
            report.entries += 1;
        }
        report.problems.clone_from(&self.check_problems);
        self.check_error.map_or(Ok(report), |kind| Err(scripted(kind)))
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        self.calls.add("plan");
        let mut plan = ImportPlan::new(self.to_string(), options);
        for item in self.chosen(items).await? {
            let action = self.decide(&item, &read(items, &item).await?, options);
            if matches!(action, ImportAction::Create | ImportAction::Overwrite) {
                plan.bytes += item.bytes;
            }
            plan.add(action, item.name, "the mock holds other content");
        }
        Ok(plan)
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        self.calls.add("apply");
        assert!(!self.apply_panics, "the mock was told to panic");
        let mut report = ImportReport::default();
        report.problems.clone_from(&self.apply_problems);
        for (i, item) in self.chosen(items).await?.into_iter().enumerate() {
            if let Some((_, kind)) = self.apply_error.filter(|(items, _)| *items == i) {
                return Err(scripted(kind));
            }
            let content = read(items, &item).await?;
            // An overwriting that was not planned is a conflict now: the item came after the plan.
            let planned = plan.entries.iter().any(|e| e.what == item.name && e.action == ImportAction::Overwrite);
            let action = match self.decide(&item, &content, &plan.options) {
                ImportAction::Overwrite if !planned => ImportAction::Conflict,
                action => action,
            };
            report.add(action);
            if matches!(action, ImportAction::Create | ImportAction::Overwrite) {
                report.bytes += content.len() as u64;
                self.items().insert(item.name, content);
            }
        }
        Ok(report)
    }
}

async fn read(items: &dyn ItemSource, item: &ItemInfo) -> Result<Bytes> {
    let pieces: Vec<Bytes> = items.open(item).await?.try_collect().await?;
    Ok(pieces.concat().into())
}

impl fmt::Display for MockImporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockImporter")
    }
}
