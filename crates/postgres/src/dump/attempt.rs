//! One database: its item, its cut, its dump.

use backstay_core::source::{ItemSink, ItemSpec, ItemWriter, Problem};
use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::PgDump;
use super::arguments::arguments;
use super::cut::Cut;
use super::pump::{Failed, pump};
use crate::client::{Program, Said, start};
use crate::facts::{ARCHIVE, DatabaseFacts, database_item};

/// How often a dump is begun that a standby cancels.
const ATTEMPTS: u32 = 3;

/// The encoding of a database that takes any bytes for text. In no other could they be told.
const UNKNOWN: &str = "SQL_ASCII";

/// What became of a database.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) notes: Vec<String>,
    pub(super) result: Result<Dumped>,
}

/// What a report tells of a dump.
#[derive(Debug)]
pub(super) struct Dumped {
    pub(super) cut_at: Option<Timestamp>,
    pub(super) empty: bool,
}

impl PgDump {
    /// Dumps a database. The item is opened first: a snapshot that waits for room would hold up the server's clean-up.
    ///
    /// # Errors
    /// Only where the items go; what fails otherwise is in the outcome, and the item abandoned.
    pub(super) async fn dump(&self, database: String, program: &Program, out: &dyn ItemSink) -> Result<Outcome> {
        let database = database.as_str();
        let mut item = out.item(ItemSpec::new(database_item(database), ARCHIVE)).await?;
        let mut notes = Vec::new();
        let mut attempt = 1;
        loop {
            match self.in_time(database, program, &mut *item).await {
                Ok((facts, said, unlogged)) => {
                    notes.extend(warnings(database, &said));
                    if unlogged > 0 {
                        notes.push(format!(
                            "{database:?}: {unlogged} unlogged tables have no rows: a standby has none of them"
                        ));
                    }
                    let empty = facts.tables.is_empty() && facts.large_objects == 0;
                    let dumped = Dumped { cut_at: facts.cut_at, empty };
                    item.finish(facts.to_facts()).await?;
                    return Ok(Outcome { notes, result: Ok(dumped) });
                }
                Err(Failed::Sink(error)) => return Err(error),
                Err(Failed::Source(error)) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                    notes.push(format!("{database:?} was begun again: {}", error.with_causes()));
                    item.restart().await?;
                    attempt += 1;
                }
                Err(Failed::Source(error)) => {
                    let error = advised(error);
                    item.abandon(Problem::new(database, error.with_causes())).await;
                    return Ok(Outcome { notes, result: Err(error) });
                }
            }
        }
    }

    async fn in_time(
        &self,
        database: &str,
        program: &Program,
        item: &mut dyn ItemWriter,
    ) -> Result<(DatabaseFacts, Said, u64), Failed> {
        let attempt = self.attempt(database, program, item);
        let Some(timeout) = self.options.database_timeout else { return attempt.await };
        tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
            Err(Failed::Source(
                Error::new(ErrorKind::Timeout, "the dump took longer than it may")
                    .with("database_timeout", format!("{timeout:?}")),
            ))
        })
    }

    async fn attempt(
        &self,
        database: &str,
        program: &Program,
        item: &mut dyn ItemWriter,
    ) -> Result<(DatabaseFacts, Said, u64), Failed> {
        let mut cut = Cut::open(&self.server, database, &self.options).await.map_err(Failed::Source)?;
        let server = self.server.with_database(database);
        let mut arguments = arguments(&self.options, &cut.snapshot);
        if cut.facts.encoding == UNKNOWN {
            arguments.push(format!("--encoding={UNKNOWN}"));
        }
        let mut child = start(program, &arguments, Some(&server)).await.map_err(Failed::Source)?;
        let head = pump(&mut child, item, &mut cut.session).await?;
        let judge = async {
            let said = child.end().await?;
            said.told_error("pg_dump")?;
            head.is_archive()?;
            cut.still_holds().await?;
            Ok(said)
        };
        let said = judge.await.map_err(Failed::Source)?;
        cut.facts.client_version = program.version.to_string();
        Ok((cut.facts, said, cut.unlogged))
    }
}

fn warnings(database: &str, said: &Said) -> Vec<String> {
    let mut notes: Vec<String> = said.lines.iter().map(|line| format!("{database:?}: {line}")).collect();
    if said.left_out > 0 {
        notes.push(format!("{database:?}: pg_dump said {} lines before these", said.left_out));
    }
    notes
}

fn advised(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Conflict => {
            error.advise("raise max_standby_streaming_delay on the standby, or set hot_standby_feedback there")
        }
        ErrorKind::Busy => error.advise("find who locks the table in pg_locks, or raise lock_timeout"),
        _ => error,
    }
}
