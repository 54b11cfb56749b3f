//! Mocks, fault injection and conformance suites for Backstay and its backends.

pub mod conformance;
pub mod fault;

pub use fault::FaultyStore;
