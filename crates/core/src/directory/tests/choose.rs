//! Which entries of a tree are exported and which of an archive are restored.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

/// A tree of empty files; names that end in `/` are directories.
fn make(names: &[&str]) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in names {
        let path = place.path().join(name);
        fs::create_dir_all(if name.ends_with('/') { &path } else { path.parent().unwrap() }).unwrap();
        if !name.ends_with('/') {
            fs::write(path, "").unwrap();
        }
    }
    place
}

/// What an export with these options holds.
/// Of the vault that these exports go to.
const BEACON: &str = "backstay-1.ours";

async fn chosen(directory: Directory) -> (Vec<String>, ExportReport) {
    let (archive, report) = export_with(&directory, |walk| walk.beacon = Some(BEACON.to_owned())).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    restore(&archive, target.path()).await;
    (tree(target.path()).into_iter().map(|(path, _)| path).collect(), report)
}

#[tokio::test]
async fn globs_choose_and_what_they_leave_out_is_counted() {
    let place = make(&["a/x.log", "a/x.txt", "a/b/y.log", "c/z.txt", "d/", "cache/1/2", "top.log"]);
    let of = || Directory::new(place.path());
    #[rustfmt::skip]
    let table: [(Directory, &[&str], u64); 6] = [
        (of(), &["a", "a/b", "a/b/y.log", "a/x.log", "a/x.txt", "c", "c/z.txt", "cache", "cache/1", "cache/1/2", "d", "top.log"], 0),
        (of().exclude(["cache"]), &["a", "a/b", "a/b/y.log", "a/x.log", "a/x.txt", "c", "c/z.txt", "d", "top.log"], 1),
        (of().exclude(["*.log", "cache/**"]), &["a", "a/b", "a/x.txt", "c", "c/z.txt", "cache", "d"], 4),
        (of().include(["*.log"]), &["a", "a/b", "a/b/y.log", "a/x.log", "top.log"], 3),
        (of().include(["a"]).exclude(["a/b"]), &["a", "a/x.log", "a/x.txt"], 4),
        (of().include(["nothing"]), &[], 6),
    ];
    for (directory, expected, excluded) in table {
        let options = directory.options.clone();
        let (found, report) = chosen(directory).await;
        assert_eq!(found, expected, "{options:?}");
        assert_eq!(report.facts.get::<u64>("excluded").unwrap(), Some(excluded), "{options:?}");
        assert_eq!(report.notes.iter().any(|note| note.contains("left out by globs")), excluded > 0);
        assert_eq!(report.empty, expected.is_empty(), "{options:?}");
    }
}

#[tokio::test]
async fn directories_alone_are_nothing_to_protect() {
    let place = make(&["lost+found/", "mount/point/", "mount/cache"]);
    for (directory, empty) in
        [(Directory::new(place.path()), false), (Directory::new(place.path()).exclude(["cache"]), true)]
    {
        let (found, report) = chosen(directory).await;
        assert_eq!((report.empty, found.len()), (empty, if empty { 3 } else { 4 }));
    }
}

#[tokio::test]
async fn what_is_named_and_missing_is_a_problem() {
    let place = make(&["etc/a", "srv/b"]);
    let directory = Directory::new(place.path()).include(["etc", "srv/data", "*.log"]);
    let (found, report) = chosen(directory).await;
    assert_eq!((&found[..], report.empty), (&["etc".to_owned(), "etc/a".to_owned()][..], false));
    let problems: Vec<_> = report.problems.iter().map(|p| &p.what[..]).collect();
    assert_eq!(problems, ["srv/data"]);
    assert!(report.notes.iter().any(|note| note.starts_with("*.log matched nothing")), "{:?}", report.notes);
}

