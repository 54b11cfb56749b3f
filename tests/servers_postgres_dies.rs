//! Dumps that die in the middle: never a good-looking stump.

mod support;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay::postgres::PgDump;
use backstay::source::{ExportRequest, ResourceExporter};
use backstay::vault::Outcome;
use backstay::{ErrorKind, PointId};
use backstay_test_servers::postgres::{Server, majors};
use backstay_test_servers::proxy::Proxy;
use backstay_test_servers::until;
use backstay_testkit::SeededRandom;
use backstay_testkit::items::Items;
use support::postgres::{
    Strike, backstay, connect_by, dump, export, fill, kill, names, path, pg_dumps, pg_restore, scripted,
};
use support::{World, restored};

/// Rows of a kilobyte: several times what fits the pipe and an item's first frames.
const ROWS: u32 = 40_000;

type Shared = Arc<Mutex<Server>>;

/// A way to die, in words of the problem that it makes.
type Blow = (&'static str, fn(&Shared), fn(&Shared));

const COPYING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY %'";
const HOLDING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query NOT LIKE 'COPY %' AND datname = 'orders'";

const BLOWS: [Blow; 5] = [
    ("server closed the connection", |server| drop(locked(server).psql("postgres", COPYING)), |_| {}),
    ("ended during the dump", |server| drop(locked(server).psql("postgres", HOLDING)), |_| {}),
    ("", |server| locked(server).kill(), |server| locked(server).start_again()),
    ("", |server| locked(server).stop(), |server| locked(server).start_again()),
    ("signal: 9", |server| pg_dumps(locked(server).port()).into_iter().for_each(kill), |_| {}),
];

fn locked(server: &Shared) -> std::sync::MutexGuard<'_, Server> {
    server.lock().expect("no panic")
}

