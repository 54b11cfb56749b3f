//! Dumps of real servers: what is in them, and that PostgreSQL's own programs take them.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use backstay::ErrorKind;
use backstay::postgres::{Globals, PgDump, Roots, Tls, exact_table};
use backstay::source::ResourceExporter;
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, can_tls, majors};
use backstay_testkit::conformance::source;
use backstay_testkit::items::Items;
use support::postgres::{
    Strike, backstay, connect, dump, export, facts, fill, names, partial, path, pg_restore, scripted, write_program,
};
use support::{World, restored};

const HOSTILE: [&str; 6] = ["Ä B", "a\"b", "--file=x", "host=evil port=1", "postgres://evil", "it's \\ * $x"];

#[tokio::test(flavor = "multi_thread")]
async fn each_database_is_an_archive_with_its_facts() {
    for major in majors() {
        let server = Server::start(major);
        for name in HOSTILE {
            server.psql("postgres", &format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
            server.psql(name, "CREATE SCHEMA \"S\"; CREATE TABLE \"S\".\"T.\"\"x\" AS SELECT 7 AS n; ANALYZE");
        }
        server.psql("postgres", "CREATE DATABASE closed ALLOW_CONNECTIONS false");
        server.psql("postgres", "CREATE ROLE reader; GRANT CREATE ON DATABASE \"Ä B\" TO reader");
        server.psql("Ä B", "SELECT lo_from_bytea(0, 'x'); ALTER DATABASE \"Ä B\" SET work_mem = '1MB'");
        let (items, report) = export(&dump(&server).count_rows().jobs(2)).await;
        let report = report.expect("a dump");
        let mut expected: Vec<String> = HOSTILE.iter().map(|name| format!("databases/{name}")).collect();
        expected.extend(["databases/postgres", "globals", "globals.sql"].map(str::to_owned));
        assert_eq!(names(&items).into_iter().collect::<BTreeSet<_>>(), expected.into_iter().collect());
        assert!(items.unfinished().is_empty() && report.problems.is_empty() && !report.empty, "{report:?}");
        let told = "1 databases were left out because they do not allow connections: \"closed\"";
        assert!(report.notes.iter().any(|note| note == told), "{:?}", report.notes);
        let identity = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
        assert_eq!(report.identity, Some(identity));

        for name in HOSTILE {
            let archive = items.content(&format!("databases/{name}")).expect("it is there");
            assert!(pg_restore(&server, &["--list"], &archive).contains("TABLE DATA S T.\"x"), "{name}");
            assert!(pg_restore(&server, &["--file=-"], &archive).contains("COPY \"S\".\"T.\"\"x\""), "{name}");
            let facts = facts(&items, name);
            assert_eq!((facts.name.as_str(), facts.tables.len(), facts.tables[0].rows), (name, 1, Some(1)));
            assert!(facts.cut_at >= report.cut_at && facts.lsn.is_some() && facts.snapshot.is_some());
            assert!(facts.bytes > 1_000_000 && facts.server_version / 10_000 == major);
            assert!(facts.client_version.starts_with(&major.to_string()) && facts.owner == "postgres");
        }
        let facts = facts(&items, "Ä B");
        assert_eq!((facts.large_objects, &facts.roles[..]), (1, &["postgres".to_owned(), "reader".to_owned()][..]));
        assert_eq!((facts.settings, facts.extensions[0].name.as_str()), (vec!["work_mem=1MB".to_owned()], "plpgsql"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dumped_comes_back_equal_by_postgresqls_own_programs() {
    for major in majors() {
        let (server, other) = (Server::start(major), Server::start(major));
        data::fill(&server, "shop", 8);
        let (items, report) = export(&dump(&server).databases(["shop"])).await;
        report.expect("a dump");
        let folder = backstay_test_servers::folder();
        let script = folder.path().join("globals.sql");
        fs::write(&script, items.content("globals.sql").expect("a script")).expect("room");
        let password = items.content("globals").expect("globals");
        assert!(String::from_utf8_lossy(&password).contains("SCRAM-SHA-256$"));
        // The script gives the super-user there the password that he has here.
        other.psql("postgres", &format!("\\i '{}'", script.display()));
        let archive = folder.path().join("archive");
        fs::write(&archive, items.content("databases/shop").expect("an archive")).expect("room");
        let mut command = client_with(&other, server.password(), "pg_restore");
        let restored = command.args(["--create", "--exit-on-error", "--dbname=postgres"]).arg(&archive).output();
        let restored = restored.expect("it runs");
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        let mut psql = client_with(&other, server.password(), "psql");
        let superuser = format!("ALTER ROLE postgres PASSWORD '{}'", other.password());
        assert!(psql.args(["--command", &superuser]).output().expect("it runs").status.success());
        let compare = |one, two| data::difference(&one, &two);
        let differences = compare(data::fingerprint(&server, "shop"), data::fingerprint(&other, "shop"));
        assert_eq!(differences, [""; 0]);
        assert_eq!(compare(data::globals(&server), data::globals(&other)), [""; 0]);
    }
}

/// A client of `server` by a password that it was not started with.
fn client_with(server: &Server, password: &str, program: &str) -> std::process::Command {
    let mut command = server.client(program, "postgres");
    command.env("PGPASSFILE", "/dev/null").env("PGPASSWORD", password);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn globals_are_the_same_wherever_the_script_ran() {
    for major in majors() {
        let start = || Server::builder(major).setting("allow_in_place_tablespaces", "on").start();
        let (server, other) = (start(), start());
        server.psql(
            "postgres",
            "CREATE ROLE \"group\" NOINHERIT; CREATE ROLE \"o'br\"\"ien\" LOGIN PASSWORD 'hunter2' VALID UNTIL '2031-01-01' CONNECTION LIMIT 3;
             CREATE ROLE boss CREATEROLE; GRANT \"group\" TO boss WITH ADMIN OPTION;
             SET ROLE boss; GRANT \"group\" TO \"o'br\"\"ien\"; RESET ROLE; GRANT pg_monitor TO \"group\";
             COMMENT ON ROLE boss IS E'it''s\\\\ the boss'; ALTER ROLE ALL SET work_mem = '5MB';
             ALTER ROLE boss SET search_path = \"$user\", 'a, b'; ALTER ROLE boss IN DATABASE postgres SET \"app.x\" = 'y';
             CREATE TABLESPACE fast OWNER boss LOCATION ''; ALTER TABLESPACE fast SET (seq_page_cost = 0.5);
             GRANT CREATE ON TABLESPACE fast TO \"group\"; COMMENT ON TABLESPACE fast IS 'ssd';",
        );
        if major >= 15 {
            server.psql("postgres", "GRANT SET ON PARAMETER log_statement TO \"group\"");
        }
        let globals = |items: &Items| {
            serde_json::from_slice::<serde_json::Value>(&items.content("globals").expect("it is there")).expect("JSON")
        };
        let (items, report) = export(&dump(&server)).await;
        report.expect("a dump");
        let read: Globals = serde_json::from_value(globals(&items)).expect("it reads back");
        assert_eq!((read.roles.len(), read.memberships.len(), read.tablespaces.len()), (4, 3, 1));
        let script = backstay_test_servers::folder();
        let script_path = script.path().join("globals.sql");
        fs::write(&script_path, items.content("globals.sql").expect("a script")).expect("room");
        other.psql("postgres", &format!("\\i '{}'", script_path.display()));
        let superuser = PgDump::new(
            format!("postgres://postgres:{}@127.0.0.1:{}/postgres?sslmode=disable", server.password(), other.port())
                .parse()
                .expect("a URL"),
        );
        let (there, report) = export(&superuser.programs_in(other.bin())).await;
        report.expect("a dump");
        assert_eq!(globals(&there), globals(&items));

        let (items, report) = export(&dump(&server).role_passwords(false)).await;
        assert!(report.expect("a dump").notes.iter().any(|note| note.contains("passwords were left out")));
        for name in ["globals", "globals.sql"] {
            let text = items.content(name).expect("it is there");
            assert!(!String::from_utf8_lossy(&text).contains("SCRAM"), "{name}");
        }
        let (items, _) = export(&dump(&server).globals(false)).await;
        assert_eq!(names(&items), ["databases/postgres"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_facts_name_the_tables_that_the_archive_has_rows_of() {
    for major in majors() {
        let server = Server::start(major);
        server.psql(
            "postgres",
            "CREATE TABLE one (n int); CREATE TABLE \"One\" (n int); CREATE SCHEMA log; CREATE TABLE log.one (n int); CREATE TABLE log.\"a.b\" (n int);
             CREATE SCHEMA \"L*\"; CREATE TABLE \"L*\".\"x$\" (n int); CREATE UNLOGGED TABLE fast (n int); CREATE VIEW v AS TABLE one;
             CREATE TABLE p (n int) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);
             CREATE MATERIALIZED VIEW m AS TABLE one; CREATE TEMP TABLE t (n int)",
        );
        let base = || dump(&server).globals(false);
        let table = [
            base(),
            base().schemas(["log"]),
            base().schemas(["\"L*\"", "PUBLIC"]).exclude_tables(["*.one"]),
            base().exclude_schemas(["l*"]),
            base().tables([exact_table("L*", "x$"), "log.*".to_owned()]),
            base().tables(["*.on?"]).exclude_tables([exact_table("public", "one")]),
            base().exclude_table_data(["log.\"a.b\"", "public.p*"]),
            base().exclude_table_data(["*.[of]*"]),
        ];
        for dump in table {
            let (items, report) = export(&dump).await;
            report.unwrap_or_else(|error| panic!("{dump:?}: {error}"));
            let archive = items.content("databases/postgres").expect("an archive");
            let listed = pg_restore(&server, &["--list"], &archive);
            let data = listed.lines().filter_map(|line| line.split_once(" TABLE DATA ")?.1.rsplit_once(' '));
            let data: BTreeSet<String> = data.map(|(name, _)| name.to_owned()).collect();
            let facts = facts(&items, "postgres");
            let told = facts.tables.iter().map(|table| format!("{} {}", table.schema, table.name)).collect();
            assert_eq!(data, told, "{dump:?}");
        }
        let (items, report) = export(&base().tables(["public.none"])).await;
        let error = report.expect_err("strict");
        assert!(error.to_string().contains("no matching tables"), "{error}");
        assert_eq!(items.abandoned().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_exporters() {
    let server = Arc::new(Server::start(majors()[0]));
    fill(&server, "orders", 100);
    source::exporter(|_| Ok(Arc::new(PgDump::new(connect(&server))) as Arc<dyn ResourceExporter>)).await.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_databases_at_once_than_the_budget_has_room_for_come_through() {
    let server = Server::start(majors()[0]);
    for i in 0..7 {
        fill(&server, &format!("db{i}"), 3_000);
    }
    let world = World::new(5).await;
    let backstay = backstay(&world, dump(&server).jobs(7).databases(["db*"]), |_: &backstay::Event| {}).await;
    let report = backstay.backup("daily").await.expect("a backup");
    assert_eq!(report.components[0].items, 9);
    assert_eq!(restored(backstay.vault(), &report.id).await.expect("all").len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tables_is_empty_and_one_without_databases_is_refused() {
    let server = Server::start(majors()[0]);
    let (_, report) = export(&dump(&server)).await;
    assert!(report.expect("a dump").empty);
    let (_, report) = export(&dump(&server).databases(["none-*"])).await;
    assert_eq!(report.expect_err("nothing").kind(), ErrorKind::Refused);
    let (_, report) = export(&dump(&server).databases(["absent"])).await;
    assert_eq!(report.expect_err("nothing").kind(), ErrorKind::NotFound);
    let (items, report) = export(&dump(&server).databases(["absent", "postgres"])).await;
    assert_eq!(report.expect("the other one").problems[0].what, "absent");
    assert_eq!(names(&items), ["globals", "globals.sql", "databases/postgres"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprivileged_role_dumps_what_it_may_and_notes_the_rest() {
    let server = Server::start(majors()[0]);
    server
        .psql("postgres", "CREATE ROLE modest LOGIN PASSWORD 'p'; CREATE TABLE t (n int); GRANT SELECT ON t TO modest");
    let modest = connect(&server).user("modest").password(backstay::Secret::new("p".to_owned()));
    let (items, report) = export(&PgDump::new(modest.clone()).programs_in(server.bin())).await;
    let report = report.expect("a dump");
    assert!(report.notes.iter().any(|note| note.contains("may not read pg_authid")), "{:?}", report.notes);
    assert!(!String::from_utf8_lossy(&items.content("globals").expect("it is there")).contains("SCRAM"));

    // Row security hides rows; a dump without them would be a lie.
    server.psql("postgres", "CREATE TABLE hidden AS SELECT 1 AS n; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON hidden TO modest");
    let (items, report) = export(&PgDump::new(modest).programs_in(server.bin()).count_rows()).await;
    assert!(report.expect_err("rows are hidden").to_string().contains("row-level security"));
    assert_eq!(items.abandoned().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_server_with_a_trusted_certificate_is_talked_to() {
    for major in majors().into_iter().filter(|major| can_tls(*major)) {
        let (server, stranger) = (Server::builder(major).tls().start(), Server::builder(major).tls().start());
        let (_, report) = export(&dump(&server)).await;
        report.expect("the right root");
        let wrong = connect(&server).tls(Tls::VerifyFull(Roots::File(stranger.ca().expect("TLS").to_owned())));
        for wrong in [wrong, connect(&server).tls(Tls::DangerPlain)] {
            let (items, report) = export(&PgDump::new(wrong).programs_in(server.bin())).await;
            report.expect_err("not that server");
            assert_eq!(names(&items), [""; 0]);
        }
        let unverified = connect(&server).tls(Tls::DangerUnverified);
        export(&PgDump::new(unverified).programs_in(server.bin())).await.1.expect("whoever answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_cancels_a_dump_is_asked_again() {
    for major in majors() {
        let primary = Arc::new(Server::start(major));
        let standby = Server::builder(major).standby_of(&primary).setting("max_standby_streaming_delay", "0").start();
        let standby = Arc::new(standby);
        fill(&primary, "orders", 40_000);
        primary.psql("orders", "CREATE TABLE other AS SELECT 1 AS n; CREATE UNLOGGED TABLE fast (n int)");
        standby.catch_up_with(&primary);
        let strike = {
            let (primary, standby) = (Arc::clone(&primary), Arc::clone(&standby));
            Strike::with(move || {
                primary.psql("orders", "DROP TABLE other");
                let lsn = primary.psql("postgres", "SELECT pg_current_wal_flush_lsn()");
                let received = format!("SELECT pg_last_wal_receive_lsn() >= '{lsn}'");
                backstay_test_servers::until("the standby to hear of it", || {
                    (standby.psql("postgres", &received) == "t").then_some(())
                });
            })
        };
        let world = World::new(5).await;
        let dump = dump(&standby).databases(["orders"]).count_rows();
        let backstay = backstay(&world, dump, strike.clone()).await;
        let report = backstay.backup("daily").await.expect("a backup");
        assert!(strike.fell());
        let notes = &report.components[0].notes;
        assert!(notes.iter().any(|note| note.contains("was begun again")), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains("1 unlogged tables have no rows")), "{notes:?}");
        let items = restored(backstay.vault(), &report.id).await.expect("all");
        let archive = &items.iter().find(|(name, _)| name == "databases/orders").expect("it is there").1;
        pg_restore(&standby, &["--file=/dev/null"], archive);
        assert!(!pg_restore(&standby, &["--list"], archive).contains(" other "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_always_cancels_is_not_asked_for_ever() {
    let server = Server::start(majors()[0]);
    fill(&server, "orders", 10);
    let cancelled = "echo x >> \"$HERE/begun\"; printf PGDMPjunkjunkjunk; \
                     echo 'pg_dump: error: canceling statement due to conflict with recovery' >&2; exit 1";
    let twice =
        format!("[ \"$(cat \"$HERE/begun\" 2> /dev/null | wc -l)\" -ge 2 ] && exec \"$REAL\" \"$@\"\n{cancelled}");
    let programs = scripted(&server, &twice);
    let (items, report) = export(&dump(&server).databases(["orders"]).programs_in(path(&programs))).await;
    report.expect("the third is whole");
    pg_restore(&server, &["--list"], &items.content("databases/orders").expect("it is there"));

    let programs = scripted(&server, cancelled);
    let (items, report) = export(&dump(&server).databases(["orders"]).programs_in(path(&programs))).await;
    let error = report.expect_err("never");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("hot_standby_feedback"), "{error}");
    assert_eq!(fs::read_to_string(path(&programs).join("begun")).expect("it ran").lines().count(), 3);
    assert_eq!(items.abandoned().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_too_old_is_refused_before_the_first_item() {
    let server = Server::start(majors()[0]);
    let folder = tempfile::tempdir().expect("a folder");
    write_program(&folder.path().join("pg_dump"), "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n");
    let (items, report) = export(&dump(&server).programs_in(path(&folder))).await;
    let error = report.expect_err("it is older");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("install PostgreSQL's client programs"), "{error}");
    assert!(items.infos().is_empty() && items.unfinished().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_denied() {
    let server = Server::start(majors()[0]);
    let wrong = connect(&server).password(backstay::Secret::new("hunter2".to_owned()));
    let (items, report) = export(&PgDump::new(wrong).programs_in(server.bin())).await;
    let error = report.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hunter2") && items.unfinished().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_is_waited_for_as_long_as_was_said() {
    let server = Arc::new(Server::start(majors()[0]));
    fill(&server, "orders", 10);
    fill(&server, "shop", 10);
    let locker = {
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            // It ends when it is terminated.
            let _ = server.try_psql("orders", "BEGIN; LOCK TABLE big; SELECT pg_sleep(600)");
        })
    };
    let held = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE l.mode = 'AccessExclusiveLock' AND a.query ~ '^SELECT pg_sleep'";
    backstay_test_servers::until("the lock", || (server.psql("orders", held) != "0").then_some(()));
    let world = World::new(5).await;
    let dump = dump(&server).databases(["orders", "shop"]).lock_timeout(Duration::from_millis(200));
    let backstay = backstay(&world, dump, |_: &backstay::Event| {}).await;
    let error = backstay.backup("daily").await.expect_err("locked");
    let problem = &partial(&error).components[0].problems[0];
    assert_eq!(problem.what, "orders");
    assert!(problem.why.contains("lock timeout") && problem.why.contains("pg_locks"), "{}", problem.why);
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'");
    locker.join().expect("it ends");
    backstay.backup("daily").await.expect("the next one is good");
}

/// What is counted for hours must not be emptied meanwhile: who truncates a table leaves nothing for an older snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_held_before_the_first_is_counted() {
    for major in majors() {
        let server = Server::builder(major).setting("log_statement", "all").start();
        server.psql("postgres", "CREATE TABLE a (n int); CREATE TABLE \"Z\"\"z\" (n int)");
        let (_, report) = export(&dump(&server).count_rows()).await;
        report.expect("a dump");
        let log = server.log();
        let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
        assert!(
            at("LOCK TABLE ONLY \"public\".\"Z\"\"z\", ONLY \"public\".\"a\"")
                < at("SELECT count(*) AS count FROM ONLY")
        );
    }
}
