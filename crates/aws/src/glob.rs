//! `*` in the names of items.

/// Whether `glob` matches all of `name`; `*` stands for any characters, `/` too.
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_anything() {
        for (glob, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "a/b", true),
            ("a*", "a/b", true),
            ("*?versionId=7", "a/b?versionId=7", true),
            ("a*b*c", "a.b.b.c", true),
            ("ab*ba", "aba", false),
            ("a*c", "b.c", false),
            ("", "", true),
            ("", "a", false),
            ("prod/*", "prod/a/b", true),
            ("prod/*", "stage/prod/", false),
            ("*db*", "prod/db", true),
            ("db", "db2", false),
            ("a*c*", "abd", false),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }
}
