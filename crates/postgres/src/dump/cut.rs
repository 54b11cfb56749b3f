//! One database's cut: a session that holds a snapshot, which `pg_dump` takes over.

use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::Deserialize;

use super::PgDumpOptions;
use super::gather::gather;
use crate::connect::{PgConnect, Session};
use crate::error;
use crate::facts::DatabaseFacts;

/// A snapshot, as long as its session lives.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) session: Session,
    pub(super) snapshot: String,
    pub(super) facts: DatabaseFacts,
    /// Unlogged tables of a standby, which has no rows of them.
    pub(super) unlogged: u64,
}

#[derive(Deserialize)]
struct Moment {
    snapshot: String,
    micros: i64,
    lsn: Option<String>,
    unlogged: u64,
}

impl Cut {
    /// Opens a session in the database and gathers the facts.
    pub(super) async fn open(server: &PgConnect, database: &str, options: &PgDumpOptions) -> Result<Self> {
        let session = server.with_database(database).session().await?;
        prepare(&session, options).await?;
        // The snapshot is taken by the first query, and so is the time: what was committed before it is in the dump.
        let moment: Moment = session
            .row(
                "SELECT pg_export_snapshot() AS snapshot,
                        (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS micros,
                        (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS lsn,
                        (SELECT count(*) FROM pg_class
                         WHERE relkind = 'r' AND relpersistence = 'u' AND pg_is_in_recovery()) AS unlogged",
                &[],
            )
            .await?;
        let mut facts = gather(&session, options).await?;
        facts.cut_at = Timestamp::from_microsecond(moment.micros).ok();
        facts.lsn = moment.lsn;
        facts.snapshot = Some(moment.snapshot.clone());
        Ok(Self { session, snapshot: moment.snapshot, facts, unlogged: moment.unlogged })
    }

    /// Proves that the session was alive until now.
    pub(super) async fn still_holds(&self) -> Result<()> {
        self.session.simple_query("SELECT 1").await.map_err(|failure| {
            let told = error::server(failure);
            Error::new(told.kind(), "the session that holds the snapshot ended before the dump").because(told)
        })?;
        Ok(())
    }
}

/// Nothing that somebody set for the role or the database ends the session, or changes what it sees.
async fn prepare(session: &Session, options: &PgDumpOptions) -> Result<()> {
    let lock_timeout = options.lock_timeout.map_or(0, |timeout| timeout.as_millis().max(1)).to_string();
    let settings = [
        ("search_path", ""),
        ("TimeZone", "UTC"),
        ("lock_timeout", lock_timeout.as_str()),
        ("idle_in_transaction_session_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("transaction_timeout", "0"),
        ("row_security", "off"),
    ];
    let (names, values): (Vec<&str>, Vec<&str>) = settings.into_iter().unzip();
    // By itself first: what follows takes longer than some allow.
    session.batch_execute("SET statement_timeout = 0").await.map_err(error::server)?;
    // Older versions lack some. `unnest` of several arrays is syntax, which no function of the database can take over.
    let sql = "SELECT pg_catalog.set_config(s.name, w.value, false)
               FROM unnest($1::text[], $2::text[]) AS w(name, value)
               JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) w.name";
    let set = session.query(sql, &[&names, &values]).await.map_err(error::server)?;
    if set.len() < 4 {
        return Err(Error::new(ErrorKind::Unsupported, "the server does not know the settings that a dump needs"));
    }
    session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(error::server)
}
