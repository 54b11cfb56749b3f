//! A world for tests: a store in memory, a keyring, a clock that tests move, randomness from a seed.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of it")]

pub mod acts;
pub mod archived;
#[cfg(feature = "azure")]
pub mod azure;
pub mod copying;
pub mod dead;
pub mod gate;
pub mod lines;
#[cfg(feature = "aws")]
pub mod own_s3;
pub mod pair;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "aws")]
pub mod s3;
pub mod saved;
#[cfg(feature = "aws")]
pub mod scripted;
pub mod skewed;
pub mod steps;
#[cfg(feature = "aws")]
pub mod terraform;
pub mod whole;

use std::num::NonZeroUsize;
use std::sync::Arc;

use backstay::store::{
    GetOptions, HeadOptions, Key, ListEntry, ListOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, Prefix,
    PutOptions,
};
use backstay::vault::Purpose;
use backstay::{Backstay, Budget, ErrorKind, Keep, Keyring, Limits, MemoryStore, Result, Tier, Vault};
use backstay_testkit::mock::{MockExporter, MockImporter};
use backstay_testkit::{ManualClock, SeededRandom};
use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;

pub const START: &str = "2026-11-20T06:42:00Z";

/// Everything that a simulated program is made of. The same seed makes the same bytes.
#[derive(Clone)]
pub struct World {
    pub store: MemoryStore,
    pub keyring: Arc<Keyring>,
    pub clock: ManualClock,
    pub seed: u64,
}

impl World {
    /// A world with a new vault.
    pub async fn new(seed: u64) -> Self {
        world_on(MemoryStore::new(), seed).await
    }

    pub fn without_vault(seed: u64) -> Self {
        let clock = ManualClock::at(START);
        let store = MemoryStore::new().with_clock(Arc::new(clock.clone()));
        let keyring = Arc::new(Keyring::generate_from(&SeededRandom::new(seed)).expect("fresh keys fit"));
        Self { store, keyring, clock, seed }
    }

    /// Opens the vault through this store, which may be a layer over the world's own.
    pub async fn open(&self, store: impl ObjectStore, seed: u64) -> Result<Vault> {
        Vault::open(store)
            .keyring(&self.keyring)
            .clock(self.clock.clone())
            .random(SeededRandom::new(seed))
            .budget(inline_budget())
            .build()
            .await
    }

    pub async fn vault(&self) -> Vault {
        self.open(self.store.clone(), self.seed + 2).await.expect("the vault opens")
    }

    /// A program with one component, `db`, of these items.
    pub async fn backstay(&self, items: &[(&str, &[u8])]) -> Backstay {
        program(self.vault().await, exporter(items))
    }

    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        keys_in(&self.store, prefix).await
    }

    pub async fn read(&self, key: &str) -> Vec<u8> {
        let got =
            self.store.get(&key.parse().expect("a key"), &GetOptions::default()).await.expect("the object is there");
        got.body.try_concat_bytes().await
    }

    /// Puts whatever a thief or a failing disk may put.
    pub async fn overwrite(&self, key: &str, data: impl Into<Bytes>) {
        let key: Key = key.parse().expect("a key");
        self.store.put(&key, data.into(), &PutOptions::overwrite()).await.expect("memory takes it");
    }

    /// Puts a document that the keyring's key did sign, whatever it says. `place` is the signature's key up to its digest.
    pub async fn put_signed(&self, key: &str, place: &str, purpose: Purpose, document: &impl serde::Serialize) {
        let bytes = serde_json::to_vec_pretty(document).expect("JSON");
        let signer = self.keyring.signing_key();
        let signature = signer.sign(purpose.namespace(), &bytes);
        self.overwrite(&signature_key(place, &bytes, &signer.public().id()), signature).await;
        self.overwrite(key, bytes).await;
    }

    /// A document as it is stored.
    pub async fn json(&self, key: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(key).await).expect("JSON")
    }

    pub async fn remove(&self, key: &str) {
        let key: Key = key.parse().expect("a key");
        self.store.delete(&[key.into()]).await.expect("memory deletes");
    }
}

/// A world with a new vault on this store.
pub async fn world_on(store: MemoryStore, seed: u64) -> World {
    let mut world = World::without_vault(seed);
    world.store = store.with_clock(Arc::new(world.clock.clone()));
    Vault::create(world.store.clone())
        .keyring(&world.keyring)
        .clock(world.clock.clone())
        .random(SeededRandom::new(seed + 1))
        .budget(inline_budget())
        .build()
        .await
        .expect("a vault is made in memory");
    world
}

/// No threads: a simulation on a current-thread runtime replays bit for bit.
pub fn inline_budget() -> Budget {
    let mut limits = Limits::default();
    limits.workers = NonZeroUsize::MIN;
    Budget::inline(limits)
}

