//! Golden files: what the documents of format 1 look like, and that a vault of this release stays readable for ever.
//!
//! `GOLDEN=write cargo test --test pure_golden` writes them anew; a change of them is a change of the format.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use backstay::store::{Key, ObjectStoreExt};
use backstay::{Depth, Keyring, MemoryStore, PointId, Vault};
use backstay_testkit::ManualClock;
use support::{World, exporter, program};

/// Keys of a source that has a complete and a partial point, marks of every kind, and a custodian's canary.
const KEYS: &str = "keys.txt";

async fn world() -> (World, Vec<PointId>) {
    use backstay_testkit::mock::{ExportScript, MockExporter};
    let world = World::new(11).await;
    let good = || ExportScript::new([("rows", "an item"), ("more", "another")]).identity("system-1");
    let exporter = MockExporter::scripted(good()).then(good().problem("a row", "it was locked")).then(good());
    let backstay = program(world.vault().await, exporter);
    let mut points = Vec::new();
    for label in ["first", "partial", "third", "fourth"] {
        points.push(backstay.backup("daily").label("why", label).allow_partial().await.expect("a backup").id);
        world.clock.advance(std::time::Duration::from_secs(24 * 3600));
    }
    let vault = backstay.vault();
    let audit = "audit".parse().expect("a name");
    vault.hold(&points[1], &audit, "the auditors want it").await.expect("held");
    vault.release(&points[1], &audit, "they have seen it").await.expect("released");
    vault.accept(&points[2], "looked at").await.expect("accepted");
    let source = "prod-eu".parse().expect("a name");
    vault.retire(&source, &"db".parse().expect("a name"), "gone for good").await.expect("retired");
    let custodian = world.keyring.custodian();
    vault.check_custodian(world.keyring.custodian_name(), custodian).await.expect("it opens");
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    (world, points)
}

#[tokio::test(start_paused = true)]
async fn documents_of_format_1_are_what_they_were() {
    let (world, points) = world().await;
    let keys = world.keys("").await;
    compare(KEYS, keys.join("\n").as_bytes());
    compare("marker.json", &world.read("backstay-1.json").await);
    compare("manifest-complete.json", &world.read(&format!("points/{}.json", points[0])).await);
    compare("manifest-partial.json", &world.read(&format!("points/{}.json", points[1])).await);
    compare("deleted.json", &world.read(&format!("points/{}.deleted", points[0])).await);
    compare("hold.json", &world.read(&format!("points/{}.hold-audit", points[1])).await);
    compare("release.json", &world.read(&format!("points/{}.release-audit", points[1])).await);
    compare("accepted.json", &world.read(&format!("points/{}.accepted", points[2])).await);
    let retired = keys.iter().find(|key| key.starts_with("retired/")).expect("a retirement");
    compare("retired.json", &world.read(retired).await);
    let canary = keys.iter().find(|key| key.ends_with(".canary")).expect("a canary");
    compare("canary.json", &world.read(canary).await);
    let history = keys.iter().find(|key| key.starts_with("history/") && key.ends_with(".json")).expect("a prune's end");
    // Its host and version are this machine's.
    let mut history = world.json(history).await;
    (history["host"], history["version"]) = ("host".into(), "0.0.0".into());
    compare("history.json", serde_json::to_string_pretty(&history).expect("JSON").as_bytes());
}

#[tokio::test(start_paused = true)]
async fn the_proofs_of_a_drill_and_of_a_verification_are_what_they_were() {
    use backstay::jiff::ToSpan;
    use backstay_testkit::mock::MockDrillTarget;
    let world = World::new(11).await;
    let tier = backstay::Tier::new("daily").keep(backstay::Keep::last(2)).rpo(1.hours()).rto(1.minutes());
    let backstay =
        backstay::Backstay::builder("prod-eu", world.vault().await).export("db", exporter(&[("rows", b"an item")]));
    let backstay = backstay.tier(tier).build().expect("well formed");
    let point = backstay.backup("daily").await.expect("a backup").id;
    world.clock.advance(std::time::Duration::from_secs(7200));
    backstay.verify(&point).record().await.expect("intact");
    let slow = || MockDrillTarget::default().takes(std::time::Duration::from_secs(2));
    backstay.drill("db").into(slow()).await.expect("good");
    backstay.drill("db").into(slow().check("a name", Err("a text"))).await.expect_err("bad");
    let keys = world.keys("proofs/").await;
    compare(
        "proof-keys.txt",
        [keys.clone(), world.keys(&format!("sigs/{point}.drill")).await].concat().join("\n").as_bytes(),
    );
    for (key, name) in keys.iter().zip(["proof-verify.json", "proof-drill.json", "proof-drill-failed.json"]) {
        compare(name, &world.read(key).await);
    }
}

