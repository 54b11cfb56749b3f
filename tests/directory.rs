//! The directory source against the contracts, and on the most awkward trees there are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay::store::{ListEntry, ListOptions, ObjectStore as _, Prefix};
use backstay::{Backstay, ErrorKind, Keep, Keyring, MemoryStore, Tier, Vault};
use backstay_core::directory::Directory;
use backstay_core::source::{
    ExportReport, ExportRequest, ImportOptions, ImportReport, ResourceExporter, ResourceImporter,
};
use backstay_testkit::conformance::source::{self, ImporterSetup};
use backstay_testkit::items::Items;
use backstay_testkit::tree;
use futures_util::TryStreamExt as _;

async fn export(root: &Path) -> (Items, ExportReport) {
    let items = Items::new("files", "directory");
    let request = ExportRequest::new(
        "files".parse().unwrap(),
        "test/manual/20261120t064200z-abcdefgh".parse().unwrap(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let report = Directory::new(root).export(&request, &items).await.unwrap();
    (items, report)
}

async fn restore(items: &Items, target: &Path) -> ImportReport {
    let directory = Directory::new(target);
    let plan = directory.plan(items, &ImportOptions::default()).await.unwrap();
    directory.apply(items, plan).await.unwrap()
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
async fn an_awkward_tree_comes_back_equal() {
    let place = Place::new();
    let (source, target) = (place.join("source"), place.join("target"));
    tree::awkward(&source).unwrap();
    let (items, report) = export(&source).await;
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
    let report = restore(&items, &target).await;
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
    assert_eq!(tree::diff(&source, &target).unwrap(), [""; 0]);

    // Holes stay holes, in the archive and in the target.
    assert!(items.content("tree").unwrap().len() < 2 << 20);
    let on_disk = |root: &Path| fs::metadata(root.join("sparse/far")).unwrap().blocks();
    assert!(on_disk(&target) <= on_disk(&source) + 64);

    // The copy exports the same bytes: nothing was lost on the way that the comparison does not see.
    let (again, _) = export(&target).await;
    assert!(items.content("tree") == again.content("tree"));
}

#[tokio::test]
async fn the_comparison_sees_every_change() {
    let place = Place::new();
    let (source, target) = (place.join("source"), place.join("target"));
    tree::awkward(&source).unwrap();
    let (items, _) = export(&source).await;
    restore(&items, &target).await;
    let set_time = |path: &str| {
        fs::File::open(target.join(path)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    set_time("names/plain");
    fs::write(target.join("names/.hidden"), "another").unwrap();
    // A copy in the place of the second name, and a second name for what were two files.
    fs::rename(target.join("links/b"), target.join("links/c")).unwrap();
    fs::copy(target.join("links/c"), target.join("links/b")).unwrap();
    fs::hard_link(source.join("names/plain"), place.join("outside")).unwrap();
    fs::remove_file(target.join("links/to a")).unwrap();
    std::os::unix::fs::symlink("b", target.join("links/to a")).unwrap();
    rustix::fs::lremovexattr(target.join("attributes/attributes"), "user.empty").unwrap();
    let differences = tree::diff(&source, &target).unwrap().join("\n");
    for expected in [
        "\"names/plain\": time",
        "\"names/.hidden\": content",
        "\"links/b\": hard link",
        "\"links/c\": only in the second",
        "\"links/to a\": target",
        "\"attributes/attributes\": attributes",
    ] {
        assert!(differences.contains(expected), "{expected} in\n{differences}");
    }
    assert!(!differences.contains("\"names/plain\": hard link"), "a name outside the tree is nobody's business");

    let (apart, joined) = (place.join("apart"), place.join("joined"));
    for folder in [&apart, &joined] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("a"), "same").unwrap();
    }
    fs::write(apart.join("b"), "same").unwrap();
    fs::hard_link(joined.join("a"), joined.join("b")).unwrap();
    for (a, b) in [(&apart, &joined), (&joined, &apart)] {
        let differences = tree::diff(a, b).unwrap().join("\n");
        assert!(differences.contains("\"b\": hard link to the same file"), "{differences}");
    }
}

#[tokio::test]
async fn a_tree_deeper_than_descriptors_and_paths_comes_back() {
    const DEPTH: usize = 2_100;
    let place = Place::new();
    let (source, target) = (place.join("source"), place.join("target"));
    fs::create_dir(&source).unwrap();
    let mut dir = open(&source);
    for _ in 0..DEPTH {
        rustix::fs::mkdirat(&dir, "d", 0o700.into()).unwrap();
        dir = below(&dir, "d");
    }
    rustix::fs::symlinkat("found", &dir, "bottom").unwrap();
    let (items, report) = export(&source).await;
    assert_eq!(report.problems, []);
    assert_eq!(restore(&items, &target).await.problems, []);
    let mut dir = open(&target);
    for _ in 0..DEPTH {
        dir = below(&dir, "d");
    }
    assert_eq!(rustix::fs::readlinkat(&dir, "bottom", Vec::new()).unwrap().to_bytes(), b"found");
}

fn open(path: &Path) -> std::os::fd::OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn below(dir: &std::os::fd::OwnedFd, name: &str) -> std::os::fd::OwnedFd {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags, rustix::fs::Mode::empty()).unwrap()
}

/// A program that protects the folder.
async fn program(root: &Path, store: &MemoryStore) -> Backstay {
    let keyring = Keyring::generate().unwrap();
    let vault = Vault::create(store.clone()).keyring(&keyring).build().await.unwrap();
    Backstay::builder("test", vault)
        .export("files", Directory::new(root).exclude(["*.tmp"]))
        .tier(Tier::new("daily").keep(Keep::daily(1)))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_source_with_nothing_in_it_is_no_success() {
    let place = Place::new();
    let source = place.join("source");
    fs::create_dir_all(source.join("lost+found")).unwrap();
    // What the globs leave out is not protected either.
    fs::write(source.join("only.tmp"), "left out").unwrap();
    let backstay = program(&source, &MemoryStore::new()).await;
    let error = backstay.backup("daily").await.unwrap_err();
    assert!(error.to_string().contains("nothing to protect"), "{error}");
    assert_eq!(backstay.vault().points().latest("files").await.unwrap_err().kind(), ErrorKind::NotFound);

    let point = backstay.backup("daily").allow_empty().await.unwrap();
    let target = place.join("target");
    backstay.restore(&point.id).into(Directory::new(&target)).plan().await.unwrap().apply().await.unwrap();
    let names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lost+found"]);

    fs::write(source.join("file"), "something").unwrap();
    backstay.backup("daily").await.unwrap();
}

#[tokio::test]
async fn points_that_differ_in_nothing_but_content_are_not_mixed() {
    let place = Place::new();
    let (source, target) = (place.join("source"), place.join("target"));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("one"), "content").unwrap();
    let settle = || fs::File::open(&source).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    settle();
    let store = MemoryStore::new();
    let backstay = program(&source, &store).await;
    let first = backstay.backup("daily").await.unwrap().id;
    fs::rename(source.join("one"), source.join("two")).unwrap();
    settle();
    let second = backstay.backup("daily").await.unwrap().id;

    // The first restore begins, and ends where it would read.
    let list = store.list(&Prefix::new(format!("items/{first}/")).unwrap(), &ListOptions::default());
    for entry in list.try_collect::<Vec<_>>().await.unwrap() {
        let ListEntry::Object(meta) = entry else { panic!("no folders were asked for") };
        store.delete(&[meta.key.into()]).await.unwrap();
    }
    let plan = async |id| backstay.restore(id).into(Directory::new(&target)).plan().await;
    plan(&first).await.unwrap().apply().await.unwrap_err();
    let error = plan(&second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    fs::remove_dir_all(&target).unwrap();
    plan(&second).await.unwrap().apply().await.unwrap();
    assert!(target.join("two").exists());
}

#[tokio::test]
async fn the_exporter_keeps_its_contract() {
    let place = Place::new();
    let source = place.join("source");
    tree::awkward(&source).unwrap();
    source::exporter(|_| Ok(Arc::new(Directory::new(&source)))).await.assert();
}

#[tokio::test]
async fn the_importer_keeps_its_contract() {
    let place = Place::new();
    for name in ["first", "other"] {
        let root = place.join(name);
        fs::create_dir_all(root.join("d/e")).unwrap();
        for path in ["a", "d/b", "d/e/c"] {
            fs::write(root.join(path), name.repeat(400)).unwrap();
        }
        std::os::unix::fs::symlink(name, root.join("link")).unwrap();
    }
    let (items, _) = export(&place.join("first")).await;
    let (other, _) = export(&place.join("other")).await;
    let fresh = |case: &'static str| {
        let importer = Arc::new(Directory::new(place.join(case)));
        Ok(ImporterSetup { importer, items: items.clone(), other: other.clone() })
    };
    source::importer(fresh).await.assert();
}
