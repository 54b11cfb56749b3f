//! Proving: a verification reads a point once, whatever its depth, and tells damage alike whoever read how far.

mod support;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backstay::engine::VerifyReport;
use backstay::source::{
    CheckReport, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem, ResourceImporter,
};
use backstay::store::Operation;
use backstay::vault::Purpose;
use backstay::{Depth, ErrorKind, Result, Sha256};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::MockImporter;
use futures_util::StreamExt;
use serde_json::json;
use support::three_points;

const TEXT: &[u8] = b"content";

/// How an importer reads what it checks.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// To its end.
    Whole,
    /// Not at all.
    Nothing,
    /// Opens everything and reads nothing of it.
    Opens,
    /// To its end, and calls whatever it gets well formed.
    Blind,
}

const READERS: [Reader; 4] = [Reader::Whole, Reader::Nothing, Reader::Opens, Reader::Blind];

#[async_trait]
impl ResourceImporter for Reader {
    fn accepts(&self, _item: &ItemInfo) -> bool {
        true
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        let mut list = items.list();
        while let Some(item) = list.next().await.transpose()? {
            let mut content = match (self, items.open(&item).await) {
                (Self::Nothing, _) | (Self::Blind, Err(_)) => continue,
                (_, content) => content?,
            };
            loop {
                match (self, content.next().await) {
                    (Self::Opens, _) | (_, None) => break,
                    (Self::Whole, Some(Err(error))) => return Err(error),
                    // It goes on after an error.
                    (_, Some(_)) => {}
                }
            }
        }
        let mut report = CheckReport::default();
        report.problems.push(Problem::new("row 7", "torn"));
        Ok(report)
    }

    async fn plan(&self, _items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        Ok(ImportPlan::new("nowhere", options))
    }

    /// Has everything proved, and restores nothing.
    async fn apply(&self, items: &dyn ItemSource, _plan: ImportPlan) -> Result<ImportReport> {
        let mut list = items.list();
        while let Some(item) = list.next().await.transpose()? {
            items.prove(&item).await?;
        }
        Ok(ImportReport::default())
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_is_read_once_at_every_depth() {
    let (world, _, points) = three_points(TEXT).await;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let vault = world.open(store.clone(), 9).await.expect("a vault");
    for (request, depth) in [
        (vault.verify(&points[0]), Depth::Stored),
        (vault.verify(&points[1]).depth(Depth::Decoded), Depth::Decoded),
        (vault.verify(&points[2]).check("db", MockImporter::default()), Depth::Checked),
    ] {
        store.heal();
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Get]).under("items/").from(2));
        let report = request.await.unwrap_or_else(|error| panic!("{depth}: {error}"));
        assert_eq!(report.reached, Some(depth));
    }
}

#[tokio::test(start_paused = true)]
async fn damage_is_told_alike_whoever_read_how_far() {
    let (world, backstay, points) = three_points(TEXT).await;
    let (id, item) = (&points[0], world.keys(&format!("items/{}", points[0])).await.remove(0));
    let good = world.read(&item).await;
    let manifest = world.json(&format!("points/{id}.json")).await;
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    let signed = |of: &[u8]| json!([{ "key": item, "bytes": good.len(), "sha256": Sha256::of(of) }]);
    let (stored, named) = ((None, Some(item.as_str())), (Some("rows"), None));
    for (what, content, objects, reached, place) in [
        ("a flipped bit", &flipped, signed(&good), Depth::Listed, stored),
        ("other bytes than its digest says", &good, signed(b"other"), Depth::Listed, stored),
        ("other bytes that were signed", &flipped, signed(&flipped), Depth::Stored, named),
        ("nothing but what the importer tells", &good, signed(&good), Depth::Decoded, (None, None)),
    ] {
        world.overwrite(&item, content.clone()).await;
        let mut changed = manifest.clone();
        changed["components"][0]["objects"] = objects;
        let (key, place_of_signature) = (format!("points/{id}.json"), format!("sigs/{id}.point"));
        world.put_signed(&key, &place_of_signature, Purpose::Point, &changed).await;
        for reader in READERS {
            let error = backstay.verify(id).check("db", reader).await.expect_err(what);
            let report: &VerifyReport = error.payload().expect("the report comes along");
            let [finding] = &report.findings[..] else { panic!("{what}, {reader}: {error}") };
            assert_eq!(report.reached, Some(reached), "{what}, {reader}: {error}");
            let found = (finding.item.as_deref(), finding.key.as_ref().map(|key| key.as_str()));
            assert_eq!((finding.component.as_str(), found), ("db", place), "{what}, {reader}: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_no_damage() {
    let (world, _, points) = three_points(TEXT).await;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let vault = world.open(store.clone(), 9).await.expect("a vault");
    for reader in READERS {
        store.heal();
        store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)).on([Operation::Get]).under("items/"));
        let error = vault.verify(&points[0]).check("db", reader).await.expect_err("the store is down");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{reader}: {error}");
        assert!(error.payload::<VerifyReport>().is_none(), "{reader}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_importer_has_an_item_proved_before_it_begins() {
    let (world, backstay, points) = three_points(TEXT).await;
    let (id, item) = (&points[0], world.keys(&format!("items/{}", points[0])).await.remove(0));
    let restore = || async { backstay.restore(id).into(Reader::Nothing).plan().await?.apply().await };
    restore().await.expect("all of it is there");
    let good = world.read(&item).await;
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        world.overwrite(&item, bad).await;
        let error = restore().await.expect_err("a flipped bit");
        assert_eq!((error.kind(), error.context("key")), (ErrorKind::Corrupt, Some(item.as_str())), "{at}: {error}");
    }
    world.remove(&item).await;
    assert_eq!(restore().await.expect_err("it is gone").kind(), ErrorKind::NotFound);
}
