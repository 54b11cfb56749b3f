//! Backstay's core: the traits, the vault and the engine. Applications use it through the `backstay` facade.

mod budget;
mod buffer;
pub mod clock;
mod digest;
#[cfg(target_os = "linux")]
pub mod directory;
pub mod doctor;
pub mod engine;
mod error;
mod event;
mod field;
pub mod lifecycle;
mod limits;
mod name;
pub mod retention;
mod secret;
pub mod source;
pub mod store;
mod task;
mod tier;
mod tier_lock;
pub mod vault;

pub use budget::Budget;
pub use digest::{Blake3, Sha256};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Observer};
pub use limits::Limits;
pub use name::{Name, PointId, RunId, Tag};
pub use secret::Secret;
pub use tier::Tier;
pub use tier_lock::{LockMode, TierLock};
