//! What the thief puts.

use backstay::vault::Purpose;
use backstay::{PointId, RunId};
use backstay_testkit::SeededRandom;
use serde_json::{Value, json};

use super::Thief;
use crate::support::signature_key;

impl Thief<'_> {
    /// One plant, drawn by the dice. None of them is a point that a writer could have made honestly.
    pub(crate) async fn plant(&mut self, dice: &SeededRandom) -> Option<&'static str> {
        self.planted += 1;
        let points = &self.scene.points;
        let id = &points[dice.next_u64() as usize % points.len()];
        let other = |source: &str, tier: &str, run: &RunId| PointId {
            source: source.parse().expect("a name"),
            tier: tier.parse().expect("a name"),
            run: run.clone(),
        };
        let own = |run: RunId| other("prod-eu", "daily", &run);
        let n = self.planted;
        let (taken, told) = match dice.next_u64() % 29 {
            0 => {
                let long_ago = json!("2020-01-01T00:00:00Z");
                let work = json!({"deletion": {"not_before": long_ago, "objects": [], "bytes": 0}});
                (self.mark(id, "deleted", work, Purpose::Delete).await, "deleted")
            }
            1 => {
                let hold = json!({"hold": {"name": format!("thief-{n}")}});
                (self.mark(id, &format!("hold-thief-{n}"), hold, Purpose::Hold).await, "hold-thief")
            }
            2 => {
                let release = json!({"release": {"name": format!("audit-{n}")}});
                // A release without a hold is nobody's business.
                self.mark(id, &format!("release-audit-{n}"), release, Purpose::Release).await;
                return None;
            }
            3 => {
                let future = own(self.run(300, dice));
                let taken = self.point(id, &future, |_| {}).await;
                let accepted = self.mark(&future, "accepted", json!("acceptance"), Purpose::Accept).await;
                (taken && accepted, "accepted")
            }
            4 => (self.put(&format!("points/{id}.void"), "").await, ""),
            5 => (self.put(&format!("points/{id}.partial"), "").await, ""),
            6 => {
                // A void with its hint: the key of a run that never was.
                let run = own(self.run(0, dice));
                let hint = self.put(&format!("points/{run}.void"), "").await;
                let void = |manifest: &mut Value| {
                    manifest["status"] = json!("void");
                    manifest["components"] = json!([]);
                };
                (hint && self.point(id, &run, void).await, "")
            }
            7 => {
                let names_it = |m: &mut Value| {
                    m["components"][0]["objects"] = json!([]);
                    m["details"] = json!(null);
                };
                (self.point(id, &own(self.run(-30, dice)), names_it).await, "")
            }
            8 => {
                let later = |m: &mut Value| m["details"] = json!(null);
                (self.point(id, &own(self.run(400, dice)), later).await, "")
            }
            // Its objects are those of another run.
            9 => (self.point(id, &own(self.run(0, dice)), |_| {}).await, "outside its own run"),
            10 => {
                let unknown = |m: &mut Value| m["requires"] = json!(["time-travel"]);
                (self.point(id, &own(self.run(30, dice)), unknown).await, "")
            }
            11 => {
                let elsewhere = other(["prod-us", "a", "zz"][n as usize % 3], "daily", &id.run);
                (self.point(id, &elsewhere, |_| {}).await, "")
            }
            12 => {
                let elsewhere = other("prod-eu", ["a-tier", "weekly", "z"][n as usize % 3], &id.run);
                (self.point(id, &elsewhere, |m| m["components"][0]["objects"] = json!([])).await, "")
            }
            13 => {
                // A true tombstone, put beside another point and back where it was.
                let first = self.scene.points[0].to_string();
                let mut taken = false;
                for (key, content) in &self.scene.tombstone {
                    taken |= self.put(&key.replace(&first, &id.to_string()), content.clone()).await;
                }
                (taken, "deleted")
            }
            14 => {
                let deep = "[".repeat(100_000).into_bytes();
                let run = own(self.run(0, dice));
                let place = format!("sigs/{run}.point");
                (self.put_signed(&format!("points/{run}.json"), &place, Purpose::Point, deep).await, "not a manifest")
            }
            15 => (self.put(&format!("points/{}.json", own(self.run(0, dice))), "{}").await, "no signature"),
            16 => {
                let retirement = json!({
                    "vault": self.scene.world.keyring.vault_id().to_string(),
                    "source": "prod-eu",
                    "component": "db",
                    "at": self.run(0, dice).time().to_string(),
                    "reason": "gone",
                });
                let time = self.run(0, dice).to_string();
                let time = time.split('-').next().expect("a time").to_owned();
                let content = serde_json::to_vec_pretty(&retirement).expect("JSON");
                let (key, place) =
                    (format!("retired/prod-eu/db.{time}.json"), format!("sigs/prod-eu/retired/db.{time}"));
                (self.put_signed(&key, &place, Purpose::Retire, content).await, "retired/prod-eu")
            }
            17 => (self.put(&format!("retired/prod-eu/plant-{n}"), "x").await, "retired/prod-eu/plant"),
            18 => {
                let epoch = &self.scene.world.keyring.epoch().name;
                (self.put(&format!("keys/{epoch}.a{n}.age"), "age-encryption.org/v1\n").await, "")
            }
            19 => (self.put(&format!("keys/plant {n}.age"), "x").await, ""),
            20 => {
                let names = ["runs", "proofs", "copies", "history", "details", "items", "sigs"];
                let folder = names[n as usize % names.len()];
                (self.put(&format!("{folder}/{id}.plant-{n}"), vec![b'x'; 100]).await, "")
            }
            21 => (self.put(&format!("points/prod-eu/daily/{}", odd_name(n)), "x").await, "points/prod-eu/daily/"),
            22 => (self.put(&format!("backstay-1.plant{n}"), "").await, ""),
            23 => {
                // As if this were a replica, and the point years old or from elsewhere.
                let vault = self.scene.world.keyring.vault_id().to_string();
                let origin = if n.is_multiple_of(2) { vault.clone() } else { "a".repeat(26) };
                let manifest = self.scene.world.read(&format!("points/{id}.json")).await;
                let record = json!({
                    "vault": vault, "point": id.to_string(), "origin": origin, "complete": true,
                    "manifest": backstay::Sha256::of(&manifest).to_string(),
                    "last_modified": self.run(-400, dice).time().to_string(),
                });
                let content = serde_json::to_vec_pretty(&record).expect("JSON");
                let place = format!("sigs/{id}.copy-{origin}");
                self.put_signed(&format!("copies/{id}.{origin}.json"), &place, Purpose::Copy, content).await;
                return None;
            }
            24 => {
                // Records of a point's run and of one that may be alive, which claim that they are long over, or never.
                let id = if n.is_multiple_of(2) { id } else { &self.scene.living.0 };
                let until = ["20200101t000000z", "99991231t000000z", "20261120t000000z"][n as usize % 3];
                self.put(&format!("runs/{id}.abcdefg{}.until-{until}.json", odd_digit(n)), "[".repeat(100_000)).await;
                return None;
            }
            25 => {
                let record = self.scene.living.1.last().expect("a record");
                let attempt = record.trim_end_matches(".json").split('.').nth(1).expect("an attempt");
                let living = &self.scene.living.0;
                self.put(&format!("runs/{living}.{attempt}.until-20200101t000000z.json"), vec![b'x'; 1 << 20]).await;
                self.put(&format!("runs/{living}.{attempt}.end.json"), "{}").await;
                return None;
            }
            26 => {
                // A run that never was, with a record and an item; and a deep document as its history.
                let run = own(self.run(-30, dice));
                self.put(&format!("runs/{run}.abcdefgh.until-20200101t000000z.json"), "{}").await;
                self.put(&format!("items/{run}/abcdefgh/000000-db.zst.age"), "x").await;
                let (source, run) = (&run.source, &run.run);
                self.put(&format!("history/{source}/{run}.restore.json"), "[".repeat(100_000)).await;
                return None;
            }
            27 => {
                // What the sweep itself would put there, over a run that may be alive.
                let living = &self.scene.living.0;
                self.put(&format!("points/{living}.void"), "").await;
                return None;
            }
            _ => {
                // A second signature over what is signed, by a name that sorts first.
                let manifest = self.scene.world.read(&format!("points/{id}.json")).await;
                let planted = signature_key(&format!("sigs/{id}.point"), &manifest, &format!("{n:a>16}"));
                (self.put(&planted, vec![b'x'; 64]).await, "")
            }
        };
        taken.then_some(told).filter(|told| !told.is_empty())
    }
}
/// The last character of an attempt's name.
fn odd_digit(n: u64) -> char {
    char::from(b"abcdefghijklmnopqrstuvwxyz234567"[n as usize % 32])
}

/// Keys as long as a real one that are none.
pub(crate) fn odd_name(n: u64) -> String {
    let odd = ["%", "\u{e4}", " ", "~", "A", "'", ";"][n as usize % 7];
    format!("2026112{n:0>3}t06420z-abcdef{odd}.json")
}
