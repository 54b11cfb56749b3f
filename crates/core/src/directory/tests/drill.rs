//! Drills of directories: a folder that comes and goes, checks that do not deceive, a sweep that takes its own alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::super::DirectoryDrill;
use super::super::drill::open_up;
use super::*;
use crate::source::{DrillPlace, DrillTarget, Validation};

const BEGAN: &str = "2026-11-20T06:42:00Z";
const UNTIL: &str = "2026-11-21T06:42:00Z";
const NAME: &str = "backstay-drill-20261121t064200z-abcdefgh";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn place(until: &str) -> DrillPlace {
    let point = "prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap();
    DrillPlace::new("files".parse().unwrap(), point, (time(BEGAN), time(until)), "abcdefgh".parse().unwrap())
}

/// A tree with every kind of entry, as an archive.
async fn exported() -> (TempDir, Archive) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("etc/deep")).unwrap();
    fs::write(root.path().join("etc/app.conf"), "port = 1\n").unwrap();
    fs::write(root.path().join("etc/deep/data"), "x".repeat(5000)).unwrap();
    fs::hard_link(root.path().join("etc/deep/data"), root.path().join("again")).unwrap();
    symlink("/etc", root.path().join("system")).unwrap();
    fs::File::create(root.path().join("sparse")).unwrap().set_len(1 << 20).unwrap();
    let archive = export_all(root.path()).await;
    (root, archive)
}

/// Restores into a scratch folder of this drill, changes something there, and checks it.
async fn drilled(drill: DirectoryDrill, archive: &Archive, change: impl FnOnce(PathBuf)) -> Validation {
    let scratch = drill.prepare(&place(UNTIL)).await.unwrap();
    let importer = scratch.importer();
    let plan = importer.plan(archive, &ImportOptions::default()).await.unwrap();
    let report = importer.apply(archive, plan).await.unwrap();
    assert_eq!(report.problems, []);
    let folder = scratch.to_string().trim_start_matches("folder ").to_owned();
    change(PathBuf::from(folder).join("tree"));
    let validation = scratch.validate(archive).await.unwrap();
    scratch.remove().await.unwrap();
    validation
}

fn outcome(validation: &Validation) -> Vec<(&str, bool)> {
    validation.checks.iter().map(|check| (check.name.as_str(), check.ok)).collect()
}

#[tokio::test]
async fn what_was_restored_is_checked_and_goes_without_a_trace() {
    let (_root, archive) = exported().await;
    let parent = tempfile::tempdir().unwrap();
    let drill = DirectoryDrill::new(parent.path())
        .exists(["etc/app.conf", "etc", "system"])
        .newest_within(Duration::from_secs(3600))
        .check("a port is set", |tree| Ok(fs::read_to_string(tree.join("etc/app.conf"))?.trim().to_owned()));
    let validation = drilled(drill, &archive, |tree| {
        let folder = tree.parent().unwrap();
        assert_eq!(folder.file_name().unwrap(), NAME);
        let mode = fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "what is restored is nobody else's to read");
    })
    .await;
    assert!(validation.passed(), "{validation}");
    let names = [
        "files, folders and links",
        "bytes in files",
        "file that was changed last",
        "etc/app.conf",
        "etc",
        "system",
        "a port is set",
    ];
    assert_eq!(outcome(&validation).iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    assert_eq!(validation.checks[6].found, "port = 1");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "the folder is gone");
}

