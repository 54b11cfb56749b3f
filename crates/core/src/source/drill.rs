//! Drills: an empty place to restore into, what is checked of the restored, and its end.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Name, PointId, Tag, compact_time, parse_compact_time};
use crate::source::{ItemSource, ResourceImporter};

/// What the name of every scratch place begins with.
const NAMED: &str = "backstay-drill-";

/// Makes empty places to restore into for a while, and takes away what killed drills left of them.
///
/// # Contract
/// * **Empty and apart.** [`prepare`](Self::prepare) makes a place that was not there before. Nothing in use is touched.
/// * **Marked.** From the moment it exists the place says by a name or mark of its own until when it may stay.
///   [`DrillPlace::scratch_name`] is such a name.
/// * **Sweep takes what is over and nothing else**: never a place without the mark, never one whose time is not over, never
///   anything because it looks like one. What it cannot take away it leaves, and the next sweep tries again.
/// * **Cancel safety.** A `prepare` that was begun goes through: the drill waits for it, and then removes what it made. A
///   dropped `sweep` is made good by the next one.
#[async_trait]
pub trait DrillTarget: Debug + Display + Send + Sync + 'static {
    /// Makes the place.
    ///
    /// # Errors
    /// What the target answers; it has removed then what it made so far.
    async fn prepare(&self, place: &DrillPlace) -> Result<Box<dyn Scratch>>;

    /// Takes away the places whose time is over at `now`, and names them.
    ///
    /// # Errors
    /// What the target answers, and what could not be taken away.
    async fn sweep(&self, now: Timestamp) -> Result<Vec<String>>;
}

/// A place that a drill restores into.
///
/// # Contract
/// * **Data, not errors.** [`validate`](Self::validate) answers `Ok` with the checks that failed; an error is what kept it
///   from checking. It makes at least one check: a validation without any has not passed.
/// * **Goes away.** [`remove`](Self::remove) is called once whatever happened before, also while a dropped restore or
///   validation is still ending, takes everything that the place consists of, and succeeds where it is gone already.
#[async_trait]
pub trait Scratch: Debug + Display + Send + Sync + 'static {
    /// What restores into it.
    fn importer(&self) -> Arc<dyn ResourceImporter>;

    /// Checks what was restored, against the items that it came from where they tell something.
    ///
    /// # Errors
    /// What kept it from checking.
    async fn validate(&self, items: &dyn ItemSource) -> Result<Validation>;

    /// Takes the place away.
    ///
    /// # Errors
    /// What the target answers; the place is then left to [`DrillTarget::sweep`].
    async fn remove(&self) -> Result<()>;
}

/// Which place a drill needs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrillPlace {
    /// What is restored into it.
    pub component: Name,
    /// From which point.
    pub point: PointId,
    /// When the drill began, by the store's clock: the moment that ages are measured at.
    pub began: Timestamp,
    /// Until when it may stay, by the store's clock. The drill ends before.
    pub until: Timestamp,
    /// Keeps it apart from others.
    pub tag: Tag,
}

impl DrillPlace {
    /// A place for a component of a point.
    #[must_use]
    pub fn new(component: Name, point: PointId, (began, until): (Timestamp, Timestamp), tag: Tag) -> Self {
        Self { component, point, began, until, tag }
    }

    /// A name for it that says until when it may stay: `backstay-drill-20261120t064200z-abcdefgh`.
    #[must_use]
    pub fn scratch_name(&self) -> String {
        format!("{NAMED}{}-{}", compact_time(self.until), self.tag)
    }

    /// Until when the place of such a name may stay; none for any other name.
    #[must_use]
    pub fn until_of(name: &str) -> Option<Timestamp> {
        let (until, tag) = name.strip_prefix(NAMED)?.split_once('-')?;
        tag.parse::<Tag>().ok()?;
        parse_compact_time(until)
    }
}

/// What was checked of the restored. `Display` is a table.
///
/// ```
/// use backstay_core::source::{Check, Validation};
/// use std::time::Duration;
///
/// let mut validation = Validation::default();
/// validation.add(Check::new("orders", "at least 100", Ok("493,895".into()), Duration::from_millis(20)));
/// validation.add(Check::new("newest order", "not older than 24 h", Err("3 days old".into()), Duration::ZERO));
/// assert!(!validation.passed());
/// println!("{validation}");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Validation {
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What it should be, in words.
    pub expected: String,
    /// What it is, in words.
    pub found: String,
    /// How long the look took.
    pub took: SignedDuration,
}

impl Validation {
    /// Whether something was checked, and all of it was as it should be.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.checks.is_empty() && self.failed() == 0
    }

    /// How many checks failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.checks.iter().filter(|check| !check.ok).count() as u64
    }

    /// Adds a check.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }
}

impl Check {
    /// A check and what came of it: what was found is `Ok` if it is as it should be.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        expected: impl Into<String>,
        found: Result<String, String>,
        took: Duration,
    ) -> Self {
        let ok = found.is_ok();
        let found = found.unwrap_or_else(|found| found);
        let took = SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX);
        Self { name: name.into(), ok, expected: expected.into(), found, took }
    }
}

impl Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.escape_debug().to_string();
        let rows: Vec<[String; 3]> = self
            .checks
            .iter()
            .map(|check| [&check.name, &check.expected, &check.found].map(|text| shown(text)))
            .collect();
        let head = ["check", "expected", "found"];
        let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0).max(head[i].len());
        let [name, expected] = [0, 1].map(width);
        write!(f, "{:6}  {:name$}  {:expected$}  {}", "", head[0], head[1], head[2])?;
        for (check, row) in self.checks.iter().zip(&rows) {
            let mark = if check.ok { "ok" } else { "FAILED" };
            write!(f, "\n{mark:6}  {:name$}  {:expected$}  {}", row[0], row[1], row[2])?;
        }
        if self.checks.is_empty() {
            f.write_str("\nFAILED  nothing was checked")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_as_they_are_made_tell_a_time() {
        let point: PointId = "prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap();
        let times = ("2026-11-20T06:42:00Z".parse().unwrap(), "2026-11-21T06:42:00Z".parse().unwrap());
        let place = DrillPlace::new("files".parse().unwrap(), point, times, "abcdefgh".parse().unwrap());
        assert_eq!(place.scratch_name(), "backstay-drill-20261121t064200z-abcdefgh");
        assert_eq!(DrillPlace::until_of(&place.scratch_name()), Some(times.1));
        for other in [
            "",
            "backstay-drill-",
            "backstay-drill-20261121t064200z",
            "backstay-drill-20261121t064200z-",
            "backstay-drill-20261121t064200z-abcdefgh-copy",
            "backstay-drill-20261121t064200z-ABCDEFGH",
            "backstay-drill-20261321t064200z-abcdefgh",
            "my-backstay-drill-20261121t064200z-abcdefgh",
        ] {
            assert_eq!(DrillPlace::until_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_validation_without_a_check_has_not_passed_and_its_table_says_so() {
        assert!(!Validation::default().passed());
        assert!(Validation::default().to_string().contains("nothing was checked"));
        let mut validation = Validation::default();
        validation.add(Check::new("files", "3", Ok("3".into()), Duration::ZERO));
        assert!(validation.passed());
        validation.add(Check::new("newest file", "no older than 1d", Err("3d\nold".into()), Duration::ZERO));
        let table = "        check        expected          found\n\
                     ok      files        3                 3\n\
                     FAILED  newest file  no older than 1d  3d\\nold";
        assert_eq!((validation.passed(), validation.failed(), validation.to_string().as_str()), (false, 1, table));
    }
}
