//! Roles that the statements of an archive name.

use std::collections::BTreeSet;

use super::toc::Entry;

/// Roles that a grant, a default privilege or a policy names. Without all of them it fails.
pub(super) fn named(entry: &Entry) -> BTreeSet<String> {
    let policy = entry.kind == "POLICY";
    if !policy && !matches!(entry.kind.as_str(), "ACL" | "DEFAULT ACL") {
        return BTreeSet::new();
    }
    let mut roles = BTreeSet::new();
    let mut listing = false;
    for token in Tokens(&entry.definition) {
        match token {
            // What follows in a policy are expressions.
            Token::Word("USING" | "WITH") if policy => break,
            Token::Word("FROM") if policy => {}
            Token::Word("TO" | "FROM" | "ROLE" | "AUTHORIZATION") => listing = true,
            Token::Word("PUBLIC" | "CURRENT_USER") => {}
            Token::Word(word) if listing && word.starts_with(|c: char| c.is_lowercase() || c == '_') => {
                roles.insert(word.to_owned());
            }
            Token::Quoted(name) if listing => {
                roles.insert(name);
            }
            Token::Other(',') => {}
            _ => listing = false,
        }
    }
    roles
}

enum Token<'a> {
    Word(&'a str),
    /// An identifier in quotes, without them.
    Quoted(String),
    /// A string.
    Text,
    Other(char),
}

/// The tokens of SQL as `pg_dump` writes it: keywords in capitals, names in lower case or in quotes.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.0 = self.0.trim_start();
        let first = self.0.chars().next()?;
        if first == '"' || first == '\'' {
            let (text, rest) = quoted(&self.0[1..], first);
            self.0 = rest;
            return Some(if first == '"' { Token::Quoted(text) } else { Token::Text });
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let end = match self.0.find(|c: char| !is_word(c)).unwrap_or(self.0.len()) {
            0 => first.len_utf8(),
            end => end,
        };
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(if is_word(first) { Token::Word(token) } else { Token::Other(first) })
    }
}

/// What stands before the closing quote; a doubled one is one.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut name = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(quote) {
        name.push_str(before);
        match after.strip_prefix(quote) {
            Some(more) => {
                name.push(quote);
                rest = more;
            }
            None => return (name, after),
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: &str, definition: &str) -> Vec<String> {
        named(&Entry { kind: kind.into(), definition: definition.into(), ..Entry::default() }).into_iter().collect()
    }

    #[test]
    fn roles_in_grants_and_policies_are_found_whatever_their_names() {
        let acl = "REVOKE ALL ON TABLE public.p FROM postgres;\nGRANT SELECT(x),UPDATE ON TABLE s.\"T TO b\" TO bob;\n\
                   GRANT ALL ON FUNCTION f(text, text) TO \"Fritz, \"\"the\"\" Cat\" WITH GRANT OPTION;\nGRANT USAGE ON SCHEMA s TO PUBLIC;\n";
        assert_eq!(names("ACL", acl), ["Fritz, \"the\" Cat", "bob", "postgres"]);
        let default = "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA s GRANT SELECT ON TABLES TO reader;\n";
        assert_eq!(names("DEFAULT ACL", default), ["owner", "reader"]);
        let granted =
            "SET SESSION AUTHORIZATION boss;\nGRANT SELECT ON TABLE public.p TO bob;\nRESET SESSION AUTHORIZATION;\n";
        assert_eq!(names("ACL", granted), ["bob", "boss"]);
        let policy = "CREATE POLICY pp ON public.p FOR SELECT TO alice, bob USING ((x IN ( SELECT y FROM other)));\n";
        assert_eq!(names("POLICY", policy), ["alice", "bob"]);
        assert_eq!(names("TABLE", "CREATE TABLE x (); -- GRANT x TO y"), Vec::<String>::new());
    }
}
