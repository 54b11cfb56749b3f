//! Which databases of a server are dumped.

use backstay_core::source::Problem;
use serde::Deserialize;

use super::PgDumpOptions;

/// A database, as the server lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) template: bool,
    /// Whether it takes connections at all.
    pub(super) open: bool,
}

/// The databases to dump, in order of their names, and what is to be said of the others.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) names: Vec<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
}

/// Nothing can be in it: it is what others are made from.
const NEVER: &str = "template0";
/// Names that a note lists; the rest is counted.
const LISTED: usize = 20;

pub(super) fn choose(all: &[Listed], options: &PgDumpOptions) -> Chosen {
    let mut chosen = Chosen::default();
    let (mut excluded, mut closed) = (Vec::new(), Vec::new());
    for database in all {
        let named = options.databases.contains(&database.name);
        let meant = if database.template || options.databases.is_empty() {
            named || (options.databases.is_empty() && !database.template)
        } else {
            any(&options.databases, &database.name)
        };
        if !meant {
            continue;
        } else if any(&options.exclude_databases, &database.name) {
            excluded.push(database.name.as_str());
        } else if database.name == NEVER {
            chosen.problems.push(Problem::new(NEVER, "it is never dumped: nothing can be in it"));
        } else if database.open {
            chosen.names.push(database.name.clone());
        } else if named {
            chosen.problems.push(Problem::new(&database.name, "it does not allow connections"));
        } else {
            closed.push(database.name.as_str());
        }
    }
    for name in options.databases.iter().filter(|name| !name.contains('*')) {
        if !all.iter().any(|database| database.name == *name) {
            chosen.problems.push(Problem::new(name, "the server has no such database"));
        }
    }
    for glob in options.databases.iter().filter(|glob| glob.contains('*')) {
        if !all.iter().any(|database| matches(glob, &database.name)) {
            chosen.notes.push(format!("no database is called like {glob:?}"));
        }
    }
    chosen.notes.extend(note(&excluded, "excluded"));
    chosen.notes.extend(note(&closed, "left out because they do not allow connections"));
    chosen.names.sort();
    chosen
}

fn note(names: &[&str], what: &str) -> Option<String> {
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > LISTED { ", .." } else { "" };
    (!names.is_empty()).then(|| format!("{} databases were {what}: {}{more}", names.len(), listed.join(", ")))
}

fn any(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| matches(glob, name))
}

/// `*` stands for any characters, none too; everything else for itself.
fn matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<Listed> {
        let of = |(name, template, open): (&str, bool, bool)| Listed { name: name.to_owned(), template, open };
        [
            ("template0", true, false),
            ("template1", true, true),
            ("shop-b", false, true),
            ("shop-a", false, true),
            ("closed", false, false),
            ("a*b", false, true),
        ]
        .map(of)
        .to_vec()
    }

    fn with(databases: &[&str], exclude: &[&str]) -> Chosen {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let options = PgDumpOptions {
            databases: strings(databases),
            exclude_databases: strings(exclude),
            ..PgDumpOptions::default()
        };
        choose(&listed(), &options)
    }

    #[test]
    fn all_that_can_be_dumped_are_unless_some_are_named() {
        let all = with(&[], &[]);
        assert_eq!(all.names, ["a*b", "shop-a", "shop-b"]);
        assert_eq!(all.notes, [r#"1 databases were left out because they do not allow connections: "closed""#]);
        assert!(all.problems.is_empty());
        assert_eq!(with(&["shop-*", "template1"], &["*-b"]).names, ["shop-a", "template1"]);
        assert_eq!(with(&["*"], &["shop*"]).names, ["a*b"], "a template only by its whole name");
        assert_eq!(with(&["shop-*"], &["*-b"]).notes, [r#"1 databases were excluded: "shop-b""#]);
    }

    #[test]
    fn what_is_named_and_cannot_be_dumped_is_a_problem() {
        let chosen = with(&["shop-a", "orders", "closed", "template0", "none-*"], &[]);
        assert_eq!(chosen.names, ["shop-a"]);
        assert_eq!(chosen.notes, ["no database is called like \"none-*\""]);
        let problems: Vec<&str> = chosen.problems.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(problems, ["template0", "closed", "orders"]);
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        let table =
            [("*", "", true), ("a*", "a", true), ("a*a", "a", false), ("a*b*c", "axbxc", true), ("a", "ab", false)];
        for (glob, name, expected) in table {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
        assert!(matches("*b*b", "bxbb") && !matches("a*b", "a*bc") && matches("a*b", "a*b"));
    }
}
