//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `ready` again and again until it gives a value.
///
/// # Panics
///
/// After 60 seconds without one, naming `what`.
pub fn until<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    within_a_minute(ready).unwrap_or_else(|| panic!("waited 60 s in vain: {what}"))
}

/// As [`until`], for those who have more to say than what they waited for.
#[expect(clippy::disallowed_methods, reason = "a real server takes real time")]
pub(crate) fn within_a_minute<T>(mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let value = ready();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
