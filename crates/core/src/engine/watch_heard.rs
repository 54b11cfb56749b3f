//! What a platform has of one resource: of any number of snapshots the newest few, and what counts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::engine::watch_ask::Wanted;
use crate::error::Error;
use crate::source::snapshot::{Origin, ResourceId, Snapshot, SnapshotRef, SnapshotState, TimeWindow};
use crate::vault::points::CLOCK_TOLERANCE;

/// What a platform has of a resource.
pub(crate) struct HeardResource {
    pub(crate) id: ResourceId,
    /// Those that could serve.
    pub(crate) snapshots: Newest,
    /// Between which moments it can be brought back to any second.
    pub(crate) window: Option<TimeWindow>,
    /// How many ready snapshots tell no time.
    pub(crate) undated: u64,
    /// The newest moment that a whole snapshot of the platform's own shows.
    whole: Option<Timestamp>,
    /// The newest moment that any snapshot shows that could serve.
    serving: Option<Timestamp>,
    /// The newest that failed.
    failed: Option<Snapshot>,
    /// One from the future, and how many there are.
    ahead: Option<(SnapshotRef, u64)>,
    /// What could not be asked.
    pub(crate) errors: Vec<(&'static str, Error)>,
    /// Whether anything could.
    pub(crate) answered: bool,
}

/// The newest of many snapshots, in the memory of a few.
#[derive(Default)]
pub(crate) struct Newest {
    most: usize,
    kept: BTreeMap<(Timestamp, SnapshotRef), Snapshot>,
    /// How many more there were.
    pub(crate) older: u64,
}

impl HeardResource {
    pub(crate) fn new(id: ResourceId, most: usize) -> Self {
        Self {
            id,
            snapshots: Newest { most, ..Newest::default() },
            window: None,
            undated: 0,
            whole: None,
            serving: None,
            failed: None,
            ahead: None,
            errors: Vec::new(),
            answered: false,
        }
    }

    /// The latest moment up to `until` to which it can be brought back by the second.
    pub(crate) fn moment(&self, until: Timestamp) -> Option<Timestamp> {
        let window = self.window?;
        Some(window.latest.min(until)).filter(|moment| *moment >= window.earliest)
    }

    /// The newest moment that the platform's own backups bring back in full: what counts for an RPO.
    pub(crate) fn counts(&self, now: Timestamp) -> Option<Timestamp> {
        self.whole.max(self.moment(now))
    }

    pub(crate) fn take(&mut self, snapshot: Snapshot, wanted: &Wanted) {
        let asked_for = |time: Timestamp| wanted.before.is_none_or(|before| time <= before);
        match (snapshot.state, snapshot.cut_at) {
            (SnapshotState::Pending, _) => {}
            (SnapshotState::Failed, cut_at) => {
                let known = self.failed.as_ref().map(|failed| failed.cut_at);
                if cut_at.is_none_or(asked_for) && known.is_none_or(|known| known < cut_at) {
                    self.failed = Some(snapshot);
                }
            }
            (_, None) => self.undated += 1,
            (_, Some(time)) if time.duration_since(wanted.now) > CLOCK_TOLERANCE => {
                self.ahead.get_or_insert((snapshot.reference, 0)).1 += 1;
            }
            (state, Some(time)) if asked_for(time) => {
                let stays = !snapshot.is_expired(wanted.now);
                if state == SnapshotState::Ready && snapshot.origin == Origin::Native && stays {
                    self.whole = self.whole.max(Some(time));
                }
                self.serving = self.serving.max(Some(time));
                self.snapshots.add(time, snapshot);
            }
            _ => {}
        }
    }

    /// What a person should know besides.
    pub(crate) fn problems(&self, wanted: &Wanted) -> Vec<String> {
        let id = &self.id.0;
        let mut problems = Vec::new();
        let best = self.serving.max(self.moment(wanted.until()));
        if let Some(failed) = self.failed.as_ref().filter(|failed| failed.cut_at >= best) {
            let why = failed.message.as_deref().unwrap_or("the platform does not say why");
            problems.push(format!("{id}: the newest snapshot, {}, failed: {why}", failed.reference.id));
        }
        if let Some((first, count)) = &self.ahead {
            problems.push(format!("{id}: {count} snapshots, such as {}, say that they are of the future", first.id));
        }
        problems
    }
}

impl Snapshot {
    /// Whether the platform may take it away at any moment.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

impl Newest {
    fn add(&mut self, time: Timestamp, snapshot: Snapshot) {
        self.kept.insert((time, snapshot.reference.clone()), snapshot);
        if self.kept.len() > self.most {
            self.kept.pop_first();
            self.older += 1;
        }
    }

    /// Each with the moment that it shows, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Timestamp, &Snapshot)> {
        self.kept.iter().rev().map(|((time, _), snapshot)| (*time, snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_thousand_snapshots_only_the_newest_are_ever_held() {
        let mut newest = Newest { most: 20, ..Newest::default() };
        // Neither in order nor the other way round.
        for i in (0..100_000).map(|i: i64| i * 7919 % 100_000) {
            let reference = SnapshotRef::new("mock", "here", format!("snap-{i}"));
            let snapshot = Snapshot::new(reference, ResourceId("vol-1".to_owned()), SnapshotState::Ready);
            newest.add(Timestamp::from_second(i).unwrap(), snapshot);
            assert!(newest.kept.len() <= 20);
        }
        let times: Vec<i64> = newest.iter().map(|(time, _)| time.as_second()).collect();
        assert_eq!(times, (99_980..100_000).rev().collect::<Vec<_>>());
        assert_eq!(newest.older, 99_980);
    }
}
