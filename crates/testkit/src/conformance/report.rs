//! What a suite found.

use std::fmt;

/// The cases of a suite by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Names of the cases that hold.
    pub passed: Vec<&'static str>,
    /// Names of the cases that do not, each with what was seen.
    pub failed: Vec<(&'static str, String)>,
    /// Names of the cases that were left out, each with the ability that is not there.
    pub skipped: Vec<(&'static str, &'static str)>,
}

impl Report {
    /// Panics if a case failed, and names all that did.
    ///
    /// # Panics
    /// If a case failed, or if none ran.
    pub fn assert(&self) {
        assert!(self.failed.is_empty() && !self.passed.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        writeln!(f, "{} passed, {} failed, {} skipped", passed.len(), failed.len(), skipped.len())?;
        for (name, message) in failed {
            writeln!(f, "FAILED   {name}: {message}")?;
        }
        for (name, why) in skipped {
            writeln!(f, "skipped  {name}: the store has no {why}")?;
        }
        Ok(())
    }
}
