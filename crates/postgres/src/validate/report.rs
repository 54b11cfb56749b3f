//! What was found.

use std::fmt;

use jiff::{SignedDuration, Unit};
use serde::{Deserialize, Serialize};

/// What [`Checks`](super::Checks) found, in their order. `Display` is a table for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// Each check.
    pub checks: Vec<CheckResult>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// Its name.
    pub name: String,
    /// Whether it is as expected.
    pub ok: bool,
    /// What was expected, in words.
    pub expected: String,
    /// What was found; the server's words if it could not be looked at.
    pub found: String,
    /// How long it took.
    pub took: SignedDuration,
}

impl Validation {
    /// Whether something was checked, and all of it is as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.checks.iter().all(|check| check.ok)
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.checks.is_empty() {
            return f.write_str("nothing was checked");
        }
        for (i, check) in self.checks.iter().enumerate() {
            let verdict = if check.ok { "ok    " } else { "FAILED" };
            let took = check.took.round(Unit::Millisecond).unwrap_or(check.took);
            let line_break = if i == 0 { "" } else { "\n" };
            write!(
                f,
                "{line_break}{verdict} {}: expected {}, found {} ({took:#})",
                check.name, check.expected, check.found
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_checked_is_no_success_and_a_failure_stands_out() {
        assert!(!Validation::default().passed());
        let check = |ok, found: &str| CheckResult {
            name: "orders".into(),
            ok,
            expected: "at least 3".into(),
            found: found.into(),
            took: SignedDuration::from_millis(12),
        };
        let mut validation = Validation { checks: vec![check(true, "4")] };
        assert!(validation.passed());
        validation.checks.push(check(false, "2"));
        assert!(!validation.passed());
        assert_eq!(
            validation.to_string(),
            "ok     orders: expected at least 3, found 4 (12ms)\nFAILED orders: expected at least 3, found 2 (12ms)"
        );
        let json = serde_json::to_string(&validation).unwrap();
        assert_eq!(serde_json::from_str::<Validation>(&json).unwrap(), validation);
    }
}
