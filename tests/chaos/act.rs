//! What a host does, and which answers are right on a well store.

use std::time::Duration;

use backstay::engine::{PruneAction, Replicator, SweepAction};
use backstay::{Backstay, BackupReport, Clock as _, Depth, Error, ErrorKind, Name, PointId, Result, SystemClock};
use backstay_testkit::mock::ExportScript;

use super::truth::{Content, Truth};
use super::{Chaos, HOUR, Host};

#[derive(Clone, Debug)]
pub(super) enum Act {
    /// The content is new in each; of a partial one `files` reports a problem.
    Backup {
        content: Content,
    },
    Verify(PointId),
    Restore(PointId),
    Prune,
    Undelete(PointId),
    Hold(PointId, Name),
    Release(PointId, Name),
    Accept(PointId),
    /// Copies every point to the replica.
    Replicate,
    PruneReplica,
    Sweep,
    Adopt,
    Rotate(Name),
    /// The point was deleted by no plan, in a store with versions.
    BringBack(PointId),
}

impl Chaos {
    /// An act of a kind, on a point that the dice choose.
    pub(super) fn act_of(&mut self, kind: u64) -> Act {
        let number = self.dice.next_u64();
        if self.truth.is_empty() || kind < 4 {
            return Act::Backup { content: Content::new(number, kind == 2, kind == 3) };
        }
        let point = self.truth.any(number);
        match kind {
            4 => Act::Verify(point),
            5 => Act::Restore(point),
            6..=8 => Act::Prune,
            9 => Act::Undelete(self.truth.any_marked(number).unwrap_or(point)),
            10 => Act::Hold(point, format!("hold-{number}").parse().expect("a name")),
            11 => match self.truth.any_held(number) {
                Some((point, name)) => Act::Release(point, name),
                None => Act::Prune,
            },
            12 => Act::Accept(self.truth.any_doubtful(number).unwrap_or(point)),
            13..=15 => Act::Replicate,
            16 => Act::PruneReplica,
            17 | 18 => Act::Sweep,
            19 => Act::Adopt,
            20 => Act::Rotate(format!("epoch-{number}").parse().expect("a name")),
            _ => match self.truth.any_unmarked(number) {
                Some(point) if self.versioned => Act::BringBack(point),
                _ => Act::Sweep,
            },
        }
    }
}

impl Act {
    pub(super) const KINDS: u64 = 22;

    /// Does it, and forgets about it when the time has come; whatever it answers is taken down.
    pub(super) async fn under_faults(&self, host: &Host, truth: &Truth) {
        // Under faults it may not even open.
        let Ok(started) = self.begin(host, truth).await else { return };
        // An hour is longer than any act takes.
        let limit = host.dropped_after.map_or(HOUR, Duration::from_millis);
        tokio::select! {
            biased;
            result = self.perform(&started, host, truth) => drop(result),
            () = SystemClock.sleep(limit) => {}
        }
        started.shutdown().await;
        host.hook.ends();
    }

    /// Does it where nothing fails: an error must be one that the state of the vault gives reason for.
    pub(super) async fn on_a_well_store(&self, host: &Host, truth: &Truth) {
        assert!(host.clock_is_right());
        let backstay = self.begin(host, truth).await.unwrap_or_else(|error| panic!("{self:?} does not open: {error}"));
        let result = self.perform(&backstay, host, truth).await;
        host.hook.ends();
        match result {
            Ok(()) => {}
            Err(error) if self.has_reason(&error, host) => {}
            Err(error) => panic!("{self:?} fails on a well store: {error:?}"),
        }
    }

    async fn begin(&self, host: &Host, truth: &Truth) -> Result<Backstay> {
        let empty = || ExportScript::new([("nothing", "")]);
        match self {
            Self::Backup { content } => {
                truth.will_back_up(content);
                let files = ExportScript::new([("tree", content.files.clone())]).chunk(50);
                let files = if content.partial { files.problem("a file", "it was locked") } else { files };
                host.start(ExportScript::new([("rows", content.db.clone())]).chunk(1000), files).await
            }
            Self::Replicate | Self::PruneReplica => host.start_there().await,
            _ => host.start(empty(), empty()).await,
        }
    }

