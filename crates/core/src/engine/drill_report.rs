//! What a drill measured, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Span, Timestamp, Unit};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::name::{Name, PointId};
use crate::source::{ImportReport, Validation};
use crate::tier::Tier;

/// What a drill did and measured. `Display` is a page for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillReport {
    /// Which component.
    pub component: Name,
    /// From which point.
    pub point: PointId,
    /// When it began, by the vault's store.
    pub began: Timestamp,
    /// The moment that the point shows the component at: that of the cut where the exporter told it, else when the run began.
    pub shows: Timestamp,
    /// Where to, as the scratch place displays itself, or its target as long as there is none.
    pub scratch: String,
    /// Whether the export missed some of the component. Then the drill has not passed, whatever was checked.
    pub incomplete: bool,
    /// Plain bytes that were read to restore it, each counted once.
    pub bytes: u64,
    /// Which part of the component was restored; none if all of it, or if the restore did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<DrillPart>,
    /// How long each phase took, by a clock that does not jump. A phase that was never begun is not there.
    pub phases: BTreeMap<DrillPhase, SignedDuration>,
    /// How old the restored state was when the drill began, against the tier's recovery point objective.
    pub rpo: Measured,
    /// From the empty place to the end of the validation, against the tier's recovery time objective; none if the drill did
    /// not pass: then nothing was recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto: Option<Measured>,
    /// What the importer did, if it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportReport>,
    /// What was checked, if it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// What ended it, with its causes; none if it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why the scratch place could not be removed, if it could not: the sweep of a later drill takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// What killed drills had left and the target took away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swept: Vec<String>,
    /// What a person should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How much of a component a drill restored, where it was not all of it: of several databases one, say. Nothing is proved of
/// the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillPart {
    /// Items that were read to their ends and restored.
    pub restored: u64,
    /// Items that the component has.
    pub of: u64,
}

/// A part of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DrillPhase {
    /// Finding the point and reading its manifest.
    Pick,
    /// Taking away what killed drills left.
    Sweep,
    /// Making the scratch place.
    Prepare,
    /// Planning the restore.
    Plan,
    /// Restoring.
    Restore,
    /// Checking what was restored.
    Validate,
    /// Taking the scratch place away.
    Remove,
}

/// What was achieved, and what the tier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// What was achieved.
    pub achieved: SignedDuration,
    /// What the tier allows; none without an objective.
    pub allowed: Option<SignedDuration>,
    /// Whether the objective was met; none without one.
    pub met: Option<bool>,
}

impl DrillReport {
    /// Whether the component was restored whole and everything that was checked is as it should be.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.error.is_none() && !self.incomplete && self.validation.as_ref().is_some_and(Validation::passed)
    }

    /// Whether no objective was missed.
    #[must_use]
    pub fn met(&self) -> bool {
        self.rpo.met != Some(false) && self.rto.is_none_or(|rto| rto.met != Some(false))
    }

    /// How long a recovery takes by this drill: from the empty place to the end of the validation.
    pub(crate) fn recovery(&self) -> SignedDuration {
        use DrillPhase::{Plan, Prepare, Restore, Validate};
        let took = |phase| self.phases.get(&phase).copied().unwrap_or_default();
        [Prepare, Plan, Restore, Validate]
            .into_iter()
            .map(took)
            .fold(SignedDuration::ZERO, SignedDuration::saturating_add)
    }
}

impl Measured {
    pub(crate) fn new(achieved: SignedDuration, allowed: Option<SignedDuration>) -> Self {
        Self { achieved, allowed, met: allowed.map(|allowed| achieved <= allowed) }
    }
}

/// How long a tier's span is at `now`, by the tier's calendar.
pub(crate) fn span_at(
    tier: Option<&Tier>,
    span: impl FnOnce(&Tier) -> Option<Span>,
    now: Timestamp,
) -> Result<Option<SignedDuration>> {
    let Some((tier, span)) = tier.and_then(|tier| Some((tier, span(tier)?))) else { return Ok(None) };
    let bound = now.to_zoned(tier.zone()?).checked_sub(span).ok();
    Ok(bound.map(|bound| now.duration_since(bound.timestamp())))
}

pub(crate) fn signed(took: Duration) -> SignedDuration {
    SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX)
}

/// A duration as people read it.
pub(super) fn shown(duration: SignedDuration) -> String {
    let unit = if duration < SignedDuration::from_mins(1) { Unit::Millisecond } else { Unit::Second };
    format!("{:#}", duration.round(unit).unwrap_or(duration))
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.passed() { "PASSED" } else { "FAILED" };
        write!(f, "Restore drill of {}: {end}", self.component)?;
        write!(f, "\n  restored     {} bytes from {}, as of {}", self.bytes, self.point, self.shows)?;
        self.part.iter().try_for_each(|part| write!(f, "\n  PARTLY       {part}: nothing is proved of the others"))?;
        write!(f, "\n  into         {}", self.scratch)?;
        write!(f, "\n  data loss    {}  (recovery point objective: {})", shown(self.rpo.achieved), self.rpo)?;
        match &self.rto {
            Some(rto) => write!(f, "\n  recovery     {}  (recovery time objective: {rto})", shown(rto.achieved))?,
            None => f.write_str("\n  recovery     none")?,
        }
        f.write_str("\n  time taken  ")?;
        for (i, (phase, took)) in self.phases.iter().enumerate() {
            write!(f, "{} {phase} {}", if i == 0 { "" } else { "," }, shown(*took))?;
        }
        if self.incomplete {
            f.write_str("\n  INCOMPLETE   the export missed some of it: what is not in the point does not come back")?;
        }
        self.error.iter().try_for_each(|error| write!(f, "\n  FAILED       {error}"))?;
        self.left.iter().try_for_each(|left| write!(f, "\n  LEFT BEHIND  {left}"))?;
        self.swept.iter().try_for_each(|swept| write!(f, "\n  swept        {swept}"))?;
        self.notes.iter().try_for_each(|note| write!(f, "\n  note         {note}"))?;
        self.validation
            .iter()
            .try_for_each(|validation| validation.to_string().lines().try_for_each(|line| write!(f, "\n  {line}")))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.allowed {
            Some(allowed) => write!(f, "{}, {}", shown(allowed), if self.met == Some(true) { "met" } else { "MISSED" }),
            None => f.write_str("none"),
        }
    }
}

impl fmt::Display for DrillPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} items", self.restored, self.of)
    }
}

impl fmt::Display for DrillPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pick => "pick",
            Self::Sweep => "sweep",
            Self::Prepare => "prepare",
            Self::Plan => "plan",
            Self::Restore => "restore",
            Self::Validate => "validate",
            Self::Remove => "remove",
        })
    }
}
