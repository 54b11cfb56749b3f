//! What a plan says and how an apply keeps to it.

use std::fs;
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
