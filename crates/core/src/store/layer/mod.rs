//! Layers: stores around a store. Each changes one thing and forwards the rest.
//!
//! The order matters. `Retry` belongs outside of `Limit`, so that a repeated call is counted again, and inside of
//! `Observe`, so that an observer sees what the caller sees.

mod as_of;
mod limit;
mod observe;
mod prefix;
mod read_only;
mod retry;
mod retry_policy;
mod retry_stream;

pub use as_of::AsOf;
pub use limit::{Limit, LimitOptions};
pub use observe::{Observe, StoreCall};
pub use prefix::Prefixed;
pub use read_only::ReadOnly;
pub use retry::Retry;
pub use retry_policy::RetryOptions;
