//! Asking for a drill: which point of a component, into what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use crate::ErrorKind;
#[cfg(doc)]
use crate::engine::Backstay;
use crate::engine::builder::Inner;
use crate::engine::drill_report::DrillReport;
use crate::engine::drill_run::Drill;
use crate::engine::run_handle::RunHandle;
use crate::error::Result;
use crate::name::PointId;
use crate::source::DrillTarget;
#[cfg(doc)]
use crate::vault::Vault;

/// How long a scratch place may stay if nothing else is said.
const TIME_TO_LIVE: Duration = Duration::from_secs(24 * 3600);

/// A drill that is asked for. Awaiting it runs it, in a task of its own.
///
/// What came of it is kept as a signed [`Proof`](crate::engine::Proof) beside the point, against the objectives of the
/// point's tier, and in the [history](Vault::history) by who may write that; [`status`](Backstay::status) tells the newest
/// drill of each component. It takes a key that is trusted for proofs and an identity that opens the point. A missed
/// objective is told in the report, in the proof and as an event, and is no error.
///
/// Cancel safety: if the handle is dropped nothing more is restored, and the scratch place is removed in the background;
/// [`shutdown`](Backstay::shutdown) waits for that. What a killed process leaves, the next drill into the same target sweeps
/// once its time is over.
///
/// # Errors
/// [`Denied`](ErrorKind::Denied) without a key for proofs ([`Refused`](ErrorKind::Refused) in a vault that was opened to read)
/// and [`NotFound`](ErrorKind::NotFound) without a point, before anything was made. Then, each with the [`DrillReport`] as [`Error::payload`](crate::Error::payload) and all but the last
/// with a proof that says so: what ended the restore or the validation; [`Conflict`](ErrorKind::Conflict) if a check failed
/// or none was made; [`Partial`](ErrorKind::Partial) if some of the component is missing; [`Timeout`](ErrorKind::Timeout)
/// after the time to live; [`Cancelled`](ErrorKind::Cancelled).
///
/// ```
/// # use backstay_core::{Tier, engine::Backstay, retention::Keep, store::MemoryStore, vault::{Keyring, Vault}};
/// use backstay_core::directory::{Directory, DirectoryDrill};
/// use jiff::ToSpan;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// # let keyring = Keyring::generate()?;
/// # let vault = Vault::create(MemoryStore::new()).keyring(&keyring).build().await?;
/// # let folder = std::env::current_dir()?.join("src/engine");
/// # let drills = tempfile::tempdir()?;
/// let backstay = Backstay::builder("prod-eu", vault)
///     .export("files", Directory::new(folder))
///     .tier(Tier::new("daily").keep(Keep::daily(30)).rto(1.hour()).drill_every(30.days()))
///     .build()?;
/// backstay.backup("daily").await?;
/// let report = backstay.drill("files").into(DirectoryDrill::new(drills.path()).exists(["drill.rs"])).await?;
/// println!("{report}");
/// assert!(report.passed() && report.met() && backstay.status().await?.is_good());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    /// ends as [`Timeout`](ErrorKind::Timeout).
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
    type Output = Result<DrillReport>;
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
