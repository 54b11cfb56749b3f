//! The way in: each database of a server as an archive of `pg_dump`, and what is the server's own as globals.
//!
//! `databases` chooses, `cut` opens a snapshot and gathers the facts, `arguments` says what `pg_dump` is asked for, `pump`
//! hands its bytes on and judges its end, `attempt` does these for one database, `export` for all of them.

mod arguments;
mod attempt;
mod cut;
mod databases;
mod export;
mod gather;
mod pattern;
mod pump;
mod server;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use backstay_core::source::ExporterInfo;
use jiff::fmt::serde::unsigned_duration::friendly::compact::optional as duration;
use serde::{Deserialize, Serialize};

use crate::connect::PgConnect;
use crate::facts::KIND;

pub use pattern::{exact_schema, exact_table};

/// Databases of a server as a component: one item for each, and two for the globals.
///
/// # What is in it
/// Each database is dumped by `pg_dump --format=custom`, not compressed, because the vault does that. The item
/// `databases/NAME` has [`DatabaseFacts`](crate::DatabaseFacts). Roles, memberships, tablespaces and settings of the server
/// are read over the protocol: `globals` is [`Globals`](crate::Globals) as JSON, `globals.sql` a script for `psql`.
///
/// # What it is not
/// A logical dump is not point-in-time recovery: it shows one moment of one database, and what was written later is not
/// in it. Two databases of a server have two cuts. Replication slots, subscriptions' positions, statistics and the server's
/// own configuration files are not in it.
///
/// # No false success
/// A dump counts only if `pg_dump` ended well, told no error, wrote an archive, and the session that holds the snapshot
/// was alive to the end. Anything else abandons that database's item, and the component is incomplete; if no database could
/// be dumped the export fails. A database that was named and is missing is a problem. What was left out is noted.
///
/// On a standby a dump may be cancelled so that the replay goes on. It is then begun again with a new cut, twice at most.
///
/// # Needs
/// A client program `pg_dump` of the server's major version or newer, and a role that may read what is dumped. Row security
/// is off: a role that would see only some rows gets an error. Role passwords need the right to read `pg_authid`, which the
/// super-user has.
///
/// The password is never in arguments or environments, which other users of the host can see. A dropped export ends its
/// processes and sessions.
///
/// ```
/// use backstay_postgres::{PgConnect, PgDump, exact_table};
///
/// let server: PgConnect = "postgres://backup@db.example/postgres".parse()?;
/// let dump = PgDump::new(server)
///     .databases(["orders", "shop-*"])
///     .exclude_table_data([exact_table("public", "Sessions"), "logs.*".to_owned()])
///     .jobs(2)
///     .count_rows();
/// assert_eq!(dump.to_string(), "postgres.dump backup@db.example:5432/postgres");
/// # Ok::<(), backstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PgDump {
    server: PgConnect,
    options: PgDumpOptions,
    info: ExporterInfo,
}

/// What of a server is dumped, and how.
///
/// ```
/// use backstay_postgres::PgDumpOptions;
///
/// let options: PgDumpOptions = serde_json::from_str(r#"{ "databases": ["orders"], "lock_timeout": "5m" }"#)?;
/// assert_eq!(options.lock_timeout.unwrap().as_secs(), 300);
/// assert!(options.globals && options.large_objects && options.jobs == 1);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PgDumpOptions {
    /// Databases, by name or with `*` for any characters; all if empty. Templates are dumped only by their whole name,
    /// `template0` never. A name that the server does not have is a problem.
    pub databases: Vec<String>,
    /// Not these; stronger than `databases`. What is left out is noted.
    pub exclude_databases: Vec<String>,
    /// Only these schemas, by patterns of `pg_dump`: `*` and `?` as in a shell, double quotes around what is meant
    /// literally ([`exact_schema`]). Patterns hold for each database; one that matches nothing there is an error there.
    pub schemas: Vec<String>,
    /// Not these schemas.
    pub exclude_schemas: Vec<String>,
    /// Only these tables, views and sequences, by patterns `SCHEMA.NAME` ([`exact_table`]). Not together with schemas.
    pub tables: Vec<String>,
    /// Not these tables.
    pub exclude_tables: Vec<String>,
    /// Of these tables the definition alone.
    pub exclude_table_data: Vec<String>,
    /// Large objects. They belong to no schema, and are dumped whatever schemas and tables are chosen.
    pub large_objects: bool,
    /// Roles, memberships, tablespaces and settings of the server.
    pub globals: bool,
    /// Passwords of roles, as the server keeps them, if they can be read.
    pub role_passwords: bool,
    /// Count the rows of each table at the cut. It reads each table once more.
    pub count_rows: bool,
    /// How many databases are dumped at once; their items then come in the order in which they end. More than two may wait
    /// for the shared budget.
    pub jobs: usize,
    /// How long to wait for a table that is locked against reading; for ever if none.
    #[serde(with = "duration")]
    pub lock_timeout: Option<Duration>,
    /// How long the dump of one database may take; as long as it needs if none. A network that swallows everything is
    /// noticed by nothing else for hours.
    #[serde(with = "duration")]
    pub database_timeout: Option<Duration>,
    /// The folder that `pg_dump` is in. If none is named, `PATH` and the usual places are searched.
    pub programs_in: Option<PathBuf>,
}

