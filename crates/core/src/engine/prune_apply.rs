//! Deleting, in two steps: the tombstone, and after the grace the bytes.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::engine::builder::Inner;
use crate::engine::drill_newest::NewestDrills;
use crate::engine::history::ActLog;
use crate::engine::prune::{PruneAction, PrunePlan, PruneStep};
use crate::engine::prune_facts::{hold_now, lock_now, may_go_from};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{PointId, RunId};
use crate::source::Problem;
use crate::store::Key;
use crate::vault::Vault;
use crate::vault::history::Act;
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::manifest::MAX_MANIFEST_BYTES;
use crate::vault::mark::{Mark, MarkKind, VerifiedMark, WorkList};
use crate::vault::points::list_run;
use crate::vault::prove::stored_objects;

/// What a prune did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PruneReport {
    /// Points that got a tombstone.
    pub tombstoned: Vec<PointId>,
    /// Points that are gone.
    pub deleted: Vec<PointId>,
    /// Points whose deletion was taken back.
    pub undeleted: Vec<PointId>,
    /// Stored bytes that are free now.
    pub bytes: u64,
    /// Points that were to be treated and were left, each with the reason.
    pub left: Vec<Problem>,
}

pub(crate) async fn apply(backstay: &Arc<Inner>, plan: PrunePlan) -> Result<PruneReport> {
    let vault = &backstay.vault;
    let id = RunId::new(vault.clock().now(), &**vault.random());
    let log = ActLog::begin(vault, plan.source.clone(), id, Act::Prune);
    let result = apply_steps(vault, &log.with(&backstay.observers), &plan).await;
    let (report, error) = match &result {
        Ok(report) => (Some(report), None),
        Err(error) => (error.payload(), Some(error)),
    };
    // A prune that found nothing to do is no event.
    if error.is_some() || report.is_some_and(|report| *report != PruneReport::default()) {
        let bytes = report.map_or(0, |report| report.bytes);
        log.end(error, |record| (record.tier, record.bytes) = (Some(plan.tier.clone()), bytes)).await;
    }
    result
}

async fn apply_steps(vault: &Vault, observers: &Observers, plan: &PrunePlan) -> Result<PruneReport> {
    vault.check_may_delete().await?;
    let pruner = Pruner { vault, observers, plan, began: vault.store().now().await? };
    let mut report = PruneReport::default();
    let mut failed = Vec::new();
    for step in &plan.steps {
        if let Err(error) = pruner.step(step, &mut report).await {
            // One point that stays must not keep the others; but a store that fails altogether ends it.
            if error.kind().ends_all() {
                report.left.append(&mut failed);
                return Err(error.with("point", &step.id).with_payload(report));
            }
            // Bytes that somebody locked stay until the lock ends, and the tombstone with them: a later prune takes them.
            let places = if error.kind() == ErrorKind::Locked { &mut report.left } else { &mut failed };
            places.push(Problem::new(step.id.to_string(), &error));
        }
    }
    let Some(first) = failed.first() else { return Ok(report) };
    let text = format!("{} points could not be treated, the first: {}: {}", failed.len(), first.what, first.why);
    report.left.append(&mut failed);
    Err(Error::new(ErrorKind::Partial, text).with_payload(report))
}

struct Pruner<'a> {
    vault: &'a Vault,
    observers: &'a Observers,
    plan: &'a PrunePlan,
    /// By the store's time. A grace that was over then is over.
    began: Timestamp,
}

