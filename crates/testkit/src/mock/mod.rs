//! Scripted mocks of the traits that an application puts together. Clones of a mock are the same mock: give one to the
//! program and ask the other.

mod calls;
mod drill;
mod exporter;
mod hook;
mod importer;
mod snapshots;

pub use calls::Calls;
pub use drill::{DrillFault, MockDrillTarget};
pub use exporter::{ExportFault, ExportScript, MockExporter};
pub use hook::MockHook;
pub use importer::MockImporter;
pub use snapshots::MockSnapshots;

use backstay_core::{Error, ErrorKind};

/// The failure that a script asked for.
fn scripted(kind: ErrorKind) -> Error {
    Error::new(kind, "the mock was told to fail")
}