impl Default for PgDumpOptions {
    fn default() -> Self {
        Self {
            databases: Vec::new(),
            exclude_databases: Vec::new(),
            schemas: Vec::new(),
            exclude_schemas: Vec::new(),
            tables: Vec::new(),
            exclude_tables: Vec::new(),
            exclude_table_data: Vec::new(),
            large_objects: true,
            globals: true,
            role_passwords: true,
            count_rows: false,
            jobs: 1,
            lock_timeout: None,
            database_timeout: None,
            programs_in: None,
        }
    }
}

impl PgDump {
    /// All databases of this server. Nothing is connected to yet.
    #[must_use]
    pub fn new(server: PgConnect) -> Self {
        Self { server, options: PgDumpOptions::default(), info: ExporterInfo::new(KIND) }
    }

    /// Replaces all options.
    #[must_use]
    pub fn options(mut self, options: PgDumpOptions) -> Self {
        self.options = options;
        self
    }

    /// Adds to [`PgDumpOptions::databases`].
    #[must_use]
    pub fn databases<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.databases.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::exclude_databases`].
    #[must_use]
    pub fn exclude_databases<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.options.exclude_databases.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::schemas`].
    #[must_use]
    pub fn schemas<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.schemas.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::exclude_schemas`].
    #[must_use]
    pub fn exclude_schemas<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.exclude_schemas.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::tables`].
    #[must_use]
    pub fn tables<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.tables.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::exclude_tables`].
    #[must_use]
    pub fn exclude_tables<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.exclude_tables.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Adds to [`PgDumpOptions::exclude_table_data`].
    #[must_use]
    pub fn exclude_table_data<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.options.exclude_table_data.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Sets [`PgDumpOptions::large_objects`].
    #[must_use]
    pub fn large_objects(mut self, yes: bool) -> Self {
        self.options.large_objects = yes;
        self
    }

    /// Sets [`PgDumpOptions::globals`].
    #[must_use]
    pub fn globals(mut self, yes: bool) -> Self {
        self.options.globals = yes;
        self
    }

    /// Sets [`PgDumpOptions::role_passwords`].
    #[must_use]
    pub fn role_passwords(mut self, yes: bool) -> Self {
        self.options.role_passwords = yes;
        self
    }

    /// Sets [`PgDumpOptions::count_rows`].
    #[must_use]
    pub fn count_rows(mut self) -> Self {
        self.options.count_rows = true;
        self
    }

    /// Sets [`PgDumpOptions::jobs`].
    #[must_use]
    pub fn jobs(mut self, databases: usize) -> Self {
        self.options.jobs = databases;
        self
    }

    /// Sets [`PgDumpOptions::lock_timeout`].
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.options.lock_timeout = Some(timeout);
        self
    }

    /// Sets [`PgDumpOptions::database_timeout`].
    #[must_use]
    pub fn database_timeout(mut self, timeout: Duration) -> Self {
        self.options.database_timeout = Some(timeout);
        self
    }

    /// Sets [`PgDumpOptions::programs_in`].
    #[must_use]
    pub fn programs_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.programs_in = Some(folder.into());
        self
    }
}

impl fmt::Display for PgDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND} {}", self.server)
    }
}
