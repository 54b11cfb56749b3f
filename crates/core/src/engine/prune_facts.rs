//! What prune must know of a tier before it decides: which points stand, which are held, doubtful or on their way out.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::event::{Event, Observers};
use crate::name::{Name, PointId};
use crate::retention::{Action, Decision, PointState, PointSummary};
use crate::store::{HeadOptions, Key, ListEntry, ListOptions};
use crate::vault::Vault;
use crate::vault::layout::{self, MarkName};
use crate::vault::lookback::Lookback;
use crate::vault::manifest::{Outcome, Status};
use crate::vault::mark::{MarkKind, VerifiedMark};
use crate::vault::points::{Listed, Point, list_tier_and_strangers, pass_over};
use crate::vault::prove::not_listed;
pub(crate) use crate::vault::signed::is_tampering;
use crate::vault::wary::Wary;

/// A tier as prune sees it. Gathered from the listing; only points that bear a hint or mark are read.
#[derive(Debug, Default)]
pub(crate) struct TierFacts {
    /// Points that stand, oldest first.
    pub(crate) points: Vec<PointSummary>,
    /// What the listing shows of each of them, in the same order.
    listed: Vec<Listed>,
    /// The places of those that a person accepted.
    pub(crate) accepted: Vec<usize>,
    /// Those in doubt, with the reason.
    pub(crate) doubts: BTreeMap<PointId, String>,
    /// Those that must stay, with the reason.
    pub(crate) protected: BTreeMap<PointId, String>,
    /// Those with a tombstone that counts; the manifest may be gone already.
    pub(crate) dying: Vec<Dying>,
    /// Keys that are nobody's, marks that do not count and points that are none, in words.
    pub(crate) strange: Vec<String>,
    /// Those whose lock was looked for: once a plan, however often it is decided anew.
    asked_for_lock: BTreeSet<PointId>,
    wary: Wary,
}

/// A point with a tombstone that counts.
#[derive(Debug)]
pub(crate) struct Dying {
    pub(crate) id: PointId,
    pub(crate) tombstone: VerifiedMark,
    /// Whether its manifest is there: a deletion that has begun goes through.
    pub(crate) stands: bool,
    /// Why it must not go after all, if somebody holds it.
    pub(crate) held: Option<String>,
}

impl TierFacts {
    pub(crate) async fn gather(vault: &Vault, source: &Name, tier: &Name) -> Result<Self> {
        let (listed, strangers) = list_tier_and_strangers(vault, source, tier).await?;
        Self::of(vault, listed, strangers).await
    }

    /// The same of a listing, oldest run first, with the keys in it that are nobody's.
    pub(crate) async fn of(
        vault: &Vault,
        listed: impl IntoIterator<Item = Listed>,
        strangers: Vec<String>,
    ) -> Result<Self> {
        let mut facts = Self { strange: strangers, ..Self::default() };
        for run in listed {
            facts.add(vault, run).await?;
        }
        Ok(facts)
    }

