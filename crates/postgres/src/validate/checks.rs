//! What is checked.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};

/// What a restored database should be like. Each check runs in a transaction of its own that can only read, with a timeout; it
/// never fails as an error, but as a check.
///
/// ```no_run
/// use backstay_postgres::{Checks, PgConnect};
/// use jiff::ToSpan;
///
/// # async fn example(restored: PgConnect) -> backstay_core::Result<()> {
/// let validation = Checks::new()
///     .query("orders", "select count(*) from orders").at_least(100_000)
///     .query("newest order", "select max(created_at) from orders").not_older_than(24.hours())
///     .query("schema version", "select max(version) from migrations").equals("2026-11-03")
///     .indexes_and_constraints()
///     .run(&restored, None)
///     .await;
/// println!("{validation}");
/// assert!(validation.passed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Checks {
    pub(super) checks: Vec<Check>,
    /// How long one check may take.
    pub(super) timeout: SignedDuration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Check {
    Query { name: String, sql: String, expect: Expect },
    RowCounts,
    IndexesAndConstraints,
    Amcheck,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expect {
    Equals(String),
    AtLeast(i64),
    AtMost(i64),
    NotOlderThan(SignedDuration),
}

/// A query whose expectation is yet to be said.
#[derive(Debug)]
#[must_use = "say what is expected"]
pub struct QueryCheck {
    checks: Checks,
    name: String,
    sql: String,
}

impl Default for Checks {
    fn default() -> Self {
        Self { checks: Vec::new(), timeout: SignedDuration::from_hours(1) }
    }
}

impl Checks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A query that gives one value. Say what it should be by a method of the result.
    pub fn query(self, name: impl Into<String>, sql: impl Into<String>) -> QueryCheck {
        QueryCheck { checks: self, name: name.into(), sql: sql.into() }
    }

    /// Rows of each table, against the facts of the dump: as many as were counted; where they were only estimated, between half
    /// and twice as many, give or take 1,000. Reads all tables.
    #[must_use]
    pub fn row_counts(self) -> Self {
        self.and(Check::RowCounts)
    }

    /// No index is invalid, and no constraint is not validated.
    #[must_use]
    pub fn indexes_and_constraints(self) -> Self {
        self.and(Check::IndexesAndConstraints)
    }

    /// Every B-tree index and, from PostgreSQL 14 on, every table is sound, by the extension `amcheck`. If it is available and not
    /// installed it is there for the time of this check only, which then needs a user that may create it. If it is not available
    /// the check fails.
    #[must_use]
    pub fn amcheck(self) -> Self {
        self.and(Check::Amcheck)
    }

    /// How long one check may take; an hour if not said.
    #[must_use]
    pub fn timeout(mut self, timeout: SignedDuration) -> Self {
        self.timeout = timeout;
        self
    }

    fn and(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }
}

impl QueryCheck {
    /// Exactly this, as PostgreSQL writes it.
    #[must_use]
    pub fn equals(self, value: impl ToString) -> Checks {
        self.expect(Expect::Equals(value.to_string()))
    }

    /// A number of at least this.
    #[must_use]
    pub fn at_least(self, number: i64) -> Checks {
        self.expect(Expect::AtLeast(number))
    }

    /// A number of at most this.
    #[must_use]
    pub fn at_most(self, number: i64) -> Checks {
        self.expect(Expect::AtMost(number))
    }

    /// A time that was not longer ago than this, by the server's clock, and does not lie ahead of it by more than a minute.
    /// A day has 24 hours; a span of months or years has no length, and makes the check fail.
    #[must_use]
    pub fn not_older_than(self, span: Span) -> Checks {
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).unwrap_or(SignedDuration::MIN);
        self.expect(Expect::NotOlderThan(length))
    }

    fn expect(self, expect: Expect) -> Checks {
        let Self { checks, name, sql } = self;
        checks.and(Check::Query { name, sql, expect })
    }
}
