//! Which entries of an archive are restored: of one schema, one table, or all.

use std::collections::{BTreeMap, BTreeSet};

use backstay_core::{Error, ErrorKind, Result};
use globset::{GlobBuilder, GlobMatcher};

use super::toc::{Entry, Toc};

/// What belongs to the table that it needs, and is made with it.
const ATTACHED: [&str; 22] = [
    "TABLE DATA",
    "MATERIALIZED VIEW DATA",
    "STATISTICS DATA",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
    "REPLICA IDENTITY",
];
const FOREIGN_KEY: &str = "FK CONSTRAINT";
/// Names that a note lists.
const TOLD: usize = 20;
const RELATIONS: [&str; 5] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"];

/// The entries that these globs choose, by number; none if there are no globs, and all are meant.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for what is no glob, [`NotFound`](ErrorKind::NotFound) for one that matches nothing.
pub(super) fn chosen(toc: &Toc, only: &[String]) -> Result<Option<BTreeSet<i64>>> {
    if only.is_empty() {
        return Ok(None);
    }
    let mut chosen = BTreeSet::new();
    for glob in only {
        let matcher = matcher(glob)?;
        let before = chosen.len();
        let named = toc.entries.iter().filter(|entry| names(&matcher, entry)).map(|entry| entry.id);
        chosen.extend(named);
        if chosen.len() == before && !toc.entries.iter().any(|entry| names(&matcher, entry)) {
            return Err(Error::new(ErrorKind::NotFound, "a glob matches no schema and no table of the archive")
                .with("glob", glob)
                .advise("name schemas as `sales`, tables as `sales.orders`"));
        }
    }
    let by_id: BTreeMap<i64, &Entry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    // One to a table that is not chosen would fail: nothing is in that.
    chosen.retain(|id| by_id.get(id).is_none_or(|entry| entry.kind != FOREIGN_KEY));
    attach(toc, &by_id, &mut chosen);
    require(&by_id, &mut chosen);
    let goes_on = |entry: &&Entry| entry.kind == "SEQUENCE SET" && entry.needs.iter().any(|id| chosen.contains(id));
    let numbers: Vec<i64> = toc.entries.iter().filter(goes_on).map(|entry| entry.id).collect();
    chosen.extend(numbers);
    Ok(Some(chosen))
}

/// What is not restored, and nobody would see: rows, and foreign keys of chosen tables.
pub(super) fn notes(toc: &Toc, chosen: &Option<BTreeSet<i64>>) -> Vec<String> {
    let is_chosen = |entry: &Entry| chosen.as_ref().is_none_or(|chosen| chosen.contains(&entry.id));
    let of_kind = |kind: &'static str| toc.entries.iter().filter(move |entry| entry.kind == kind);
    let place = |entry: &Entry| (entry.schema.clone(), entry.tag.clone());
    let named = |entry: &Entry| format!("{}.{}", entry.schema.as_deref().unwrap_or_default(), entry.tag);
    let data: BTreeMap<_, bool> = of_kind("TABLE DATA").map(|entry| (place(entry), is_chosen(entry))).collect();
    // The rows of a partitioned table are its partitions'.
    let tables: Vec<&Entry> =
        of_kind("TABLE").filter(|entry| is_chosen(entry) && !entry.definition.contains("\nPARTITION BY ")).collect();
    let with = |has: Option<bool>| {
        tables.iter().filter(|e| data.get(&place(e)).copied() == has).map(|e| named(e)).collect::<Vec<String>>()
    };
    let begins = |key: &Entry, table: &Entry| {
        key.schema == table.schema && key.tag.strip_prefix(&table.tag).is_some_and(|rest| rest.starts_with(' '))
    };
    // Of a table that is made without rows nobody asked for its keys.
    let is_meant = |table: &Entry| is_chosen(table) && data.get(&place(table)) != Some(&false);
    let its_table = |key: &Entry| of_kind("TABLE").any(|e| key.needs.contains(&e.id) && is_meant(e) && begins(key, e));
    let keys = of_kind(FOREIGN_KEY).filter(|key| !is_chosen(key) && its_table(key)).map(named).collect();
    let told = [
        ("the archive has no rows of", with(None)),
        ("not chosen, but needed, and made without rows", with(Some(false))),
        ("foreign keys are left out, the table that they point to is not chosen", keys),
    ];
    told.into_iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| listed(what, &names)).collect()
}

