//! Indexes and tables, page by page, by the extension `amcheck`
//! (<https://www.postgresql.org/docs/current/amcheck.html>).

use backstay_core::{Error, ErrorKind, Result};

use super::run::Answer;
use crate::connect::Session;
use crate::error;
use crate::quote::ident;

/// Findings that are told.
const TOLD: usize = 20;

pub(super) async fn run(session: &Session) -> Result<Answer> {
    let schema = ident(&installed(session).await?);
    let read_only = "set transaction read only";
    session.batch_execute(read_only).await.map_err(error::server)?;
    let (indexes, tables) = (named(session, INDEXES).await?, named(session, TABLES).await?);
    let heap = has_heap(session).await?;
    let mut wrong = Vec::new();
    for (oid, name) in &indexes {
        session.batch_execute("savepoint index").await.map_err(error::server)?;
        let checked = session.batch_execute(&format!("select {schema}.bt_index_check({oid}::regclass, true)")).await;
        if let Err(cause) = checked {
            let error = error::server(cause);
            // It tells what it found as an error; anything else ends the check.
            if error.context("sqlstate") != Some("XX002") {
                return Err(error.with("index", name));
            }
            wrong.push(format!("index {name}: {}", error.message()));
            session.batch_execute("rollback to savepoint index").await.map_err(error::server)?;
        }
    }
    for (oid, name) in tables.iter().filter(|_| heap) {
        let sql = format!("select msg from {schema}.verify_heapam({oid}::regclass) limit 5");
        let rows = session.query(&sql, &[]).await.map_err(|cause| error::server(cause).with("table", name))?;
        wrong.extend(rows.iter().map(|row| format!("table {name}: {}", row.get::<_, String>(0))));
    }
    let looked = format!("{} indexes and {} tables", indexes.len(), if heap { tables.len() } else { 0 });
    let found = if wrong.is_empty() {
        Ok(format!("{looked} are sound"))
    } else {
        Err(wrong.into_iter().take(TOLD).collect::<Vec<_>>().join("; "))
    };
    Ok(Answer { expected: "no damage".to_owned(), found })
}

const INDEXES: &str = "
select c.oid, c.oid::regclass::text from pg_class c join pg_am a on a.oid = c.relam join pg_index on indexrelid = c.oid
where amname = 'btree' and relkind = 'i' and relpersistence <> 't' and indisvalid order by 2";
const TABLES: &str = "
select c.oid, c.oid::regclass::text from pg_class c join pg_am a on a.oid = c.relam
where amname = 'heap' and relkind in ('r', 'm', 't') and relpersistence <> 't' order by 2";

async fn named(session: &Session, sql: &str) -> Result<Vec<(u32, String)>> {
    let rows = session.query(sql, &[]).await.map_err(error::server)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The schema that it is in. If it is only available it is made in this transaction, which is never committed.
async fn installed(session: &Session) -> Result<String> {
    if let Some(schema) = schema(session).await? {
        return Ok(schema);
    }
    session.batch_execute("create extension amcheck").await.map_err(|cause| {
        error::server(cause).advise("install it at the server, or validate as a user that may create it")
    })?;
    schema(session).await?.ok_or_else(|| Error::new(ErrorKind::NotFound, "the extension amcheck is not there"))
}

async fn schema(session: &Session) -> Result<Option<String>> {
    let sql =
        "select nspname::text from pg_extension join pg_namespace n on n.oid = extnamespace where extname = 'amcheck'";
    Ok(session.query_opt(sql, &[]).await.map_err(error::server)?.map(|row| row.get(0)))
}

/// Tables are checked from PostgreSQL 14 on.
async fn has_heap(session: &Session) -> Result<bool> {
    let sql = "select exists (select from pg_proc where proname = 'verify_heapam')";
    Ok(session.query_one(sql, &[]).await.map_err(error::server)?.get(0))
}
