use super::*;

fn id() -> PointId {
    "prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap()
}

#[test]
fn every_file_of_a_point_is_read_back_as_what_it_is() {
    let name: Name = "audit-2026".parse().unwrap();
    let folder = tier(&id().source, &id().tier).unwrap();
    let files = [
        PointFile::Manifest,
        PointFile::PartialHint,
        PointFile::VoidHint,
        PointFile::Mark(MarkName::Deleted),
        PointFile::Mark(MarkName::Accepted),
        PointFile::Mark(MarkName::Hold(name.clone())),
        PointFile::Mark(MarkName::Release(name)),
    ];
    for file in files {
        let key = point_file(&id(), &file).unwrap();
        assert_eq!(parse_point_file(&folder, &key), Some((id().run, file)), "{key}");
    }
    for foreign in ["notes.txt", "20261120t064200z-abcdefgh.jpg", "20261120t064200z-abcdefgh.hold-", "x.json"] {
        assert_eq!(parse_point_file(&folder, &folder.key(foreign).unwrap()), None, "{foreign}");
    }
}

#[test]
fn key_files_are_read_back_as_what_they_are() {
    let (epoch, custodian): (Name, Name) = ("e1".parse().unwrap(), "paper-in-safe".parse().unwrap());
    let time = id().run.time();
    let sealed = key_file(&epoch_key(&epoch, &custodian).unwrap());
    assert_eq!(sealed, Some(KeyFile::Sealed { epoch: epoch.clone(), custodian: custodian.clone() }));
    let found = key_file(&canary(&epoch, &custodian, time).unwrap());
    assert_eq!(found, Some(KeyFile::Canary { epoch, custodian, time }));
    assert_eq!(key_file(&Key::new("keys/readme.txt").unwrap()), None);
}

#[test]
fn run_records_and_stored_objects_tell_whose_they_are() {
    let attempt: Tag = "hgfedcba".parse().unwrap();
    let until = id().run.time();
    let began = run_began(&id(), &attempt, until).unwrap();
    assert_eq!(parse_run_file(&began), Some((id(), attempt.clone(), RunFile::Began { until })));
    let ended = run_ended(&id(), &attempt).unwrap();
    assert_eq!(parse_run_file(&ended), Some((id(), attempt.clone(), RunFile::Ended)));
    for foreign in ["x", "until-never.json", "until-20261399t064200z.json", "end.json.gz", "end"] {
        let key = Key::new(format!("runs/{}.{attempt}.{foreign}", id())).unwrap();
        assert_eq!(parse_run_file(&key), None, "{key}");
    }
    let wrapping = Wrapping { sealed: true };
    let item = item(&id(), &attempt, 7, &"db".parse().unwrap(), wrapping).unwrap();
    for key in [item, details(&id(), &attempt, wrapping).unwrap()] {
        assert_eq!(parse_stored(&key), Some((id(), attempt.clone())), "{key}");
    }
    assert_eq!(run_of_folder(&items_of(&id()).unwrap()), Some(id()));
    let signed = signature(&signatures(&id(), SIGNED_VOID, &Sha256([7; 32])).unwrap(), "abcdefghijklmnop").unwrap();
    assert_eq!(parse_signature(&signed), Some((id(), SIGNED_VOID)));
    for foreign in ["items/a/b/c", "items/prod-eu/daily/x/hgfedcba/y", "points/a/b/c.d", "details/a"] {
        assert_eq!(parse_stored(&Key::new(foreign).unwrap()), None, "{foreign}");
    }
}

#[test]
fn records_of_history_are_read_back_and_logs_are_none() {
    let source = id().source;
    for act in [Act::Backup, Act::Prune, Act::Restore] {
        let entry = HistoryEntry { id: id().run, act };
        assert_eq!(parse_history(&source, &history_record(&source, &entry).unwrap()), Some(entry.clone()));
        let log = history_log(&source, &entry, Wrapping { sealed: true }).unwrap();
        assert!(log.as_str().ends_with(".log.zst.age") && parse_history(&source, &log).is_none());
    }
}

#[test]
fn a_manifest_may_only_name_objects_of_its_own_run() {
    let tag: Tag = "abcdefgh".parse().unwrap();
    let own = item(&id(), &tag, 0, &"db".parse().unwrap(), Wrapping { sealed: true }).unwrap();
    assert_eq!(own.as_str(), "items/prod-eu/daily/20261120t064200z-abcdefgh/abcdefgh/000000-db.zst.age");
    check_own(&id(), &own).unwrap();
    let foreign = Key::new("items/prod-eu/daily/20261120t064200z-hgfedcba/abcdefgh/000000-db.zst.age").unwrap();
    assert_eq!(check_own(&id(), &foreign).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn the_longest_keys_fit_every_store() {
    let name: Name = "n".repeat(63).parse().unwrap();
    let id = PointId { source: name.clone(), tier: name.clone(), run: id().run };
    let tag: Tag = "abcdefgh".parse().unwrap();
    item(&id, &tag, 9_999_999, &name, Wrapping { sealed: true }).unwrap();
    signature(&signatures(&id, &MarkName::Release(name).to_string(), &Sha256([7; 32])).unwrap(), "abcdefghijklmnop")
        .unwrap();
}

#[test]
fn proofs_are_read_as_they_are_named_and_nothing_else_is_one() {
    let at = "2026-11-21T06:42:00Z".parse().unwrap();
    let verified = ProofFile { point: id(), at, drilled: None };
    let drilled = ProofFile { drilled: Some("orders-db".parse().unwrap()), ..verified.clone() };
    for (file, end, signed) in [
        (verified, "20261121t064200z.json", "proof"),
        (drilled, "20261121t064200z.drill-orders-db.json", "drill-orders-db.20261121t064200z"),
    ] {
        let key = file.key().unwrap();
        assert_eq!((key.as_str(), file.signed().as_str()), (format!("proofs/{}.{end}", id()).as_str(), signed));
        assert_eq!(ProofFile::parse(&key), Some(file.clone()));
        let signature = signature(&signatures(&id(), &file.signed(), &Sha256::of(b"")).unwrap(), "abc").unwrap();
        assert_eq!(signed_by(&signature), Some((signed_name(&id(), signed).as_str(), "abc")));
        assert!(proofs_of_tier(&id().source, &id().tier).unwrap().contains(&key));
    }
    for end in
        ["", "json", "20261121t064200z", "20261121t064200z.drill-.json", "20261121t064200z.other.json", "now.json"]
    {
        let key = Key::new(format!("proofs/{}.{end}", id())).unwrap();
        assert_eq!(ProofFile::parse(&key), None, "{key}");
    }
}
