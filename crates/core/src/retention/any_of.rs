//! Policies add up.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Zoned;

use crate::name::PointId;
use crate::retention::policy::{Action, PointSummary, Proposal, RetentionPolicy};

/// Several policies as one: a point stays if any of them keeps it or says nothing about it.
///
/// ```
/// use backstay_core::retention::Keep;
///
/// let both = Keep::daily(30).and(Keep::last(5)).and(Keep::yearly(10));
/// assert_eq!(both.len(), 3);
/// ```
#[derive(Clone, Debug, Default)]
pub struct AnyOf(Vec<Arc<dyn RetentionPolicy>>);

impl AnyOf {
    /// Keeps also what `policy` keeps.
    #[must_use]
    pub fn and(mut self, policy: impl RetentionPolicy) -> Self {
        self.0.push(Arc::new(policy));
        self
    }

    /// How many policies there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none. Then nothing is proposed, so everything stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Arc<dyn RetentionPolicy>> for AnyOf {
    fn from_iter<I: IntoIterator<Item = Arc<dyn RetentionPolicy>>>(policies: I) -> Self {
        Self(policies.into_iter().collect())
    }
}

impl RetentionPolicy for AnyOf {
    fn propose(&self, points: &[PointSummary], now: &Zoned) -> Vec<Proposal> {
        let mut policies = self.0.iter().map(|policy| align(points, policy.propose(points, now)));
        let Some(mut all) = policies.next() else { return Vec::new() };
        for more in policies {
            for (one, other) in all.iter_mut().zip(more) {
                *one = one.take().zip(other).map(|(one, other)| join(one, other));
            }
        }
        all.into_iter().flatten().collect()
    }
}

/// Proposals in the order of the points; none where nothing was proposed. Of several for one point, keeping wins.
pub(super) fn align(points: &[PointSummary], proposals: Vec<Proposal>) -> Vec<Option<Proposal>> {
    // A policy that answers in the order in which it was asked needs no index.
    if points.len() == proposals.len() && points.iter().zip(&proposals).all(|(point, p)| point.id == p.id) {
        return proposals.into_iter().map(Some).collect();
    }
    let mut by_id: HashMap<PointId, Proposal> = HashMap::with_capacity(proposals.len());
    for proposal in proposals {
        let joined = match by_id.remove(&proposal.id) {
            Some(other) => join(other, proposal),
            None => proposal,
        };
        by_id.insert(joined.id.clone(), joined);
    }
    points.iter().map(|point| by_id.get(&point.id).cloned()).collect()
}

/// Two proposals for one point as one. The reasons are those that led to the action.
fn join(one: Proposal, other: Proposal) -> Proposal {
    match (one.action, other.action) {
        (Action::Keep, Action::Expire) => one,
        (Action::Expire, Action::Keep) => other,
        (Action::Keep, Action::Keep) | (Action::Expire, Action::Expire) => {
            let mut joined = one;
            for reason in other.reasons {
                if !joined.reasons.contains(&reason) {
                    joined.reasons.push(reason);
                }
            }
            joined
        }
    }
}
