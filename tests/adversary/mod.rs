//! A vault with its replica, and a thief who has the rights and the key of its writer.

mod plant;
mod thief;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan, Replicator, SweepAction};
use backstay::store::{ObjectStore, Operation};
use backstay::vault::{AllowedSigner, AllowedSigners, Purpose, SigningKey};
use backstay::{Backstay, Depth, ErrorKind, Keep, Keyring, MemoryStore, PointId, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use jiff::Timestamp;

use crate::support::{World, exporter, inline_budget, restored};
pub(crate) use plant::odd_name;
pub(crate) use thief::Thief;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(crate) const TEXT: &[u8] = b"content";
pub(crate) const EARLIER: u32 = 8;

/// A vault whose points a writer signs with a key that is trusted for points only.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) writer: SigningKey,
    pub(crate) points: Vec<PointId>,
    /// One that was marked, and taken back: its tombstone and signature are the thief's to keep.
    pub(crate) tombstone: Vec<(String, Vec<u8>)>,
    /// A run under way when he came, and what it has stored.
    pub(crate) living: (PointId, Vec<String>),
    /// The replica, which the thief cannot reach.
    pub(crate) replica: MemoryStore,
    replica_keys: Keyring,
    /// When the writer's key was stolen, once that is known.
    pub(crate) stolen_at: Option<Timestamp>,
}

