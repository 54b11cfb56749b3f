//! What is known to be true of the vault, whatever the library says, and the promises as assertions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay::store::{ListEntry, ListOptions, ObjectStore, Prefix};
use backstay::vault::Outcome;
use backstay::{Depth, ErrorKind, Name, PointId, Result, Vault};
use backstay_testkit::mock::MockImporter;
use futures_util::TryStreamExt;
use jiff::SignedDuration;

use crate::support::World;

/// What one run protects.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    number: u64,
    pub(super) db: Vec<u8>,
    pub(super) files: Vec<u8>,
    pub(super) partial: bool,
}

impl Content {
    pub(super) fn new(number: u64, partial: bool) -> Self {
        let db = format!("rows {number}\n").repeat(140 + (number % 60) as usize).into_bytes();
        Self { number, db, files: format!("files {number}\n").into_bytes(), partial }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.partial { " partial" } else { "" })
    }
}

#[derive(Default)]
pub(super) struct Truth(Mutex<State>);

#[derive(Default)]
struct State {
    /// Handed to runs that may or may not have committed.
    offered: Vec<Content>,
    /// What a backup said it has committed, since the last look.
    promised: Vec<PointId>,
    /// Marked by a plan that saw them before we did.
    marked_early: BTreeSet<PointId>,
    points: BTreeMap<PointId, Known>,
}

/// A point that was seen whole.
struct Known {
    content: Content,
    /// Of `db` and of `files`.
    outcomes: [Outcome; 2],
    /// Its objects and signatures, each with its etag: as long as these stand it stays whole.
    objects: BTreeMap<String, Option<String>>,
    doubtful: bool,
    /// A plan said that it gets a tombstone, or that its bytes go.
    marked: bool,
    /// How many plans said so.
    marks: u64,
    deleting: bool,
    gone: bool,
    accepted: Sure,
    holds: BTreeMap<Name, Sure>,
}

/// Whether a mark is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sure {
    No,
    Maybe,
    Yes,
}

impl Known {
    fn must_stay(&self) -> bool {
        self.holds.values().any(|hold| *hold == Sure::Yes)
    }
}

