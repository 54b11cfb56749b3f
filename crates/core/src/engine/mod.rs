//! What an application calls: build, back up, verify, restore, prune, ask for the status.

mod backup;
mod backup_report;
mod backup_run;
mod builder;
mod component;
mod hooks;
mod marks;
mod prune;
mod prune_apply;
mod prune_facts;
mod prune_proof;
mod restore;
mod roll_locks;
mod roll_locks_apply;
mod sink;
mod status;
mod stop;
mod undelete;
mod verify;

pub use backup::{BackupPlan, BackupRequest, PlannedComponent, RunHandle};
pub use backup_report::{BackupReport, ComponentReport};
pub use builder::{Backstay, BackstayBuilder};
pub use prune::{PlannedPrune, PruneAction, PrunePlan, PruneRequest, PruneStep};
pub use prune_apply::PruneReport;
pub use restore::{PlannedRestore, RestorePlan, RestoreReport, RestoreRequest};
pub use roll_locks::{PlannedRoll, RollPlan, RollRequest, RollStep};
pub use roll_locks_apply::RollReport;
pub use status::{ComponentStatus, Status, StatusRequest, TierStatus};
pub use verify::{Depth, Finding, VerifyReport, VerifyRequest};
