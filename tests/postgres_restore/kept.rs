//! What is easily lost on the way back: it comes back, or the plan says that it does not.

use backstay_core::ErrorKind;
use backstay_core::source::{ImportAction, ImportOptions, ImportPlan, ResourceImporter as _};
use backstay_postgres::{PgRestore, RestoreGlobals};
use backstay_test_servers::postgres::{Server, majors};

use super::world::{connect, dumped, foreign, import, items_of, restore, small, world};

fn only(globs: &[&str]) -> ImportOptions {
    ImportOptions::default().only(globs.iter().copied())
}

fn notes(plan: &ImportPlan, text: &str) -> bool {
    plan.notes.iter().any(|note| note.contains(text))
}

#[tokio::test]
async fn a_database_that_only_can_be_read_comes_back_with_its_grants_and_its_comment() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql("postgres", "grant connect on database small to reader; comment on database small is 'old orders'");
        server.psql("postgres", "alter database small set default_transaction_read_only = on");
        let items = dumped(&server, &["small"]).await;
        import(&restore(&server).into("back"), &items, &ImportOptions::default()).await.unwrap();
        let look = |name: &str| {
            server.psql(
                "postgres",
                &format!(
                    "select (select array_agg(a::text order by a::text) from unnest(d.datacl) a), shobj_description(d.oid, 'pg_database'), s.setconfig from pg_database d \
                     join pg_db_role_setting s on s.setdatabase = d.oid where d.datname = '{name}'"
                ),
            )
        };
        assert_eq!(look("back"), look("small"));
    }
}

#[tokio::test]
async fn what_is_chosen_leaves_foreign_keys_to_what_is_not_and_says_so() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql(
            "small",
            "create schema far; create table far.parent (id int primary key); insert into far.parent values (1);
             create table sales.child (p int references far.parent); insert into sales.child values (1);
             create sequence far.numbers; create table sales.numbered (id int primary key default nextval('far.numbers'), x int);
             insert into sales.numbered (x) select 1 from generate_series(1, 9);
             create materialized view sales.seen as select * from far.parent;",
        );
        let items = dumped(&server, &["small"]).await;
        let into = restore(&server).into("schema");
        let plan = into.plan(&items, &only(&["sales"])).await.unwrap();
        assert!(notes(&plan, "not chosen: sales.child child_p_fkey"), "{plan}");
        assert!(notes(&plan, "made without rows: far.parent"), "{plan}");
        into.apply(&items, plan).await.unwrap();
        assert_eq!(server.psql("schema", "select count(*) from sales.child"), "1");
        // A sequence of elsewhere goes on where it was.
        server.psql("schema", "insert into sales.numbered (x) values (2)");
        assert_eq!(server.psql("schema", "select max(id) from sales.numbered"), "10");

        let both = restore(&server).into("both");
        let plan = both.plan(&items, &only(&["sales", "far.parent"])).await.unwrap();
        assert!(!notes(&plan, "not chosen") && !notes(&plan, "without rows"), "{plan}");
        both.apply(&items, plan).await.unwrap();
        let keys = "select count(*) from pg_constraint where contype = 'f' and conname = 'child_p_fkey'";
        assert_eq!((server.psql("both", keys), server.psql("schema", keys)), ("1".into(), "0".into()));
        assert_eq!(server.psql("both", "select count(*) from sales.seen"), "1");
    }
}

#[tokio::test]
async fn what_an_archive_has_no_rows_of_is_told() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql(
            "small",
            "create table parts (n int) partition by range (n); create table part partition of parts default",
        );
        let mut dump = server.client("pg_dump", "small");
        let output = dump.args(["--format=custom", "--exclude-table-data=public.other"]).output().unwrap();
        let plan = restore(&server).into("x").plan(&items_of(output.stdout), &ImportOptions::default()).await.unwrap();
        assert!(plan.notes.iter().any(|note| note == "the archive has no rows of: public.other"), "{plan}");
    }
}

