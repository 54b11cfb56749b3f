//! Which points stay and which may go.

mod policy;

pub use policy::{Action, PointState, PointSummary, Proposal, RetentionPolicy};
