//! A thief with the writer's rights and the writer's signing key: he lists, he creates, he signs points. Whatever he
//! puts, every earlier point stays, restores, and is found; and what he put is told.

mod support;

use std::sync::Arc;
use std::time::Duration;

use backstay::engine::{PruneAction, PrunePlan};
use backstay::store::{ObjectStore, Operation, PutOptions};
use backstay::vault::{AllowedSigner, AllowedSigners, Purpose, SigningKey};
use backstay::{Backstay, Clock, Depth, ErrorKind, Keep, MemoryStore, PointId, RunId, Tier, Vault};
use backstay_testkit::SeededRandom;
use backstay_testkit::fault::{Fault, FaultyStore, Rule};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::{World, exporter, inline_budget, restored, signature_key, world_on};

const DAY: Duration = Duration::from_secs(24 * 3600);
const TEXT: &[u8] = b"content";
const EARLIER: u32 = 8;
const SEEDS: u64 = 24;
const PLANTS: usize = 40;

/// A vault whose points a writer signs with a key that is trusted for points only.
struct Scene {
    world: World,
    writer: SigningKey,
    points: Vec<PointId>,
    /// One that was marked, and taken back: its tombstone and signature are the thief's to keep.
    tombstone: Vec<(String, Vec<u8>)>,
    /// When the writer's key was stolen, once that is known.
    stolen_at: Option<Timestamp>,
}

impl Scene {
    async fn new(seed: u64, versioned: bool) -> Self {
        let store = if versioned { MemoryStore::versioned() } else { MemoryStore::new() };
        let world = world_on(store, seed).await;
        let writer = SigningKey::generate(&SeededRandom::new(seed + 500));
        let mut scene = Self { world, writer, points: Vec::new(), tombstone: Vec::new(), stolen_at: None };
        let writing = scene.program(scene.vault(&scene.world.store, Some(&scene.writer)).await, Keep::last(EARLIER));
        for _ in 0..EARLIER {
            scene.points.push(writing.backup("daily").await.expect("a backup").id);
            scene.world.clock.advance(DAY);
        }
        let admin = scene.vault(&scene.world.store, None).await;
        let pruning = scene.program(admin.clone(), Keep::last(EARLIER - 1));
        pruning.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
        let first = scene.points[0].clone();
        for prefix in [format!("points/{first}.deleted"), format!("sigs/{first}.deleted.")] {
            for key in scene.world.keys(&prefix).await {
                let content = scene.world.read(&key).await;
                scene.tombstone.push((key, content));
            }
        }
        assert_eq!(scene.tombstone.len(), 2, "{:?}", scene.tombstone);
        admin.undelete(&first).await.expect("in time");
        // From now on that tombstone is too old to be put back.
        scene.world.clock.advance(Duration::from_secs(3600));
        scene
    }

    /// Opens the vault; signs with the keyring's key, which may do everything, or with another.
    async fn vault(&self, store: &(impl ObjectStore + Clone), signer: Option<&SigningKey>) -> Vault {
        let mut trust: AllowedSigners = self.world.keyring.allowed_signers().clone();
        let mut writer =
            AllowedSigner::new("backup@host", self.writer.public()).namespaces([Purpose::Point.namespace()]);
        writer.valid_before = self.stolen_at;
        trust.add(writer).expect("one more");
        let mut vault = Vault::open(store.clone()).keyring(&self.world.keyring).trust(trust);
        if let Some(signer) = signer {
            vault = vault.sign_with(signer.clone());
        }
        let vault = vault.clock(self.world.clock.clone()).random(SeededRandom::new(self.world.seed + 9));
        vault.budget(inline_budget()).build().await.expect("it opens")
    }

    fn program(&self, vault: Vault, keep: backstay::retention::KeepRules) -> Backstay {
        Backstay::builder("prod-eu", vault)
            .export("db", exporter(&[("rows", TEXT)]))
            .tier(Tier::new("daily").keep(keep))
            .build()
            .expect("well formed")
    }

