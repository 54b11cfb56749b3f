//! What a reader without the key learns: canaries are planted and searched for in everything that is stored.

mod support;

use backstay::{Backstay, BackupReport, Blake3, Depth, Keep, Tier};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};
use support::World;

const CONTENT: &str = "canary-content";
const ITEM: &str = "canary-item-name";
const PROBLEM: &str = "canary-problem";

async fn with_canaries() -> (World, Backstay) {
    let world = World::new(13).await;
    let torn = ExportScript::new([(ITEM, CONTENT)]).problem(PROBLEM, PROBLEM);
    let panics = ExportScript::new([(ITEM, CONTENT)]).fault(ExportFault::DropWriter);
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", MockExporter::scripted(torn))
        .export("dies", MockExporter::scripted(panics))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    (world, backstay)
}

#[tokio::test(start_paused = true)]
async fn without_the_key_no_name_fact_error_or_plain_digest_can_be_read() {
    let (world, backstay) = with_canaries().await;
    let error = backstay.backup("daily").await.expect_err("partial");
    let report: &BackupReport = error.payload().expect("partial");
    backstay.backup("daily").only(["dies"]).await.expect_err("nothing exported");
    backstay.verify(&report.id).depth(Depth::Decoded).await.expect("the key's holder reads it");

    let digest = Blake3::of(CONTENT.as_bytes()).to_string();
    let canaries = [CONTENT, ITEM, PROBLEM, "unfinished", digest.as_str()];
    for key in world.keys("").await {
        let stored = world.read(&key).await;
        for canary in canaries {
            let found = stored.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found && !key.contains(canary), "{canary:?} can be read in {key}");
        }
    }
}