fn listed(what: &str, names: &[String]) -> String {
    let more = names.len().saturating_sub(TOLD);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{what}: {}{more}", names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", "))
}

fn matcher(glob: &str) -> Result<GlobMatcher> {
    let glob_of = |error| {
        Error::new(ErrorKind::Invalid, "this is no glob").with("field", "only").with("got", glob).because(error)
    };
    Ok(GlobBuilder::new(glob).build().map_err(glob_of)?.compile_matcher())
}

/// Whether the glob names the entry's schema, or itself if it is a relation.
fn names(matcher: &GlobMatcher, entry: &Entry) -> bool {
    match &entry.schema {
        Some(schema) => {
            matcher.is_match(schema)
                || (RELATIONS.contains(&entry.kind.as_str()) && matcher.is_match(format!("{schema}.{}", entry.tag)))
        }
        None => {
            let of_schema = match entry.kind.as_str() {
                "SCHEMA" => Some(entry.tag.as_str()),
                "COMMENT" | "ACL" | "SECURITY LABEL" => entry.tag.strip_prefix("SCHEMA "),
                _ => None,
            };
            of_schema.is_some_and(|schema| matcher.is_match(schema))
        }
    }
}

/// Adds what belongs to chosen tables: data, defaults, sequences, indexes, constraints, and their partitions.
fn attach(toc: &Toc, by_id: &BTreeMap<i64, &Entry>, chosen: &mut BTreeSet<i64>) {
    loop {
        let before = chosen.len();
        for entry in toc.entries.iter().filter(|entry| ATTACHED.contains(&entry.kind.as_str())) {
            let has = |id: &i64| chosen.contains(id);
            let is_sequence = |id: &&i64| by_id.get(id).is_some_and(|entry| entry.kind == "SEQUENCE");
            let belongs = match entry.kind.as_str() {
                // It names the partition, and of what: whole tables bring theirs, not the other way round.
                "TABLE ATTACH" | "INDEX ATTACH" => entry.needs.last().is_some_and(has),
                // A foreign key comes along if the table that it points to does.
                FOREIGN_KEY => !entry.needs.is_empty() && entry.needs.iter().all(has),
                // Another table may take its numbers from this one's sequence.
                "DEFAULT" => entry.needs.iter().filter(|id| !is_sequence(id)).any(has),
                _ => entry.needs.iter().any(has),
            };
            if belongs && chosen.insert(entry.id) && entry.kind == "TABLE ATTACH" {
                chosen.extend(entry.needs.iter().filter(|id| by_id.contains_key(id)));
            }
        }
        if chosen.len() == before {
            return;
        }
    }
}

