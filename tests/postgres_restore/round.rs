//! What goes out comes back.

use backstay_core::ErrorKind;
use backstay_core::source::{ImportOptions, ResourceImporter as _};
use backstay_postgres::{PgRestore, RestoreGlobals};
use backstay_test_servers::data;
use backstay_test_servers::postgres::{Server, majors};

use super::world::{connect, databases, dumped, import, restore, small, world};

fn only(globs: &[&str]) -> ImportOptions {
    ImportOptions::default().only(globs.to_vec())
}

#[tokio::test]
async fn everything_comes_back_equal_into_another_server() {
    for major in majors() {
        let (source, target) = (Server::start(major), Server::start(major));
        let name = data::HOSTILE_DATABASE;
        data::fill(&source, name, 2);
        let items = dumped(&source, &[name]).await;
        let restore = restore(&target).database(name).globals(RestoreGlobals::AddMissing);
        let checked = restore.check(&items).await.unwrap();
        assert!(checked.entries > 200 && checked.problems.is_empty());

        let plan = restore.plan(&items, &ImportOptions::default()).await.unwrap();
        let database = database_of(&restore, &plan);
        assert!(database.starts_with("it's a=\"data base\"") && database.contains("_restore_20"), "{database}");
        let counts = plan.counts.clone();
        let report = restore.apply(&items, plan).await.unwrap();
        assert_eq!((report.counts, report.problems.len()), (counts, 0));

        let (before, after) = (data::fingerprint(&source, name), data::fingerprint(&target, &database));
        assert_eq!(data::difference(&before, &after), [""; 0]);
        let analyzed = target.psql(&database, "select count(*) > 50 from pg_class where reltuples > 0");
        assert_eq!(analyzed, "t");
        assert!(restore.scratches().await.unwrap().is_empty(), "a whole one bears no mark");
    }
}

#[tokio::test]
async fn several_jobs_bring_the_same_and_leave_no_file() {
    for major in majors() {
        let (server, items) = world(major).await;
        let folder = tempfile::tempdir().unwrap();
        let jobs = restore(&server).into("many").jobs(3).scratch_folder_at(folder.path());
        import(&jobs, &items, &ImportOptions::default()).await.unwrap();
        let (one, many) = (data::fingerprint(&server, "small"), data::fingerprint(&server, "many"));
        assert_eq!(data::difference(&one, &many), [""; 0]);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
        // Only one job can be undone in a database that stays.
        server.psql("postgres", "create database empty");
        let error = restore(&server).into("empty").jobs(2).plan(&items, &ImportOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn one_schema_and_one_table_bring_what_belongs_to_them() {
    for major in majors() {
        let (server, items) = world(major).await;
        let tables = |database: &str| {
            server.psql(
                database,
                "select schemaname || '.' || tablename from pg_tables where schemaname !~ '^pg_|^info' order by 1",
            )
        };
        import(&restore(&server).into("schema"), &items, &only(&["sales"])).await.unwrap();
        assert_eq!(tables("schema"), "sales.lines\nsales.orders");
        assert_eq!(server.psql("schema", "select count(*) from sales.paid"), "3000");

        let table = restore(&server).into("table");
        let plan = table.plan(&items, &only(&["sales.ord*"])).await.unwrap();
        assert!(plan.notes.iter().any(|note| note.contains("large objects are left out")), "{plan}");
        table.apply(&items, plan).await.unwrap();
        assert_eq!(tables("table"), "sales.orders");
        // The sequence goes on where it was, and index, key and default are there.
        server.psql("table", "insert into sales.orders (note) values ('next')");
        assert_eq!(server.psql("table", "select max(id), count(*) from sales.orders"), "3001|3001");
        assert_eq!(server.psql("table", "select count(*) from pg_indexes where schemaname = 'sales'"), "2");

        let error = table.plan(&items, &only(&["nothing.here"])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn the_two_statements_take_it_into_use() {
    for major in majors() {
        let (server, items) = world(major).await;
        let restore = restore(&server);
        let plan = restore.plan(&items, &ImportOptions::default()).await.unwrap();
        let database = database_of(&restore, &plan);
        restore.apply(&items, plan).await.unwrap();
        server.psql("small", "drop table public.other");
        for statement in PgRestore::swap_statements(&database, "small", "small_old") {
            server.psql("postgres", &statement);
        }
        assert_eq!(databases(&server), ["postgres", "small", "small_old"]);
        assert_eq!(server.psql("small", "select count(*) from public.other"), "2");
    }
}

#[tokio::test]
async fn a_component_of_several_databases_is_asked_which() {
    for major in majors() {
        let server = Server::start(major);
        small(&server);
        server.psql("postgres", "create database second");
        let items = dumped(&server, &["small", "second"]).await;
        let plan = |restore: PgRestore| {
            let items = items.clone();
            async move { restore.plan(&items, &ImportOptions::default()).await }
        };
        assert_eq!(plan(restore(&server)).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(plan(restore(&server).database("third")).await.unwrap_err().kind(), ErrorKind::NotFound);
        let plan = plan(restore(&server).database("second")).await.unwrap();
        assert!(plan.target.contains("second_restore_"), "{plan}");
        assert_eq!(connect(&server, "x").to_string().rsplit_once('/').unwrap().1, "x");
    }
}

fn database_of(restore: &PgRestore, plan: &backstay_core::source::ImportPlan) -> String {
    let server = restore.restored(plan).unwrap().to_string();
    // A name may hold a slash; user, host and port do not.
    server.split_once('/').unwrap().1.to_owned()
}
