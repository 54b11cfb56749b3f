//! Objects that others keep in a versioned bucket, Terraform's states above all.
//!
//! [`VersionedObjects`] exports them into a vault, imports them again, and brings earlier versions back. [`State`] reads a
//! Terraform state, and [`State::diff`] tells what differs between two.
//!
//! # What Terraform wants to see
//! Checked with Terraform 1.11 and OpenTofu 1.12, the backend `s3`:
//!
//! * An earlier state may come back byte for byte, with its lower serial: the next plan takes it. With
//!   [`bump_serial`](VersionedObjects::bump_serial) it gets a new one, so that plans that were saved earlier stay stale.
//! * With `dynamodb_table`, the item `BUCKET/KEY-md5` must have the MD5 of the state: else every command fails. It is
//!   written in the same plan, under the lock `BUCKET/KEY` of the same table.
//! * With `use_lockfile`, the lock is the object `KEY.tflock`.
//! * The state of a workspace lies at `env:/WORKSPACE/KEY`.

mod apply;
mod choose;
mod diff;
mod export;
mod frozen;
mod head;
mod import;
mod listing;
mod locks;
mod objects;
mod plan;
mod push;
mod put;
mod state;
mod table;

pub use apply::RestoreVersionReport;
pub use choose::Chosen;
pub use diff::{Change, Changed, OutputChange, ResourceChange, StateDiff};
pub use head::StateHead;
pub use listing::ObjectVersion;
pub use objects::VersionedObjects;
pub use plan::{Current, DigestChange, RestoreVersionPlan};
pub use state::State;
pub use table::{LockTable, LockTableBuilder};

/// The kind of component.
const KIND: &str = "aws.s3_versions";
/// What items are: a Terraform state, or any other object.
const STATE: &str = "terraform state";
const OBJECT: &str = "object";
