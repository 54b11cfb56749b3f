//! Everything that is read from a store, fed with arbitrary bytes and with good ones that were changed: it is refused or
//! read as what it says, without a panic and within bounds. `PROPTEST_CASES` says how many cases are tried.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Random;
use crate::digest::Sha256;
use crate::event::Event;
use crate::name::PointId;
use crate::store::{Key, ObjectMeta};
use crate::vault::age_header::Header;
use crate::vault::copy::CopyRecord;
use crate::vault::details::DetailLine;
use crate::vault::history::{HistoryRecord, LogLine, Logged};
use crate::vault::layout::{self, RunFile};
use crate::vault::manifest::Manifest;
use crate::vault::mark::{Mark, MarkKind, WorkList};
use crate::vault::runs::{RecordedRun, after};
use crate::vault::seek_table::{FOOTER, SeekTable};
use crate::vault::sign::ParsedSignature;
use crate::vault::{AllowedSigner, AllowedSigners, Identity, Retirement, SigningKey, VaultId, open_bytes, seal_bytes};

/// The same bytes in each run.
#[derive(Debug)]
struct Fixed(u8);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().zip(self.0..).for_each(|(byte, value)| *byte = value);
    }
}

fn id() -> PointId {
    "prod-eu/daily/20261120t064200z-abcdefgh".parse().unwrap()
}

fn vault() -> VaultId {
    VaultId::new(&Fixed(1))
}

fn manifest() -> Vec<u8> {
    let digest = Sha256([7; 32]).to_string();
    let json = serde_json::json!({
        "vault": vault().to_string(), "source": "prod-eu", "tier": "daily", "id": id().run.to_string(),
        "attempt": "abcdefgh", "status": "complete",
        "started": "2026-11-20T06:42:00Z", "completed": "2026-11-20T06:43:00Z",
        "components": [{
            "name": "db", "kind": "mock", "outcome": "good", "bytes": 5,
            "objects": [{"key": format!("items/{}/abcdefgh/000000-db.zst.age", id()), "bytes": 300, "sha256": digest}],
        }],
        "details": {
            "key": format!("details/{}.abcdefgh.jsonl.zst.age", id()), "bytes": 400, "sha256": digest, "parts": [],
            "plain_bytes": 20,
        },
    });
    serde_json::to_vec_pretty(&json).unwrap()
}

fn read_manifest(bytes: &[u8]) -> Option<Manifest> {
    Manifest::parse(bytes, |of| *of == vault(), &layout::manifest(&id()).unwrap(), &id()).ok()
}

fn mark() -> Vec<u8> {
    let work = WorkList { not_before: id().run.time(), objects: vec![Key::new("items/a").unwrap()], bytes: 1 };
    let mark = Mark {
        vault: vault(),
        point: id(),
        manifest: Sha256([7; 32]),
        says: MarkKind::Deletion(work),
        at: id().run.time(),
        reason: "why".into(),
    };
    serde_json::to_vec(&mark).unwrap()
}

fn copy_record() -> Vec<u8> {
    let record = CopyRecord {
        vault: vault(),
        point: id(),
        origin: VaultId::new(&Fixed(2)),
        manifest: Sha256([7; 32]),
        last_modified: id().run.time(),
        complete: true,
    };
    serde_json::to_vec(&record).unwrap()
}

fn history_record() -> Vec<u8> {
    let json = serde_json::json!({
        "vault": vault().to_string(), "source": "prod-eu", "id": id().run.to_string(), "act": "restore",
        "point": id().to_string(), "component": "db",
        "started": "2026-11-20T06:42:00Z", "ended": "2026-11-20T06:43:00Z", "took": {"secs": 60, "nanos": 0},
        "bytes": 5, "error": "not found", "host": "a host", "version": "0.1.0",
        "log": {
            "key": "history/prod-eu/20261120t064200z-abcdefgh.restore.log.zst.age", "bytes": 400,
            "sha256": Sha256([7; 32]).to_string(), "parts": [], "plain_bytes": 20,
        },
    });
    serde_json::to_vec(&json).unwrap()
}

fn log_line() -> Vec<u8> {
    let what = Logged::Event(Event::BackupStarted { point: id(), components: vec!["db".parse().unwrap()] });
    serde_json::to_vec(&LogLine { at: id().run.time(), what }).unwrap()
}

/// What is read is written as it says, and read again as the same.
fn reads_as_itself<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8]) -> bool {
    serde_json::from_slice::<T>(bytes)
        .is_ok_and(|read| serde_json::from_slice::<T>(&serde_json::to_vec(&read).unwrap()).unwrap() == read)
}

