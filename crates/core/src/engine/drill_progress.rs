//! How far a drill has come, and what must be taken away however it ends.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::SignedDuration;
use tokio::task::JoinHandle;

use crate::clock::{Clock, timeout};
use crate::digest::Sha256;
use crate::engine::drill_report::{DrillPhase, DrillReport, signed};
use crate::engine::restore_items::ReadBytes;
use crate::error::{Error, ErrorKind, Result};
use crate::source::Scratch;

/// A scratch place that is not made or removed in this time is left to the sweep: a shutdown waits for it.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Progress {
    clock: Arc<dyn Clock>,
    /// The phase that it is in, and since when.
    phase: Option<(DrillPhase, Duration)>,
    pub(super) picked: Option<Picked>,
    /// Once begun it goes through, also when the drill is told to end.
    pub(super) preparing: Option<JoinHandle<Result<Box<dyn Scratch>>>>,
    scratch: Option<Arc<dyn Scratch>>,
    /// What the importer has read so far.
    pub(super) restored: ReadBytes,
}

/// What there is to report from the pick on.
pub(super) struct Picked {
    pub(super) report: DrillReport,
    pub(super) manifest: Sha256,
    pub(super) objects: u64,
    pub(super) stored: u64,
    pub(super) rto_allowed: Option<SignedDuration>,
}

impl Progress {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, phase: None, picked: None, preparing: None, scratch: None, restored: ReadBytes::default() }
    }

    /// The phase before ends, this one begins.
    pub(super) fn enter(&mut self, phase: DrillPhase) {
        self.leave();
        self.phase = Some((phase, self.clock.monotonic()));
    }

    /// The phase ends. What is measured before a point is picked is told with it.
    pub(super) fn leave(&mut self) {
        let Some((phase, began)) = self.phase.take() else { return };
        let took = signed(self.clock.monotonic().saturating_sub(began));
        self.report(|report| *report.phases.entry(phase).or_default() = took);
    }

    pub(super) fn report(&mut self, change: impl FnOnce(&mut DrillReport)) {
        if let Some(picked) = &mut self.picked {
            change(&mut picked.report);
        }
    }

    /// Waits for the scratch place.
    pub(super) async fn prepared(&mut self) -> Result<Arc<dyn Scratch>> {
        let Some(preparing) = &mut self.preparing else {
            return Err(Error::new(ErrorKind::Other, "no scratch place is being made"));
        };
        let made = preparing.await;
        self.preparing = None;
        let made = made
            .unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, "the target did not come back").because(error)))?;
        // Known before anything of it is asked: whatever that does, it is removed.
        let scratch: Arc<dyn Scratch> = Arc::from(made);
        self.scratch = Some(scratch.clone());
        self.report(|report| report.scratch = scratch.to_string());
        Ok(scratch)
    }

    /// Takes the scratch place away, if there is one or may be. If that fails the report says so.
    pub(super) async fn remove(&mut self) {
        self.leave();
        if self.preparing.is_none() && self.scratch.is_none() {
            return;
        }
        self.enter(DrillPhase::Remove);
        let clock = self.clock.clone();
        let gone = timeout(&*clock, PATIENCE, async {
            if self.preparing.is_some() {
                // That it could not be made is no matter any more.
                self.prepared().await.map(drop).unwrap_or_else(|error| tracing::debug!(%error, "no scratch place"));
            }
            match self.scratch.take() {
                Some(scratch) => scratch.remove().await,
                None => Ok(()),
            }
        });
        let gone = AssertUnwindSafe(gone).catch_unwind().await;
        let gone = gone.unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "the removal panicked")));
        self.leave();
        if let Some(preparing) = self.preparing.take() {
            preparing.abort();
        }
        if let Err(error) = gone {
            let left = format!("the scratch place could not be removed and is left to the next sweep: {error}");
            self.report(|report| report.left = Some(left));
        }
    }
}
