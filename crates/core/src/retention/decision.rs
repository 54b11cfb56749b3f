//! From proposals to decisions: what must stay stays.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::PointId;
use crate::retention::any_of::align;
use crate::retention::policy::{Action, PointState, PointSummary, Proposal};

/// What is done with one point, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// With which point.
    pub id: PointId,
    /// Keep or expire. A point with a veto is kept.
    pub action: Action,
    /// What the policy said.
    pub reasons: Vec<String>,
    /// Why the point stays although the policy lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<String>,
}

impl Decision {
    /// Keeps a point that would expire. The first veto stays; a point that the policy keeps needs none.
    pub fn veto(&mut self, why: impl Into<String>) {
        if self.action == Action::Expire {
            self.action = Action::Keep;
            self.veto = Some(why.into());
        }
    }
}

impl Decision {
    /// The reasons in one line; of a veto, both sides.
    #[must_use]
    pub fn why(&self) -> String {
        let policy = self.reasons.join(", ");
        match &self.veto {
            Some(veto) => format!("{veto} (the policy: {policy})"),
            None => policy,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Keep => "keep",
            Action::Expire => "expire",
        };
        write!(f, "{action} {}: {}", self.id, self.why())
    }
}

/// One decision per point, in the order of `points`.
///
/// A point without a proposal stays, and so do doubtful ones, those whose time lies after `now`, and those of
/// `protected`, where each value says why in words ("held by legal", "not yet copied to dr"). Proposals for points that
/// are not in `points` are without effect.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use backstay_core::retention::{Action, Keep, PointState, PointSummary, RetentionPolicy, decide};
///
/// let id: backstay_core::PointId = "prod/daily/20261120t064200z-abcdefgh".parse()?;
/// let points = [PointSummary::new(id.clone(), id.run.time(), PointState::Complete)];
/// let now: jiff::Zoned = "2026-11-21T07:00[Europe/Berlin]".parse()?;
///
/// let proposals = Keep::daily(30).propose(&points, &now);
/// let decisions = decide(&points, proposals, now.timestamp(), &BTreeMap::new());
/// assert_eq!(decisions[0].to_string(), format!("keep {id}: daily 1 of 30 (2026-11-20)"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn decide(
    points: &[PointSummary],
    proposals: Vec<Proposal>,
    now: Timestamp,
    protected: &BTreeMap<PointId, String>,
) -> Vec<Decision> {
    let decide = |(point, proposal): (&PointSummary, Option<Proposal>)| {
        let mut decision = match proposal {
            Some(Proposal { id, action, reasons }) => Decision { id, action, reasons, veto: None },
            None => {
                let reasons = vec!["the policy says nothing about it".to_owned()];
                Decision { id: point.id.clone(), action: Action::Keep, reasons, veto: None }
            }
        };
        if let Some(why) = protected.get(&point.id) {
            decision.veto(why);
        } else if point.state == PointState::Doubtful {
            decision.veto("doubtful: it waits for a person");
        } else if point.time > now {
            decision.veto("its time lies in the future");
        }
        decision
    };
    points.iter().zip(align(points, proposals)).map(decide).collect()
}
