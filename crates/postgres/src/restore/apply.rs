//! Does what a plan says: proves the archive, then makes the database and fills it.

use std::io::Write as _;

use backstay_core::source::{ImportAction, ImportPlan, ImportReport, ItemSource, Problem};
use backstay_core::{Error, ErrorKind, Result};
use jiff::{SignedDuration, Timestamp};
use tempfile::NamedTempFile;

use super::archive::Archive;
use super::file::ArchiveFile;
use super::plan::{Details, Planned, blocked};
use super::scratch::{Marker, Scratch, hold, take_over};
use super::target::identity;
use super::{PgRestore, create, lacks, setup};
use crate::client::Said;
use crate::connect::{PgConnect, Session};
use crate::error;

/// How long an unfinished database may stay; no restore takes longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(super) async fn apply(restore: &PgRestore, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
    let details = Details::of(&plan)?;
    if details.server != restore.server().to_string() {
        return Err(Error::new(ErrorKind::Invalid, "the plan was made for another server")
            .with("planned", &details.server)
            .with("server", restore.server()));
    }
    if blocked(&plan) {
        return Ok(untouched(&plan));
    }
    let (planned, content) = Planned::make(restore, items, &plan.options, Some(&details)).await?;
    not_moved(&plan, &planned.plan)?;
    if planned.is_blocked() {
        return Ok(untouched(&planned.plan));
    }
    // Before anything is made at the target, the archive is known to be whole: by the proof of its bytes, or by parsing it.
    if planned.ours {
        drop(content);
        items.prove(&planned.item).await?;
    } else {
        content.parse(&planned.program).await?;
    }
    let job = Job { restore, items, details, list: list_file(planned.list.as_deref())?, planned };
    job.run().await
}

/// A restore whose archive is proved.
struct Job<'a> {
    restore: &'a PgRestore,
    items: &'a dyn ItemSource,
    details: Details,
    planned: Planned,
    /// For `--use-list`.
    list: Option<NamedTempFile>,
}

impl Job<'_> {
    async fn run(mut self) -> Result<ImportReport> {
        let name = self.details.database.clone();
        // A session of its own for the lock: it goes with the scratch database.
        let session = self.restore.server().session().await?;
        hold(&session, &name).await?;
        if let Some(globals) = &self.planned.globals {
            globals.make(&self.planned.target.session, self.planned.target.version).await?;
        }
        let mut report = ImportReport::default();
        (report.counts, report.bytes) = (self.planned.plan.counts.clone(), self.planned.plan.bytes);
        if self.planned.found.is_some() {
            self.still_as_planned().await?;
            self.fill().await?;
        } else {
            self.clear(&session).await?;
            let marker = Marker {
                of: format!("{} {}", self.details.component, self.details.item),
                plan: self.details.id()?,
                whole: false,
                until: after(self.planned.target.now, LONGEST),
                name: name.clone(),
            };
            let statement = create::statement(&name, &self.planned.locale, self.planned.target.version);
            let scratch = Scratch::create(self.restore.server(), session, marker, statement).await?;
            let filled = self.fill_and_set_up(&scratch).await;
            match filled {
                Ok(notes) => report.notes.extend(notes),
                Err(error) => {
                    return Err(match scratch.give_up().await {
                        Ok(()) => error,
                        Err(left) => error.with("left unfinished", &name).with("because", left),
                    });
                }
            }
            let until = self.restore.asked().expires_after.map(|span| after(self.planned.target.now, span));
            scratch.keep(until).await?;
            let comment = setup::statements(&self.planned.toc, "COMMENT", &name);
            if until.is_some() && !comment.is_empty() {
                report.notes.push("the database's comment was not restored: a mark stands in its place".to_owned());
            } else if let Err(error) = self.say(comment).await {
                report.notes.push(format!("the database's comment was not restored: {error}"));
            }
        }
        report.notes.push(format!("restored into database {name:?}"));
        Ok(report)
    }

    /// Under the lock: what an interrupted apply of this plan left goes, anything else stays.
    async fn clear(&self, session: &Session) -> Result<()> {
        let name = &self.details.database;
        let Some((_, comment)) = identity(session, name).await? else { return Ok(()) };
        let marker = comment.as_deref().and_then(|comment| Marker::read(comment, name));
        let plan = self.details.id()?;
        match marker.filter(|marker| marker.plan == plan && !marker.whole) {
            Some(_) => take_over(session, name).await,
            None => Err(moved().with("database", name)),
        }
    }

    /// Under the lock: it is the same database with the same things in it.
    async fn still_as_planned(&mut self) -> Result<()> {
        let now = self.planned.target.find(self.restore.server(), &self.details.database).await?;
        let same = match (&now, &self.planned.found) {
            (Some(now), Some(then)) => now.oid == then.oid && now.objects == then.objects && now.marker.is_none(),
            _ => false,
        };
        if same { Ok(()) } else { Err(moved().with("database", &self.details.database)) }
    }

    async fn fill_and_set_up(&mut self, scratch: &Scratch) -> Result<Vec<String>> {
        self.fill().await?;
        let owner = lacks::owner_of_database(Some(&self.planned.facts), &self.planned.toc)
            .filter(|_| !self.restore.asked().without_owners);
        let open =
            !self.planned.toc.entries.iter().any(setup::shuts_public_out) || self.restore.asked().without_privileges;
        let name = &self.details.database;
        let notes = setup::run(scratch, name, &self.planned.facts, owner.as_deref(), open).await?;
        if let Some(globals) = &self.planned.globals {
            globals.set_in(&self.planned.target.session, self.planned.target.version, name).await?;
        }
        if !self.restore.asked().without_privileges {
            self.say(setup::statements(&self.planned.toc, "ACL", name)).await?;
        }
        Ok(notes)
    }

    /// Runs statements of the archive about the database that is restored. Beside it: its own settings may forbid them in it.
    async fn say(&self, statements: Vec<String>) -> Result<()> {
        if statements.is_empty() {
            return Ok(());
        }
        let session = self.restore.server().session().await?;
        session.batch_execute(&statements.concat()).await.map_err(error::server)
    }

    /// Has `pg_restore` fill the database, which is there.
    async fn fill(&mut self) -> Result<()> {
        let server = self.restore.server().with_database(&self.details.database);
        let content = Archive::open(self.items, &self.planned.item).await?.content;
        let jobs = self.restore.asked().jobs;
        let mut arguments = self.arguments();
        if jobs > 1 {
            let file = ArchiveFile::write(&self.restore.scratch_folder(), content.into_stream()).await?;
            arguments.extend([format!("--jobs={jobs}"), file.path().display().to_string()]);
            let child = crate::client::start(&self.planned.program, &arguments, Some(&server)).await?;
            settled(child.end().await?)?;
        } else {
            settled(content.restore(&self.planned.program, &arguments, &server).await?)?;
        }
        if self.restore.asked().analyze {
            analyze(&server).await?;
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let asked = self.restore.asked();
        let mut arguments = vec![
            "--exit-on-error".to_owned(),
            "--no-password".to_owned(),
            format!("--dbname={}", conninfo(&self.details.database)),
        ];
        let mut add = |wanted: bool, argument: &str| {
            if wanted {
                arguments.push(argument.to_owned());
            }
        };
        add(asked.without_owners, "--no-owner");
        add(self.planned.without_tablespaces, "--no-tablespaces");
        // A database that was there is as before if this fails. A new one is dropped, and needs no transaction over all of it,
        // which would need a lock for each object.
        let found = self.planned.found.as_ref();
        add(found.is_some(), "--single-transaction");
        let replaces = found.is_some_and(|found| !found.objects.is_empty());
        add(replaces && self.planned.plan.options.overwrite, "--clean");
        add(replaces && self.planned.plan.options.overwrite, "--if-exists");
        if let Some(list) = &self.list {
            arguments.push(format!("--use-list={}", list.path().display()));
        }
        arguments
    }
}

