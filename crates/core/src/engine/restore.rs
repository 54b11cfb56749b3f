//! Restoring a component of a point: a plan first, then what it says.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::drill_report::DrillPart;
use crate::engine::history::ActLog;
use crate::engine::restore_items::{ObservedItems, ReadBytes};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId, RunId};
use crate::source::{ImportOptions, ImportPlan, ImportReport, ItemSource, ResourceImporter};
use crate::vault::Vault;
use crate::vault::history::Act;
use crate::vault::items::PointItems;
use crate::vault::manifest::Outcome;

/// A restore that is asked for: from which point, which component, into what.
#[must_use = "nothing is restored before a plan is applied"]
pub struct RestoreRequest {
    vault: Vault,
    point: PointId,
    observers: Observers,
    component: Option<String>,
    options: ImportOptions,
    importer: Option<Arc<dyn ResourceImporter>>,
}

/// What a restore would do. Serializable: it can be shown, reviewed, stored, and applied later by
/// [`RestoreRequest::resume`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestorePlan {
    /// From which point.
    pub point: PointId,
    /// Digest of the manifest that was planned with.
    pub manifest: Sha256,
    /// Which component.
    pub component: Name,
    /// What the importer would do.
    pub import: ImportPlan,
    /// Whether the export missed some of the component: what is not in the point does not come back.
    #[serde(default)]
    pub incomplete: bool,
}

/// A plan together with what it takes to apply it.
#[must_use = "nothing is restored before the plan is applied"]
pub struct PlannedRestore {
    plan: RestorePlan,
    items: ObservedItems,
    importer: Arc<dyn ResourceImporter>,
}

/// What a restore did. `Display` is for people, as that of the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// From which point.
    pub point: PointId,
    /// Which component.
    pub component: Name,
    /// What the importer did.
    pub import: ImportReport,
}

impl RestoreRequest {
    pub(crate) fn new(vault: Vault, point: PointId, observers: Observers) -> Self {
        Self { vault, point, observers, component: None, options: ImportOptions::default(), importer: None }
    }

    /// Which component; may be left out where the point has one only.
    pub fn component(mut self, name: impl Into<String>) -> Self {
        self.component = Some(name.into());
        self
    }

    /// What the importer is asked; by default it overwrites nothing.
    pub fn options(mut self, options: ImportOptions) -> Self {
        self.options = options;
        self
    }

    /// Into what; any importer that reads the items, not only the one that belongs to their exporter.
    pub fn into(self, importer: impl ResourceImporter) -> Self {
        self.into_shared(Arc::new(importer))
    }

    pub(crate) fn into_shared(mut self, importer: Arc<dyn ResourceImporter>) -> Self {
        self.importer = Some(importer);
        self
    }

    /// Says what a restore would do, and changes nothing.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the point or component; [`Untrusted`](ErrorKind::Untrusted) for a point that is
    /// not signed; [`Unsupported`](ErrorKind::Unsupported) if the importer cannot read an item; what the importer finds.
    pub async fn plan(self) -> Result<PlannedRestore> {
        let place = self.point.clone();
        self.make_plan().await.map_err(|error| error.operation("plan restore").with("point", place))
    }

    async fn make_plan(self) -> Result<PlannedRestore> {
        let options = self.options.clone();
        let (items, importer, manifest) = self.prepare().await?;
        let import = importer.plan(&items, &options).await?;
        let plan = RestorePlan {
            point: items.point.clone(),
            manifest,
            component: items.inner.component().name.clone(),
            import,
            incomplete: items.inner.component().outcome != Outcome::Good,
        };
        Ok(PlannedRestore { plan, items, importer })
    }

    /// Takes up a plan that was made before, by this or another process: to go on after an interruption, or after a review.
    ///
    /// # Errors
    /// As [`plan`](Self::plan); [`Conflict`](ErrorKind::Conflict) if the plan is for another point or component.
    pub async fn resume(mut self, plan: RestorePlan) -> Result<PlannedRestore> {
        self.component.get_or_insert_with(|| plan.component.to_string());
        let (items, importer, manifest) = self.prepare().await.map_err(|error| error.operation("resume restore"))?;
        let same =
            (&plan.point, &plan.component, plan.manifest) == (&items.point, &items.inner.component().name, manifest);
        if !same {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("the plan is for {} of {}", plan.component, plan.point),
            )
            .operation("resume restore")
            .advise("make a new plan"));
        }
        Ok(PlannedRestore { plan, items, importer })
    }

    async fn prepare(self) -> Result<(ObservedItems, Arc<dyn ResourceImporter>, Sha256)> {
        let importer = self.importer.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "it was not said into what to restore").advise("name an importer by `into`")
        })?;
        let point = self.vault.points().get(&self.point).await?;
        let component = match (self.component, point.manifest.components.as_slice()) {
            (Some(name), _) => name.parse()?,
            (None, [only]) => only.name.clone(),
            (None, several) => {
                let names = several.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::new(ErrorKind::Invalid, "the point has several components")
                    .advise(format!("name one by `component`: {names}")));
            }
        };
        let items = PointItems::new(&self.vault, &point, &component)?;
        let mut listed = items.list();
        while let Some(item) = listed.next().await {
            let item = item?;
            if !importer.accepts(&item) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{importer} cannot read items of format {:?}", item.format),
                )
                .with("item", item.name)
                .with("component", component));
            }
        }
        drop(listed);
        Ok((ObservedItems::new(items, point.id, self.observers), importer, point.sha256))
    }
}

