//! Looks into a restored database: whether it is what one expects.
//!
//! `checks` is what is asked, `run` asks it, `rows`, `structure` and `amcheck` know how.

mod amcheck;
mod checks;
mod rows;
mod run;
mod structure;

pub use checks::{Checks, QueryCheck};
