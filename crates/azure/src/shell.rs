//! Words of commands that people paste.

/// A text as one word of a POSIX shell, whatever is in it.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Nothing has a meaning within single quotes but the quote that ends them.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_taken_by_the_shell_as_it_stands() {
        let table = [
            ("acmebackups", "acmebackups"),
            ("/subscriptions/S/resourceGroups/G", "/subscriptions/S/resourceGroups/G"),
            ("/resourceGroups/rg(eu)", "'/resourceGroups/rg(eu)'"),
            ("prod eu", "'prod eu'"),
            ("$HOME `id` \"!\\", "'$HOME `id` \"!\\'"),
            ("it's", r"'it'\''s'"),
            ("a\nb;#", "'a\nb;#'"),
            ("~", "'~'"),
            ("", "''"),
        ];
        for (text, expected) in table {
            assert_eq!(word(text), expected);
        }
    }
}
