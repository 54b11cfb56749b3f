//! What is checked of a restored database.

use backstay::postgres::{Checks, DatabaseFacts};
use backstay::source::Validation;
use backstay_test_servers::postgres::{Server, majors};
use jiff::ToSpan as _;

use super::world::{archive, connect, world};

fn found<'a>(validation: &'a Validation, name: &str) -> (bool, &'a str) {
    let check = validation.checks.iter().find(|check| check.name == name).unwrap();
    (check.ok, &check.found)
}

#[tokio::test]
async fn good_and_failing_checks_are_told_apart_and_none_changes_anything() {
    for major in majors() {
        let (server, items) = world(major).await;
        let facts = DatabaseFacts::of(&archive(&items).facts).unwrap().unwrap();
        let small = connect(&server, "small");
        let good = Checks::new()
            .query("orders", "select count(*) from sales.orders;")
            .equals(3000)
            .query("many", "select count(*) from sales.orders")
            .at_least(3000)
            .query("few", "select count(*) from public.other -- all")
            .at_most(2)
            .query("fresh", "select max(created_at) from sales.orders")
            .not_older_than(1.hour())
            .row_counts()
            .indexes_and_constraints();
        let validation = good.run(&small, Some(&facts)).await;
        assert!(validation.passed(), "{validation}");
        let again: Checks = serde_json::from_str(&serde_json::to_string(&good).unwrap()).unwrap();
        assert_eq!(again, good);

        server.psql(
            "small",
            "delete from public.other where x = 'two'; update sales.orders set created_at = '2020-01-01'",
        );
        server.psql("small", "alter table public.other add constraint late check (x <> 'y') not valid");
        server.psql(
            "small",
            "update pg_index set indisvalid = false where indexrelid = 'sales.orders_created_at_idx'::regclass",
        );
        let bad = Checks::new()
            .query("writes", "select setval('sales.orders_id_seq', 1)")
            .equals(1)
            .query("two statements", "select 1); delete from public.other; select (2")
            .equals(2)
            .query("unknown", "select count(*) from nothing")
            .at_least(0)
            .query("none", "select null")
            .at_least(0)
            .query("rows", "select 1 from sales.orders")
            .equals(1)
            .query("slow", "select pg_sleep(60)")
            .equals("")
            .query("old", "select max(created_at) from sales.orders")
            .not_older_than(1.day())
            .query("no time", "select 'soon'")
            .not_older_than(1.day())
            .query("no length", "select now()")
            .not_older_than(1.month())
            .row_counts()
            .indexes_and_constraints()
            .timeout(jiff::SignedDuration::from_millis(300));
        let validation = bad.run(&small, Some(&facts)).await;
        assert!(validation.checks.iter().all(|check| !check.ok), "{validation}");
        assert!(found(&validation, "slow").1.contains("statement timeout"), "{validation}");
        assert!(found(&validation, "unknown").1.contains("does not exist"), "{validation}");
        assert_eq!(found(&validation, "row counts"), (false, "public.other: 1 rows instead of 2"));
        let wrong = found(&validation, "indexes and constraints").1;
        assert!(
            wrong.contains("index sales.orders_created_at_idx") && wrong.contains("constraint late of other"),
            "{wrong}"
        );
        assert_eq!(server.psql("small", "select count(*) from public.other"), "1");

        let unknown = Checks::new().row_counts().run(&small, None).await;
        assert!(!unknown.passed() && unknown.to_string().contains("the dump says of no table"));
        let unreachable = Checks::new().indexes_and_constraints().run(&connect(&server, "absent"), None).await;
        assert!(!unreachable.passed() && unreachable.to_string().contains("does not exist"), "{unreachable}");
    }
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let mut seen = false;
    for major in majors() {
        let (mut server, _) = world(major).await;
        let amcheck = Checks::new().amcheck();
        let small = |server: &Server| connect(server, "small");
        let validation = amcheck.run(&small(&server), None).await;
        assert_eq!(server.psql("small", "select count(*) from pg_extension where extname = 'amcheck'"), "0");
        // What is fetched as a Python wheel has no extensions, and what cannot be checked is not fine.
        if server.psql("small", "select 1 from pg_available_extensions where name = 'amcheck'") != "1" {
            assert!(!validation.passed() && validation.to_string().contains("not available"), "{validation}");
            continue;
        }
        assert!(validation.passed(), "{validation}");
        seen = true;
        let path = server.psql("small", "checkpoint; select pg_relation_filepath('sales.orders_pkey')");
        server.stop();
        let file = server.data().join(path.lines().last().unwrap());
        let mut bytes = std::fs::read(&file).unwrap();
        // The first key of a leaf page becomes larger than those behind it.
        let page = 8192;
        let offset = usize::from(u16::from_le_bytes([bytes[page + 28], bytes[page + 29]]) & 0x7fff);
        bytes[page + offset + 8] = 0xff;
        bytes[page + offset + 9] = 0x7f;
        std::fs::write(&file, bytes).unwrap();
        server.start_again();
        let validation = amcheck.run(&small(&server), None).await;
        assert!(!validation.passed(), "{validation}");
        assert!(validation.to_string().contains("orders_pkey"), "{validation}");
    }
    assert!(seen, "no server has amcheck");
}
