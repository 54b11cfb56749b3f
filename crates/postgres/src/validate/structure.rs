//! Indexes that are not valid, constraints that were never validated.

use backstay_core::Result;

use super::run::Answer;
use crate::connect::Session;
use crate::error;

const WRONG: &str = "
select 'index ' || indexrelid::regclass::text from pg_index where not (indisvalid and indisready and indislive)
union all
select 'constraint ' || quote_ident(conname) || ' of ' || conrelid::regclass::text from pg_constraint
  where not convalidated and conrelid <> 0
order by 1 limit 21";

pub(super) async fn look(session: &Session) -> Result<Answer> {
    let rows = session.query(WRONG, &[]).await.map_err(error::server)?;
    let wrong: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let found = match wrong.as_slice() {
        [] => Ok("all valid".to_owned()),
        [first @ .., _] if wrong.len() > 20 => Err(format!("not valid: {} and more", first.join(", "))),
        _ => Err(format!("not valid: {}", wrong.join(", "))),
    };
    Ok(Answer { expected: "all valid".to_owned(), found })
}
