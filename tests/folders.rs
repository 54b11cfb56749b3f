//! Vaults in folders, whose store reads into memory that is lent to it, under layers and faults: what comes out is what went in,
//! or an error; nothing wrong shows in a replica; the budget is whole afterwards.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{ReplicationReport, Replicator};
use backstay::store::layer::{Retry, RetryOptions};
use backstay::store::{ObjectStore, Operation};
use backstay::{Budget, ErrorKind, Keyring, Limits, LocalStore, PointId, Result, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use support::{exporter, program, restored};
use tempfile::TempDir;

/// Two stored parts.
const BYTES: usize = (8 << 20) + 100_000;

/// A vault in a folder and keys for it.
struct Place {
    folder: TempDir,
    keyring: Keyring,
}

/// What all of it shares: with a lease that was lost, somebody waits for ever.
struct World {
    budget: Budget,
    origin: Place,
    point: PointId,
    content: Vec<u8>,
}

impl Place {
    async fn new(seed: u64, budget: &Budget) -> Self {
        let (folder, keyring) = (tempfile::tempdir().expect("a folder"), SeededRandom::new(seed));
        let keyring = Keyring::generate_from(&keyring).expect("fresh keys fit");
        let place = Self { folder, keyring };
        let vault = Vault::create(place.store()).keyring(&place.keyring).budget(budget.clone());
        vault.build().await.expect("a vault");
        place
    }

    fn store(&self) -> LocalStore {
        LocalStore::open(self.folder.path()).expect("it is there")
    }
}

impl World {
    async fn new() -> Self {
        let mut limits = Limits::default();
        limits.bytes = 40 << 20;
        let budget = Budget::new(limits);
        let origin = Place::new(1, &budget).await;
        let mut random = 7_u64;
        let content: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as u8
        })
        .take(BYTES)
        .collect();
        let vault = Vault::open(origin.store()).keyring(&origin.keyring).budget(budget.clone()).build().await;
        let backstay = program(vault.expect("it opens"), exporter(&[("rows", &content)]));
        let point = backstay.backup("daily").await.expect("a point").id;
        Self { budget, origin, point, content }
    }

    async fn restore(&self, store: impl ObjectStore) -> Result<()> {
        let vault = Vault::open_read_only(store).keyring(&self.origin.keyring).budget(self.budget.clone());
        let content = restored(&vault.build().await?, &self.point).await?;
        assert!(content[0].1 == self.content, "other bytes came out");
        Ok(())
    }

    async fn replicate(&self, from: impl ObjectStore, to: &Place) -> Result<ReplicationReport> {
        let (id, signers) = (self.origin.keyring.vault_id().clone(), self.origin.keyring.allowed_signers());
        let origin = Vault::open_read_only(from).id(id.clone()).trust(signers.clone()).budget(self.budget.clone());
        let here = Vault::open(to.store()).keyring(&to.keyring).origin(id, signers).budget(self.budget.clone());
        Replicator::new(origin.build().await?, here.build().await?).plan().await?.apply().await
    }

    /// The point is in the replica whole, or not at all.
    async fn check(&self, to: &Place, is_there: bool, what: &str) {
        let (id, signers) = (self.origin.keyring.vault_id().clone(), self.origin.keyring.allowed_signers());
        let left = Vault::open_read_only(to.store()).trust(to.keyring.allowed_signers().clone()).origin(id, signers);
        let left = left.unlock_with(self.origin.keyring.custodian().clone()).budget(self.budget.clone());
        let left = left.build().await.expect("it opens");
        match restored(&left, &self.point).await {
            Ok(content) => assert!(is_there && content[0].1 == self.content, "{what}: it is there"),
            Err(error) => assert!(!is_there && error.kind() == ErrorKind::NotFound, "{what}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_is_read_from_a_folder_under_layers_and_faults_is_right_or_an_error() {
    let world = World::new().await;
    let lost = ErrorKind::Unavailable;
    // At the read of the item's first part, then of its second.
    for (fault, n, retries, passes) in [
        (Fault::FailAfter(lost), 1, true, true),
        (Fault::BreakOff(0, lost), 2, true, true),
        (Fault::BreakOff(99_000, lost), 1, true, true),
        (Fault::BreakOff(99_000, lost), 1, false, false),
        (Fault::BreakOff(99_000, ErrorKind::Other), 2, true, false),
        (Fault::FlipBit(50_000), 1, true, false),
    ] {
        let what = format!("{fault:?} at read {n}, retries: {retries}");
        let store = || -> Arc<dyn ObjectStore> {
            let rule = Rule::new(fault.clone()).on([Operation::Get]).under("items/").nth(n);
            let faulty = Arc::new(FaultyStore::new(Arc::new(world.origin.store())).with(rule));
            let mut at_once = RetryOptions::default();
            at_once.first_wait = Duration::ZERO;
            match retries {
                true => Arc::new(Retry::new(faulty, at_once)),
                false => faulty,
            }
        };
        let restored = world.restore(store()).await;
        assert_eq!(restored.is_ok(), passes, "{what}: {restored:?}");
        let to = Place::new(100, &world.budget).await;
        let copied = world.replicate(store(), &to).await;
        assert_eq!(copied.is_ok(), passes, "{what}: {copied:?}");
        world.check(&to, passes, &what).await;
    }
    let to = Place::new(100, &world.budget).await;
    world.replicate(world.origin.store(), &to).await.expect("nothing is wrong");
    world.check(&to, true, "no fault").await;
}
