//! Declared replicas: prune waits for them, status tells how far they are behind, restore takes from them what was lost.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan, ReplicaStatus, VerifyReport};
use backstay::store::{ObjectStoreExt, Operation};
use backstay::{Backstay, Depth, ErrorKind, Keep, MemoryStore, PointId, Tier, Vault};
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::MockImporter;
use support::pair::Pair;
use support::{exporter, inline_budget, restored};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// What prune would do with the oldest of three points, and why.
async fn oldest(backstay: &Backstay) -> (PruneAction, String) {
    let plan: PrunePlan = (*backstay.prune("daily").plan().await.expect("a plan")).clone();
    (plan.steps[0].action, plan.steps[0].reason.clone())
}

async fn told(backstay: &Backstay) -> ReplicaStatus {
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.is_good(), status.tiers[0].replicas[0].error.is_none());
    status.tiers[0].replicas[0].clone()
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_would_keep_stays_until_it_is_whole_there() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let store = FaultyStore::new(Arc::new(pair.store.clone()));
    let backstay = pair.program(pair.replica(store.clone()).await.expect("it opens")).await;
    let (action, why) = oldest(&backstay).await;
    assert!(action == PruneAction::Keep && why.contains("not yet copied to dr: it is not there"), "{why}");
    let behind = told(&backstay).await;
    assert_eq!((behind.pending, behind.newest), (3, None));
    assert_eq!(behind.lag.expect("a lag").as_hours(), 72);

    pair.replicate().await;
    let (action, why) = oldest(&backstay).await;
    assert_eq!(action, PruneAction::Tombstone, "{why}");
    let even = told(&backstay).await;
    assert_eq!((even.pending, even.newest, even.lag), (0, Some(points[2].clone()), None));
    assert!(backstay.status().await.expect("a status").to_string().contains("replica dr: newest 2026"));

    // One file after the other is missing there.
    let of_oldest = |keys: Vec<String>| keys.into_iter().filter(|key| key.contains(&points[0].run.to_string()));
    let mut gone = 0;
    for key in of_oldest(pair.keys("").await).chain(pair.keys("keys/").await) {
        let needed = !(key.starts_with("copies/") || key.contains(".copy-"));
        let bytes = pair.read(&key).await;
        pair.remove(&key).await;
        // Of the two keys of that name one is the replica's own; both are left out together.
        let second = if key.starts_with("keys/") { pair.keys("keys/").await } else { Vec::new() };
        let mut others = Vec::new();
        for other in &second {
            others.push(pair.read(other).await);
            pair.remove(other).await;
        }
        let (action, why) = oldest(&backstay).await;
        assert_eq!(action == PruneAction::Keep, needed, "{key}: {why}");
        assert_eq!(why.contains("not yet copied to dr"), needed, "{key}: {why}");
        pair.overwrite(&key, bytes).await;
        for (other, bytes) in second.iter().zip(others) {
            pair.overwrite(other, bytes).await;
        }
        gone += 1;
    }
    assert!(gone >= 7, "only {gone} files");
    // One that is shorter.
    let item = pair.keys(&format!("items/{}/", points[0])).await.remove(0);
    let whole = pair.read(&item).await;
    pair.overwrite(&item, "short").await;
    assert_eq!(oldest(&backstay).await.0, PruneAction::Keep);
    pair.overwrite(&item, whole).await;
    let manifest = format!("points/{}.json", points[0]);
    let whole = pair.read(&manifest).await;
    pair.overwrite(&manifest, "{}").await;
    let (action, why) = oldest(&backstay).await;
    assert!(action == PruneAction::Keep && why.contains("another manifest"), "{why}");
    pair.overwrite(&manifest, whole).await;

    // Nobody answers there.
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)));
    let (action, why) = oldest(&backstay).await;
    assert!(action == PruneAction::Keep && why.contains("cannot be asked"), "{why}");
    assert!(told(&backstay).await.error.is_some());
    store.heal();

    // The replica is lost in the grace: what was marked stands again, so that it is copied.
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    pair.world.clock.advance(2 * DAY);
    let manifest = pair.read(&format!("points/{}.json", points[0])).await;
    pair.remove(&format!("points/{}.json", points[0])).await;
    let (action, why) = oldest(&backstay).await;
    assert!(action == PruneAction::Undelete && why.contains("not yet copied"), "{why}");
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)));
    let (action, why) = oldest(&backstay).await;
    assert!(action == PruneAction::Wait && why.contains("cannot be asked"), "{why}");
    store.heal();
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it stands again");
    assert_eq!(pair.replicate().await.copied, points[..1]);
    assert_eq!(pair.read(&format!("points/{}.json", points[0])).await, manifest);
    for days in [2, 0] {
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("marked again");
        pair.world.clock.advance(days * DAY);
    }
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("gone");
    let left = pair.left().await;
    assert_eq!(restored(&left, &points[0]).await.expect("the replica has it")[0].1, TEXT);
}

