//! One run: record, hooks, exports side by side, details, signature, commit.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Map;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

use crate::digest::Sha256;
use crate::engine::adopt::adopt;
use crate::engine::backup::{BackupPlan, BackupRequest};
use crate::engine::backup_report::BackupReport;
use crate::engine::builder::{Configured, Inner};
use crate::engine::component::{self, Exported};
use crate::engine::history::ActLog;
use crate::engine::hooks::RunHooks;
use crate::engine::sink::{ComponentSink, RunSink};
use crate::engine::stop::Stopped;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId, RunId, Tag};
use crate::retention::doubt::Content;
use crate::source::{ExportRequest, Problem};
use crate::store::PutOptions;
use crate::vault::commit::Committed;
use crate::vault::details::{ConfigurationLine, ConfiguredComponent, DetailLine};
use crate::vault::history::Act;
use crate::vault::layout::{self, PointFile};
use crate::vault::manifest::{DetailsRef, MAX_MANIFEST_BYTES, Manifest, Outcome, Status};
use crate::vault::points::{clock_doubt, newest_recent};
use crate::vault::runs::{after, json};
use crate::vault::settle::put_new;
use crate::vault::signed::{Purpose, check_length};

pub(crate) struct Run {
    backstay: Arc<Inner>,
    request: BackupRequest,
    plan: BackupPlan,
    sink: Arc<RunSink>,
    started: Timestamp,
    log: ActLog,
    /// The program's, and the log.
    observers: Observers,
    /// Every component's items, so that a cancelled run can give back what it had under way.
    open: Mutex<Vec<ComponentSink>>,
}

/// A run that only lacks its commit.
struct Prepared {
    exported: Vec<Exported>,
    bytes: Bytes,
    partial: bool,
    /// From this time of the store's clock on everybody may take the run for dead.
    until: Timestamp,
}

