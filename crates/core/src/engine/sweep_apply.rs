//! Sweeping: the commit key first, then what dead attempts left, the records last.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::adopt::waits_for_undo;
use crate::engine::builder::Inner;
use crate::engine::sweep::{SweepAction, SweepPlan, SweepStep};
use crate::engine::sweep_facts::{objects_of, uploads_of};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{PointId, Tag};
use crate::source::Problem;
use crate::store::{Key, UploadRef};
use crate::vault::commit::Commit;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::points::list_run;
use crate::vault::runs::{RecordedRun, list_attempts};
use crate::vault::wary::Wary;
use crate::vault::{Point, Vault};

/// What a sweep did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SweepReport {
    /// Runs that were given up.
    pub voided: Vec<PointId>,
    /// Runs of which dead attempts' leavings are gone, those that were given up included.
    pub cleaned: Vec<PointId>,
    /// Runs of which nothing is left.
    pub forgotten: Vec<PointId>,
    /// Objects that are gone.
    pub objects: u64,
    /// Stored bytes that are free now.
    pub bytes: u64,
    /// Unfinished uploads that were aborted.
    pub uploads: u64,
    /// Runs that were to be treated and were left, each with the reason.
    pub left: Vec<Problem>,
}

pub(crate) async fn apply(backstay: &Arc<Inner>, plan: SweepPlan) -> Result<SweepReport> {
    let vault = &backstay.vault;
    vault.check_may_delete().await?;
    let sweeper = Sweeper { backstay, vault, observers: &backstay.observers, now: vault.agreed_time().await? };
    let mut report = SweepReport::default();
    let mut failed = Vec::new();
    for step in plan.steps.iter().filter(|step| step.action != SweepAction::Keep) {
        match sweeper.step(step, &mut report).await {
            Ok(None) => {}
            Ok(Some(why)) => report.left.push(Problem::new(step.id.to_string(), why)),
            // One run that stays must not keep the others; but a store that fails altogether ends it.
            Err(error) if error.kind().ends_all() => {
                report.left.append(&mut failed);
                return Err(error.with("point", &step.id).with_payload(report));
            }
            Err(error) => failed.push(Problem::new(step.id.to_string(), &error)),
        }
    }
    for upload in &plan.uploads {
        match sweeper.abort(upload, &mut report).await {
            Ok(()) => {}
            Err(error) if error.kind().ends_all() => {
                report.left.append(&mut failed);
                return Err(error.with_payload(report));
            }
            Err(error) => failed.push(Problem::new(upload.key.to_string(), &error)),
        }
    }
    let Some(first) = failed.first() else { return Ok(report) };
    let text = format!("{} things could not be treated, the first: {}: {}", failed.len(), first.what, first.why);
    report.left.append(&mut failed);
    Err(Error::new(ErrorKind::Partial, text).with_payload(report))
}

struct Sweeper<'a> {
    backstay: &'a Inner,
    vault: &'a Vault,
    observers: &'a Observers,
    /// By the store's clock. What was dead then is dead.
    now: Timestamp,
}