impl Pruner<'_> {
    async fn step(&self, step: &PruneStep, report: &mut PruneReport) -> Result<()> {
        match step.action {
            PruneAction::Keep | PruneAction::Wait => Ok(()),
            PruneAction::Tombstone => self.tombstone(step, report).await,
            PruneAction::Delete => self.delete(&step.id, report).await,
            PruneAction::Undelete => {
                self.end_deletion(&step.id).await?;
                report.undeleted.push(step.id.clone());
                Ok(())
            }
        }
    }

    /// Marks a point for deletion, then looks again: a hold that came meanwhile wins.
    async fn tombstone(&self, step: &PruneStep, report: &mut PruneReport) -> Result<()> {
        let id = &step.id;
        let point = match self.vault.read_point(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        if self.held(id, report).await? {
            return Ok(());
        }
        let (objects, bytes) = self.stored(id).await?;
        let grace = SignedDuration::try_from(self.plan.grace).unwrap_or(SignedDuration::MAX);
        let not_before = self.vault.store().now().await?.saturating_add(grace).unwrap_or(jiff::Timestamp::MAX);
        let mark = Mark {
            vault: self.vault.id().clone(),
            point: id.clone(),
            manifest: point.sha256,
            says: MarkKind::Deletion(WorkList { not_before, objects, bytes }),
            at: self.vault.clock().now(),
            reason: step.reason.clone(),
        };
        match self.vault.put_mark(&mark).await {
            // Another pruner was first, unless what stands there does not count.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.vault.get_mark(id, &MarkName::Deleted).await?;
            }
            other => drop(other?),
        }
        if self.held(id, report).await? {
            return self.end_deletion(id).await;
        }
        self.observers.emit(&Event::Tombstoned { point: id.clone() });
        report.tombstoned.push(id.clone());
        Ok(())
    }

    /// Takes a point away: the manifest first, then bytes, then what stands beside it, the tombstone last.
    async fn delete(&self, id: &PointId, report: &mut PruneReport) -> Result<()> {
        let tombstone = match self.vault.get_mark(id, &MarkName::Deleted).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                report.left.push(Problem::new(id.to_string(), "the deletion was taken back"));
                return Ok(());
            }
            other => other?,
        };
        // Without its manifest the point is none any more: a deletion that has begun goes through.
        if self.stands(id, &tombstone).await? {
            if !self.plan.no_grace && may_go_from(&tombstone).is_none_or(|from| from > self.began) {
                report.left.push(Problem::new(id.to_string(), "it was marked again, and that grace is not over"));
                return Ok(());
            }
            if self.held(id, report).await? {
                return self.end_deletion(id).await;
            }
        }
        let MarkKind::Deletion(work) = tombstone.mark.says else {
            return Err(Error::new(ErrorKind::Corrupt, "the tombstone is none"));
        };
        // The work list is signed, but still only what lies under the point's own ID may go.
        work.objects.iter().try_for_each(|key| layout::check_own(id, key))?;
        self.vault.delete_keys([layout::manifest(id)?]).await?;
        let (stored, _) = self.stored(id).await?;
        self.vault.delete_keys(work.objects.into_iter().chain(stored)).await?;
        let last = layout::point_file(id, &PointFile::Mark(MarkName::Deleted))?;
        let own_signature = layout::signatures(id, &MarkName::Deleted.to_string(), &tombstone.sha256)?;
        let mut beside = self.vault.keys(&layout::point_files(id)?).await?;
        beside.extend(self.vault.keys(&layout::signatures_of(id)?).await?);
        beside.extend(self.vault.keys(&layout::proofs_of(id)?).await?);
        beside.extend(self.vault.keys(&layout::copies_of(id)?).await?);
        let beside = NewestDrills::spare(self.vault, id, beside).await?;
        let (signature, beside): (Vec<Key>, Vec<Key>) =
            beside.into_iter().filter(|key| *key != last).partition(|key| own_signature.contains(key));
        self.vault.delete_keys(beside).await?;
        // Two calls: a tombstone without its signature would be nobody's.
        self.vault.delete_keys([last]).await?;
        self.vault.delete_keys(signature).await?;
        self.observers.emit(&Event::Deleted { point: id.clone(), bytes: work.bytes });
        report.deleted.push(id.clone());
        report.bytes += work.bytes;
        Ok(())
    }

    /// Whether the manifest is still there; it must be the one that was marked.
    async fn stands(&self, id: &PointId, tombstone: &VerifiedMark) -> Result<bool> {
        match self.vault.get_small(&layout::manifest(id)?, MAX_MANIFEST_BYTES).await {
            Ok((_, manifest)) if Sha256::of(&manifest) == tombstone.mark.manifest => Ok(true),
            Ok(_) => Err(Error::new(ErrorKind::Untrusted, "the tombstone was made for another manifest")
                .with("point", id)
                .advise("look at the point: remove the tombstone, or the point, by hand")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the tombstone away, so that the point stands like any other.
    async fn end_deletion(&self, id: &PointId) -> Result<()> {
        let tombstone = layout::point_file(id, &PointFile::Mark(MarkName::Deleted))?;
        self.vault.delete_all(vec![tombstone.into()]).await
    }

    /// Lists again; a hold that counts, or a lock on the manifest, ends the deletion.
    async fn held(&self, id: &PointId, report: &mut PruneReport) -> Result<bool> {
        let Some(run) = list_run(self.vault, id).await? else { return Ok(false) };
        let hold = match hold_now(self.vault, &run).await? {
            Some(hold) => Some(hold),
            None => lock_now(self.vault, id, self.began).await?,
        };
        report.left.extend(hold.iter().map(|hold| Problem::new(id.to_string(), hold)));
        Ok(hold.is_some())
    }

    /// Everything stored under the point's ID, whichever attempt wrote it.
    async fn stored(&self, id: &PointId) -> Result<(Vec<Key>, u64)> {
        let stored = stored_objects(self.vault.store(), id).await?;
        let bytes = stored.iter().map(|meta| meta.size).sum();
        Ok((stored.into_iter().map(|meta| meta.key).collect(), bytes))
    }
}
