use std::collections::BTreeSet;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::process::Command;

use futures_util::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::store::{MemoryStore, ObjectStoreExt};

fn key(name: &str) -> Key {
    name.parse().unwrap()
}

fn store() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, store)
}

async fn lines(store: &dyn ObjectStore, prefix: &str, options: &ListOptions) -> Vec<String> {
    let line = |entry| match entry {
        ListEntry::Object(meta) => meta.key.to_string(),
        ListEntry::Folder(folder) => folder.to_string(),
    };
    store.list(&Prefix::new(prefix).unwrap(), options).map_ok(line).try_collect().await.unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn a_folder_that_is_not_there_is_never_made_by_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unmounted");
    let error = LocalStore::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("unmounted") && error.to_string().contains("mount"), "{error}");
    assert!(!path.exists());
    // A parent that is missing may be a disk that is not mounted, too.
    assert_eq!(kind(LocalStore::create(path.join("vault"))), ErrorKind::NotFound);
    LocalStore::create(&path).unwrap();
    LocalStore::create(&path).unwrap();
    symlink(&path, folder.path().join("link")).unwrap();
    LocalStore::create(folder.path().join("link/vault")).unwrap();
    std::fs::write(path.join("file"), "").unwrap();
    assert_eq!(kind(LocalStore::open(path.join("file"))), ErrorKind::Invalid);
}

#[tokio::test]
async fn keys_that_differ_by_case_or_normal_form_are_different_files_on_any_file_system() {
    let (folder, store) = store();
    let names = ["a/x", "a/X", "A/x", "e\u{301}", "\u{e9}", "dot.", "dot", "n%41", "nA"];
    for name in names {
        store.put_new(&key(name), name.to_owned()).await.unwrap();
    }
    for name in names {
        assert_eq!(store.get_bytes(&key(name), 100).await.unwrap(), name);
    }
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.is_ascii() && name.to_lowercase() == name, "{name}");
        assert!(seen.insert(name));
    }
}

