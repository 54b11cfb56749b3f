//! What a host does, and which answers are right on a well store.

use std::time::Duration;

use backstay::engine::PruneAction;
use backstay::{Backstay, Clock as _, Depth, Error, ErrorKind, Name, PointId, Result, SystemClock};
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
}

impl Chaos {
    /// An act of a kind, on a point that the dice choose.
    pub(super) fn act_of(&mut self, kind: u64) -> Act {
        let number = self.dice.next_u64();
        if self.truth.is_empty() || kind < 3 {
            return Act::Backup { content: Content::new(number, kind == 2) };
        }
        let point = self.truth.any(number);
        match kind {
            3 => Act::Verify(point),
            4 => Act::Restore(point),
            5..=7 => Act::Prune,
            8 => Act::Undelete(self.truth.any_marked(number).unwrap_or(point)),
            9 => Act::Hold(point, format!("hold-{number}").parse().expect("a name")),
            10 => match self.truth.any_held(number) {
                Some((point, name)) => Act::Release(point, name),
                None => Act::Prune,
            },
            _ => Act::Accept(self.truth.any_doubtful(number).unwrap_or(point)),
        }
    }
}

impl Act {
    pub(super) const KINDS: u64 = 12;

    /// Does it, and forgets about it when the time has come; whatever it answers is taken down.
    pub(super) async fn under_faults(&self, host: &Host, truth: &Truth) {
        // Under faults it may not even open.
        let Ok(started) = self.begin(host, truth).await else { return };
        // An hour is longer than any act takes.
        let limit = host.dropped_after.map_or(HOUR, Duration::from_millis);
        tokio::select! {
            biased;
            result = self.perform(&started, truth) => drop(result),
            () = SystemClock.sleep(limit) => {}
        }
        started.shutdown().await;
    }

    /// Does it where nothing fails: an error must be one that the state of the vault gives reason for.
    pub(super) async fn on_a_well_store(&self, host: &Host, truth: &Truth) {
        assert!(host.clock_is_right());
        let backstay = self.begin(host, truth).await.unwrap_or_else(|error| panic!("{self:?} does not open: {error}"));
        match self.perform(&backstay, truth).await {
            Ok(()) => {}
            Err(error) if self.has_reason(&error) => {}
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
            _ => host.start(empty(), empty()).await,
        }
    }

    async fn perform(&self, backstay: &Backstay, truth: &Truth) -> Result<()> {
        let vault = backstay.vault();
        match self {
            Self::Backup { .. } => {
                let report = backstay.backup("daily").allow_partial().await?;
                truth.was_backed_up(report.id);
                Ok(())
            }
            Self::Verify(point) => backstay.verify(point).depth(Depth::Decoded).await.map(drop),
            Self::Restore(point) => truth.restore(vault, point).await,
            Self::Prune => match prune(backstay, truth, false).await {
                Err(error) if error.kind() == ErrorKind::Refused && error.message().contains("more than half") => {
                    prune(backstay, truth, true).await
                }
                other => other,
            },
            Self::Undelete(point) => {
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
    fn has_reason(&self, error: &Error) -> bool {
        match (self, error.kind()) {
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

async fn prune(backstay: &Backstay, truth: &Truth, mass_expiry: bool) -> Result<()> {
    let mut request = backstay.prune("daily");
    if mass_expiry {
        request = request.danger_allow_mass_expiry();
    }
    let plan = request.plan().await?;
    for step in &plan.steps {
        match step.action {
            PruneAction::Tombstone => truth.will_mark(&step.id, &plan.to_string()),
            PruneAction::Delete => truth.will_delete(&step.id, &plan.to_string()),
            _ => {}
        }
    }
    plan.apply().await.map(drop)
}
