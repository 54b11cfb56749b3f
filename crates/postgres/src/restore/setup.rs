//! What a restored database is given besides its content: settings, rights to connect, its owner.

use backstay_core::{ErrorKind, Result};

use super::scratch::Scratch;
use super::toc::Entry;
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
