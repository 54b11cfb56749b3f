//! One run: record, hooks, exports side by side, details, signature, commit.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Map;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

use crate::digest::Sha256;
use crate::engine::backup::{BackupPlan, BackupRequest};
use crate::engine::backup_report::BackupReport;
use crate::engine::builder::{Configured, Inner, Seen};
use crate::engine::component::{self, Exported};
use crate::engine::hooks::RunHooks;
use crate::engine::sink::{ComponentSink, RunSink};
use crate::engine::stop::Stopped;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::name::{Name, PointId, RunId, Tag};
use crate::source::{ExportRequest, Problem};
use crate::store::PutOptions;
use crate::vault::details::{ConfigurationLine, ConfiguredComponent, DetailLine};
use crate::vault::handle::Sealing;
use crate::vault::layout::{self, PointFile};
use crate::vault::manifest::{DetailsRef, MAX_MANIFEST_BYTES, Manifest, Outcome, Status};
use crate::vault::points::NewestFirst;
use crate::vault::settle::put_new;
use crate::vault::signed::{Purpose, check_length};

pub(crate) struct Run {
    backstay: Arc<Inner>,
    request: BackupRequest,
    plan: BackupPlan,
    sink: Arc<RunSink>,
    started: Timestamp,
    began: Duration,
    /// Every component's items, so that a cancelled run can give back what it had under way.
    open: Mutex<Vec<ComponentSink>>,
}

/// A run that only lacks its commit.
struct Prepared {
    exported: Vec<Exported>,
    bytes: Bytes,
    partial: bool,
}

