//! A clock that tests move.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_core::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that starts where it is told and goes on with tokio's time.
///
/// In a runtime with paused time (`#[tokio::test(start_paused = true)]`) nothing moves it but sleeping tasks and the
/// test: the runtime jumps ahead whenever all tasks wait. Elsewhere it goes with the machine. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
///
/// use backstay_core::clock::Clock;
/// use backstay_testkit::ManualClock;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
/// # runtime.block_on(async {
/// let clock = ManualClock::at("2026-11-20T06:42:00Z");
/// clock.sleep(Duration::from_secs(3600)).await; // takes no time
/// assert_eq!(clock.now().to_string(), "2026-11-20T07:42:00Z");
/// clock.advance(Duration::from_secs(24 * 3600));
/// assert_eq!(clock.now().to_string(), "2026-11-21T07:42:00Z");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Timestamp,
    origin: Instant,
    moved: Arc<Mutex<Moved>>,
}

#[derive(Debug, Default)]
struct Moved {
    advanced: Duration,
    jumped: SignedDuration,
}

impl ManualClock {
    /// A clock that shows `start` now.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { start, origin: Instant::now(), moved: Arc::default() }
    }

    /// A clock that shows a time given as text, such as `2026-11-20T06:42:00Z`.
    ///
    /// # Panics
    /// If the text is no timestamp.
    #[must_use]
    pub fn at(start: &str) -> Self {
        match start.parse() {
            Ok(start) => Self::new(start),
            Err(error) => panic!("{start} is no timestamp: {error}"),
        }
    }

    /// Lets time pass, wall clock and monotonic. Tasks that sleep now are not woken: they sleep by tokio's time.
    pub fn advance(&self, by: Duration) {
        self.moved().advanced += by;
    }

    /// Sets the wall clock forward or back, as an administrator or a time server would. The monotonic clock goes on.
    pub fn jump(&self, by: SignedDuration) {
        self.moved().jumped += by;
    }

    fn moved(&self) -> std::sync::MutexGuard<'_, Moved> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let jumped = self.moved().jumped;
        self.start + self.monotonic() + jumped
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed() + self.moved().advanced
    }

    async fn sleep(&self, duration: Duration) {
        SystemClock.sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_jump_moves_the_wall_clock_only_and_clones_are_one_clock() {
        let clock = ManualClock::at("2026-11-20T06:00:00Z");
        clock.clone().jump(SignedDuration::from_hours(-2));
        clock.clone().advance(Duration::from_secs(60));
        clock.sleep(Duration::from_secs(30)).await;
        assert_eq!(clock.now().to_string(), "2026-11-20T04:01:30Z");
        assert_eq!(clock.monotonic(), Duration::from_secs(90));
    }
}