    /// The store as the thief may use it.
    fn thief(&self) -> Thief<'_> {
        let denied = Fault::FailBefore(ErrorKind::Denied);
        let store = FaultyStore::new(Arc::new(self.world.store.clone()))
            .with(Rule::new(denied.clone()).overwrites())
            .with(Rule::new(denied).except([Operation::Put, Operation::List]));
        Thief { scene: self, store, planted: 0 }
    }

    /// Every earlier point shows, is proved, restores, and the newest of them is the newest.
    async fn check(&self, backstay: &Backstay, place: &str) {
        let vault = backstay.vault();
        let (source, tier) = (&self.points[0].source, &self.points[0].tier);
        let listed = vault.points().list(source, tier).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        for id in &self.points {
            assert!(listed.contains(id), "{place}: {id} does not show");
            let report = vault.verify(id).depth(Depth::Decoded).await;
            report.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            let content = restored(vault, id).await.unwrap_or_else(|error| panic!("{place}: {id}: {error}"));
            assert_eq!(content[0].1, TEXT, "{place}");
        }
        let newest = self.points.last().expect("there are some");
        let latest = vault.points().source(source.clone()).latest("db").await;
        assert_eq!(latest.unwrap_or_else(|error| panic!("{place}: {error}")).id, *newest, "{place}");
        let found = vault.points().find(&newest.run.to_string()).await;
        assert_eq!(found.unwrap_or_else(|error| panic!("{place}: {error}")).id.run, newest.run, "{place}");
        let status = backstay.status().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(status.tiers[0].components[0].newest.as_ref(), Some(newest), "{place}: {status}");
    }
}

/// What he can: create, and sign with the writer's key.
struct Thief<'a> {
    scene: &'a Scene,
    store: FaultyStore,
    planted: u64,
}

