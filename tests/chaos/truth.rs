//! What is known to be true of the vault, whatever the library says, and the promises as assertions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backstay::store::{ListEntry, ListOptions, ObjectStore, Prefix};
use backstay::vault::{Outcome, Point, Rotation};
use backstay::{Depth, ErrorKind, MemoryStore, Name, PointId, Result, Vault};
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
    /// Its `db` has less than half of what it had.
    pub(super) shrunk: bool,
}

impl Content {
    pub(super) fn new(number: u64, partial: bool, shrunk: bool) -> Self {
        let rows = if shrunk { 40 } else { 140 };
        let db =
            format!("rows {number}\n").repeat(rows + (number % 60) as usize / if shrunk { 6 } else { 1 }).into_bytes();
        Self { number, db, files: format!("files {number}\n").into_bytes(), partial, shrunk }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.number,
            match (self.partial, self.shrunk) {
                (true, _) => " partial",
                (_, true) => " shrunk",
                _ => "",
            }
        )
    }
}

#[derive(Default)]
pub(super) struct Truth(Mutex<State>);

/// Keys with their etags.
pub(super) type Stored = BTreeMap<String, Option<String>>;

#[derive(Default)]
struct State {
    /// Handed to runs that may or may not have committed.
    offered: Vec<Content>,
    /// What a backup said it has committed, since the last look.
    promised: Vec<PointId>,
    /// Marked by a plan that saw them before we did.
    marked_early: BTreeSet<PointId>,
    points: BTreeMap<PointId, Known>,
    /// New epochs that nobody has taken yet.
    rotations: Vec<Rotation>,
}

/// A point that was seen whole.
struct Known {
    content: Content,
    /// Of `db` and of `files`.
    outcomes: [Outcome; 2],
    /// Its objects and signatures, each with its etag: as long as these stand it stays whole.
    objects: Stored,
    doubtful: bool,
    /// A plan said that it gets a tombstone, or that its bytes go.
    marked: bool,
    /// How many plans said so.
    marks: u64,
    deleting: bool,
    gone: bool,
    /// Somebody deleted it without a plan, in a store with versions.
    hidden: bool,
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

impl State {
    /// Whether a point must be in doubt because its `db` shrank: beside an older one of the usual size, as long as nobody
    /// accepted that a shrunk one is usual. Which ones a reader compares with else, we leave to him.
    fn shrank(&self, point: &PointId) -> Sure {
        let known = &self.points[point];
        if !known.content.shrunk || known.outcomes[0] != Outcome::Good || known.doubtful {
            return Sure::No;
        }
        let before = |(id, other): &(&PointId, &Known)| {
            let stands = !other.gone && !other.hidden && !other.doubtful && other.outcomes[0] == Outcome::Good;
            id.run < point.run && stands && !other.content.shrunk
        };
        let accepted = self.points.values().any(|other| other.content.shrunk && other.accepted != Sure::No);
        if accepted || !self.points.iter().any(|point| before(&point)) { Sure::Maybe } else { Sure::Yes }
    }
}

impl Known {
    fn shows(&self) -> bool {
        !self.gone && !self.marked && !self.hidden
    }

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

    pub(super) fn knows(&self, point: &PointId) -> bool {
        self.state().points.contains_key(point)
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
        self.choose(number, |known| known.doubtful || known.content.shrunk)
    }

