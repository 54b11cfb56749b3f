//! The hook of every host, and what it froze: whoever begins it undoes it, or is killed and leaves that to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use backstay::source::{Hook, HookContext};
use backstay::{Clock as _, PointId, Result};
use backstay_testkit::ManualClock;
use backstay_testkit::fault::FaultyStore;
use jiff::{SignedDuration, Timestamp};

const LONGEST_RUN: SignedDuration = SignedDuration::from_hours(24 * 7);

/// What is frozen, over all hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Freezes(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// When each run froze, by the true clock.
    began: BTreeMap<PointId, Timestamp>,
    /// Frozen, each by which host.
    frozen: BTreeMap<PointId, u64>,
    /// Of hosts that were killed.
    owed: BTreeSet<PointId>,
    /// So often somebody undid what another had begun.
    adoptions: u64,
}

/// The hook as one host has it.
#[derive(Clone, Debug)]
pub(super) struct Freeze {
    pub(super) freezes: Freezes,
    pub(super) clock: ManualClock,
    pub(super) host: u64,
    pub(super) store: FaultyStore,
    /// The host is dead once so many calls were made.
    pub(super) stops_at: Option<u64>,
}

impl Freezes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run that froze may be alive still.
    pub(super) fn may_be_alive(&self, run: &PointId, now: Timestamp) -> bool {
        self.state().began.get(run).is_some_and(|began| now.duration_since(*began) < LONGEST_RUN)
    }

    pub(super) fn adoptions(&self) -> u64 {
        self.state().adoptions
    }

    pub(super) fn owed(&self) -> BTreeSet<PointId> {
        self.state().owed.clone()
    }
}

impl Freeze {
    fn is_dead(&self) -> bool {
        self.stops_at.is_some_and(|calls| self.store.all_calls() >= calls)
    }

    /// The host is done: it has undone what it began, or it was killed.
    pub(super) fn ends(&self) {
        let mut state = self.freezes.state();
        let left: Vec<PointId> =
            state.frozen.iter().filter(|(_, host)| **host == self.host).map(|(run, _)| run.clone()).collect();
        for run in left {
            assert!(self.is_dead(), "host {} is alive and did not undo the hook of {run}", self.host);
            state.frozen.remove(&run);
            state.owed.insert(run);
        }
    }
}

#[async_trait]
impl Hook for Freeze {
    async fn before(&self, context: &HookContext) -> Result<()> {
        if !self.is_dead() {
            let mut state = self.freezes.state();
            state.began.insert(context.point.clone(), self.clock.now());
            let before = state.frozen.insert(context.point.clone(), self.host);
            assert!(before.is_none(), "{} froze twice", context.point);
        }
        Ok(())
    }

    async fn after(&self, context: &HookContext) -> Result<()> {
        if self.is_dead() {
            return Ok(());
        }
        let mut state = self.freezes.state();
        if state.frozen.get(&context.point) == Some(&self.host) {
            state.frozen.remove(&context.point);
            return Ok(());
        }
        // Undone for another: whatever the dead have left is as it was.
        drop(state);
        let (run, host, now) = (&context.point, self.host, self.clock.now());
        assert!(!self.freezes.may_be_alive(run, now), "host {host} undid for {run}, which was undone or may be alive");
        let mut state = self.freezes.state();
        state.owed.clear();
        state.adoptions += 1;
        Ok(())
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("freeze")
    }
}
