//! What tells whether two databases are the same.

use std::collections::BTreeMap;

use crate::postgres::Server;

/// Everything that must come back, by name: `rows TABLE` (count and a hash that no order changes), `sequence NAME`,
/// `large object NUMBER`, and the schema from the catalogs (`column ...`, `constraint ...`, `function ...` and so on).
/// `database ...` tells of the database itself, but not its name.
///
/// Catalogs may print the same thing otherwise in another major; `rows`, `sequence` and `large object` stay the same.
///
/// # Panics
///
/// If the server refuses a query.
pub fn fingerprint(server: &Server, database: &str) -> BTreeMap<String, String> {
    let settings =
        "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex';
        SET extra_float_digits = 1; SET search_path = pg_catalog; SET row_security = off; SET statement_timeout = 0;\n";
    let queries = server.rows::<1>(database, include_str!("content.sql"));
    let content = queries.into_iter().fold(settings.to_owned(), |sql, [query]| sql + &query + ";\n");
    let schema = settings.to_owned() + include_str!("catalogs.sql");
    [content, schema].iter().flat_map(|sql| server.rows::<2>(database, sql)).map(|[key, value]| (key, value)).collect()
}

/// The same for what belongs to the whole server: roles with a hash of their passwords' hashes, memberships, settings,
/// tablespaces.
///
/// # Panics
///
/// If the server refuses a query.
pub fn globals(server: &Server) -> BTreeMap<String, String> {
    let rows = server.rows::<2>("postgres", include_str!("globals.sql"));
    rows.into_iter().map(|[key, value]| (key, value)).collect()
}

/// A line for each thing that differs, none if nothing does. For people, and for `assert_eq!(.., [""; 0])`.
pub fn difference(one: &BTreeMap<String, String>, two: &BTreeMap<String, String>) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    let different = keys.into_iter().filter(|key| one.get(*key) != two.get(*key));
    let told = |side: &BTreeMap<String, String>, key| side.get(key).map_or("absent", |value| value).to_owned();
    different.map(|key| format!("{key}: {} | {}", told(one, key), told(two, key))).collect()
}
