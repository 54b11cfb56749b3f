//! What a dump tells about itself, and a restore reads: in the facts of each database's item.

use backstay_core::source::Facts;
use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kind of component, as manifests name it.
pub(crate) const KIND: &str = "postgres.dump";
/// What the bytes of a database's item are: `pg_dump --format=custom`, not compressed.
pub(crate) const ARCHIVE: &str = "pg_dump custom";
/// What the bytes of the item with roles, tablespaces and settings are.
pub(crate) const GLOBALS: &str = "postgres globals";
/// The name of that item.
pub(crate) const GLOBALS_ITEM: &str = "globals";
/// The same as a script, for people without us.
pub(crate) const SCRIPT: &str = "sql";
/// The name of that script.
pub(crate) const SCRIPT_ITEM: &str = "globals.sql";

const DATABASE: &str = "database";
/// What the name of a database's item begins with: a database may be called as one of the items above.
pub(crate) const DATABASES: &str = "databases/";

/// The name of a database's item.
pub(crate) fn database_item(database: &str) -> String {
    format!("{DATABASES}{database}")
}

/// A database as it was at its cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DatabaseFacts {
    /// Its name; the item is called so too, after `databases/`.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Its encoding, as PostgreSQL names it: `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `c`, `i` (ICU) or `b` (built in); none before PostgreSQL 15.
    pub locale_provider: Option<String>,
    /// The locale of ICU or of the built-in provider.
    pub locale: Option<String>,
    /// Most connections, if bounded.
    pub connection_limit: Option<i32>,
    /// `ALTER DATABASE .. SET`, each as `name=value`.
    pub settings: Vec<String>,
    /// Its size at the server, in bytes.
    pub bytes: u64,
    /// The position in the write-ahead log at the cut.
    pub lsn: Option<String>,
    /// The cut, by the server's clock.
    pub cut_at: Option<Timestamp>,
    /// The snapshot that the dump shows, by its name at the server.
    pub snapshot: Option<String>,
    /// `server_version_num`.
    pub server_version: u32,
    /// The version of the `pg_dump` that made it.
    pub client_version: String,
    /// Its tables with data in the dump.
    pub tables: Vec<TableFacts>,
    /// Extensions in it.
    pub extensions: Vec<ExtensionFacts>,
    /// Roles that own something in it or were granted something.
    pub roles: Vec<String>,
    /// Tablespaces that something of it lies in, but for the default.
    pub tablespaces: Vec<String>,
    /// Large objects in it.
    pub large_objects: u64,
}

/// A table with data in a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TableFacts {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Rows at the cut, where they were counted.
    pub rows: Option<u64>,
    /// Rows as the planner estimates; none if it was never analyzed.
    pub estimate: Option<u64>,
    /// Bytes at the server.
    pub bytes: u64,
}

/// An extension in a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ExtensionFacts {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl DatabaseFacts {
    /// As an item keeps them.
    pub(crate) fn to_facts(&self) -> Facts {
        Facts::new().with(DATABASE, self)
    }

    /// Those of an item; none of an archive that somebody else made.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if they are of another shape.
    pub fn of(facts: &Facts) -> Result<Option<Self>> {
        facts
            .get(DATABASE)
            .map_err(|error| Error::new(ErrorKind::Invalid, "the dump's facts cannot be read").because(error))
    }
}
