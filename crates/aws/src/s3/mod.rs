//! Amazon S3, and servers that speak its protocol, as a store.

mod answer;
mod bucket;
mod builder;
mod copy;
mod delete;
mod doctor;
mod encryption;
mod get;
mod head;
pub(crate) mod integrity;
mod list;
mod lock;
mod page;
mod policy;
mod put;
mod setup;
mod store;
mod thaw;
mod upload;
mod uploads;
#[cfg(feature = "s3_versions")]
mod version_copy;
#[cfg(feature = "s3_versions")]
mod versions;

pub use builder::S3Builder;
pub use encryption::Encryption;
#[cfg(feature = "s3_versions")]
pub(crate) use head::is_archive;
#[cfg(feature = "s3_versions")]
pub(crate) use page::{After, VersionLine};
pub use policy::RolePolicy;
pub use setup::{SetupPlan, SetupStep};
pub use store::S3Store;
#[cfg(feature = "s3_versions")]
pub(crate) use versions::Over;
