//! The newest item that can be restored stays, also when the point that stood for it is lost or damaged meanwhile.

mod support;

use std::time::Duration;

use backstay::PointId;
use backstay::engine::PruneAction;
use support::{World, restored, three_points};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// Ways to lose the two newer points that leave their names in the listing, or do not.
async fn lose(world: &World, point: &PointId, how: &str) {
    let item = world.keys(&format!("items/{point}/")).await.remove(0);
    match how {
        "manifest gone" => world.remove(&format!("points/{point}.json")).await,
        "manifest changed" => world.overwrite(&format!("points/{point}.json"), "{}").await,
        "item gone" => world.remove(&item).await,
        "item cut" => {
            let content = world.read(&item).await;
            world.overwrite(&item, content[..content.len() - 1].to_vec()).await;
        }
        "details gone" => world.remove(&world.keys(&format!("details/{point}.")).await.remove(0)).await,
        other => panic!("{other}"),
    }
}

const WAYS: [&str; 5] = ["manifest gone", "manifest changed", "item gone", "item cut", "details gone"];

#[tokio::test(start_paused = true)]
async fn a_point_that_is_damaged_lets_no_other_go() {
    for how in WAYS {
        let (world, backstay, points) = three_points(TEXT).await;
        lose(&world, &points[1], how).await;
        lose(&world, &points[2], how).await;
        let plan = backstay.prune("daily").danger_no_grace().plan().await.expect("a plan");
        assert_eq!(plan.count(PruneAction::Tombstone), 0, "{how}: {plan}");
        plan.apply().await.expect("nothing to do");
        assert_eq!(restored(backstay.vault(), &points[0]).await.expect(how)[0].1, TEXT);
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_counts_no_point_whose_bytes_are_lost() {
    for how in WAYS {
        let (world, backstay, points) = three_points(TEXT).await;
        let newest = async || {
            let status = backstay.status().await.expect("a status");
            (status.tiers[0].components[0].newest.clone(), status.is_good(), status.to_string())
        };
        let (found, good, _) = newest().await;
        assert_eq!((found, good), (Some(points[2].clone()), true));
        lose(&world, &points[2], how).await;
        let (found, good, text) = newest().await;
        assert_eq!(found, Some(points[1].clone()), "{how}: {text}");
        // A manifest that is gone leaves a run that made no point, for all that anybody knows.
        let told = text.contains(&format!("look at: {}: ", points[2]));
        assert_eq!((good, told), (how == "manifest gone", how != "manifest gone"), "{how}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_taken_back_when_what_stood_for_it_is_lost_in_its_grace() {
    for how in WAYS {
        let (world, backstay, points) = three_points(TEXT).await;
        let report = backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("marked");
        assert_eq!(report.tombstoned, [points[0].clone()], "{how}");
        lose(&world, &points[1], how).await;
        lose(&world, &points[2], how).await;
        world.clock.advance(2 * DAY);
        let plan = backstay.prune("daily").plan().await.expect("a plan");
        assert_eq!((plan.count(PruneAction::Undelete), plan.count(PruneAction::Delete)), (1, 0), "{how}: {plan}");
        assert_eq!(plan.apply().await.expect("it applies").undeleted, [points[0].clone()], "{how}");
        assert_eq!(restored(backstay.vault(), &points[0]).await.expect(how)[0].1, TEXT);
        let stands = backstay.vault().points().list(&points[0].source, &points[0].tier).await.expect("a list");
        assert!(stands.contains(&points[0]), "{how}");
    }
}
