//! The guards that have the last word over a plan: the newest good item of each component, and mass expiry.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{Name, PointId};
use crate::retention::decision::Decision;
use crate::retention::policy::{Action, PointState, PointSummary};

/// When a point was made; points of one moment are told apart by their ID.
type Age = (Timestamp, PointId);

/// Keeps the newest good item of each component, whichever point holds it, until the component is retired.
///
/// A listing does not show what points hold, so their manifests are read: all that would expire, then, from the newest
/// back, as many of those that stay as it takes to find newer good items of the same components. The guard says which;
/// the caller reads, and tells which components the point holds an intact, restorable item of.
///
/// Doubtful points and points from the future stand for nothing: only a point whose time is sure can let another go.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use backstay_core::retention::{Decision, NewestGood, PointSummary};
/// # use backstay_core::{Name, PointId};
/// # fn components_of(_: &PointId) -> backstay_core::Result<Vec<Name>> { Ok(Vec::new()) }
///
/// fn guard(points: &[PointSummary], decisions: &mut [Decision], now: jiff::Timestamp) {
///     let mut guard = NewestGood::new(points, decisions, now, BTreeMap::new());
///     loop {
///         let wanted = guard.wanted();
///         if wanted.is_empty() {
///             break guard.finish(decisions);
///         }
///         for id in wanted {
///             guard.read(&id, components_of(&id));
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct NewestGood {
    retired: BTreeMap<Name, Timestamp>,
    /// Points that would expire and are not read.
    unread: BTreeMap<PointId, Timestamp>,
    /// Points that stay and are not read, the newest last.
    kept: Vec<Age>,
    unreadable: BTreeMap<PointId, String>,
    /// The newest good item of each component among the points that would expire.
    expiring: BTreeMap<Name, Age>,
    /// The same among those that stay.
    staying: BTreeMap<Name, Age>,
}

impl NewestGood {
    /// A guard over all points of a tier and what was decided about them.
    ///
    /// `retired` has the components that need no newest good item any more, each with the moment of its retirement. What
    /// was made after that moment is guarded all the same.
    #[must_use]
    pub fn new(
        points: &[PointSummary],
        decisions: &[Decision],
        now: Timestamp,
        retired: BTreeMap<Name, Timestamp>,
    ) -> Self {
        let expire = |decision: &&Decision| decision.action == Action::Expire;
        let expire: HashSet<&PointId> = decisions.iter().filter(expire).map(|decision| &decision.id).collect();
        let (unread, kept): (Vec<_>, Vec<_>) = points.iter().partition(|point| expire.contains(&point.id));
        let stands = |point: &&PointSummary| point.state != PointState::Doubtful && point.time <= now;
        let mut kept: Vec<Age> = kept.into_iter().filter(stands).map(|point| (point.time, point.id.clone())).collect();
        kept.sort_unstable();
        Self {
            retired,
            unread: unread.into_iter().map(|point| (point.id.clone(), point.time)).collect(),
            kept,
            unreadable: BTreeMap::new(),
            expiring: BTreeMap::new(),
            staying: BTreeMap::new(),
        }
    }

    /// The points to read next, in any order; none when everything is known. First all that would expire, then those that
    /// stay, one by one.
    #[must_use]
    pub fn wanted(&self) -> Vec<PointId> {
        if !self.unread.is_empty() {
            return self.unread.keys().cloned().collect();
        }
        let newer = |age: &&Age| self.without_newer().any(|(_, expiring)| *age > expiring);
        self.kept.last().filter(newer).map(|(_, id)| id.clone()).into_iter().collect()
    }

    /// Takes what reading a point gave: the components it holds good, or why that cannot be told. Such a point stays and
    /// stands for nothing.
    pub fn read(&mut self, id: &PointId, good: Result<Vec<Name>>) {
        let expiring = self.unread.remove(id);
        let kept = || self.kept.iter().rposition(|(_, kept)| kept == id);
        let (time, newest) = match (expiring, kept()) {
            (Some(time), _) => (time, &mut self.expiring),
            (None, Some(position)) => (self.kept.remove(position).0, &mut self.staying),
            (None, None) => return,
        };
        match good {
            Ok(components) => {
                let stands = |component: &Name| self.retired.get(component).is_none_or(|retired| time > *retired);
                for component in components.into_iter().filter(stands) {
                    let age = (time, id.clone());
                    let newest = newest.entry(component).or_insert_with(|| age.clone());
                    if *newest < age {
                        *newest = age;
                    }
                }
            }
            Err(error) if expiring.is_some() => {
                self.unreadable.insert(id.clone(), format!("it cannot be read: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Vetoes what must not go. Points that were wanted and never read count as holding nothing, and stay if they would
    /// expire: to stop early lets less go, not more.
    pub fn finish(self, decisions: &mut [Decision]) {
        let mut newest: BTreeMap<&PointId, Vec<&str>> = BTreeMap::new();
        for (component, (_, id)) in self.without_newer() {
            newest.entry(id).or_default().push(component.as_str());
        }
        for decision in decisions {
            if self.unread.contains_key(&decision.id) {
                decision.veto("it was not read");
            } else if let Some(why) = self.unreadable.get(&decision.id) {
                decision.veto(why);
            } else if let Some(components) = newest.get(&decision.id) {
                decision.veto(format!("it holds the newest good item of {}", components.join(", ")));
            }
        }
    }

    /// Components whose newest good item would expire, by what was read so far.
    fn without_newer(&self) -> impl Iterator<Item = (&Name, &Age)> {
        self.expiring.iter().filter(|(component, age)| self.staying.get(*component).is_none_or(|kept| kept < *age))
    }
}

/// Up to so many points may go at once, however few there are.
const FEW: usize = 3;

/// Refuses a plan that lets more than half of a tier's points go at once: a wrong clock, a typing error in the
/// configuration and an attack look like that. Up to three points may always go, so that small tiers work.
///
/// # Errors
/// [`Refused`](ErrorKind::Refused) with the numbers.
pub fn check_mass_expiry(decisions: &[Decision]) -> Result<()> {
    let expire = decisions.iter().filter(|decision| decision.action == Action::Expire).count();
    if expire <= FEW || expire * 2 <= decisions.len() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused, "more than half of the points would expire at once")
        .with("expire", expire)
        .with("points", decisions.len())
        .advise("look at the plan's reasons; if it is meant, allow mass expiry for this plan"))
}