    pub(super) fn any_unmarked(&self, number: u64) -> Option<PointId> {
        self.choose(number, |known| !known.marked && !known.deleting)
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

    /// No run that made its point is given up or forgotten, whatever else is swept of it.
    pub(super) fn will_give_up(&self, run: &PointId, plan: &str) {
        let stands = self.state().points.get(run).is_some_and(|known| !known.gone);
        assert!(!stands, "{run} is a point, and a sweep gives it up: {plan}");
    }

    pub(super) fn is_rotated(&self, rotation: Rotation) {
        self.state().rotations.push(rotation);
    }

    pub(super) fn rotations(&self) -> Vec<Rotation> {
        std::mem::take(&mut self.state().rotations)
    }

    /// Everything of it is deleted, by no plan; what it was lies under delete markers.
    pub(super) fn is_lost(&self, point: &PointId) -> Vec<String> {
        let mut state = self.state();
        let known = state.points.get_mut(point).expect("a known point");
        known.hidden = true;
        known.objects.keys().cloned().collect()
    }

    /// Those that stand, whatever anybody did to them.
    pub(super) fn standing_for_sure(&self) -> Vec<PointId> {
        let state = self.state();
        let sure = |known: &Known| !known.gone && !known.marked && !known.deleting && !known.doubtful;
        state.points.iter().filter(|(_, known)| sure(known)).map(|(id, _)| id.clone()).collect()
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
        let stored = stored(&world.store).await;
        let manifests = commits(&stored);
        self.take_up(vault, &stored, &manifests, place, well).await;
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for promised in std::mem::take(&mut state.promised) {
            assert!(state.points.contains_key(&promised), "{place}: {promised} was reported and is not there");
        }
        for (id, known) in &mut state.points {
            if manifests.contains(id) {
                known.hidden = false;
                assert!(!known.gone, "{place}: {id} came back from the dead");
                for (key, etag) in &known.objects {
                    assert_eq!(stored.get(key), Some(etag), "{place}: {key} of {id} is gone or another");
                }
            } else if known.hidden {
                assert!(!well, "{place}: {id} did not come back");
            } else {
                assert!(known.deleting, "{place}: {id} is gone, and no plan said so");
                assert!(known.gone || !known.must_stay(), "{place}: {id} is gone although it was held");
                known.gone = true;
            }
        }
        let listed: BTreeSet<PointId> = list(vault).await;
        for (id, known) in state.points.iter().filter(|(_, known)| known.shows()) {
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
        stored: &Stored,
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
            let objects = objects_of(&point, stored, place);
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
                hidden: false,
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
    let sure =
        |id: &PointId, known: &Known| known.accepted == Sure::Yes || (!known.doubtful && state.shrank(id) == Sure::No);
    // A reader may think either way of them.
    let unsure = state.points.iter().any(|(id, _)| state.shrank(id) == Sure::Maybe);
    let newest = state.points.iter().filter(|(_, known)| good(known) && !known.doubtful && !known.hidden);
    let newest = newest.map(|(id, _)| id);
    let newest = newest.max_by_key(|id| id.run.clone());
    if let Some(newest) = newest {
        assert!(listed.contains(newest), "{place}: {newest} holds the newest good {component}, and does not show");
    }
    let surest = state.points.iter().filter(|(id, known)| good(known) && sure(id, known) && listed.contains(id));
    let surest = surest.map(|(id, _)| id).max_by_key(|id| id.run.clone());
    match vault.points().latest(component).await {
        Ok(latest) => {
            let known = &state.points[&latest.id];
            let not_doubted = known.accepted != Sure::No || state.shrank(&latest.id) != Sure::Yes;
            let fits = Some(&latest.id) == surest || known.accepted == Sure::Maybe || unsure;
            assert!(fits && good(known) && not_doubted, "{place}: latest {component} is {}, not {surest:?}", latest.id);
        }
        Err(error) => {
            assert!(
                error.kind() == ErrorKind::NotFound && (surest.is_none() || unsure),
                "{place}: {component}: {error}"
            );
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

pub(super) async fn list(vault: &Vault) -> BTreeSet<PointId> {
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    vault.points().list(&source, &tier).await.expect("a well store lists").into_iter().collect()
}

/// What a point needs to be whole: what its manifest names, itself and its signatures.
pub(super) fn objects_of(point: &Point, stored: &Stored, place: &str) -> Stored {
    let id = &point.id;
    let signatures = format!("sigs/{id}.point.");
    let signatures = stored.iter().filter(|(key, _)| key.starts_with(&signatures));
    let mut objects: Stored = signatures.map(|(key, etag)| (key.clone(), etag.clone())).collect();
    assert!(!objects.is_empty(), "{place}: {id} has no signature");
    for key in point.manifest.objects().map(|object| object.key.to_string()).chain([format!("points/{id}.json")]) {
        let etag = stored.get(&key).unwrap_or_else(|| panic!("{place}: {key} is missing")).clone();
        objects.insert(key, etag);
    }
    objects
}

/// Every run whose commit key is taken, but by a void.
pub(super) fn commits(stored: &Stored) -> BTreeSet<PointId> {
    let id = |key: &String| key.strip_prefix("points/")?.strip_suffix(".json")?.parse().ok();
    stored.keys().filter_map(id).filter(|id| !stored.contains_key(&format!("points/{id}.void"))).collect()
}

/// Every key with its etag.
pub(super) async fn stored(store: &MemoryStore) -> Stored {
    let listing = store.list(&Prefix::new("").expect("a prefix"), &ListOptions::default());
    let found = listing.try_collect::<Vec<_>>().await.expect("memory lists");
    found
        .into_iter()
        .filter_map(|entry| match entry {
            ListEntry::Object(meta) => Some((meta.key.to_string(), meta.etag)),
            _ => None,
        })
        .collect()
}