impl PlannedRestore {
    /// Does what the plan says. May be interrupted; making the plan anew and applying it goes on where it stopped.
    ///
    /// # Errors
    /// What ended it, with the report of what was done as [`Error::payload`] where the importer gave one. Entries that failed
    /// one by one make it [`Partial`](ErrorKind::Partial), with the report too.
    pub async fn apply(mut self) -> Result<RestoreReport> {
        let vault = self.items.inner.vault();
        let id = RunId::new(vault.clock().now(), &**vault.random());
        let log = ActLog::begin(vault, self.plan.point.source.clone(), id, Act::Restore);
        let (result, took) = self.run(log.with(&self.items.observers)).await;
        log.end(result.as_ref().err(), |record| {
            (record.point, record.component) = (Some(self.plan.point.clone()), Some(self.plan.component.clone()));
            (record.bytes, record.took) = (self.items.read().bytes(), took);
        })
        .await;
        result
    }

    /// Does what the plan says, heard by these alone, and leaves no record: for an act that leaves one of its own.
    pub(crate) async fn run(&mut self, observers: Observers) -> (Result<RestoreReport>, Duration) {
        let clock = self.items.inner.vault().clock().clone();
        let began = clock.monotonic();
        // What the importer read to make its plan is not part of what it restores.
        self.items.begin(observers);
        let Self { plan, items, importer } = self;
        let (point, component) = (plan.point.clone(), plan.component.clone());
        items.observers.emit(&Event::RestoreStarted { point: point.clone(), component: component.clone() });
        let result = import(plan, items, &**importer).await;
        let took = clock.monotonic().saturating_sub(began);
        let (bytes, error) = (items.read().bytes(), result.as_ref().err().map(Error::kind));
        items.observers.emit(&Event::RestoreDone { point, component, bytes, took, error });
        (result, took)
    }

    /// What was passed on to the importer, while it runs too.
    pub(crate) fn read(&self) -> ReadBytes {
        self.items.read()
    }

    /// Which part of the items the importer has read; none if all of them.
    pub(crate) async fn part(&self) -> Result<Option<DrillPart>> {
        self.items.part().await
    }

    /// The items that it restores, unheard.
    pub(crate) fn items(&self) -> &dyn ItemSource {
        &self.items.inner
    }

    /// The plan by itself, to be stored.
    #[must_use]
    pub fn into_plan(self) -> RestorePlan {
        self.plan
    }
}

async fn import(plan: &RestorePlan, items: &dyn ItemSource, importer: &dyn ResourceImporter) -> Result<RestoreReport> {
    let place = |error: Error| error.operation("restore").with("component", &plan.component).with("point", &plan.point);
    let of = |import| RestoreReport { point: plan.point.clone(), component: plan.component.clone(), import };
    let report = of(importer.apply(items, plan.import.clone()).await.map_err(|error| {
        let done = error.payload::<ImportReport>().cloned();
        let error = place(error);
        if let Some(done) = done { error.with_payload(of(done)) } else { error }
    })?);
    match report.import.problems.first() {
        None => Ok(report),
        Some(first) => {
            let text = format!(
                "{} entries could not be restored, the first: {}: {}",
                report.import.problems.len(),
                first.what.escape_debug(),
                first.why
            );
            Err(place(Error::new(ErrorKind::Partial, text)).with_payload(report))
        }
    }
}

impl Vault {
    /// Restores a component of a point, by a plan. Needs no exporter and no right to write.
    pub fn restore(&self, point: &PointId) -> RestoreRequest {
        RestoreRequest::new(self.clone(), point.clone(), Observers::default())
    }
}

impl Deref for PlannedRestore {
    type Target = RestorePlan;

    fn deref(&self) -> &RestorePlan {
        &self.plan
    }
}

impl fmt::Display for RestorePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.component, self.point, self.import)?;
        if self.incomplete {
            f.write_str("\n  the export missed some of it: what is not in the point does not come back")?;
        }
        Ok(())
    }
}

impl fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.component, self.point, self.import)
    }
}

impl fmt::Display for PlannedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl fmt::Debug for PlannedRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedRestore").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl fmt::Debug for RestoreRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreRequest")
            .field("point", &self.point)
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_came_back_of_which_point() {
        let report = RestoreReport {
            point: "prod-eu/daily/20261120t064200z-22fk36fx".parse().unwrap(),
            component: "db".parse().unwrap(),
            import: ImportReport { bytes: 42, ..ImportReport::default() },
        };
        assert_eq!(report.to_string(), "db of prod-eu/daily/20261120t064200z-22fk36fx: restored: 42 bytes");
    }
}
