//! Archives of PostgreSQL on their way back into real servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "postgres_restore/world.rs"]
mod world;

#[path = "postgres_restore/archives.rs"]
mod archives;
#[path = "postgres_restore/globals.rs"]
mod globals;
#[path = "postgres_restore/interrupted.rs"]
mod interrupted;
#[path = "postgres_restore/kept.rs"]
mod kept;
#[path = "postgres_restore/round.rs"]
mod round;
#[path = "postgres_restore/target.rs"]
mod target;
#[path = "postgres_restore/validation.rs"]
mod validation;
