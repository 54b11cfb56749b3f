//! A restore that was interrupted is finished by the next.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::*;

/// A temporary folder that can be removed though read-only directories are in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for place in fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()) {
            // Not there in every tree.
            let _ = fs::set_permissions(place.join("d/e/f"), fs::Permissions::from_mode(0o700));
        }
    }
}

/// A small tree with every kind of entry that an ordinary user can make.
fn make(root: &Path) {
    fs::create_dir_all(root.join("d/e/f")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for (name, length) in [("d/small", 10), ("d/e/large", 60_000), ("d/e/f/deep", 700), ("z", 1), ("d/none", 0)] {
        fs::write(root.join(name), "x".repeat(length)).unwrap();
    }
    symlink("small", root.join("d/link")).unwrap();
    fs::hard_link(root.join("d/small"), root.join("d/e/again")).unwrap();
    let mut sparse = File::create(root.join("d/sparse")).unwrap();
    sparse.write_all(b"begin").unwrap();
    sparse.set_len(1 << 20).unwrap();
    for (name, mode) in [("d/e/large", 0o400), ("d/e/f", 0o555), ("d/e", 0o700), ("empty", 0o1777), ("", 0o750)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    for name in ["d/small", "d/e/f", "d", "empty", ""] {
        File::open(root.join(name)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    }
}

/// Path, mode, time, links, length of everything, the root too.
fn attributes(root: &Path) -> Vec<(String, u32, i64, i64, u64, u64)> {
    let mut paths: Vec<_> = tree(root).into_iter().map(|(path, _)| path).collect();
    paths.push(String::new());
    let of = |path: String| {
        let m = root.join(&path).symlink_metadata().unwrap();
        let links = if m.is_dir() { 0 } else { m.nlink() };
        let length = if m.is_dir() { 0 } else { m.len() };
        (path, m.mode(), m.mtime(), m.mtime_nsec(), links, length)
    };
    paths.into_iter().map(of).collect()
}

/// An interruption at `at`, then a whole run; what remains must equal the source.
async fn interrupted_at(at: usize, archive: &Archive, source: &Path, options: &ImportOptions) {
    let place = Place::new();
    let target = place.0.path().join("target");
    let error = import(&Archive { facts: archive.facts.clone(), ..archive.cut(at) }, &target, options).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    // What bears its name is whole.
    if target.exists() {
        let originals = tree(source);
        for found in tree(&target) {
            let unfinished = found.0.ends_with(".backstay-unfinished");
            assert!(unfinished || originals.contains(&found), "{at}: {:?} is not whole", found.0);
        }
    }
    let report = import(archive, &target, options).await.unwrap();
    assert_eq!(report.problems, [], "{at}");
    assert_eq!(tree(&target), tree(source), "{at}");
    assert_eq!(attributes(&target), attributes(source), "{at}");
    let again = import(archive, &target, options).await.unwrap();
    assert_eq!(again.counts.keys().collect::<Vec<_>>(), [&ImportAction::Unchanged], "{at}");
}

#[tokio::test]
async fn an_interrupted_restore_is_finished_by_the_next() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let archive = export_all(&source).await;
    for at in (0..archive.content.len()).step_by(1_500) {
        interrupted_at(at, &archive, &source, &ImportOptions::default()).await;
    }
}

#[tokio::test]
async fn what_a_restore_could_not_set_does_not_stop_it_from_going_on() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let archive = export_all(&source).await;
    let target = place.0.path().join("target");
    import(&archive.cut(15_000), &target, &ImportOptions::default()).await.unwrap_err();
    // As on a file system that keeps no modes.
    fs::set_permissions(target.join("d/e/again"), fs::Permissions::from_mode(0o606)).unwrap();
    restore_over(&archive, &target).await;
    assert_eq!(tree(&target), tree(&source));
}

#[tokio::test]
async fn an_unfinished_restore_keeps_others_out() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let first = export_all(&source).await;
    // Another point of the same tree: the same counts and lengths, one name differs.
    let rename = |from: &str, to: &str| {
        fs::rename(source.join(from), source.join(to)).unwrap();
        File::open(source.join("d")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    };
    rename("d/none", "d/nine");
    let second = export_all(&source).await;
    assert_eq!((&first.facts, first.content.len()), (&second.facts, second.content.len()));
    rename("d/nine", "d/none");
    let options = ImportOptions::default();
    let cut = first.content.len() - 2_000;

    let target = place.0.path().join("target");
    import(&first.cut(cut), &target, &options).await.unwrap_err();
    let left = tree(&target);
    let error = Directory::new(&target).plan(&second, &options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    // Nor does a plan that was made when the folder was empty.
    let plan = Directory::new(place.0.path().join("elsewhere")).plan(&second, &options).await.unwrap();
    let mut stale = plan.clone();
    stale.target = Directory::new(&target).to_string();
    let error = Directory::new(&target).apply(&second, stale).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert_eq!(tree(&target), left);
    restore_over(&first, &target).await;
    assert_eq!(tree(&target), tree(&source));

    // Below a folder that was there before, what was begun is as closed.
    let target = place.0.path().join("used");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "").unwrap();
    let plan = Directory::new(&target).plan(&first, &options).await.unwrap();
    Directory::new(&target).apply(&first.cut(15_000), plan).await.unwrap_err();
    assert!(target.join("d/.backstay-unfinished").exists(), "{:?}", tree(&target));
    let begun = tree(&target.join("d"));
    let report = import(&second, &target, &options).await.unwrap();
    let problems: Vec<_> = report.problems.iter().filter(|p| p.what.starts_with('d')).collect();
    assert_eq!(problems.len(), tree(&source.join("d")).len() + 1, "{problems:?}");
    assert!(problems[0].why.contains("unfinished restore of something else"), "{problems:?}");
    assert_eq!(tree(&target.join("d")), begun);
}

#[tokio::test]
async fn a_dropped_restore_is_finished_by_the_next() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let archive = export_all(&source).await;
    for polls in 1..12 {
        let target = place.0.path().join(format!("target {polls}"));
        let mut left = polls;
        {
            let options = ImportOptions::default();
            let work = import(&archive, &target, &options);
            tokio::pin!(work);
            std::future::poll_fn(|context| {
                left -= 1;
                if work.as_mut().poll(context).is_ready() || left == 0 {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
        }
        // The thread of the first may still be at its last entry; the second waits for it.
        let report = import(&archive, &target, &ImportOptions::default()).await.unwrap();
        assert_eq!(report.problems, []);
        assert_eq!(attributes(&target), attributes(&source));
    }
}

#[tokio::test]
async fn leftovers_of_a_killed_restore_are_cleared_away() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let archive = export_all(&source).await;
    // As a kill leaves them: a file half written, a directory without its name, both under way.
    for leftover in ["file", "directory", "marked directory", "link"] {
        let target = place.0.path().join(leftover);
        fs::create_dir_all(target.join("d")).unwrap();
        fs::write(target.join(".backstay-unfinished"), "").unwrap();
        fs::write(target.join("d/.backstay-unfinished"), "").unwrap();
        for dir in ["", "d"] {
            let partial = target.join(dir).join(".backstay-partial");
            match leftover {
                "file" => fs::write(partial, "half").unwrap(),
                "link" => symlink("/etc/passwd", partial).unwrap(),
                _ => fs::create_dir(&partial).unwrap(),
            }
        }
        if leftover == "marked directory" {
            fs::write(target.join("d/.backstay-partial/.backstay-unfinished"), "").unwrap();
        }
        restore_over(&archive, &target).await;
        assert_eq!(attributes(&target), attributes(&source), "{leftover}");
    }
}

async fn restore_over(archive: &Archive, target: &Path) {
    let report = import(archive, target, &ImportOptions::default()).await.unwrap();
    assert_eq!(report.problems, []);
}

#[tokio::test]
async fn a_directory_that_was_there_keeps_its_attributes() {
    let place = Place::new();
    let source = place.0.path().join("source");
    fs::create_dir(&source).unwrap();
    make(&source);
    let archive = export_all(&source).await;
    let target = place.0.path().join("target");
    fs::create_dir_all(target.join("empty")).unwrap();
    fs::set_permissions(target.join("empty"), fs::Permissions::from_mode(0o711)).unwrap();
    let report = import(&archive, &target, &ImportOptions::default()).await.unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(fs::metadata(target.join("empty")).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(target.join("d/e")).unwrap().mode() & 0o7777, 0o700);
}
