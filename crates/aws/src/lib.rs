#![doc = include_str!("../README.md")]

#[cfg(any(feature = "s3", feature = "secrets"))]
mod connect;
#[cfg(any(feature = "s3", feature = "secrets"))]
mod error;
#[cfg(any(feature = "s3_versions", feature = "secrets"))]
mod glob;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3_versions")]
pub mod s3_versions;
#[cfg(feature = "secrets")]
pub mod secrets;

#[cfg(feature = "s3")]
pub use s3::{Encryption, RolePolicy, S3Builder, S3Store, SetupPlan, SetupStep};
#[cfg(feature = "s3_versions")]
#[doc(inline)]
pub use s3_versions::{LockTable, VersionedObjects};
#[cfg(feature = "secrets")]
#[doc(inline)]
pub use secrets::{Secrets, SecretsManager, SecretsRestore};
