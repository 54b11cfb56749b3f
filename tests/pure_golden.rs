//! Golden files: what format 1 looks like, byte for byte, and that a vault of this release stays readable for ever.
//!
//! `GOLDEN=write cargo test --test pure_golden` writes them anew; a change of them is a change of the format.

mod support;

use std::path::PathBuf;

use backstay::store::{Key, ObjectStoreExt};
use backstay::{Depth, Keyring, MemoryStore, PointId, Vault};
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
    vault.retire(&source, &"legacy".parse().expect("a name"), "gone for good").await.expect("retired");
    let custodian = world.keyring.custodian();
    vault.check_custodian(world.keyring.custodian_name(), custodian).await.expect("it opens");
    backstay.prune("daily").plan().await.expect("a plan").apply().await.expect("a tombstone");
    (world, points)
}

#[tokio::test(start_paused = true)]
async fn documents_of_format_1_are_what_they_were() {
    let (world, points) = world().await;
    let keys = world.keys("").await;
    compare(KEYS, (keys.join("\n") + "\n").as_bytes());
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
    let store = MemoryStore::new();
    for (key, content) in files(&folder.join("vault"), "") {
        store.put_new(&key, content).await.expect("memory takes it");
    }
    let vault = Vault::open_read_only(store)
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
    if writing() {
        std::fs::write(golden(name), found).expect("it can be written");
    }
    let expected = std::fs::read(golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(&expected), "{name} changed");
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
