//! Drills: a database restored beside the live ones, checked, and dropped.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backstay_core::Result;
use backstay_core::source::{DrillPlace, DrillTarget, ItemSource, ResourceImporter, Scratch, Validation};
use jiff::Timestamp;

use crate::restore::PgRestore;
use crate::validate::Checks;

/// Drills a database: it is restored into a new one at a server, checked there, and dropped.
///
/// The restore decides which database and how; its [`into`](PgRestore::into) and [`expires_after`](PgRestore::expires_after)
/// are the drill's own. The new database is named as [`DrillPlace::scratch_name`] says and marked by a comment, so that the
/// next drill drops what a killed one left, once its time is over.
///
/// One drill restores one database, which the report names. Of a component of several, or of one whose globals are left as they
/// are, it proves a part: its proof, the report and `status` say so, as "1 of 3 items". The globals are two items, of which the
/// script is for people and counts as not restored. Make a component of each database that is to be proved by itself.
///
/// ```no_run
/// use backstay_postgres::{Checks, PgConnect, PgDrill, PgRestore};
/// use jiff::ToSpan;
///
/// # async fn example(backstay: backstay_core::engine::Backstay) -> backstay_core::Result<()> {
/// let server: PgConnect = "postgres://drill@scratch.example/postgres".parse()?;
/// let checks = Checks::new()
///     .query("newest order", "select max(created_at) from orders").not_older_than(24.hours())
///     .row_counts();
/// let report = backstay.drill("orders-db").into(PgDrill::new(PgRestore::new(server), checks)).await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PgDrill {
    restore: PgRestore,
    checks: Checks,
}

impl PgDrill {
    /// Restores by `restore` and looks at what came of it by `checks`. Without any check no drill passes.
    #[must_use]
    pub fn new(restore: PgRestore, checks: Checks) -> Self {
        Self { restore, checks }
    }
}

#[async_trait]
impl DrillTarget for PgDrill {
    /// Only chooses the name: the restore makes the database when it has proved the archive.
    async fn prepare(&self, place: &DrillPlace) -> Result<Box<dyn Scratch>> {
        let name = place.scratch_name();
        let time = place.until.duration_since(place.began);
        let restore = self.restore.clone().into(&name).expires_after(time);
        Ok(Box::new(PgScratch { restore: Arc::new(restore), checks: self.checks.clone(), name }))
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<String>> {
        let mut shown = self.restore.scratches().await?;
        // Both clocks must say so. What other restores left is for who made it.
        shown
            .retain(|scratch| scratch.expired && DrillPlace::until_of(&scratch.name).is_some_and(|until| until <= now));
        Ok(self.restore.sweep(shown).await?.into_iter().map(|scratch| scratch.name).collect())
    }
}

/// The database of one drill.
#[derive(Debug)]
struct PgScratch {
    restore: Arc<PgRestore>,
    checks: Checks,
    name: String,
}

#[async_trait]
impl Scratch for PgScratch {
    fn importer(&self) -> Arc<dyn ResourceImporter> {
        self.restore.clone()
    }

    async fn validate(&self, items: &dyn ItemSource) -> Result<Validation> {
        let facts = self.restore.facts(items).await?;
        Ok(self.checks.run(&self.restore.server().with_database(&self.name), facts.as_ref()).await)
    }

    async fn remove(&self) -> Result<()> {
        self.restore.discard(&self.name).await
    }
}

impl fmt::Display for PgDrill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drills at {}", self.restore.server())
    }
}

impl fmt::Display for PgScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.restore.server())?;
        match self.restore.chosen_database() {
            // A component may have many, and the proof is the component's.
            Some(database) => write!(f, ", from the dump of the database {database:?} alone"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::PgConnect;

    #[test]
    fn a_report_says_which_database_of_several_was_restored() {
        let scratch = |restore: PgRestore| {
            PgScratch { restore: Arc::new(restore), checks: Checks::new(), name: "scratch".to_owned() }.to_string()
        };
        let restore = PgRestore::new(PgConnect::new("db"));
        assert_eq!(scratch(restore.clone()), "scratch at postgres@db:5432/postgres");
        let named = "scratch at postgres@db:5432/postgres, from the dump of the database \"orders\" alone";
        assert_eq!(scratch(restore.database("orders")), named);
    }
}
