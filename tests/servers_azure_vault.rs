//! Vaults on Azurite, by every way of signing in that it knows.

mod support;

use std::process::Command;
use std::time::Duration;

use backstay::azure::{BlobStore, Credential};
use backstay::store::{GetOptions, ListOptions, ObjectStore, ObjectStoreExt, Prefix};
use backstay::vault::Role;
use backstay::{
    Backstay, Clock, Depth, ErrorKind, Keep, Keyring, Random, Secret, SystemClock, SystemRandom, Tier, Vault,
};
use backstay_test_servers::azure::Azurite;
use backstay_testkit::mock::MockExporter;
use futures_util::TryStreamExt;
use support::azure::{container, made, sas, token};
use support::{exporter, restored};

const HOUR: Duration = Duration::from_secs(3600);

fn program(vault: Vault, exporter: MockExporter) -> Backstay {
    let tier = Tier::new("daily").keep(Keep::last(2));
    Backstay::builder("prod-eu", vault).export("db", exporter).tier(tier).build().expect("well formed")
}

/// More than one part, whatever compression makes of it.
fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    SystemRandom.fill(&mut content);
    content
}

/// A vault is made, written to, proved, restored and pruned.
async fn whole_life(store: BlobStore) {
    let keyring = Keyring::generate().expect("fresh keys");
    let content = content();
    let vault = Vault::create(store.clone()).keyring(&keyring).build().await.expect("a vault");
    let backstay = program(vault, exporter(&[("rows", &content)]));
    let mut points = Vec::new();
    for _ in 0..3 {
        points.push(backstay.backup("daily").await.expect("a backup").id);
    }
    let report = backstay.verify(&points[2]).depth(Depth::Decoded).await.expect("whole");
    assert_eq!(report.reached, Some(Depth::Decoded));
    let vault = Vault::open_read_only(store.clone()).keyring(&keyring).build().await.expect("opens");
    assert_eq!(restored(&vault, &points[2]).await.expect("restored"), [("rows".to_owned(), content)]);
    for _ in 0..2 {
        let plan = backstay.prune("daily").danger_no_grace().plan().await.expect("a plan");
        plan.apply().await.expect("pruned");
    }
    let (source, tier) = ("prod-eu".parse().expect("a name"), "daily".parse().expect("a name"));
    assert_eq!(vault.points().list(&source, &tier).await.expect("listed"), points[1..]);
    let unfinished: Vec<_> = store.uploads(&Prefix::all()).try_collect().await.expect("listed");
    assert!(unfinished.is_empty(), "{unfinished:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_lives_on_azurite_by_key_by_connection_string_and_by_sas() {
    let server = Azurite::start();
    whole_life(made(&server, "by-key").await).await;

    made(&server, "by-string").await;
    let text = Secret::new(server.connection_string());
    whole_life(BlobStore::from_connection_string(&text, "by-string").build().expect("well described")).await;

    made(&server, "by-sas").await;
    let sas = Credential::sas(sas("by-sas", "rcwdl", SystemClock.now() + HOUR));
    whole_life(container(&server, "by-sas").credential(sas).build().expect("well described")).await;
}

/// Backs up, reads and deletes with no more than the letters that each role's definition names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_gets_along_with_the_sas_that_comes_nearest_to_it() {
    let server = Azurite::start();
    let all = made(&server, "vault").await;
    let by = |role: Role| {
        let letters = all.role_definition(role, "/account", &Prefix::all()).expect("a place").sas;
        let sas = Credential::sas(sas("vault", &letters, SystemClock.now() + HOUR));
        container(&server, "vault").credential(sas).build().expect("well described")
    };
    let mut keyring = Keyring::generate().expect("fresh keys");
    Vault::create(all.clone()).keyring(&keyring).build().await.expect("a vault");
    let content = content();

    let store = by(Role::Writer);
    let keys = keyring.issue(Role::Writer, &"host".parse().expect("a name")).expect("issued");
    let vault = Vault::open_as(Role::Writer, store.clone()).keys(&keys).build().await.expect("opens");
    let point = program(vault, exporter(&[("rows", &content)])).backup("daily").await.expect("a backup").id;
    let item = all.list(&Prefix::new("items/").expect("a prefix"), &ListOptions::default()).try_next().await;
    let Some(backstay::store::ListEntry::Object(item)) = item.expect("listed") else { panic!("no item") };
    let error = store.get(&item.key, &GetOptions::default()).await.expect_err("a writer does not read");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let outcome = store.delete(&[item.key.clone().into()]).await.expect("answered").remove(0);
    assert_eq!(outcome.result.expect_err("a writer does not delete").kind(), ErrorKind::Denied);
    assert!(all.exists(&item.key).await.expect("answered"));

    let reader = Vault::open_read_only(by(Role::Restorer)).keyring(&keyring).build().await.expect("opens");
    assert_eq!(restored(&reader, &point).await.expect("restored")[0].1, content);
    let refused = by(Role::Restorer).put_new(&"points/x".parse().expect("a key"), "x").await.expect_err("only reads");
    assert_eq!(refused.kind(), ErrorKind::Denied);
}

/// The program runs again as a child, because trust in an authority is the whole process's.
#[test]
fn a_vault_lives_on_azurite_by_tokens_over_https() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if let Ok(endpoint) = std::env::var("BACKSTAY_TEST_AZURE") {
        runtime().block_on(by_tokens(&endpoint));
        return;
    }
    let server = Azurite::with_oauth();
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_vault_lives_on_azurite_by_tokens_over_https", "--nocapture"])
        .env("BACKSTAY_TEST_AZURE", server.endpoint())
        .env("SSL_CERT_FILE", server.ca().expect("it speaks https"))
        .output()
        .expect("it runs again");
    assert!(
        child.status.success(),
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
}

async fn by_tokens(endpoint: &str) {
    let by = |audience: &'static str, until: backstay::jiff::Timestamp| {
        let credential = Credential::token_with(move || Ok((token(audience, until), until)));
        BlobStore::at(&format!("{endpoint}/by-token")).credential(credential).build().expect("well described")
    };
    let later = SystemClock.now() + HOUR;
    let store = by("https://storage.azure.com", later);
    store.create_container().await.expect("made");
    whole_life(store).await;
    let stranger = by("https://graph.microsoft.com", later);
    let error = stranger.put_new(&"a".parse().expect("a key"), "x").await.expect_err("for somebody else");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}
