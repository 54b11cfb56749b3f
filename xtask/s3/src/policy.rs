//! IAM policies: the very documents that are rendered for users, held against calls.
//!
//! What this does not know it refuses when it is given, so that no test passes because a condition was skipped.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::condition::Condition;

/// What a call is held against, by the name of its condition key. A key that a call does not have is absent.
pub(crate) type Facts = BTreeMap<String, String>;

/// The statements of one document.
#[derive(Clone, Debug)]
pub(crate) struct Policy(Vec<Statement>);

#[derive(Clone, Debug)]
struct Statement {
    allow: bool,
    actions: Patterns,
    resources: Patterns,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Patterns {
    inverted: bool,
    patterns: Vec<String>,
}

impl Policy {
    /// Reads a document; what is wrong with it otherwise.
    pub(crate) fn parse(document: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(document).map_err(|error| format!("not JSON: {error}"))?;
        let object = value.as_object().ok_or("not an object")?;
        only(object, &["Version", "Id", "Statement"])?;
        if object.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
            return Err("the version must be 2012-10-17".to_owned());
        }
        match object.get("Statement") {
            Some(Value::Array(statements)) => statements.iter().map(Statement::parse).collect::<Result<_, _>>(),
            Some(statement @ Value::Object(_)) => Statement::parse(statement).map(|statement| vec![statement]),
            _ => Err("there is no statement".to_owned()),
        }
        .map(Self)
    }

    /// Whether some statement allows it and none denies it.
    pub(crate) fn allows(&self, action: &str, resource: &str, facts: &Facts) -> bool {
        let mut applying = self.0.iter().filter(|statement| statement.applies(action, resource, facts)).peekable();
        applying.peek().is_some() && applying.all(|statement| statement.allow)
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self, String> {
        let object = value.as_object().ok_or("a statement is not an object")?;
        let known = ["Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
        only(object, &known)?;
        let everyone = [None, Some(Value::from("*")), Some(serde_json::json!({"AWS": "*"}))];
        if !everyone.contains(&object.get("Principal").cloned()) {
            return Err("a principal other than everyone is not played: give each access key a policy".to_owned());
        }
        let allow = match object.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err("the effect must be Allow or Deny".to_owned()),
        };
        let conditions = match object.get("Condition") {
            None => Vec::new(),
            Some(conditions) => Condition::parse_all(conditions)?,
        };
        let actions = Patterns::parse(object, "Action", "NotAction")?;
        let resources = Patterns::parse(object, "Resource", "NotResource")?;
        if let Some(other) = actions.patterns.iter().find(|action| *action != "*" && !action.starts_with("s3:")) {
            return Err(format!("{other} is no action of S3"));
        }
        Ok(Self { allow, actions, resources, conditions })
    }

    fn applies(&self, action: &str, resource: &str, facts: &Facts) -> bool {
        self.actions.matches(action, |pattern, action| like(&pattern.to_lowercase(), &action.to_lowercase()))
            && self.resources.matches(resource, like)
            && self.conditions.iter().all(|condition| condition.holds(facts))
    }
}

impl Patterns {
    fn parse(object: &Map<String, Value>, name: &str, inverted: &str) -> Result<Self, String> {
        let (inverted, value) = match (object.get(name), object.get(inverted)) {
            (Some(value), None) => (false, value),
            (None, Some(value)) => (true, value),
            _ => return Err(format!("a statement needs either {name} or {inverted}")),
        };
        Ok(Self { inverted, patterns: texts(value)? })
    }

    fn matches(&self, text: &str, like: impl Fn(&str, &str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| like(pattern, text)) != self.inverted
    }
}

fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("{key} is not played here")),
        None => Ok(()),
    }
}

/// One text or a list of them; numbers and truth values as text.
pub(crate) fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(values) => Ok(values.iter().map(texts).collect::<Result<Vec<_>, _>>()?.concat()),
        _ => Err(format!("{value} is no text")),
    }
}

/// `*` is any text, `?` any one character.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // Where to go on when the text after the last star does not fit.
    let (mut at, mut in_text, mut back) = (0, 0, None);
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                back = Some((at, in_text));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => match back {
                None => return false,
                Some((star, begin)) => {
                    back = Some((star, begin + 1));
                    (at, in_text) = (star + 1, begin + 1);
                }
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "a1b2b3c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("arn:aws:s3:::b/items/*", "arn:aws:s3:::b/items/x/y", true),
            ("arn:aws:s3:::b/items/*", "arn:aws:s3:::b/item", false),
            ("", "x", false),
        ] {
            assert_eq!(like(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_writer_may_only_create() {
        let policy = Policy::parse(
            r#"{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": "arn:aws:s3:::b/items/*"},
                {"Effect": "Allow", "Action": "s3:List*", "Resource": "arn:aws:s3:::b"},
                {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*", "Condition": {
                    "Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}},
                {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Condition": {
                    "NumericGreaterThan": {"s3:object-lock-remaining-retention-days": 31}}}]}"#,
        )
        .unwrap();
        let key = "arn:aws:s3:::b/items/x";
        let plain = [("s3:ObjectCreationOperation", "true")];
        let create = [("s3:ObjectCreationOperation", "true"), ("s3:if-none-match", "*")];
        let long = [create[0], create[1], ("s3:object-lock-remaining-retention-days", "32")];
        let short = [create[0], create[1], ("s3:object-lock-remaining-retention-days", "31")];
        for (action, resource, call, allowed) in [
            ("s3:PutObject", key, &create[..], true),
            ("s3:PutObject", key, &plain[..], false),
            ("s3:PutObject", key, &[("s3:ObjectCreationOperation", "false")][..], true),
            ("s3:PutObject", key, &long[..], false),
            ("s3:PutObject", key, &short[..], true),
            ("s3:PutObject", "arn:aws:s3:::b/points/x", &create[..], false),
            ("s3:GetObject", key, &[][..], false),
            ("s3:listbucket", "arn:aws:s3:::b", &[][..], true),
        ] {
            assert_eq!(policy.allows(action, resource, &facts(call)), allowed, "{action} {resource} {call:?}");
        }
    }

    #[test]
    fn what_is_not_played_is_refused() {
        let statement = |rest: &str| {
            let statement = format!(r#"{{"Effect": "Deny", "Action": "s3:*", "Resource": "*", {rest}}}"#);
            Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": {statement}}}"#))
        };
        assert!(statement(r#""Sid": "x""#).is_ok());
        for rest in [
            r#""Principal": {"AWS": "arn:aws:iam::1:user/x"}"#,
            r#""Condition": {"StringSortOf": {"s3:prefix": "x"}}"#,
            r#""Condition": {"StringEquals": {"s3:made-up": "x"}}"#,
            r#""Condition": {"NumericEquals": {"s3:max-keys": "many"}}"#,
            r#""NotAction": "s3:GetObject""#,
            r#""Efect": "Allow""#,
        ] {
            assert!(statement(rest).is_err(), "{rest}");
        }
        assert!(Policy::parse(r#"{"Version": "2008-10-17", "Statement": []}"#).is_err());
    }
}
