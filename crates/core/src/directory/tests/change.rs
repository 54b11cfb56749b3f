//! Sources that change while they are read are problems, and the archive stays well formed.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// What one file's change leads to: the problem named, and what the archive holds.
async fn check(change: impl Fn(PathBuf) + Send + 'static, path: &str, why: &str, content: Option<&str>) {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("source");
    fs::create_dir(&root).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(root.join(name), name.repeat(10)).unwrap();
    }
    let hooked = root.clone();
    let hook = move |path: &[u8]| {
        if path == b"a" {
            change(hooked.clone());
        }
    };
    let (archive, report) =
        export_with(&Directory::new(&root), |walk| walk.before_read = Some(Box::new(hook))).await.unwrap();
    // That a name came or went in the directory is another matter, and another test's.
    let problems: Vec<_> =
        report.problems.iter().filter(|p| p.what != ".").map(|p| (&p.what[..], &p.why[..])).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].0, path);
    assert!(problems[0].1.starts_with(why), "{problems:?}");

    let target = place.path().join("target");
    restore(&archive, &target).await;
    let found = tree(&target);
    let of = |name: &str| found.iter().find(|(path, _)| path == name).map(|(_, content)| &content[..]);
    assert_eq!(of(path), content);
    assert_eq!(of("c"), Some("cccccccccc"));
}

#[tokio::test]
async fn a_file_that_grows_is_cut_and_told() {
    let grow = |root: PathBuf| {
        File::options().append(true).open(root.join("a")).unwrap().write_all(b"more").unwrap();
    };
    check(grow, "a", "changed from 10 to 14 bytes", Some("aaaaaaaaaa")).await;
}

#[tokio::test]
async fn a_file_that_shrinks_is_filled_and_told() {
    let shrink = |root: PathBuf| File::options().write(true).open(root.join("a")).unwrap().set_len(4).unwrap();
    check(shrink, "a", "shrank to 4 bytes", Some("aaaa\0\0\0\0\0\0")).await;
}

#[tokio::test]
async fn a_file_that_is_rewritten_is_told() {
    let rewrite = |root: PathBuf| {
        let file = File::options().write(true).open(root.join("a")).unwrap();
        (&file).write_all(b"AAAAA").unwrap();
        // The clock of time stamps may not have moved since the file was made.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    check(rewrite, "a", "changed while it was read", Some("AAAAAaaaaa")).await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_told() {
    check(|root| fs::remove_file(root.join("b")).unwrap(), "b", "vanished", None).await;
}

#[tokio::test]
async fn a_file_that_becomes_a_link_is_not_followed() {
    let swap = |root: PathBuf| {
        fs::remove_file(root.join("b")).unwrap();
        symlink("/etc/passwd", root.join("b")).unwrap();
    };
    check(swap, "b", "became something else", None).await;
}

#[tokio::test]
async fn a_file_that_becomes_a_fifo_does_not_hang() {
    let swap = |root: PathBuf| {
        fs::remove_file(root.join("b")).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, root.join("b"), kind, 0o600.into(), 0).unwrap();
    };
    check(swap, "b", "became something else", None).await;
}

#[tokio::test]
async fn a_sparse_file_that_shrinks_stays_well_formed() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("source");
    fs::create_dir(&root).unwrap();
    let mut sparse = File::create(root.join("a")).unwrap();
    sparse.write_all(b"begin").unwrap();
    sparse.set_len(10 << 20).unwrap();
    fs::write(root.join("b"), "b").unwrap();
    let shrinking = root.join("a");
    let hook = move |path: &[u8]| {
        if path == b"a" {
            File::options().write(true).open(&shrinking).unwrap().set_len(2).unwrap();
        }
    };
    let (archive, report) =
        export_with(&Directory::new(&root), |walk| walk.before_read = Some(Box::new(hook))).await.unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(archive.content.len() < 1 << 20);
    let target = place.path().join("target");
    restore(&archive, &target).await;
    assert_eq!(fs::metadata(target.join("a")).unwrap().len(), 10 << 20);
    assert_eq!(fs::read(target.join("b")).unwrap(), b"b");
}

/// What an export tells of a tree whose entries are touched when the file `at` is read.
async fn told(root: &Path, at: &'static [u8], change: impl Fn() + Send + 'static) -> (Archive, Vec<(String, String)>) {
    let hook = move |path: &[u8]| {
        if path == at {
            change();
        }
    };
    let (archive, report) =
        export_with(&Directory::new(root), |walk| walk.before_read = Some(Box::new(hook))).await.unwrap();
    (archive, report.problems.into_iter().map(|p| (p.what, p.why)).collect())
}

/// Makes sure that a change of `dir` shows: two within one tick of the kernel's clock have the same time.
fn tick(dir: &Path) {
    let times = || fs::metadata(dir).map(|m| (m.ctime(), m.ctime_nsec())).unwrap();
    let before = times();
    while times() == before {
        fs::write(dir.join("tick"), "").unwrap();
        fs::remove_file(dir.join("tick")).unwrap();
    }
}

