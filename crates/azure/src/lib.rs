#![doc = include_str!("../README.md")]

mod blob;
mod connect;
mod connection_string;
mod error;
mod extra;
mod shared_key;
mod transport;
mod wire;

pub use blob::{BlobStore, BlobStoreBuilder, RoleDefinition};
pub use connect::Credential;
