//! What a backup did.

use std::time::Duration;

use crate::name::{Name, PointId};
use crate::source::Problem;
use crate::vault::Outcome;

/// What a backup did. It exists for a complete point, and inside the error for a partial one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupReport {
    /// The point that exists now.
    pub id: PointId,
    /// What became of each component.
    pub components: Vec<ComponentReport>,
    /// How long the run took.
    pub took: Duration,
    /// Whether it is known that this very attempt committed. False only where the answer to the commit was lost and the
    /// store's etags prove nothing: a manifest of the same length stands there, and a reader can tell whose.
    pub certain: bool,
}

/// What became of a component.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComponentReport {
    /// Which.
    pub name: Name,
    /// How it ended.
    pub outcome: Outcome,
    /// Number of its items.
    pub items: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// Their stored bytes.
    pub stored: u64,
    /// What is missing or may be torn.
    pub problems: Vec<Problem>,
    /// What was left out on purpose, or is odd and harmless.
    pub notes: Vec<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// How long its export took.
    pub took: Duration,
}

impl BackupReport {
    /// Whether some component is not good.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.components.iter().any(|component| component.outcome != Outcome::Good)
    }

    /// Plain bytes of all components.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.components.iter().map(|component| component.bytes).sum()
    }

    /// Stored bytes of all components.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.components.iter().map(|component| component.stored).sum()
    }

    /// One line for each component that is not good.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let bad = self.components.iter().filter(|component| component.outcome != Outcome::Good);
        bad.map(|component| match (&component.error, component.problems.first()) {
            (Some(error), _) => format!("{}: {error}", component.name),
            (None, Some(problem)) => {
                let more = match component.problems.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                format!("{}: {}: {}{more}", component.name, problem.what.escape_debug(), problem.why)
            }
            (None, None) => format!("{}: incomplete", component.name),
        })
        .collect()
    }
}
