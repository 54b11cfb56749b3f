//! A database with what real ones have and what breaks tools, and what tells whether two are the same.

mod fill;
mod fingerprint;

pub use self::fill::{HOSTILE_DATABASE, ROLE_PASSWORD, ROLES, TABLES, fill};
pub use self::fingerprint::{difference, fingerprint, globals};
