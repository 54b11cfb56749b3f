//! Where bytes rest: the store trait, its options, two built-in stores and the layers around any store.

mod key;
mod object_store;
mod options;

pub use key::{Key, MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Prefix};
pub use object_store::{BoxStream, ByteStream, ObjectStore, Upload};
pub use options::{
    Capabilities, DeleteOutcome, GetOptions, GetOutcome, HeadOptions, ListEntry, ListOptions, Location, Lock,
    ObjectMeta, ObjectRef, PutMode, PutOptions, Thaw, ThawState, UploadRef, VersionId,
};
