//! A tier's points as far as they were read, and which of them are in doubt beside those before them.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Sha256;
use crate::error::Result;
use crate::name::{Name, PointId};
use crate::retention::doubt::{Baseline, Content, RECENT};
use crate::vault::Vault;
use crate::vault::layout::MarkName;
use crate::vault::manifest::Outcome;
use crate::vault::mark::VerifiedMark;
use crate::vault::points::{LOOK_BACK, Listed, Point, list_tier, pass_over};
use crate::vault::wary::Wary;

/// So many runs before a point are looked at to find some that are points at all, or accepted ones.
const NEAR: usize = 32;

/// The committed runs of a tier, and what reading some of them gave.
///
/// A point is compared with good ones before it that are not in doubt themselves, so that a component which shrank stays
/// in doubt however many nights it stays small. An accepted point begins the comparison anew: one acceptance is enough
/// for a change that is there to stay.
#[derive(Debug)]
pub(crate) struct Lookback<'a> {
    vault: &'a Vault,
    /// Oldest first.
    runs: Vec<Listed>,
    /// By their place in `runs`; none for what is no point.
    read: BTreeMap<usize, Option<Summary>>,
    wary: Wary,
}

/// What is remembered of a point.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) sha256: Sha256,
    /// Every component that was to be in it.
    pub(crate) components: Vec<Name>,
    good: Vec<(Name, Content)>,
    accepted: bool,
    /// Why its clocks are doubted, if nobody accepted it.
    clock: Option<String>,
}

impl Summary {
    pub(crate) fn is_good(&self, component: &Name) -> bool {
        self.good.iter().any(|(name, _)| name == component)
    }

    pub(crate) fn good(&self) -> impl Iterator<Item = &Name> {
        self.good.iter().map(|(name, _)| name)
    }
}

