//! What was called, in which order.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::events::assert_subsequence;

/// A list of calls. Several mocks can write into one, so that a test sees their order.
///
/// ```
/// use backstay_testkit::mock::{Calls, MockExporter, MockHook};
///
/// let calls = Calls::default();
/// let hook = MockHook::new("freeze").record(&calls);
/// let exporter = MockExporter::new([("dump", "content")]).record(&calls);
/// // ... a backup with both ...
/// # for call in ["freeze.before", "export db", "freeze.after"] { calls.add(call); }
/// calls.assert_order(["freeze.before", "export db", "freeze.after"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Calls(Arc<Mutex<Vec<String>>>);

impl Calls {
    /// Notes a call.
    pub fn add(&self, call: impl Display) {
        self.list().push(call.to_string());
    }

    /// All calls so far.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.list().clone()
    }

    /// How often this was called.
    #[must_use]
    pub fn count(&self, call: &str) -> usize {
        self.list().iter().filter(|made| *made == call).count()
    }

    /// These calls were made in this order, with or without others in between.
    ///
    /// # Panics
    /// If not; the message has all calls.
    #[track_caller]
    pub fn assert_order<'a>(&self, expected: impl IntoIterator<Item = &'a str>) {
        let calls = self.all();
        assert_subsequence(&calls, expected);
    }

    fn list(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
