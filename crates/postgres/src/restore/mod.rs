//! The way back: an archive of a database, into a new database by default.
//!
//! `items` finds the archive, `archive` reads its head (`toc`) and hands it to `pg_restore`, `select` chooses what of it is
//! meant, `target` looks at the server, `lacks`, `roles`, `room` and `globals` compare the two, `plan` decides. Then `apply`
//! proves the archive, makes the database (`create`, guarded by `scratch`), has it filled (`file` for several jobs) and sets it
//! up (`setup`).

mod apply;
mod archive;
mod create;
mod file;
mod globals;
mod import;
mod items;
mod lacks;
mod options;
mod plan;
mod roles;
mod room;
mod scratch;
mod select;
mod setup;
mod target;
mod toc;

use std::fmt;
use std::path::PathBuf;

use backstay_core::Result;
use backstay_core::source::{ImportPlan, ItemSource};
use jiff::SignedDuration;

use crate::client::{Program, find};
use crate::connect::PgConnect;
use crate::facts::DatabaseFacts;
use crate::quote::ident;

pub use options::{PgRestoreOptions, RestoreGlobals};
pub use scratch::ScratchDatabase;

/// Restores archives of `pg_dump --format=custom`, ours and others', into a server.
///
/// # Where to
/// If nothing else is said: into a new database of the archive's encoding and locale, named like
/// `orders_restore_20261128t171500z`, so that the live one goes on. [`into`](Self::into) names another one, which is made if it
/// is not there. If it is, and anything is in it but extensions, that is a conflict, and nothing is done. With
/// [`ImportOptions::overwrite`](backstay_core::source::ImportOptions) what the archive has is dropped there and made again, each
/// listed in the plan; the rest stays.
///
/// Nothing takes the restored database into use. Look at it, end the connections to the live one, and rename both:
/// [`swap_statements`](Self::swap_statements) has the two statements.
///
/// # What of it
/// [`ImportOptions::only`](backstay_core::source::ImportOptions) takes globs (`*`, `?`, `[a-z]`, `{a,b}`) that match schemas
/// (`sales`) or tables, views and sequences (`sales.orders`, `sales.*`). A table brings its data, defaults, own sequences, indexes,
/// constraints, triggers, policies, comments, grants and partitions; foreign keys if the table that they point to is chosen, too;
/// and what it cannot be made without: its schema, types, functions, extensions, the parent of a partition (without data). Large
/// objects belong to no schema and are left out then. Subscriptions always are.
///
/// Owners and grants are kept, and each role must be there or be made by [`globals`](Self::globals). The plan names those that
/// are missing, extensions that are not installed, and tablespaces, whose objects go into the default one. A new database gets
/// owner, settings, grants and comment of the dumped one.
///
/// # All or nothing
/// `check` has `pg_restore` parse the whole archive. `apply` does so first, and makes nothing at the server before that; of a
/// dump by [`PgDump`](crate::PgDump) it is enough that no bit of it is lost, which the vault proves. A database that `apply`
/// makes is marked by a comment, is shut to others until it is whole, and is dropped if the restore fails or its future is
/// dropped. A database that was there is filled in one transaction. After a kill the same plan applied again drops what it left
/// and begins anew, and [`sweep`](Self::sweep) finds what nobody comes back for.
///
/// `pg_restore` of the newer of both majors, or a newer one, must be there. Its password is never in arguments or environments.
///
/// ```
/// use backstay_postgres::{PgConnect, PgRestore, RestoreGlobals};
///
/// let server: PgConnect = "postgres://admin@db.example/postgres".parse()?;
/// let restore = PgRestore::new(server).database("orders").globals(RestoreGlobals::AddMissing);
/// assert_eq!(restore.to_string(), "PostgreSQL at admin@db.example:5432/postgres");
/// assert_eq!(
///     PgRestore::swap_statements("orders_restore_20261128t171500z", "orders", "orders_old"),
///     [
///         r#"ALTER DATABASE "orders" RENAME TO "orders_old""#,
///         r#"ALTER DATABASE "orders_restore_20261128t171500z" RENAME TO "orders""#,
///     ]
/// );
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PgRestore {
    server: PgConnect,
    options: PgRestoreOptions,
}

impl PgRestore {
    /// Into this server. Its database is connected to, to look around and make others; nothing is restored into it.
    #[must_use]
    pub fn new(server: PgConnect) -> Self {
        Self { server, options: PgRestoreOptions::default() }
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: PgRestoreOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets [`PgRestoreOptions::database`].
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.options.database = Some(name.into());
        self
    }

