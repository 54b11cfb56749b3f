//! Facts about work in progress. Logs, metrics and progress bars are observers of them.

use std::borrow::Cow;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::name::{Name, PointId};

/// Something that happened. Names and amounts only: no content, no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A run began.
    BackupStarted {
        /// The point in the making.
        point: PointId,
        /// The components that it will hold.
        components: Vec<Name>,
    },
    /// A hook's `before` or `after` ended.
    HookDone {
        /// The hook, as it displays itself.
        hook: String,
        /// `before` or `after`.
        phase: Cow<'static, str>,
        /// What went wrong, if anything.
        error: Option<ErrorKind>,
    },
    /// An item grew.
    ItemProgress {
        /// The component that it belongs to.
        component: Name,
        /// The item's name.
        item: String,
        /// Plain bytes so far.
        bytes: u64,
    },
    /// An item is whole and stored.
    ItemDone {
        /// The component that it belongs to.
        component: Name,
        /// The item's name.
        item: String,
        /// Plain bytes.
        bytes: u64,
        /// Stored bytes.
        stored: u64,
    },
    /// A component's export ended.
    ComponentDone {
        /// Which.
        component: Name,
        /// How.
        outcome: crate::vault::Outcome,
        /// How long it took.
        took: Duration,
    },
    /// The point exists from now on.
    Committed {
        /// Which.
        point: PointId,
        /// Whether a component is missing in it.
        partial: bool,
    },
    /// A run ended without a point.
    BackupFailed {
        /// The point that is not.
        point: PointId,
        /// Why.
        error: ErrorKind,
    },
    /// Something is odd and a person should look.
    Warning {
        /// Where: a point, key or component.
        place: String,
        /// What.
        message: String,
    },
    /// Something lies in the vault that nobody who is trusted put there: a forged, moved or unsigned mark or point, a key
    /// that is nobody's. It changes nothing, but a person should find out how it came there.
    Tampering {
        /// Where, and what is wrong with it.
        what: String,
    },
    /// An item was read and proved.
    ItemVerified {
        /// The point.
        point: PointId,
        /// The component.
        component: String,
        /// The item's name, or its key where the name is sealed.
        item: String,
        /// Bytes read for the proof.
        bytes: u64,
    },
    /// A restore began.
    RestoreStarted {
        /// The point.
        point: PointId,
        /// The component.
        component: Name,
    },
    /// Bytes of a restore passed on to the importer.
    RestoreProgress {
        /// The point.
        point: PointId,
        /// Plain bytes so far, each counted once, though the importer may read an item to prove it and again to restore it.
        bytes: u64,
    },
    /// Stored bytes of a point arrived at a replica.
    CopyProgress {
        /// The point.
        point: PointId,
        /// Stored bytes so far.
        bytes: u64,
        /// Stored bytes in all.
        of: u64,
    },
    /// The point exists in the replica from now on.
    Copied {
        /// Which.
        point: PointId,
        /// Its stored bytes.
        bytes: u64,
    },
    /// A restore ended.
    RestoreDone {
        /// The point.
        point: PointId,
        /// The component.
        component: Name,
        /// Plain bytes that were passed on to the importer.
        bytes: u64,
        /// How long it took.
        took: Duration,
        /// What went wrong, if anything.
        error: Option<ErrorKind>,
    },
    /// A drill began to restore.
    DrillStarted {
        /// The point.
        point: PointId,
        /// The component.
        component: Name,
    },
    /// A drill ended.
    DrillDone {
        /// The point.
        point: PointId,
        /// The component.
        component: Name,
        /// From the empty place to the end of the validation; none if it did not pass.
        rto: Option<SignedDuration>,
        /// What went wrong, if anything.
        error: Option<ErrorKind>,
    },
    /// A drill passed, and an objective of the point's tier was not met.
    ObjectiveMissed {
        /// The point.
        point: PointId,
        /// The component.
        component: Name,
        /// `rpo` or `rto`.
        objective: Cow<'static, str>,
        /// What was achieved.
        achieved: SignedDuration,
        /// What the tier allows.
        allowed: SignedDuration,
    },
    /// A status found that a component needs a drill: there is none, the newest is too old, or it did not pass.
    DrillLate {
        /// The tier.
        tier: Name,
        /// The component.
        component: Name,
        /// The point of the newest drill, if there is one.
        newest: Option<PointId>,
    },
    /// A point was marked for deletion; its grace began.
    Tombstoned {
        /// Which.
        point: PointId,
    },
    /// The locks of a point's objects were extended.
    LockExtended {
        /// Which.
        point: PointId,
        /// None of them ends before this time of the store's clock.
        until: Timestamp,
    },
    /// A point and its bytes are gone.
    Deleted {
        /// Which.
        point: PointId,
        /// Stored bytes that are free now.
        bytes: u64,
    },
    /// A dead run's hooks were undone by this process.
    Adopted {
        /// The point that is not.
        point: PointId,
    },
    /// A dead run was given up: its commit key is taken, so that it makes no point any more.
    Voided {
        /// The point that will not be.
        point: PointId,
    },
    /// What dead attempts left of a run is gone.
    Swept {
        /// The run.
        point: PointId,
        /// Stored bytes that are free now.
        bytes: u64,
    },
}