#[tokio::test(start_paused = true)]
async fn what_the_replica_would_not_keep_goes_without_it() {
    let (pair, _) = Pair::with_points(1, 3, TEXT).await;
    let program = |keep| {
        let pair = pair.clone();
        async move {
            Backstay::builder("prod-eu", pair.world.vault().await)
                .export("db", exporter(&[("rows", TEXT)]))
                .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", keep))
                .replica("dr", pair.replica(pair.store.clone()).await.expect("it opens"))
                .build()
                .expect("well formed")
        }
    };
    // It has nothing yet: of three it would keep this one, if it were copied alone.
    assert_eq!(oldest(&program(Keep::last(1)).await).await.0, PruneAction::Keep);
    pair.replicate().await;
    pair.remove(&pair.keys("items/").await.remove(0)).await;
    assert_eq!(oldest(&program(Keep::last(3)).await).await.0, PruneAction::Keep);
    assert_eq!(oldest(&program(Keep::last(1)).await).await.0, PruneAction::Tombstone);
}

/// A copy of the whole store that the platform keeps: the same marker, the same id, nothing of ours at work.
#[tokio::test(start_paused = true)]
async fn native_replication_is_checked_point_by_point() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let copy = backstay::MemoryStore::new().with_clock(Arc::new(pair.world.clock.clone()));
    let mut native = pair.clone();
    native.store = copy.clone();
    native.overwrite("backstay-1.json", pair.world.read("backstay-1.json").await).await;
    native.overwrite(&format!("backstay-1.{}", pair.world.keyring.vault_id()), "").await;
    let vault = pair.origin(copy).await.expect("it opens");
    let backstay = pair.program(vault).await;
    for key in pair.world.keys("").await {
        assert_eq!(oldest(&backstay).await.0, PruneAction::Keep, "before {key}");
        let of_oldest = key.contains(&points[0].run.to_string()) || key.starts_with("keys/");
        if of_oldest && !key.starts_with("runs/") && !key.starts_with("sigs/") {
            native.overwrite(&key, pair.world.read(&key).await).await;
        }
    }
    let signature = pair.world.keys(&format!("sigs/{}.", points[0])).await.remove(0);
    native.overwrite(&signature, pair.world.read(&signature).await).await;
    assert_eq!(oldest(&backstay).await.0, PruneAction::Tombstone, "all its keys are there");
}

