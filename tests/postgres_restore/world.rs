//! A server with a small database, dumped.

use std::path::Path;

use backstay_core::source::{
    ExportRequest, ImportOptions, ImportReport, ItemInfo, ItemSource, ResourceExporter as _, ResourceImporter as _,
};
use backstay_core::{ErrorKind, Result};
use backstay_postgres::{PgConnect, PgDump, PgRestore};
use backstay_test_servers::postgres::Server;
use backstay_testkit::items::Items;

/// What the small database has.
pub(crate) const SMALL: &str = "
alter system set log_statement = 'ddl'; select pg_reload_conf();
create role owner_of_it; create role reader login password 'planted-reader';
create database small owner owner_of_it;
\\connect small
create schema sales authorization owner_of_it;
create type sales.state as enum ('open', 'paid');
create table sales.orders (id serial primary key, state sales.state not null default 'open', note text,
  created_at timestamptz not null default now());
create index on sales.orders (created_at);
create table sales.lines (id int generated always as identity primary key, order_id int references sales.orders, n int);
create table public.other (x text check (x <> ''));
create view sales.paid as select * from sales.orders where state = 'paid';
alter table sales.orders owner to owner_of_it;
grant select on sales.orders to reader;
insert into sales.orders (state, note) select 'paid', repeat('a\\.b' || i, 40) from generate_series(1, 3000) i;
insert into sales.lines (order_id, n) select i, i from generate_series(1, 3000) i;
insert into public.other values ('one'), ('two');
select lo_from_bytea(4711, 'large');
alter database small set work_mem = '5MB';
analyze;
";

pub(crate) fn connect(server: &Server, database: &str) -> PgConnect {
    server.url(database).parse().unwrap()
}

pub(crate) fn restore(server: &Server) -> PgRestore {
    PgRestore::new(connect(server, "postgres")).programs_in(server.bin())
}

pub(crate) fn small(server: &Server) {
    server.psql("postgres", SMALL);
}

/// A server with the small database, and that dumped.
pub(crate) async fn world(major: u32) -> (Server, Items) {
    let server = Server::start(major);
    small(&server);
    let items = dumped(&server, &["small"]).await;
    (server, items)
}

pub(crate) async fn dumped(server: &Server, databases: &[&str]) -> Items {
    let items = Items::new("db", "postgres.dump");
    let request = ExportRequest::new(
        "db".parse().unwrap(),
        "test/manual/20261120t064200z-abcdefgh".parse().unwrap(),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let dump =
        PgDump::new(connect(server, "postgres")).programs_in(server.bin()).databases(databases.to_vec()).count_rows();
    let report = dump.export(&request, &items).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    items
}

/// An archive as somebody else's `pg_dump` makes it: no facts, no digest.
pub(crate) fn foreign(server: &Server, database: &str, compress: u8) -> Vec<u8> {
    let mut dump = server.client("pg_dump", database);
    let output = dump.args(["--format=custom", &format!("--compress={compress}")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn items_of(archive: Vec<u8>) -> Items {
    let items = Items::new("db", "foreign");
    items.add("their.dump", "pg_dump custom", archive);
    items
}

pub(crate) async fn import(
    restore: &PgRestore,
    items: &dyn ItemSource,
    options: &ImportOptions,
) -> Result<ImportReport> {
    let plan = restore.plan(items, options).await?;
    restore.apply(items, plan).await
}

/// Why it was refused; nothing came into being at the server meanwhile.
pub(crate) async fn refused(server: &Server, restore: &PgRestore, items: &dyn ItemSource) -> ErrorKind {
    let before = state(server);
    let error = import(restore, items, &ImportOptions::default()).await.unwrap_err();
    assert_eq!(state(server), before, "{error}");
    assert!(!made_a_database(server), "it was made and dropped: {error}");
    error.kind()
}

/// Whether a restore ever made a database, as the log of a server with [`SMALL`] tells. Only restores write it like that.
pub(crate) fn made_a_database(server: &Server) -> bool {
    server.log().contains("CREATE DATABASE \"")
}

/// All databases, by number too, and all roles.
pub(crate) fn state(server: &Server) -> String {
    server
        .psql("postgres", "select oid, datname from pg_database union all select oid, rolname from pg_roles order by 1")
}

pub(crate) fn databases(server: &Server) -> Vec<String> {
    let names = server.psql("postgres", "select datname from pg_database where not datistemplate order by 1");
    names.lines().map(str::to_owned).collect()
}

/// A `pg_restore` of this text in a folder of its own.
pub(crate) fn program(folder: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("pg_restore");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn archive(items: &Items) -> ItemInfo {
    items.infos().into_iter().find(|item| item.format == "pg_dump custom").unwrap()
}
