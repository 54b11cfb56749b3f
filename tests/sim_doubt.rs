//! Doubt by content: what suddenly is another, small or unreadable stands for nothing until a person takes it.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan};
use backstay::retention::KeepRules;
use backstay::store::Operation;
use backstay::vault::Purpose;
use backstay::{Backstay, Keep, PointId, Random, Tier};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::FaultyStore;
use backstay_testkit::mock::{ExportScript, MockExporter};
use support::{World, exporter, hundred_thousand_plants};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn script(identity: &str, content: Vec<u8>) -> ExportScript {
    ExportScript::new([("rows", content)]).identity(identity)
}

fn usual() -> ExportScript {
    script("system-1", vec![b'x'; 1000])
}

fn small() -> ExportScript {
    script("system-1", vec![b'x'; 499])
}

/// A program whose nights follow these scripts, the last one for ever.
async fn program(world: &World, keep: KeepRules, nights: Vec<ExportScript>) -> Backstay {
    let mut nights = nights.into_iter();
    let first = MockExporter::scripted(nights.next().expect("a night"));
    Backstay::builder("prod-eu", world.vault().await)
        .export("db", nights.fold(first, MockExporter::then))
        .tier(Tier::new("daily").keep(keep))
        .build()
        .expect("well formed")
}

async fn nights(world: &World, backstay: &Backstay, count: usize) -> Vec<PointId> {
    let mut points = Vec::new();
    for _ in 0..count {
        points.push(backstay.backup("daily").await.expect("a writer may not judge").id);
        world.clock.advance(DAY);
    }
    points
}

async fn latest(backstay: &Backstay) -> PointId {
    backstay.vault().points().latest("db").await.expect("a point").id
}

async fn plan(backstay: &Backstay) -> PrunePlan {
    (*backstay.prune("daily").danger_allow_mass_expiry().plan().await.expect("a plan")).clone()
}

fn kept(plan: &PrunePlan, point: &PointId) -> bool {
    plan.steps.iter().any(|step| step.id == *point && step.action == PruneAction::Keep)
}

#[tokio::test(start_paused = true)]
async fn what_is_suddenly_another_small_or_enciphered_waits_for_a_person() {
    let mut noise = vec![0; 100_000];
    SeededRandom::new(5).fill(&mut noise);
    let split = ExportScript::new((0..4).map(|i| (format!("part-{i}"), vec![b'x'; 250]))).identity("system-1");
    for (before, after, reason) in [
        (usual(), small(), "db has 499 bytes, lately it had 1000"),
        (usual(), script("system-2", vec![b'x'; 1000]), "db was system-1 and is now system-2"),
        (script("system-1", vec![b'x'; 100_000]), script("system-1", noise), "enciphered"),
        (split, usual(), "db has 1 objects, lately it had 4"),
    ] {
        let world = World::new(3).await;
        let backstay = program(&world, Keep::last(2), vec![before.clone(), before.clone(), before, after]).await;
        let points = nights(&world, &backstay, 4).await;
        assert_eq!(latest(&backstay).await, points[2], "{reason}");

        let status = backstay.status().await.expect("a status");
        let tier = &status.tiers[0];
        assert_eq!(tier.components[0].newest.as_ref(), Some(&points[2]), "{status}");
        assert!(!status.is_good() && tier.doubtful == 1 && status.to_string().contains(reason), "{status}");

        let report = backstay.verify(&points[3]).await.expect("it is intact");
        assert!(report.doubt.is_some_and(|doubt| doubt.contains(reason)), "{reason}");
        assert_eq!(backstay.verify(&points[2]).await.expect("intact").doubt, None);

        let decided = plan(&backstay).await;
        assert!(points[1..].iter().all(|point| kept(&decided, point)), "{decided}");
        assert!(!kept(&decided, &points[0]) && decided.to_string().contains(reason), "{decided}");

        backstay.vault().accept(&points[3], "the legacy part moved elsewhere").await.expect("accepted");
        assert_eq!(latest(&backstay).await, points[3], "{reason}");
        assert_eq!(backstay.verify(&points[3]).await.expect("intact").doubt, None);
        assert!(backstay.status().await.expect("a status").is_good());
        assert!(!kept(&plan(&backstay).await, &points[1]));
    }
}

