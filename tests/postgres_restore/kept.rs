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
