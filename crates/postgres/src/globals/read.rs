//! The globals of a server, read over the protocol in one transaction.

use backstay_core::Result;
use serde::Deserialize;

use super::{Globals, Membership, Parameter, Role, RoleSetting, Tablespace};
use crate::connect::Session;
use crate::error;

impl Globals {
    /// Reads them, passwords only if asked for: then the role must be allowed to.
    pub(crate) async fn read(session: &Session, passwords: bool) -> Result<Self> {
        session
            .batch_execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; SET LOCAL TimeZone = 'UTC'",
            )
            .await
            .map_err(error::server)?;
        let version: Version = session.row("SELECT current_setting('server_version_num')::int AS number", &[]).await?;
        let globals = Self {
            server_version: version.number,
            roles: session.rows::<Role>(&roles(passwords), &[]).await?,
            memberships: session.rows::<Membership>(&memberships(version.number), &[]).await?,
            settings: session.rows::<RoleSetting>(SETTINGS, &[]).await?,
            tablespaces: session.rows::<Tablespace>(TABLESPACES, &[]).await?,
            parameters: match version.number {
                ..150_000 => Vec::new(),
                _ => session.rows::<Parameter>(PARAMETERS, &[]).await?,
            },
        };
        session.batch_execute("COMMIT").await.map_err(error::server)?;
        Ok(globals)
    }
}

#[derive(Deserialize)]
struct Version {
    number: u32,
}

fn roles(passwords: bool) -> String {
    let (table, password) = if passwords { ("pg_authid", "rolpassword") } else { ("pg_roles", "NULL") };
    format!(
        "SELECT rolname AS name, rolsuper AS superuser, rolinherit AS inherit, rolcreaterole AS create_role,
                rolcreatedb AS create_db, rolcanlogin AS login, rolreplication AS replication, rolbypassrls AS bypass_rls,
                nullif(rolconnlimit, -1) AS connection_limit, {password} AS password,
                rolvaliduntil::text AS valid_until, shobj_description(oid, 'pg_authid') AS comment
         FROM {table} WHERE rolname !~ '^pg_' ORDER BY 1"
    )
}

/// Before PostgreSQL 16 a grantor was noted and meant nothing.
fn memberships(version: u32) -> String {
    let options = if version >= 160_000 {
        "m.inherit_option AS inherit, m.set_option AS set, CASE WHEN m.grantor <> 10 THEN g.rolname END AS grantor"
    } else {
        "NULL::bool AS inherit, NULL::bool AS set, NULL::text AS grantor"
    };
    format!(
        "SELECT r.rolname AS role, u.rolname AS member, m.admin_option AS admin, {options}
         FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid JOIN pg_roles AS u ON u.oid = m.member
              LEFT JOIN pg_roles AS g ON g.oid = m.grantor
         WHERE u.rolname !~ '^pg_' ORDER BY 1, 2, 6 NULLS FIRST"
    )
}

/// A row for a database and no role is `ALTER DATABASE .. SET`.
const SETTINGS: &str = "
    SELECT r.rolname AS role, d.datname AS database, split_part(c.setting, '=', 1) AS name,
           substr(c.setting, strpos(c.setting, '=') + 1) AS value
    FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase,
         unnest(s.setconfig) WITH ORDINALITY AS c(setting, place)
    WHERE s.setrole <> 0 OR s.setdatabase = 0
    ORDER BY 1 NULLS FIRST, 2 NULLS FIRST, c.place";

/// One that lies in the data folder has a path that leads nowhere else.
const TABLESPACES: &str = "
    SELECT t.spcname AS name, pg_get_userbyid(t.spcowner) AS owner, coalesce(t.spcoptions, '{}') AS options,
           CASE WHEN pg_tablespace_location(t.oid) ~ '^pg_tblspc/' THEN '' ELSE pg_tablespace_location(t.oid) END AS location,
           CASE WHEN t.spcacl IS NOT NULL THEN (
               SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'role', g.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
               FROM aclexplode(t.spcacl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee) END AS privileges,
           shobj_description(t.oid, 'pg_tablespace') AS comment
    FROM pg_tablespace AS t WHERE t.spcname !~ '^pg_' ORDER BY 1";

/// The first super-user may change everything anyway.
const PARAMETERS: &str = "
    SELECT p.parname AS name, jsonb_agg(jsonb_build_object(
               'role', g.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable)) AS privileges
    FROM pg_parameter_acl AS p, aclexplode(p.paracl) AS a LEFT JOIN pg_roles AS g ON g.oid = a.grantee
    WHERE a.grantee <> 10 GROUP BY p.parname ORDER BY 1";