/// A file in each of three places, so that the walk passes `a/1`, `b`, `c/3`.
fn three() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("a")).unwrap();
    fs::create_dir(place.path().join("c")).unwrap();
    for name in ["a/1", "b", "c/3"] {
        fs::write(place.path().join(name), name).unwrap();
    }
    place
}

#[tokio::test]
async fn a_file_that_moves_behind_the_walk_is_not_lost_in_silence() {
    // Into the directory that is being read, and into one that was left.
    for to in ["a_moved", "a/moved"] {
        let place = three();
        let root = place.path().to_owned();
        let (archive, problems) = told(place.path(), b"b", move || {
            fs::rename(root.join("c/3"), root.join(to)).unwrap();
            tick(&root.join("c"));
        })
        .await;
        let target = tempfile::tempdir().unwrap();
        restore(&archive, target.path()).await;
        let found: Vec<_> = tree(target.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, ["a", "a/1", "b", "c"], "the file is in neither place");
        let of_c: Vec<_> = problems.iter().filter(|(what, _)| what == "c").collect();
        assert_eq!(of_c.len(), 1, "{problems:?}");
        assert!(of_c[0].1.starts_with("entries came or went after the export began"), "{problems:?}");
    }
}

#[tokio::test]
async fn a_directory_that_changes_while_it_is_read_is_told() {
    let place = three();
    let root = place.path().to_owned();
    let (_, problems) = told(place.path(), b"b", move || {
        fs::remove_file(root.join("b")).unwrap();
        tick(&root);
    })
    .await;
    let problems: Vec<_> = problems.iter().filter(|(what, _)| what == ".").collect();
    assert_eq!(problems, [&(".".to_owned(), "entries came or went while it was read".to_owned())]);
}

#[tokio::test]
async fn a_link_is_not_made_to_what_has_the_same_number_and_is_another_file() {
    let place = three();
    fs::hard_link(place.path().join("a/1"), place.path().join("z")).unwrap();
    fs::hard_link(place.path().join("a/1"), place.path().join("zz")).unwrap();
    let root = place.path().to_owned();
    // The number is the same and the content is not, as when the names were deleted and the number given away again.
    let change = move || fs::write(root.join("z"), "of another file").unwrap();
    let (archive, problems) = told(place.path(), b"b", change).await;
    assert_eq!(problems, []);
    let target = tempfile::tempdir().unwrap();
    restore(&archive, target.path()).await;
    let read = |name: &str| fs::read_to_string(target.path().join(name)).unwrap();
    assert_eq!([read("a/1"), read("z"), read("zz")], ["a/1", "of another file", "of another file"]);
    let number = |name: &str| fs::metadata(target.path().join(name)).unwrap().ino();
    assert!(number("z") == number("zz") && number("z") != number("a/1"));
}

#[tokio::test]
async fn a_source_that_is_not_there_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    for (name, kind) in [("missing", ErrorKind::NotFound), ("file", ErrorKind::Invalid)] {
        let error = export_with(&Directory::new(place.path().join(name)), |_| {}).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.context("path").unwrap().ends_with(name));
    }
}

#[tokio::test]
async fn an_empty_source_is_one_entry_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let (archive, report) = export_with(&Directory::new(place.path()), |_| {}).await.unwrap();
    assert_eq!(report.facts.get::<u64>("entries").unwrap(), Some(1));
    assert!(report.empty);
    assert!(report.identity.unwrap().ends_with(&place.path().canonicalize().unwrap().display().to_string()));
    let target = place.path().join("target");
    restore(&archive, &target).await;
    assert_eq!(tree(&target), []);
}

/// A writer that never takes a second buffer.
struct Stuck;

#[async_trait]
impl ItemSink for Stuck {
    async fn item(&self, _spec: ItemSpec) -> Result<Box<dyn ItemWriter>> {
        Ok(Box::new(Stuck))
    }
}

#[async_trait]
impl ItemWriter for Stuck {
    async fn write(&mut self, _data: Bytes) -> Result<()> {
        std::future::pending().await
    }

    async fn finish(self: Box<Self>, _facts: Facts) -> Result<()> {
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        unreachable!("a directory is read once")
    }

    async fn abandon(self: Box<Self>, _problem: Problem) {
        unreachable!("a directory is one item")
    }
}

#[tokio::test]
async fn a_dropped_export_ends_its_thread() {
    let place = tempfile::tempdir().unwrap();
    for i in 0..20 {
        fs::write(place.path().join(i.to_string()), vec![1; 1 << 20]).unwrap();
    }
    let (alive, ended) = mpsc::channel::<()>();
    let (reached, first) = tokio::sync::oneshot::channel();
    let mut reached = Some(reached);
    let directory = Directory::new(place.path());
    let export = export(&directory, &Stuck, move |walk| {
        walk.before_read = Some(Box::new(move |_| {
            let _keep = &alive;
            if let Some(reached) = reached.take() {
                reached.send(()).unwrap();
            }
        }));
    });
    tokio::select! {
        _ = export => panic!("the sink takes nothing"),
        first = first => first.unwrap(),
    }
    // The other end closes when the thread drops the walk.
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Err(mpsc::RecvTimeoutError::Disconnected));
}
