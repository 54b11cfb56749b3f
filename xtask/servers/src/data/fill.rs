//! Test data.

use std::fmt::Write;

use crate::postgres::Server;

/// A database name that an argument, a URL, a file name and a line of text each trip over.
pub const HOSTILE_DATABASE: &str = "it's a=\"data base\" / 100% ü";

/// Tables that [`fill`] makes, partitions and their parents included.
pub const TABLES: usize = 200;

/// Roles that [`fill`] makes.
pub const ROLES: [&str; 5] = ["app_owner", "app_reader", "App \"Writer\"", "it's a=group", "tenant_ü"];

/// The password of the roles that may log in. It must turn up nowhere but in what the caller asked for.
pub const ROLE_PASSWORD: &str = "planted-password-of-a-role";

/// The bytes of a row of the bulk tables in a dump, about.
const ROW: usize = 500;

/// Makes `database`, if it is not there, and fills it: [`TABLES`] tables and everything else that a schema has, with about
/// `megabytes` of table data (2 do for most tests). The same each time. Half of the data are in the table `bulk.big`.
///
/// # Panics
///
/// If the server refuses something, or the database is filled already.
pub fn fill(server: &Server, database: &str, megabytes: usize) {
    let quoted = identifier(database);
    let there = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(database));
    server.psql("postgres", &roles());
    if server.psql("postgres", &there).is_empty() {
        server.psql("postgres", &format!("CREATE DATABASE {quoted} TEMPLATE template0"));
    }
    let settings = include_str!("settings.sql").replace(":database", &quoted);
    // One session and one transaction: half a database must not look like a whole one.
    let mut script = String::from("BEGIN;\nSET LOCAL timezone = 'UTC';\nSET LOCAL synchronous_commit = off;\n");
    for part in [include_str!("schema.sql"), include_str!("odd.sql"), include_str!("rights.sql")] {
        script.push_str(part);
    }
    server.psql(database, &(script + "COMMIT;\n"));
    for (extension, sql) in EXTENSIONS {
        let available = format!("SELECT 1 FROM pg_available_extensions WHERE name = '{extension}'");
        if server.psql(database, &available) == "1" {
            server.psql(database, &format!("CREATE EXTENSION {extension} SCHEMA extensions;\n{sql}"));
        }
    }
    server.psql(database, &bulk(server, database, megabytes));
    server.psql(database, "ANALYZE");
    server.psql("postgres", &settings);
}

/// Each with something that needs it.
const EXTENSIONS: [(&str, &str); 4] = [
    ("pgcrypto", "ALTER TABLE app.customer ADD digest bytea DEFAULT extensions.digest('none', 'sha256')"),
    (
        "hstore",
        "ALTER TABLE app.customer ADD tags extensions.hstore;
         UPDATE app.customer SET tags = 'a=>1, \"b c\"=>\"=>\"'::extensions.hstore WHERE id < 9",
    ),
    ("pg_trgm", "CREATE INDEX customer_trigrams ON app.customer USING gin (name extensions.gin_trgm_ops)"),
    ("amcheck", ""),
];

fn roles() -> String {
    let mut sql = String::new();
    for (role, rights) in
        ROLES.into_iter().zip(["LOGIN CREATEDB", "LOGIN CONNECTION LIMIT 7", "LOGIN", "NOLOGIN", "NOLOGIN"])
    {
        // A cluster has one set of roles, and may have several databases of ours.
        let password = if rights.contains("NOLOGIN") { String::new() } else { format!(" PASSWORD '{ROLE_PASSWORD}'") };
        let create = format!("CREATE ROLE {} {rights}{password}", identifier(role));
        writeln!(sql, "DO $do$ BEGIN {create}; EXCEPTION WHEN duplicate_object THEN NULL; END $do$;")
            .expect("a string");
    }
    sql + include_str!("roles.sql")
}

/// Tables with nothing special but their number and size.
fn bulk(server: &Server, database: &str, megabytes: usize) -> String {
    let made = server.psql(database, "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384");
    let tables = TABLES - made.parse::<usize>().expect("a number");
    let rows = (megabytes << 20) / ROW;
    let mut sql = "SET timezone = 'UTC'; SET synchronous_commit = off;\n".to_owned();
    for number in 0..tables {
        let (name, rows) = match number {
            0 => ("big".to_owned(), rows / 2),
            // Of different sizes; some are empty, as in life.
            _ => (format!("t_{number:03}"), rows * (number % 7) / (tables * 6)),
        };
        let sql = &mut sql;
        writeln!(
            sql,
            "CREATE TABLE bulk.{name} (id bigint PRIMARY KEY, at timestamptz NOT NULL, amount numeric(12, 2), note text);
             INSERT INTO bulk.{name} SELECT i, timestamptz '2026-01-01' + i * interval '61 seconds', i % 99991 / 100.0,
             repeat(md5(i::text), 6) || ' ' || md5('{number}' || i) || repeat(' the quick brown fox', 11)
             FROM generate_series(1, {rows}) i;"
        )
        .expect("a string");
        if number % 5 == 0 {
            writeln!(sql, "CREATE INDEX ON bulk.{name} (at);").expect("a string");
        }
    }
    sql
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
