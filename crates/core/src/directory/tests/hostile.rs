//! Archives that somebody else wrote.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

/// A target beside something that must not change.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.outside()).unwrap();
        fs::write(place.outside().join("secret"), "secret").unwrap();
        place
    }

    fn outside(&self) -> std::path::PathBuf {
        self.0.path().join("outside")
    }

    fn target(&self) -> std::path::PathBuf {
        self.0.path().join("target")
    }

    fn assert_outside_is_untouched(&self) {
        assert_eq!(tree(&self.outside()), [("secret".to_owned(), "secret".to_owned())]);
        let names: Vec<_> = fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| name == "outside" || name == "target"), "{names:?}");
    }
}

#[tokio::test]
async fn nothing_leads_out_of_the_target() {
    let outside = Place::new();
    let absolute = outside.outside().join("evil").display().to_string();
    let away = outside.outside().display().to_string();
    let link = |name: &str, to: &str| entry(name, b'2', to, b"");
    let hard = |name: &str, to: &str| entry(name, b'1', to, b"");
    let pax = |path: &str| [records(&record(&format!("path={path}"))), file("harmless", "evil")].concat();
    // Entries, and how many of them are refused.
    let table = [
        ("dots", vec![file("../outside/evil", "evil")], 1),
        ("dots inside", vec![file("a/../../outside/evil", "evil")], 1),
        ("dots in a record", vec![pax("../outside/evil")], 1),
        ("absolute", vec![file(&absolute, "evil")], 1),
        ("absolute in a record", vec![pax(&absolute)], 1),
        ("through a link", vec![link("a", &away), file("a/evil", "evil")], 1),
        ("through a relative link", vec![link("a", "../outside"), file("a/evil", "evil")], 1),
        ("through two links", vec![link("a", "b"), link("b", "../outside"), file("a/evil", "evil")], 1),
        ("a directory over a link", vec![link("a", &away), entry("a", b'5', "", b""), file("a/evil", "evil")], 2),
        ("a file over a link", vec![link("a", &format!("{away}/secret")), file("a", "evil")], 1),
        ("hard link out", vec![hard("a", "../outside/secret"), file("a", "evil")], 1),
        ("absolute hard link", vec![hard("a", &format!("{away}/secret")), file("a", "evil")], 1),
        ("hard link through a link", vec![link("a", "../outside"), hard("b", "a/secret")], 1),
        ("hard link to nothing", vec![hard("a", "b")], 1),
        ("hard link to a directory", vec![entry("d/", b'5', "", b""), hard("a", "d")], 1),
        ("hard link to itself", vec![hard("a", "a")], 1),
        ("the root as a file", vec![file(".", "evil")], 1),
        ("a reserved name", vec![file(".backstay-partial", "evil"), file("a/.backstay-unfinished", "x")], 2),
        ("twice", vec![file("a", "first"), file("a", "second")], 1),
        ("a file as a directory", vec![file("a", "file"), file("a/b", "below")], 1),
    ];
    for (name, entries, refused) in table {
        for overwrite in [false, true] {
            let place = Place::new();
            let options =
                if overwrite { ImportOptions::default().danger_overwrite() } else { ImportOptions::default() };
            let report = import(&archive(&entries), &place.target(), &options).await.unwrap();
            assert_eq!(report.problems.len(), refused, "{name}: {:?}", report.problems);
            place.assert_outside_is_untouched();
            outside.assert_outside_is_untouched();
        }
    }
}

#[tokio::test]
async fn links_that_were_in_the_target_are_not_followed() {
    let place = Place::new();
    fs::create_dir(place.target()).unwrap();
    symlink("../outside", place.target().join("a")).unwrap();
    symlink("../outside/secret", place.target().join("f")).unwrap();
    let evil = archive(&[file("a/secret", "evil"), file("f", "evil")]);
    let report = import(&evil, &place.target(), &ImportOptions::default()).await.unwrap();
    assert_eq!(report.problems.len(), 2, "{report:?}");
    let report = import(&evil, &place.target(), &ImportOptions::default().danger_overwrite()).await.unwrap();
    // The link as such is replaced; the way through the other one stays closed.
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(fs::read(place.target().join("f")).unwrap(), b"evil");
    assert!(place.target().join("f").symlink_metadata().unwrap().is_file());
    place.assert_outside_is_untouched();
}