impl Run {
    /// Runs a request to its end. Whatever ends it, every hook that was begun is undone before this returns.
    pub(crate) async fn execute(request: BackupRequest, mut stopped: Stopped) -> Result<BackupReport> {
        let backstay = request.backstay.clone();
        let Some(mut alive) = backstay.runs.enter() else {
            return Err(Error::new(ErrorKind::Cancelled, "the program is shutting down").operation("backup"));
        };
        let run = Self::new(request)?;
        let mut hooks = RunHooks::new(backstay.clone(), run.point().clone());
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
            backstay.observers.emit(&Event::BackupFailed { point: run.point().clone(), error: error.kind() });
        }
        drop(alive);
        outcome
    }

    fn new(request: BackupRequest) -> Result<Self> {
        let plan = request.plan().map_err(|error| error.operation("backup"))?;
        let backstay = request.backstay.clone();
        let vault = backstay.vault.clone();
        let started = vault.clock().now();
        let run = RunId::new(started, &**vault.random());
        let point = PointId { source: plan.source.clone(), tier: plan.tier.clone(), run };
        let attempt = Tag::new(&**vault.random());
        let began = vault.clock().monotonic();
        let sink = Arc::new(RunSink::new(vault, point, attempt, backstay.observers.clone()));
        Ok(Self { backstay, request, plan, sink, started, began, open: Mutex::default() })
    }

    fn point(&self) -> &PointId {
        &self.sink.point
    }

    /// Everything up to the commit, which makes the point exist.
    async fn prepare(&self, hooks: &mut RunHooks) -> Result<Prepared> {
        let names = self.plan.components.iter().map(|component| component.name.clone()).collect::<Vec<_>>();
        self.backstay.observers.emit(&Event::BackupStarted { point: self.point().clone(), components: names.clone() });
        self.record_begin().await?;
        let previous = self.previous().await?;
        let exported = self.export_all(hooks, &names).await?;
        component::nothing_exported(&exported)?;
        let details = self.write_details(&exported).await?;
        let manifest = self.manifest(&exported, previous, details);
        let bytes = self.sign(&manifest).await?;
        Ok(Prepared { exported, bytes, partial: manifest.status == Status::Partial })
    }

    /// Makes the point exist: the manifest, create-only.
    async fn commit(&self, Prepared { exported, bytes, partial }: Prepared) -> Result<BackupReport> {
        let vault = &self.backstay.vault;
        let key = layout::manifest(self.point())?;
        let meta = put_new(vault.store(), &key, bytes, &PutOptions::default()).await?;
        vault.saw_store_time(meta.last_modified);
        self.backstay.observers.emit(&Event::Committed { point: self.point().clone(), partial });
        self.compare_with_seen(&exported);
        let report = BackupReport {
            id: self.point().clone(),
            components: exported.iter().map(Exported::report).collect(),
            took: self.backstay.vault.clock().monotonic().saturating_sub(self.began),
        };
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

    /// Says that the attempt began, and until when it may be alive.
    async fn record_begin(&self) -> Result<()> {
        #[derive(Serialize)]
        struct Begin<'a> {
            host: String,
            process: u32,
            version: &'a str,
            started: Timestamp,
        }
        let vault = &self.backstay.vault;
        let longest = SignedDuration::try_from(vault.budget().limits().longest_run).unwrap_or(SignedDuration::MAX);
        let until = vault.store_time().saturating_add(longest).unwrap_or(Timestamp::MAX);
        let begin = Begin { host: host(), process: std::process::id(), version: VERSION, started: self.started };
        let key = layout::run_began(self.point(), &self.sink.attempt, until)?;
        let meta = put_new(vault.store(), &key, json(&begin)?, &PutOptions::default()).await?;
        vault.saw_store_time(meta.last_modified);
        Ok(())
    }

    /// Says how the attempt ended; without it the sweep would only wait longer, so a failure here is no more than logged.
    async fn record_end(&self, error: &Error) {
        #[derive(Serialize)]
        struct End {
            ended: Timestamp,
            error: String,
        }
        let vault = &self.backstay.vault;
        // The kind alone: the text may name what only a reader with the key should know.
        let end = End { ended: vault.clock().now(), error: error.kind().to_string() };
        let put = async {
            let key = layout::run_ended(self.point(), &self.sink.attempt)?;
            put_new(vault.store(), &key, json(&end)?, &PutOptions::default()).await
        };
        if let Err(error) = put.await {
            tracing::warn!(point = %self.point(), %error, "the end of the run could not be recorded");
        }
    }

    /// The newest committed run of the tier, found with at most two listings; none if it lies further back.
    async fn previous(&self) -> Result<Option<RunId>> {
        let mut windows = NewestFirst::new(&self.backstay.vault, &self.plan.source, &self.plan.tier);
        Ok(windows.recent().await?.map(|listed| listed.id.run))
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
            let request = ExportRequest::new(configured.name.clone(), self.point().clone(), self.started);
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
        exported.iter().for_each(|e| self.backstay.observers.emit(&e.event()));
        Ok(exported)
    }

    /// Writes item names, facts, digests and errors where only a reader with the key sees them.
    async fn write_details(&self, exported: &[Exported]) -> Result<DetailsRef> {
        let key = layout::details(self.point(), &self.sink.attempt, self.sink.wrapping())?;
        let tier = self.backstay.tier(self.plan.tier.as_str())?.1;
        let configuration = DetailLine::Configuration(ConfigurationLine {
            version: VERSION.to_owned(),
            host: host(),
            components: self.plan.components.iter().map(ConfiguredComponent::from).collect(),
            tier: serde_json::to_value(tier)
                .map_err(|error| Error::new(ErrorKind::Other, "the tier cannot be written as JSON").because(error))?,
        });
        let components = exported.iter().map(|e| DetailLine::Component(e.detail_line()));
        let items = exported.iter().flat_map(Exported::restorable).map(|item| DetailLine::Item(item.line.clone()));
        let size = exported.iter().map(|e| 512 + 512 * e.items.len() as u64).sum();
        let mut encoder = self.sink.encoder(key, Some(size)).await?;
        for line in std::iter::once(configuration).chain(components).chain(items) {
            encoder.write(line.to_line()?.into()).await?;
        }
        let mut encoded = encoder.finish().await?;
        match (encoded.objects.pop(), encoded.objects.is_empty()) {
            (Some(object), true) => {
                let (bytes, plain_bytes) = (object.bytes, encoded.bytes);
                Ok(DetailsRef { key: object.key, bytes, sha256: object.sha256, parts: object.parts, plain_bytes })
            }
            _ => Err(Error::new(ErrorKind::Exhausted, "the details of one point do not fit one object")),
        }
    }

    fn manifest(&self, exported: &[Exported], previous: Option<RunId>, details: DetailsRef) -> Manifest {
        let vault = &self.backstay.vault;
        let good = exported.iter().all(|e| e.outcome() == Outcome::Good);
        let epoch = match vault.sealing() {
            Sealing::To(epoch) => Some(epoch.clone()),
            Sealing::Nothing => None,
        };
        Manifest {
            vault: vault.id().clone(),
            source: self.point().source.clone(),
            tier: self.point().tier.clone(),
            id: self.point().run.clone(),
            attempt: self.sink.attempt.clone(),
            status: if good { Status::Complete } else { Status::Partial },
            requires: Vec::new(),
            epoch,
            previous,
            started: self.started,
            completed: vault.clock().now(),
            labels: self.plan.labels.clone(),
            components: exported.iter().map(Exported::manifest_entry).collect(),
            details: Some(details),
            extra: Map::new(),
        }
    }

    /// What goes before the commit: the signature, then the hint if it is partial.
    async fn sign(&self, manifest: &Manifest) -> Result<Bytes> {
        let vault = &self.backstay.vault;
        let point = self.point();
        let bytes = manifest.to_bytes()?;
        check_length(&bytes, MAX_MANIFEST_BYTES, &layout::manifest(point)?)?;
        let signatures = |digest: &Sha256| layout::signatures(point, layout::SIGNED_POINT, digest);
        vault.put_signature(&bytes, Purpose::Point, signatures).await?;
        if manifest.status == Status::Partial {
            let hint = layout::point_file(point, &PointFile::PartialHint)?;
            put_new(vault.store(), &hint, Bytes::new(), &PutOptions::default()).await?;
        }
        Ok(bytes.into())
    }

    /// Says at once when a component is suddenly another, or much smaller than this process wrote it last.
    fn compare_with_seen(&self, exported: &[Exported]) {
        let mut seen = self.backstay.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for done in exported.iter().filter(|e| e.outcome() == Outcome::Good) {
            let now = Seen { identity: done.report.identity.clone(), bytes: done.bytes() };
            let Some(before) = seen.insert(done.configured.name.clone(), now.clone()) else { continue };
            let changed = match (&before.identity, &now.identity) {
                (Some(before), Some(now)) if before != now => {
                    Some(format!("the component was {before} and is now {now}"))
                }
                _ if now.bytes < before.bytes / 2 => {
                    Some(format!("the component shrank from {} to {} bytes", before.bytes, now.bytes))
                }
                _ => None,
            };
            if let Some(message) = changed {
                self.backstay.observers.emit(&Event::Warning { place: done.configured.name.to_string(), message });
            }
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Hooks that failed after the cut make their components incomplete.
fn blame(exported: &mut [Exported], failed: Vec<(Vec<Name>, Error)>) {
    for (components, error) in failed {
        for done in exported.iter_mut().filter(|e| components.contains(&e.configured.name)) {
            done.add_problem(Problem::new("hook after the cut", &error));
        }
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn json(document: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec_pretty(document)
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorKind::Other, "a record cannot be written as JSON").because(error))
}

impl From<&crate::engine::backup::PlannedComponent> for ConfiguredComponent {
    fn from(planned: &crate::engine::backup::PlannedComponent) -> Self {
        Self { name: planned.name.clone(), kind: planned.kind.clone(), exporter: planned.exporter.clone() }
    }
}