impl Truth {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, point: &PointId, change: impl FnOnce(&mut Known)) {
        change(self.state().points.get_mut(point).expect("acts are on known points"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().points.is_empty()
    }

    fn choose(&self, number: u64, which: impl Fn(&Known) -> bool) -> Option<PointId> {
        let state = self.state();
        let found: Vec<_> = state.points.iter().filter(|(_, known)| !known.gone && which(known)).collect();
        let count = found.len() as u64;
        (count > 0).then(|| found[(number % count) as usize].0.clone())
    }

    pub(super) fn any(&self, number: u64) -> PointId {
        self.choose(number, |_| true).expect("the newest point never goes")
    }

    pub(super) fn any_marked(&self, number: u64) -> Option<PointId> {
        self.choose(number, |known| known.marked)
    }

    pub(super) fn any_doubtful(&self, number: u64) -> Option<PointId> {
        self.choose(number, |known| known.doubtful)
    }

    pub(super) fn any_held(&self, number: u64) -> Option<(PointId, Name)> {
        let point = self.choose(number, |known| known.holds.values().any(|hold| *hold != Sure::No))?;
        let state = self.state();
        let (name, _) = state.points[&point].holds.iter().find(|(_, hold)| **hold != Sure::No)?;
        Some((point.clone(), name.clone()))
    }

    pub(super) fn will_back_up(&self, content: &Content) {
        self.state().offered.push(content.clone());
    }

    pub(super) fn was_backed_up(&self, point: PointId) {
        self.state().promised.push(point);
    }

    pub(super) fn will_mark(&self, point: &PointId, plan: &str) {
        let mut state = self.state();
        let Some(known) = state.points.get_mut(point) else {
            state.marked_early.insert(point.clone());
            return;
        };
        assert!(!known.must_stay(), "{point} is held, and the plan marks it: {plan}");
        known.marked = true;
        known.marks += 1;
    }

    pub(super) fn will_delete(&self, point: &PointId, plan: &str) {
        self.with(point, |known| {
            assert!(known.marked, "{point} was never marked by a plan, and goes: {plan}");
            known.deleting = true;
        });
    }

    pub(super) fn marks(&self, point: &PointId) -> u64 {
        self.state().points[point].marks
    }

    /// It stands again, unless a plan has marked it since.
    pub(super) fn was_undeleted(&self, point: &PointId, marks: u64) {
        self.with(point, |known| known.marked &= known.marks != marks);
    }

    pub(super) fn may_be_held(&self, point: &PointId, name: &Name) {
        self.with(point, |known| _ = known.holds.entry(name.clone()).or_insert(Sure::Maybe));
    }

    pub(super) fn is_held(&self, point: &PointId, name: &Name) {
        self.with(point, |known| _ = known.holds.insert(name.clone(), Sure::Yes));
    }

    pub(super) fn may_be_released(&self, point: &PointId, name: &Name) {
        self.with(point, |known| _ = known.holds.insert(name.clone(), Sure::Maybe));
    }

    pub(super) fn may_be_accepted(&self, point: &PointId) {
        self.with(point, |known| {
            if known.accepted == Sure::No {
                known.accepted = Sure::Maybe;
            }
        });
    }

    pub(super) fn is_accepted(&self, point: &PointId) {
        self.with(point, |known| known.accepted = Sure::Yes);
    }

    /// Restores what the point has, which must be what was backed up.
    pub(super) async fn restore(&self, vault: &Vault, point: &PointId) -> Result<()> {
        for (i, name) in ["db", "files"].into_iter().enumerate() {
            let (outcome, expected) = {
                let known = &self.state().points[point];
                (known.outcomes[i], if i == 0 { known.content.db.clone() } else { known.content.files.clone() })
            };
            if outcome != Outcome::Failed {
                assert!(restore(vault, point, name).await? == expected, "{point}: {name} is not what was backed up");
            }
        }
        Ok(())
    }

    /// Every promise that can be seen from outside.
    pub(super) async fn check(&mut self, world: &World, vault: &Vault, place: &str, well: bool) {
        let stored = stored(world).await;
        let manifests: BTreeSet<PointId> =
            stored.keys().filter_map(|key| key.strip_prefix("points/")?.strip_suffix(".json")?.parse().ok()).collect();
        self.take_up(vault, &stored, &manifests, place, well).await;
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for promised in std::mem::take(&mut state.promised) {
            assert!(state.points.contains_key(&promised), "{place}: {promised} was reported and is not there");
        }
        for (id, known) in &mut state.points {
            if manifests.contains(id) {
                assert!(!known.gone, "{place}: {id} came back from the dead");
                for (key, etag) in &known.objects {
                    assert_eq!(stored.get(key), Some(etag), "{place}: {key} of {id} is gone or another");
                }
            } else {
                assert!(known.deleting, "{place}: {id} is gone, and no plan said so");
                assert!(known.gone || !known.must_stay(), "{place}: {id} is gone although it was held");
                known.gone = true;
            }
        }
        let listed: BTreeSet<PointId> = list(vault).await;
        for (id, known) in state.points.iter().filter(|(_, known)| !known.gone && !known.marked) {
            assert!(listed.contains(id), "{place}: {id} does not show, marked: {}", known.marked);
        }
        let unknown: Vec<_> = listed.iter().filter(|id| !state.points.contains_key(id)).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?}");
        for component in ["db", "files"] {
            check_newest(state, vault, &listed, component, place).await;
        }
    }

