//! An observer that remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_core::{Event, Observer};

/// Records events. Clones are the same log: give one to the program and ask the other.
///
/// ```
/// use backstay_core::{Event, Observer};
/// use backstay_testkit::EventLog;
///
/// let log = EventLog::default();
/// # let point: backstay_core::PointId = "prod/daily/20261120t064200z-abcdefgh".parse()?;
/// log.clone().event(&Event::BackupStarted { point: point.clone(), components: Vec::new() });
/// log.clone().event(&Event::Committed { point, partial: false });
/// log.assert_order(["backup_started", "committed"]);
/// assert_eq!(log.count("backup_failed"), 0);
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EventLog(Arc<Mutex<Vec<Event>>>);

impl EventLog {
    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Event> {
        self.events().clone()
    }

    /// The names of everything so far.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.events().iter().map(Event::name).collect()
    }

    /// How many events bear this name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event.name() == name).count()
    }

    /// These events happened in this order, with or without others in between.
    ///
    /// # Panics
    /// If not; the message has the whole log.
    #[track_caller]
    pub fn assert_order<'a>(&self, expected: impl IntoIterator<Item = &'a str>) {
        let names = self.names();
        assert_subsequence(&names, expected);
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for EventLog {
    fn event(&self, event: &Event) {
        self.events().push(event.clone());
    }
}

#[track_caller]
pub(crate) fn assert_subsequence<'a, S: AsRef<str> + std::fmt::Debug>(
    actual: &[S],
    expected: impl IntoIterator<Item = &'a str>,
) {
    let mut rest = actual.iter();
    for name in expected {
        assert!(rest.any(|found| found.as_ref() == name), "{name:?} is missing or out of order in {actual:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::assert_subsequence;

    #[test]
    fn an_order_may_have_gaps() {
        assert_subsequence(&["a", "b", "c"], ["a", "c"]);
        assert_subsequence(&["a", "b", "a"], ["b", "a"]);
    }

    #[test]
    #[should_panic(expected = "\"a\" is missing or out of order in [\"a\", \"b\"]")]
    fn a_wrong_order_is_found() {
        assert_subsequence(&["a", "b"], ["b", "a"]);
    }
}
