//! A backend's report on its own set-up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a backend found when it looked at how it is set up. Looking changes nothing.
///
/// ```
/// use backstay_core::doctor::{DoctorReport, Health};
///
/// let mut report = DoctorReport::new("s3://acme-backups");
/// report.fine("versioning", "on");
/// report.missing("public access block", "none is set", "aws s3api put-public-access-block ...");
/// assert_eq!(report.worst(), Health::Missing);
/// println!("{report}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DoctorReport {
    /// What was looked at.
    pub subject: String,
    /// What was found, in the order of looking.
    pub findings: Vec<Diagnosis>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// How it is.
    pub health: Health,
    /// What was looked at: "versioning", "key".
    pub what: String,
    /// How it was found.
    pub found: String,
    /// What makes it right; none where nothing is to be done.
    pub fix: Option<String>,
}

/// How good it is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// As it should be.
    Fine,
    /// Could not be looked at: the right to is lacking, or the server has no such thing.
    Unknown,
    /// Not there, and it should be.
    Missing,
    /// There, and it endangers what is kept.
    Risky,
    /// Backups or restores fail already, or will soon.
    Critical,
}

impl DoctorReport {
    /// Nothing found yet.
    #[must_use]
    pub fn new(subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), findings: Vec::new() }
    }

    /// It is as it should be.
    pub fn fine(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.add(Health::Fine, what, found, None);
    }

    /// It could not be looked at; `fix` makes it visible.
    pub fn unknown(&mut self, what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.add(Health::Unknown, what, found, Some(fix.into()));
    }

    /// It is not there.
    pub fn missing(&mut self, what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.add(Health::Missing, what, found, Some(fix.into()));
    }

    /// It endangers what is kept.
    pub fn risky(&mut self, what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.add(Health::Risky, what, found, Some(fix.into()));
    }

    /// It breaks backups or restores.
    pub fn critical(&mut self, what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) {
        self.add(Health::Critical, what, found, Some(fix.into()));
    }

    /// The worst of all findings; fine if there are none.
    #[must_use]
    pub fn worst(&self) -> Health {
        self.findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Fine)
    }

    /// What was found of one thing.
    #[must_use]
    pub fn of(&self, what: &str) -> Option<&Diagnosis> {
        self.findings.iter().find(|finding| finding.what == what)
    }

    fn add(&mut self, health: Health, what: impl Into<String>, found: impl Into<String>, fix: Option<String>) {
        self.findings.push(Diagnosis { health, what: what.into(), found: found.into(), fix });
    }
}

impl fmt::Display for DoctorReport {
    /// The worst first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.worst())?;
        let mut findings: Vec<&Diagnosis> = self.findings.iter().collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.health));
        findings.into_iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8} {}: {}", self.health.to_string(), self.what, self.found)?;
        self.fix.iter().try_for_each(|fix| write!(f, "\n           fix: {fix}"))
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fine => "fine",
            Self::Unknown => "unknown",
            Self::Missing => "missing",
            Self::Risky => "risky",
            Self::Critical => "CRITICAL",
        })
    }
}

/// A text as one word of a POSIX shell, whatever is in it: a fix may be a command that people paste.
///
/// ```
/// use backstay_core::doctor::shell_word;
///
/// assert_eq!(shell_word("acme-backups"), "acme-backups");
/// assert_eq!(shell_word("it's $HOME"), r"'it'\''s $HOME'");
/// ```
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Nothing has a meaning within single quotes but the quote that ends them.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stands_first_with_its_fix() {
        let mut report = DoctorReport::new("s3://b");
        assert_eq!(report.worst(), Health::Fine);
        report.fine("versioning", "on");
        report.critical("key", "pending deletion", "cancel it");
        report.unknown("policy", "denied", "allow s3:GetBucketPolicy");
        let text = "s3://b: CRITICAL\n  CRITICAL key: pending deletion\n           fix: cancel it\n  unknown  policy: \
                    denied\n           fix: allow s3:GetBucketPolicy\n  fine     versioning: on";
        assert_eq!(report.to_string(), text);
        assert_eq!(report.of("key").map(|finding| finding.health), Some(Health::Critical));
    }

    #[test]
    fn a_word_is_taken_by_the_shell_as_it_stands() {
        let table = [
            ("acmebackups", "acmebackups"),
            ("/subscriptions/S/resourceGroups/G", "/subscriptions/S/resourceGroups/G"),
            ("/resourceGroups/rg(eu)", "'/resourceGroups/rg(eu)'"),
            ("prod eu", "'prod eu'"),
            ("$HOME `id` \"!\\", "'$HOME `id` \"!\\'"),
            ("it's", r"'it'\''s'"),
            ("a\nb;#", "'a\nb;#'"),
            ("~", "'~'"),
            ("", "''"),
        ];
        for (text, expected) in table {
            assert_eq!(shell_word(text), expected);
        }
    }
}
