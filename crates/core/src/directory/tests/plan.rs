//! What a plan says and how an apply keeps to it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

/// A target with one entry of each relation to the archive, and the archive.
fn scene() -> (tempfile::TempDir, Archive) {
    let place = tempfile::tempdir().unwrap();
    let dir = |name: &str| fs::create_dir(place.path().join(name)).unwrap();
    let put = |name: &str, content: &str| {
        fs::write(place.path().join(name), content).unwrap();
        let file = fs::File::options().write(true).open(place.path().join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(100)).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
    };
    dir("d");
    put("d/same", "same");
    put("d/differs", "mine, not theirs");
    put("d/mine", "only here");
    dir("was directory");
    put("was directory/full", "x");
    dir("was empty");
    put("was file", "file");
    std::os::unix::fs::symlink("here", place.path().join("link")).unwrap();
    let archive = archive(&[
        entry("d/", b'5', "", b""),
        file("d/same", "same"),
        file("d/differs", "theirs"),
        file("d/new", "new"),
        file("was directory", "file"),
        file("was empty", "file"),
        entry("was file/", b'5', "", b""),
        file("was file/below", "below"),
        entry("link", b'2', "there", b""),
    ]);
    (place, archive)
}

#[tokio::test]
async fn without_overwrite_nothing_that_is_there_changes() {
    let (place, archive) = scene();
    let before = tree(place.path());
    let directory = Directory::new(place.path());
    let plan = directory.plan(&archive, &ImportOptions::default()).await.unwrap();
    assert_eq!(tree(place.path()), before, "a plan changes nothing");
    let actions: Vec<_> = plan.entries.iter().map(|e| (e.action, &e.what[..])).collect();
    let conflict = |what| (ImportAction::Conflict, what);
    let expected = ["d/differs", "was directory", "was empty", "was file", "was file/below", "link"].map(conflict);
    assert_eq!(actions, expected);
    assert_eq!((plan.count(ImportAction::Create), plan.count(ImportAction::Unchanged)), (1, 2));
    assert_eq!(plan.bytes, 3);
    assert!(plan.to_string().contains("16 bytes of 1970-01-01T00:01:40Z are there"), "{plan}");

    let counts = plan.counts.clone();
    let report = directory.apply(&archive, plan).await.unwrap();
    assert_eq!(report.counts, counts);
    assert_eq!((report.problems.len(), report.bytes), (6, 3));
    let mut expected = before;
    expected.push(("d/new".to_owned(), "new".to_owned()));
    expected.sort();
    assert_eq!(tree(place.path()), expected);
}

#[tokio::test]
async fn with_overwrite_the_plan_lists_every_replacement() {
    let (place, archive) = scene();
    let directory = Directory::new(place.path());
    let plan = directory.plan(&archive, &ImportOptions::default().danger_overwrite()).await.unwrap();
    let of = |action| plan.entries.iter().filter(|e| e.action == action).map(|e| &e.what[..]).collect::<Vec<_>>();
    assert_eq!(of(ImportAction::Overwrite), ["d", "d/differs", "was empty", "was file", "link"]);
    assert_eq!(of(ImportAction::Conflict), ["was directory"], "a directory that is not empty is never replaced");
    assert_eq!((plan.count(ImportAction::Create), plan.count(ImportAction::Unchanged)), (2, 1));

    let counts = plan.counts.clone();
    // A plan may travel as JSON between the two.
    let plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    let report = directory.apply(&archive, plan).await.unwrap();
    assert_eq!(report.counts, counts);
    let found = tree(place.path());
    for (name, content) in [
        ("d/differs", "theirs"),
        ("d/mine", "only here"),
        ("was directory/full", "x"),
        ("was empty", "file"),
        ("was file/below", "below"),
        ("link", "there"),
    ] {
        assert!(found.contains(&(name.to_owned(), content.to_owned())), "{name} in {found:?}");
    }
}

