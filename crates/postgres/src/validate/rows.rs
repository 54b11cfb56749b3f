//! Rows of each table, against what the dump says.

use backstay_core::Result;

use super::run::Answer;
use crate::connect::Session;
use crate::error;
use crate::facts::{DatabaseFacts, TableFacts};
use crate::quote::ident;

/// Tables that differ and are told one by one.
const TOLD: usize = 20;
/// Small tables grow and shrink by much between two estimates.
const SLACK: u64 = 1_000;

pub(super) async fn count(session: &Session, facts: Option<&DatabaseFacts>) -> Result<Answer> {
    let expected = "as many as the dump says".to_owned();
    let tables: Vec<&TableFacts> = facts.iter().flat_map(|facts| &facts.tables).collect();
    let known: Vec<_> = tables.iter().filter(|table| table.rows.or(table.estimate).is_some()).collect();
    if known.is_empty() {
        let found = Err("the dump says of no table how many rows it has".to_owned());
        return Ok(Answer { expected, found });
    }
    let (mut rows, mut wrong) = (0, Vec::new());
    for table in &known {
        let sql = format!("select count(*) from only {}.{}", ident(&table.schema), ident(&table.name));
        let row = session
            .query_one(&sql, &[])
            .await
            .map_err(|cause| error::server(cause).with("table", format!("{}.{}", table.schema, table.name)))?;
        let count = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        rows += count;
        wrong.extend(differs(table, count));
    }
    let found = if wrong.is_empty() {
        Ok(format!("{rows} rows in {} of {} tables", known.len(), tables.len()))
    } else {
        let more = wrong.len().saturating_sub(TOLD);
        let more = if more > 0 { format!("; and {more} more tables") } else { String::new() };
        Err(format!("{}{more}", wrong.into_iter().take(TOLD).collect::<Vec<_>>().join("; ")))
    };
    Ok(Answer { expected, found })
}

fn differs(table: &TableFacts, count: u64) -> Option<String> {
    let (wanted, ok) = match (table.rows, table.estimate) {
        (Some(rows), _) => (rows.to_string(), rows == count),
        (None, Some(estimate)) => {
            let least = (estimate / 2).saturating_sub(SLACK);
            let most = estimate.saturating_mul(2).saturating_add(SLACK);
            (format!("about {estimate}"), (least..=most).contains(&count))
        }
        (None, None) => return None,
    };
    (!ok).then(|| format!("{}.{}: {count} rows instead of {wanted}", table.schema, table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_rows_are_exact_and_estimates_have_bounds() {
        let differs = |rows, estimate, count| {
            let table = TableFacts { rows, estimate, ..TableFacts::default() };
            super::differs(&table, count).is_some()
        };
        assert!(!differs(Some(5), Some(9_000), 5) && differs(Some(5), None, 6));
        assert!(!differs(None, Some(10_000), 4_000) && differs(None, Some(10_000), 3_999));
        assert!(!differs(None, Some(10_000), 21_000) && differs(None, Some(10_000), 21_001));
        assert!(!differs(None, Some(0), 0) && !differs(None, Some(u64::MAX), u64::MAX));
    }
}
