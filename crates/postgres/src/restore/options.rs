//! What is asked of a restore.

use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What a restore is asked for; see [`PgRestore`](super::PgRestore), which has a method for each.
///
/// ```
/// use backstay_postgres::PgRestoreOptions;
///
/// let options: PgRestoreOptions = serde_json::from_str(r#"{ "database": "orders", "without_owners": true }"#)?;
/// assert!(options.analyze && options.jobs == 1 && options.into.is_none());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PgRestoreOptions {
    /// Which of the component's databases. May be left out where it has one only.
    pub database: Option<String>,
    /// The database to restore into. A new one is made if it is not there; one that is must be empty, unless
    /// [`ImportOptions::overwrite`](backstay_core::source::ImportOptions) says otherwise. If not said: a new one, named like
    /// `orders_restore_20261128t171500z`.
    pub into: Option<String>,
    /// What is done with roles, tablespaces and their settings before the database is restored.
    pub globals: RestoreGlobals,
    /// Everything belongs to the user that restores.
    pub without_owners: bool,
    /// Grants are left out.
    pub without_privileges: bool,
    /// A new database gets the target's own locale instead of the one that was dumped. Sort orders may differ.
    pub without_locale: bool,
    /// Objects restored at once. More than one needs the whole archive as a file in [`scratch_folder`](Self::scratch_folder)
    /// meanwhile, and a database that is made by the restore: only one job can be rolled back as one transaction.
    pub jobs: usize,
    /// Where that file is; the system's folder for temporary files if not said. It is as large as the archive, not sealed, and
    /// gone when the restore ends, however it ends.
    pub scratch_folder: Option<PathBuf>,
    /// Gather the planner's statistics afterwards; yes if not said.
    pub analyze: bool,
    /// The folder of `pg_restore`; found by itself if not said.
    pub programs_in: Option<PathBuf>,
    /// The new database is for a while only: from then on [`PgRestore::sweep`](super::PgRestore::sweep) may drop it. If not
    /// said, a database that was restored whole is never swept.
    pub expires_after: Option<SignedDuration>,
}

/// What a restore does with the server's roles, tablespaces and settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RestoreGlobals {
    /// Nothing.
    #[default]
    Leave,
    /// Roles that are not there are made. Those that are keep their passwords, attributes and settings.
    AddMissing,
    /// Roles that are there get the attributes, memberships, settings and passwords of the dump, too. Memberships and settings
    /// that the dump does not have stay, and the plan names them.
    DangerReplace,
}

impl Default for PgRestoreOptions {
    fn default() -> Self {
        Self {
            database: None,
            into: None,
            globals: RestoreGlobals::default(),
            without_owners: false,
            without_privileges: false,
            without_locale: false,
            jobs: 1,
            scratch_folder: None,
            analyze: true,
            programs_in: None,
            expires_after: None,
        }
    }
}
