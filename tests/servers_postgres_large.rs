//! A gigabyte with all that a schema has: into a vault, back out of it, and equal.

use backstay::postgres::{PgConnect, PgDump, PgRestore};
use backstay::{Backstay, Depth, Keep, Keyring, LocalStore, Tier, Vault};
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, packaged};

const DATABASE: &str = "shop";
const MEGABYTES: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_in_two_hundred_tables_comes_back_equal() {
    let server = Server::start(packaged()[0]);
    data::fill(&server, DATABASE, MEGABYTES);
    let before = data::fingerprint(&server, DATABASE);
    let place = tempfile::tempdir().expect("a folder");
    let store = LocalStore::create(place.path().join("vault")).expect("a store");
    let vault = Vault::create(store).keyring(&Keyring::generate().expect("keys")).build().await.expect("a vault");
    let connect: PgConnect = server.url("postgres").parse().expect("a URL");
    let backstay = Backstay::builder("prod", vault)
        .export("db", PgDump::new(connect.clone()).databases([DATABASE]).programs_in(server.bin()))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    let report = backstay.backup("daily").await.expect("a point");
    assert!(report.bytes() > 1_000_000_000, "{} bytes", report.bytes());
    let restore = PgRestore::new(connect).programs_in(server.bin()).into("back").analyze(false);
    let proof = backstay.verify(&report.id).check("db", restore.clone()).await.expect("it is whole");
    assert_eq!(proof.reached, Some(Depth::Checked));
    let plan = backstay.restore(&report.id).component("db").into(restore).plan().await.expect("a plan");
    plan.apply().await.expect("it restores");
    let mut differs = data::difference(&before, &data::fingerprint(&server, "back"));
    // What a role is set to in a database is the server's, and comes back with the globals.
    differs.retain(|line| !line.starts_with("database setting of "));
    assert_eq!(differs, [""; 0]);
}