impl Thief<'_> {
    /// Whether it was taken; what is there already stays.
    async fn put(&self, key: &str, content: impl Into<Vec<u8>>) -> bool {
        let Ok(key) = key.parse() else { return false };
        match self.store.put(&key, content.into().into(), &PutOptions::default()).await {
            Ok(_) => true,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Invalid), "{error}");
                false
            }
        }
    }

    async fn put_signed(&self, key: &str, place: &str, purpose: Purpose, content: Vec<u8>) -> bool {
        let key_id = self.scene.writer.public().id();
        self.put(&signature_key(place, &content, &key_id), self.scene.writer.sign(purpose.namespace(), &content)).await;
        self.put(key, content).await
    }

    /// He made the points himself, so he has the text of each manifest.
    async fn manifest(&self, id: &PointId) -> Value {
        self.scene.world.json(&format!("points/{id}.json")).await
    }

    fn run(&self, days: i64, random: &SeededRandom) -> RunId {
        RunId::new(self.scene.world.clock.now() + jiff::SignedDuration::from_hours(24 * days), random)
    }

    /// A manifest of a real point, made to be that of another.
    async fn point(&self, of: &PointId, id: &PointId, change: impl FnOnce(&mut Value)) -> bool {
        let mut manifest = self.manifest(of).await;
        manifest["source"] = json!(id.source.as_str());
        manifest["tier"] = json!(id.tier.as_str());
        manifest["id"] = json!(id.run.to_string());
        change(&mut manifest);
        let content = serde_json::to_vec_pretty(&manifest).expect("JSON");
        self.put_signed(&format!("points/{id}.json"), &format!("sigs/{id}.point"), Purpose::Point, content).await
    }

    async fn mark(&self, id: &PointId, name: &str, says: Value, purpose: Purpose) -> bool {
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

    /// One plant, drawn by the dice. None of them is a point that a writer could have made honestly.
    async fn plant(&mut self, dice: &SeededRandom) -> Option<&'static str> {
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
        let (taken, told) = match dice.next_u64() % 24 {
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

/// Keys as long as a real one that are none.
fn odd_name(n: u64) -> String {
    let odd = ["%", "\u{e4}", " ", "~", "A", "'", ";"][n as usize % 7];
    format!("2026112{n:0>3}t06420z-abcdef{odd}.json")
}

fn destroys(plan: &PrunePlan, points: &[PointId]) -> bool {
    plan.steps
        .iter()
        .any(|step| points.contains(&step.id) && matches!(step.action, PruneAction::Tombstone | PruneAction::Delete))
}

#[tokio::test(start_paused = true)]
async fn nothing_that_a_thief_puts_costs_an_earlier_point() {
    for seed in 0..SEEDS {
        let scene = Scene::new(seed, seed % 2 == 1).await;
        let dice = SeededRandom::new(seed + 7000);
        let mut told = Vec::new();
        let mut thief = scene.thief();
        for _ in 0..PLANTS {
            told.extend(thief.plant(&dice).await);
        }
        let place = format!("seed {seed}");
        let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
        scene.check(&admin, &place).await;
        // Twice, with no grace at all, as a pruner in a hurry would.
        for _ in 0..2 {
            let plan = admin.prune("daily").danger_no_grace().plan().await;
            let plan = plan.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(!destroys(&plan, &scene.points), "{place}: {plan}");
            for told in &told {
                assert!(plan.strange.iter().any(|strange| strange.contains(told)), "{place}: {told:?}: {plan}");
            }
            plan.apply().await.unwrap_or_else(|error| panic!("{place}: {error}"));
            scene.check(&admin, &place).await;
            scene.world.clock.advance(Duration::from_secs(3600));
        }
        let status = admin.status().await.expect("a status");
        for told in &told {
            assert!(status.strange.iter().any(|strange| strange.contains(told)), "{place}: {told:?}: {status}");
        }
        // The next backup works, counts, and lets the oldest go as it should.
        let writing = scene.program(scene.vault(&scene.world.store, Some(&scene.writer)).await, Keep::last(EARLIER));
        let next = writing.backup("daily").await.unwrap_or_else(|error| panic!("{place}: {error}")).id;
        let plan = admin.prune("daily").plan().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        let marked: Vec<_> = plan.steps.iter().filter(|step| step.action == PruneAction::Tombstone).collect();
        assert!(marked.iter().all(|step| step.id == scene.points[0]), "{place}: {plan}");
        restored(admin.vault(), &next).await.unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

/// What a newer version may have written is passed over and told: the way to block `latest` would be open otherwise.
#[tokio::test(start_paused = true)]
async fn a_signed_point_that_asks_for_the_unknown_blocks_nobody() {
    let scene = Scene::new(1, false).await;
    let thief = scene.thief();
    let id = PointId { run: thief.run(0, &SeededRandom::new(3)), ..scene.points[0].clone() };
    assert!(thief.point(&scene.points[0], &id, |manifest| manifest["requires"] = json!(["time-travel"])).await);
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    scene.check(&admin, "asks for the unknown").await;
    let status = admin.status().await.expect("a status");
    assert!(!status.is_good() && status.to_string().contains("time-travel"), "{status}");
}

/// They are doubtful by the listing alone, so that `latest` need not read them, however well they are signed.
#[tokio::test(start_paused = true)]
async fn signed_points_from_the_future_cost_no_read() {
    let scene = Scene::new(1, false).await;
    let thief = scene.thief();
    for n in 1..=40 {
        let id = PointId { run: thief.run(n, &SeededRandom::new(3)), ..scene.points[0].clone() };
        assert!(thief.point(&scene.points[0], &id, |manifest| manifest["details"] = json!(null)).await);
    }
    let store = FaultyStore::new(Arc::new(scene.world.store.clone()));
    let vault = scene.vault(&store, None).await;
    store.reset_calls();
    let latest = vault.points().latest("db").await.expect("the newest that is no plant");
    assert_eq!(Some(&latest.id), scene.points.last());
    let gets = store.calls(Operation::Get);
    assert!(gets <= 2 * (1 + u64::from(EARLIER)), "its manifest and signature, and what it is compared with: {gets}");
}

/// What the writer's key signs is a point, and retention counts it: within the grace everything can be had back, once the
/// key is trusted for no more than the time before it was stolen.
#[tokio::test(start_paused = true)]
async fn what_a_stolen_key_pushes_out_comes_back_within_the_grace() {
    let mut scene = Scene::new(1, false).await;
    let stolen_at = scene.world.clock.now();
    scene.world.clock.advance(Duration::from_secs(60));
    let (thief, random) = (scene.thief(), SeededRandom::new(3));
    for day in 0..i64::from(EARLIER) {
        let [first, ..] = scene.points.as_slice() else { unreachable!("there are some") };
        let id = PointId { run: thief.run(-day.min(6), &random), ..first.clone() };
        // As large as the true ones, or nobody would take them for the same component.
        let mut objects = thief.manifest(first).await["components"][0]["objects"].clone();
        for object in objects.as_array_mut().expect("objects") {
            let key = object["key"].as_str().expect("a key").replace(&first.run.to_string(), &id.run.to_string());
            let garbage = vec![b'x'; usize::try_from(object["bytes"].as_u64().expect("a number")).expect("small")];
            assert!(thief.put(&key, garbage).await);
            object["key"] = json!(key);
        }
        let garbage = |manifest: &mut Value| {
            manifest["components"][0]["objects"] = objects;
            manifest["details"] = json!(null);
        };
        assert!(thief.point(first, &id, garbage).await);
    }
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    let plan = admin.prune("daily").plan().await.expect("a plan");
    assert!(destroys(&plan, &scene.points), "retention would count them: {plan}");
    let report = plan.apply().await.expect("it applies");
    for id in &scene.points {
        assert_eq!(restored(admin.vault(), id).await.expect("it is all there")[0].1, TEXT);
    }
    // The next morning somebody sees it, and says until when the key was his.
    scene.world.clock.advance(DAY / 2);
    scene.stolen_at = Some(stolen_at);
    let admin = scene.program(scene.vault(&scene.world.store, None).await, Keep::last(EARLIER));
    for id in &report.tombstoned {
        if scene.points.contains(id) {
            admin.vault().undelete(id).await.expect("in the grace");
        }
    }
    scene.check(&admin, "the key is trusted no more").await;
    let plan = admin.prune("daily").plan().await.expect("a plan");
    assert!(!destroys(&plan, &scene.points), "{plan}");
}

/// Ten thousand keys of one kind cost a listing and a few reads, whatever is asked.
#[tokio::test(start_paused = true)]
async fn a_flood_costs_listings_and_a_few_reads() {
    const FLOOD: u64 = 10_000;
    type Plant = fn(&Scene, u64, &RunId) -> Vec<String>;
    let floods: [(&str, Plant); 10] = [
        ("odd keys", |_, n, _| vec![format!("points/prod-eu/daily/{}", odd_name(n))]),
        ("commits", |_, _, run| vec![format!("points/prod-eu/daily/{run}.json")]),
        ("future commits", |scene, n, _| {
            let time = scene.world.clock.now() + jiff::SignedDuration::from_secs(3600 + n as i64);
            vec![format!("points/prod-eu/daily/{}.json", RunId::new(time, &SeededRandom::new(n)))]
        }),
        ("partial commits", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.partial"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("void commits", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.void"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("tombstones of nothing", |_, _, run| vec![format!("points/prod-eu/daily/{run}.deleted")]),
        ("tombstones", |_, _, run| {
            vec![format!("points/prod-eu/daily/{run}.deleted"), format!("points/prod-eu/daily/{run}.json")]
        }),
        ("holds", |scene, n, _| vec![format!("points/{}.hold-x{n}", scene.points[0])]),
        ("retirements", |_, _, run| {
            let time = run.to_string();
            vec![format!("retired/prod-eu/db.{}.json", time.split('-').next().expect("a time"))]
        }),
        ("key files", |scene, n, _| vec![format!("keys/{}.a{n}.age", scene.world.keyring.epoch().name)]),
    ];
    for (what, keys) in floods {
        let scene = Scene::new(1, false).await;
        let (thief, random) = (scene.thief(), SeededRandom::new(3));
        for n in 0..FLOOD {
            // Within the last two days, so that nothing else makes them doubtful.
            let time = scene.world.clock.now() - jiff::SignedDuration::from_secs(n as i64 * 17);
            for key in keys(&scene, n, &RunId::new(time, &random)) {
                thief.put(&key, "{}").await;
            }
        }
        let store = FaultyStore::new(Arc::new(scene.world.store.clone()));
        let admin = scene.program(scene.vault(&store, None).await, Keep::last(EARLIER));
        let calls = |act: &str| {
            let (gets, lists) = (store.calls(Operation::Get), store.calls(Operation::List));
            assert!(gets <= 60 && lists <= 60, "{what}: {act}: {gets} reads, {lists} listings");
            store.reset_calls();
        };
        store.reset_calls();
        let plan = admin.prune("daily").plan().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("plan");
        assert!(!destroys(&plan, &scene.points), "{what}");
        let doubtful = plan.steps.iter().filter(|step| step.reason.contains("doubtful"));
        let told = (plan.strange.len() + doubtful.count()) as u64;
        assert!(told >= FLOOD - FLOOD / 10 || what == "key files", "{what}: {told} told");
        plan.apply().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("apply");
        admin.status().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("status");
        let newest = scene.points.last().expect("some");
        let source = newest.source.clone();
        let points = admin.vault().points().source(source.clone());
        assert_eq!(points.latest("db").await.unwrap_or_else(|error| panic!("{what}: {error}")).id, *newest, "{what}");
        calls("latest");
        points.list(&source, &newest.tier).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("list");
        restored(admin.vault(), &scene.points[0]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        calls("restore");
    }
}