    /// New points are whole, and hold what a run was given.
    async fn take_up(
        &mut self,
        vault: &Vault,
        stored: &BTreeMap<String, Option<String>>,
        manifests: &BTreeSet<PointId>,
        place: &str,
        well: bool,
    ) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for id in manifests {
            if state.points.contains_key(id) {
                continue;
            }
            vault.verify(id).depth(Depth::Decoded).await.unwrap_or_else(|error| panic!("{place}: {id}: {error:?}"));
            let point = vault.points().get(id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            let outcome = |name: &str| {
                let component = point.manifest.component(&name.parse().expect("a name"));
                component.unwrap_or_else(|| panic!("{place}: {id} lacks {name}")).outcome
            };
            let outcomes = [outcome("db"), outcome("files")];
            let mut found = [None, None];
            for (i, name) in ["db", "files"].into_iter().enumerate() {
                if outcomes[i] != Outcome::Failed {
                    let restored = restore(vault, id, name).await;
                    found[i] = Some(restored.unwrap_or_else(|error| panic!("{place}: {id}: {name}: {error}")));
                }
            }
            let is_it = |content: &Content| {
                found[0].as_ref().is_none_or(|db| *db == content.db)
                    && found[1].as_ref().is_none_or(|files| *files == content.files)
            };
            let at = state.offered.iter().position(is_it);
            let at = at.unwrap_or_else(|| panic!("{place}: {id} holds what nobody backed up, or holds it twice"));
            let content = state.offered.swap_remove(at);
            assert!(!content.partial || outcomes[1] != Outcome::Good, "{place}: {id} calls good what is not");
            let as_told = outcomes[0] == Outcome::Good && (outcomes[1] == Outcome::Good || content.partial);
            assert!(as_told || !well, "{place}: {id}: {outcomes:?}");
            let signatures = format!("sigs/{id}.point.");
            let mut objects: BTreeMap<String, Option<String>> = stored
                .iter()
                .filter(|(key, _)| key.starts_with(&signatures))
                .map(|(key, etag)| (key.clone(), etag.clone()))
                .collect();
            assert!(!objects.is_empty(), "{place}: {id} has no signature");
            let manifest = format!("points/{id}.json");
            for key in point.manifest.objects().map(|object| object.key.to_string()).chain([manifest]) {
                let etag = stored.get(&key).unwrap_or_else(|| panic!("{place}: {key} is missing")).clone();
                objects.insert(key, etag);
            }
            let off = id.run.time().duration_since(point.committed);
            let doubtful = off > SignedDuration::from_mins(5) || off < SignedDuration::from_hours(-24 * 7);
            let known = Known {
                content,
                outcomes,
                objects,
                doubtful,
                marked: state.marked_early.remove(id),
                marks: 0,
                deleting: false,
                gone: false,
                accepted: Sure::No,
                holds: BTreeMap::new(),
            };
            state.points.insert(id.clone(), known);
        }
        // A backup that has answered commits nothing any more.
        state.offered.clear();
    }

    /// At the end: everything that stands restores to what was backed up.
    pub(super) async fn restore_all(&self, vault: &Vault) {
        let standing: Vec<PointId> =
            self.state().points.iter().filter(|(_, known)| !known.gone).map(|(id, _)| id.clone()).collect();
        assert!(!standing.is_empty());
        for id in standing {
            self.restore(vault, &id).await.unwrap_or_else(|error| panic!("at the end, {id}: {error:?}"));
        }
    }
}

/// The newest good item of a component stands, and a reader finds it.
async fn check_newest(state: &State, vault: &Vault, listed: &BTreeSet<PointId>, component: &str, place: &str) {
    let good = |known: &Known| known.outcomes[usize::from(component == "files")] == Outcome::Good;
    let sure = |known: &&Known| !known.doubtful || known.accepted == Sure::Yes;
    let newest = state.points.iter().filter(|(_, known)| good(known) && !known.doubtful).map(|(id, _)| id);
    let newest = newest.max_by_key(|id| id.run.clone());
    if let Some(newest) = newest {
        assert!(listed.contains(newest), "{place}: {newest} holds the newest good {component}, and does not show");
    }
    let surest = state.points.iter().filter(|(id, known)| good(known) && sure(known) && listed.contains(id));
    let surest = surest.map(|(id, _)| id).max_by_key(|id| id.run.clone());
    match vault.points().latest(component).await {
        Ok(latest) => {
            let known = &state.points[&latest.id];
            let fits = Some(&latest.id) == surest || known.accepted == Sure::Maybe;
            assert!(fits && good(known), "{place}: latest {component} is {}, not {surest:?}", latest.id);
        }
        Err(error) => {
            assert!(error.kind() == ErrorKind::NotFound && surest.is_none(), "{place}: {component}: {error}");
        }
    }
}

/// The content of a component's only item.
async fn restore(vault: &Vault, point: &PointId, component: &str) -> Result<Vec<u8>> {
    let target = MockImporter::default();
    vault.restore(point).component(component).into(target.clone()).plan().await?.apply().await?;
    let names = target.names();
    assert_eq!(names.len(), 1, "{names:?}");
    Ok(target.content(&names[0]).expect("it names it").to_vec())
}

async fn list(vault: &Vault) -> BTreeSet<PointId> {
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    vault.points().list(&source, &tier).await.expect("a well store lists").into_iter().collect()
}

/// Every key with its etag.
async fn stored(world: &World) -> BTreeMap<String, Option<String>> {
    let listing = world.store.list(&Prefix::new("").expect("a prefix"), &ListOptions::default());
    let found = listing.try_collect::<Vec<_>>().await.expect("memory lists");
    found
        .into_iter()
        .filter_map(|entry| match entry {
            ListEntry::Object(meta) => Some((meta.key.to_string(), meta.etag)),
            _ => None,
        })
        .collect()
}
