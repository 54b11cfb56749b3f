//! Exporting one component, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::backup_report::ComponentReport;
use crate::engine::builder::Configured;
use crate::engine::sink::{ComponentSink, FinishedItem, RunSink};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::source::{ExportReport, ExportRequest, Problem};
use crate::vault::details::ComponentLine;
use crate::vault::manifest::{Component, ObjectEntry, Outcome};

/// A component whose export ended, well or not.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) configured: Configured,
    pub(crate) items: Vec<FinishedItem>,
    pub(crate) report: ExportReport,
    pub(crate) error: Option<Error>,
    pub(crate) took: Duration,
}

/// Exports a component; its failure is part of the result, not an error.
pub(crate) async fn export(
    run: Arc<RunSink>,
    configured: Configured,
    sink: ComponentSink,
    request: ExportRequest,
    allow_empty: bool,
) -> Exported {
    let clock = run.vault.clock().clone();
    let began = clock.monotonic();
    let result = configured.exporter.export(&request, &sink).await;
    let (closed, abandoned) = sink.close().await;
    let took = clock.monotonic().saturating_sub(began);
    let (mut report, items, error) = match (result, closed) {
        (Ok(report), Ok(items)) => {
            let error = match abandoned.first() {
                Some(problem) if items.is_empty() => Some(nothing_whole(problem)),
                _ => ((items.is_empty() || report.empty) && !allow_empty).then(nothing_found),
            };
            (report, items, error)
        }
        (Ok(report), Err(error)) => (report, Vec::new(), Some(error)),
        (Err(error), _) => (ExportReport::default(), Vec::new(), Some(error)),
    };
    // The sink knows of them whatever the report says.
    report.problems.extend(abandoned);
    Exported { configured, items, report, error, took }
}

fn nothing_found() -> Error {
    Error::new(ErrorKind::Refused, "the exporter found nothing to protect")
        .advise("check what it points at: an unmounted folder, another database? `allow_empty` takes it for success")
}

fn nothing_whole(problem: &Problem) -> Error {
    Error::new(ErrorKind::Other, format!("no item could be exported whole: {}: {}", problem.what, problem.why))
}

impl Exported {
    /// A component that was not exported at all, or whose task did not come back.
    pub(crate) fn failed(configured: Configured, error: Error) -> Self {
        Self {
            configured,
            items: Vec::new(),
            report: ExportReport::default(),
            error: Some(error),
            took: Duration::ZERO,
        }
    }

    /// Something around the export failed: what was exported stays, but is not surely a clean cut.
    pub(crate) fn add_problem(&mut self, problem: Problem) {
        self.report.problems.push(problem);
    }

    pub(crate) fn outcome(&self) -> Outcome {
        match (&self.error, self.report.problems.is_empty()) {
            (Some(_), _) => Outcome::Failed,
            (None, false) => Outcome::Incomplete,
            (None, true) => Outcome::Good,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.restorable().map(|item| item.line.bytes).sum()
    }

    /// Items of a failed component count for nothing.
    pub(crate) fn restorable(&self) -> impl Iterator<Item = &FinishedItem> {
        let items: &[FinishedItem] = if self.error.is_some() { &[] } else { &self.items };
        items.iter()
    }

    pub(crate) fn manifest_entry(&self) -> Component {
        let objects = self.restorable().flat_map(|item| &item.objects);
        let entry = |o: &crate::vault::stored::StoredObject| ObjectEntry {
            key: o.key.clone(),
            bytes: o.bytes,
            sha256: o.sha256,
        };
        Component {
            name: self.configured.name.clone(),
            kind: self.configured.exporter.info().kind.clone(),
            outcome: self.outcome(),
            cut_at: self.report.cut_at,
            identity: self.report.identity.clone(),
            bytes: self.bytes(),
            objects: objects.map(entry).collect(),
            snapshots: Vec::new(),
            extra: serde_json::Map::new(),
        }
    }

    pub(crate) fn detail_line(&self) -> ComponentLine {
        ComponentLine {
            name: self.configured.name.clone(),
            facts: self.report.facts.clone(),
            problems: self.report.problems.clone(),
            notes: self.report.notes.clone(),
            error: self.error.as_ref().map(Error::with_causes),
        }
    }

    pub(crate) fn report(&self) -> ComponentReport {
        ComponentReport {
            name: self.configured.name.clone(),
            outcome: self.outcome(),
            items: self.restorable().count() as u64,
            bytes: self.bytes(),
            stored: self.restorable().flat_map(|item| &item.objects).map(|object| object.bytes).sum(),
            problems: self.report.problems.clone(),
            notes: self.report.notes.clone(),
            error: self.error.as_ref().map(Error::with_causes),
            took: self.took,
        }
    }

    pub(crate) fn event(&self) -> Event {
        Event::ComponentDone { component: self.configured.name.clone(), outcome: self.outcome(), took: self.took }
    }
}

/// What an exporter's task left behind when it did not return.
pub(crate) fn lost_task(error: tokio::task::JoinError) -> Error {
    if error.is_panic() {
        Error::new(ErrorKind::Other, "the exporter panicked").because(error)
    } else {
        Error::new(ErrorKind::Cancelled, "the export was ended").because(error)
    }
}

/// What the whole run ends with if no component can be restored.
pub(crate) fn nothing_exported(exported: &[Exported]) -> Result<()> {
    let failed = |e: &Exported| e.outcome() == Outcome::Failed;
    match exported.iter().find_map(|e| e.error.as_ref().map(|error| (&e.configured.name, error))) {
        Some((name, error)) if exported.iter().all(failed) => {
            let others = match exported.len() {
                1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            // Partial is the word for a point that exists.
            let kind = if error.kind() == ErrorKind::Partial { ErrorKind::Other } else { error.kind() };
            Err(Error::new(kind, format!("no component could be exported: {name}{others}: {}", error.with_causes())))
        }
        _ => Ok(()),
    }
}
