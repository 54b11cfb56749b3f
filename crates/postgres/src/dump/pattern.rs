//! Patterns of `pg_dump`: made from names, and as the regular expressions that PostgreSQL makes of them.
//!
//! The rules are those of psql (<https://www.postgresql.org/docs/current/app-psql.html#APP-PSQL-PATTERNS>).

use backstay_core::{Error, ErrorKind, Result};

/// The pattern that means this schema and no other.
///
/// ```
/// assert_eq!(backstay_postgres::exact_schema("Sales *"), r#""Sales *""#);
/// ```
#[must_use]
pub fn exact_schema(name: &str) -> String {
    crate::quote::ident(name)
}

/// The pattern that means this table and no other.
///
/// ```
/// assert_eq!(backstay_postgres::exact_table("public", "a.b"), r#""public"."a.b""#);
/// ```
#[must_use]
pub fn exact_table(schema: &str, name: &str) -> String {
    format!("{}.{}", exact_schema(schema), exact_schema(name))
}

/// The regular expression for a schema's name.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) if the pattern has another number of parts.
pub(super) fn schema(pattern: &str) -> Result<String> {
    let mut parts = parts(pattern);
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(bad(pattern, "write one name, or `*`; a dot that belongs to it stands in double quotes")),
    }
}

/// The regular expressions for a table's schema and name. A bare name would mean whatever the search path finds.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) if the pattern has another number of parts.
pub(super) fn table(pattern: &str) -> Result<(String, String)> {
    let mut parts = parts(pattern);
    match (parts.pop(), parts.pop(), parts.is_empty()) {
        (Some(name), Some(schema), true) => Ok((schema, name)),
        _ => Err(bad(pattern, "write SCHEMA.NAME; `*.NAME` means the table in any schema")),
    }
}

fn bad(pattern: &str, advice: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, "this pattern is not understood").with("pattern", pattern).advise(advice)
}

fn parts(pattern: &str) -> Vec<String> {
    let mut parts = vec![String::from("^(")];
    let mut quoted = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let last = parts.len() - 1;
        let part = &mut parts[last];
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => part.extend(chars.next()),
            '"' => quoted = !quoted,
            '*' if !quoted => part.push_str(".*"),
            '?' if !quoted => part.push('.'),
            '.' if !quoted => {
                part.push_str(")$");
                parts.push(String::from("^("));
            }
            '$' => part.push_str("\\$"),
            '|' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '.' | '^' | '\\' if quoted => {
                part.extend(['\\', c]);
            }
            // The type of an array, not an empty set.
            '[' if chars.peek() == Some(&']') => part.push_str("\\["),
            c if quoted => part.push(c),
            c => part.push(c.to_ascii_lowercase()),
        }
    }
    let last = parts.len() - 1;
    parts[last].push_str(")$");
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_becomes_the_expression_that_postgresql_makes_of_it() {
        #[rustfmt::skip]
        let table = [
            ("Public", "^(public)$"), ("\"Public\"", "^(Public)$"), ("a*b?", "^(a.*b.)$"), ("\"a*b?\"", r"^(a\*b\?)$"),
            ("[a-c]x", "^([a-c]x)$"), ("x[]", r"^(x\[])$"), ("a$b", r"^(a\$b)$"), (r#""a""b""#, "^(a\"b)$"), ("\"a.b\"", r"^(a\.b)$"),
        ];
        for (pattern, expected) in table {
            assert_eq!(schema(pattern).unwrap(), expected, "{pattern}");
        }
        assert_eq!(super::table("s*.T").unwrap(), ("^(s.*)$".to_owned(), "^(t)$".to_owned()));
    }

    #[test]
    fn what_means_more_or_less_than_one_thing_is_refused() {
        for bad in ["a.b", "x.y.z"] {
            assert_eq!(schema(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad}");
        }
        for bad in ["orders", "a.b.c", ""] {
            assert_eq!(table(bad).unwrap_err().context("pattern"), Some(bad));
        }
    }

    #[test]
    fn hostile_names_mean_themselves() {
        for name in ["a.b", "A\"b", "*", "--file=x", "a b", "[x]", "\\", "$"] {
            let (schema, name) = table(&exact_table(name, name)).unwrap();
            assert_eq!(schema, name);
            assert!(!name.contains(".*"), "{name}");
        }
        assert_eq!(table(&exact_table("p", "a.*")).unwrap().1, r"^(a\.\*)$");
    }
}
