//! Which points stay and which may go.
//!
//! A [policy](RetentionPolicy) proposes, [`decide`] lets what must stay stay, and guards ([`NewestGood`],
//! [`check_mass_expiry`]) have the last word. Nothing here reads a vault or deletes anything.

mod any_of;
mod calendar;
mod decision;
pub(crate) mod doubt;
mod guard;
mod keep;
mod policy;
mod propose;
#[cfg(test)]
mod tests;

pub use any_of::AnyOf;
pub use decision::{Decision, decide};
pub use guard::{NewestGood, check_mass_expiry};
pub use keep::{Keep, KeepRules};
pub use policy::{Action, PointState, PointSummary, Proposal, RetentionPolicy};
