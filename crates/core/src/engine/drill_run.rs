//! One drill: pick, sweep, prepare, plan, restore, validate; remove whatever happened; a proof and a record of it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};

use crate::engine::builder::Inner;
use crate::engine::drill::DrillRequest;
use crate::engine::drill_progress::{Picked, Progress};
use crate::engine::drill_report::{DrillPhase, DrillReport, Measured, span_at};
use crate::engine::history::ActLog;
use crate::engine::restore::{RestoreReport, RestoreRequest};
use crate::engine::stop::Stopped;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId, RunId, Tag};
use crate::source::{DrillPlace, DrillTarget, Validation};
use crate::tier::Tier;
use crate::vault::history::Act;
use crate::vault::runs::after;
use crate::vault::{Outcome, Point, Purpose};

pub(crate) struct Drill {
    pub(super) backstay: Arc<Inner>,
    pub(super) component: Name,
    target: Arc<dyn DrillTarget>,
    point: Option<PointId>,
    tier: Option<Name>,
    time_to_live: Duration,
    pub(super) log: ActLog,
    /// The program's, and the log.
    pub(super) observers: Observers,
}

impl Drill {
    /// Runs a request to its end. Whatever ends it, the scratch place is removed before this returns.
    pub(crate) async fn execute(request: DrillRequest, mut stopped: Stopped) -> Result<DrillReport> {
        let backstay = request.backstay.clone();
        let Some(mut alive) = backstay.runs.enter() else {
            return Err(Error::new(ErrorKind::Cancelled, "the program is shutting down").operation("drill"));
        };
        let clock = backstay.vault.clock().clone();
        let drill = Self::new(request).map_err(|error| error.operation("drill"))?;
        let mut progress = Progress::new(clock.clone());
        let outcome = tokio::select! {
            biased;
            error = stopped.wait() => Err(error),
            reason = alive.told_to_end(backstay.signals) => Err(Error::new(ErrorKind::Cancelled, reason)),
            () = clock.sleep(drill.time_to_live) => Err(drill.too_long()),
            result = AssertUnwindSafe(drill.work(&mut progress)).catch_unwind() => result.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Other, "the target, its importer or its validation panicked"))
            }),
        };
        progress.remove().await;
        let outcome = drill.settle(progress, outcome).await;
        drop(alive);
        outcome
    }

    fn new(request: DrillRequest) -> Result<Self> {
        let DrillRequest { backstay, component, target, point, tier, time_to_live } = request;
        let target = target.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "it was not said into what to restore").advise("name a target by `into`")
        })?;
        let component: Name = component.parse()?;
        let tier = tier.map(|tier| backstay.tier(&tier).map(|(name, _)| name)).transpose()?;
        if let Some(point) = point.as_ref().filter(|point| point.source != backstay.source) {
            return Err(Error::new(ErrorKind::Invalid, "the point is another source's")
                .with("point", point)
                .with("source", &backstay.source)
                .advise("drill it by a program of its own source"));
        }
        let vault = &backstay.vault;
        vault.signer(Purpose::Proof)?;
        let id = RunId::new(vault.clock().now(), &**vault.random());
        let log = ActLog::begin(vault, backstay.source.clone(), id, Act::Drill);
        let observers = log.with(&backstay.observers);
        Ok(Self { backstay, component, target, point, tier, time_to_live, log, observers })
    }

    /// Everything up to the removal.
    async fn work(&self, progress: &mut Progress) -> Result<()> {
        progress.enter(DrillPhase::Pick);
        let began = self.backstay.vault.store().now().await?;
        let point = self.pick().await?;
        progress.picked = Some(self.picked(&point, began)?);
        let id = point.id.clone();
        self.observers.emit(&Event::DrillStarted { point: id.clone(), component: self.component.clone() });

        progress.enter(DrillPhase::Sweep);
        match self.target.sweep(began).await {
            Ok(swept) => progress.report(|report| report.swept = swept),
            // What another drill left is no fault of this one.
            Err(error) => {
                let note = format!("what killed drills left could not be swept: {error}");
                self.warn(&note);
                progress.report(|report| report.notes.push(note));
            }
        }

        progress.enter(DrillPhase::Prepare);
        let tag = Tag::new(&**self.backstay.vault.random());
        let times = (began, after(began, self.time_to_live));
        let (target, place) = (self.target.clone(), DrillPlace::new(self.component.clone(), id.clone(), times, tag));
        progress.preparing = Some(tokio::spawn(async move { target.prepare(&place).await }));
        let scratch = progress.prepared().await?;

        progress.enter(DrillPhase::Plan);
        let request = RestoreRequest::new(self.backstay.everywhere().clone(), id, self.observers.clone());
        let request = request.component(self.component.as_str()).into_shared(scratch.importer());
        let mut planned = request.plan().await?;
        progress.restored = planned.read();

        progress.enter(DrillPhase::Restore);
        let (restored, _) = planned.run(self.observers.clone()).await;
        let told = match &restored {
            Ok(told) => Some(told),
            Err(error) => error.payload::<RestoreReport>(),
        };
        progress.report(|report| report.import = told.map(|told| told.import.clone()));
        restored?;
        let part = planned.part().await?;
        progress.report(|report| report.part = part);

        progress.enter(DrillPhase::Validate);
        let validation = scratch.validate(planned.items()).await?;
        progress.leave();
        let verdict = verdict(&validation, planned.incomplete);
        progress.report(|report| report.validation = Some(validation));
        verdict
    }

    /// The point that a restore would take.
    async fn pick(&self) -> Result<Point> {
        let points = self.backstay.everywhere().points().source(self.backstay.source.clone());
        match (&self.point, &self.tier) {
            (Some(point), _) => points.get(point).await,
            (None, Some(tier)) => points.tier(tier.clone()).latest(self.component.as_str()).await,
            (None, None) => points.latest(self.component.as_str()).await,
        }
    }

    fn picked(&self, point: &Point, began: Timestamp) -> Result<Picked> {
        let component = point.manifest.component(&self.component).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the point has no such component")
                .with("point", &point.id)
                .with("component", &self.component)
        })?;
        let tier = self.backstay.tier(point.id.tier.as_str()).ok().map(|(_, tier)| tier);
        let shows = point.shows(component);
        // A host's clock may be a little ahead of the store's.
        let age = began.duration_since(shows).max(SignedDuration::ZERO);
        let report = DrillReport {
            component: self.component.clone(),
            point: point.id.clone(),
            began,
            shows,
            scratch: self.target.to_string(),
            incomplete: component.outcome != Outcome::Good,
            bytes: 0,
            part: None,
            phases: BTreeMap::new(),
            rpo: Measured::new(age, span_at(tier, |tier: &Tier| tier.rpo, began)?),
            rto: None,
            import: None,
            validation: None,
            error: None,
            left: None,
            swept: Vec::new(),
            notes: Vec::new(),
        };
        Ok(Picked {
            report,
            manifest: point.sha256,
            objects: component.objects.len() as u64,
            stored: component.objects.iter().map(|object| object.bytes).sum(),
            rto_allowed: span_at(tier, |tier: &Tier| tier.rto, began)?,
        })
    }

    pub(super) fn warn(&self, message: &str) {
        let (place, message) = (self.component.to_string(), message.to_owned());
        self.observers.emit(&Event::Warning { place, message });
    }

    fn too_long(&self) -> Error {
        Error::new(ErrorKind::Timeout, format!("the drill took longer than {:?}", self.time_to_live))
            .advise("give it more by `time_to_live`, or find out what is slow")
    }
}

/// What was checked decides, and whether all of the component was there to be checked.
fn verdict(validation: &Validation, incomplete: bool) -> Result<()> {
    let failed = |text: String| Err(Error::new(ErrorKind::Conflict, text).advise("the report has every check"));
    match validation.checks.iter().find(|check| !check.ok) {
        Some(first) => failed(format!(
            "{} of {} checks of the restored failed, the first: {}: expected {}, found {}",
            validation.failed(),
            validation.checks.len(),
            first.name.escape_debug(),
            first.expected.escape_debug(),
            first.found.escape_debug()
        )),
        None if validation.checks.is_empty() => failed("nothing of the restored was checked".to_owned()),
        None if incomplete => Err(Error::new(ErrorKind::Partial, "the point does not have the component whole")
            .advise("drill a point in which it is good")),
        None => Ok(()),
    }
}
