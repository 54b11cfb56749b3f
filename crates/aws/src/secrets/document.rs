//! A secret as it rests in a vault: one JSON document.

use std::collections::BTreeMap;

use aws_smithy_types::base64;
use backstay_core::{Error, ErrorKind, Result, Secret};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the document that this library writes.
const VERSION: u32 = 1;
pub(super) const CURRENT: &str = "AWSCURRENT";
pub(super) const PREVIOUS: &str = "AWSPREVIOUS";
pub(super) const PENDING: &str = "AWSPENDING";
/// Tags that only AWS sets.
const RESERVED: &str = "aws:";

/// A secret with its values. It is written only into what a vault seals.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Document {
    /// [`VERSION`].
    pub(super) backstay_secret: u32,
    pub(super) name: String,
    /// Where it was read, with account and region.
    pub(super) arn: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    /// The key that encrypts it, if it is not the account's own for secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms_key: Option<String>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// Who may use it besides, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rotation: Option<Rotation>,
    #[serde(default)]
    pub(super) replicas: Vec<Replica>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Timestamp>,
    /// Oldest first; the one with `AWSPREVIOUS` before all, the one with `AWSCURRENT` after all.
    pub(super) versions: Vec<Version>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Version {
    pub(super) id: String,
    pub(super) stages: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Timestamp>,
    #[serde(flatten)]
    pub(super) value: Value,
}

/// What is secret. Bytes are kept as base64, as the service's API has them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    String(#[serde(with = "exposed")] Secret<String>),
    Binary(#[serde(with = "exposed")] Secret<String>),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Rotation {
    pub(super) enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) function: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after_days: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Replica {
    pub(super) region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms_key: Option<String>,
}

impl Document {
    pub(super) fn new(name: String, arn: String) -> Self {
        Self {
            backstay_secret: VERSION,
            name,
            arn,
            description: String::new(),
            kms_key: None,
            tags: BTreeMap::new(),
            policy: None,
            rotation: None,
            replicas: Vec::new(),
            created: None,
            versions: Vec::new(),
        }
    }

    /// Brings the versions into the order in which they can be made again.
    pub(super) fn sort(&mut self) {
        let rank = |version: &Version| match () {
            () if version.has(CURRENT) => 2,
            () if version.has(PREVIOUS) => 0,
            () => 1,
        };
        self.versions.sort_by(|a, b| (rank(a), a.created, &a.id).cmp(&(rank(b), b.created, &b.id)));
        self.versions.iter_mut().for_each(|version| version.stages.sort());
    }

    /// As the bytes of an item, wiped when the last of them is dropped.
    pub(super) fn to_bytes(&self) -> Result<Bytes> {
        // Room for all of it, six bytes for each that JSON escapes: what grows leaves copies behind.
        let values: usize = self.versions.iter().map(|version| version.value.text().len() * 6 + 512).sum();
        let mut text = Vec::with_capacity(values + (64 << 10));
        let wrong = |_| Error::new(ErrorKind::Other, "the secret cannot be written as JSON");
        serde_json::to_writer(&mut text, self).map_err(wrong)?;
        Ok(Bytes::from_owner(Wiped(Secret::new(text))))
    }

    /// Reads an item. What is wrong is told by its place alone: words of it might be the secret's.
    pub(super) fn parse(bytes: &[u8], name: &str) -> Result<Self> {
        let corrupt = |what: String| Error::new(ErrorKind::Corrupt, what).with("item", name);
        let mut document: Self = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            corrupt(format!("this is no secret of Secrets Manager (line {line}, column {column})"))
        })?;
        if document.backstay_secret != VERSION {
            let found = document.backstay_secret;
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a secret in format {found}; this library reads {VERSION}"),
            )
            .with("item", name)
            .advise("take a newer version of the library"));
        }
        if document.name != name {
            return Err(corrupt("the secret in the item has another name than the item".to_owned()));
        }
        let mut stages = std::collections::BTreeSet::new();
        for version in &document.versions {
            // 32 to 64 characters make a request's token, which becomes the version's id.
            if !(32..=64).contains(&version.id.len()) || version.stages.is_empty() {
                return Err(corrupt("a version of the secret has no id or no stage that can be".to_owned()));
            }
            if let Value::Binary(value) = &version.value
                && base64::decode(value.expose()).is_err()
            {
                return Err(corrupt("a binary value of the secret is not base64".to_owned()));
            }
            if let Some(stage) = version.stages.iter().find(|stage| !stages.insert(stage.to_string())) {
                return Err(corrupt(format!("two versions of the secret have the stage {stage:?}")));
            }
        }
        document.sort();
        Ok(document)
    }

    /// Tags that can be set.
    pub(super) fn own_tags(&self) -> BTreeMap<String, String> {
        own_tags(&self.tags)
    }

    /// How many bytes its values have.
    pub(super) fn len(&self) -> u64 {
        self.versions.iter().map(|version| version.value.len()).sum()
    }
}

