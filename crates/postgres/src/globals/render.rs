//! Statements that make a server's globals.

use std::fmt;

use super::member::in_order;
use super::setting::setting;
use super::{Globals, Membership, Parameter, Privilege, Role, RoleSetting, Tablespace};
use crate::quote::{ident, literal};

/// The first version that knows options of memberships.
const OPTIONS: u32 = 160_000;
/// The first version that knows privileges on settings.
const PARAMETERS: u32 = 150_000;

/// A statement, and what it is for. It may hold a role's password, so `Debug` shows the latter alone.
#[derive(Clone)]
#[non_exhaustive]
pub struct Statement {
    /// The object: `role "backup"`.
    pub what: String,
    /// The statement, without a semicolon at its end.
    pub sql: String,
}

impl Statement {
    fn new(what: &str, sql: impl Into<String>) -> Self {
        Self { what: what.to_owned(), sql: sql.into() }
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement").field("what", &self.what).finish_non_exhaustive()
    }
}

impl Globals {
    /// Statements that make all of it, in an order that works, at a server of `server_version_num` `target`. What is there
    /// already is brought to the same state. A role without [`password`](Role::password) keeps the one it has. Settings
    /// of a role in a database come last: each warns if the database is not there.
    #[must_use]
    pub fn statements(&self, target: u32) -> Vec<Statement> {
        let mut statements = Vec::new();
        // A statement that fails because a role comes later is why all roles are made first.
        statements.extend(self.roles.iter().map(Role::create));
        statements.extend(self.roles.iter().flat_map(Role::alter));
        statements.extend(in_order(&self.memberships).iter().map(|membership| membership.grant(target)));
        statements.extend(self.tablespaces.iter().flat_map(Tablespace::create));
        if target >= PARAMETERS {
            statements.extend(self.parameters.iter().flat_map(Parameter::grants));
        }
        let (everywhere, in_one): (Vec<_>, Vec<_>) = self.settings.iter().partition(|s| s.database.is_none());
        statements.extend(everywhere.into_iter().chain(in_one).map(RoleSetting::set));
        statements
    }
}

impl Role {
    fn what(&self) -> String {
        format!("role {}", ident(&self.name))
    }

    fn create(&self) -> Statement {
        Statement::new(&self.what(), unless(&format!("CREATE ROLE {}", ident(&self.name)), "duplicate_object", "NULL"))
    }

    fn alter(&self) -> Vec<Statement> {
        let attributes = [
            (self.superuser, "SUPERUSER"),
            (self.inherit, "INHERIT"),
            (self.create_role, "CREATEROLE"),
            (self.create_db, "CREATEDB"),
            (self.login, "LOGIN"),
            (self.replication, "REPLICATION"),
            (self.bypass_rls, "BYPASSRLS"),
        ];
        let mut sql = format!("ALTER ROLE {} WITH", ident(&self.name));
        for (has, attribute) in attributes {
            sql.push_str(if has { " " } else { " NO" });
            sql.push_str(attribute);
        }
        sql.push_str(&format!(" CONNECTION LIMIT {}", self.connection_limit.unwrap_or(-1)));
        if let Some(password) = &self.password {
            sql.push_str(&format!(" PASSWORD {}", literal(password.expose())));
        }
        if let Some(until) = &self.valid_until {
            sql.push_str(&format!(" VALID UNTIL {}", literal(until)));
        }
        let comment = self.comment.as_ref().map(|comment| comment_on("ROLE", &self.name, comment));
        [Some(sql), comment].into_iter().flatten().map(|sql| Statement::new(&self.what(), sql)).collect()
    }
}