#[tokio::test]
async fn a_vault_of_this_release_stays_readable() {
    let folder = golden("vault-1");
    if writing() {
        let keyring = Keyring::create(folder.join("keys")).expect("keys");
        let store = backstay::LocalStore::create(folder.join("vault")).expect("a store");
        let vault = Vault::create(store).keyring(&keyring).build().await.expect("a vault");
        let point = program(vault, exporter(&[("rows", b"an item of the first release")])).backup("daily").await;
        point.expect("a backup");
    }
    // Git keeps no modes, and a keyring refuses secrets that others can read: its parts are read one by one.
    let text = |name: &str| std::fs::read_to_string(folder.join("keys").join(name)).expect(name);
    // As if it had just been made: a store that takes an old point in later contradicts its ID.
    let clock = ManualClock::at("2026-11-20T15:11:00Z");
    let store = MemoryStore::new().with_clock(Arc::new(clock.clone()));
    for (key, content) in files(&folder.join("vault"), "") {
        store.put_new(&key, content).await.expect("memory takes it");
    }
    let vault = Vault::open_read_only(store)
        .clock(clock)
        .id(text("vault-id").trim().parse().expect("an id"))
        .trust(text("allowed_signers").parse().expect("signers"))
        .unlock_with(backstay::vault::Identity::parse(&text("custodian.txt")).expect("an identity"))
        .build()
        .await
        .expect("it opens");
    let point = vault.points().latest("db").await.expect("a point");
    vault.verify(&point.id).depth(Depth::Decoded).await.expect("intact");
    let restored = support::restored(&vault, &point.id).await.expect("it restores");
    assert_eq!(restored, [("rows".to_owned(), b"an item of the first release".to_vec())]);
}

fn writing() -> bool {
    std::env::var_os("GOLDEN").is_some_and(|value| value == "write")
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn compare(name: &str, found: &[u8]) {
    let found = masked(std::str::from_utf8(found).expect("text"));
    if writing() {
        std::fs::write(golden(name), &found).expect("it can be written");
    }
    let expected = std::fs::read_to_string(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(found, expected, "{name} changed");
}

/// Details name the host and the version that wrote them; what follows from their bytes is not the format's.
fn masked(text: &str) -> String {
    let mut in_details = false;
    let mask = |line: &str, in_details: bool| {
        let hides_length = in_details || line.contains("details/") || line.trim_start().starts_with("\"bytes\"");
        let line = match line.split_once("bytes\": ") {
            Some((before, after)) if hides_length => {
                format!("{before}bytes\": N{}", after.trim_start_matches(char::is_numeric))
            }
            _ => line.to_owned(),
        };
        let is_digest = |word: &str| matches!(word.len(), 26 | 64) && word.bytes().all(|b| b.is_ascii_alphanumeric());
        let is_id = line.contains("vault") || line.starts_with("backstay-1.");
        let word = |word: &str| if is_digest(word) && !is_id { "DIGEST".to_owned() } else { word.to_owned() };
        let quoted = |part: &str| part.split('"').map(word).collect::<Vec<_>>().join("\"");
        line.split('.').map(quoted).collect::<Vec<_>>().join(".")
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        in_details |= line.contains("\"details\": {");
        lines.push(mask(line, in_details));
    }
    lines.join("\n") + "\n"
}

/// The objects of a vault in a folder; what the store keeps for itself is hidden.
fn files(folder: &std::path::Path, prefix: &str) -> Vec<(Key, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        match entry.file_type().expect("a type").is_dir() {
            _ if name.starts_with('.') => {}
            true => found.extend(files(&entry.path(), &format!("{prefix}{name}/"))),
            false => {
                let content = std::fs::read(entry.path()).expect("the content");
                found.push((format!("{prefix}{name}").parse().expect("a key"), content));
            }
        }
    }
    found
}
