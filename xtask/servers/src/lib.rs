//! Real servers on loopback, for the tests, examples and benchmarks of Backstay.
//!
//! Everything here is for tests: what fails panics, and says what to do. `cargo xtask test` installs the servers. None
//! outlives the process that started it, however that ends.

pub mod azure;
mod daemon;
pub mod data;
pub mod moto;
mod place;
mod poll;
mod port;
pub mod postgres;
mod process;
mod program;
pub mod proxy;
pub mod python;
pub mod s3;
pub mod terraform;
mod tls;

pub use crate::daemon::Daemon;
pub use crate::place::{Folder, folder, once};
pub use crate::poll::until;
pub use crate::program::Program;
