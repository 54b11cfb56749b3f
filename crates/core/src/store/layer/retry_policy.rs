//! When a failed call is made again, and after which wait.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_core::future::BoxFuture;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Random};
use crate::error::{Error, Result};

/// How often and how long a [`Retry`](super::Retry) tries.
///
/// ```
/// use backstay_core::store::layer::RetryOptions;
///
/// let options: RetryOptions = serde_json::from_str(r#"{ "attempts": 3, "total": "2m" }"#)?;
/// assert_eq!(options.total.as_secs(), 120);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetryOptions {
    /// Attempts at one call, the first included. Default: 5.
    pub attempts: NonZeroU32,
    /// Longest wait before the second attempt; it doubles with each further one. Each wait is drawn evenly between zero
    /// and its longest, so that many clients do not come back together. Default: 200 ms.
    #[serde(with = "duration")]
    pub first_wait: Duration,
    /// What the doubling stops at. Default: 20 s.
    #[serde(with = "duration")]
    pub longest_wait: Duration,
    /// No attempt begins later than this after the first one began. Default: 3 min.
    #[serde(with = "duration")]
    pub total: Duration,
    /// Retries that all calls together may have ahead of successes; ten successes give one back. It keeps a store that is
    /// down from being hit by every call several times over. Default: 100.
    pub budget: u32,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::MIN.saturating_add(4),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
            total: Duration::from_secs(180),
            budget: 100,
        }
    }
}

/// The options with what they need to be applied. One value for all calls of a layer.
#[derive(Debug)]
pub(super) struct Policy {
    options: RetryOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Tenths of a retry that were spent and not yet earned back.
    spent: AtomicU64,
}

/// The attempts at one call.
pub(super) struct Attempts<'a> {
    policy: &'a Policy,
    made: u32,
    began: Duration,
}

const RETRY: u64 = 10;

impl Policy {
    pub(super) fn new(options: RetryOptions, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { options, clock, random, spent: AtomicU64::new(0) }
    }

    pub(super) fn attempts(&self) -> Attempts<'_> {
        Attempts { policy: self, made: 0, began: self.clock.monotonic() }
    }

    /// Calls until it succeeds or there is no sense in going on.
    pub(super) async fn run<'a, T>(&self, mut call: impl FnMut() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            let error = match call().await {
                Ok(value) => {
                    self.earn();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !attempts.again(&error).await {
                return Err(attempts.last(error));
            }
        }
    }

    pub(super) fn earn(&self) {
        let less = |spent: u64| Some(spent.saturating_sub(1));
        // The closure always answers `Some`, so the update cannot fail.
        let _ = self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn spend(&self) -> bool {
        let limit = u64::from(self.options.budget) * RETRY;
        let more = |spent: u64| Some(spent + RETRY).filter(|spent| *spent <= limit);
        self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Between zero and the longest wait of this attempt.
    fn jittered(&self, made: u32) -> Duration {
        let doubled = self.options.first_wait.saturating_mul(1_u32.checked_shl(made - 1).unwrap_or(u32::MAX));
        let longest = doubled.min(self.options.longest_wait);
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        longest.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
    }
}

impl Attempts<'_> {
    /// Waits before the next attempt; `false` if there is none.
    pub(super) async fn again(&mut self, error: &Error) -> bool {
        self.made += 1;
        if !error.is_retryable() {
            return false;
        }
        let Policy { options, clock, .. } = self.policy;
        let wait = self.policy.jittered(self.made).max(error.retry_after().unwrap_or_default());
        let late = clock.monotonic().saturating_sub(self.began).saturating_add(wait) > options.total;
        if self.made >= options.attempts.get() || late || !self.policy.spend() {
            return false;
        }
        tracing::debug!(attempt = self.made, ?wait, %error, "a call failed and is made again");
        clock.sleep(wait).await;
        true
    }

    /// The error that the caller sees. What was given up on is marked, so that no outer loop starts over; what no retry
    /// can help stays as it is.
    pub(super) fn last(&self, error: Error) -> Error {
        if error.is_retryable() { error.with("attempts", self.made).no_more_retries() } else { error }
    }
}
