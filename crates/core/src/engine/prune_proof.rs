//! No point goes by the word of one that is none or in doubt: what pushes others out is read first, and compared with
//! those that would go.

use std::collections::HashSet;

use jiff::Zoned;

use crate::engine::builder::Inner;
use crate::engine::prune_facts::{TierFacts, good_components, is_tampering};
use crate::error::{ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::{Action, Decision, NewestGood, PointState, PointSummary, RetentionPolicy};
use crate::tier::Tier;
use crate::vault::Vault;
use crate::vault::lookback::Lookback;
use crate::vault::manifest::Status;
use crate::vault::wary::UNSIGNED;

/// So many points are read before the policy is asked again; each time twice as many.
const FIRST_STEP: usize = 8;

impl TierFacts {
    /// A listing takes every key that looks like a commit for a complete point, and anybody who may create objects can plant
    /// such keys. So those that stay are read, from the newest back, until they suffice to let go what is to expire; the
    /// slots of some policies are few, and others need no point at all. What would go is read too: it is what they are
    /// compared with. Says whether one turned out to be less than it looked, so that all must be decided anew.
    pub(crate) async fn unmask(
        &mut self,
        lookback: &mut Lookback<'_>,
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
                changed |= self.look(lookback, i).await?;
                proved.push(self.points[i].clone());
            }
            step *= 2;
        }
        for i in goes {
            // One that cannot be read stays, which the guard of the newest good items sees to.
            if lookback.known(i).is_none()
                && let Ok(point) = lookback.get(&self.points[i].id).await
            {
                lookback.learn(i, &point).await?;
            }
        }
        for i in &self.accepted {
            lookback.read(*i).await?;
        }
        Ok(self.note_doubts(lookback) || changed)
    }

    /// Reads those of the points that are wanted and were not read yet, and compares them. Says whether there was one.
    pub(crate) async fn prove(
        &mut self,
        lookback: &mut Lookback<'_>,
        is_wanted: impl Fn(&PointId) -> bool,
    ) -> Result<bool> {
        let is_unproved = |i: &usize| lookback.known(*i).is_none() && is_wanted(&self.points[*i].id);
        let unproved: Vec<usize> = (0..self.points.len()).filter(is_unproved).collect();
        for i in &unproved {
            self.look(lookback, *i).await?;
        }
        if !unproved.is_empty() {
            self.note_doubts(lookback);
        }
        Ok(!unproved.is_empty())
    }

    /// Takes those that were read for doubtful that do not measure up to others that were. Says whether one is news.
    fn note_doubts(&mut self, lookback: &Lookback<'_>) -> bool {
        let doubts = lookback.doubts(self.points.len());
        doubts.into_iter().fold(false, |changed, (i, why)| self.doubt(i, why) || changed)
    }

    /// Tells the guard of the newest good items what it asks for. What lets others go by being newer is judged first. Says
    /// whether one is in doubt, so that all must be decided anew.
    pub(crate) async fn guard(
        &mut self,
        vault: &Vault,
        guard: &mut NewestGood,
        lookback: &mut Lookback<'_>,
        decisions: &[Decision],
    ) -> Result<bool> {
        loop {
            let wanted = guard.wanted();
            if wanted.is_empty() {
                return Ok(false);
            }
            for id in wanted {
                let stays = lookback.place(&id).filter(|i| decisions[*i].action == Action::Keep);
                if let Some(i) = stays
                    && let Some(why) = lookback.judge(i).await?
                    && self.doubt(i, why)
                {
                    return Ok(true);
                }
                let good = match lookback.get(&id).await {
                    Ok(point) => good_components(vault, point, stays.is_some()).await,
                    Err(error) => Err(error),
                };
                guard.read(&id, good);
            }
        }
    }

    /// Reads a point, unless that was done, and takes its state from its manifest. What cannot be trusted is told and
    /// doubtful; what is no point, or not any more, is doubtful. Says whether that is another state than before.
    pub(crate) async fn look(&mut self, lookback: &mut Lookback<'_>, i: usize) -> Result<bool> {
        let PointSummary { id, state, .. } = &mut self.points[i];
        if lookback.known(i).is_some() {
            return Ok(false);
        }
        if lookback.is_plant(i) {
            self.unmask_unsigned(lookback);
            return Ok(true);
        }
        let before = *state;
        match lookback.get(id).await {
            Ok(point) => {
                lookback.learn(i, &point).await?;
                if point.manifest.status == Status::Partial {
                    *state = PointState::Partial;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                lookback.pass_over(i);
                *state = PointState::Doubtful;
            }
            Err(error) if is_tampering(error.kind()) => {
                lookback.pass_over(i);
                self.strange.push(format!("{id}: {error}"));
                // Of a newer version: it is signed; what it asks for is another matter.
                if error.kind() != ErrorKind::Unsupported {
                    *state = PointState::Doubtful;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(*state != before)
    }

    /// What the tier covers: of a program that makes no points and names no components, what the newest point was to have.
    pub(crate) async fn components(
        &mut self,
        backstay: &Inner,
        tier: &Tier,
        lookback: &mut Lookback<'_>,
    ) -> Result<Vec<Name>> {
        if let Some(names) = backstay.covered_names(tier) {
            return Ok(names);
        }
        for i in (0..lookback.len()).rev() {
            if self.points[i].state == PointState::Doubtful {
                continue;
            }
            self.look(lookback, i).await?;
            if let Some(point) = lookback.read(i).await? {
                return Ok(point.components.clone());
            }
        }
        Ok(Vec::new())
    }

    /// Where plants are many, all that the listing of signatures tells are unmasked at once, and told in one line.
    fn unmask_unsigned(&mut self, lookback: &mut Lookback<'_>) {
        let mut plants = Vec::new();
        for (i, point) in self.points.iter_mut().enumerate() {
            if lookback.known(i).is_none() && lookback.is_plant(i) {
                lookback.pass_over(i);
                point.state = PointState::Doubtful;
                plants.push(&point.id);
            }
        }
        self.strange.extend(flood(&plants));
    }
}

/// What is said of many plants.
pub(crate) fn flood(plants: &[&PointId]) -> Option<String> {
    let (first, last) = (plants.first()?, plants.last()?);
    Some(match plants.len() {
        1 => format!("{first}: {UNSIGNED}"),
        count => format!("{count} points from {first} to {last}: {UNSIGNED}"),
    })
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
