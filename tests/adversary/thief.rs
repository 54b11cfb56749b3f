//! What the thief can do: list, create, and sign with the writer's key.

use backstay::store::{ObjectStore, PutOptions};
use backstay::vault::Purpose;
use backstay::{Clock, ErrorKind, PointId, RunId};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::FaultyStore;
use serde_json::{Value, json};

use super::Scene;
use crate::support::signature_key;

/// What he can: create, and sign with the writer's key.
pub(crate) struct Thief<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) store: FaultyStore,
    pub(crate) planted: u64,
}

impl Thief<'_> {
    /// Whether it was taken; what is there already stays.
    pub(crate) async fn put(&self, key: &str, content: impl Into<Vec<u8>>) -> bool {
        let Ok(key) = key.parse() else { return false };
        match self.store.put(&key, content.into().into(), &PutOptions::default()).await {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Invalid), "{error}");
                false
            }
        }
    }

    pub(crate) async fn put_signed(&self, key: &str, place: &str, purpose: Purpose, content: Vec<u8>) -> bool {
        let key_id = self.scene.writer.public().id();
        self.put(&signature_key(place, &content, &key_id), self.scene.writer.sign(purpose.namespace(), &content)).await;
        self.put(key, content).await
    }

    /// He made the points himself, so he has the text of each manifest.
    pub(crate) async fn manifest(&self, id: &PointId) -> Value {
        self.scene.world.json(&format!("points/{id}.json")).await
    }

    pub(crate) fn run(&self, days: i64, random: &SeededRandom) -> RunId {
        RunId::new(self.scene.world.clock.now() + jiff::SignedDuration::from_hours(24 * days), random)
    }

    /// A manifest of a real point, made to be that of another.
    pub(crate) async fn point(&self, of: &PointId, id: &PointId, change: impl FnOnce(&mut Value)) -> bool {
        let mut manifest = self.manifest(of).await;
        manifest["source"] = json!(id.source.as_str());
        manifest["tier"] = json!(id.tier.as_str());
        manifest["id"] = json!(id.run.to_string());
        change(&mut manifest);
        let content = serde_json::to_vec_pretty(&manifest).expect("JSON");
        self.put_signed(&format!("points/{id}.json"), &format!("sigs/{id}.point"), Purpose::Point, content).await
    }

    pub(crate) async fn mark(&self, id: &PointId, name: &str, says: Value, purpose: Purpose) -> bool {
        let manifest = self.scene.world.read(&format!("points/{id}.json")).await;
        let mark = json!({
            "vault": self.scene.world.keyring.vault_id().to_string(),
            "point": id.to_string(),
            "manifest": backstay::Sha256::of(&manifest).to_string(),
            "says": says,
            "at": self.scene.world.clock.now().to_string(),
            "reason": "the thief says so",
        });
        let content = serde_json::to_vec_pretty(&mark).expect("JSON");
        self.put_signed(&format!("points/{id}.{name}"), &format!("sigs/{id}.{name}"), purpose, content).await
    }
}
