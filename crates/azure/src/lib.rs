//! Azure for Backstay: Blob Storage as a store.
//!
//! [`BlobStore`] keeps a vault in one container. [`Credential`] says who it is, [`RoleDefinition`] what each role of a vault
//! has to be allowed, and [`BlobStore::doctor`] what is wrong with the set-up.

mod blob;
mod connect;
mod connection_string;
mod error;
mod extra;
mod shared_key;
mod wire;

pub use blob::{BlobStore, BlobStoreBuilder, RoleDefinition};
pub use connect::Credential;