impl Run {
    /// Runs a request to its end. Whatever ends it, every hook that was begun is undone before this returns.
    pub(crate) async fn execute(request: BackupRequest, mut stopped: Stopped) -> Result<BackupReport> {
        let backstay = request.backstay.clone();
        let Some(mut alive) = backstay.runs.enter() else {
            return Err(Error::new(ErrorKind::Cancelled, "the program is shutting down").operation("backup"));
        };
        let run = Self::new(request)?;
        let mut hooks = RunHooks::new(backstay.clone(), run.point().clone(), run.observers.clone());
        let outcome = tokio::select! {
            biased;
            error = stopped.wait() => Err(error),
            reason = alive.told_to_end(backstay.signals) => Err(Error::new(ErrorKind::Cancelled, reason)),
            result = AssertUnwindSafe(run.prepare(&mut hooks)).catch_unwind() => result.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Other, "the run panicked"))
            }),
        };
        // Of a run that went through, nothing is owed or open any more.
        hooks.finish().await;
        run.give_up_items().await;
        // A commit that is broken off may have happened all the same: from here on the run goes through.
        let outcome = match outcome {
            Ok(prepared) => run.commit(prepared).await,
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|error| error.operation("backup").with("point", run.point()));
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::Partial
        {
            run.record_end(error).await;
            run.observers.emit(&Event::BackupFailed { point: run.point().clone(), error: error.kind() });
            run.log.end(Some(error), |record| record.tier = Some(run.plan.tier.clone())).await;
        }
        drop(alive);
        outcome
    }

    fn new(request: BackupRequest) -> Result<Self> {
        let plan = request.plan().map_err(|error| error.operation("backup"))?;
        let backstay = request.backstay.clone();
        let vault = backstay.vault.clone();
        vault.signer(Purpose::Point).map_err(|error| error.operation("backup"))?;
        let started = vault.clock().now();
        let run = RunId::new(started, &**vault.random());
        let point = PointId { source: plan.source.clone(), tier: plan.tier.clone(), run };
        let attempt = Tag::new(&**vault.random());
        let log = ActLog::begin(&vault, point.source.clone(), point.run.clone(), Act::Backup);
        let observers = log.with(&backstay.observers);
        let tier = backstay.tier(plan.tier.as_str())?.1.clone();
        let sink = Arc::new(RunSink::new(vault, point, attempt, observers.clone(), tier));
        Ok(Self { backstay, request, plan, sink, started, log, observers, open: Mutex::default() })
    }

    fn point(&self) -> &PointId {
        &self.sink.point
    }

    /// Everything up to the commit, which makes the point exist.
    async fn prepare(&self, hooks: &mut RunHooks) -> Result<Prepared> {
        let names = self.plan.components.iter().map(|component| component.name.clone()).collect::<Vec<_>>();
        self.observers.emit(&Event::BackupStarted { point: self.point().clone(), components: names.clone() });
        let until = self.record_begin().await?;
        self.adopt().await;
        let previous = self.previous().await?;
        let exported = self.export_all(hooks, &names).await?;
        component::nothing_exported(&exported)?;
        let details = self.write_details(&exported).await?;
        let manifest = self.manifest(&exported, previous, details)?;
        let bytes = self.sign(&manifest, until).await?;
        Ok(Prepared { exported, bytes, partial: manifest.status == Status::Partial, until })
    }

    /// Makes the point exist: the manifest, create-only.
    async fn commit(&self, Prepared { exported, bytes, partial, until }: Prepared) -> Result<BackupReport> {
        let vault = &self.backstay.vault;
        let Committed { at, certain } = vault.commit(self.point(), bytes, &self.sink.put_options()?).await?;
        vault.saw_store_time(at);
        self.observers.emit(&Event::Committed { point: self.point().clone(), partial });
        if !certain {
            let message = "the answer to the commit was lost: by this or another attempt of the run it was committed";
            self.warn(self.point(), message);
        }
        self.compare_with_seen(&exported);
        let report = BackupReport {
            id: self.point().clone(),
            components: exported.iter().map(Exported::report).collect(),
            took: self.log.took(),
            certain,
        };
        // Held up between the last look at the time and the commit itself.
        if at > until {
            let text =
                "the point was committed later than any run may be: it is doubtful, and a sweep may have its items";
            let error = Error::new(ErrorKind::Partial, text).with("until", until).advise("back up again");
            return Err(error.with_payload(report));
        }
        if let Some(doubt) = clock_doubt(&self.point().run, at, vault.budget().limits().longest_run) {
            let text = format!("the point was committed, but {doubt}: nothing goes by it before it is accepted");
            let error = Error::new(ErrorKind::Partial, text).advise("set this host's clock, and back up again");
            return Err(error.with_payload(report));
        }
        if partial && !self.request.allow_partial {
            let text =
                format!("the point was committed, but some of it is missing: {}", report.complaints().join("; "));
            return Err(Error::new(ErrorKind::Partial, text).with_payload(report));
        }
        Ok(report)
    }

    async fn give_up_items(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for sink in open {
            // What it held counts for nothing: either it was taken over already or the run failed.
            drop(sink.close().await);
        }
    }

    /// Says that the attempt began, and until when it may be alive: from then on everybody may take it for dead.
    async fn record_begin(&self) -> Result<Timestamp> {
        #[derive(Serialize)]
        struct Begin<'a> {
            host: String,
            process: u32,
            version: &'a str,
            started: Timestamp,
        }
        let vault = &self.backstay.vault;
        let longest_run = vault.budget().limits().longest_run;
        let until = after(vault.store_time(), longest_run);
        let begin = Begin { host: host(), process: std::process::id(), version: VERSION, started: self.started };
        let key = layout::run_began(self.point(), &self.sink.attempt, until)?;
        let meta = put_new(vault.store(), &key, json(&begin)?, &PutOptions::default()).await?;
        vault.saw_store_time(meta.last_modified);
        Ok(after(meta.last_modified, longest_run))
    }

    /// Says how the attempt ended, so that nobody adopts it; a failure here is no more than logged.
    async fn record_end(&self, error: &Error) {
        // The kind alone: the text may name what only a reader with the key should know.
        let how = error.kind().to_string();
        if let Err(error) = self.backstay.vault.record_run_end(self.point(), &self.sink.attempt, &how).await {
            tracing::warn!(point = %self.point(), %error, "the end of the run could not be recorded");
        }
    }

    /// Undoes first what a dead run left begun. That it fails is told and keeps nobody from backing up.
    async fn adopt(&self) {
        if let Err(error) = adopt(&self.backstay, Some(&self.sink.attempt)).await {
            self.warn(self.point(), format!("dead runs could not be adopted: {error}"));
        }
    }

    /// The newest committed run of the tier, found with at most two listings; none if it lies further back. Where there is
    /// none the vault itself may have gone.
    async fn previous(&self) -> Result<Option<RunId>> {
        let vault = &self.backstay.vault;
        let newest = newest_recent(vault, &self.plan.source, &self.plan.tier).await?;
        if newest.is_none() {
            vault.is_still_here().await?;
        }
        Ok(newest.map(|listed| listed.id.run))
    }

    /// Exports all components side by side; the failure of one does not stop the others.
    async fn export_all(&self, hooks: &mut RunHooks, names: &[Name]) -> Result<Vec<Exported>> {
        let mut exported = Vec::new();
        let mut refused = hooks.before(names).await;
        let places = Arc::new(Semaphore::new(self.backstay.vault.budget().limits().open_items.get()));
        let mut tasks = JoinSet::new();
        let mut under_way: Vec<(Id, Configured, ComponentSink)> = Vec::new();
        for configured in self.request.components()? {
            if let Some(error) = refused.remove(&configured.name) {
                exported.push(Exported::failed(configured, error));
                continue;
            }
            let mut request = ExportRequest::new(configured.name.clone(), self.point().clone(), self.started);
            request.vault = Some(self.backstay.vault.id().clone());
            let sink = ComponentSink::new(self.sink.clone(), configured.name.clone());
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(sink.clone());
            let (run, places, allow_empty) = (self.sink.clone(), places.clone(), self.request.allow_empty);
            let (component, items) = (configured.clone(), sink.clone());
            let task = tasks.spawn(async move {
                let _place = places.acquire_owned().await;
                component::export(run, component, items, request, allow_empty).await
            });
            under_way.push((task.id(), configured, sink));
        }
        for component in exported.iter().map(|e| e.configured.name.clone()).collect::<Vec<_>>() {
            blame(&mut exported, hooks.done(&component).await);
        }
        while let Some(joined) = tasks.join_next_with_id().await {
            let (id, done) = match joined {
                Ok((id, done)) => (id, Ok(done)),
                Err(error) => (error.id(), Err(error)),
            };
            let Some(place) = under_way.iter().position(|(task, ..)| *task == id) else { continue };
            let (_, configured, sink) = under_way.swap_remove(place);
            let done = match done {
                Ok(done) => done,
                Err(error) => {
                    // The items' own error says less than the panic.
                    drop(sink.close().await);
                    Exported::failed(configured, component::lost_task(error))
                }
            };
            let name = done.configured.name.clone();
            exported.push(done);
            blame(&mut exported, hooks.done(&name).await);
        }
        exported.sort_by_key(|e| names.iter().position(|name| *name == e.configured.name));
        exported.iter().for_each(|e| self.observers.emit(&e.event()));
        Ok(exported)
    }

    /// Writes item names, facts, digests and errors where only a reader with the key sees them.
    async fn write_details(&self, exported: &[Exported]) -> Result<DetailsRef> {
        let key = layout::details(self.point(), &self.sink.attempt, self.backstay.vault.wrapping()?)?;
        let tier = self.backstay.tier(self.plan.tier.as_str())?.1;
        let configuration = DetailLine::Configuration(ConfigurationLine {
            version: VERSION.to_owned(),
            host: host(),
            components: self.plan.components.iter().map(ConfiguredComponent::from).collect(),
            hooks: self.plan.hooks.clone(),
            policies: tier.policies.iter().map(|policy| format!("{policy:?}")).collect(),
            limits: Some(self.backstay.vault.budget().limits().clone()),
            asked: self.request.asked(),
            tier: serde_json::to_value(tier)
                .map_err(|error| Error::new(ErrorKind::Other, "the tier cannot be written as JSON").because(error))?,
        });
        let components = exported.iter().map(|e| DetailLine::Component(e.detail_line()));
        let items = exported.iter().flat_map(Exported::restorable).map(|item| DetailLine::Item(item.line.clone()));
        let size = exported.iter().map(|e| 512 + 512 * e.items.len() as u64).sum();
        let lines = std::iter::once(configuration).chain(components).chain(items).map(|line| line.to_line());
        self.backstay.vault.put_lines(key, self.sink.put_options()?, size, lines).await
    }

    fn manifest(&self, exported: &[Exported], previous: Option<RunId>, details: DetailsRef) -> Result<Manifest> {
        let vault = &self.backstay.vault;
        let good = exported.iter().all(|e| e.outcome() == Outcome::Good);
        Ok(Manifest {
            vault: vault.id().clone(),
            source: self.point().source.clone(),
            tier: self.point().tier.clone(),
            id: self.point().run.clone(),
            attempt: self.sink.attempt.clone(),
            status: if good { Status::Complete } else { Status::Partial },
            requires: Vec::new(),
            epoch: vault.seals_to()?.cloned(),
            previous,
            started: self.started,
            completed: vault.clock().now(),
            labels: self.plan.labels.clone(),
            components: exported.iter().map(Exported::manifest_entry).collect(),
            details: Some(details),
            extra: Map::new(),
        })
    }

    /// What goes before the commit: the signature, then the hint if it is partial.
    async fn sign(&self, manifest: &Manifest, until: Timestamp) -> Result<Bytes> {
        let vault = &self.backstay.vault;
        let point = self.point();
        let bytes = manifest.to_bytes()?;
        check_length(&bytes, MAX_MANIFEST_BYTES, &layout::manifest(point)?)?;
        let signatures = |digest: &Sha256| layout::signatures(point, layout::SIGNED_POINT, digest);
        let signed = vault.put_signature(&bytes, Purpose::Point, signatures, &self.sink.put_options()?).await?;
        // A sweep may be taking the run's items away: to commit now could make a point without them.
        if signed.last_modified > until {
            return Err(Error::new(ErrorKind::Refused, "the run took longer than any run may, so it may be given up")
                .with("until", until)
                .advise("raise `Limits::longest_run` in every program of the vault, or make the run shorter"));
        }
        if manifest.status == Status::Partial {
            let hint = layout::point_file(point, &PointFile::PartialHint)?;
            put_new(vault.store(), &hint, Bytes::new(), &PutOptions::default()).await?;
        }
        Ok(bytes.into())
    }

    /// Says at once when a component is suddenly another or much smaller than this process wrote it lately. A writer cannot
    /// read whether somebody accepted that, so what it warned of soon becomes the measure all the same.
    fn compare_with_seen(&self, exported: &[Exported]) {
        let mut seen = self.backstay.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for done in exported.iter().filter(|e| e.outcome() == Outcome::Good) {
            let now = Content::from(&done.manifest_entry());
            let baseline = seen.entry(done.configured.name.clone()).or_default();
            if let Some(why) = baseline.doubt(&now) {
                self.warn(&done.configured.name, format!("the component {why}"));
            }
            baseline.add(now);
        }
    }

    fn warn(&self, place: &impl Display, message: impl Into<String>) {
        self.observers.emit(&Event::Warning { place: place.to_string(), message: message.into() });
    }
}

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Hooks that failed after the cut make their components incomplete.
fn blame(exported: &mut [Exported], failed: Vec<(Vec<Name>, Error)>) {
    for (components, error) in failed {
        for done in exported.iter_mut().filter(|e| components.contains(&e.configured.name)) {
            done.add_problem(Problem::new("hook after the cut", &error));
        }
    }
}

pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl From<&crate::engine::backup::PlannedComponent> for ConfiguredComponent {
    fn from(planned: &crate::engine::backup::PlannedComponent) -> Self {
        Self { name: planned.name.clone(), kind: planned.kind.clone(), exporter: planned.exporter.clone() }
    }
}