/// The point has these databases, each as an archive that is one to its end.
async fn assert_restores(vault: &backstay::Vault, id: &PointId, server: &Shared, databases: &[&str]) {
    let items = restored(vault, id).await.expect("it restores");
    let server = locked(server);
    let found: Vec<&str> = items.iter().filter_map(|(name, _)| name.strip_prefix("databases/")).collect();
    assert_eq!(found, databases);
    for (name, archive) in items.iter().filter(|(name, _)| name.starts_with("databases/")) {
        pg_restore(&server, &["--file=/dev/null"], archive);
        assert!(!archive.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_in_the_middle_its_item_is_gone_and_the_next_run_good() {
    for major in majors() {
        let server = Arc::new(Mutex::new(Server::start(major)));
        fill(&locked(&server), "orders", ROWS);
        fill(&locked(&server), "shop", 10);
        for (words, blow, mend) in BLOWS {
            let world = World::new(5).await;
            let dump = dump(&locked(&server)).databases(["orders", "shop"]);
            let calm = backstay(&world, dump.clone(), |_: &backstay::Event| {}).await;
            let earlier = calm.backup("daily").await.expect("a backup").id;
            let strike = Strike::with({
                let server = Arc::clone(&server);
                move || blow(&server)
            });
            let stricken = backstay(&world, dump, strike.clone()).await;
            let error = stricken.backup("daily").await.expect_err(words);
            assert!(strike.fell());
            mend(&server);
            // A server that is gone takes the second database with it.
            if let Some(report) = error.payload::<backstay::BackupReport>() {
                let component = &report.components[0];
                assert_eq!((component.outcome, component.problems[0].what.as_str()), (Outcome::Incomplete, "orders"));
                assert!(component.problems[0].why.contains(words), "{words}: {:?}", component.problems);
                assert_restores(calm.vault(), &report.id, &server, &["shop"]).await;
                let manifest = world.json(&format!("points/{}.json", report.id)).await;
                assert_eq!(manifest["components"][0]["objects"].as_array().expect("objects").len(), 3);
            } else {
                assert!(error.to_string().contains("no component could be exported"), "{error}");
            }
            assert_restores(calm.vault(), &earlier, &server, &["orders", "shop"]).await;
            let next = calm.backup("daily").await.expect("the next one is good").id;
            assert_restores(calm.vault(), &next, &server, &["orders", "shop"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_anywhere_makes_no_point() {
    for major in majors() {
        let server = Server::start(major);
        fill(&server, "orders", 3_000);
        let proxy = Proxy::to(server.port());
        let dump = PgDump::new(connect_by(&server, proxy.port())).programs_in(server.bin()).databases(["orders"]);
        let server = Arc::new(Mutex::new(server));
        let world = World::new(5).await;
        let backstay = backstay(&world, dump, |_: &backstay::Event| {}).await;
        let before = proxy.from_server();
        let earlier = backstay.backup("daily").await.expect("a backup").id;
        let whole = proxy.from_server() - before;
        let points = world.keys("points/").await;
        let random = SeededRandom::new(11);
        for _ in 0..10 {
            let mut bytes = [0; 8];
            backstay::Random::fill(&random, &mut bytes);
            // The last bytes are the answers to a transaction's end.
            let place = u64::from_be_bytes(bytes) % (whole - 2_000);
            proxy.cut_after(place);
            let error = backstay.backup("daily").await.expect_err("it was cut");
            assert!(proxy.is_cut(), "at {place} of {whole}: {error}");
            assert_eq!(world.keys("points/").await, points, "at {place} of {whole}");
            proxy.resume();
        }
        assert_restores(backstay.vault(), &earlier, &server, &["orders"]).await;
        let next = backstay.backup("daily").await.expect("the next one is good").id;
        assert_restores(backstay.vault(), &next, &server, &["orders"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_is_noticed_in_the_time_that_was_said() {
    let server = Server::start(majors()[0]);
    fill(&server, "orders", ROWS);
    let proxy = Arc::new(Proxy::to(server.port()));
    let dump = PgDump::new(connect_by(&server, proxy.port()))
        .programs_in(server.bin())
        .databases(["orders"])
        .database_timeout(Duration::from_secs(5));
    let strike = Strike::with({
        let proxy = Arc::clone(&proxy);
        move || proxy.stall()
    });
    let world = World::new(5).await;
    let backstay = backstay(&world, dump, strike.clone()).await;
    let error = backstay.backup("daily").await.expect_err("nothing comes any more");
    assert!(strike.fell() && error.to_string().contains("longer than it may"), "{error}");
    until("pg_dump to end", || pg_dumps(proxy.port()).is_empty().then_some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pg_dump_that_does_not_do_its_work_is_not_believed() {
    let server = Server::start(majors()[0]);
    fill(&server, "orders", 10);
    let base = || dump(&server).databases(["orders"]);
    #[rustfmt::skip]
    let table = [
        ("no archive", ErrorKind::Corrupt, "exit 0"),
        ("no archive", ErrorKind::Corrupt, "printf 'PGDMP\\001\\016\\000\\004\\010\\001'"),
        ("no archive", ErrorKind::Corrupt, "echo '-- PostgreSQL database dump'; echo 'SELECT 1;'"),
        ("told an error: pg_dump: error: a row", ErrorKind::Other, "\"$REAL\" \"$@\"; echo 'pg_dump: error: a row' >&2; yes 'pg_dump: warning: w' | head -n 9999 >&2"),
        ("exit status: 3", ErrorKind::Other, "\"$REAL\" \"$@\"; exit 3"),
        ("ended before the dump", ErrorKind::Unavailable, "\"$REAL\" \"$@\"; exec >&-; sleep 0.2; \"$BIN/psql\" -qc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'\" >&2"),
    ];
    for (words, kind, script) in table {
        let programs = scripted(&server, script);
        let (items, report) = export(&base().programs_in(path(&programs))).await;
        let error = report.expect_err(words);
        assert!(items.abandoned()[0].1.why.contains(words), "{script}: {:?}", items.abandoned());
        assert_eq!((error.kind(), names(&items).len()), (kind, 2), "{script}: {error}");
    }
    // What a database sets for its sessions does not end the one that holds the snapshot.
    server.psql("postgres", "ALTER DATABASE orders SET idle_in_transaction_session_timeout = '200ms'");
    let programs = scripted(&server, "sleep 1; exec \"$REAL\" \"$@\"");
    let (_, report) = export(&base().count_rows().programs_in(path(&programs))).await;
    report.expect("a slow dump is a good one");

    let warns = "yes 'pg_dump: warning: there are circular foreign keys' | head -n 100000 >&2; exec \"$REAL\" \"$@\"";
    let programs = scripted(&server, warns);
    let (items, report) = export(&base().programs_in(path(&programs))).await;
    let notes = report.expect("warnings are none").notes;
    assert!(notes.iter().any(|note| note.contains("circular")) && notes.len() < 100, "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("lines before these")), "{notes:?}");
    pg_restore(&server, &["--list"], &items.content("databases/orders").expect("it is there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_export_ends_its_processes_and_sessions() {
    let server = Server::start(majors()[0]);
    fill(&server, "orders", 10);
    let folder = scripted(&server, "exec sleep 600");
    let slow = dump(&server).databases(["orders"]).programs_in(path(&folder));
    let export = tokio::spawn(async move {
        let request = ExportRequest::new(
            "db".parse().expect("a name"),
            "test/manual/20261120t064200z-abcdefgh".parse().expect("an id"),
            backstay::jiff::Timestamp::UNIX_EPOCH,
        );
        slow.export(&request, &Items::new("db", "postgres.dump")).await.map(|_| ())
    });
    let held = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'orders'";
    let port = format!("PGPORT={}", server.port());
    let asleep = || {
        let sleeps = |pid: &u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            name.trim() == "sleep" && String::from_utf8_lossy(&environment).contains(&port)
        };
        support::postgres::processes().into_iter().filter(sleeps).count()
    };
    until("the dump to begin", || (asleep() == 1).then_some(()));
    assert_eq!(server.psql("postgres", held), "1");
    export.abort();
    assert!(export.await.expect_err("it was dropped").is_cancelled());
    until("the process to end", || (asleep() == 0).then_some(()));
    until("the session to end", || (server.psql("postgres", held) == "0").then_some(()));
}
