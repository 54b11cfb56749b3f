//! What it takes to test programs and backends of Backstay: scripted mocks of every trait, stores that fail as told, a clock
//! that tests move, randomness that replays a seed, and the contracts of the traits as conformance suites.

mod clock;
pub mod conformance;
mod events;
pub mod fault;
pub mod items;
pub mod mock;
mod random;
mod rights;
#[cfg(target_os = "linux")]
pub mod tree;

pub use clock::ManualClock;
pub use events::EventLog;
pub use fault::FaultyStore;
pub use random::SeededRandom;
pub use rights::RightsStore;