#[tokio::test]
async fn all_that_overwriting_drops_is_listed() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        let has = |name: &str| {
            server.psql("postgres", &format!("select 1 from pg_available_extensions where name = '{name}'")) == "1"
        };
        server.psql(
            "small",
            "create collation public.\"C o\" (locale = 'C'); create foreign data wrapper w; create server s foreign data wrapper w;
             create operator public.<<< (leftarg = int, rightarg = int, function = int4lt);
             create text search configuration public.words (copy = simple);
             create type public.pair as (a int, b int);
             create function public.pair_of(text) returns public.pair language sql immutable as 'select (1, 2)::public.pair';
             create function public.first_of(public.pair) returns int language sql as 'select 1';
             create cast (text as public.pair) with function public.pair_of(text);
             create user mapping for reader server s; create user mapping for public server s;
             create access method heap_too type table handler heap_tableam_handler;
             create language own handler plpgsql_call_handler",
        );
        let mut expected = vec![
            "collation public.C o",
            "foreign data wrapper w",
            "foreign server s",
            "operator public.<<<",
            "text search configuration public.words",
            "function public.first_of(public.pair)",
            "cast (text AS public.pair)",
            "user mapping reader SERVER s",
            "user mapping public SERVER s",
            "access method heap_too",
            "language own",
        ];
        if has("citext") {
            server.psql("small", "create extension citext");
            expected.push("extension citext");
        }
        let items = dumped(&server, &["small"]).await;
        let plan =
            restore(&server).into("small").plan(&items, &ImportOptions::default().danger_overwrite()).await.unwrap();
        for what in expected {
            let shown = plan.entries.iter().any(|e| e.action == ImportAction::Overwrite && e.what == what);
            assert!(shown, "{what}: {plan:?}");
        }
        server.psql("postgres", "create database other");
        server.psql("other", "create foreign data wrapper w");
        let plan = restore(&server).into("other").plan(&items, &ImportOptions::default()).await.unwrap();
        assert_eq!(plan.count(ImportAction::Conflict), 1, "it is not empty: {plan}");
    }
}

#[tokio::test]
async fn bytes_of_no_encoding_come_back_as_they_were() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql(
            "postgres",
            "create database raw template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'",
        );
        server.psql("raw", "create table t as select convert_from('\\xe4ff'::bytea, 'SQL_ASCII') as text");
        let items = dumped(&server, &["raw"]).await;
        import(&restore(&server).into("back"), &items, &ImportOptions::default()).await.unwrap();
        assert_eq!(server.psql("back", "select convert_to(text, 'SQL_ASCII') from t"), "\\xe4ff");
    }
}

#[tokio::test]
async fn what_of_a_database_does_not_come_back_is_told() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql("postgres", "alter role reader in database small set work_mem = '7MB'");
        server.psql("postgres", "alter database small is_template true");
        server.psql("postgres", "alter system set allow_in_place_tablespaces = on; select pg_reload_conf()");
        server.psql("postgres", "set allow_in_place_tablespaces = on; create tablespace disk location ''");
        server.psql("postgres", "alter database small set tablespace disk");
        let items = dumped(&server, &["small"]).await;
        let plan = restore(&server).into("x").plan(&items, &ImportOptions::default()).await.unwrap();
        assert!(notes(&plan, "settings of roles in this database"), "{plan}");
        assert!(notes(&plan, "is a template"), "{plan}");
        assert!(notes(&plan, "a tablespace of its own"), "{plan}");
        assert!(!notes(&plan, "settings of the database"), "{plan}");
        let with = restore(&server).into("y").globals(RestoreGlobals::AddMissing);
        let plan = with.plan(&items, &ImportOptions::default()).await.unwrap();
        assert!(!notes(&plan, "settings of roles in this database"), "{plan}");
        with.apply(&items, plan).await.unwrap();
        let set = "select setconfig from pg_db_role_setting where setrole <> 0 and setdatabase = \
                   (select oid from pg_database where datname = 'y')";
        assert_eq!(server.psql("postgres", set), "{work_mem=7MB}");
        server.psql("postgres", "alter database small is_template false");

        let theirs = items_of(foreign(&server, "small", 0));
        let plan = restore(&server).into("z").plan(&theirs, &ImportOptions::default()).await.unwrap();
        assert!(notes(&plan, "settings of the database"), "{plan}");

        let brief = restore(&server).into("brief").expires_after(jiff::SignedDuration::from_hours(1));
        server.psql("postgres", "comment on database small is 'orders'");
        let items = dumped(&server, &["small"]).await;
        let report = import(&brief, &items, &ImportOptions::default()).await.unwrap();
        assert!(report.notes.iter().any(|note| note.contains("comment")), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_at_work_is_seen_from_every_database_of_the_server() {
    for major in majors() {
        let (server, items) = world(major).await;
        let folder = tempfile::tempdir().unwrap();
        let (_, _, task) = super::interrupted::begun(&server, &items, folder.path()).await;
        let elsewhere = PgRestore::new(connect(&server, "template1"));
        assert_eq!(elsewhere.discard("scratch").await.unwrap_err().kind(), ErrorKind::Busy);
        std::fs::write(folder.path().join("go"), "").unwrap();
        task.await.unwrap().unwrap();
    }
}