#[tokio::test]
async fn a_segment_that_gets_too_long_is_refused_and_names_no_object() {
    let (_folder, store) = store();
    store.put_new(&key(&"a".repeat(255)), "").await.unwrap();
    let long = key(&"A".repeat(86));
    assert_eq!(kind(store.put_new(&long, "").await), ErrorKind::Invalid);
    assert!(!store.exists(&long).await.unwrap());
    assert!(store.delete(&[long.into()]).await.unwrap()[0].result.is_ok());
    assert!(lines(&store, &format!("{}/", "A".repeat(200)), &ListOptions::default()).await.is_empty());
    assert!(store.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    let (folder, store) = store();
    symlink(outside.path(), folder.path().join("dir")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file")).unwrap();
    for name in ["dir/secret", "file"] {
        assert_eq!(kind(store.get(&key(name), &GetOptions::default()).await), ErrorKind::Refused, "{name}");
        assert_eq!(kind(store.head(&key(name), &HeadOptions::default()).await), ErrorKind::Refused, "{name}");
    }
    assert_eq!(kind(store.put_new(&key("dir/new"), "x").await), ErrorKind::Refused);
    assert_eq!(kind(store.delete(&[key("dir/secret").into()]).await.unwrap().remove(0).result), ErrorKind::Refused);
    // A link that takes the place of the store's own folder would move all content outside.
    std::fs::remove_dir(folder.path().join(".backstay-tmp")).ok();
    symlink(outside.path(), folder.path().join(".backstay-tmp")).unwrap();
    assert_eq!(kind(store.put_new(&key("a"), "x").await), ErrorKind::Refused);
    // Leaving keys out of a listing in silence would make them look deleted.
    assert_eq!(
        kind(store.list(&Prefix::all(), &ListOptions::default()).try_collect::<Vec<_>>().await),
        ErrorKind::Refused
    );
    assert!(lines(&store, "other", &ListOptions::default()).await.is_empty());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_no_regular_file_is_no_object_and_holds_nobody_up() {
    let (folder, store) = store();
    std::fs::create_dir_all(folder.path().join("folder/inner")).unwrap();
    std::fs::write(folder.path().join("Foreign+name"), "").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    for name in ["folder", "folder/inner", "fifo"] {
        assert_eq!(kind(store.get(&key(name), &GetOptions::default()).await), ErrorKind::NotFound, "{name}");
    }
    assert!(lines(&store, "", &ListOptions::default()).await.is_empty());
    assert!(lines(&store, "", &ListOptions::folders()).await.is_empty());
    assert!(store.delete(&[key("folder").into()]).await.unwrap()[0].result.is_ok());
    assert!(folder.path().join("folder").exists());
}

#[tokio::test]
async fn a_key_that_is_the_folder_of_another_is_a_clear_conflict_and_an_empty_folder_is_none() {
    let (folder, store) = store();
    store.put_new(&key("a"), "a").await.unwrap();
    store.put_new(&key("d/e"), "e").await.unwrap();
    for options in [PutOptions::default(), PutOptions::overwrite()] {
        for name in ["a/b/c", "d"] {
            let error = store.put(&key(name), Bytes::new(), &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains("folder"), "{error}");
        }
    }
    for (i, options) in [PutOptions::default(), PutOptions::overwrite()].iter().enumerate() {
        std::fs::create_dir(folder.path().join(format!("left-over-{i}"))).unwrap();
        store.put(&key(&format!("left-over-{i}")), Bytes::from_static(b"x"), options).await.unwrap();
    }
    assert!(store.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

#[tokio::test]
async fn empty_folders_go_with_their_last_key_and_deletes_do_not_hinder_puts() {
    let (folder, store) = store();
    store.put_new(&key("a/b/c"), "").await.unwrap();
    store.put_new(&key("a/x"), "").await.unwrap();
    store.delete(&[key("a/b/c").into()]).await.unwrap();
    assert!(!folder.path().join("a/b").exists() && folder.path().join("a/x").exists());
    // Puts and deletes in one folder that comes and goes; the long name makes that of the temporary files do so too.
    let work = (0..8).map(|i| {
        let store = store.clone();
        tokio::spawn(async move {
            let key = key(&format!("p/q/{}/{i}", "r".repeat(220)));
            for _ in 0..40 {
                store.put_new(&key, "x").await.unwrap();
                assert_eq!(store.get_bytes(&key, 1).await.unwrap(), "x");
                store.delete(&[key.clone().into()]).await.unwrap().remove(0).result.unwrap();
            }
        })
    });
    futures_util::future::try_join_all(work).await.unwrap();
    assert!(!folder.path().join("p").exists());
}

#[tokio::test]
async fn a_reader_keeps_the_content_that_it_opened() {
    let (_folder, store) = store();
    let old = Bytes::from(vec![1; 3 << 20]);
    store.put_new(&key("a"), old.clone()).await.unwrap();
    let GetOutcome { meta, mut body, .. } = store.get(&key("a"), &GetOptions::default()).await.unwrap();
    let first = body.try_next().await.unwrap().unwrap();
    assert_eq!(first.len() as u64, CHUNK);
    let new = store.put(&key("a"), vec![2; 3 << 20].into(), &PutOptions::overwrite()).await.unwrap();
    assert_ne!(meta.etag, new.etag);
    let rest: Vec<Bytes> = body.try_collect().await.unwrap();
    assert_eq!([first.to_vec(), rest.concat()].concat(), old);
    let stale = GetOptions { if_match: meta.etag, ..GetOptions::default() };
    assert_eq!(kind(store.get(&key("a"), &stale).await), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_is_an_error_not_a_short_object() {
    let (folder, store) = store();
    store.put_new(&key("a"), vec![1; 3 << 20]).await.unwrap();
    let body = store.get(&key("a"), &GetOptions::default()).await.unwrap().body;
    std::fs::File::options().write(true).open(folder.path().join("a")).unwrap().set_len(100).unwrap();
    assert_eq!(kind(body.try_collect::<Vec<_>>().await), ErrorKind::Corrupt);
}

#[tokio::test]
async fn uploads_of_long_and_odd_keys_are_found_and_aborted_and_leave_nothing() {
    let (folder, store) = store();
    let long = format!("{}/{}/x", "a".repeat(250), "%A.".repeat(20));
    for name in ["plain", "Odd/é ,x", long.as_str()] {
        let mut upload = store.upload(&key(name), &PutOptions::default()).await.unwrap();
        upload.part(Bytes::from_static(b"x")).await.unwrap();
        drop(upload);
        let found: Vec<_> = store.uploads(&Prefix::new(&name[..3]).unwrap()).try_collect().await.unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].key, key(name));
        assert!(lines(&store, "", &ListOptions::default()).await.is_empty());
        store.abort_upload(&found[0]).await.unwrap();
        store.abort_upload(&found[0]).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path().join(".backstay-tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_upload_that_was_aborted_elsewhere_or_lacks_a_part_cannot_be_completed() {
    let (_folder, store) = store();
    let upload = store.upload(&key("gone"), &PutOptions::default()).await.unwrap();
    let found: Vec<_> = store.uploads(&Prefix::all()).try_collect().await.unwrap();
    store.abort_upload(&found[0]).await.unwrap();
    assert_eq!(kind(upload.complete().await), ErrorKind::NotFound);
    let mut upload = store.upload(&key("holed"), &PutOptions::default()).await.unwrap();
    drop(upload.part(Bytes::from_static(b"lost")));
    upload.part(Bytes::from_static(b"kept")).await.unwrap();
    assert_eq!(kind(upload.complete().await), ErrorKind::Invalid);
    let escape = UploadRef::new(key("a"), "../../etc", Timestamp::UNIX_EPOCH);
    assert_eq!(kind(store.abort_upload(&escape).await), ErrorKind::Invalid);
}

#[tokio::test]
async fn versions_locks_and_classes_are_refused_instead_of_dropped() {
    let (_folder, store) = store();
    let version = VersionId("1".to_owned());
    store.put_new(&key("a"), "").await.unwrap();
    let locked = PutOptions::default().with_lock(crate::store::Lock::until(Timestamp::MAX));
    let class = PutOptions { class: Some("COLD".to_owned()), ..PutOptions::default() };
    let kinds = [
        kind(store.put(&key("b"), Bytes::new(), &locked).await),
        kind(store.upload(&key("b"), &class).await),
        kind(store.get(&key("a"), &GetOptions::default().with_version(version.clone())).await),
        kind(store.head(&key("a"), &HeadOptions { version: Some(version.clone()) }).await),
        kind(store.list(&Prefix::all(), &ListOptions::versions()).try_collect::<Vec<_>>().await),
        kind(store.delete(&[ObjectRef::version(key("a"), version)]).await.unwrap().remove(0).result),
        kind(store.protect(&key("a").into(), &crate::store::Lock::default()).await),
    ];
    assert_eq!(kinds, [ErrorKind::Unsupported; 7]);
    assert!(store.exists(&key("a")).await.unwrap() && !store.exists(&key("b")).await.unwrap());
}

#[tokio::test]
async fn the_clock_is_that_of_the_files() {
    let (_folder, store) = store();
    let before = store.now().await.unwrap();
    let meta = store.put_new(&key("a"), "").await.unwrap();
    assert!(before <= meta.last_modified && meta.last_modified <= store.now().await.unwrap());
    assert!(store.uploads(&Prefix::all()).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// The store in memory sorts its keys by a map; the walk over folders must come to the same.
    #[test]
    fn listings_agree_with_the_store_in_memory(
        names in prop::collection::btree_set("[aB0%é-]{1,2}(/[aB.-]{0,1}[aB0-]){0,2}", 0..25),
        prefix in "([aB]{1,2}/?){0,1}", after in prop::option::of("[aB0-]{1,2}(/[aB]{0,1}){0,1}"), folders: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ((_folder, local), memory) = (store(), MemoryStore::new());
            for name in &names {
                let (a, b) = (local.put_new(&key(name), "").await, memory.put_new(&key(name), "").await);
                assert_eq!(a.map_err(|e| e.kind()).is_ok(), b.map_err(|e| e.kind()).is_ok(), "{name}");
            }
            let options = ListOptions { start_after: after, folders, versions: false };
            assert_eq!(lines(&local, &prefix, &options).await, lines(&memory, &prefix, &options).await);
        });
    }
}

const ROLE: &str = "BACKSTAY_TEST_ROLE";
const FOLDER: &str = "BACKSTAY_TEST_FOLDER";

/// Not a test of its own: other tests run it as a second process. Without a role it does nothing.
#[tokio::test]
async fn as_a_second_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let store = LocalStore::open(std::env::var(FOLDER).unwrap()).unwrap();
    match role.as_str() {
        "race" => {
            for i in 0..50 {
                let won = store.put_new(&key(&format!("deep/{i}/key")), std::process::id().to_string()).await;
                match won {
                    Ok(_) => println!("won {i}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
                }
            }
        }
        "full" => {
            let error = store.put_new(&key("big"), vec![1; 4 << 20]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
            assert!(error.context("path").is_some_and(|path| path.ends_with("big")), "{error}");
            let mut upload = store.upload(&key("big"), &PutOptions::default()).await.unwrap();
            assert_eq!(kind(upload.part(vec![1; 4 << 20].into()).await), ErrorKind::Exhausted);
            upload.abort().await.unwrap();
            // What failed left no bytes behind, so a small object fits.
            store.put_new(&key("small"), vec![1; 1 << 10]).await.unwrap();
            assert_eq!(lines(&store, "", &ListOptions::default()).await, ["small"]);
            println!("full disk told");
        }
        "read-only" => {
            assert_eq!(kind(store.put_new(&key("a"), "x").await), ErrorKind::Denied);
            assert_eq!(kind(store.upload(&key("a"), &PutOptions::default()).await), ErrorKind::Denied);
            store.now().await.unwrap();
            println!("read-only disk told");
        }
        role => panic!("{role}"),
    }
}

fn second_process(role: &str, folder: &Path, wrapper: &[&str]) -> Command {
    let own = std::env::current_exe().unwrap();
    let test = ["--exact", "store::local::tests::as_a_second_process", "--nocapture", "--test-threads=1"];
    let mut command = match wrapper {
        [] => Command::new(&own),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(&own);
            command
        }
    };
    command.args(test).env(ROLE, role).env(FOLDER, folder);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[test]
fn of_several_processes_that_create_a_key_exactly_one_wins() {
    let (folder, _store) = store();
    let racers: Vec<_> = (0..3).map(|_| second_process("race", folder.path(), &[]).spawn().unwrap()).collect();
    let mut wins = Vec::new();
    for racer in racers {
        let output = racer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        // The harness may print its own words before the first line.
        wins.extend(text.lines().filter_map(|line| line.split_once("won ")?.1.parse::<u32>().ok()));
    }
    wins.sort_unstable();
    assert_eq!(wins, (0..50).collect::<Vec<_>>());
}

/// Runs a role on a tmpfs of its own, mounted in a namespace that ends with the process.
fn on_a_disk(role: &str, options: &str) {
    let (folder, _store) = store();
    let script = format!("mount -t tmpfs -o {options} tmpfs \"${FOLDER}\" && exec \"$0\" \"$@\"");
    let probe = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("mount -t tmpfs -o {options} tmpfs \"$0\"")])
        .arg(folder.path())
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("LEFT OUT: {role} disk: this user may not mount a file system");
        return;
    }
    let output = second_process(role, folder.path(), &["unshare", "--mount", "sh", "-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(&format!("{role} disk told")), "{text}");
}

#[test]
fn a_full_disk_is_exhausted_and_keeps_nothing_half() {
    on_a_disk("full", "size=1m");
}

#[test]
fn a_read_only_disk_is_denied() {
    on_a_disk("read-only", "ro");
}

#[tokio::test]
async fn what_is_lent_is_read_into_and_never_beyond_the_range() {
    let (folder, store) = store();
    let content: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    store.put_new(&key("a"), content.clone()).await.unwrap();
    let get = |loan: &Loan, range: Range<u64>| {
        let options = GetOptions { loan: Some(loan.clone()), ..GetOptions::range(range) };
        let store = store.clone();
        async move { store.get(&key("a"), &options).await.unwrap().body.try_collect::<Vec<_>>().await }
    };
    for range in [0..300_000, 7..200_007, 299_999..300_000] {
        let memory = Vec::with_capacity(400_000);
        let place = memory.as_ptr();
        let loan = Loan::offer(memory);
        let mut chunks = get(&loan, range.clone()).await.unwrap();
        let (memory, rest) = loan.end(chunks.remove(0));
        assert!(chunks.is_empty() && rest.is_empty());
        assert_eq!(memory.as_ptr(), place);
        assert_eq!(memory, content[range.start as usize..range.end as usize]);
    }
    let small = Loan::offer(Vec::with_capacity(10));
    assert_eq!(get(&small, 0..300_000).await.unwrap().concat(), content);

    // Cut between the look at it and the read.
    let mut open = {
        let (file, _) = store.root.read(&key("a")).unwrap();
        OpenObject { root: store.root.clone(), key: key("a"), file, at: 0, end: 300_000 }
    };
    std::fs::File::options().write(true).open(folder.path().join("a")).unwrap().set_len(100_000).unwrap();
    assert_eq!(kind(open.read(&mut Vec::with_capacity(300_000), 300_000)), ErrorKind::Corrupt);
    let loan = Loan::offer(Vec::with_capacity(300_000));
    assert_eq!(kind(open.read_in_place(&loan).map(drop)), ErrorKind::Corrupt);
    assert!(loan.take(300_000).is_some(), "it is there for the next attempt");
}
