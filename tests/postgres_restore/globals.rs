//! Roles and what is theirs.

use backstay_core::source::{ImportAction, ImportOptions, ResourceImporter as _};
use backstay_postgres::RestoreGlobals;
use backstay_test_servers::postgres::{Server, majors};

use super::world::{import, restore, world};

fn password(server: &Server, role: &str) -> String {
    server.psql("postgres", &format!("select rolpassword, rolcreatedb from pg_authid where rolname = '{role}'"))
}

#[tokio::test]
async fn a_role_that_is_there_keeps_its_password_and_what_it_may() {
    for major in majors() {
        let (source, items) = world(major).await;
        let target = Server::start(major);
        target.psql(
            "postgres",
            "create role reader login createdb password 'its own'; alter role reader set work_mem = '3MB'",
        );
        target.psql("postgres", "create role others; grant others to reader");
        let own = password(&target, "reader");
        let adding = restore(&target).into("one").globals(RestoreGlobals::AddMissing);
        let plan = adding.plan(&items, &ImportOptions::default()).await.unwrap();
        assert!(plan.notes.iter().any(|note| note.contains("made before the database: role owner_of_it")), "{plan}");
        assert_eq!(plan.count(ImportAction::Overwrite), 0);
        adding.apply(&items, plan).await.unwrap();
        assert_eq!(password(&target, "reader"), own);
        let owner = "select tableowner from pg_tables where tablename = 'orders'";
        assert_eq!(target.psql("one", owner), "owner_of_it");
        let database = "select rolname from pg_database d join pg_roles r on r.oid = datdba where datname = 'one'";
        assert_eq!(target.psql("postgres", database), "owner_of_it");
        assert_eq!(target.psql("one", "select has_table_privilege('reader', 'sales.orders', 'select')"), "t");

        let replacing = restore(&target).into("two").globals(RestoreGlobals::DangerReplace);
        let plan = replacing.plan(&items, &ImportOptions::default()).await.unwrap();
        let shown = plan.entries.iter().any(|e| e.action == ImportAction::Overwrite && e.what == "role reader");
        assert!(shown, "{plan}");
        for stays in ["memberships that the dump does not have stay: reader in others", "stay: work_mem of reader"] {
            assert!(plan.notes.iter().any(|note| note.ends_with(stays)), "{stays}: {plan}");
        }
        replacing.apply(&items, plan).await.unwrap();
        assert_eq!(password(&target, "reader"), password(&source, "reader"));
        assert_eq!(target.psql("postgres", "select pg_has_role('reader', 'others', 'member')"), "t");
    }
}

#[tokio::test]
async fn a_role_that_came_after_the_plan_is_not_replaced() {
    for major in majors() {
        let (_, items) = world(major).await;
        let target = Server::start(major);
        let replacing = restore(&target).into("x").globals(RestoreGlobals::DangerReplace);
        let plan = replacing.plan(&items, &ImportOptions::default()).await.unwrap();
        target.psql("postgres", "create role reader login password 'its own'");
        let own = password(&target, "reader");
        replacing.apply(&items, plan).await.unwrap_err();
        assert_eq!(password(&target, "reader"), own);
        import(&restore(&target).into("y").globals(RestoreGlobals::AddMissing), &items, &ImportOptions::default())
            .await
            .unwrap();
    }
}