pub fn exporter(items: &[(&str, &[u8])]) -> MockExporter {
    MockExporter::new(items.iter().map(|(name, content)| (*name, content.to_vec())))
}

/// A program with one component and one tier that keeps the last two points.
pub fn program(vault: Vault, exporter: MockExporter) -> Backstay {
    Backstay::builder("prod-eu", vault)
        .export("db", exporter)
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("the program is well formed")
}

/// More than a part of an upload, and it does not compress: it goes to a store in parts.
pub fn large() -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..9 << 20).map(|_| next()).collect()
}

/// What lies in a store under a prefix.
pub async fn keys_in(store: &MemoryStore, prefix: &str) -> Vec<String> {
    let listing = store.list(&Prefix::new(prefix).expect("a prefix"), &ListOptions::default());
    let found = listing.try_collect::<Vec<_>>().await.expect("memory lists");
    found
        .into_iter()
        .filter_map(|entry| if let ListEntry::Object(meta) = entry { Some(meta.key.to_string()) } else { None })
        .collect()
}

/// What lies in any store.
pub async fn listed(store: &impl ObjectStore) -> Vec<ObjectMeta> {
    let found = store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await;
    let objects = found.expect("a listing").into_iter().map(|entry| match entry {
        ListEntry::Object(meta) => meta,
        other => panic!("no folder was asked for: {other:?}"),
    });
    objects.collect()
}

/// The keys of it.
pub async fn all(store: &impl ObjectStore) -> Vec<Key> {
    listed(store).await.into_iter().map(|meta| meta.key).collect()
}

pub fn denied<T>(result: Result<T>) {
    let Err(error) = result else { panic!("it went well") };
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}

/// An object has this content, however it is read.
pub async fn is_whole(store: &impl ObjectStore, name: &str, content: &[u8]) {
    let key: Key = name.parse().expect("a key");
    let size = store.head(&key, &HeadOptions::default()).await.expect("it is there").size;
    assert_eq!(size, content.len() as u64, "{name}");
    assert!(store.get_bytes(&key, 1 << 30).await.expect(name) == content, "{name}: other bytes");
    assert!(in_ranges(store, name, size).await == content, "{name}: other bytes in ranges");
}

/// All of an object of this size, by four reads at once of a part of it each.
pub async fn in_ranges(store: &impl ObjectStore, name: &str, size: u64) -> Vec<u8> {
    let key: Key = name.parse().expect("a key");
    let ranges = (0..4).map(|n| size * n / 4..size * (n + 1) / 4);
    let read = async |range| Ok(store.get(&key, &GetOptions::range(range)).await?.body.try_concat_bytes().await);
    try_join_all(ranges.map(read)).await.unwrap_or_else(|error: backstay::Error| panic!("{name}: {error}")).concat()
}

/// A world with so many plants, a minute apart.
pub async fn hundred_thousand_plants() -> World {
    let world = World::new(3).await;
    let random = SeededRandom::new(5);
    for _ in 0..100_000 {
        let run = backstay::RunId::new(backstay::Clock::now(&world.clock), &random);
        world.overwrite(&format!("points/prod-eu/daily/{run}.json"), "{}").await;
        world.clock.advance(std::time::Duration::from_secs(60));
    }
    world
}

/// Three points of `content`, a day apart, of which the tier keeps two; a day after the last.
pub async fn three_points(content: &[u8]) -> (World, Backstay, Vec<backstay::PointId>) {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", content)]).await;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(std::time::Duration::from_secs(24 * 3600));
    }
    (world, backstay, points)
}

/// Restores `db` of a point into memory.
pub async fn restored(vault: &Vault, id: &backstay::PointId) -> Result<Vec<(String, Vec<u8>)>> {
    let target = MockImporter::default();
    vault.restore(id).component("db").into(target.clone()).plan().await?.apply().await?;
    let content = |name: &String| target.content(name).map(|content| (name.clone(), content.to_vec()));
    Ok(target.names().iter().filter_map(content).collect())
}

/// The stream of an object as one piece.
trait Concat {
    async fn try_concat_bytes(self) -> Vec<u8>;
}

impl Concat for backstay::store::ByteStream {
    async fn try_concat_bytes(self) -> Vec<u8> {
        self.try_collect::<Vec<_>>().await.expect("the store reads").concat()
    }
}

/// Where a signature of these bytes lies, as FORMAT.md says: DIGEST is 26 characters of the base32 of their SHA-256.
pub fn signature_key(place: &str, bytes: &[u8], key_id: &str) -> String {
    let digest = backstay::Sha256::of(bytes).0;
    let bit = |index: usize| usize::from(digest[index / 8] >> (7 - index % 8) & 1);
    let digit = |start: usize| (start..start + 5).fold(0, |digit, index| digit << 1 | bit(index));
    let short: String = (0..26).map(|i| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[digit(i * 5)])).collect();
    format!("{place}.{short}.{key_id}.sig")
}