    /// Sets [`PgRestoreOptions::into`].
    #[must_use]
    pub fn into(mut self, name: impl Into<String>) -> Self {
        self.options.into = Some(name.into());
        self
    }

    /// Sets [`PgRestoreOptions::globals`].
    #[must_use]
    pub fn globals(mut self, globals: RestoreGlobals) -> Self {
        self.options.globals = globals;
        self
    }

    /// Sets [`PgRestoreOptions::without_owners`].
    #[must_use]
    pub fn without_owners(mut self) -> Self {
        self.options.without_owners = true;
        self
    }

    /// Sets [`PgRestoreOptions::without_privileges`].
    #[must_use]
    pub fn without_privileges(mut self) -> Self {
        self.options.without_privileges = true;
        self
    }

    /// Sets [`PgRestoreOptions::without_locale`].
    #[must_use]
    pub fn without_locale(mut self) -> Self {
        self.options.without_locale = true;
        self
    }

    /// Sets [`PgRestoreOptions::jobs`].
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.options.jobs = jobs.max(1);
        self
    }

    /// Sets [`PgRestoreOptions::scratch_folder`].
    #[must_use]
    pub fn scratch_folder_at(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.scratch_folder = Some(folder.into());
        self
    }

    /// Sets [`PgRestoreOptions::analyze`].
    #[must_use]
    pub fn analyze(mut self, analyze: bool) -> Self {
        self.options.analyze = analyze;
        self
    }

    /// Sets [`PgRestoreOptions::programs_in`].
    #[must_use]
    pub fn programs_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.programs_in = Some(folder.into());
        self
    }

    /// Sets [`PgRestoreOptions::expires_after`].
    #[must_use]
    pub fn expires_after(mut self, span: SignedDuration) -> Self {
        self.options.expires_after = Some(span);
        self
    }

    /// How the database is reached that a plan restores into.
    ///
    /// # Errors
    /// [`Invalid`](backstay_core::ErrorKind::Invalid) for a plan of another importer.
    pub fn restored(&self, plan: &ImportPlan) -> Result<PgConnect> {
        Ok(self.server.with_database(&plan::Details::of(plan)?.database))
    }

    /// What takes a restored database into use in the place of `live`, which is then called `aside`. Run them one after the
    /// other, connected to a third database, when nobody is connected to these two: renaming waits for nobody.
    #[must_use]
    pub fn swap_statements(restored: &str, live: &str, aside: &str) -> [String; 2] {
        let rename = |from: &str, to: &str| format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to));
        [rename(live, aside), rename(restored, live)]
    }

    /// The server's databases that restores made and that are not whole, or whole for a while only.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn scratches(&self) -> Result<Vec<ScratchDatabase>> {
        scratch::all(&self.server).await
    }

    /// Drops those of `shown` that are expired, by the server's clock, and as they were shown. One that a restore is at work in
    /// stays, and so does one that was renamed: somebody uses it. Gives those that are gone. Dropped, the rest is for the next
    /// sweep.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn sweep(&self, shown: Vec<ScratchDatabase>) -> Result<Vec<ScratchDatabase>> {
        scratch::sweep(&self.server, shown).await
    }

    /// Drops a database that a restore made and that bears its mark still: one for a while, or one that is not whole. Waits for
    /// a restore that is ending. One that is gone is fine.
    ///
    /// # Errors
    /// [`Refused`](backstay_core::ErrorKind::Refused) for a database without a mark, [`Busy`](backstay_core::ErrorKind::Busy) if
    /// a restore is at work in it; what the server answers.
    pub async fn discard(&self, database: &str) -> Result<()> {
        scratch::discard(&self.server, database).await
    }

    /// What the dump told of the database that is restored; none of an archive that somebody else made.
    pub(crate) async fn facts(&self, items: &dyn ItemSource) -> Result<Option<DatabaseFacts>> {
        let found = items::find(items).await?;
        DatabaseFacts::of(&found.archive(self.options.database.as_deref())?.facts)
    }

    pub(crate) fn server(&self) -> &PgConnect {
        &self.server
    }

    pub(crate) fn chosen_database(&self) -> Option<&str> {
        self.options.database.as_deref()
    }

    fn asked(&self) -> &PgRestoreOptions {
        &self.options
    }

    fn scratch_folder(&self) -> PathBuf {
        self.options.scratch_folder.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// A `pg_restore` that reads the archive and knows the server.
    async fn program(&self, server_major: u32, toc: &toc::Toc) -> Result<Program> {
        find("pg_restore", server_major.max(toc.client_major()), self.options.programs_in.as_deref()).await
    }
}

impl fmt::Display for PgRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL at {}", self.server)
    }
}