#[tokio::test(start_paused = true)]
async fn build_tells_what_is_declared_twice_not_at_all_or_for_nothing() {
    let (pair, _) = Pair::with_points(1, 1, TEXT).await;
    let replica = || async { pair.replica(pair.store.clone()).await.expect("it opens") };
    let stranger = Vault::open_read_only(pair.store.clone()).trust(pair.keyring.allowed_signers().clone());
    let stranger = stranger.clock(pair.world.clock.clone()).budget(inline_budget()).build().await.expect("it opens");
    let error = Backstay::builder("prod-eu", pair.world.vault().await)
        .export("db", exporter(&[]))
        .tier(
            Tier::new("daily")
                .keep(Keep::last(2))
                .replicate_to("dr", Keep::last(1))
                .replicate_to("moon", Keep::last(1)),
        )
        .tier(Tier::new("odd").keep(Keep::last(2)).replicate_to("b_d", Keep::last(0)))
        .replica("dr", replica().await)
        .replica("dr", replica().await)
        .replica("idle", replica().await)
        .replica("odd", stranger)
        .build()
        .expect_err("much is wrong")
        .to_string();
    for expected in [
        "two replicas are called \"dr\"",
        "no tier is replicated to \"idle\"",
        "tier \"daily\" is replicated to \"moon\", which is not there",
        "the replica \"odd\" was not opened as one of this vault",
        "b_d",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let on_replica = Backstay::builder("prod-eu", replica().await)
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").covers(["db"]).keep(Keep::last(2)));
    assert!(on_replica.build().expect_err("no backups there").to_string().contains("takes no backups"));
    let tier: Tier =
        serde_json::from_str(r#"{ "name": "d", "keep": { "last": 2 }, "replicate_to": { "dr": { "last": 9 } } }"#)
            .expect("configuration");
    assert_eq!(tier.replicate_to["dr"].to_string(), "last 9");
}

#[tokio::test(start_paused = true)]
async fn a_restore_takes_each_part_from_where_it_is_intact() {
    let (pair, points) = Pair::with_points(1, 2, &[9; 200_000]).await;
    pair.replicate().await;
    let id = &points[0];
    let broken = FaultyStore::new(Arc::new(pair.world.store.clone()));
    let vault = pair.world.open(broken.clone(), 40).await.expect("it opens");
    let backstay = Backstay::builder("prod-eu", vault)
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(2)).replicate_to("dr", Keep::last(9)))
        .replica("dr", pair.replica(pair.store.clone()).await.expect("it opens"))
        .build()
        .expect("well formed");
    let restore = |id: PointId| {
        let backstay = backstay.clone();
        async move {
            let target = MockImporter::default();
            backstay.restore(&id).component("db").into(target.clone()).plan().await?.apply().await?;
            Ok::<_, backstay::Error>(target.content("rows").map(|content| content.len()))
        }
    };
    for (what, rule) in [
        ("a flipped byte of an item", Rule::new(Fault::FlipBit(100)).on([Operation::Get]).under("items/")),
        ("a flipped byte of the details", Rule::new(Fault::FlipBit(30)).on([Operation::Get]).under("details/")),
        (
            "half of an item",
            Rule::new(Fault::BreakOff(90, ErrorKind::Unavailable)).on([Operation::Get]).under("items/"),
        ),
        ("no items", Rule::new(Fault::FailBefore(ErrorKind::NotFound)).on([Operation::Get]).under("items/")),
        ("no manifests", Rule::new(Fault::FailBefore(ErrorKind::NotFound)).on([Operation::Get]).under("points/")),
        ("no signatures", Rule::new(Fault::BreakOff(0, ErrorKind::Unavailable)).on([Operation::List]).under("sigs/")),
        ("no keys", Rule::new(Fault::FailBefore(ErrorKind::Denied)).under("keys/")),
        ("nothing at all", Rule::new(Fault::FailBefore(ErrorKind::Unavailable))),
    ] {
        broken.add(rule);
        let length = restore(id.clone()).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(length, Some(200_000), "{what}");
        broken.heal();
    }
    // Both places are damaged: the first error is told, and nothing wrong is restored.
    let item = pair.keys(&format!("items/{id}/")).await.remove(0);
    let bytes = pair.read(&item).await;
    pair.overwrite(&item, vec![0; bytes.len()]).await;
    broken.add(Rule::new(Fault::FailBefore(ErrorKind::NotFound)).on([Operation::Get]).under("items/"));
    assert_eq!(restore(id.clone()).await.expect_err("nowhere").kind(), ErrorKind::NotFound);
    pair.overwrite(&item, bytes).await;
    broken.heal();
    // To verify is to prove this vault: damage is damage, though a replica has it.
    broken.add(Rule::new(Fault::FlipBit(100)).on([Operation::Get]).under("items/"));
    for depth in [Depth::Stored, Depth::Decoded] {
        let error = backstay.verify(id).depth(depth).await.expect_err("damaged here");
        let report: &VerifyReport = error.payload().expect("a report");
        assert!(report.findings[0].what.ends_with("intact in the replica dr"), "{}", report.findings[0]);
    }
    broken.heal();
    pair.world.remove(&format!("points/{id}.json")).await;
    restore(id.clone()).await.expect("the replica knows it");
    assert_eq!(backstay.verify(id).await.expect_err("no point here").kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn the_newest_point_is_found_wherever_it_is() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    pair.replicate().await;
    let replica = pair.left().await;
    let store = FaultyStore::new(Arc::new(pair.world.store.clone()));
    let vault = pair.world.open(store.clone(), 40).await.expect("it opens");
    let both = vault.with_replica("dr".parse().expect("a name"), replica);
    pair.world.remove(&format!("points/{}.json", points[2])).await;
    assert_eq!(both.points().latest("db").await.expect("there").id, points[2]);
    assert_eq!(restored(&both, &points[2]).await.expect("it restores")[0].1, TEXT);
    store.add(Rule::new(Fault::FailBefore(ErrorKind::Unavailable)));
    assert_eq!(both.points().latest("db").await.expect("there").id, points[2]);
    store.heal();
    pair.remove(&format!("points/{}.json", points[2])).await;
    assert_eq!(both.points().latest("db").await.expect("here").id, points[1]);
}

/// The status that looks for every object.
async fn told_of_all(backstay: &Backstay) -> ReplicaStatus {
    backstay.status().copies().await.expect("a status").tiers[0].replicas[0].clone()
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_in_a_replica_is_told_and_sent_again() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    pair.replicate().await;
    let backstay = pair.program(pair.replica(pair.store.clone()).await.expect("it opens")).await;
    assert_eq!(told_of_all(&backstay).await.pending, 0);
    for place in ["items", "details"] {
        let lost = pair.keys(place).await.into_iter().find(|key| key.contains(&points[1].run.to_string()));
        let lost = lost.expect("it has one");
        let bytes = pair.read(&lost).await;
        pair.remove(&lost).await;
        assert_eq!(told(&backstay).await.pending, 0, "only the newest is looked at unless more is asked for");
        let status = told_of_all(&backstay).await;
        assert_eq!((status.pending, status.newest.as_ref()), (1, Some(&points[2])), "{status}");
        let report = pair.replicate().await;
        assert_eq!((report.copied.as_slice(), report.bytes), (&points[1..2], bytes.len() as u64));
        assert_eq!(pair.read(&lost).await, bytes);
        assert_eq!(told_of_all(&backstay).await.pending, 0);
    }
    // Nothing is put over what stands there; it is for a person to remove.
    let cut = pair.keys("items").await.into_iter().find(|key| key.contains(&points[2].run.to_string()));
    pair.overwrite(&cut.clone().expect("it has one"), "short").await;
    assert_eq!(told(&backstay).await.newest.as_ref(), Some(&points[1]));
    let error = pair.copy(pair.world.store.clone(), pair.store.clone()).await.expect_err("it cannot be mended");
    assert!(error.kind() == ErrorKind::Partial && error.to_string().contains(&cut.expect("one")), "{error}");
}

/// A replica's own program exports nothing: what is in the points tells what should be.
#[tokio::test(start_paused = true)]
async fn a_program_without_exporters_is_not_well_because_it_knows_of_nothing() {
    let (pair, points) = Pair::with_points(1, 2, TEXT).await;
    let backstay = pair.pruner(pair.store.clone()).await.expect("well formed");
    assert!(!backstay.status().await.expect("a status").is_good(), "nothing is there");
    pair.replicate().await;
    let status = backstay.status().await.expect("a status");
    assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(&points[1]), "{status}");
    assert!(status.is_good() && status.unmanaged.is_empty(), "{status}");
}

