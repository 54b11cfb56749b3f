//! Real servers on loopback, for the tests, examples and benchmarks of Backstay.
//!
//! Everything here is for tests: what fails panics, and says what to do. `cargo xtask test` installs the servers. None
//! outlives the process that started it, however that ends.

mod daemon;
pub mod data;
mod place;
mod poll;
mod port;
pub mod postgres;
mod process;
pub mod proxy;

pub use crate::daemon::Daemon;
pub use crate::place::{Folder, folder};
pub use crate::poll::until;
