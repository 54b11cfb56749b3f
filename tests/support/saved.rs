//! A world that was prepared once and is taken up anew by every round of a test.

use std::sync::Arc;
use std::time::Duration;

use backstay::store::{Key, ListEntry, ListOptions, ObjectStore, Prefix, PutOptions};
use backstay::{Clock, MemoryStore};
use backstay_testkit::ManualClock;
use bytes::Bytes;
use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::pair::Pair;
use super::{START, World};

/// What was put and deleted, and when.
#[derive(Clone)]
pub struct SavedStore {
    versioned: bool,
    /// In the order in which it came; no content for a delete marker.
    changes: Vec<(Timestamp, Key, Option<Bytes>)>,
}

impl SavedStore {
    /// Everything but locks and unfinished uploads.
    pub async fn of(store: &MemoryStore) -> Self {
        let versioned = store.capabilities().versions;
        let options = if versioned { ListOptions::versions() } else { ListOptions::default() };
        let listed: Vec<ListEntry> = store.list(&Prefix::all(), &options).try_collect().await.expect("memory lists");
        let mut changes = Vec::new();
        // Of each key the newest version comes first.
        for entry in listed.into_iter().rev() {
            let ListEntry::Object(meta) = entry else { continue };
            let mut get = backstay::store::GetOptions::default();
            get.version = meta.version.clone();
            let content = match meta.delete_marker {
                true => None,
                false => {
                    let got = store.get(&meta.key, &get).await.expect("memory reads");
                    Some(got.body.try_collect::<Vec<Bytes>>().await.expect("memory reads").concat().into())
                }
            };
            changes.push((meta.last_modified, meta.key, content));
        }
        changes.sort_by_key(|(when, ..)| *when);
        Self { versioned, changes }
    }

    /// A new store of this content, by this clock.
    pub async fn load(&self, clock: &ManualClock) -> MemoryStore {
        let store = if self.versioned { MemoryStore::versioned() } else { MemoryStore::new() };
        let past = ManualClock::at(START);
        let loading = store.clone().with_clock(Arc::new(past.clone()));
        for (when, key, content) in &self.changes {
            past.jump(when.duration_since(past.now()));
            match content {
                Some(content) => drop(loading.put(key, content.clone(), &PutOptions::overwrite()).await.expect("put")),
                None => drop(loading.delete(&[key.clone().into()]).await.expect("deleted")),
            }
        }
        store.with_clock(Arc::new(clock.clone()))
    }
}

/// A vault and its replica at one moment.
pub struct SavedPair {
    pair: Pair,
    now: Timestamp,
    stores: [SavedStore; 2],
}

impl SavedPair {
    pub async fn of(pair: Pair) -> Self {
        let stores = [SavedStore::of(&pair.world.store).await, SavedStore::of(&pair.store).await];
        Self { now: pair.world.clock.now(), pair, stores }
    }

    /// The pair as it was then, at that time.
    pub async fn load(&self) -> Pair {
        let clock = clock_at(self.now);
        let [origin, here] = &self.stores;
        let world = World { store: origin.load(&clock).await, clock: clock.clone(), ..self.pair.world.clone() };
        Pair { store: here.load(&clock).await, world, ..self.pair.clone() }
    }
}

/// A vault at one moment.
pub struct SavedWorld {
    world: World,
    now: Timestamp,
    store: SavedStore,
}

impl SavedWorld {
    pub async fn of(world: World) -> Self {
        Self { store: SavedStore::of(&world.store).await, now: world.clock.now(), world }
    }

    /// The world as it was then, at that time.
    pub async fn load(&self) -> World {
        let clock = clock_at(self.now);
        World { store: self.store.load(&clock).await, clock, ..self.world.clone() }
    }
}

fn clock_at(now: Timestamp) -> ManualClock {
    let clock = ManualClock::at(START);
    clock.advance(Duration::try_from(now.duration_since(clock.now())).expect("time goes on"));
    clock
}
