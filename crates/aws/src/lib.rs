//! AWS for Backstay.

#[cfg(feature = "s3")]
mod connect;
#[cfg(feature = "s3")]
mod error;
#[cfg(feature = "s3")]
mod s3;

#[cfg(feature = "s3")]
pub use s3::{Encryption, S3Builder, S3Store};