impl Membership {
    fn grant(&self, target: u32) -> Statement {
        let mut sql = format!("GRANT {} TO {}", ident(&self.role), ident(&self.member));
        let mut options = Vec::new();
        if self.admin {
            options.push("ADMIN OPTION".to_owned());
        }
        if target >= OPTIONS {
            let word = |yes: bool| if yes { "TRUE" } else { "FALSE" };
            options.extend(self.inherit.map(|yes| format!("INHERIT {}", word(yes))));
            options.extend(self.set.map(|yes| format!("SET {}", word(yes))));
        }
        if !options.is_empty() {
            sql.push_str(&format!(" WITH {}", options.join(", ")));
        }
        if let Some(grantor) = self.grantor.as_ref().filter(|_| target >= OPTIONS) {
            sql.push_str(&format!(" GRANTED BY {}", ident(grantor)));
        }
        Statement::new(&format!("membership of {} in {}", ident(&self.member), ident(&self.role)), sql)
    }
}

impl RoleSetting {
    fn set(&self) -> Statement {
        let role = self.role.as_ref().map_or_else(|| "ALL".to_owned(), |role| ident(role));
        let what = format!("setting {} of role {role}", ident(&self.name));
        let set = setting(&self.name, &self.value);
        let Some(database) = &self.database else {
            return Statement::new(&what, format!("ALTER ROLE {role} SET {set}"));
        };
        let sql = format!("ALTER ROLE {role} IN DATABASE {} SET {set}", ident(database));
        let warn = format!(
            "RAISE WARNING USING MESSAGE = {}",
            literal(&format!("no database {database:?}: {what} is left out"))
        );
        Statement::new(&what, unless(&sql, "invalid_catalog_name", &warn))
    }
}

impl Tablespace {
    fn create(&self) -> Vec<Statement> {
        let (what, name) = (format!("tablespace {}", ident(&self.name)), ident(&self.name));
        // `CREATE TABLESPACE` runs in no block, so that what is there already is an error here.
        let mut sql =
            vec![format!("CREATE TABLESPACE {name} OWNER {} LOCATION {}", ident(&self.owner), literal(&self.location))];
        if !self.options.is_empty() {
            let options: Vec<String> = self
                .options
                .iter()
                .filter_map(|option| option.split_once('='))
                .map(|(name, value)| format!("{} = {}", ident(name), literal(value)))
                .collect();
            sql.push(format!("ALTER TABLESPACE {name} SET ({})", options.join(", ")));
        }
        if let Some(privileges) = &self.privileges {
            let on = format!("TABLESPACE {name}");
            sql.push(format!("REVOKE ALL ON {on} FROM PUBLIC, {}", ident(&self.owner)));
            sql.extend(privileges.iter().map(|privilege| privilege.grant(&on)));
        }
        sql.extend(self.comment.as_ref().map(|comment| comment_on("TABLESPACE", &self.name, comment)));
        sql.into_iter().map(|sql| Statement::new(&what, sql)).collect()
    }
}

impl Parameter {
    fn grants(&self) -> Vec<Statement> {
        let on = format!("PARAMETER {}", ident(&self.name));
        let what = format!("privileges on {}", ident(&self.name));
        self.privileges.iter().map(|privilege| Statement::new(&what, privilege.grant(&on))).collect()
    }
}

impl Privilege {
    fn grant(&self, on: &str) -> String {
        let role = self.role.as_ref().map_or_else(|| "PUBLIC".to_owned(), |role| ident(role));
        let grantable = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {} ON {on} TO {role}{grantable}", self.privilege)
    }
}

fn comment_on(kind: &str, name: &str, comment: &str) -> String {
    format!("COMMENT ON {kind} {} IS {}", ident(name), literal(comment))
}

/// `sql`, and `instead` if it fails by this condition.
fn unless(sql: &str, condition: &str, instead: &str) -> String {
    format!("DO {}", literal(&format!("BEGIN {sql}; EXCEPTION WHEN {condition} THEN {instead}; END")))
}

#[cfg(test)]
mod tests {
    use backstay_core::Secret;

    use super::*;

    fn sql(globals: &Globals, target: u32) -> Vec<String> {
        globals.statements(target).into_iter().map(|statement| statement.sql).collect()
    }