/// Without those that only AWS sets.
pub(super) fn own_tags(tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    tags.iter().filter(|(name, _)| !name.starts_with(RESERVED)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

impl Version {
    pub(super) fn has(&self, stage: &str) -> bool {
        self.stages.iter().any(|have| have == stage)
    }
}

impl Value {
    pub(super) fn binary(bytes: &[u8]) -> Self {
        Self::Binary(Secret::new(base64::encode(bytes)))
    }

    fn text(&self) -> &str {
        let (Self::String(value) | Self::Binary(value)) = self;
        value.expose()
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::String(value) => value.expose().len() as u64,
            Self::Binary(value) => {
                let text = value.expose();
                let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
                (text.len() / 4 * 3).saturating_sub(padding) as u64
            }
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String(a), Self::String(b)) | (Self::Binary(a), Self::Binary(b)) => a.expose() == b.expose(),
            _ => false,
        }
    }

    /// As the API takes it: text or bytes.
    pub(super) fn parts(&self) -> (Option<String>, Option<aws_smithy_types::Blob>) {
        match self {
            Self::String(value) => (Some(value.expose().clone()), None),
            Self::Binary(value) => (None, base64::decode(value.expose()).ok().map(aws_smithy_types::Blob::new)),
        }
    }
}

struct Wiped(Secret<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

/// A secret is written only into what the vault seals.
mod exposed {
    use backstay_core::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
        value.expose().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret<String>, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let mut document =
            Document::new("prod/db".to_owned(), "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-x".to_owned());
        let version = |id: &str, stage: &str, value| Version {
            id: id.repeat(32),
            stages: vec![stage.to_owned()],
            created: None,
            value,
        };
        document.versions = vec![
            version("c", CURRENT, Value::String(Secret::new("hunter\"2".to_owned()))),
            version("b", "blue", Value::binary(&[0, 255, 7])),
            version("a", PREVIOUS, Value::String(Secret::new("hunter1".to_owned()))),
        ];
        document
    }

    #[test]
    fn it_comes_back_in_the_order_in_which_it_can_be_made() {
        let bytes = document().to_bytes().unwrap();
        let again = Document::parse(&bytes, "prod/db").unwrap();
        let stages: Vec<&str> = again.versions.iter().map(|version| version.stages[0].as_str()).collect();
        assert_eq!(stages, [PREVIOUS, "blue", CURRENT]);
        assert_eq!(again.len(), 7 + 3 + 8);
        assert_eq!(again.versions[1].value.parts().1.unwrap().as_ref(), [0, 255, 7]);
        assert!(again.versions[2].value.is_same(&document().versions[0].value));
        let shown = format!("{again:?}");
        assert!(!shown.contains("hunter") && !shown.contains("AP8H"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_told_without_a_word_of_it() {
        let text = String::from_utf8(document().to_bytes().unwrap().to_vec()).unwrap();
        for (from, to) in [
            ("[\"AWSCURRENT\"]", "\"hunter2\""),
            ("\"binary\":\"AP8H\"", "\"binary\":\"hunter2!\""),
            ("\"backstay_secret\":1", "\"backstay_secret\":\"hunter2\""),
            ("\"backstay_secret\":1", "\"backstay_secret\":2"),
            ("\"string\":\"hunter1\"", "\"hunter2\":1"),
            ("\"blue\"", "\"AWSCURRENT\""),
            ("prod/db\",\"arn", "prod/other\",\"arn"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "hunter2"),
            ("}", ""),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            let error = Document::parse(text.replace(from, to).as_bytes(), "prod/db").expect_err(from);
            assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
            assert!(!format!("{error:?} {error}").contains("hunter"), "{error}");
        }
    }
}
