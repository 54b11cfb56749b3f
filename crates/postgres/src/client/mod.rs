//! PostgreSQL's client programs: found, and run without a secret in sight.

mod command;
mod find;
mod pass_file;

pub(crate) use command::{Child, Said, start};
pub(crate) use find::{Program, Version, find};
