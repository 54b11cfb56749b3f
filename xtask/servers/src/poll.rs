//! Waiting for something to become true.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `ready` again and again until it gives a value.
///
/// # Panics
///
/// After 60 seconds without one, naming `what`.
#[expect(clippy::disallowed_methods, reason = "a real server takes real time")]
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited 60 s in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
