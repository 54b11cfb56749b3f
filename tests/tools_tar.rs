//! GNU tar opens what we write, and we restore what GNU tar writes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_core::directory::Directory;
use backstay_core::source::{ExportRequest, ImportOptions, ResourceExporter, ResourceImporter};
use backstay_testkit::items::Items;
use backstay_testkit::tree;

/// Runs GNU tar; what it prints.
fn tar(args: &[&str]) -> String {
    let output = Command::new("tar").args(args).env("LC_ALL", "C.UTF-8").output().unwrap();
    // The standard's own word for names that are not UTF-8; GNU tar takes the bytes all the same.
    let errors = String::from_utf8_lossy(&output.stderr)
        .replace("tar: Ignoring unknown extended header keyword 'hdrcharset'\n", "");
    assert!(output.status.success() && errors.is_empty(), "tar {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn export(root: &Path, to: &Path) {
    let items = Items::new("files", "directory");
    let request = ExportRequest::new(
        "files".parse().unwrap(),
        "test/manual/20261120t064200z-abcdefgh".parse().unwrap(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let report = Directory::new(root).export(&request, &items).await.unwrap();
    assert_eq!(report.problems, []);
    fs::write(to, items.content("tree").unwrap()).unwrap();
}

async fn restore(archive: &Path, target: &Path) {
    let items = Items::new("files", "directory");
    items.add("tree", "tar", fs::read(archive).unwrap());
    let directory = Directory::new(target);
    let plan = directory.plan(&items, &ImportOptions::default()).await.unwrap();
    let report = directory.apply(&items, plan).await.unwrap();
    assert_eq!(report.problems, []);
}

/// A temporary folder that can be removed whatever modes are in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Paths that are too long for this hold nothing read-only.
        let _ = tree::make_removable(self.0.path());
    }
}

#[tokio::test]
async fn gnu_tar_extracts_our_archive_equal() {
    let place = Place::new();
    let [source, archive, target] = ["source", "ours.tar", "target"].map(|name| place.join(name));
    tree::awkward(&source).unwrap();
    export(&source, &archive).await;
    fs::create_dir(&target).unwrap();
    let [archive, to] = [&archive, &target].map(|path| path.to_str().unwrap());
    let listed = tar(&["--list", "--file", archive]);
    assert_eq!(listed.lines().next(), Some("./"));
    let keep =
        ["--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp"];
    tar(&[&["--extract", "--file", archive, "--directory", to][..], &keep].concat());
    assert_eq!(tree::diff(&source, &target).unwrap(), [""; 0]);
}

#[tokio::test]
async fn we_restore_an_archive_of_gnu_tar_equal() {
    let place = Place::new();
    let [source, archive, target] = ["source", "gnu.tar", "target"].map(|name| place.join(name));
    tree::awkward(&source).unwrap();
    let [to, from] = [&archive, &source].map(|path| path.to_str().unwrap());
    let keep = ["--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"];
    tar(&[&["--create", "--file", to, "--directory", from][..], &keep, &["."]].concat());
    restore(&archive, &target).await;
    // GNU tar stores the names of a FIFO as FIFOs of their own.
    let mut differences = tree::diff(&source, &target).unwrap();
    differences.retain(|line| !line.starts_with("\"links/fifo"));
    assert_eq!(differences, [""; 0]);
}

#[tokio::test]
async fn we_restore_older_formats_of_ordinary_files() {
    for (format, length) in [("gnu", 150), ("ustar", 80)] {
        let place = Place::new();
        let [source, archive, target] = ["source", "tar", "target"].map(|name| place.join(name));
        let deep = source.join("d".repeat(length));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("f".repeat(length)), "content").unwrap();
        fs::write(source.join("l".repeat(length)), "content").unwrap();
        fs::hard_link(source.join("l".repeat(length)), source.join("again")).unwrap();
        std::os::unix::fs::symlink("t".repeat(length), source.join("link")).unwrap();
        let [to, from] = [&archive, &source].map(|path| path.to_str().unwrap());
        tar(&["--create", "--file", to, "--directory", from, &format!("--format={format}"), "."]);
        restore(&archive, &target).await;
        // These formats keep whole seconds.
        let differences = tree::diff(&source, &target).unwrap();
        assert!(differences.iter().all(|line| line.contains(": time ")), "{differences:#?}");
        assert_eq!(fs::read(target.join("l".repeat(length))).unwrap(), b"content");
    }
}
