//! When each component of a tier was drilled last, and whether that is recent enough.

use std::fmt;

use jiff::{SignedDuration, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::engine::builder::Inner;
use crate::engine::drill_newest::{Drilled, NewestDrills};
use crate::engine::drill_report::{DrillPart, Measured, shown, span_at};
use crate::error::Result;
use crate::event::Event;
use crate::name::{Name, PointId};
use crate::tier::Tier;

/// The newest drill of a component from a point of the tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillStatus {
    /// Which component.
    pub component: Name,
    /// The newest drill with a proof that counts; none if there is none.
    pub newest: Option<DrillSeen>,
    /// Whether a drill is to be done: the newest did not pass, or it is older than the tier's `drill_every`, or missing
    /// although there is one.
    pub late: bool,
}

/// What the proof of a drill says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillSeen {
    /// From which point; it may be deleted since.
    pub point: PointId,
    /// When it ended, by the drill's clock or the store's, whichever is earlier.
    pub at: Timestamp,
    /// How long ago that was.
    pub age: SignedDuration,
    /// Whether all that was to be restored was, whole, and everything checked was as it should be.
    pub passed: bool,
    /// Which part of the component was restored; none if all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DrillPart>,
    /// How old the restored state was.
    pub rpo: Measured,
    /// How long the recovery took; none if the drill did not pass.
    pub rto: Option<Measured>,
}

/// The drills of a tier: of each component that has one, or of all where the tier asks for them. What is late is told.
pub(super) async fn drills(
    backstay: &Inner,
    tier: &Tier,
    components: &[Name],
    at: Timestamp,
    strange: &mut Vec<String>,
) -> Result<Vec<DrillStatus>> {
    let name: Name = tier.name.parse()?;
    let place = (&backstay.source, &name);
    let mut newest = NewestDrills::of(&backstay.vault, place, |component| components.contains(component)).await?;
    strange.append(&mut newest.strange);
    let allowed = span_at(Some(tier), |tier| tier.drill_every, at)?;
    let mut drills = Vec::new();
    for component in components {
        let seen = newest.found.remove(component).map(|drilled| DrillSeen::of(drilled, at));
        let late = match &seen {
            Some(seen) => !seen.passed || allowed.is_some_and(|allowed| seen.age > allowed),
            None => allowed.is_some(),
        };
        if late {
            let newest = seen.as_ref().map(|seen| seen.point.clone());
            backstay.observers.emit(&Event::DrillLate { tier: name.clone(), component: component.clone(), newest });
        }
        if late || seen.is_some() {
            drills.push(DrillStatus { component: component.clone(), newest: seen, late });
        }
    }
    Ok(drills)
}

impl DrillSeen {
    fn of(Drilled { file, at, drill }: Drilled, now: Timestamp) -> Self {
        let age = now.duration_since(at).max(SignedDuration::ZERO);
        Self { point: file.point, at, age, passed: drill.passed, part: drill.part, rpo: drill.rpo, rto: drill.rto }
    }
}

impl fmt::Display for DrillStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.component)?;
        match &self.newest {
            Some(seen) => {
                let age = seen.age.round(Unit::Second).unwrap_or(seen.age);
                let passed = if seen.passed { "passed" } else { "FAILED" };
                write!(f, "newest drill {passed} {:#} ago, from {}", age, seen.point.run)?;
                seen.part.iter().try_for_each(|part| write!(f, ", of {part} alone"))?;
                seen.rto.iter().try_for_each(|rto| write!(f, ", recovered in {}", shown(rto.achieved)))?;
            }
            None => f.write_str("no drill")?,
        }
        f.write_str(if self.late { "  LATE" } else { "" })
    }
}