    #[test]
    fn a_role_is_made_if_it_is_missing_and_brought_to_its_state() {
        let role = Role {
            name: "o'br\"ien".to_owned(),
            inherit: true,
            login: true,
            connection_limit: Some(3),
            password: Some(Secret::new("SCRAM-SHA-256$x".to_owned())),
            valid_until: Some("infinity".to_owned()),
            comment: Some("a\\b".to_owned()),
            ..Role::default()
        };
        let globals = Globals { roles: vec![role], ..Globals::default() };
        let expected = [
            r#"DO 'BEGIN CREATE ROLE "o''br""ien"; EXCEPTION WHEN duplicate_object THEN NULL; END'"#,
            r#"ALTER ROLE "o'br""ien" WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 3 PASSWORD 'SCRAM-SHA-256$x' VALID UNTIL 'infinity'"#,
            r#"COMMENT ON ROLE "o'br""ien" IS E'a\\b'"#,
        ];
        assert_eq!(sql(&globals, 150_000), expected);
        let shown = format!("{globals:?} {:?}", globals.statements(150_000));
        assert!(!shown.contains("SCRAM"), "{shown}");
        let mut kept = globals;
        kept.roles[0].password = None;
        assert!(!sql(&kept, 150_000)[1].contains("PASSWORD"), "an existing role keeps its own");
    }

    #[test]
    fn a_membership_says_what_the_target_understands() {
        let membership = Membership {
            role: "pg_monitor".to_owned(),
            member: "m".to_owned(),
            admin: true,
            inherit: Some(false),
            set: Some(true),
            grantor: Some("g".to_owned()),
        };
        let told = |target| membership.grant(target).sql;
        assert_eq!(told(150_000), r#"GRANT "pg_monitor" TO "m" WITH ADMIN OPTION"#);
        let new = r#"GRANT "pg_monitor" TO "m" WITH ADMIN OPTION, INHERIT FALSE, SET TRUE GRANTED BY "g""#;
        assert_eq!(told(160_000), new);
    }

    #[test]
    fn settings_of_a_role_in_a_database_come_last() {
        let of = |role: Option<&str>, database: Option<&str>| RoleSetting {
            role: role.map(str::to_owned),
            database: database.map(str::to_owned),
            name: "work_mem".to_owned(),
            value: "1MB".to_owned(),
        };
        let globals = Globals { settings: vec![of(Some("r"), Some("d'")), of(None, None)], ..Globals::default() };
        let statements = sql(&globals, 150_000);
        assert_eq!(statements[0], r#"ALTER ROLE ALL SET "work_mem" TO '1MB'"#);
        assert!(statements[1].contains(r#"ALTER ROLE "r" IN DATABASE "d''" SET"#), "{}", statements[1]);
    }

    #[test]
    fn tablespaces_and_parameters_have_their_privileges() {
        let privilege = |role: Option<&str>, privilege: &str, grantable| Privilege {
            role: role.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable,
        };
        let tablespace = Tablespace {
            name: "fast".to_owned(),
            owner: "o".to_owned(),
            location: "/fast".to_owned(),
            options: vec!["seq_page_cost=0.5".to_owned()],
            privileges: Some(vec![privilege(Some("u"), "CREATE", true)]),
            comment: Some("ssd".to_owned()),
        };
        let parameter =
            Parameter { name: "work_mem".to_owned(), privileges: vec![privilege(None, "ALTER SYSTEM", false)] };
        let globals = Globals { tablespaces: vec![tablespace], parameters: vec![parameter], ..Globals::default() };
        let expected = [
            r#"CREATE TABLESPACE "fast" OWNER "o" LOCATION '/fast'"#,
            r#"ALTER TABLESPACE "fast" SET ("seq_page_cost" = '0.5')"#,
            r#"REVOKE ALL ON TABLESPACE "fast" FROM PUBLIC, "o""#,
            r#"GRANT CREATE ON TABLESPACE "fast" TO "u" WITH GRANT OPTION"#,
            r#"COMMENT ON TABLESPACE "fast" IS 'ssd'"#,
            r#"GRANT ALTER SYSTEM ON PARAMETER "work_mem" TO PUBLIC"#,
        ];
        assert_eq!(sql(&globals, 150_000), expected);
        assert_eq!(sql(&globals, 140_000).len(), 5, "it knows no privileges on settings");
    }
}