#[tokio::test(start_paused = true)]
async fn it_stays_in_doubt_however_many_nights_pass_and_lets_no_good_point_go() {
    for keep in [Keep::last(2), Keep::daily(2)] {
        let world = World::new(3).await;
        let backstay = program(&world, keep, vec![usual(), usual(), usual(), small()]).await;
        let good = nights(&world, &backstay, 3).await;
        for _ in 0..5 {
            let bad = nights(&world, &backstay, 9).await;
            assert_eq!(latest(&backstay).await, good[2]);
            let decided = plan(&backstay).await;
            assert!(kept(&decided, &good[1]) && kept(&decided, &good[2]), "{decided}");
            assert!(bad.iter().all(|point| kept(&decided, point)), "what is doubtful stays: {decided}");
            assert!(backstay.verify(&bad[8]).await.expect("intact").doubt.is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_goes_by_age_leaves_the_newest_good_point_to_what_is_in_doubt() {
    let world = World::new(3).await;
    let keep = Keep::within(jiff::ToSpan::hours(3 * 24));
    let backstay = program(&world, keep, vec![usual(), usual(), small()]).await;
    let points = nights(&world, &backstay, 9).await;
    let decided = plan(&backstay).await;
    assert!(!kept(&decided, &points[0]) && kept(&decided, &points[1]), "{decided}");
    assert!(decided.to_string().contains("newest good item of db"), "{decided}");
}

#[tokio::test(start_paused = true)]
async fn one_acceptance_is_enough_for_a_change_that_is_there_to_stay() {
    let world = World::new(3).await;
    let backstay = program(&world, Keep::last(3), vec![usual(), usual(), usual(), small()]).await;
    let points = nights(&world, &backstay, 5).await;
    backstay.vault().accept(&points[4], "half of it was archived").await.expect("accepted");
    let later = nights(&world, &backstay, 8).await;
    assert_eq!(latest(&backstay).await, later[7]);
    assert!(backstay.status().await.expect("a status").is_good());
    for point in &later {
        assert_eq!(backstay.verify(point).await.expect("intact").doubt, None);
    }
    // The one before the accepted point was not accepted, and is still there to be looked at.
    assert!(backstay.verify(&points[3]).await.expect("intact").doubt.is_some());
    // It must not go while the larger ones before it stand: the later ones would be in doubt again.
    let decided = plan(&backstay).await;
    assert_eq!(decided.count(PruneAction::Keep), 5, "{decided}");
    assert!(points[3..].iter().chain(&later[5..]).all(|point| kept(&decided, point)), "{decided}");
}

#[tokio::test(start_paused = true)]
async fn an_accepted_point_goes_when_nothing_stands_before_it() {
    let world = World::new(3).await;
    let backstay = program(&world, Keep::last(2), vec![usual(), usual(), small()]).await;
    let points = nights(&world, &backstay, 3).await;
    backstay.vault().accept(&points[2], "half of it was archived").await.expect("accepted");
    let later = nights(&world, &backstay, 3).await;
    let prune = || async { backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies") };
    let larger = [points[0].clone(), points[1].clone(), later[0].clone()];
    assert_eq!(prune().await.tombstoned, larger);
    world.clock.advance(2 * DAY);
    let report = prune().await;
    assert_eq!((report.deleted, report.tombstoned), (larger.to_vec(), vec![points[2].clone()]));
    world.clock.advance(2 * DAY);
    prune().await;
    assert_eq!(latest(&backstay).await, later[2]);
    assert!(backstay.status().await.expect("a status").is_good());
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_that_nobody_trusted_signed_takes_no_doubt_away() {
    let world = World::new(3).await;
    let backstay = program(&world, Keep::last(2), vec![usual(), usual(), small()]).await;
    let points = nights(&world, &backstay, 3).await;
    world.overwrite(&format!("points/{}.accepted", points[2]), "{}").await;
    assert_eq!(latest(&backstay).await, points[1]);
    assert!(backstay.verify(&points[2]).await.expect("intact").doubt.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_older_point_of_a_newer_version_is_no_measure_and_no_obstacle() {
    let world = World::new(3).await;
    let backstay = program(&world, Keep::last(9), vec![usual(), usual(), small()]).await;
    let points = nights(&world, &backstay, 3).await;
    let key = format!("points/{}.json", points[0]);
    let mut newer = world.json(&key).await;
    newer["requires"] = serde_json::json!(["something new"]);
    world.put_signed(&key, &format!("sigs/{}.point", points[0]), Purpose::Point, &newer).await;
    assert_eq!(latest(&backstay).await, points[1]);
    assert_eq!(backstay.verify(&points[1]).await.expect("intact").doubt, None);
    assert!(backstay.verify(&points[2]).await.expect("intact").doubt.is_some());
}

#[tokio::test(start_paused = true)]
async fn one_component_that_shrank_does_not_keep_another_from_growing() {
    let world = World::new(3).await;
    let vault = world.vault().await;
    let both = |first: usize, second: usize| {
        Backstay::builder("prod-eu", vault.clone())
            .export("db", exporter(&[("rows", &vec![b'x'; first])]))
            .export("files", exporter(&[("tree", &vec![b'x'; second])]))
            .tier(Tier::new("daily").keep(Keep::last(9)))
            .build()
            .expect("well formed")
    };
    both(1000, 100).backup("daily").await.expect("a backup");
    world.clock.advance(DAY);
    both(1000, 10_000).backup("daily").await.expect("a backup");
    world.clock.advance(DAY);
    let id = both(10, 20_000).backup("daily").await.expect("a backup").id;
    let doubt = both(1, 1).verify(&id).await.expect("intact").doubt.expect("db shrank");
    assert!(doubt.contains("db has 10 bytes") && !doubt.contains("files"), "{doubt}");
}

#[tokio::test(start_paused = true)]
async fn a_status_over_a_hundred_thousand_points_reads_few_of_them() {
    let world = hundred_thousand_plants().await;
    let store = FaultyStore::new(Arc::new(world.store.clone()));
    let backstay = Backstay::builder("prod-eu", world.open(store.clone(), 7).await.expect("it opens"))
        .export("db", MockExporter::scripted(usual()))
        .export("never", MockExporter::scripted(usual()))
        .tier(Tier::new("daily").covers(["db"]).keep(Keep::last(9)))
        .build()
        .expect("well formed");
    let points = nights(&world, &backstay, 70).await;
    let wider = Backstay::builder("prod-eu", backstay.vault().clone())
        .export("db", MockExporter::scripted(usual()))
        .export("never", MockExporter::scripted(usual()))
        .tier(Tier::new("daily").keep(Keep::last(9)))
        .build()
        .expect("well formed");

    store.reset_calls();
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(&points[69]));
    let (lists, gets) = (store.calls(Operation::List), store.calls(Operation::Get));
    // Of those it reads, five are near and the others twice as far each time; a real one costs two reads and a list, a
    // plant a read and three lists. The rest is for the tier, keys, retirements and what dead runs left.
    assert!(gets <= 2 * 6 + 17 && lists <= 20 + 6 + 3 * 17, "{gets} reads, {lists} lists");

    store.reset_calls();
    let status = wider.status().await.expect("a status");
    assert!(status.to_string().contains("never: none in the newest 64"), "{status}");
    let gets = store.calls(Operation::Get);
    assert!(gets <= 2 * 64 + 17, "{gets} reads");
}
