//! Where it goes: what is there stays, and what is missing is said before.

use backstay_core::ErrorKind;
use backstay_core::source::{ImportAction, ImportOptions, ResourceImporter as _};
use backstay_postgres::PgRestore;
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, majors};
use backstay_testkit::conformance::source::{self, ImporterSetup};

use super::world::{connect, dumped, foreign, import, items_of, program, refused, restore, small, state, world};

fn plain() -> ImportOptions {
    ImportOptions::default()
}

#[tokio::test]
async fn a_database_that_is_not_empty_stays_unless_overwriting_was_shown() {
    for major in majors() {
        let (server, items) = world(major).await;
        server.psql("small", "update public.other set x = 'changed'; create table public.theirs (x int)");
        let live = data::fingerprint(&server, "small");
        let into = restore(&server).into("small");
        let plan = into.plan(&items, &plain()).await.unwrap();
        assert_eq!((plan.count(ImportAction::Conflict), plan.counts.len()), (1, 1), "{plan}");
        let report = into.apply(&items, plan).await.unwrap();
        assert_eq!(report.problems.len(), 1);
        assert_eq!(data::difference(&live, &data::fingerprint(&server, "small")), [""; 0]);

        let overwriting = plain().danger_overwrite();
        let plan = into.plan(&items, &overwriting).await.unwrap();
        let shown = |what: &str| plan.entries.iter().any(|e| e.action == ImportAction::Overwrite && e.what == what);
        assert!(shown("relation public.other") && shown("relation sales.paid") && shown("schema sales"), "{plan}");
        // What came since is not in the plan.
        server.psql("small", "create table public.late (x int)");
        assert_eq!(into.apply(&items, plan).await.unwrap_err().kind(), ErrorKind::Conflict);
        import(&into, &items, &overwriting).await.unwrap();
        assert_eq!(server.psql("small", "select x from public.other order by 1"), "one\ntwo");
        assert_eq!(
            server.psql("small", "select count(*) from public.theirs"),
            "0",
            "what the archive does not have stays"
        );
    }
}

