//! A server whose disk fills up in a restore: told as what it is, nothing half, the live database untouched.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use backstay::postgres::{PgConnect, PgDump, PgRestore, RestoreGlobals};
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Tier, Vault};
use backstay_test_servers::postgres::{Server, packaged};
use backstay_test_servers::{data, until};

/// The folder that makes this program the one on a small disk of its own.
const FOLDER: &str = "BACKSTAY_FULL_SERVER_TEST_FOLDER";

/// Runs this test program again, in a mount namespace where the folder is a disk of 250 MiB. It ends with the process.
#[test]
fn a_disk_that_fills_up_at_the_server_costs_a_try_and_nothing_else() {
    let place = backstay_test_servers::folder();
    let script = format!("mount -t tmpfs -o size=250m tmpfs \"${FOLDER}\" && exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).arg(std::env::current_exe().expect("this program"));
    command.args(["--exact", "on_a_small_disk", "--nocapture"]).env(FOLDER, place.path());
    let output = command.output().expect("unshare runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        assert!(told.contains("full at the server"), "{told}");
        return;
    }
    // Only a super-user starts servers as another one from a namespace of his own.
    assert!(told.contains("Operation not permitted") && !told.contains("panicked"), "{told}");
    eprintln!("LEFT OUT: full disks at a server: this user may not mount a file system");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_small_disk() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let major = packaged()[0];
    let (source, mut target) = (Server::start(major), Server::builder(major).data_on(Path::new(&folder)).start());
    let elsewhere = backstay_test_servers::folder();
    move_log(&mut target, elsewhere.path());
    data::fill(&source, "shop", 300);
    target.psql("postgres", "create database live");
    target.psql("live", "create table t as select i from generate_series(1, 1000) i");

    let vault = Vault::create(MemoryStore::new()).keyring(&Keyring::generate().expect("keys")).build().await;
    let from: PgConnect = source.url("postgres").parse().expect("a URL");
    let backstay = Backstay::builder("prod", vault.expect("a vault"))
        .export("db", PgDump::new(from).databases(["shop"]).programs_in(source.bin()))
        .tier(Tier::new("daily").keep(Keep::last(1)))
        .build()
        .expect("well formed");
    let point = backstay.backup("daily").await.expect("a point").id;

    let databases = || target.psql("postgres", "select datname from pg_database order by 1");
    let before = databases();
    let to: PgConnect = target.url("postgres").parse().expect("a URL");
    let restore = PgRestore::new(to).programs_in(target.bin()).globals(RestoreGlobals::AddMissing);
    let plan = backstay.restore(&point).component("db").into(restore.clone()).plan().await.expect("a plan");
    let error = plan.apply().await.expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    // A server may crash for want of room. What could not be dropped then bears a mark, and goes when it is up again.
    let mut remount = Command::new("mount");
    assert!(remount.args(["-o", "remount,size=1g"]).arg(&folder).status().expect("mount runs").success());
    let left = until("a server that recovers", || target.try_psql("postgres", "select 1").ok());
    assert_eq!(left, "1");
    for scratch in restore.scratches().await.expect("the server is up") {
        assert!(!scratch.whole, "{scratch:?}");
        restore.discard(&scratch.name).await.expect("it is nobody's");
    }
    assert_eq!(databases(), before, "what it made is gone");
    assert_eq!(target.psql("live", "select count(*) from t"), "1000");
    println!("full at the server");
}

/// Without room for its log a server does not refuse, it crashes.
fn move_log(server: &mut Server, to: &Path) {
    server.stop();
    let log = server.data().join("pg_wal");
    assert!(Command::new("cp").arg("-a").args([log.as_path(), to]).status().expect("cp runs").success());
    std::fs::remove_dir_all(&log).expect("it is ours");
    symlink(to.join("pg_wal"), &log).expect("a link");
    server.start_again();
}