    /// The points that stand, to be read and compared.
    pub(crate) fn lookback<'a>(&mut self, vault: &'a Vault) -> Lookback<'a> {
        Lookback::new(vault, std::mem::take(&mut self.listed), std::mem::take(&mut self.wary))
    }

    async fn add(&mut self, vault: &Vault, run: Listed) -> Result<()> {
        let id = run.id.clone();
        if run.marks.contains(&MarkName::Deleted)
            && let Some(tombstone) = self.mark(vault, &id, &MarkName::Deleted).await?
        {
            let stands = run.manifest.is_some();
            let held = if stands { self.standing_hold(vault, &run).await? } else { None };
            self.dying.push(Dying { id, tombstone, stands, held });
            return Ok(());
        }
        if run.manifest.is_none() {
            self.strange.extend(run.marks.iter().map(|mark| format!("{id}.{mark}: there is no such point")));
            return Ok(());
        }
        let mut state = PointState::Complete;
        if run.partial_hint || run.void_hint {
            match self.wary.point(vault, &id).await {
                Ok(point) if point.manifest.status == Status::Partial => state = PointState::Partial,
                Ok(_) => {}
                // A void: no point at all.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) if is_tampering(error.kind()) => {
                    self.strange.push(format!("{id}: {error}"));
                    state = PointState::Doubtful;
                }
                Err(error) => return Err(error),
            }
        }
        if self.accepted(vault, &run).await? {
            // It alone says that what comes after it need not measure up to what was before.
            if !self.points.is_empty() {
                let why = "accepted: the measure for later points while older ones stand";
                self.protected.insert(id.clone(), why.to_owned());
            }
            self.accepted.push(self.points.len());
        } else if let Some(doubt) = run.clock_doubt(vault.budget().limits().longest_run) {
            state = PointState::Doubtful;
            self.protect_doubtful(&id, doubt);
        }
        if let Some(hold) = self.standing_hold(vault, &run).await? {
            self.protected.insert(id.clone(), hold);
        }
        self.points.push(PointSummary::new(id.clone(), id.run.time(), state));
        self.listed.push(run);
        Ok(())
    }

    /// Takes a point for doubtful; says whether that is news.
    pub(crate) fn doubt(&mut self, i: usize, why: String) -> bool {
        if self.points[i].state == PointState::Doubtful {
            return false;
        }
        self.points[i].state = PointState::Doubtful;
        let id = self.points[i].id.clone();
        self.protect_doubtful(&id, why);
        true
    }

    fn protect_doubtful(&mut self, id: &PointId, why: String) {
        self.protected.entry(id.clone()).or_insert_with(|| format!("doubtful: {why}; it waits for an acceptance"));
        self.doubts.insert(id.clone(), why);
    }

    /// Protects those of the points that are to expire whose manifest is locked; a listing does not tell locks on every
    /// store. Says whether one was found, so that all must be decided anew.
    pub(crate) async fn find_locked(&mut self, vault: &Vault, now: Timestamp, decisions: &[Decision]) -> Result<bool> {
        let mut found = false;
        for decision in decisions.iter().filter(|decision| decision.action == Action::Expire) {
            if self.asked_for_lock.insert(decision.id.clone())
                && let Some(lock) = lock_now(vault, &decision.id, now).await?
            {
                self.protected.insert(decision.id.clone(), lock);
                found = true;
            }
        }
        Ok(found)
    }

    /// Whether a person took the point, as it is now, in spite of a doubt.
    async fn accepted(&mut self, vault: &Vault, run: &Listed) -> Result<bool> {
        if !run.marks.contains(&MarkName::Accepted) {
            return Ok(false);
        }
        let Some(accepted) = self.mark(vault, &run.id, &MarkName::Accepted).await? else { return Ok(false) };
        let point = pass_over(self.wary.point(vault, &run.id).await)?;
        Ok(point.is_some_and(|point| point.sha256 == accepted.mark.manifest))
    }

    /// The first hold that counts and is not released; or one of a keeper whom this reader may not know yet.
    async fn standing_hold(&mut self, vault: &Vault, run: &Listed) -> Result<Option<String>> {
        for mark in &run.marks {
            let MarkName::Hold(name) = mark else { continue };
            let hold = match self.mark(vault, &run.id, mark).await? {
                Some(hold) => format!("held by {} as {name}: {}", hold.signer.principal, hold.mark.reason),
                None => match self.wary.stranger(vault, &run.id, mark).await? {
                    Some(key) => {
                        format!("a hold by a key that is not trusted here: {key}; trust it or remove the mark {mark}")
                    }
                    None => continue,
                },
            };
            let release = MarkName::Release(name.clone());
            let released = run.marks.contains(&release) && self.mark(vault, &run.id, &release).await?.is_some();
            if !released {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// Reads a mark; one that does not count is noted as strange and changes nothing.
    async fn mark(&mut self, vault: &Vault, id: &PointId, name: &MarkName) -> Result<Option<VerifiedMark>> {
        match self.wary.mark(vault, id, name).await {
            Ok(mark) => Ok(Some(mark)),
            Err(error) if is_tampering(error.kind()) => {
                self.strange.push(format!("{id}.{name}: {error}"));
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The hold that keeps a run from being deleted at this very moment.
pub(crate) async fn hold_now(vault: &Vault, run: &Listed) -> Result<Option<String>> {
    TierFacts::default().standing_hold(vault, run).await
}

/// The lock on a point's manifest, which no lock of its other objects outlasts.
pub(crate) async fn lock_now(vault: &Vault, id: &PointId, now: Timestamp) -> Result<Option<String>> {
    if !vault.store().capabilities().locks {
        return Ok(None);
    }
    match vault.store().head(&layout::manifest(id)?, &HeadOptions::default()).await {
        Ok(meta) => Ok(meta.lock.filter(|lock| lock.holds(now)).map(|lock| lock.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The components that a point holds good, for the guard of the newest good one. Of a point that shall stand for others that
/// go, only those whose objects are all there: what its manifest says is not enough.
pub(crate) async fn good_components(vault: &Vault, point: Point, stands_for_others: bool) -> Result<Vec<Name>> {
    let manifest = point.manifest;
    let absent = if stands_for_others { not_listed(vault.store(), &manifest).await? } else { Vec::new() };
    let is_absent = |key: &Key| absent.iter().any(|(absent, _)| absent == key);
    if manifest.details.as_ref().is_some_and(|details| is_absent(&details.key)) {
        return Ok(Vec::new());
    }
    let good = manifest.components.into_iter().filter(|component| component.outcome == Outcome::Good);
    Ok(good.filter(|good| !good.objects.iter().any(|object| is_absent(&object.key))).map(|good| good.name).collect())
}

/// The components of a source that are retired by somebody who may, each with the moment.
pub(crate) async fn retired(
    vault: &Vault,
    source: &Name,
    strange: &mut Vec<String>,
) -> Result<BTreeMap<Name, Timestamp>> {
    let (mut found, mut wary) = (BTreeMap::new(), Wary::default());
    let mut listing = vault.store().list(&layout::retirements(source)?, &ListOptions::default());
    while let Some(entry) = listing.next().await {
        let ListEntry::Object(meta) = entry? else { continue };
        let Some((component, at)) = layout::parse_retirement(source, &meta.key) else {
            strange.push(meta.key.to_string());
            continue;
        };
        match wary.retirement(vault, source, &component, at).await {
            // In key order, so the newest one stays.
            Ok(from) => drop(found.insert(component, from)),
            Err(error) if is_tampering(error.kind()) => strange.push(format!("{}: {error}", meta.key)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Tells of what somebody put into the vault who is not trusted to.
pub(crate) fn tampering(observers: &Observers, strange: &[String]) {
    strange.iter().for_each(|what| observers.emit(&Event::Tampering { what: what.clone() }));
}

/// When the tombstone's grace is over.
pub(crate) fn may_go_from(tombstone: &VerifiedMark) -> Option<Timestamp> {
    match &tombstone.mark.says {
        MarkKind::Deletion(work) => Some(work.not_before),
        _ => None,
    }
}
