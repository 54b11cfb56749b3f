//! Every point that shows is whole: proved by restoring it, the same bytes only once.

use std::collections::{BTreeMap, HashSet};

use backstay::store::{ListEntry, ListOptions, ObjectStore, ObjectStoreExt, Prefix};
use backstay::{Depth, MemoryStore, PointId, Sha256, Vault};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::restored;

/// The bytes of points that were decoded and restored.
#[derive(Debug, Default)]
pub struct Whole(HashSet<(Sha256, Vec<u8>)>);

impl Whole {
    /// What the vault on this store shows of `prod-eu/daily`, each point decoded and restored from it alone.
    pub async fn shown(
        &mut self,
        vault: &Vault,
        store: &MemoryStore,
        expected: impl Fn(&PointId) -> Vec<u8>,
        place: &str,
    ) -> Vec<PointId> {
        let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
        let listed = vault.points().list(&source, &tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        let stored = contents(store).await;
        for id in &listed {
            self.proved(vault, &stored, id, expected(id), place).await;
        }
        listed
    }

    /// This point is whole, whether it is listed or being deleted.
    pub async fn point(&mut self, vault: &Vault, store: &MemoryStore, id: &PointId, expected: Vec<u8>, place: &str) {
        self.proved(vault, &contents(store).await, id, expected, place).await;
    }

    async fn proved(
        &mut self,
        vault: &Vault,
        stored: &BTreeMap<String, Bytes>,
        id: &PointId,
        expected: Vec<u8>,
        place: &str,
    ) {
        if !self.0.insert((digest_of(stored, id), expected.clone())) {
            return;
        }
        let report = vault.verify(id).depth(Depth::Decoded).await;
        let report = report.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        assert_eq!(report.reached, Some(Depth::Decoded), "{place}: {id}");
        let content = restored(vault, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
        assert_eq!(content[0].1, expected, "{place}: {id}");
    }
}

/// A digest of all that a restore of the point reads.
fn digest_of(stored: &BTreeMap<String, Bytes>, id: &PointId) -> Sha256 {
    let (run, mut all) = (id.run.to_string(), Vec::new());
    for (key, bytes) in stored {
        if key.contains(&run) || key.starts_with("keys/") || key.starts_with("backstay-1") {
            all.extend_from_slice(format!("{key} {} ", bytes.len()).as_bytes());
            all.extend_from_slice(bytes);
        }
    }
    Sha256::of(&all)
}

/// What lies at each key.
async fn contents(store: &MemoryStore) -> BTreeMap<String, Bytes> {
    let listed = store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>();
    let mut contents = BTreeMap::new();
    for entry in listed.await.expect("memory lists") {
        let ListEntry::Object(meta) = entry else { continue };
        let bytes = store.get_bytes(&meta.key, 1 << 30).await.expect("memory reads");
        contents.insert(meta.key.to_string(), bytes);
    }
    contents
}