impl Sweeper<'_> {
    /// Treats one run. Whatever the plan saw is looked at again; says why it was left, if it was.
    async fn step(&self, step: &SweepStep, report: &mut SweepReport) -> Result<Option<&'static str>> {
        let id = &step.id;
        let (mut runs, _) = list_attempts(self.vault, &layout::runs_of(id)?).await?;
        let run = runs.remove(id).unwrap_or_else(|| RecordedRun::unrecorded(id.clone()));
        let longest_run = self.vault.budget().limits().longest_run;
        // Whoever would commit the run must be dead; of a point that stands only those whose leavings go.
        let concerned = |tag: &&Tag| step.action != SweepAction::Clean || step.attempts.contains(tag);
        for tag in run.attempts.keys().filter(concerned) {
            let dead_from = run.attempt_dead_from(&run.attempts[tag], longest_run);
            if dead_from > self.now || !step.attempts.contains(tag) {
                return Ok(Some("there is another attempt at it since the plan"));
            }
        }
        if let Some(listed) = list_run(self.vault, id).await?
            && Wary::default().mark_that_counts(self.vault, &listed, &MarkName::Deleted).await?.is_some()
        {
            return Ok(Some("its point is being deleted"));
        }
        // Another sweep was here.
        if run.attempts.is_empty() && step.action != SweepAction::Forget {
            return Ok(None);
        }
        let commit = self.vault.commit_of(id).await?;
        match (step.action, commit) {
            (SweepAction::Keep, _) => Ok(None),
            (SweepAction::Void, Some(Commit::Point(_))) => Ok(Some("it made its point since the plan")),
            (SweepAction::Void, commit) => {
                if commit.is_none() && !self.give_up(step, report).await? {
                    return Ok(Some("something else took its commit key since the plan"));
                }
                self.clean(step, None, report).await?;
                // So late another sweep may have forgotten the run between two of our calls: then this void is alone.
                if run.forgotten_from(longest_run) <= self.vault.store().now().await? {
                    return self.forget(run, true, report).await;
                }
                Ok(None)
            }
            (SweepAction::Clean, None) => Ok(Some("its commit key is free since the plan")),
            (SweepAction::Clean, Some(Commit::Void)) => {
                self.clean(step, None, report).await?;
                Ok(None)
            }
            (SweepAction::Clean, Some(Commit::Point(point))) => {
                self.clean(step, Some(&point), report).await?;
                // Until here the records name what is to go; of a point that stands they are of no more use.
                let done = run.attempts.into_iter().filter(|(tag, _)| step.attempts.contains(tag));
                self.vault.delete_keys(done.flat_map(|(_, attempt)| attempt.records)).await?;
                Ok(None)
            }
            (SweepAction::Forget, Some(Commit::Point(_))) => Ok(Some("it made its point since the plan")),
            (SweepAction::Forget, commit) => {
                if run.forgotten_from(longest_run) > self.now {
                    return Ok(Some("it has a later record since the plan"));
                }
                self.forget(run, commit.is_some(), report).await
            }
        }
    }

    /// Takes the run's commit key; says whether it got it.
    async fn give_up(&self, step: &SweepStep, report: &mut SweepReport) -> Result<bool> {
        match self.vault.put_void(&step.id, &step.reason).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            put => put?,
        }
        self.observers.emit(&Event::Voided { point: step.id.clone() });
        report.voided.push(step.id.clone());
        Ok(true)
    }

    /// Takes away what the step's attempts left. Nobody can commit it any more, or a point stands that does not name it.
    async fn clean(&self, step: &SweepStep, point: Option<&Point>, report: &mut SweepReport) -> Result<()> {
        let id = &step.id;
        let uploads = uploads_of(self.vault, [layout::items_of(id)?, layout::details_of(id)?]).await?;
        let dead = uploads.into_iter().filter(|((_, attempt), _)| step.attempts.contains(attempt));
        for upload in dead.flat_map(|(_, uploads)| uploads) {
            match self.abort(&upload, report).await {
                // Blocks of Azure go by themselves; the run's objects do not.
                Err(error) if error.kind() == ErrorKind::Denied => {
                    report.left.push(Problem::new(upload.key.to_string(), &error));
                }
                done => done?,
            }
        }
        let own = point.map(|point| &point.manifest.attempt);
        let named: BTreeSet<Key> =
            point.iter().flat_map(|point| point.manifest.objects()).map(|object| object.key).collect();
        let by = |attempt: &Tag| step.attempts.contains(attempt) && own != Some(attempt);
        let mut objects = objects_of(self.vault, id, by).await?;
        objects.retain(|object| !named.contains(&object.key));
        let bytes = objects.iter().map(|object| object.size).sum();
        report.objects += objects.len() as u64;
        report.bytes += bytes;
        self.vault.delete_keys(objects.into_iter().map(|object| object.key)).await?;
        self.observers.emit(&Event::Swept { point: id.clone(), bytes });
        report.cleaned.push(id.clone());
        Ok(())
    }

    async fn abort(&self, upload: &UploadRef, report: &mut SweepReport) -> Result<()> {
        self.vault.check_writable()?;
        self.vault.store().abort_upload(upload).await.map_err(|error| error.with("key", &upload.key))?;
        report.uploads += 1;
        Ok(())
    }

    /// Takes away the void, what stands beside it, and the records last, so that whoever stops here is followed.
    async fn forget(&self, run: RecordedRun, void: bool, report: &mut SweepReport) -> Result<Option<&'static str>> {
        let id = &run.id;
        if waits_for_undo(self.backstay, &run) {
            return Ok(Some("its hooks may be begun, and nobody has undone them"));
        }
        if !objects_of(self.vault, id, |attempt| run.attempts.contains_key(attempt)).await?.is_empty() {
            return Ok(Some("it left something since the plan"));
        }
        // Before the void: without it, signed and gone would look like a point that somebody took away.
        let signed = self.vault.keys(&layout::signatures_of(id)?).await?;
        let is_point = |key: &&Key| matches!(layout::parse_signature(key), Some((_, layout::SIGNED_POINT)));
        self.vault.delete_keys(signed.iter().filter(is_point).cloned().collect::<Vec<_>>()).await?;
        if void {
            self.vault.delete_keys([layout::manifest(id)?]).await?;
        }
        let hints = [PointFile::VoidHint, PointFile::PartialHint].map(|hint| layout::point_file(id, &hint));
        self.vault.delete_keys(hints.into_iter().collect::<Result<Vec<_>>>()?).await?;
        self.vault.delete_keys(self.vault.keys(&layout::signatures_of(id)?).await?).await?;
        self.vault.delete_keys(run.attempts.into_values().flat_map(|attempt| attempt.records)).await?;
        report.forgotten.push(run.id);
        Ok(None)
    }
}
