//! AWS for Backstay.

#[cfg(feature = "s3")]
mod connect;
#[cfg(feature = "s3")]
mod error;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3_versions")]
pub mod s3_versions;

#[cfg(feature = "s3")]
pub use s3::{Encryption, S3Builder, S3Store};
#[cfg(feature = "s3_versions")]
#[doc(inline)]
pub use s3_versions::{LockTable, VersionedObjects};