/// Bytes with a few of them changed, some cut out, and maybe an end that is missing.
fn changed(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..4), 1..6);
    (Just(good), edits, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(mut bytes, edits, end, cut)| {
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ if at < bytes.len() => bytes[at] ^= byte | 1,
                _ => {}
            }
        }
        if cut {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        bytes
    })
}

fn signature() -> (SigningKey, AllowedSigners, String) {
    let key = SigningKey::generate(&Fixed(3));
    let mut trust = AllowedSigners::default();
    trust.add(AllowedSigner::new("me", key.public())).unwrap();
    let text = key.sign("backstay-point-v1", b"message");
    (key, trust, text)
}

fn sealed() -> (Identity, Vec<u8>) {
    let identity = Identity::generate(&Fixed(5));
    let sealed = seal_bytes(b"secret", std::slice::from_ref(identity.recipient()), &Fixed(9)).unwrap();
    (identity, sealed)
}

fn table() -> Vec<u8> {
    let mut table = SeekTable::default();
    for n in 1..6 {
        table.push(n * 10, n * 100).unwrap();
    }
    table.encode().unwrap()
}

#[test]
fn what_is_changed_below_was_good_before() {
    assert!(read_manifest(&manifest()).is_some());
    assert!(serde_json::from_slice::<Mark>(&mark()).is_ok());
    assert!(reads_as_itself::<CopyRecord>(&copy_record()));
    assert!(reads_as_itself::<HistoryRecord>(&history_record()) && reads_as_itself::<LogLine>(&log_line()));
    let (_, trust, text) = signature();
    assert!(trust.verify(&text, "backstay-point-v1", b"message", id().run.time()).is_ok());
    let (identity, bytes) = sealed();
    assert_eq!(open_bytes(&bytes, &[&identity]).unwrap().expose(), b"secret");
    assert!(SeekTable::decode(&table()).is_ok());
}

