//! Guards of opening, pruning, proving and restoring, each with what it keeps out.

mod support;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backstay::engine::{PruneAction, PruneReport, VerifyReport};
use backstay::source::{
    CheckReport, ImportOptions, ImportPlan, ImportReport, ItemInfo, ItemSource, Problem, ResourceImporter,
};
use backstay::store::{Lock, ObjectStore, Operation};
use backstay::vault::SigningKey;
use backstay::{Backstay, Depth, ErrorKind, Keep, MemoryStore, Name, PointId, Result, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use backstay_testkit::mock::{ExportScript, MockExporter, MockImporter};
use jiff::ToSpan;
use support::gate::Gates;
use support::{World, exporter, inline_budget, program, restored};

/// Restores everything, and says that one entry failed.
#[derive(Debug)]
struct Torn(MockImporter);

#[async_trait]
impl ResourceImporter for Torn {
    fn accepts(&self, item: &ItemInfo) -> bool {
        self.0.accepts(item)
    }

    async fn check(&self, items: &dyn ItemSource) -> Result<CheckReport> {
        self.0.check(items).await
    }

    async fn plan(&self, items: &dyn ItemSource, options: &ImportOptions) -> Result<ImportPlan> {
        self.0.plan(items, options).await
    }

    async fn apply(&self, items: &dyn ItemSource, plan: ImportPlan) -> Result<ImportReport> {
        let mut report = self.0.apply(items, plan).await?;
        report.problems.push(Problem::new("row 7", "it was locked"));
        Ok(report)
    }
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Torn")
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";

/// Three points, of which the tier keeps two.
async fn three_points(store: MemoryStore) -> (World, Backstay, Vec<PointId>) {
    let mut world = World::without_vault(3);
    world.store = store.with_clock(Arc::new(world.clock.clone()));
    let created = Vault::create(world.store.clone()).keyring(&world.keyring).clock(world.clock.clone());
    created.budget(inline_budget()).build().await.expect("a new vault");
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
        world.clock.advance(DAY);
    }
    (world, backstay, points)
}

fn name(name: &str) -> Name {
    name.parse().expect("a name")
}

async fn of_point(world: &World, point: &PointId) -> Vec<String> {
    let mut keys = world.keys("").await;
    keys.retain(|key| key.contains(&point.run.to_string()) && !key.starts_with("runs/"));
    keys
}

/// As a bucket that somebody removed and made anew under a program that runs: it takes what is written.
#[tokio::test(start_paused = true)]
async fn a_vault_that_went_after_it_was_opened_takes_no_point() {
    for (before, what_stays) in [(0, ""), (1, ""), (1, "keys/")] {
        let world = World::new(5).await;
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        for _ in 0..before {
            backstay.backup("daily").await.expect("a backup");
        }
        world.clock.advance(DAY);
        let marker = (world.read("backstay-1.json").await, format!("backstay-1.{}", world.keyring.vault_id()));
        for key in world.keys("").await {
            if what_stays.is_empty() || !key.starts_with(what_stays) {
                world.remove(&key).await;
            }
        }
        let error = backstay.backup("daily").await.expect_err("there is no vault");
        assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("there is no vault here"), "{error}");
        assert_eq!(world.keys("points/").await, [""; 0]);
        // Once it is there again all is well, and a tier may be without points.
        world.overwrite("backstay-1.json", marker.0).await;
        world.overwrite(&marker.1, "").await;
        backstay.backup("daily").await.expect("a vault");
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_opens_only_where_and_as_it_is_meant() {
    let (world, ..) = three_points(MemoryStore::new()).await;
    let open = || Vault::open(world.store.clone()).keyring(&world.keyring);

    let stranger = SigningKey::generate(&SeededRandom::new(9));
    let error = open().sign_with(stranger).build().await.expect_err("nothing it signs would count");
    assert!(error.to_string().contains("not among the trusted"), "{error}");

    let gates = Gates::default();
    gates.open();
    gates.cannot_create();
    let error = world.open(gates.store(&world.store, 0), 5).await.expect_err("no create-if-absent");
    assert!(error.to_string().contains("create-if-absent"), "{error}");

    let reader = Vault::open_read_only(world.store.clone()).keyring(&world.keyring).build().await.expect("it opens");
    let built = Backstay::builder("prod-eu", reader.clone())
        .export("db", exporter(&[]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build();
    assert!(built.expect_err("a reader makes no points").to_string().contains("read-only"));
    let point = reader.points().latest("db").await.expect("a point").id;
    let held = reader.hold(&point, &name("audit"), "why").await.expect_err("a reader marks nothing");
    assert_eq!(held.kind(), ErrorKind::Refused, "{held}");

    let other = World::without_vault(77);
    world.overwrite(&format!("backstay-1.{}", other.keyring.vault_id()), "").await;
    let unpinned = Vault::open_read_only(world.store.clone()).trust(world.keyring.allowed_signers().clone());
    let error = unpinned.build().await.expect_err("two vaults claim this place");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(open().build().await.expect("ours is pinned").id(), world.keyring.vault_id());
    world.remove(&format!("backstay-1.{}", other.keyring.vault_id())).await;
    world.remove(&format!("backstay-1.{}", world.keyring.vault_id())).await;
    let error = open().build().await.expect_err("its beacon is gone");
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("put an empty"), "{error}");
    world.overwrite(&format!("backstay-1.{}", other.keyring.vault_id()), "").await;
    let other = Vault::open_read_only(world.store.clone()).keyring(&other.keyring).build().await;
    assert_eq!(other.expect_err("the marker is another's").kind(), ErrorKind::Corrupt);
    world.overwrite("backstay-1.json", vec![b' '; 2 << 20]).await;
    let error = Vault::open_read_only(world.store.clone()).trust(world.keyring.allowed_signers().clone()).build().await;
    assert!(error.expect_err("too large").to_string().contains("1 MiB"));
}

#[tokio::test(start_paused = true)]
async fn a_grace_leaves_time_to_take_a_deletion_back() {
    let world = World::new(3).await;
    let backstay = world.backstay(&[("rows", TEXT)]).await;
    backstay.backup("daily").await.expect("a backup");
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    let error = backstay.prune("daily").grace(hours(1)).plan().await.expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("danger_no_grace"), "{error}");
    drop(backstay.prune("daily").grace(hours(2)).plan().await.expect("long enough"));
}

#[tokio::test(start_paused = true)]
async fn what_another_put_under_our_key_is_not_ours() {
    // The same seed makes the same keys: the first world tells where the second one will write.
    let first = World::new(3).await;
    first.backstay(&[("rows", TEXT)]).await.backup("daily").await.expect("a backup");
    for prefix in ["items/", "details/", "points/"] {
        let world = World::new(3).await;
        let backstay = world.backstay(&[("rows", TEXT)]).await;
        let key = first.keys(prefix).await.remove(0);
        world.overwrite(&key, "a plant").await;
        let error = backstay.backup("daily").await.expect_err(prefix);
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{prefix}: {error}");
        assert!(error.to_string().contains(&key), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_locked_or_held_gets_no_tombstone() {
    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    let stale = backstay.prune("daily").plan().await.expect("a plan");
    backstay.vault().hold(&points[0], &name("audit"), "why").await.expect("held");
    // Not released by those who may: this stays a hold.
    world.overwrite(&format!("points/{}.release-audit", points[0]), "{}").await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Tombstone), 0, "{plan}");
    assert_eq!(stale.apply().await.expect("the hold wins").left.len(), 1);
    assert!(world.keys("sigs/").await.iter().all(|key| !key.contains(".deleted.")), "not even for a moment");

    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    let manifest: backstay::store::Key = format!("points/{}.json", points[0]).parse().expect("a key");
    let until = Lock::until("2026-12-01T00:00:00Z".parse().expect("a time"));
    world.store.protect(&manifest.into(), &until).await.expect("locked");
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert_eq!(plan.count(PruneAction::Tombstone), 0, "{plan}");
    assert!(plan.steps[0].reason.contains("locked"), "{plan}");
    world.clock.advance(DAY * 20);
    assert_eq!(backstay.prune("daily").plan().await.expect("a plan").count(PruneAction::Tombstone), 1);
}

#[tokio::test(start_paused = true)]
async fn marks_of_a_point_that_is_not_there_are_told() {
    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    backstay.vault().hold(&points[0], &name("audit"), "why").await.expect("held");
    world.remove(&format!("points/{}.json", points[0])).await;
    let plan = backstay.prune("daily").plan().await.expect("a plan");
    assert!(plan.strange.len() == 1 && plan.strange[0].contains("hold-audit"), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_begins_with_the_manifest_and_ends_with_the_tombstone() {
    for (refuses, manifest_stays) in
        [("points/", true), ("items/", false), ("details/", false), ("sigs/", false), ("then sigs/", false)]
    {
        let (world, backstay, points) = three_points(MemoryStore::new()).await;
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        world.clock.advance(DAY * 2);
        let before = of_point(&world, &points[0]).await;
        let store = FaultyStore::new(Arc::new(world.store.clone()));
        let vault = world.open(store.clone(), 5).await.expect("it opens");
        store.add(match refuses.strip_prefix("then ") {
            // The object stays, and the outcome says so though the call went well.
            None => Rule::new(Fault::FailFirst(ErrorKind::Denied)).on([Operation::Delete]).under(refuses),
            // They go, and nothing after them.
            Some(under) => Rule::new(Fault::FailAfter(ErrorKind::Denied)).on([Operation::Delete]).under(under),
        });
        let plan = program(vault, exporter(&[])).prune("daily").plan().await.expect("a plan");
        let error = plan.apply().await.expect_err("it stays");
        let report: &PruneReport = error.payload().expect("the report comes along");
        assert_eq!((report.deleted.len(), report.left.len()), (0, 1), "{refuses}");
        let after = of_point(&world, &points[0]).await;
        let stands = after.contains(&format!("points/{}.json", points[0]));
        assert_eq!(stands, manifest_stays, "{refuses}");
        assert!(!stands || after == before, "{refuses}: bytes went before the manifest");
        assert!(after.contains(&format!("points/{}.deleted", points[0])), "{refuses}");
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it goes on");
        assert_eq!(of_point(&world, &points[0]).await, [""; 0], "{refuses}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_store_with_versions_every_version_goes() {
    let (world, backstay, points) = three_points(MemoryStore::versioned()).await;
    let item = world.keys(&format!("items/{}", points[0])).await.remove(0);
    let content = world.read(&item).await;
    world.overwrite(&item, "a thief's").await;
    world.overwrite(&item, content).await;
    for _ in 0..2 {
        backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("it applies");
        world.clock.advance(DAY * 2);
    }
    let options = backstay::store::ListOptions::versions();
    let listing = world.store.list(&backstay::store::Prefix::all(), &options);
    let left = futures_util::TryStreamExt::try_collect::<Vec<_>>(listing).await.expect("memory lists");
    let run = points[0].run.to_string();
    let left: Vec<String> = left
        .iter()
        .map(|entry| format!("{entry:?}"))
        .filter(|entry| entry.contains(&run) && !entry.contains("runs/"))
        .collect();
    assert_eq!(left, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn verify_tells_each_kind_of_damage_at_its_depth() {
    let (world, backstay, points) = three_points(MemoryStore::new()).await;
    let (id, item) = (&points[0], world.keys(&format!("items/{}", points[0])).await.remove(0));
    let good = world.read(&item).await;
    world.overwrite(&item, [good.as_slice(), b"x"].concat()).await;
    let error = backstay.verify(id).depth(Depth::Listed).await.expect_err("another size");
    let report: &VerifyReport = error.payload().expect("the report comes along");
    assert!(report.reached.is_none() && report.findings[0].what.contains("bytes instead of"), "{error}");

    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    world.overwrite(&item, flipped).await;
    assert_eq!(backstay.verify(id).depth(Depth::Listed).await.expect("its size is right").reached, Some(Depth::Listed));
    let error = backstay.verify(id).depth(Depth::Stored).await.expect_err("a flipped bit");
    assert_eq!(error.payload::<VerifyReport>().expect("a report").reached, Some(Depth::Listed));
    world.overwrite(&item, good).await;

    let checked = backstay.verify(id).check("db", MockImporter::default()).await.expect("well formed");
    assert_eq!(checked.reached, Some(Depth::Checked));
    let error = backstay.verify(id).check("db", MockImporter::default().check_problem("row 7", "torn")).await;
    assert!(error.expect_err("a problem").to_string().contains("row 7"));
    let other = backstay.verify(id).check("db", MockImporter::default().kind("other")).await.expect("intact");
    assert_eq!((other.reached, other.unproved.len()), (Some(Depth::Decoded), 1));
    let unchecked = backstay.verify(id).depth(Depth::Checked).await.expect_err("by whom?");
    assert!(unchecked.kind() == ErrorKind::Invalid && unchecked.to_string().contains("check(component"), "{unchecked}");
}

#[tokio::test(start_paused = true)]
async fn a_restore_asks_who_where_and_what() {
    let world = World::new(3).await;
    let backstay = Backstay::builder("prod-eu", world.vault().await)
        .export("db", exporter(&[("rows", TEXT)]))
        .export("files", exporter(&[("rows", TEXT)]))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");
    let id = backstay.backup("daily").await.expect("a backup").id;
    let error = backstay.backup("daily").only(["dc"]).await.expect_err("no such component");
    assert!(error.to_string().contains("db, files"), "{error}");

    let restore = || backstay.restore(&id).options(ImportOptions::default());
    let error = restore().into(MockImporter::default()).plan().await.expect_err("which component?");
    assert!(error.to_string().contains("db, files"), "{error}");
    assert!(restore().component("db").plan().await.expect_err("into what?").to_string().contains("`into`"));
    let error = restore().component("db").into(MockImporter::default().kind("other")).plan().await;
    assert_eq!(error.expect_err("it reads no such items").kind(), ErrorKind::Unsupported);

    let torn = restore().component("db").into(Torn(MockImporter::default())).plan().await.expect("a plan");
    let error = torn.apply().await.expect_err("one entry is missing");
    assert!(error.kind() == ErrorKind::Partial && error.to_string().contains("row 7: it was locked"), "{error}");

    let target = MockImporter::default().fail_apply_after(0, ErrorKind::Unavailable);
    let planned = restore().component("db").into(target.clone()).plan().await.expect("a plan");
    let plan = planned.clone();
    planned.apply().await.expect_err("interrupted");
    let resumed = restore().into(target.healed()).resume(plan.clone()).await.expect("the same point and component");
    resumed.apply().await.expect("it goes on");
    assert_eq!(target.content("rows").expect("restored"), TEXT);
    let other = restore().component("files").into(target.healed()).resume(plan.clone()).await;
    assert_eq!(other.expect_err("another component").kind(), ErrorKind::Conflict);
    let newer = backstay.backup("daily").await.expect("a backup").id;
    let other = backstay.restore(&newer).into(target.healed()).resume(plan).await;
    assert_eq!(other.expect_err("another point").kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn status_tells_what_is_late_partial_and_nobodys() {
    let world = World::new(3).await;
    let daily = || Tier::new("daily").keep(Keep::last(9)).rpo(25.hours());
    let torn = ExportScript::new([("rows", TEXT)]).problem("row 7", "torn");
    let both = Backstay::builder("prod-eu", world.vault().await)
        .export("db", MockExporter::new([("rows", TEXT)]))
        .export("legacy", MockExporter::new([("rows", TEXT)]).then(torn))
        .tier(daily())
        .tier(Tier::new("old").keep(Keep::last(9)))
        .build()
        .expect("well formed");
    assert!(!both.status().await.expect("a status").is_good(), "nothing was ever backed up");
    let first = both.backup("daily").await.expect("a backup").id;
    both.backup("old").allow_partial().await.expect("partial is allowed");
    world.clock.advance(DAY);
    let second = both.backup("daily").allow_partial().await.expect("partial is allowed").id;
    let status = both.status().await.expect("a status");
    let newest = |index: usize| status.tiers[0].components[index].newest.clone();
    assert_eq!((newest(0), newest(1)), (Some(second), Some(first)));
    assert_eq!(status.tiers[0].partial, 1);
    assert!(status.unmanaged.is_empty() && status.is_good(), "{status}");

    world.clock.advance(DAY / 2);
    let late = |status: &backstay::Status| status.tiers[0].components.iter().map(|c| c.late).collect::<Vec<_>>();
    assert_eq!(late(&both.status().await.expect("a status")), [false, true], "the good item of legacy is 36 hours old");
    let other = Backstay::builder("prod-us", world.vault().await).export("db", exporter(&[("rows", TEXT)]));
    other.tier(daily()).build().expect("well formed").backup("daily").await.expect("a backup");
    let one = Backstay::builder("prod-eu", world.vault().await)
        .export("new", exporter(&[("rows", TEXT)]))
        .tier(daily())
        .build()
        .expect("well formed");
    let status = one.status().await.expect("a status");
    assert_eq!(late(&status), [true], "there is none");
    let text = status.to_string();
    for unmanaged in ["source prod-us", "tier old", "component db", "component legacy"] {
        assert!(text.contains(&format!("unmanaged: {unmanaged}")), "{unmanaged}: {text}");
    }
    let vague = world.vault().await.points().latest("db").await.expect_err("of which source?");
    assert_eq!(vague.kind(), ErrorKind::Invalid, "{vague}");
    let point = world.vault().await.points().source(name("prod-us")).latest("db").await.expect("of that one");
    assert_eq!(restored(&world.vault().await, &point.id).await.expect("whole")[0].1, TEXT);
}