#[tokio::test]
async fn each_check_finds_what_it_is_for() {
    let (_root, archive) = exported().await;
    type Change = fn(PathBuf);
    let cases: [(&str, Change); 5] = [
        ("files, folders and links", |tree| fs::write(tree.join("more"), "").unwrap()),
        ("bytes in files", |tree| {
            fs::write(tree.join("etc/deep/data"), "").unwrap();
            fs::write(tree.join("sparse"), "").unwrap();
        }),
        ("file that was changed last", |tree| {
            for name in ["etc/app.conf", "etc/deep/data", "sparse"] {
                fs::File::open(tree.join(name)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        }),
        ("again", |tree| fs::rename(tree.join("again"), tree.join("other")).unwrap()),
        ("a port is set", |tree| fs::write(tree.join("etc/app.conf"), "nothing.....\n").unwrap()),
    ];
    for (name, change) in cases {
        let parent = tempfile::tempdir().unwrap();
        let drill = DirectoryDrill::new(parent.path())
            .exists(["again"])
            .newest_within(Duration::from_secs(3600))
            .check("a port is set", |tree| {
                let text = fs::read_to_string(tree.join("etc/app.conf"))?;
                if text.contains("port") { Ok(text) } else { Err("no port".into()) }
            });
        let validation = drilled(drill, &archive, change).await;
        let failed: Vec<_> = outcome(&validation).into_iter().filter(|(_, ok)| !ok).collect();
        assert_eq!(failed, [(name, false)], "{validation}");
    }
}

#[tokio::test]
async fn no_check_looks_outside_what_was_restored() {
    let (_root, archive) = exported().await;
    for path in ["/etc/passwd", "../../../../../../etc/passwd", "system/passwd"] {
        assert!(PathBuf::from("/etc/passwd").exists());
        let parent = tempfile::tempdir().unwrap();
        let validation = drilled(DirectoryDrill::new(parent.path()).exists([path]), &archive, |_| {}).await;
        assert!(!validation.checks[2].ok, "{path}: {validation}");
    }
}

#[tokio::test]
async fn an_archive_that_tells_nothing_must_still_hold_something() {
    let parent = tempfile::tempdir().unwrap();
    let foreign = archive(&[file("a", "1")]);
    let validation = drilled(DirectoryDrill::new(parent.path()), &foreign, |_| {}).await;
    assert_eq!(outcome(&validation), [("files, folders and links", true)]);
    let validation =
        drilled(DirectoryDrill::new(parent.path()), &foreign, |tree| fs::remove_dir_all(tree).unwrap()).await;
    assert_eq!(outcome(&validation), [("files, folders and links", false)]);
}

/// Something below a parent that has the name of a drill whose time is over, and is none.
fn look_alikes(parent: &Path) -> Vec<PathBuf> {
    let names = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd", "eeeeeeee"].map(|tag| NAME.replace("abcdefgh", tag));
    let [unmarked, link, file, linked_marker, copied] = names.map(|name| parent.join(name));
    fs::create_dir_all(unmarked.join("tree")).unwrap();
    fs::write(unmarked.join("tree/precious"), "1").unwrap();
    fs::write(&file, "precious").unwrap();
    // Of another drill: the marker names its own folder.
    let marker = format!(
        "A Backstay drill restores into this folder and removes it; a later drill may once its time is over.\n{NAME}\n"
    );
    fs::create_dir(&copied).unwrap();
    fs::write(copied.join("BACKSTAY-DRILL"), &marker).unwrap();
    // A marker that would do, behind a link; and a whole drill's folder behind one.
    fs::create_dir(&linked_marker).unwrap();
    fs::write(parent.join("marker"), marker.replace(NAME, linked_marker.file_name().unwrap().to_str().unwrap()))
        .unwrap();
    symlink(parent.join("marker"), linked_marker.join("BACKSTAY-DRILL")).unwrap();
    let real = parent.join("real");
    fs::create_dir(&real).unwrap();
    fs::write(real.join("BACKSTAY-DRILL"), marker.replace(NAME, link.file_name().unwrap().to_str().unwrap())).unwrap();
    symlink(&real, &link).unwrap();
    vec![unmarked.join("tree/precious"), file, copied, linked_marker, link, real.join("BACKSTAY-DRILL")]
}

#[tokio::test]
async fn a_sweep_takes_folders_of_drills_whose_time_is_over_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "1").unwrap();
    let drill = DirectoryDrill::new(parent.path());
    drop(drill.prepare(&place(UNTIL)).await.unwrap());
    fs::create_dir(parent.path().join(NAME).join("tree")).unwrap();
    symlink(outside.path(), parent.path().join(NAME).join("tree/out")).unwrap();
    let strangers = look_alikes(parent.path());

    assert_eq!(drill.sweep(time(UNTIL)).await.unwrap(), [""; 0], "its time is not over");
    assert!(parent.path().join(NAME).is_dir());
    let swept = drill.sweep(time("2026-11-21T06:42:01Z")).await.unwrap();
    assert_eq!(swept, [parent.path().join(NAME).display().to_string()]);
    assert!(!parent.path().join(NAME).exists());
    assert!(outside.path().join("precious").exists(), "a link is removed, not followed");
    for stranger in strangers {
        assert!(stranger.symlink_metadata().is_ok(), "{} is not a drill's", stranger.display());
    }
}

#[tokio::test]
async fn a_place_that_is_there_is_not_taken() {
    let parent = tempfile::tempdir().unwrap();
    let drill = DirectoryDrill::new(parent.path());
    fs::create_dir(parent.path().join(NAME)).unwrap();
    let error = drill.prepare(&place(UNTIL)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(parent.path().join(NAME).is_dir());
    // And a parent that is not there is said.
    let error = DirectoryDrill::new(parent.path().join("missing")).prepare(&place(UNTIL)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_removal_repeats_and_takes_what_is_closed_to_its_owner() {
    let parent = tempfile::tempdir().unwrap();
    let scratch = DirectoryDrill::new(parent.path()).prepare(&place(UNTIL)).await.unwrap();
    let closed = parent.path().join(NAME).join("tree/a/b");
    fs::create_dir_all(&closed).unwrap();
    fs::write(closed.join("file"), "1").unwrap();
    for folder in [closed.as_path(), closed.parent().unwrap()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o500)).unwrap();
    }
    scratch.remove().await.unwrap();
    scratch.remove().await.unwrap();
    assert!(!parent.path().join(NAME).exists());

    // The super-user is stopped by no mode, so what opens them is tried by itself.
    fs::create_dir_all(&closed).unwrap();
    symlink("/", closed.join("link")).unwrap();
    fs::set_permissions(closed.parent().unwrap(), fs::Permissions::from_mode(0o500)).unwrap();
    open_up(&parent.path().join(NAME).join("tree")).unwrap();
    assert_eq!(fs::metadata(closed.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
}