#[tokio::test]
async fn an_apply_is_never_more_destructive_than_its_plan() {
    let (place, archive) = scene();
    let directory = Directory::new(place.path());
    let overwrite = ImportOptions::default().danger_overwrite();
    let plan = directory.plan(&archive, &overwrite).await.unwrap();
    // Since then somebody wrote: into what is to be replaced, and where nothing was.
    fs::write(place.path().join("d/differs"), "written since").unwrap();
    fs::write(place.path().join("d/new"), "appeared since").unwrap();
    let report = directory.apply(&archive, plan).await.unwrap();
    let problems: Vec<_> = report.problems.iter().map(|p| &p.what[..]).collect();
    assert_eq!(problems, ["d/differs", "d/new", "was directory"]);
    assert_eq!(fs::read(place.path().join("d/differs")).unwrap(), b"written since");
    assert_eq!(fs::read(place.path().join("d/new")).unwrap(), b"appeared since");

    // A plan made for an empty place allows no replacement at all.
    let (place, archive) = scene();
    let before = tree(place.path());
    let directory = Directory::new(place.path());
    let elsewhere = Directory::new(place.path().join("d/empty"));
    let mut plan = elsewhere.plan(&archive, &overwrite).await.unwrap();
    let refused = directory.apply(&archive, plan.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    plan.target = directory.to_string();
    directory.apply(&archive, plan).await.unwrap();
    let after = tree(place.path());
    assert!(before.iter().all(|entry| after.contains(entry)));
}

/// A file in a folder, and its archive.
async fn one_file(content: &str) -> (tempfile::TempDir, std::path::PathBuf, Archive) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("file");
    fs::write(&path, content).unwrap();
    let archive = export_all(place.path()).await;
    (place, path, archive)
}

#[tokio::test]
async fn a_file_of_another_mode_is_not_the_same() {
    let (place, path, archive) = one_file("a key").await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
    let report = import(&archive, place.path(), &ImportOptions::default()).await.unwrap();
    assert_eq!((report.problems.len(), &report.problems[0].what[..], mode()), (1, "file", 0o604));
    assert!(report.problems[0].why.contains("a file there has mode 604, not 6"), "{:?}", report.problems);

    let report = import(&archive, place.path(), &ImportOptions::default().danger_overwrite()).await.unwrap();
    assert_eq!((report.problems, report.counts[&ImportAction::Overwrite]), (vec![], 1));
    assert_ne!(mode(), 0o604);
    let plan = Directory::new(place.path()).plan(&archive, &ImportOptions::default()).await.unwrap();
    assert_eq!(plan.count(ImportAction::Unchanged), 2, "{plan}");
    assert!(plan.to_string().contains("compared by size and time, mode and owner"), "{plan}");
}

#[tokio::test]
async fn content_is_compared_if_asked_for() {
    let (place, path, archive) = one_file("before").await;
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    // What a bad disk does, or somebody who does not want it seen.
    let change = || {
        fs::write(&path, "BEFORE").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    };
    change();
    let directory = Directory::new(place.path());
    let content = ImportOptions::default().compare_content();
    for (options, action) in [
        (ImportOptions::default(), ImportAction::Unchanged),
        (ImportOptions::default().danger_overwrite(), ImportAction::Unchanged),
        (content.clone(), ImportAction::Conflict),
        (content.clone().danger_overwrite(), ImportAction::Overwrite),
    ] {
        change();
        let plan = directory.plan(&archive, &options).await.unwrap();
        assert_eq!(plan.count(action), if action == ImportAction::Unchanged { 2 } else { 1 }, "{options:?}: {plan}");
        let counts = plan.counts.clone();
        let report = directory.apply(&archive, plan).await.unwrap();
        assert_eq!(report.counts, counts, "{options:?}");
        let restored = if action == ImportAction::Overwrite { "before" } else { "BEFORE" };
        assert_eq!(fs::read_to_string(&path).unwrap(), restored, "{options:?}");
    }
    // What became different after the plan was not planned to be replaced.
    let plan = directory.plan(&archive, &content.clone().danger_overwrite()).await.unwrap();
    assert!(plan.entries.iter().all(|entry| entry.what != "file"), "{plan}");
    change();
    let report = directory.apply(&archive, plan).await.unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), "BEFORE");
}

#[tokio::test]
async fn content_of_sparse_files_is_compared_with_their_holes() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sparse");
    let file = fs::File::options().write(true).create(true).truncate(false).open(&path).unwrap();
    let write = |at, text: &str| std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), at).unwrap();
    write(0, "begin");
    write(1 << 20, "middle");
    file.set_len(3 << 20).unwrap();
    file.set_modified(UNIX_EPOCH).unwrap();
    let archive = export_all(place.path()).await;
    let options = ImportOptions::default().compare_content();
    let conflicts = async || {
        file.set_modified(UNIX_EPOCH).unwrap();
        let plan = Directory::new(place.path()).plan(&archive, &options).await.unwrap();
        plan.count(ImportAction::Conflict)
    };
    assert_eq!(conflicts().await, 0);
    for (at, before) in [(3, "i"), (700_000, "\0"), ((1 << 20) + 5, "e"), ((3 << 20) - 1, "\0")] {
        write(at, "x");
        assert_eq!(conflicts().await, 1, "{at}");
        write(at, before);
    }
    assert_eq!(conflicts().await, 0);
}

