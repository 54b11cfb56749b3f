//! An item that its exporter gives up while the others stand, and one that it begins again.

mod support;

use backstay::engine::Backstay;
use backstay::store::{ObjectStore, Prefix};
use backstay::vault::Outcome;
use backstay::{BackupReport, Depth, ErrorKind, Keep, Tier};
use backstay_testkit::mock::{ExportFault, ExportScript, MockExporter};
use futures_util::TryStreamExt;
use support::{World, restored};

/// More than a frame and a part, and nothing that compresses: an upload begins before the item ends.
fn long() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..20 << 20).map(|_| next()).collect()
}

async fn backstay(world: &World, items: &[(&str, Vec<u8>)], fault: ExportFault) -> Backstay {
    let script = ExportScript::new(items.to_vec()).fault(fault).chunk(1 << 20);
    Backstay::builder("prod-eu", world.vault().await)
        .export("db", MockExporter::scripted(script))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed")
}

async fn uploads(world: &World) -> usize {
    world.store.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.expect("a listing").len()
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_item_makes_the_point_partial_and_nothing_of_it_stays() {
    let world = World::new(3).await;
    let items = [("orders", b"all of them".to_vec()), ("users", long())];
    let backstay = backstay(&world, &items, ExportFault::Abandon).await;
    let error = backstay.backup("daily").await.expect_err("partial");
    assert_eq!(error.kind(), ErrorKind::Partial);
    let report = error.payload::<BackupReport>().expect("the report");
    let component = &report.components[0];
    assert_eq!(component.outcome, Outcome::Incomplete);
    assert_eq!((component.items, component.problems[0].what.as_str()), (1, "users"));

    let stored = world.keys("items/").await;
    assert_eq!((stored.len(), uploads(&world).await), (1, 0), "{stored:?}");
    let manifest = world.keys("points/").await.into_iter().find(|key| key.ends_with(".json")).expect("a manifest");
    let manifest = world.json(&manifest).await;
    assert_eq!(manifest["components"][0]["objects"].as_array().expect("objects").len(), 1);
    let back = restored(backstay.vault(), &report.id).await.expect("the rest restores");
    assert_eq!(back, [("orders".to_owned(), b"all of them".to_vec())]);
    backstay.verify(&report.id).depth(Depth::Decoded).await.expect("what is there is intact");
}

#[tokio::test(start_paused = true)]
async fn a_component_whose_items_were_all_abandoned_failed_and_says_why() {
    let world = World::new(3).await;
    let backstay = backstay(&world, &[("users", b"some".to_vec())], ExportFault::Abandon).await;
    for allow_empty in [false, true] {
        let request = backstay.backup("daily");
        let request = if allow_empty { request.allow_empty() } else { request };
        let error = request.await.expect_err("nothing is there");
        assert!(error.to_string().contains("users: told to abandon it"), "{error}");
        assert_eq!(world.keys("points/").await, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_began_again_has_its_second_content_and_leaves_nothing_of_the_first() {
    let world = World::new(3).await;
    let items = [("orders", b"all of them".to_vec()), ("users", long())];
    let backstay = backstay(&world, &items, ExportFault::Restart).await;
    let report = backstay.backup("daily").await.expect("whole");
    let stored = world.keys("items/").await;
    assert_eq!((stored.len(), uploads(&world).await), (2, 0), "{stored:?}");
    let back = restored(backstay.vault(), &report.id).await.expect("all of it");
    assert!(back == items.map(|(name, content)| (name.to_owned(), content)), "the content differs");
}
