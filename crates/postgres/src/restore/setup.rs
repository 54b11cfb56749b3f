//! What a restored database is given besides its content: settings, rights to connect, its owner.

use backstay_core::{ErrorKind, Result};

use super::scratch::Scratch;
use super::toc::{Entry, Toc};
use crate::facts::DatabaseFacts;
use crate::globals::setting;
use crate::quote::ident;

/// Gives it all of that, the owner last: who gives a database away may have no say in it any more.
pub(super) async fn run(
    scratch: &Scratch,
    name: &str,
    facts: &DatabaseFacts,
    owner: Option<&str>,
    open_to_public: bool,
) -> Result<Vec<String>> {
    let database = ident(name);
    let mut notes = Vec::new();
    for (name, value) in facts.settings.iter().filter_map(|setting| setting.split_once('=')) {
        let set = scratch.run(&format!("alter database {database} set {}", setting(name, value))).await;
        match set {
            // Some are the super-user's, or an extension's that is not loaded here.
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::Invalid) => {
                notes.push(format!("the setting {name} was not restored: {error}"));
            }
            other => other?,
        }
    }
    if let Some(limit) = facts.connection_limit {
        scratch.run(&format!("alter database {database} connection limit {limit}")).await?;
    }
    if open_to_public {
        scratch.run(&format!("grant connect, temporary on database {database} to public")).await?;
    }
    if let Some(owner) = owner {
        scratch.run(&format!("alter database {database} owner to {}", ident(owner))).await?;
    }
    Ok(notes)
}

/// What the archive says about the database itself, about this one now: grants, or its comment. `pg_restore` leaves it out
/// because it names the database that was dumped.
pub(super) fn statements(toc: &Toc, kind: &str, database: &str) -> Vec<String> {
    let of_kind = |entry: &&Entry| entry.kind == kind && entry.is_about_the_database();
    toc.entries.iter().filter(of_kind).map(|entry| renamed(entry, database)).collect()
}

/// What of the dumped database itself a new one does not get.
pub(super) fn left_out(toc: &Toc, with_facts: bool, with_globals: bool) -> Vec<String> {
    let lines = |kind: &'static str| {
        toc.entries.iter().filter(move |entry| entry.kind == kind).flat_map(|entry| entry.definition.lines())
    };
    let set = |of: &str, how: &str| {
        lines("DATABASE PROPERTIES").filter(|line| line.starts_with(of) && line.contains(how)).count()
    };
    let made = |option: &str| lines("DATABASE").any(|line| line.contains(option));
    let roles = set("ALTER ROLE ", " IN DATABASE ");
    let told = [
        (!with_globals && roles > 0, format!("{roles} settings of roles in this database: restore `globals` with it")),
        (
            !with_facts && set("ALTER DATABASE ", "") > 0,
            "the settings of the database: the archive has no facts".to_owned(),
        ),
        (set("ALTER DATABASE ", " IS_TEMPLATE = ") > 0, "that it is a template".to_owned()),
        (
            made(" TABLESPACE = "),
            "that it lies in a tablespace of its own: it goes into the target's default".to_owned(),
        ),
        (made(" ICU_RULES = "), "its ICU rules: sort orders differ".to_owned()),
    ];
    told.into_iter().filter(|(is, _)| *is).map(|(_, what)| format!("not restored: {what}")).collect()
}

fn renamed(entry: &Entry, database: &str) -> String {
    let name = entry.tag.strip_prefix("DATABASE ").unwrap_or(&entry.tag);
    let to = format!(" ON DATABASE {} ", ident(database));
    let begins = |line: &str| ["GRANT ", "REVOKE ", "COMMENT "].iter().any(|word| line.starts_with(word));
    let mut sql = String::new();
    for line in entry.definition.split_inclusive('\n') {
        // Before the name of the database a statement has nothing that somebody chose.
        let named = [ident(name), name.to_owned()].map(|name| format!(" ON DATABASE {name} "));
        match named.iter().find(|from| begins(line) && line.contains(*from)) {
            Some(from) => sql.push_str(&line.replacen(from, &to, 1)),
            None => sql.push_str(line),
        }
    }
    sql
}

/// Whether the dumped database was shut to everybody: the restored one stays so until somebody grants it.
pub(super) fn shuts_public_out(entry: &Entry) -> bool {
    entry.kind == "ACL"
        && entry.is_about_the_database()
        && entry
            .definition
            .lines()
            .any(|line| line.starts_with("REVOKE ") && line.trim_end().ends_with(" FROM PUBLIC;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_about_the_old_database_become_statements_about_the_new_one() {
        let entry = |kind: &str, definition: &str| Entry {
            kind: kind.into(),
            tag: "DATABASE it's a".into(),
            definition: definition.into(),
            ..Entry::default()
        };
        let acl = "REVOKE ALL ON DATABASE \"it's a\" FROM PUBLIC;\nGRANT CONNECT ON DATABASE \"it's a\" TO \" ON DATABASE it's a \";\n";
        let comment = "COMMENT ON DATABASE \"it's a\" IS 'x ON DATABASE y';\n";
        let toc = Toc { entries: vec![entry("ACL", acl), entry("COMMENT", comment)], ..Toc::default() };
        assert_eq!(
            statements(&toc, "ACL", "n"),
            [
                "REVOKE ALL ON DATABASE \"n\" FROM PUBLIC;\nGRANT CONNECT ON DATABASE \"n\" TO \" ON DATABASE it's a \";\n"
            ]
        );
        assert_eq!(statements(&toc, "COMMENT", "n"), ["COMMENT ON DATABASE \"n\" IS 'x ON DATABASE y';\n"]);
    }

    #[test]
    fn a_database_that_was_shut_is_known_by_its_privileges() {
        let acl = |definition: &str| Entry {
            kind: "ACL".into(),
            tag: "DATABASE a".into(),
            definition: definition.into(),
            ..Entry::default()
        };
        assert!(shuts_public_out(&acl(
            "REVOKE CONNECT,TEMPORARY ON DATABASE a FROM PUBLIC;\nGRANT CONNECT ON DATABASE a TO b;\n"
        )));
        assert!(!shuts_public_out(&acl("GRANT CONNECT ON DATABASE a TO b;\n")));
        assert!(!shuts_public_out(&Entry { tag: "TABLE a".into(), ..acl("REVOKE ALL ON TABLE a FROM PUBLIC;\n") }));
    }
}
