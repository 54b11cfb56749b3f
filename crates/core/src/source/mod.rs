//! What is protected and how it comes back: exporters, importers, snapshot providers, hooks, drills.

mod drill;
mod export;
mod facts;
mod hook;
mod import;
mod selector;
pub mod snapshot;

pub use drill::{Check, DrillPlace, DrillTarget, Scratch, Validation};
pub use export::{
    ExportReport, ExportRequest, ExporterInfo, ItemSink, ItemSpec, ItemWriter, Problem, ResourceExporter,
};
pub use facts::Facts;
pub use hook::{Hook, HookContext, HookOptions, OnHookError};
pub use import::{
    BackendOptions, CheckReport, ImportAction, ImportEntry, ImportOptions, ImportPlan, ImportReport, ItemInfo,
    ItemSource, ResourceImporter,
};
pub use selector::Selector;
