//! Real servers on loopback, for the tests, examples and benchmarks of Backstay.
//!
//! Everything here is for tests: what fails panics, and says what to do. `cargo xtask test` installs the servers. None
//! outlives the process that started it, however that ends.

pub mod data;
mod place;
mod poll;
pub mod postgres;
pub mod proxy;

pub use crate::place::{Folder, folder};
pub use crate::poll::until;
