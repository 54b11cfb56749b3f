//! FORMAT.md's own commands restore an item with `age`, `zstd`, `sha256sum`, `ssh-keygen` and `cat`, word for word.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use backstay::{Backstay, Directory, Keep, Keyring, LocalStore, PointId, Tier, Vault};
use backstay_testkit::tree;

/// A vault in a folder with one point of an awkward tree.
struct ByHand {
    place: tempfile::TempDir,
    point: PointId,
}

impl ByHand {
    async fn new() -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let at = |name: &str| place.path().join(name);
        tree::awkward(at("data")).expect("a tree");
        let keyring = Keyring::create(at("keys")).expect("keys");
        let store = LocalStore::create(at("vault")).expect("a store");
        let vault = Vault::create(store).keyring(&keyring).build().await.expect("a vault");
        let backstay = Backstay::builder("prod-eu", vault)
            .export("files", Directory::new(at("data")))
            .tier(Tier::new("daily").keep(Keep::daily(1)))
            .build()
            .expect("well formed");
        let point = backstay.backup("daily").await.expect("a backup").id;
        fs::create_dir(at("out")).expect("a folder");
        Self { place, point }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// Runs the page's commands.
    fn run(&self) -> Output {
        let page = include_str!("../FORMAT.md");
        let section = page.split("## Restore by hand").nth(1).expect("the section");
        let script = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
        Command::new("bash")
            .args(["-c", script])
            .env("VAULT", self.at("vault"))
            .env("KEYS", self.at("keys"))
            .env("OUT", self.at("out"))
            .env("POINT", self.point.to_string())
            .output()
            .expect("bash runs")
    }

    fn item(&self) -> std::path::PathBuf {
        let items = fs::read_dir(self.at("vault").join(format!("items/{}", self.point))).expect("a folder");
        let own = items.map(|entry| entry.expect("an entry").path()).find(|path| !path.ends_with("zzzzzzzz"));
        only(&own.expect("the attempt"))
    }
}

#[tokio::test]
async fn the_pages_commands_restore_what_was_protected() {
    let by_hand = ByHand::new().await;
    let output = by_hand.run();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stdout));

    let details = fs::read_to_string(by_hand.at("out").join("details.jsonl")).expect("details");
    assert!(
        details.lines().any(|line| line.starts_with(r#"{"item":"#) && line.contains(r#""name":"tree""#)),
        "{details}"
    );

    let extracted = by_hand.at("extracted");
    fs::create_dir(&extracted).expect("a folder");
    let tar = Command::new("tar")
        .args(["--extract", "--xattrs", "--xattrs-include=*", "--same-permissions", "--file"])
        .arg(by_hand.at("out").join("000000-files"))
        .arg("--directory")
        .arg(&extracted)
        .output()
        .expect("tar runs");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    let differences = tree::diff(by_hand.at("data"), &extracted).expect("both are read");
    assert_eq!(differences, [""; 0]);
}

#[tokio::test]
async fn the_pages_commands_stop_at_a_flipped_byte_and_at_a_changed_manifest() {
    let by_hand = ByHand::new().await;
    let item = by_hand.item();
    let good = fs::read(&item).expect("the item");
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&item, bad).expect("damaged");
    let output = by_hand.run();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("FAILED"), "{}", String::from_utf8_lossy(&output.stdout));
    fs::write(&item, good).expect("mended");

    let manifest = by_hand.at("vault").join(format!("points/{}.json", by_hand.point));
    let text = fs::read_to_string(&manifest).expect("the manifest");
    fs::write(&manifest, text.replace("complete", "partial ")).expect("changed");
    let output = by_hand.run();
    assert!(!output.status.success(), "a changed manifest was taken");
}

#[tokio::test]
async fn the_pages_commands_open_nothing_that_was_not_signed() {
    let by_hand = ByHand::new().await;
    // A failed attempt, or somebody who may add objects, left another item under the point's ID.
    let attempt = by_hand.at("vault").join(format!("items/{}/zzzzzzzz", by_hand.point));
    fs::create_dir(&attempt).expect("a folder");
    fs::copy(by_hand.item(), attempt.join("000000-other.zst.age")).expect("planted");
    let output = by_hand.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(by_hand.at("out/000000-files").exists());
    assert!(!by_hand.at("out/000000-other").exists(), "a plant was opened");
}

fn only(folder: &Path) -> std::path::PathBuf {
    let mut entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let only = entries.next().expect("an entry");
    assert!(entries.next().is_none(), "{} holds more than one entry", folder.display());
    only
}
