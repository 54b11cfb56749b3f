//! A vault and its replica, each on a store in memory.

use std::sync::Arc;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::store::{Key, ObjectStore, ObjectStoreExt, PutOptions};
use backstay::{Backstay, Keep, Keyring, MemoryStore, PointId, Result, Tier, Vault};
use backstay_testkit::SeededRandom;
use bytes::Bytes;

use super::{World, exporter, inline_budget, keys_in, world_on};

#[derive(Clone)]
pub struct Pair {
    pub world: World,
    pub store: MemoryStore,
    pub keyring: Arc<Keyring>,
}

impl Pair {
    /// A new vault and a new replica of it.
    pub async fn new(seed: u64) -> Self {
        Self::on(seed, MemoryStore::new).await
    }

    /// The same, each on a store of this kind.
    pub async fn on(seed: u64, empty: impl Fn() -> MemoryStore) -> Self {
        Self::beside(world_on(empty(), seed).await, empty()).await
    }

    /// A new replica of the world's vault, on this store.
    pub async fn beside(world: World, store: MemoryStore) -> Self {
        let (seed, store) = (world.seed, store.with_clock(Arc::new(world.clock.clone())));
        let keyring = Arc::new(Keyring::generate_from(&SeededRandom::new(seed + 500)).expect("fresh keys fit"));
        let pair = Self { world, store, keyring };
        Vault::create(pair.store.clone())
            .keyring(&pair.keyring)
            .clock(pair.world.clock.clone())
            .budget(inline_budget())
            .build()
            .await
            .expect("a replica is made in memory");
        pair
    }

    /// A pair whose origin has `count` points, a day apart.
    pub async fn with_points(seed: u64, count: usize, content: &[u8]) -> (Self, Vec<PointId>) {
        let pair = Self::new(seed).await;
        let backstay = pair.world.backstay(&[("rows", content)]).await;
        let mut points = Vec::new();
        for _ in 0..count {
            points.push(backstay.backup("daily").await.expect("a well world").id);
            pair.world.clock.advance(std::time::Duration::from_secs(24 * 3600));
        }
        (pair, points)
    }

    /// The origin as the replicator sees it: no key that opens anything.
    pub async fn origin(&self, store: impl ObjectStore) -> Result<Vault> {
        Vault::open_read_only(store)
            .id(self.world.keyring.vault_id().clone())
            .trust(self.world.keyring.allowed_signers().clone())
            .clock(self.world.clock.clone())
            .budget(inline_budget())
            .build()
            .await
    }

    /// The replica, open to write.
    pub async fn replica(&self, store: impl ObjectStore) -> Result<Vault> {
        Vault::open(store)
            .keyring(&self.keyring)
            .unlock_with(self.world.keyring.custodian().clone())
            .origin(self.world.keyring.vault_id().clone(), self.world.keyring.allowed_signers())
            .clock(self.world.clock.clone())
            .random(SeededRandom::new(self.world.seed + 600))
            .budget(inline_budget())
            .build()
            .await
    }

    /// The replica as it was left, for who has nothing else.
    pub async fn left(&self) -> Vault {
        Vault::open_read_only(self.store.clone())
            .unlock_with(self.world.keyring.custodian().clone())
            .trust(self.keyring.allowed_signers().clone())
            .origin(self.world.keyring.vault_id().clone(), self.world.keyring.allowed_signers())
            .clock(self.world.clock.clone())
            .budget(inline_budget())
            .build()
            .await
            .expect("the replica opens")
    }

    /// Copies every point, through these two stores.
    pub async fn copy(&self, from: impl ObjectStore, to: impl ObjectStore) -> Result<ReplicationReport> {
        Replicator::new(self.origin(from).await?, self.replica(to).await?).plan().await?.apply().await
    }

    pub async fn replicate(&self) -> ReplicationReport {
        self.copy(self.world.store.clone(), self.store.clone()).await.expect("nothing is wrong")
    }

    /// The origin's program: keeps two points, and waits for the replica, which keeps ten.
    pub async fn program(&self, replica: Vault) -> Backstay {
        Backstay::builder("prod-eu", self.world.vault().await)
            .export("db", exporter(&[("rows", b"content")]))
            .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::last(10)))
            .replica("dr", replica)
            .build()
            .expect("the program is well formed")
    }

    /// The replica's own program, which keeps two points.
    pub async fn pruner(&self, store: impl ObjectStore) -> Result<Backstay> {
        let vault = self.replica(store).await?;
        Backstay::builder("prod-eu", vault).tier(Tier::new("daily").keep(Keep::last(2))).build()
    }

    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        keys_in(&self.store, prefix).await
    }

    pub async fn read(&self, key: &str) -> Vec<u8> {
        self.store.get_bytes(&key.parse().expect("a key"), 1 << 30).await.expect("the object is there").to_vec()
    }

    pub async fn overwrite(&self, key: &str, data: impl Into<Bytes>) {
        let key: Key = key.parse().expect("a key");
        self.store.put(&key, data.into(), &PutOptions::overwrite()).await.expect("memory takes it");
    }

    pub async fn remove(&self, key: &str) {
        let key: Key = key.parse().expect("a key");
        self.store.delete(&[key.into()]).await.expect("memory deletes");
    }
}
