//! What it takes to test programs and backends of Backstay: scripted mocks of every trait, a clock that tests move,
//! randomness that replays a seed.

mod clock;
mod events;
pub mod mock;
mod random;

pub use clock::ManualClock;
pub use events::EventLog;
pub use random::SeededRandom;