/// Nothing is done; what stands in the way is told entry by entry.
fn untouched(plan: &ImportPlan) -> ImportReport {
    let mut report = ImportReport::default();
    for entry in plan.entries.iter().filter(|e| matches!(e.action, ImportAction::Conflict | ImportAction::Impossible)) {
        report.add(entry.action);
        report.problems.push(Problem::new(entry.what.clone(), format!("{}: {}", entry.action, entry.why)));
    }
    report
}

/// The target is as the plan saw it, and nothing more would be replaced.
fn not_moved(plan: &ImportPlan, now: &ImportPlan) -> Result<()> {
    let planned = |what: &String| plan.entries.iter().any(|e| e.action == ImportAction::Overwrite && e.what == *what);
    let more = now.entries.iter().find(|e| e.action == ImportAction::Overwrite && !planned(&e.what));
    match more {
        Some(entry) => Err(moved().with("would be replaced", &entry.what)),
        None if plan.fingerprint != now.fingerprint => Err(moved()),
        None => Ok(()),
    }
}

fn moved() -> Error {
    Error::new(ErrorKind::Conflict, "the target is not as it was when the plan was made").advise("make a new plan")
}

/// The numbers of the entries to restore, one a line. No name of an object is in it.
fn list_file(list: Option<&[i64]>) -> Result<Option<NamedTempFile>> {
    let Some(list) = list else { return Ok(None) };
    let write = || {
        let mut file = NamedTempFile::new()?;
        list.iter().try_for_each(|id| writeln!(file, "{id};"))?;
        file.flush()?;
        Ok(file)
    };
    write().map(Some).map_err(|error: std::io::Error| {
        Error::new(ErrorKind::Other, "the list of what to restore cannot be written").because(error)
    })
}

/// What libpq reads as this database, whatever its name holds: a name with `=` would be taken for parameters.
fn conninfo(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn after(time: Timestamp, span: SignedDuration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// A success, unless it told an error.
fn settled(said: Said) -> Result<()> {
    said.told_error("pg_restore")
}

async fn analyze(server: &PgConnect) -> Result<()> {
    let session = server.session().await?;
    session
        .batch_execute("set statement_timeout = 0; analyze")
        .await
        .map_err(|cause| error::server(cause).operation("analyze"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_one_database_and_nothing_else() {
        assert_eq!(conninfo("orders"), "dbname='orders'");
        assert_eq!(conninfo(r"a' host=evil \"), r"dbname='a\' host=evil \\'");
        let server: PgConnect = conninfo(r"a' host=evil \").parse().unwrap();
        assert_eq!((server.database.as_str(), server.host.as_str()), (r"a' host=evil \", "localhost"));
    }
}
