//! What an application calls: build, back up, verify, restore, prune, sweep, adopt, ask for the status.

mod adopt;
mod backup;
mod backup_report;
mod backup_run;
mod builder;
mod component;
mod delete;
mod hooks;
mod marks;
mod proof;
mod prune;
mod prune_apply;
mod prune_facts;
mod prune_proof;
mod restore;
mod sink;
mod status;
mod stop;
mod sweep;
mod sweep_apply;
mod sweep_facts;
mod verify;

pub use adopt::AdoptReport;
pub use backup::{BackupPlan, BackupRequest, PlannedComponent, RunHandle};
pub use backup_report::{BackupReport, ComponentReport};
pub use builder::{Backstay, BackstayBuilder};
pub use proof::Proof;
pub use prune::{PlannedPrune, PruneAction, PrunePlan, PruneRequest, PruneStep};
pub use prune_apply::PruneReport;
pub use restore::{PlannedRestore, RestorePlan, RestoreReport, RestoreRequest};
pub use status::{ComponentStatus, Status, StatusRequest, TierStatus};
pub use sweep::{PlannedSweep, SweepAction, SweepPlan, SweepRequest, SweepStep};
pub use sweep_apply::SweepReport;
pub use verify::{Depth, Finding, VerifyReport, VerifyRequest};
