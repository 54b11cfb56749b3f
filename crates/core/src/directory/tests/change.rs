//! Sources that change while they are read are problems, and the archive stays well formed.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
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
    let problems: Vec<_> = report.problems.iter().map(|p| (&p.what[..], &p.why[..])).collect();
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
async fn an_empty_source_is_one_entry_and_a_note() {
    let place = tempfile::tempdir().unwrap();
    let (archive, report) = export_with(&Directory::new(place.path()), |_| {}).await.unwrap();
    assert_eq!(report.facts.get::<u64>("entries").unwrap(), Some(1));
    assert_eq!(report.notes, ["the directory is empty"]);
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
