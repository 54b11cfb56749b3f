//! Facade.

pub use backstay_core::{Error, ErrorKind, Name, PointId, Result, Tier, retention};
