//! The server that is restored into, as it is now.

use std::collections::BTreeSet;
use std::fmt;

use backstay_core::{Error, ErrorKind, Result};
use jiff::Timestamp;

use super::scratch::Marker;
use crate::client::Version;
use crate::connect::{PgConnect, Session};
use crate::error;

/// What is at the server, and who asks.
pub(super) struct Target {
    pub(super) session: Session,
    /// `server_version_num`.
    pub(super) version: u32,
    pub(super) superuser: bool,
    pub(super) creates_databases: bool,
    pub(super) has_icu: bool,
    /// By the server's clock.
    pub(super) now: Timestamp,
    /// Where its data are, if it tells.
    pub(super) data: Option<String>,
}

/// A database that is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) oid: u32,
    /// What a restore left in its comment.
    pub(super) marker: Option<Marker>,
    /// What is in it that somebody made.
    pub(super) objects: BTreeSet<Object>,
    pub(super) extensions: BTreeSet<String>,
}

/// A thing in a database: what it is, its schema, its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) schema: String,
    pub(super) name: String,
}

/// An extension that the server could make.
#[derive(Clone, Debug)]
pub(super) struct Available {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) default: bool,
    /// Whether this user may.
    pub(super) allowed: bool,
}

impl Target {
    pub(super) async fn look(server: &PgConnect) -> Result<Self> {
        let session = server.session().await?;
        // The view leaves out what this user may not know; the function would fail.
        let row = session
            .query_one(
                "select current_setting('server_version_num')::int4, r.rolsuper, r.rolsuper or r.rolcreatedb, \
                 exists (select from pg_collation where collprovider = 'i'), \
                 (extract(epoch from now()) * 1000000)::int8, \
                 (select setting from pg_settings where name = 'data_directory'), pg_is_in_recovery() \
                 from pg_roles r where r.rolname = current_user",
                &[],
            )
            .await;
        let row = row.map_err(error::server)?;
        if row.get(6) {
            return Err(Error::new(ErrorKind::Invalid, "the target is a standby and takes no writes")
                .advise("restore into its primary, or another server"));
        }
        let now = Timestamp::from_microsecond(row.get(4))
            .map_err(|error| Error::new(ErrorKind::Other, "the server's clock tells no time").because(error))?;
        Ok(Self {
            session,
            version: u32::try_from(row.get::<_, i32>(0)).unwrap_or(0),
            superuser: row.get(1),
            creates_databases: row.get(2),
            has_icu: row.get(3),
            now,
            data: row.get(5),
        })
    }

    pub(super) fn major(&self) -> u32 {
        Version::of_number(self.version).major
    }

    /// The database of this name, if it is there.
    pub(super) async fn find(&self, server: &PgConnect, name: &str) -> Result<Option<Found>> {
        let Some((oid, comment)) = identity(&self.session, name).await? else { return Ok(None) };
        let marker = comment.as_deref().and_then(|comment| Marker::read(comment, name));
        let mut found = Found { oid, marker, ..Found::default() };
        if found.marker.is_none() {
            // Nobody's leftovers: what is in it counts.
            let inside = server.with_database(name).session().await?;
            // So that types are written with their schemas, as in an archive.
            inside.batch_execute("set search_path = ''").await.map_err(error::server)?;
            let rows = inside.query(OBJECTS, &[]).await.map_err(error::server)?;
            let object = |row: &tokio_postgres::Row| Object { kind: row.get(0), schema: row.get(1), name: row.get(2) };
            found.objects = rows.iter().map(object).collect();
            let rows = inside.query("select extname::text from pg_extension", &[]).await.map_err(error::server)?;
            found.extensions = rows.iter().map(|row| row.get(0)).collect();
        }
        Ok(Some(found))
    }