impl Scene {
    pub(crate) async fn new(seed: u64, versioned: bool) -> Self {
        let mut world = World::without_vault(seed);
        if versioned {
            world.store = MemoryStore::versioned().with_clock(Arc::new(world.clock.clone()));
        }
        let vault = Vault::create(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
        vault.random(SeededRandom::new(seed + 1)).budget(inline_budget()).build().await.expect("a vault");
        let writer = SigningKey::generate(&SeededRandom::new(seed + 500));
        let replica = MemoryStore::new().with_clock(Arc::new(world.clock.clone()));
        let replica_keys = Keyring::generate_from(&SeededRandom::new(seed + 600)).expect("fresh keys fit");
        let vault = Vault::create(replica.clone()).keyring(&replica_keys).clock(world.clock.clone());
        vault.budget(inline_budget()).build().await.expect("a replica");
        let living = ("prod-eu/daily/20261120t064200z-abcdefgh".parse().expect("a point"), Vec::new());
        let (points, tombstone, stolen_at) = (Vec::new(), Vec::new(), None);
        let mut scene = Self { world, writer, points, tombstone, living, replica, replica_keys, stolen_at };
        let writing = scene.program(scene.vault(&scene.world.store, Some(&scene.writer)).await, Keep::last(EARLIER));
        for _ in 0..EARLIER {
            scene.points.push(writing.backup("daily").await.expect("a backup").id);
            scene.world.clock.advance(DAY);
        }
        let admin = scene.vault(&scene.world.store, None).await;
        let pruning = scene.program(admin.clone(), Keep::last(EARLIER - 1));
        pruning.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        let first = scene.points[0].clone();
        for prefix in [format!("points/{first}.deleted"), format!("sigs/{first}.deleted.")] {
            for key in scene.world.keys(&prefix).await {
                let content = scene.world.read(&key).await;
                scene.tombstone.push((key, content));
            }
        }
        assert_eq!(scene.tombstone.len(), 2, "{:?}", scene.tombstone);
        admin.undelete(&first).await.expect("in time");
        // From now on that tombstone is too old to be put back.
        scene.world.clock.advance(Duration::from_secs(3600));
        scene.begin().await;
        scene
    }

    /// A run of which nobody can tell yet whether it still goes on.
    async fn begin(&mut self) {
        let store = FaultyStore::new(Arc::new(self.world.store.clone()));
        let writing = self.program(self.vault(&store, Some(&self.writer)).await, Keep::last(EARLIER));
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).under("details/"));
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).under("runs/").nth(2));
        let error = writing.backup("daily").await.expect_err("it goes no further");
        let id: PointId = error.context("point").expect("it says which").parse().expect("a point");
        let mut keys = self.world.keys(&format!("items/{id}/")).await;
        keys.extend(self.world.keys(&format!("runs/{id}.")).await);
        assert_eq!(keys.len(), 2, "an item and a record: {keys:?}");
        self.living = (id, keys);
    }

    /// Opens the vault; signs with the keyring's key, which may do everything, or with another.
    pub(crate) async fn vault(&self, store: &(impl ObjectStore + Clone), signer: Option<&SigningKey>) -> Vault {
        let mut vault = Vault::open(store.clone()).keyring(&self.world.keyring).trust(self.trust());
        if let Some(signer) = signer {
            vault = vault.sign_with(signer.clone());
        }
        let vault = vault.clock(self.world.clock.clone()).random(SeededRandom::new(self.world.seed + 9));
        vault.budget(inline_budget()).build().await.expect("it opens")
    }

    fn trust(&self) -> AllowedSigners {
        let mut trust: AllowedSigners = self.world.keyring.allowed_signers().clone();
        let mut writer =
            AllowedSigner::new("backup@host", self.writer.public()).namespaces([Purpose::Point.namespace()]);
        writer.valid_before = self.stolen_at;
        trust.add(writer).expect("one more");
        trust
    }

    /// The replica, open to write.
    async fn replica(&self) -> Vault {
        let vault = Vault::open(self.replica.clone()).keyring(&self.replica_keys);
        let vault = vault.unlock_with(self.world.keyring.custodian().clone());
        let vault = vault.origin(self.world.keyring.vault_id().clone(), &self.trust());
        vault.clock(self.world.clock.clone()).budget(inline_budget()).build().await.expect("it opens")
    }

    /// Copies what the vault has, as who may read there and write here; plants are told and stand in no point's way.
    pub(crate) async fn replicate(&self, store: &(impl ObjectStore + Clone), place: &str) {
        let origin = Vault::open_read_only(store.clone()).id(self.world.keyring.vault_id().clone()).trust(self.trust());
        let origin = origin.clock(self.world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
        let plan = Replicator::new(origin, self.replica().await).plan().await;
        let plan = plan.unwrap_or_else(|error| panic!("{place}: replicate: {error}"));
        match plan.apply().await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Partial => {}
            Err(error) => panic!("{place}: replicate: {error:?}"),
        }
    }

    /// Every earlier point is in the replica, and restores from it alone.
    pub(crate) async fn check_replica(&self, place: &str) {
        let replica = self.replica().await;
        let (source, tier) = (&self.points[0].source, &self.points[0].tier);
        let listed = replica.points().list(source, tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        for id in &self.points {
            assert!(listed.contains(id), "{place}: {id} is not in the replica");
            let content = restored(&replica, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            assert_eq!(content[0].1, TEXT, "{place}");
        }
        for id in listed {
            let report = replica.verify(&id).depth(Depth::Stored).await;
            report.unwrap_or_else(|error| panic!("{place}: in the replica {id}: {error}"));
        }
    }

    /// Sweeps. What was made by a run that may be alive stays, and everything that a point names.
    pub(crate) async fn sweep(&self, admin: &Backstay, place: &str, alive: bool) {
        let plan = admin.sweep().plan().await.unwrap_or_else(|error| panic!("{place}: sweep: {error}"));
        for step in plan.steps.iter().filter(|step| self.points.contains(&step.id)) {
            let harmless = matches!(step.action, SweepAction::Keep | SweepAction::Clean) && step.objects == 0;
            assert!(harmless, "{place}: {plan}");
        }
        plan.apply().await.unwrap_or_else(|error| panic!("{place}: sweep: {error}"));
        let (id, keys) = &self.living;
        let left = self.world.keys("").await;
        assert!(!alive || keys.iter().all(|key| left.contains(key)), "{place}: something of {id} was swept");
    }

    pub(crate) fn program(&self, vault: Vault, keep: backstay::retention::KeepRules) -> Backstay {
        Backstay::builder("prod-eu", vault)
            .export("db", exporter(&[("rows", TEXT)]))
            .tier(Tier::new("daily").keep(keep))
            .build()
            .expect("well formed")
    }

    /// The store as the thief may use it.
    pub(crate) fn thief(&self) -> Thief<'_> {
        let denied = Fault::FailBefore(ErrorKind::Denied);
        let store = FaultyStore::new(Arc::new(self.world.store.clone()))
            .with(Rule::new(denied.clone()).overwrites())
            .with(Rule::new(denied).except([Operation::Put, Operation::List]));
        Thief { scene: self, store, planted: 0 }
    }

    /// Every earlier point shows, is proved, restores, and the newest of them is the newest.
    pub(crate) async fn check(&self, backstay: &Backstay, place: &str) {
        let vault = backstay.vault();
        let (source, tier) = (&self.points[0].source, &self.points[0].tier);
        let listed = vault.points().list(source, tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        for id in &self.points {
            assert!(listed.contains(id), "{place}: {id} does not show");
            let report = vault.verify(id).depth(Depth::Decoded).await;
            report.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            let content = restored(vault, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            assert_eq!(content[0].1, TEXT, "{place}");
        }
        let newest = self.points.last().expect("there are some");
        let latest = vault.points().source(source.clone()).latest("db").await;
        assert_eq!(latest.unwrap_or_else(|error| panic!("{place}: {error}")).id, *newest, "{place}");
        let found = vault.points().find(&newest.run.to_string()).await;
        assert_eq!(found.unwrap_or_else(|error| panic!("{place}: {error}")).id.run, newest.run, "{place}");
        let status = backstay.status().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(newest), "{place}: {status}");
    }
}
pub(crate) fn destroys(plan: &PrunePlan, points: &[PointId]) -> bool {
    plan.steps
        .iter()
        .any(|step| points.contains(&step.id) && matches!(step.action, PruneAction::Tombstone | PruneAction::Delete))
}