impl<'a> Lookback<'a> {
    /// `wary` is what reading after the same listing has learnt so far.
    pub(crate) fn new(vault: &'a Vault, mut runs: Vec<Listed>, wary: Wary) -> Self {
        runs.retain(|run| run.manifest.is_some());
        Self { vault, runs, read: BTreeMap::new(), wary }
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn run(&self, i: usize) -> &Listed {
        &self.runs[i]
    }

    pub(crate) fn oldest(&self) -> Option<&Listed> {
        self.runs.first()
    }

    pub(crate) fn place(&self, id: &PointId) -> Option<usize> {
        self.runs.binary_search_by(|run| run.id.run.cmp(&id.run)).ok()
    }

    /// What was read of it, if it was.
    pub(crate) fn known(&self, i: usize) -> Option<&Option<Summary>> {
        self.read.get(&i)
    }

    /// Reads any point of the tier; nothing of it is remembered unless it is [learnt](Self::learn).
    pub(crate) async fn get(&mut self, id: &PointId) -> Result<Point> {
        self.wary.point(self.vault, id).await
    }

    /// The mark beside the point, if it is there and counts.
    pub(crate) async fn mark(&mut self, i: usize, name: &MarkName) -> Result<Option<VerifiedMark>> {
        self.wary.mark_that_counts(self.vault, &self.runs[i], name).await
    }

    /// Whether it is known already, without reading it, that nobody trusted has signed it.
    pub(crate) fn is_plant(&self, i: usize) -> bool {
        self.wary.is_plant(&self.runs[i].id)
    }

    /// Whether its clocks contradict each other, and nobody says that he accepted it.
    pub(crate) fn is_misdated(&self, i: usize) -> bool {
        let longest_run = self.vault.budget().limits().longest_run;
        let run = &self.runs[i];
        run.clock_doubt(longest_run).is_some() && !run.marks.contains(&MarkName::Accepted)
    }

    /// Whether its clocks contradict each other, as reading it proved.
    pub(crate) fn is_proved_misdated(&self, i: usize) -> bool {
        self.read.get(&i).and_then(Option::as_ref).is_some_and(|point| point.clock.is_some())
    }

    /// Reads a point once; none for what is void or cannot be trusted.
    pub(crate) async fn read(&mut self, i: usize) -> Result<Option<&Summary>> {
        if !self.read.contains_key(&i) {
            match pass_over(self.wary.point(self.vault, &self.runs[i].id).await)? {
                Some(point) => self.learn(i, &point).await?,
                None => self.pass_over(i),
            }
        }
        Ok(self.read.get(&i).and_then(Option::as_ref))
    }

    /// Reads a point that is known once more, for all it says; none if it was deleted or exchanged since.
    pub(crate) async fn again(&mut self, i: usize) -> Result<Option<Point>> {
        let Some(Some(known)) = self.read.get(&i) else { return Ok(None) };
        let sha256 = known.sha256;
        let point = pass_over(self.wary.point(self.vault, &self.runs[i].id).await)?;
        Ok(point.filter(|point| point.sha256 == sha256))
    }

    /// Takes in a point that was read by the caller.
    pub(crate) async fn learn(&mut self, i: usize, point: &Point) -> Result<()> {
        let accepted = self.mark(i, &MarkName::Accepted).await?;
        let accepted = accepted.is_some_and(|accepted| accepted.mark.manifest == point.sha256);
        let clock = if accepted { None } else { self.runs[i].proved_clock_doubt(self.vault).await? };
        let components = &point.manifest.components;
        let good = components.iter().filter(|component| component.outcome == Outcome::Good);
        let summary = Summary {
            sha256: point.sha256,
            components: components.iter().map(|component| component.name.clone()).collect(),
            good: good.map(|component| (component.name.clone(), component.into())).collect(),
            accepted,
            clock,
        };
        self.read.insert(i, Some(summary));
        Ok(())
    }

    /// Remembers that there is nothing to compare with.
    pub(crate) fn pass_over(&mut self, i: usize) {
        self.read.insert(i, None);
    }

    /// Why the point is in doubt. Reads, if they are not known yet, the nearest points before it, and of those further
    /// back one at each doubling of the distance: a change stays in view however long ago it was, for few reads.
    pub(crate) async fn judge(&mut self, i: usize) -> Result<Option<String>> {
        if self.read(i).await?.is_none() {
            return Ok(None);
        }
        // The newest acceptance before it is where the measure begins; some may be forged.
        let marked = (0..=i).rev().filter(|i| self.runs[*i].marks.contains(&MarkName::Accepted));
        for accepted in marked.take(NEAR).collect::<Vec<_>>() {
            if self.read(accepted).await?.is_some_and(|point| point.accepted) {
                break;
            }
        }
        let mut near = 0;
        // Such as are no measure are no obstacle either, however many there are.
        let measures = (0..i).rev().filter(|before| !self.is_misdated(*before) && !self.is_plant(*before));
        for before in measures.take(NEAR).collect::<Vec<_>>() {
            near += usize::from(self.read(before).await?.is_some());
            if near == RECENT {
                break;
            }
        }
        // Counted from the newest, so that all that are judged share these.
        let distances = std::iter::successors(Some(RECENT), |distance| distance.checked_mul(2));
        let far = distances.map_while(|distance| self.len().checked_sub(distance)).filter(|far| *far < i);
        for before in far.chain(Some(0)).collect::<Vec<_>>() {
            self.read(before).await?;
        }
        Ok(self.doubts(i).remove(&i))
    }

    /// Those in doubt up to this one, among all that were read.
    pub(crate) fn doubts(&self, up_to: usize) -> BTreeMap<usize, String> {
        let mut baselines: HashMap<&Name, Baseline> = HashMap::new();
        let mut doubts = BTreeMap::new();
        for (i, point) in self.read.range(..=up_to) {
            let Some(point) = point else { continue };
            if let Some(doubt) = &point.clock {
                doubts.insert(*i, doubt.clone());
                continue;
            }
            let mut reasons = Vec::new();
            for (name, content) in &point.good {
                let baseline = baselines.entry(name).or_default();
                if point.accepted {
                    *baseline = Baseline::default();
                }
                match baseline.doubt(content) {
                    Some(why) => reasons.push(format!("{name} {why}")),
                    None => baseline.add(content.clone()),
                }
            }
            if !reasons.is_empty() {
                doubts.insert(*i, reasons.join("; "));
            }
        }
        doubts
    }
}

/// Why a point that was just read is in doubt.
pub(crate) async fn doubt_of(vault: &Vault, point: &Point) -> Result<Option<String>> {
    let PointId { source, tier, run } = &point.id;
    let from = run.time().checked_sub(LOOK_BACK).ok();
    let mut lookback = Lookback::new(vault, list_tier(vault, source, tier, from, Some(run)).await?, Wary::default());
    let Some(place) = lookback.place(&point.id) else { return Ok(None) };
    lookback.learn(place, point).await?;
    lookback.judge(place).await
}