#[tokio::test(start_paused = true)]
async fn what_a_platform_copied_in_part_is_pending() {
    let (pair, points) = Pair::with_points(1, 3, TEXT).await;
    let copy = MemoryStore::new().with_clock(Arc::new(pair.world.clock.clone()));
    let late = |key: &str| key.starts_with("items/") && key.contains(&points[1].run.to_string());
    let (later, sooner): (Vec<_>, Vec<_>) = pair.world.keys("").await.into_iter().partition(|key| late(key));
    let carry = async |keys: &[String]| {
        for key in keys {
            let bytes = pair.world.read(key).await;
            copy.put_new(&key.parse().expect("a key"), bytes).await.expect("memory takes it");
        }
    };
    carry(&sooner).await;
    let replica = pair.world.open(copy.clone(), 70).await.expect("the same vault");
    let backstay = pair.program(replica).await;
    let status = told_of_all(&backstay).await;
    assert_eq!((status.pending, status.newest.as_ref()), (1, Some(&points[2])), "{status}");
    assert_eq!(status.lag.expect("a lag").as_hours(), 48);
    carry(&later).await;
    let status = told_of_all(&backstay).await;
    assert_eq!((status.pending, status.error), (0, None));
    assert_eq!(oldest(&backstay).await.0, PruneAction::Tombstone, "it is there whole");
}
