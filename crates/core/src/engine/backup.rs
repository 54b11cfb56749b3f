//! Asking for a backup: what goes in, its plan, and the handle on the run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::backup_report::BackupReport;
use crate::engine::backup_run::Run;
use crate::engine::builder::{Configured, Inner};
use crate::engine::run_handle::RunHandle;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::vault::VaultId;

/// A backup that is asked for. Awaiting it runs it, in a task of its own.
#[must_use = "a backup runs when it is awaited or started"]
pub struct BackupRequest {
    pub(crate) backstay: Arc<Inner>,
    pub(crate) tier: String,
    pub(crate) only: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) allow_partial: bool,
    pub(crate) allow_empty: bool,
}

/// What a backup would protect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BackupPlan {
    /// Into which vault.
    pub vault: VaultId,
    /// For which source.
    pub source: Name,
    /// In which tier.
    pub tier: Name,
    /// The components, in the order they are begun.
    pub components: Vec<PlannedComponent>,
    /// The hooks that run around them, as they display themselves.
    pub hooks: Vec<String>,
    /// The labels that the point will bear.
    pub labels: BTreeMap<String, String>,
}

/// A component of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedComponent {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: String,
    /// What exports it, as it displays itself.
    pub exporter: String,
}

impl BackupRequest {
    pub(crate) fn new(backstay: Arc<Inner>, tier: String) -> Self {
        let (only, labels) = (Vec::new(), BTreeMap::new());
        Self { backstay, tier, only, labels, allow_partial: false, allow_empty: false }
    }

    /// Only these components of the tier. The point is complete if they are good.
    pub fn only<S: Into<String>>(mut self, components: impl IntoIterator<Item = S>) -> Self {
        self.only.extend(components.into_iter().map(Into::into));
        self
    }

    /// Puts a label on the point. Labels can be read without a key.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Takes a partial point for success. The report still says what is missing.
    pub fn allow_partial(mut self) -> Self {
        self.allow_partial = true;
        self
    }

    /// Takes components in which there was nothing to protect for success.
    pub fn allow_empty(mut self) -> Self {
        self.allow_empty = true;
        self
    }

    /// What would be done. Touches neither the components nor the vault.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown tier or component, [`Invalid`](ErrorKind::Invalid) if nothing is left
    /// to protect.
    pub fn plan(&self) -> Result<BackupPlan> {
        let (tier, _) = self.backstay.tier(&self.tier)?;
        let chosen = self.components()?;
        let names: Vec<&Name> = chosen.iter().map(|component| &component.name).collect();
        let concerned =
            self.backstay.hooks.iter().filter(|hook| hook.components.iter().any(|name| names.contains(&name)));
        Ok(BackupPlan {
            vault: self.backstay.vault.id().clone(),
            source: self.backstay.source.clone(),
            tier,
            components: chosen
                .iter()
                .map(|component| PlannedComponent {
                    name: component.name.clone(),
                    kind: component.exporter.info().kind.clone(),
                    exporter: component.exporter.to_string(),
                })
                .collect(),
            hooks: concerned.map(|hook| hook.hook.to_string()).collect(),
            labels: self.labels.clone(),
        })
    }

    /// Begins the run in a task of its own.
    pub fn start(self) -> RunHandle {
        RunHandle::start("backup", |stopped| Run::execute(self, stopped))
    }

    /// What differs from a plain backup of the tier, in words.
    pub(crate) fn asked(&self) -> Vec<String> {
        let only = (!self.only.is_empty()).then(|| format!("only {}", self.only.join(", ")));
        let partial = self.allow_partial.then(|| "a partial point is allowed".to_owned());
        let empty = self.allow_empty.then(|| "components without an item are allowed".to_owned());
        [only, partial, empty].into_iter().flatten().collect()
    }

    /// The components that this request means.
    pub(crate) fn components(&self) -> Result<Vec<Configured>> {
        let (_, tier) = self.backstay.tier(&self.tier)?;
        let covered = self.backstay.covered(tier);
        let stranger = self.only.iter().find(|wanted| !covered.iter().any(|c| c.name.as_str() == *wanted));
        if let Some(wanted) = stranger {
            let known = covered.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(ErrorKind::NotFound, "the tier covers no such component")
                .with("component", wanted)
                .with("tier", &self.tier)
                .advise(format!("it covers: {known}")));
        }
        let is_meant =
            |c: &&Configured| self.only.is_empty() || self.only.iter().any(|wanted| wanted == c.name.as_str());
        let chosen: Vec<Configured> = covered.into_iter().filter(is_meant).cloned().collect();
        if chosen.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the tier covers no component that is exported")
                .with("tier", &self.tier)
                .advise("what is only watched is in no point: cover something that `export` names"));
        }
        Ok(chosen)
    }
}

impl fmt::Debug for BackupRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupRequest").field("tier", &self.tier).field("only", &self.only).finish_non_exhaustive()
    }
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "back up {} into tier {} of vault {}:", self.source, self.tier, self.vault)?;
        for component in &self.components {
            write!(f, "\n  {} ({}): {}", component.name, component.kind, component.exporter)?;
        }
        self.hooks.iter().try_for_each(|hook| write!(f, "\n  around them: {hook}"))
    }
}

impl IntoFuture for BackupRequest {
    type Output = Result<BackupReport>;
    type IntoFuture = RunHandle;

    fn into_future(self) -> RunHandle {
        self.start()
    }
}
