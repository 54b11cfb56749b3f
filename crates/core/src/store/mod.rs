//! Where bytes rest: the store trait, its options, two built-in stores and the layers around any store.
//!
//! * [`ObjectStore`] is the contract; [`ObjectStoreExt`] adds comforts to every store.
//! * [`MemoryStore`] and [`LocalStore`] need no server.
//! * [`layer`] wraps any store: retries, limits, a prefix, read-only access, a moment of the past, observation.
//!
//! A store of one's own implements [`ObjectStore`] and runs the testkit's `conformance::store`.

mod ext;
mod key;
pub mod layer;
pub(crate) mod loan;
mod local;
mod memory;
mod object_store;
mod operation;
mod options;

pub use ext::ObjectStoreExt;
pub use key::{Key, MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Prefix};
pub use local::LocalStore;
pub use memory::MemoryStore;
pub use object_store::{BoxStream, ByteStream, ObjectStore, Upload};
pub use operation::Operation;
pub use options::{
    Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, ListEntry, ListOptions, Location, Lock,
    ObjectMeta, ObjectRef, PutMode, PutOptions, Thaw, ThawState, UploadRef, VersionId,
};

use crate::error::{Error, ErrorKind};

/// The error of every store that cannot hold `a` beside `a/b`.
fn folder_conflict(key: &Key) -> Error {
    Error::new(ErrorKind::Conflict, "a key is the folder of another").with("key", key).advise("choose another key")
}

/// The error of `complete` while a part is missing.
fn part_missing(key: &Key) -> Error {
    Error::new(ErrorKind::Invalid, "a part of the upload did not arrive")
        .with("key", key)
        .advise("complete an upload only after every part has succeeded")
}

/// The error of `complete` after the upload was aborted elsewhere.
fn upload_gone(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, "the upload was aborted").with("key", key)
}
