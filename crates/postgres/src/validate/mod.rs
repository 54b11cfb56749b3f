//! Looks into a restored database: whether it is what one expects.
//!
//! `checks` is what is asked, `run` asks it, `rows`, `structure` and `amcheck` know how, `report` is what was found.

mod amcheck;
mod checks;
mod report;
mod rows;
mod run;
mod structure;

pub use checks::{Checks, QueryCheck};
pub use report::{CheckResult, Validation};
