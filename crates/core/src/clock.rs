//! Time and randomness as components: the only place that asks the machine for either.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};

/// Where the time comes from.
///
/// `now` may jump (it is the wall clock); durations are taken from `monotonic`.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits. Cancel safe.
    async fn sleep(&self, duration: Duration);
}

/// Where random bytes come from. Keys and IDs are made of them, so an implementation for production must be a
/// cryptographic source.
pub trait Random: Debug + Send + Sync + 'static {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that waits")]
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The operating system's cryptographic randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for random bytes")]
    fn fill(&self, bytes: &mut [u8]) {
        // A system without randomness cannot make keys; there is nothing sensible to go on with.
        assert!(getrandom::fill(bytes).is_ok(), "the operating system gives no random bytes");
    }
}

/// Ends `work` with [`Timeout`](ErrorKind::Timeout) when it takes longer than `limit`.
pub(crate) async fn timeout<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        () = clock.sleep(limit) => Err(Error::new(ErrorKind::Timeout, format!("no answer within {limit:?}"))),
    }
}