#[tokio::test]
async fn names_that_a_restore_refuses_are_problems_at_the_export() {
    let place = make(&["a/.backstay-partial", "b/.backstay-unfinished/c", "d/.backstay-partial.txt"]);
    let (archive, report) = export_with(&Directory::new(place.path()), |_| {}).await.unwrap();
    let problems: Vec<_> = report.problems.iter().map(|p| &p.what[..]).collect();
    assert_eq!(problems, ["a/.backstay-partial", "b/.backstay-unfinished"]);
    assert!(report.problems.iter().all(|p| p.why.contains("`exclude` it")), "{:?}", report.problems);
    let target = tempfile::tempdir().unwrap();
    restore(&archive, target.path()).await;
    assert_eq!(tree(target.path()).len(), 4);
    let (_, report) = chosen(Directory::new(place.path()).exclude([".backstay-*"])).await;
    assert_eq!(report.problems, []);
}

#[tokio::test]
async fn a_vault_in_the_source_is_named_and_not_entered() {
    let place = make(&["data", "backups/nightly/backstay-1.ours", "backups/nightly/items/large", "backups/readme"]);
    let vault = "backups/nightly";
    let aware = |walk: &mut Walk<'_>| walk.beacon = Some(BEACON.to_owned());
    let (archive, report) = export_with(&Directory::new(place.path()), aware).await.unwrap();
    let problems: Vec<_> = report.problems.iter().map(|p| (&p.what[..], p.why.contains("`exclude` it"))).collect();
    assert_eq!(problems, [(vault, true)]);
    let target = tempfile::tempdir().unwrap();
    restore(&archive, target.path()).await;
    let found: Vec<_> = tree(target.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(found, ["backups", vault, "backups/readme", "data"]);

    let (found, report) = chosen(Directory::new(place.path()).exclude([vault])).await;
    assert_eq!((found.len(), report.problems), (3, vec![]));
    // Not chosen, it is passed by, whatever the globs would choose in it.
    let (found, report) = chosen(Directory::new(place.path()).include(["data", "lar?e"])).await;
    assert_eq!((found, report.problems), (vec!["data".to_owned()], vec![]));

    let error = export_with(&Directory::new(place.path().join(vault)), aware).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    // A vault that somebody else fills is a directory like any other.
    let (_, report) = export_with(&Directory::new(place.path()), |_| {}).await.unwrap();
    assert_eq!(report.problems, []);
}

#[tokio::test]
async fn directories_on_the_way_keep_their_attributes() {
    let place = make(&["a/b/c/wanted", "a/b/other"]);
    fs::set_permissions(place.path().join("a/b"), fs::Permissions::from_mode(0o710)).unwrap();
    let time = fs::metadata(place.path().join("a/b")).unwrap().mtime_nsec();
    let (included, _) = export_with(&Directory::new(place.path()).include(["wanted"]), |_| {}).await.unwrap();
    let everything = export_all(place.path()).await;
    for (archive, options) in
        [(included, ImportOptions::default()), (everything, ImportOptions::default().only(["a/b/c"]))]
    {
        let target = tempfile::tempdir().unwrap();
        import(&archive, target.path(), &options).await.unwrap();
        let found: Vec<_> = tree(target.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(found, ["a", "a/b", "a/b/c", "a/b/c/wanted"]);
        let way = fs::metadata(target.path().join("a/b")).unwrap();
        assert_eq!((way.mode() & 0o7777, way.mtime_nsec()), (0o710, time));
    }
}

#[tokio::test]
async fn a_glob_that_chooses_nothing_is_named() {
    let place = make(&["docs/a", "b"]);
    let archive = export_all(place.path()).await;
    let target = tempfile::tempdir().unwrap();
    let directory = Directory::new(target.path());
    for only in [vec!["typo"], vec!["docs", "typo", "b"]] {
        let options = ImportOptions::default().only(only);
        let error = directory.plan(&archive, &options).await.unwrap_err();
        assert_eq!((error.kind(), error.context("got")), (ErrorKind::NotFound, Some("typo")), "{error}");
    }
    let options = ImportOptions::default().only(["docs", "b"]);
    assert_eq!(directory.plan(&archive, &options).await.unwrap().count(ImportAction::Create), 4);
}

#[tokio::test]
async fn caches_keep_their_mark_only() {
    let place = make(&["cache/junk", "cache/deep/junk", "fake/kept"]);
    fs::write(place.path().join("cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n# x").unwrap();
    fs::write(place.path().join("fake/CACHEDIR.TAG"), "no signature").unwrap();
    let (found, report) = chosen(Directory::new(place.path()).skip_caches()).await;
    assert_eq!(found, ["cache", "cache/CACHEDIR.TAG", "fake", "fake/CACHEDIR.TAG", "fake/kept"]);
    assert!(report.notes.iter().any(|note| note.starts_with("cache ")), "{:?}", report.notes);
}

#[tokio::test]
async fn other_file_systems_are_named_and_not_entered() {
    let dev = |path: &str| fs::metadata(path).unwrap().dev();
    assert_ne!(dev("/proc"), dev("/"), "the test needs /proc to be mounted");
    let directory = Directory::new("/").include(["/proc/version"]).exclude(["/[!p]*", "/proc?*"]).one_file_system();
    let (_, report) = export_with(&directory, |_| {}).await.unwrap();
    assert!(report.notes.contains(&"proc is another file system and was not entered".to_owned()), "{:?}", report.notes);
    assert_eq!(report.facts.get::<u64>("files").unwrap(), Some(0));
}

#[tokio::test]
async fn reading_ahead_changes_nothing() {
    let names: Vec<String> = (0..400).map(|i| format!("d{}/f{i:03}.{}", i % 3, i % 2)).collect();
    let place = make(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for (i, name) in names.iter().enumerate() {
        fs::write(place.path().join(name), name.repeat(i)).unwrap();
    }
    fs::create_dir(place.path().join("d1/f100 between")).unwrap();
    fs::hard_link(place.path().join("d0/f000.0"), place.path().join("d2/f2 again")).unwrap();
    for directory in
        [Directory::new(place.path()), Directory::new(place.path()).exclude(["*.1"]).include(["d1", "f2*"])]
    {
        let (plain, _) = export_with(&directory, |_| {}).await.unwrap();
        let (ahead, report) = export_with(&directory, |walk| walk.ahead.always = true).await.unwrap();
        assert_eq!(report.problems, []);
        assert!(plain.content == ahead.content);
    }
}

#[tokio::test]
async fn sockets_are_noted() {
    let place = make(&["file"]);
    let _socket = std::os::unix::net::UnixListener::bind(place.path().join("socket")).unwrap();
    let (archive, report) = export_with(&Directory::new(place.path()), |_| {}).await.unwrap();
    assert_eq!(report.notes, ["socket is a socket, which an archive cannot hold"]);
    assert_eq!(report.facts.get::<u64>("sockets").unwrap(), Some(1));
    let target = tempfile::tempdir().unwrap();
    restore(&archive, target.path()).await;
    assert_eq!(tree(target.path()).len(), 1);
}

#[tokio::test]
async fn a_bad_glob_is_an_error_on_both_ways() {
    let place = make(&["file"]);
    let error = export_with(&Directory::new(place.path()).exclude(["["]), |_| {}).await.err().unwrap();
    assert_eq!((error.kind(), error.context("field")), (ErrorKind::Invalid, Some("exclude")));
    let archive = export_all(place.path()).await;
    let options = ImportOptions::default().only(["{"]);
    let error = Directory::new(place.path()).plan(&archive, &options).await.unwrap_err();
    assert_eq!((error.kind(), error.context("field")), (ErrorKind::Invalid, Some("only")));
}

#[test]
fn options_are_read_strictly() {
    let options =
        toml::from_str::<super::super::DirectoryOptions>("exclude = ['*.tmp']\none_file_system = true").unwrap();
    assert_eq!(options, Directory::new("/").exclude(["*.tmp"]).one_file_system().options);
    let error = toml::from_str::<super::super::DirectoryOptions>("excludes = []").unwrap_err().to_string();
    assert!(error.contains("excludes") && error.contains("one_file_system"), "{error}");
}