    async fn perform(&self, backstay: &Backstay, host: &Host, truth: &Truth) -> Result<()> {
        let vault = backstay.vault();
        match self {
            Self::Backup { .. } => {
                let done = backstay.backup("daily").allow_partial().await;
                // By a wrong clock the point is there all the same.
                let report = match done.as_ref().err().and_then(Error::payload::<BackupReport>) {
                    Some(report) => report.clone(),
                    None => done?,
                };
                truth.was_backed_up(report.id);
                Ok(())
            }
            Self::Verify(point) => backstay.verify(point).depth(Depth::Decoded).await.map(drop),
            Self::Restore(point) => truth.restore(vault, point).await,
            Self::Prune => {
                prune(backstay, |action, id, plan| match action {
                    PruneAction::Tombstone => truth.will_mark(id, plan),
                    PruneAction::Delete => truth.will_delete(id, plan),
                    _ => {}
                })
                .await
            }
            Self::PruneReplica => {
                prune(backstay, |action, id, plan| match action {
                    PruneAction::Tombstone => host.copies.will_mark(id),
                    PruneAction::Delete => host.copies.will_delete(id, plan),
                    _ => {}
                })
                .await
            }
            Self::Replicate => {
                let plan = Replicator::new(host.origin().await?, vault.clone()).plan().await?;
                plan.apply().await.map(drop)
            }
            Self::Sweep => {
                let plan = backstay.sweep().plan().await?;
                for step in &plan.steps {
                    if step.action == SweepAction::Keep {
                        continue;
                    }
                    let alive = host.hook.freezes.may_be_alive(&step.id, host.clock.clock.now());
                    assert!(!alive, "{} may be alive: {plan}", step.id);
                    if step.action != SweepAction::Clean {
                        truth.will_give_up(&step.id, &plan.to_string());
                    }
                }
                plan.apply().await.map(drop)
            }
            Self::Adopt => {
                // Whoever asks again has nothing left to undo.
                backstay.adopt().await?;
                let adoptions = host.hook.freezes.adoptions();
                let again = backstay.adopt().await?.adopted;
                let once = again.is_empty() && host.hook.freezes.adoptions() == adoptions;
                assert!(once || !host.is_alone, "undone twice: {again:?}");
                Ok(())
            }
            Self::Rotate(name) => {
                let keyring = &host.world.keyring;
                let custodian = (keyring.custodian_name().clone(), keyring.custodian().recipient().clone());
                truth.is_rotated(vault.rotate(name, &[custodian]).await?);
                Ok(())
            }
            Self::Undelete(point) | Self::BringBack(point) => {
                let marks = truth.marks(point);
                vault.undelete(point).await?;
                truth.was_undeleted(point, marks);
                Ok(())
            }
            Self::Hold(point, name) => {
                // Whatever it answers, the hold may be there; only an answer is a promise.
                truth.may_be_held(point, name);
                vault.hold(point, name, "the dice want it").await?;
                truth.is_held(point, name);
                Ok(())
            }
            Self::Release(point, name) => {
                truth.may_be_released(point, name);
                vault.release(point, name, "the dice are done with it").await
            }
            Self::Accept(point) => {
                truth.may_be_accepted(point);
                vault.accept(point, "the dice have looked at it").await?;
                truth.is_accepted(point);
                Ok(())
            }
        }
    }

    /// Whether an error is the right answer, given what may have happened to the point before.
    fn has_reason(&self, error: &Error, host: &Host) -> bool {
        match (self, error.kind()) {
            // Used up by the try before.
            (Self::Rotate(_), ErrorKind::AlreadyExists) => true,
            // An empty vault is not pruned.
            (Self::PruneReplica, ErrorKind::Refused) => host.copies.is_empty(),
            // It all came back at once.
            (Self::BringBack(_), ErrorKind::NotFound) => true,
            // Being deleted, or gone.
            (Self::Verify(_) | Self::Restore(_) | Self::Hold(..) | Self::Accept(_), ErrorKind::NotFound) => true,
            (Self::Release(..) | Self::Undelete(_), ErrorKind::NotFound) => true,
            // Too late; or done by the try before, whose answer was lost.
            (Self::Undelete(_) | Self::Hold(..), ErrorKind::Refused) => true,
            (Self::Hold(..) | Self::Release(..) | Self::Accept(_), ErrorKind::AlreadyExists) => true,
            _ => false,
        }
    }
}

/// Prunes, if need be more than half; tells of each step before it is done.
async fn prune(backstay: &Backstay, tell: impl Fn(PruneAction, &PointId, &str)) -> Result<()> {
    let plan = match backstay.prune("daily").plan().await {
        Err(error) if error.kind() == ErrorKind::Refused && error.message().contains("more than half") => {
            backstay.prune("daily").danger_allow_mass_expiry().plan().await?
        }
        plan => plan?,
    };
    let text = plan.to_string();
    plan.steps.iter().for_each(|step| tell(step.action, &step.id, &text));
    plan.apply().await.map(drop)
}
