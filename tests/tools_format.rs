//! FORMAT.md's own commands restore an item with `age`, `zstd`, `sha256sum`, `ssh-keygen` and `cat`, word for word.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use backstay::engine::Replicator;
use backstay::{Backstay, Directory, Keep, Keyring, LocalStore, PointId, Tier, Vault};
use backstay_testkit::tree;
use jiff::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

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
        // Labels are the caller's words, whatever they look like.
        let point = backstay.backup("daily").label("key", "items/a").label("name", "b").await.expect("a backup").id;
        fs::create_dir(at("out")).expect("a folder");
        Self { place, point }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.place.path().join(name)
    }

    /// Runs the page's commands.
    fn run(&self) -> Output {
        self.run_in("vault", "keys")
    }

    /// Runs them on another vault, with other keys. The machine's time zone is no matter.
    fn run_in(&self, vault: &str, keys: &str) -> Output {
        let page = include_str!("../FORMAT.md");
        let section = page.split("## Restore by hand").nth(1).expect("the section");
        let script = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
        Command::new("bash")
            .args(["-c", script])
            .env("VAULT", self.at(vault))
            .env("KEYS", self.at(keys))
            .env("TZ", "America/Los_Angeles")
            .env("OUT", self.at("out"))
            .env("POINT", self.point.to_string())
            .output()
            .expect("bash runs")
    }

    /// A file beside the point: `place` is its folder, and `tail` what follows the point's ID.
    fn beside(&self, vault: &str, place: &str, tail: &str) -> std::path::PathBuf {
        self.at(vault).join(format!("{place}/{}{tail}", self.point))
    }

    fn manifest(&self) -> std::path::PathBuf {
        self.beside("vault", "points", ".json")
    }

    /// Says that every line of these signers counts until then.
    fn distrust_from(&self, keys: &str, time: SystemTime) {
        let path = self.at(keys).join("allowed_signers");
        let time = Timestamp::try_from(time).expect("a time").strftime("%Y%m%d%H%M%SZ").to_string();
        let text = fs::read_to_string(&path).expect("signers");
        let ends = |line: &str| match line.contains("namespaces=") {
            true => line.replace(" ssh-ed25519", &format!(",valid-before=\"{time}\" ssh-ed25519")),
            false => line.replace(" ssh-ed25519", &format!(" valid-before=\"{time}\" ssh-ed25519")),
        };
        fs::write(&path, text.lines().map(ends).collect::<Vec<_>>().join("\n") + "\n").expect("written");
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

    let manifest = by_hand.manifest();
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

#[tokio::test]
async fn the_pages_commands_are_not_stopped_by_what_a_writers_credential_may_plant() {
    let by_hand = ByHand::new().await;
    let manifest = fs::read(by_hand.manifest()).expect("the manifest");
    // They sort first: junk, and a true signature by a stranger.
    let stranger = Keyring::generate().expect("keys");
    let signature = stranger.signing_key().sign("backstay-point-v1", &manifest);
    let place = |tail: &str| by_hand.beside("vault", "sigs", &format!(".point.aaaaaaaaaaaaaaaaaaaaaaaaaa.{tail}.sig"));
    fs::write(place("aaaaaaaaaaaaaaaa"), "junk").expect("planted");
    fs::write(place("bbbbbbbbbbbbbbbb"), signature).expect("planted");
    // Key files too, and the record of a copy that nobody made.
    let keys = by_hand.at("vault/keys");
    fs::write(keys.join("epoch-1.aaaa.age"), "junk").expect("planted");
    let custodian = fs::read_to_string(by_hand.at("keys/custodian.txt")).expect("an identity");
    let recipient = custodian.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("a recipient");
    let other = by_hand.at("other.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&other).output().expect("age-keygen runs");
    assert!(made.status.success());
    let sealed =
        Command::new("age").args(["-r", recipient, "-o"]).arg(keys.join("epoch-1.bbbb.age")).arg(&other).output();
    assert!(sealed.expect("age runs").status.success());
    fs::create_dir_all(by_hand.at("vault/copies/prod-eu/daily")).expect("a folder");
    let record = format!(
        "{{\n  \"point\": \"{}\",\n  \"manifest\": \"{}\",\n  \"last_modified\": \"2020-01-01T00:00:00Z\",\n  \"complete\": true\n}}",
        by_hand.point,
        backstay::Sha256::of(&manifest)
    );
    fs::write(by_hand.beside("vault", "copies", ".aaaa.json"), record).expect("planted");
    let output = by_hand.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(by_hand.at("out/000000-files").exists());

    // A good manifest with its good signatures in another point's place is not that point.
    let moved: PointId = "prod-eu/daily/20991231t000000z-aaaaaaaa".parse().expect("an ID");
    fs::copy(by_hand.manifest(), by_hand.at(&format!("vault/points/{moved}.json"))).expect("planted");
    for signature in fs::read_dir(by_hand.at("vault/sigs/prod-eu/daily")).expect("a folder") {
        let from = signature.expect("an entry").path();
        let to = from.to_string_lossy().replace(&by_hand.point.run.to_string(), &moved.run.to_string());
        fs::copy(&from, to).expect("planted");
    }
    let moved = ByHand { point: moved, ..by_hand };
    let output = moved.run();
    assert!(!output.status.success(), "a moved manifest was taken");
    assert!(String::from_utf8_lossy(&output.stderr).contains("another point"));
}

#[tokio::test]
async fn the_pages_commands_take_what_was_taken_in_before_a_theft_and_nothing_later() {
    let by_hand = ByHand::new().await;
    let taken = fs::metadata(by_hand.manifest()).and_then(|meta| meta.modified()).expect("a time");
    // The theft, as the security page tells to note it, was half an hour ago.
    by_hand.distrust_from("keys", taken - HOUR / 2);
    let output = by_hand.run();
    assert!(!output.status.success(), "it was taken in after the theft");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nobody who was trusted for backstay-point-v1"));
    fs::File::open(by_hand.manifest()).and_then(|file| file.set_modified(taken - HOUR)).expect("a time");
    let output = by_hand.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_pages_commands_restore_from_a_replica_by_the_time_that_its_signed_copy_record_tells() {
    let by_hand = ByHand::new().await;
    let taken = fs::metadata(by_hand.manifest()).and_then(|meta| meta.modified()).expect("a time");
    let origin = Keyring::open(by_hand.at("keys")).expect("keys");
    let keyring = Keyring::create(by_hand.at("dr-keys")).expect("keys");
    let store = LocalStore::create(by_hand.at("dr")).expect("a store");
    let signers = origin.allowed_signers();
    let replica = Vault::create(store).keyring(&keyring).origin(origin.vault_id().clone(), signers);
    let replica = replica.build().await.expect("a replica");
    let from = LocalStore::open(by_hand.at("vault")).expect("a store");
    let from = Vault::open_read_only(from).trust(signers.clone()).build().await.expect("the origin");
    let copied = Replicator::new(from, replica).plan().await.expect("a plan").apply().await.expect("copied");
    assert_eq!(copied.copied.len(), 1, "{copied:?}");

    // The replica took it in an hour later, and who signed it is distrusted from a moment between the two.
    let copy = by_hand.beside("dr", "points", ".json");
    fs::File::open(copy).and_then(|file| file.set_modified(taken + HOUR)).expect("a time");
    by_hand.distrust_from("keys", taken + HOUR / 2);
    let both = by_hand.at("both");
    fs::create_dir(&both).expect("a folder");
    let [theirs, own] =
        ["keys", "dr-keys"].map(|keys| fs::read_to_string(by_hand.at(keys).join("allowed_signers")).expect("signers"));
    fs::write(both.join("allowed_signers"), theirs + &own).expect("written");
    // Whoever opens the replica's own epoch as well must not take it for the point's.
    let [theirs, own] =
        ["keys", "dr-keys"].map(|keys| fs::read_to_string(by_hand.at(keys).join("custodian.txt")).expect("identities"));
    fs::write(both.join("custodian.txt"), theirs + &own).expect("written");
    let output = by_hand.run_in("dr", "both");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(by_hand.at("out/000000-files").exists());

    // A record that says an earlier time and is not signed says nothing.
    let record = fs::read_dir(by_hand.at("dr/copies/prod-eu/daily")).expect("a folder").next().expect("a record");
    let record = record.expect("an entry").path();
    let text = fs::read_to_string(&record).expect("a record");
    fs::write(&record, text.replace("\"last_modified\": \"20", "\"last_modified\": \"19")).expect("forged");
    let output = by_hand.run_in("dr", "both");
    assert!(!output.status.success(), "an unsigned time was taken");
    fs::write(&record, text).expect("mended");
    assert!(by_hand.run_in("dr", "both").status.success());
}

fn only(folder: &Path) -> std::path::PathBuf {
    let mut entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let only = entries.next().expect("an entry");
    assert!(entries.next().is_none(), "{} holds more than one entry", folder.display());
    only
}