#[tokio::test]
async fn other_names_of_a_file_that_is_replaced_are_in_the_plan() {
    let (place, path, _) = one_file("old").await;
    fs::hard_link(&path, place.path().join("other")).unwrap();
    let archive = export_all(place.path()).await;
    fs::write(&path, "new").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    let directory = Directory::new(place.path());
    let plan = directory.plan(&archive, &ImportOptions::default().danger_overwrite()).await.unwrap();
    assert_eq!(plan.count(ImportAction::Overwrite), 2, "{plan}");
    let report = directory.apply(&archive, plan).await.unwrap();
    assert_eq!(report.problems, []);
    let number = |name: &str| fs::metadata(place.path().join(name)).unwrap().ino();
    assert_eq!(number("file"), number("other"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[tokio::test]
async fn a_plan_lists_no_more_conflicts_than_a_person_can_read() {
    let place = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..3_000).map(|i| format!("f{i:04}")).collect();
    for name in &names {
        fs::write(place.path().join(name), "").unwrap();
    }
    let archive = archive(&names.iter().map(|name| file(name, "x")).collect::<Vec<_>>());
    let directory = Directory::new(place.path());
    let plan = directory.plan(&archive, &ImportOptions::default()).await.unwrap();
    assert_eq!((plan.count(ImportAction::Conflict), plan.entries.len()), (3_000, 1_000));
    assert!(plan.to_string().contains("and 2000 more: conflict"));
    // What is to be replaced is listed whole: the apply does nothing else.
    let plan = directory.plan(&archive, &ImportOptions::default().danger_overwrite()).await.unwrap();
    assert_eq!(plan.entries.len(), 3_000);
    assert_eq!(directory.apply(&archive, plan).await.unwrap().counts[&ImportAction::Overwrite], 3_000);
}

#[tokio::test]
async fn a_link_to_a_file_that_stayed_is_not_made() {
    let archive = archive(&[file("a", "theirs"), entry("b", b'1', "a", b"")]);
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), "mine").unwrap();
    let report = import(&archive, place.path(), &ImportOptions::default()).await.unwrap();
    let problems: Vec<_> = report.problems.iter().map(|p| (&p.what[..], &p.why[..])).collect();
    assert_eq!((problems.len(), problems[0].0, problems[1].0), (2, "a", "b"));
    assert!(problems[1].1.contains("not the archive's"), "{problems:?}");
    assert_eq!(tree(place.path()), [("a".to_owned(), "mine".to_owned())]);
}

#[tokio::test]
async fn counting_by_facts_and_by_reading_agree() {
    let (place, _) = scene();
    let archive = export_all(place.path()).await;
    let target = tempfile::tempdir().unwrap();
    let directory = Directory::new(target.path().join("absent"));
    let quick = directory.plan(&archive, &ImportOptions::default()).await.unwrap();
    let without_facts = Archive { facts: Facts::new(), ..archive.clone() };
    let thorough = directory.plan(&without_facts, &ImportOptions::default()).await.unwrap();
    assert_eq!(
        (&quick.counts, quick.bytes, &quick.fingerprint),
        (&thorough.counts, thorough.bytes, &thorough.fingerprint)
    );
    // Facts are enough: an archive that breaks off at once is not noticed.
    assert_eq!(directory.plan(&archive.cut(0), &ImportOptions::default()).await.unwrap().counts, quick.counts);
    assert!(!target.path().join("absent").exists());
    let report = directory.apply(&archive, quick.clone()).await.unwrap();
    assert_eq!((report.counts, report.bytes), (quick.counts, quick.bytes));
}

#[tokio::test]
async fn what_cannot_fit_is_refused_with_numbers() {
    let place = tempfile::tempdir().unwrap();
    let mut archive = export_all(place.path()).await;
    for (fact, what) in [("bytes", "bytes"), ("entries", "inodes")] {
        archive.facts = Facts::new().with("entries", 1).with("bytes", 1).with("devices", 0).with(fact, 1_u64 << 62);
        let error = Directory::new(place.path()).plan(&archive, &ImportOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{what}");
        assert_eq!(error.context("needed"), Some(&(1_u64 << 62).to_string()[..]));
        assert!(error.context("free").is_some());
    }
    assert_eq!(tree(place.path()), []);
}

#[tokio::test]
async fn a_target_without_parent_or_an_item_of_another_kind_is_an_error() {
    let place = tempfile::tempdir().unwrap();
    let archive = export_all(place.path()).await;
    let error = Directory::new(place.path().join("no/where")).plan(&archive, &ImportOptions::default()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!Directory::new("/").accepts(&ItemInfo::new("c", "directory", "tree", "zip", 0)));
}
