//! What a retention policy sees and says.

use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::name::PointId;

/// Proposes which points expire. Pure: the same points and time give the same proposals; guards decide.
pub trait RetentionPolicy: std::fmt::Debug + Send + Sync + 'static {
    /// One proposal per point, in any order. A point without a proposal stays.
    ///
    /// `now` carries the time zone in which days, weeks, months and years begin.
    fn propose(&self, points: &[PointSummary], now: &Zoned) -> Vec<Proposal>;
}

/// A point as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PointSummary {
    /// Which point.
    pub id: PointId,
    /// The moment that counts for retention: when the run began.
    pub time: Timestamp,
    /// Whether it can fill a slot.
    pub state: PointState,
}

impl PointSummary {
    /// A summary.
    #[must_use]
    pub fn new(id: PointId, time: Timestamp, state: PointState) -> Self {
        Self { id, time, state }
    }
}

/// Whether a point can stand for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PointState {
    /// Every component is in it.
    Complete,
    /// A component is missing. It fills no slot.
    Partial,
    /// Its time or content contradicts what else is known. It fills no slot and waits for a person.
    Doubtful,
}

/// What a policy proposes for one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Proposal {
    /// For which point.
    pub id: PointId,
    /// Keep or expire.
    pub action: Action,
    /// Why, for people: "daily 3 of 30", "older than 14d".
    pub reasons: Vec<String>,
}

impl Proposal {
    /// A proposal.
    #[must_use]
    pub fn new(id: PointId, action: Action, reasons: Vec<String>) -> Self {
        Self { id, action, reasons }
    }
}

/// Keep or expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// It stays.
    Keep,
    /// It may go, if no guard objects.
    Expire,
}
