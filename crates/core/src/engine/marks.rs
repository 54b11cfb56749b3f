//! What a person says of a point: hold it, release it, take a deletion back, accept it, retire a component.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::engine::prune_facts::may_go_from;
use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId, to_the_second};
use crate::vault::layout::{self, MarkName, PointFile};
use crate::vault::mark::{Mark, MarkKind, Retirement, VerifiedMark};
use crate::vault::points::{list_run, list_tier, pass_over};
use crate::vault::settle::find;
use crate::vault::wary::Wary;
use crate::vault::{Purpose, Vault};

/// So many points of a tier are read from either end in search of a component. Who retires one is no program in a hurry.
const SEARCHED: usize = 500;

/// So long before a grace ends an undelete or a hold comes too late: the deletion may be about to begin.
const UNDELETE_UNTIL: SignedDuration = SignedDuration::from_hours(1);

impl Vault {
    /// Keeps a point from being deleted until this hold is [released](Self::release). A point may have several holds; each
    /// name can be used once. While a deletion waits it shows again after the next prune, which takes the deletion back.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the point, [`AlreadyExists`](ErrorKind::AlreadyExists) for a name that was used;
    /// [`Refused`](ErrorKind::Refused) in the last hour of a deletion's grace: the hold stands, but the deletion may have
    /// looked for holds already.
    pub async fn hold(&self, point: &PointId, name: &Name, reason: &str) -> Result<()> {
        self.mark(point, MarkKind::Hold { name: name.clone() }, reason).await?;
        let fail = |error: Error| Err(error.operation("hold").with("point", point));
        let run = list_run(self, point).await?.filter(|run| run.manifest.is_some());
        let Some(run) = run else { return fail(Error::new(ErrorKind::NotFound, "the point was deleted meanwhile")) };
        match Wary::default().mark_that_counts(self, &run, &MarkName::Deleted).await? {
            Some(tombstone) if too_late(&tombstone, self.store().now().await?) => fail(
                Error::new(ErrorKind::Refused, "the grace of its deletion ends, so the hold may come too late")
                    .advise("look whether the point still stands; from then on the hold keeps it"),
            ),
            _ => Ok(()),
        }
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if the point has no such hold.
    pub async fn release(&self, point: &PointId, name: &Name, reason: &str) -> Result<()> {
        self.signer(Purpose::Release)?;
        let hold = MarkName::Hold(name.clone());
        match self.get_mark(point, &hold).await {
            // It keeps the point although its key is unknown here, so whoever may release can end that too.
            Err(error) if error.kind() == ErrorKind::Untrusted && self.stranger(point, &hold).await?.is_some() => {}
            held => drop(held?),
        }
        self.mark(point, MarkKind::Release { name: name.clone() }, reason).await
    }

    /// Takes a doubtful point for good: from now on it fills slots and may be the newest.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for the point.
    pub async fn accept(&self, point: &PointId, reason: &str) -> Result<()> {
        self.mark(point, MarkKind::Acceptance, reason).await
    }

    async fn mark(&self, point: &PointId, says: MarkKind, reason: &str) -> Result<()> {
        self.signer(says.name().purpose())?;
        let manifest = self.read_point(point).await?.sha256;
        let mark = Mark {
            vault: self.id().clone(),
            point: point.clone(),
            manifest,
            says,
            at: self.clock().now(),
            reason: reason.to_owned(),
        };
        self.put_mark(&mark).await.map(drop).map_err(|error| error.operation("mark").with("point", point))
    }

    /// Takes a deletion back while its grace lasts. On a store with versions it also takes the delete markers off a point
    /// that somebody deleted without a plan, as long as the versions are kept: its bytes first, its manifest last, so that
    /// it shows only when it is whole. What was interrupted goes on at the next call.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if nothing of the point was deleted; [`Untrusted`](ErrorKind::Untrusted) or
    /// [`Corrupt`](ErrorKind::Corrupt) if it was also overwritten: [`as_of`](Self::as_of) reads it;
    /// [`Refused`](ErrorKind::Refused) once its manifest is gone, and in the last hour of the grace, by the store's time,
    /// because the deletion may be about to begin.
    pub async fn undelete(&self, point: &PointId) -> Result<()> {
        // Nothing is signed here, but taking back is for who may delete.
        self.signer(Purpose::Delete)?;
        let verified = match self.get_mark(point, &MarkName::Deleted).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return if self.bring_back(point).await? { Ok(()) } else { Err(error) };
            }
            other => other?,
        };
        let refused = |text: &'static str, advice: &'static str| {
            Err(Error::new(ErrorKind::Refused, text).operation("undelete").with("point", point).advise(advice))
        };
        if too_late(&verified, self.store().now().await?) {
            return refused("the grace is over or ends soon", "restore from the point at once, or from a replica");
        }
        if find(self.store(), &layout::manifest(point)?).await?.is_none() && !self.bring_back(point).await? {
            return refused("its deletion has begun", "restore from a replica");
        }
        let key = layout::point_file(point, &PointFile::Mark(MarkName::Deleted))?;
        self.delete_all(vec![key.into()]).await
    }

    /// Declares that a component will not come back: its newest good item may expire like any other.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if no point of the source has the component, with those that there are; what the
    /// store answers.
    pub async fn retire(&self, source: &Name, component: &Name, reason: &str) -> Result<()> {
        self.signer(Purpose::Retire)?;
        let known = self.components_until(source, component).await.map_err(|error| error.operation("retire"))?;
        if !known.contains(component) {
            let known = known.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
            return Err(Error::new(ErrorKind::NotFound, "no point of this source has the component")
                .operation("retire")
                .with("source", source)
                .with("component", component)
                .with("there are", if known.is_empty() { "none" } else { &known })
                .advise("look for a typing error; what no point has keeps nothing, and need not be retired"));
        }
        let retirement = Retirement {
            vault: self.id().clone(),
            source: source.clone(),
            component: component.clone(),
            at: to_the_second(self.clock().now()),
            reason: reason.to_owned(),
        };
        self.put_retirement(&retirement)
            .await
            .map(drop)
            .map_err(|error| error.operation("retire").with("component", component))
    }

    /// The components that points of a source have, those in which nothing is good included; it stops where `wanted` is
    /// among them. The newest points are read, and the oldest: they stay for the sake of what went out of use long ago.
    async fn components_until(&self, source: &Name, wanted: &Name) -> Result<BTreeSet<Name>> {
        let mut found = BTreeSet::new();
        for tier in self.points().tiers(source).await? {
            let (mut listed, mut wary) = (list_tier(self, source, &tier, None, None).await?, Wary::default());
            listed.retain(|run| run.manifest.is_some());
            let between = listed.len().saturating_sub(2 * SEARCHED);
            let ends = listed.iter().rev().take(SEARCHED).chain(listed.iter().rev().skip(SEARCHED + between));
            for run in ends {
                let Some(point) = pass_over(wary.point(self, &run.id).await)? else { continue };
                found.extend(point.manifest.components.into_iter().map(|component| component.name));
                if found.contains(wanted) {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

fn too_late(tombstone: &VerifiedMark, now: Timestamp) -> bool {
    may_go_from(tombstone).is_none_or(|from| from.duration_since(now) < UNDELETE_UNTIL)
}
