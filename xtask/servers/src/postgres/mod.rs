//! PostgreSQL servers.

mod builder;
mod cluster;
mod installed;
mod process;
mod server;

pub use self::builder::Builder;
pub use self::installed::{bin, can_tls, fetched, majors, packaged};
pub use self::server::Server;
