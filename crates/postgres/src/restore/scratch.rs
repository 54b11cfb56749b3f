//! A database that a restore makes: marked while it is not whole, dropped if it never gets whole, found again if nobody was
//! left to drop it.

use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::target::identity;
use crate::connect::{PgConnect, Session};
use crate::error;
use crate::quote::{ident, literal};

/// How a database's comment begins that a restore put there.
const MARK: &str = "backstay restore ";

/// What a restore writes into the comment of the database that it makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Component and item.
    pub(super) of: String,
    /// By which plan: applied again, it makes it anew.
    pub(super) plan: String,
    pub(super) whole: bool,
    /// After that anyone may drop it.
    pub(super) until: Timestamp,
    /// The database's name. A comment stays with a database that is renamed, and such a one is somebody's.
    pub(super) name: String,
}

impl Marker {
    pub(super) fn read(comment: &str, name: &str) -> Option<Self> {
        let marker: Self = serde_json::from_str(comment.strip_prefix(MARK)?).ok()?;
        (marker.name == name).then_some(marker)
    }

    fn written(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|error| Error::new(ErrorKind::Other, "the mark cannot be written as JSON").because(error))?;
        Ok(format!("{MARK}{json}"))
    }
}

/// A database that a restore made and that is not needed any more, or soon will not be; see
/// [`PgRestore::scratches`](super::PgRestore::scratches).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScratchDatabase {
    /// Its name.
    pub name: String,
    /// Component and item that it was restored from.
    pub of: String,
    /// Whether it was restored whole; else the restore that made it was interrupted, or is at work.
    pub whole: bool,
    /// From then on it may be dropped.
    pub until: Timestamp,
    /// Whether that has come, by the server's clock.
    pub expired: bool,
}

/// Holds everyone else off a database's name, for as long as the session lives.
pub(super) async fn hold(session: &Session, name: &str) -> Result<()> {
    // Hours may pass until the next word is said here.
    let quiet = "set idle_in_transaction_session_timeout = 0; set statement_timeout = 0; set lock_timeout = '30s'";
    session.batch_execute(quiet).await.map_err(error::server)?;
    session.batch_execute(&lock("pg_advisory_lock", name)).await.map_err(|cause| {
        let busy = cause.code() == Some(&tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE);
        let told = error::server(cause).with("database", name);
        if busy { told.advise(WAIT) } else { told }
    })?;
    if held_elsewhere(session, name).await? {
        return Err(Error::new(ErrorKind::Busy, "the database is another restore's")
            .with("database", name)
            .advise(WAIT));
    }
    Ok(())
}

const WAIT: &str = "another restore into it is at work: wait for its end";

/// Whether a session in another database of the server holds the name: these locks are each database's own.
async fn held_elsewhere(session: &Session, name: &str) -> Result<bool> {
    let sql = format!(
        "select exists (select from pg_locks l, (select {} as key) k where l.locktype = 'advisory' and l.objsubid = 1 and l.granted \
         and l.pid <> pg_backend_pid() and ((l.classid::int8 << 32) | l.objid::int8) = k.key)",
        key(name)
    );
    Ok(session.query_one(&sql, &[]).await.map_err(error::server)?.get(0))
}

fn lock(function: &str, name: &str) -> String {
    format!("select {function}({})", key(name))
}

fn key(name: &str) -> String {
    format!("hashtextextended({}, 0)", literal(&format!("{MARK}into {name}")))
}

/// A database that is not whole yet. Dropped, it is dropped at the server by a task.
pub(super) struct Scratch {
    server: PgConnect,
    session: Option<Session>,
    marker: Marker,
    oid: u32,
}

impl Scratch {
    /// Makes it, by `statement`, and marks it. The session [holds](hold) its name. A future that is dropped leaves nothing.
    pub(super) async fn create(
        server: &PgConnect,
        session: Session,
        marker: Marker,
        statement: String,
    ) -> Result<Self> {
        let server = server.clone();
        // In a task, so that nobody is gone when the server has made it: what the task gives is dropped then.
        let making = tokio::spawn(async move {
            session.batch_execute(&statement).await.map_err(error::server)?;
            let found = identity(&session, &marker.name).await?;
            let (oid, _) = found.ok_or_else(|| Error::new(ErrorKind::Conflict, "the new database is gone again"))?;
            let scratch = Self { server, session: Some(session), marker, oid };
            scratch.comment(Some(&scratch.marker)).await?;
            // Until it is whole, it is nobody's business; the archive's own rights come last.
            let shut = format!("revoke connect, temporary on database {} from public", ident(&scratch.marker.name));
            scratch.run(&shut).await?;
            Ok(scratch)
        });
        making
            .await
            .map_err(|error| Error::new(ErrorKind::Other, "the task that makes databases died").because(error))?
    }

    /// Runs SQL beside it, not in it.
    pub(super) async fn run(&self, sql: &str) -> Result<()> {
        match &self.session {
            Some(session) => session.batch_execute(sql).await.map_err(error::server),
            None => Err(Error::new(ErrorKind::Other, "the database is given up already")),
        }
    }