impl Event {
    /// The event's name in logs and metrics. The list in the crate's tests is the specification.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BackupStarted { .. } => "backup_started",
            Self::HookDone { .. } => "hook_done",
            Self::ItemProgress { .. } => "item_progress",
            Self::ItemDone { .. } => "item_done",
            Self::ComponentDone { .. } => "component_done",
            Self::Committed { .. } => "committed",
            Self::BackupFailed { .. } => "backup_failed",
            Self::Warning { .. } => "warning",
            Self::Tampering { .. } => "tampering",
            Self::ItemVerified { .. } => "item_verified",
            Self::RestoreStarted { .. } => "restore_started",
            Self::RestoreProgress { .. } => "restore_progress",
            Self::RestoreDone { .. } => "restore_done",
            Self::DrillStarted { .. } => "drill_started",
            Self::DrillDone { .. } => "drill_done",
            Self::ObjectiveMissed { .. } => "objective_missed",
            Self::DrillLate { .. } => "drill_late",
            Self::CopyProgress { .. } => "copy_progress",
            Self::Copied { .. } => "copied",
            Self::Tombstoned { .. } => "tombstoned",
            Self::LockExtended { .. } => "lock_extended",
            Self::Deleted { .. } => "deleted",
            Self::Adopted { .. } => "adopted",
            Self::Voided { .. } => "voided",
            Self::Swept { .. } => "swept",
        }
    }
}

/// Hears of events. Called on the working task: be quick and do not block. A panic is logged and changes nothing.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync + 'static> Observer for F {
    fn event(&self, event: &Event) {
        self(event);
    }
}

/// All observers of a program.
#[derive(Clone, Default)]
pub(crate) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    pub(crate) fn add(&mut self, observer: impl Observer) {
        self.0.push(Arc::new(observer));
    }

    /// Logs the event and tells every observer.
    pub(crate) fn emit(&self, event: &Event) {
        match event {
            Event::ItemProgress { .. } | Event::RestoreProgress { .. } | Event::CopyProgress { .. } => {
                tracing::trace!(?event, "{}", event.name());
            }
            Event::Warning { place, message } => tracing::warn!(place, message, "warning"),
            Event::Tampering { what } => tracing::warn!(what, "tampering"),
            Event::DrillDone { point, component, error: Some(error), .. } => {
                tracing::error!(%point, %component, %error, "drill_done");
            }
            Event::ObjectiveMissed { .. } | Event::DrillLate { .. } => tracing::warn!(?event, "{}", event.name()),
            Event::BackupFailed { point, error } => tracing::error!(%point, %error, "backup_failed"),
            _ => tracing::info!(?event, "{}", event.name()),
        }
        for observer in &self.0 {
            // A run must not end, and a thaw not fail to happen, because somebody who only listens panics.
            if catch_unwind(AssertUnwindSafe(|| observer.event(event))).is_err() {
                tracing::error!("an observer panicked at {}", event.name());
            }
        }
    }
}

impl Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Observers({})", self.0.len())
    }
}
