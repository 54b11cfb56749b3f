//! PostgreSQL for Backstay: dumps that cannot lie, restores that are proved.
//!
//! A logical dump is one cut per database. It is not point-in-time recovery: what was written after the cut is not in it,
//! and two databases of a server have two cuts. Roles, tablespaces and settings are the server's and an item of their own.

mod client;
mod connect;
mod drill;
mod dump;
mod error;
mod facts;
mod globals;
mod quote;
mod restore;
mod validate;

pub use connect::{PgConnect, Roots, Tls};
pub use drill::PgDrill;
pub use dump::{PgDump, PgDumpOptions, exact_schema, exact_table};
pub use facts::{DatabaseFacts, ExtensionFacts, TableFacts};
pub use globals::{Globals, Membership, Parameter, Privilege, Role, RoleSetting, Statement, Tablespace};
pub use restore::{PgRestore, PgRestoreOptions, RestoreGlobals, ScratchDatabase};
pub use validate::{Checks, QueryCheck};
