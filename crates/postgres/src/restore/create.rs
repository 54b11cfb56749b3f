//! The statement that makes a database like the one that was dumped, and those that set it up.

use super::toc::Toc;
use crate::facts::DatabaseFacts;
use crate::quote::{ident, literal};

/// Encoding and locale of a database, as far as the archive tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Locale {
    pub(super) encoding: Option<String>,
    pub(super) collate: Option<String>,
    pub(super) ctype: Option<String>,
    /// `c`, `i` or `b`, as `pg_database` has it.
    pub(super) provider: Option<String>,
    pub(super) locale: Option<String>,
}

impl Locale {
    /// As the dump's facts say; of a foreign archive, as its statement for the database says.
    pub(super) fn of(facts: Option<&DatabaseFacts>, toc: &Toc) -> Self {
        let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        if let Some(facts) = facts {
            let [encoding, collate, ctype] = [&facts.encoding, &facts.collate, &facts.ctype].map(filled);
            let (provider, locale) = (facts.locale_provider.clone(), facts.locale.clone());
            return Self { encoding, collate, ctype, provider, locale };
        }
        let statement = |kind: &str| toc.entries.iter().find(|entry| entry.kind == kind).map(|e| e.definition.as_str());
        let database = statement("DATABASE").unwrap_or_default();
        let told = |name: &str| option(database, name);
        let libc = told("LOCALE");
        let provider = match told("LOCALE_PROVIDER").as_deref() {
            Some("icu") => Some("i"),
            Some("builtin") => Some("b"),
            Some("libc") => Some("c"),
            _ => None,
        };
        Self {
            encoding: told("ENCODING").or_else(|| option(statement("ENCODING")?, "client_encoding")),
            collate: told("LC_COLLATE").or_else(|| libc.clone()),
            ctype: told("LC_CTYPE").or(libc),
            provider: provider.map(str::to_owned),
            locale: told("ICU_LOCALE").or_else(|| told("BUILTIN_LOCALE")),
        }
    }

    /// Why a server cannot have such a database, as far as one can tell before.
    pub(super) fn impossible(&self, server_version: u32, has_icu: bool) -> Option<&'static str> {
        match self.provider.as_deref() {
            Some("i") if !has_icu => Some("the target is built without ICU, which sorts this database"),
            Some("i") if server_version < 150_000 => {
                Some("the target is older than 15, which ICU takes for a database")
            }
            Some("b") if server_version < 170_000 => Some("the target is older than 17 and has no built-in locales"),
            _ => None,
        }
    }
}

/// `CREATE DATABASE` from `template0`, in which nothing is that the archive brings.
pub(super) fn statement(name: &str, like: &Locale, server_version: u32) -> String {
    let mut sql = format!("CREATE DATABASE {} TEMPLATE template0", ident(name));
    let mut add = |option: &str, value: &Option<String>| {
        if let Some(value) = value {
            sql.push_str(&format!(" {option} {}", literal(value)));
        }
    };
    add("ENCODING", &like.encoding);
    add("LC_COLLATE", &like.collate);
    add("LC_CTYPE", &like.ctype);
    // Servers before 15 know none but libc's.
    let names = match like.provider.as_deref() {
        _ if server_version < 150_000 => None,
        Some("i") => Some(("icu", "ICU_LOCALE")),
        Some("b") => Some(("builtin", "BUILTIN_LOCALE")),
        Some("c") => Some(("libc", "")),
        _ => None,
    };
    if let Some((provider, option)) = names {
        add("LOCALE_PROVIDER", &Some(provider.to_owned()));
        if !option.is_empty() {
            add(option, &like.locale);
        }
    }
    sql
}

/// The value of `NAME = 'value'` or `NAME = word` in a statement by `pg_dump`.
fn option(statement: &str, name: &str) -> Option<String> {
    let start = [' ', '\n'].iter().find_map(|before| statement.find(&format!("{before}{name} = ")))?;
    let value = statement.get(start + name.len() + 4..)?;
    match value.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'').map(|(value, _)| value.to_owned()),
        None => value.split([' ', ';']).next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::super::toc::Entry;
    use super::*;

    #[test]
    fn a_foreign_archive_tells_its_locale_in_its_statement() {
        let entry = |kind: &str, definition: &str| Entry {
            kind: kind.into(),
            definition: definition.into(),
            ..Entry::default()
        };
        let foreign = |database: &str| Toc {
            entries: vec![entry("ENCODING", "SET client_encoding = 'LATIN1';\n"), entry("DATABASE", database)],
            ..Toc::default()
        };
        let toc = foreign(
            "CREATE DATABASE a WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C.UTF-8' ICU_LOCALE = 'de';\n\n\n",
        );
        let locale = Locale::of(None, &toc);
        assert_eq!(
            statement("b", &locale, 150_000),
            "CREATE DATABASE \"b\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' \
             LOCALE_PROVIDER 'icu' ICU_LOCALE 'de'"
        );
        assert!(locale.impossible(150_000, false).is_some() && locale.impossible(150_000, true).is_none());
        assert_eq!(Locale::of(None, &foreign("")).encoding.as_deref(), Some("LATIN1"));
    }

    #[test]
    fn facts_say_it_and_hostile_names_stay_names() {
        let facts = DatabaseFacts {
            encoding: "UTF8".into(),
            collate: "it's".into(),
            ctype: "C".into(),
            locale_provider: Some("b".into()),
            locale: Some("C.UTF-8".into()),
            ..DatabaseFacts::default()
        };
        let locale = Locale::of(Some(&facts), &Toc::default());
        assert_eq!(
            statement("a\"; drop", &locale, 180_000),
            "CREATE DATABASE \"a\"\"; drop\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'it''s' LC_CTYPE 'C' \
             LOCALE_PROVIDER 'builtin' BUILTIN_LOCALE 'C.UTF-8'"
        );
        assert!(locale.impossible(160_000, true).is_some() && locale.impossible(170_000, false).is_none());
    }
}
