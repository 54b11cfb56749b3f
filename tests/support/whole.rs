//! Every point that shows is whole: proved by restoring it, the same bytes only once.

use std::collections::HashSet;

use backstay::{Depth, MemoryStore, PointId, Sha256, Vault};

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
        for id in &listed {
            self.point(vault, store, id, expected(id), place).await;
        }
        listed
    }

    /// This point is whole, whether it is listed or being deleted.
    pub async fn point(&mut self, vault: &Vault, store: &MemoryStore, id: &PointId, expected: Vec<u8>, place: &str) {
        if !self.0.insert((bytes_of(store, id).await, expected.clone())) {
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
async fn bytes_of(store: &MemoryStore, id: &PointId) -> Sha256 {
    let mut all = Vec::new();
    let places = [format!("points/{id}."), format!("items/{id}/"), format!("details/{id}."), format!("sigs/{id}.")];
    for prefix in places.into_iter().chain(["keys/".to_owned(), "copies/".to_owned(), "backstay-1".to_owned()]) {
        for (key, bytes) in super::saved::SavedStore::contents(store, &prefix).await {
            all.extend_from_slice(format!("{key} {} ", bytes.len()).as_bytes());
            all.extend_from_slice(&bytes);
        }
    }
    Sha256::of(&all)
}