#[tokio::test]
async fn an_empty_database_is_filled_in_one_transaction() {
    for major in majors() {
        let (server, items) = world(major).await;
        server.psql("postgres", "create database empty");
        let into = restore(&server).into("empty");
        // It fails in the middle of its data, and nothing of it is left.
        let folder = tempfile::tempdir().unwrap();
        let real = server.bin().join("pg_restore").display().to_string();
        let cut = format!("case \"$*\" in *--dbname*) head -c 150000 | {real} \"$@\";; *) exec {real} \"$@\";; esac");
        program(folder.path(), &format!("#!/bin/sh\n{cut}\n"));
        import(&restore(&server).into("empty").programs_in(folder.path()), &items, &plain()).await.unwrap_err();
        assert_eq!(server.psql("empty", "select count(*) from pg_namespace where nspname = 'sales'"), "0");
        let plan = into.plan(&items, &plain()).await.unwrap();
        let name = server.psql("postgres", "select oid from pg_database where datname = 'empty'");
        into.apply(&items, plan.clone()).await.unwrap();
        assert_eq!(server.psql("empty", "select count(*) from sales.orders"), "3000");
        assert_eq!(server.psql("postgres", "select oid from pg_database where datname = 'empty'"), name);
        // The same plan again does no harm.
        assert_eq!(into.apply(&items, plan).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(server.psql("empty", "select count(*) from sales.orders"), "3000");
    }
}

#[tokio::test]
async fn roles_that_are_missing_are_named_and_can_be_done_without() {
    for major in majors() {
        let (_, items) = world(major).await;
        let target = Server::start(major);
        let before = state(&target);
        let plan = restore(&target).into("x").plan(&items, &plain()).await.unwrap();
        let impossible: Vec<&str> =
            plan.entries.iter().filter(|e| e.action == ImportAction::Impossible).map(|e| e.what.as_str()).collect();
        assert_eq!(impossible, ["role owner_of_it", "role reader"], "{plan}");
        let report = restore(&target).apply(&items, plan).await.unwrap();
        assert_eq!((report.problems.len(), state(&target)), (2, before));

        let without = restore(&target).into("x").without_owners().without_privileges();
        let report = import(&without, &items, &plain()).await.unwrap();
        assert!(report.problems.is_empty());
        assert_eq!(target.psql("x", "select tableowner from pg_tables where tablename = 'orders'"), "postgres");
    }
}

#[tokio::test]
async fn an_extension_that_is_not_there_is_named() {
    let mut seen = false;
    for major in majors() {
        let server = Server::start(major);
        // What is fetched as a Python wheel has no extensions.
        if server.psql("postgres", "select 1 from pg_available_extensions where name = 'pgcrypto'") != "1" {
            continue;
        }
        seen = true;
        server.psql("postgres", "create database a");
        server.psql("a", "create extension pgcrypto; create table t (x int)");
        // The same archive from a server that has another extension.
        let mut archive = foreign(&server, "a", 0);
        for at in 0..archive.len() - 8 {
            if archive[at..].starts_with(b"pgcrypto") {
                archive[at..at + 8].copy_from_slice(b"pgcrypt0");
            }
        }
        let plan = restore(&server).into("b").plan(&items_of(archive), &plain()).await.unwrap();
        assert!(plan.to_string().contains("impossible \"extension pgcrypt0\": it is not installed"), "{plan}");
    }
    assert!(seen, "no server has pgcrypto");
}

#[tokio::test]
async fn what_cannot_be_reached_or_found_is_told_and_nothing_is_made() {
    for major in majors() {
        let (server, items) = world(major).await;
        let wrong = server.url("postgres").replace(server.password(), "hunter2");
        let kind = refused(&server, &PgRestore::new(wrong.parse().unwrap()), &items).await;
        assert_eq!(kind, ErrorKind::Denied);
        let absent = PgRestore::new(connect(&server, "absent")).programs_in(server.bin());
        assert_eq!(refused(&server, &absent, &items).await, ErrorKind::NotFound);
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "#!/bin/sh\necho 'pg_restore (PostgreSQL) 9.6.24'\n");
        let old = restore(&server).programs_in(folder.path());
        assert_eq!(refused(&server, &old, &items).await, ErrorKind::Unsupported);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(refused(&server, &restore(&server).programs_in(empty.path()), &items).await, ErrorKind::NotFound);
        let nothing = backstay_testkit::items::Items::new("db", "postgres.dump");
        assert_eq!(refused(&server, &restore(&server), &nothing).await, ErrorKind::NotFound);
        nothing.add("tree", "tar", "x");
        assert_eq!(refused(&server, &restore(&server), &nothing).await, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_client_with_the_known_hole_is_named() {
    let major = majors()[0];
    let (server, items) = world(major).await;
    let folder = tempfile::tempdir().unwrap();
    let real = server.bin().join("pg_restore");
    let version = format!("case $1 in --version) echo 'pg_restore (PostgreSQL) {major}.1'; exit;; esac");
    program(folder.path(), &format!("#!/bin/sh\n{version}\nexec {} \"$@\"\n", real.display()));
    let plan = restore(&server).programs_in(folder.path()).plan(&items, &plain()).await.unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("CVE-2025-8714")) || major >= 18, "{plan}");
}

#[tokio::test]
async fn who_is_no_super_user_restores_what_is_his() {
    for major in majors() {
        let (server, items) = world(major).await;
        server.psql(
            "postgres",
            "create role app login createdb password 'planted-app'; create role plain login password 'planted-app'",
        );
        let by = |user: &str| {
            let url = server
                .url("postgres")
                .replace(&format!("postgres:{}@", server.password()), &format!("{user}:planted-app@"));
            PgRestore::new(url.parse().unwrap()).programs_in(server.bin())
        };
        let plan = by("app").into("his").plan(&items, &plain()).await.unwrap();
        assert!(plan.to_string().contains("impossible \"role owner_of_it\""), "{plan}");
        let his = by("app").into("his").without_owners().without_privileges();
        import(&his, &items, &plain()).await.unwrap();
        assert_eq!(
            server.psql(
                "his",
                "select count(*), min(tableowner) from sales.orders, pg_tables where tablename = 'orders'"
            ),
            "3000|app"
        );
        let plan =
            by("plain").into("theirs").without_owners().without_privileges().plan(&items, &plain()).await.unwrap();
        assert!(plan.to_string().contains("may not create databases"), "{plan}");
    }
}

/// The suite takes for granted that what is there is compared, and that what is equal is `Unchanged`. A database that is not
/// empty is a conflict here whatever is in it: to compare it would be to dump it. So cases that look by a second plan whether the
/// target holds what it should cannot pass; the tests here look into the database instead.
#[tokio::test]
async fn the_importer_keeps_its_contract_where_the_suite_can_tell() {
    let major = majors()[0];
    let server = Server::start(major);
    small(&server);
    let items = dumped(&server, &["small"]).await;
    server.psql("small", "update sales.orders set note = 'other'; update public.other set x = 'other'");
    let other = dumped(&server, &["small"]).await;
    let report = source::importer(|case| {
        let importer = std::sync::Arc::new(restore(&server).into(case));
        Ok(ImporterSetup { importer, items: items.clone(), other: other.clone() })
    })
    .await;
    assert_eq!(
        report.passed,
        ["its_items_are_accepted", "check_reads_to_the_end", "check_and_plan_change_nothing"],
        "{report}"
    );
    let failed: Vec<&str> = report.failed.iter().map(|(case, _)| *case).collect();
    let looks_by_a_second_plan = [
        "apply_does_what_the_plan_says",
        "a_second_apply_has_nothing_to_do",
        "nothing_is_overwritten_unasked",
        "overwriting_is_planned_in_full_and_done",
        "an_old_plan_overwrites_nothing_new",
        "an_interrupted_apply_is_finished_by_the_next",
        "a_dropped_apply_is_finished_by_the_next",
    ];
    assert_eq!(failed, looks_by_a_second_plan, "{report}");
}
