//! What an application calls: build, back up, verify, restore, prune, ask for the status.

mod backup;
mod backup_report;
mod backup_run;
mod builder;
mod component;
mod explain;
mod history;
mod hooks;
mod marks;
mod options;
mod prune;
mod prune_apply;
mod prune_facts;
mod prune_proof;
mod recovery_kit;
mod restore;
mod sink;
mod status;
mod stop;
mod verify;

pub use backup::{BackupPlan, BackupRequest, PlannedComponent, RunHandle};
pub use backup_report::{BackupReport, ComponentReport};
pub use builder::{Backstay, BackstayBuilder};
pub use explain::{ExplainedComponent, ExplainedMark, Explanation};
pub use options::{OptionsRequest, RecoveryOption, RecoveryOptions};
pub use prune::{PlannedPrune, PruneAction, PrunePlan, PruneRequest, PruneStep};
pub use prune_apply::PruneReport;
pub use recovery_kit::{RecoveryKit, RecoveryKitRequest};
pub use restore::{PlannedRestore, RestorePlan, RestoreReport, RestoreRequest};
pub use status::{ComponentStatus, Status, StatusRequest, TierStatus};
pub use verify::{Depth, Finding, VerifyReport, VerifyRequest};
