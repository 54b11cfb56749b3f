//! How a tier's points are locked in the store.

use std::fmt;

use jiff::{Span, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::store::Lock;

/// A lock on every object of a tier's points, from the moment it is put: see [`Tier::lock`](crate::Tier::lock).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TierLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// How long it holds, by the store's clock.
    #[serde(serialize_with = "jiff::fmt::serde::span::friendly::compact::required")]
    pub time: Span,
}

/// Who may lift a lock before its time. The names are those of S3; a locked immutability policy of Azure is the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LockMode {
    /// An administrator of the store, by a right of its own.
    Governance,
    /// Nobody, the owner of the account included: what is locked so costs its space until the end.
    Compliance,
}

impl TierLock {
    pub(crate) fn new(mode: LockMode, time: Span) -> Self {
        Self { mode, time }
    }

    /// The lock of an object that is put at `now`.
    pub(crate) fn beginning(&self, now: Timestamp, zone: TimeZone) -> Result<Lock> {
        let until = now.to_zoned(zone).checked_add(self.time).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the lock would end beyond the calendar")
                .with("time", self.time)
                .advise("lock for a shorter time")
                .because(error)
        })?;
        Ok(Lock { until: Some(until.timestamp()), bypassable: self.mode == LockMode::Governance, hold: false })
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}
