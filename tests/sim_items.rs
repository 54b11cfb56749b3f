//! Items on their way in and out: a write that was dropped, openings in any order, a component that is not whole.

mod support;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use backstay::source::{
    CheckReport, ExportReport, ExportRequest, ExporterInfo, Facts, ImportOptions, ImportPlan, ImportReport, ItemInfo,
    ItemSink, ItemSource, ItemSpec, ResourceExporter, ResourceImporter,
};
use backstay::store::Operation;
use backstay::{ErrorKind, Keep, Result, Tier};
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{ExportScript, MockExporter, MockImporter};
use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use support::{World, exporter};

/// Gives up waiting for a write, and goes on with the next as if nothing had happened.
#[derive(Debug)]
struct Hasty(ExporterInfo);

impl fmt::Display for Hasty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hasty")
    }
}

#[async_trait]
impl ResourceExporter for Hasty {
    fn info(&self) -> &ExporterInfo {
        &self.0
    }

    async fn export(&self, _: &ExportRequest, out: &dyn ItemSink) -> Result<ExportReport> {
        let mut writer = out.item(ItemSpec::new("rows", "mock")).await?;
        let chunk = Bytes::from(vec![7; 1 << 20]);
        while writer.write(chunk.clone()).now_or_never().transpose()?.is_some() {}
        writer.write(chunk).await?;
        writer.finish(Facts::new()).await?;
        Ok(ExportReport::default())
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_dropped_takes_its_item_with_it() {
    let world = World::new(3).await;
    let backstay = backstay::Backstay::builder("prod-eu", world.vault().await)
        .export("db", Hasty(ExporterInfo::new("mock")))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");
    let error = backstay.backup("daily").await.expect_err("bytes may be missing");
    assert!(error.to_string().contains("given up"), "{error}");
    assert_eq!(world.keys("points/").await, [""; 0]);
}

/// Lists all items first and opens them afterwards, in order or against it.
#[derive(Debug)]
struct Collector {
    backwards: bool,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("collector")
    }
}

#[async_trait]
impl ResourceImporter for Collector {
    fn accepts(&self, _: &ItemInfo) -> bool {
        true
    }

    async fn check(&self, _: &dyn ItemSource) -> Result<CheckReport> {
        Ok(CheckReport::default())
    }

    async fn plan(&self, _: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        Ok(ImportPlan::new("memory", options))
    }

    async fn apply(&self, items: &dyn ItemSource, _: ImportPlan) -> Result<ImportReport> {
        let mut found: Vec<ItemInfo> = items.list().try_collect().await?;
        if self.backwards {
            found.reverse();
        }
        for item in &found {
            let content: Vec<Bytes> = items.open(item).await?.try_collect().await?;
            assert_eq!(content.concat(), item.name.as_bytes());
        }
        Ok(ImportReport::default())
    }
}

#[tokio::test(start_paused = true)]
async fn items_that_are_opened_in_order_read_the_details_once() {
    const ITEMS: usize = 300;
    let world = World::new(3).await;
    let names: Vec<String> = (0..ITEMS).map(|i| format!("row {i}")).collect();
    let items: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let id = world.backstay(&items).await.backup("daily").await.expect("a backup").id;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let vault = world.open(store.clone(), 9).await.expect("it opens");
    for (backwards, details) in [(false, 1), (true, ITEMS)] {
        let plan = vault.restore(&id).into(Collector { backwards }).plan().await.expect("a plan");
        store.reset_calls();
        plan.apply().await.expect("all of them");
        assert_eq!(store.calls(Operation::Get), (ITEMS + 1 + details) as u64, "backwards: {backwards}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_says_that_the_export_missed_something() {
    let world = World::new(3).await;
    let torn = ExportScript::new([("rows", "content")]).problem("a/b", "it vanished");
    let backstay = backstay::Backstay::builder("prod-eu", world.vault().await)
        .export("torn", MockExporter::scripted(torn))
        .export("whole", exporter(&[("rows", b"content")]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");
    let error = backstay.backup("daily").await.expect_err("partial");
    assert_eq!(error.kind(), ErrorKind::Partial);
    let id = error.payload::<backstay::BackupReport>().expect("the report").id.clone();
    for (component, incomplete) in [("torn", true), ("whole", false)] {
        let request = backstay.vault().restore(&id).component(component).into(MockImporter::default());
        let plan = request.plan().await.expect("a plan");
        assert_eq!((plan.incomplete, plan.to_string().contains("missed some")), (incomplete, incomplete), "{plan}");
    }
}
