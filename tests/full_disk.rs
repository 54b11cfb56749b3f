//! A disk that fills up in a backup and in a restore: told as what it is, nothing half, and the next try goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use backstay::{Backstay, Directory, ErrorKind, Keep, Keyring, LocalStore, Tier, Vault};
use backstay_testkit::tree;

/// The folder that makes this program the one on a small disk of its own.
const FOLDER: &str = "BACKSTAY_FULL_DISK_TEST_FOLDER";

/// Runs this test program again, in a mount namespace where `small` is a disk of 1 MiB. It ends with the process.
#[test]
fn a_disk_that_fills_up_costs_a_try_and_nothing_else() {
    let place = tempfile::tempdir().expect("a folder");
    fs::create_dir(place.path().join("small")).expect("a folder");
    let own = std::env::current_exe().expect("this program");
    let script = format!("mount -t tmpfs -o size=1m tmpfs \"${FOLDER}/small\" && exec \"$0\" \"$@\"");
    // Who is not root may be root in a namespace of his own.
    for user in [&[][..], &["--user", "--map-root-user"]] {
        let mut command = Command::new("unshare");
        command.args(user).args(["--mount", "sh", "-c", &script]).arg(&own);
        command.args(["--exact", "on_a_small_disk", "--nocapture"]).env(FOLDER, place.path());
        let output = command.output().expect("unshare runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert!(told.contains("full in a restore, too"), "{told}");
            return;
        }
        assert!(!told.contains("panicked"), "{told}");
    }
    eprintln!("LEFT OUT: full disks: this user may not mount a file system");
}

#[tokio::test]
async fn on_a_small_disk() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (source, small) = (folder.join("source"), folder.join("small"));
    for name in ["a", "b/c", "b/d"] {
        let (path, noise) = (source.join(name), blake3::Hasher::new().update(name.as_bytes()).finalize_xof());
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let mut content = vec![0; 700 << 10];
        { noise }.fill(&mut content);
        fs::write(path, content).expect("room");
    }
    let keyring = Keyring::create(folder.join("keys")).expect("keys");
    let store = || LocalStore::open(small.join("vault")).expect("it is there");
    fs::create_dir(small.join("vault")).expect("a folder");
    let vault = Vault::create(store()).keyring(&keyring).build().await.expect("a small vault fits");
    let backstay = Backstay::builder("prod", vault)
        .export("files", Directory::new(&source))
        .tier(Tier::new("daily").keep(Keep::last(2)))
        .build()
        .expect("well formed");

    let error = backstay.backup("daily").await.expect_err("it does not fit");
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert!(!small.join("vault/points").exists(), "nothing was committed");
    resize(&small, "64m");
    let id = backstay.backup("daily").await.expect("now there is room").id;
    println!("full in a backup");

    let target = small.join("target");
    let plan = || async { backstay.restore(&id).into(Directory::new(&target)).plan().await };
    let planned = plan().await.expect("there is room for it now");
    resize(&small, "4m");
    let error = planned.apply().await.expect_err("and now there is none");
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    let error = plan().await.expect_err("a new plan says so before anything is written");
    assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
    resize(&small, "64m");
    plan().await.expect("a plan").apply().await.expect("it goes on");
    assert_eq!(tree::diff(&source, &target).expect("both are there"), [""; 0]);
    println!("full in a restore, too");
}

fn resize(disk: &Path, size: &str) {
    let mut command = Command::new("mount");
    let status = command.args(["-o", &format!("remount,size={size}")]).arg(disk).status().expect("mount runs");
    assert!(status.success());
}
