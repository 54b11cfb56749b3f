//! A host's clock that is wrong.

use std::time::Duration;

use async_trait::async_trait;
use backstay::Clock;
use backstay_testkit::ManualClock;
use jiff::{SignedDuration, Timestamp};

/// The true clock, off by a fixed time.
#[derive(Clone, Debug)]
pub struct Skewed {
    pub clock: ManualClock,
    pub by: SignedDuration,
}

#[async_trait]
impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.clock.now() + self.by
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
