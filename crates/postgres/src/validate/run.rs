//! Runs checks in a database.

use backstay_core::Result;
use backstay_core::clock::{Clock as _, SystemClock};
use backstay_core::source::{Check as Checked, Validation};
use jiff::{SignedDuration, Unit};

use super::checks::{Check, Checks, Expect};
use super::{amcheck, rows, structure};
use crate::connect::{PgConnect, Session};
use crate::error;
use crate::facts::DatabaseFacts;

/// What a check expected, and what it found: as expected, or not.
pub(super) struct Answer {
    pub(super) expected: String,
    pub(super) found: std::result::Result<String, String>,
}

impl Checks {
    /// Runs all of them in the database that `server` names, one after the other. `facts` are those of the dump.
    ///
    /// A server that cannot be reached fails every check. Dropped, it leaves nothing behind.
    pub async fn run(&self, server: &PgConnect, facts: Option<&DatabaseFacts>) -> Validation {
        let mut validation = Validation::default();
        for check in &self.checks {
            let began = SystemClock.monotonic();
            // A session for each: what one did to its own does not reach the next.
            let answer = match server.session().await {
                Ok(session) => check.answer(&session, self.timeout, facts).await,
                Err(error) => Err(error),
            };
            let took = SystemClock.monotonic().saturating_sub(began);
            let Answer { expected, found } = answer
                .unwrap_or_else(|error| Answer { expected: "an answer".to_owned(), found: Err(error.with_causes()) });
            validation.add(Checked::new(check.name(), expected, found, took));
        }
        validation
    }
}

impl Check {
    fn name(&self) -> &str {
        match self {
            Self::Query { name, .. } => name,
            Self::RowCounts => "row counts",
            Self::IndexesAndConstraints => "indexes and constraints",
            Self::Amcheck => "amcheck",
        }
    }

    async fn answer(
        &self,
        session: &Session,
        timeout: SignedDuration,
        facts: Option<&DatabaseFacts>,
    ) -> Result<Answer> {
        let limit = timeout.as_millis().clamp(1, i32::MAX.into());
        let mode = if matches!(self, Self::Amcheck) { "" } else { " read only" };
        let begin = format!("begin{mode}; set local statement_timeout = {limit}; set local row_security = off");
        session.batch_execute(&begin).await.map_err(error::server)?;
        match self {
            Self::Query { sql, expect, .. } => expect.ask(session, sql).await,
            Self::RowCounts => rows::count(session, facts).await,
            Self::IndexesAndConstraints => structure::look(session).await,
            Self::Amcheck => amcheck::run(session).await,
        }
        // The session ends with its transaction open, which is rolled back.
    }
}

/// A time may lie so far ahead: clocks of those who write rows differ.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

impl Expect {
    async fn ask(&self, session: &Session, sql: &str) -> Result<Answer> {
        // Inside a value it is one query, whatever it says, and its text is PostgreSQL's own.
        let sql = sql.trim().trim_end_matches(';');
        let sql = match self {
            Self::NotOlderThan(_) => format!("select extract(epoch from now() - (\n{sql}\n)::timestamptz)::text"),
            _ => format!("select (\n{sql}\n)::text"),
        };
        let row = session.query_one(&sql, &[]).await.map_err(error::server)?;
        let value: Option<String> = row.try_get(0).map_err(error::server)?;
        Ok(self.judge(value.as_deref()))
    }

    fn judge(&self, value: Option<&str>) -> Answer {
        let (expected, ok, found) = match self {
            Self::Equals(wanted) => (format!("exactly {wanted}"), value == Some(wanted), told(value)),
            Self::AtLeast(least) => (format!("at least {least}"), compares(value, *least, |v, l| v >= l), told(value)),
            Self::AtMost(most) => (format!("at most {most}"), compares(value, *most, |v, m| v <= m), told(value)),
            Self::NotOlderThan(span) => {
                let age = value.and_then(|value| SignedDuration::try_from_secs_f64(value.parse().ok()?).ok());
                let whole = |span: SignedDuration| span.round(Unit::Second).unwrap_or(span);
                let found = age.map(|age| format!("{:#} old", whole(age)));
                let expected = match *span {
                    SignedDuration::MIN => "an age, but a span of months or years has no length".to_owned(),
                    span => format!("not older than {:#}", whole(span)),
                };
                (expected, age.is_some_and(|age| (-AHEAD..=*span).contains(&age)), found)
            }
        };
        let found = found.unwrap_or_else(|| "nothing".to_owned());
        Answer { expected, found: if ok { Ok(found) } else { Err(found) } }
    }
}

fn told(value: Option<&str>) -> Option<String> {
    value.map(str::to_owned)
}

/// Whole numbers are compared as such, others as far as they go.
fn compares(value: Option<&str>, bound: i64, holds: impl Fn(f64, f64) -> bool) -> bool {
    let Some(value) = value else { return false };
    match value.parse::<i64>() {
        // The difference keeps what a large number loses as a fraction.
        Ok(number) => holds((i128::from(number) - i128::from(bound)) as f64, 0.0),
        Err(_) => value.parse::<f64>().is_ok_and(|number| holds(number, bound as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_as_numbers_texts_and_ages() {
        let day = Expect::NotOlderThan(SignedDuration::from_hours(24));
        let table: &[(Expect, Option<&str>, bool)] = &[
            (Expect::Equals("3".into()), Some("3"), true),
            (Expect::Equals("3".into()), Some("3.0"), false),
            (Expect::Equals(String::new()), None, false),
            (Expect::AtLeast(3), Some("3"), true),
            (Expect::AtLeast(3), Some("2"), false),
            (Expect::AtLeast(3), Some("3.5"), true),
            (Expect::AtLeast(3), Some("many"), false),
            (Expect::AtLeast(i64::MAX), Some("9223372036854775806"), false),
            (Expect::AtMost(3), Some("4"), false),
            (Expect::AtMost(3), Some("-4.25"), true),
            (Expect::AtMost(3), Some("NaN"), false),
            (Expect::AtMost(3), None, false),
            (day.clone(), Some("86399.5"), true),
            (day.clone(), Some("86401.000000"), false),
            (day.clone(), Some("-5"), true),
            // One wrong row would keep everything fresh for ever.
            (day.clone(), Some("-3600"), false),
            (day.clone(), Some("Infinity"), false),
            (day, None, false),
        ];
        for (expect, value, ok) in table {
            assert_eq!(expect.judge(*value).found.is_ok(), *ok, "{expect:?} of {value:?}");
        }
    }
}
