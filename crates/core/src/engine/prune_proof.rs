//! No point goes by the word of one that is none: what pushes others out is read first.

use std::collections::HashSet;

use jiff::Zoned;

use crate::engine::prune_facts::{TierFacts, is_tampering};
use crate::error::{ErrorKind, Result};
use crate::name::PointId;
use crate::retention::{Action, Decision, PointState, PointSummary, RetentionPolicy};
use crate::vault::Vault;
use crate::vault::manifest::Status;

/// So many points are read before the policy is asked again; each time twice as many.
const FIRST_STEP: usize = 8;

impl TierFacts {
    /// A listing takes every key that looks like a commit for a complete point, and anybody who may create objects can plant
    /// such keys. So those that stay are read, from the newest back, until they suffice to let go what is to expire; the
    /// slots of some policies are few, and others need no point at all. Says whether one turned out to be less than it
    /// looked, so that all must be decided anew.
    pub(crate) async fn unmask(
        &mut self,
        vault: &Vault,
        policy: &dyn RetentionPolicy,
        now: &Zoned,
        decisions: &[Decision],
    ) -> Result<bool> {
        let expiring = |decision: &&Decision| decision.action == Action::Expire;
        let expiring: HashSet<&PointId> = decisions.iter().filter(expiring).map(|decision| &decision.id).collect();
        let (goes, stays): (Vec<usize>, Vec<usize>) =
            (0..self.points.len()).partition(|i| expiring.contains(&self.points[*i].id));
        if expiring.is_empty() {
            return Ok(false);
        }
        let mut proved: Vec<PointSummary> = goes.iter().map(|i| self.points[*i].clone()).collect();
        let mut unread: Vec<usize> =
            stays.into_iter().filter(|i| self.points[*i].state != PointState::Doubtful).collect();
        unread.sort_unstable_by(|a, b| self.points[*a].id.run.cmp(&self.points[*b].id.run));
        let (mut step, mut changed) = (FIRST_STEP, false);
        while !unread.is_empty() && would_stay(policy, &proved, now, &expiring) {
            for i in unread.split_off(unread.len().saturating_sub(step)).into_iter().rev() {
                let state = self.true_state(vault, i).await?;
                changed |= state != self.points[i].state;
                self.points[i].state = state;
                proved.push(self.points[i].clone());
            }
            step *= 2;
        }
        if changed {
            self.unmask_unsigned();
        }
        Ok(changed)
    }

    /// Where plants are many, all that the listing of signatures tells are unmasked at once, not a few in each round.
    fn unmask_unsigned(&mut self) {
        for point in &mut self.points {
            if self.wary.is_plant(&point.id) && self.read.insert(point.id.clone()) {
                self.strange.push(format!("{}: no signature by a trusted key stands beside it", point.id));
                point.state = PointState::Doubtful;
            }
        }
    }

    async fn true_state(&mut self, vault: &Vault, index: usize) -> Result<PointState> {
        let PointSummary { id, state, .. } = &self.points[index];
        if !self.read.insert(id.clone()) {
            return Ok(*state);
        }
        match self.wary.point(vault, id).await {
            Ok(point) if point.manifest.status == Status::Partial => Ok(PointState::Partial),
            Ok(_) => Ok(*state),
            // It is signed; what it asks for is another matter.
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(*state),
            Err(error) if is_tampering(error.kind()) || error.kind() == ErrorKind::NotFound => {
                self.strange.push(format!("{id}: {error}"));
                Ok(PointState::Doubtful)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the policy, knowing only these points, keeps one of those that are to expire.
fn would_stay(
    policy: &dyn RetentionPolicy,
    points: &[PointSummary],
    now: &Zoned,
    expiring: &HashSet<&PointId>,
) -> bool {
    let mut points = points.to_vec();
    points.sort_unstable_by(|a, b| a.id.run.cmp(&b.id.run));
    let kept = |action, id| action != Action::Expire && expiring.contains(id);
    policy.propose(&points, now).iter().any(|proposal| kept(proposal.action, &proposal.id))
}