    /// It is whole and stays; to be swept from `until` on, if that is given.
    pub(super) async fn keep(mut self, until: Option<Timestamp>) -> Result<()> {
        let marker = until.map(|until| Marker { whole: true, until, ..self.marker.clone() });
        self.comment(marker.as_ref()).await?;
        self.session = None;
        Ok(())
    }

    /// Drops it.
    pub(super) async fn give_up(mut self) -> Result<()> {
        match self.session.take() {
            Some(session) => remove(&self.server, session, &self.marker.name, self.oid).await,
            None => Ok(()),
        }
    }

    async fn comment(&self, marker: Option<&Marker>) -> Result<()> {
        let text = marker.map(Marker::written).transpose()?.map_or("null".to_owned(), |text| literal(&text));
        self.run(&format!("comment on database {} is {text}", ident(&self.marker.name))).await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else { return };
        let (server, name, oid) = (self.server.clone(), self.marker.name.clone(), self.oid);
        // Without a runtime the mark is left to tell of it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = remove(&server, session, &name, oid).await {
                    tracing::warn!(database = name, %error, "a database of an unfinished restore is left; sweep it");
                }
            });
        }
    }
}

/// Drops the database if it is still the same. The session that holds its name does it, or one like it.
async fn remove(server: &PgConnect, session: Session, name: &str, oid: u32) -> Result<()> {
    if drop_same(&session, name, oid).await.is_ok() {
        return Ok(());
    }
    drop(session);
    let session = server.session().await?;
    hold(&session, name).await?;
    drop_same(&session, name, oid).await
}

async fn drop_same(session: &Session, name: &str, oid: u32) -> Result<()> {
    match identity(session, name).await? {
        Some((found, _)) if found == oid => drop_database(session, name).await,
        _ => Ok(()),
    }
}

async fn drop_database(session: &Session, name: &str) -> Result<()> {
    // Whoever is in it is a client program of the restore that is being given up.
    let sql = format!("drop database if exists {} with (force)", ident(name));
    session.batch_execute(&sql).await.map_err(|cause| error::server(cause).with("database", name))
}

/// Drops what an earlier apply of the same plan left. The session holds its name, so that apply is no longer at work.
pub(super) async fn take_over(session: &Session, name: &str) -> Result<()> {
    drop_database(session, name).await
}

/// All marked databases of the server.
pub(super) async fn all(server: &PgConnect) -> Result<Vec<ScratchDatabase>> {
    let session = server.session().await?;
    let sql = "select datname::text, shobj_description(oid, 'pg_database'), (extract(epoch from now()) * 1000000)::int8 \
               from pg_database where shobj_description(oid, 'pg_database') is not null order by datname";
    let rows = session.query(sql, &[]).await.map_err(error::server)?;
    let read = |row: &tokio_postgres::Row| {
        let (name, comment, now): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let Marker { of, whole, until, .. } = Marker::read(&comment, &name)?;
        Some(ScratchDatabase { name, of, whole, until, expired: until.as_microsecond() <= now })
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// Drops those of `shown` that are expired still and that no restore holds. Gives those that are gone.
pub(super) async fn sweep(server: &PgConnect, shown: Vec<ScratchDatabase>) -> Result<Vec<ScratchDatabase>> {
    let now = all(server).await?;
    let session = server.session().await?;
    let mut gone = Vec::new();
    for scratch in shown.into_iter().filter(|scratch| now.contains(scratch) && scratch.expired) {
        let held = session.query_one(&lock("pg_try_advisory_lock", &scratch.name), &[]).await.map_err(error::server)?;
        if held.get(0) {
            let elsewhere = held_elsewhere(&session, &scratch.name).await?;
            if !elsewhere {
                drop_database(&session, &scratch.name).await?;
            }
            session.batch_execute(&lock("pg_advisory_unlock", &scratch.name)).await.map_err(error::server)?;
            if !elsewhere {
                gone.push(scratch);
            }
        }
    }
    Ok(gone)
}

/// Drops the database of this name if it bears a mark.
pub(super) async fn discard(server: &PgConnect, name: &str) -> Result<()> {
    let session = server.session().await?;
    hold(&session, name).await?;
    match identity(&session, name).await? {
        None => Ok(()),
        Some((_, Some(comment))) if Marker::read(&comment, name).is_some() => drop_database(&session, name).await,
        Some(_) => {
            Err(Error::new(ErrorKind::Refused, "the database bears no mark of a restore, and may be somebody's")
                .with("database", name)
                .advise("drop it yourself if it is not needed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_counts_under_its_own_name_only() {
        let marker = Marker {
            of: "orders-db databases/it's".into(),
            plan: "abc".into(),
            whole: false,
            until: "2026-11-28T17:15:00Z".parse().unwrap(),
            name: "orders_restore_1".into(),
        };
        let comment = marker.written().unwrap();
        assert_eq!(Marker::read(&comment, "orders_restore_1"), Some(marker));
        assert_eq!(Marker::read(&comment, "orders"), None, "renamed by somebody who uses it");
        assert_eq!(Marker::read("our orders", "orders"), None);
    }
}
