//! The server as the SDK sees it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod archive;
mod buckets;
mod checksums;
mod client;
mod conditions;
mod faults;
mod listings;
mod locks;
mod objects;
mod policies;
mod uploads;