/// Adds what chosen entries cannot be made without: schemas, types, functions, extensions, parents of partitions.
fn require(by_id: &BTreeMap<i64, &Entry>, chosen: &mut BTreeSet<i64>) {
    let schemas: BTreeMap<&str, i64> = by_id
        .values()
        .filter(|entry| entry.kind == "SCHEMA" && entry.schema.is_none())
        .map(|entry| (entry.tag.as_str(), entry.id))
        .collect();
    let mut open: Vec<i64> = chosen.iter().copied().collect();
    while let Some(entry) = open.pop().and_then(|id| by_id.get(&id)) {
        let schema = entry.schema.as_deref().and_then(|schema| schemas.get(schema));
        for id in entry.needs.iter().chain(schema).filter(|id| by_id.contains_key(id)) {
            if chosen.insert(*id) {
                open.push(*id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number, kind, schema, tag, needs.
    type Line = (i64, &'static str, &'static str, &'static str, &'static [i64]);

    const LINES: &[Line] = &[
        (7, "SCHEMA", "", "s", &[]),
        (8, "SCHEMA", "", "s2", &[]),
        (9, "ACL", "", "SCHEMA s", &[7]),
        (2, "EXTENSION", "", "citext", &[]),
        (10, "TYPE", "s2", "mood", &[8]),
        (11, "FUNCTION", "s2", "f()", &[8]),
        (20, "TABLE", "s", "a", &[7, 10]),
        (21, "SEQUENCE", "s", "a_id_seq", &[20, 7]),
        (22, "SEQUENCE OWNED BY", "s", "a_id_seq", &[21]),
        (23, "DEFAULT", "s", "a id", &[21, 20]),
        (24, "TABLE DATA", "s", "a", &[20]),
        (25, "SEQUENCE SET", "s", "a_id_seq", &[21]),
        (26, "CONSTRAINT", "s", "a a_pkey", &[20]),
        (27, "INDEX", "s", "a_x", &[20]),
        (28, "TRIGGER", "s", "a t", &[20, 11]),
        (30, "TABLE", "s", "b", &[7]),
        (31, "TABLE DATA", "s", "b", &[30]),
        (32, "CONSTRAINT", "s", "b b_pkey", &[30]),
        (33, "FK CONSTRAINT", "s", "a a_b", &[32, 20, 30]),
        (40, "TABLE", "p", "part", &[]),
        (41, "TABLE", "p", "part1", &[40]),
        (42, "TABLE ATTACH", "p", "part1", &[41, 40]),
        (43, "TABLE DATA", "p", "part1", &[41]),
        (50, "VIEW", "s", "v", &[20]),
        (61, "TABLE", "q", "numbers", &[]),
        (62, "DEFAULT", "q", "numbers id", &[21, 61]),
    ];

    fn toc() -> Toc {
        let entries = LINES.iter().map(|(id, kind, schema, tag, needs)| Entry {
            id: *id,
            kind: (*kind).into(),
            tag: (*tag).into(),
            schema: (!schema.is_empty()).then(|| (*schema).into()),
            needs: needs.to_vec(),
            ..Entry::default()
        });
        Toc { entries: entries.collect(), ..Toc::default() }
    }

    fn ids(globs: &[&str]) -> Vec<i64> {
        let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
        chosen(&toc(), &globs).unwrap().unwrap().into_iter().collect()
    }

    #[test]
    fn a_table_brings_what_it_has_and_needs_and_no_other_table() {
        assert_eq!(ids(&["s.a"]), [7, 8, 10, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28]);
        assert_eq!(ids(&["s.b"]), [7, 30, 31, 32]);
        assert!(ids(&["s.a", "s.b"]).contains(&33), "a foreign key between two chosen tables");
        assert!(!ids(&["s.a"]).contains(&9), "the schema's own privileges stay: it is only a place here");
    }

    #[test]
    fn a_partitioned_table_brings_its_partitions_and_a_partition_its_parent_without_data() {
        assert_eq!(ids(&["p.part"]), [40, 41, 42, 43]);
        assert_eq!(ids(&["p.part1"]), [40, 41, 43]);
    }

    #[test]
    fn a_schema_is_all_in_it_and_what_it_needs() {
        let all = ids(&["s"]);
        assert!([7, 9, 10, 11, 20, 30, 33, 50].iter().all(|id| all.contains(id)), "{all:?}");
        assert!(![2, 40].iter().any(|id| all.contains(id)), "{all:?}");
    }

    #[test]
    fn a_sequence_of_another_table_goes_on_where_it_was() {
        assert_eq!(ids(&["q.numbers"]), [7, 8, 10, 20, 21, 25, 61, 62]);
    }

    #[test]
    fn rows_and_foreign_keys_that_do_not_come_are_told() {
        let told = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(ToString::to_string).collect();
            notes(&toc(), &chosen(&toc(), &globs).unwrap())
        };
        assert_eq!(
            told(&["q.numbers"]),
            ["the archive has no rows of: q.numbers", "not chosen, but needed, and made without rows: s.a"]
        );
        let key = "foreign keys are left out, the table that they point to is not chosen: s.a a_b";
        assert_eq!(told(&["s.a"]), [key]);
        assert!(told(&["s.b"]).is_empty() && told(&["s"]).is_empty());
    }

    #[test]
    fn a_glob_that_matches_nothing_is_told() {
        let error = |glob: &str| chosen(&toc(), &["s.a".into(), glob.into()]).unwrap_err().kind();
        assert_eq!(error("s.nothing"), ErrorKind::NotFound);
        assert_eq!(error("s.[a"), ErrorKind::Invalid);
        assert_eq!(chosen(&toc(), &[]).unwrap(), None);
        // Two globs for one table are no mistake.
        assert_eq!(ids(&["s.b", "s.b*"]), ids(&["s.b"]));
    }
}
