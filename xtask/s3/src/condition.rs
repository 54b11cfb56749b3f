//! The conditions of a policy's statement.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::Value;

use crate::policy::{Facts, like, texts};

/// The condition keys that calls have here.
const KEYS: [&str; 24] = [
    "aws:PrincipalAccount",
    "aws:SecureTransport",
    "s3:ObjectCreationOperation",
    "s3:ResourceAccount",
    "s3:TlsVersion",
    "s3:VersionId",
    "s3:authType",
    "s3:delimiter",
    "s3:if-match",
    "s3:if-none-match",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:signatureversion",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
];

/// One key under one operator.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    test: Test,
    /// What holds if the call does not have the key.
    absent: bool,
    key: String,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Null,
    Bool,
    /// Equal or alike, with or without regard to case, or the reverse.
    Text {
        pattern: bool,
        case: bool,
        negated: bool,
    },
    Number(Compare),
    Date(Compare),
}

#[derive(Clone, Copy, Debug)]
enum Compare {
    Is(Ordering),
    IsNot(Ordering),
}

impl Condition {
    /// `{"StringEquals": {"s3:prefix": ["a", "b"]}, ...}`
    pub(crate) fn parse_all(value: &Value) -> Result<Vec<Self>, String> {
        let mut conditions = Vec::new();
        for (operator, keys) in value.as_object().ok_or("a condition is not an object")? {
            for (key, values) in keys.as_object().ok_or("an operator has no object of keys")? {
                conditions.push(Self::parse(operator, key, texts(values)?)?);
            }
        }
        Ok(conditions)
    }

    fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self, String> {
        let known = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key));
        let key = (*known.ok_or_else(|| format!("the condition key {key} is not played here"))?).to_owned();
        let (name, if_exists) = match operator.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (operator, false),
        };
        let test = Test::named(name).ok_or_else(|| format!("the operator {operator} is not played here"))?;
        let fits = |value: &String| match test {
            Test::Null | Test::Bool => value == "true" || value == "false",
            Test::Number(_) => value.parse::<f64>().is_ok(),
            Test::Date(_) => value.parse::<Timestamp>().is_ok(),
            Test::Text { .. } => true,
        };
        match values.iter().find(|value| !fits(value)) {
            Some(value) => Err(format!("{value} is no value for {operator}")),
            // A negated operator holds where there is nothing that could be equal.
            None => Ok(Self { test, absent: if_exists || test.negated(), key, values }),
        }
    }

    pub(crate) fn holds(&self, facts: &Facts) -> bool {
        let fact = facts.get(&self.key);
        match (self.test, fact) {
            (Test::Null, fact) => self.values.iter().any(|value| (value == "true") == fact.is_none()),
            (_, None) => self.absent,
            (test, Some(fact)) if test.negated() => self.values.iter().all(|value| test.passes(fact, value)),
            (test, Some(fact)) => self.values.iter().any(|value| test.passes(fact, value)),
        }
    }
}

impl Test {
    fn named(name: &str) -> Option<Self> {
        let text = |pattern, case, negated| Some(Self::Text { pattern, case, negated });
        match name {
            "Null" => Some(Self::Null),
            "Bool" => Some(Self::Bool),
            "StringEquals" => text(false, true, false),
            "StringNotEquals" => text(false, true, true),
            "StringEqualsIgnoreCase" => text(false, false, false),
            "StringNotEqualsIgnoreCase" => text(false, false, true),
            "StringLike" | "ArnLike" | "ArnEquals" => text(true, true, false),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => text(true, true, true),
            _ => match name.strip_prefix("Numeric") {
                Some(compare) => Compare::named(compare).map(Self::Number),
                None => name.strip_prefix("Date").and_then(Compare::named).map(Self::Date),
            },
        }
    }

    fn negated(self) -> bool {
        match self {
            Self::Null | Self::Bool => false,
            Self::Text { negated, .. } => negated,
            Self::Number(compare) | Self::Date(compare) => matches!(compare, Compare::IsNot(Ordering::Equal)),
        }
    }

    fn passes(self, fact: &str, value: &str) -> bool {
        match self {
            Self::Null => false,
            Self::Bool => fact == value,
            Self::Text { pattern, case, negated } => {
                let (fact, value) = match case {
                    true => (fact.to_owned(), value.to_owned()),
                    false => (fact.to_lowercase(), value.to_lowercase()),
                };
                (if pattern { like(&value, &fact) } else { fact == value }) != negated
            }
            Self::Number(compare) => match (fact.parse::<f64>(), value.parse::<f64>()) {
                (Ok(fact), Ok(value)) => fact.partial_cmp(&value).is_some_and(|order| compare.passes(order)),
                _ => false,
            },
            Self::Date(compare) => match (fact.parse::<Timestamp>(), value.parse::<Timestamp>()) {
                (Ok(fact), Ok(value)) => compare.passes(fact.cmp(&value)),
                _ => false,
            },
        }
    }
}

impl Compare {
    fn named(name: &str) -> Option<Self> {
        match name {
            "Equals" => Some(Self::Is(Ordering::Equal)),
            "NotEquals" => Some(Self::IsNot(Ordering::Equal)),
            "LessThan" => Some(Self::Is(Ordering::Less)),
            "LessThanEquals" => Some(Self::IsNot(Ordering::Greater)),
            "GreaterThan" => Some(Self::Is(Ordering::Greater)),
            "GreaterThanEquals" => Some(Self::IsNot(Ordering::Less)),
            _ => None,
        }
    }

    fn passes(self, order: Ordering) -> bool {
        match self {
            Self::Is(wanted) => order == wanted,
            Self::IsNot(unwanted) => order != unwanted,
        }
    }
}