#[tokio::test]
async fn check_names_what_a_restore_would_refuse() {
    let evil = archive(&[file("ok", ""), file("../up", ""), entry("h", b'1', "/etc/passwd", b"")]);
    let report = Directory::new("/nowhere").check(&evil).await.unwrap();
    assert_eq!(report.entries, 3);
    assert_eq!(report.problems.iter().map(|p| &p.what[..]).collect::<Vec<_>>(), ["../up", "h"]);
}

#[tokio::test]
async fn malformed_archives_are_corrupt_and_say_where() {
    let flipped = |at: usize| {
        let mut bytes = archive(&[file("name", "content")]).content.to_vec();
        bytes[at] ^= 1;
        Archive::new(bytes)
    };
    let sized = |size: &[u8; 12]| {
        let mut header = header("name", b'0', "", 0);
        header[124..136].copy_from_slice(size);
        seal(&mut header);
        archive(&[header])
    };
    let sparse = |real: &str, map: &str| {
        let text: String = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", real].map(record).concat();
        let mut content = map.as_bytes().to_vec();
        content.resize(content.len().next_multiple_of(512), 0);
        content.extend_from_slice(b"data");
        archive(&[records(&text), entry("s", b'0', "", &content)])
    };
    let huge = [header("h", b'x', "", 5 << 20), vec![b'1'; 5 << 20]].concat();
    let table = [
        ("nothing", "ends in the middle", Archive::new(vec![])),
        ("not tar", "checksum", Archive::new(vec![b'x'; 4096])),
        ("no end mark", "ends in the middle", Archive::new(file("a", "b"))),
        ("a flipped bit in a name", "checksum", flipped(0)),
        ("a flipped bit in a checksum", "checksum", flipped(150)),
        ("a zero block in between", "one block of zeros", archive(&[file("a", ""), vec![0; 512], file("b", "")])),
        ("a size that is no number", "number is malformed", sized(b"00000000x00\0")),
        ("a negative size", "number is malformed", sized(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        ("a size of 8 EiB", "ends in the middle", sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")),
        ("an unknown type", "unknown type", archive(&[entry("a", b'S', "", b"")])),
        ("a record without end", "record of an extended header", archive(&[records("30 path=short\n"), file("a", "")])),
        ("a record of length 0", "record of an extended header", archive(&[records("0 path=a\n"), file("a", "")])),
        ("a size that is text", "record's value", archive(&[records(&record("size=many")), file("a", "")])),
        ("an owner beyond 32 bits", "record's value", archive(&[records(&record("uid=4294967296")), file("a", "")])),
        ("an extended header at the end", "after an extended header", archive(&[records(&record("path=a"))])),
        ("an extended header of 5 MiB", "longer than 4 MiB", archive(&[huge])),
        (
            "extended headers without end",
            "longer than 4 MiB",
            archive(&vec![records(&record(&"x=".repeat(200_000))); 20]),
        ),
        ("a sparse file without length", "no length", sparse("x=y", "1\n0\n4\n")),
        ("a sparse map that is no map", "map is malformed", sparse("GNU.sparse.realsize=10", "one\n")),
        ("a sparse map without end", "map is", sparse("GNU.sparse.realsize=10", "9\n0\n")),
        ("sparse extents that overlap", "overlap", sparse("GNU.sparse.realsize=10", "2\n0\n2\n1\n2\n")),
        ("sparse extents beyond the end", "beyond its end", sparse("GNU.sparse.realsize=10", "1\n8\n4\n")),
        (
            "sparse extents that wrap around",
            "beyond its end",
            sparse("GNU.sparse.realsize=10", "1\n18446744073709551615\n4\n"),
        ),
        ("sparse extents that do not add up", "do not add up", sparse("GNU.sparse.realsize=10", "1\n0\n3\n")),
        ("a million sparse extents", "1,048,576", sparse("GNU.sparse.realsize=10", "99999999999\n")),
        (
            "a sparse format of tomorrow",
            "other than 1.0",
            archive(&[records(&record("GNU.sparse.major=2")), file("a", "")]),
        ),
    ];
    for (name, why, broken) in table {
        let error = Directory::new("/nowhere").check(&broken).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert!(error.message().contains(why), "{name}: {error}");
        assert!(error.context("offset").is_some() && error.context("item") == Some("tree"), "{name}: {error}");
        let place = Place::new();
        let error = import(&broken, &place.target(), &ImportOptions::default()).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
    }
}

#[tokio::test]
async fn what_follows_the_end_is_told() {
    let mut bytes = archive(&[file("a", "b")]).content.to_vec();
    bytes.extend_from_slice(&[0; 9000]);
    assert_eq!(Directory::new("/").check(&Archive::new(bytes.clone())).await.unwrap().problems.len(), 0);
    bytes.extend_from_slice(&file("c", "d"));
    assert_eq!(Directory::new("/").check(&Archive::new(bytes)).await.unwrap().problems.len(), 1);
}

#[tokio::test]
async fn every_truncation_is_corrupt() {
    let sparse: String = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=s", "GNU.sparse.realsize=99"]
        .map(record)
        .concat();
    let mut content = b"1\n5\n4\n".to_vec();
    content.resize(512, 0);
    content.extend_from_slice(b"data");
    let whole = archive(&[
        entry("./", b'5', "", b""),
        file("file", &"x".repeat(700)),
        records(&record(&format!("path={}", "y".repeat(600)))),
        file("long", "content"),
        records(&sparse),
        entry("s", b'0', "", &content),
    ]);
    assert_eq!(Directory::new("/").check(&whole).await.unwrap().entries, 4);
    for length in 0..whole.content.len() - 1023 {
        let error = Directory::new("/").check(&Archive::new(whole.content.slice(..length))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length}: {error}");
    }
}

#[tokio::test]
async fn a_bomb_of_refused_entries_is_ended() {
    let evil = archive(&vec![file("../x", ""); 100_001]);
    let place = Place::new();
    let error = import(&evil, &place.target(), &ImportOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn a_bomb_of_attributes_is_ended() {
    let value = "v".repeat(3 << 20);
    let directory = |depth: usize| {
        let text = record(&format!("SCHILY.xattr.user.x={value}"));
        [records(&text), entry(&"d/".repeat(depth), b'5', "", b"")].concat()
    };
    let evil = archive(&(1..30).map(directory).collect::<Vec<_>>());
    for options in [ImportOptions::default(), ImportOptions::default().only(["nothing"])] {
        let place = Place::new();
        let error = import(&evil, &place.target(), &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
}

#[tokio::test]
async fn a_path_of_a_million_directories_is_refused() {
    let path = record(&format!("path={}", "d/".repeat(1_000_000)));
    let place = Place::new();
    let evil = archive(&[records(&path), file("x", "")]);
    let report = import(&evil, &place.target(), &ImportOptions::default()).await.unwrap();
    assert_eq!(report.problems.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn changed_bytes_never_lead_out_or_panic(changes in proptest::collection::vec((0_usize..6_000, any::<u8>()), 1..6), reseal in any::<bool>()) {
        let whole = archive(&[
            entry("d/", b'5', "", b""),
            file("d/file", "content"),
            entry("d/link", b'2', "../../outside", b""),
            entry("d/hard", b'1', "d/file", b""),
            records(&record("mtime=1.5")),
            file("d/later", "content"),
        ]);
        let mut bytes = whole.content.to_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
            // Changes that a checksum would show are made to look right in half of the cases.
            let start = at / 512 * 512;
            if reseal && bytes[start..start + 512].iter().any(|b| *b != 0) {
                seal(&mut bytes[start..start + 512]);
            }
        }
        let place = Place::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Any answer is right, as long as it is one.
        let _ = runtime.block_on(import(&Archive::new(bytes), &place.target(), &ImportOptions::default()));
        place.assert_outside_is_untouched();
    }
}
