//! What is known to be true of the replica: whatever shows there is a point of the origin, whole, from there alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay::{Depth, PointId};

use super::truth::{Stored, Truth, commits, list, objects_of, stored};
use crate::support::pair::Pair;

#[derive(Default)]
pub(super) struct Copies(Mutex<State>);

#[derive(Default)]
struct State {
    /// Each with its objects and their etags.
    points: BTreeMap<PointId, Stored>,
    /// A plan said that it gets a tombstone, or that its bytes go.
    marked: BTreeSet<PointId>,
    deleting: BTreeSet<PointId>,
    /// The store as it was at the last look.
    seen: Stored,
}

impl Copies {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().points.is_empty()
    }

    pub(super) fn will_mark(&self, point: &PointId) {
        self.state().marked.insert(point.clone());
    }

    pub(super) fn will_delete(&self, point: &PointId, plan: &str) {
        let mut state = self.state();
        assert!(state.marked.contains(point), "the replica's {point} was never marked by a plan, and goes: {plan}");
        state.deleting.insert(point.clone());
    }

    /// Nothing half shows, nothing else than what was backed up, and nothing goes that no plan named.
    pub(super) async fn check(&self, pair: &Pair, truth: &Truth, place: &str) {
        let place = &format!("{place}: in the replica");
        let there = stored(&pair.store).await;
        let mut state = std::mem::take(&mut *self.state());
        if there == state.seen {
            *self.state() = state;
            return;
        }
        let manifests = commits(&there);
        for (id, objects) in std::mem::take(&mut state.points) {
            if manifests.contains(&id) {
                for (key, etag) in &objects {
                    assert_eq!(there.get(key), Some(etag), "{place}: {key} of {id} is gone or another");
                }
                state.points.insert(id, objects);
            } else {
                assert!(state.deleting.remove(&id), "{place}: {id} is gone, and no plan said so");
                state.marked.remove(&id);
            }
        }
        let left = pair.left().await;
        for id in &manifests {
            if state.points.contains_key(id) {
                continue;
            }
            assert!(truth.knows(id), "{place}: {id} was never a point of the origin");
            left.verify(id).depth(Depth::Decoded).await.unwrap_or_else(|error| panic!("{place}: {id}: {error:?}"));
            truth.restore(&left, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error:?}"));
            let point = left.points().get(id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            state.points.insert(id.clone(), objects_of(&point, &there, place));
        }
        let listed = list(&left).await;
        for id in &manifests {
            let stands = listed.contains(id);
            assert!(stands || state.marked.contains(id), "{place}: {id} does not show, and no plan marks it");
        }
        assert!(listed.iter().all(|id| manifests.contains(id)), "{place}: {listed:?}");
        state.seen = there;
        *self.state() = state;
    }

    /// At the end: everything there restores, and every point that may be copied is there or was let go.
    pub(super) async fn restore_all(&self, pair: &Pair, truth: &Truth) {
        let left = pair.left().await;
        let here: Vec<PointId> = self.state().points.keys().cloned().collect();
        for id in &here {
            truth.restore(&left, id).await.unwrap_or_else(|error| panic!("at the end, the replica's {id}: {error:?}"));
        }
        for id in truth.standing_for_sure() {
            assert!(here.contains(&id), "at the end, {id} is not in the replica");
        }
    }
}
