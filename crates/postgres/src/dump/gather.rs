//! What a database is made of, as its snapshot shows it.

use backstay_core::Result;
use serde::Deserialize;

use super::{PgDumpOptions, pattern};
use crate::connect::Session;
use crate::error;
use crate::facts::{DatabaseFacts, ExtensionFacts, TableFacts};
use crate::quote::ident;

/// Asks in the open transaction.
pub(super) async fn gather(session: &Session, options: &PgDumpOptions) -> Result<DatabaseFacts> {
    let database: Database = session.row(DATABASE, &[]).await?;
    let mut facts = database.facts;
    facts.connection_limit = Some(database.limit).filter(|limit| *limit >= 0);
    facts.tables = tables(session, options).await?;
    facts.extensions = session
        .rows::<ExtensionFacts>("SELECT extname AS name, extversion AS version FROM pg_extension ORDER BY 1", &[])
        .await?;
    facts.roles = names(session, ROLES).await?;
    facts.tablespaces = names(session, TABLESPACES).await?;
    if options.large_objects {
        facts.large_objects =
            session.row::<Count>("SELECT count(*) AS count FROM pg_largeobject_metadata", &[]).await?.count;
    }
    Ok(facts)
}

#[derive(Deserialize)]
struct Database {
    limit: i32,
    #[serde(flatten)]
    facts: DatabaseFacts,
}

#[derive(Deserialize)]
struct Count {
    count: u64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn names(session: &Session, sql: &str) -> Result<Vec<String>> {
    Ok(session.rows::<Named>(sql, &[]).await?.into_iter().map(|row| row.name).collect())
}

/// Columns that not every version has are read from the row as JSON.
const DATABASE: &str = "
    SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
           d.datcollate AS collate, d.datctype AS ctype, to_jsonb(d) ->> 'datlocprovider' AS locale_provider,
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale, d.datconnlimit AS limit,
           coalesce((SELECT s.setconfig FROM pg_db_role_setting AS s WHERE s.setdatabase = d.oid AND s.setrole = 0), '{}')
               AS settings,
           pg_database_size(d.oid) AS bytes, current_setting('server_version_num')::int AS server_version
    FROM pg_database AS d WHERE d.datname = current_database()";

/// Whom something belongs to or was granted to. Shared dependencies lack the first super-user, whom nobody can drop.
const ROLES: &str = "
    WITH found(role) AS (
        SELECT refobjid FROM pg_shdepend AS s WHERE s.refclassid = 'pg_authid'::regclass
            AND (s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                 OR s.classid = 'pg_database'::regclass
                 AND s.objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
        UNION SELECT datdba FROM pg_database WHERE datname = current_database()
        UNION SELECT nspowner FROM pg_namespace WHERE oid >= 16384
        UNION SELECT relowner FROM pg_class WHERE oid >= 16384
        UNION SELECT proowner FROM pg_proc WHERE oid >= 16384
        UNION SELECT typowner FROM pg_type WHERE oid >= 16384
        UNION SELECT extowner FROM pg_extension WHERE oid >= 16384
        UNION SELECT lomowner FROM pg_largeobject_metadata)
    SELECT rolname AS name FROM pg_roles WHERE oid IN (SELECT role FROM found) ORDER BY 1";

const TABLESPACES: &str = "
    SELECT spcname AS name FROM pg_tablespace AS t
    WHERE spcname NOT IN ('pg_default', 'pg_global')
        AND (EXISTS (SELECT FROM pg_class AS c WHERE c.reltablespace = t.oid)
             OR t.oid = (SELECT dattablespace FROM pg_database WHERE datname = current_database()))
    ORDER BY 1";

/// Tables of which `pg_dump` writes rows. Of an extension's own tables it does only where the extension says so; they are not here. A standby
/// has no rows of unlogged tables. Each pair of arrays is a list of patterns.
const TABLES: &str = "
    SELECT n.nspname AS schema, c.relname AS name, pg_table_size(c.oid) AS bytes,
           CASE WHEN c.reltuples > 0 OR (c.reltuples = 0 AND c.relpages > 0) THEN c.reltuples::bigint END AS estimate
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        AND NOT EXISTS (SELECT FROM pg_depend AS d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        AND (cardinality($1::text[]) = 0 OR n.nspname ~ ANY ($1))
        AND n.nspname !~ ALL ($2::text[])
        AND (cardinality($3::text[]) = 0 OR EXISTS (SELECT FROM unnest($3, $4::text[]) AS p(s, t) WHERE n.nspname ~ p.s AND c.relname ~ p.t))
        AND NOT EXISTS (SELECT FROM unnest($5::text[], $6::text[]) AS p(s, t) WHERE n.nspname ~ p.s AND c.relname ~ p.t)
    ORDER BY 1, 2";

/// Tables that one statement locks.
const HELD_AT_ONCE: usize = 500;

/// Keeps others from emptying or rewriting tables while rows are counted, which may take hours: an older snapshot sees nothing
/// of a table then. `pg_dump` locks them too, but only once it runs.
async fn hold(session: &Session, tables: &[TableFacts]) -> Result<()> {
    for some in tables.chunks(HELD_AT_ONCE) {
        let names: Vec<String> = some.iter().map(named).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        session.batch_execute(&sql).await.map_err(error::server)?;
    }
    Ok(())
}

fn named(table: &TableFacts) -> String {
    format!("ONLY {}.{}", ident(&table.schema), ident(&table.name))
}

async fn tables(session: &Session, options: &PgDumpOptions) -> Result<Vec<TableFacts>> {
    let schemas = |patterns: &[String]| patterns.iter().map(|p| pattern::schema(p)).collect::<Result<Vec<String>>>();
    let (schema, no_schema) = (schemas(&options.schemas)?, schemas(&options.exclude_schemas)?);
    let tables = |patterns: &mut dyn Iterator<Item = &String>| {
        let pairs = patterns.map(|p| pattern::table(p)).collect::<Result<Vec<(String, String)>>>();
        pairs.map(|pairs| pairs.into_iter().unzip::<_, _, Vec<String>, Vec<String>>())
    };
    let table = tables(&mut options.tables.iter())?;
    let no_table = tables(&mut options.exclude_tables.iter().chain(&options.exclude_table_data))?;
    let mut found: Vec<TableFacts> =
        session.rows(TABLES, &[&schema, &no_schema, &table.0, &table.1, &no_table.0, &no_table.1]).await?;
    if options.count_rows {
        hold(session, &found).await?;
        for table in &mut found {
            let sql = format!("SELECT count(*) AS count FROM {}", named(table));
            table.rows = Some(session.row::<Count>(&sql, &[]).await?.count);
        }
    }
    Ok(found)
}
