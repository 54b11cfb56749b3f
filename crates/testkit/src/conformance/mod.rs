//! Conformance suites: the contracts of the traits as named cases, for one's own backends too.

mod report;
pub mod source;
pub mod store;

pub use report::Report;
