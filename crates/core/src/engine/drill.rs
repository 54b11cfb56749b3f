//! Asking for a drill: which point of a component, into what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::builder::Inner;
use crate::engine::drill_report::DrillReport;
use crate::engine::drill_run::Drill;
use crate::engine::run_handle::RunHandle;
use crate::name::PointId;
use crate::source::DrillTarget;

/// How long a scratch place may stay if nothing else is said.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 3600);

/// A drill that is asked for. Awaiting it runs it, in a task of its own.
#[must_use = "a drill runs when it is awaited or started"]
pub struct DrillRequest {
    pub(crate) backstay: Arc<Inner>,
    pub(crate) component: String,
    pub(crate) target: Option<Arc<dyn DrillTarget>>,
    pub(crate) point: Option<PointId>,
    pub(crate) tier: Option<String>,
    pub(crate) time_to_live: Duration,
}

impl DrillRequest {
    pub(crate) fn new(backstay: Arc<Inner>, component: String) -> Self {
        Self { backstay, component, target: None, point: None, tier: None, time_to_live: TIME_TO_LIVE }
    }

    /// Into what: where the scratch place is made.
    pub fn into(mut self, target: impl DrillTarget) -> Self {
        self.target = Some(Arc::new(target));
        self
    }

    /// From this point. If not said, from the newest one in which the component is good: of every tier, and of the replicas, as
    /// a restore would take it.
    pub fn point(mut self, point: &PointId) -> Self {
        self.point = Some(point.clone());
        self
    }

    /// From the newest such point of this tier. A proof counts for the tier of its point, so that a tier which asks for drills
    /// is drilled by name.
    pub fn tier(mut self, tier: impl Into<String>) -> Self {
        self.tier = Some(tier.into());
        self
    }

    /// How long the scratch place may stay, and so how long the drill may take; 24 hours if not said. A drill that takes longer
    /// ends as [`Timeout`](crate::ErrorKind::Timeout).
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time;
        self
    }

    /// Begins the drill in a task of its own.
    pub fn start(self) -> RunHandle<DrillReport> {
        RunHandle::start("drill", |stopped| Drill::execute(self, stopped))
    }
}

impl IntoFuture for DrillRequest {
    type Output = crate::Result<DrillReport>;
    type IntoFuture = RunHandle<DrillReport>;

    fn into_future(self) -> Self::IntoFuture {
        self.start()
    }
}

impl fmt::Debug for DrillRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_ref().map(ToString::to_string);
        f.debug_struct("DrillRequest")
            .field("component", &self.component)
            .field("target", &target)
            .field("point", &self.point)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}
