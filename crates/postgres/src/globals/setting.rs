//! Values of settings, as `ALTER ROLE .. SET` takes them.

use crate::quote::{ident, literal};

/// Settings that are lists of names. What PostgreSQL keeps of them is quoted already (`GUC_LIST_QUOTE` in its source, and in
/// `pg_dump`'s `variable_is_guc_list_quote`).
const LISTS: [&str; 7] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
    "restrict_nonsystem_relation_kind",
];

/// `name TO value`, from how PostgreSQL keeps it.
pub(crate) fn setting(name: &str, value: &str) -> String {
    let value = if LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) {
        let elements: Vec<String> = elements(value).iter().map(|element| literal(element)).collect();
        if elements.is_empty() { literal("") } else { elements.join(", ") }
    } else {
        literal(value)
    };
    format!("{} TO {value}", ident(name))
}

/// `"$user", public` as two names.
fn elements(list: &str) -> Vec<String> {
    let mut elements = Vec::new();
    let mut element = String::new();
    let (mut quoted, mut any) = (false, false);
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => element.extend(chars.next()),
            '"' => (quoted, any) = (!quoted, true),
            ',' if !quoted => {
                elements.push(std::mem::take(&mut element));
                any = false;
            }
            c if !quoted && c.is_ascii_whitespace() => {}
            c => {
                element.push(c);
                any = true;
            }
        }
    }
    if any {
        elements.push(element);
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_lists_and_everything_else_is_one_value() {
        let table = [
            ("search_path", r#""$user", public"#, r#""search_path" TO '$user', 'public'"#),
            ("search_path", r#""a, ""b""", c"#, r#""search_path" TO 'a, "b"', 'c'"#),
            ("search_path", "\"\"", r#""search_path" TO ''"#),
            ("search_path", "", r#""search_path" TO ''"#),
            ("work_mem", "64MB", r#""work_mem" TO '64MB'"#),
            ("DateStyle", "ISO, DMY", r#""DateStyle" TO 'ISO, DMY'"#),
            ("app.x", "it's", r#""app.x" TO 'it''s'"#),
        ];
        for (name, value, expected) in table {
            assert_eq!(setting(name, value), expected);
        }
    }
}