    /// Roles that are there, each with whether this user may make things theirs.
    pub(super) async fn roles(&self, names: &[String]) -> Result<Vec<(String, bool)>> {
        let how = if self.version >= 160_000 { "SET" } else { "MEMBER" };
        let sql =
            format!("select rolname::text, pg_has_role(oid, '{how}') from pg_roles where rolname::text = any($1)");
        let rows = self.session.query(&sql, &[&names]).await.map_err(error::server)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub(super) async fn tablespaces(&self) -> Result<BTreeSet<String>> {
        let rows = self.session.query("select spcname::text from pg_tablespace", &[]).await.map_err(error::server)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// What is installed at the server of these extensions.
    pub(super) async fn available(&self, names: &[String]) -> Result<Vec<Available>> {
        let rows = self
            .session
            .query(
                "select v.name::text, v.version, v.version = e.default_version, \
                 not v.superuser or v.trusted or (select rolsuper from pg_roles where rolname = current_user) \
                 from pg_available_extension_versions v join pg_available_extensions e using (name) \
                 where v.name::text = any($1)",
                &[&names],
            )
            .await
            .map_err(error::server)?;
        let available = |row: &tokio_postgres::Row| Available {
            name: row.get(0),
            version: row.get(1),
            default: row.get::<_, Option<bool>>(2).unwrap_or(false),
            allowed: row.get(3),
        };
        Ok(rows.iter().map(available).collect())
    }
}

/// Number and comment of a database.
pub(super) async fn identity(session: &Session, name: &str) -> Result<Option<(u32, Option<String>)>> {
    let row = session
        .query_opt(
            "select oid, shobj_description(oid, 'pg_database') from pg_database where datname::text = $1",
            &[&name],
        )
        .await
        .map_err(error::server)?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

/// What somebody made in a database: numbers below 16384 are what comes with the server. Members of extensions come and go with these; extensions themselves are no obstacle:
/// archives make them if they are not there.
const OBJECTS: &str = "
with own as (
    select oid, nspname from pg_namespace
    where nspname !~ '^pg_' and nspname <> 'information_schema'
), members as (
    select classid, objid from pg_depend where deptype = 'e'
)
select 'relation' as kind, nspname::text as schema, relname::text as name
  from pg_class c join own on own.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and ('pg_class'::regclass, c.oid) not in (table members)
union all
select 'function', nspname::text, proname || '(' || oidvectortypes(proargtypes) || ')'
  from pg_proc p join own on own.oid = pronamespace where ('pg_proc'::regclass, p.oid) not in (table members)
union all
select 'type', nspname::text, typname::text
  from pg_type t join own on own.oid = typnamespace left join pg_class c on c.oid = typrelid
  where (typtype in ('d', 'e', 'r') or relkind = 'c') and ('pg_type'::regclass, t.oid) not in (table members)
union all
select 'schema', '', nspname::text from own where nspname <> 'public' and ('pg_namespace'::regclass, oid) not in (table members)
union all
select 'collation', nspname::text, collname::text
  from pg_collation c join own on own.oid = collnamespace where ('pg_collation'::regclass, c.oid) not in (table members)
union all
select 'operator', nspname::text, oprname::text
  from pg_operator o join own on own.oid = oprnamespace where ('pg_operator'::regclass, o.oid) not in (table members)
union all
select 'conversion', nspname::text, conname::text
  from pg_conversion c join own on own.oid = connamespace where ('pg_conversion'::regclass, c.oid) not in (table members)
union all
select 'text search configuration', nspname::text, cfgname::text
  from pg_ts_config c join own on own.oid = cfgnamespace where ('pg_ts_config'::regclass, c.oid) not in (table members)
union all
select 'text search dictionary', nspname::text, dictname::text
  from pg_ts_dict d join own on own.oid = dictnamespace where ('pg_ts_dict'::regclass, d.oid) not in (table members)
union all
select 'foreign data wrapper', '', fdwname::text
  from pg_foreign_data_wrapper w where ('pg_foreign_data_wrapper'::regclass, w.oid) not in (table members)
union all
select 'foreign server', '', srvname::text
  from pg_foreign_server s where ('pg_foreign_server'::regclass, s.oid) not in (table members)
union all
select 'large object', '', oid::text from pg_largeobject_metadata
union all
select 'publication', '', pubname::text from pg_publication
union all
select 'event trigger', '', evtname::text from pg_event_trigger e
  where ('pg_event_trigger'::regclass, e.oid) not in (table members)
union all
select 'cast', '', '(' || format_type(castsource, null) || ' AS ' || format_type(casttarget, null) || ')' from pg_cast c
  where oid >= 16384 and ('pg_cast'::regclass, c.oid) not in (table members)
union all
select 'language', '', lanname::text from pg_language l
  where lanispl and oid >= 16384 and ('pg_language'::regclass, l.oid) not in (table members)
union all
select 'access method', '', amname::text from pg_am a
  where oid >= 16384 and ('pg_am'::regclass, a.oid) not in (table members)
union all
select 'user mapping', '', usename || ' SERVER ' || srvname from pg_user_mappings";

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schema.as_str() {
            "" => write!(f, "{} {}", self.kind, self.name),
            schema => write!(f, "{} {schema}.{}", self.kind, self.name),
        }
    }
}
