//! One thing that could bring a component back: a point, a platform's snapshot, or any second of a platform's window.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::name::PointId;
use crate::source::snapshot::{Origin, ResourceId, SnapshotRef, TimeWindow};
use crate::vault::manifest::Outcome;

/// Something in one place that could serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecoveryOption {
    /// Where: "vault", the name that the other place was given, or a platform's provider and location.
    pub place: String,
    /// From what it is restored.
    pub from: RecoverySource,
    /// The moment that it shows: that of the cut where that is told, else when the run began.
    pub shows: Timestamp,
    /// What was done between that moment and the one asked for is lost. Zero where a clock is ahead of it.
    pub loss: SignedDuration,
    /// Good, or incomplete: what there is can be restored, but something is missing.
    pub outcome: Outcome,
    /// Of how many resources the component consists, where this brings back one of them. 1 if it brings back all of it.
    pub one_of: u64,
    /// What of its bytes the listing of that place lacks, or tells at another length; a restore may still find it in another.
    pub missing: Option<String>,
    /// Why it is in doubt, if it is.
    pub doubt: Option<String>,
    /// Who holds it and why, if somebody does.
    pub held: Option<String>,
    /// It is being deleted, or has outlived its time on the platform: its bytes go from then on.
    pub goes: Option<Timestamp>,
    /// Whether an identity given opens it, as a restore would: in the vault and its replicas those that the vault was opened
    /// with, or the place's own. True where nothing is sealed. None for what lies on a platform: its keys are that platform's
    /// affair, and nothing was tried.
    pub key: Option<bool>,
    /// Whether its objects lie in an archive class and must be thawed first, as far as the listing tells classes.
    pub thaw: bool,
    /// Plain bytes; of a snapshot what the platform tells, if it does.
    pub bytes: Option<u64>,
    /// Stored bytes; of a point only.
    pub stored: Option<u64>,
    /// How long a restore would take, at the slowest of the last three restores and drills from that place. None if that
    /// place's history tells of none, as where none was done by who may write history; and for what lies on a platform.
    pub takes: Option<Duration>,
}

/// From what an option is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecoverySource {
    /// A point, by [`Backstay::restore`](crate::engine::Backstay::restore).
    Point(PointId),
    /// A snapshot that lies on a platform, by the platform's own means.
    #[non_exhaustive]
    Snapshot {
        /// Its name there.
        snapshot: SnapshotRef,
        /// Of what it is.
        resource: ResourceId,
        /// Who made it.
        origin: Origin,
        /// When the platform deletes it by itself.
        expires_at: Option<Timestamp>,
    },
    /// Any second of a window, by the platform's own means; of these the option is the one that loses least.
    #[non_exhaustive]
    Moment {
        /// Of what.
        resource: ResourceId,
        /// From when to when.
        window: TimeWindow,
    },
}

impl RecoveryOption {
    /// Whether it brings the whole component back now, and nothing speaks against it. For what lies on a platform that is as
    /// the platform says; whether its keys are there was not tried. Of a component of several resources no single snapshot
    /// or moment is good: each brings back one of them.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let nothing_against = self.missing.is_none() && self.doubt.is_none() && self.goes.is_none();
        let whole = self.outcome == Outcome::Good && self.one_of == 1;
        whole && nothing_against && self.key != Some(false) && !self.thaw
    }

    /// The point, if it is one.
    #[must_use]
    pub fn point(&self) -> Option<&PointId> {
        match &self.from {
            RecoverySource::Point(point) => Some(point),
            _ => None,
        }
    }
}

/// The least width of the place in a table.
pub(super) const PLACE: usize = 10;

impl fmt::Display for RecoveryOption {
    /// A row of the table; its width is that of the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        let loss = self.loss.round(Unit::Second).unwrap_or(self.loss);
        let takes = self.takes.map_or_else(unknown, |takes| format!("{takes:.0?}"));
        let bytes = self.bytes.map_or_else(unknown, |bytes| bytes.to_string());
        let width = f.width().unwrap_or(PLACE);
        write!(f, "{:12} {:width$} {bytes:>12} {takes:>10}  {}", format!("{loss:#}"), self.place, self.from)?;
        match &self.missing {
            Some(missing) => write!(f, ", BYTES MISSING: {missing}")?,
            None => f.write_str(if self.outcome == Outcome::Good { ", good" } else { ", incomplete" })?,
        }
        if self.one_of != 1 {
            write!(f, ", ONE OF {} RESOURCES", self.one_of)?;
        }
        match self.key {
            Some(true) => {}
            Some(false) => f.write_str(", NO KEY")?,
            None => f.write_str(", key not tried")?,
        }
        if self.thaw {
            f.write_str(", must be thawed")?;
        }
        self.goes.iter().try_for_each(|goes| write!(f, ", being deleted from {goes} on"))?;
        self.doubt.iter().try_for_each(|doubt| write!(f, ", DOUBTFUL: {doubt}"))?;
        self.held.iter().try_for_each(|held| write!(f, ", {held}"))
    }
}

impl fmt::Display for RecoverySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(point) => point.fmt(f),
            Self::Snapshot { snapshot, resource, origin, expires_at } => {
                let whose = match origin {
                    Origin::Ours => "ours",
                    Origin::Native => "the platform's",
                };
                write!(f, "snapshot {} of {}, {whose}", snapshot.id, resource.0)?;
                expires_at.iter().try_for_each(|at| write!(f, ", expires {at}"))
            }
            Self::Moment { resource, window } => {
                write!(f, "any second of {} from {} to {}", resource.0, window.earliest, window.latest)
            }
        }
    }
}