#[test]
fn deep_documents_are_refused_and_not_followed_down() {
    for open in ["[", "{\"extra\":", "{\"components\":["] {
        let deep = open.repeat(200_000);
        assert!(read_manifest(deep.as_bytes()).is_none());
        assert!(serde_json::from_str::<Mark>(&deep).is_err() && serde_json::from_str::<Retirement>(&deep).is_err());
        assert!(DetailLine::parse(deep.as_bytes()).is_err());
        assert!(serde_json::from_str::<CopyRecord>(&deep).is_err());
        assert!(
            serde_json::from_str::<HistoryRecord>(&deep).is_err() && serde_json::from_str::<LogLine>(&deep).is_err()
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_nothing_good(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(read_manifest(&bytes).is_none());
        prop_assert!(serde_json::from_slice::<Mark>(&bytes).is_err());
        prop_assert!(serde_json::from_slice::<Retirement>(&bytes).is_err());
        prop_assert!(DetailLine::parse(&bytes).is_err());
        prop_assert!(serde_json::from_slice::<CopyRecord>(&bytes).is_err());
        prop_assert!(serde_json::from_slice::<HistoryRecord>(&bytes).is_err());
        prop_assert!(serde_json::from_slice::<LogLine>(&bytes).is_err());
        prop_assert!(SeekTable::decode(&bytes).is_err());
        prop_assert!(Header::parse(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(ParsedSignature::parse(&text).is_none());
        prop_assert!(SigningKey::from_openssh(&text).is_err());
        prop_assert!(Identity::parse(&text).is_err());
    }

    #[test]
    fn a_changed_manifest_is_refused_or_still_that_of_its_point(bytes in changed(manifest())) {
        if let Some(read) = read_manifest(&bytes) {
            prop_assert_eq!(read.point(), id());
            for object in read.objects() {
                prop_assert!(layout::check_own(&id(), &object.key).is_ok(), "{}", object.key);
            }
        }
    }

    #[test]
    fn a_changed_mark_is_refused_or_a_mark(bytes in changed(mark())) {
        if let Ok(read) = serde_json::from_slice::<Mark>(&bytes) {
            prop_assert_eq!(serde_json::from_slice::<Mark>(&serde_json::to_vec(&read).unwrap()).unwrap(), read);
        }
    }

    #[test]
    fn changed_records_are_refused_or_records(
        copy in changed(copy_record()),
        record in changed(history_record()),
        line in changed(log_line()),
    ) {
        prop_assert!(serde_json::from_slice::<CopyRecord>(&copy).is_err() || reads_as_itself::<CopyRecord>(&copy));
        prop_assert!(serde_json::from_slice::<HistoryRecord>(&record).is_err() || reads_as_itself::<HistoryRecord>(&record));
        prop_assert!(serde_json::from_slice::<LogLine>(&line).is_err() || reads_as_itself::<LogLine>(&line));
    }

    /// Whatever stands in its name, a record lets no run die earlier than its ID and the store's time of it say.
    #[test]
    fn a_changed_run_record_is_nobodys_or_prolongs(
        name in changed(b"prod-eu/daily/20261120t064200z-abcdefgh.hgfedcba.until-20261127t064200z.json".to_vec()),
    ) {
        let Ok(key) = Key::new(format!("runs/{}", String::from_utf8_lossy(&name))) else { return Ok(()) };
        let Some((point, tag, file)) = layout::parse_run_file(&key) else { return Ok(()) };
        let same = match file {
            RunFile::Began { until } => layout::run_began(&point, &tag, until),
            RunFile::Ended => layout::run_ended(&point, &tag),
        };
        prop_assert_eq!(same.unwrap(), key.clone());
        let recorded = id().run.time();
        let mut run = RecordedRun::unrecorded(point.clone());
        run.add(tag, file, ObjectMeta::new(key, 1, recorded));
        let longest = Duration::from_secs(7 * 24 * 3600);
        prop_assert!(run.dead_from(longest) >= after(recorded.max(point.run.time()), longest));
        prop_assert!(run.forgotten_from(longest) >= run.dead_from(longest));
    }

    #[test]
    fn a_changed_signature_counts_only_if_it_says_the_same(bytes in changed(signature().2.into_bytes())) {
        let (key, trust, good) = signature();
        let text = String::from_utf8_lossy(&bytes);
        let words = |text: &str| text.split_ascii_whitespace().collect::<String>();
        if trust.verify(&text, "backstay-point-v1", b"message", id().run.time()).is_ok() {
            // Only how its base64 is broken into lines may differ.
            prop_assert_eq!(words(&text), words(&good));
            prop_assert_eq!(ParsedSignature::parse(&text).map(|parsed| parsed.key), Some(key.public()));
        }
    }

    #[test]
    fn what_was_sealed_and_changed_does_not_open(bytes in changed(sealed().1)) {
        let (identity, good) = sealed();
        if let Ok(opened) = open_bytes(&bytes, &[&identity]) {
            prop_assert!(bytes == good, "changed, and opens to {} bytes", opened.expose().len());
        }
    }

    #[test]
    fn a_changed_table_is_refused_or_as_long_as_its_bytes(bytes in changed(table())) {
        if let Ok(read) = SeekTable::decode(&bytes) {
            prop_assert_eq!(read.encoded_len(), bytes.len());
            let (packed, plain) = read.totals();
            if plain > 0 {
                let span = read.span(&(plain / 2..plain));
                prop_assert!(span.packed.end <= packed && span.packed.start <= span.packed.end);
            }
        }
        if bytes.len() >= FOOTER {
            // Whatever length it tells, nothing is set aside for it.
            let told = SeekTable::len_from_footer(&bytes[bytes.len() - FOOTER..]);
            prop_assert!(told.is_err() || told.unwrap() <= u64::from(u32::MAX) * 8 + 17);
        }
    }

    #[test]
    fn arbitrary_lines_of_details_are_refused_or_read(text in "\\{\"(item|component|configuration)\":\\{[ -~]{0,120}\\}\\}") {
        if let Ok(line) = DetailLine::parse(text.as_bytes()) {
            prop_assert_eq!(DetailLine::parse(&line.to_line().unwrap()).unwrap(), line);
        }
    }

    #[test]
    fn arbitrary_keys_are_nobodys_or_ours(name in "[ -~\u{e4}\u{4e2d}]{0,60}") {
        let folders = ["points/prod-eu/daily/", "keys/", "retired/prod-eu/", "sigs/prod-eu/daily/", "history/prod-eu/", "copies/prod-eu/daily/"];
        for folder in folders {
            let Ok(key) = Key::new(format!("{folder}{name}")) else { continue };
            let tier = layout::tier(&id().source, &id().tier).unwrap();
            if let Some((run, file)) = layout::parse_point_file(&tier, &key) {
                let point = PointId { run, ..id() };
                prop_assert_eq!(layout::point_file(&point, &file).unwrap(), key.clone());
            }
            if let Some(entry) = layout::parse_history(&id().source, &key) {
                prop_assert_eq!(layout::history_record(&id().source, &entry).unwrap(), key.clone());
            }
            if let Some(origin) = layout::copy_origin::<VaultId>(&id(), &key) {
                prop_assert_eq!(layout::copy(&id(), &origin).unwrap(), key.clone());
            }
            drop((layout::copied_run(&key), layout::key_file(&key), layout::parse_retirement(&id().source, &key), layout::parse_signature(&key), layout::signed_by(&key)));
        }
    }
}
