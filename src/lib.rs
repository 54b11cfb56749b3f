#![doc = include_str!("../README.md")]

pub use backstay_core::clock::{Clock, Random, SystemClock, SystemRandom};
pub use backstay_core::engine::{self, Backstay, BackupReport, Depth, Status};
pub use backstay_core::{Blake3, Error, ErrorKind, Result, Secret, Sha256};
pub use backstay_core::{Budget, Limits, LockMode, Tier, TierLock};
pub use backstay_core::{Event, Observer};
pub use backstay_core::{Name, PointId, RunId, Tag};

/// Amazon S3 as a store, versioned buckets and secrets as components.
#[cfg(feature = "aws")]
#[doc(inline)]
pub use backstay_aws as aws;
/// Azure Blob Storage as a store.
#[cfg(feature = "azure")]
#[doc(inline)]
pub use backstay_azure as azure;
/// A directory as a component.
#[doc(inline)]
pub use backstay_core::directory::{self, Directory};
/// What backends find when they look at their own set-up.
#[doc(inline)]
pub use backstay_core::doctor;
/// Rules for the platform that keeps the vault: cheaper classes for old items.
#[doc(inline)]
pub use backstay_core::lifecycle;
/// Which points stay.
#[doc(inline)]
pub use backstay_core::retention::{self, Keep};
/// What is protected and how it comes back.
#[doc(inline)]
pub use backstay_core::source;
/// Where bytes rest.
#[doc(inline)]
pub use backstay_core::store::{self, LocalStore, MemoryStore};
/// What the bytes mean.
#[doc(inline)]
pub use backstay_core::vault::{self, Keyring, Vault};

/// Databases of PostgreSQL as a component.
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use backstay_postgres as postgres;

/// Times and spans, as the API takes them.
pub use jiff;
